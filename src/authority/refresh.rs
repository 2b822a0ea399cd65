//! Drives the protocol of a refresh: it gets the answers that the protocol asks for, and signs.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::issue::check_capacity;
use super::mint::{Draft, Grant, Unsigned, new_jti};
use super::{Authority, IssueError, IssuedToken, TokenPair};
use crate::error::{debug_as_display, with_causes};
use crate::refusal::Refusal;
use crate::request::cookie::Cookie;
use crate::request::head::RequestHead;
use crate::store::{Presented, Rotated, Rotation, SessionId};
use crate::telemetry::{Event, ReissueKind};
use crate::time::NumericDate;
use crate::token::kind::{Expected, Sliding};
use crate::token::policy::Policy;
use crate::token::refresh::{Proposal, RefreshEvidence, RefreshStep};
use crate::token::scope;
use crate::token::successor::Successor;
use crate::token::verify::{self, Verified};

/// A refresh token that is presented for a new pair (RFC 6749 §6).
#[derive(Clone)]
#[must_use = "a refresh is a request to `Authority::refresh`"]
pub struct Refresh {
    token: String,
    client_id: Option<String>,
    scope: Option<String>,
}

impl Refresh {
    /// With this refresh token.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), client_id: None, scope: None }
    }

    /// By this client. It must be the one that the refresh token was issued to ([`Login::client_id`](super::Login::client_id)),
    /// and absent if the token was issued to none.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Only these scopes, with one space between them, for the new access token. All of them must have been granted. The
    /// refresh token keeps what was granted.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

/// It holds a secret token.
impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}

/// Why there is no new pair.
#[non_exhaustive]
pub enum RefreshError {
    /// The refresh token is refused, or can't be judged now: answer 503 where the refusal's [`status`](Refusal::status) is one, and
    /// where its reason is [`NotYetValid`](crate::Reason::NotYetValid) by at most 181 s ([`missed_by`](Refusal::missed_by)).
    Refused(Refusal),
    /// The new tokens could not be made, for example because the renewer set a claim that it may not set. The refresh token can be
    /// used again.
    Issue(IssueError),
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::Refused(_) => "the refresh is refused",
            Self::Issue(_) => "the tokens of the refresh could not be made",
        };
        f.write_str(&with_causes(message, self.source()))
    }
}

impl StdError for RefreshError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::Issue(source) => Some(source),
        }
    }
}

debug_as_display!(RefreshError);

impl From<Refusal> for RefreshError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<IssueError> for RefreshError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Exchanges a refresh token for a new pair (RFC 6749 §6), in one atomic step of the store.
    /// [`RefreshEndpoint`](crate::RefreshEndpoint) does it over HTTP.
    ///
    /// The new refresh token takes the place of the old one. Whoever presents the old one within the
    /// [reuse window](super::RefreshTokens::reuse_window) gets the *same* new refresh token (equal claims; an ECDSA signature
    /// may differ) and an access token of their own. Presented later, the old one counts as stolen, and the session ends.
    ///
    /// The access token has the claims that were granted at sign-in, as
    /// [`renew_with`](super::AuthorityBuilder::renew_with) wants them at this refresh. Whatever refuses a refresh is asked
    /// before the store records it, so a refresh token that is refused is not spent. If the store did not answer, or a key was
    /// withdrawn meanwhile, it may be: presented again within the reuse window, it gets its successor.
    ///
    /// A token with `cnf` is refused here, because there is no request to find the proof in.
    ///
    /// # Errors
    /// A [`RefreshError`].
    pub async fn refresh(&self, refresh: Refresh) -> Result<TokenPair, RefreshError> {
        self.refresh_for(refresh, None, None).await
    }

    /// The same for a request, which may prove what `cnf` demands. `cookie`: what the new refresh token has to fit into.
    pub(crate) async fn refresh_for(
        &self,
        refresh: Refresh,
        head: Option<&RequestHead<'_>>,
        cookie: Option<&Cookie>,
    ) -> Result<TokenPair, RefreshError> {
        let answer = self.exchange(&refresh, head, cookie).await;
        match &answer {
            Ok(_) => {}
            Err(RefreshError::Refused(refusal)) => self.report_refusal(refusal),
            Err(RefreshError::Issue(error)) => self.reporter().emit(&Event::RefreshFailed { error }),
        }
        answer
    }

    async fn exchange(
        &self,
        refresh: &Refresh,
        head: Option<&RequestHead<'_>>,
        cookie: Option<&Cookie>,
    ) -> Result<TokenPair, RefreshError> {
        let policy = &self.0.policy;
        let token = self.verify_refresh_token(refresh.token.as_bytes()).await?;
        let arrived = self.now();
        let confirmation = token.claims().confirmation();
        let evidence = RefreshEvidence {
            token: &token,
            key_held: token.is_held_by(&self.0.keys.load()),
            confirmed: confirmation.is_none_or(|cnf| head.is_some_and(|head| self.confirms(head, cnf))),
            client_id: refresh.client_id.as_deref(),
            scope: refresh.scope.as_deref(),
            now: arrived,
        };
        let refused = |refusal| RefreshError::Refused(Policy::settle(refusal, &token, arrived));
        policy.judge_refresh(&evidence).map_err(refused)?;
        let renewal = self.ask_renewer(&token).await?;
        if let Some(claims) = renewal.replaced() {
            self.check_renewed(claims)?;
        }
        // The reuse window begins when the token is spent, which is after the renewer answered.
        let now = self.now().max(arrived);
        let proposal = policy.propose_refresh(&evidence, &renewal, now).map_err(refused)?;
        let Proposal { claims, successor: proposed } = proposal;
        let grant = Grant::of(&token, claims);
        let draft = Draft::access(&grant, new_jti()?, proposed.iat, token.claims().session_start());
        let mut access = self.draft(&draft.clone().renewed(policy.of_pairs()))?;
        // Checked before the token is superseded: both tokens can be signed and delivered.
        let ring = self.0.keys.load();
        let renewed_len = self.renewed_len(&ring, &access)?;
        let slides = policy.may_slide(renewed_len);
        if slides.is_err() {
            access = self.draft(&draft.renewed(Sliding::Never))?;
        }
        let refresh = Unsigned::successor(&token, grant.session, &proposed);
        let refresh_len = self.renewed_len(&ring, &refresh)?;
        if let Some(cookie) = cookie {
            check_capacity(Some(refresh_len), self.policy().cookie_capacity(cookie, 0))?;
        }

        let presented = presented(&token, grant.session, now);
        let answer = self.record_refresh(&token, presented, &proposed).await;
        // The check and the signatures use the same ring, because the key could be withdrawn in between.
        let ring = self.0.keys.load();
        let key_held = token.is_held_by(&ring);
        let mut next = policy.refresh_recorded(&token, (arrived, now), key_held, proposed, answer);
        let verdict = loop {
            next = match next {
                RefreshStep::AskStore => policy.refresh_standing(self.standing(presented).await),
                RefreshStep::EndSession { generations } => {
                    let ended = self.end_reused(&token, Some(generations)).await;
                    policy.refresh_session_ended(ended.is_ok())
                }
                RefreshStep::Issue(successor) => break Ok(successor),
                RefreshStep::Refuse(reason) => break Err(Refusal::new(reason)),
                RefreshStep::NoSuccessor(why, reason) => {
                    self.reporter().not_reissued(why);
                    break Err(Refusal::new(reason));
                }
            };
        };
        let successor = refresh.recorded(verdict.map_err(refused)?);
        let renewed_len = matches!(slides, Ok(true)).then_some(renewed_len);
        let pair = TokenPair {
            refresh: self.sign_refresh_token(&ring, &successor, now)?,
            scope: scope::named(&grant.private),
            access: IssuedToken { renewed_len, ..self.sign_unsigned(&ring, &access, now)? },
        };
        if let Err(why) = slides {
            self.reporter().not_reissued(why);
        }
        self.reporter().reissued(ReissueKind::Refreshed, pair.refresh.expires_at);
        Ok(pair)
    }

    async fn verify_refresh_token(&self, token: &[u8]) -> Result<Verified, Refusal> {
        match verify::verify(token, &self.0.keys.load(), &self.0.policy, Expected::Refresh) {
            Err(refusal) if self.may_lack_own_key(token, &refusal) => {
                self.verify_refetching_own(token, Expected::Refresh, refusal).await
            }
            verdict => verdict,
        }
    }

    /// The store's answer to the proposed successor. `None` if it failed, which is reported.
    async fn record_refresh(
        &self,
        token: &Verified,
        presented: Presented,
        proposed: &Successor,
    ) -> Option<Rotated> {
        let (store, policy) = (self.0.store.clone()?, &self.0.policy);
        let until = policy.refresh_record_matters_until(token, proposed.exp);
        let claims = Arc::clone(&proposed.claims);
        let rotation = Rotation::renewal(presented, token.successor_id(), claims, until)
            .limited_by(self.retention(presented.now));
        let rotation = if policy.admit_after_store_loss { rotation } else { rotation.of_known_session() };
        self.ask(store.rotate(rotation)).await.ok()
    }
}

fn presented(token: &Verified, session: SessionId, now: NumericDate) -> Presented {
    Presented::new(session, token.id(), token.subject(), token.claims().session_start(), now)
        .not_begun_before(token.not_begun_before())
}
