//! Which keys are held at this moment, and whose they are.
//!
//! It holds what it is given and reads no source: where keys come from, and when they change, is decided in `rotation`. It sees no
//! token.
//!
//! It offers [`Keys`](handle::Keys), the shared handle, and its [`KeyRing`](ring::KeyRing) of one moment;
//! [`TrustedIssuer`](trusted_issuer::TrustedIssuer); [`KeyEvent`](event::KeyEvent); [`Fingerprint`](fingerprints::Fingerprint).

pub(crate) mod erased_source;
pub(crate) mod event;
pub(crate) mod fingerprints;
pub(crate) mod handle;
pub(crate) mod ring;
pub(crate) mod ring_cell;
pub(crate) mod trusted_issuer;
pub(crate) mod withdrawn;
