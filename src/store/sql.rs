//! The durable store: SQLite for one machine, PostgreSQL for many.
//!
//! # How a call is made atomic
//!
//! A session's whole chain, and its tombstones, are in one row with a random `stamp`. A change reads the row, decides in
//! plain code, and writes with **one** statement that holds only if the stamp is still the one that was read; else it
//! reads again. So there is no transaction to leave open, no lock held across a round trip, and nothing that a dropped
//! future or a killed process could leave half done: a statement happened, or it did not.
//!
//! On PostgreSQL the usual rotation, from the head of a live session, is one statement that reads and writes. What it does
//! not write is decided in the code.
//!
//! A rotation and a revocation of one session meet in its row, whichever the order: the later one finds another
//! stamp. The instant up to which a subject's sessions are revoked, or everybody's, is in another table, with stamps of
//! its own, and a rotation's statement compares those too: under PostgreSQL's READ COMMITTED each statement sees what
//! was committed before it began, so a revocation that has returned is seen by every rotation that is yet to write. One
//! that is still under way may come after a rotation's statement; then the rotation came first, and every later look at
//! the successor finds it revoked.
//!
//! How long a revocation is kept follows from the server's clock and the store's horizon. It is read with the rest, and
//! the statement that writes holds only if the horizon is still that one, and the clock not much later.
//!
//! SQLite runs the same statements. A statement that writes, outside a transaction, takes the write lock as
//! `BEGIN IMMEDIATE` would, before it reads.

mod backend;
mod builder;
mod change;
mod crowd;
mod failure;
#[cfg(feature = "postgres")]
mod feed;
#[cfg(feature = "sqlite")]
mod file;
mod horizon;
mod notification;
#[cfg(feature = "postgres")]
mod pooler;
mod proof;
mod purge;
mod record;
mod schema;
mod session;
mod statements;
#[cfg(all(test, feature = "sqlite"))]
mod tests;
mod tries;

use std::fmt;
use std::sync::Arc;

use self::backend::{Backend, on};
pub use self::builder::SqlStoreBuilder;
use self::change::{Cause, Step};
use self::crowd::Opened;
use self::proof::Identity;
use self::purge::Purge;
use self::record::{BegunAfter, Listed};
use self::statements::Statements;
use super::chain::RotationOutcome;
use super::cutoff::Cutoff;
use super::known_horizon::KnownHorizon;
use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionCursor,
    SessionId, SessionPage, SessionRecord, Standing, StoreError, StoreHorizon, SubjectId,
};
use crate::time::NumericDate;

/// A [`ClaimsStore`] in an SQL database: an SQLite file, for the processes of one machine, or PostgreSQL.
///
/// It creates its tables when it opens, and updates those of an older release. Several processes may start at once.
/// Sessions, heads and revocations survive a restart. Clones share one connection pool.
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
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .store(store)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # What it promises, and what it needs
///
/// * **A revocation that returned is on disk.** SQLite runs with a write-ahead log and `synchronous=FULL`. On
///   PostgreSQL it is as durable as a commit: leave `fsync` and `synchronous_commit` on.
/// * **Every node must ask the primary.** A read-only server is refused when the store opens, because a standby that
///   lags answers from the past. Where a switchover leaves one at the address later, each call is an outage until the
///   primary is back there, and the connections to it are closed. A failover that loses commits loses revocations too;
///   replicate synchronously if that matters.
/// * **Each connection needs a server session.** A pooler that shares sessions, such as PgBouncer in transaction or
///   statement mode, is refused when the store opens. Session mode works, and so does a plain TCP proxy. If such a
///   pooler is put in front later, answers to other applications' statements are errors, never verdicts: each answer
///   names the store and the question.
/// * **It records when its tables were created,** by the later of the server's clock and that of the process that created
///   them, and a second on. Sessions that may have begun earlier ([`not_begun_before`](Presented::not_begun_before): with a
///   tolerance of 5 s, up to 16 s later by their date) and were not signed in here are
///   [`Standing::UnknownSession`], however often they are renewed, so that a database that was lost and created again does
///   not make revoked sessions live. First use on a service with live sessions looks the same: their users have to
///   sign in again, unless [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) is set. A
///   restored backup is *not* detected: what was revoked after the backup is live again. Where the backup has a smaller
///   horizon than a running process knows, that process's next call puts it back, and the records count from then on.
///   Give every service on a database the same [`horizon`](SqlStoreBuilder::horizon), the largest of all: a process that is
///   started meanwhile with a larger one than the backup's raises it before the running ones notice.
/// * **Expired rows are removed** in batches, with every sixteenth write, after the caller got its answer;
///   [`purge`](Self::purge) removes all of them. A row is removed only if it has expired by the caller's clock and by
///   the database's, so a node whose clock is far ahead can't remove what matters to others.
/// * **A revocation is kept** for the store's [horizon](Horizon) and a margin, counted from the latest of the
///   revoker's clock, the server's clock and the session's start. The horizon is in the database. The first authority
///   sets it, or [`SqlStoreBuilder::horizon`], and a raise applies to all processes at once. Records from before
///   there was a horizon, which would be kept for ever, get an end with later writes.
/// * **The tables of an older release are updated** when a newer one opens them. Processes of the older release then
///   fail as in an outage, because they would not keep records that they do not know: replace them at once. They
///   can't open the tables again.
/// * **Its size is bounded** only by the disk and by the authority's [limit on one subject's
///   sessions](crate::AuthorityBuilder::max_sessions_per_subject): rate-limit sign-ins. If the disk is full, writes
///   fail with [`Full`](super::StoreErrorKind::Full), and nothing that matters is removed. A PostgreSQL server
///   without room for its write-ahead log stops: an outage, in which nothing acknowledged is lost.
/// * **An SQLite file must be on a local disk,** because its locks do not work on network file systems.
/// * **An SQLite file must stay where it is while it is open.** If it is replaced or removed (a restored backup, `mv`),
///   open connections stay with the old file, and new ones would open the new one. On Unix each call then fails with
///   [`Unavailable`](super::StoreErrorKind::Unavailable), until the process is restarted. On other systems this is not
///   detected, and on none is a file that is overwritten in place, as `cp` does. To restore a backup, stop all processes
///   that use the file: see [the manual](crate::manual::operating).
///
/// # Costs
///
/// A standing is one statement. A rotation is two, a read and a write, and so is a revocation. One of a subject's or all
/// sessions up to now is a third, and two more for each session that begins ahead of the clock. A sign-in under a
/// limit on its subject's sessions is a third, and two more for each session that it ends. On PostgreSQL each is one
/// round trip. The pool's ping of a returned connection is another, after the caller got its answer. Put a
/// [`Cached`](super::Cached) in front if there are many requests.
///
/// # Notifications
///
/// On PostgreSQL, [`hearing_revocations`](super::Cached::hearing_revocations) listens for notifications (LISTEN and
/// NOTIFY, on a connection of its own). The statement that records a revocation also notifies, with ids only, so
/// listeners hear of it when it is committed. Commits that notify are serialised on the whole server; here only
/// revocations are. While the channel is broken, only the bound of `Cached` applies, as with any store. The same is
/// true while the server's notification queue is full (8 GB, or `max_notify_queue_pages`; one stalled listener of any
/// application can fill it): a revocation is then recorded, in two statements, without a notification.
///
/// SQLite has no notifications: listening is [`Misconfigured`](super::StoreErrorKind::Misconfigured), and without the
/// feature `postgres` it does not compile. A revocation by another process is seen by the next standing, or at the
/// bound of a `Cached`.
///
/// # Lost connections
///
/// A firewall can forget connections without telling either side. When a call is dropped, for example at the
/// authority's deadline, its connection and the idle ones of the pool are pinged, and each that does not answer
/// within 250 ms is closed. A connection that is returned after an answer is pinged too, and closed if it does not
/// answer within 1 s. So a call that meets a forgotten connection is an outage, and the calls after it use new
/// connections.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    backend: Backend,
    statements: Statements,
    identity: Identity,
    known: KnownHorizon,
    purge: Purge,
}

impl SqlStore {
    /// Opens an SQLite file, by path or `sqlite:` URL. A missing file is created, readable by its owner only.
    ///
    /// # Errors
    /// [`Misconfigured`](super::StoreErrorKind::Misconfigured) for a database in memory or an invalid URL; otherwise
    /// SQLite's error.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path_or_url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().sqlite(path_or_url).await
    }

    /// Connects to PostgreSQL by its URL, `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// [`Misconfigured`](super::StoreErrorKind::Misconfigured) for an invalid URL, a user or password that the server
    /// refuses, a read-only server, a pooler that shares sessions, and a database whose encoding is not UTF-8;
    /// otherwise PostgreSQL's error. A port without a listener fails at once, with the address.
    #[cfg(feature = "postgres")]
    pub async fn postgres(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::builder().postgres(url).await
    }

    /// The options, each with its default.
    pub fn builder() -> SqlStoreBuilder {
        SqlStoreBuilder::new()
    }

    /// Closes the connections once the calls in progress are done. SQLite then merges its log into the file. Later
    /// calls fail.
    pub async fn close(&self) {
        self.0.backend.close().await;
    }
}

impl ClaimsStore for SqlStore {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        let inner = &*self.0;
        let find = &inner.statements.find_without_claims;
        let ask = || inner.persist(|| inner.find(find, Some(presented.session), presented.subject));
        let mut found = ask().await?;
        if inner.lost_horizon(found.horizon).is_some() {
            self.restore_horizon(presented.now).await?;
            found = ask().await?;
        }
        Ok(found.standing(presented))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let advanced = Some((Rotated::Recorded, None));
        let (rotated, opened) = self
            .change(Cause::Rotation(&rotation), advanced, |found, stamp| {
                if rotation.of_known_session
                    && found.standing(&rotation.presented) == Standing::UnknownSession
                {
                    return Ok(Step::Done((Rotated::UnknownSession, None)));
                }
                let opened = match found.judge(&rotation)? {
                    RotationOutcome::Answered(rotated) => return Ok(Step::Done((rotated, None))),
                    RotationOutcome::Open => {
                        found.begin(rotation.clone());
                        Some(Opened { new: found.stamp.is_none().then_some(stamp) })
                    }
                    RotationOutcome::Advance => {
                        found.advance(rotation.clone());
                        None
                    }
                };
                Ok(Step::Save((Rotated::Recorded, opened)))
            })
            .await?;
        match opened {
            Some(opened) => self.make_way(&rotation, opened).await,
            None => Ok(rotated),
        }
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        // Listed before the revocation is recorded, so that sessions that sign in afterwards are not ended.
        let later = match revocation.ends_all_on_record(&retention) {
            true => self.0.persist(|| self.0.begun_after(revocation, retention.now)).await?,
            false => Vec::new(),
        };
        if let Some(subject) = self.end(revocation, &retention).await? {
            // It is recorded; a limit that can't be kept now is kept with the next.
            let _ = self.make_room(subject, &retention).await;
        }
        for SessionCursor { session, session_start } in later {
            let retention = Retention { limit: None, ..retention.of(None, session_start) };
            self.end(Revocation::Session(session), &retention).await?;
        }
        Ok(())
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        let mut sessions = self.0.persist(|| self.0.sessions(subject, now, page)).await?;
        let more = sessions.len() > page.limit;
        sessions.truncate(page.limit);
        let next = sessions.last().filter(|_| more).map(SessionRecord::cursor);
        Ok(SessionPage::new(sessions, next))
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        self.settle_horizon(need).await
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.0.known.get_for(need)
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.raise_horizon_to(to, now).await.map(drop)
    }
}

impl SqlStore {
    /// Records a revocation. If that made the first record of a session, returns the session's subject, whose limit may
    /// be exceeded by it.
    async fn end(
        &self,
        revocation: Revocation,
        retention: &Retention,
    ) -> Result<Option<SubjectId>, StoreError> {
        self.change(Cause::Revocation(revocation, retention), None, |found, _| {
            let (clock, kept) = (found.clock, found.kept_until(retention));
            let has_changed = match found.dated(revocation, retention) {
                Revocation::Session(_) => found.session.revoke(retention, clock, kept),
                Revocation::Token { token, .. } => found.session.revoke_token(token, retention, clock, kept),
                Revocation::SubjectBefore { instant, except, .. } => {
                    found.cut_off_subject(Cutoff::new(instant, except, kept), retention.now);
                    return Ok(Step::Save(None));
                }
                Revocation::AllBefore { instant } => {
                    found.cut_off_everybody(Cutoff::new(instant, None, kept), retention.now);
                    return Ok(Step::Save(None));
                }
            };
            let new = found.session.subject().filter(|_| found.stamp.is_none());
            Ok(if has_changed { Step::Save(new) } else { Step::Done(None) })
        })
        .await
    }
}

/// No URL, no host, no user: connection settings hold credentials.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("backend", &self.0.backend.name())
            .field("table_prefix", &self.0.statements.prefix)
            .field("connections", &self.0.backend.connections().0)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// The sessions on record that a revocation up to now means and that begin after it.
    async fn begun_after(
        &self,
        revocation: Revocation,
        now: NumericDate,
    ) -> Result<Vec<SessionCursor>, sqlx::Error> {
        let (instant, subject, except) = match revocation {
            Revocation::SubjectBefore { subject, instant, except } => (instant, Some(subject), except),
            Revocation::AllBefore { instant } => (instant, None, None),
            Revocation::Token { .. } | Revocation::Session(_) => return Ok(Vec::new()),
        };
        let statement = &self.statements.begun_after;
        let question = self.identity.ask(statement);
        let found: Vec<BegunAfter> = on!(&self.backend, read, connection => question.rows(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(secs(instant))
                .bind(i64::try_from(instant.since(now)).unwrap_or(i64::MAX))
                .bind(secs(now))
                .bind(subject.as_ref().map(|subject| &subject.as_bytes()[..]))
                .bind(except.as_ref().map(|session| &session.as_bytes()[..]))
                .fetch_all(connection)
                .await,
        ))?;
        Ok(found.into_iter().filter_map(|row| row.0).collect())
    }

    /// One more than a page holds, where there are more.
    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<Vec<SessionRecord>, sqlx::Error> {
        let after = page.after.unwrap_or(SessionCursor {
            session_start: NumericDate::MAX,
            session: SessionId::from_bytes([0xff; 32]),
        });
        let statement = &self.statements.sessions;
        let question = self.identity.ask(statement);
        let listed: Vec<Listed> = on!(&self.backend, read, connection => question.rows(
            sqlx::query(&statement.sql)
                .bind(question.store)
                .bind(&*question.number)
                .bind(&subject.as_bytes()[..])
                .bind(secs(now))
                .bind(secs(after.session_start))
                .bind(&after.session.as_bytes()[..])
                .bind(i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1))
                .fetch_all(connection)
                .await,
        ))?;
        Ok(listed.into_iter().filter_map(|Listed(record)| record).collect())
    }
}

fn random() -> Result<u64, sqlx::Error> {
    let random = crate::crypto::random::<8>().map(u64::from_be_bytes);
    random.map_err(|_| std::io::Error::other("the system's source of randomness failed").into())
}

/// Every instant fits: none is past the year 9999.
fn secs(date: NumericDate) -> i64 {
    i64::try_from(date.as_secs()).unwrap_or(i64::MAX)
}
