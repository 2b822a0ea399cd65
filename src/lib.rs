//! A Tower layer for the life of a bearer token: strict JWT validation, a successor in time, and a bounded exchange
//! just after expiry, in front of any HTTP service.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, service_fn};
//! use tower_reissue::{Algorithm, Authority, Login, ReissueLayer, SigningKey, VerifiedToken};
//! # use http::{Request, Response};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::builder(SigningKey::generate(Algorithm::EdDSA)?)
//!     .issuer("https://login.example")
//!     .audience("orders")
//!     .max_session_lifetime(Duration::from_secs(12 * 3600))
//!     .build()?;
//!
//! // The login handler.
//! let token = authority.issue(Login::new("alice")).await?;
//!
//! // The guarded service.
//! let mut service = ReissueLayer::new(authority).layer(service_fn(|request: Request<String>| async move {
//!     let token: &VerifiedToken = request.extensions().get().expect("the layer put it here");
//!     Ok::<_, std::convert::Infallible>(Response::new(token.subject().unwrap_or_default().to_owned()))
//! }));
//! # use tower::ServiceExt;
//! let request = Request::builder().header("authorization", format!("Bearer {}", token.as_str()));
//! let response = service.ready().await?.call(request.body(String::new())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(()) }
//! # use tower::Service;
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # How it is made
//!
//! ```text
//! request ─ bearer ─► verify ─► standing ─► decide(now) ─► handler
//!                                                             │
//! response ◄─ deliver ◄─ sign ◄─ record ◄─ decide again(now') ◄┘
//! ```
//!
//! * An [`Authority`] holds keys, policy, clock and store. The layer, the login handler and the endpoints share one.
//! * The decision core (the private module `token`) is synchronous and pure: the time is an argument. Whatever can change a
//!   verdict is a field of one struct, and nothing outside the core decides.
//! * A [`ClaimsStore`] is the authority on sessions: one successor on many nodes, revocation. It is optional.
//! * [`ReissueLayer`] puts it all in front of a service. Without a store it allocates no future, boxes nothing and needs no
//!   async runtime. A [`KeyRotation`](keys::KeyRotation), and a store that has to be waited for, need Tokio's.
//! * [`KeyRotation`](keys::KeyRotation) keeps the keys up to date, [`JwksEndpoint`] publishes them, [`RevokeEndpoint`] ends a
//!   session.
//!
//! # Read on
//!
//! * [`manual::rules`]: the rules that every verdict follows, by number; [`manual::changelog`]: what changed.
//! * [`manual::defaults`]: why each default is what it is.
//! * [`manual::threat_model`]: what it protects from, and what not.
//! * [`manual::operating`]: what to watch.
//! * [`store`]: choosing a store, [writing one](manual::writing_a_store), [proving it](store::conformance).
//! * [`keys`]: loading keys; [`manual::keys`]: choosing, rotating, withdrawing, comparing them.
//!
//! # Features
//!
//! `aws_lc_rs` (default) and `rust_crypto` choose the cryptography; with both on, aws-lc-rs is used. `fips` takes the FIPS
//! module of AWS-LC, whatever else is on; it alone excludes another crate's feature (aws-lc-rs's `non-fips`), and is no part
//! of `full`, which is all the others. `axum`, `tracing` and `metrics` add what their names say, and without `tracing`
//! nothing is logged; `jwks` fetches keys from a URL; `redis`, `sqlite` and `postgres` add stores (`sqlx` is what the last
//! two share; they need Rust 1.94, all else 1.88), and `sqlx_0_9` takes a pool of that version. `test-util` is for
//! tests. No feature changes a default or a verdict.

// docs.rs builds with nightly and this set, and marks what takes a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws_lc_rs", feature = "fips", feature = "rust_crypto")))]
compile_error!("tower-reissue needs one of its features `aws_lc_rs` (default), `fips` and `rust_crypto`");

mod authority;
mod base64;
mod caught;
mod endpoint;
mod error;
#[cfg(feature = "axum")]
mod extract;
pub mod keys;
pub mod manual;
mod refusal;
mod request;
mod server;
pub mod store;
mod telemetry;
#[cfg(any(test, feature = "test-util"))]
mod testing;
mod time;
mod token;

pub use authority::{
    Authority, AuthorityBuilder, DangerousBuilder, IssueError, IssuedToken, Login, PrivateClaims,
    SignOutError, VerifiedToken,
};
pub use endpoint::{JwksEndpoint, RevokeEndpoint};
pub use error::ConfigError;
#[cfg(feature = "axum")]
pub use extract::UnguardedRoute;
pub use keys::{Algorithm, KeyError, KeyRing, SigningKey, VerifyingKey};
pub use refusal::{Reason, Refusal};
pub use request::cookie::{Cookie, SameSite};
pub use request::credential::Source;
pub use request::head::RequestHead;
pub use server::{
    Challenge, DangerousChallenge, FixedBody, NoReissue, RefusalResponse, Reissue, ReissueLayer,
    ResponseBody, ResponseFuture,
};
pub use store::{ClaimsStore, MemoryStore};
pub use telemetry::{Event, ReissueKind};
#[cfg(any(test, feature = "test-util"))]
pub use testing::ManualClock;
pub use time::{Clock, NumericDate, SystemClock};
pub use token::reissue::NotReissued;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
