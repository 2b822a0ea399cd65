//! [`TokenKind`]: access token or refresh token, by the header's `typ`, which is signed.

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
