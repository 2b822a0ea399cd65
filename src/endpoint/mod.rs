//! Ready services to mount beside the layer.

mod revoke;

pub use revoke::RevokeEndpoint;
