//! Whether a request that carries its token in a cookie comes from a page that may send it.
//!
//! Browsers send cookies with requests from other sites. `SameSite` prevents most of that, but not for sibling subdomains, and not
//! if an application sets it to `None`.

use http::header::ORIGIN;

use super::head::RequestHead;
use crate::error::ConfigError;
use crate::refusal::{Reason, Refusal};

/// What the token in the cookie is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    SignOut,
    Refresh,
    WebSocket,
}

impl Purpose {
    /// What a client other than a browser can do.
    fn remedy(self) -> &'static str {
        macro_rules! or {
            ($($other:literal),+) => {
                concat!(
                    "it has neither Sec-Fetch-Site nor Origin; a client other than a browser can send an Origin that \
                     allow_origin names, or ",
                    $($other),+
                )
            };
        }
        match self {
            Self::SignOut => or!("its token in the body (token=..., RFC 7009)"),
            Self::Refresh => or!("its token in the body (refresh_token=..., RFC 6749)"),
            Self::WebSocket => or!("its token in Authorization, if read_from has Source::authorization"),
        }
    }
}

/// The origins whose pages may send such a request, in addition to the own origin. Empty by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedOrigins(Vec<Box<str>>);

impl AllowedOrigins {
    /// Allows another origin, as browsers write it (RFC 6454 §6.2): `https://app.example`, with a port if it is not the scheme's
    /// default.
    pub(crate) fn allow(&mut self, origin: &str) -> Result<(), ConfigError> {
        let allowed = serialised(origin).ok_or_else(|| {
            ConfigError::new(format!(
                "{origin:?} is not an origin: use a scheme, a host and a port, as in `https://app.example` or \
                 `http://localhost:5173`, without a path and without wildcards"
            ))
        })?;
        self.0.push(allowed);
        Ok(())
    }

    /// Refuses a request from another site.
    ///
    /// The browser says where the request comes from: by `Sec-Fetch-Site: same-origin`, or by an `Origin` that is allowed. The own
    /// origin can't be derived from the request, because `Host` comes from the sender. So for browsers that send no
    /// `Sec-Fetch-Site`, as Chrome with a WebSocket, the own origin must be allowed too.
    pub(crate) fn check(&self, head: &RequestHead<'_>, purpose: Purpose) -> Result<(), Refusal> {
        let single = |name: &str| {
            let mut values = head.headers().get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes())
        };
        let is_own = single("sec-fetch-site") == Some(b"same-origin");
        let is_allowed = || {
            single(ORIGIN.as_str())
                .is_some_and(|origin| self.0.iter().any(|allowed| allowed.as_bytes() == origin))
        };
        if is_own || is_allowed() {
            return Ok(());
        }
        let has = |name: &str| head.headers().contains_key(name);
        let hint = match (has(ORIGIN.as_str()), has("sec-fetch-site")) {
            (true, _) => "its Origin is not one that allow_origin names",
            (false, true) => "its Sec-Fetch-Site is not same-origin",
            (false, false) => purpose.remedy(),
        };
        Err(Refusal::new(Reason::CrossSite).with_hint(hint))
    }
}

/// The origin in lower case, without the default port of its scheme.
fn serialised(origin: &str) -> Option<Box<str>> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (authority, None),
    };
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match name {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let port = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
    (is_scheme && is_host).then(|| match port {
        Some(port) => format!("{scheme}://{host}:{port}").into(),
        None => format!("{scheme}://{host}").into(),
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(allowed: &[&str], fields: &[(&str, &str)]) -> bool {
        let mut origins = AllowedOrigins::default();
        allowed.iter().for_each(|origin| origins.allow(origin).expect("an origin"));
        let request =
            fields.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        origins.check(&RequestHead::of(&request.body(()).expect("a request")), Purpose::SignOut).is_ok()
    }

    #[test]
    fn a_request_comes_from_the_own_origin_or_an_allowed_one() {
        const APP: &[&str] = &["https://App.example:443", "http://localhost:5173", "https://[::1]:8443"];
        let site = |site| ("sec-fetch-site", site);
        let origin = |origin| ("origin", origin);
        for (allowed, fields, is_good) in [
            (&[][..], &[site("same-origin")][..], true),
            (&[], &[site("same-origin"), origin("https://any.example")], true),
            (&[], &[], false),
            (&[], &[site("same-site")], false),
            (&[], &[site("cross-site")], false),
            // Nobody's page sends one: it is the user who opens an address.
            (&[], &[site("none")], false),
            (&[], &[site("Same-Origin")], false),
            (&[], &[site("same-origin"), site("same-origin")], false),
            // The own origin is not guessed from `Host`.
            (&[], &[("host", "app.example"), origin("https://app.example")], false),
            (&[], &[origin("null")], false),
            (APP, &[origin("https://app.example")], true),
            (APP, &[origin("https://app.example"), site("cross-site")], true),
            (APP, &[origin("http://localhost:5173")], true),
            (APP, &[origin("https://[::1]:8443")], true),
            (APP, &[origin("http://app.example")], false),
            (APP, &[origin("https://app.example.evil.example")], false),
            (APP, &[origin("https://evil.example/https://app.example")], false),
            (APP, &[origin("https://app.example:8443")], false),
            (APP, &[origin("null")], false),
            (APP, &[site("cross-site")], false),
            (APP, &[origin("https://app.example"), origin("https://evil.example")], false),
        ] {
            assert_eq!(check(allowed, fields), is_good, "{allowed:?} {fields:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_request_lacks() {
        use Purpose::*;
        for (fields, purpose, told) in [
            (&[][..], SignOut, "or its token in the body (token=..., RFC 7009))"),
            (&[], Refresh, "or its token in the body (refresh_token=..., RFC 6749))"),
            (&[], WebSocket, "or its token in Authorization, if read_from has Source::authorization)"),
            (&[("sec-fetch-site", "same-site")], SignOut, "its Sec-Fetch-Site is not same-origin"),
            (&[("origin", "https://a.example")], Refresh, "its Origin is not one that allow_origin names"),
            (
                &[("origin", "https://a.example"), ("sec-fetch-site", "none")],
                WebSocket,
                "its Origin is not one",
            ),
        ] {
            let request = fields
                .iter()
                .fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
            let request = request.body(()).expect("a request");
            let refusal =
                AllowedOrigins::default().check(&RequestHead::of(&request), purpose).expect_err("a stranger");
            assert!(refusal.to_string().contains(told), "{refusal}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused_by_name() {
        for wrong in [
            "",
            "null",
            "*",
            "app.example",
            "https://",
            "https://*.app.example",
            "https://app.example/",
            "://app.example",
            "https://app.example/path",
            "https://user@app.example",
            "https://app.example:",
            "https://app.example:99999",
            "https://[::1",
            "https://a b",
            "1http://a",
        ] {
            let error = AllowedOrigins::default().allow(wrong).expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
