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
use crate::server::{FixedBody, challenge};
use crate::token::bearer::{self, Source};
use crate::token::refusal::{Reason, Refusal};
use crate::{ConfigError, RequestHead};

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
        Ok(Self { authority, sources: Arc::new([Source::authorization()]) })
    }

    /// The places that are looked at for the token, as for
    /// [`ReissueLayer::read_from`](crate::ReissueLayer::read_from).
    pub fn read_from(mut self, sources: impl IntoIterator<Item = Source>) -> Self {
        self.sources = sources.into_iter().collect();
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
        let head = RequestHead::of(&request);
        let (token, cookie) = match bearer::find(&self.sources, &head) {
            Ok((token, source)) => {
                (token.into_owned(), source.as_cookie().and_then(|cookie| cookie.set("", 0)))
            }
            Err(reason) => return Box::pin(std::future::ready(Ok(self.refused(&Refusal::new(reason))))),
        };
        let this = self.clone();
        Box::pin(async move {
            let mut response = match this.authority.sign_out(&token).await {
                Ok(()) => empty(StatusCode::NO_CONTENT),
                Err(SignOutError::Refused(refusal)) => this.refused(&refusal),
                Err(SignOutError::Store(_)) => {
                    return Ok(this.refused(&Refusal::new(Reason::StoreUnavailable)));
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
    fn refused(&self, refusal: &Refusal) -> Response<FixedBody> {
        self.authority.report_refusal(refusal);
        challenge(refusal, "api").map(FixedBody::new)
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
        Self { authority: self.authority.clone(), sources: Arc::clone(&self.sources) }
    }
}

impl<C> fmt::Debug for RevokeEndpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeEndpoint").field("sources", &self.sources).finish_non_exhaustive()
    }
}
