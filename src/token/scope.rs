//! The scopes of a token, as a list.

use crate::jose::json;

/// The scopes of these claims, with one space between them (RFC 8693 §4.2): of `scope`, or where there is none of `scp`. `None`
/// where that is no list of scopes.
pub(crate) fn named(claims: &str) -> Option<String> {
    let members = json::members(claims).ok()?;
    let value = |name: &str| members.iter().find(|member| member.name == name).map(|member| member.value);
    let value = value("scope").or(value("scp"))?;
    match json::string(value) {
        Some(scopes) => Some(scopes.into_owned()),
        None => {
            let scopes: Vec<_> = json::strings(value)?.into_iter().map(|(_, scope)| scope).collect();
            Some(scopes.join(" "))
        }
    }
}
