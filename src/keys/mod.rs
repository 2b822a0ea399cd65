//! Keys.
pub(crate) mod backend { pub(crate) fn sha256(_: &[u8]) -> [u8; 32] { [0; 32] } }
