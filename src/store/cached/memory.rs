//! What was last said of which token, bounded in number. How young is young enough is the asker's affair.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use crate::store::{Presented, Revocation, SessionId, Standing};

/// Of one session: the head, its predecessor, and clients that were late. The one asked longest ago goes first.
const TOKENS: usize = 4;

pub(super) struct Memory {
    // One lock over all of it, which orders an answer after the revocations before it. Where something panicked while it
    // was held, nothing is remembered any more.
    sessions: RwLock<Sessions>,
    // Moved while the sessions are locked for writing.
    epoch: AtomicU64,
}

type Sessions = Cache<SessionId, Vec<Entry>>;

#[derive(Clone, Copy)]
struct Entry {
    presented: Presented,
    standing: Standing,
    asked: Asked,
}

/// When the store was asked, by every measure that could make its answer stale.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) epoch: u64,
    pub(super) inner_epoch: Option<u64>,
}

impl Memory {
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
            // A token that has a successor takes its session with it.
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
    /// The same token, and claims that say the same of its session.
    fn is_of(&self, presented: &Presented) -> bool {
        Presented { now: presented.now, ..self.presented } == *presented
    }
}
