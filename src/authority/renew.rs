//! A successor is made: the reissue protocol decides, this asks what it asks for, and signs.

use std::pin::Pin;

use super::{Admission, Authority, SignedSuccessor, VerifiedToken, sign};
use crate::keyring::ring::KeyRing;
use crate::store::{Rotated, Rotation};
use crate::time::NumericDate;
use crate::token::reissue::{Capacity, NoSuccessor, NotReissued, Reissue, Step};

/// A successor, or the future that may yield one. A failure yields none: it never harms the response.
pub(crate) enum Renewal {
    Decided(Option<SignedSuccessor>),
    /// The store has to record it first.
    Pending(Pin<Box<dyn Future<Output = Option<SignedSuccessor>> + Send>>),
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
    // Always: see `finish` in the layer's future.
    #[inline(always)]
    pub(crate) fn renew(&self, token: &VerifiedToken<C>, now: NumericDate, capacity: Capacity) -> Renewal {
        let reissue = Reissue::at_response(now, Some(capacity), self.can_revoke());
        if !self.can_revoke() {
            return Renewal::Decided(self.or_report(self.reissue_now(token, reissue)));
        }
        let (authority, token) = (self.clone(), token.clone());
        Renewal::Pending(Box::pin(async move {
            let made = authority.reissue(&token, reissue).await;
            authority.or_report(made)
        }))
    }

    fn or_report(&self, made: Result<Option<SignedSuccessor>, NoSuccessor>) -> Option<SignedSuccessor> {
        made.unwrap_or_else(|why| {
            why.at_response().inspect(|&why| self.report_not_reissued(why));
            None
        })
    }

    /// Drives the reissue protocol to the signed successor; `None` where it goes out at the response.
    pub(super) async fn reissue(
        &self,
        token: &VerifiedToken<C>,
        mut reissue: Reissue,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        let mut step = Step::AskPredicate;
        loop {
            if let Some(made) = self.advance(token, &mut reissue, step)? {
                return Ok(made);
            }
            let answer = self.record(token, &reissue).await;
            step = reissue.recorded(&self.0.policy, token.verified(), answer)?;
        }
    }

    /// The same without a store: nothing is waited for, and nothing boxed.
    fn reissue_now(
        &self,
        token: &VerifiedToken<C>,
        mut reissue: Reissue,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        self.advance(token, &mut reissue, Step::AskPredicate)?.ok_or(NoSuccessor::StoreFailed)
    }

    /// Takes the steps that need no waiting. `None`: the successor is to be recorded.
    fn advance(
        &self,
        token: &VerifiedToken<C>,
        reissue: &mut Reissue,
        mut step: Step,
    ) -> Result<Option<Option<SignedSuccessor>>, NoSuccessor> {
        let (policy, verified) = (&self.0.policy, token.verified());
        if step == Step::AskPredicate {
            let allowed = self.allows_renewal(token);
            // The key is asked after the predicate, which takes its time.
            let key_held = token.is_held(&self.0.keys);
            let signed_len = |claims: &str| self.signed_len(&self.0.keys.load(), claims, verified.typ());
            step = reissue.allowed(policy, verified, allowed, key_held, signed_len)?;
        }
        match step {
            Step::AskPredicate | Step::Record => Ok(None),
            Step::Wait => Ok(Some(None)),
            Step::Sign(capacity) => {
                let successor = reissue.successor(policy, verified).ok_or(NotReissued::TooLate)?;
                Ok(Some(Some(self.sign_successor(successor, token, capacity)?)))
            }
        }
    }

    /// Whether the application's predicate allows a successor; `None` where it panicked.
    fn allows_renewal(&self, token: &VerifiedToken<C>) -> Option<bool> {
        match &self.0.hooks.renew_if {
            Some(renew_if) => self.ask_hook("renew_if", || renew_if(token)),
            None => Some(true),
        }
    }

    /// What the store makes of the proposed successor; `None` where it failed, which was reported.
    async fn record(&self, token: &VerifiedToken<C>, reissue: &Reissue) -> Option<Rotated> {
        let (policy, verified, now) = (&self.0.policy, token.verified(), reissue.now());
        let (store, proposed) = (self.0.store.clone()?, reissue.successor(policy, verified)?);
        let until = policy.token_matters_until(proposed.exp, token.session_start());
        let rotation =
            Rotation::renewal(token.presented(now), verified.successor_id(), &*proposed.claims, until)
                .limited_by(self.retention(now));
        self.ask(store.rotate(rotation)).await.ok()
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
}
