//! Ending sessions. Every call here fails aloud: a revocation that may not hold is never reported as done.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::{Authority, VerifiedToken};
use crate::NumericDate;
use crate::store::{ErasedStore, Revocation, SessionRecord, StoreError, StoreErrorKind, SubjectId};
use crate::telemetry::Event;
use crate::token::refusal::Refusal;
use crate::token::verify;

/// Why a sign-out did not happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignOutError {
    /// The token is not a correctly signed own one of a session that can still live.
    Refused(Refusal),
    /// The store did not record it. Answer 503: the session may still be live.
    Store(StoreError),
}

impl fmt::Display for SignOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => f.write_str("the token can't end a session"),
            Self::Store(_) => f.write_str("the revocation was not recorded"),
        }
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
    /// Ends the session of this token's text. It works with an expired token, up to the session's ceiling: whoever
    /// signs out late is signed out all the same (RFC 7009 §2.1).
    ///
    /// # Errors
    /// A [`SignOutError`].
    pub async fn sign_out(&self, token: &str) -> Result<(), SignOutError> {
        self.sign_out_bytes(token.as_bytes()).await
    }

    pub(crate) async fn sign_out_bytes(&self, token: &[u8]) -> Result<(), SignOutError> {
        // How handlers read private claims is of no weight here: a token from before that changed signs out too.
        let (policy, ring) = (&self.0.policy, self.0.keys.load());
        let token = verify::verify(token, &ring, policy).map_err(SignOutError::Refused)?;
        drop(ring);
        policy
            .may_end_session(&token, self.now())
            .map_err(|reason| SignOutError::Refused(Refusal::new(reason)))?;
        let until = policy.session_of_matters_until(&token);
        self.revoke(Revocation::Session(token.session()), until).await.map_err(SignOutError::Store)
    }

    /// Ends the session that an admitted token belongs to.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_session(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let until = self.0.policy.session_of_matters_until(token.verified());
        self.revoke(Revocation::Session(token.session()), until).await
    }

    /// Ends a session from the list that [`sessions`](Self::sessions) gave, until no token of it could live on: its
    /// recorded start, and the ceiling. A login server that mints tokens of one `sid` without a session start, and goes on
    /// minting them after that, opens it anew: let it declare the start.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_recorded(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let until = self.0.policy.session_matters_until(session.session_start);
        self.revoke(Revocation::Session(session.session), until).await
    }

    /// Revokes one token. Where it already has a successor, its session ends.
    ///
    /// # Errors
    /// Where the store did not record it, or there is none.
    pub async fn revoke_token(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let revocation = Revocation::Token { session: token.session(), token: token.verified().id() };
        // The longer of the two: it may turn out to end the session.
        let until = self.0.policy.session_of_matters_until(token.verified());
        self.revoke(revocation, until).await
    }

    /// Ends every session that `subject` has begun up to now: after a password change, say. A sign-in within the
    /// same second is refused too; a session begun by a machine whose clock is ahead is not.
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
        let (instant, subject) = (self.now(), SubjectId::new(issuer, subject));
        let until = self.0.policy.session_matters_until(instant);
        self.revoke(Revocation::SubjectBefore { subject, instant }, until).await
    }

    /// The live sessions of `subject` that the store knows: "signed in on these devices".
    ///
    /// # Errors
    /// Where the store can't tell, or there is none.
    pub async fn sessions(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let subject = SubjectId::new(self.0.policy.issuer.as_deref(), subject);
        self.ask(self.recording_store()?.sessions(subject, self.now())).await
    }

    /// Ends every other session of this token's subject that [`sessions`](Self::sessions) lists, one by one, and says
    /// how many: "sign out my other devices". A session that is not on record is not ended; [`revoke_subject`]
    /// ends those too, and this one with them.
    ///
    /// [`revoke_subject`]: Self::revoke_subject
    ///
    /// # Errors
    /// Where the store did not record one, or there is none, or the token names no subject. Those before it have
    /// ended; call again for the rest.
    pub async fn revoke_other_sessions(&self, token: &VerifiedToken<C>) -> Result<usize, StoreError> {
        let store = self.recording_store()?;
        let subject = token.verified().subject().ok_or(StoreErrorKind::Misused)?;
        let mut others = self.ask(store.sessions(subject, self.now())).await?;
        others.retain(|other| other.session != token.session());
        for other in &others {
            self.revoke_recorded(other).await?;
        }
        Ok(others.len())
    }

    async fn revoke(&self, revocation: Revocation, until: NumericDate) -> Result<(), StoreError> {
        self.ask(self.recording_store()?.revoke(revocation, self.now(), until)).await?;
        self.emit(Event::Revoked);
        Ok(())
    }

    fn recording_store(&self) -> Result<Arc<dyn ErasedStore>, StoreError> {
        self.0.store.clone().ok_or_else(|| StoreError::new(StoreErrorKind::Stateless))
    }
}
