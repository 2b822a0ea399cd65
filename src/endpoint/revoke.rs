//! [`RevokeEndpoint`]: signing out.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::authority::{Authority, PrivateClaims, SignOutError};
use crate::error::ConfigError;
use crate::refusal::{Reason, Refusal};
use crate::request::credential::{self, Source};
use crate::request::cross_site::AllowedOrigins;
use crate::request::head::RequestHead;
use crate::server::{Challenge, FixedBody, RefusalResponse, remove_cookie, respond};
use crate::store::StoreErrorKind;

/// Ends the session of the token that a `POST` presents: 204. Mount it **outside** the layer, so that it works with
/// a token that has expired, for as long as its session may live on any service of the store, and never carries a successor.
///
/// A second sign-out with the same token is a 204 too. An outage of the store is a 503, for the session may still be live; so
/// is a token whose key is unknown while the source of the own keys can't be read
/// ([`Authority::sign_out`](crate::Authority::sign_out) says which keys count).
///
/// A cookie that held the token is removed with a 204, and where it holds nothing that could sign out later: the session is
/// over, or it is no token at all. It stays where that can't be judged: with a 503, an unknown key, or another audience.
///
/// A token in a cookie ends a session only for a page of the own origin, or an [allowed](Self::allow_origin) one; any other
/// gets a 403. Otherwise any site could sign its visitors out.
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
    /// Over an authority without a store, which can't revoke anything.
    pub fn new(authority: Authority<C>) -> Result<Self, ConfigError> {
        if !authority.can_revoke() {
            return Err(ConfigError::new(
                "a revoke endpoint over a stateless authority: it could not revoke; give the builder a `store`",
            ));
        }
        let (sources, refusals) = (Arc::new([Source::authorization()]), Arc::new(Challenge::default()));
        Ok(Self { authority, sources, origins: AllowedOrigins::default(), refusals })
    }

    /// The places that are looked at for the token, as for
    /// [`ReissueLayer::read_from`](crate::ReissueLayer::read_from).
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources = sources.into_iter().collect();
        self.authority.report_insecure_cookies(&self.sources);
        self
    }

    /// Lets pages of this origin sign out with a token in a cookie. May be repeated. Default: pages of the own origin alone, as
    /// `Sec-Fetch-Site: same-origin` tells. Browsers of before 2023 do not send it: for these, allow the origin of the own pages
    /// too. A client that is no browser sends an allowed `Origin`, or its token in `Authorization`, which this does not
    /// concern.
    ///
    /// # Errors
    /// When this is not an origin: scheme, host, and a port that is not the scheme's own.
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

impl<B, C: Send + Sync + 'static> Service<Request<B>> for RevokeEndpoint<C> {
    type Response = Response<FixedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() != Method::POST {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Box::pin(std::future::ready(Ok(response)));
        }
        // What a refusal looks at of a request is kept; its body is not waited for.
        let request = request.map(|_| ());
        let head = RequestHead::of(&request);
        let found = credential::find(&self.sources, &head).map_err(Refusal::new).and_then(|credential| {
            let cookie = credential.source.as_cookie().cloned();
            if cookie.is_some() {
                self.origins.check(&head)?;
            }
            Ok((credential.token().map(<[u8]>::to_vec), cookie))
        });
        let (token, cookie) = match found {
            Ok(found) => found,
            Err(refusal) => {
                let response = self.refused(&head, refusal);
                return Box::pin(std::future::ready(Ok(response)));
            }
        };
        let this = self.clone();
        Box::pin(async move {
            let head = RequestHead::of(&request);
            let signed_out = match token {
                Ok(token) => this.sign_out(token).await,
                Err(reason) => Err(SignOutError::Refused(reason.into())),
            };
            let signed_out = signed_out.map_err(|error| match error {
                SignOutError::Refused(refusal) => refusal,
                SignOutError::Store(_) => Refusal::new(Reason::StoreUnavailable),
            });
            let removed =
                cookie.filter(|_| signed_out.as_ref().err().is_none_or(Refusal::removes_cookie_at_sign_out));
            let mut response = match signed_out {
                Ok(()) => empty(StatusCode::NO_CONTENT),
                Err(refusal) => this.refused(&head, refusal),
            };
            if let Some(cookie) = removed {
                remove_cookie(response.headers_mut(), &cookie);
            }
            Ok(response)
        })
    }
}

impl<C: Send + Sync + 'static> RevokeEndpoint<C> {
    /// Whoever signs out may close the window at once: on a runtime the sign-out goes on without them.
    async fn sign_out(&self, token: Vec<u8>) -> Result<(), SignOutError> {
        let authority = self.authority.clone();
        let sign_out = async move { authority.sign_out_bytes(&token).await };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return sign_out.await };
        let unknown = |_| Err(SignOutError::Store(StoreErrorKind::Unavailable.into()));
        runtime.spawn(sign_out).await.unwrap_or_else(unknown)
    }

    fn refused(&self, head: &RequestHead<'_>, refusal: Refusal) -> Response<FixedBody> {
        self.authority.report_refusal(&refusal);
        respond(&self.authority, &*self.refusals, refusal, head).map(FixedBody::new)
    }
}

fn empty(status: StatusCode) -> Response<FixedBody> {
    let mut response = Response::new(FixedBody::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
