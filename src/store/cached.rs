//! [`Cached`]: bounded staleness in front of any store.

mod answers;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::answers::{AnswerCache, Asked};
use super::{
    ClaimsStore, FeedEvent, Horizon, Page, Presented, Retention, Revocation, RevocationFeed, Rotated,
    Rotation, SessionPage, Standing, StoreError, StoreErrorKind, StoreHorizon, SubjectId, Subscription,
};
use crate::time::NumericDate;
use crate::time::clamped;

/// Remembers another store's answers for a bounded time, so that steady traffic on a live session costs no round
/// trip.
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::store::{Cached, MemoryStore};
///
/// let store = Cached::new(MemoryStore::new()).for_at_most(Duration::from_secs(2));
/// assert_eq!(format!("{store:?}"), "Cached { bound: 2s, outage: 0ns, is_fed: false, sessions: 0, .. }");
/// ```
///
/// Costs: **a revocation made elsewhere may be unseen for that long.** A revocation made through this value is seen
/// at once. With [`hearing_revocations`](Self::hearing_revocations) and a store that has a feed, one made elsewhere
/// is seen within the network's delay. The bound always holds. It is measured in the authority's time and on the
/// monotonic clock, whichever ends it earlier, and a clock that steps back ends it too.
///
/// A session that ends because its subject has too many sessions counts as revoked elsewhere.
///
/// Rotations, revocations and listings always go to the store. An error is never remembered. The report of a token
/// that was superseded long ago may be late by the same bound.
pub struct Cached<S> {
    inner: S,
    bound: Duration,
    outage: Duration,
    answers: Arc<AnswerCache>,
    feed: Option<Subscription>,
}

/// How long to wait for the store if a remembered answer can be given instead. A longer wait would use up the request's
/// own deadline.
const PATIENCE: Duration = Duration::from_millis(250);

impl<S: ClaimsStore> Cached<S> {
    /// Puts a cache with a bound of 5 s in front of `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            bound: Duration::from_secs(5),
            outage: Duration::ZERO,
            answers: Arc::new(AnswerCache::new(50_000)),
            feed: None,
        }
    }

    /// The bound: how long an answer may be used again without asking the store. Default 5 s, at most ten years.
    ///
    /// A longer bound means fewer calls to the store, and a session that was revoked elsewhere, or ended by the limit on its
    /// subject's sessions, lives longer.
    #[must_use]
    pub fn for_at_most(mut self, bound: Duration) -> Self {
        self.bound = clamped(bound);
        self
    }

    /// How long past the bound a session last known to be live is admitted while the store fails, or does not answer
    /// within 250 ms. Default zero: an outage longer than the bound is a 503.
    ///
    /// Costs: a session that was revoked elsewhere shortly before or during the outage continues for that long. What
    /// was revoked through this value stays revoked.
    #[must_use]
    pub fn during_outage(mut self, outage: Duration) -> Self {
        self.outage = clamped(outage);
        self
    }

    /// About how many sessions are remembered, at most. Default 50,000, of about 300 bytes each. The least used are
    /// forgotten first, and cost a call to the store when they come back.
    ///
    /// Set it before [`hearing_revocations`](Self::hearing_revocations): it drops what was heard before.
    #[must_use]
    pub fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.answers = Arc::new(AnswerCache::new(sessions));
        self.feed = None;
        self
    }

    /// Listens to the store's feed, so that a revocation made elsewhere is seen at once. While the channel is broken
    /// the bound still holds. When it is open again, the cache is emptied. Call this last.
    ///
    /// # Errors
    /// If the channel can't be opened.
    pub async fn hearing_revocations(mut self) -> Result<Self, StoreError>
    where
        S: RevocationFeed,
    {
        let answers = Arc::clone(&self.answers);
        let listener = move |event| match event {
            FeedEvent::Revoked(revocation) => answers.forget_revoked(&revocation),
            FeedEvent::Resumed => answers.forget_all(),
        };
        self.feed = Some(self.inner.subscribe(Arc::new(listener)).await?);
        Ok(self)
    }

    /// The store's last answer, if it is recent enough.
    fn recall(&self, presented: &Presented, at_most: Duration) -> Option<Standing> {
        self.answers.recall(presented, self.inner.epoch(), at_most)
    }

    /// The answer to give if the store fails.
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
        let asked =
            Asked { at: Instant::now(), epoch: self.answers.epoch(), inner_epoch: self.inner.epoch() };
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
                self.answers.remember(presented, standing, asked);
                Ok(standing)
            }
            // Looked up again: it may have been revoked, through this value, while the store was waited for.
            Err(error) => self.last_known(presented).ok_or(error),
        }
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        self.inner.standing_now(presented).or_else(|| self.recall(presented, self.bound))
    }

    /// The store's own counter. The answers remembered here are bounded in time, and a caller must not remember them
    /// without that bound.
    fn epoch(&self) -> Option<u64> {
        self.inner.epoch()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let session = rotation.presented.session;
        let rotated = self.inner.rotate(rotation).await;
        // The generations of its tokens have changed, or it was revoked elsewhere. A failure tells nothing, and the
        // remembered answers have to last through an outage.
        if matches!(rotated, Ok(Rotated::Recorded | Rotated::Reused { .. } | Rotated::Revoked)) {
            self.answers.forget_session(&session);
        }
        rotated
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        // Forgotten whatever the result is: a call that failed, or whose caller went away, may have been recorded.
        let _forget = ForgetAtEnd { answers: &self.answers, revocation };
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
    answers: &'a AnswerCache,
    revocation: Revocation,
}

impl Drop for ForgetAtEnd<'_> {
    fn drop(&mut self) {
        self.answers.forget_revoked(&self.revocation);
    }
}

/// Counts only.
impl<S> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("bound", &self.bound)
            .field("outage", &self.outage)
            .field("is_fed", &self.feed.is_some())
            .field("sessions", &self.answers.sessions())
            .finish_non_exhaustive()
    }
}
