//! Rule 13: only a token whose key could sign for this authority is reissued.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tower_reissue::keys::{Algorithm, KeyRing, SigningKey, VerifyingKey};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock, Reason, SignOutError};

use crate::support::guarded::*;
use crate::support::*;

const PARTNER: &str = "https://partner.example";

fn on(ring: KeyRing, clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(43_200))
        .jitter_percent(0)
        .clock(clock.clone())
}

fn next_key() -> SigningKey {
    key_for(Algorithm::EdDSA).with_kid("next")
}

fn foreign() -> String {
    mint_with(Algorithm::ES256, &claims_with(json!({"iss": PARTNER})))
}

fn trusting() -> KeyRing {
    let foreign = VerifyingKey::from_pem(Algorithm::ES256, pems::P256_PUBLIC).unwrap();
    KeyRing::new(key()).trust(PARTNER, [foreign]).unwrap()
}

#[test]
fn a_foreign_issuers_token_is_admitted_and_never_renewed_nor_exchanged() {
    let clock = ManualClock::at(NOW);
    for store in [None, Some(CountingStore::default())] {
        for admit_in_grace in [false, true] {
            let builder = on(trusting(), &clock);
            let builder = if let Some(store) = &store { builder.store(store.clone()) } else { builder };
            let builder = if admit_in_grace { builder.admit_in_grace() } else { builder };
            let authority = builder.build().unwrap();
            let guarded = Guarded::new(&authority);
            for after in [0, 480, 500, 599] {
                clock.set(NOW + after);
                let answer = guarded.bearer(&foreign());
                assert!(answer.is_admitted(), "{after}: {answer:?}");
                assert_eq!(answer.successor, None, "{after}");
            }
            for after in [600, 601, 659, 660] {
                clock.set(NOW + after);
                let answer = guarded.bearer(&foreign());
                answer.assert_refused(401, &after);
                assert_eq!(answer.reason, Some(Reason::Expired), "{after}");
            }
            // Nor while its handler runs into the allowance.
            clock.set(NOW + 599);
            let later = clock.clone();
            let slow = Guarded::new(&authority).meanwhile(move || later.set(NOW + 610));
            assert_eq!(slow.bearer(&foreign()).successor, None);
            let Err(SignOutError::Refused(refusal)) = at_once(authority.sign_out(&foreign())) else {
                panic!("a foreign token signed out");
            };
            assert_eq!(*refusal.reason(), Reason::WrongIssuer);
        }
    }
}

/// Nothing that the store could say changes it: a foreign token is never exchanged, and its reuse is not on record.
#[test]
fn a_foreign_token_that_is_revoked_and_expired_is_expired_and_the_store_is_not_asked() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = on(trusting(), &clock).store(store.clone()).build().unwrap();
    let guarded = Guarded::new(&authority);
    let token = foreign();
    let verified = at_once(authority.admit(&token)).unwrap();
    at_once(authority.revoke_session(&verified)).unwrap();
    assert_eq!(guarded.bearer(&token).reason, Some(Reason::Revoked));
    for after in [600, 630, 660, 43_200] {
        clock.set(NOW + after);
        let asked = store.asked();
        let reason = if after < 43_200 { Reason::Expired } else { Reason::SessionOver };
        assert_eq!(guarded.bearer(&token).reason, Some(reason), "{after}");
        assert_eq!(store.asked(), asked, "{after}");
    }
}

#[test]
fn a_foreign_token_admits_where_its_leeway_does() {
    let clock = ManualClock::at(NOW + 600);
    let authority = on(trusting(), &clock).leeway(Duration::from_secs(10)).build().unwrap();
    let answer = Guarded::new(&authority).bearer(&foreign());
    assert!(answer.is_admitted());
    assert_eq!(answer.successor, None);
}

#[test]
fn a_retiring_keys_token_is_renewed_at_its_usual_instant_with_the_current_key() {
    let clock = ManualClock::at(NOW);
    let ring = KeyRing::new(next_key()).retiring(key()).unwrap();
    let guarded = Guarded::new(&on(ring, &clock).build().unwrap());
    let token = mint(&claims());
    for (after, due) in [(0, false), (479, false), (480, true), (599, true), (659, true), (660, false)] {
        clock.set(NOW + after);
        let answer = guarded.bearer(&token);
        assert_eq!(answer.successor.is_some(), due, "{after}");
        if let Some(successor) = answer.successor {
            let header = header(&successor);
            assert_eq!((&header["alg"], &header["kid"]), (&json!("EdDSA"), &json!("next")));
            assert!(guarded.bearer(&successor).is_admitted());
        }
    }
}

#[test]
fn a_retiring_key_may_be_its_public_half() {
    let clock = ManualClock::at(NOW + 500);
    let old = VerifyingKey::from_pem(Algorithm::RS256, pems::RSA_PUBLIC).unwrap();
    let ring = KeyRing::new(next_key()).retiring(old).unwrap();
    let answer =
        Guarded::new(&on(ring, &clock).build().unwrap()).bearer(&mint_with(Algorithm::RS256, &claims()));
    assert!(answer.is_admitted());
    assert_eq!(header(&answer.into_successor())["kid"], "next");
}

#[test]
fn a_withdrawn_key_admits_and_exchanges_nothing_from_that_moment() {
    let clock = ManualClock::at(NOW);
    for store in [false, true] {
        let builder = on(KeyRing::new(key()), &clock);
        let builder = if store { builder.store(CountingStore::default()) } else { builder };
        let authority = builder.build().unwrap();
        let guarded = Guarded::new(&authority);
        assert!(guarded.bearer(&mint(&claims())).is_admitted());
        // Under its own name, without one, and under the next key's.
        authority.replace_keys(next_key()).unwrap();
        for kid in [json!(null), json!(key().kid()), json!("next")] {
            let mut header = json!({"alg": "HS256"});
            if !kid.is_null() {
                header["kid"] = kid;
            }
            for after in [0, 500, 600, 659] {
                clock.set(NOW + after);
                let token = mint_raw(&header.to_string(), &claims().to_string());
                guarded.bearer(&token).assert_refused(401, &(after, &header));
            }
            clock.set(NOW);
        }
        assert!(at_once(authority.sign_out(&mint(&claims()))).is_err());
    }
}

#[test]
fn a_key_withdrawn_while_the_handler_runs_renews_nothing() {
    for store in [false, true] {
        let clock = ManualClock::at(NOW + 500);
        let asked = CountingStore::default();
        let builder = on(KeyRing::new(key()), &clock);
        let builder = if store { builder.store(asked.clone()) } else { builder };
        let authority = builder.build().unwrap();
        let during = authority.clone();
        let guarded = Guarded::new(&authority).meanwhile(move || during.replace_keys(next_key()).unwrap());
        let answer = guarded.bearer(&mint(&claims()));
        assert!(answer.is_admitted(), "the good response is not harmed");
        assert_eq!(answer.successor, None);
        assert!(asked.asked() <= 1, "no rotation was recorded");
    }
}

#[test]
fn a_key_that_comes_back_as_another_issuers_is_not_the_same_key() {
    let clock = ManualClock::at(NOW + 500);
    let authority = on(KeyRing::new(key()), &clock).build().unwrap();
    let during = authority.clone();
    let guarded = Guarded::new(&authority).meanwhile(move || {
        let turned = KeyRing::new(next_key()).trust(PARTNER, [VerifyingKey::from(key())]).unwrap();
        during.replace_keys(turned).unwrap();
    });
    assert_eq!(guarded.bearer(&mint(&claims())).successor, None);
}

#[test]
fn a_token_that_claims_the_own_issuer_under_a_foreign_key_is_refused_at_every_hour() {
    let clock = ManualClock::at(NOW);
    let guarded = Guarded::new(&on(trusting(), &clock).build().unwrap());
    let named = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key_for(Algorithm::ES256).kid());
    let named =
        sign_raw(&named, &claims().to_string(), &encoding_key_for(Algorithm::ES256), Algorithm::ES256);
    // Without a kid it is not tried with that key, and the own one is of another algorithm.
    let nameless = mint_with(Algorithm::ES256, &claims());
    for after in [0, 500, 600, 659, 660] {
        clock.set(NOW + after);
        for (token, expected) in [(&named, Reason::WrongIssuer), (&nameless, Reason::WrongAlgorithm)] {
            let answer = guarded.bearer(token);
            answer.assert_refused(401, &after);
            assert_eq!(answer.reason, Some(expected));
        }
    }
}

#[test]
fn a_key_withdrawn_while_its_predicate_is_asked_signs_nothing_over() {
    let clock = ManualClock::at(NOW + 500);
    let swapped: Arc<OnceLock<Authority>> = Arc::default();
    let during = swapped.clone();
    let authority = builder(&clock)
        .renew_if(move |_| {
            if let Some(authority) = during.get() {
                authority.replace_keys(next_key()).unwrap();
            }
            true
        })
        .build()
        .unwrap();
    swapped.set(authority.clone()).unwrap();
    let answer = Guarded::new(&authority).bearer(&mint(&claims()));
    assert!(answer.is_admitted());
    assert_eq!(answer.successor, None);
}

#[test]
fn a_key_withdrawn_while_its_predicate_is_asked_admits_nobody_in_the_grace() {
    let clock = ManualClock::at(NOW + 610);
    for store in [None, Some(CountingStore::default())] {
        let asked: Arc<OnceLock<Authority>> = Arc::default();
        let during = asked.clone();
        let builder = builder(&clock).admit_in_grace().renew_if(move |_| {
            during.get().unwrap().replace_keys(next_key()).unwrap();
            true
        });
        let authority = match store {
            Some(store) => builder.store(store),
            None => builder,
        };
        let authority = authority.build().unwrap();
        asked.set(authority.clone()).unwrap();
        let answer = Guarded::new(&authority).bearer(&mint(&claims()));
        answer.assert_refused(401, &authority.can_revoke());
        assert_eq!(answer.reason, Some(Reason::UnknownKey));
    }
}

/// `from_call`: which of the store's answers takes so long. An admission asks for its epoch, then for the standing.
#[test]
fn a_key_withdrawn_while_the_store_is_asked_admits_nothing() {
    for from_call in 1..=2 {
        let store = CountingStore::default();
        let authority = builder(&ManualClock::at(NOW)).store(store.clone()).build().unwrap();
        let (calls, during) = (AtomicUsize::new(0), authority.clone());
        store.meanwhile(move || {
            if calls.fetch_add(1, Ordering::SeqCst) + 1 == from_call {
                during.replace_keys(next_key()).unwrap();
            }
        });
        let answer = Guarded::new(&authority).bearer(&mint(&claims()));
        answer.assert_refused(401, &from_call);
        assert_eq!(answer.reason, Some(Reason::UnknownKey), "{from_call}");
    }
}

#[test]
fn one_key_is_never_own_and_foreign_at_once() {
    let same = tower_reissue::VerifyingKey::from(key()).with_kid("by-another-name");
    let refused = KeyRing::new(key()).trust("https://partner.example", [same]).unwrap_err();
    assert!(refused.to_string().contains("foreign"), "{refused}");
}

#[test]
fn an_issuer_that_publishes_anothers_key_takes_none_of_its_tokens_away() {
    let shared = || key_for(Algorithm::ES256).verifying_key().with_kid("1");
    let ring =
        KeyRing::new(key()).trust("https://copied.example", [shared()]).unwrap().trust(PARTNER, [shared()]);
    let guarded = Guarded::new(&on(ring.unwrap(), &ManualClock::at(NOW)).build().unwrap());
    for issuer in ["https://copied.example", PARTNER] {
        let token = mint_with(Algorithm::ES256, &claims_with(json!({"iss": issuer})));
        assert!(guarded.bearer(&token).is_admitted(), "{issuer}");
    }
    let nobody = mint_with(Algorithm::ES256, &claims_with(json!({"iss": "https://nobody.example"})));
    let reason = guarded.bearer(&nobody).reason;
    assert_eq!(
        reason,
        Some(Reason::WrongAlgorithm),
        "nobody has no key, and the own is of another algorithm"
    );
}
