//! [`PrivateClaims`]: the lazy view of a token's claims.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::jose::json;

/// The claims, read one at a time when asked for. The default view; it costs nothing until used.
#[derive(Clone)]
pub struct PrivateClaims(Arc<str>);

impl PrivateClaims {
    pub(super) fn view(text: &Arc<str>) -> Result<Self, serde_json::Error> {
        Ok(Self(Arc::clone(text)))
    }

    /// The claim `name`; `None` where the token has none. It is never both: a malformed claim is an error.
    ///
    /// # Errors
    /// Where its JSON is not a `T`.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let members = json::members(&self.0).unwrap_or_default();
        let found = members.into_iter().find(|member| member.name == name);
        found.map(|member| serde_json::from_str(member.value)).transpose()
    }
}

/// Claims are somebody's data.
impl fmt::Debug for PrivateClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateClaims(..)")
    }
}
