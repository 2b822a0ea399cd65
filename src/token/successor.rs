//! [`Successor`]: the claims of the token that replaces another. [`succession`](super::succession) makes them.

use std::sync::Arc;

use crate::time::NumericDate;

/// A successor's claims, not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) claims: Arc<str>,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
}

impl Successor {
    /// Whether it expires after its predecessor, whose end is `exp`, and has not expired at `now`.
    pub(super) fn outlives(&self, exp: NumericDate, now: NumericDate) -> bool {
        self.exp > exp.max(now)
    }
}
