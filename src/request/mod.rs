//! Reads a request without keys or policy: its head, its credential, and the origin of its cookies.
//!
//! It must not use keys, tokens or stores.
//!
//! It offers [`RequestHead`](head::RequestHead), [`find`](credential::find), which returns a [`Credential`](credential::Credential) or
//! a refusal, [`Cookie`](cookie::Cookie) and [`AllowedOrigins`](cross_site::AllowedOrigins).

pub(crate) mod cookie;
pub(crate) mod credential;
pub(crate) mod cross_site;
pub(crate) mod head;
