//! axum: [`VerifiedToken`] as an extractor, [`NoReissue`] as a response part.

use std::convert::Infallible;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::StatusCode;
use http::request::Parts;

use crate::authority::VerifiedToken;
use crate::server::control::NoReissue;

/// The rejection of [`VerifiedToken`] as an extractor: 500, a fault of the application and not of its caller. Either
/// no [`ReissueLayer`](crate::ReissueLayer) guards the route, or the layer runs
/// [`without_extension`](crate::ReissueLayer::without_extension), or the type of private claims differs: under
/// [`private_claims::<T>()`](crate::AuthorityBuilder::private_claims) take a `VerifiedToken<T>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedTokenRejection;

impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for VerifiedToken<C> {
    type Rejection = VerifiedTokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, VerifiedTokenRejection> {
        parts.extensions.get::<Self>().cloned().ok_or(VerifiedTokenRejection)
    }
}

impl IntoResponse for VerifiedTokenRejection {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, "no layer here put a verified token with these claims")
            .into_response()
    }
}

impl IntoResponseParts for NoReissue {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}
