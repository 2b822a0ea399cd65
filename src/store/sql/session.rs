//! One session as its row tells it, and what may become of it: plain values, no waiting.

use super::super::chain::{self, Chain, Place, RotationOutcome};
use super::super::cutoff::Cutoff;
use super::super::{
    Horizon, Presented, Retention, Revocation, Rotation, Standing, StoreError, StoreErrorKind, SubjectId,
    TokenId,
};
use crate::time::NumericDate;

/// Tokens revoked one by one in one session while it lives. Each was signed by this service, so nobody comes near.
const MAX_REVOKED_TOKENS: usize = 1024;

/// What the store knows of a presented token, all as one statement saw it.
pub(super) struct Found {
    /// When the store's tables were made.
    pub(super) created_at: NumericDate,
    /// The server's clock.
    pub(super) clock: NumericDate,
    pub(super) horizon: Option<Horizon>,
    /// Of the subject that was asked about.
    pub(super) subject: CutoffRow,
    pub(super) everybody: CutoffRow,
    /// Of the session's row; `None` where there is none.
    pub(super) stamp: Option<i64>,
    pub(super) session: Session,
}

/// Up to when sessions are revoked.
#[derive(Default)]
pub(super) struct CutoffRow {
    /// `None` where there is no row.
    pub(super) stamp: Option<i64>,
    pub(super) cutoff: Option<Cutoff>,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) chain: Option<Chain>,
    /// Nobody vouches for the time before the chain was begun: what was revoked then may be lost.
    pub(super) is_unattested: bool,
    /// The session's own tombstone; the epoch where it has none.
    pub(super) revoked_until: NumericDate,
    pub(super) revoked_tokens: Vec<(TokenId, NumericDate)>,
    /// Where there is no chain to tell: whose it was, and the latest start that a token of it can have.
    pub(super) subject: Option<SubjectId>,
    pub(super) latest_start: Option<NumericDate>,
}

impl Found {
    pub(super) fn standing(&self, presented: &Presented) -> Standing {
        if self.is_revoked(presented) || self.cutoff_of(presented).is_some() {
            return Standing::Revoked;
        }
        match self.session.chain(presented.now) {
            Some(_) if self.session.is_unattested => Standing::Unknown,
            Some(chain) => match chain.place(&presented.token, presented.now) {
                Place::Ancestor { generations } => Standing::Reused { generations },
                Place::Head | Place::Predecessor | Place::Stranger => Standing::Live,
            },
            None if !self.vouches_for(presented) => Standing::Unknown,
            None => Standing::Live,
        }
    }

    pub(super) fn judge(&self, rotation: &Rotation) -> Result<RotationOutcome, StoreError> {
        let presented = &rotation.presented;
        let now = presented.now;
        let (revoked, cutoff) = (self.is_revoked(presented), self.cutoff_of(presented));
        chain::judge(rotation, revoked, cutoff, self.session.chain(now), |token| {
            self.session.is_token_revoked(token, now)
        })
    }

    /// A session older than the store is recorded by a renewal, so that its tokens have one successor each, and stays
    /// unknown. A sign-in begins one that is as new as its record.
    pub(super) fn begin(&mut self, rotation: Rotation) {
        let is_unattested = rotation.supersedes && !self.vouches_for(&rotation.presented);
        self.session.forget_expired(self.agreed(rotation.presented.now));
        self.session.begin(rotation, is_unattested);
    }

    pub(super) fn advance(&mut self, rotation: Rotation) {
        self.session.forget_expired(self.agreed(rotation.presented.now));
        self.session.advance(rotation);
    }

    /// Adds a cutoff to that of the subject that was asked about.
    pub(super) fn cut_off_subject(&mut self, cutoff: Cutoff, now: NumericDate) {
        let agreed = self.agreed(now);
        self.subject.join(cutoff, agreed);
    }

    /// Adds a cutoff to that of all sessions.
    pub(super) fn cut_off_everybody(&mut self, cutoff: Cutoff, now: NumericDate) {
        let agreed = self.agreed(now);
        self.everybody.join(cutoff, agreed);
    }

    /// What has expired by this instant has expired by the caller's clock and by the server's. Only that is forgotten: a
    /// node whose clock is far ahead must not remove what still matters to the others.
    fn agreed(&self, now: NumericDate) -> NumericDate {
        now.min(self.clock)
    }

    /// A revocation with its instant as it is recorded.
    pub(super) fn dated(&self, revocation: Revocation, retention: &Retention) -> Revocation {
        revocation.dated(retention, self.clock)
    }

    /// Until when a revocation that is made now is kept.
    pub(super) fn kept_until(&self, retention: &Retention) -> NumericDate {
        retention.kept_until(self.clock, self.horizon)
    }

    fn vouches_for(&self, presented: &Presented) -> bool {
        presented.session_start >= self.created_at
    }

    /// The token or its session.
    fn is_revoked(&self, presented: &Presented) -> bool {
        let Presented { token, now, .. } = *presented;
        self.session.revoked_until > now || self.session.is_token_revoked(token, now)
    }

    /// The instant up to which sessions of that age were revoked: the subject's, or all.
    fn cutoff_of(&self, presented: &Presented) -> Option<NumericDate> {
        let Presented { session, session_start, now, .. } = *presented;
        let cutoffs = [&self.subject, &self.everybody].into_iter().filter_map(|row| row.cutoff);
        cutoffs
            .filter(|cutoff| cutoff.revokes(session, session_start, now))
            .map(|cutoff| cutoff.instant)
            .max()
    }
}

impl CutoffRow {
    /// Adds a cutoff to what holds at `now`.
    fn join(&mut self, cutoff: Cutoff, now: NumericDate) {
        self.cutoff = Some(cutoff.joined(self.cutoff, now));
    }
}

impl Session {
    /// The row matters until then.
    pub(super) fn kept_until(&self) -> NumericDate {
        let tokens = self.revoked_tokens.iter().map(|&(_, until)| until);
        let chain = self.chain.iter().map(|chain| chain.until);
        tokens.chain(chain).fold(self.revoked_until, NumericDate::max)
    }

    /// Whose it is.
    pub(super) fn subject(&self) -> Option<SubjectId> {
        self.chain.as_ref().map_or(self.subject, |chain| chain.subject)
    }

    /// Its place among its subject's.
    pub(super) fn start(&self) -> Option<NumericDate> {
        self.chain.as_ref().map_or(self.latest_start, |chain| Some(chain.session_start))
    }

    fn begin(&mut self, rotation: Rotation, is_unattested: bool) {
        self.is_unattested = is_unattested;
        self.chain = Some(Chain::begun_by(rotation));
    }

    fn advance(&mut self, rotation: Rotation) {
        if let Some(chain) = &mut self.chain {
            chain.advance(rotation);
        }
    }

    /// False where nothing has to be written.
    pub(super) fn revoke(&mut self, retention: &Retention, clock: NumericDate, kept: NumericDate) -> bool {
        let known = self.chain.as_ref().map(|chain| chain.until);
        // Never before the last of its tokens is past mattering, and never earlier than was promised before.
        let until = kept.max(known.unwrap_or_default()).max(self.revoked_until);
        let said = (self.revoked_until, self.start());
        self.name(retention, clock);
        if known.is_none() && (until, self.latest_start) == said {
            return false;
        }
        self.forget_expired(retention.now.min(clock));
        self.revoked_until = until;
        // A revoked session has nothing left to say.
        self.chain = None;
        self.is_unattested = false;
        true
    }

    /// False where nothing has to be written.
    pub(super) fn revoke_token(
        &mut self,
        token: TokenId,
        retention: &Retention,
        clock: NumericDate,
        mut until: NumericDate,
    ) -> Result<bool, StoreError> {
        let agreed = retention.now.min(clock);
        if let Some(chain) = self.chain(agreed) {
            // It has a successor, though one so old may be forgotten here.
            if chain.head != token {
                return Ok(self.revoke(retention, clock, until));
            }
            // As long as the record names it as the head, its predecessor must not be given it.
            until = until.max(chain.until);
        }
        if until <= self.revoked_until {
            // Which covers this one's start too, from now on.
            return Ok(self.revoke(retention, clock, until));
        }
        let promised = self.revoked_tokens.iter().find(|(revoked, _)| *revoked == token);
        if promised.is_some_and(|&(_, promised)| until <= promised) {
            return Ok(false);
        }
        self.name(retention, clock);
        self.forget_expired(agreed);
        self.revoked_tokens.retain(|(revoked, _)| *revoked != token);
        if self.revoked_tokens.len() >= MAX_REVOKED_TOKENS {
            return Err(StoreErrorKind::Full.into());
        }
        self.revoked_tokens.push((token, until));
        Ok(true)
    }

    /// Remembers whose it is, and where it stands among theirs, for when there is no chain any more.
    fn name(&mut self, retention: &Retention, clock: NumericDate) {
        self.subject = self.subject().or(retention.subject);
        self.latest_start = self.start().max(Some(retention.latest_start(clock)));
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
