//! Refusals over the wire, in the request's own protocol.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::deliver::{Way, deliver, may_carry, uncache};
use super::shared::Shared;
use crate::RequestHead;
use crate::authority::Refused;
use crate::telemetry::Occasion;
use crate::token::refusal::Refusal;

/// Makes the response of a refusal. Closures do:
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use tower_reissue::{Refusal, RefusalResponse, RequestHead};
///
/// fn plain() -> impl RefusalResponse {
///     |refusal: &Refusal, _: &RequestHead<'_>| {
///         let mut response = Response::new(Bytes::from_static(b"no"));
///         *response.status_mut() = refusal.status();
///         response
///     }
/// }
/// # let _ = plain();
/// ```
///
/// The layer adds a successor where one is owed, and makes the response uncacheable.
pub trait RefusalResponse: Send + Sync + 'static {
    /// The response to `refusal` of the request that has this head.
    fn respond(&self, refusal: &Refusal, head: &RequestHead<'_>) -> Response<Bytes>;
}

impl<F> RefusalResponse for F
where
    F: Fn(&Refusal, &RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
{
    fn respond(&self, refusal: &Refusal, head: &RequestHead<'_>) -> Response<Bytes> {
        self(refusal, head)
    }
}

/// The default: RFC 6750 §3 challenges over HTTP, a status in the headers for gRPC.
#[derive(Clone, Debug)]
pub struct Challenge {
    realm: String,
}

impl Challenge {
    /// Challenges that name this `realm`. What a quoted string can't hold is left out of it.
    pub fn new(realm: &str) -> Self {
        // RFC 9110 §5.6.4: quotes and backslashes would need escaping, which clients get wrong.
        let kept = |byte: &char| matches!(byte, ' '..='~') && !matches!(byte, '"' | '\\');
        Self { realm: realm.chars().filter(kept).collect() }
    }
}

impl Default for Challenge {
    fn default() -> Self {
        Self::new("api")
    }
}

impl RefusalResponse for Challenge {
    fn respond(&self, refusal: &Refusal, head: &RequestHead<'_>) -> Response<Bytes> {
        if head.is_grpc() { grpc(refusal) } else { http(refusal, &self.realm) }
    }
}

fn http(refusal: &Refusal, realm: &str) -> Response<Bytes> {
    let body = match refusal.error() {
        None => Cow::Borrowed("{}"),
        Some(error) => format!(r#"{{"error":"{error}","error_description":"{refusal}"}}"#).into(),
    };
    let mut response = Response::new(Bytes::from(body.into_owned()));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
        return response;
    }
    let challenge = match refusal.error() {
        // RFC 6750 §3.1: a request without a credential learns no error code.
        None => format!(r#"Bearer realm="{realm}""#),
        Some(error) => format!(r#"Bearer realm="{realm}", error="{error}", error_description="{refusal}""#),
    };
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A trailers-only response: HTTP 200, the status in the headers, no body (gRPC over HTTP/2, "Responses").
fn grpc(refusal: &Refusal) -> Response<Bytes> {
    const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
    const UNAUTHENTICATED: HeaderValue = HeaderValue::from_static("16");
    let outage = refusal.status() == StatusCode::SERVICE_UNAVAILABLE;
    let mut response = Response::new(Bytes::new());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", if outage { UNAVAILABLE } else { UNAUTHENTICATED });
    // Plain ASCII without '%': what gRPC's percent-encoding leaves alone.
    if let Ok(message) = HeaderValue::try_from(refusal.to_string()) {
        headers.insert("grpc-message", message);
    }
    response
}

/// The whole refusal: made by the configured response, sealed, with the successor where one is owed.
pub(super) fn refusal_response<C: Send + Sync + 'static>(
    shared: &Shared<C>,
    head: &RequestHead<'_>,
    Refused { refusal, successor }: Refused,
    way: Way,
) -> Response<Bytes> {
    shared.authority.report_refusal(&refusal);
    let mut response = sealed(shared.settings.refusals.respond(&refusal, head), refusal);
    if let Some(successor) = successor.filter(|_| may_carry(&response, way, shared)) {
        deliver(response.headers_mut(), &successor, Occasion::Exchanged, way, shared);
    }
    response
}

/// No cache keeps a refusal, an outage says when to come back, and layers further out can read why.
pub(crate) fn sealed(mut response: Response<Bytes>, refusal: Refusal) -> Response<Bytes> {
    let headers = response.headers_mut();
    uncache(headers);
    if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response.extensions_mut().insert(refusal);
    response
}
