//! Rule 24: a refresh token is exchanged for one pair, in one step, and its second use after the window ends the session.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::store::{
    ClaimsStore, MemoryStore, Page, Presented, Rotated, Rotation, Standing, StoreError,
};
use tower_reissue::{
    Authority, AuthorityBuilder, Event, IssueError, Login, ManualClock, NumericDate, Reason, Refresh,
    RefreshError, RefreshTokens, Renewal, RenewalRequest, TokenPair,
};

use crate::support::guarded::*;
use crate::support::*;

const REFRESH: &str = "https://login.example/refresh";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn pairs(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).store(CountingStore::default()).refresh_tokens(RefreshTokens::new(REFRESH))
}

fn granted() -> Login {
    Login::new("alice").claims(&json!({ "role": "admin", "scope": "read write" }))
}

fn issued(authority: &Authority) -> TokenPair {
    at_once(authority.issue_pair(granted())).unwrap()
}

fn refresh(authority: &Authority, token: &str) -> Result<TokenPair, Reason> {
    ask(authority, Refresh::new(token))
}

fn ask(authority: &Authority, refresh: Refresh) -> Result<TokenPair, Reason> {
    at_once(authority.refresh(refresh)).map_err(|error| match error {
        RefreshError::Refused(refusal) => refusal.reason().clone(),
        other => panic!("{other}"),
    })
}

fn is_admitted(authority: &Authority, token: &str) -> bool {
    at_once(authority.admit(token)).is_ok()
}

#[test]
fn a_refresh_gives_a_new_pair_of_the_same_session() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let login = granted().client_id("web");
    let first = at_once(authority.issue_pair(login)).unwrap();
    clock.set(NOW + 550);
    let second = ask(&authority, Refresh::new(first.refresh.as_str()).client_id("web")).unwrap();
    let (old, new) = (payload(first.refresh.as_str()), payload(second.refresh.as_str()));
    let renewed = |claims: &Value, names: &[&str]| {
        let mut kept = claims.clone();
        names.iter().for_each(|name| drop(kept.as_object_mut().unwrap().remove(*name)));
        kept
    };
    assert_eq!(renewed(&old, &["jti", "iat", "exp"]), renewed(&new, &["jti", "iat", "exp"]));
    assert_eq!((&new["iat"], &new["exp"]), (&json!(NOW + 550), &json!(NOW + 43_200)));
    assert_eq!(new["jti"], second.refresh.jti());
    assert_ne!(old["jti"], new["jti"]);
    assert_eq!(header(second.refresh.as_str())["typ"], "refresh+jwt");
    let (old, new) = (payload(first.access.as_str()), payload(second.access.as_str()));
    assert_eq!(renewed(&old, &["jti", "iat", "exp"]), renewed(&new, &["jti", "iat", "exp"]));
    assert_eq!((&new["iat"], &new["exp"]), (&json!(NOW + 550), &json!(NOW + 1_150)));
    assert_ne!(old["jti"], new["jti"]);
    assert!(is_admitted(&authority, second.access.as_str()));
    // The old access token lives on as long as it says.
    assert!(is_admitted(&authority, first.access.as_str()));
    assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap().sessions.len(), 1);
}

#[test]
fn the_session_limit_bounds_the_pair() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let mut pair = issued(&authority);
    for after in [1_000, 20_000, 42_900, 43_199] {
        clock.set(NOW + after);
        pair = refresh(&authority, pair.refresh.as_str()).unwrap();
        assert_eq!(pair.refresh.expires_at(), NumericDate::from_secs(NOW + 43_200), "{after}");
        assert!(pair.access.expires_at() <= pair.refresh.expires_at(), "{after}");
        assert!(is_admitted(&authority, pair.access.as_str()), "{after}");
    }
    clock.set(NOW + 43_200);
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::SessionOver);
    assert!(!is_admitted(&authority, pair.access.as_str()));
}

#[test]
fn a_refresh_token_lives_for_its_own_lifetime() {
    let clock = ManualClock::at(NOW);
    let tokens = RefreshTokens::new(REFRESH).lifetime(secs(3_600));
    let authority = pairs(&clock).refresh_tokens(tokens).build().unwrap();
    let pair = issued(&authority);
    clock.set(NOW + 3_600);
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::Expired);
    clock.set(NOW + 3_599);
    let pair = refresh(&authority, pair.refresh.as_str()).unwrap();
    assert_eq!(pair.refresh.expires_at(), NumericDate::from_secs(NOW + 7_199));
}

#[test]
fn within_the_reuse_window_the_same_refresh_token_comes_again_with_a_fresh_access_token() {
    for (window, after, same) in [
        // The tolerance of 5 s comes on top, except for a window of 0.
        (60, 0, true),
        (60, 64, true),
        (60, 65, false),
        (60, 30_000, false),
        (300, 304, true),
        (1, 0, true),
        (1, 5, true),
        (1, 6, false),
        (0, 0, false),
    ] {
        let clock = ManualClock::at(NOW);
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let authority = pairs(&clock)
            .refresh_tokens(RefreshTokens::new(REFRESH).reuse_window(secs(window)))
            .on_event(move |event| {
                if let Event::RefreshTokenReused { generations, .. } = event {
                    told.lock().unwrap().push(*generations);
                }
            })
            .build()
            .unwrap();
        let first = issued(&authority);
        clock.set(NOW + 100);
        let second = refresh(&authority, first.refresh.as_str()).unwrap();
        clock.set(NOW + 100 + after);
        let again = refresh(&authority, first.refresh.as_str());
        let what = format!("{window} s, after {after} s");
        if same {
            let again = again.unwrap();
            // The signature is deterministic here: the very same text.
            assert_eq!(again.refresh.as_str(), second.refresh.as_str(), "{what}");
            assert_ne!(again.access.jti(), second.access.jti(), "{what}");
            for access in [&again.access, &second.access] {
                assert!(is_admitted(&authority, access.as_str()), "{what}");
            }
            assert!(refresh(&authority, second.refresh.as_str()).is_ok(), "{what}");
            assert!(events.lock().unwrap().is_empty(), "{what}");
        } else {
            assert_eq!(again.unwrap_err(), Reason::RefreshTokenReused, "{what}");
            assert_eq!(*events.lock().unwrap(), [1], "{what}");
            // The session is over for both.
            for token in [&first, &second] {
                assert_eq!(
                    refresh(&authority, token.refresh.as_str()).unwrap_err(),
                    Reason::Revoked,
                    "{what}"
                );
                assert!(!is_admitted(&authority, token.access.as_str()), "{what}");
            }
        }
    }
}

#[test]
fn a_token_two_generations_old_ends_the_session_within_the_window_too() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let first = issued(&authority);
    let second = refresh(&authority, first.refresh.as_str()).unwrap();
    let third = refresh(&authority, second.refresh.as_str()).unwrap();
    assert_eq!(refresh(&authority, first.refresh.as_str()).unwrap_err(), Reason::RefreshTokenReused);
    assert_eq!(refresh(&authority, third.refresh.as_str()).unwrap_err(), Reason::Revoked);
}

/// A store remembers 128 older tokens of a session.
#[test]
fn a_token_that_the_store_has_forgotten_ends_the_session() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let first = issued(&authority);
    let mut last = first.clone();
    for n in 1..=140 {
        clock.set(NOW + n);
        last = refresh(&authority, last.refresh.as_str()).unwrap();
    }
    assert_eq!(refresh(&authority, first.refresh.as_str()).unwrap_err(), Reason::RefreshTokenReused);
    assert_eq!(refresh(&authority, last.refresh.as_str()).unwrap_err(), Reason::Revoked);
}

#[test]
fn what_is_no_live_refresh_token_of_this_authority_is_refused() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let pair = issued(&authority);
    let minted = |header: &str, changes: Value| {
        let mut claims = payload(pair.refresh.as_str());
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        mint_raw(header, &claims.to_string())
    };
    const REFRESH_HEADER: &str = r#"{"alg":"HS256","typ":"refresh+jwt"}"#;
    for (token, reason) in [
        (pair.access.as_str().to_owned(), Reason::WrongType),
        (mint(&claims()), Reason::WrongType),
        (minted(r#"{"alg":"HS256"}"#, json!({})), Reason::WrongType),
        (minted(r#"{"alg":"HS256","typ":"JWT"}"#, json!({})), Reason::WrongType),
        (minted(r#"{"alg":"HS256","typ":"rt+jwt"}"#, json!({})), Reason::WrongType),
        (minted(REFRESH_HEADER, json!({ "aud": AUDIENCE })), Reason::WrongAudience),
        (minted(REFRESH_HEADER, json!({ "aud": null })), Reason::InvalidClaim("aud".into())),
        (minted(REFRESH_HEADER, json!({ "iss": "https://evil.example" })), Reason::WrongIssuer),
        (minted(REFRESH_HEADER, json!({ "iat": NOW + 6 })), Reason::NotYetValid("iat")),
        (minted(REFRESH_HEADER, json!({ "cnf": { "jkt": "x" } })), Reason::Unconfirmed),
        (format!("{}x", pair.refresh.as_str()), Reason::BadSignature),
        (String::new(), Reason::MalformedToken),
        ("x".repeat(100_000), Reason::TooLong),
    ] {
        assert_eq!(refresh(&authority, &token).unwrap_err(), reason, "{token:.80}");
    }
    // None of it spent the token.
    let next = refresh(&authority, pair.refresh.as_str()).unwrap();
    at_once(authority.sign_out(pair.access.as_str())).unwrap();
    assert_eq!(refresh(&authority, next.refresh.as_str()).unwrap_err(), Reason::Revoked);
}

#[test]
fn a_withdrawn_key_refreshes_nothing() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let pair = issued(&authority);
    let kid = header(pair.refresh.as_str())["kid"].as_str().unwrap().to_owned();
    assert!(authority.withdraw_key(&kid));
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::UnknownKey);
}

#[test]
fn a_key_that_is_withdrawn_while_the_store_is_waited_for_signs_nothing() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let pair = issued(&authority);
    let kid = header(pair.refresh.as_str())["kid"].as_str().unwrap().to_owned();
    let withdrawing = authority.clone();
    store.meanwhile(move || _ = withdrawing.withdraw_key(&kid));
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::UnknownKey);
}

#[test]
fn the_client_must_be_the_one_that_the_token_was_issued_to() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    for (issued_to, asks, good) in [
        (None, None, true),
        (None, Some("web"), false),
        (Some("web"), None, false),
        (Some("web"), Some("Web"), false),
        (Some("web"), Some(""), false),
        (Some("web"), Some("web"), true),
    ] {
        let login = issued_to.into_iter().fold(granted(), Login::client_id);
        let pair = at_once(authority.issue_pair(login)).unwrap();
        let request = asks.into_iter().fold(Refresh::new(pair.refresh.as_str()), Refresh::client_id);
        let answer = ask(&authority, request);
        assert_eq!(answer.as_ref().err(), (!good).then_some(&Reason::WrongClient), "{issued_to:?} {asks:?}");
        if let Ok(pair) = answer {
            assert_eq!(payload(pair.access.as_str()).get("client_id").and_then(Value::as_str), issued_to);
            assert_eq!(payload(pair.refresh.as_str()).get("client_id").and_then(Value::as_str), issued_to);
        }
    }
}

#[test]
fn a_scope_only_narrows_and_the_refresh_token_keeps_what_was_granted() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let mut pair = issued(&authority);
    for (asked, got) in [
        (Some("read"), Ok("read")),
        (Some("write read"), Ok("read write")),
        (None, Ok("read write")),
        (Some("read admin"), Err(Reason::InvalidScope)),
        (Some("admin"), Err(Reason::InvalidScope)),
        (Some(""), Err(Reason::InvalidScope)),
        (Some("read  write"), Err(Reason::InvalidScope)),
        (Some("write"), Ok("write")),
    ] {
        let request = asked.into_iter().fold(Refresh::new(pair.refresh.as_str()), Refresh::scope);
        match (ask(&authority, request), got) {
            (Ok(next), Ok(got)) => {
                assert_eq!(payload(next.access.as_str())["scope"], got, "{asked:?}");
                assert_eq!(serde_json::from_str::<Value>(&next.to_json()).unwrap()["scope"], got);
                let granted = &payload(next.refresh.as_str())["access_claims"];
                assert_eq!(granted, &json!({ "role": "admin", "scope": "read write" }), "{asked:?}");
                pair = next;
            }
            (answer, got) => assert_eq!(answer.err(), got.err(), "{asked:?}"),
        }
    }
}

struct Unserialisable;

impl serde::Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

/// A renewer that answers with what `answer` makes, and counts.
fn renewing(
    clock: &ManualClock,
    answer: impl Fn(&RenewalRequest) -> Renewal + Send + Sync + 'static,
) -> (AuthorityBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let builder = pairs(clock).renew_with(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(answer(&request)))
    });
    (builder, asked)
}

/// The other's successor is younger than this one's arrival.
#[test]
fn a_refresh_that_another_overtakes_while_its_renewer_is_asked_gets_the_others_successor() {
    for slow in [0, 4, 7, 40] {
        let clock = ManualClock::at(NOW);
        let (overtaken, other): (Arc<OnceLock<Authority>>, Arc<OnceLock<String>>) = Default::default();
        let (authority, by_other, later) = (overtaken.clone(), other.clone(), clock.clone());
        let is_first = AtomicUsize::new(0);
        let built = pairs(&clock)
            .renew_with(move |_| {
                if is_first.fetch_add(1, Ordering::SeqCst) == 0 {
                    later.advance(slow);
                    let (authority, token) = (authority.get().unwrap(), by_other.get().unwrap());
                    refresh(authority, token).unwrap();
                }
                std::future::ready(Ok(Renewal::keep()))
            })
            .build()
            .unwrap();
        let first = issued(&built);
        other.set(first.refresh.as_str().to_owned()).unwrap();
        overtaken.set(built.clone()).unwrap();
        let pair = refresh(&built, first.refresh.as_str());
        assert!(pair.is_ok(), "{slow}: {:?}", pair.map(drop));
    }
}

/// The answer comes after the window, and the token came within it.
#[test]
fn a_slow_renewer_makes_no_thief_of_who_came_within_the_window() {
    for (slow, came, expected) in [
        (0, 9, Ok(())),
        (0, 10, Err(Reason::RefreshTokenReused)),
        (10, 9, Ok(())),
        (10, 10, Err(Reason::RefreshTokenReused)),
    ] {
        let clock = ManualClock::at(NOW);
        let (delay, later) = (Arc::new(AtomicUsize::new(0)), clock.clone());
        let delayed = delay.clone();
        let authority = builder(&clock)
            .store(CountingStore::default())
            .refresh_tokens(RefreshTokens::new(REFRESH).reuse_window(secs(5)))
            .renew_with(move |_| {
                later.advance(delayed.load(Ordering::SeqCst) as u64);
                std::future::ready(Ok(Renewal::keep()))
            })
            .build()
            .unwrap();
        let first = issued(&authority);
        let second = refresh(&authority, first.refresh.as_str()).unwrap();
        clock.advance(came);
        delay.store(slow, Ordering::SeqCst);
        let again = refresh(&authority, first.refresh.as_str());
        assert_eq!(
            again.map(|pair| assert_eq!(pair.refresh.jti(), second.refresh.jti())),
            expected,
            "{slow} {came}"
        );
    }
}

#[test]
fn a_renewer_says_what_each_access_token_holds() {
    let clock = ManualClock::at(NOW);
    let (builder, asked) = renewing(&clock, |request| {
        assert_eq!((request.subject(), request.client_id()), (Some("alice"), None));
        assert_eq!(request.session_start(), NumericDate::from_secs(NOW));
        assert_eq!(request.claim::<String>("role").unwrap().as_deref(), Some("admin"));
        Renewal::keep().claims(&json!({ "role": "clerk", "scope": ["write", "more"] })).scope("write read")
    });
    let authority = builder.build().unwrap();
    let first = issued(&authority);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a sign-in asks nobody");
    let second = refresh(&authority, first.refresh.as_str()).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "once");
    let access = payload(second.access.as_str());
    assert_eq!((&access["role"], &access["scope"]), (&json!("clerk"), &json!(["write"])));
    assert_eq!(access["sliding"], false);
    assert_eq!(access["sid"], payload(first.access.as_str())["sid"]);
    // What was granted is asked about again.
    let granted = &payload(second.refresh.as_str())["access_claims"];
    assert_eq!(granted["role"], "admin");
    // The second of two parallel ones is asked about as well: its access token is a fresh one.
    let again = refresh(&authority, first.refresh.as_str()).unwrap();
    assert_eq!(again.refresh.as_str(), second.refresh.as_str());
    assert_eq!(payload(again.access.as_str())["role"], "clerk");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // A request narrows what the renewer left.
    let narrowed = ask(&authority, Refresh::new(second.refresh.as_str()).scope("read write")).unwrap();
    assert_eq!(payload(narrowed.access.as_str())["scope"], json!(["write"]));
    let none = ask(&authority, Refresh::new(narrowed.refresh.as_str()).scope("read"));
    assert_eq!(none.unwrap_err(), Reason::InvalidScope);
}

#[test]
fn a_renewer_that_refuses_spends_nothing() {
    let clock = ManualClock::at(NOW);
    let blocked = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_blocked = blocked.clone();
    let (builder, _) = renewing(&clock, move |_| match is_blocked.load(Ordering::SeqCst) {
        true => Renewal::refuse("the account is blocked"),
        false => Renewal::keep(),
    });
    let authority = builder.build().unwrap();
    let first = issued(&authority);
    let Err(RefreshError::Refused(refusal)) =
        at_once(authority.refresh(Refresh::new(first.refresh.as_str())))
    else {
        panic!("it is refused");
    };
    assert_eq!(refusal.reason(), &Reason::Declined);
    assert_eq!(refusal.to_string(), "The token is not renewed (the account is blocked)");
    blocked.store(false, Ordering::SeqCst);
    clock.set(NOW + 1_000);
    let second = refresh(&authority, first.refresh.as_str()).unwrap();
    assert_eq!(second.refresh.expires_at(), NumericDate::from_secs(NOW + 43_200));
    assert_eq!(payload(second.refresh.as_str())["iat"], NOW + 1_000, "this was the first rotation");
}

#[test]
fn a_renewer_that_fails_panics_or_gives_what_is_not_its_to_give_spends_nothing() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let good = pairs(&clock).store(store.clone()).build().unwrap();
    let first = issued(&good);
    type Answer = Result<Renewal, Box<dyn std::error::Error + Send + Sync>>;
    let answers: [fn() -> Answer; 3] = [
        || Err("the database is down".into()),
        || panic!("in the renewer"),
        || Ok(Renewal::keep().claims(&Unserialisable)),
    ];
    for answer in answers {
        for when_polled in [false, true] {
            let failing = pairs(&clock).store(store.clone()).renew_with(move |_| {
                let early = (!when_polled).then(answer);
                async move { early.unwrap_or_else(answer) }
            });
            let failing = failing.build().unwrap();
            assert_eq!(refresh(&failing, first.refresh.as_str()).unwrap_err(), Reason::RenewerUnavailable);
        }
    }
    let list = pairs(&clock).store(store.clone());
    let list = list.renew_with(|_| std::future::ready(Ok(Renewal::keep().claims(&[1, 2])))).build().unwrap();
    let refused = at_once(list.refresh(Refresh::new(first.refresh.as_str()))).unwrap_err();
    assert!(matches!(refused, RefreshError::Issue(IssueError::NotAnObject)), "{refused}");
    for name in ["sub", "exp", "cnf", "sliding", "access_claims", "client_id", "session_start"] {
        let failing = pairs(&clock)
            .store(store.clone())
            .renew_with(move |_| std::future::ready(Ok(Renewal::keep().claims(&json!({ name: 1 })))));
        let failing = failing.build().unwrap();
        let refused = at_once(failing.refresh(Refresh::new(first.refresh.as_str()))).unwrap_err();
        let RefreshError::Issue(IssueError::ReservedClaim(claim)) = &refused else { panic!("{refused}") };
        assert_eq!(claim, name);
    }
    clock.set(NOW + 500);
    let second = refresh(&good, first.refresh.as_str()).unwrap();
    assert_eq!(payload(second.refresh.as_str())["iat"], NOW + 500, "this was the first rotation");
}

#[tokio::test(start_paused = true)]
async fn a_renewer_has_a_deadline() {
    let clock = ManualClock::at(NOW);
    let slow = |takes: u64| {
        pairs(&clock).renewer_deadline(secs(3)).renew_with(move |_| async move {
            tokio::time::sleep(secs(takes)).await;
            Ok(Renewal::keep())
        })
    };
    for (takes, good) in [(2, true), (4, false)] {
        let authority = slow(takes).build().unwrap();
        let pair = authority.issue_pair(granted()).await.unwrap();
        let answer = authority.refresh(Refresh::new(pair.refresh.as_str())).await;
        match answer {
            Ok(_) => assert!(good),
            Err(RefreshError::Refused(refusal)) => {
                assert!(!good && refusal.reason() == &Reason::RenewerUnavailable, "{refusal}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_store_that_does_not_answer_spends_nothing() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let pair = issued(&authority);
    let asked = store.asked();
    let pair = refresh(&authority, pair.refresh.as_str()).unwrap();
    assert_eq!(store.asked(), asked + 1, "a refresh is one call");
    store.fail_to_rotate();
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::StoreUnavailable);
}

#[test]
fn a_renewer_and_a_reuse_window_are_settled_in_the_builder() {
    let clock = ManualClock::at(NOW);
    let tokens = || RefreshTokens::new(REFRESH);
    let store = || builder(&clock).store(CountingStore::default());
    let keep = |_| std::future::ready(Ok(Renewal::keep()));
    for (builder, says) in [
        (
            store().refresh_tokens(tokens().reuse_window(secs(301))),
            &["reuse window", "301 s", "at most 300 s"][..],
        ),
        (builder(&clock).renew_with(keep), &["`renew_with`", "`store`", "`renew_if`"]),
        (pairs(&clock).renewer_deadline(secs(0)), &["renewer deadline is 0", "5 s is the default"]),
        (builder(&clock).refresh_tokens(tokens()), &["`refresh_tokens`", "`store`"]),
    ] {
        let message = builder.build().expect_err(&format!("{says:?}")).to_string();
        for part in says {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
    assert!(store().renew_with(keep).build().is_ok());
    assert!(store().refresh_tokens(tokens().reuse_window(secs(300))).build().is_ok());
}

/// What a refresh token is bound to stays bound, and needs the proof.
#[test]
fn a_bound_pair_stays_bound() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).confirm_with(|_, _| true).build().unwrap();
    let login = Login::new("alice").claims(&json!({ "cnf": { "jkt": "x" }, "role": "admin" }));
    let pair = at_once(authority.issue_pair(login)).unwrap();
    // Outside a request there is no proof.
    assert_eq!(refresh(&authority, pair.refresh.as_str()).unwrap_err(), Reason::Unconfirmed);
}

#[test]
fn any_number_of_nodes_gives_the_same_refresh_token() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let nodes: Vec<Authority> = (0..4).map(|_| pairs(&clock).store(store.clone()).build().unwrap()).collect();
    let mut pair = issued(&nodes[0]);
    for round in 1..20 {
        clock.set(NOW + round * 100);
        let answers: Vec<TokenPair> =
            nodes.iter().map(|node| refresh(node, pair.refresh.as_str()).unwrap()).collect();
        for answer in &answers {
            assert_eq!(answer.refresh.as_str(), answers[0].refresh.as_str(), "{round}");
            assert!(nodes.iter().all(|node| is_admitted(node, answer.access.as_str())), "{round}");
        }
        pair = answers[2].clone();
    }
}

/// A store that was created after the session began, and does not know it.
struct Recreated(MemoryStore);

impl ClaimsStore for Recreated {
    forward!(0: revoke, sessions, horizon, horizon_now, raise_horizon);

    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        match self.0.standing(presented).await? {
            Standing::Live => Ok(Standing::UnknownSession),
            other => Ok(other),
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        match rotation.of_known_session {
            true => Ok(Rotated::UnknownSession),
            false => self.0.rotate(rotation).await,
        }
    }
}

#[test]
fn a_session_of_before_the_store_was_lost_is_refreshed_only_where_that_is_asked_for() {
    let clock = ManualClock::at(NOW);
    let pair = issued(&pairs(&clock).build().unwrap());
    let store = Arc::new(Recreated(MemoryStore::new()));
    let strict = pairs(&clock).store(store.clone()).build().unwrap();
    let lenient = pairs(&clock).store(store).admit_after_store_loss().build().unwrap();
    for _ in 0..2 {
        // It is not taken for a theft: the records may come back.
        assert_eq!(refresh(&strict, pair.refresh.as_str()).unwrap_err(), Reason::UnknownSession);
    }
    let next = refresh(&lenient, pair.refresh.as_str()).unwrap();
    assert!(is_admitted(&lenient, next.access.as_str()) && !is_admitted(&strict, next.access.as_str()));
}
