//! [`TokenKind`]: access token or refresh token, by the header's `typ`, which is signed. [`Sliding`]: how an access token is
//! renewed.

use crate::jose::media_type;
use crate::refusal::{Reason, Refusal};

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// It gives access to services.
    Access,
    /// It is exchanged for an access token at the refresh endpoint, and for nothing elsewhere.
    Refresh,
}

/// How a token is renewed in responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sliding {
    /// Never: the access token of a pair, whose refresh token is its renewal.
    Never,
    /// A token that is no part of a pair, without the claim. If there is a store, it records the successor.
    Alone,
    /// The access token of a pair, where that was asked for. The store records the refresh tokens of its session, so its successor is
    /// derived.
    InPair,
}

impl Sliding {
    /// The JSON text of the claim; `None` if the token has none.
    pub(crate) fn claim(self) -> Option<&'static str> {
        match self {
            Self::Never => Some("false"),
            Self::Alone => None,
            Self::InPair => Some("\"pair\""),
        }
    }
}

/// Which kind of token is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Access,
    Refresh,
    /// Either kind, for a sign-out.
    Any,
}

impl TokenKind {
    pub(crate) fn of(typ: Option<&str>) -> Self {
        if typ.is_some_and(media_type::is_refresh) { Self::Refresh } else { Self::Access }
    }
}

impl Expected {
    pub(crate) fn check(self, kind: TokenKind) -> Result<(), Refusal> {
        match (self, kind) {
            (Self::Access, TokenKind::Refresh) => Err(Refusal::new(Reason::WrongType)
                .with_hint("it is a refresh token: it goes to the refresh endpoint and nowhere else")),
            (Self::Refresh, TokenKind::Access) => {
                Err(Refusal::new(Reason::WrongType).with_hint("it is no refresh token"))
            }
            _ => Ok(()),
        }
    }
}
