//! The decision core.
pub(crate) mod identity;
