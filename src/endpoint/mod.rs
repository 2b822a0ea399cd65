//! Services to mount beside the layer.

mod document;
mod introspect;
mod jwks;
mod metadata;
mod parameters;
mod reply;
mod revoke;

pub use introspect::IntrospectionEndpoint;
pub use jwks::JwksEndpoint;
pub use metadata::MetadataEndpoint;
pub use revoke::RevokeEndpoint;
