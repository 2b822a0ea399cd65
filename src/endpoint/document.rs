//! A public document that may be cached.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::reply::method_not_allowed;
use crate::crypto::sha256;
use crate::jose::base64;
use crate::server::FixedBody;

/// Answers `GET` and `HEAD` with the document, or with 304 if the client has it.
pub(super) fn respond(
    (method, headers): (&Method, &HeaderMap),
    content_type: &'static str,
    cache_control: &HeaderValue,
    body: Bytes,
) -> Response<FixedBody> {
    if method != Method::GET && method != Method::HEAD {
        return method_not_allowed("GET, HEAD");
    }
    let tag = format!("\"{}\"", base64::encode_url(sha256(&body)));
    let is_known = is_known(headers, &tag);

    let mut response = Response::new(FixedBody::default());
    response.headers_mut().insert(CACHE_CONTROL, cache_control.clone());
    // Base64url in quotes is always a valid header value.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    if method == Method::GET {
        *response.body_mut() = FixedBody::new(body);
    }
    response
}

/// Whether `If-None-Match` names the current document (RFC 9110 §13.1.2, weak comparison).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut known = lists.flat_map(|list| list.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

pub(super) fn cache_control(max_age: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs()))
        .unwrap_or(HeaderValue::from_static("public, max-age=0"))
}
