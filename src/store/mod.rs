//! The claims store: the authority on sessions, pluggable through [`ClaimsStore`].
//!
//! A store makes three promises that no token can make for itself: of many parallel requests exactly one
//! successor is recorded and all are given it; a revocation holds from the moment it is made; a token that was
//! superseded long ago is noticed when it comes back. It keeps **claims, never tokens**: a leaked store signs
//! nobody in, and every node can sign the recorded successor.
//!
//! * No store (the default): one successor by derivation, a pure function of its predecessor. Nothing can be
//!   revoked, and asking it to is an error. Choose it where a stolen token's worst case, the session limit, is
//!   acceptable.
//! * [`MemoryStore`]: embedded, bounded, expiring. Its revocations die with the process.
//! * `RedisStore` (feature `redis`): Redis and Valkey, one server or a cluster, shared by any number of processes.
//!   Revocations outlive the processes, and the server where it is persistent.
//! * `SqlStore` (features `sqlite`, `postgres`): durable. On an SQLite file for the processes of one machine, on
//!   PostgreSQL for any number of nodes. It records its birth: a session begun before it, and not signed in there,
//!   is [`Standing::Unknown`], and refused unless
//!   [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) is said. Put in front of a service
//!   that has signed in users already, it asks them to sign in once more.
//! * [`AnyStore`]: one of these, chosen at run time.
//! * [`Cached`]: in front of any of them. Steady traffic costs no round trip; a revocation made elsewhere may go unseen
//!   for a bounded time, and is pushed where the store has a [`RevocationFeed`]: Redis, and PostgreSQL.
//!
//! A store holds no policy but one number, its [`Horizon`]: how long a revocation is kept, for all authorities on it. Every
//! call carries the authority's reading of the time, and a record the instant until which it matters; a store that has a
//! clock of its own adds it where a revocation is dated. [`conformance`] proves a store's promises, yours included.
//!
//! What a store does not protect against: a thief who keeps pace with the token's owner. See
//! [the threat model](crate::manual::threat_model).

mod any;
mod cached;
mod chain;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod cutoff;
mod erased;
mod error;
mod feed;
mod memory;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod settling;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod vocabulary;

use std::future::Future;
use std::sync::Arc;

pub use crate::token::horizon::{Horizon, Raise, StoreHorizon};
pub use crate::token::standing::{Rotated, Standing};
pub use any::AnyStore;
pub use cached::Cached;
pub(crate) use erased::ErasedStore;
pub use error::{StoreError, StoreErrorKind};
pub use feed::{Hear, Pushed, RevocationFeed, Subscription};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::{DangerousRedisConnect, RedisConnect, RedisStore};
pub(crate) use settling::Settling;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{SqlStore, SqlStoreBuilder};
pub use vocabulary::{
    Page, Presented, Retention, Revocation, Rotation, SessionCursor, SessionPage, SessionRecord, SubjectLimit,
};

use crate::time::NumericDate;
pub use crate::token::identity::{ParseIdError, SessionId, SubjectId, TokenId};

/// The authority on sessions. One value serves many tasks at once.
///
/// Every method's future must be cancel-safe: dropped at any await point, it leaves either the old or the new
/// state, never a mixture.
pub trait ClaimsStore: Send + Sync + 'static {
    /// What the store says of a token and its session.
    ///
    /// # Errors
    /// Only when the answer can't be known. An outage is not a verdict: never answer [`Standing::Revoked`] for it.
    fn standing(&self, presented: &Presented) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// The same answer where it needs no waiting, `None` where it does.
    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        let _ = presented;
        None
    }

    /// A counter that every revocation and every eviction moves, so that a [`Standing::Live`] may be remembered
    /// until it moves, or its second is over. `None`: nothing may be remembered.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// Records the successor of one token, in one atomic step.
    ///
    /// A rotation that supersedes nothing opens the session at sign-in.
    ///
    /// # Errors
    /// When the store can't say whether it was recorded. The caller then sends no successor.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Revokes. From its return on, no [`standing`](Self::standing) answers live and no [`rotate`](Self::rotate) records
    /// for what was revoked, until [`Retention::kept_until`] by the `now` of those calls.
    ///
    /// The clock and the horizon that the store adds are read where the revocation is written, in one step with it.
    ///
    /// # Errors
    /// When the revocation may not have been recorded: the caller must be told, never reassured.
    fn revoke(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A page of the subject's sessions that are recorded, live at `now` and not revoked, the newest first.
    ///
    /// # Errors
    /// When they can't be read.
    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send;

    /// The store's horizon, which becomes `need` where nobody has set one yet.
    ///
    /// It is as durable as the revocations are, and never lowered. A store whose records were lost has none again: a
    /// process that knew a larger one than it finds puts its own back before it revokes anything.
    ///
    /// # Errors
    /// When it can't be known, or may not have been recorded.
    fn horizon(&self, need: Horizon) -> impl Future<Output = Result<StoreHorizon, StoreError>> + Send;

    /// The same where it needs no waiting: as it was when the store was opened, or at once. `None` where it does.
    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        let _ = need;
        None
    }

    /// Raises the horizon to `to`, and records the instant: the store's clock or `now`, whichever is later. Does nothing
    /// where it is no smaller already. Sessions begun before that instant end at the old horizon; see
    /// [`StoreHorizon::raise`].
    ///
    /// From its return on, every revocation, by whichever process, is kept for the new one.
    ///
    /// # Errors
    /// When it may not have been recorded.
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
