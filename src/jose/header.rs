//! The JOSE header: three members are read, and four refuse the token.

use std::borrow::Cow;

use crate::jose::base64;
use crate::jose::json;
use crate::jose::json::Member;
use crate::jose::media_type;
use crate::refusal::{Reason, Refusal};

/// The members of a header that are read. `jwk`, `jku`, `x5u`, `x5c` and unknown names are never read.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// Compared with the key's algorithm. It never chooses one.
    pub(crate) alg: Cow<'a, str>,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        for Member { name, value } in json::members(text).map_err(|_| Reason::MalformedToken)? {
            match &*name {
                "alg" => alg = Some(string(value, "the header's alg is not a string")?),
                "kid" => kid = Some(string(value, "the header's kid is not a string")?),
                "typ" => typ = Some(string(value, "the header's typ is not a string")?),
                // Each changes what the signature covers or how the payload reads (RFC 7515 §4.1.11, RFC 7797).
                "crit" | "b64" | "zip" | "enc" => return Err(Reason::UnsupportedHeader.into()),
                _ => {}
            }
        }
        let no_alg = || Refusal::new(Reason::MalformedToken).with_hint("the header names no alg");
        Ok(Self { alg: alg.ok_or_else(no_alg)?, kid, typ })
    }
}

/// The encoded header of a token under this key.
pub(crate) fn write(alg: &str, typ: Option<&str>, kid: &str) -> String {
    let mut header = format!("{{\"alg\":{},", json::quoted(alg));
    if let Some(typ) = typ {
        header.push_str("\"typ\":");
        header.push_str(&json::quoted(typ));
        header.push(',');
    }
    header.push_str("\"kid\":");
    header.push_str(&json::quoted(kid));
    header.push('}');
    base64::encode_url(header)
}

/// The usual headers of the signing key's tokens, encoded as [`write`] does. They are recognised without a parser.
#[derive(Clone)]
pub(crate) struct EncodedHeaders {
    alg: &'static str,
    kid: Box<str>,
    texts: [(&'static str, Box<str>); 3],
}

impl EncodedHeaders {
    pub(crate) fn under(alg: &'static str, kid: &str) -> Self {
        let texts =
            ["JWT", "at+jwt", media_type::REFRESH].map(|typ| (typ, write(alg, Some(typ), kid).into()));
        Self { alg, kid: kid.into(), texts }
    }

    /// The parsed header, if the encoded one is one of these.
    pub(crate) fn read(&self, encoded: &[u8]) -> Option<Header<'_>> {
        let (typ, _) = self.texts.iter().find(|(_, text)| text.as_bytes() == encoded)?;
        Some(Header {
            alg: Cow::Borrowed(self.alg),
            kid: Some(Cow::Borrowed(&self.kid)),
            typ: Some(Cow::Borrowed(typ)),
        })
    }

    pub(crate) fn text(&self, typ: Option<&str>) -> Option<&str> {
        self.texts.iter().find(|(known, _)| Some(*known) == typ).map(|(_, text)| &**text)
    }
}

fn string<'a>(value: &'a str, or_hint: &'static str) -> Result<Cow<'a, str>, Refusal> {
    json::string(value).ok_or_else(|| Refusal::new(Reason::MalformedToken).with_hint(or_hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_reads_as_the_parser_reads_it() {
        for kid in ["k", "", "with \"quotes\" and \u{1}", "é"] {
            let written = EncodedHeaders::under("ES256", kid);
            for typ in ["JWT", "at+jwt", media_type::REFRESH] {
                let encoded = write("ES256", Some(typ), kid);
                assert_eq!(written.text(Some(typ)), Some(&*encoded));
                let text = base64::Base64::Url.decode(encoded.as_bytes()).expect("base64url");
                let text = std::str::from_utf8(&text).expect("text");
                let parsed = Header::parse(text).expect("a header");
                let read = written.read(encoded.as_bytes()).expect("one of these");
                assert_eq!((read.alg, read.kid, read.typ), (parsed.alg, parsed.kid, parsed.typ), "{kid:?}");
            }
            for other in [write("ES256", None, kid), write("RS256", Some("JWT"), kid), String::new()] {
                assert!(written.read(other.as_bytes()).is_none(), "{other}");
            }
            assert!(written.text(None).is_none() && written.text(Some("jwt")).is_none());
        }
    }
}
