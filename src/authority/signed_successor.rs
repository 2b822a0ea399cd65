//! [`SignedSuccessor`]: a successor as it is sent.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;

use crate::time::NumericDate;

/// A signed successor.
#[derive(Clone)]
pub(crate) struct SignedSuccessor {
    /// As a header's value, marked sensitive.
    pub(crate) token: HeaderValue,
    pub(crate) exp: NumericDate,
}

impl SignedSuccessor {
    pub(super) fn new(token: Vec<u8>, exp: NumericDate) -> Option<Self> {
        let mut token = HeaderValue::from_maybe_shared(Bytes::from(token)).ok()?;
        token.set_sensitive(true);
        Some(Self { token, exp })
    }

    pub(crate) fn text(&self) -> &str {
        // It is base64url and dots.
        self.token.to_str().unwrap_or_default()
    }
}

/// A token is a secret.
impl fmt::Debug for SignedSuccessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedSuccessor").field("exp", &self.exp).finish_non_exhaustive()
    }
}
