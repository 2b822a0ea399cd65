//! [`IntrospectionEndpoint`]: says whether a token is active.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode, request};
use http_body::Body;

use super::parameters::Parameters;
use super::post::serve_post;
use super::reply::{OAuthError, json};
use crate::authority::{Authority, PrivateClaims, VerifiedToken};
use crate::jose::json::{members, quoted, string, strings};
use crate::refusal::Reason;
use crate::request::head::RequestHead;
use crate::server::FixedBody;

/// Whether this request may ask about tokens.
type Authorize = dyn Fn(&RequestHead<'_>) -> bool + Send + Sync;

/// Answers whether a token is active, by RFC 7662, for services that can't verify it or must know of a revocation at once.
///
/// A `POST` with the parameter `token` is answered with `{"active":true}` and the token's claims if the authority would
/// admit the token at this moment: with leeway, but not within the grace; by every rule that [`Authority::admit`] applies
/// except proof of possession, which is the asking service's to check (`cnf` is among the claims). Any other token is
/// answered with `{"active":false}` and nothing else: expired, revoked, for another audience, of another type, or no token
/// at all. If the store or an issuer's keys can't be asked, the answer is 503, because the token may be either.
///
/// Whoever may call it learns the claims of any token they hold. `authorize` decides who may, from the head of the request;
/// there is no default. Anybody else gets 401, and `authorize` that panics counts as `false`. To ask for a token with a
/// scope, put a [`ReissueLayer`](crate::ReissueLayer) outside and look at the [`VerifiedToken`] in
/// [`extensions`](RequestHead::extensions).
///
/// The parameters come as a form or as JSON, of at most 64 KiB. `token_type_hint` is ignored, as RFC 7662 §2.1 allows.
///
/// ```
/// # use std::time::Duration;
/// # use tower_reissue::keys::{Algorithm, SigningKey};
/// use tower_reissue::{Authority, IntrospectionEndpoint, MemoryStore};
///
/// # let key = SigningKey::generate(Algorithm::HS256)?;
/// # let expected = "Bearer 7h1s-1s-r34d-fr0m-4-f1l3";
/// let authority = Authority::builder(key)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .store(MemoryStore::new())
///     .build()?;
/// let endpoint = IntrospectionEndpoint::new(authority, move |head| {
///     head.headers().get("authorization").is_some_and(|value| value.as_bytes() == expected.as_bytes())
/// });
/// let app: axum::Router = axum::Router::new().route_service("/introspect", endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("IntrospectionEndpoint")]
#[must_use = "an endpoint does nothing until it is mounted"]
pub struct IntrospectionEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    authorize: Arc<Authorize>,
}

impl<C: Send + Sync + 'static> IntrospectionEndpoint<C> {
    /// An endpoint that answers the requests that `authorize` allows. Compare secrets in constant time.
    pub fn new(
        authority: Authority<C>,
        authorize: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { authority, authorize: Arc::new(authorize) }
    }

    async fn post<B>(&self, parts: &request::Parts, body: B) -> Response<FixedBody>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let head = RequestHead::of_parts(parts);
        let may_ask =
            self.authority.reporter().ask_hook("authorize", || (self.authorize)(&head)).unwrap_or(false);
        if !may_ask {
            let description = "the caller may not ask about tokens";
            let error = OAuthError::new(StatusCode::UNAUTHORIZED, "invalid_client", description);
            let mut response = error.into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        match Parameters::read(&parts.headers, body).await {
            Ok(parameters) => match parameters.get("token") {
                Some(token) => self.answer(token).await,
                None => OAuthError::invalid_request("the parameter token is missing").into_response(),
            },
            Err(error) => error.into_response(),
        }
    }

    async fn answer(&self, token: &str) -> Response<FixedBody> {
        match self.authority.admit_unconfirmed(token).await {
            Ok(token) => match active(&token) {
                Some(document) => json(StatusCode::OK, document),
                None => json(StatusCode::OK, INACTIVE),
            },
            Err(refusal) => match refusal.reason() {
                Reason::StoreUnavailable => {
                    OAuthError::unavailable("the store can't be asked").into_response()
                }
                Reason::KeysUnavailable => {
                    OAuthError::unavailable("the keys can't be asked for").into_response()
                }
                _ => json(StatusCode::OK, INACTIVE),
            },
        }
    }
}

const INACTIVE: &str = r#"{"active":false}"#;

/// The token's claims, with `scope` as RFC 7662 §2.2 writes it.
fn active<C>(token: &VerifiedToken<C>) -> Option<String> {
    let mut document = r#"{"active":true,"token_type":"Bearer""#.to_owned();
    let scopes = token.verified().claims().scopes().and_then(|held| match string(held) {
        Some(text) => Some(text.into_owned()),
        None => Some(strings(held)?.into_iter().map(|(_, scope)| scope).collect::<Vec<_>>().join(" ")),
    });
    if let Some(scopes) = scopes {
        document.push_str(&format!(r#","scope":{}"#, quoted(&scopes)));
    }
    for member in members(token.json()).ok()? {
        // A claim of such a name is the application's, and says nothing of the token here.
        if !["active", "token_type", "scope", "scp"].contains(&&*member.name) {
            document.push_str(&format!(",{}:{}", quoted(&member.name), member.value));
        }
    }
    document.push('}');
    Some(document)
}

serve_post!(IntrospectionEndpoint);

impl<C> Clone for IntrospectionEndpoint<C> {
    fn clone(&self) -> Self {
        Self { authority: self.authority.clone(), authorize: Arc::clone(&self.authorize) }
    }
}

impl<C> fmt::Debug for IntrospectionEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionEndpoint").finish_non_exhaustive()
    }
}
