//! The scopes of a token, as a list.

use std::borrow::Cow;

use super::requirement::holds;
use crate::jose::json::{self, Change, Span};

/// The scopes of these claims, with one space between them (RFC 8693 §4.2): of `scope`, or of `scp` if there is no
/// `scope`. `None` if the claim is not a list of scopes.
pub(crate) fn named(claims: &str) -> Option<String> {
    Some(names(value(claims)?)?.join(" "))
}

/// Whether these claims hold each of the scopes that are asked for, and one is.
pub(crate) fn are_held(claims: &str, asked: &str) -> bool {
    value(claims).is_some_and(|held| asked.split(' ').all(|name| !name.is_empty() && holds(held, name)))
}

/// The claims with those of their scopes that are asked for; `None` if they have none of these.
pub(crate) fn narrowed(claims: &str, asked: &str) -> Option<String> {
    let (narrowed, left) = replaced(claims, asked)?;
    (left > 0).then_some(narrowed)
}

/// The claims with those of their scopes that are named, which may be none. A claim of another type holds no scope, and is kept.
pub(crate) fn reduced(claims: &str, named: &str) -> String {
    replaced(claims, named).map_or_else(|| claims.to_owned(), |(reduced, _)| reduced)
}

/// The claims with fewer scopes, and how many are left.
fn replaced(claims: &str, wanted: &str) -> Option<(String, usize)> {
    let counts = value(claims)?;
    let (mut changes, mut left) = (Vec::new(), 0);
    // Both, where both are there: software that reads the other one must not see more.
    for member in
        json::members(claims).ok()?.iter().filter(|member| ["scope", "scp"].contains(&&*member.name))
    {
        let Some(narrowed) = narrowed_value(member.value, wanted) else { continue };
        if std::ptr::eq(member.value, counts) {
            left = names(&narrowed).map_or(0, |left| left.len());
        }
        changes.push(Change::Replace { at: Span::of(member.value, claims)?, value: narrowed.into() });
    }
    Some((json::splice(claims, changes)?, left))
}

/// The JSON text of a list of scopes with those of them that are wanted, in the form that it has.
fn narrowed_value(value: &str, wanted: &str) -> Option<String> {
    let held = names(value)?;
    let is_wanted = |name: &&str| wanted.split(' ').any(|wanted| wanted == *name);
    let left: Vec<&str> = held.iter().map(|name| &**name).filter(is_wanted).collect();
    Some(match value.starts_with('[') {
        true => serde_json::to_string(&left).ok()?,
        false => json::quoted(&left.join(" ")),
    })
}

/// Whether the one list of scopes holds nothing that the other does not.
pub(crate) fn is_within(value: &str, of: &str) -> bool {
    match (names(value), names(of)) {
        (Some(names), Some(of)) => names.iter().all(|name| of.contains(name)),
        _ => value == of,
    }
}

/// The JSON text of the claim that names the scopes.
fn value(claims: &str) -> Option<&str> {
    let members = json::members(claims).ok()?;
    let value = |name: &str| members.iter().find(|member| member.name == name).map(|member| member.value);
    value("scope").or(value("scp"))
}

fn names(value: &str) -> Option<Vec<Cow<'_, str>>> {
    match json::string(value) {
        Some(Cow::Borrowed(scopes)) => {
            Some(scopes.split(' ').filter(|name| !name.is_empty()).map(Cow::Borrowed).collect())
        }
        Some(Cow::Owned(scopes)) => Some(
            scopes
                .split(' ')
                .filter(|name| !name.is_empty())
                .map(|name| Cow::Owned(name.to_owned()))
                .collect(),
        ),
        None => Some(json::strings(value)?.into_iter().map(|(_, scope)| scope).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_narrowed_in_the_form_that_they_have_and_never_widened() {
        for (claims, asked, narrowed_to) in [
            (r#"{"a":1,"scope":"read write"}"#, "write", Some(r#"{"a":1,"scope":"write"}"#)),
            (r#"{"scope":"read write"}"#, "write read", Some(r#"{"scope":"read write"}"#)),
            (r#"{"scope":["read","write"],"a":1.0}"#, "read", Some(r#"{"scope":["read"],"a":1.0}"#)),
            (r#"{"scp":["read","write"]}"#, "read", Some(r#"{"scp":["read"]}"#)),
            (r#"{"scope":"read","scp":"write"}"#, "write", None),
            (
                r#"{"scp":["read","write"],"scope":"read write"}"#,
                "read",
                Some(r#"{"scp":["read"],"scope":"read"}"#),
            ),
            (r#"{"scope":"\u0072ead"}"#, "read", Some(r#"{"scope":"read"}"#)),
            (r#"{"scope":"read"}"#, "read admin", Some(r#"{"scope":"read"}"#)),
            (r#"{"scope":"read"}"#, "admin", None),
            (r#"{"scope":"read"}"#, "rea", None),
            (r#"{"scope":"read"}"#, "", None),
            (r#"{"scope":1}"#, "1", None),
            (r#"{"scope":["read",1]}"#, "read", None),
            (r#"{}"#, "read", None),
        ] {
            assert_eq!(narrowed(claims, asked).as_deref(), narrowed_to, "{claims} {asked}");
            let all = narrowed_to.is_some() && asked != "read admin";
            assert_eq!(are_held(claims, asked), all, "{claims} {asked}");
        }
        assert_eq!(reduced(r#"{"scope":"read"}"#, "admin"), r#"{"scope":""}"#);
        for kept in
            [r#"{"scope":{"read":true}}"#, r#"{"scp":null,"scope":"read"}"#, r#"{"scope":["read",1]}"#]
        {
            assert_eq!(reduced(kept, "read"), kept);
        }
        assert_eq!(reduced(r#"{"scope":null,"scp":"read write"}"#, "read"), r#"{"scope":null,"scp":"read"}"#);
        assert_eq!(reduced("{}", "read"), "{}");
        for odd in [" read", "read ", "read  write", "read\twrite"] {
            assert!(!are_held(r#"{"scope":"read write"}"#, odd), "{odd:?}");
        }
    }
}
