//! [`VerifiedToken`]: an admitted token as handlers see it, and what the authority remembers about it.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use foldhash::quality::FixedState;

use super::{Inner, PrivateClaims, SignedSuccessor};
use crate::keyring::handle::Keys;
use crate::keyring::ring::KeyRing;
use crate::store::{Presented, SessionId, SubjectId};
use crate::time::NumericDate;
use crate::token::requirement::holds;
use crate::token::verify::Verified;

/// A token that was admitted. Handlers find it in the request's extensions or, with the feature `axum`, as an
/// extractor.
///
/// `C` is the authority's type of private claims: under
/// [`private_claims::<T>()`](crate::AuthorityBuilder::private_claims) the extension is a `VerifiedToken<T>`.
///
/// Clones share one value. Only this crate creates one, so its presence means that the token was verified and
/// admitted.
pub struct VerifiedToken<C = PrivateClaims>(Arc<Parts<C>>);

struct Parts<C> {
    verified: Verified,
    private: C,
    /// Weak, because the authority's cache holds the token.
    authority: Weak<Inner<C>>,
    names: OnceLock<Names>,
    /// The id of the last ring that held its key.
    ring: AtomicU64,
    /// A hash of the time and the store's epoch at which its session was last live.
    live: AtomicU64,
    successor: Mutex<Option<Memo>>,
}

/// The ids by which a store knows the token.
#[derive(Clone, Copy)]
struct Names {
    session: SessionId,
    subject: Option<SubjectId>,
}

/// A signed successor, which parallel responses share.
struct Memo {
    ring: u64,
    claims: Arc<str>,
    signed: SignedSuccessor,
}

impl<C> VerifiedToken<C> {
    // `inline(always)`, so that the argument of a few hundred bytes is not copied on the way.
    #[inline(always)]
    pub(super) fn new(verified: Verified, private: C, ring: &KeyRing, authority: Weak<Inner<C>>) -> Self {
        Self(Arc::new(Parts {
            verified,
            private,
            authority,
            names: OnceLock::new(),
            ring: AtomicU64::new(ring.id()),
            live: AtomicU64::new(0),
            successor: Mutex::new(None),
        }))
    }

    /// Whether this authority admitted it: a token's dates are those of the policy that it was verified under.
    pub(super) fn is_of(&self, authority: &Arc<Inner<C>>) -> bool {
        std::ptr::eq(self.0.authority.as_ptr(), Arc::as_ptr(authority))
    }

    /// Whether both are the same value, not only equal.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the current ring holds the key that verified it.
    #[inline]
    pub(super) fn is_held(&self, keys: &Keys) -> bool {
        self.0.ring.load(Ordering::Relaxed) == keys.id() || self.held_by(&keys.load())
    }

    /// Whether the ring holds the key that verified it.
    #[inline(never)]
    pub(super) fn held_by(&self, ring: &KeyRing) -> bool {
        if self.0.ring.load(Ordering::Relaxed) == ring.id() {
            return true;
        }
        let held = self.verified().is_held_by(ring);
        if held {
            self.0.ring.store(ring.id(), Ordering::Relaxed);
        }
        held
    }

    pub(super) fn presented(&self, now: NumericDate) -> Presented {
        let Names { session, subject } = *self
            .0
            .names
            .get_or_init(|| Names { session: self.verified().session(), subject: self.verified().subject() });
        let verified = self.verified();
        Presented::new(session, verified.id(), subject, self.session_start(), now)
            .not_begun_before(verified.not_begun_before())
    }

    /// Whether its session was live at this epoch of the store, within this second. What a store learns without changing its epoch
    /// takes effect in the next second.
    pub(super) fn was_live(&self, epoch: u64, now: NumericDate) -> bool {
        self.0.live.load(Ordering::Acquire) == moment(epoch, now)
    }

    /// Remembers that its session was live. `epoch` was read before the store was asked.
    pub(super) fn remember_live(&self, epoch: u64, now: NumericDate) {
        self.0.live.store(moment(epoch, now), Ordering::Release);
    }

    /// The signed successor with these claims. It is signed at most once under one ring.
    pub(super) fn sign_once<E>(
        &self,
        claims: &Arc<str>,
        ring: &KeyRing,
        sign: impl FnOnce() -> Result<SignedSuccessor, E>,
    ) -> Result<SignedSuccessor, E> {
        // Poisoning is ignored: a panic in the library leaves the memo unchanged.
        let mut memo = self.0.successor.lock().unwrap_or_else(PoisonError::into_inner);
        match &*memo {
            Some(memo) if memo.ring == ring.id() && memo.claims == *claims => Ok(memo.signed.clone()),
            _ => {
                let signed = sign()?;
                *memo = Some(Memo { ring: ring.id(), claims: Arc::clone(claims), signed: signed.clone() });
                Ok(signed)
            }
        }
    }

    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// The time by the clock of its authority. `None` if the authority was dropped.
    pub(crate) fn now(&self) -> Option<NumericDate> {
        Some(self.0.authority.upgrade()?.clock.now())
    }

    /// The private claims.
    pub fn claims(&self) -> &C {
        &self.0.private
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.verified().claims().sub()
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.verified().claims().iss()
    }

    /// `jti`.
    pub fn jti(&self) -> Option<&str> {
        self.verified().claims().jti()
    }

    /// Whether the token holds this scope, in `scope` or, if there is no such claim, in `scp`: a string with spaces between
    /// them (RFC 8693 §4.2), or an array of strings. Byte for byte. No token holds an empty one.
    pub fn has_scope(&self, scope: &str) -> bool {
        !scope.is_empty() && self.verified().claims().scopes().is_some_and(|held| holds(held, scope))
    }

    /// `acr`, how strongly its holder signed in; `None` if it is absent or not a string.
    pub fn acr(&self) -> Option<Cow<'_, str>> {
        self.verified().claims().acr()
    }

    /// `auth_time`, when its holder signed in; `None` if it is absent or not a NumericDate. A renewal keeps it.
    pub fn authenticated_at(&self) -> Option<NumericDate> {
        self.verified().claims().auth_time()
    }

    /// `iat`; of a token without one, the earliest instant at which it can have been issued
    /// ([`accept_without_iat`](super::AuthorityBuilder::accept_without_iat)).
    pub fn issued_at(&self) -> NumericDate {
        self.verified().claims().iat()
    }

    /// `exp`.
    pub fn expires_at(&self) -> NumericDate {
        self.verified().claims().exp()
    }

    /// The instant from which on no request with this token is admitted, with leeway and session limit considered. A
    /// handler that runs long can stop its work then.
    pub fn admitted_until(&self) -> NumericDate {
        self.verified().admitted_until()
    }

    /// When the session began: the session-start claim, or the claim that is used in its place.
    pub fn session_start(&self) -> NumericDate {
        self.verified().claims().session_start()
    }

    /// The session that the token belongs to.
    pub fn session(&self) -> SessionId {
        self.verified().session()
    }

    /// The whole claims object, as the JSON text that was signed.
    pub fn json(&self) -> &str {
        self.verified().claims().text()
    }

    /// Whether one of this authority's own keys signed it. A token of a foreign issuer is admitted and never renewed.
    pub fn is_own(&self) -> bool {
        self.verified().key().is_own()
    }
}

/// A hash of an epoch and an instant. It depends on all bits of the epoch, and two pairs have the same hash once in 2^63. It is never
/// 0, which means that nothing is remembered.
fn moment(epoch: u64, now: NumericDate) -> u64 {
    FixedState::default().hash_one((epoch, now.as_secs())) | 1
}

impl<C> Clone for VerifiedToken<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Only times: subject and claims are personal data.
impl<C> fmt::Debug for VerifiedToken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issued_at", &self.issued_at())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_memo_ends_with_its_second_and_with_any_bit_of_the_epoch() {
        let now = NumericDate::from_secs(1_800_000_000);
        let seen = moment(0, now);
        assert_ne!(seen, 0);
        assert_eq!(seen, moment(0, now));
        assert!((0..64).all(|bit| moment(1 << bit, now) != seen));
        assert_ne!(moment(0, now.after(1)), seen);
    }
}
