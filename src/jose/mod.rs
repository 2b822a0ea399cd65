//! JOSE as text: base64url, JSON objects member by member, the header.
//!
//! It knows no key and no policy.

pub(crate) mod base64;
pub(crate) mod header;
pub(crate) mod json;
pub(crate) mod media_type;
