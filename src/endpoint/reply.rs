//! What the endpoints answer with.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::server::FixedBody;

/// An error as RFC 6749 §5.2 writes it: a code and a text for whoever develops the client.
#[derive(Debug)]
pub(super) struct OAuthError {
    status: StatusCode,
    code: &'static str,
    /// Printable ASCII without quotes and backslashes, as the RFC wants it.
    description: Cow<'static, str>,
}

impl OAuthError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, description: description.into() }
    }

    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// RFC 7009 §2.2.1: the client may try again.
    pub(super) fn unavailable(description: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
    }

    #[cfg(test)]
    pub(super) fn description(&self) -> &str {
        &self.description
    }

    pub(super) fn into_response(self) -> Response<FixedBody> {
        let Self { status, code, description } = self;
        let mut response =
            json(status, format!(r#"{{"error":"{code}","error_description":"{description}"}}"#));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON document that no cache keeps.
pub(super) fn json(status: StatusCode, document: impl Into<Bytes>) -> Response<FixedBody> {
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = FixedBody::new(document.into());
    response
}

pub(super) fn empty(status: StatusCode) -> Response<FixedBody> {
    let mut response = Response::new(FixedBody::default());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<FixedBody> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
