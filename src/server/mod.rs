//! The server side: the layer, its service, and the responses.
//!
//! It finds the credential, has the authority judge it, and sends what comes of it. It reads no token, asks no store and holds no
//! key.
//!
//! It offers the layer, [`Require`] and their types to applications, and to `endpoint` and `extract` how a refusal is
//! answered ([`respond`], `Deferred`) and where the layer left the token (`find_token`).

mod body;
mod challenge;
pub(crate) mod control;
mod deferred;
mod deliver;
mod future;
mod layer;
mod refusal;
mod reply;
mod require;
mod service;
mod settings;
mod shared;

pub use body::{FixedBody, ResponseBody};
pub use challenge::{Challenge, DangerousChallenge, RefusalResponse};
#[cfg(feature = "axum")]
pub(crate) use control::{MARK, REISSUE_REPLAY};
pub use control::{NoReissue, Reissued};
#[cfg(feature = "axum")]
pub(crate) use deferred::Deferred;
pub(crate) use deliver::remove_cookie;
pub use future::ResponseFuture;
pub use layer::ReissueLayer;
pub(crate) use refusal::respond;
#[cfg(feature = "axum")]
pub(crate) use require::judge;
pub use require::{Require, RequireFuture, RequireScope, RequireStepUp};
pub use service::Reissue;
#[cfg(feature = "axum")]
pub(crate) use shared::{NO_LAYER, find_token};
