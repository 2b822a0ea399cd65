//! The answers of a store: the [`Standing`] of a session, and the result of a proposed successor.

use std::fmt;
use std::sync::Arc;

use crate::refusal::Reason;
use crate::time::NumericDate;

/// The standing of a session and of one token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing is recorded against it.
    Live,
    /// The token was superseded two or more generations ago. Somebody replays it, or a client kept it.
    Reused {
        /// How many; 2 at least.
        generations: u32,
    },
    /// The token, its session, or its subject's sessions of that age were revoked.
    Revoked,
    /// The session began before the store was created and is not recorded, so it may have been revoked in records
    /// that were lost. A renewal of it is recorded and does not change that.
    UnknownSession,
}

/// The result of a proposed successor.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotated {
    /// The proposal is now the session's head.
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
    /// A sign-in whose session begins at or before an instant up to which sessions were revoked: its subject's, or all.
    /// One that begins later is recorded.
    Predated {
        /// That instant.
        revoked_until: NumericDate,
    },
    /// The session has a head, and this token is not known to lead to it. The token is not renewed, which is the
    /// only consequence.
    NotInChain,
    /// Nothing was recorded, because the rotation is [of a known session](crate::store::Rotation::of_known_session) alone, and this
    /// one's standing is [`Standing::UnknownSession`].
    UnknownSession,
}

impl Rotated {
    /// What it means for a sign-in: `None` if the session begins, or the instant after which it can.
    ///
    /// # Errors
    /// If the session was revoked before it began.
    pub(crate) fn of_sign_in(self) -> Result<Option<NumericDate>, Reason> {
        match self {
            Self::Predated { revoked_until } => Ok(Some(revoked_until)),
            Self::Revoked => Err(Reason::Revoked),
            // The session has a name that nobody else knows yet, so the record is this sign-in's own: a call that was repeated.
            Self::Recorded
            | Self::Superseded { .. }
            | Self::Reused { .. }
            | Self::NotInChain
            | Self::UnknownSession => Ok(None),
        }
    }
}

/// Without the head's claims, which are personal data. Their length suffices to tell heads apart in a log.
impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("Recorded"),
            Self::Superseded { head } => write!(f, "Superseded({} bytes)", head.len()),
            Self::Reused { generations } => write!(f, "Reused({generations})"),
            Self::Revoked => f.write_str("Revoked"),
            Self::Predated { revoked_until } => write!(f, "Predated({revoked_until})"),
            Self::NotInChain => f.write_str("NotInChain"),
            Self::UnknownSession => f.write_str("UnknownSession"),
        }
    }
}
