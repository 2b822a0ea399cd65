//! The server half: the layer, its service, and what goes back over the wire.

mod body;
mod control;
mod deliver;
mod future;
mod layer;
mod response;
mod service;
mod shared;

pub use body::{FixedBody, ResponseBody};
pub use control::NoReissue;
pub(crate) use deliver::remove_cookie;
pub use future::ResponseFuture;
pub use layer::ReissueLayer;
pub(crate) use response::respond;
pub use response::{Challenge, DangerousChallenge, RefusalResponse};
pub use service::Reissue;
