//! Services to mount beside the layer.

mod jwks;
mod revoke;

pub use jwks::JwksEndpoint;
pub use revoke::RevokeEndpoint;
