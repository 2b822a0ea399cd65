//! What was last said of which token, bounded in number. How young is young enough is the asker's affair.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::store::{Presented, Revocation, SessionId, Standing};

/// Of one session: the head, its predecessor, and clients that were late. The one asked longest ago goes first.
const TOKENS: usize = 4;

pub(super) struct Memory {
    generations: RwLock<Generations>,
    max_sessions: usize,
    // Moved while the generations are locked for writing.
    epoch: AtomicU64,
}

/// When a full one begins anew, the other is what was seen lately.
#[derive(Default)]
struct Generations {
    young: HashMap<SessionId, Vec<Entry>>,
    old: HashMap<SessionId, Vec<Entry>>,
}

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
        Self { generations: RwLock::default(), max_sessions, epoch: AtomicU64::new(0) }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn sessions(&self) -> usize {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }

    pub(super) fn recall(
        &self,
        presented: &Presented,
        inner_epoch: Option<u64>,
        at_most: Duration,
    ) -> Option<Standing> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let of = |generation: &HashMap<SessionId, Vec<Entry>>| {
            generation.get(&presented.session)?.iter().find(|entry| entry.is_of(presented)).copied()
        };
        let entry = of(&generations.young).or_else(|| of(&generations.old))?;
        drop(generations);
        let is_young = entry.presented.now <= presented.now
            && Duration::from_secs(presented.now.since(entry.presented.now)) < at_most
            && entry.asked.at.elapsed() < at_most;
        (is_young && entry.asked.inner_epoch == inner_epoch).then_some(entry.standing)
    }

    pub(super) fn remember(&self, presented: &Presented, standing: Standing, asked: Asked) {
        let mut generations = self.write();
        // Something was revoked since: the answer may be older than that.
        if self.epoch() != asked.epoch {
            return;
        }
        let Generations { young, old } = &mut *generations;
        let session = presented.session;
        if !young.contains_key(&session) {
            if young.len() >= self.max_sessions.div_ceil(2) {
                *old = std::mem::take(young);
            }
            if self.max_sessions == 0 {
                return;
            }
            young.insert(session, old.remove(&session).unwrap_or_default());
        }
        let Some(entries) = young.get_mut(&session) else { return };
        entries.retain(|entry| !entry.is_of(presented));
        if entries.len() >= TOKENS {
            entries.remove(0);
        }
        entries.push(Entry { presented: *presented, standing, asked });
    }

    pub(super) fn forget_session(&self, session: &SessionId) {
        let mut generations = self.write();
        generations.young.remove(session);
        generations.old.remove(session);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn forget_revoked(&self, revocation: &Revocation) {
        match revocation {
            // A token that has a successor takes its session with it.
            Revocation::Session(session) | Revocation::Token { session, .. } => self.forget_session(session),
            Revocation::AllBefore { .. } => self.forget_all(),
            Revocation::SubjectBefore { subject, .. } => {
                let mut generations = self.write();
                let is_other = |entries: &Vec<Entry>| {
                    !entries.iter().any(|entry| entry.presented.subject == Some(*subject))
                };
                generations.young.retain(|_, entries| is_other(entries));
                generations.old.retain(|_, entries| is_other(entries));
                self.epoch.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    pub(super) fn forget_all(&self) {
        let mut generations = self.write();
        *generations = Generations::default();
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    // A poisoned lock is taken all the same: an entry is whole or absent.
    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.generations.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The same token, and claims that say the same of its session.
    fn is_of(&self, presented: &Presented) -> bool {
        Presented { now: presented.now, ..self.presented } == *presented
    }
}
