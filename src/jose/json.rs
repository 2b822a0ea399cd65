//! JSON objects as text. Names of members are decoded; values keep the exact text that was signed.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting that is accepted, in a header and in a payload.
const MAX_DEPTH: usize = 128;

/// The text is not exactly one JSON object, repeats a name, or is nested deeper than [`MAX_DEPTH`].
#[derive(Debug)]
pub(crate) struct NotAnObject;

/// One member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The name, unescaped.
    pub(crate) name: Cow<'a, str>,
    /// The value's JSON text.
    pub(crate) value: &'a str,
}

/// The members of the one JSON object in `text`, in their order.
pub(crate) fn members(text: &str) -> Result<Vec<Member<'_>>, NotAnObject> {
    if nested_too_deep(text) || has_reserved_name(text) {
        return Err(NotAnObject);
    }
    let Members(members) = serde_json::from_str(text).map_err(|_| NotAnObject)?;
    if names_repeat(&members) { Err(NotAnObject) } else { Ok(members) }
}

/// The string of a member's value or of an array's element. It is borrowed if nothing in it is escaped.
pub(crate) fn string(value: &str) -> Option<Cow<'_, str>> {
    // The value is valid JSON: with quotes around it, it is a string, and without a backslash nothing is escaped.
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value).ok().map(|JsonString(text)| text)
}

/// The JSON text of a string.
pub(crate) fn quoted(text: &str) -> String {
    // Names of claims and most values need no escape.
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        return ["\"", text, "\""].concat();
    }
    serde_json::Value::from(text).to_string()
}

/// The elements of a JSON array of strings: each one's JSON text and its value.
pub(crate) fn strings(value: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    elements.into_iter().map(|element| Some((element.get(), string(element.get())?))).collect()
}

/// A change to an object's text; a value is JSON text.
pub(crate) enum Change<'a> {
    Replace { at: Span, value: Cow<'a, str> },
    Append { name: &'a str, value: Cow<'a, str> },
}

/// Applies changes to the text of an object: values are replaced in place, and new members are appended. All other bytes stay
/// the same, also white space and order. `None` if a span lies outside the text.
pub(crate) fn splice(text: &str, mut changes: Vec<Change<'_>>) -> Option<String> {
    // Appended members come last, in their order.
    changes.sort_by_key(|change| match change {
        Change::Replace { at, .. } => at.start,
        Change::Append { .. } => u32::MAX,
    });
    let end = text.rfind('}')?;
    // Enough for a `sid` and a session start, the most that is ever appended.
    let mut spliced = String::with_capacity(text.len() + 160);
    let mut rest = 0;
    for change in &changes {
        let value = match change {
            Change::Replace { at, value } => {
                let at = at.range();
                spliced.push_str(text.get(rest..at.start)?);
                rest = at.end;
                value
            }
            Change::Append { name, value } => {
                spliced.push_str(text.get(rest..end)?);
                rest = end;
                // Only in an empty object does the opening brace come right before the end.
                if !spliced.trim_ascii_end().ends_with('{') {
                    spliced.push(',');
                }
                spliced.push_str(&quoted(name));
                spliced.push(':');
                value
            }
        };
        spliced.push_str(value);
    }
    spliced.push_str(text.get(rest..=end)?);
    Some(spliced)
}

/// The range of a part of a text shorter than 4 GiB. `end` is non-zero so that an `Option` of it takes eight bytes as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: NonZeroU32,
}

impl Span {
    /// The range of `part`, which must be a slice of `text` and not empty at its start; otherwise `None`.
    pub(crate) fn of(part: &str, text: &str) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let end = NonZeroU32::new(u32::try_from(start + part.len()).ok()?)?;
        Some(Self { start: u32::try_from(start).ok()?, end })
    }

    pub(crate) fn of_text(self, text: &str) -> Option<&str> {
        text.get(self.range())
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end.get() as usize
    }
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some((JsonString(name), value)) =
                    map.next_entry::<JsonString<'de>, &'de RawValue>()?
                {
                    members.push(Member { name, value: value.get() });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
struct JsonString<'a>(#[serde(borrow)] Cow<'a, str>);

fn names_repeat(members: &[Member<'_>]) -> bool {
    // A few names are compared pair by pair, first by their beginnings: most registered names have three letters. For many
    // names that would be quadratic, which an attacker could use, so they are sorted.
    let mut beginnings = [0; 16];
    if members.len() <= beginnings.len() {
        for (member, slot) in members.iter().zip(&mut beginnings) {
            *slot = beginning(&member.name);
        }
        let mut rest = members.iter().zip(&beginnings);
        while let Some((member, beginning)) = rest.next() {
            if rest.clone().any(|(later, its)| its == beginning && later.name == member.name) {
                return true;
            }
        }
        return false;
    }
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// The first eight bytes as a number; missing bytes count as zeros.
fn beginning(name: &str) -> u64 {
    match name.as_bytes().first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => name.bytes().rev().fold(0, |number, byte| number << 8 | u64::from(byte)),
    }
}

/// serde_json reads a raw value without recursion and without its recursion limit, so the limit is checked here.
fn nested_too_deep(text: &str) -> bool {
    // Fast path: most texts have too few brackets to nest that deep.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Whether the text contains a name that serde_json reserves, at any depth and however it is escaped. A handler that reads the
/// claims as a `serde_json::Value` would get another value than the one that was signed.
fn has_reserved_name(text: &str) -> bool {
    const PRIVATE: &str = "$serde_json::private::";
    // Fast path: most texts contain neither.
    if memchr::memchr2(b'$', b'\\', text.as_bytes()).is_none() {
        return false;
    }
    text.contains(PRIVATE) || (text.contains("\\u") && unescaped(text).contains(PRIVATE))
}

/// `text` with the escapes of ASCII characters resolved, to search it for a name.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(4).unwrap_or((part, ""));
        let ascii = u8::from_str_radix(code, 16).ok().filter(u8::is_ascii);
        plain.extend(ascii.map(char::from));
        plain.push_str(if ascii.is_some() { rest } else { part });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_serde_keeps_for_itself_is_refused_however_deep_and_escaped() {
        for text in [
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            r#"{"a":[{"$serde_json::private::Number":"1"}]}"#,
            r#"{"a":{"\u0024serde_json\u003A:private::RawValue":"{}"}}"#,
        ] {
            assert!(members(text).is_err(), "{text}");
        }
        assert!(members(r#"{"a":"$serde_json","b":"\u00e9\u0024"}"#).is_ok());
    }

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    #[test]
    fn a_text_is_quoted_as_serde_quotes_it() {
        for text in (0..0x250).filter_map(char::from_u32).map(|c| format!("a{c}b")).chain([String::new()]) {
            assert_eq!(quoted(&text), serde_json::to_string(&text).expect("a text"), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_read_to_128_and_refused_deeper() {
        assert!(members(&nested(128)).is_ok());
        assert!(members(&nested(129)).is_err());
        assert!(members(&nested(100_000)).is_err());
        let brackets_in_a_string = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(200), "{".repeat(200));
        assert!(members(&brackets_in_a_string).is_ok());
    }

    #[test]
    fn a_name_twice_is_refused_however_it_is_escaped() {
        assert!(members(r#"{"exp":1,"exp":2}"#).is_err());
        assert!(members(r#"{"exp":1,"\u0065xp":2}"#).is_err());
        assert!(members(r#"{"exp":1,"Exp":2}"#).is_ok());
    }

    #[test]
    fn only_one_whole_object_is_an_object() {
        for text in ["", "null", "[]", "\"a\"", "{} {}", "{}x", "{\"a\":01}", "{\"a\":1,}", "{\"\\ud800\":1}"]
        {
            assert!(members(text).is_err(), "{text}");
        }
        assert!(members("{}").is_ok());
    }

    #[test]
    fn splicing_touches_nothing_but_the_named_values() {
        let text = " { \"b\" : 1.0 , \"exp\":1e3,\"a\":[ 1 ,2],\"\\u0078\":0 } ";
        let change = |name: &'static str, value: &'static str| {
            let members = members(text).expect("an object");
            let old = members.iter().find(|member| member.name == name).map(|member| member.value);
            match old.and_then(|old| Span::of(old, text)) {
                Some(at) => Change::Replace { at, value: value.into() },
                None => Change::Append { name, value: value.into() },
            }
        };
        let spliced = splice(text, vec![change("new", "\"n\""), change("x", "8"), change("exp", "7")]);
        assert_eq!(
            spliced.expect("an object"),
            " { \"b\" : 1.0 , \"exp\":7,\"a\":[ 1 ,2],\"\\u0078\":8 ,\"new\":\"n\"}"
        );
        let appended = |text| {
            let add = |name| Change::Append { name, value: "1".into() };
            splice(text, vec![add("a"), add("b")]).expect("an object")
        };
        assert_eq!(appended("{}"), "{\"a\":1,\"b\":1}");
        assert_eq!(appended("{ }"), "{ \"a\":1,\"b\":1}");
        assert_eq!(appended("{\"c\":\"{\"}"), "{\"c\":\"{\",\"a\":1,\"b\":1}");
    }
}
