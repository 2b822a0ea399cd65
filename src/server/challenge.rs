//! [`RefusalResponse`] and [`Challenge`]: the response to a refused request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::refusal::{Class, Refusal};
use crate::request::head::RequestHead;
use crate::token::capacity::MAX_REALM;

/// Makes the response to a refused request. A closure can be one:
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
/// The layer completes the response:
///
/// * It makes the response uncacheable.
/// * In an exchange it adds the successor, and replaces what the response held in its place. If the response has
///   [`NoReissue`](crate::NoReissue), or clears the cookie that the token came in, the successor is not sent. The
///   layer then calls `respond` again, with the refusal of an expired token.
/// * It removes the token's cookie if no later request could be admitted with it, or if it can hold no token.
/// * If a [`RequireScope`](crate::RequireScope) or an extractor inside the layer refused, it keeps the headers that layers in between
///   added, except for those about the body. If a header is in both responses, this one's value counts, and both do for lists such
///   as `Vary` and for `Set-Cookie`.
/// * It never lets a refusal look like a success: a status below 300, or 304, is replaced by [`Refusal::status`],
///   because a proxy that asks this service whether a request may pass believes a 200.
pub trait RefusalResponse: Send + Sync + 'static {
    /// The response to a refused request with this head. If it panics, the default [`Challenge`] is sent.
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

/// The default response: an RFC 6750 §3 challenge over HTTP, a status in the headers for gRPC.
///
/// A gRPC request is a POST over HTTP/2 with the content type `application/grpc`. Its refusal has no body; the
/// message is in `grpc-message`. Any fault of the credential is HTTP 401 with `grpc-status` 16, a request that is not
/// allowed is 403 with 7, and an outage is 503 with 14. [The manual](crate::manual::operating) lists which clients
/// read it. A gRPC-Web request is answered as plain HTTP.
#[must_use = "a challenge does nothing until `refuse_with`"]
#[derive(Clone, Debug)]
pub struct Challenge {
    realm: String,
    grpc_with_200: bool,
}

impl Challenge {
    /// Challenges with this `realm`. Characters that a quoted string can't hold are dropped, and only the first 64
    /// bytes are kept, because the realm counts towards what a refusal adds to a response head.
    pub fn new(realm: &str) -> Self {
        // RFC 9110 §5.6.4: quotes and backslashes would have to be escaped, which clients parse wrongly.
        let kept = |byte: &char| matches!(byte, ' '..='~') && !matches!(byte, '"' | '\\');
        Self { realm: realm.chars().filter(kept).take(MAX_REALM).collect(), grpc_with_200: false }
    }

    /// Options that give up a protection. Each says which.
    pub fn dangerous(self) -> DangerousChallenge {
        DangerousChallenge(self)
    }
}

impl Default for Challenge {
    fn default() -> Self {
        Self::new("api")
    }
}

/// Options that give up a protection. Made by [`Challenge::dangerous`].
#[must_use = "an option does nothing by itself"]
#[derive(Debug)]
pub struct DangerousChallenge(Challenge);

impl DangerousChallenge {
    /// Answers refusals of gRPC and gRPC-Web requests with the HTTP status 200 and the result in `grpc-status`, as
    /// the gRPC specification says. Clients that only look at the HTTP status (gRPC-Web, connect-go, grpc-go before
    /// 1.77) can then read the message and the successor of a refusal.
    ///
    /// Costs: software that only looks at the HTTP status takes the refusal for an admission. Never set it if a proxy
    /// asks this service whether a request may pass (nginx `auth_request`, Traefik `ForwardAuth`, Caddy
    /// `forward_auth`, Envoy `ext_authz`): anybody could then pass without a token, by a POST over HTTP/2 with
    /// `application/grpc`, or any request with `application/grpc-web`.
    pub fn grpc_refusals_with_http_200(self) -> Challenge {
        Challenge { grpc_with_200: true, ..self.0 }
    }
}

impl RefusalResponse for Challenge {
    fn respond(&self, refusal: &Refusal, head: &RequestHead<'_>) -> Response<Bytes> {
        // Formatted once, for the body and for the challenge, which are joined of it: anybody can make this service refuse.
        let description = &refusal.to_string();
        let mut response = match head {
            head if head.is_grpc() => grpc(refusal, description, "application/grpc"),
            head if self.grpc_with_200 && head.is_grpc_web() => {
                grpc(refusal, description, "application/grpc-web")
            }
            _ => return http(refusal, description, &self.realm),
        };
        if self.grpc_with_200 {
            response.extensions_mut().insert(MaySucceed);
        } else {
            *response.status_mut() = grpc_http_status(refusal);
            challenge(&mut response, refusal, description, &self.realm);
        }
        response
    }
}

/// In the extensions of a refusal's response: its success status is configured.
#[derive(Clone, Copy)]
pub(super) struct MaySucceed;

fn http(refusal: &Refusal, description: &str, realm: &str) -> Response<Bytes> {
    let body = match refusal.error() {
        None => "{}".to_owned(),
        Some(error) => [r#"{"error":""#, error, r#"","error_description":""#, description, r#""}"#].concat(),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    challenge(&mut response, refusal, description, realm);
    response
}

/// Adds the challenge if the credential is at fault (RFC 6750 §3).
fn challenge(response: &mut Response<Bytes>, refusal: &Refusal, description: &str, realm: &str) {
    if !refusal.is_about_the_token() {
        return;
    }
    let mut challenge = match refusal.error() {
        // RFC 6750 §3.1: a request without a credential learns no error code.
        None => [r#"Bearer realm=""#, realm, r#"""#].concat(),
        Some(error) => [
            r#"Bearer realm=""#,
            realm,
            r#"", error=""#,
            error,
            r#"", error_description=""#,
            description,
            r#"""#,
        ]
        .concat(),
    };
    if refusal.required().is_some() {
        name_required(&mut challenge, refusal);
    }
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
}

/// Names what another token needs (RFC 6750 §3, RFC 9470 §3), as quoted strings. None of the values needs escaping.
fn name_required(challenge: &mut String, refusal: &Refusal) {
    let max_age = refusal.max_age().map(|age| age.as_secs().to_string());
    let required =
        [("scope", refusal.scope()), ("acr_values", refusal.acr_values()), ("max_age", max_age.as_deref())];
    for (name, value) in required {
        challenge.extend(value.map(|value| format!(r#", {name}="{value}""#)));
    }
}

/// The response for gRPC: status and message in the headers, without a body ("Trailers-Only"). The headers then end the stream.
/// After a DATA frame, even an empty one, some clients ignore them.
fn grpc(refusal: &Refusal, description: &str, content_type: &'static str) -> Response<Bytes> {
    let status = match refusal.class() {
        Class::Unauthenticated | Class::BadRequest => "16",
        Class::Forbidden => "7",
        Class::Unavailable => "14",
    };
    let mut response = Response::new(Bytes::new());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    if let Ok(message) = HeaderValue::try_from(description) {
        headers.insert("grpc-message", message);
    }
    response
}

/// 401 in place of 400, which gRPC clients map to INTERNAL.
fn grpc_http_status(refusal: &Refusal) -> StatusCode {
    match refusal.class() {
        Class::BadRequest => StatusCode::UNAUTHORIZED,
        _ => refusal.status(),
    }
}
