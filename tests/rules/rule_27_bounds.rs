//! Rule 27: what an ordinary user can have the store remember is bounded. The other bounds have their tests where they are
//! kept; `manual::threat_model` lists them all.

use std::sync::Arc;

use serde_json::json;
use tower_reissue::store::{MemoryStore, Page, StoreErrorKind};
use tower_reissue::{Authority, IssueError, Login, ManualClock, Reason, SignOutError};

use crate::support::guarded::*;
use crate::support::*;

/// Ten live sessions of a subject, a hundred with those that ended, and room for three such subjects.
fn crowded(clock: &ManualClock) -> (Authority, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new().with_max_entries(400));
    let builder = builder(clock).max_sessions_per_subject(10).store(Arc::clone(&store));
    (builder.build().unwrap(), store)
}

fn sign_in(authority: &Authority, subject: &str) -> String {
    at_once(authority.issue(Login::new(subject))).unwrap().into_string()
}

#[test]
fn of_more_live_sessions_than_allowed_the_oldest_ends() {
    let clock = ManualClock::at(NOW);
    let (authority, _) = crowded(&clock);
    let guarded = Guarded::new(&authority);
    let bobs = sign_in(&authority, "bob");
    let mut tokens = Vec::new();
    for n in 0..50 {
        clock.set(NOW + n / 7);
        tokens.push(sign_in(&authority, "alice"));
    }
    // Those of one second have no order.
    let live = tokens.iter().filter(|token| guarded.bearer(token).is_admitted()).count();
    assert_eq!(live, 10);
    for (n, token) in tokens.iter().enumerate() {
        let answer = guarded.bearer(token);
        match n {
            0..35 => assert_eq!(answer.reason, Some(Reason::Revoked), "{n}"),
            42.. => assert!(answer.is_admitted(), "{n}: {answer:?}"),
            _ => {}
        }
    }
    assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap().sessions.len(), 10);
    assert!(guarded.bearer(&bobs).is_admitted());
}

#[test]
fn a_session_recorded_by_a_renewal_counts_as_one_signed_in() {
    let clock = ManualClock::at(NOW + 500);
    let (authority, _) = crowded(&clock);
    let guarded = Guarded::new(&authority);
    for n in 0..50 {
        let jti = format!("minted-{n}");
        guarded.bearer(&mint(&claims_with(json!({"jti": jti, "sid": jti})))).into_successor();
    }
    assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap().sessions.len(), 10);
}

#[test]
fn signing_in_and_out_without_end_fills_the_store_for_nobody() {
    let clock = ManualClock::at(NOW);
    let (authority, _) = crowded(&clock);
    let guarded = Guarded::new(&authority);
    let mut ended = Vec::new();
    for n in 0..1_500 {
        clock.set(NOW + n / 5);
        let token = sign_in(&authority, "alice");
        at_once(authority.sign_out(&token)).unwrap();
        ended.push(token);
    }
    for token in &ended {
        assert_eq!(guarded.bearer(token).reason, Some(Reason::Revoked));
    }
    for subject in ["alice", "bob"] {
        assert!(guarded.bearer(&sign_in(&authority, subject)).is_admitted(), "{subject}");
    }
}

/// Who is quicker than a clock is refused, and nobody else.
#[test]
fn signing_in_and_out_within_one_second_holds_up_oneself_alone() {
    let clock = ManualClock::at(NOW);
    let (authority, _) = crowded(&clock);
    let refused = (0..1_000).find_map(|_| match at_once(authority.issue(Login::new("alice"))) {
        Ok(token) => {
            at_once(authority.sign_out(token.as_str())).unwrap();
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(IssueError::Revoked)), "{refused:?}");
    sign_in(&authority, "bob");
    clock.set(NOW + 20);
    assert!(Guarded::new(&authority).bearer(&sign_in(&authority, "alice")).is_admitted());
}

/// By software that has the key and records nothing, with a start declared or not.
#[test]
fn signing_out_of_sessions_minted_elsewhere_fills_the_store_for_nobody() {
    for declared in [true, false] {
        let clock = ManualClock::at(NOW);
        let (authority, _) = crowded(&clock);
        let guarded = Guarded::new(&authority);
        let mut ended = Vec::new();
        for n in 0..1_500 {
            let iat = NOW + n / 5;
            clock.set(iat);
            let jti = format!("minted-{n}");
            let start = declared.then_some(iat);
            let token = mint(&claims_with(json!({
                "jti": jti, "sid": jti, "iat": iat, "exp": iat + 9_000, "session_start": start,
            })));
            at_once(authority.sign_out(&token)).unwrap();
            ended.push(token);
        }
        for token in &ended {
            assert_eq!(guarded.bearer(token).reason, Some(Reason::Revoked));
        }
        for subject in ["alice", "bob"] {
            assert!(guarded.bearer(&sign_in(&authority, subject)).is_admitted(), "{subject}");
        }
    }
}

/// Tokens that name no subject count towards nobody's limit. What they have the store remember ends at the horizon.
#[test]
fn a_sign_out_is_remembered_until_the_horizon_and_no_longer() {
    let clock = ManualClock::at(NOW);
    let (authority, _) = crowded(&clock);
    let sign_out = |n: u64, now: u64| {
        let jti = format!("nobodys-{n}");
        let changes = json!({"sub": null, "jti": jti, "sid": jti, "iat": now, "exp": now + 600});
        at_once(authority.sign_out(&mint(&claims_with(changes))))
    };
    for n in 0..400 {
        sign_out(n, NOW).unwrap();
    }
    // Tolerance, horizon (12 hours and the longest window), and 300 s.
    let end = NOW + 5 + 12 * 3_600 + 60 + 300;
    clock.set(end - 1);
    match sign_out(400, end - 1).unwrap_err() {
        SignOutError::Store(error) => assert_eq!(error.kind(), StoreErrorKind::Full),
        other => panic!("{other:?}"),
    }
    clock.set(end);
    for n in 400..800 {
        sign_out(n, end).unwrap();
    }
}
