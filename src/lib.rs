//! Placeholder docs.
#[cfg(not(any(feature = "aws_lc_rs", feature = "rust_crypto")))]
compile_error!("tower-reissue needs one of its features `aws_lc_rs` (default) and `rust_crypto`");

mod authority;
mod clock;
mod endpoint;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod head;
pub mod keys;
pub mod manual;
mod server;
pub mod store;
mod telemetry;
mod token;

pub use authority::{
    Authority, AuthorityBuilder, DangerousBuilder, IssueError, IssuedToken, Login, PrivateClaims,
    SignOutError, VerifiedToken,
};
pub use clock::{Clock, ManualClock, NumericDate, SystemClock};
pub use endpoint::RevokeEndpoint;
pub use error::ConfigError;
#[cfg(feature = "axum")]
pub use extract::UnguardedRoute;
pub use head::RequestHead;
pub use keys::{Algorithm, KeyError, KeyRing, SigningKey, VerifyingKey};
pub use server::{
    Challenge, Cookie, FixedBody, NoReissue, RefusalResponse, Reissue, ReissueLayer, ResponseBody,
    ResponseFuture, SameSite,
};
pub use store::{ClaimsStore, MemoryStore};
pub use telemetry::{Event, NotReissued, Occasion};
pub use token::bearer::Source;
pub use token::refusal::{Reason, Refusal};
