//! The server half: the layer, its service, and what goes back over the wire.

mod body;
mod challenge;
pub(crate) mod control;
mod deliver;
mod future;
mod layer;
mod refusal;
mod reply;
mod service;
mod settings;
mod shared;

pub use body::{FixedBody, ResponseBody};
pub use challenge::{Challenge, DangerousChallenge, RefusalResponse};
pub use control::NoReissue;
pub(crate) use deliver::remove_cookie;
pub use future::ResponseFuture;
pub use layer::ReissueLayer;
pub(crate) use refusal::respond;
pub use service::Reissue;
