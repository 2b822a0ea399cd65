//! The renewer: code of the application's own that is asked for the claims of each next token.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::Deserialize;

use super::{Authority, PrivateClaims};
use crate::caught::{NoAnswer, answer_within};
use crate::refusal::{Reason, Refusal};
use crate::store::SessionId;
use crate::telemetry::Event;
use crate::time::NumericDate;
use crate::token::kind::TokenKind;
use crate::token::renewal::Renewal;
use crate::token::verify::Verified;

/// What a renewer is asked: whether the holder of this token gets the next one, and with which claims.
///
/// It holds claims of the token and never the token itself.
#[derive(Clone)]
pub struct RenewalRequest {
    subject: Option<String>,
    session: SessionId,
    session_start: NumericDate,
    client_id: Option<String>,
    claims: PrivateClaims,
    is_refresh: bool,
}

impl RenewalRequest {
    pub(super) fn of(token: &Verified) -> Self {
        Self {
            subject: token.claims().sub().map(str::to_owned),
            session: token.session(),
            session_start: token.claims().session_start(),
            client_id: token.claims().client_id().map(Cow::into_owned),
            claims: PrivateClaims::of(match token.kind() {
                TokenKind::Access => Arc::clone(token.claims().text()),
                TokenKind::Refresh => token.claims().access_claims().into(),
            }),
            is_refresh: token.kind() == TokenKind::Refresh,
        }
    }

    /// Whether it is about a refresh token, and not a token that is renewed in responses.
    pub fn is_refresh(&self) -> bool {
        self.is_refresh
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// When the session began.
    pub fn session_start(&self) -> NumericDate {
        self.session_start
    }

    /// The client that the token was issued to ([`Login::client_id`](crate::Login::client_id)).
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The claim `name`, or `None` if the claims lack it. At a refresh these are the private claims that the refresh token grants to
    /// access tokens. At a renewal they are the claims of the token that is renewed.
    ///
    /// # Errors
    /// If its JSON can't be read as a `T`.
    pub fn claim<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        self.claims.get(name)
    }
}

/// Claims are somebody's data.
impl fmt::Debug for RenewalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewalRequest").field("session", &self.session).finish_non_exhaustive()
    }
}

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<Renewal, BoxError>> + Send>>;
pub(super) type Renewer = dyn Fn(RenewalRequest) -> Answer + Send + Sync;

/// A renewer with its answer boxed.
pub(super) fn erase<F, R>(renewer: F) -> Arc<Renewer>
where
    F: Fn(RenewalRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Renewal, BoxError>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(renewer(request)))
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// What the renewer says of this token. One that fails, panics or takes too long has not refused it.
    pub(super) async fn ask_renewer(&self, token: &Verified) -> Result<Renewal, Refusal> {
        const HOOK: &str = "renew_with";
        let Some(renewer) = &self.0.hooks.renewer else { return Ok(Renewal::keep()) };
        let silent = || Refusal::new(Reason::RenewerUnavailable);
        let request = RenewalRequest::of(token);
        let answer = self.reporter().ask_hook(HOOK, || renewer(request)).ok_or_else(silent)?;
        match answer_within(self.0.renewer_deadline, answer).await {
            Ok(Ok(renewal)) => return Ok(renewal),
            Ok(Err(error)) => self.reporter().emit(&Event::RenewerFailed { error: Some(&*error) }),
            Err(NoAnswer::Late) => self.reporter().emit(&Event::RenewerFailed { error: None }),
            Err(NoAnswer::Panicked) => self.reporter().panicked(HOOK),
        }
        Err(silent())
    }
}
