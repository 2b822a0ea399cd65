//! The durable store: SQLite for one machine, PostgreSQL for many.
//!
//! # How a call is made atomic
//!
//! A session's whole chain, and its tombstones, are in one row with a random `stamp`. A change reads the row, decides in
//! plain code, and writes with **one** statement that holds only if the stamp is still the one that was read; else it
//! reads again. So there is no transaction to leave open, no lock held across a round trip, and nothing that a dropped
//! future or a killed process could leave half done: a statement happened, or it did not.
//!
//! A rotation and a revocation of one session meet in its row, whichever the order: the later one finds another
//! stamp. A revoked subject is in another table, so a rotation's statement asks for it itself: under PostgreSQL's
//! READ COMMITTED each statement sees what was committed before it began, so a revocation that has returned is seen
//! by every rotation that is yet to write. One that is still under way may come after a rotation's statement; then the
//! rotation came first, and every later look at the successor finds it revoked.
//!
//! SQLite runs the same statements. A statement that writes, outside a transaction, takes the write lock as
//! `BEGIN IMMEDIATE` would, before it reads.

mod backend;
mod record;
mod session;
mod statements;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use self::backend::{Backend, failed, is_passing, misconfigured, on};
use self::record::{ancestor_bytes, revoked_token_bytes};
use self::session::{Found, Session};
use self::statements::{Dialect, Statements};
use super::chain::Turn;
use super::{
    ClaimsStore, Presented, Revocation, Rotated, Rotation, SessionId, SessionRecord, Standing, StoreError,
    StoreErrorKind, SubjectId,
};
use crate::keys::backend as crypto;
use crate::{Clock as _, ConfigError, NumericDate, SystemClock};

/// Every so many writes a batch of what has expired is removed: sixteen rows for each that can have been added.
const WRITES_PER_PURGE: u32 = 16;
const PURGE_BATCH: i64 = 256;

/// A row that changes under so many tries in a row is not contention any more.
const TRIES: u32 = 64;

/// A [`ClaimsStore`] in an SQL database: an SQLite file, for the processes of one machine, or PostgreSQL.
///
/// It makes its own tables, and brings those of an older release up to date, when it opens; any number of processes
/// may start at once. Sessions, heads and revocations survive a restart. Clones share one pool of connections.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_reissue::store::SqlStore;
/// use tower_reissue::{Algorithm, Authority, SigningKey};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
#[cfg_attr(feature = "sqlite", doc = "let store = SqlStore::sqlite(\"/var/lib/orders/sessions.db\").await?;")]
#[cfg_attr(
    not(feature = "sqlite"),
    doc = "let store = SqlStore::postgres(\"postgres://orders@db.internal/orders\").await?;"
)]
/// let authority = Authority::builder(SigningKey::from_pem(Algorithm::EdDSA, std::fs::read("signing.pem")?)?)
///     .issuer("https://login.example")
///     .audience("orders")
///     .ceiling(Duration::from_secs(12 * 3600))
///     .store(store)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # What it promises, and what it asks of you
///
/// * **A revocation that returned is on disk**: SQLite runs with a write-ahead log and `synchronous=FULL`. On
///   PostgreSQL it is as durable as a commit there: leave `fsync` and `synchronous_commit` on.
/// * **Every node must ask the primary.** A standby that lags answers from the past: revocations return late there.
///   A failover that loses commits loses revocations with them; replicate synchronously where that matters.
/// * **Its birth is recorded** when its tables are made. Sessions begun earlier, and not recorded, are
///   [`Standing::Unknown`]: a database that was lost and made anew does not make revoked sessions live. First use on a
///   service that has live sessions looks the same from here: they have to sign in again, unless the authority says
///   [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss). A backup put back is *not* noticed:
///   what was revoked since it was taken is live again.
/// * **Expired rows go by themselves**, a batch with every sixteenth write, behind the caller's back;
///   [`purge`](Self::purge) removes them all. A row must have expired by the database's own clock too, so that one
///   node whose clock has leapt ahead can't remove what matters to the others.
/// * It is bounded by the disk alone: rate-limit sign-ins. With the disk full, writes fail with
///   [`StoreErrorKind::Full`], and nothing that matters is removed.
/// * An SQLite file must be on a local disk: its locks don't hold on network file systems.
///
/// # Costs
///
/// A standing is one statement. A rotation is two, a read and a write; so is the revocation of a session or a token.
/// Revoking a subject is one.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    backend: Backend,
    statements: Statements,
    prefix: String,
    writes: AtomicU32,
    purging: Arc<tokio::sync::Mutex<()>>,
}

impl SqlStore {
    /// Opens an SQLite file, by path or `sqlite:` URL, and makes it where it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a database in memory or a URL that is none; otherwise what SQLite met.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path_or_url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().sqlite(path_or_url).await
    }

    /// Connects to PostgreSQL by its URL, `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a URL that is none and a database whose encoding is not UTF-8; otherwise what
    /// PostgreSQL met.
    #[cfg(feature = "postgres")]
    pub async fn postgres(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().postgres(url).await
    }

    /// The options, each with its default.
    pub fn builder() -> SqlStoreBuilder {
        SqlStoreBuilder { prefix: "reissue_".to_owned(), connections: None, wait: Duration::from_secs(5) }
    }

    /// Removes every session and tombstone that expired at or before `now`, in bounded batches, and says how many.
    /// What expired by `now` and not yet by the database's own clock stays.
    ///
    /// # Errors
    /// Where the database failed; batches removed until then are removed.
    pub async fn purge(&self, now: NumericDate) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            match self.0.purge_batch(now).await.map_err(failed)? {
                0 => return Ok(removed),
                batch => removed += batch,
            }
        }
    }

    /// Closes the connections, once the calls in progress are done; SQLite then folds its log into the file. Calls
    /// after it fail.
    pub async fn close(&self) {
        self.0.backend.close().await;
    }

    async fn open(
        (backend, dialect): (Backend, &'static Dialect),
        builder: SqlStoreBuilder,
    ) -> Result<Self, StoreError> {
        let prefix = builder.prefix;
        let statements = Statements::new(dialect, &prefix);
        let born = SystemClock.now();
        let begun = Instant::now();
        while let Err(error) = backend.migrate(&statements, &prefix, secs(born)).await {
            // Two processes that turn one new file to write-ahead logging meet in a lock that SQLite does not wait for.
            if error.kind() != StoreErrorKind::Timeout || begun.elapsed() >= builder.wait {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (writes, purging) = (AtomicU32::new(0), Arc::default());
        Ok(Self(Arc::new(Inner { backend, statements, prefix, writes, purging })))
    }

    /// Reads the session, lets `decide` change it, and writes it if it is still as it was read; else again.
    ///
    /// `heeds`: the write is off if this was revoked meanwhile as its subject's.
    async fn change<T: Clone>(
        &self,
        session: SessionId,
        heeds: Option<Presented>,
        now: NumericDate,
        mut decide: impl FnMut(&mut Found) -> Result<Step<T>, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let inner = &*self.0;
        let subject = heeds.and_then(|presented| presented.subject);
        let mut tries = Tries::new(inner.backend.connections().1);
        // Written by us, but the answer was lost with the connection.
        let mut maybe_written: Option<(i64, T)> = None;
        loop {
            let mut found = match inner.find(&inner.statements.find, session, subject).await {
                Ok(found) => found,
                Err(error) => {
                    tries.failed(error)?;
                    continue;
                }
            };
            match maybe_written.take() {
                Some((stamp, outcome)) if found.stamp == Some(stamp) => return Ok(outcome),
                _ => {}
            }
            let outcome = match decide(&mut found)? {
                Step::Done(outcome) => return Ok(outcome),
                Step::Save(outcome) => outcome,
            };
            // Random, so that a row that was removed and made anew never passes for the one that was read.
            let stamp = crypto::random::<8>().map(i64::from_be_bytes).map_err(|_| {
                StoreError::with_source(
                    StoreErrorKind::Unavailable,
                    "the system's source of randomness failed",
                )
            })?;
            match inner.save(session, &found, heeds, stamp).await {
                Ok(true) => {
                    self.purge_at_times(now);
                    return Ok(outcome);
                }
                Ok(false) => tries.lost()?,
                Err(error) => {
                    tries.failed(error)?;
                    maybe_written = Some((stamp, outcome));
                }
            }
        }
    }

    fn purge_at_times(&self, now: NumericDate) {
        let inner = Arc::clone(&self.0);
        let writes = inner.writes.fetch_add(1, Ordering::Relaxed);
        if !writes.is_multiple_of(WRITES_PER_PURGE) {
            return;
        }
        let Ok(purging) = Arc::clone(&inner.purging).try_lock_owned() else { return };
        // Beside the call: what was asked is done, and must be neither delayed nor reported as failed by this.
        tokio::spawn(async move {
            // A failure shows in the next call that matters.
            let _ = inner.purge_batch(now).await;
            drop(purging);
        });
    }
}

/// What `decide` made of a session.
enum Step<T> {
    Done(T),
    Save(T),
}

impl Inner {
    async fn find(
        &self,
        statement: &str,
        session: SessionId,
        subject: Option<SubjectId>,
    ) -> Result<Found, sqlx::Error> {
        let subject = subject.as_ref().map(|subject| &subject.as_bytes()[..]);
        on!(&self.backend, read, connection => sqlx::query_as(statement)
            .bind(&session.as_bytes()[..])
            .bind(subject)
            .fetch_one(connection)
            .await)
    }

    /// False where the row is not the one that was found any more, or the subject was revoked.
    async fn save(
        &self,
        session: SessionId,
        found: &Found,
        heeds: Option<Presented>,
        stamp: i64,
    ) -> Result<bool, sqlx::Error> {
        let Session { chain, revoked_until, revoked_tokens } = &found.session;
        let chain = chain.as_ref();
        let subject = chain.and_then(|chain| chain.subject.as_ref()).map(|subject| &subject.as_bytes()[..]);
        let head = chain.map(|chain| &chain.head.as_bytes()[..]);
        let generation = chain.map(|chain| i64::try_from(chain.generation).unwrap_or(i64::MAX));
        let ancestors = chain.map(|chain| ancestor_bytes(&chain.ancestors));
        let heeded = heeds.as_ref().and_then(|heeds| heeds.subject.as_ref()).map(|s| &s.as_bytes()[..]);
        let (now, start) = heeds.map_or((0, 0), |heeds| (secs(heeds.now), secs(heeds.session_start)));
        on!(&self.backend, write, connection => sqlx::query(&self.statements.save)
            .bind(&session.as_bytes()[..])
            .bind(subject)
            .bind(chain.map(|chain| secs(chain.session_start)))
            .bind(head)
            .bind(chain.map(|chain| secs(chain.head_until)))
            .bind(generation)
            .bind(chain.map(|chain| secs(chain.until)))
            .bind(chain.map(|chain| secs(chain.renewed)))
            .bind(ancestors)
            .bind(chain.map(|chain| &*chain.claims))
            .bind(secs(*revoked_until))
            .bind(revoked_token_bytes(revoked_tokens))
            .bind(secs(found.session.expires()))
            .bind(stamp)
            .bind(heeded)
            .bind(now)
            .bind(start)
            .bind(found.stamp)
            .execute(connection)
            .await
            .map(|done| done.rows_affected() > 0))
    }

    async fn revoke_subject(
        &self,
        subject: SubjectId,
        instant: NumericDate,
        now: NumericDate,
        until: NumericDate,
    ) -> Result<(), sqlx::Error> {
        on!(&self.backend, write, connection => sqlx::query(&self.statements.revoke_subject)
            .bind(&subject.as_bytes()[..])
            .bind(secs(instant))
            .bind(secs(until))
            .bind(secs(now))
            .execute(connection)
            .await
            .map(drop))
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
    ) -> Result<Vec<SessionRecord>, sqlx::Error> {
        on!(&self.backend, read, connection => sqlx::query_as(&self.statements.sessions)
            .bind(&subject.as_bytes()[..])
            .bind(secs(now))
            .fetch_all(connection)
            .await)
    }

    async fn purge_batch(&self, now: NumericDate) -> Result<u64, sqlx::Error> {
        let mut removed = 0;
        for statement in &self.statements.purges {
            removed += on!(&self.backend, write, connection => sqlx::query(statement)
                .bind(secs(now))
                .bind(PURGE_BATCH)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(removed)
    }
}

impl ClaimsStore for SqlStore {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        let inner = &*self.0;
        let mut tries = Tries::new(inner.backend.connections().1);
        loop {
            let statement = &inner.statements.find_without_claims;
            match inner.find(statement, presented.session, presented.subject).await {
                Ok(found) => return Ok(found.standing(presented)),
                Err(error) => tries.failed(error)?,
            }
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let presented = rotation.presented;
        self.change(presented.session, Some(presented), presented.now, |found| {
            match found.judge(&rotation)? {
                Turn::Told(rotated) => return Ok(Step::Done(rotated)),
                Turn::Open => found.session.begin(rotation.clone()),
                Turn::Advance => found.session.advance(rotation.clone()),
            }
            Ok(Step::Save(Rotated::Recorded))
        })
        .await
    }

    async fn revoke(
        &self,
        revocation: Revocation,
        now: NumericDate,
        until: NumericDate,
    ) -> Result<(), StoreError> {
        let step = |changed| if changed { Step::Save(()) } else { Step::Done(()) };
        match revocation {
            Revocation::Session(session) => {
                self.change(session, None, now, |found| Ok(step(found.session.revoke(now, until)))).await
            }
            Revocation::Token { session, token } => {
                self.change(session, None, now, |found| {
                    found.session.revoke_token(token, now, until).map(step)
                })
                .await
            }
            Revocation::SubjectBefore { .. } if until <= now => Ok(()),
            Revocation::SubjectBefore { subject, instant } => {
                let mut tries = Tries::new(self.0.backend.connections().1);
                // Done twice, it is done.
                while let Err(error) = self.0.revoke_subject(subject, instant, now, until).await {
                    tries.failed(error)?;
                }
                self.purge_at_times(now);
                Ok(())
            }
        }
    }

    async fn sessions(&self, subject: SubjectId, now: NumericDate) -> Result<Vec<SessionRecord>, StoreError> {
        let mut tries = Tries::new(self.0.backend.connections().1);
        loop {
            match self.0.sessions(subject, now).await {
                Ok(sessions) => return Ok(sessions),
                Err(error) => tries.failed(error)?,
            }
        }
    }
}

/// No URL, no host, no user: connection settings hold credentials.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("backend", &self.0.backend.name())
            .field("table_prefix", &self.0.prefix)
            .field("connections", &self.0.backend.connections().0)
            .finish_non_exhaustive()
    }
}

/// Opens an [`SqlStore`]; made by [`SqlStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder opens nothing until `sqlite` or `postgres`"]
pub struct SqlStoreBuilder {
    prefix: String,
    connections: Option<u32>,
    wait: Duration,
}

impl SqlStoreBuilder {
    /// What the names of its tables begin with. Default `reissue_`. A lower-case letter, then lower-case letters, digits
    /// and underscores, 32 at most. Two services that share a database, and no sessions, want one each.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The most connections at once. Default 10 for PostgreSQL; for SQLite 4 that read, beside the one that writes.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.connections = Some(connections);
        self
    }

    /// How long a statement waits for a free connection, and for another process's lock on an SQLite file. Default 5 s.
    /// An authority has given up by then: its own
    /// [`store_deadline`](crate::AuthorityBuilder::store_deadline) is 1 s unless it says otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Opens an SQLite file; see [`SqlStore::sqlite`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(self, path_or_url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let backend = Backend::sqlite(path_or_url.as_ref(), self.connections.unwrap_or(4), self.wait).await?;
        SqlStore::open(backend, self).await
    }

    /// Connects to PostgreSQL; see [`SqlStore::postgres`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "postgres")]
    pub async fn postgres(self, url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let backend = Backend::postgres(url.as_ref(), self.connections.unwrap_or(10), self.wait)?;
        SqlStore::open(backend, self).await
    }

    /// Uses a pool of your own making, for settings that a URL can't say. Two of this store's own differ from sqlx's
    /// defaults: `test_before_acquire(false)` saves a round trip per call, and the store repeats what met a dead
    /// connection; `acquire_timeout` is [`wait`](Self::wait), which does not change yours.
    ///
    /// # Errors
    /// As [`postgres`](Self::postgres).
    #[cfg(feature = "postgres")]
    pub async fn postgres_pool(self, pool: sqlx::PgPool) -> Result<SqlStore, StoreError> {
        self.check()?;
        SqlStore::open((Backend::Postgres(pool), &statements::POSTGRES), self).await
    }

    fn check(&self) -> Result<(), StoreError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !self.prefix.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.prefix.chars().all(plain)
            || self.prefix.len() > 32
        {
            return Err(misconfigured(ConfigError::new(format!(
                "the table prefix {:?}: a lower-case letter, then lower-case letters, digits and underscores, 32 at \
                 most, are right",
                self.prefix
            ))));
        }
        if self.connections == Some(0) {
            return Err(misconfigured(ConfigError::new("0 connections: at least one is right")));
        }
        if self.wait.is_zero() {
            return Err(misconfigured(ConfigError::new("a wait of 0: a statement needs some time")));
        }
        Ok(())
    }
}

/// How often a call may yet be tried again.
struct Tries {
    lost: u32,
    broken: u32,
}

impl Tries {
    /// Every connection of the pool may have died with the server.
    fn new(connections: u32) -> Self {
        Self { lost: TRIES, broken: connections + 1 }
    }

    fn lost(&mut self) -> Result<(), StoreError> {
        self.lost = self.lost.checked_sub(1).ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                "the row changed under every try to write it",
            )
        })?;
        Ok(())
    }

    fn failed(&mut self, error: sqlx::Error) -> Result<(), StoreError> {
        match self.broken.checked_sub(1) {
            Some(left) if is_passing(&error) => {
                self.broken = left;
                Ok(())
            }
            _ => Err(failed(error)),
        }
    }
}

/// Every instant fits: none is past the year 9999.
fn secs(date: NumericDate) -> i64 {
    i64::try_from(date.as_secs()).unwrap_or(i64::MAX)
}
