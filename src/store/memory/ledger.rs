//! [`Ledger`]: the sessions and tombstones of a memory store, bounded and expiring. The store holds it behind a lock.
//!
//! Every entry occurs exactly once in `expiry`, whose length is therefore the number of entries. An entry counts while
//! `until > now`; after that it is treated as absent, swept or not.

use std::collections::{BTreeSet, HashMap};

use crate::store::chain::{self, Chain, Position, RotationOutcome};
use crate::store::cutoff::Cutoff;
use crate::store::{
    Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionCursor, SessionId,
    SessionPage, Standing, StoreError, StoreErrorKind, StoreHorizon, SubjectId, TokenId,
};
use crate::time::NumericDate;

/// A tombstone with its keys, its index entries and the unused capacity of the tables, as measured.
const TOMBSTONE_BYTES: usize = 288;
/// The same for a session that has ended, which also has index entries for its subject.
const ENDED_BYTES: usize = 448;

/// Expired entries that are swept at every write. A write adds at most one, so the sweep keeps up.
const SWEEP: usize = 4;

/// The most sessions of a subject that are read in one call. Those that ended by a cutoff are not listed, and there may be many.
const MAX_READ: usize = 4_096;

pub(super) struct Ledger {
    pub(super) limits: Limits,
    sessions: HashMap<SessionId, Session>,
    revoked_tokens: HashMap<(SessionId, TokenId), NumericDate>,
    revoked_subjects: HashMap<SubjectId, Cutoff>,
    revoked_all: Option<Cutoff>,
    /// Each subject's sessions, the oldest first.
    recorded: BTreeSet<(SubjectId, SessionCursor)>,
    ended: BTreeSet<(SubjectId, SessionCursor)>,
    counts: HashMap<SubjectId, SubjectCounts>,
    expiry: BTreeSet<(NumericDate, Key)>,
    bytes: usize,
    horizon: Option<StoreHorizon>,
    /// Sessions that were ended by a later sign-in of their subject.
    displaced: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

enum Session {
    Recorded(Box<Chain>),
    Ended(Ended),
}

/// A revoked session. Its chain is not needed any more.
#[derive(Clone, Copy)]
struct Ended {
    subject: Option<SubjectId>,
    /// The latest start that any token of it can have.
    latest_start: NumericDate,
    until: NumericDate,
}

#[derive(Clone, Copy, Default)]
struct SubjectCounts {
    recorded: usize,
    ended: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(SessionId),
    Token(SessionId, TokenId),
    Subject(SubjectId),
}

/// How many records there are, for `Debug`.
pub(super) struct Counts {
    pub(super) sessions: usize,
    pub(super) revoked_sessions: usize,
    pub(super) revoked_tokens: usize,
    pub(super) revoked_subjects: usize,
    pub(super) bytes: usize,
}

// Queries.
impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: HashMap::new(),
            revoked_tokens: HashMap::new(),
            revoked_subjects: HashMap::new(),
            revoked_all: None,
            recorded: BTreeSet::new(),
            ended: BTreeSet::new(),
            counts: HashMap::new(),
            expiry: BTreeSet::new(),
            bytes: 0,
            horizon: None,
            displaced: 0,
        }
    }

    pub(super) fn standing(&self, presented: &Presented) -> Standing {
        if self.is_revoked(presented) {
            return Standing::Revoked;
        }
        let chain = self.chain(presented.session, presented.now);
        match chain.map(|chain| chain.position(&presented.token, presented.now)) {
            Some(Position::Ancestor { generations }) => Standing::Reused { generations },
            // A token without a record was issued elsewhere, or before this process started.
            Some(Position::Head | Position::Predecessor | Position::Stranger) | None => Standing::Live,
        }
    }

    pub(super) fn sessions(&self, subject: SubjectId, now: NumericDate, page: Page) -> SessionPage {
        let before = page.after.unwrap_or(LAST);
        let mut sessions = Vec::new();
        let mut next = None;
        let listed = self.recorded.range((subject, FIRST)..(subject, before)).rev();
        for (read, &(_, cursor)) in listed.enumerate() {
            if sessions.len() == page.limit || read == MAX_READ {
                return SessionPage::new(sessions, next);
            }
            next = Some(cursor);
            let chain = self.chain(cursor.session, now);
            sessions.extend(
                chain
                    .filter(|chain| {
                        self.cutoff_of(cursor.session, chain.subject, chain.session_start, now).is_none()
                    })
                    .map(|chain| chain.to_record(cursor.session)),
            );
        }
        SessionPage::new(sessions, None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.expiry.is_empty() && self.revoked_all.is_none()
    }

    /// How many sessions were ended by a later sign-in of their subject.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced
    }

    pub(super) fn counts(&self) -> Counts {
        let revoked_sessions =
            self.sessions.values().filter(|session| matches!(session, Session::Ended(_))).count();
        Counts {
            sessions: self.sessions.len() - revoked_sessions,
            revoked_sessions,
            revoked_tokens: self.revoked_tokens.len(),
            revoked_subjects: self.revoked_subjects.len(),
            bytes: self.bytes,
        }
    }

    fn is_revoked(&self, presented: &Presented) -> bool {
        let Presented { session, token, subject, session_start, now, .. } = *presented;
        self.is_session_or_token_revoked(session, token, now)
            || self.cutoff_of(session, subject, session_start, now).is_some()
    }

    fn is_session_or_token_revoked(&self, session: SessionId, token: TokenId, now: NumericDate) -> bool {
        matches!(self.sessions.get(&session), Some(Session::Ended(ended)) if ended.until > now)
            || self.is_token_revoked(session, token, now)
    }

    fn is_token_revoked(&self, session: SessionId, token: TokenId, now: NumericDate) -> bool {
        !self.revoked_tokens.is_empty()
            && self.revoked_tokens.get(&(session, token)).is_some_and(|&until| until > now)
    }

    /// The instant up to which sessions of that age were revoked: the subject's, or all.
    fn cutoff_of(
        &self,
        session: SessionId,
        subject: Option<SubjectId>,
        session_start: NumericDate,
        now: NumericDate,
    ) -> Option<NumericDate> {
        let of_subject = match subject {
            Some(subject) if !self.revoked_subjects.is_empty() => self.revoked_subjects.get(&subject),
            _ => None,
        };
        [of_subject, self.revoked_all.as_ref()]
            .into_iter()
            .flatten()
            .filter(|cutoff| cutoff.revokes(session, session_start, now))
            .map(|cutoff| cutoff.instant)
            .max()
    }

    fn chain(&self, session: SessionId, now: NumericDate) -> Option<&Chain> {
        match self.sessions.get(&session) {
            Some(Session::Recorded(chain)) if chain.until > now => Some(chain),
            _ => None,
        }
    }
}

// Changes. Each decides, makes room, and only then changes anything.
impl Ledger {
    pub(super) fn rotate(&mut self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, token, subject, session_start, now, .. } = rotation.presented;
        self.sweep(now);
        let outcome = chain::judge(
            &rotation,
            self.is_session_or_token_revoked(session, token, now),
            self.cutoff_of(session, subject, session_start, now),
            self.chain(session, now),
            |token| self.is_token_revoked(session, token, now),
        )?;
        match outcome {
            RotationOutcome::Open => self.open(rotation),
            RotationOutcome::Advance => self.advance(rotation),
            RotationOutcome::Answered(rotated) => Ok(rotated),
        }
    }

    fn open(&mut self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, subject, session_start, now, .. } = rotation.presented;
        let retention = rotation.retention;
        let limited = subject.zip(retention.and_then(|retention| retention.limit));
        // If the subject has as many records as are remembered, the oldest is forgotten, and with it all sessions that began no
        // later. A new one that begins then must not be recorded.
        if let Some((subject, limit)) = limited
            && self.count(subject) >= limit.remembered
            && let Some(oldest) = self.oldest_start(subject)
            && session_start <= oldest
        {
            return Ok(chain::predated(rotation.supersedes, oldest));
        }
        let supersedes = rotation.supersedes;
        let chain = Chain::begun_by(rotation);
        self.make_room(1, chain.bytes(), self.limits.for_rotations(), now)?;
        self.replace(session, Some(Session::Recorded(Box::new(chain))));
        if let Some(((subject, limit), retention)) = limited.zip(retention) {
            self.end_oldest(subject, session, limit.live, retention);
            let forgotten = self.forget_oldest(subject, limit.remembered, &retention);
            // An ended session counts by the latest start that a token of it can have. The new session may be older than one
            // that was forgotten just now; then it has to begin after it.
            if let Some(instant) = forgotten.filter(|instant| session_start <= *instant) {
                return Ok(chain::predated(supersedes, instant));
            }
        }
        Ok(Rotated::Recorded)
    }

    fn advance(&mut self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, now, .. } = rotation.presented;
        let Some(chain) = self.chain(session, now) else {
            return self.open(rotation);
        };
        let growth = chain.bytes_advanced_by(&rotation).saturating_sub(chain.bytes());
        self.make_room(0, growth, self.limits.for_rotations(), now)?;
        if let Some(Session::Recorded(mut chain)) = self.replace(session, None) {
            chain.advance(rotation);
            self.replace(session, Some(Session::Recorded(chain)));
        }
        Ok(Rotated::Recorded)
    }

    pub(super) fn revoke(&mut self, revocation: Revocation, retention: &Retention) -> Result<(), StoreError> {
        let now = retention.now;
        self.sweep(now);
        match revocation.dated(retention, now) {
            Revocation::Token { session, token } => self.revoke_token(session, token, retention),
            Revocation::Session(session) => self.revoke_session(session, retention),
            Revocation::SubjectBefore { subject, instant, except } => {
                let cutoff = Cutoff::new(instant, except, self.kept_until(retention));
                self.revoke_subject(subject, cutoff, now)?;
                if revocation.ends_all_on_record(retention) {
                    let first = SessionCursor { session_start: instant.after(1), ..FIRST };
                    let later =
                        self.recorded.range((subject, first)..=(subject, LAST)).map(|&(_, cursor)| cursor);
                    let later = later.filter(|cursor| except != Some(cursor.session));
                    self.revoke_each(later.collect(), retention)?;
                }
                Ok(())
            }
            Revocation::AllBefore { instant } => {
                let cutoff = Cutoff::new(instant, None, self.kept_until(retention));
                self.revoked_all = Some(cutoff.joined(self.revoked_all, now));
                if revocation.ends_all_on_record(retention) {
                    let later = self.sessions.iter().filter_map(|(&session, known)| match known {
                        Session::Recorded(chain) if chain.session_start > instant => {
                            Some(SessionCursor { session_start: chain.session_start, session })
                        }
                        _ => None,
                    });
                    self.revoke_each(later.collect(), retention)?;
                }
                Ok(())
            }
        }
    }

    fn revoke_each(&mut self, sessions: Vec<SessionCursor>, retention: &Retention) -> Result<(), StoreError> {
        for SessionCursor { session, session_start } in sessions {
            // Ending an earlier one may have forgotten this one.
            if self.sessions.contains_key(&session) {
                self.revoke_session(session, &retention.of(None, session_start))?;
            }
        }
        Ok(())
    }

    fn kept_until(&self, retention: &Retention) -> NumericDate {
        retention.kept_until(retention.now, self.horizon.as_ref().map(|horizon| horizon.current))
    }

    fn revoke_session(&mut self, session: SessionId, retention: &Retention) -> Result<(), StoreError> {
        let now = retention.now;
        let mut ended = Ended {
            subject: retention.subject,
            latest_start: retention.latest_start(now),
            until: self.kept_until(retention),
        };
        match self.sessions.get(&session) {
            // A known session is replaced by its tombstone, which is no larger.
            Some(known) => ended = ended.with(known),
            None => self.make_room(1, ENDED_BYTES, self.limits, now)?,
        }
        self.replace(session, Some(Session::Ended(ended)));
        if let Some((subject, limit)) = ended.subject.zip(retention.limit) {
            self.forget_oldest(subject, limit.remembered, retention);
        }
        Ok(())
    }

    fn revoke_token(
        &mut self,
        session: SessionId,
        token: TokenId,
        retention: &Retention,
    ) -> Result<(), StoreError> {
        let now = retention.now;
        let mut until = self.kept_until(retention);
        match self.sessions.get(&session) {
            // From now on the tombstone also covers this token's session start.
            Some(Session::Ended(ended)) if ended.until >= until => {
                return self.revoke_session(session, retention);
            }
            Some(Session::Recorded(chain)) if chain.until > now => {
                // It is not the head, so it has a successor, even if its record is forgotten.
                if chain.head != token {
                    return self.revoke_session(session, retention);
                }
                // While the record names it as the head, its predecessor must not get it.
                until = until.max(chain.until);
            }
            _ => {}
        }
        let promised = self.revoked_tokens.get(&(session, token)).copied();
        if promised.is_some_and(|promised| promised >= until) {
            return Ok(());
        }
        if promised.is_none() {
            self.make_room(1, TOMBSTONE_BYTES, self.limits, now)?;
        }
        let key = Key::Token(session, token);
        match self.revoked_tokens.insert((session, token), until) {
            Some(promised) => _ = self.expiry.remove(&(promised, key)),
            None => self.bytes += TOMBSTONE_BYTES,
        }
        self.expiry.insert((until, key));
        Ok(())
    }

    fn revoke_subject(
        &mut self,
        subject: SubjectId,
        cutoff: Cutoff,
        now: NumericDate,
    ) -> Result<(), StoreError> {
        if !self.revoked_subjects.contains_key(&subject) {
            self.make_room(1, TOMBSTONE_BYTES, self.limits, now)?;
        }
        self.put_cutoff(subject, cutoff, now);
        Ok(())
    }

    fn put_cutoff(&mut self, subject: SubjectId, cutoff: Cutoff, now: NumericDate) {
        let tombstone = cutoff.joined(self.revoked_subjects.get(&subject).copied(), now);
        let key = Key::Subject(subject);
        match self.revoked_subjects.insert(subject, tombstone) {
            Some(promised) => _ = self.expiry.remove(&(promised.until, key)),
            None => self.bytes += TOMBSTONE_BYTES,
        }
        self.expiry.insert((tombstone.until, key));
    }

    /// Replaces the session's entry by `new`, and updates the indexes.
    fn replace(&mut self, session: SessionId, new: Option<Session>) -> Option<Session> {
        if let Some(new) = &new {
            self.bytes += new.bytes();
            self.expiry.insert((new.until(), Key::Session(session)));
        }
        let new_until = new.as_ref().map(Session::until);
        let new_entry = new.as_ref().and_then(|new| new.index_entry(session));
        let old = match new {
            Some(new) => self.sessions.insert(session, new),
            None => self.sessions.remove(&session),
        };
        if let Some(old) = &old {
            self.bytes -= old.bytes();
            if new_until != Some(old.until()) {
                self.expiry.remove(&(old.until(), Key::Session(session)));
            }
            if let Some(entry) = old.index_entry(session) {
                self.unlist(entry);
            }
        }
        if let Some(entry) = new_entry {
            self.list(entry);
        }
        old
    }

    fn list(&mut self, (subject, cursor, is_recorded): (SubjectId, SessionCursor, bool)) {
        let counts = self.counts.entry(subject).or_default();
        let (listed, count) = match is_recorded {
            true => (&mut self.recorded, &mut counts.recorded),
            false => (&mut self.ended, &mut counts.ended),
        };
        listed.insert((subject, cursor));
        *count += 1;
    }

    fn unlist(&mut self, (subject, cursor, is_recorded): (SubjectId, SessionCursor, bool)) {
        let Some(counts) = self.counts.get_mut(&subject) else { return };
        let (listed, count) = match is_recorded {
            true => (&mut self.recorded, &mut counts.recorded),
            false => (&mut self.ended, &mut counts.ended),
        };
        listed.remove(&(subject, cursor));
        *count -= 1;
        if counts.recorded + counts.ended == 0 {
            self.counts.remove(&subject);
        }
    }
}

// The limits of one subject.
impl Ledger {
    fn count(&self, subject: SubjectId) -> usize {
        self.counts.get(&subject).map_or(0, |counts| counts.recorded + counts.ended)
    }

    fn oldest_start(&self, subject: SubjectId) -> Option<NumericDate> {
        let first = |listed: &BTreeSet<(SubjectId, SessionCursor)>| {
            listed.range((subject, FIRST)..=(subject, LAST)).next().map(|(_, cursor)| cursor.session_start)
        };
        [first(&self.recorded), first(&self.ended)].into_iter().flatten().min()
    }

    /// Ends the subject's oldest sessions until no more than this many are on record; never the one just `opened`, and none
    /// that is live while others are not.
    fn end_oldest(&mut self, subject: SubjectId, opened: SessionId, live: usize, retention: Retention) {
        let is_over =
            |ledger: &Self| ledger.counts.get(&subject).is_some_and(|counts| counts.recorded > live);
        if !is_over(self) {
            return;
        }
        let listed = self.recorded.range((subject, FIRST)..=(subject, LAST)).take(MAX_READ);
        let others = listed.map(|&(_, cursor)| cursor).filter(|cursor| cursor.session != opened);
        // "All others" can have spared the oldest, and what has expired may not be swept yet.
        let (live, dead): (Vec<_>, Vec<_>) = others.partition(|&SessionCursor { session, session_start }| {
            self.chain(session, retention.now).is_some()
                && self.cutoff_of(session, Some(subject), session_start, retention.now).is_none()
        });
        for oldest in dead.into_iter().chain(live) {
            if !is_over(self) {
                return;
            }
            if self.chain(oldest.session, retention.now).is_none() {
                self.replace(oldest.session, None);
                continue;
            }
            let retention = Retention { limit: None, ..retention.of(Some(subject), oldest.session_start) };
            // The tombstone replaces its entry, so there is room.
            if self.revoke_session(oldest.session, &retention).is_err() {
                return;
            }
            self.displaced += 1;
        }
    }

    /// Revokes the subject's sessions up to the oldest's start, and forgets those, until no more than this many are left.
    /// The latest such start.
    fn forget_oldest(
        &mut self,
        subject: SubjectId,
        remembered: usize,
        retention: &Retention,
    ) -> Option<NumericDate> {
        let mut latest = None;
        while self.count(subject) > remembered {
            let Some(instant) = self.oldest_start(subject) else { break };
            latest = Some(instant);
            let up_to = (subject, SessionCursor { session_start: instant, ..LAST });
            let listed = [&self.recorded, &self.ended].map(|listed| listed.range((subject, FIRST)..=up_to));
            let oldest = listed.into_iter().flatten().map(|(_, cursor)| cursor.session).collect::<Vec<_>>();
            let mut until = self.kept_until(retention);
            for session in oldest {
                if let Some(known) = self.replace(session, None) {
                    until = until.max(known.until());
                }
            }
            // The cutoff replaces their entries.
            self.put_cutoff(subject, Cutoff::new(instant, None, until), retention.now);
            self.displaced += 1;
        }
        latest
    }
}

// Horizon.
impl Ledger {
    pub(super) fn horizon(&mut self, need: Horizon) -> StoreHorizon {
        self.horizon.get_or_insert_with(|| StoreHorizon::new(need)).clone()
    }

    pub(super) fn raise_horizon(&mut self, to: Horizon, now: NumericDate) {
        match &mut self.horizon {
            Some(horizon) => _ = horizon.raise(to, now),
            none => *none = Some(StoreHorizon::new(to)),
        }
    }
}

// Bounds.
impl Ledger {
    /// Makes room for so much more by removing expired entries, and only those.
    ///
    /// A bound is checked only if its value grows, so a renewal that takes no more than its session had is never refused.
    fn make_room(
        &mut self,
        entries: usize,
        bytes: usize,
        limits: Limits,
        now: NumericDate,
    ) -> Result<(), StoreError> {
        loop {
            let enough = |have: usize, more: usize, limit: usize| {
                more == 0 || have.checked_add(more).is_some_and(|sum| sum <= limit)
            };
            if enough(self.expiry.len(), entries, limits.entries) && enough(self.bytes, bytes, limits.bytes) {
                return Ok(());
            }
            if !self.remove_expired(now) {
                return Err(StoreErrorKind::Full.into());
            }
        }
    }

    fn sweep(&mut self, now: NumericDate) {
        for _ in 0..SWEEP {
            if !self.remove_expired(now) {
                return;
            }
        }
    }

    /// Removes one expired entry. Returns `false` if there is none.
    fn remove_expired(&mut self, now: NumericDate) -> bool {
        let Some(&(until, key)) = self.expiry.first() else { return false };
        if until > now {
            return false;
        }
        match key {
            Key::Session(session) => _ = self.replace(session, None),
            Key::Token(session, token) => {
                if self.revoked_tokens.remove(&(session, token)).is_some() {
                    self.bytes -= TOMBSTONE_BYTES;
                }
            }
            Key::Subject(subject) => {
                if self.revoked_subjects.remove(&subject).is_some() {
                    self.bytes -= TOMBSTONE_BYTES;
                }
            }
        }
        self.expiry.remove(&(until, key));
        true
    }

    /// Checks that the indexes and counts agree with the entries.
    #[cfg(test)]
    pub(super) fn audit(&self) {
        let sessions = self.sessions.values().map(Session::bytes).sum::<usize>();
        let tombstones = self.revoked_tokens.len() + self.revoked_subjects.len();
        assert_eq!(self.bytes, sessions + tombstones * TOMBSTONE_BYTES, "bytes");
        assert_eq!(self.expiry.len(), self.sessions.len() + tombstones, "entries");
        for (id, session) in &self.sessions {
            assert!(self.expiry.contains(&(session.until(), Key::Session(*id))), "a session's expiry");
        }
        for (&(session, token), &until) in &self.revoked_tokens {
            assert!(self.expiry.contains(&(until, Key::Token(session, token))), "a token's expiry");
        }
        for (&subject, tombstone) in &self.revoked_subjects {
            assert!(self.expiry.contains(&(tombstone.until, Key::Subject(subject))), "a subject's expiry");
        }
        let entries =
            self.sessions.iter().filter_map(|(id, session)| session.index_entry(*id)).collect::<Vec<_>>();
        for (listed, is_recorded) in [(&self.recorded, true), (&self.ended, false)] {
            let of_kind =
                entries.iter().filter(|entry| entry.2 == is_recorded).map(|entry| (entry.0, entry.1));
            assert_eq!(*listed, of_kind.collect(), "sessions by subject");
        }
        for &(subject, ..) in &entries {
            let of_subject = entries.iter().filter(|entry| entry.0 == subject).count();
            assert_eq!(self.count(subject), of_subject, "sessions of a subject");
        }
        assert_eq!(
            self.counts.values().map(|c| c.recorded + c.ended).sum::<usize>(),
            entries.len(),
            "counts"
        );
        assert!(self.expiry.len() <= self.limits.entries, "within the bound of entries");
        assert!(self.bytes <= self.limits.bytes, "within the bound of bytes");
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 64 * 1024 * 1024 }
    }
}

impl Limits {
    /// A tenth, rounded up, is kept for revocations.
    fn for_rotations(self) -> Self {
        let share = |limit: usize| limit - limit.div_ceil(10);
        Self { entries: share(self.entries), bytes: share(self.bytes) }
    }
}

const FIRST: SessionCursor =
    SessionCursor { session_start: NumericDate::from_secs(0), session: SessionId::from_bytes([0x00; 32]) };
const LAST: SessionCursor =
    SessionCursor { session_start: NumericDate::MAX, session: SessionId::from_bytes([0xff; 32]) };

impl Session {
    fn until(&self) -> NumericDate {
        match self {
            Self::Recorded(chain) => chain.until,
            Self::Ended(ended) => ended.until,
        }
    }

    /// The subject, the cursor, and whether it is recorded or ended.
    fn index_entry(&self, session: SessionId) -> Option<(SubjectId, SessionCursor, bool)> {
        let (subject, session_start, is_recorded) = match self {
            Self::Recorded(chain) => (chain.subject, chain.session_start, true),
            Self::Ended(ended) => (ended.subject, ended.latest_start, false),
        };
        subject.map(|subject| (subject, SessionCursor { session_start, session }, is_recorded))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Recorded(chain) => chain.bytes(),
            Self::Ended(_) => ENDED_BYTES,
        }
    }
}

impl Ended {
    /// Combined with what is known. It is kept as long as any token of the session matters, and no shorter than before.
    fn with(self, known: &Session) -> Self {
        let (subject, latest_start) = match known {
            Session::Recorded(chain) => (chain.subject, chain.session_start),
            Session::Ended(ended) => (ended.subject, ended.latest_start),
        };
        Self {
            subject: subject.or(self.subject),
            latest_start: self.latest_start.max(latest_start),
            until: self.until.max(known.until()),
        }
    }
}
