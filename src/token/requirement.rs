//! What a route requires of a token that was admitted: scopes (RFC 6750 §3.1), and how and when its holder signed in (RFC 9470).

use std::borrow::Cow;

use super::claims::Claims;
use crate::error::ConfigError;
use crate::jose::json;
use crate::refusal::{Reason, Refusal, Required};
use crate::time::{MAX_TOLERANCE, NumericDate};

/// What a route requires. By default nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirement {
    /// All of these are required.
    pub(crate) scope: Option<Names>,
    /// `acr` must be one of these.
    pub(crate) acr_values: Option<Names>,
    /// How long ago `auth_time` may be, in seconds.
    pub(crate) max_age: Option<u64>,
}

/// Everything but the requirement that its verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) claims: &'a Claims,
    /// The result of the application's predicate. `true` without one.
    pub(crate) predicate: bool,
    /// `None` if the clock can't be read. Only used for `max_age`.
    pub(crate) now: Option<NumericDate>,
}

/// Scopes or `acr` values, as a challenge names them: with one space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    text: Cow<'static, str>,
    /// Whether it is a single name, the usual case, so that it need not be split.
    is_one: bool,
}

impl Requirement {
    /// Judges an admitted token. Scopes come first, because a new sign-in adds none.
    #[inline]
    pub(crate) fn judge(&self, evidence: Evidence<'_>) -> Result<(), Refusal> {
        let Evidence { claims, predicate, now } = evidence;
        let has_scopes = |names: &Names| match claims.scopes() {
            Some(held) if names.is_one => holds(held, &names.text),
            Some(held) => names.each().all(|name| holds(held, name)),
            None => false,
        };
        if !predicate || !self.scope.as_ref().is_none_or(has_scopes) {
            let required = Required { scope: text(&self.scope), ..Required::default() };
            return Err(Refusal::new(Reason::InsufficientScope).requiring(required));
        }
        let is_among = |names: &Names| claims.acr().is_some_and(|acr| names.each().any(|name| name == acr));
        if !self.acr_values.as_ref().is_none_or(is_among) {
            return Err(self.step_up("acr"));
        }
        let is_recent = |max_age| is_recent(claims.auth_time(), now, max_age);
        if !self.max_age.is_none_or(is_recent) {
            return Err(self.step_up("auth_time"));
        }
        Ok(())
    }

    /// Adds everything that the next token needs, not only what this one lacks.
    fn step_up(&self, claim: &'static str) -> Refusal {
        let required =
            Required { scope: text(&self.scope), acr_values: text(&self.acr_values), max_age: self.max_age };
        Refusal::new(Reason::InsufficientAuthentication(claim)).requiring(required)
    }

    /// A requirement from constants. Invalid ones do not compile.
    #[cfg(feature = "axum")]
    pub(crate) const fn literal(
        scope: &'static str,
        acr_values: &'static str,
        max_age: Option<std::time::Duration>,
    ) -> Self {
        assert!(
            !scope.is_empty() || !acr_values.is_empty() || max_age.is_some(),
            "a guard needs SCOPE, ACR_VALUES or MAX_AGE"
        );
        let max_age = match max_age {
            Some(max_age) => Some(max_age.as_secs()),
            None => None,
        };
        assert!(!matches!(max_age, Some(0)), "MAX_AGE is at least one second");
        Self { scope: Names::literal(scope), acr_values: Names::literal(acr_values), max_age }
    }
}

/// Whether the sign-in is recent enough. An `auth_time` that is absent, not a NumericDate, or ahead of the clock by more than any
/// tolerance is not.
fn is_recent(auth_time: Option<NumericDate>, now: Option<NumericDate>, max_age: u64) -> bool {
    let (Some(auth_time), Some(now)) = (auth_time, now) else { return false };
    now.since(auth_time) <= max_age && auth_time.since(now) <= MAX_TOLERANCE
}

/// Whether the JSON text of `scope` or `scp`, a string (RFC 8693 §4.2) or an array of strings, holds this scope. A value of
/// another type holds none.
#[inline]
pub(crate) fn holds(value: &str, scope: &str) -> bool {
    let (bytes, scope_bytes) = (value.as_bytes(), scope.as_bytes());
    match bytes {
        // A name that occurs unescaped needs no decoding, even if other names are escaped.
        [b'"', names @ .., b'"'] => {
            text_holds(names, scope_bytes) || has_escapes(bytes) && holds_escaped(value, scope)
        }
        [b'[', ..] if has_escapes(bytes) => holds_escaped(value, scope),
        [b'[', elements @ .., b']'] => list_holds(elements, scope_bytes),
        _ => false,
    }
}

#[inline]
fn text_holds(mut names: &[u8], scope: &[u8]) -> bool {
    loop {
        if let Some(rest) = names.strip_prefix(scope)
            && matches!(rest, [] | [b' ', ..])
        {
            return true;
        }
        match memchr::memchr(b' ', names).and_then(|space| names.get(space + 1..)) {
            Some(rest) => names = rest,
            None => return false,
        }
    }
}

/// For well-formed JSON without escapes, in which each quote begins or ends a string.
fn list_holds(mut elements: &[u8], scope: &[u8]) -> bool {
    let mut held = false;
    loop {
        let mut parts = elements.splitn(2, |&byte| byte == b'"');
        let between = parts.next().unwrap_or_default().trim_ascii();
        let Some(element) = parts.next() else { return held && between.is_empty() };
        let end = memchr::memchr(b'"', element).and_then(|end| element.split_at_checked(end));
        let (b"" | b",", Some((name, [_, rest @ ..]))) = (between, end) else {
            // An element that is not a string: the claim is not a list of scopes.
            return false;
        };
        held |= name == scope;
        elements = rest;
    }
}

#[inline]
fn has_escapes(json: &[u8]) -> bool {
    memchr::memchr(b'\\', json).is_some()
}

#[cold]
fn holds_escaped(value: &str, scope: &str) -> bool {
    match json::string(value) {
        Some(list) => list.split(' ').any(|name| name == scope),
        None => json::strings(value).is_some_and(|list| list.iter().any(|(_, name)| name == scope)),
    }
}

fn text(names: &Option<Names>) -> Option<Cow<'static, str>> {
    names.as_ref().map(|names| names.text.clone())
}

impl Names {
    /// The longest that is allowed, because a challenge is part of a response head.
    const MAX: usize = 1_024;

    /// `what` names the setting.
    pub(crate) fn new(what: &str, text: &str) -> Result<Self, ConfigError> {
        match Self::fault(text) {
            None => Ok(Self { is_one: is_one(text), text: Cow::Owned(text.to_owned()) }),
            Some(fault) => Err(ConfigError::new(format!("{what} {text:?} {fault}"))),
        }
    }

    /// `None` for an empty text.
    #[cfg(feature = "axum")]
    const fn literal(text: &'static str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        assert!(Self::fault(text).is_none(), "a name holds a character that RFC 6749 §3.3 does not allow");
        Some(Self { is_one: is_one(text), text: Cow::Borrowed(text) })
    }

    /// RFC 6749 §3.3: names of printable ASCII except `"` and `\`, with one space between them. `acr_values` (RFC 9470 §3) are a
    /// quoted string, for which the same characters need no escaping.
    const fn fault(text: &str) -> Option<&'static str> {
        if text.len() > Self::MAX {
            return Some("is longer than 1,024 bytes");
        }
        let (mut rest, mut after_space) = (text.as_bytes(), true);
        while let [byte, following @ ..] = rest {
            after_space = match byte {
                b' ' if after_space => break,
                b' ' => true,
                0x21 | 0x23..=0x5b | 0x5d..=0x7e => false,
                _ => return Some("may hold printable ASCII other than `\"` and `\\` (RFC 6749 §3.3)"),
            };
            rest = following;
        }
        if after_space { Some("must be one name or more, with one space between them") } else { None }
    }

    fn each(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ')
    }
}

const fn is_one(names: &str) -> bool {
    let mut rest = names.as_bytes();
    while let [byte, following @ ..] = rest {
        if *byte == b' ' {
            return false;
        }
        rest = following;
    }
    true
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use serde_json::{Value, json};

    use super::super::test_tokens::{at, policy, token_with};
    use super::*;

    fn names(text: &str) -> Option<Names> {
        Some(Names::new("scope", text).expect(text))
    }

    fn judge(requirement: &Requirement, claims: &Value, now: NumericDate) -> Result<(), Refusal> {
        let token = token_with(&policy(), claims);
        requirement.judge(Evidence { claims: token.claims(), predicate: true, now: Some(now) })
    }

    #[test]
    fn every_scope_that_is_required_must_be_held() {
        let both = Requirement { scope: names("orders:read orders:write"), ..Requirement::default() };
        for (claims, met) in [
            (json!({ "scope": "orders:read orders:write" }), true),
            (json!({ "scope": "orders:write  a orders:read" }), true),
            (json!({ "scope": ["orders:write", "orders:read"] }), true),
            (json!({ "scp": "orders:read orders:write" }), true),
            (json!({ "scp": ["x", "orders:read", "orders:write"] }), true),
            (json!({}), false),
            (json!({ "scope": "" }), false),
            (json!({ "scope": "orders:read" }), false),
            (json!({ "scope": "orders:reads orders:writes" }), false),
            (json!({ "scope": "ORDERS:READ ORDERS:WRITE" }), false),
            (json!({ "scope": "orders:read,orders:write" }), false),
            (json!({ "scope": "orders:read\torders:write" }), false),
            // One element is one scope.
            (json!({ "scope": ["orders:read orders:write"] }), false),
            // A list with anything else in it is none.
            (json!({ "scope": ["orders:read", "orders:write", 1] }), false),
            (json!({ "scope": [1, "orders:read", "orders:write"] }), false),
            (json!({ "scope": ["orders:read", null, "orders:write"] }), false),
            (json!({ "scope": ["orders:read", {}, "orders:write"] }), false),
            (json!({ "scope": [["orders:read", "orders:write"]] }), false),
            (json!({ "scope": [] }), false),
            (json!({ "scope": true }), false),
            (json!({ "scope": { "orders:read": true, "orders:write": true } }), false),
            // The registered claim counts alone where it is there.
            (json!({ "scope": "orders:read", "scp": "orders:write" }), false),
            (json!({ "scope": null, "scp": "orders:read orders:write" }), false),
            (json!({ "Scope": "orders:read orders:write" }), false),
        ] {
            let verdict = judge(&both, &claims, at(0));
            assert_eq!(verdict.is_ok(), met, "{claims}");
            if let Err(refusal) = verdict {
                assert_eq!(refusal.reason(), &Reason::InsufficientScope);
                assert_eq!(refusal.scope(), Some("orders:read orders:write"), "as configured");
            }
        }
    }

    #[test]
    fn a_scope_is_read_through_its_escapes() {
        for value in [r#""orders\u003aread""#, r#"["\u006frders:read"]"#, r#"[ "a" , "orders:read" ]"#] {
            assert!(holds(value, "orders:read"), "{value}");
        }
        for value in
            [r#"[ ]"#, r#"[["orders"]]"#, r#"["orders",[]]"#, r#"["orders" , 1 ]"#, r#"["\u006frders", 1]"#]
        {
            assert!(!holds(value, "orders"), "{value}");
        }
        for value in [r#""a\u0020orders""#, r#""a\torders""#] {
            assert_eq!(holds(value, "orders"), value.contains("0020"), "{value}");
        }
    }

    /// Each JSON text of up to six characters between quotes or brackets, against one that decodes first.
    #[test]
    fn a_scope_is_held_as_a_parser_would_say() {
        fn parsed(value: &str, scope: &str) -> Option<bool> {
            Some(match serde_json::from_str(value).ok()? {
                Value::String(list) => list.split(' ').any(|name| name == scope),
                Value::Array(list) => {
                    list.iter().all(Value::is_string) && list.iter().any(|name| *name == *scope)
                }
                _ => false,
            })
        }
        const ALPHABET: &[u8] = br#"a "\,[]"#;
        let (mut held, mut lacking) = (0, 0);
        for len in 0..=6_u32 {
            for nth in 0..ALPHABET.len().pow(len) {
                let of = |place| char::from(ALPHABET[nth / ALPHABET.len().pow(place) % ALPHABET.len()]);
                let inner: String = (0..len).map(of).collect();
                for value in [format!("\"{inner}\""), format!("[{inner}]")] {
                    for scope in ["a", ",", "aa"] {
                        let Some(expected) = parsed(&value, scope) else { continue };
                        assert_eq!(holds(&value, scope), expected, "{value} {scope}");
                        *(if expected { &mut held } else { &mut lacking }) += 1;
                    }
                }
            }
        }
        assert!(held > 1_000 && lacking > 10_000, "{held} {lacking}");
    }

    #[test]
    fn one_of_the_acr_values_is_enough() {
        let mfa = Requirement { acr_values: names("urn:mfa urn:phr"), ..Requirement::default() };
        for (claims, met) in [
            (json!({ "acr": "urn:mfa" }), true),
            (json!({ "acr": "urn:phr" }), true),
            (json!({ "acr": "urn:mfa urn:phr" }), false),
            (json!({ "acr": ["urn:mfa"] }), false),
            (json!({ "acr": "" }), false),
            (json!({ "acr": "0" }), false),
            (json!({}), false),
        ] {
            let verdict = judge(&mfa, &claims, at(0));
            assert_eq!(verdict.is_ok(), met, "{claims}");
            if let Err(refusal) = verdict {
                assert_eq!(refusal.reason(), &Reason::InsufficientAuthentication("acr"));
                assert_eq!((refusal.acr_values(), refusal.max_age()), (Some("urn:mfa urn:phr"), None));
            }
        }
    }

    #[test]
    fn a_sign_in_is_recent_up_to_its_max_age_and_no_longer() {
        let recent = Requirement { max_age: Some(300), ..Requirement::default() };
        let now = at(400);
        for (auth_time, met) in [
            (json!(at(400).as_secs()), true),
            (json!(at(100).as_secs()), true),
            (json!(at(100).as_secs() as f64 + 0.5), true),
            (json!(at(99).as_secs()), false),
            (json!(at(460).as_secs()), true),
            (json!(at(461).as_secs()), false),
            (json!(at(400).as_secs() * 1_000), false),
            (json!(253_402_300_799_u64), false),
            (json!(0), false),
            (json!(-1), false),
            (json!("2027-01-15T08:00:00Z"), false),
            (Value::Null, false),
        ] {
            let verdict = judge(&recent, &json!({ "auth_time": auth_time }), now);
            assert_eq!(verdict.is_ok(), met, "{auth_time}");
            if let Err(refusal) = verdict {
                assert_eq!(refusal.reason(), &Reason::InsufficientAuthentication("auth_time"));
                assert_eq!(refusal.max_age().map(|age| age.as_secs()), Some(300));
            }
        }
        assert!(judge(&recent, &json!({}), now).is_err(), "absent");
        let token = token_with(&policy(), &json!({ "auth_time": now.as_secs() }));
        let evidence = Evidence { claims: token.claims(), predicate: true, now: None };
        assert!(recent.judge(evidence).is_err(), "no clock tells");
    }

    #[test]
    fn a_predicate_that_says_no_refuses_and_a_scope_comes_before_a_step_up() {
        let all = Requirement { scope: names("a"), acr_values: names("mfa"), max_age: Some(1) };
        let token = token_with(&policy(), &json!({ "scope": "a" }));
        let verdict = |requirement: &Requirement, predicate| {
            let evidence = Evidence { claims: token.claims(), predicate, now: Some(at(0)) };
            requirement.judge(evidence).map_err(|refusal| refusal.reason().clone())
        };
        assert_eq!(verdict(&all, false), Err(Reason::InsufficientScope));
        assert_eq!(verdict(&all, true), Err(Reason::InsufficientAuthentication("acr")));
        assert_eq!(verdict(&Requirement::default(), true), Ok(()));
        let none = Requirement::default();
        let evidence = Evidence { claims: token.claims(), predicate: false, now: None };
        assert_eq!(none.judge(evidence).expect_err("no").scope(), None, "a predicate has no name");
    }

    #[test]
    fn names_are_what_rfc_6749_allows_with_one_space_between_them() {
        let long = "x".repeat(1_024);
        for good in ["a", "a b", "https://api.example/orders.read", "!#[]~", &long] {
            assert!(Names::new("scope", good).is_ok(), "{good}");
        }
        let longer = "x".repeat(1_025);
        for bad in ["", " ", " a", "a ", "a  b", "a\"", "a\\b", "a\tb", "a\r\nb", "é", "\u{7f}", &longer] {
            let error = Names::new("the scope", bad).expect_err(bad).to_string();
            assert!(error.starts_with("the scope") && error.len() < 1_200, "{error}");
        }
    }
}
