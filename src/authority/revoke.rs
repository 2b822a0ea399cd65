//! Ending sessions. Every call here fails aloud: a revocation that may not hold is never reported as done.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::{Authority, Inner, VerifiedToken};
use crate::NumericDate;
use crate::error::with_causes;
use crate::keys::{KeyRing, Refetched, RetiredKey};
use crate::store::{
    ErasedStore, Page, Retention, Revocation, SessionId, SessionPage, SessionRecord, StoreError,
    StoreErrorKind, SubjectId, SubjectLimit,
};
use crate::telemetry::Event;
use crate::token::policy::SKEW_MARGIN;
use crate::token::refusal::{Reason, Refusal};
use crate::token::verify::{self, Verified};

/// Why a sign-out did not happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignOutError {
    /// The token is not a correctly signed own one of a session that can still live. Answer with its
    /// [`status`](Refusal::status): it is a 503 where the token's key is unknown and the source of the own keys can't be read
    /// ([`Reason::KeysUnavailable`](crate::Reason::KeysUnavailable)).
    Refused(Refusal),
    /// The store did not record it. Answer 503: the session may still be live.
    Store(StoreError),
}

impl fmt::Display for SignOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::Refused(_) => "the token can't end a session",
            Self::Store(_) => "the revocation was not recorded",
        };
        f.write_str(&with_causes(message, self.source()))
    }
}

impl StdError for SignOutError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::Store(source) => Some(source),
        }
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Ends the session of this token's text. It works with an expired token, up to the session limit: whoever
    /// signs out late is signed out all the same (RFC 7009 §2.1).
    ///
    /// Under a [`KeyRotation`](crate::keys::KeyRotation) a token whose key is unknown makes the own source be read again, once
    /// in a [cooldown](crate::keys::KeyRotation::cooldown) for all calls. The last 16 keys that were retired, and not
    /// withdrawn, still prove a sign-out until the longest session from their time is over.
    ///
    /// # Errors
    /// A [`SignOutError`].
    pub async fn sign_out(&self, token: &str) -> Result<(), SignOutError> {
        self.sign_out_bytes(token.as_bytes()).await
    }

    pub(crate) async fn sign_out_bytes(&self, token: &[u8]) -> Result<(), SignOutError> {
        let policy = &self.0.policy;
        let token = self.verify_to_sign_out(token).await.map_err(SignOutError::Refused)?;
        policy
            .may_end_session(&token, self.now())
            .map_err(|reason| SignOutError::Refused(Refusal::new(reason)))?;
        let retention = self.retention_of(&token);
        self.revoke(Revocation::Session(token.session()), retention).await.map_err(SignOutError::Store)
    }

    /// How handlers read private claims is of no weight here: a token from before that changed signs out too.
    async fn verify_to_sign_out(&self, token: &[u8]) -> Result<Verified, Refusal> {
        let Inner { keys, policy, .. } = &*self.0;
        let refusal = match verify::verify(token, &keys.load(), policy) {
            Err(refusal) if refusal.reason().is_about_keys() => refusal,
            verdict => return verdict,
        };
        let kid = verify::claimed_kid(token);
        // It can do no harm: all that a token under it can do is to end its own session.
        let retired = kid.as_deref().map(|kid| keys.retired(kid)).unwrap_or_default();
        let could_be_live =
            |retired: &RetiredKey| policy.max_session_lifetime.is_none_or(|limit| retired.for_secs < limit);
        let ring = retired
            .into_iter()
            .filter(could_be_live)
            .fold(KeyRing::of(None), |ring, retired| ring.with_own(retired.key));
        match verify::verify(token, &ring, policy) {
            Err(refusal) if refusal.reason().is_about_keys() => {}
            verdict => return verdict,
        }
        // Another node may have signed it with a key that this one has yet to see.
        let is_known = kid.is_some_and(|kid| keys.load().has_own_key(&kid));
        let refetching = if is_known { None } else { keys.refetch_own() };
        let Some(refetching) = refetching else { return Err(refusal) };
        match refetching.await {
            Refetched::Current => verify::verify(token, &keys.load(), policy),
            Refetched::Unreachable => Err(refusal.because(Reason::KeysUnavailable)),
        }
    }

    /// Ends the session that an admitted token belongs to: no token of it that exists by now is admitted again, on any
    /// authority on this store, whoever minted it.
    ///
    /// A login server that mints tokens of one `sid` without asking this store, and goes on minting them after that, opens
    /// the session anew once the store's [horizon](crate::store::Horizon) is over.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_session(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let retention = self.retention_of(token.verified());
        self.revoke(Revocation::Session(token.session()), retention).await
    }

    /// Ends a session from the list that [`sessions`](Self::sessions) gave, as [`revoke_session`](Self::revoke_session)
    /// does.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_recorded(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let retention = self.retention(self.now()).of(None, session.session_start);
        self.revoke(Revocation::Session(session.session), retention).await
    }

    /// Revokes one token. Where it already has a successor, its session ends.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_token(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let revocation = Revocation::Token { session: token.session(), token: token.verified().id() };
        self.revoke(revocation, self.retention_of(token.verified())).await
    }

    /// Ends every session that `subject` has begun up to now: after a lost password, say. "Now" is the later of this
    /// clock and the store's, and two seconds less than the [tolerance](super::AuthorityBuilder::future_tolerance) more
    /// (3 s by default), so that it reaches sessions begun on a machine whose clock is ahead by so much.
    ///
    /// Whoever signs in after it is signed in at once: within those seconds [`issue`](Self::issue) dates a session after
    /// the revocation. A machine whose clock is behind by more than a second may find its first token not yet valid for as
    /// long as it is behind.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), StoreError> {
        self.revoke_subject_of(self.0.policy.issuer.as_deref(), subject).await
    }

    /// The same for a subject of a trusted foreign issuer: this service then refuses their tokens.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_foreign_subject(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        self.revoke_subject_of(Some(issuer), subject).await
    }

    async fn revoke_subject_of(&self, issuer: Option<&str>, subject: &str) -> Result<(), StoreError> {
        self.revoke_sessions_of(SubjectId::new(issuer, subject), None).await
    }

    /// Ends every other session of this token's subject, on record or not, in one step: "sign out my other devices".
    /// It reaches as far as [`revoke_subject`](Self::revoke_subject).
    ///
    /// # Errors
    /// Where the store did not record it, or there is none, or the token names no subject.
    pub async fn revoke_other_sessions(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        self.recording_store()?;
        let subject = token.verified().subject().ok_or(StoreErrorKind::Misused)?;
        self.revoke_sessions_of(subject, Some(token.session())).await
    }

    async fn revoke_sessions_of(
        &self,
        subject: SubjectId,
        except: Option<SessionId>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let instant = self.0.policy.up_to(now);
        self.revoke(Revocation::SubjectBefore { subject, instant, except }, self.retention(now)).await
    }

    /// Ends every session in this store that began at or before `instant`, whoever's it is, foreign issuers' included:
    /// after a leak, say. An instant that is not past means as far as [`revoke_subject`](Self::revoke_subject) reaches.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_all_before(&self, instant: NumericDate) -> Result<(), StoreError> {
        let now = self.now();
        let instant = if instant < now { instant } else { self.0.policy.up_to(now) };
        self.revoke(Revocation::AllBefore { instant }, self.retention(now)).await
    }

    /// A page of the live sessions of `subject` that the store knows, the newest first: "signed in on these devices".
    /// [`SessionPage::next`] tells where the next page begins.
    ///
    /// # Errors
    /// Where the store can't tell, or there is none.
    pub async fn sessions(&self, subject: &str, page: Page) -> Result<SessionPage, StoreError> {
        let subject = SubjectId::new(self.0.policy.issuer.as_deref(), subject);
        self.ask(self.recording_store()?.sessions(subject, self.now(), page)).await
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        self.ask(self.recording_store()?.revoke(revocation, retention)).await?;
        self.emit(Event::Revoked);
        Ok(())
    }

    /// How a revocation made at `now` is kept, and how many sessions of a subject are.
    pub(super) fn retention(&self, now: NumericDate) -> Retention {
        let policy = &self.0.policy;
        let limit = SubjectLimit::new(policy.max_sessions);
        Retention::new(now, policy.future_tolerance, SKEW_MARGIN).limited_to(limit)
    }

    fn retention_of(&self, token: &Verified) -> Retention {
        self.retention(self.now()).of(token.subject(), token.claims().session_start())
    }

    fn recording_store(&self) -> Result<Arc<dyn ErasedStore>, StoreError> {
        self.0.store.clone().ok_or_else(|| StoreError::new(StoreErrorKind::Stateless))
    }
}
