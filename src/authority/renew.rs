//! Drives the reissue protocol: it gets the answers that the protocol asks for, and signs the successor.

use std::pin::Pin;

use super::{Admission, Authority, SignedSuccessor, VerifiedToken};
use crate::store::{Rotated, Rotation};
use crate::time::NumericDate;
use crate::token::capacity::Capacity;
use crate::token::not_reissued::NotReissued;
use crate::token::reissue::{NoSuccessor, Reissuing, Step};
use crate::token::verify::Verified;

/// A successor, or a future of one. A failure yields none, so it never harms the response.
pub(crate) enum DueSuccessor {
    Decided(Option<SignedSuccessor>),
    /// The store has to record it first.
    Pending(Pin<Box<dyn Future<Output = Option<SignedSuccessor>> + Send>>),
}

/// How far a reissue came without waiting.
enum Progress {
    /// To its end. `None`: the successor is sent with the response to come.
    Made(Option<SignedSuccessor>),
    AskRenewer,
    AskStanding,
    Record,
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
    pub(crate) fn renew(
        &self,
        token: &VerifiedToken<C>,
        now: NumericDate,
        capacity: Capacity,
    ) -> DueSuccessor {
        let reissue = Reissuing::at_response(now, Some(capacity), self.records_successor(token));
        if !self.can_revoke() {
            return DueSuccessor::Decided(self.or_report(self.reissue_now(token, reissue)));
        }
        let (authority, token) = (self.clone(), token.clone());
        DueSuccessor::Pending(Box::pin(async move {
            let made = authority.drive_reissue(&token, reissue).await;
            authority.or_report(made)
        }))
    }

    /// Whether the store records the successor of this token.
    #[inline(always)]
    pub(super) fn records_successor(&self, token: &VerifiedToken<C>) -> bool {
        self.can_revoke() && token.verified().is_recorded()
    }

    fn or_report(&self, made: Result<Option<SignedSuccessor>, NoSuccessor>) -> Option<SignedSuccessor> {
        made.unwrap_or_else(|why| {
            why.at_response().inspect(|&why| self.reporter().not_reissued(why));
            None
        })
    }

    /// Drives the protocol to the signed successor. `None` if it is to be sent later, at the response.
    pub(super) async fn drive_reissue(
        &self,
        token: &VerifiedToken<C>,
        reissue: Reissuing,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        let mut reissue = reissue.asking(self.0.hooks.renewer.is_some(), self.can_revoke());
        let (policy, verified) = (&self.0.policy, token.verified());
        let mut step = Step::AskPredicate;
        loop {
            step = match self.advance(token, &mut reissue, step)? {
                Progress::Made(made) => return Ok(made),
                Progress::AskRenewer => {
                    let answer = self.ask_renewer(verified).await.ok();
                    let signed_len = |claims: &str| self.len_after(verified, claims);
                    reissue.renewed(policy, verified, answer.as_ref(), signed_len)?
                }
                Progress::AskStanding => {
                    let answer = self.standing(token.presented(reissue.now())).await;
                    Reissuing::stands(policy, answer)?
                }
                Progress::Record => {
                    let answer = self.record(token, &reissue).await;
                    reissue.recorded(policy, verified, answer)?
                }
            };
        }
    }

    /// The same without a store, and so without waiting.
    fn reissue_now(
        &self,
        token: &VerifiedToken<C>,
        mut reissue: Reissuing,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        match self.advance(token, &mut reissue, Step::AskPredicate)? {
            Progress::Made(made) => Ok(made),
            Progress::AskRenewer | Progress::AskStanding | Progress::Record => Err(NoSuccessor::StoreFailed),
        }
    }

    /// Takes the steps that need no waiting.
    fn advance(
        &self,
        token: &VerifiedToken<C>,
        reissue: &mut Reissuing,
        mut step: Step,
    ) -> Result<Progress, NoSuccessor> {
        let (policy, verified) = (&self.0.policy, token.verified());
        if step == Step::AskPredicate {
            let allowed = self.allows_renewal(token);
            // The key is checked after the predicate, which takes time.
            let key_held = token.is_held(&self.0.keys);
            let signed_len = |claims: &str| self.len_after(verified, claims);
            step = reissue.allowed(policy, verified, allowed, key_held, signed_len)?;
        }
        match step {
            Step::AskPredicate | Step::Record => Ok(Progress::Record),
            Step::AskRenewer => Ok(Progress::AskRenewer),
            Step::AskStanding => Ok(Progress::AskStanding),
            Step::Wait => Ok(Progress::Made(None)),
            Step::Sign(capacity) => {
                let successor = reissue.successor(policy, verified).ok_or(NotReissued::TooLate)?;
                Ok(Progress::Made(Some(self.sign_successor(successor, token, capacity)?)))
            }
        }
    }

    /// Whether the application's predicate allows a successor. `None` if it panicked.
    fn allows_renewal(&self, token: &VerifiedToken<C>) -> Option<bool> {
        match &self.0.hooks.renew_if {
            Some(renew_if) => self.reporter().ask_hook("renew_if", || renew_if(token)),
            None => Some(true),
        }
    }

    /// The store's answer to the proposed successor. `None` if it failed, which is reported.
    async fn record(&self, token: &VerifiedToken<C>, reissue: &Reissuing) -> Option<Rotated> {
        let (policy, verified, now) = (&self.0.policy, token.verified(), reissue.now());
        let (store, proposed) = (self.0.store.clone()?, reissue.successor(policy, verified)?);
        let until = policy.token_matters_until(proposed.exp, token.session_start());
        let rotation =
            Rotation::renewal(token.presented(now), verified.successor_id(), &*proposed.claims, until)
                .limited_by(self.retention(now));
        self.ask(store.rotate(rotation)).await.ok()
    }

    /// The length of a successor with these claims.
    fn len_after(&self, token: &Verified, claims: &str) -> Result<usize, NotReissued> {
        self.signed_len(&self.0.keys.load(), claims, token.typ())
    }
}
