//! JSON objects as text: their members' names decoded, their values left exactly as they were written.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deeper nesting is refused. The header and the payload count the same.
const MAX_DEPTH: usize = 128;

/// Not one JSON object, a name twice, or nested deeper than [`MAX_DEPTH`].
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
    if nested_too_deep(text) || means_more_to_serde(text) {
        return Err(NotAnObject);
    }
    let Members(members) = serde_json::from_str(text).map_err(|_| NotAnObject)?;
    if names_repeat(&members) { Err(NotAnObject) } else { Ok(members) }
}

/// The string in a member's value or an array's element, borrowed where nothing in it is escaped.
pub(crate) fn string(value: &str) -> Option<Cow<'_, str>> {
    // It is JSON, so quotes around it make it a string, and without a backslash it reads as it is written.
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value).ok().map(|Text(text)| text)
}

/// The JSON text of a string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The elements of a JSON array of strings, each as its JSON text beside its value.
pub(crate) fn strings(value: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    elements.into_iter().map(|element| Some((element.get(), string(element.get())?))).collect()
}

/// `text` with the values of the named members replaced, and members that are not there appended. Every other
/// byte stays, blanks and order included.
pub(crate) fn splice(text: &str, changes: &[(&str, String)]) -> Result<String, NotAnObject> {
    splice_members(text, &members(text)?, changes)
}

/// The same, for a text whose members were read already.
pub(crate) fn splice_members(
    text: &str,
    members: &[Member<'_>],
    changes: &[(&str, String)],
) -> Result<String, NotAnObject> {
    let mut spliced = String::with_capacity(text.len() + 160);
    let mut copied = 0;
    for member in members {
        if let Some((_, value)) = changes.iter().find(|(name, _)| *name == member.name) {
            let start = offset(text, member.value);
            spliced.push_str(text.get(copied..start).ok_or(NotAnObject)?);
            spliced.push_str(value);
            copied = start + member.value.len();
        }
    }
    let end = text.rfind('}').ok_or(NotAnObject)?;
    spliced.push_str(text.get(copied..end).ok_or(NotAnObject)?);
    let mut comma = !members.is_empty();
    for (name, value) in changes.iter().filter(|(name, _)| members.iter().all(|member| member.name != *name))
    {
        if comma {
            spliced.push(',');
        }
        spliced.push_str(&quoted(name));
        spliced.push(':');
        spliced.push_str(value);
        comma = true;
    }
    spliced.push('}');
    Ok(spliced)
}

/// Where `part`, a slice of `text`, begins in it.
pub(crate) fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
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
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push(Member { name, value: value.get() });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn names_repeat(members: &[Member<'_>]) -> bool {
    // A handful is compared pair by pair; of many, an attacker could make those pairs count.
    if members.len() <= 16 {
        let mut rest = members.iter();
        return std::iter::from_fn(|| rest.next().map(|member| (member, rest.clone())))
            .any(|(member, mut later)| later.any(|other| other.name == member.name));
    }
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// serde_json reads a raw value without recursing and so without a limit: the limit is ours.
fn nested_too_deep(text: &str) -> bool {
    // Most texts can't nest that deep for want of brackets.
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

/// A name that serde_json keeps for itself would read as something else than it says once a handler takes the claims for
/// a `serde_json::Value`: at any depth, and however it is escaped.
fn means_more_to_serde(text: &str) -> bool {
    const PRIVATE: &str = "$serde_json::private::";
    // One pass that finds nothing in most texts.
    if memchr::memchr2(b'$', b'\\', text.as_bytes()).is_none() {
        return false;
    }
    text.contains(PRIVATE) || (text.contains("\\u") && unescaped(text).contains(PRIVATE))
}

/// `text` with the escapes of ASCII characters resolved, good enough to look for a word in it.
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
        let spliced = splice(text, &[("exp", "7".into()), ("x", "8".into()), ("new", "\"n\"".into())]);
        assert_eq!(
            spliced.expect("an object"),
            " { \"b\" : 1.0 , \"exp\":7,\"a\":[ 1 ,2],\"\\u0078\":8 ,\"new\":\"n\"}"
        );
        assert_eq!(splice("{}", &[("a", "1".into())]).expect("an object"), "{\"a\":1}");
    }
}
