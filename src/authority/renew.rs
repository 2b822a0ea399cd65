//! Drives the reissue protocol: it gets the answers that the protocol asks for, and signs the successor.

use std::pin::Pin;

use super::{Admission, Authority, IssuedToken, SignedSuccessor, VerifiedToken, sign};
use crate::keyring::ring::KeyRing;
use crate::store::{Rotated, Rotation};
use crate::telemetry::ReissueKind;
use crate::time::NumericDate;
use crate::token::reissue::{self, Capacity, NoSuccessor, NotReissued, Reissuing, Step};
use crate::token::renewal::Renewal;
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
            why.at_response().inspect(|&why| self.report_not_reissued(why));
            None
        })
    }

    /// Drives the protocol to the signed successor. `None` if it is to be sent later, at the response.
    pub(super) async fn drive_reissue(
        &self,
        token: &VerifiedToken<C>,
        reissue: Reissuing,
    ) -> Result<Option<SignedSuccessor>, NoSuccessor> {
        let mut reissue = reissue.asking_renewer(self.0.hooks.renewer.is_some());
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
            Progress::AskRenewer | Progress::Record => Err(NoSuccessor::StoreFailed),
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
            Step::Wait => Ok(Progress::Made(None)),
            Step::Sign(capacity) => {
                let successor = reissue.successor(policy, verified).ok_or(NotReissued::TooLate)?;
                Ok(Progress::Made(Some(self.sign_successor(successor, token, capacity)?)))
            }
        }
    }

    /// The successor of an admitted token, now: for a handler that wants one before it is due. The layer sends the same one when
    /// it becomes due, and so does every node. To send it in the handler's response, put it into a
    /// [`Reissued`](crate::Reissued).
    ///
    /// The token must be live at this moment: with a store, the store must report its session as live. Predicate and renewer are asked as at any renewal. Without a
    /// store there is no successor before the renewal window opens, because that instant is the successor's `iat`. Nor is there one
    /// in the second in which the token was issued, because a successor expires later than its token. The access token of a pair
    /// has none: its client refreshes.
    ///
    /// # Errors
    /// Why there is no successor. The token is good for as long as it was.
    pub async fn reissue(&self, token: &VerifiedToken<C>) -> Result<IssuedToken, NotReissued> {
        self.reissue_wanted(token, None).await
    }

    /// The same, with fewer scopes or audiences, as [`Renewal::scope`](crate::Renewal::scope) and
    /// [`Renewal::audience`](crate::Renewal::audience) name them: for a handler that gives up what its caller needs no longer. All
    /// later tokens of the session have no more either. Every other claim is kept.
    ///
    /// The presented token keeps its scopes until it expires. A token has one successor: if one with more is on record
    /// already, from another request, this fails with [`AlreadyReissued`](NotReissued::AlreadyReissued).
    ///
    /// # Errors
    /// Why there is no successor. The token is good for as long as it was. [`NeedsStore`](NotReissued::NeedsStore) without a store:
    /// every node then derives the same successor, with the same claims.
    pub async fn reissue_with(
        &self,
        token: &VerifiedToken<C>,
        wanted: Renewal,
    ) -> Result<IssuedToken, NotReissued> {
        self.reissue_wanted(token, Some(wanted)).await
    }

    async fn reissue_wanted(
        &self,
        token: &VerifiedToken<C>,
        wanted: Option<Renewal>,
    ) -> Result<IssuedToken, NotReissued> {
        let (policy, verified) = (&self.0.policy, token.verified());
        if !token.is_of(&self.0) {
            return Err(NotReissued::NotRenewable);
        }
        let now = self.now();
        let reissue = Reissuing::on_request(policy, verified, now, self.can_revoke(), wanted)?;
        self.admit_again(token).await.map_err(|refusal| NotReissued::of_refused(refusal.reason()))?;
        let made = self.drive_reissue(token, reissue).await;
        let made = made.map_err(|why| why.at_response().unwrap_or(NotReissued::Suppressed));
        let signed =
            made.inspect_err(|&why| self.report_not_reissued(why))?.ok_or(NotReissued::Suppressed)?;
        self.report_reissued(ReissueKind::Renewed, signed.exp);
        Ok(IssuedToken {
            token: signed.text().to_owned(),
            jti: verified.id().successor_jti(),
            issued_at: now,
            expires_at: signed.exp,
            session: token.session(),
            renewed_len: Some(signed.text().len()),
        })
    }

    /// The token that a handler wants to send in place of the admitted one, if it is of the same session and the response can
    /// carry it; and when the request was admitted. `capacity` is `None` if the response carries none.
    pub(crate) fn replacement(
        &self,
        admission: Option<&Admission<C>>,
        token: &IssuedToken,
        capacity: Option<Capacity>,
    ) -> Result<(SignedSuccessor, NumericDate), NotReissued> {
        let admission = admission.ok_or(NotReissued::NotRenewable)?;
        reissue::may_replace(admission.token.verified(), token.session, token.token.len(), capacity)?;
        let signed = SignedSuccessor::new(token.token.clone().into_bytes(), token.expires_at);
        Ok((signed.ok_or(NotReissued::SigningFailed)?, admission.at))
    }

    /// Whether the application's predicate allows a successor. `None` if it panicked.
    fn allows_renewal(&self, token: &VerifiedToken<C>) -> Option<bool> {
        match &self.0.hooks.renew_if {
            Some(renew_if) => self.ask_hook("renew_if", || renew_if(token)),
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

    /// The length of a signed token with these claims.
    pub(super) fn signed_len(
        &self,
        ring: &KeyRing,
        claims: &str,
        typ: Option<&str>,
    ) -> Result<usize, NotReissued> {
        let iss = self.0.policy.issuer.as_deref();
        let len = sign::signed_len(ring, claims.len(), iss, typ).ok_or(NotReissued::SigningFailed)?;
        // This service would refuse a longer one.
        if len > self.0.policy.max_token_bytes { Err(NotReissued::TooLong) } else { Ok(len) }
    }
}
