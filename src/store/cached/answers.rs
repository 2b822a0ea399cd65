//! The last answer for each token, in a cache of bounded size. The caller decides how old an answer may be.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use crate::store::{Presented, Revocation, SessionId, Standing};

/// The most tokens of one session: its head, the predecessor, and a few late ones. The one asked longest ago is dropped
/// first.
const TOKENS: usize = 4;

pub(super) struct AnswerCache {
    // One lock for all sessions, so that an answer is ordered after the revocations before it. If a thread panicked
    // while it held the lock, nothing is remembered any more.
    sessions: RwLock<Sessions>,
    // Incremented while the sessions are locked for writing.
    epoch: AtomicU64,
}

type Sessions = Cache<SessionId, Vec<Entry>>;

#[derive(Clone, Copy)]
struct Entry {
    presented: Presented,
    standing: Standing,
    asked: Asked,
}

/// When the store was asked: by the clock, and by the counters of revocations here and in the store.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) epoch: u64,
    pub(super) inner_epoch: Option<u64>,
}

impl AnswerCache {
    pub(super) fn new(max_sessions: usize) -> Self {
        Self { sessions: RwLock::new(Cache::new(max_sessions)), epoch: AtomicU64::new(0) }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.read().map_or(0, |sessions| sessions.len())
    }

    pub(super) fn recall(
        &self,
        presented: &Presented,
        inner_epoch: Option<u64>,
        at_most: Duration,
    ) -> Option<Standing> {
        let sessions = self.sessions.read().ok()?;
        let entry = *sessions.get(&presented.session)?.iter().find(|entry| entry.is_of(presented))?;
        drop(sessions);
        let is_young = entry.presented.now <= presented.now
            && Duration::from_secs(presented.now.since(entry.presented.now)) < at_most
            && entry.asked.at.elapsed() < at_most;
        (is_young && entry.asked.inner_epoch == inner_epoch).then_some(entry.standing)
    }

    pub(super) fn remember(&self, presented: &Presented, standing: Standing, asked: Asked) {
        let Ok(mut sessions) = self.sessions.write() else { return };
        // Something was revoked since: the answer may be older than that.
        if self.epoch() != asked.epoch {
            return;
        }
        let entry = Entry { presented: *presented, standing, asked };
        if let Some(mut entries) = sessions.get_mut(&presented.session) {
            entries.retain(|entry| !entry.is_of(presented));
            if entries.len() >= TOKENS {
                entries.remove(0);
            }
            entries.push(entry);
        } else {
            sessions.insert(presented.session, vec![entry]);
        }
    }

    pub(super) fn forget_session(&self, session: &SessionId) {
        self.forget(|sessions| drop(sessions.remove(session)));
    }

    pub(super) fn forget_revoked(&self, revocation: &Revocation) {
        match revocation {
            // Revoking a token that has a successor ends its session.
            Revocation::Session(session) | Revocation::Token { session, .. } => self.forget_session(session),
            Revocation::AllBefore { .. } => self.forget_all(),
            Revocation::SubjectBefore { subject, .. } => self.forget(|sessions| {
                sessions.retain(|_, entries| {
                    !entries.iter().any(|entry| entry.presented.subject == Some(*subject))
                });
            }),
        }
    }

    pub(super) fn forget_all(&self) {
        self.forget(Cache::clear);
    }

    fn forget(&self, forget: impl FnOnce(&mut Sessions)) {
        let mut sessions = self.sessions.write();
        if let Ok(sessions) = &mut sessions {
            forget(sessions);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl Entry {
    /// Whether it is the answer for the same token, with the same claims about its session.
    fn is_of(&self, presented: &Presented) -> bool {
        Presented { now: presented.now, ..self.presented } == *presented
    }
}
