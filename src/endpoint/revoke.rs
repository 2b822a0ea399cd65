//! [`RevokeEndpoint`]: signing out.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::authority::{Authority, PrivateClaims, SignOutError};
use crate::server::{Challenge, FixedBody, RefusalResponse, sealed};
use crate::store::StoreErrorKind;
use crate::token::bearer::{self, Source};
use crate::token::refusal::{Reason, Refusal};
use crate::{ConfigError, Cookie, RequestHead};

/// Ends the session of the token that a `POST` presents: 204. Mount it **outside** the layer, so that it works with
/// a token that has expired, up to its session's ceiling, and never carries a successor.
///
/// A second sign-out with the same token is a 204 too. An outage of the store is a 503: the session may still be
/// live. A cookie that held the token is removed.
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
///     .ceiling(Duration::from_secs(12 * 3600))
///     .store(MemoryStore::new())
///     .build()?;
/// let app: axum::Router = axum::Router::new().route_service("/sign-out", RevokeEndpoint::new(authority)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RevokeEndpoint<C = PrivateClaims> {
    authority: Authority<C>,
    sources: Arc<[Source]>,
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
        Ok(Self { authority, sources, refusals })
    }

    /// The places that are looked at for the token, as for
    /// [`ReissueLayer::read_from`](crate::ReissueLayer::read_from).
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources = sources.into_iter().collect();
        self
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
        let found = bearer::find(&self.sources, &head).and_then(|credential| {
            let removal = credential.source.as_cookie().map(Cookie::removal);
            Ok((credential.token()?.to_vec(), removal))
        });
        let (token, cookie) = match found {
            Ok(found) => found,
            Err(reason) => {
                let response = self.refused(&head, Refusal::new(reason));
                return Box::pin(std::future::ready(Ok(response)));
            }
        };
        let this = self.clone();
        Box::pin(async move {
            let head = RequestHead::of(&request);
            let mut response = match this.sign_out(token).await {
                Ok(()) => empty(StatusCode::NO_CONTENT),
                Err(SignOutError::Refused(refusal)) => this.refused(&head, refusal),
                Err(SignOutError::Store(_)) => {
                    return Ok(this.refused(&head, Refusal::new(Reason::StoreUnavailable)));
                }
            };
            // A cookie that can't sign anybody in is no use either.
            if let Some(removal) = cookie {
                response.headers_mut().append(SET_COOKIE, removal);
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
        sealed(self.refusals.respond(&refusal, head), refusal).map(FixedBody::new)
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
        let Self { authority, sources, refusals } = self;
        Self { authority: authority.clone(), sources: Arc::clone(sources), refusals: Arc::clone(refusals) }
    }
}

impl<C> fmt::Debug for RevokeEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeEndpoint").field("sources", &self.sources).finish_non_exhaustive()
    }
}
