//! Drives the reissue protocol: it gets the answers that the protocol asks for, and signs the successor.

use std::pin::Pin;

use super::{Admission, Authority, SignedSuccessor, VerifiedToken, sign};
use crate::keyring::ring::KeyRing;
use crate::store::{Rotated, Rotation};
use crate::time::NumericDate;
use crate::token::reissue::{Capacity, NoSuccessor, NotReissued, Reissue, Step};

/// A successor, or a future of one. A failure yields none, so it never harms the response.
pub(crate) enum Renewal {
    Decided(Option<SignedSuccessor>),
    /// The store has to record it first.
    Pending(Pin<Box<dyn Future<Output = Option<SignedSuccessor>> + Send>>),
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// The time of the response, if a successor is due then. Nothing is verified again.
    #[inline(always)]
    pub(crate) fn due(&self, admission: &Admission<C>) -> Option<NumericDate> {
        // So that a clock that steps back has no effect.
        let now = self.now().max(admission.at);
        self.0.policy.is_due(admission.token.verified(), now).then_some(now)
    }

    /// The successor that is due, if the response can carry it.
    // `inline(always)`: see `finish` in the layer's future.
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

    /// Drives the protocol to the signed successor. `None` if it is to be sent later, at the response.
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

    /// The same without a store, and so without waiting.
    fn reissue_now(
        &self,
        token: &VerifiedToken<C>,
        mut reissue: Reissue,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        self.advance(token, &mut reissue, Step::AskPredicate)?.ok_or(NoSuccessor::StoreFailed)
    }

    /// Takes the steps that need no waiting. `None` if the store has to record the successor next.
    fn advance(
        &self,
        token: &VerifiedToken<C>,
        reissue: &mut Reissue,
        mut step: Step,
    ) -> Result<Option<Option<SignedSuccessor>>, NoSuccessor> {
        let (policy, verified) = (&self.0.policy, token.verified());
        if step == Step::AskPredicate {
            let allowed = self.allows_renewal(token);
            // The key is checked after the predicate, which takes time.
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

    /// Whether the application's predicate allows a successor. `None` if it panicked.
    fn allows_renewal(&self, token: &VerifiedToken<C>) -> Option<bool> {
        match &self.0.hooks.renew_if {
            Some(renew_if) => self.ask_hook("renew_if", || renew_if(token)),
            None => Some(true),
        }
    }

    /// The store's answer to the proposed successor. `None` if it failed, which is reported.
    async fn record(&self, token: &VerifiedToken<C>, reissue: &Reissue) -> Option<Rotated> {
        let (policy, verified, now) = (&self.0.policy, token.verified(), reissue.now());
        let (store, proposed) = (self.0.store.clone()?, reissue.successor(policy, verified)?);
        let until = policy.token_matters_until(proposed.exp, token.session_start());
        let rotation =
            Rotation::renewal(token.presented(now), verified.successor_id(), &*proposed.claims, until)
                .limited_by(self.retention(now));
        self.ask(store.rotate(rotation)).await.ok()
    }

    /// The length of a signed token with these claims.
    pub(super) fn signed_len(
        &self,
        ring: &KeyRing,
        claims: &str,
        typ: Option<&str>,
    ) -> Result<usize, NotReissued> {
        let len = sign::signed_len(ring, claims.len(), typ).ok_or(NotReissued::SigningFailed)?;
        // This service would refuse a longer one.
        if len > self.0.policy.max_token_bytes { Err(NotReissued::TooLong) } else { Ok(len) }
    }
}
