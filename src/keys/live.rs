//! [`Keys`]: a ring that is swapped whole while requests run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::ring::KeyRing;
use super::signing_key::SigningKey;
use crate::telemetry::{self, Event};

/// The keys of an authority at this moment. Clones share one ring: what one replaces, all see from then on.
///
/// A [`KeyRotation`](super::KeyRotation) keeps them up to date; a [`KeyRing`] or a [`SigningKey`] turns into keys that change
/// only when they are told to.
#[derive(Clone)]
pub struct Keys {
    ring: Arc<ArcSwap<KeyRing>>,
    keeper: Option<Arc<dyn Keeper>>,
}

/// Whoever keeps the ring up to date, for as long as anybody holds its [`Keys`].
pub(crate) trait Keeper: Send + Sync + 'static {
    /// The keys live elsewhere, and a token names one that nobody knows here: the one fetch to wait for. `None` where
    /// there is nothing to fetch, or it was done too recently.
    fn refetch(self: Arc<Self>) -> Option<Refetching>;

    /// Takes a key out for good, under whatever name it comes again.
    fn withdraw(&self, kid: &str);

    /// How long a key that was replaced goes on verifying, in seconds.
    fn overlap(&self) -> u64;

    /// Whether the issuer is a trusted foreign one, even while none of its keys is known.
    fn trusts(&self, issuer: &str) -> bool;
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

    /// Takes a compromised key out at once, by its `kid` or fingerprint: it admits and renews nothing from now on, requests
    /// in flight included. Whether there was one.
    ///
    /// It stays out for as long as the process lives, whatever its source says. Where it is the signing key and no other
    /// is waiting to sign, no token can be issued or renewed until the source gives one.
    pub fn withdraw(&self, kid: &str) -> bool {
        let held = self.ring.load().holds_kid(kid);
        match &self.keeper {
            Some(keeper) => keeper.withdraw(kid),
            None => {
                self.ring.rcu(|ring| KeyRing::clone(ring).withdrawing(kid));
                if held {
                    telemetry::record(&Event::KeysReplaced { ring: &self.ring.load() });
                }
            }
        }
        held
    }

    /// Puts another ring in place, for requests in flight too.
    pub(crate) fn replace(&self, ring: KeyRing) {
        self.ring.store(Arc::new(ring));
    }

    /// The ring as it is now, without touching its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// Somebody replaces the ring.
    pub(crate) fn kept(ring: Arc<ArcSwap<KeyRing>>, keeper: Arc<dyn Keeper>) -> Self {
        Self { ring, keeper: Some(keeper) }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    pub(crate) fn overlap(&self) -> Option<u64> {
        self.keeper.as_ref().map(|keeper| keeper.overlap())
    }

    pub(crate) fn trusts(&self, issuer: &str) -> bool {
        self.ring.load().trusts(issuer) || self.keeper.as_ref().is_some_and(|keeper| keeper.trusts(issuer))
    }

    pub(crate) fn refetch(&self) -> Option<Refetching> {
        self.keeper.clone()?.refetch()
    }
}

impl From<KeyRing> for Keys {
    fn from(ring: KeyRing) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(ring)), keeper: None }
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
