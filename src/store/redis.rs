//! The shared store: Redis and Valkey, one server or a cluster.

mod address;
mod connect;
mod failure;
mod feed;
mod keys;
mod link;
mod replicas;
mod script;

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::cmd;

use self::address::Servers;
pub use self::connect::{DangerousRedisConnect, RedisConnect};
use self::failure::failure;
use self::keys::{Keys, TAGS};
use self::link::Link;
use self::replicas::Replicas;
use self::script::Call;
use super::feed::message;
use super::unshared::{self, UnsharedHorizon};
use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionId, SessionPage,
    SessionRecord, Standing, StoreError, StoreErrorKind, StoreHorizon, SubjectId, chain,
};
use crate::NumericDate;

/// Questions that are under way at the same time, where one call asks many.
const AT_ONCE: usize = 128;

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
/// Every change of a session's state is one script on one key slot: it happened or it did not, whoever dies in
/// between. A standing costs one round trip, its two questions pipelined; a rotation two, since the subject's
/// tombstone is read, and the session listed, before the session's record is written; a revocation one. In front of
/// many requests put a [`Cached`](super::Cached).
///
/// # What the server must be
///
/// * Redis 6 or Valkey 7.2, or later; tried on Redis 7.0.15 and Valkey 8.1.8. In a cluster, sessions are spread over
///   1,024 hash tags.
/// * `maxmemory-policy noeviction`. **An evicted tombstone is an undone logout**: any other policy is refused at
///   connect, where the server tells. A server that is full refuses sign-ins and renewals with
///   [`StoreErrorKind::Full`]; revoking a recorded session always finds room.
/// * Persistent, where a revocation must survive its restart: `appendonly yes`, and `appendfsync always` where not a
///   second of them may be lost.
/// * Waited for, where it has replicas. Replication is asynchronous: **a failover forgets the revocations and rotations
///   that its replica had not received**, and nothing can tell that from their never having been made.
///   [`wait_for_replicas`](RedisConnect::wait_for_replicas) reports a revocation only when replicas hold it.
/// * Private. Who can write to it can undo a revocation. Who can read it learns claims, and can't make a token.
///
/// # After a loss
///
/// Beside the records of each hash tag stands their birth. Where it is missing (the first use, a flush, a restart
/// without persistence, a failover to an empty replica) the records are taken for lost, and sessions that began before
/// are [`Standing::Unknown`] from then on: refused, unless
/// [`admit_after_store_loss`](crate::AuthorityBuilder::admit_after_store_loss) was said. So is, at the **first use of an
/// empty server**, every session that a service without a store had begun.
///
/// # Time
///
/// Whether a session's record matters is judged by the `now` of each call. A tombstone counts until it is over by that
/// `now` and by the server's clock, and nothing is removed before: a process whose clock is ahead neither forgets a
/// revocation nor makes one that ends early. The server's clock also dates the store's birth.
///
/// # What it does not do
///
/// Deadlines are the authority's ([`store_deadline`](crate::AuthorityBuilder::store_deadline)); without an authority, a
/// server that does not answer is given up after 5 s. A lost connection is made anew as soon as the server is back; so is
/// one on which nobody was answered while a call waited for 250 ms, and was given up. (Not in a cluster, where a silent
/// connection lasts until the system ends it: 5 s on Linux, if nothing acknowledges its bytes.)
#[derive(Clone)]
pub struct RedisStore(Arc<Shared>);

struct Shared {
    link: Link,
    replicas: Option<Replicas>,
    keys: Keys,
    servers: Servers,
    horizon: UnsharedHorizon,
}

impl RedisStore {
    /// Connects to one server: `redis://[[user]:password@]host[:port][/database]`, or `redis+unix:///path`. Await it.
    ///
    /// `rediss://` is TLS, under the feature `redis-tls`. It needs rustls's process-wide crypto provider, which the
    /// application installs, for the redis crate takes no other:
    /// `rustls::crypto::aws_lc_rs::default_provider().install_default()` at the start of `main`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a URL that can't be read or used, a bad prefix, a refused password, or a
    /// server that evicts; otherwise when the server can't be reached. A port where nobody listens is told at once; a
    /// server that doesn't answer is given up after 4 s.
    pub fn connect(url: impl AsRef<str>) -> RedisConnect {
        RedisConnect::new([url], false)
    }

    /// Connects to a cluster by some of its nodes. Await it.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
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
                let ask_subject = self.0.ask_subject(subject, presented.now, None);
                let (session, subject) = ask_session.run_both(&ask_subject, &self.0.link).await?;
                (session, Some(SubjectState::read(subject)?))
            }
            None => (ask_session.run(&self.0.link).await?, None),
        };
        let session = SessionState::read(session)?;
        if session.reborn || subject.as_ref().is_some_and(|subject| subject.reborn) {
            self.0.restore_births(presented.now).await;
        }
        Ok(judge(presented, &session, subject.as_ref()))
    }

    /// The subject is asked first: a rotation that begins after a revocation returned always sees it. One that began
    /// before it may still be recorded; the session is dead by its own standing all the same.
    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let Rotation { presented, supersedes, successor, ref claims, until, .. } = rotation;
        let Presented { session, token, session_start, now, .. } = presented;
        // A sign-in records the token itself; a renewal records another.
        if supersedes == (successor == token) {
            return Err(StoreErrorKind::Misused.into());
        }
        let subject = match &presented.subject {
            Some(subject) => Some(self.0.subject(subject, now, Some((&presented, until))).await?),
            None => None,
        };
        if let Some(revoked_until) = subject.as_ref().and_then(|subject| subject.revoked)
            && session_start <= revoked_until
        {
            return Ok(chain::predated(&rotation, revoked_until));
        }
        let vouched = subject.as_ref().is_none_or(|subject| session_start >= subject.born);
        let args = [
            now.to_string(),
            token.to_string(),
            successor.to_string(),
            flag(supersedes),
            until.to_string(),
            claims.to_string(),
            session_start.to_string(),
            presented.subject.map(|subject| subject.to_string()).unwrap_or_default(),
            subject.as_ref().map(|subject| subject.incarnation.clone()).unwrap_or_default(),
            flag(vouched),
        ];
        let answer =
            Call::new(&script::ROTATE, self.0.session_keys(&session), args).run(&self.0.link).await?;
        let [outcome, more, reborn] = fields(answer)?;
        if reborn == "1" || subject.is_some_and(|subject| subject.reborn) {
            self.0.restore_births(now).await;
        }
        match &*outcome {
            "recorded" => Ok(Rotated::Recorded),
            "superseded" => Ok(Rotated::Superseded { head: more.into() }),
            "reused" => Ok(Rotated::Reused { generations: number(&more)? }),
            "revoked" => Ok(Rotated::Revoked),
            "unknown" => Ok(Rotated::Unknown),
            "misused" => Err(StoreErrorKind::Misused.into()),
            _ => Err(StoreErrorKind::Corrupt.into()),
        }
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        let keys = &self.0.keys;
        let (now, until) = (retention.now.to_string(), self.0.horizon.kept_until(&retention).to_string());
        let (channel, message) = (keys.channel(), message::write(&revocation));
        let end_session = |session: SessionId, token: String, message: String| {
            let places = [keys.session(&session), keys.revoked_tokens(&session)];
            Call::new(&script::REVOKE, places, [now.clone(), until.clone(), token, channel.clone(), message])
        };
        match revocation {
            Revocation::SubjectBefore { subject, instant, except: None } => {
                let args = [now.clone(), until.clone(), instant.to_string(), channel.clone(), message];
                self.0.record(&Call::new(&script::REVOKE_SUBJECT, [keys.subject(&subject)], args)).await
            }
            Revocation::Session(session) => {
                self.0.record(&end_session(session, String::new(), message)).await
            }
            Revocation::Token { session, token } => {
                self.0.record(&end_session(session, token.to_string(), message)).await
            }
            Revocation::SubjectBefore { subject, instant, except: Some(except) } => {
                for session in unshared::others(self, (subject, instant, except), retention.now).await? {
                    let message = message::write(&Revocation::Session(session));
                    self.0.record(&end_session(session, String::new(), message)).await?;
                }
                Ok(())
            }
            Revocation::AllBefore { .. } => {
                Err(StoreError::with_source(StoreErrorKind::Unavailable, "not recorded by this store"))
            }
        }
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        let state = self.0.subject(&subject, now, None).await?;
        let mut listed = cmd("ZRANGEBYSCORE");
        listed.arg(self.0.keys.sessions(&subject)).arg(format!("({now}")).arg("+inf");
        let listed = script::texts(self.0.link.ask(&listed).await.map_err(failure)?)?;
        let mut records = Vec::new();
        for some in listed.chunks(AT_ONCE) {
            for record in join_all(some.iter().map(|session| self.0.listed(session, &subject, now))).await {
                records.extend(record?.filter(|record| !state.has_revoked(record.session_start)));
            }
        }
        Ok(unshared::page_of(records, page))
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        Ok(self.0.horizon.settle(need))
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        Some(self.0.horizon.settle(need))
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.0.horizon.raise(to, now);
        Ok(())
    }
}

/// What the session's slot says.
struct SessionState {
    verdict: Verdict,
    born: NumericDate,
    reborn: bool,
}

enum Verdict {
    Revoked,
    Unrecorded,
    Recorded {
        generations: u32,
        /// Of the subject's records, when this one was written.
        incarnation: String,
        is_orphan: bool,
    },
}

/// What the subject's slot says.
struct SubjectState {
    /// Sessions begun at or before it are revoked.
    revoked: Option<NumericDate>,
    born: NumericDate,
    incarnation: String,
    reborn: bool,
}

impl SessionState {
    fn read(answer: Vec<String>) -> Result<Self, StoreError> {
        let [verdict, generations, born, reborn, incarnation, orphan] = fields(answer)?;
        let verdict = match &*verdict {
            "revoked" => Verdict::Revoked,
            "unrecorded" => Verdict::Unrecorded,
            "recorded" => Verdict::Recorded {
                generations: number(&generations)?,
                incarnation,
                // Anything but the word that it is none.
                is_orphan: orphan != "0",
            },
            _ => return Err(StoreErrorKind::Corrupt.into()),
        };
        Ok(Self { verdict, born: instant(&born)?, reborn: reborn == "1" })
    }
}

impl SubjectState {
    fn read(answer: Vec<String>) -> Result<Self, StoreError> {
        let [revoked, born, incarnation, reborn] = fields(answer)?;
        let revoked = if revoked.is_empty() { None } else { Some(instant(&revoked)?) };
        Ok(Self { revoked, born: instant(&born)?, incarnation, reborn: reborn == "1" })
    }

    fn has_revoked(&self, start: NumericDate) -> bool {
        self.revoked.is_some_and(|instant| start <= instant)
    }
}

/// A session is known where nothing that was ever said of it can have been lost: it began after the records of both
/// slots did, or its own record is there and the subject's records are still those it was written under.
fn judge(presented: &Presented, session: &SessionState, subject: Option<&SubjectState>) -> Standing {
    let start = presented.session_start;
    if subject.is_some_and(|subject| subject.has_revoked(start)) {
        return Standing::Revoked;
    }
    let subject_began_later = subject.is_none_or(|subject| start >= subject.born);
    match &session.verdict {
        Verdict::Revoked => Standing::Revoked,
        Verdict::Unrecorded if start >= session.born && subject_began_later => Standing::Live,
        Verdict::Recorded { generations, incarnation, is_orphan: false }
            if subject_began_later || subject.is_some_and(|subject| subject.incarnation == *incarnation) =>
        {
            match generations {
                0 | 1 => Standing::Live,
                &generations => Standing::Superseded { generations },
            }
        }
        Verdict::Unrecorded | Verdict::Recorded { .. } => Standing::Unknown,
    }
}

impl Shared {
    /// Records a revocation, on the replicas that are waited for too.
    async fn record(&self, call: &Call) -> Result<(), StoreError> {
        call.run(&self.link).await?;
        match &self.replicas {
            Some(replicas) => replicas.hold(call).await,
            None => Ok(()),
        }
    }

    fn ask_session(&self, presented: &Presented) -> Call {
        let args = [presented.now.to_string(), presented.token.to_string()];
        Call::new(&script::STANDING, self.session_keys(&presented.session), args)
    }

    /// Asks the subject's slot, and lists a session there.
    fn ask_subject(
        &self,
        subject: &SubjectId,
        now: NumericDate,
        listed: Option<(&Presented, NumericDate)>,
    ) -> Call {
        let keys =
            [self.keys.subject(subject), self.keys.sessions(subject), self.keys.subject_birth(subject)];
        let listed = listed.map(|(presented, until)| {
            [presented.session.to_string(), presented.session_start.to_string(), until.to_string()]
        });
        Call::new(&script::SUBJECT, keys, [now.to_string()].into_iter().chain(listed.into_iter().flatten()))
    }

    async fn subject(
        &self,
        subject: &SubjectId,
        now: NumericDate,
        listed: Option<(&Presented, NumericDate)>,
    ) -> Result<SubjectState, StoreError> {
        SubjectState::read(self.ask_subject(subject, now, listed).run(&self.link).await?)
    }

    async fn listed(
        &self,
        session: &str,
        subject: &SubjectId,
        now: NumericDate,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt);
        let session = message::id(session).map(SessionId::from_bytes).ok_or_else(corrupt)?;
        let mut read = cmd("HMGET");
        read.arg(self.keys.session(&session)).arg(&["v", "x", "p", "u", "s", "r", "c"]);
        let reply = self.link.ask(&read).await.map_err(failure)?;
        let reply: Vec<Option<String>> = redis::from_redis_value(reply)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Corrupt, error))?;
        let Ok([version, revoked, whose, until, start, renewed, claims]) = <[_; 7]>::try_from(reply) else {
            return Err(corrupt());
        };
        match version.as_deref() {
            // Listed and not recorded yet, or expired.
            None => return Ok(None),
            Some("1") if revoked.is_some() => return Ok(None),
            Some("1") => {}
            Some(_) => return Err(corrupt()),
        }
        let at = |text: Option<String>| text.ok_or_else(corrupt).and_then(|text| instant(&text));
        let (until, start, renewed) = (at(until)?, at(start)?, at(renewed)?);
        if until <= now || whose.as_deref() != Some(&*subject.to_string()) {
            return Ok(None);
        }
        Ok(Some(SessionRecord::new(session, start, renewed, claims.ok_or_else(corrupt)?)))
    }

    /// Dates the records of every hash tag that has none, from `now` or the server's time, whichever is later.
    async fn record_births(&self, now: u64) -> Result<(), StoreError> {
        let now = now.to_string();
        let tags = (0..TAGS).collect::<Vec<_>>();
        for some in tags.chunks(AT_ONCE) {
            let births = some.iter().map(|&tag| {
                let birth = Call::new(&script::BIRTH, [self.keys.birth(tag)], [now.clone()]);
                async move { birth.run(&self.link).await }
            });
            join_all(births).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    /// One tag's records were lost, so others' may be: dated now, they don't refuse sessions that begin later and
    /// meet them first.
    async fn restore_births(&self, now: NumericDate) {
        // A tag that can't be reached is dated when it is asked next.
        let _ = self.record_births(now.as_secs()).await;
    }

    fn session_keys(&self, session: &SessionId) -> [String; 3] {
        [self.keys.session(session), self.keys.revoked_tokens(session), self.keys.session_birth(session)]
    }
}

fn fields<const N: usize>(answer: Vec<String>) -> Result<[String; N], StoreError> {
    answer.try_into().map_err(|_| StoreErrorKind::Corrupt.into())
}

fn instant(text: &str) -> Result<NumericDate, StoreError> {
    text.parse().map(NumericDate::from_secs).map_err(|_| StoreErrorKind::Corrupt.into())
}

fn number(text: &str) -> Result<u32, StoreError> {
    text.parse().map_err(|_| StoreErrorKind::Corrupt.into())
}

fn flag(set: bool) -> String {
    u8::from(set).to_string()
}

/// Where, without the URL's credentials, and nothing of what is kept there.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("addresses", &self.0.servers.addresses()).finish_non_exhaustive()
    }
}
