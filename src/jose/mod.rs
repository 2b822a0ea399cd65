//! JOSE as text: base64url, JSON objects member by member, the header.
//!
//! It knows no key and no policy.
//!
//! It offers [`base64`], [`json::members`] and [`json::splice`], [`header`] and [`media_type`].

pub(crate) mod base64;
pub(crate) mod header;
pub(crate) mod json;
pub(crate) mod media_type;
