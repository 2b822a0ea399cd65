//! Ends sessions. A revocation that may not hold is reported as an error.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Authority, Inner, VerifiedToken, detached};
use crate::error::{debug_as_display, with_causes};
use crate::keyring::handle::RetiredKey;
use crate::keyring::ring::KeyRing;
use crate::refusal::Refusal;
use crate::store::{
    ErasedStore, Horizon, Page, Retention, Revocation, SessionId, SessionPage, SessionRecord, StoreError,
    StoreErrorKind, SubjectId, SubjectLimit,
};
use crate::telemetry::Event;
use crate::time::NumericDate;
use crate::token::kind::{Expected, TokenKind};
use crate::token::policy::SKEW_MARGIN;
use crate::token::sign_out::{Ending, SignOut};
use crate::token::verify::{self, Verified};

/// Why a sign-out did not happen.
#[non_exhaustive]
pub enum SignOutError {
    /// The token is not a correctly signed own one of a session that can still live. Answer with its
    /// [`status`](Refusal::status): it is a 503 if the token's key is unknown and the source of the own keys can't be read
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

debug_as_display!(SignOutError);

impl<C: Send + Sync + 'static> Authority<C> {
    /// Ends the session of this token. An expired token works too, as long as any authority on the store may still
    /// admit a token of the session (the store's [horizon](crate::store::Horizon); RFC 7009 §2.1). A token is refused
    /// if its `iat` is further ahead than [`issue`](Self::issue) ever dates one: twice the
    /// [tolerance](super::AuthorityBuilder::future_tolerance) and 1 s.
    ///
    /// Under a [`KeyRotation`](crate::keys::KeyRotation), a token with an unknown key causes the own source to be
    /// read again, once per [cooldown](crate::keys::KeyRotation::cooldown) for all calls. A key counts as unknown if no
    /// own key verifies the token, unless its `kid` is the fingerprint of one: the next key may have any other name too.
    /// The last 16 keys that were retired and not withdrawn still prove a sign-out, with tokens issued before the
    /// retirement. They can end at most 10,000 sessions within one horizon; further sign-outs under them fail with
    /// [`StoreErrorKind::Full`], and the error says what to do.
    ///
    /// # Errors
    /// A [`SignOutError`].
    pub async fn sign_out(&self, token: &str) -> Result<(), SignOutError> {
        self.sign_out_bytes(token.as_bytes()).await
    }

    pub(crate) async fn sign_out_bytes(&self, token: &[u8]) -> Result<(), SignOutError> {
        let policy = &self.0.policy;
        let (token, retired_at) = self.verify_to_sign_out(token).await.map_err(SignOutError::Refused)?;
        let now = self.now();
        let sign_out = SignOut { token: &token, retired_at, has_store: self.can_revoke(), now };
        let horizon = match policy.sign_out_horizon(&sign_out) {
            Some(horizon) => horizon,
            None => self.store_horizon().await.map_err(SignOutError::Store)?,
        };
        let ending = policy
            .may_end_session(&sign_out, horizon)
            .map_err(|reason| SignOutError::Refused(Refusal::new(reason)))?;
        let mut retention = self.retention_of(&token);
        if let Ending::UnderRetiredKey(horizon) = ending {
            self.count_retired(token.session(), horizon, now).map_err(SignOutError::Store)?;
            retention.subject = None;
        }
        self.revoke(Revocation::Session(token.session()), retention).await.map_err(SignOutError::Store)
    }

    async fn store_horizon(&self) -> Result<Horizon, StoreError> {
        let horizon = self.recording_store()?.horizon(self.0.policy.horizon());
        Ok(self.ask(horizon).await?.current)
    }

    fn count_retired(
        &self,
        session: SessionId,
        horizon: Horizon,
        now: NumericDate,
    ) -> Result<(), StoreError> {
        let Err(until) = self.0.retired_sign_outs.count(session, horizon, now) else { return Ok(()) };
        let max = RetiredSignOuts::MAX;
        let then = match until {
            NumericDate::MAX => "it does so again after a restart".to_owned(),
            until => format!("it does so again in {} s", until.since(now)),
        };
        let remedy = format!(
            "not the store: this process ended {max} sessions under retired keys and ends no more; {then}. If one of the keys has \
             leaked, withdraw it with `withdraw_key`. To end this session now, call `revoke_subject`"
        );
        let error = StoreError::with_source(StoreErrorKind::Full, remedy);
        self.reporter().emit(&Event::StoreFailed { error: &error });
        Err(error)
    }

    /// The verified token, and when its key was retired, if it was. Private claims are not read, so a token from before their type
    /// changed signs out too.
    async fn verify_to_sign_out(&self, token: &[u8]) -> Result<(Verified, Option<NumericDate>), Refusal> {
        let Inner { keys, policy, .. } = &*self.0;
        let verify = |ring: &KeyRing| verify::verify(token, ring, policy, Expected::Any);
        let refusal = match verify(&keys.load()) {
            Err(refusal) if self.may_lack_own_key(token, &refusal) => refusal,
            verdict => return Ok((verdict?, None)),
        };
        let kid = verify::claimed_kid(token);
        // A retired key is harmless here: a token under it can only end its own session.
        for RetiredKey { key, for_secs } in kid.as_deref().map(|kid| keys.retired(kid)).unwrap_or_default() {
            match verify(&KeyRing::of(None).with_own(key)) {
                Err(refusal) if refusal.reason().is_about_keys() => {}
                verdict => return Ok((verdict?, Some(self.now().before(for_secs)))),
            }
        }
        Ok((self.verify_refetching_own(token, Expected::Any, refusal).await?, None))
    }

    /// Ends the session that an admitted token belongs to. No token of it that exists now is admitted again by any
    /// authority on this store, whoever minted it.
    ///
    /// If a login server mints tokens with the same `sid` without asking this store, and continues after the
    /// revocation, its tokens are admitted again once the store's [horizon](crate::store::Horizon) is over.
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_session(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let retention = self.retention_of(token.verified());
        self.revoke(Revocation::Session(token.session()), retention).await
    }

    /// Ends a session from the list that [`sessions`](Self::sessions) returned, as
    /// [`revoke_session`](Self::revoke_session) does.
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_recorded(&self, session: &SessionRecord) -> Result<(), StoreError> {
        let retention = self.retention(self.now()).of(None, session.session_start);
        self.revoke(Revocation::Session(session.session), retention).await
    }

    /// Revokes one token. It is revoked alone if it is the newest on record of its session, or if its session has no record;
    /// otherwise its session ends.
    ///
    /// So the session ends with a token that has a successor, and with one that the store never records: each access token
    /// beside a refresh token ([`issue_pair`](Self::issue_pair), [`refresh`](Self::refresh)), and each further one of
    /// [`Login::in_session`](super::Login::in_session). The store can't tell these from a token that was superseded long
    /// ago, whose successors must not live on. Their refresh token ends too, as RFC 7009 §2.1 allows.
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_token(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        let revocation = Revocation::Token { session: token.session(), token: token.verified().id() };
        self.revoke(revocation, self.retention_of(token.verified())).await
    }

    /// Ends every session that `subject` began up to now, after a lost password for instance. "Now" is the later of
    /// this authority's clock and the store's, plus the [tolerance](super::AuthorityBuilder::future_tolerance) less
    /// two seconds (3 s by default), so that it covers sessions begun on a machine whose clock is ahead. Recorded sessions
    /// that begin later end as well.
    ///
    /// The subject can sign in again at once: within those seconds [`issue`](Self::issue) dates the new session after
    /// the revocation. A machine whose clock is behind by more than a second may refuse its first token as not yet
    /// valid, for as long as it is behind.
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), StoreError> {
        self.has_own_subjects()?;
        self.revoke_subject_of(self.0.policy.issuer.as_deref(), subject).await
    }

    /// The same for a subject of a trusted foreign issuer: this service then refuses its tokens. `issuer` is the `iss` of the
    /// subject's tokens, also where a template is trusted, and its own future tolerance counts.
    ///
    /// Costs: the issuer knows nothing of it. A token that it issues within the tolerance less two seconds (3 s by
    /// default) after the revocation is refused for its whole life: the subject has to sign in there once more.
    ///
    /// # Errors
    /// If no trusted issuer has this `iss` ([`StoreErrorKind::Misused`]), there is no store, or it did not record the
    /// revocation.
    pub async fn revoke_foreign_subject(&self, issuer: &str, subject: &str) -> Result<(), StoreError> {
        // Otherwise a misspelt name would end nothing, and look like success.
        if self.0.keys.trusted(issuer).is_none() {
            let error = format!(
                "no trusted issuer has the `iss` {issuer:?}, so no session would end; admitted are: {}",
                self.issuer_names()
            );
            return Err(StoreError::with_source(StoreErrorKind::Misused, error));
        }
        self.revoke_subject_of(Some(issuer), subject).await
    }

    async fn revoke_subject_of(&self, issuer: Option<&str>, subject: &str) -> Result<(), StoreError> {
        self.revoke_sessions_of(SubjectId::new(issuer, subject), None, self.tolerance_of_issuer(issuer)).await
    }

    /// Ends every session that `subject` began at or before `instant`. An instant that is not in the past counts as the
    /// one that [`revoke_subject`](Self::revoke_subject) uses. Use it for what arrives late or twice, such as a message
    /// from another system: a session that began after the message was written goes on.
    ///
    /// A session began when its tokens say so. A sign-in that followed another revocation at once, or on a machine whose clock is
    /// ahead, is dated ahead by up to twice the [tolerance](super::AuthorityBuilder::future_tolerance) and 1 s, and goes on if that is
    /// after `instant`. A later instant ends it too, and with it what really began until then: for a subject whose password was
    /// changed, often the new session.
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_subject_before(&self, subject: &str, instant: NumericDate) -> Result<(), StoreError> {
        let now = self.now();
        if instant >= now {
            return self.revoke_subject(subject).await;
        }
        self.has_own_subjects()?;
        let subject = SubjectId::new(self.0.policy.issuer.as_deref(), subject);
        let revocation = Revocation::SubjectBefore { subject, instant, except: None };
        self.revoke(revocation, self.retention(now)).await
    }

    fn tolerance_of_issuer(&self, issuer: Option<&str>) -> u64 {
        let trusted = issuer.and_then(|issuer| self.0.keys.trusted(issuer));
        self.0.policy.terms(trusted.as_deref()).future_tolerance()
    }

    pub(super) fn retention_of_issuer(&self, issuer: Option<&str>) -> Retention {
        self.retention_within(self.now(), self.tolerance_of_issuer(issuer))
    }

    /// Ends all other sessions of this token's subject in one step, recorded or not: "sign out my other devices". It
    /// covers sessions up to the same instant as [`revoke_subject`](Self::revoke_subject).
    ///
    /// # Errors
    /// If there is no store, it did not record the revocation, or the token names no subject.
    pub async fn revoke_other_sessions(&self, token: &VerifiedToken<C>) -> Result<(), StoreError> {
        self.recording_store()?;
        let subject = token.verified().subject().ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Misused,
                "the token has no `sub`, so it has no other sessions",
            )
        })?;
        self.revoke_sessions_of(subject, Some(token.session()), self.tolerance_of(token.verified())).await
    }

    async fn revoke_sessions_of(
        &self,
        subject: SubjectId,
        except: Option<SessionId>,
        tolerance: u64,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let instant = self.0.policy.up_to(now, tolerance);
        let retention = self.retention_within(now, tolerance);
        self.revoke(Revocation::SubjectBefore { subject, instant, except }, retention).await
    }

    /// Ends every session that began at or before `instant`, of every subject and issuer on this store, after a leak
    /// for instance. An instant in the past counts as for [`revoke_subject_before`](Self::revoke_subject_before), also for
    /// sessions that are dated ahead. One that is not in the past counts as the one that
    /// [`revoke_subject`](Self::revoke_subject) uses, with the largest
    /// [tolerance](crate::keys::TrustedIssuer::future_tolerance) of all issuers that this authority trusts, and recorded
    /// sessions that begin later end as well.
    ///
    /// Nobody has to wait to sign in here again, unless a trusted issuer's tolerance is larger than the authority's: then
    /// [`issue`](Self::issue) may fail with [`Revoked`](super::IssueError::Revoked) for up to the difference. Otherwise a
    /// token of that issuer could survive. Tokens that other issuers issue within that tolerance after the revocation are
    /// refused, as by [`revoke_foreign_subject`](Self::revoke_foreign_subject).
    ///
    /// # Errors
    /// If there is no store, or it did not record the revocation.
    pub async fn revoke_all_before(&self, instant: NumericDate) -> Result<(), StoreError> {
        let now = self.now();
        let issuers = self.0.keys.issuers();
        let tolerances = issuers.iter().map(|issuer| self.0.policy.terms(Some(issuer)).future_tolerance());
        let tolerance = tolerances.fold(self.0.policy.future_tolerance, u64::max);
        let instant = if instant < now { instant } else { self.0.policy.up_to(now, tolerance) };
        self.revoke(Revocation::AllBefore { instant }, self.retention_within(now, tolerance)).await
    }

    /// A page of the live sessions of `subject` in the store, the newest first: "signed in on these devices".
    /// [`SessionPage::next`] is where the next page begins.
    ///
    /// # Errors
    /// If there is no store, or it can't answer.
    pub async fn sessions(&self, subject: &str, page: Page) -> Result<SessionPage, StoreError> {
        self.has_own_subjects()?;
        let subject = SubjectId::new(self.0.policy.issuer.as_deref(), subject);
        self.ask(self.recording_store()?.sessions(subject, self.now(), page)).await
    }

    /// Ends the session of a token that was reused, and then reports the reuse, if `generations` says how old the token is. Whoever
    /// reused it may hang up at once, which must stop neither.
    pub(super) async fn end_reused(
        &self,
        token: &Verified,
        generations: Option<u32>,
    ) -> Result<(), StoreError> {
        let (revocation, retention) = (Revocation::Session(token.session()), self.retention_of(token));
        let (this, kind) = (self.clone(), token.kind());
        let ended = detached(async move {
            let ended = this.revoke(revocation, retention).await;
            this.report_reused(kind, generations);
            ended
        });
        ended.await.unwrap_or_else(|| Err(StoreErrorKind::Unavailable.into()))
    }

    /// Reports a reuse, if there was one. Call it last, so that an observer that panics changes nothing.
    pub(super) fn report_reused(&self, kind: TokenKind, generations: Option<u32>) {
        let event = generations.map(|generations| match kind {
            TokenKind::Access => Event::Reused { generations },
            TokenKind::Refresh => Event::RefreshTokenReused { generations },
        });
        event.iter().for_each(|event| self.reporter().emit(event));
    }

    pub(super) async fn revoke(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> Result<(), StoreError> {
        self.record_revocation(revocation, retention).await?;
        self.reporter().emit(&Event::Revoked);
        Ok(())
    }

    /// The same, not reported yet.
    pub(super) async fn record_revocation(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> Result<(), StoreError> {
        self.ask(self.recording_store()?.revoke(revocation, retention)).await
    }

    /// How long a revocation that is made at `now` is kept, and how many sessions of a subject are.
    pub(super) fn retention(&self, now: NumericDate) -> Retention {
        self.retention_within(now, self.0.policy.future_tolerance)
    }

    fn retention_within(&self, now: NumericDate, tolerance: u64) -> Retention {
        let limit = SubjectLimit::new(self.0.policy.max_sessions);
        Retention::new(now, tolerance, SKEW_MARGIN).limited_to(limit)
    }

    /// How far ahead of this clock the clock of this token's issuer may be.
    fn tolerance_of(&self, token: &Verified) -> u64 {
        self.0.policy.terms(token.key().trusted().map(|issuer| &**issuer)).future_tolerance()
    }

    pub(super) fn retention_of(&self, token: &Verified) -> Retention {
        self.retention_within(self.now(), self.tolerance_of(token))
            .of(token.subject(), token.claims().session_start())
    }

    /// Fails without own keys: then every subject belongs to an issuer, which must be named.
    fn has_own_subjects(&self) -> Result<(), StoreError> {
        if !self.verifies_only() {
            return Ok(());
        }
        let error = "the authority's keys only verify, so it has no subjects of its own: call `revoke_foreign_subject` with the issuer";
        Err(StoreError::with_source(StoreErrorKind::Misused, error))
    }

    fn recording_store(&self) -> Result<Arc<dyn ErasedStore>, StoreError> {
        self.0.store.clone().ok_or_else(|| StoreError::new(StoreErrorKind::Stateless))
    }
}

/// Counts the sessions that were ended under retired keys. Whoever holds a leaked one can invent sessions without end, and each
/// becomes a record in the store. So their number is bounded.
#[derive(Default)]
pub(super) struct RetiredSignOuts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    until: NumericDate,
    sessions: HashSet<SessionId>,
}

impl RetiredSignOuts {
    const MAX: usize = 10_000;

    /// Counts this session, once however often it is ended. Fails if there were too many within the time for which the store keeps
    /// them, with the instant at which the count begins anew.
    fn count(&self, session: SessionId, horizon: Horizon, now: NumericDate) -> Result<(), NumericDate> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= counted.until {
            *counted = Counted { until: horizon.after(now), sessions: HashSet::new() };
        }
        if counted.sessions.len() < Self::MAX {
            counted.sessions.insert(session);
        }
        if counted.sessions.contains(&session) { Ok(()) } else { Err(counted.until) }
    }
}
