//! [`MemoryStore`]: in this process, bounded, expiring.

mod ledger;
#[cfg(all(test, store_model))]
mod model;
mod sync;
#[cfg(all(test, not(store_model)))]
mod tests;

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use self::ledger::{Ledger, Limits};
use self::sync::{AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};
use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreHorizon, SubjectId,
};
use crate::time::NumericDate;

/// A [`ClaimsStore`] in this process's memory.
///
/// It is for one process that may forget. **A revocation is lost with the process**: after a restart, a revoked token
/// is admitted again until it expires, because this store can't know what an earlier process revoked; it never
/// answers [`Standing::UnknownSession`]. Two processes with a store each do not see each other's revocations, and give one
/// token two successors. If that is not acceptable, use a store that is shared or durable.
///
/// # Bounds
///
/// It holds at most 100,000 entries and about 64 MiB, whichever comes first. An entry is a session, a revoked token
/// or a revoked subject. One subject takes no more than
/// [`max_sessions_per_subject`](crate::AuthorityBuilder::max_sessions_per_subject) allows, and ten times that with
/// sessions that have ended. Expired entries make room for new ones. **An entry that still matters is never
/// evicted**: at capacity a write fails with [`StoreErrorKind::Full`](super::StoreErrorKind::Full) instead. Sessions
/// may fill nine tenths. The last tenth is reserved for revocations, so a flood of logins keeps nobody from signing
/// out. Revoking a recorded session always finds room, because it takes the session's own place.
///
/// # Sharing
///
/// It is not `Clone`, because a clone could either share the records or lose them. An `Arc<MemoryStore>` is a
/// [`ClaimsStore`](super::ClaimsStore) too: give each authority a clone of the `Arc`.
///
/// # Time
///
/// An entry expires by the `now` of later calls. There is no background task. If a clock jumps ahead, the entries
/// that expire then do not come back when it is set back.
///
/// ```
/// use tower_reissue::store::MemoryStore;
///
/// let store = MemoryStore::new().with_max_entries(10_000).with_max_bytes(8 * 1024 * 1024);
/// assert_eq!(
///     format!("{store:?}"),
///     "MemoryStore { sessions: 0, revoked_sessions: 0, revoked_tokens: 0, revoked_subjects: 0, bytes: 0, .. }"
/// );
/// ```
pub struct MemoryStore {
    ledger: RwLock<Ledger>,
    // Moved while the ledger is locked for writing, after the tombstone is in it: whoever reads the new value
    // finds the tombstone.
    epoch: AtomicU64,
}

impl MemoryStore {
    /// An empty store of the default bounds.
    pub fn new() -> Self {
        Self { ledger: RwLock::new(Ledger::new(Limits::default())), epoch: AtomicU64::new(0) }
    }

    /// The most entries. Default 100,000.
    ///
    /// If there are too few, sign-ins and renewals fail while the store is full, and sessions end when their token
    /// expires.
    #[must_use]
    pub fn with_max_entries(mut self, entries: usize) -> Self {
        self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner).limits.entries = entries;
        self
    }

    /// About how many bytes it takes at most, claims and overhead together. Default 64 MiB.
    ///
    /// A session takes 640 bytes, the length of its claims, and 48 for each superseded token that could still come
    /// back. A session that has ended takes 448, and any other entry 288.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner).limits.bytes = bytes;
        self
    }

    /// Sets the horizon, for several authorities on one store: the largest that any of them needs. Default: what the
    /// first authority needs.
    #[must_use]
    pub fn with_horizon(mut self, horizon: Horizon) -> Self {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What was revoked in it before was kept for less: then it counts as raised, and for every session.
        let at = if ledger.is_empty() { NumericDate::default() } else { NumericDate::MAX };
        ledger.raise_horizon(horizon, at);
        self
    }

    // A poisoned lock is taken all the same: the ledger decides first and changes last, with nothing in between
    // that could panic.
    fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ledger> {
        self.ledger.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// No future of this store waits: each holds the lock for a few look-ups and is done at its first poll.
impl ClaimsStore for MemoryStore {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        Ok(self.read().standing(presented))
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        Some(self.read().standing(presented))
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let mut ledger = self.write();
        let displaced = ledger.displaced();
        let rotated = ledger.rotate(rotation);
        if ledger.displaced() != displaced {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        rotated
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        let mut ledger = self.write();
        ledger.revoke(revocation, &retention)?;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        Ok(self.read().sessions(subject, now, page))
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        Ok(self.write().horizon(need))
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        Some(self.write().horizon(need))
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.write().raise_horizon(to, now);
        Ok(())
    }
}

/// Counts only: claims are personal data.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.read().counts();
        f.debug_struct("MemoryStore")
            .field("sessions", &counts.sessions)
            .field("revoked_sessions", &counts.revoked_sessions)
            .field("revoked_tokens", &counts.revoked_tokens)
            .field("revoked_subjects", &counts.revoked_subjects)
            .field("bytes", &counts.bytes)
            .finish_non_exhaustive()
    }
}
