//! What the store knows, behind its lock: sessions and tombstones, bounded and expiring.
//!
//! Every entry has exactly one place in `expiry`, whose length is therefore the number of entries. An entry is
//! alive while `until > now`; one that is not is treated as absent, whether or not it was swept yet.

use std::collections::{BTreeSet, HashMap};

use crate::NumericDate;
use crate::store::chain::{self, Chain, Place, Turn};
use crate::store::{
    Presented, Revocation, Rotated, Rotation, SessionId, SessionRecord, Standing, StoreError, StoreErrorKind,
    SubjectId, TokenId,
};

/// A tombstone, its keys and its place in `expiry`, with the slack of growing tables.
const TOMBSTONE_BYTES: usize = 256;

/// Expired entries swept with every write. A write adds one at most, so the sweep keeps up.
const SWEEP: usize = 4;

pub(super) struct Ledger {
    pub(super) limits: Limits,
    sessions: HashMap<SessionId, Session>,
    revoked_tokens: HashMap<(SessionId, TokenId), NumericDate>,
    revoked_subjects: HashMap<SubjectId, SubjectTombstone>,
    by_subject: BTreeSet<(SubjectId, SessionId)>,
    expiry: BTreeSet<(NumericDate, Key)>,
    bytes: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

enum Session {
    Recorded(Box<Chain>),
    /// The chain is gone: a revoked session has nothing left to say.
    Revoked {
        until: NumericDate,
    },
}

#[derive(Clone, Copy)]
struct SubjectTombstone {
    /// Sessions begun at or before it are revoked.
    instant: NumericDate,
    until: NumericDate,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(SessionId),
    Token(SessionId, TokenId),
    Subject(SubjectId),
}

/// For Debug.
pub(super) struct Counts {
    pub(super) sessions: usize,
    pub(super) revoked_sessions: usize,
    pub(super) revoked_tokens: usize,
    pub(super) revoked_subjects: usize,
    pub(super) bytes: usize,
}

// The questions.
impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: HashMap::new(),
            revoked_tokens: HashMap::new(),
            revoked_subjects: HashMap::new(),
            by_subject: BTreeSet::new(),
            expiry: BTreeSet::new(),
            bytes: 0,
        }
    }

    pub(super) fn standing(&self, presented: &Presented) -> Standing {
        if self.is_revoked(presented) {
            return Standing::Revoked;
        }
        let place =
            self.chain(presented.session, presented.now).map(|c| c.place(&presented.token, presented.now));
        match place {
            Some(Place::Ancestor { generations }) => Standing::Superseded { generations },
            // A token without a record was issued elsewhere, or before this process began.
            Some(Place::Head | Place::Predecessor | Place::Stranger) | None => Standing::Live,
        }
    }

    pub(super) fn sessions(&self, subject: SubjectId, now: NumericDate) -> Vec<SessionRecord> {
        let first = (subject, SessionId::from_bytes([0x00; 32]));
        let last = (subject, SessionId::from_bytes([0xff; 32]));
        self.by_subject
            .range(first..=last)
            .filter_map(|&(_, session)| {
                let chain = self.chain(session, now)?;
                let revoked = self.is_subject_revoked(subject, chain.session_start, now);
                (!revoked).then(|| chain.to_record(session))
            })
            .collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let revoked_sessions =
            self.sessions.values().filter(|session| matches!(session, Session::Revoked { .. })).count();
        Counts {
            sessions: self.sessions.len() - revoked_sessions,
            revoked_sessions,
            revoked_tokens: self.revoked_tokens.len(),
            revoked_subjects: self.revoked_subjects.len(),
            bytes: self.bytes,
        }
    }

    fn is_revoked(&self, presented: &Presented) -> bool {
        let Presented { session, token, subject, session_start, now } = *presented;
        matches!(self.sessions.get(&session), Some(&Session::Revoked { until }) if until > now)
            || self.is_token_revoked(session, token, now)
            || subject.is_some_and(|subject| self.is_subject_revoked(subject, session_start, now))
    }

    fn is_token_revoked(&self, session: SessionId, token: TokenId, now: NumericDate) -> bool {
        !self.revoked_tokens.is_empty()
            && self.revoked_tokens.get(&(session, token)).is_some_and(|&until| until > now)
    }

    fn is_subject_revoked(&self, subject: SubjectId, session_start: NumericDate, now: NumericDate) -> bool {
        !self.revoked_subjects.is_empty()
            && self
                .revoked_subjects
                .get(&subject)
                .is_some_and(|tombstone| tombstone.until > now && session_start <= tombstone.instant)
    }

    fn chain(&self, session: SessionId, now: NumericDate) -> Option<&Chain> {
        match self.sessions.get(&session) {
            Some(Session::Recorded(chain)) if chain.until > now => Some(chain),
            _ => None,
        }
    }
}

// The changes. Each decides, makes room, and only then changes.
impl Ledger {
    pub(super) fn rotate(&mut self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, now, .. } = rotation.presented;
        self.sweep(now);
        let turn = chain::judge(
            &rotation,
            self.is_revoked(&rotation.presented),
            self.chain(session, now),
            |token| self.is_token_revoked(session, token, now),
        )?;
        match turn {
            Turn::Open => self.open(rotation),
            Turn::Advance => self.advance(rotation),
            Turn::Told(rotated) => Ok(rotated),
        }
    }

    fn open(&mut self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Presented { session, now, .. } = rotation.presented;
        let chain = Chain::begun_by(rotation);
        self.make_room(1, chain.bytes(), self.limits.for_rotations(), now)?;
        self.replace(session, Some(Session::Recorded(Box::new(chain))));
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

    pub(super) fn revoke(
        &mut self,
        revocation: Revocation,
        now: NumericDate,
        until: NumericDate,
    ) -> Result<(), StoreError> {
        self.sweep(now);
        match revocation {
            Revocation::Token { session, token } => self.revoke_token(session, token, now, until),
            Revocation::Session(session) => self.revoke_session(session, now, until),
            Revocation::SubjectBefore { subject, instant } => {
                self.revoke_subject(subject, SubjectTombstone { instant, until }, now)
            }
        }
    }

    fn revoke_session(
        &mut self,
        session: SessionId,
        now: NumericDate,
        until: NumericDate,
    ) -> Result<(), StoreError> {
        let known = self.sessions.get(&session).map(Session::until);
        // Never before the last of its tokens is past mattering, and never earlier than was promised before.
        let until = until.max(known.unwrap_or_default());
        if until <= now {
            return Ok(());
        }
        // A session that is known gives up its own place, which is no smaller.
        if known.is_none() {
            self.make_room(1, TOMBSTONE_BYTES, self.limits, now)?;
        }
        self.replace(session, Some(Session::Revoked { until }));
        Ok(())
    }

    fn revoke_token(
        &mut self,
        session: SessionId,
        token: TokenId,
        now: NumericDate,
        mut until: NumericDate,
    ) -> Result<(), StoreError> {
        match self.sessions.get(&session) {
            Some(Session::Revoked { until: promised }) if *promised >= until => return Ok(()),
            Some(Session::Recorded(chain)) if chain.until > now => {
                // It has a successor, though one so old may be forgotten here.
                if chain.head != token {
                    return self.revoke_session(session, now, until);
                }
                // As long as the record names it as the head, its predecessor must not be given it.
                until = until.max(chain.until);
            }
            _ => {}
        }
        let promised = self.revoked_tokens.get(&(session, token)).copied();
        if until <= now || promised.is_some_and(|promised| promised >= until) {
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
        mut tombstone: SubjectTombstone,
        now: NumericDate,
    ) -> Result<(), StoreError> {
        if tombstone.until <= now {
            return Ok(());
        }
        match self.revoked_subjects.get(&subject) {
            // The stronger of each: what either entry revoked stays revoked for as long as either said.
            Some(promised) if promised.until > now => {
                tombstone.instant = tombstone.instant.max(promised.instant);
                tombstone.until = tombstone.until.max(promised.until);
            }
            Some(_) => {}
            None => self.make_room(1, TOMBSTONE_BYTES, self.limits, now)?,
        }
        let key = Key::Subject(subject);
        match self.revoked_subjects.insert(subject, tombstone) {
            Some(promised) => _ = self.expiry.remove(&(promised.until, key)),
            None => self.bytes += TOMBSTONE_BYTES,
        }
        self.expiry.insert((tombstone.until, key));
        Ok(())
    }

    /// Puts `new` in the session's place and keeps the indexes in step.
    fn replace(&mut self, session: SessionId, new: Option<Session>) -> Option<Session> {
        if let Some(new) = &new {
            self.bytes += new.bytes();
            self.expiry.insert((new.until(), Key::Session(session)));
        }
        let new_until = new.as_ref().map(Session::until);
        let new_subject = new.as_ref().and_then(Session::subject);
        let old = match new {
            Some(new) => self.sessions.insert(session, new),
            None => self.sessions.remove(&session),
        };
        if let Some(old) = &old {
            self.bytes -= old.bytes();
            if new_until != Some(old.until()) {
                self.expiry.remove(&(old.until(), Key::Session(session)));
            }
            if let Some(subject) = old.subject() {
                self.by_subject.remove(&(subject, session));
            }
        }
        if let Some(subject) = new_subject {
            self.by_subject.insert((subject, session));
        }
        old
    }
}

// The bounds.
impl Ledger {
    /// Room for this much more, at the cost of what has expired and of nothing else.
    ///
    /// A dimension that does not grow is not looked at: a renewal that takes no more than its session had is never
    /// refused.
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

    /// Removes one expired entry; false where there is none.
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

    /// That the books balance.
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
        let indexed = self.sessions.iter().filter_map(|(id, session)| Some((session.subject()?, *id)));
        assert_eq!(self.by_subject, indexed.collect(), "sessions by subject");
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

impl Session {
    fn until(&self) -> NumericDate {
        match self {
            Self::Recorded(chain) => chain.until,
            Self::Revoked { until } => *until,
        }
    }

    fn subject(&self) -> Option<SubjectId> {
        match self {
            Self::Recorded(chain) => chain.subject,
            Self::Revoked { .. } => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Recorded(chain) => chain.bytes(),
            Self::Revoked { .. } => TOMBSTONE_BYTES,
        }
    }
}
