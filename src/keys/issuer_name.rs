//! [`IssuerName`]: which `iss` a key may sign.

use std::fmt;
use std::sync::Arc;

use crate::keys::error::{KeyError, KeyErrorKind};

/// An `iss`, or a template of the `iss` of many tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerName {
    /// Compared exactly (RFC 8725 §3.8).
    Exact(Arc<str>),
    Template(Template),
}

/// `https://login.example/{tid}/v2.0`: text, one placeholder, text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    before: Arc<str>,
    /// The text in the braces.
    placeholder: Arc<str>,
    after: Arc<str>,
}

/// The longest name of a tenant, in bytes.
const MAX_TENANT: usize = 128;

impl IssuerName {
    /// A text with braces is a template.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim().is_empty() {
            return Err(error("an issuer needs a name, the `iss` of its tokens"));
        }
        if !text.contains(['{', '}']) {
            return Ok(Self::Exact(text.into()));
        }
        let parts = text.split_once('{').and_then(|(before, rest)| {
            let (placeholder, after) = rest.split_once('}')?;
            Some((before, placeholder, after))
        });
        match parts {
            Some((before, placeholder, after))
                if !before.is_empty()
                    && !placeholder.is_empty()
                    && ![before, placeholder, after].iter().any(|part| part.contains(['{', '}'])) =>
            {
                let [before, placeholder, after] = [before, placeholder, after].map(Arc::from);
                Ok(Self::Template(Template { before, placeholder, after }))
            }
            _ => Err(error(
                "the template of an issuer is text with one placeholder, such as `https://login.example/{tid}/v2.0`",
            )),
        }
    }

    /// Whether it means this `iss`.
    pub(crate) fn matches(&self, iss: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *iss,
            Self::Template(template) => template.tenant(iss).is_some(),
        }
    }
}

impl Template {
    /// The name of the claim that holds the tenant.
    pub(crate) fn claim(&self) -> &str {
        &self.placeholder
    }

    /// The tenant in this `iss`, if it can be a tenant's name.
    pub(crate) fn tenant<'a>(&self, iss: &'a str) -> Option<&'a str> {
        let tenant = iss.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        is_tenant(tenant).then_some(tenant)
    }

    /// The `iss` of a tenant.
    pub(crate) fn issuer_of(&self, tenant: &str) -> String {
        format!("{}{tenant}{}", self.before, self.after)
    }

    /// Whether both can mean the same `iss`. `true` if that is not certain.
    pub(crate) fn may_overlap(&self, other: &Self) -> bool {
        let begin = |one: &str, two: &str| one.starts_with(two) || two.starts_with(one);
        let end = |one: &str, two: &str| one.ends_with(two) || two.ends_with(one);
        begin(&self.before, &other.before) && end(&self.after, &other.after)
    }
}

/// Only unreserved characters of a URL (RFC 3986 §2.3). With a slash, a percent sign or other characters, a tenant could choose a name
/// that other software reads as another tenant's.
pub(crate) fn is_tenant(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=MAX_TENANT).contains(&text.len()) && text.bytes().all(is_unreserved) && text != "." && text != ".."
}

fn error(message: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Ring, message)
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Template(Template { before, placeholder, after }) => {
                write!(f, "{before}{{{placeholder}}}{after}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_one_unreserved_segment_in_its_place() {
        let entra = IssuerName::parse("https://login.example/{tid}/v2.0").unwrap();
        let longest = "t".repeat(MAX_TENANT);
        for tenant in ["a", "6f1c0c4e-0000-4000-8000-000000000000", "a.b_c~d", "...", &longest] {
            assert!(entra.matches(&format!("https://login.example/{tenant}/v2.0")), "{tenant}");
        }
        let too_long = "t".repeat(MAX_TENANT + 1);
        for tenant in [
            "",
            ".",
            "..",
            "a/b",
            "a/v2.0",
            "a%2Fb",
            "a%",
            "ä",
            "\u{430}",
            "a b",
            "a\u{0}",
            "a\n",
            "a?b",
            "a#b",
            "a@b",
            "a:b",
            "{tid}",
            "a\u{200d}",
            &too_long,
        ] {
            assert!(!entra.matches(&format!("https://login.example/{tenant}/v2.0")), "{tenant:?}");
        }
        for iss in [
            "https://login.example/v2.0",
            "https://login.example//v2.0",
            "https://login.example/a/v2.0/",
            "https://login.example/a/v2.0 ",
            "HTTPS://login.example/a/v2.0",
            "https://login.example.evil/a/v2.0",
            "x https://login.example/a/v2.0",
            // The prefix and the suffix may not share characters.
            "https://login.example/v2.0/v2.0",
        ] {
            let expected = iss.ends_with("/v2.0/v2.0");
            assert_eq!(entra.matches(iss), expected, "{iss}");
        }
        let narrow = IssuerName::parse("https://x/{t}/").unwrap();
        assert!(!narrow.matches("https://x/"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            " ",
            "{tid}",
            "https://x/{}",
            "https://x/{a}/{b}",
            "https://x/{a",
            "https://x/a}",
            "https://x/{{a}}",
        ] {
            assert!(IssuerName::parse(text).is_err(), "{text}");
        }
        for text in ["https://x/{a}", "https://x/a/", "joe"] {
            assert_eq!(IssuerName::parse(text).unwrap().to_string(), text);
        }
    }
}
