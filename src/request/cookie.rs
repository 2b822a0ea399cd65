//! [`Cookie`]: keeps a token in a browser.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use crate::error::ConfigError;

/// Browsers keep 4,096 bytes of name, value and attributes (RFC 6265 §6.1).
const MAX_BYTES: usize = 4_096;
/// Browsers keep a cookie for 400 days at most (RFC 6265bis §5.5).
const MAX_AGE: u64 = 400 * 24 * 3600;

/// The cookie that holds a token. By default it is `HttpOnly`, `Secure`, `Path=/` and `SameSite=Lax`, and its name
/// begins with `__Host-`, which makes browsers bind it to one host (RFC 6265bis §4.1.3.2).
///
/// A layer reads it through [`Source::cookie`](crate::Source::cookie) and sends successors back in it. A login
/// handler sets it with [`Authority::set_cookie`](crate::Authority::set_cookie).
///
/// ```
/// use tower_reissue::Cookie;
///
/// // One host, all of its paths.
/// let cookie = Cookie::new("session")?;
/// assert_eq!(cookie.name(), "__Host-session");
///
/// // All hosts of a domain, one path: such a cookie can't have the `__Host-` name.
/// let cookie = Cookie::without_host_prefix("session")?.domain("example.com")?.path("/orders")?;
/// assert_eq!(cookie.name(), "session");
/// # Ok::<(), tower_reissue::ConfigError>(())
/// ```
#[must_use = "a cookie does nothing until a `Source` names it"]
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: Arc<str>,
    kind: Kind,
    domain: Option<Arc<str>>,
    path: Arc<str>,
    same_site: SameSite,
    partitioned: bool,
    http_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `__Host-`: bound to one host by its name.
    Host,
    /// `Secure`, with a name that does not bind it to a host.
    Plain,
    /// Without `Secure`.
    Insecure,
}

/// When browsers send a cookie with requests from other sites (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// On top-level navigations with a safe method. The default.
    #[default]
    Lax,
    /// Always. Costs: you must prevent cross-site request forgery yourself.
    None,
}

impl Cookie {
    /// The cookie `__Host-{name}`. It is read under this name only. Browsers accept it over HTTPS. Chrome and Firefox
    /// also accept it from `http://localhost`, Safari does not: use HTTPS in development, or
    /// [`insecure_for_development`](Self::insecure_for_development).
    ///
    /// # Errors
    /// If the name is empty or contains characters that a cookie's name can't have (RFC 6265 §4.1.1).
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let name = name.strip_prefix("__Host-").unwrap_or(name);
        check_name(name)?;
        Ok(Self::of(format!("__Host-{name}").into(), Kind::Host))
    }

    /// The cookie with exactly this name, without the `__Host-` prefix: for a cookie with a [`domain`](Self::domain)
    /// or a [`path`](Self::path), or with a name that other software prescribes. It is still `Secure` and `HttpOnly`;
    /// its path is `/`.
    ///
    /// Costs: any host of the same domain can set a cookie of this name, and browsers then send both. A request with
    /// two is answered 400, so a hostile or broken sibling host can sign users out. A name that begins with
    /// `__Secure-` keeps hosts without HTTPS from doing so.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the name begins with `__Host-`.
    pub fn without_host_prefix(name: &str) -> Result<Self, ConfigError> {
        check_name(name)?;
        if has_prefix(name, &["__host-"]) {
            return refuse(format!("the cookie {name:?} has the `__Host-` prefix: use `Cookie::new` for it"));
        }
        Ok(Self::of(name.into(), Kind::Plain))
    }

    /// The cookie with exactly this name, without `Secure`: for development over plain HTTP, where Safari drops every
    /// `Secure` cookie, even from `localhost`. Never use it in production.
    ///
    /// Costs: anybody on the network path can read the token, and anybody who can answer a plain HTTP request for
    /// this host can set the cookie. A layer or endpoint that reads such a cookie emits
    /// [`Event::InsecureCookie`](crate::Event::InsecureCookie), a WARN in the log, when it is built. `SameSite=None`
    /// needs `Secure`; such a cookie is `Lax` instead.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the name begins with `__Host-`, `__Secure-` or `__Http-`: browsers drop such
    /// a cookie without `Secure`.
    pub fn insecure_for_development(name: &str) -> Result<Self, ConfigError> {
        check_name(name)?;
        if has_prefix(name, &["__host-", "__secure-", "__http-"]) {
            return refuse(format!(
                "browsers drop the cookie {name:?} without `Secure`: use a name without a prefix"
            ));
        }
        Ok(Self::of(name.into(), Kind::Insecure))
    }

    fn of(name: Arc<str>, kind: Kind) -> Self {
        Self {
            name,
            kind,
            domain: None,
            path: "/".into(),
            same_site: SameSite::Lax,
            partitioned: false,
            http_only: true,
        }
    }

    /// Sends the cookie to this domain and all its subdomains (`Domain`). Default: only to the host that set it.
    ///
    /// Costs: every host of the domain sees the token.
    ///
    /// # Errors
    /// If the cookie has the `__Host-` prefix, which excludes a domain, or if this is not a domain name.
    pub fn domain(mut self, domain: &str) -> Result<Self, ConfigError> {
        self.require_no_host_prefix("domain")?;
        let name = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return refuse(format!(
                "{domain:?} is not a cookie's domain: use a host name, such as `example.com`"
            ));
        }
        self.domain = Some(name.into());
        Ok(self)
    }

    /// Sends the cookie to this path and the paths below it (`Path`). Default `/`.
    ///
    /// This is no protection: scripts on other paths of the host can reach this one.
    ///
    /// # Errors
    /// If the cookie has the `__Host-` prefix, which requires `/`, or if the path does not begin with `/` or contains
    /// `;`, blanks or characters other than visible ASCII.
    pub fn path(mut self, path: &str) -> Result<Self, ConfigError> {
        self.require_no_host_prefix("path")?;
        // Browsers drop an attribute that is longer than 1,024 bytes (RFC 6265bis §5.5).
        if !path.starts_with('/')
            || path.len() > 1_024
            || !path.bytes().all(|b| b.is_ascii_graphic() && b != b';')
        {
            return refuse(format!(
                "{path:?} is not a cookie's path: use visible ASCII that begins with `/`"
            ));
        }
        self.path = path.into();
        Ok(self)
    }

    fn require_no_host_prefix(&self, attribute: &str) -> Result<(), ConfigError> {
        if self.kind == Kind::Host {
            return refuse(format!(
                "the cookie {:?} can't have a {attribute}: browsers drop it then. Give up its `__Host-` name with \
                 `Cookie::without_host_prefix`",
                self.name()
            ));
        }
        Ok(())
    }

    /// When browsers send the cookie with requests from other sites. Default: [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Makes browsers keep one cookie for each top-level site that embeds this service (`Partitioned`, CHIPS).
    /// Default: one for all. Use it for a service inside other sites' pages, together with [`SameSite::None`]:
    /// browsers that block third-party cookies keep a partitioned one. It needs `Secure`, so it has no effect on a
    /// cookie that is [`insecure_for_development`](Self::insecure_for_development).
    ///
    /// A user then signs in once within each embedding site.
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Lets the page's scripts read the cookie (no `HttpOnly`). Default: they can't. For a frontend that copies the token from
    /// the cookie into `Authorization`.
    ///
    /// It has no effect on a cookie whose name begins with `__Http-` or `__Host-Http-`, in any letter case: browsers drop such a
    /// cookie without `HttpOnly`. Settings that ask for both are refused.
    ///
    /// Costs: a script that is injected into a page takes the token away, and uses it elsewhere until the session ends.
    pub fn without_http_only(mut self) -> Self {
        self.http_only = self.needs_http_only();
        self
    }

    /// Whether browsers drop a cookie of this name without `HttpOnly` (RFC 6265bis §4.1.3).
    pub(crate) fn needs_http_only(&self) -> bool {
        has_prefix(&self.name, &["__http-", "__host-http-"])
    }

    /// The whole name, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was made by [`insecure_for_development`](Self::insecure_for_development).
    pub(crate) fn is_insecure(&self) -> bool {
        self.kind == Kind::Insecure
    }

    /// The value of a `Set-Cookie` field that removes the cookie, for a handler that signs out.
    pub fn removal(&self) -> HeaderValue {
        // ASCII throughout, and shorter than what browsers keep.
        self.set("", 0).unwrap_or(HeaderValue::from_static(""))
    }

    /// The value of a `Set-Cookie` field; `max_age` in seconds, 0 to remove it. `None` if it is longer than browsers keep.
    pub(crate) fn set(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let field = self.field(value, max_age);
        if field.len() > MAX_BYTES {
            return None;
        }
        let mut field = HeaderValue::try_from(field).ok()?;
        field.set_sensitive(true);
        Some(field)
    }

    /// The length of its field without a value, at most.
    pub(crate) fn overhead(&self) -> usize {
        self.field("", MAX_AGE).len()
    }

    /// The longest value that fits into it, whatever its `Max-Age`.
    pub(crate) fn max_value_len(&self) -> usize {
        MAX_BYTES.saturating_sub(self.overhead())
    }

    fn field(&self, value: &str, max_age: u64) -> String {
        let Self { name, kind, domain, path, same_site, partitioned, http_only } = self;
        let domain = domain.iter().flat_map(|domain| ["; Domain=", domain]).collect::<String>();
        let (secure, same_site) = match (kind, same_site) {
            (Kind::Insecure, SameSite::None) => ("", SameSite::Lax),
            (Kind::Insecure, same_site) => ("", *same_site),
            (_, same_site) => ("; Secure", *same_site),
        };
        let partitioned = if *partitioned && *kind != Kind::Insecure { "; Partitioned" } else { "" };
        let http_only = if *http_only { "; HttpOnly" } else { "" };
        let max_age = max_age.min(MAX_AGE);
        format!(
            "{name}={value}; Max-Age={max_age}{domain}; Path={path}{secure}{http_only}; SameSite={same_site:?}{partitioned}"
        )
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        return refuse(format!("{name:?} is not a cookie's name: use letters, digits, `-` and `_`"));
    }
    Ok(())
}

/// Browsers compare prefixes without regard to case.
fn has_prefix(name: &str, prefixes: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn refuse<T>(message: String) -> Result<T, ConfigError> {
    Err(ConfigError::new(message))
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}", self.name)?;
        if let Some(domain) = &self.domain {
            write!(f, "; Domain={domain}")?;
        }
        if &*self.path != "/" {
            write!(f, "; Path={}", self.path)?;
        }
        write!(f, "; SameSite={:?}", self.same_site)?;
        for (is_set, attribute) in [(self.partitioned, "Partitioned"), (!self.http_only, "no HttpOnly")] {
            if is_set {
                write!(f, "; {attribute}")?;
            }
        }
        f.write_str(")")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(field: Option<HeaderValue>) -> String {
        field.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_and_its_removal_carry_the_same_name_domain_and_path() {
        for (cookie, name, attributes) in [
            (Cookie::new("s"), "__Host-s", "; Path=/; Secure; HttpOnly; SameSite=Lax"),
            (Cookie::new("__Host-s"), "__Host-s", "; Path=/; Secure; HttpOnly; SameSite=Lax"),
            (Cookie::without_host_prefix("s"), "s", "; Path=/; Secure; HttpOnly; SameSite=Lax"),
            (
                Cookie::without_host_prefix("__Secure-s").and_then(|cookie| cookie.domain(".Example.com")),
                "__Secure-s",
                "; Domain=example.com; Path=/; Secure; HttpOnly; SameSite=Lax",
            ),
            (
                Cookie::without_host_prefix("s")
                    .and_then(|cookie| cookie.path("/a/b")?.domain("localhost"))
                    .map(|cookie| cookie.same_site(SameSite::None)),
                "s",
                "; Domain=localhost; Path=/a/b; Secure; HttpOnly; SameSite=None",
            ),
            (
                Cookie::new("s").map(|cookie| cookie.same_site(SameSite::None).partitioned()),
                "__Host-s",
                "; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
            ),
            (
                Cookie::insecure_for_development("s").map(Cookie::partitioned),
                "s",
                "; Path=/; HttpOnly; SameSite=Lax",
            ),
            (Cookie::insecure_for_development("s"), "s", "; Path=/; HttpOnly; SameSite=Lax"),
            (Cookie::new("s").map(Cookie::without_http_only), "__Host-s", "; Path=/; Secure; SameSite=Lax"),
            // Browsers demand it of the prefixes `__Http-` and `__Host-Http-`.
            (
                Cookie::new("Httpd").map(Cookie::without_http_only),
                "__Host-Httpd",
                "; Path=/; Secure; SameSite=Lax",
            ),
            (
                Cookie::new("HTTP-s").map(Cookie::without_http_only),
                "__Host-HTTP-s",
                "; Path=/; Secure; HttpOnly; SameSite=Lax",
            ),
            (
                Cookie::without_host_prefix("__http-s").map(Cookie::without_http_only),
                "__http-s",
                "; Path=/; Secure; HttpOnly; SameSite=Lax",
            ),
            (
                Cookie::insecure_for_development("s").map(|cookie| cookie.same_site(SameSite::None)),
                "s",
                "; Path=/; HttpOnly; SameSite=Lax",
            ),
            (
                Cookie::insecure_for_development("s")
                    .and_then(|cookie| cookie.path("/a"))
                    .map(|cookie| cookie.same_site(SameSite::Strict)),
                "s",
                "; Path=/a; HttpOnly; SameSite=Strict",
            ),
        ] {
            let cookie = cookie.unwrap();
            assert_eq!(cookie.name(), name);
            assert_eq!(text(cookie.set("token", 60)), format!("{name}=token; Max-Age=60{attributes}"));
            assert_eq!(text(Some(cookie.removal())), format!("{name}=; Max-Age=0{attributes}"));
        }
    }

    #[test]
    fn what_browsers_drop_is_refused_when_it_is_built() {
        let plain = || Cookie::without_host_prefix("s").unwrap();
        for (cookie, named) in [
            (Cookie::new(""), "\"\""),
            (Cookie::new("__Host-"), "\"\""),
            (Cookie::new("a b"), "\"a b\""),
            (Cookie::new("a=b"), "\"a=b\""),
            (Cookie::without_host_prefix("a;b"), "\"a;b\""),
            (Cookie::without_host_prefix("__host-s"), "__host-s"),
            (Cookie::insecure_for_development("__Host-s"), "__Host-s"),
            (Cookie::insecure_for_development("__Secure-s"), "__Secure-s"),
            (Cookie::insecure_for_development("__HTTP-s"), "__HTTP-s"),
            (Cookie::new("s").unwrap().domain("example.com"), "domain"),
            (Cookie::new("s").unwrap().path("/"), "path"),
            (plain().domain(""), "\"\""),
            (plain().domain("a..b"), "a..b"),
            (plain().domain("a;b"), "a;b"),
            (plain().domain("https://a"), "https://a"),
            (plain().domain(&"a".repeat(254)), "aaa"),
            (plain().path(""), "\"\""),
            (plain().path("a"), "\"a\""),
            (plain().path("/a;b"), "/a;b"),
            (plain().path("/a b"), "/a b"),
            (plain().path("/ä"), "/ä"),
        ] {
            let error = cookie.expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_longest_value_fits_whatever_its_age() {
        let cookie = Cookie::without_host_prefix("s").unwrap().domain("example.com").unwrap();
        let longest = "x".repeat(cookie.max_value_len());
        for max_age in [0, 660, MAX_AGE, u64::MAX] {
            assert!(cookie.set(&longest, max_age).is_some(), "{max_age}");
        }
        assert!(cookie.set(&format!("{longest}x"), u64::MAX).is_none());
        assert!(text(cookie.set("", u64::MAX)).contains("Max-Age=34560000;"));
    }
}
