use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::*;
use crate::store::{MemoryStore, RevocationListener, SessionId, TokenId};

/// A store that has to be waited for: it counts its questions, fails where it is told to, and holds an answer back
/// after it was read.
#[derive(Default)]
struct Remote {
    inner: MemoryStore,
    asked: AtomicU64,
    fails: Mutex<Option<StoreErrorKind>>,
    held: Mutex<Option<Arc<Notify>>>,
    held_revocation: Mutex<Option<Arc<Notify>>>,
    listener: Mutex<Option<RevocationListener>>,
}

impl ClaimsStore for Remote {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fails = *self.fails.lock().expect("a lock");
        if let Some(kind) = fails {
            return Err(kind.into());
        }
        let standing = self.inner.standing(presented).await?;
        let held = self.held.lock().expect("a lock").clone();
        if let Some(held) = held {
            held.notified().await;
        }
        Ok(standing)
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.inner.rotate(rotation).await
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        self.inner.revoke(revocation, retention).await?;
        let held = self.held_revocation.lock().expect("a lock").clone();
        if let Some(held) = held {
            held.notified().await;
        }
        Ok(())
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

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        self.inner.raise_horizon(to, now).await
    }
}

impl RevocationFeed for Remote {
    async fn subscribe(&self, listener: RevocationListener) -> Result<Subscription, StoreError> {
        *self.listener.lock().expect("a lock") = Some(listener);
        Ok(Subscription::until_dropped(|| {}))
    }
}

fn cached() -> (Arc<Remote>, Cached<Arc<Remote>>) {
    let remote = Arc::new(Remote::default());
    (Arc::clone(&remote), Cached::new(remote))
}

fn presents(token: u8, now: u64) -> Presented {
    let subject = Some(SubjectId::from_bytes([9; 32]));
    let start = NumericDate::from_secs(0);
    let (session, token) = (SessionId::from_bytes([1; 32]), TokenId::from_bytes([token; 32]));
    Presented::new(session, token, subject, start, NumericDate::from_secs(now))
}

fn standing<S: ClaimsStore>(store: &S, presented: &Presented) -> Result<Standing, StoreErrorKind> {
    let answer = store.standing(presented).now_or_never().expect("it does not wait");
    answer.map_err(|error| error.kind())
}

fn revoke<S: ClaimsStore>(store: &S, revocation: Revocation) {
    let revoked = store.revoke(revocation, Retention::new(NumericDate::from_secs(0), 0, 1_000_000));
    revoked.now_or_never().expect("it does not wait").expect("room");
}

fn asked(remote: &Remote) -> u64 {
    remote.asked.load(Ordering::SeqCst)
}

#[test]
fn an_answer_is_given_again_within_the_bound_and_never_past_it() {
    let (remote, cached) = cached();
    assert_eq!(cached.standing_now(&presents(1, 100)), None, "nothing was asked yet");
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
    revoke(&*remote, session());
    for (now, expected) in [
        (100, Some(Standing::Live)),
        (104, Some(Standing::Live)),
        (105, None),
        // A clock that steps back does not make an answer young.
        (99, None),
    ] {
        assert_eq!(cached.standing_now(&presents(1, now)), expected, "at {now}");
    }
    assert_eq!(asked(&remote), 1);
    assert_eq!(standing(&cached, &presents(1, 105)), Ok(Standing::Revoked), "past the bound");
    assert_eq!(cached.standing_now(&presents(1, 105)), Some(Standing::Revoked));
    assert_eq!(asked(&remote), 2);
}

#[test]
fn a_clock_that_stands_still_does_not_stretch_the_bound() {
    let (remote, cached) = cached();
    let cached = cached.for_at_most(Duration::from_millis(20));
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
    std::thread::sleep(Duration::from_millis(25));
    revoke(&*remote, session());
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Revoked));
}

#[test]
fn an_answer_is_of_the_token_and_of_what_its_claims_say() {
    let (_, cached) = cached();
    let asked = presents(1, 100);
    assert_eq!(standing(&cached, &asked), Ok(Standing::Live));
    for other in [
        presents(2, 100),
        Presented { subject: None, ..asked },
        Presented { session: SessionId::from_bytes([2; 32]), ..asked },
        Presented { session_start: NumericDate::from_secs(1), ..asked },
    ] {
        assert_eq!(cached.standing_now(&other), None, "{other:?}");
    }
}

#[test]
fn a_revocation_through_the_cache_is_seen_at_once() {
    let revocations = [
        session(),
        Revocation::Token { session: presents(1, 0).session, token: presents(1, 0).token },
        Revocation::SubjectBefore {
            subject: SubjectId::from_bytes([9; 32]),
            instant: NumericDate::from_secs(0),
            except: None,
        },
        Revocation::AllBefore { instant: NumericDate::from_secs(0) },
    ];
    for revocation in revocations {
        let (_, cached) = cached();
        assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
        revoke(&cached, revocation);
        assert_eq!(cached.standing_now(&presents(1, 100)), None);
        assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Revoked), "{revocation:?}");
    }
}

/// The question is read by the store before the revocation and answered after it.
#[test]
fn an_answer_overtaken_by_a_revocation_is_not_remembered() {
    let (remote, cached) = cached();
    let release = Arc::new(Notify::new());
    *remote.held.lock().expect("a lock") = Some(Arc::clone(&release));
    let presented = presents(1, 100);
    let mut overtaken = Box::pin(cached.standing(&presented));
    assert!((&mut overtaken).now_or_never().is_none(), "held");
    revoke(&cached, session());
    *remote.held.lock().expect("a lock") = None;
    release.notify_waiters();
    let answer = overtaken.now_or_never().expect("released").expect("an answer");
    assert_eq!(answer, Standing::Live, "it was asked before");
    assert_eq!(cached.standing_now(&presented), None, "and is not given again");
    assert_eq!(standing(&cached, &presented), Ok(Standing::Revoked));
}

#[test]
fn a_revocation_that_was_dropped_half_way_is_asked_about() {
    let (remote, cached) = cached();
    *remote.held_revocation.lock().expect("a lock") = Some(Arc::new(Notify::new()));
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
    let revocation = cached.revoke(session(), Retention::new(NumericDate::from_secs(0), 0, 999));
    assert!(revocation.now_or_never().is_none(), "held after it was recorded, and dropped");
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Revoked));
}

#[test]
fn an_error_is_never_remembered_and_never_an_answer() {
    let (remote, cached) = cached();
    *remote.fails.lock().expect("a lock") = Some(StoreErrorKind::Unavailable);
    for _ in 0..2 {
        assert_eq!(standing(&cached, &presents(1, 100)), Err(StoreErrorKind::Unavailable));
        assert_eq!(cached.standing_now(&presents(1, 100)), None);
    }
    *remote.fails.lock().expect("a lock") = None;
    assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_the_last_known_live_standing_serves_for_a_bounded_time() {
    let (remote, cached) = cached();
    let cached = cached.during_outage(Duration::from_secs(10));
    assert_eq!(cached.standing(&presents(1, 100)).await.ok(), Some(Standing::Live));
    *remote.fails.lock().expect("a lock") = Some(StoreErrorKind::Unavailable);
    for (token, now, expected) in [
        (1, 106, Some(Standing::Live)),
        (1, 114, Some(Standing::Live)),
        // What was served was not learnt anew: 5 s and 10 s from the question on.
        (1, 115, None),
        (1, 99, None),
        (2, 106, None),
    ] {
        assert_eq!(cached.standing(&presents(token, now)).await.ok(), expected, "{token} at {now}");
    }
    // One that does not answer.
    *remote.fails.lock().expect("a lock") = None;
    *remote.held.lock().expect("a lock") = Some(Arc::new(Notify::new()));
    assert_eq!(cached.standing(&presents(1, 107)).await.ok(), Some(Standing::Live));
    // A revocation through the cache is known, outage or not.
    cached.revoke(session(), Retention::new(NumericDate::from_secs(100), 0, 899)).await.expect("room");
    *remote.fails.lock().expect("a lock") = Some(StoreErrorKind::Unavailable);
    assert_eq!(cached.standing(&presents(1, 107)).await.ok(), None);
}

#[test]
fn what_is_heard_is_forgotten_and_so_is_all_that_may_have_been_missed() {
    for event in [FeedEvent::Revoked(session()), FeedEvent::Resumed] {
        let (remote, cached) = cached();
        let cached = cached.hearing_revocations().now_or_never().expect("at once").expect("a channel");
        assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Live));
        revoke(&*remote, session());
        assert_eq!(cached.standing_now(&presents(1, 100)), Some(Standing::Live), "not heard yet");
        let listener = remote.listener.lock().expect("a lock").clone().expect("a listener");
        listener(event);
        assert_eq!(standing(&cached, &presents(1, 100)), Ok(Standing::Revoked), "{event:?}");
    }
}

#[test]
fn its_memory_is_bounded() {
    let (_, cached) = cached();
    let cached = cached.with_max_sessions(10);
    for n in 0..100 {
        let presented = Presented { session: SessionId::from_bytes([n; 32]), ..presents(1, 100) };
        assert_eq!(standing(&cached, &presented), Ok(Standing::Live));
        assert_eq!(cached.standing_now(&presented), Some(Standing::Live), "the latest is remembered");
        assert!(cached.answers.sessions() <= 10);
    }
}

fn session() -> Revocation {
    Revocation::Session(SessionId::from_bytes([1; 32]))
}
