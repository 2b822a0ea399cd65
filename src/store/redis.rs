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

use futures_util::future::join_all;
use redis::cmd;
use tokio::sync::Mutex;

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
/// persistence, a failover to an empty replica), the records count as lost. Sessions that began earlier are then
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
/// writes. After a loss, the process that comes first restores the horizon that it knows. If that is the smaller one, the
/// first call of a process that knows a larger one raises it, on record and in every tag.
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
    restoring: Mutex<()>,
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
        let ask_session = self.0.ask_session(presented);
        let (session, subject) = match &presented.subject {
            Some(subject) => {
                let ask_subject = self.0.ask_subject(subject, presented);
                let replies = ask_session.run_both(&ask_subject, &self.0.link).await?;
                let [session, subject] = self.0.read(replies.into(), presented.now).await;
                (session, Some(SubjectState::read(subject)?))
            }
            None => (self.0.run(&ask_session, presented.now).await?, None),
        };
        Ok(state::judge(presented, &SessionState::read(session)?, subject.as_ref()))
    }

    /// The subject is asked first: a rotation that begins after a revocation returned always sees it. One that began
    /// before it may still be recorded; the session is dead by its own standing all the same.
    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Rotation { presented, supersedes, successor, retention, .. } = rotation;
        let Presented { session, subject, session_start: start, now, .. } = presented;
        // A sign-in records the token itself; a renewal records another.
        if supersedes == (successor == presented.token) {
            return Err(StoreErrorKind::Misused.into());
        }
        let (listing, answer) = match &subject {
            Some(subject) => {
                let (listing, answer) = self.0.list_and_rotate(&rotation, subject).await?;
                if let Some(revoked_until) = listing.state.revoked_until {
                    return Ok(chain::predated(supersedes, revoked_until));
                }
                (Some(listing), answer)
            }
            None => (None, self.0.run(&self.0.ask_rotation(&rotation, None), now).await?),
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
                    let mut forgotten = self.0.end_excess(subject, &listing.excess, &retention).await;
                    if listing.is_full {
                        let more = self.0.remember(&subject, None, &retention).await;
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
                    self.0.unlist(&subject, session).await;
                }
                _ => {}
            }
        }
        Ok(rotated)
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        let store = &*self.0;
        match revocation {
            Revocation::Token { session, token } => {
                store.end(session, Some(token), &retention).await.map(drop)
            }
            Revocation::Session(session) => store.end(session, None, &retention).await.map(drop),
            Revocation::SubjectBefore { subject, instant, except } => {
                store.end_all_of(&subject, instant, except, &retention).await
            }
            Revocation::AllBefore { instant } => store.end_all(instant, &retention).await,
        }
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        self.0.page(&subject, now, page).await
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

impl Shared {
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
        let vouched = state.is_none_or(|state| presented.session_start >= state.created_at);
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
            let [answer] = self.read([answer], presented.now).await;
            return Listing::read_before(answer);
        }
        let listing = Listing::read(self.run(&list, presented.now).await?)?;
        let rotated = match listing.state.revoked_until {
            Some(_) => Vec::new(),
            None => self.run(&self.ask_rotation(rotation, Some(&listing.state)), presented.now).await?,
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
        for some in calls.chunks(AT_ONCE) {
            let recorded = some.iter().map(async |call| {
                let clock = call.run(&self.link).await?;
                if is_held && self.servers.is_cluster {
                    self.hold(call).await?;
                }
                Ok::<_, StoreError>(clock)
            });
            for answer in join_all(recorded).await {
                let [clock] = answer?.texts.fields()?;
                latest = latest.max(clock.instant()?);
            }
        }
        // On one server, replicas that have the last one have them all.
        if let (Some(last), true, false) = (calls.last(), is_held, self.servers.is_cluster) {
            self.hold(last).await?;
        }
        Ok(latest)
    }

    /// Runs a script, and restores what it finds lost.
    async fn run(&self, call: &Call, now: NumericDate) -> Result<Vec<String>, StoreError> {
        let [answer] = self.read([call.run(&self.link).await?], now).await;
        Ok(answer)
    }

    /// Runs a script, and notes what it finds lost.
    async fn ask(&self, call: &Call) -> Result<Reply, StoreError> {
        let reply = call.run(&self.link).await?;
        self.note_losses(slice::from_ref(&reply));
        Ok(reply)
    }

    /// Takes the answers of scripts, and restores what they found lost.
    async fn read<const N: usize>(&self, replies: [Reply; N], now: NumericDate) -> [Vec<String>; N] {
        if self.note_losses(&replies) {
            // A slot that can't be reached is dated when it is asked next, and a revocation insists on the horizon.
            let _ = self.restore(now).await;
        }
        replies.map(|reply| reply.texts)
    }

    /// Whether a slot has lost something: then [`restore`](Self::restore) has something to do.
    fn note_losses(&self, replies: &[Reply]) -> bool {
        let has_lost = replies.iter().any(|reply| reply.has_lost);
        if has_lost {
            self.losses.fetch_add(1, Ordering::Release);
        }
        has_lost
    }
}

/// Prints the address without the URL's credentials, and no records.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("addresses", &self.0.servers.addresses()).finish_non_exhaustive()
    }
}
