//! What other modules use of the cryptographic library: a hash, random bytes, a comparison in constant time.

pub(crate) use constant_time_eq::constant_time_eq;

pub(crate) use crate::keys::backend::{SignError, random, sha256};
