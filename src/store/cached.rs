//! Bounded staleness in front of any store.

mod memory;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::memory::{Asked, Memory};
use super::{
    ClaimsStore, Horizon, Page, Presented, Pushed, Retention, Revocation, RevocationFeed, Rotated, Rotation,
    SessionPage, Standing, StoreError, StoreErrorKind, StoreHorizon, SubjectId, Subscription,
};
use crate::time::NumericDate;
use crate::time::clamped;

/// A [`ClaimsStore`] that remembers what another said, for a bounded time: steady traffic on a live session costs no
/// round trip.
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::store::{Cached, MemoryStore};
///
/// let store = Cached::new(MemoryStore::new()).for_at_most(Duration::from_secs(2));
/// assert_eq!(format!("{store:?}"), "Cached { bound: 2s, outage: 0ns, is_fed: false, sessions: 0, .. }");
/// ```
///
/// What it costs: **a revocation made elsewhere may go unseen for that long.** One made through this value is seen at
/// once, and so is, within the network's delay, one made anywhere, where the store tells of them and
/// [`hearing_revocations`](Self::hearing_revocations) listens. The bound holds without either: it is counted in the
/// authority's seconds and on the monotonic clock, whichever says sooner, and a clock that steps back ends it.
///
/// A session that ends in favour of a newer one of its subject counts as revoked elsewhere.
///
/// Rotations, revocations and listings always go through to the store. An error is never remembered. What an
/// authority learns through this value of a token that was superseded long ago may be late by the same bound.
pub struct Cached<S> {
    inner: S,
    bound: Duration,
    outage: Duration,
    memory: Arc<Memory>,
    feed: Option<Subscription>,
}

/// How long a store is waited for while there is something to serve in its stead: most of it would be lost to the
/// request's own deadline otherwise.
const PATIENCE: Duration = Duration::from_millis(250);

impl<S: ClaimsStore> Cached<S> {
    /// In front of `inner`, with a bound of 5 s.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            bound: Duration::from_secs(5),
            outage: Duration::ZERO,
            memory: Arc::new(Memory::new(50_000)),
            feed: None,
        }
    }

    /// The bound: the longest that an answer is given again without asking. Default 5 s, ten years at most.
    ///
    /// Longer means fewer questions, and a longer life of a session that was revoked elsewhere.
    #[must_use]
    pub fn for_at_most(mut self, bound: Duration) -> Self {
        self.bound = clamped(bound);
        self
    }

    /// How long past the bound a session last known live is admitted while the store fails or does not answer
    /// within 250 ms. Default zero: an outage that outlasts the bound is a 503.
    ///
    /// Costs: a session revoked elsewhere shortly before the outage, or during it, goes on for that long. What was
    /// revoked through this value stays revoked.
    #[must_use]
    pub fn during_outage(mut self, outage: Duration) -> Self {
        self.outage = clamped(outage);
        self
    }

    /// At most about this many sessions are remembered; 50,000 by default, about 300 bytes each. Those asked about least
    /// are forgotten first, and cost a question when they come back.
    ///
    /// Give it before [`hearing_revocations`](Self::hearing_revocations): what was heard until then is dropped.
    #[must_use]
    pub fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.memory = Arc::new(Memory::new(sessions));
        self.feed = None;
        self
    }

    /// Listens to the store's revocations, so that one made elsewhere is seen as soon as it is heard. Where the channel
    /// breaks, the bound is what is left; once it is open again, everything is forgotten. Call it last.
    ///
    /// # Errors
    /// When the channel can't be opened.
    pub async fn hearing_revocations(mut self) -> Result<Self, StoreError>
    where
        S: RevocationFeed,
    {
        let memory = Arc::clone(&self.memory);
        let hear = move |pushed| match pushed {
            Pushed::Revoked(revocation) => memory.forget_revoked(&revocation),
            Pushed::Resumed => memory.forget_all(),
        };
        self.feed = Some(self.inner.subscribe(Arc::new(hear)).await?);
        Ok(self)
    }

    /// What the store said last, where it is young enough.
    fn recall(&self, presented: &Presented, at_most: Duration) -> Option<Standing> {
        self.memory.recall(presented, self.inner.epoch(), at_most)
    }

    /// What may be said in the stead of a store that fails.
    fn last_known(&self, presented: &Presented) -> Option<Standing> {
        if self.outage.is_zero() {
            return None;
        }
        self.recall(presented, self.bound.saturating_add(self.outage))
            .filter(|standing| matches!(standing, Standing::Live | Standing::Revoked))
    }
}

impl<S: ClaimsStore> ClaimsStore for Cached<S> {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        if let Some(standing) = self.recall(presented, self.bound) {
            return Ok(standing);
        }
        // Read before the store is asked: an answer overtaken by a revocation is given once and not remembered.
        let asked = Asked { at: Instant::now(), epoch: self.memory.epoch(), inner_epoch: self.inner.epoch() };
        let answer = self.inner.standing(presented);
        let answer = match self.last_known(presented) {
            None => answer.await,
            Some(_) => match tokio::time::timeout(PATIENCE, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(StoreErrorKind::Timeout.into()),
            },
        };
        match answer {
            Ok(standing) => {
                self.memory.remember(presented, standing, asked);
                Ok(standing)
            }
            // Looked up again: it may have been revoked, through this value, while the store was waited for.
            Err(error) => self.last_known(presented).ok_or(error),
        }
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        self.inner.standing_now(presented).or_else(|| self.recall(presented, self.bound))
    }

    /// The store's own: what is remembered here is bounded in time and must not be remembered again without bound.
    fn epoch(&self) -> Option<u64> {
        self.inner.epoch()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let session = rotation.presented.session;
        let rotated = self.inner.rotate(rotation).await;
        // The generations of its tokens have changed, or it was revoked elsewhere. A failure tells nothing, and what is
        // known has to last through an outage.
        if matches!(rotated, Ok(Rotated::Recorded | Rotated::Reused { .. } | Rotated::Revoked)) {
            self.memory.forget_session(&session);
        }
        rotated
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        // Forgotten however it ends: it may be recorded though it failed, or its caller went away.
        let _forget = ForgetAtEnd { memory: &self.memory, revocation };
        self.inner.revoke(revocation, retention).await
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        self.inner.sessions(subject, now, page).await
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        self.inner.horizon(need).await
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.inner.horizon_now(need)
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.inner.raise_horizon(to, now).await
    }
}

struct ForgetAtEnd<'a> {
    memory: &'a Memory,
    revocation: Revocation,
}

impl Drop for ForgetAtEnd<'_> {
    fn drop(&mut self) {
        self.memory.forget_revoked(&self.revocation);
    }
}

/// Counts only.
impl<S> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("bound", &self.bound)
            .field("outage", &self.outage)
            .field("is_fed", &self.feed.is_some())
            .field("sessions", &self.memory.sessions())
            .finish_non_exhaustive()
    }
}
