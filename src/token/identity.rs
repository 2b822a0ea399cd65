//! Ids of tokens, sessions and subjects: hashes that do not collide across issuers and reveal nothing.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::crypto;
use crate::jose::base64;

/// Domain separation: the same text hashed for two purposes gives two unrelated ids.
const TOKEN: &str = "tower-reissue token";
const SIGNING_INPUT: &str = "tower-reissue signing input";
const SESSION: &str = "tower-reissue session";
const SUBJECT: &str = "tower-reissue subject";
const DERIVED_SID: &str = "tower-reissue sid";
const DERIVED_JTI: &str = "tower-reissue jti";

macro_rules! hashed_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The 32 bytes, for a store's keys.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The id with these 32 bytes, as a store kept them.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        /// Parses only the 43 characters of base64url that [`Display`](fmt::Display) writes.
        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // 33 bytes, because the library estimates one byte more.
                let mut out = [0; 33];
                match (base64::decode_url(text.as_bytes(), &mut out), out) {
                    (Some(32), [bytes @ .., _]) => Ok(Self(bytes)),
                    _ => Err(ParseIdError(())),
                }
            }
        }

        /// 43 characters of base64url.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64::encode_url(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

/// This text is not an id. An id is 43 characters of unpadded base64url, the last of which ends in two zero bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError(());

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: 43 characters of unpadded base64url are expected")
    }
}

impl Error for ParseIdError {}

hashed_name! {
    /// One token: the hash of its `iss`, `sub` and `jti`; for a token without `jti`, of its verified signing input.
    ///
    /// The signature is not part of it: each ES256 signature has a valid twin, so one token would have two ids.
    TokenId
}
hashed_name! {
    /// One session, the chain of tokens from one login: the hash of its issuer and `sid`.
    SessionId
}
hashed_name! {
    /// One subject: the hash of its issuer and `sub`.
    SubjectId
}

impl TokenId {
    pub(crate) fn from_claims(iss: Option<&str>, sub: Option<&str>, jti: &str) -> Self {
        Self(hash(TOKEN, &[iss, sub, Some(jti)]))
    }

    pub(crate) fn from_signing_input(signing_input: &[u8]) -> Self {
        Self(hash(SIGNING_INPUT, &[Some(signing_input)]))
    }

    /// The `jti` of this token's successor: every node derives the same one.
    pub(crate) fn successor_jti(&self) -> String {
        derive(DERIVED_JTI, &self.0)
    }

    /// The `sid` of the session that this token begins, if it has none.
    pub(crate) fn derived_sid(&self) -> String {
        derive(DERIVED_SID, &self.0)
    }

    /// A number in 0..=65535, evenly distributed and fixed for this token. The renewal jitter is computed from it.
    pub(crate) fn spread(&self) -> u64 {
        let [high, low, ..] = self.0;
        u64::from(u16::from_be_bytes([high, low]))
    }
}

impl SessionId {
    pub(crate) fn new(iss: Option<&str>, sid: &str) -> Self {
        Self(hash(SESSION, &[iss, Some(sid)]))
    }
}

impl SubjectId {
    pub(crate) fn new(iss: Option<&str>, sub: &str) -> Self {
        Self(hash(SUBJECT, &[iss, Some(sub)]))
    }
}

/// Each part is prefixed by its length, so that different lists of parts have different bytes.
fn hash<T: AsRef<[u8]> + ?Sized>(tag: &str, parts: &[Option<&T>]) -> [u8; 32] {
    let parts = parts.iter().map(|part| part.map(AsRef::as_ref));
    let length = parts.clone().flatten().map(|part| part.len() + 9).sum::<usize>();
    let mut text = Vec::with_capacity(tag.len() + length + parts.len());
    text.extend_from_slice(tag.as_bytes());
    for part in parts {
        match part {
            None => text.push(0),
            Some(part) => {
                text.push(1);
                text.extend_from_slice(&(part.len() as u64).to_be_bytes());
                text.extend_from_slice(part);
            }
        }
    }
    crypto::sha256(&text)
}

/// The length of [`TokenId::successor_jti`].
pub(crate) const SUCCESSOR_JTI_LEN: usize = 32;

/// 192 bits of the hash, as 32 characters: short enough for a claim and long enough to be unique.
fn derive(tag: &str, id: &[u8; 32]) -> String {
    let mut text = Vec::with_capacity(tag.len() + id.len());
    text.extend_from_slice(tag.as_bytes());
    text.extend_from_slice(id);
    let mut name = base64::encode_url(crypto::sha256(&text));
    name.truncate(SUCCESSOR_JTI_LEN);
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_parses_from_what_it_prints_and_from_nothing_else() {
        for bytes in [[0; 32], [255; 32], [0x5a; 32]] {
            let id = SessionId::from_bytes(bytes);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let text = SessionId::from_bytes([0; 32]).to_string();
        let (short, last) = text.split_at(42);
        assert_eq!(last, "A");
        for text in [
            String::new(),
            short.to_owned(),
            format!("{text}A"),
            format!("{text}="),
            format!(" {text}"),
            // The last character's spare bits are not zero: another text of the same bytes.
            format!("{short}B"),
            format!("{short}+"),
            "x".repeat(1_000_000),
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(ParseIdError(())), "{:.50}", text);
        }
    }
}
