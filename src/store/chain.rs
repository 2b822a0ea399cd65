//! One session's chain of tokens: the head, its predecessor, and the older ones that could still come back. The result
//! of a rotation is decided here for the memory and SQL stores; `redis/rotate.lua` has the same rules.

use std::sync::Arc;

use super::{Rotated, Rotation, SessionId, SessionRecord, StoreError, StoreErrorKind, SubjectId, TokenId};
use crate::time::NumericDate;

/// The most older tokens of a chain; the oldest is dropped first. With usual lifetimes a chain is far shorter. A token
/// that was dropped is not renewed, which is the only consequence.
pub(super) const MAX_ANCESTORS: usize = 128;

/// The bytes of a session's record, its keys and its index entries, with the unused capacity of growing tables.
const CHAIN_BYTES: usize = 640;
const ANCESTOR_BYTES: usize = 48;

pub(super) struct Chain {
    pub(super) subject: Option<SubjectId>,
    pub(super) session_start: NumericDate,
    pub(super) head: TokenId,
    pub(super) claims: Arc<str>,
    /// The latest of all its tokens' instants: the whole record matters until then.
    pub(super) until: NumericDate,
    pub(super) head_until: NumericDate,
    pub(super) renewed: NumericDate,
    pub(super) generation: u64,
    /// Oldest first; the last is the head's predecessor.
    pub(super) ancestors: Vec<Ancestor>,
}

pub(super) struct Ancestor {
    pub(super) token: TokenId,
    pub(super) generation: u64,
    pub(super) until: NumericDate,
}

/// The result of a rotation.
pub(super) enum RotationOutcome {
    /// There is no chain: it begins one.
    Open,
    /// Its token is the head: it makes its successor the head.
    Advance,
    /// It changes nothing.
    Answered(Rotated),
}

/// Decides a rotation against the session's live chain. `revoked`: the token or its session; `cutoff`: the instant up to
/// which sessions of that age were revoked; `is_revoked`: one token of the session.
pub(super) fn judge(
    rotation: &Rotation,
    revoked: bool,
    cutoff: Option<NumericDate>,
    chain: Option<&Chain>,
    is_revoked: impl Fn(TokenId) -> bool,
) -> Result<RotationOutcome, StoreError> {
    let Rotation { presented, supersedes, successor, .. } = rotation;
    // A sign-in records the token itself; a renewal records another.
    if *supersedes == (*successor == presented.token) {
        return Err(StoreErrorKind::Misused.into());
    }
    if let Some(revoked_until) = cutoff {
        return Ok(RotationOutcome::Answered(predated(rotation.supersedes, revoked_until)));
    }
    if revoked || is_revoked(*successor) {
        return Ok(RotationOutcome::Answered(Rotated::Revoked));
    }
    let Some(chain) = chain else { return Ok(RotationOutcome::Open) };
    if is_revoked(chain.head) {
        return Ok(RotationOutcome::Answered(Rotated::Revoked));
    }
    match (chain.position(&presented.token, presented.now), supersedes) {
        // A successor that is already in the chain would form a cycle.
        (Position::Head, true) if chain.position(successor, presented.now) != Position::Stranger => {
            Err(StoreErrorKind::Misused.into())
        }
        (Position::Head, true) => Ok(RotationOutcome::Advance),
        (Position::Predecessor, true) | (Position::Head, false) => {
            Ok(RotationOutcome::Answered(Rotated::Superseded { head: Arc::clone(&chain.claims) }))
        }
        (Position::Ancestor { generations }, true) => {
            Ok(RotationOutcome::Answered(Rotated::Reused { generations }))
        }
        (Position::Stranger, true) | (_, false) => Ok(RotationOutcome::Answered(Rotated::NotInChain)),
    }
}

/// The answer to a rotation of a session that is older than the cutoff. A sign-in can be tried again with a later
/// start.
pub(super) fn predated(supersedes: bool, revoked_until: NumericDate) -> Rotated {
    if supersedes { Rotated::Revoked } else { Rotated::Predated { revoked_until } }
}

/// Where a token stands in its session's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Head,
    /// The predecessor of the head.
    Predecessor,
    /// Superseded this many generations ago; 2 at least.
    Ancestor {
        generations: u32,
    },
    Stranger,
}

impl Chain {
    /// The chain that a rotation begins: at sign-in, or with a predecessor that was issued elsewhere.
    pub(super) fn begun_by(rotation: Rotation) -> Self {
        let Rotation { presented, supersedes, successor, claims, until, .. } = rotation;
        let mut chain = Self {
            subject: presented.subject,
            session_start: presented.session_start,
            head: successor,
            claims,
            until,
            head_until: until,
            renewed: presented.now,
            generation: 0,
            ancestors: Vec::new(),
        };
        if supersedes {
            chain.generation = 1;
            // Its own instant isn't known here; the rotation's is no earlier.
            chain.ancestors.push(Ancestor { token: presented.token, generation: 0, until });
        }
        chain
    }

    /// Makes the rotation's successor the head.
    pub(super) fn advance(&mut self, rotation: Rotation) {
        let now = rotation.presented.now;
        self.ancestors.retain(|ancestor| ancestor.until > now);
        if self.ancestors.len() >= MAX_ANCESTORS {
            self.ancestors.remove(0);
        }
        self.ancestors.push(Ancestor {
            token: self.head,
            generation: self.generation,
            until: self.head_until,
        });
        self.generation += 1;
        self.head = rotation.successor;
        self.claims = rotation.claims;
        self.renewed = now;
        self.head_until = rotation.until;
        self.until = self.until.max(rotation.until);
    }

    pub(super) fn position(&self, token: &TokenId, now: NumericDate) -> Position {
        if *token == self.head {
            return Position::Head;
        }
        let Some(ancestor) = self.ancestors.iter().rev().find(|ancestor| ancestor.token == *token) else {
            return Position::Stranger;
        };
        match self.generation - ancestor.generation {
            // No matter how late it is: while the head lives, a client that lost the response gets it again.
            1 => Position::Predecessor,
            _ if ancestor.until <= now => Position::Stranger,
            generations => Position::Ancestor { generations: u32::try_from(generations).unwrap_or(u32::MAX) },
        }
    }

    pub(super) fn bytes(&self) -> usize {
        CHAIN_BYTES + self.claims.len() + self.ancestors.len() * ANCESTOR_BYTES
    }

    /// The value of [`bytes`](Self::bytes) after the rotation has advanced the chain.
    pub(super) fn bytes_advanced_by(&self, rotation: &Rotation) -> usize {
        let kept = self.ancestors.iter().filter(|ancestor| ancestor.until > rotation.presented.now).count();
        CHAIN_BYTES + rotation.claims.len() + (kept + 1).min(MAX_ANCESTORS) * ANCESTOR_BYTES
    }

    pub(super) fn to_record(&self, session: SessionId) -> SessionRecord {
        SessionRecord::new(session, self.session_start, self.renewed, Arc::clone(&self.claims))
    }
}
