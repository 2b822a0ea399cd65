//! [`RefreshEndpoint`]: a new pair for a refresh token.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode, request};
use http_body::Body;

use super::parameters::Parameters;
use super::post::serve_post;
use super::reply::{OAuthError, json};
use crate::authority::{Authority, IssueError, PrivateClaims, Refresh, RefreshError};
use crate::error::ConfigError;
use crate::refusal::{Class, Reason, Refusal};
use crate::request::cookie::Cookie;
use crate::request::credential::{self, NotFound, Source};
use crate::request::cross_site::{AllowedOrigins, Purpose};
use crate::request::head::RequestHead;
use crate::server::{FixedBody, remove_cookie};
use crate::token::horizon::MAX_AHEAD;

/// Exchanges the refresh token that a `POST` carries for a new pair (RFC 6749 §6), and answers with a token response (RFC 6749
/// §5.1). Mount it **outside** the layer, at the URL that [`RefreshTokens`](crate::RefreshTokens) names.
///
/// ```
/// # use std::time::Duration;
/// # use tower_reissue::keys::{Algorithm, SigningKey};
/// use tower_reissue::{Authority, MemoryStore, RefreshEndpoint, RefreshTokens};
///
/// # let key = SigningKey::generate(Algorithm::HS256)?;
/// let authority = Authority::builder(key)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(30 * 24 * 3600))
///     .store(MemoryStore::new())
///     .refresh_tokens(RefreshTokens::new("https://login.example/refresh"))
///     .build()?;
/// let app: axum::Router = axum::Router::new().route_service("/refresh", RefreshEndpoint::new(authority)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("RefreshEndpoint")]
///
/// # Requests
///
/// A form (`grant_type=refresh_token&refresh_token=…`), or a JSON object with the same members. `client_id` and `scope` are
/// optional; [`Refresh`](crate::Refresh) says what they must be. A parameter without a value counts as absent, and one that is
/// given twice is an error (RFC 6749 §3.2). With [`read_from`](Self::read_from) the token may come in a cookie or a header
/// instead, and the body may be empty.
///
/// # Responses
///
/// | status | `error` | |
/// |---|---|---|
/// | 200 | | `access_token`, `token_type`, `expires_in`, `refresh_token`, `scope`; the new refresh token is set as a cookie, and left out of the body, where the old one came in one |
/// | 400 | `invalid_grant` | the refresh token is invalid, expired, revoked, reused, or another client's: sign in again |
/// | 400 | `invalid_request`, `invalid_scope`, `unsupported_grant_type` | the request is at fault, and the token not spent |
/// | 401 | `invalid_client` | the request authenticates a client, and this endpoint has only public ones |
/// | 403 | `access_denied` | a cookie's token from a page of another site |
/// | 503 | `temporarily_unavailable` | the store, the keys or the renewer did not answer, or the refresh token will be valid within 181 s; `Retry-After` |
/// | 500 | `server_error` | the new tokens can't be made: an event says why |
///
/// Every response is `no-store`. After a 503 or a lost response, a client sends the same refresh token again, soon: if the
/// store recorded its successor and the answer was lost, the reuse window has begun.
#[must_use = "an endpoint does nothing until it is mounted"]
pub struct RefreshEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    sources: Arc<[Source]>,
    origins: AllowedOrigins,
}

impl<C: Send + Sync + 'static> RefreshEndpoint<C> {
    /// An endpoint that reads the body.
    ///
    /// # Errors
    /// If the authority has no [`refresh_tokens`](crate::AuthorityBuilder::refresh_tokens).
    pub fn new(authority: Authority<C>) -> Result<Self, ConfigError> {
        if authority.policy().refresh.is_none() {
            return Err(ConfigError::new(
                "a refresh endpoint over an authority without refresh tokens: give its builder `refresh_tokens`",
            ));
        }
        Ok(Self { authority, sources: Arc::new([]), origins: AllowedOrigins::default() })
    }

    /// Where else to look for the token: in a cookie, or in `Authorization: Bearer`. A request with a token both there and in
    /// its body is refused. Default: nowhere.
    ///
    /// A refresh cookie should have a path of its own, so that it goes to this endpoint alone, and be
    /// [`SameSite::Strict`](crate::SameSite::Strict):
    ///
    /// ```
    /// # use tower_reissue::{Authority, ConfigError, Cookie, RefreshEndpoint, SameSite, Source};
    /// # fn endpoint(authority: Authority) -> Result<RefreshEndpoint, ConfigError> {
    /// let cookie = Cookie::without_host_prefix("__Secure-refresh")?.path("/refresh")?.same_site(SameSite::Strict);
    /// let endpoint = RefreshEndpoint::new(authority)?.read_from([Source::cookie(cookie)]);
    /// # Ok(endpoint)
    /// # }
    /// ```
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources = sources.into_iter().collect();
        self.authority.reporter().insecure_cookies(&self.sources);
        self
    }

    /// Lets pages of this origin refresh with a token in a cookie, as
    /// [`RevokeEndpoint::allow_origin`](crate::RevokeEndpoint::allow_origin) does.
    ///
    /// # Errors
    /// If this is not an origin: a scheme, a host, and a port if it is not the scheme's default.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origins.allow(origin)?;
        Ok(self)
    }
}

serve_post!(RefreshEndpoint);

/// Why a request is answered without a pair.
enum Fault {
    Request(OAuthError),
    /// It authenticates a client.
    Client(OAuthError),
    Refused(Refusal),
    /// No tokens could be made.
    Failed(IssueError),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<C: Send + Sync + 'static> RefreshEndpoint<C> {
    async fn post<B>(&self, parts: &request::Parts, body: B) -> Response<FixedBody>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        match Parameters::read(&parts.headers, body).await {
            Ok(parameters) => self.answer(parts, &parameters).await,
            Err(error) => error.into_response(),
        }
    }

    async fn answer(&self, parts: &request::Parts, parameters: &Parameters) -> Response<FixedBody> {
        let head = RequestHead::of_parts(parts);
        let (cookie, refresh) = match self.read_request(&head, parameters) {
            Ok(asked) => asked,
            Err(Fault::Refused(refusal)) => {
                self.authority.report_refusal(&refusal);
                // No token was read, and a cookie that can hold none is of no use, whichever it is.
                let cookies = self.sources.iter().filter_map(Source::as_cookie);
                return self.refused(&head, refusal, cookies);
            }
            Err(fault) => return answer_to(fault),
        };
        let pair = match self.authority.refresh_for(refresh, Some(&head), cookie.as_ref()).await {
            Ok(pair) => pair,
            Err(RefreshError::Refused(refusal)) => return self.refused(&head, refusal, cookie.iter()),
            Err(RefreshError::Issue(error)) => return answer_to(Fault::Failed(error)),
        };
        let Some(cookie) = cookie else { return json(StatusCode::OK, pair.to_json()) };
        match self.authority.set_cookie(&cookie, &pair.refresh) {
            Err(error) => answer_to(Fault::Failed(error)),
            Ok(field) => {
                let mut response = json(StatusCode::OK, pair.to_json_without_refresh_token());
                response.headers_mut().append(SET_COOKIE, field);
                response
            }
        }
    }

    /// The answer to a refused request. It removes those of the cookies that are of no use any more.
    fn refused<'a>(
        &self,
        head: &RequestHead<'_>,
        refusal: Refusal,
        cookies: impl Iterator<Item = &'a Cookie>,
    ) -> Response<FixedBody> {
        let mut response = answer_to(Fault::Refused(refusal.clone()));
        for cookie in cookies {
            let value = credential::in_cookie(head, cookie);
            if value.is_some() && self.authority.removes_cookie(&refusal, value) {
                remove_cookie(response.headers_mut(), cookie);
            }
        }
        response
    }

    /// What a request asks for, and the cookie that its token came in.
    fn read_request(
        &self,
        head: &RequestHead<'_>,
        parameters: &Parameters,
    ) -> Result<(Option<Cookie>, Refresh), Fault> {
        let authorization = head.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_basic =
            |value: &[u8]| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
        let has_secret =
            ["client_secret", "client_assertion"].iter().any(|name| parameters.get(name).is_some());
        if has_secret || authorization.is_some_and(is_basic) {
            let description = "clients are not authenticated here: send client_id in the body, and no secret";
            return Err(Fault::Client(OAuthError::new(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                description,
            )));
        }
        let in_body = parameters.get("refresh_token");
        let wrong = match parameters.get("grant_type") {
            Some("refresh_token") => None,
            Some(_) => {
                let description = "the only grant_type here is refresh_token";
                Some(OAuthError::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", description))
            }
            None => in_body.map(|_| OAuthError::invalid_request("grant_type is missing")),
        };
        if let Some(error) = wrong {
            return Err(Fault::Request(error));
        }
        let found = match credential::find(&self.sources, head) {
            Ok(credential) => Some(credential),
            Err(NotFound::Because(Reason::NoCredential)) => None,
            Err(not_found) => {
                let reason = not_found.into_reason(|hook| self.authority.reporter().panicked(hook));
                return Err(Refusal::new(reason).into());
            }
        };
        let (cookie, token) = match (found, in_body) {
            (None, Some(token)) => (None, token.to_owned()),
            (Some(_), Some(_)) => return Err(Refusal::new(Reason::SeveralCredentials).into()),
            (None, None) => {
                return Err(Fault::Request(OAuthError::invalid_request("refresh_token is missing")));
            }
            (Some(credential), None) => {
                let cookie = credential.source.as_cookie().cloned();
                if cookie.is_some() {
                    self.origins.check(head, Purpose::Refresh)?;
                }
                let token = credential.token().map_err(Refusal::new)?.to_vec();
                let token = String::from_utf8(token).map_err(|_| Refusal::new(Reason::MalformedToken))?;
                (cookie, token)
            }
        };
        let client_id = parameters.get("client_id").into_iter();
        let refresh = client_id.fold(Refresh::new(token), Refresh::client_id);
        Ok((cookie, parameters.get("scope").into_iter().fold(refresh, Refresh::scope)))
    }
}

fn answer_to(fault: Fault) -> Response<FixedBody> {
    let refusal = match fault {
        Fault::Request(error) => return error.into_response(),
        Fault::Client(error) => {
            let mut response = error.into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"\""));
            return response;
        }
        Fault::Failed(IssueError::Signing) => {
            return OAuthError::unavailable("no key signs right now").into_response();
        }
        // What is wrong with the claims is not the client's to know.
        Fault::Failed(_) => {
            let description = "the new tokens could not be made";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return OAuthError::new(status, "server_error", description).into_response();
        }
        Fault::Refused(refusal) => refusal,
    };
    let (status, error) = token_error(&refusal);
    // The description needs no escaping: see `Refusal`.
    let mut response = OAuthError::new(status, error, refusal.to_string()).into_response();
    response.extensions_mut().insert(refusal);
    response
}

/// The status and the `error` of a refusal at this endpoint (RFC 6749 §5.2).
fn token_error(refusal: &Refusal) -> (StatusCode, &'static str) {
    match (refusal.reason(), refusal.class()) {
        // It will be valid soon. By a clock that was further ahead, its user signs in again.
        (Reason::NotYetValid(_), _)
            if refusal.missed_by().is_none_or(|ahead| ahead.as_secs() <= MAX_AHEAD) =>
        {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
        (Reason::InvalidScope, _) => (StatusCode::BAD_REQUEST, "invalid_scope"),
        (Reason::UnsupportedScheme, _) | (_, Class::BadRequest) => {
            (StatusCode::BAD_REQUEST, "invalid_request")
        }
        (_, Class::Unauthenticated) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        (_, Class::Forbidden) => (StatusCode::FORBIDDEN, "access_denied"),
        (_, Class::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
    }
}

impl<C> Clone for RefreshEndpoint<C> {
    fn clone(&self) -> Self {
        Self {
            authority: self.authority.clone(),
            sources: Arc::clone(&self.sources),
            origins: self.origins.clone(),
        }
    }
}

impl<C> fmt::Debug for RefreshEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshEndpoint").field("sources", &self.sources).finish_non_exhaustive()
    }
}
