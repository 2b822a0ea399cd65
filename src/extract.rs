//! axum: [`VerifiedToken`] and [`Guarded`] as extractors, [`NoReissue`] and
//! [`Reissued`] as response parts.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::StatusCode;
use http::request::Parts;

use crate::authority::{PrivateClaims, VerifiedToken};
use crate::refusal::{Reason, Refusal};
use crate::server::{Deferred, MARK, NO_LAYER, NoReissue, REISSUE_REPLAY, Reissued, find_token, judge};
use crate::token::requirement::Requirement;

/// The handler asked for a [`VerifiedToken`], and the request has none; or for a [`Guarded`] one, and its token does not meet
/// what the guard requires. A refusal is answered as the layer answers its own.
///
/// Behind an [`optional`](crate::ReissueLayer::optional) layer the request is anonymous: it is answered as the layer refuses, 401
/// with its challenge. `Result<VerifiedToken, VerifiedTokenRejection>` keeps the [`refusal`](Self::refusal) for the handler.
///
/// Otherwise the application is at fault, and the answer is 500: no [`ReissueLayer`](crate::ReissueLayer) guards the route, or one
/// that goes [`without_extension`](crate::ReissueLayer::without_extension), or one with another `C`: under
/// [`private_claims::<T>()`](crate::AuthorityBuilder::private_claims) take `VerifiedToken<T>`.
#[derive(Debug)]
pub struct VerifiedTokenRejection(Rejected);

#[derive(Debug)]
enum Rejected {
    NoLayer,
    Refused(Box<Deferred>),
}

impl VerifiedTokenRejection {
    /// Why the request is refused; `None` where the application is at fault.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Rejected::NoLayer => None,
            Rejected::Refused(deferred) => Some(deferred.refusal()),
        }
    }

    fn refused(refusal: impl Into<Refusal>, parts: &Parts) -> Self {
        Self(Rejected::Refused(Box::new(Deferred::new(refusal.into(), parts.clone()))))
    }
}

impl fmt::Display for VerifiedTokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rejected::NoLayer => f.write_str(NO_LAYER),
            Rejected::Refused(deferred) => fmt::Display::fmt(deferred.refusal(), f),
        }
    }
}

impl std::error::Error for VerifiedTokenRejection {}

impl IntoResponse for VerifiedTokenRejection {
    fn into_response(self) -> Response {
        match self.0 {
            Rejected::NoLayer => (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response(),
            Rejected::Refused(deferred) => deferred.into_response().map(Body::from),
        }
    }
}

impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for VerifiedToken<C> {
    type Rejection = VerifiedTokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, VerifiedTokenRejection> {
        token(parts)?.ok_or_else(|| VerifiedTokenRejection::refused(Reason::NoCredential, parts))
    }
}

/// `None` for an anonymous request behind an [`optional`](crate::ReissueLayer::optional) layer.
impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for VerifiedToken<C> {
    type Rejection = VerifiedTokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, VerifiedTokenRejection> {
        token(parts)
    }
}

/// What a handler requires of its caller's token beyond that it is good, as a type: for [`Guarded`]. At least one of its
/// constants is set; one that can't be right does not compile.
pub trait TokenGuard {
    /// The scopes that the token must hold, all of them, with one space between them, as of
    /// [`RequireScope::new`](crate::RequireScope::new). Default: none.
    const SCOPE: &'static str = "";
    /// The values of which `acr` must be one, as of
    /// [`RequireStepUp::acr_values`](crate::RequireStepUp::acr_values). Default: any, or none.
    const ACR_VALUES: &'static str = "";
    /// How long ago `auth_time` may be, in whole seconds, as of [`RequireStepUp::recent`](crate::RequireStepUp::recent).
    /// Default: however long.
    const MAX_AGE: Option<Duration> = None;
}

/// A [`VerifiedToken`] that meets a [`TokenGuard`].
///
/// A request that does not meet it is refused as by [`RequireScope`](crate::RequireScope) and
/// [`RequireStepUp`](crate::RequireStepUp); where there is no token it is as for [`VerifiedToken`].
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::{Guarded, TokenGuard};
///
/// struct Refunds;
///
/// impl TokenGuard for Refunds {
///     const SCOPE: &'static str = "orders:refund";
///     const MAX_AGE: Option<Duration> = Some(Duration::from_secs(300));
/// }
///
/// async fn refund(token: Guarded<Refunds>) -> String {
///     format!("refunded by {}", token.subject().unwrap_or_default())
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(refund));
/// ```
///
/// A scope that RFC 6749 §3.3 does not allow does not compile.
pub struct Guarded<G, C = PrivateClaims> {
    token: VerifiedToken<C>,
    guard: PhantomData<fn() -> G>,
}

impl<G, C> Guarded<G, C> {
    /// The token alone.
    pub fn into_token(self) -> VerifiedToken<C> {
        self.token
    }
}

impl<G, C> Deref for Guarded<G, C> {
    type Target = VerifiedToken<C>;

    fn deref(&self) -> &VerifiedToken<C> {
        &self.token
    }
}

impl<G, C> fmt::Debug for Guarded<G, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.token).finish()
    }
}

impl<S, G, C> FromRequestParts<S> for Guarded<G, C>
where
    S: Sync,
    G: TokenGuard,
    C: Send + Sync + 'static,
{
    type Rejection = VerifiedTokenRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, VerifiedTokenRejection> {
        let requirement = const { &Requirement::literal(G::SCOPE, G::ACR_VALUES, G::MAX_AGE) };
        let token = <VerifiedToken<C> as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        match judge(requirement, &token, true) {
            Ok(()) => Ok(Self { token, guard: PhantomData }),
            Err(refusal) => Err(VerifiedTokenRejection::refused(refusal, parts)),
        }
    }
}

fn token<C: Send + Sync + 'static>(
    parts: &Parts,
) -> Result<Option<VerifiedToken<C>>, VerifiedTokenRejection> {
    let token = find_token(&parts.extensions).map_err(|_| VerifiedTokenRejection(Rejected::NoLayer))?;
    Ok(token.cloned())
}

impl IntoResponseParts for NoReissue {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

impl IntoResponseParts for Reissued {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.headers_mut().insert(&REISSUE_REPLAY, MARK);
        parts.extensions_mut().insert(self.into_extension());
        Ok(parts)
    }
}
