//! Rule 7, the tombstone: whose it is, how long it holds, and what it can not be talked out of.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use serde_json::json;
use tower_reissue::{Event, KeyRing, ManualClock, MemoryStore, Reason, ReissueLayer, Source, VerifyingKey};

use crate::support::guarded::*;
use crate::support::*;

#[test]
fn a_subject_is_revoked_whether_or_not_the_issuer_is_looked_at() {
    let clock = ManualClock::at(NOW + 10);
    for claims in [claims(), claims_with(json!({"iss": null}))] {
        let authority = tower_reissue::Authority::builder(key())
            .without_issuer()
            .audience(AUDIENCE)
            .max_session_lifetime(std::time::Duration::from_secs(43_200))
            .clock(clock.clone())
            .store(MemoryStore::new())
            .build()
            .unwrap();
        let guarded = Guarded::new(&authority);
        let token = mint(&claims);
        assert!(guarded.bearer(&token).is_admitted());
        clock.advance(1);
        at_once(authority.revoke_subject("alice")).unwrap();
        assert_eq!(guarded.bearer(&token).reason, Some(Reason::Revoked));
        clock.advance(1);
    }
}

#[test]
fn a_foreign_issuers_subject_is_revoked_under_that_issuers_name() {
    let clock = ManualClock::at(NOW + 10);
    let foreign = VerifyingKey::from_secret(tower_reissue::Algorithm::HS256, SECRET).unwrap();
    let own = tower_reissue::SigningKey::generate(tower_reissue::Algorithm::HS256).unwrap();
    let ring = KeyRing::new(own).trust("https://partner.example", [foreign]).unwrap();
    let authority = tower_reissue::Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(3_600))
        .clock(clock.clone())
        .store(MemoryStore::new())
        .build()
        .unwrap();
    let guarded = Guarded::new(&authority);
    let token = mint(&claims_with(json!({"iss": "https://partner.example"})));
    at_once(authority.revoke_subject("alice")).unwrap();
    assert!(guarded.bearer(&token).is_admitted(), "another alice");
    at_once(authority.revoke_foreign_subject("https://partner.example", "alice")).unwrap();
    assert_eq!(guarded.bearer(&token).reason, Some(Reason::Revoked));
}

/// Whichever token is presented, and though others of its session begin later: minted elsewhere, or without a declared
/// start.
#[test]
fn a_signed_out_session_stays_so_for_all_of_its_tokens() {
    for (presented, declared) in [(NOW, true), (NOW, false), (NOW + 2_900, true), (NOW + 3_005, false)] {
        let clock = ManualClock::at(NOW + 3_000);
        let authority = builder(&clock)
            .max_session_lifetime(Duration::from_secs(3_600))
            .store(MemoryStore::new())
            .build()
            .unwrap();
        let guarded = Guarded::new(&authority);
        at_once(authority.sign_out(&of_the_session(presented, declared))).unwrap();
        for start in [NOW, NOW + 2_999, NOW + 3_005] {
            for declared in [true, false] {
                let token = of_the_session(start, declared);
                for later in [3_000, 3_599, 3_600, 4_000, 6_000, 6_599, 6_604] {
                    clock.set(NOW + later);
                    assert!(!guarded.bearer(&token).is_admitted(), "begun at {start}, {later} s later");
                }
                clock.set(NOW + 3_010);
                assert_eq!(guarded.bearer(&token).reason, Some(Reason::Revoked), "begun at {start}");
            }
        }
    }
}

/// A token of the session `s-1`, with a `jti` of its own, that could be used for as long as the session may live.
fn of_the_session(start: u64, declared: bool) -> String {
    let declared = declared.then_some(start);
    mint(&claims_with(json!({
        "sid": "s-1", "jti": format!("t-{start}-{declared:?}"), "iat": start, "exp": start + 3_600,
        "session_start": declared,
    })))
}

#[test]
fn revoking_a_token_that_was_superseded_long_ago_ends_its_session() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).store(MemoryStore::new()).build().unwrap();
    let guarded = Guarded::new(&authority);
    let mut token = mint(&claims());
    let first = at_once(authority.admit(&token)).unwrap();
    for renewal in 1..=6 {
        clock.set(NOW + renewal * 500);
        token = guarded.bearer(&token).into_successor();
    }
    at_once(authority.revoke_token(&first)).unwrap();
    assert_eq!(guarded.bearer(&token).reason, Some(Reason::Revoked));
}

#[test]
fn a_token_superseded_long_ago_is_told_at_the_default_times_too() {
    for ends in [false, true] {
        let clock = ManualClock::at(NOW);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = seen.clone();
        let builder = builder(&clock).store(MemoryStore::new()).on_event(move |event| {
            if let Event::Reused { generations, .. } = event {
                events.lock().unwrap().push(*generations);
            }
        });
        let builder = if ends { builder.end_session_on_reuse() } else { builder };
        let authority = builder.build().unwrap();
        let guarded = Guarded::new(&authority);
        let stolen = mint(&claims());
        clock.set(NOW + 480);
        let second = guarded.bearer(&stolen).into_successor();
        clock.set(NOW + 480 + 480);
        let third = guarded.bearer(&second).into_successor();
        let answer = guarded.bearer(&stolen);
        assert_eq!((answer.status, answer.successor), (401, None));
        assert_eq!(answer.reason, Some(if ends { Reason::Reused } else { Reason::Expired }));
        assert_eq!(*seen.lock().unwrap(), [2]);
        assert_eq!(guarded.bearer(&third).is_admitted(), !ends);
    }
}

#[test]
fn a_token_judged_outside_the_layer_ends_its_reused_session_as_well() {
    // Still admitted, within the grace, past it.
    for (leeway, grace) in [(60, 60), (0, 60), (0, 30)] {
        let clock = ManualClock::at(NOW);
        let authority = builder(&clock)
            .lifetime(Duration::from_secs(100))
            .leeway(Duration::from_secs(leeway))
            .grace(Duration::from_secs(grace))
            .store(MemoryStore::new())
            .end_session_on_reuse()
            .build()
            .unwrap();
        let guarded = Guarded::new(&authority);
        let old = mint(&claims_with(json!({"exp": NOW + 100})));
        clock.set(NOW + 70);
        let second = guarded.bearer(&old).into_successor();
        clock.set(NOW + 70 + 70);
        let third = guarded.bearer(&second).into_successor();
        assert_eq!(at_once(authority.admit(&old)).unwrap_err().reason(), &Reason::Reused);
        assert_eq!(guarded.bearer(&third).reason, Some(Reason::Revoked));
    }
}

#[test]
fn in_the_grace_a_token_superseded_long_ago_is_refused_wherever_it_comes_from() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock)
        .lifetime(Duration::from_secs(100))
        .grace(Duration::from_secs(60))
        .admit_in_grace()
        .store(MemoryStore::new())
        .build()
        .unwrap();
    let by_header = Guarded::new(&authority);
    let by_query = Guarded::by(ReissueLayer::new(authority).read_from([Source::websocket_query("token")]));
    let upgrade = |token: &str| {
        Request::get(format!("/chat?token={token}")).header("upgrade", "websocket").body(()).unwrap()
    };
    let old = mint(&claims_with(json!({"exp": NOW + 100})));
    clock.set(NOW + 70);
    let second = by_header.bearer(&old).into_successor();
    clock.set(NOW + 105);
    assert!(by_query.send(upgrade(&old)).is_admitted(), "its successor is the head");
    clock.set(NOW + 70 + 70);
    let third = by_header.bearer(&second).into_successor();
    for answer in [by_header.bearer(&old), by_query.send(upgrade(&old))] {
        assert_eq!((answer.status, answer.successor), (401, None));
        assert_eq!(answer.reason, Some(Reason::Expired));
    }
    assert!(by_header.bearer(&third).is_admitted());
}
