//! Services to mount beside the layer.

mod backchannel_logout;
mod document;
mod introspect;
mod jwks;
mod metadata;
mod parameters;
mod post;
mod refresh;
mod reply;
mod revoke;

pub use backchannel_logout::{BackchannelLogoutEndpoint, LogoutToken};
pub use introspect::IntrospectionEndpoint;
pub use jwks::JwksEndpoint;
pub use metadata::MetadataEndpoint;
pub use refresh::RefreshEndpoint;
pub use revoke::RevokeEndpoint;
