//! [`Cookie`]: a token's place in a browser.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use crate::ConfigError;

/// The cookie that holds a token: `HttpOnly`, `Secure`, `Path=/`, `SameSite=Lax`, and a name that begins with
/// `__Host-`, which browsers bind to this very host (RFC 6265bis §4.1.3.2).
///
/// A layer reads it as a [`Source::cookie`](crate::Source::cookie) and hands successors back in it; a login handler hands
/// out the first token with [`Authority::set_cookie`](crate::Authority::set_cookie).
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: Arc<str>,
    same_site: SameSite,
}

/// When browsers send a cookie along from other sites (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// On top-level navigations with a safe method. The default.
    #[default]
    Lax,
    /// Always. Costs: cross-site request forgery is yours to prevent.
    None,
}

impl Cookie {
    /// The cookie `__Host-{name}`, which is the only name it is read under. Browsers take it over HTTPS only, and from
    /// `localhost`.
    ///
    /// # Errors
    /// Where the name is empty or holds what a cookie's name can't (RFC 6265 §4.1.1).
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let name = name.strip_prefix("__Host-").unwrap_or(name);
        let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(ConfigError::new(format!(
                "{name:?} is no cookie's name: letters, digits, `-` and `_` are right"
            )));
        }
        Ok(Self { name: format!("__Host-{name}").into(), same_site: SameSite::Lax })
    }

    /// When browsers send it along from other sites. Default: [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The whole name, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a `Set-Cookie` field that removes it, for a handler that signs out.
    pub fn removal(&self) -> HeaderValue {
        // A few dozen bytes of ASCII.
        self.set("", 0).unwrap_or(HeaderValue::from_static(""))
    }

    /// The value of a `Set-Cookie` field; `max_age` in seconds, 0 to remove it.
    pub(crate) fn set(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let Self { name, same_site } = self;
        let field =
            format!("{name}={value}; Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite={same_site:?}");
        // Browsers keep 4,096 bytes of name, value and attributes (RFC 6265 §6.1).
        if field.len() > 4_096 {
            return None;
        }
        let mut field = HeaderValue::try_from(field).ok()?;
        field.set_sensitive(true);
        Some(field)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}; SameSite={:?})", self.name, self.same_site)
    }
}
