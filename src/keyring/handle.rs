//! [`Keys`]: a ring that is swapped whole while requests run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::Guard;

use crate::keyring::erased_source::ErasedSource;
use crate::keyring::event::KeyEvent;
use crate::keyring::ring::KeyRing;
use crate::keyring::ring_cell::RingCell;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keyring::withdrawn::Withdrawn;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;

/// The current keys of an authority. Clones share one ring: if one replaces it, all see the new one.
///
/// A [`KeyRotation`](crate::keys::KeyRotation) keeps them up to date. Keys made from a [`KeyRing`] or a
/// [`SigningKey`] change only by a call.
#[derive(Clone)]
pub struct Keys {
    ring: Arc<RingCell>,
    manager: Option<Arc<dyn KeyManager>>,
    /// Keys that no later ring may contain. Only used without a manager, which has its own. Its lock is held while the ring is
    /// replaced.
    withdrawn: Arc<Mutex<Withdrawn>>,
}

/// Keeps a ring up to date as long as its [`Keys`] exist.
pub(crate) trait KeyManager: Send + Sync + 'static {
    /// Fetches the issuer's keys again, because a token names a key that is not in the ring. `None` if there is nothing to
    /// fetch, or the last fetch was too recent.
    fn refetch(self: Arc<Self>, issuer: &str) -> Option<Refetching>;

    /// The same for the source of the own keys.
    fn refetch_own(self: Arc<Self>) -> Option<Refetching>;

    /// How long ago the last such fetch of the own keys began, in seconds. A token that was issued since may be under a key that
    /// it did not bring.
    fn refetched_own_ago(&self) -> Option<u64>;

    /// The own keys of exactly this `kid` that left the ring without being withdrawn.
    fn retired(&self, kid: &str) -> Vec<RetiredKey>;

    /// Removes a key for good, also if a source provides it again under another name.
    fn withdraw(&self, kid: &str);

    /// How long a replaced key still verifies, in seconds.
    fn overlap(&self) -> u64;

    /// From now on no key begins to sign that may not sign for this own `iss`. An error if one that signs, or is about to, may not.
    fn sign_for(&self, iss: Option<&Arc<str>>) -> Result<(), KeyError>;

    /// The trusted foreign issuer that this `iss` belongs to, even while none of its keys is known.
    fn trusted(&self, iss: &str) -> Option<Arc<TrustedIssuer>>;

    /// The trusted issuers, in the order in which they came to be trusted.
    fn issuers(&self) -> Vec<Arc<TrustedIssuer>>;

    /// Trusts another issuer, in place of one of the same name. Its source is loaded at once; the future ends with that load.
    fn trust(
        self: Arc<Self>,
        issuer: TrustedIssuer,
        source: Arc<dyn ErasedSource>,
    ) -> Result<FirstLoad, KeyError>;

    /// Stops trusting the issuer of this name or template. Returns whether it was trusted.
    fn distrust(&self, name: &str) -> bool;
}

/// An own key that has left the ring. It admits no token.
pub(crate) struct RetiredKey {
    pub(crate) key: VerifyingKey,
    /// How long ago it left the ring, in seconds.
    pub(crate) for_secs: u64,
}

/// A newly trusted issuer's first load.
pub(crate) type FirstLoad = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) type Refetching = Pin<Box<dyn Future<Output = Refetched> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refetched {
    /// The source answered, and the ring holds what it has: look the key up again.
    Current,
    /// The source did not answer, so the key may exist.
    Unreachable,
}

impl Keys {
    /// The current ring.
    pub fn current(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Removes a compromised key at once, by its `kid` or fingerprint. It admits and renews nothing from then on,
    /// also for requests in flight. Returns whether there was one.
    ///
    /// The withdrawal holds in this process and ends with it: call it in each process, and remove the key from its
    /// source too. While the process runs, neither the source nor a later ring brings the key back.
    ///
    /// A `kid` removes every key of that name, also a trusted issuer's; use the fingerprint to remove one. A further
    /// `kid` ([`also_known_as`](SigningKey::also_known_as)) removes nothing, because later keys may share it.
    ///
    /// If it is the signing key, a key that is waiting to sign does so at once, without its activation delay. If none
    /// is waiting, no token can be issued or renewed until the source provides one.
    pub fn withdraw(&self, kid: &str) -> bool {
        if let Some(manager) = &self.manager {
            let held = self.ring.load().holds_kid(kid);
            manager.withdraw(kid);
            return held;
        }
        let held = {
            let mut withdrawn = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
            let ring = self.ring.load_full();
            withdrawn.extend([kid.to_owned()]);
            self.put(KeyRing::clone(&ring), &mut withdrawn);
            ring.holds_kid(kid)
        };
        // Without the lock, because a subscriber may block, or withdraw a key.
        if held {
            KeyEvent::Replaced { ring: &self.ring.load() }.record();
        }
        held
    }

    /// Puts another ring in place, for requests in flight too, without the keys that were withdrawn.
    pub(crate) fn replace(&self, ring: KeyRing) {
        let mut withdrawn = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(ring, &mut withdrawn);
    }

    fn put(&self, ring: KeyRing, withdrawn: &mut Withdrawn) {
        self.ring.store(ring.without(withdrawn));
    }

    /// The ring as it is now, without touching its reference count.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// The id of the ring as it is now.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.ring.id()
    }

    /// Keys whose ring `manager` replaces.
    pub(crate) fn managed(ring: Arc<RingCell>, manager: Arc<dyn KeyManager>) -> Self {
        Self { ring, manager: Some(manager), withdrawn: Arc::default() }
    }

    /// Whether there are no own keys, so that nothing can be issued or renewed.
    pub(crate) fn is_verify_only(&self) -> bool {
        self.ring.load().is_verify_only()
    }

    pub(crate) fn is_managed(&self) -> bool {
        self.manager.is_some()
    }

    pub(crate) fn overlap(&self) -> Option<u64> {
        self.manager.as_ref().map(|manager| manager.overlap())
    }

    /// Checks that they can sign for an authority of this `iss`, and that a manager replaces them only by such.
    pub(crate) fn sign_for(&self, iss: Option<&Arc<str>>) -> Result<(), KeyError> {
        match &self.manager {
            Some(manager) => manager.sign_for(iss),
            None => self.ring.load().check_issuer(iss.map(|iss| &**iss)),
        }
    }

    /// The trusted foreign issuer that this `iss` belongs to, even while none of its keys is known.
    pub(crate) fn trusted(&self, iss: &str) -> Option<Arc<TrustedIssuer>> {
        match &self.manager {
            Some(manager) => manager.trusted(iss),
            None => self.ring.load().trusted(iss).cloned(),
        }
    }

    /// The trusted foreign issuers.
    pub(crate) fn issuers(&self) -> Vec<Arc<TrustedIssuer>> {
        match &self.manager {
            Some(manager) => manager.issuers(),
            None => self.ring.load().issuers().to_vec(),
        }
    }

    /// Trusts another issuer.
    pub(crate) fn trust(
        &self,
        issuer: TrustedIssuer,
        source: Arc<dyn ErasedSource>,
    ) -> Result<FirstLoad, KeyError> {
        match &self.manager {
            Some(manager) => manager.clone().trust(issuer, source),
            None => Err(KeyError::new(
                KeyErrorKind::Ring,
                "no `KeyRotation` manages these keys, so no source can be read again: put a ring that trusts the issuer in place \
                 with `Authority::replace_keys`",
            )),
        }
    }

    /// Stops trusting the issuer of this name. Returns whether it was trusted.
    pub(crate) fn distrust(&self, name: &str) -> bool {
        if let Some(manager) = &self.manager {
            return manager.distrust(name);
        }
        let mut withdrawn = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load_full();
        let Some(without) = ring.without_issuer(name) else { return false };
        self.put(without, &mut withdrawn);
        true
    }

    pub(crate) fn refetch(&self, issuer: &str) -> Option<Refetching> {
        self.manager.clone()?.refetch(issuer)
    }

    pub(crate) fn refetch_own(&self) -> Option<Refetching> {
        self.manager.clone()?.refetch_own()
    }

    pub(crate) fn refetched_own_ago(&self) -> Option<u64> {
        self.manager.as_ref()?.refetched_own_ago()
    }

    /// None without a manager: whoever replaces a ring by a call also decides which old keys stay in it.
    pub(crate) fn retired(&self, kid: &str) -> Vec<RetiredKey> {
        self.manager.as_ref().map(|manager| manager.retired(kid)).unwrap_or_default()
    }
}

/// Whatever the keys of an authority or an endpoint can be made from: [`Keys`] of a rotation, a [`KeyRing`], a
/// [`SigningKey`], another [`Authority`](crate::Authority).
///
/// It is a trait of its own so that the compiler can explain what to do with a key source.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what an authority's keys can be made from: `Keys`, a `KeyRing` or a `SigningKey`",
    note = "a source of keys is read by a rotation, which gives `Keys` at its start: `KeyRotation::new(source).start().await?`",
    note = "keys of another issuer, such as a `JwksUrl`'s, only verify: `KeyRotation::verify_only().trust(issuer, source).start().await?`"
)]
pub trait IntoKeys {
    /// The keys.
    fn into_keys(self) -> Keys;
}

impl IntoKeys for Keys {
    fn into_keys(self) -> Keys {
        self
    }
}

impl IntoKeys for KeyRing {
    fn into_keys(self) -> Keys {
        self.into()
    }
}

impl IntoKeys for SigningKey {
    fn into_keys(self) -> Keys {
        self.into()
    }
}

impl From<KeyRing> for Keys {
    fn from(ring: KeyRing) -> Self {
        Self { ring: Arc::new(RingCell::new(ring)), manager: None, withdrawn: Arc::default() }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::keys::Algorithm;

    fn key(name: &str) -> SigningKey {
        let secret = format!("{name:-<64}");
        SigningKey::from_secret(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(name)
    }

    fn ring(signing: &str, retiring: SigningKey) -> KeyRing {
        KeyRing::new(key(signing)).retiring(retiring).unwrap()
    }

    #[test]
    fn a_withdrawn_key_stays_out_of_every_later_ring_under_whatever_name() {
        for name in ["a", key("a").fingerprint()] {
            let keys = Keys::from(ring("b", key("a")));
            let kids = || keys.current().kids().collect::<Vec<_>>().join(" ");
            assert_eq!(kids(), "b a");
            // A clone is the same keys.
            assert!(keys.clone().withdraw(name), "{name}");
            assert!(!keys.withdraw(name), "{name}");
            assert_eq!(kids(), "b", "{name}");
            for later in [ring("c", key("a")), ring("c", key("a").with_kid("other")), ring("c", key("a"))] {
                keys.replace(later);
                assert_eq!(kids(), "c", "{name}");
            }
            keys.replace(ring("a", key("c")));
            assert!(keys.current().signing_key().is_none());
            assert_eq!(kids(), "c", "{name}");
        }
        // An issuer names another's keys as it likes: its own entry goes, and what it hides behind stays out.
        let published = |issuer: &str, name: &str, kid: &str, ring: KeyRing| {
            ring.trust(issuer, [key(name).with_kid(kid).into()]).unwrap()
        };
        let keys = Keys::from(published("y", "y", "y", published("x", "y", "a", ring("b", key("a")))));
        keys.withdraw("a");
        let kids = || keys.current().kids().collect::<Vec<_>>().join(" ");
        assert_eq!(kids(), "b y");
        keys.replace(published("y", "y", "y", published("x", "y", "other", KeyRing::new(key("b")))));
        assert_eq!(kids(), "b y");
        let ring_of_both = published("y", "y", "y", published("x", "y", "a", ring("b", key("a"))));
        assert_eq!(ring_of_both.withdrawing("a").kids().collect::<Vec<_>>(), ["b", "y"]);
        // Before it ever came, and renamed after it came once.
        let keys = Keys::from(key("b"));
        assert!(!keys.withdraw("a"));
        keys.replace(ring("b", key("a")));
        keys.replace(ring("b", key("a").with_kid("other")));
        assert_eq!(keys.current().kids().collect::<Vec<_>>(), ["b"]);
    }
}
