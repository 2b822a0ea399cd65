//! Rule 20: an authority without own keys admits the tokens of the issuers that it trusts, and issues and renews nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tower_reissue::keys::{KeyRing, KeyRotation, KeySet, VerifyingKey};
use tower_reissue::store::{MemoryStore, StoreErrorKind};
use tower_reissue::{
    Authority, AuthorityBuilder, Event, IssueError, Login, ManualClock, Reason, RevokeEndpoint,
};

use crate::support::guarded::Guarded;
use crate::support::{self, ISSUER, NOW, at_once, claims, claims_with, mint};

fn ring() -> KeyRing {
    KeyRing::verify_only().trust(ISSUER, [VerifyingKey::from(support::key())]).unwrap()
}

fn verifier(clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(ring()).audience(support::AUDIENCE).clock(clock.clone())
}

fn clock() -> ManualClock {
    ManualClock::at(NOW)
}

#[test]
fn an_audience_is_all_that_a_verifier_needs() {
    let authority = verifier(&clock()).build().unwrap();
    let admitted = at_once(authority.admit(&mint(&claims()))).unwrap();
    assert_eq!((admitted.subject(), admitted.issuer()), (Some("alice"), Some(ISSUER)));
    assert!(!admitted.is_own());
    for (fault, reason) in [
        (json!({"iss": "https://other.example"}), Reason::WrongIssuer),
        (json!({"iss": null}), Reason::MissingClaim("iss".into())),
        (json!({"aud": "another"}), Reason::WrongAudience),
        (json!({"iat": NOW - 700, "exp": NOW}), Reason::Expired),
    ] {
        let refused = at_once(authority.admit(&mint(&claims_with(fault.clone())))).unwrap_err();
        assert_eq!(refused.reason(), &reason, "{fault}");
    }
}

/// Neither in the renewal window, nor within what would be the grace of an own token.
#[test]
fn no_response_carries_a_successor() {
    let clock = clock();
    let guarded = Guarded::new(&verifier(&clock).build().unwrap());
    let token = mint(&claims());
    for (after, status) in [(0, 200), (599, 200), (600, 401), (630, 401), (100_000, 401)] {
        clock.set(NOW + after);
        let answer = guarded.bearer(&token);
        assert_eq!((answer.status, answer.successor), (status, None), "{after}");
    }
}

#[test]
fn to_issue_is_an_error_that_says_why() {
    let authority = verifier(&clock()).build().unwrap();
    let refused = at_once(authority.issue(Login::new("alice"))).unwrap_err();
    assert!(matches!(refused, IssueError::VerifyOnly), "{refused}");
    assert!(refused.to_string().contains("only verify"), "{refused}");
    // Nor does it sign anybody out of a session that is not its own.
    assert!(at_once(authority.sign_out(&mint(&claims()))).is_err());
}

/// With a store or without one: an endpoint that could only refuse is not built, and says what to do in its place.
#[test]
fn a_revoke_endpoint_is_an_error_that_says_what_to_call() {
    let with_store =
        verifier(&clock()).store(MemoryStore::new()).max_token_lifetime(Duration::from_secs(600));
    for builder in [verifier(&clock()), with_store] {
        let refused = RevokeEndpoint::new(builder.build().unwrap()).unwrap_err().to_string();
        for word in ["only verify", "at its issuer", "`revoke_session`"] {
            assert!(refused.contains(word), "{refused}");
        }
    }
}

#[test]
fn an_option_about_own_tokens_is_refused_by_name() {
    type Option = fn(AuthorityBuilder) -> AuthorityBuilder;
    let options: [(&str, Option); 12] = [
        ("issuer", |builder| builder.issuer(ISSUER)),
        ("without_issuer", AuthorityBuilder::without_issuer),
        ("legacy_audience", |builder| builder.legacy_audience("old")),
        ("lifetime", |builder| builder.lifetime(Duration::from_secs(60))),
        ("grace", |builder| builder.grace(Duration::from_secs(60))),
        ("in_flight_allowance", |builder| builder.in_flight_allowance(Duration::from_secs(60))),
        ("jitter_percent", |builder| builder.jitter_percent(0)),
        ("max_added_head_bytes", |builder| builder.max_added_head_bytes(2048)),
        ("max_sessions_per_subject", |builder| builder.max_sessions_per_subject(5)),
        ("end_session_on_reuse", AuthorityBuilder::end_session_on_reuse),
        ("admit_in_grace", AuthorityBuilder::admit_in_grace),
        ("renew_if", |builder| builder.renew_if(|_| true)),
    ];
    for (name, option) in options {
        let refused = option(verifier(&clock())).build().unwrap_err().to_string();
        assert!(refused.contains(&format!("`{name}`")) && refused.contains("only verify"), "{refused}");
        // It is no error with own keys.
        let own = option(support::builder(&clock()).store(MemoryStore::new()));
        assert!(own.build().is_ok() || name == "without_issuer", "{name}");
    }
}

#[test]
fn with_a_store_the_longest_token_life_is_named_and_holds() {
    let clock = clock();
    let refused = verifier(&clock).store(MemoryStore::new()).build().unwrap_err().to_string();
    assert!(refused.contains("`max_token_lifetime(Duration)`"), "{refused}");
    let authority = verifier(&clock)
        .store(MemoryStore::new())
        .max_token_lifetime(Duration::from_secs(600))
        .build()
        .unwrap();
    let admit = |claims| at_once(authority.admit(&mint(&claims)));
    let refused = admit(claims_with(json!({"exp": NOW + 601}))).unwrap_err();
    assert_eq!(refused.reason(), &Reason::InvalidClaim("exp".into()));
    let token = admit(claims_with(json!({"sid": "s"}))).unwrap();
    // The session ends, and another token of it too.
    at_once(authority.revoke_session(&token)).unwrap();
    let other = claims_with(json!({"sid": "s", "jti": "token-2"}));
    assert_eq!(admit(other).unwrap_err().reason(), &Reason::Revoked);
    // Up to the last second of the longest token that existed then.
    let last = claims_with(json!({"sid": "s", "jti": "token-3", "iat": NOW + 5, "exp": NOW + 605}));
    clock.set(NOW + 604);
    assert_eq!(admit(last).unwrap_err().reason(), &Reason::Revoked);
    clock.set(NOW);
    at_once(authority.revoke_foreign_subject(ISSUER, "alice")).unwrap();
    assert_eq!(admit(claims_with(json!({"sid": "s2"}))).unwrap_err().reason(), &Reason::Revoked);
}

/// A subject without its issuer names nobody here: a revocation that hits nothing must not look like one that worked.
#[test]
fn a_verifier_has_no_subjects_of_its_own() {
    let authority = verifier(&clock())
        .store(MemoryStore::new())
        .max_token_lifetime(Duration::from_secs(600))
        .build()
        .unwrap();
    let refused = at_once(authority.revoke_subject("alice")).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Misused);
    assert!(refused.to_string().contains("`revoke_foreign_subject`"), "{refused}");
    let refused = at_once(authority.sessions("alice", Default::default())).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Misused);
}

#[test]
fn own_keys_and_none_are_not_exchanged_for_each_other() {
    let authority = verifier(&clock()).build().unwrap();
    assert!(authority.replace_keys(support::key()).is_err());
    assert!(authority.replace_keys(ring()).is_ok());
    assert!(support::builder(&clock()).build().unwrap().replace_keys(ring()).is_err());
    assert!(KeyRing::verify_only().retiring(support::key()).is_err());
    // A ring whose signing key was withdrawn has own keys all the same.
    let withdrawn = KeyRing::new(support::key()).withdrawing(support::key().kid());
    assert!(Authority::builder(withdrawn).audience("orders").build().is_err());
}

#[tokio::test]
async fn a_rotation_without_own_keys_follows_its_issuers() {
    let source = KeySet::verifying([support::key().into()]);
    let events = Arc::new(Mutex::new(Vec::new()));
    let of_keys = events.clone();
    let keys = KeyRotation::verify_only().trust(ISSUER, source);
    let keys = keys.on_event(move |event| of_keys.lock().unwrap().push(event.to_string()));
    let keys = keys.start().await.unwrap();
    let builder = Authority::builder(keys.clone()).audience(support::AUDIENCE).clock(clock());
    let of_authority = events.clone();
    let observe = move |event: &Event<'_>| of_authority.lock().unwrap().push(format!("{event:?}"));
    let authority = builder.on_event(observe).build().unwrap();
    // A clean start says which keys it has, and warns of nothing.
    let fingerprint = support::key().fingerprint().to_owned();
    assert_eq!(*events.lock().unwrap(), [format!("keys loaded: trusted HS256 {fingerprint}")]);
    assert!(authority.admit(&mint(&claims())).await.is_ok());
    assert!(matches!(authority.issue(Login::new("alice")).await, Err(IssueError::VerifyOnly)));
    assert!(authority.sign_out(&mint(&claims())).await.is_err());
    keys.withdraw(support::key().kid());
    assert!(authority.admit(&mint(&claims())).await.is_err());
    // Without any key left it still only verifies.
    assert!(matches!(authority.issue(Login::new("alice")).await, Err(IssueError::VerifyOnly)));
}
