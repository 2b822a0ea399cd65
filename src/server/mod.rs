//! The server side: the layer, its service, and the responses.

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
