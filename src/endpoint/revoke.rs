//! [`RevokeEndpoint`]: signs out.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::{Response, StatusCode, request};
use http_body::Body;

use super::parameters::Parameters;
use super::post::serve_post;
use super::reply::{OAuthError, empty};
use crate::authority::{Authority, PrivateClaims, SignOutError, detached};
use crate::error::ConfigError;
use crate::refusal::{Reason, Refusal};
use crate::request::credential::{self, Credential, Source};
use crate::request::cross_site::{AllowedOrigins, Purpose};
use crate::request::head::RequestHead;
use crate::server::{Challenge, FixedBody, RefusalResponse, remove_cookie, respond};
use crate::store::StoreErrorKind;
use crate::token::decision::is_worthless_at_sign_out;

/// Ends the session of the token that a `POST` carries, and answers 204. Mount it **outside** the layer: it must work
/// with an expired token, for as long as the session may live on any service of the store, and never carries a
/// successor.
///
/// A second sign-out with the same token is a 204 too. If the store is unavailable the answer is 503, because the
/// session may still be live. It is also 503 if the token's key is unknown and the source of the own keys can't be
/// read; [`Authority::sign_out`](crate::Authority::sign_out) says which keys count.
///
/// A cookie that held the token is removed with a 204, and if it can never sign out: its session is over, or it holds
/// no token at all. It stays if that is unknown: with a 503, an unknown key, or a token that is malformed or has something
/// around it; and if the token is refused here, for its audience say, until 300 s after its `exp`.
///
/// The token may also come as the parameter `token` of a form or of JSON, as RFC 7009 has it. Then the answers are that
/// standard's: 200 with the session ended or the token worthless, 503 if the session may still be live, and 400 for a
/// token that this service can't judge (`unsupported_token_type`), that is malformed, or that has a blank, a line end or
/// quotes around it (`invalid_request`). Worthless is what holds no token, or one of a session that is over. A request
/// that also has a token where [`read_from`](Self::read_from) looks is refused with 400: name a form's own field
/// another name than `token`.
/// A body of another type is a 400, unless it is empty. `token_type_hint` is ignored, and no client authentication is asked for:
/// the token proves itself.
///
/// A token in a cookie signs out only from a page of the same origin or of an [allowed](Self::allow_origin) one. Any
/// other page gets a 403; otherwise any site could sign out its visitors.
///
/// ```
/// # use std::time::Duration;
/// # use tower_reissue::keys::{Algorithm, SigningKey};
/// use tower_reissue::{Authority, MemoryStore, RevokeEndpoint};
///
/// # let key = SigningKey::generate(Algorithm::HS256)?;
/// let authority = Authority::builder(key)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .store(MemoryStore::new())
///     .build()?;
/// let app: axum::Router = axum::Router::new().route_service("/sign-out", RevokeEndpoint::new(authority)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("RevokeEndpoint")]
#[must_use = "an endpoint does nothing until it is mounted"]
pub struct RevokeEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    sources: Arc<[Source]>,
    origins: AllowedOrigins,
    refusals: Arc<dyn RefusalResponse>,
}

impl<C: Send + Sync + 'static> RevokeEndpoint<C> {
    /// An endpoint that reads `Authorization: Bearer`.
    ///
    /// # Errors
    /// If the authority has no store: it can't revoke anything. If its keys only verify: a session that another issuer began
    /// ends there, so every token would be refused.
    pub fn new(authority: Authority<C>) -> Result<Self, ConfigError> {
        if authority.verifies_only() {
            return Err(ConfigError::new(
                "a revoke endpoint over keys that only verify: a session ends at its issuer; to refuse its tokens here, call \
                 `revoke_session` or `revoke_foreign_subject`",
            ));
        }
        if !authority.can_revoke() {
            return Err(ConfigError::new(
                "a revoke endpoint needs a store: give the authority's builder a `store`",
            ));
        }
        let (sources, refusals) = (Arc::new([Source::authorization()]), Arc::new(Challenge::default()));
        Ok(Self { authority, sources, origins: AllowedOrigins::default(), refusals })
    }

    /// Where to look for the token, as in [`ReissueLayer::read_from`](crate::ReissueLayer::read_from). Default:
    /// `Authorization: Bearer`.
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources = sources.into_iter().collect();
        self.authority.reporter().insecure_cookies(&self.sources);
        self
    }

    /// Lets pages of this origin sign out with a token in a cookie. Call it again to allow several. Default: only
    /// pages of the same origin, which browsers mark with `Sec-Fetch-Site: same-origin`. Browsers did not send it
    /// before 2023: for those, allow the origin of the own pages too.
    ///
    /// Not affected are tokens in `Authorization` and in the body. A client other than a browser can send an allowed `Origin`.
    ///
    /// # Errors
    /// If this is not an origin: a scheme, a host, and a port if it is not the scheme's default.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origins.allow(origin)?;
        Ok(self)
    }
}

impl<C: Send + Sync + 'static> RevokeEndpoint<C> {
    /// Answers refusals with `response`, as [`ReissueLayer::refuse_with`](crate::ReissueLayer::refuse_with).
    pub fn refuse_with(mut self, response: impl RefusalResponse) -> Self {
        self.refusals = Arc::new(response);
        self
    }
}

serve_post!(RevokeEndpoint);

impl<C: Send + Sync + 'static> RevokeEndpoint<C> {
    async fn post<B>(&self, parts: &request::Parts, body: B) -> Response<FixedBody>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let head = RequestHead::of_parts(parts);
        let parameters = match Parameters::read(&parts.headers, body).await {
            Ok(parameters) => parameters,
            // It may hold a token, whose session would live on behind an answer about another.
            Err(error) => return error.into_response(),
        };
        // The form of a sign-out button has none; its token is in a cookie.
        let Some(token) = parameters.get("token") else { return self.sign_out_of_head(&head).await };
        match self.find(&head) {
            Err(Reason::NoCredential) => self.revoke(token).await,
            // Whichever was meant, the other session would live on.
            Ok(_) => self.refused(&head, Reason::SeveralCredentials.into()),
            Err(reason) => self.refused(&head, reason.into()),
        }
    }

    fn find<'a>(&'a self, head: &RequestHead<'a>) -> Result<Credential<'a>, Reason> {
        credential::find(&self.sources, head)
            .map_err(|not_found| not_found.into_reason(|hook| self.authority.reporter().panicked(hook)))
    }

    /// By RFC 7009, which knows no 401: a token that is worthless needs no revocation.
    async fn revoke(&self, token: &str) -> Response<FixedBody> {
        let unavailable = OAuthError::unavailable("the session may still be live: try again");
        let refusal = match self.sign_out(token.as_bytes().to_vec()).await {
            Ok(()) => return empty(StatusCode::OK),
            Err(SignOutError::Store(_)) => return unavailable.into_response(),
            Err(SignOutError::Refused(refusal)) => refusal,
        };
        self.authority.report_refusal(&refusal);
        if is_worthless_at_sign_out(refusal.reason(), token.as_bytes()) {
            return empty(StatusCode::OK);
        }
        if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
            return unavailable.into_response();
        }
        let error = match refusal.reason() {
            Reason::MalformedToken => OAuthError::invalid_request(
                "the token is malformed, and its session may be live: send the token alone, without blanks, a line end or quotes",
            ),
            // It may be live elsewhere: under another key, for another audience.
            _ => OAuthError::new(
                StatusCode::BAD_REQUEST,
                "unsupported_token_type",
                "the session of this token can't be ended here",
            ),
        };
        error.into_response()
    }

    /// Of the token in a header field or a cookie.
    async fn sign_out_of_head(&self, head: &RequestHead<'_>) -> Response<FixedBody> {
        let found = self.find(head).map_err(Refusal::new).and_then(|credential| {
            let cookie = credential.source.as_cookie().cloned();
            if cookie.is_some() {
                self.origins.check(head, Purpose::SignOut)?;
            }
            Ok((credential, cookie))
        });
        let (credential, cookie) = match found {
            Ok(found) => found,
            Err(refusal) => return self.refused(head, refusal),
        };
        let signed_out = match credential.token() {
            Ok(token) => self.sign_out(token.to_vec()).await,
            Err(reason) => Err(SignOutError::Refused(reason.into())),
        };
        let signed_out = signed_out.map_err(|error| match error {
            SignOutError::Refused(refusal) => refusal,
            SignOutError::Store(_) => Refusal::new(Reason::StoreUnavailable),
        });
        let is_useless = |refusal: &Refusal| {
            is_worthless_at_sign_out(refusal.reason(), &credential.bytes)
                || self.authority.removes_cookie(refusal, Some(&*credential.bytes))
        };
        let removed = cookie.filter(|_| signed_out.as_ref().err().is_none_or(is_useless));
        let mut response = match signed_out {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(refusal) => self.refused(head, refusal),
        };
        if let Some(cookie) = removed {
            remove_cookie(response.headers_mut(), &cookie);
        }
        response
    }

    /// Completes even if the client disconnects.
    async fn sign_out(&self, token: Vec<u8>) -> Result<(), SignOutError> {
        let authority = self.authority.clone();
        let signed_out = detached(async move { authority.sign_out_bytes(&token).await }).await;
        signed_out.unwrap_or_else(|| Err(SignOutError::Store(StoreErrorKind::Unavailable.into())))
    }

    fn refused(&self, head: &RequestHead<'_>, refusal: Refusal) -> Response<FixedBody> {
        let refusal = credential::explain(refusal, &self.sources, head);
        self.authority.report_refusal(&refusal);
        respond(&self.authority, &*self.refusals, refusal, head).map(FixedBody::new)
    }
}

impl<C> Clone for RevokeEndpoint<C> {
    fn clone(&self) -> Self {
        Self {
            authority: self.authority.clone(),
            sources: Arc::clone(&self.sources),
            origins: self.origins.clone(),
            refusals: Arc::clone(&self.refusals),
        }
    }
}

impl<C> fmt::Debug for RevokeEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeEndpoint").field("sources", &self.sources).finish_non_exhaustive()
    }
}
