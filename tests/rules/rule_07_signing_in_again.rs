//! Rule 7: whoever signs in after a revocation is signed in, and nothing that existed at it is admitted.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tower_reissue::store::{MemoryStore, Page};
use tower_reissue::{Authority, IssueError, Login, ManualClock, NumericDate, Reason};

use crate::support::guarded::*;
use crate::support::*;

fn node(clock: &ManualClock, tolerance: u64, store: &Arc<MemoryStore>) -> Authority {
    let tolerance = Duration::from_secs(tolerance);
    builder(clock).future_tolerance(tolerance).store(Arc::clone(store)).build().unwrap()
}

fn start(token: &str) -> u64 {
    let claims = payload(token);
    assert_eq!(claims["iat"], claims["session_start"]);
    assert_eq!(claims["exp"].as_u64().unwrap(), claims["iat"].as_u64().unwrap() + 600);
    claims["iat"].as_u64().unwrap() - NOW
}

#[test]
fn a_session_begun_within_a_revocations_reach_is_dated_after_it() {
    // The tolerance; the instants, by each one's own clock, at which one node revokes and another signs in; the session's
    // start, and when the node that signed it in admits it.
    for (tolerance, revoked, signed_in, expected, admitted) in [
        (5, 0, 0, Some(4), 0),
        (5, 0, 1, Some(4), 1),
        (5, 0, 3, Some(4), 3),
        (5, 0, 4, Some(4), 4),
        (5, 0, 9, Some(9), 9),
        // The revoker's clock is ahead of this one's.
        (5, 1, 0, Some(5), 0),
        (5, 2, 0, Some(6), 1),
        (5, 5, 0, Some(9), 4),
        (5, 7, 0, Some(11), 6),
        (5, 8, 0, None, 0),
        (60, 0, 0, Some(59), 0),
        (2, 0, 0, Some(1), 0),
        (1, 0, 0, Some(1), 0),
        // Nothing may be ahead here: it is admitted in the next second.
        (0, 0, 0, Some(1), 1),
        (0, 1, 0, None, 0),
    ] {
        for all in [false, true] {
            let row = format!("{tolerance} {revoked} {signed_in} {all}");
            let [there, here] = [revoked, signed_in].map(|now| ManualClock::at(NOW + now));
            let store = Arc::new(MemoryStore::new());
            let (revoker, node) = (node(&there, tolerance, &store), node(&here, tolerance, &store));
            match all {
                true => at_once(revoker.revoke_all_before(NumericDate::MAX)).unwrap(),
                false => at_once(revoker.revoke_subject("alice")).unwrap(),
            }
            let issued = at_once(node.issue(Login::new("alice")));
            let Some(expected) = expected else {
                assert!(matches!(issued, Err(IssueError::Revoked)), "{row}: {issued:?}");
                continue;
            };
            let token = issued.unwrap().into_string();
            assert_eq!(start(&token), expected, "{row}");
            let guarded = Guarded::new(&node);
            if admitted > signed_in {
                here.set(NOW + admitted - 1);
                assert!(matches!(guarded.bearer(&token).reason, Some(Reason::NotYetValid(_))), "{row}");
            }
            here.set(NOW + admitted);
            assert!(guarded.bearer(&token).is_admitted(), "{row}");
        }
    }
}

#[test]
fn a_password_changed_twice_in_a_second_ends_what_was_signed_in_between() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let authority = node(&clock, 5, &store);
    let guarded = Guarded::new(&authority);
    let revoke: [(&str, &dyn Fn()); 2] = [
        ("subject", &|| at_once(authority.revoke_subject("alice")).unwrap()),
        ("all", &|| at_once(authority.revoke_all_before(NumericDate::MAX)).unwrap()),
    ];
    for (n, [first, second]) in [[0, 0], [0, 1], [1, 0], [1, 1]].into_iter().enumerate() {
        clock.set(NOW + 100 * n as u64);
        revoke[first].1();
        let between = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
        assert!(guarded.bearer(&between).is_admitted());
        revoke[second].1();
        let what = format!("{} after {}", revoke[second].0, revoke[first].0);
        assert_eq!(guarded.bearer(&between).reason, Some(Reason::Revoked), "{what}");
        let after = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
        assert!(guarded.bearer(&after).is_admitted(), "{what}");
    }
}

#[test]
fn signing_out_my_other_devices_spares_this_one_and_ends_those_that_nobody_recorded() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let authority = node(&clock, 5, &store);
    let guarded = Guarded::new(&authority);
    let elsewhere = |name: &str, iat: u64| {
        mint(&claims_with(json!({"sid": name, "jti": name, "iat": NOW + iat, "exp": NOW + iat + 600})))
    };
    let mine = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
    let other = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
    let bobs = at_once(authority.issue(Login::new("bob"))).unwrap().into_string();
    let others = [other, elsewhere("s-1", 0), elsewhere("s-2", 3)];
    for token in &others {
        assert!(guarded.bearer(token).is_admitted());
    }
    let me = at_once(authority.admit(&mine)).unwrap();
    at_once(authority.revoke_other_sessions(&me)).unwrap();
    for token in &others {
        assert_eq!(guarded.bearer(token).reason, Some(Reason::Revoked));
    }
    for token in [&mine, &bobs, &at_once(authority.issue(Login::new("alice"))).unwrap().into_string()] {
        assert!(guarded.bearer(token).is_admitted());
    }
    // A session that names no `sid` keeps its name through its renewals.
    clock.set(NOW + 1_000);
    let nameless = mint(&claims_with(json!({"iat": NOW + 1_000, "exp": NOW + 1_600, "jti": "nameless"})));
    let me = at_once(authority.admit(&nameless)).unwrap();
    at_once(authority.revoke_other_sessions(&me)).unwrap();
    clock.set(NOW + 1_590);
    let successor = guarded.bearer(&nameless).into_successor();
    assert!(guarded.bearer(&successor).is_admitted());
    let listed = at_once(authority.sessions("alice", Page::default())).unwrap();
    assert_eq!(listed.sessions.len(), 1);
}

#[test]
fn all_sessions_before_an_instant_are_revoked_and_none_after_it() {
    let clock = ManualClock::at(NOW + 1_000);
    let store = Arc::new(MemoryStore::new());
    let authority = node(&clock, 5, &store);
    let guarded = Guarded::new(&authority);
    let of = |start: u64, sub: serde_json::Value| {
        let jti = format!("{start} {sub}");
        mint(&claims_with(json!({
            "iat": NOW + start, "exp": NOW + 9_000, "jti": jti, "sub": sub, "session_start": NOW + start,
        })))
    };
    // What is not past means now. Nobody signed in between the two, so the second reaches no further.
    for (revoked, reach) in [(500, 500), (1_000, 1_003), (2_000, 1_003)] {
        at_once(authority.revoke_all_before(NumericDate::from_secs(NOW + revoked))).unwrap();
        for sub in [json!("alice"), json!("bob"), json!(null)] {
            for start in [0, reach - 1, reach, reach + 1] {
                let answer = guarded.bearer(&of(start, sub.clone()));
                assert_eq!(
                    answer.is_admitted(),
                    start > reach,
                    "{sub} begun at {start}, revoked up to {revoked}: {answer:?}"
                );
            }
        }
    }
}

#[test]
fn a_thief_with_one_live_token_keeps_its_owner_from_signing_in_for_no_second() {
    let clock = ManualClock::at(NOW);
    let authority = node(&clock, 5, &Arc::new(MemoryStore::new()));
    let guarded = Guarded::new(&authority);
    let stolen = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
    let thief = at_once(authority.admit(&stolen)).unwrap();
    for _ in 0..1_000 {
        at_once(authority.revoke_other_sessions(&thief)).unwrap();
    }
    let own = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
    assert!(guarded.bearer(&own).is_admitted(), "at once");
    // The owner changes the password, which ends what the thief has.
    at_once(authority.revoke_subject("alice")).unwrap();
    let again = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
    assert!(guarded.bearer(&again).is_admitted(), "at once");
    for ended in [&stolen, &own] {
        assert_eq!(guarded.bearer(ended).reason, Some(Reason::Revoked));
    }
}

#[test]
fn what_one_user_revokes_delays_nobody_else_after_a_revocation_of_all() {
    let clock = ManualClock::at(NOW);
    let authority = node(&clock, 5, &Arc::new(MemoryStore::new()));
    let guarded = Guarded::new(&authority);
    let sign_in = |subject| at_once(authority.issue(Login::new(subject))).unwrap().into_string();
    let mallory = at_once(authority.admit(&sign_in("mallory"))).unwrap();
    for _ in 0..500 {
        at_once(authority.revoke_other_sessions(&mallory)).unwrap();
    }
    // Bob signs in a second after his own revocation, which is as far ahead as anybody's.
    at_once(authority.revoke_subject("bob")).unwrap();
    let bobs = sign_in("bob");
    assert!(guarded.bearer(&bobs).is_admitted());
    at_once(authority.revoke_all_before(NumericDate::MAX)).unwrap();
    assert_eq!(guarded.bearer(&bobs).reason, Some(Reason::Revoked), "all means all");
    assert!(guarded.bearer(&sign_in("carol")).is_admitted(), "at once");
}

#[test]
fn one_session_at_a_time_is_signed_in_to_as_often_as_one_likes() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).max_sessions_per_subject(1).store(MemoryStore::new()).build().unwrap();
    let guarded = Guarded::new(&authority);
    for n in 0..200 {
        clock.set(NOW + n / 2);
        let token = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
        assert!(guarded.bearer(&token).is_admitted(), "sign-in {n}");
    }
}
