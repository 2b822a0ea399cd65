//! The response is ready: is a successor owed, and which?

use std::pin::Pin;

use super::{Admission, Authority, SignedSuccessor, VerifiedToken, sign};
use crate::NumericDate;
use crate::keys::KeyRing;
use crate::store::{Rotated, Rotation};
use crate::telemetry::NotReissued;
use crate::token::successor::Successor;

/// A successor, or the future that may yield one. A failure yields none: it never harms the response.
pub(crate) enum Renewal {
    Decided(Option<SignedSuccessor>),
    /// The store has to record it first.
    Pending(Pin<Box<dyn Future<Output = Option<SignedSuccessor>> + Send>>),
}

/// What a response can carry back to where its token was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// The longest token, in bytes.
    pub(crate) longest: usize,
    /// What is reported of a longer one.
    pub(crate) otherwise: NotReissued,
}

impl Capacity {
    /// Whether it carries a token of this many bytes.
    pub(super) fn admit(self, bytes: usize) -> Result<(), NotReissued> {
        if bytes <= self.longest { Ok(()) } else { Err(self.otherwise) }
    }
}

/// Why there is no recorded successor.
pub(super) enum Unrecorded {
    Not(NotReissued),
    Revoked,
    Reused {
        generations: u32,
    },
    /// The store failed, which was reported.
    Outage,
}

impl From<NotReissued> for Unrecorded {
    fn from(why: NotReissued) -> Self {
        Self::Not(why)
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Judges an admitted token again, at the time of the response: that instant, where a successor is due.
    /// Nothing is verified a second time.
    #[inline(always)]
    pub(crate) fn due(&self, admission: &Admission<C>) -> Option<NumericDate> {
        // A clock that steps back changes nothing.
        let now = self.now().max(admission.at);
        self.0.policy.is_due(admission.token.verified(), now).then_some(now)
    }

    /// The successor that is due, if the response can carry it.
    pub(crate) fn renew(&self, token: &VerifiedToken<C>, now: NumericDate, capacity: Capacity) -> Renewal {
        if let Err(why) = self.may_renew(token) {
            return Renewal::Decided(self.report(Err(why)));
        }
        if self.0.store.is_none() {
            let derived = self.derived(token, now);
            let signed = derived.and_then(|successor| self.sign_successor(successor, token, capacity));
            return Renewal::Decided(self.report(signed));
        }
        let (authority, token) = (self.clone(), token.clone());
        Renewal::Pending(Box::pin(async move {
            let signed = match authority.record(&token, now, capacity).await {
                Ok(successor) => authority.sign_successor(&successor, &token, capacity),
                Err(Unrecorded::Not(why)) => Err(why),
                Err(Unrecorded::Revoked) => Err(NotReissued::Revoked),
                // Reuse is judged at arrival: a slow request is not a thief.
                Err(Unrecorded::Reused { .. }) => Err(NotReissued::Unknown),
                Err(Unrecorded::Outage) => Err(NotReissued::StoreFailed),
            };
            authority.report(signed)
        }))
    }

    /// Whether key and predicate allow it. A key that left the ring renews nothing, requests in flight included.
    pub(super) fn may_renew(&self, token: &VerifiedToken<C>) -> Result<(), NotReissued> {
        let renews = match &self.0.hooks.renew_if {
            Some(renew_if) => self.ask_hook("renew_if", || renew_if(token)),
            None => Some(true),
        };
        // The key is asked last: the predicate takes its time.
        if !token.is_held(&self.0.keys) {
            return Err(NotReissued::KeyWithdrawn);
        }
        match renews {
            Some(true) => Ok(()),
            Some(false) => Err(NotReissued::Declined),
            None => Err(NotReissued::HookPanicked),
        }
    }

    /// The successor that every node derives, without a store.
    pub(super) fn derived<'a>(
        &self,
        token: &'a VerifiedToken<C>,
        now: NumericDate,
    ) -> Result<&'a Successor, NotReissued> {
        let (policy, verified) = (&self.0.policy, token.verified());
        let derived = token.derive_once(|| policy.derive(verified));
        derived
            .filter(|successor| policy.is_worth_sending(successor, verified, now))
            .ok_or(NotReissued::Outlived)
    }

    /// The recorded successor: the proposed one, or the head that was recorded before it. Whether the proposed one can go
    /// out is known before it is recorded, for by that its predecessor is spent.
    pub(super) async fn record(
        &self,
        token: &VerifiedToken<C>,
        now: NumericDate,
        capacity: Capacity,
    ) -> Result<Successor, Unrecorded> {
        let (policy, verified) = (&self.0.policy, token.verified());
        let proposed = policy.propose(verified, now).ok_or(NotReissued::Outlived)?;
        capacity.admit(self.signed_len(&self.0.keys.load(), &proposed.claims, verified.typ())?)?;
        let store = self.0.store.clone().ok_or(NotReissued::Unknown)?;
        let until = policy.token_matters_until(proposed.exp, token.session_start());
        let rotation =
            Rotation::renewal(token.presented(now), verified.successor_id(), &*proposed.claims, until)
                .limited_by(self.retention(now));
        let recorded = match self.ask(store.rotate(rotation)).await {
            Ok(Rotated::Recorded) => proposed,
            Ok(Rotated::Superseded { head }) => {
                policy.accept_head(verified, &head, now).ok_or(NotReissued::StrangeHead)?
            }
            Ok(Rotated::Reused { generations }) => return Err(Unrecorded::Reused { generations }),
            Ok(Rotated::Revoked | Rotated::Predated { .. }) => return Err(Unrecorded::Revoked),
            Ok(Rotated::Unknown) => return Err(NotReissued::Unknown.into()),
            Err(_) => return Err(Unrecorded::Outage),
        };
        // The ring may have changed while the store was waited for, and a later refusal wins over what is recorded.
        self.may_renew(token)?;
        Ok(recorded)
    }

    /// The length that these claims have once they are signed.
    pub(super) fn signed_len(
        &self,
        ring: &KeyRing,
        claims: &str,
        typ: Option<&str>,
    ) -> Result<usize, NotReissued> {
        let len = sign::signed_len(ring, claims.len(), typ).ok_or(NotReissued::SigningFailed)?;
        // One that this service would refuse the next time is worth nothing.
        if len > self.0.policy.max_token_bytes { Err(NotReissued::TooLong) } else { Ok(len) }
    }

    /// Reports why there is no successor; one that there is, is reported once it goes out.
    fn report(&self, signed: Result<SignedSuccessor, NotReissued>) -> Option<SignedSuccessor> {
        signed.map_err(|why| self.report_not_reissued(why)).ok()
    }
}
