//! Rule 11: a token has one successor, on whatever node and in however many responses it is made.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::keys::Algorithm;
use tower_reissue::{Authority, AuthorityBuilder, ManualClock};

use crate::support::guarded::*;
use crate::support::*;

/// A node of its own: another authority, another layer, the same key.
fn node(algorithm: Algorithm, clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(key_for(algorithm))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(43_200))
        .clock(clock.clone())
}

fn successor(node: AuthorityBuilder, token: &str) -> Option<String> {
    Guarded::new(&node.build().unwrap()).bearer(token).successor
}

#[test]
fn two_nodes_derive_the_same_bytes_where_the_algorithm_is_deterministic() {
    for algorithm in
        [Algorithm::HS256, Algorithm::HS512, Algorithm::RS256, Algorithm::RS512, Algorithm::EdDSA]
    {
        let token = mint_with(algorithm, &claims());
        // Whenever they answer, and whether in the window, in flight or in the grace.
        let made: HashSet<String> = [495, 500, 599, 600, 659]
            .map(|after| successor(node(algorithm, &ManualClock::at(NOW + after)), &token).expect("due"))
            .into();
        assert_eq!(made.len(), 1, "{algorithm:?}: {made:?}");
    }
}

#[test]
fn two_nodes_derive_the_same_claims_where_it_is_not() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::PS256] {
        let token = mint_with(algorithm, &claims());
        let made: HashSet<String> = [495, 599, 659]
            .map(|after| successor(node(algorithm, &ManualClock::at(NOW + after)), &token).expect("due"))
            .map(|token| payload_text(&token))
            .into();
        assert_eq!(made.len(), 1, "{algorithm:?}: {made:?}");
    }
}

#[test]
fn a_signatures_twin_has_the_same_successor() {
    let token = mint_with(Algorithm::ES256, &claims());
    let nameless = mint_with(Algorithm::ES256, &claims_with(json!({"jti": null})));
    for (one, other) in [(&token, &twin(&token)), (&nameless, &twin(&nameless))] {
        assert_ne!(one, other);
        let clock = ManualClock::at(NOW + 500);
        let made = |token| payload_text(&successor(node(Algorithm::ES256, &clock), token).expect("due"));
        assert_eq!(made(one), made(other));

        // With a store, the twin is the same token: it is superseded, and revoked, with it.
        let store = CountingStore::default();
        let authority = node(Algorithm::ES256, &clock).store(store).build().unwrap();
        let guarded = Guarded::new(&authority);
        assert_eq!(
            payload_text(&guarded.bearer(one).into_successor()),
            payload_text(&guarded.bearer(other).into_successor())
        );
        at_once(authority.sign_out(one)).unwrap();
        guarded.bearer(other).assert_refused(401, &"the twin of a revoked token");
    }
}

#[test]
fn nodes_of_different_policy_agree_on_the_jti() {
    let clock = ManualClock::at(NOW + 590);
    let token = mint(&claims());
    let jti = |node: AuthorityBuilder| payload(&successor(node, &token).expect("due"))["jti"].clone();
    let base = || node(Algorithm::HS256, &clock);
    let expected = jti(base());
    for other in [
        base().lifetime(Duration::from_secs(3_600)),
        base().lifetime(Duration::from_secs(200)),
        base().jitter_percent(0),
        base().jitter_percent(50),
        base().leeway(Duration::from_secs(60)),
        base().grace(Duration::from_secs(300)),
        base().max_session_lifetime(Duration::from_secs(5_000)),
        base().dangerous().unbounded_sessions(),
        base().store(CountingStore::default()),
    ] {
        assert_eq!(jti(other), expected);
    }
}

#[test]
fn a_successors_jti_is_its_predecessors_alone() {
    let clock = ManualClock::at(NOW + 590);
    let jti = |changes: Value| {
        let token = mint(&claims_with(changes));
        payload(&successor(node(Algorithm::HS256, &clock), &token).expect("due"))["jti"].to_string()
    };
    // Names that would read alike were they merely strung together.
    let all = [
        json!({}),
        json!({"jti": "token-2"}),
        json!({"sub": "bob"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"jti": ""}),
        json!({"sub": "al", "jti": "icetoken-1"}),
        json!({"sub": "alicet", "jti": "oken-1"}),
        json!({"jti": null}),
        json!({"jti": null, "sub": "bob"}),
        json!({"jti": null, "x": 1}),
    ];
    let distinct: HashSet<String> = all.iter().cloned().map(jti).collect();
    assert_eq!(distinct.len(), all.len());
    // What the jti does not name changes nothing: two texts of one token have one successor.
    assert_eq!(jti(json!({"x": 1})), jti(json!({"y": [2]})));
}

#[test]
fn a_token_without_a_jti_is_named_by_what_was_signed() {
    let clock = ManualClock::at(NOW + 500);
    let token = mint(&claims_with(json!({"jti": null})));
    let made = |token: &str| successor(node(Algorithm::HS256, &clock), token).expect("due");
    assert_eq!(made(&token), made(&token));
    let next = payload(&made(&token));
    assert!(next["jti"].as_str().is_some_and(|jti| jti.len() == 32), "{next}");
    assert!(next["sid"].as_str().is_some_and(|sid| sid != next["jti"]), "{next}");
    let other_header = mint_raw(r#"{"alg":"HS256"}"#, &payload_text(&token));
    assert_ne!(payload(&made(&other_header))["jti"], next["jti"]);
}

#[test]
fn a_derived_successor_begins_when_its_predecessor_became_renewable() {
    let clock = ManualClock::at(NOW);
    for after in [480, 500, 659] {
        clock.set(NOW + after);
        let token = mint(&claims_with(json!({"nbf": NOW})));
        let next = payload(&successor(builder(&clock), &token).expect("due"));
        assert_eq!(next["iat"], NOW + 480);
        assert_eq!(next["nbf"], NOW + 480);
        assert_eq!(next["exp"], NOW + 1_080);
    }
}

#[test]
fn a_chain_keeps_its_sid_and_never_repeats_a_jti() {
    let clock = ManualClock::at(NOW);
    for store in [false, true] {
        clock.set(NOW);
        let builder = if store { builder(&clock).store(CountingStore::default()) } else { builder(&clock) };
        let guarded = Guarded::new(&builder.build().unwrap());
        let mut token = mint(&claims());
        let (mut jtis, mut sids) = (HashSet::new(), HashSet::new());
        for _ in 0..20 {
            clock.set(payload(&token)["exp"].as_u64().unwrap() - 1);
            token = guarded.bearer(&token).into_successor();
            jtis.insert(payload(&token)["jti"].to_string());
            sids.insert(payload(&token)["sid"].to_string());
        }
        assert_eq!((jtis.len(), sids.len()), (20, 1), "store: {store}");
    }
}

#[test]
fn with_a_store_the_first_recorded_wins_and_the_rest_are_given_it() {
    let store = CountingStore::default();
    let clock = ManualClock::at(NOW + 500);
    let one = Guarded::new(&builder(&clock).store(store.clone()).build().unwrap());
    let other = Guarded::new(
        &builder(&clock).lifetime(Duration::from_secs(3_000)).store(store.clone()).build().unwrap(),
    );
    let token = mint(&claims());
    let first = one.bearer(&token).into_successor();
    for after in [501, 599, 600, 659] {
        clock.set(NOW + after);
        assert_eq!(one.bearer(&token).into_successor(), first, "{after}");
        assert_eq!(other.bearer(&token).into_successor(), first, "{after}");
    }
}

#[test]
fn a_successor_that_would_not_outlive_its_predecessor_is_not_sent() {
    let clock = ManualClock::at(NOW);
    for store in [false, true] {
        for (left, sent) in [(600, false), (601, true), (1_079, true), (1_080, true), (2_000, true)] {
            // The session limit lies so many seconds after this token's iat.
            let token = mint(&claims_with(json!({"session_start": NOW + left - 43_200})));
            for after in [480, 599] {
                clock.set(NOW + after);
                let builder = builder(&clock);
                let builder = if store { builder.store(CountingStore::default()) } else { builder };
                let answer = Guarded::new(&builder.build().unwrap()).bearer(&token);
                assert!(answer.is_admitted(), "{left} {after}: {answer:?}");
                assert_eq!(answer.successor.is_some(), sent, "{left} {after}");
                if let Some(successor) = answer.successor {
                    let iat = if store { after } else { 480 };
                    assert_eq!(payload(&successor)["exp"], NOW + left.min(iat + 600), "{left} {after}");
                }
            }
        }
    }
}

#[test]
fn a_token_that_outlives_the_authoritys_own_is_not_cut_short() {
    // A day under an authority that issues for ten minutes: renewable 120 s before its end, not before.
    let clock = ManualClock::at(NOW);
    let guarded = Guarded::new(&builder(&clock).dangerous().unbounded_sessions().build().unwrap());
    let token = mint(&claims_with(json!({"exp": NOW + 86_400})));
    for (after, due) in [(0, false), (60_000, false), (86_279, false), (86_280, true), (86_399, true)] {
        clock.set(NOW + after);
        assert_eq!(guarded.bearer(&token).successor.is_some(), due, "{after}");
    }
}
