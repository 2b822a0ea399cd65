//! A Tower layer that validates JWT bearer tokens strictly, sends clients a new token before the old one expires, and
//! exchanges a token that has just expired. It works in front of any HTTP [`tower::Service`](tower_service::Service).
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reissue::{Algorithm, Authority, Login, ReissueLayer, SigningKey, VerifiedToken};
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
//! let request = Request::builder().header("authorization", format!("Bearer {}", token.as_str()));
//! let response = service.ready().await?.call(request.body(String::new())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! The example needs `http = "1"` and `tower = { version = "0.5", features = ["util"] }`. With axum it is ten lines: see the
//! [README](https://crates.io/crates/tower-reissue).
//!
//! # What a client sees
//!
//! * A response to a token in its renewal window (by default the last 20 % of its life) carries the successor in
//!   `Refreshed-API-Token`, whatever the response's status, also if the token expired while the handler ran. Parallel requests
//!   with one token get the same successor.
//! * A token that arrives expired, within the grace (by default 60 s), is answered 401 with its successor and
//!   `Reissue-Replay: safe`. The handler did not run, so the client sends the request again with the successor.
//! * Any other refusal is a 400 or 401 with an RFC 6750 challenge, or a `grpc-status` for a gRPC request. If a token can't be
//!   judged, because a store or an issuer's keys are unavailable, the answer is 503.
//!
//! The crate's [README](https://crates.io/crates/tower-reissue) has clients for `fetch` and tonic, and a table of tasks with the line
//! of code for each.
//!
//! # Where to start
//!
//! * [`Authority`] and its [builder](AuthorityBuilder): keys, policy, clock and store. The layer, the login handler and the
//!   endpoints share one. [`Authority::admit`] checks a token outside HTTP.
//! * [`ReissueLayer`]: guards a service. [`VerifiedToken`]: what handlers find in the request's extensions.
//! * [`RequireScope`] and [`RequireStepUp`]: routes that require more than a good token.
//! * [`Cookie`] and [`Source`]: where tokens are read from and sent back. [`RevokeEndpoint`]: signing out.
//!   [`JwksEndpoint`]: publishes the public keys.
//! * [`RefreshTokens`] and [`RefreshEndpoint`]: pairs of a short access token and a refresh token.
//! * [`store`]: a [`ClaimsStore`] makes sessions revocable. It is optional.
//! * [`keys`]: loading keys; [`KeyRotation`](keys::KeyRotation) replaces them while requests run, and trusts other issuers.
//!
//! # Manual
//!
//! * [Rules](manual::rules): what happens to a token in each case, by number. [Changelog](manual::changelog).
//! * [Defaults](manual::defaults), with their bounds and reasons.
//! * [Threat model](manual::threat_model): what the crate protects against, and what not.
//! * [Operating](manual::operating): events to watch, proxies, CORS, gRPC, outages.
//! * [Sliding token or pair?](manual::pairs), and how to sign in with cookies.
//! * [Providers](manual::providers): how to trust Auth0, Keycloak, Entra and others.
//! * [Coming from jsonwebtoken](manual::coming_from_jsonwebtoken): moving a service without signing its users out.
//! * [Keys](manual::keys): choosing, rotating, withdrawing and comparing them.
//! * [Writing a store](manual::writing_a_store), and [testing it](store::conformance).
//! * [Settings](manual::settings): from environment variables, TOML or any serde format.
//! * [Deploying](manual::deploying): manifests for Kubernetes, Helm and Compose.
//! * [Features](manual::features) and [performance](manual::performance).
//!
//! # How it is made
//!
//! ```text
//! request ─ credential ─► verify ─► judge ⇄ store ─► handler
//!                                                       │
//! response ◄─ deliver ◄─ sign ◄─ record ◄─ judge again ◄┘
//! ```
//!
//! * All decisions are made in the private module `token`, which is synchronous and pure. Time is an argument, and whatever can
//!   change a verdict is a field of one struct.
//! * The same module says what to do next. The arrival protocol takes a verified token and answers with a verdict or with a
//!   question for the store. It takes the store's answer and judges again, until there is a verdict. The reissue protocol does
//!   the same for recording a successor. The layer and [`Authority::admit`] drive both: they wait and sign, and decide
//!   nothing.
//! * Signatures are verified once: the cache of verified tokens holds proofs, never verdicts. Time, keys and standing are judged
//!   for every request.
//! * Without a store the layer allocates no future, boxes nothing and needs no async runtime. A store that has to be waited for,
//!   and a [`KeyRotation`](keys::KeyRotation), need Tokio's.

// docs.rs builds with nightly and this set, and marks what takes a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws_lc_rs", feature = "fips", feature = "rust_crypto")))]
compile_error!("tower-reissue needs one of its features `aws_lc_rs` (default), `fips` and `rust_crypto`");

mod authority;
mod caught;
#[cfg(feature = "jsonwebtoken")]
mod conversions;
mod crypto;
mod endpoint;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod jose;
mod keyring;
pub mod keys;
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
mod log;
pub mod manual;
mod refusal;
mod request;
mod rotation;
mod server;
#[cfg(feature = "settings")]
pub mod settings;
pub mod store;
mod telemetry;
#[cfg(any(test, feature = "test-util"))]
mod testing;
mod time;
mod token;

pub use authority::{
    Authority, AuthorityBuilder, DangerousBuilder, IssueError, IssuedToken, Login, PrivateClaims, Refresh,
    RefreshError, RefreshTokens, RenewalRequest, SignOutError, TokenPair, VerifiedToken,
};
pub use endpoint::{
    BackchannelLogoutEndpoint, IntrospectionEndpoint, JwksEndpoint, LogoutToken, MetadataEndpoint,
    RefreshEndpoint, RevokeEndpoint,
};
pub use error::ConfigError;
#[cfg(feature = "axum")]
pub use extract::{Guarded, TokenGuard, VerifiedTokenRejection};
pub use keys::{Algorithm, KeyError, KeyEvent, KeyRing, SigningKey, VerifyingKey};
pub use refusal::{Reason, Refusal};
pub use request::cookie::{Cookie, SameSite};
pub use request::credential::Source;
pub use request::head::RequestHead;
pub use server::{
    Challenge, DangerousChallenge, FixedBody, NoReissue, RefusalResponse, Reissue, ReissueLayer, Reissued,
    Require, RequireFuture, RequireScope, RequireStepUp, ResponseBody, ResponseFuture,
};
pub use store::{ClaimsStore, MemoryStore};
pub use telemetry::{Event, ReissueKind};
#[cfg(any(test, feature = "test-util"))]
pub use testing::ManualClock;
pub use time::{Clock, NumericDate, SystemClock};
pub use token::not_reissued::NotReissued;
pub use token::renewal::Renewal;

/// The README's examples compile.
#[cfg(all(doctest, feature = "axum", feature = "jwks"))]
#[doc = include_str!("../README.md")]
struct Readme;
