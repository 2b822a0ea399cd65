//! [`Keys`]: a ring that is swapped whole while requests run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::ring::KeyRing;
use super::signing_key::SigningKey;

/// The keys of an authority at this moment. Clones share one ring: what one replaces, all see from then on.
///
/// A [`KeyRing`] or a [`SigningKey`] turns into one that changes only when it is told to.
#[derive(Clone)]
pub struct Keys {
    ring: Arc<ArcSwap<KeyRing>>,
    refetch: Option<Arc<dyn Refetch>>,
    /// How long a key that was replaced goes on verifying, in seconds; `None` where nothing is replaced by itself.
    overlap: Option<u64>,
}

/// Keys that live elsewhere and can be asked for again when a token names one that nobody knows here.
pub(crate) trait Refetch: Send + Sync + 'static {
    /// The one fetch to wait for; `None` where there is nothing to fetch, or it was done too recently.
    fn refetch(self: Arc<Self>) -> Option<Refetching>;
}

pub(crate) type Refetching = Pin<Box<dyn Future<Output = Refetched> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refetched {
    /// The ring is as new as can be: look again.
    Current,
    /// Whether the key exists can't be known right now.
    Unreachable,
}

impl Keys {
    /// The ring as it is now.
    pub fn current(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Puts another ring in place, for requests in flight too.
    pub(crate) fn replace(&self, ring: KeyRing) {
        self.ring.store(Arc::new(ring));
    }

    /// The ring as it is now, without touching its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// Managed keys: somebody else replaces the ring.
    pub(crate) fn managed(ring: KeyRing, refetch: Option<Arc<dyn Refetch>>, overlap: u64) -> Self {
        Self { refetch, overlap: Some(overlap), ..ring.into() }
    }

    pub(crate) fn overlap(&self) -> Option<u64> {
        self.overlap
    }

    pub(crate) fn refetch(&self) -> Option<Refetching> {
        self.refetch.clone()?.refetch()
    }
}

impl From<KeyRing> for Keys {
    fn from(ring: KeyRing) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(ring)), refetch: None, overlap: None }
    }
}

impl From<SigningKey> for Keys {
    fn from(key: SigningKey) -> Self {
        KeyRing::from(key).into()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.load().fmt(f)
    }
}
