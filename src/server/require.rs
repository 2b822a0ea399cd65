//! [`RequireScope`] and [`RequireStepUp`]: what a route requires beyond a good token.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ResponseBody;
use super::deferred::Deferred;
use super::shared::{NO_LAYER, find_token};
use crate::authority::{PrivateClaims, VerifiedToken};
use crate::caught::caught;
use crate::error::ConfigError;
use crate::refusal::{Reason, Refusal};
use crate::token::requirement::{Evidence, Names, Requirement};

/// Lets a request through where its token has the scopes that the route requires, and refuses it otherwise with 403
/// `insufficient_scope` (RFC 6750 §3.1): over gRPC with status 7.
///
/// Put it inside a [`ReissueLayer`](crate::ReissueLayer), in front of the services or routes that require more than a good token.
/// The layer answers its refusals as its own, with its [`RefusalResponse`](crate::RefusalResponse), its events, and the successor
/// that is due. An anonymous request ([`optional`](crate::ReissueLayer::optional)) is refused with 401. Without a layer the
/// answer is 500, because the application is at fault.
///
/// Every trusted issuer can grant a scope to the holders of its tokens. Where one of them should not,
/// [`that`](Self::that) looks at the token's [`issuer`](VerifiedToken::issuer) too.
///
/// A token's scopes are in `scope` (RFC 8693 §4.2) or, where it has no such claim, in `scp`: a string with spaces between them,
/// or an array of strings. They are compared byte for byte. A claim of another type holds none.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
/// use tower_reissue::{Authority, ConfigError, ReissueLayer, RequireScope};
///
/// fn routes(authority: Authority) -> Result<Router, ConfigError> {
///     let admin = Router::new()
///         .route("/refunds", get(async || "refunds"))
///         .route_layer(RequireScope::new("orders:read orders:refund")?);
///     let orders = Router::new().route("/orders", get(async || "orders"));
///     // Added last, so that it comes first: it guards both.
///     Ok(orders.merge(admin).route_layer(ReissueLayer::new(authority)))
/// }
/// # let _ = routes;
/// # }
/// ```
///
/// In an axum handler `Guarded` (feature `axum`) does the same.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequireScope<C = PrivateClaims>(Arc<Guard<C>>);

impl RequireScope {
    /// Requires all of these scopes, with one space between them: as the challenge names them, in this order.
    ///
    /// # Errors
    /// Where there is none, where one holds a character that RFC 6749 §3.3 does not allow, or where all of it is longer than
    /// 1,024 bytes: it is sent in a response head.
    pub fn new(scope: &str) -> Result<Self, ConfigError> {
        let scope = Some(Names::new("the scope", scope)?);
        Ok(Self(Arc::new(Guard::new(Requirement { scope, ..Requirement::default() }))))
    }

    /// The same for tokens with private claims of another type: those of
    /// [`AuthorityBuilder::private_claims`](crate::AuthorityBuilder::private_claims).
    pub fn private_claims<T>(self) -> RequireScope<T> {
        RequireScope(Arc::new(Guard::new(self.0.requirement.clone())))
    }
}

impl<C: Send + Sync + 'static> RequireScope<C> {
    /// Requires that `predicate` returns true for the token. The challenge names no scope. A predicate that panics counts as
    /// false.
    ///
    /// ```
    /// use tower_reissue::{RequireScope, VerifiedToken};
    ///
    /// let either = RequireScope::that(|token: &VerifiedToken| {
    ///     token.has_scope("orders:read") || token.has_scope("orders:admin")
    /// });
    /// # let _ = either;
    /// ```
    pub fn that(predicate: impl Fn(&VerifiedToken<C>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Guard { predicate: Some(Box::new(predicate)), ..Guard::new(Requirement::default()) }))
    }
}

/// Lets a request through if the holder of its token signed in strongly enough, or recently enough. Otherwise it refuses the
/// request with 401 `insufficient_user_authentication` ("step-up", RFC 9470), over gRPC with status 16. The client then signs its
/// user in again with what the challenge asks for.
///
/// Put it inside a [`ReissueLayer`](crate::ReissueLayer), as [`RequireScope`]. A successor keeps `acr` and `auth_time`, because a
/// renewal is not a sign-in.
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::RequireStepUp;
///
/// # fn step_up() -> Result<(), tower_reissue::ConfigError> {
/// let payments = RequireStepUp::acr_values("urn:example:mfa")?.max_age(Duration::from_secs(300))?;
/// # let _ = payments;
/// # Ok(()) }
/// # step_up().unwrap();
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RequireStepUp<C = PrivateClaims>(Arc<Guard<C>>);

impl RequireStepUp {
    /// Requires that `acr` is one of these values, with one space between them, in the order of preference: as the challenge
    /// names them.
    ///
    /// # Errors
    /// As for [`RequireScope::new`].
    pub fn acr_values(acr_values: &str) -> Result<Self, ConfigError> {
        let acr_values = Some(Names::new("the acr values", acr_values)?);
        Ok(Self(Arc::new(Guard::new(Requirement { acr_values, ..Requirement::default() }))))
    }

    /// Requires that `auth_time` is at most this long ago, in whole seconds. A token without one is refused, and one whose
    /// `auth_time` is ahead of the authority's clock by more than 60 s.
    ///
    /// # Errors
    /// Where it is less than a second: no token would do.
    pub fn recent(max_age: Duration) -> Result<Self, ConfigError> {
        Self(Arc::new(Guard::new(Requirement::default()))).max_age(max_age)
    }

    /// Also requires what [`recent`](Self::recent) requires.
    ///
    /// # Errors
    /// As for `recent`.
    pub fn max_age(self, max_age: Duration) -> Result<Self, ConfigError> {
        if max_age.as_secs() == 0 {
            return Err(ConfigError::new(format!(
                "max_age {max_age:?} is less than a second; no token would do"
            )));
        }
        let requirement = Requirement { max_age: Some(max_age.as_secs()), ..self.0.requirement.clone() };
        Ok(Self(Arc::new(Guard::new(requirement))))
    }

    /// The same for tokens with private claims of another type: those of
    /// [`AuthorityBuilder::private_claims`](crate::AuthorityBuilder::private_claims).
    pub fn private_claims<T>(self) -> RequireStepUp<T> {
        RequireStepUp(Arc::new(Guard::new(self.0.requirement.clone())))
    }
}

struct Guard<C> {
    requirement: Requirement,
    predicate: Option<Box<Predicate<C>>>,
}

type Predicate<C> = dyn Fn(&VerifiedToken<C>) -> bool + Send + Sync;

/// Why a request is not passed on.
enum Unmet {
    /// The application is at fault.
    NoLayer,
    /// `panicked` names the hook that panicked, if one did.
    Refused { refusal: Refusal, panicked: Option<&'static str> },
}

impl<C> Guard<C> {
    fn new(requirement: Requirement) -> Self {
        Self { requirement, predicate: None }
    }
}

impl<C: Send + Sync + 'static> Guard<C> {
    // The error is boxed, because the result is passed through several calls and few requests have an error.
    #[inline]
    fn check(&self, extensions: &Extensions) -> Result<(), Box<Unmet>> {
        let Some(token) = find_token::<C>(extensions).map_err(|_| Box::new(Unmet::NoLayer))? else {
            return Err(Box::new(Unmet::Refused { refusal: Reason::NoCredential.into(), panicked: None }));
        };
        let answer = self.predicate.as_ref().map(|predicate| caught(|| predicate(token)));
        let panicked = (answer == Some(None)).then_some("RequireScope::that");
        let predicate = answer.is_none_or(|answer| answer == Some(true));
        judge(&self.requirement, token, predicate)
            .map_err(|refusal| Box::new(Unmet::Refused { refusal, panicked }))
    }
}

/// Judges a token that a layer admitted. The clock is read only if the requirement depends on it.
#[inline]
pub(crate) fn judge<C>(
    requirement: &Requirement,
    token: &VerifiedToken<C>,
    predicate: bool,
) -> Result<(), Refusal> {
    let now = requirement.max_age.and_then(|_| token.now());
    requirement.judge(Evidence { claims: token.verified().claims(), predicate, now })
}

impl Unmet {
    #[cold]
    fn into_response<B>(self, request: Request<B>) -> Response<Bytes> {
        match self {
            Self::NoLayer => {
                let mut response = Response::new(Bytes::from_static(NO_LAYER.as_bytes()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, plain);
                response
            }
            Self::Refused { refusal, panicked } => {
                Deferred::new(refusal, request.into_parts().0).after_panic(panicked).into_response()
            }
        }
    }
}

/// A service that requires more of a token. Made by [`RequireScope`] and [`RequireStepUp`].
pub struct Require<S, C = PrivateClaims> {
    inner: S,
    guard: Arc<Guard<C>>,
}

impl<S, C> Require<S, C> {
    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service. A request that you send to it directly is not checked.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The wrapped service, without the requirement.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, C> Service<Request<B>> for Require<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.guard.check(request.extensions()) {
            Ok(()) => State::Running { response: self.inner.call(request) },
            Err(unmet) => {
                // Releases what `poll_ready` reserved, as `Reissue` does.
                self.inner = self.inner.clone();
                State::Refused { response: Some(unmet.into_response(request)) }
            }
        };
        RequireFuture { state, body: PhantomData }
    }
}

pin_project! {
    /// The response to come of a [`Require`].
    pub struct RequireFuture<F, R> {
        #[pin]
        state: State<F>,
        body: PhantomData<fn() -> R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // The handler is running.
        Running { #[pin] response: F },
        // The requirement is not met; the handler does not run.
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for RequireFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Running { response } => {
                ready!(response.poll(cx)).map(|response| response.map(ResponseBody::inner))
            }
            StateProj::Refused { response } => {
                Ok(response.take().expect("polled after completion").map(ResponseBody::fixed))
            }
        })
    }
}

impl<F, R> fmt::Debug for RequireFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}

impl<S, C> Layer<S> for RequireScope<C> {
    type Service = Require<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, guard: Arc::clone(&self.0) }
    }
}

impl<S, C> Layer<S> for RequireStepUp<C> {
    type Service = Require<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, guard: Arc::clone(&self.0) }
    }
}

impl<S: Clone, C> Clone for Require<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: Arc::clone(&self.guard) }
    }
}

impl<C> Clone for RequireScope<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Clone for RequireStepUp<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for RequireScope<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireScope").field(&self.0.requirement).finish()
    }
}

impl<C> fmt::Debug for RequireStepUp<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireStepUp").field(&self.0.requirement).finish()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Require<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require")
            .field("inner", &self.inner)
            .field("requirement", &self.guard.requirement)
            .finish_non_exhaustive()
    }
}
