//! What the demos share: a small HTTP client, a look inside a token, and checks that say what went wrong.
#![allow(dead_code, reason = "each example uses its own part")]

use std::error::Error;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The response header that carries a successor, unless the layer is told another.
pub(crate) const SUCCESSOR: &str = "refreshed-api-token";

/// A client of one server. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Http {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn new(base: impl Into<String>) -> Self {
        Self { base: base.into(), client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends `"GET /orders"`, say, with a bearer token or without. A body is sent as a form.
    pub(crate) async fn send(&self, line: &str, token: Option<&str>, form: &'static str) -> Result<Answer> {
        let (method, path) = line.split_once(' ').ok_or("a method and a path are wanted")?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.client.request(request.body(Full::from(form))?).await?;
        let (head, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

impl Answer {
    /// The token that replaces the one that was sent. Clients look for it on every answer, whatever its status.
    pub(crate) fn successor(&self) -> Option<&str> {
        self.headers.get(SUCCESSOR)?.to_str().ok()
    }

    /// The challenge of a refusal (RFC 6750 §3).
    pub(crate) fn challenge(&self) -> &str {
        self.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The claims of a token, read without a key as anybody may: a JWT is signed, not sealed.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).ok_or("not a compact JWS")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// An error that names what was expected, unless it holds.
pub(crate) fn check(holds: bool, expected: impl Into<String>) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("expected {}", expected.into()).into()) }
}

/// What a shell sees of an outcome.
pub(crate) fn exit(example: &str, outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("{example}: {error}");
    ExitCode::FAILURE
}
