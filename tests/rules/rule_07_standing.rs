//! Rule 7: the session limit and the tombstones win over every window.

use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::{Authority, AuthorityBuilder, Login, ManualClock, Reason, VerifiedToken};

use crate::support::guarded::*;
use crate::support::*;

const LIMIT: u64 = 43_200;

/// Leeway and grace as open as they can be.
fn open(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).leeway(Duration::from_secs(60)).grace(Duration::from_secs(300))
}

/// A token of a session that began `before` seconds before `NOW`.
fn begun(before: u64) -> Value {
    claims_with(json!({"session_start": NOW - before}))
}

#[test]
fn a_session_is_over_at_its_limit_whatever_else_is_open() {
    let clock = ManualClock::at(NOW);
    for store in [false, true] {
        let authority = if store { open(&clock).store(CountingStore::default()) } else { open(&clock) };
        let guarded = Guarded::new(&authority.build().unwrap());
        // The session limit falls into the token's life, its leeway, and its grace.
        for over in [1, 300, 599, 600, 630, 660, 700, 899] {
            let token = mint(&begun(LIMIT - over));
            clock.set(NOW + over - 1);
            let answer = guarded.bearer(&token);
            assert_ne!(answer.reason, Some(Reason::SessionOver), "{over}");
            assert_eq!(answer.is_admitted(), over - 1 < 660, "{over}: {answer:?}");
            for after in [0, 1, 60, 300, 100_000] {
                clock.set(NOW + over + after);
                let answer = guarded.bearer(&token);
                answer.assert_refused(401, &(over, after));
                assert_eq!(answer.reason, Some(Reason::SessionOver), "{over} {after}");
            }
        }
    }
}

#[test]
fn the_session_start_is_the_declared_claim() {
    let clock = ManualClock::at(NOW);
    let guarded = Guarded::new(&builder(&clock).session_start_claim("begun").build().unwrap());
    let is_over = |claims: Value| guarded.bearer(&mint(&claims)).reason == Some(Reason::SessionOver);
    assert!(is_over(claims_with(json!({"begun": NOW - LIMIT}))));
    assert!(!is_over(claims_with(json!({"begun": NOW - LIMIT + 1}))));
    let malformed = guarded.bearer(&mint(&claims_with(json!({"begun": "today"}))));
    assert_eq!(malformed.reason, Some(Reason::InvalidClaim("begun".into())));
    // The default name is a private claim like any other then.
    assert!(!is_over(claims_with(json!({"session_start": 0}))));
    assert!(!is_over(claims_with(json!({"session_start": "yesterday"}))));
}

#[test]
fn auth_time_is_the_session_start_only_where_that_is_said() {
    let clock = ManualClock::at(NOW);
    let plain = Guarded::new(&builder(&clock).build().unwrap());
    let declared = Guarded::new(&builder(&clock).session_starts_at_auth_time().build().unwrap());
    let old = mint(&claims_with(json!({"auth_time": NOW - LIMIT})));
    assert!(plain.bearer(&old).is_admitted());
    assert_eq!(declared.bearer(&old).reason, Some(Reason::SessionOver));
    // The claim of that name goes before it.
    let both = mint(&claims_with(json!({"auth_time": NOW - LIMIT, "session_start": NOW - 10})));
    assert!(declared.bearer(&both).is_admitted());
    let both = mint(&claims_with(json!({"auth_time": NOW, "session_start": NOW - LIMIT})));
    assert_eq!(declared.bearer(&both).reason, Some(Reason::SessionOver));
}

#[test]
fn without_either_the_session_begins_with_the_first_tokens_iat() {
    let clock = ManualClock::at(NOW);
    let guarded = Guarded::new(&builder(&clock).build().unwrap());
    let mut token = mint(&claims());
    for _ in 0..3 {
        clock.advance(500);
        token = guarded.bearer(&token).into_successor();
        assert_eq!(payload(&token)["session_start"], NOW);
    }
}

#[test]
fn a_session_never_begins_after_the_token_was_issued() {
    let clock = ManualClock::at(NOW + 1);
    let builder = || builder(&clock).max_session_lifetime(Duration::from_secs(600));
    let guarded = Guarded::new(&builder().session_starts_at_auth_time().build().unwrap());
    let token = mint(&claims_with(json!({"auth_time": NOW + 100_000})));
    clock.set(NOW + 599);
    assert!(guarded.bearer(&token).is_admitted());
    clock.set(NOW + 600);
    assert_eq!(guarded.bearer(&token).reason, Some(Reason::SessionOver));

    // The session-start claim stays in every successor's text: a late one would move the session limit along.
    clock.set(NOW + 1);
    let guarded = Guarded::new(&builder().build().unwrap());
    for (start, admitted) in [(NOW - 1, true), (NOW, true), (NOW + 1, false), (NOW + 100_000, false)] {
        let answer = guarded.bearer(&mint(&claims_with(json!({"session_start": start}))));
        assert_eq!(answer.is_admitted(), admitted, "{start}");
    }
}

#[test]
fn a_renewed_session_ends_at_the_limit_of_its_first_token() {
    let clock = ManualClock::at(NOW);
    for store in [false, true] {
        clock.set(NOW);
        let builder = builder(&clock).max_session_lifetime(Duration::from_secs(3_000));
        let builder = if store { builder.store(CountingStore::default()) } else { builder };
        let authority = builder.build().unwrap();
        let guarded = Guarded::new(&authority);
        let mut token = at_once(authority.issue(Login::new("alice"))).unwrap().into_string();
        let mut renewals = 0;
        for second in 1..4_000 {
            clock.set(NOW + second);
            let answer = guarded.bearer(&token);
            assert_eq!(answer.is_admitted(), second < 3_000, "{second}: {answer:?}");
            if let Some(successor) = answer.successor {
                let exp = payload(&successor)["exp"].as_u64().unwrap();
                assert!(exp <= NOW + 3_000, "{second}: past the session limit");
                assert!(exp > payload(&token)["exp"].as_u64().unwrap());
                (token, renewals) = (successor, renewals + 1);
            }
        }
        assert!((5..=7).contains(&renewals), "{renewals}");
    }
}

/// A store, an authority over it, and the token as a handler would see it.
fn admitted(clock: &ManualClock, claims: &Value) -> (Authority, String, VerifiedToken) {
    let authority = open(clock).store(CountingStore::default()).build().unwrap();
    let text = mint(claims);
    let token = at_once(authority.admit(&text)).unwrap();
    (authority, text, token)
}

#[track_caller]
fn assert_revoked_for_good(authority: &Authority, clock: &ManualClock, token: &str) {
    // In its life, in its window, in its leeway, in its grace.
    for at in [0, 1, 479, 480, 599, 600, 659, 660, 899] {
        clock.set(NOW + at);
        let answer = Guarded::new(authority).bearer(token);
        answer.assert_refused(401, &at);
        assert_eq!(answer.reason, Some(Reason::Revoked), "at {at}");
    }
}

#[test]
fn a_revoked_token_is_refused_in_every_window() {
    let clock = ManualClock::at(NOW);
    let (authority, text, token) = admitted(&clock, &claims());
    at_once(authority.revoke_token(&token)).unwrap();
    assert_revoked_for_good(&authority, &clock, &text);
    // Its session lives: another token of it is admitted.
    clock.set(NOW);
    let sid = json!({"sid": "s", "jti": "one"});
    let (authority, _, token) = admitted(&clock, &claims_with(sid));
    at_once(authority.revoke_token(&token)).unwrap();
    let sibling = mint(&claims_with(json!({"sid": "s", "jti": "two"})));
    assert!(Guarded::new(&authority).bearer(&sibling).is_admitted());
}

#[test]
fn a_revoked_session_is_refused_in_every_window_and_so_are_its_successors() {
    let clock = ManualClock::at(NOW + 500);
    let (authority, text, token) = admitted(&clock, &claims());
    let successor = Guarded::new(&authority).bearer(&text).into_successor();
    at_once(authority.revoke_session(&token)).unwrap();
    assert_revoked_for_good(&authority, &clock, &text);
    for at in [500, 1_100, 1_101, 1_399] {
        clock.set(NOW + at);
        let answer = Guarded::new(&authority).bearer(&successor);
        answer.assert_refused(401, &at);
        assert_eq!(answer.reason, Some(Reason::Revoked), "at {at}");
    }
}

#[test]
fn revoking_a_token_that_has_a_successor_ends_its_session() {
    let clock = ManualClock::at(NOW + 500);
    let (authority, text, token) = admitted(&clock, &claims());
    let successor = Guarded::new(&authority).bearer(&text).into_successor();
    at_once(authority.revoke_token(&token)).unwrap();
    Guarded::new(&authority).bearer(&successor).assert_refused(401, &"the successor");
}

#[test]
fn a_subjects_sessions_are_revoked_up_to_an_instant_itself_included() {
    let clock = ManualClock::at(NOW + 100);
    let authority = open(&clock).store(CountingStore::default()).build().unwrap();
    at_once(authority.revoke_subject("alice")).unwrap();
    let at = |start: u64, sub: &str| {
        mint(&claims_with(json!({"iat": start, "exp": NOW + 700, "jti": start.to_string(), "sub": sub})))
    };
    let guarded = Guarded::new(&authority);
    // Two seconds less than the tolerance of 5 s ahead: for machines whose clocks are.
    clock.set(NOW + 104);
    for (start, revoked) in [(0, true), (99, true), (100, true), (101, true), (103, true), (104, false)] {
        let answer = guarded.bearer(&at(NOW + start, "alice"));
        assert_eq!(answer.reason == Some(Reason::Revoked), revoked, "begun at {start}");
        assert_eq!(answer.is_admitted(), !revoked, "begun at {start}");
        assert!(guarded.bearer(&at(NOW + start, "bob")).is_admitted());
    }
    // It is the session's start that counts: a later token of an earlier session is revoked too.
    let later = mint(&claims_with(json!({"iat": NOW + 104, "exp": NOW + 700, "session_start": NOW + 100})));
    assert_eq!(guarded.bearer(&later).reason, Some(Reason::Revoked));
    for after in [600, 700, 759, 760, 999] {
        clock.set(NOW + after);
        let answer = guarded.bearer(&at(NOW + 100, "alice"));
        answer.assert_refused(401, &after);
        assert_eq!(answer.reason, Some(Reason::Revoked), "{after}");
    }
}

#[test]
fn a_session_revoked_while_the_handler_runs_is_not_renewed() {
    let clock = ManualClock::at(NOW + 500);
    let (authority, text, token) = admitted(&clock, &claims());
    let during = authority.clone();
    let guarded = Guarded::new(&authority).meanwhile(move || at_once(during.revoke_session(&token)).unwrap());
    let answer = guarded.bearer(&text);
    assert!(answer.is_admitted(), "the good response is not harmed");
    assert_eq!(answer.successor, None);
}
