//! The response is ready: is a successor owed, and which?

use std::pin::Pin;

use super::{Admission, Authority, SignedSuccessor, VerifiedToken};
use crate::NumericDate;
use crate::store::Rotated;
use crate::telemetry::NotReissued;
use crate::token::successor::Successor;

/// A successor, or the future that may yield one. A failure yields none: it never harms the response.
pub(crate) enum Renewal {
    Decided(Option<SignedSuccessor>),
    /// The store has to record it first.
    Pending(Pin<Box<dyn Future<Output = Option<SignedSuccessor>> + Send>>),
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Judges the evidence of admission again, at the time of the response. Nothing is verified a second time.
    pub(crate) fn renew(&self, admission: &Admission<C>) -> Renewal {
        let token = &admission.token;
        // A clock that steps back changes nothing.
        let now = self.now().max(admission.at);
        if !self.0.policy.is_due(token.verified(), now) {
            return Renewal::Decided(None);
        }
        if let Err(why) = self.may_renew(token) {
            return Renewal::Decided(self.report(Err(why)));
        }
        if self.0.store.is_none() {
            let signed = self
                .0
                .policy
                .derive(token.verified(), now)
                .ok_or(NotReissued::Outlived)
                .and_then(|successor| self.sign_successor(&successor, token.verified()));
            return Renewal::Decided(self.report(signed));
        }
        let Some(proposed) = self.0.policy.propose(token.verified(), now) else {
            return Renewal::Decided(self.report(Err(NotReissued::Outlived)));
        };
        let (authority, token) = (self.clone(), token.clone());
        Renewal::Pending(Box::pin(async move {
            let signed = match authority.record(&token, proposed, now).await {
                // The ring may have changed while the store was waited for.
                Ok(successor) => match authority.may_renew(&token) {
                    Ok(()) => authority.sign_successor(&successor, token.verified()),
                    Err(why) => Err(why),
                },
                Err(why) => Err(why),
            };
            authority.report(signed)
        }))
    }

    /// Whether key and predicate allow it. A key that left the ring renews nothing, requests in flight included.
    pub(super) fn may_renew(&self, token: &VerifiedToken<C>) -> Result<(), NotReissued> {
        if !self.holds_key_of(token) {
            return Err(NotReissued::KeyWithdrawn);
        }
        match &self.0.hooks.renew_if {
            Some(likes) if !likes(token) => Err(NotReissued::Declined),
            _ => Ok(()),
        }
    }

    /// The recorded successor: the proposed one, or the head that was recorded before it.
    async fn record(
        &self,
        token: &VerifiedToken<C>,
        proposed: Successor,
        now: NumericDate,
    ) -> Result<Successor, NotReissued> {
        let store = self.0.store.clone().ok_or(NotReissued::Unknown)?;
        match self.ask(store.rotate(self.rotation(token, &proposed, now))).await {
            Ok(Rotated::Recorded) => Ok(proposed),
            Ok(Rotated::Superseded { head }) => {
                self.0.policy.accept_head(token.verified(), &head, now).ok_or(NotReissued::StrangeHead)
            }
            Ok(Rotated::Revoked) => Err(NotReissued::Revoked),
            // Reuse is judged at arrival: a slow request is not a thief.
            Ok(Rotated::Unknown | Rotated::Reused { .. }) => Err(NotReissued::Unknown),
            Err(_) => Err(NotReissued::StoreFailed),
        }
    }

    /// Reports why there is no successor; one that there is, is reported once it goes out.
    fn report(&self, signed: Result<SignedSuccessor, NotReissued>) -> Option<SignedSuccessor> {
        signed.map_err(|why| self.report_not_reissued(why)).ok()
    }
}
