//! Rule 7, the horizon: how long a revocation is kept, for all the authorities on one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tower_reissue::store::{
    ClaimsStore, Horizon, MemoryStore, Page, StoreError, StoreErrorKind, StoreHorizon,
};
use tower_reissue::{Authority, IssueError, Login, ManualClock, NumericDate, Reason};

use crate::support::guarded::*;
use crate::support::*;

const HOUR: u64 = 3_600;

fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(secs)
}

fn limited(clock: &ManualClock, limit: u64, store: &Arc<MemoryStore>) -> Authority {
    builder(clock).max_session_lifetime(Duration::from_secs(limit)).store(Arc::clone(store)).build().unwrap()
}

/// A token of a session begun at `start` that could be used for twelve hours.
fn long_lived(start: u64, sid: &str) -> String {
    mint(&claims_with(json!({
        "sid": sid, "jti": format!("{sid}-{start}"), "iat": start, "session_start": start, "exp": start + 12 * HOUR,
    })))
}

#[test]
fn an_authority_needs_its_limit_and_the_largest_window_after_it() {
    let secs = Duration::from_secs;
    let clock = ManualClock::at(NOW);
    let limited = || builder(&clock).max_session_lifetime(secs(HOUR));
    for (builder, need) in [
        (limited(), Horizon::Secs(HOUR + 60)),
        (limited().grace(secs(7)), Horizon::Secs(HOUR + 60)),
        (limited().grace(secs(299)), Horizon::Secs(HOUR + 299)),
        (limited().grace(secs(60)).leeway(secs(60)), Horizon::Secs(HOUR + 60)),
        (limited().in_flight_allowance(secs(250)), Horizon::Secs(HOUR + 250)),
        // Past its session's end nothing is renewed, however long the handler took.
        (limited().in_flight_allowance(Duration::MAX), Horizon::Secs(2 * HOUR)),
        (builder(&clock).dangerous().unbounded_sessions(), Horizon::Unbounded),
        // A token without `iat` is read as begun that long before its `exp`, until which it may be admitted elsewhere.
        (limited().accept_without_iat(secs(600)), Horizon::Secs(HOUR + 60)),
        (limited().accept_without_iat(secs(HOUR)), Horizon::Secs(HOUR + 60)),
        (limited().accept_without_iat(secs(HOUR + 1)), Horizon::Secs(HOUR + 61)),
        (limited().accept_without_iat(secs(24 * HOUR)).grace(secs(299)), Horizon::Secs(24 * HOUR + 299)),
        (builder(&clock).accept_without_iat(secs(HOUR)).dangerous().unbounded_sessions(), Horizon::Unbounded),
    ] {
        let store = Arc::new(MemoryStore::new());
        builder.store(Arc::clone(&store)).build().unwrap();
        assert_eq!(at_once(store.horizon(Horizon::Secs(0))).unwrap(), StoreHorizon::new(need));
    }
}

#[test]
fn an_authority_that_needs_more_than_the_store_keeps_is_not_built() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let with =
        |limit| builder(&clock).max_session_lifetime(Duration::from_secs(limit)).store(Arc::clone(&store));
    with(HOUR).build().unwrap();
    with(HOUR - 1).build().unwrap();
    let error = with(HOUR + 1).build().unwrap_err().to_string();
    for part in ["3661 s", "3660 s", "`MemoryStore::with_horizon`", "`ClaimsStore::raise_horizon`"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let unbounded = builder(&clock).dangerous().unbounded_sessions().store(Arc::clone(&store));
    assert!(unbounded.build().unwrap_err().to_string().contains("unbounded"));
    let undated = with(HOUR).accept_without_iat(Duration::from_secs(HOUR + 1));
    assert!(undated.build().unwrap_err().to_string().contains("3661 s"));
    at_once(store.raise_horizon(Horizon::Secs(HOUR + 61), at(NOW))).unwrap();
    with(HOUR + 1).build().unwrap();
}

#[test]
fn a_shorter_limit_on_a_shared_store_does_not_undo_a_longer_ones_revocations() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let long = limited(&clock, 12 * HOUR, &store);
    let short = limited(&clock, 600, &store);
    let token = long_lived(NOW, "s-1");
    let admitted = at_once(short.admit(&token)).unwrap();
    let revoke: [(&str, &dyn Fn()); 5] = [
        ("signed out", &|| at_once(short.sign_out(&token)).unwrap()),
        ("session", &|| at_once(short.revoke_session(&admitted)).unwrap()),
        ("token", &|| at_once(short.revoke_token(&admitted)).unwrap()),
        ("subject", &|| at_once(short.revoke_subject("alice")).unwrap()),
        ("all", &|| at_once(short.revoke_all_before(NumericDate::MAX)).unwrap()),
    ];
    for (what, revoke) in revoke {
        clock.set(NOW);
        let store = Arc::clone(&store);
        revoke();
        for later in [0, 599, 600, 1_000, HOUR, 12 * HOUR - 1, 12 * HOUR] {
            clock.set(NOW + later);
            assert!(!Guarded::new(&long).bearer(&token).is_admitted(), "{what}, {later} s later");
        }
        drop(store);
    }
}

#[test]
fn a_session_begun_before_the_horizon_was_raised_ends_at_the_old_one() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let short = limited(&clock, HOUR, &store);
    let signed_out = long_lived(NOW, "s-1");
    at_once(short.sign_out(&signed_out)).unwrap();
    clock.set(NOW + 100);
    at_once(store.raise_horizon(Horizon::Secs(12 * HOUR + 60), at(NOW + 100))).unwrap();
    let long = limited(&clock, 12 * HOUR, &store);
    let old = HOUR + 60;
    // Dated up to 121 s ahead by a clock that is 60 s ahead, which a node may tolerate: the old horizon.
    for (start, end) in [(NOW, old), (NOW + 100, old), (NOW + 281, old), (NOW + 282, 12 * HOUR)] {
        let token = long_lived(start, "s-2");
        for (later, admitted) in [(0, true), (old - 1, true), (old, end > old), (12 * HOUR - 1, end > old)] {
            clock.set(start + later);
            let answer = Guarded::new(&long).bearer(&token);
            assert_eq!(answer.is_admitted(), admitted, "begun at {start}, {later} s later: {answer:?}");
            let reason = (!admitted).then_some(Reason::SessionOver);
            assert_eq!(answer.reason, reason, "begun at {start}, {later} s later");
        }
    }
    for later in (0..13 * HOUR).step_by(500) {
        clock.set(NOW + 100 + later);
        assert!(!Guarded::new(&long).bearer(&signed_out).is_admitted(), "{later} s after the raise");
    }
    // A node that was built before keeps revocations for the new horizon too.
    clock.set(NOW + 20 * HOUR);
    let later = long_lived(NOW + 20 * HOUR, "s-3");
    at_once(short.sign_out(&later)).unwrap();
    clock.set(NOW + 32 * HOUR - 1);
    assert_eq!(Guarded::new(&long).bearer(&later).reason, Some(Reason::Revoked));
}

#[test]
fn a_successor_ends_with_its_session_at_the_old_horizon() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    limited(&clock, HOUR, &store);
    at_once(store.raise_horizon(Horizon::Unbounded, at(NOW))).unwrap();
    let unbounded =
        builder(&clock).dangerous().unbounded_sessions().store(Arc::clone(&store)).build().unwrap();
    let mut token = at_once(unbounded.issue(Login::new("alice"))).unwrap().into_string();
    let guarded = Guarded::new(&unbounded);
    while let Some(successor) = {
        clock.set(payload(&token)["exp"].as_u64().unwrap() - 1);
        guarded.bearer(&token).successor
    } {
        token = successor;
    }
    assert_eq!(payload(&token)["exp"], json!(NOW + HOUR + 60));
}

/// A memory store that has to be waited for until its horizon is known, and fails while it is told to.
#[derive(Default)]
struct Late {
    inner: MemoryStore,
    is_out: AtomicBool,
}

impl ClaimsStore for Late {
    forward!(inner: standing, standing_now, epoch, rotate, revoke, sessions, raise_horizon);

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        match self.is_out.load(Ordering::SeqCst) {
            true => Err(StoreErrorKind::Unavailable.into()),
            false => self.inner.horizon(need).await,
        }
    }
}

/// Every call of the store that an authority can make.
fn assert_out(authority: &Authority, kind: StoreErrorKind) {
    let guarded = Guarded::new(authority);
    for token in [mint(&claims()), long_lived(NOW - 100, "s-1")] {
        let answer = guarded.bearer(&token);
        assert_eq!((answer.status, answer.reason), (503, Some(Reason::StoreUnavailable)));
    }
    let refused = at_once(authority.admit(&mint(&claims()))).unwrap_err();
    assert_eq!(*refused.reason(), Reason::StoreUnavailable);
    let error = match at_once(authority.issue(Login::new("alice"))).unwrap_err() {
        IssueError::Store(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error.kind(), kind);
    assert_eq!(at_once(authority.revoke_subject("alice")).unwrap_err().kind(), kind);
    assert_eq!(at_once(authority.revoke_all_before(at(NOW))).unwrap_err().kind(), kind);
    assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap_err().kind(), kind);
    assert!(at_once(authority.sign_out(&mint(&claims()))).is_err());
}

#[test]
fn until_the_horizon_is_recorded_the_store_is_out_and_gives_no_verdict() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(Late::default());
    store.is_out.store(true, Ordering::SeqCst);
    let authority = builder(&clock).store(Arc::clone(&store)).build().unwrap();
    assert_out(&authority, StoreErrorKind::Unavailable);
    store.is_out.store(false, Ordering::SeqCst);
    assert!(Guarded::new(&authority).bearer(&mint(&claims())).is_admitted());
    let recorded = at_once(store.horizon(Horizon::Secs(0))).unwrap();
    assert_eq!(recorded, StoreHorizon::new(Horizon::Secs(12 * HOUR + 60)));
    // Once is enough.
    store.is_out.store(true, Ordering::SeqCst);
    assert!(Guarded::new(&authority).bearer(&mint(&claims())).is_admitted());
    at_once(authority.issue(Login::new("alice"))).unwrap();
}

#[test]
fn an_authority_that_comes_second_with_a_larger_need_is_out_and_says_why() {
    let clock = ManualClock::at(NOW);
    for (raised, parts) in [
        (false, ["43260 s", "600 s", "`ClaimsStore::raise_horizon`", "build it again"].as_slice()),
        (true, &["600 s", "build it again"]),
    ] {
        let store = Arc::new(Late::default());
        let authority = builder(&clock).store(Arc::clone(&store)).build().unwrap();
        at_once(store.horizon(Horizon::Secs(600))).unwrap();
        if raised {
            at_once(store.raise_horizon(Horizon::Unbounded, at(NOW))).unwrap();
        }
        assert_out(&authority, StoreErrorKind::Misconfigured);
        let error = at_once(authority.revoke_subject("alice")).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(parts.iter().all(|part| source.contains(part)), "{source}");
    }
}

#[test]
fn an_unbounded_allowance_in_flight_needs_a_session_limit() {
    let clock = ManualClock::at(NOW);
    for (allowance, is_right) in [(300, true), (301, false), (u64::MAX, false)] {
        let unbounded = builder(&clock).dangerous().unbounded_sessions().store(MemoryStore::new());
        let built = unbounded.in_flight_allowance(Duration::from_secs(allowance)).build();
        assert_eq!(built.is_ok(), is_right, "{allowance}");
        if let Err(error) = built {
            assert!(error.to_string().contains("`in_flight_allowance`"), "{error}");
        }
    }
}
