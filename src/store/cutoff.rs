//! The instant up to which sessions are revoked, and the one session that is spared.

use super::SessionId;
use crate::time::NumericDate;

/// Sessions begun at or before an instant are revoked, but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cutoff {
    pub(super) instant: NumericDate,
    pub(super) except: Option<SessionId>,
    /// If the spared session began at or before this instant, an earlier revocation covers it too.
    pub(super) floor: Option<NumericDate>,
    pub(super) until: NumericDate,
}

impl Cutoff {
    pub(super) fn new(instant: NumericDate, except: Option<SessionId>, until: NumericDate) -> Self {
        Self { instant, except, floor: None, until }
    }

    pub(super) fn revokes(&self, session: SessionId, session_start: NumericDate, now: NumericDate) -> bool {
        self.until > now
            && session_start <= self.instant
            && (self.except != Some(session) || self.floor.is_some_and(|floor| session_start <= floor))
    }

    /// Combines two cutoffs: it revokes what either revokes, each for as long as that one says, and nothing else.
    #[must_use]
    pub(super) fn joined(self, earlier: Option<Self>, now: NumericDate) -> Self {
        let Some(earlier) = earlier.filter(|earlier| earlier.until > now) else { return self };
        let until = self.until.max(earlier.until);
        let spares_the_same = self.except == earlier.except;
        let (instant, except, floor) = match self.instant >= earlier.instant {
            true if spares_the_same => (self.instant, self.except, self.floor.max(earlier.floor)),
            true => (self.instant, self.except, self.floor.max(Some(earlier.instant))),
            false if spares_the_same => (earlier.instant, earlier.except, self.floor.max(earlier.floor)),
            false => (earlier.instant, earlier.except, earlier.floor.max(Some(self.instant))),
        };
        Self { instant, except, floor, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cutoffs_joined_revoke_what_either_did_and_nothing_else() {
        let at = NumericDate::from_secs;
        let sessions = [1, 2, 3].map(|n| SessionId::from_bytes([n; 32]));
        let excepts = || [None, Some(sessions[0]), Some(sessions[1])];
        let until = at(100);
        let mut all = Vec::new();
        for instant in 0..5 {
            for except in excepts() {
                all.push(Cutoff::new(at(instant), except, until));
            }
        }
        for first in &all {
            for second in &all {
                for third in &all {
                    let joined = third.joined(Some(second.joined(Some(*first), at(0))), at(0));
                    for session in sessions {
                        for start in 0..6 {
                            let revoked = |cutoff: &Cutoff| cutoff.revokes(session, at(start), at(99));
                            assert_eq!(
                                revoked(&joined),
                                [first, second, third].into_iter().any(revoked),
                                "{first:?} {second:?} {third:?}: {session:?} begun at {start}"
                            );
                        }
                    }
                    assert!(!joined.revokes(sessions[2], at(0), until), "past its end");
                }
            }
        }
    }
}
