//! Rule 9: a token that arrives just expired is exchanged, and nothing else happens.

use std::time::Duration;

use serde_json::json;
use tower_reissue::keys::KeyRing;
use tower_reissue::{Algorithm, Authority, AuthorityBuilder, ManualClock, Reason, SigningKey};

use crate::support::guarded::*;
use crate::support::*;

fn at(after: u64, with: impl Fn(AuthorityBuilder) -> AuthorityBuilder) -> Answer {
    Guarded::new(&with(builder(&ManualClock::at(NOW + after))).build().unwrap()).bearer(&mint(&claims()))
}

#[test]
fn it_is_answered_401_with_its_successor_and_the_handler_never_runs() {
    for store in [false, true] {
        let answer = at(630, |builder| if store { builder.store(CountingStore::default()) } else { builder });
        assert_eq!((answer.status, answer.ran), (401, false));
        assert!(answer.challenge().contains(r#"error="invalid_token""#), "{}", answer.challenge());
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.headers["refreshed-api-token"].is_sensitive());
        let successor = payload(&answer.into_successor());
        assert_eq!(successor["sub"], "alice");
        // Derived it began when it could have been renewed, recorded it begins now.
        assert_eq!(successor["exp"], if store { NOW + 1_230 } else { NOW + 1_080 });
    }
}

#[test]
fn the_successor_of_an_exchange_is_good() {
    let clock = ManualClock::at(NOW + 659);
    for store in [false, true] {
        clock.set(NOW + 659);
        let builder = if store { builder(&clock).store(CountingStore::default()) } else { builder(&clock) };
        let guarded = Guarded::new(&builder.build().unwrap());
        let successor = guarded.bearer(&mint(&claims())).into_successor();
        assert!(guarded.bearer(&successor).is_admitted());
        // A second exchange of the same token is answered with the same successor.
        let again = guarded.bearer(&mint(&claims())).into_successor();
        assert_eq!(again, successor);
    }
}

#[test]
fn it_may_be_let_through_and_is_then_renewed_with_the_response() {
    for store in [false, true] {
        let with = |builder: AuthorityBuilder| {
            let builder = builder.admit_in_grace();
            if store { builder.store(CountingStore::default()) } else { builder }
        };
        for (after, admitted) in [(600, true), (659, true), (660, false)] {
            let answer = at(after, with);
            assert_eq!(answer.is_admitted(), admitted, "{after}: {answer:?}");
            assert_eq!(answer.successor.is_some(), admitted, "{after}");
        }
    }
}

#[test]
fn past_the_grace_there_is_a_plain_401() {
    for after in [660, 661, 5_000] {
        let answer = at(after, |builder| builder);
        answer.assert_refused(401, &after);
        assert_eq!(answer.reason, Some(Reason::Expired));
        assert!(answer.challenge().contains(r#"error="invalid_token""#));
    }
}

#[test]
fn what_the_predicate_does_not_like_is_not_exchanged_and_not_renewed() {
    for admit_in_grace in [false, true] {
        for store in [false, true] {
            let asked = CountingStore::default();
            let with = |builder: AuthorityBuilder| {
                let builder = builder.renew_if(|token| token.subject() != Some("alice"));
                let builder = if admit_in_grace { builder.admit_in_grace() } else { builder };
                if store { builder.store(asked.clone()) } else { builder }
            };
            let answer = at(630, with);
            answer.assert_refused(401, &(admit_in_grace, store));
            assert_eq!(answer.reason, Some(Reason::Expired));
            let answer = at(500, with);
            assert!(answer.is_admitted() && answer.successor.is_none());
        }
    }
}

#[test]
fn what_can_not_be_recorded_is_a_503_and_not_a_verdict() {
    for admit_in_grace in [false, true] {
        let store = CountingStore::default();
        store.fail_to_rotate();
        let answer = at(630, |builder| {
            let builder = builder.store(store.clone());
            if admit_in_grace { builder.admit_in_grace() } else { builder }
        });
        answer.assert_refused(503, &admit_in_grace);
        assert_eq!(answer.reason, Some(Reason::StoreUnavailable));
        assert!(answer.headers.contains_key("retry-after"));
        assert!(!answer.headers.contains_key("www-authenticate"));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    // An admitted request is served, unrenewed.
    let store = CountingStore::default();
    store.fail_to_rotate();
    let answer = at(500, |builder| builder.store(store.clone()));
    assert!(answer.is_admitted());
    assert_eq!(answer.successor, None);
}

#[test]
fn without_a_key_to_sign_with_an_exchange_is_a_503_and_succeeds_once_there_is_one() {
    let new = || SigningKey::generate(Algorithm::HS256).unwrap().with_kid("new");
    let retiring = |signing: SigningKey| KeyRing::new(signing).retiring(key()).unwrap();
    for store in [false, true] {
        let clock = ManualClock::at(NOW + 630);
        let builder = Authority::builder(retiring(new()))
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(12 * 3600))
            .clock(clock);
        let builder = if store { builder.store(CountingStore::default()) } else { builder };
        let authority = builder.build().unwrap();
        let guarded = Guarded::new(&authority);
        assert!(authority.withdraw_key("new"));
        let answer = guarded.bearer(&mint(&claims()));
        answer.assert_refused(503, &store);
        assert_eq!(answer.reason, Some(Reason::KeysUnavailable));
        assert!(answer.headers.contains_key("retry-after"));
        authority.replace_keys(retiring(new().with_kid("newer"))).unwrap();
        guarded.bearer(&mint(&claims())).into_successor();
    }
}

/// While a change of the lifetime reaches one node after the other.
#[test]
fn a_head_that_another_nodes_lifetime_allows_is_that_nodes_to_hand_out() {
    let clock = ManualClock::at(NOW + 590);
    let store = CountingStore::default();
    let node = |lifetime| {
        builder(&clock).lifetime(Duration::from_secs(lifetime)).store(store.clone()).build().unwrap()
    };
    let (old, new) = (node(600), node(1_200));
    let token = mint(&claims());
    // The response is lost.
    let head = Guarded::new(&new).bearer(&token).into_successor();
    clock.set(NOW + 630);
    let answer = Guarded::new(&old).bearer(&token);
    answer.assert_refused(503, &"the old node");
    assert_eq!(answer.reason, Some(Reason::StoreUnavailable));
    assert_eq!(Guarded::new(&new).bearer(&token).into_successor(), head);
}

#[test]
fn an_exchange_that_would_yield_a_dead_token_is_a_plain_401() {
    // Ten seconds below the session limit no successor outlives its predecessor.
    let start = NOW + 640 - 43_200;
    let token = mint(&claims_with(json!({"session_start": start, "exp": NOW + 640, "iat": NOW})));
    for store in [false, true] {
        let builder = builder(&ManualClock::at(NOW + 639));
        let builder = if store { builder.store(CountingStore::default()) } else { builder };
        let answer = Guarded::new(&builder.build().unwrap()).bearer(&token);
        assert!(answer.is_admitted());
        assert_eq!(answer.successor, None);
    }
}
