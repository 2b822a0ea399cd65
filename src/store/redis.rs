//! [`RedisStore`]: shared, on Redis and Valkey, one server or a cluster.

mod address;
mod connect;
mod ending;
mod failure;
mod feed;
mod horizon;
mod keys;
mod link;
mod listing;
mod replicas;
mod script;
mod state;

use std::fmt;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::cmd;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::address::Servers;
pub use self::connect::{DangerousRedisConnect, RedisConnect};
use self::keys::Keys;
use self::link::Link;
use self::replicas::Replicas;
use self::script::{Call, Reply};
use self::state::{Answer as _, Field as _, Listing, SessionState, SubjectState, name};
use super::known_horizon::KnownHorizon;
use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionId, SessionPage,
    Standing, StoreError, StoreErrorKind, StoreHorizon, SubjectId, SubjectLimit, chain,
};
use crate::time::NumericDate;

/// The most questions that one call asks at the same time.
const AT_ONCE: usize = 128;

/// Attempts at what others change meanwhile, or a server loses.
const ATTEMPTS: usize = 16;

/// How long a task that restores may take, and the pause after one that failed.
const RESTORE_LIMIT: Duration = Duration::from_secs(30);
const RESTORE_PAUSE: Duration = Duration::from_secs(1);

/// A [`ClaimsStore`] in Redis or Valkey, shared by any number of processes.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_reissue::store::{Cached, RedisStore};
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::connect("redis://127.0.0.1:6379").with_prefix("orders").await?;
/// let store = Cached::new(store).for_at_most(Duration::from_secs(5)).hearing_revocations().await?;
/// # Ok(())
/// # }
/// ```
///
/// Every change of a session is one script on one key slot, so it happens completely or not at all, even if a process
/// is killed. A standing costs one round trip with two pipelined queries. A rotation costs one, and two in a cluster or
/// behind a proxy that spreads keys over servers: the subject's revocations are read, and the session listed, before the
/// session's record is written. A revocation costs one, and one more to note it at its subject. Revoking *all* sessions
/// writes to every hash tag, with 1,024 scripts. Where a revocation of a subject's or all sessions meets some that begin
/// ahead of the clock, each of them costs as much as one more. Put a [`Cached`](super::Cached) in front if there are
/// many requests.
///
/// # What the server must be
///
/// * Redis 6 or Valkey 7.2, or later; tested with Redis 7.0.15 and Valkey 8.1.8. In a cluster, sessions are spread
///   over 1,024 hash tags.
/// * `maxmemory-policy noeviction`. **An evicted revocation is an undone sign-out**, so any other policy is refused
///   at connect, if the server reports it. A full server refuses sign-ins and renewals with [`StoreErrorKind::Full`].
///   Revoking a recorded session always finds room.
/// * Persistent, if a revocation must survive a restart of the server: `appendonly yes`, and `appendfsync always` if
///   not even one second may be lost.
/// * **A primary.** A replica may not hold a revocation that was made on its primary, and gets none while it has lost it. So
///   one is refused at connect, by its role. A server that becomes a replica later answers nothing from then on: each call
///   is an error of the kind [`StoreErrorKind::Unavailable`], and connects anew, so that a name or an address that moved to
///   the new primary is followed. Not detected: a replica with `replica-read-only no`, except at connect, and a primary
///   that was replaced and was not told (it is cut off from the others, and this process is on its side). Let the
///   failover end the connections to the former primary, as Sentinel does, or move its address. A
///   [`RevocationFeed`](super::RevocationFeed) hears nothing on a replica that has lost its primary; the bound of
///   [`Cached`](super::Cached) holds there too.
/// * Replicated with care. Replication is asynchronous: **a failover forgets the revocations and rotations that its
///   replica had not received**, and nothing can detect that. [`wait_for_replicas`](RedisConnect::wait_for_replicas)
///   reports a revocation only when replicas hold it.
/// * Private. Whoever can write to the server can undo a revocation. Whoever can read it sees claims, and can't make
///   a token.
///
/// # After a loss
///
/// Each hash tag records when its records began. If that is missing (first use, a flush, a restart without
/// persistence, a failover to an empty replica), the records count as lost. Sessions that may have begun earlier
/// ([`not_begun_before`](Presented::not_begun_before): with a tolerance of 5 s, up to 16 s later by their date) are then
/// [`Standing::UnknownSession`], and are refused unless
/// [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) is set. On the **first use of an empty
/// server** this affects every session that a service without a store had begun.
///
/// # Time
///
/// The `now` of each call decides whether a session's record matters. A revocation counts until it is over by that
/// `now` and by the server's clock, and is not removed before: a process whose clock is ahead neither forgets a
/// revocation nor makes one that ends early. The server's clock also dates the beginning of the records.
///
/// Every hash tag has a copy of the store's [horizon](Horizon), so that a revocation is kept for it in the step that
/// writes. After a loss, the process that comes first restores the horizon that it knows. If that is a smaller one, the
/// first call of a process that knows a larger one raises it, on record and in every tag. Calls are answered meanwhile.
/// Revocations that were kept for the smaller one may be forgotten by then, so in each tag that has a smaller copy, the
/// sessions without a record that began before the raise are [`Standing::UnknownSession`]. Give every service the same
/// [`with_horizon`](RedisConnect::with_horizon), the largest of all, and a loss leaves nothing to raise.
///
/// A tag whose records were lost says so to every call, until a process has given it the horizon on record. A revocation
/// that meets such a tag is made at once, kept for the horizon that the process knows. It is made again once the tag is
/// restored. If that can't be done, revoking is an error: **the session is revoked, and may be so for too short a time.**
/// Revoke again until it succeeds. Revocations in other tags need no restoring.
///
/// # From version 0.1
///
/// The first process of this version that connects takes over the store. Processes of version 0.1 are refused from
/// then on: they can't read the date of the records, and answer with [`StoreErrorKind::Corrupt`], a 503. They can
/// still revoke sessions and subjects that have no record. Such a revocation holds for as long as version 0.1 keeps it,
/// which is too short for tokens that live longer than the one presented. Recorded sessions continue.
/// Revocations of version 0.1, also those kept until the year 9999, are brought under the horizon when they are read.
/// One that is never read again stays.
///
/// # Deadlines and lost connections
///
/// The authority sets the deadline of a call ([`store_deadline`](crate::AuthorityBuilder::store_deadline)). Without
/// an authority, a call to a server that does not answer fails after 5 s. A lost connection is made again as soon as
/// the server is back. So is a connection on which nothing was answered while a call waited for 250 ms and was
/// dropped. (Not in a cluster, where a silent connection lasts until the system ends it: 5 s on Linux, if nothing
/// acknowledges its bytes.)
#[derive(Clone)]
pub struct RedisStore(Arc<Shared>);

struct Shared {
    link: Link,
    replicas: Option<Replicas>,
    keys: Keys,
    servers: Servers,
    horizon: KnownHorizon,
    /// How often a call found that something was lost, and how many of these losses are made good.
    losses: AtomicU64,
    restored: AtomicU64,
    /// Held by whoever restores. After a failure, when the next task may: a silent server is not asked without end.
    restoring: Arc<Mutex<Option<Instant>>>,
}

impl RedisStore {
    /// Connects to one server: `redis://[[user]:password@]host[:port][/database]`, or `redis+unix:///path`. Await it.
    ///
    /// `rediss://` is TLS, under the feature `redis-tls`. The redis crate needs rustls's process-wide crypto
    /// provider, which the application installs at the start of `main`:
    /// `rustls::crypto::aws_lc_rs::default_provider().install_default()`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a URL that can't be read or used, a bad prefix, a refused password, or a
    /// server that evicts or is a replica. Otherwise if the server can't be reached. A port without a listener fails at once; a
    /// server that does not answer fails after 4 s.
    pub fn connect(url: impl AsRef<str>) -> RedisConnect {
        RedisConnect::new([url], false)
    }

    /// Connects to a cluster through some of its nodes. Await it.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> RedisConnect {
        RedisConnect::new(urls, true)
    }
}

/// Dropped before it is done, a future leaves the old state or the new one: what it sent is executed whole or never
/// arrives.
impl ClaimsStore for RedisStore {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        let standing = self.0.standing(presented).await;
        self.restore_apart(presented.now);
        standing
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let now = rotation.presented.now;
        let rotated = self.0.rotate(rotation).await;
        self.restore_apart(now);
        rotated
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        let revoked = self.0.revoke(revocation, retention).await;
        self.restore_apart(retention.now);
        revoked
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        let page = self.0.page(&subject, now, page).await;
        self.restore_apart(now);
        page
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        self.0.settle_horizon(need).await
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.0.horizon.get_for(need)
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.0.raise_horizon(to, now).await
    }
}

impl RedisStore {
    /// Has restored what was found lost, by at most one task at a time. No call waits for it but a revocation that needs it.
    fn restore_apart(&self, now: NumericDate) {
        if self.0.is_whole() {
            return;
        }
        let Ok(mut resume_at) = Arc::clone(&self.0.restoring).try_lock_owned() else { return };
        if resume_at.is_some_and(|instant| Instant::now() < instant) {
            return;
        }
        let store = Arc::clone(&self.0);
        tokio::spawn(async move {
            let restored = timeout(RESTORE_LIMIT, store.restore_noted(now)).await;
            // A slot that can't be reached is dated when it is asked next.
            *resume_at = (!matches!(restored, Ok(Ok(())))).then(|| Instant::now() + RESTORE_PAUSE);
        });
    }
}

impl Shared {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        let ask_session = self.ask_session(presented);
        let (session, subject) = match &presented.subject {
            Some(subject) => {
                let ask_subject = self.ask_subject(subject, presented);
                let replies = ask_session.run_both(&ask_subject, &self.link).await?;
                let [session, subject] = self.read(replies.into());
                (session, Some(SubjectState::read(subject)?))
            }
            None => (self.run(&ask_session).await?, None),
        };
        Ok(state::judge(presented, &SessionState::read(session)?, subject.as_ref()))
    }

    /// The subject is asked first: a rotation that begins after a revocation returned always sees it. One that began
    /// before it may still be recorded; the session is dead by its own standing all the same.
    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Rotation { presented, supersedes, successor, retention, .. } = rotation;
        let Presented { session, subject, session_start: start, .. } = presented;
        // A sign-in records the token itself; a renewal records another.
        if supersedes == (successor == presented.token) {
            return Err(StoreErrorKind::Misused.into());
        }
        let (listing, answer) = match &subject {
            Some(subject) => {
                let (listing, answer) = self.list_and_rotate(&rotation, subject).await?;
                if let Some(revoked_until) = listing.state.revoked_until {
                    return Ok(chain::predated(supersedes, revoked_until));
                }
                (Some(listing), answer)
            }
            None => (None, self.run(&self.ask_rotation(&rotation, None)).await?),
        };
        let [outcome, more] = answer.fields()?;
        let mut is_theirs = false;
        let rotated = match &*outcome {
            "recorded" => Rotated::Recorded,
            "superseded" => Rotated::Superseded { head: more.into() },
            "reused" => Rotated::Reused { generations: more.number()? },
            "revoked" => Rotated::Revoked,
            "cut off" => chain::predated(supersedes, more.instant()?),
            what @ ("not in chain" | "unknown session") => {
                is_theirs = subject.is_some_and(|subject| subject.to_string() == more);
                if what == "not in chain" { Rotated::NotInChain } else { Rotated::UnknownSession }
            }
            "misused" => return Err(StoreErrorKind::Misused.into()),
            _ => return Err(StoreErrorKind::Corrupt.into()),
        };
        if let (Some(subject), Some(listing)) = (subject, listing) {
            match (&rotated, retention) {
                (Rotated::Recorded, Some(retention)) => {
                    let mut forgotten = self.end_excess(subject, &listing.excess, &retention).await;
                    if listing.is_full {
                        let more = self.remember(&subject, None, &retention).await;
                        forgotten = forgotten.max(more.unwrap_or_default());
                    }
                    if let Some(instant) = forgotten.filter(|instant| start <= *instant) {
                        // Those that ended a moment ago count from the latest start that a token of theirs can have: this
                        // one may be older than they are, and begins again after them.
                        return Ok(chain::predated(supersedes, instant));
                    }
                }
                // It was listed before it could be known that there is nothing to list. A session of theirs may have been
                // recorded meanwhile, with another token.
                (
                    Rotated::Revoked
                    | Rotated::Predated { .. }
                    | Rotated::NotInChain
                    | Rotated::UnknownSession,
                    _,
                ) if listing.is_new && !is_theirs => {
                    self.unlist(&subject, session).await;
                }
                _ => {}
            }
        }
        Ok(rotated)
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        match revocation {
            Revocation::Token { session, token } => {
                self.end(session, Some(token), &retention).await.map(drop)
            }
            Revocation::Session(session) => self.end(session, None, &retention).await.map(drop),
            Revocation::SubjectBefore { subject, instant, except } => {
                self.end_all_of(&subject, instant, except, &retention).await
            }
            Revocation::AllBefore { instant } => self.end_all(instant, &retention).await,
        }
    }

    fn ask_session(&self, presented: &Presented) -> Call {
        let Presented { session, token, session_start, now, .. } = presented;
        let args = [now.to_string(), self.horizon.text(), token.to_string(), session_start.to_string()];
        Call::new(&script::STANDING, self.keys.session_slot(session), args)
    }

    fn ask_subject(&self, subject: &SubjectId, presented: &Presented) -> Call {
        let Presented { session, session_start, now, .. } = *presented;
        let args = [now.to_string(), self.horizon.text(), name(session), session_start.to_string()];
        Call::new(&script::SUBJECT, [self.keys.subject(subject), self.keys.subject_birth(subject)], args)
    }

    fn ask_rotation(&self, rotation: &Rotation, state: Option<&SubjectState>) -> Call {
        let Rotation { presented, supersedes, successor, claims, until, .. } = rotation;
        let vouched = state.is_none_or(|state| presented.not_begun_before >= state.created_at);
        let flag = |set: bool| u8::from(set).to_string();
        let args = [
            presented.now.to_string(),
            self.horizon.text(),
            presented.token.to_string(),
            successor.to_string(),
            flag(*supersedes),
            until.to_string(),
            claims.to_string(),
            presented.session_start.to_string(),
            presented.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            state.map(|state| state.incarnation.clone()).unwrap_or_default(),
            flag(vouched),
            name(presented.session),
            flag(rotation.of_known_session),
            presented.not_begun_before.to_string(),
        ];
        Call::new(&script::ROTATE, self.keys.change_slot(&presented.session), args)
    }

    /// Lists a session in its subject's slot.
    fn ask_to_list(
        &self,
        subject: &SubjectId,
        (session, start): (SessionId, NumericDate),
        now: NumericDate,
        until: NumericDate,
        limit: Option<SubjectLimit>,
    ) -> Call {
        let args =
            [now.to_string(), self.horizon.text(), name(session), start.to_string(), until.to_string()];
        let limit = limit.map(|limit| [limit.live.max(1).to_string(), limit.remembered.max(1).to_string()]);
        let args = args.into_iter().chain(limit.into_iter().flatten());
        Call::new(&script::SUBJECT, self.keys.subject_slot(subject), args)
    }

    /// Asks the subject's slot, lists the session there, and rotates it if it is not revoked: in one round trip, and in two
    /// where the slots of both may lie on two servers. What came of the rotation is empty if it is revoked.
    async fn list_and_rotate(
        &self,
        rotation: &Rotation,
        subject: &SubjectId,
    ) -> Result<(Listing, Vec<String>), StoreError> {
        let Rotation { presented, until, retention, .. } = rotation;
        let limit = retention.and_then(|retention| retention.limit);
        let place = (presented.session, presented.session_start);
        let list = self.ask_to_list(subject, place, presented.now, *until, limit);
        let both = self.ask_rotation(rotation, None).with(&list, &script::LIST_AND_ROTATE);
        if let Some(answer) = both.run_across_slots(&self.link).await? {
            let [answer] = self.read([answer]);
            return Listing::read_before(answer);
        }
        let listing = Listing::read(self.run(&list).await?)?;
        let rotated = match listing.state.revoked_until {
            Some(_) => Vec::new(),
            None => self.run(&self.ask_rotation(rotation, Some(&listing.state))).await?,
        };
        Ok((listing, rotated))
    }

    async fn unlist(&self, subject: &SubjectId, session: SessionId) {
        let mut remove = cmd("ZREM");
        remove.arg(self.keys.listed(subject)).arg(name(session));
        // What stays listed is passed over, and goes when its time is over.
        let _ = self.link.ask(&remove).await;
    }

    /// Dates the records of every hash tag that has none, from `now` or the server's time, whichever is later, and gives
    /// each the horizon, on the replicas that are waited for too where it `is_held`. Answers the latest of the servers' clocks.
    async fn record_births(&self, now: u64, horizon: &str, is_held: bool) -> Result<NumericDate, StoreError> {
        let args = || [now.to_string(), horizon.to_owned(), u8::from(is_held).to_string()];
        let calls = self.keys.births().map(|birth| Call::new(&script::BIRTH, [birth], args()));
        let calls = calls.collect::<Vec<_>>();
        let mut latest = NumericDate::default();
        for reply in self.in_slots(&calls).await? {
            let [clock] = reply.texts.fields()?;
            latest = latest.max(clock.instant()?);
        }
        if is_held {
            self.hold_all(&calls).await?;
        }
        Ok(latest)
    }

    /// Runs each call in its slot, also where others can't be reached.
    async fn in_slots(&self, calls: &[Call]) -> Result<Vec<Reply>, StoreError> {
        let mut replies = Vec::new();
        for some in calls.chunks(AT_ONCE) {
            replies.extend(join_all(some.iter().map(|call| call.run(&self.link))).await);
        }
        replies.into_iter().collect()
    }

    async fn run(&self, call: &Call) -> Result<Vec<String>, StoreError> {
        Ok(self.ask(call).await?.texts)
    }

    /// Runs a script, and notes what it finds lost.
    async fn ask(&self, call: &Call) -> Result<Reply, StoreError> {
        let reply = call.run(&self.link).await?;
        self.note_losses(slice::from_ref(&reply));
        Ok(reply)
    }

    /// Takes the answers of scripts, and notes what they found lost.
    fn read<const N: usize>(&self, replies: [Reply; N]) -> [Vec<String>; N] {
        self.note_losses(&replies);
        replies.map(|reply| reply.texts)
    }

    /// Where a slot has lost something, [`restore`](Self::restore) has something to do.
    fn note_losses(&self, replies: &[Reply]) {
        if replies.iter().any(|reply| reply.has_lost) {
            self.losses.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether every loss that was noted is made good.
    fn is_whole(&self) -> bool {
        self.restored.load(Ordering::Acquire) == self.losses.load(Ordering::Acquire)
    }
}

/// Prints the address without the URL's credentials, and no records.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("addresses", &self.0.servers.addresses()).finish_non_exhaustive()
    }
}
