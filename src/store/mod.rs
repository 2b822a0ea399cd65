//! The claims store: the authority on sessions, pluggable through [`ClaimsStore`].
//!
//! A store makes three promises that no token can make for itself: of many parallel requests exactly one
//! successor is recorded and all are given it; a revocation holds from the moment it is made; a token that was
//! superseded long ago is noticed when it comes back. It keeps **claims, never tokens**: a leaked store signs
//! nobody in, and every node can sign the recorded successor.
//!
//! * No store (the default): one successor by derivation, a pure function of its predecessor. Nothing can be
//!   revoked, and asking it to is an error. Choose it where a stolen token's worst case, the session ceiling, is
//!   acceptable.
//! * [`MemoryStore`]: embedded, bounded, expiring. Its revocations die with the process.
//! * `RedisStore` (feature `redis`): Redis and Valkey, one server or a cluster, shared by any number of processes.
//!   Revocations outlive the processes, and the server where it is persistent.
//! * `SqlStore` (features `sqlite`, `postgres`): durable. On an SQLite file for the processes of one machine, on
//!   PostgreSQL for any number of nodes. It records its birth: a session begun before it, without a record, is
//!   [`Standing::Unknown`], and refused unless
//!   [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) is said. Put in front of a service
//!   that has signed in users already, it asks them to sign in once more.
//! * [`Cached`]: in front of any of them. Steady traffic costs no round trip; a revocation made elsewhere may go unseen
//!   for a bounded time, and is pushed where the store has a [`RevocationFeed`]: Redis, and PostgreSQL.
//!
//! A store holds no clock and no policy: every call carries the authority's reading of the time and the instant
//! until which the record matters. [`conformance`] proves a store's promises, yours included.
//!
//! What a store does not protect against: a thief who keeps pace with the token's owner. See
//! [the threat model](crate::manual::threat_model).

mod cached;
mod chain;
pub mod conformance;
mod erased;
mod feed;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

pub use cached::Cached;
pub(crate) use erased::ErasedStore;
pub use feed::{Hear, Pushed, RevocationFeed, Subscription};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::{DangerousRedisConnect, RedisConnect, RedisStore};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{SqlStore, SqlStoreBuilder};

use crate::NumericDate;
pub use crate::token::identity::{SessionId, SubjectId, TokenId};

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
    /// until it moves. `None`: nothing may be remembered.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// Records the successor of one token, in one atomic step.
    ///
    /// A rotation without a predecessor opens the session at sign-in.
    ///
    /// # Errors
    /// When the store can't say whether it was recorded. The caller then sends no successor.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send;

    /// Revokes, until `until`. From its return on, no [`standing`](Self::standing) answers live and no
    /// [`rotate`](Self::rotate) records for what was revoked.
    ///
    /// # Errors
    /// When the revocation may not have been recorded: the caller must be told, never reassured.
    fn revoke(
        &self,
        revocation: Revocation,
        now: NumericDate,
        until: NumericDate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The subject's sessions that are recorded, live at `now` and not revoked; the order is unspecified.
    ///
    /// # Errors
    /// When they can't be read.
    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;
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
        now: NumericDate,
        until: NumericDate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::revoke(self, revocation, now, until)
    }

    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send {
        S::sessions(self, subject, now)
    }
}

/// What a store is asked about: a token that was just presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// The chain of tokens it belongs to.
    pub session: SessionId,
    /// The token itself.
    pub token: TokenId,
    /// Whose it is; `None` where the token names no `sub`.
    pub subject: Option<SubjectId>,
    /// When the session began.
    pub session_start: NumericDate,
    /// The authority's reading of the time.
    pub now: NumericDate,
}

impl Presented {
    /// A presented token; the authority makes these itself, the tests of a store need them too.
    pub fn new(
        session: SessionId,
        token: TokenId,
        subject: Option<SubjectId>,
        session_start: NumericDate,
        now: NumericDate,
    ) -> Self {
        Self { session, token, subject, session_start, now }
    }
}

/// What the store says of a session and of one token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing speaks against it.
    Live,
    /// Recorded as superseded this many generations ago; 2 at least. A replay, or a client that sat on it.
    Superseded {
        /// How many successors stand between it and the head, the head included.
        generations: u32,
    },
    /// The token, its session, or its subject's sessions of that age were revoked.
    Revoked,
    /// The store can't vouch for a session that began before the store's own birth: its records were lost.
    Unknown,
}

/// One token's successor, proposed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Rotation {
    /// The token presented and its session; at sign-in, the new token itself.
    pub presented: Presented,
    /// False at sign-in: nothing is superseded.
    pub supersedes: bool,
    /// The proposed successor's identity.
    pub successor: TokenId,
    /// The proposed successor's claims, as their JSON text.
    pub claims: Arc<str>,
    /// How long the record of the successor matters; the session's record lives at least as long.
    pub until: NumericDate,
}

impl Rotation {
    /// Opens a session: `presented` is the token just issued, `claims` its own.
    pub fn sign_in(presented: Presented, claims: impl Into<Arc<str>>, until: NumericDate) -> Self {
        Self { presented, supersedes: false, successor: presented.token, claims: claims.into(), until }
    }

    /// Proposes `successor`, with its `claims`, for the token presented.
    pub fn renewal(
        presented: Presented,
        successor: TokenId,
        claims: impl Into<Arc<str>>,
        until: NumericDate,
    ) -> Self {
        Self { presented, supersedes: true, successor, claims: claims.into(), until }
    }
}

/// Claims are somebody's data.
impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("presented", &self.presented)
            .field("supersedes", &self.supersedes)
            .field("successor", &self.successor)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What became of a proposed successor.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotated {
    /// The proposal is the session's head now.
    Recorded,
    /// The token had a successor already, which is the session's head: parallel requests, or a lost response.
    Superseded {
        /// The head's claims, as their JSON text.
        head: Arc<str>,
    },
    /// The token was superseded two or more generations ago.
    Reused {
        /// How many; 2 at least.
        generations: u32,
    },
    /// The token, its session or its subject's sessions of that age were revoked, or the head itself was.
    Revoked,
    /// The session has a head, and this token is not known to lead to it: merely not renewed.
    Unknown,
}

/// The head's claims are somebody's data; their length tells two heads apart well enough for a log.
impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("Recorded"),
            Self::Superseded { head } => write!(f, "Superseded({} bytes)", head.len()),
            Self::Reused { generations } => write!(f, "Reused({generations})"),
            Self::Revoked => f.write_str("Revoked"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// What is revoked.
///
/// A store that meets a kind it does not know answers with an error: a revocation is never dropped in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// One token. Where it already has a successor, its whole session: so too where its session is recorded with
    /// another head, for the store may have forgotten a token superseded long ago.
    Token {
        /// Its session.
        session: SessionId,
        /// The token.
        token: TokenId,
    },
    /// A session, with every token in it.
    Session(SessionId),
    /// Every session of the subject that began at or before the instant.
    SubjectBefore {
        /// Whose sessions.
        subject: SubjectId,
        /// The instant, compared with session starts.
        instant: NumericDate,
    },
}

/// A session as the store knows it.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// When it began.
    pub session_start: NumericDate,
    /// When its head was recorded.
    pub renewed: NumericDate,
    /// The head's claims, as their JSON text.
    pub claims: Arc<str>,
}

impl SessionRecord {
    /// A session as a store read it back.
    pub fn new(
        session: SessionId,
        session_start: NumericDate,
        renewed: NumericDate,
        claims: impl Into<Arc<str>>,
    ) -> Self {
        Self { session, session_start, renewed, claims: claims.into() }
    }
}

/// Claims are somebody's data.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("session", &self.session)
            .field("session_start", &self.session_start)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}

/// A store could not do what it was asked. The operator must act; the caller is told 503, never 401.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No answer: the backend is down, refused, or broke off.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// At capacity with records that still matter: nothing was written.
    Full,
    /// A record was found that this store did not write.
    Corrupt,
    /// The call contradicts itself, as a token that would succeed itself does: the caller's bug, nothing was written.
    Misused,
    /// There is no store: a stateless authority records nothing.
    Stateless,
    /// The backend, or the way to it, is set up so that it can't be a store. The source says what would be right.
    Misconfigured,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of this kind, with the backend's own error behind it.
    pub fn with_source(kind: StoreErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What failed.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the claims store is unavailable",
            StoreErrorKind::Timeout => "the claims store did not answer in time",
            StoreErrorKind::Full => "the claims store is at capacity with records that still matter",
            StoreErrorKind::Corrupt => "the claims store holds a record it can't read",
            StoreErrorKind::Misused => "the claims store was asked for what contradicts itself",
            StoreErrorKind::Misconfigured => "the claims store is not set up as it must be",
            StoreErrorKind::Stateless => {
                "a stateless authority records nothing; give the builder a store, MemoryStore for one process"
            }
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
