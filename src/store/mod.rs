//! Claims stores: a [`ClaimsStore`] records sessions, so that they can be revoked.
//!
//! A store makes three promises that a token alone can't make:
//!
//! * Of many parallel requests exactly one successor is recorded, and all of them get it.
//! * A revocation holds from the moment it is made.
//! * A token that was superseded long ago is noticed when it comes back.
//!
//! It keeps **claims, never tokens**. A stolen store signs nobody in, and every node can sign the recorded successor.
//!
//! * No store (the default): a successor is a pure function of its predecessor. Nothing can be revoked, and trying to
//!   is an error. Choose it if the session limit is acceptable as the worst case of a stolen token.
//! * [`MemoryStore`]: in this process, bounded, expiring. Its revocations are lost with the process.
//! * `RedisStore` (feature `redis`): Redis and Valkey, one server or a cluster, shared by any number of processes.
//!   Revocations outlive the processes, and the server if it is persistent.
//! * `SqlStore` (features `sqlite`, `postgres`): durable. SQLite for the processes of one machine, PostgreSQL for any
//!   number of nodes. It records when it was created. A session that began earlier and was not recorded is
//!   [`Standing::UnknownSession`], and is refused unless
//!   [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) is set. If you add a store to a
//!   service with signed-in users, they have to sign in once more.
//! * [`AnyStore`]: one of these, chosen at run time.
//! * [`Cached`]: in front of any of them. Steady traffic costs no round trip. A revocation made elsewhere may be
//!   unseen for a bounded time; a store with a [`RevocationFeed`] (Redis, PostgreSQL) reports it at once.
//!
//! A store holds no policy except one number, its [`Horizon`]: how long a revocation is kept, for all authorities on
//! it. Every call carries the authority's time, and every record the instant until which it matters. A store with a
//! clock of its own also uses it to date a revocation. [`conformance`] tests a store's promises, also those of a
//! store of your own.
//!
//! A store does not protect against a thief who renews a stolen token as regularly as its owner. See [the threat
//! model](crate::manual::threat_model).

// The room keeps records and answers questions about them. It verifies no token, holds no key and decides nothing: what an answer
// means is decided in `token`, whose ids, `Standing` and `Horizon` it shows. Above it, `authority` uses `ErasedStore` and `Settling`;
// the rest of what it offers is public.

mod any;
mod cached;
mod chain;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod cutoff;
mod erased;
mod error;
mod feed;
#[cfg(any(feature = "redis", feature = "sqlite", feature = "postgres"))]
mod known_horizon;
mod memory;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod settling;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod types;

use std::future::Future;
use std::sync::Arc;

pub use crate::token::horizon::{Horizon, Raise, StoreHorizon};
pub use crate::token::standing::{Rotated, Standing};
pub use any::AnyStore;
pub use cached::Cached;
pub(crate) use erased::ErasedStore;
pub use error::{StoreError, StoreErrorKind};
pub use feed::{FeedEvent, RevocationFeed, RevocationListener, Subscription};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::{DangerousRedisConnect, RedisConnect, RedisStore};
pub(crate) use settling::Settling;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{SqlStore, SqlStoreBuilder};
pub use types::{
    Page, Presented, Retention, Revocation, Rotation, SessionCursor, SessionPage, SessionRecord, SubjectLimit,
};

use crate::time::NumericDate;
pub use crate::token::identity::{ParseIdError, SessionId, SubjectId, TokenId};

/// Records sessions. One value is used by many tasks at once.
///
/// Every method's future must be cancel-safe: if it is dropped at any await point, it leaves either the old or the
/// new state, never a mixture.
pub trait ClaimsStore: Send + Sync + 'static {
    /// The standing of a token and its session.
    ///
    /// # Errors
    /// Only if the answer can't be known. An outage is not a verdict: never answer [`Standing::Revoked`] for it.
    fn standing(&self, presented: &Presented) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// The same answer if it needs no waiting, otherwise `None`.
    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        let _ = presented;
        None
    }

    /// A counter that changes with every revocation and every eviction. A [`Standing::Live`] may be remembered until
    /// it changes, and at most until the end of the second. `None`: nothing may be remembered.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// Records the successor of one token, in one atomic step.
    ///
    /// A rotation that supersedes nothing opens the session at sign-in. One [of a known
    /// session](Rotation::of_known_session) records nothing where [`standing`](Self::standing) would answer
    /// [`Standing::UnknownSession`].
    ///
    /// # Errors
    /// If it is not known whether the successor was recorded. The caller then sends none.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Revokes. After it has returned, [`standing`](Self::standing) does not answer live and [`rotate`](Self::rotate)
    /// does not record for what was revoked, until [`Retention::kept_until`] by the `now` of those calls.
    ///
    /// The store reads its clock and its horizon in the step that writes the revocation.
    ///
    /// # Errors
    /// If the revocation may not have been recorded.
    fn revoke(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A page of the subject's recorded sessions that are live at `now` and not revoked, the newest first.
    ///
    /// # Errors
    /// If they can't be read.
    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send;

    /// The store's horizon. It becomes `need` if none was set yet.
    ///
    /// It is as durable as the revocations, and is never lowered. A store that lost its records has none again: a
    /// process that knew a larger horizon than it finds writes its own back before it revokes anything.
    ///
    /// # Errors
    /// If it can't be known, or may not have been recorded.
    fn horizon(&self, need: Horizon) -> impl Future<Output = Result<StoreHorizon, StoreError>> + Send;

    /// The same answer, as it was when the store was opened, if it needs no waiting; otherwise `None`.
    ///
    /// Building an authority asks this. A store that answers `None` should note `need`, so that the first call of
    /// [`horizon`](Self::horizon) sets the largest need of all authorities that were built on it.
    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        let _ = need;
        None
    }

    /// Raises the horizon to `to` and records the instant: the store's clock or `now`, whichever is later. Does
    /// nothing if the horizon is at least `to` already. Sessions begun before that instant end at the old horizon;
    /// see [`StoreHorizon::raise`].
    ///
    /// After it has returned, every revocation by any process is kept for the new horizon.
    ///
    /// # Errors
    /// If it may not have been recorded.
    fn raise_horizon(
        &self,
        to: Horizon,
        now: NumericDate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A shared store is a store: two authorities, or an authority and its operator, may hold one.
impl<S: ClaimsStore> ClaimsStore for Arc<S> {
    fn standing(&self, presented: &Presented) -> impl Future<Output = Result<Standing, StoreError>> + Send {
        S::standing(self, presented)
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        S::standing_now(self, presented)
    }

    fn epoch(&self) -> Option<u64> {
        S::epoch(self)
    }

    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send {
        S::rotate(self, rotation)
    }

    fn revoke(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::revoke(self, revocation, retention)
    }

    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send {
        S::sessions(self, subject, now, page)
    }

    fn horizon(&self, need: Horizon) -> impl Future<Output = Result<StoreHorizon, StoreError>> + Send {
        S::horizon(self, need)
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        S::horizon_now(self, need)
    }

    fn raise_horizon(
        &self,
        to: Horizon,
        now: NumericDate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::raise_horizon(self, to, now)
    }
}
