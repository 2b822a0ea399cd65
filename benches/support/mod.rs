//! What the benches share: keys and authorities, a request driven without a runtime, and how to measure it.
#![allow(dead_code, unused_imports, reason = "each bench uses its own part")]
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod contest;
#[path = "../../tests/support/keys.rs"]
mod keys;

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use jsonwebtoken::Validation;
use tower::{Layer, Service, service_fn};
use tower_reissue::Algorithm;
use tower_reissue::{Authority, AuthorityBuilder, KeyRing, Login, ReissueLayer};

pub use self::contest::{Contest, cpu_time, is_smoke, median, verdict};
pub use self::keys::*;

pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "orders";
pub const DAY: Duration = Duration::from_secs(86_400);

/// The algorithms that budgets are set for.
pub const BUDGETED: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// What a user of jsonwebtoken would read.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    pub jti: String,
    pub sid: String,
    pub session_start: u64,
    pub iat: u64,
    pub exp: u64,
}

/// An authority whose tokens live for a day, so that none is due for renewal while it is measured.
pub fn authority(keys: impl Into<KeyRing>) -> AuthorityBuilder {
    Authority::builder(keys.into()).issuer(ISSUER).audience(AUDIENCE).lifetime(DAY).max_session_lifetime(DAY)
}

pub fn issue(authority: &Authority) -> String {
    at_once(authority.issue(Login::new("alice"))).unwrap().into_string()
}

/// jsonwebtoken as strict as it gets.
pub fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.into());
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

/// Names jsonwebtoken's provider, whatever features an application's other crates turn on.
pub fn use_aws_lc() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

pub type Body = Full<Bytes>;

pub async fn handler<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("ok")))
}

/// The handler behind this crate's layer.
pub fn guarded(
    authority: &Authority,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<impl Sized + Send>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    ReissueLayer::new(authority.clone()).layer(service_fn(handler))
}

/// A token with its last character but one changed: in shape, and no signature.
pub fn forged(token: &str) -> String {
    let (at, was) = token.char_indices().rev().nth(1).unwrap();
    let mut forged = token.to_owned();
    forged.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
    forged
}

pub fn bearer(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

/// A whole request: made, called, answered. No runtime; nothing here waits.
pub fn respond<S, B>(service: &mut S, bearer: &HeaderValue) -> Response<B>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    at_once(service.call(request(bearer))).unwrap()
}

pub fn request(bearer: &HeaderValue) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("/orders");
    request.headers_mut().insert(AUTHORIZATION, bearer.clone());
    request
}

/// A future that has its answer at the first poll.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing to wait for"),
    }
}
