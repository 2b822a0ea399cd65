//! What a store is asked, and what it answers.

use std::fmt;
use std::sync::Arc;

use super::{SessionId, SubjectId, TokenId};
use crate::NumericDate;

/// What a store is asked about: a token that was just presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// The chain of tokens it belongs to.
    pub session: SessionId,
    /// The token itself.
    pub token: TokenId,
    /// Whose it is; `None` where the token names no `sub`.
    pub subject: Option<SubjectId>,
    /// When the session began.
    pub session_start: NumericDate,
    /// The authority's reading of the time.
    pub now: NumericDate,
}

impl Presented {
    /// A presented token; the authority makes these itself, the tests of a store need them too.
    pub fn new(
        session: SessionId,
        token: TokenId,
        subject: Option<SubjectId>,
        session_start: NumericDate,
        now: NumericDate,
    ) -> Self {
        Self { session, token, subject, session_start, now }
    }
}

/// One token's successor, proposed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Rotation {
    /// The token presented and its session; at sign-in, the new token itself.
    pub presented: Presented,
    /// False at sign-in: nothing is superseded.
    pub supersedes: bool,
    /// The proposed successor's identity.
    pub successor: TokenId,
    /// The proposed successor's claims, as their JSON text.
    pub claims: Arc<str>,
    /// How long the record of the successor matters; the session's record lives at least as long.
    pub until: NumericDate,
}

impl Rotation {
    /// Opens a session: `presented` is the token just issued, `claims` its own.
    pub fn sign_in(presented: Presented, claims: impl Into<Arc<str>>, until: NumericDate) -> Self {
        Self { presented, supersedes: false, successor: presented.token, claims: claims.into(), until }
    }

    /// Proposes `successor`, with its `claims`, for the token presented.
    pub fn renewal(
        presented: Presented,
        successor: TokenId,
        claims: impl Into<Arc<str>>,
        until: NumericDate,
    ) -> Self {
        Self { presented, supersedes: true, successor, claims: claims.into(), until }
    }
}

/// Claims are somebody's data.
impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("presented", &self.presented)
            .field("supersedes", &self.supersedes)
            .field("successor", &self.successor)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What became of a proposed successor.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotated {
    /// The proposal is the session's head now.
    Recorded,
    /// The token had a successor already, which is the session's head: parallel requests, or a lost response.
    Superseded {
        /// The head's claims, as their JSON text.
        head: Arc<str>,
    },
    /// The token was superseded two or more generations ago.
    Reused {
        /// How many; 2 at least.
        generations: u32,
    },
    /// The token, its session or its subject's sessions of that age were revoked, or the head itself was.
    Revoked,
    /// The session has a head, and this token is not known to lead to it: merely not renewed.
    Unknown,
}

/// The head's claims are somebody's data; their length tells two heads apart well enough for a log.
impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("Recorded"),
            Self::Superseded { head } => write!(f, "Superseded({} bytes)", head.len()),
            Self::Reused { generations } => write!(f, "Reused({generations})"),
            Self::Revoked => f.write_str("Revoked"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// What is revoked.
///
/// A store that meets a kind it does not know answers with an error: a revocation is never dropped in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// One token. Where it already has a successor, its whole session: so too where its session is recorded with
    /// another head, for the store may have forgotten a token superseded long ago.
    Token {
        /// Its session.
        session: SessionId,
        /// The token.
        token: TokenId,
    },
    /// A session, with every token in it.
    Session(SessionId),
    /// Every session of the subject that began at or before the instant.
    SubjectBefore {
        /// Whose sessions.
        subject: SubjectId,
        /// The instant, compared with session starts.
        instant: NumericDate,
    },
}

/// A session as the store knows it.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// When it began.
    pub session_start: NumericDate,
    /// When its head was recorded.
    pub renewed: NumericDate,
    /// The head's claims, as their JSON text.
    pub claims: Arc<str>,
}

impl SessionRecord {
    /// A session as a store read it back.
    pub fn new(
        session: SessionId,
        session_start: NumericDate,
        renewed: NumericDate,
        claims: impl Into<Arc<str>>,
    ) -> Self {
        Self { session, session_start, renewed, claims: claims.into() }
    }
}

/// Claims are somebody's data.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("session", &self.session)
            .field("session_start", &self.session_start)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}
