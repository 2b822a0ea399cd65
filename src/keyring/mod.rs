//! Which keys are held at this moment, and whose they are.
//!
//! It holds what it is given: where keys come from, and when they change, is the business of `rotation`.

pub(crate) mod erased_source;
pub(crate) mod event;
pub(crate) mod fingerprints;
pub(crate) mod handle;
pub(crate) mod ring;
pub(crate) mod ring_cell;
pub(crate) mod trusted_issuer;
pub(crate) mod withdrawn;
