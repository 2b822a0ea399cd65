//! [`Session`]: the row of a session as plain values, and its changes. Nothing here waits.

use super::super::chain::{self, Chain, Position, RotationOutcome};
use super::super::cutoff::Cutoff;
use super::super::{
    Horizon, Presented, Retention, Revocation, Rotation, Standing, StoreError, SubjectId, TokenId,
};
use crate::time::NumericDate;

/// The most single tokens that are revoked in a live session; one more ends it. As in `redis/revoke.lua`.
const MAX_REVOKED_TOKENS: usize = 128;

/// What the store knows about a presented token, read by one statement.
pub(super) struct Found {
    /// When the store's tables were created.
    pub(super) created_at: NumericDate,
    /// The server's clock.
    pub(super) clock: NumericDate,
    pub(super) horizon: Option<Horizon>,
    /// The cutoff of the subject in question.
    pub(super) subject: CutoffRow,
    /// The cutoff of all subjects.
    pub(super) everybody: CutoffRow,
    /// The stamp of the session's row. `None` if there is none.
    pub(super) stamp: Option<i64>,
    pub(super) session: Session,
}

/// The instant up to which sessions are revoked.
#[derive(Default)]
pub(super) struct CutoffRow {
    /// `None` if there is no row.
    pub(super) stamp: Option<i64>,
    pub(super) cutoff: Option<Cutoff>,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) chain: Option<Chain>,
    /// The session began before the store was created, so it may have been revoked in records that were lost.
    pub(super) is_unattested: bool,
    /// Until when the session is revoked. 0 if it is not.
    pub(super) revoked_until: NumericDate,
    pub(super) revoked_tokens: Vec<(TokenId, NumericDate)>,
    /// The subject of a session without a chain.
    pub(super) subject: Option<SubjectId>,
    /// The latest start that a token can have of which the row says that it is revoked. The chain's own can be earlier.
    pub(super) latest_start: Option<NumericDate>,
    /// Whether the change opens it: then it comes after all sessions that its subject has opened.
    pub(super) is_opened: bool,
}

impl Found {
    pub(super) fn standing(&self, presented: &Presented) -> Standing {
        if self.is_revoked(presented) || self.cutoff_of(presented).is_some() {
            return Standing::Revoked;
        }
        match self.session.chain(presented.now) {
            Some(_) if self.session.is_unattested => Standing::UnknownSession,
            Some(chain) => match chain.position(&presented.token, presented.now) {
                Position::Ancestor { generations } => Standing::Reused { generations },
                Position::Head | Position::Predecessor | Position::Stranger => Standing::Live,
            },
            None if !self.vouches_for(presented) => Standing::UnknownSession,
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

    /// A renewal records a session that is older than the store, so that its tokens have one successor each. Its standing stays
    /// unknown. A sign-in begins a session that the store knows from the start.
    pub(super) fn begin(&mut self, rotation: Rotation) {
        let is_unattested = rotation.supersedes && !self.vouches_for(&rotation.presented);
        self.session.forget_expired(self.agreed(rotation.presented.now));
        self.session.begin(rotation, is_unattested);
    }

    pub(super) fn advance(&mut self, rotation: Rotation) {
        self.session.forget_expired(self.agreed(rotation.presented.now));
        self.session.advance(rotation);
    }

    /// Adds a cutoff to the subject's.
    pub(super) fn cut_off_subject(&mut self, cutoff: Cutoff, now: NumericDate) {
        let agreed = self.agreed(now);
        self.subject.join(cutoff, agreed);
    }

    /// Adds a cutoff to that of all subjects.
    pub(super) fn cut_off_everybody(&mut self, cutoff: Cutoff, now: NumericDate) {
        let agreed = self.agreed(now);
        self.everybody.join(cutoff, agreed);
    }

    /// The earlier of the caller's clock and the server's. Records are forgotten only if they have expired by both: a node whose
    /// clock is far ahead must not remove what still matters to the others.
    fn agreed(&self, now: NumericDate) -> NumericDate {
        now.min(self.clock)
    }

    /// The revocation with the instant that is recorded.
    pub(super) fn dated(&self, revocation: Revocation, retention: &Retention) -> Revocation {
        revocation.dated(retention, self.clock)
    }

    /// Until when a revocation that is made now is kept.
    pub(super) fn kept_until(&self, retention: &Retention) -> NumericDate {
        retention.kept_until(self.clock, self.horizon)
    }

    fn vouches_for(&self, presented: &Presented) -> bool {
        presented.not_begun_before >= self.created_at
    }

    /// Whether the token or its session is revoked.
    fn is_revoked(&self, presented: &Presented) -> bool {
        let Presented { token, now, .. } = *presented;
        self.session.revoked_until > now || self.session.is_token_revoked(token, now)
    }

    /// The cutoff that revokes the session, if there is one: its subject's or that of all.
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
    /// Combines a cutoff with the one that holds at `now`.
    fn join(&mut self, cutoff: Cutoff, now: NumericDate) {
        self.cutoff = Some(cutoff.joined(self.cutoff, now));
    }
}

impl Session {
    /// Until when the row is needed.
    pub(super) fn kept_until(&self) -> NumericDate {
        let tokens = self.revoked_tokens.iter().map(|&(_, until)| until);
        let chain = self.chain.iter().map(|chain| chain.until);
        tokens.chain(chain).fold(self.revoked_until, NumericDate::max)
    }

    /// The subject that it belongs to.
    pub(super) fn subject(&self) -> Option<SubjectId> {
        self.chain.as_ref().map_or(self.subject, |chain| chain.subject)
    }

    /// The start by which it is ordered among its subject's sessions.
    pub(super) fn start(&self) -> Option<NumericDate> {
        self.chain.as_ref().map_or(self.latest_start, |chain| Some(chain.session_start))
    }

    fn begin(&mut self, rotation: Rotation, is_unattested: bool) {
        self.is_unattested = is_unattested;
        self.is_opened = true;
        self.chain = Some(Chain::begun_by(rotation));
    }

    fn advance(&mut self, rotation: Rotation) {
        if let Some(chain) = &mut self.chain {
            chain.advance(rotation);
        }
    }

    /// Returns whether the row has changed.
    pub(super) fn revoke(&mut self, retention: &Retention, clock: NumericDate, kept: NumericDate) -> bool {
        let known = self.chain.as_ref().map(|chain| chain.until);
        // As long as any token of it matters, and no shorter than before.
        let until = kept.max(known.unwrap_or_default()).max(self.revoked_until);
        let said = (self.revoked_until, self.latest_start);
        self.name(retention, clock);
        if known.is_none() && (until, self.latest_start) == said {
            return false;
        }
        self.forget_expired(retention.now.min(clock));
        self.revoked_until = until;
        // The chain of a revoked session is not needed any more.
        self.chain = None;
        self.is_unattested = false;
        true
    }

    /// Returns whether the row has changed.
    pub(super) fn revoke_token(
        &mut self,
        token: TokenId,
        retention: &Retention,
        clock: NumericDate,
        mut until: NumericDate,
    ) -> bool {
        let agreed = retention.now.min(clock);
        if let Some(chain) = self.chain(agreed) {
            // It is not the head, so it has a successor, even if its record is forgotten.
            if chain.head != token {
                return self.revoke(retention, clock, until);
            }
            // While the record names it as the head, its predecessor must not get it.
            until = until.max(chain.until);
        }
        if until <= self.revoked_until {
            // From now on the tombstone also covers this token's session start.
            return self.revoke(retention, clock, until);
        }
        let promised = self.revoked_tokens.iter().find(|(revoked, _)| *revoked == token);
        if promised.is_some_and(|&(_, promised)| until <= promised) {
            return false;
        }
        self.name(retention, clock);
        self.forget_expired(agreed);
        self.revoked_tokens.retain(|(revoked, _)| *revoked != token);
        if self.revoked_tokens.len() >= MAX_REVOKED_TOKENS {
            // No session has so many tokens of use: somebody revokes without end, and all of it ends.
            return self.revoke(retention, clock, until);
        }
        self.revoked_tokens.push((token, until));
        true
    }

    /// Stores its subject, for when the chain is gone, and how late a token of it can have begun.
    fn name(&mut self, retention: &Retention, clock: NumericDate) {
        self.subject = self.subject().or(retention.subject);
        self.latest_start = self.latest_start.max(self.start()).max(Some(retention.latest_start(clock)));
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
