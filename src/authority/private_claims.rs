//! [`PrivateClaims`]: reads a token's claims on demand.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::jose::json;

/// The default type of private claims: reads a claim when a handler asks for it, and costs nothing until then.
#[derive(Clone)]
pub struct PrivateClaims(Arc<str>);

impl PrivateClaims {
    pub(super) fn of(claims: Arc<str>) -> Self {
        Self(claims)
    }

    pub(super) fn view(text: &Arc<str>) -> Result<Self, serde_json::Error> {
        Ok(Self(Arc::clone(text)))
    }

    /// The claim `name`, or `None` if the token has none. A claim of another JSON type is an error, never `None`.
    ///
    /// # Errors
    /// If its JSON can't be read as a `T`.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let members = json::members(&self.0).unwrap_or_default();
        let found = members.into_iter().find(|member| member.name == name);
        found.map(|member| serde_json::from_str(member.value)).transpose()
    }
}

/// Claims are personal data.
impl fmt::Debug for PrivateClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateClaims(..)")
    }
}
