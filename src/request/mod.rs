//! What is read of a request before a key or a policy is known: its head, the one credential, where cookies come from.
//!
//! It may not touch keys, tokens or stores.

pub(crate) mod cookie;
pub(crate) mod credential;
pub(crate) mod cross_site;
pub(crate) mod head;
