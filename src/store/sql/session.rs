//! One session as its row tells it, and what may become of it: plain values, no waiting.

use super::super::chain::{self, Chain, Place, Turn};
use super::super::{Presented, Rotation, Standing, StoreError, StoreErrorKind, TokenId};
use crate::NumericDate;

/// Tokens revoked one by one in one session while it lives. Each was signed by this service, so nobody comes near.
const MAX_REVOKED_TOKENS: usize = 1024;

/// What the store knows of a presented token.
pub(super) struct Found {
    /// When the store's tables were made.
    pub(super) born: NumericDate,
    pub(super) subject: Option<SubjectTombstone>,
    /// Of the row that was read; `None` where there is none.
    pub(super) stamp: Option<i64>,
    pub(super) session: Session,
}

#[derive(Clone, Copy)]
pub(super) struct SubjectTombstone {
    /// Sessions begun at or before it are revoked.
    pub(super) instant: NumericDate,
    pub(super) until: NumericDate,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) chain: Option<Chain>,
    /// Nobody vouches for the time before the chain was begun: what was revoked then may be lost.
    pub(super) is_orphan: bool,
    /// The session's own tombstone; the epoch where it has none.
    pub(super) revoked_until: NumericDate,
    pub(super) revoked_tokens: Vec<(TokenId, NumericDate)>,
}

impl Found {
    pub(super) fn standing(&self, presented: &Presented) -> Standing {
        if self.is_revoked(presented) {
            return Standing::Revoked;
        }
        match self.session.chain(presented.now) {
            Some(_) if self.session.is_orphan => Standing::Unknown,
            Some(chain) => match chain.place(&presented.token, presented.now) {
                Place::Ancestor { generations } => Standing::Superseded { generations },
                Place::Head | Place::Predecessor | Place::Stranger => Standing::Live,
            },
            None if !self.vouches_for(presented) => Standing::Unknown,
            None => Standing::Live,
        }
    }

    pub(super) fn judge(&self, rotation: &Rotation) -> Result<Turn, StoreError> {
        let now = rotation.presented.now;
        let revoked = self.is_session_or_token_revoked(&rotation.presented);
        let cutoff = self.cutoff_of(&rotation.presented);
        chain::judge(rotation, revoked, cutoff, self.session.chain(now), |token| {
            self.session.is_token_revoked(token, now)
        })
    }

    /// A session older than the store is recorded by a renewal, so that its tokens have one successor each, and stays
    /// unknown. A sign-in begins one that is as new as its record.
    pub(super) fn begin(&mut self, rotation: Rotation) {
        let is_orphan = rotation.supersedes && !self.vouches_for(&rotation.presented);
        self.session.begin(rotation, is_orphan);
    }

    fn vouches_for(&self, presented: &Presented) -> bool {
        presented.session_start >= self.born
    }

    fn is_revoked(&self, presented: &Presented) -> bool {
        self.is_session_or_token_revoked(presented) || self.cutoff_of(presented).is_some()
    }

    fn is_session_or_token_revoked(&self, presented: &Presented) -> bool {
        let Presented { token, now, .. } = *presented;
        self.session.revoked_until > now || self.session.is_token_revoked(token, now)
    }

    /// The instant up to which the subject's sessions of that age were revoked.
    fn cutoff_of(&self, presented: &Presented) -> Option<NumericDate> {
        let &Presented { session_start, now, .. } = presented;
        let tombstone = self.subject.filter(|t| t.until > now && session_start <= t.instant);
        tombstone.map(|tombstone| tombstone.instant)
    }
}

impl Session {
    /// The row matters until then.
    pub(super) fn expires(&self) -> NumericDate {
        let tokens = self.revoked_tokens.iter().map(|&(_, until)| until);
        let chain = self.chain.iter().map(|chain| chain.until);
        tokens.chain(chain).fold(self.revoked_until, NumericDate::max)
    }

    fn begin(&mut self, rotation: Rotation, is_orphan: bool) {
        self.forget_expired(rotation.presented.now);
        self.is_orphan = is_orphan;
        self.chain = Some(Chain::begun_by(rotation));
    }

    pub(super) fn advance(&mut self, rotation: Rotation) {
        self.forget_expired(rotation.presented.now);
        if let Some(chain) = &mut self.chain {
            chain.advance(rotation);
        }
    }

    /// False where nothing has to be written.
    pub(super) fn revoke(&mut self, now: NumericDate, until: NumericDate) -> bool {
        // Never before the last of its tokens is past mattering, and never earlier than was promised before.
        let known = self.chain.as_ref().map(|chain| chain.until);
        let until = until.max(known.unwrap_or_default());
        if until <= now || until <= self.revoked_until {
            return false;
        }
        self.forget_expired(now);
        self.revoked_until = until;
        // A revoked session has nothing left to say.
        self.chain = None;
        self.is_orphan = false;
        true
    }

    /// False where nothing has to be written.
    pub(super) fn revoke_token(
        &mut self,
        token: TokenId,
        now: NumericDate,
        mut until: NumericDate,
    ) -> Result<bool, StoreError> {
        if let Some(chain) = self.chain(now) {
            // It has a successor, though one so old may be forgotten here.
            if chain.head != token {
                return Ok(self.revoke(now, until));
            }
            // As long as the record names it as the head, its predecessor must not be given it.
            until = until.max(chain.until);
        }
        let promised = self.revoked_tokens.iter().find(|(revoked, _)| *revoked == token);
        let promised = promised.map_or(self.revoked_until, |&(_, promised)| promised.max(self.revoked_until));
        if until <= now || until <= promised {
            return Ok(false);
        }
        self.forget_expired(now);
        self.revoked_tokens.retain(|(revoked, _)| *revoked != token);
        if self.revoked_tokens.len() >= MAX_REVOKED_TOKENS {
            return Err(StoreErrorKind::Full.into());
        }
        self.revoked_tokens.push((token, until));
        Ok(true)
    }

    fn chain(&self, now: NumericDate) -> Option<&Chain> {
        self.chain.as_ref().filter(|chain| chain.until > now)
    }

    fn is_token_revoked(&self, token: TokenId, now: NumericDate) -> bool {
        self.revoked_tokens.iter().any(|&(revoked, until)| revoked == token && until > now)
    }

    fn forget_expired(&mut self, now: NumericDate) {
        self.revoked_tokens.retain(|&(_, until)| until > now);
    }
}
