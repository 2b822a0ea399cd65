//! [`Authority::reissue`]: the successor of an admitted token, for a handler that asks for it.

use std::sync::Arc;

use super::{Admission, Authority, IssuedToken, SignedSuccessor, VerifiedToken};
use crate::telemetry::ReissueKind;
use crate::time::NumericDate;
use crate::token::capacity::Capacity;
use crate::token::not_reissued::NotReissued;
use crate::token::reissue::{self, Reissuing};
use crate::token::renewal::Renewal;

impl<C: Send + Sync + 'static> Authority<C> {
    /// The successor of an admitted token, now: for a handler that wants one before it is due. The layer sends the same one when
    /// it becomes due, and so does every node. To send it in the handler's response, put it into a
    /// [`Reissued`](crate::Reissued).
    ///
    /// The token must be live at this moment: with a store, the store must report its session as live. Predicate and renewer are
    /// asked as at any renewal. Without a store there is no successor before the renewal window opens, because that instant is the
    /// successor's `iat`. Nor is there one in the second in which the token was issued, because a successor expires later than its
    /// token. The access token of a pair has none: its client refreshes.
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
            made.inspect_err(|&why| self.reporter().not_reissued(why))?.ok_or(NotReissued::Suppressed)?;
        self.reporter().reissued(ReissueKind::Renewed, signed.exp);
        Ok(IssuedToken {
            token: signed.text().to_owned(),
            jti: verified.id().successor_jti(),
            issued_at: now,
            expires_at: signed.exp,
            session: token.session(),
            authority: self.address(),
            renewed_len: Some(signed.text().len()),
        })
    }

    /// Whether this token is for a layer of this authority to send, or to report as not sent. Of several layers around a handler, each
    /// leaves the others' tokens alone.
    pub(crate) fn may_send(&self, admission: Option<&Admission<C>>, token: &IssuedToken) -> bool {
        token.authority == self.address()
            || admission.is_some_and(|admission| admission.token.session() == token.session)
    }

    /// Names this authority among those of the process.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
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
}
