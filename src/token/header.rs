//! The JOSE header, read for three names and refused for five.

use std::borrow::Cow;

use super::json::{self, Member};
use super::refusal::Reason;

/// What of a header is looked at. `jwk`, `jku`, `x5u`, `x5c` and names nobody knows are never read.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// Compared with the key's own algorithm; it never chooses one.
    pub(crate) alg: Cow<'a, str>,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Reason> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        for Member { name, value } in json::members(text).map_err(|_| Reason::MalformedToken)? {
            match &*name {
                "alg" => alg = Some(string(value)?),
                "kid" => kid = Some(string(value)?),
                "typ" => typ = Some(string(value)?),
                // Each changes what the signature covers or how the payload reads (RFC 7515 §4.1.11, RFC 7797).
                "crit" | "b64" | "zip" | "enc" => return Err(Reason::UnsupportedHeader),
                _ => {}
            }
        }
        Ok(Self { alg: alg.ok_or(Reason::MalformedToken)?, kid, typ })
    }
}

fn string(value: &str) -> Result<Cow<'_, str>, Reason> {
    json::string(value).ok_or(Reason::MalformedToken)
}
