//! [`KeyError`]: why a key was refused.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::{debug_as_display, with_causes};

/// A key could not be loaded, does not fit into its ring, or its source could not be read.
///
/// It is meant for the operator. The text names the key by its `kid` or thumbprint if it has one, says what would be
/// right, and ends with its causes. It holds no bytes of a key. The first cause is also the
/// [`source`](Error::source).
#[derive(Clone)]
pub struct KeyError {
    kind: KeyErrorKind,
    /// The file, variable or entry of a set, where a source has several.
    place: Option<String>,
    key: Option<String>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`KeyError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyErrorKind {
    /// Too weak: a short secret, an RSA modulus under 2048 bits, a small exponent, a degenerate point.
    Weak,
    /// A secret that anybody could guess: blank, a shorter text repeated, a template that was not filled in, or publicly
    /// known. Also a key pair whose private key is publicly known.
    Guessable,
    /// A PEM, DER, JWK or SSH key, a path or a URL given as an HMAC secret.
    NotASecret,
    /// The bytes are not the document they should be, or its parts contradict one another.
    Malformed,
    /// A key of another type than the algorithm takes, or the other half of a pair than is wanted.
    WrongType,
    /// A well-formed key of a kind, size or encoding that is not supported.
    Unsupported,
    /// A JWK whose `use` or `key_ops` do not allow verifying signatures, or whose `issuer` does not allow it to sign for the own
    /// one.
    WrongUse,
    /// A JWK that names no algorithm and whose type leaves several.
    AlgorithmMissing,
    /// A `kid` that another key of the ring already answers to.
    DuplicateKid,
    /// An issuer without a name or without keys, or more keys for one `kid` than are ever tried.
    Ring,
    /// The system's source of randomness failed.
    Randomness,
    /// The source of the keys could not be read: a missing file, a command that failed, an issuer that does not answer.
    Unavailable,
}

impl KeyError {
    /// What kind of refusal this is.
    pub fn kind(&self) -> KeyErrorKind {
        self.kind
    }

    /// For a source of your own that could not be read. The message is for the log: no secrets.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(KeyErrorKind::Unavailable, message)
    }

    /// Keeps the error that led to this one: it is printed behind the message, and returned as the
    /// [`source`](Error::source). It must not quote a secret.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn new(kind: KeyErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, place: None, key: None, message: message.into(), source: None }
    }

    /// Names the key, if nothing nearer to it has.
    pub(crate) fn about(self, kid: &str) -> Self {
        if self.key.is_some() { self } else { self.renamed(kid) }
    }

    /// Names the key, whatever it was called nearer to it: its owner's name for it says more than a thumbprint.
    pub(crate) fn renamed(mut self, kid: &str) -> Self {
        // A kid may come from another party's JWK: nothing in it may forge a line of a log.
        self.key = Some(kid.chars().take(64).flat_map(char::escape_debug).collect());
        self
    }

    /// Says where the key was, if nothing nearer to it has.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place.get_or_insert_with(|| place.to_string());
        self
    }

    /// Says where the set was that the key was in, before what is nearer to it.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(match self.place {
            Some(nearer) => format!("{place}: {nearer}"),
            None => place.to_string(),
        });
        self
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        text.push_str(&match (&self.key, self.kind) {
            (_, KeyErrorKind::Unavailable) => format!("keys unavailable: {}", self.message),
            (Some(kid), _) => format!("key \"{kid}\" refused: {}", self.message),
            (None, _) => format!("key refused: {}", self.message),
        });
        let Some(cause) = self.source().and_then(|cause| cause.downcast_ref::<Self>()) else {
            return f.write_str(&with_causes(text, self.source()));
        };
        // The prefix was printed once. The cause prints its own causes.
        let cause = cause.to_string();
        let prefixes = ["keys unavailable: ", "key refused: "];
        let cause = prefixes.iter().find_map(|prefix| cause.strip_prefix(prefix)).unwrap_or(&cause);
        if text.contains(cause) { f.write_str(&text) } else { write!(f, "{text}: {cause}") }
    }
}

debug_as_display!(KeyError);

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_printed_once_however_deep_its_causes_are() {
        let file = || KeyError::unavailable("the token's file can't be read").because("no such file");
        let set = || KeyError::new(KeyErrorKind::Malformed, "it is HTML, not a JWK set");
        let key = || KeyError::new(KeyErrorKind::Weak, "its RSA modulus has 1024 bits").about("k1");
        for (error, expected) in [
            (
                KeyError::unavailable("https://a.example").because(file()),
                "keys unavailable: https://a.example: the token's file can't be read: no such file",
            ),
            (
                KeyError::unavailable("https://a.example").because(set()),
                "keys unavailable: https://a.example: it is HTML, not a JWK set",
            ),
            (
                KeyError::unavailable("https://a.example").because(key()),
                "keys unavailable: https://a.example: key \"k1\" refused: its RSA modulus has 1024 bits",
            ),
            (
                KeyError::unavailable("outer").because(KeyError::unavailable("inner").because(file())),
                "keys unavailable: outer: inner: the token's file can't be read: no such file",
            ),
            (set().at("set.json"), "set.json: key refused: it is HTML, not a JWK set"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
