//! Services to mount beside the layer: each reads one kind of request and asks the authority.
//!
//! They judge no token and reach no store. Nothing but `settings` stands above them, so what they offer is public.

/// The part of an endpoint's documentation that serves it without axum.
macro_rules! in_hyper {
    ($endpoint:literal) => {
        concat!(
            "As a server of its own, in bare hyper:\n\n```no_run\n# async fn serve(endpoint: tower_reissue::",
            $endpoint,
            ") -> std::io::Result<()> {\n",
            include_str!("in_hyper.md"),
            "# }\n```"
        )
    };
}

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
