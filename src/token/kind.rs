//! [`TokenKind`]: what a token is for. Its header's `typ` tells, which the signature covers.

use crate::jose::media_type;
use crate::refusal::{Reason, Refusal};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// It gives access to services.
    Access,
    /// It is exchanged for an access token at the refresh endpoint, and for nothing elsewhere.
    Refresh,
}

/// Which tokens are expected in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Access,
    Refresh,
    /// To sign out with, each will do.
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
