//! Rule 11 over a store: it is trusted to order successors, and not to write claims.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::store::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreHorizon, SubjectId,
};
use tower_reissue::{ManualClock, NotReissued, NumericDate, Reason};

use crate::support::guarded::*;
use crate::support::*;

/// Answers every rotation with one head, whoever asks.
struct LyingStore(Arc<str>);

impl ClaimsStore for LyingStore {
    async fn standing(&self, _: &Presented) -> Result<Standing, StoreError> {
        Ok(Standing::Live)
    }

    async fn rotate(&self, _: Rotation) -> Result<Rotated, StoreError> {
        Ok(Rotated::Superseded { head: self.0.clone() })
    }

    async fn revoke(&self, _: Revocation, _: Retention) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sessions(&self, _: SubjectId, _: NumericDate, _: Page) -> Result<SessionPage, StoreError> {
        Ok(SessionPage::default())
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        Ok(StoreHorizon::new(need))
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        Some(StoreHorizon::new(need))
    }

    async fn raise_horizon(&self, _: Horizon, _: NumericDate) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The token whose head the store invents, and the head that it ought to have.
fn token() -> Value {
    claims_with(json!({
        "sid": "s-1", "session_start": NOW - 100, "role": "clerk", "aud": ["orders", "old"],
        "cnf": {"jkt": "x"}, "auth_time": NOW - 100, "amr": ["pwd"],
    }))
}

fn head() -> Value {
    let mut head = token();
    // The name that every node derives from the token's, here by one without a store.
    let clock = ManualClock::at(NOW + 590);
    let stateless = builder(&clock)
        .legacy_audience("old")
        .max_session_lifetime(Duration::from_secs(3_600))
        .confirm_with(|_, _| true);
    let derived = Guarded::new(&stateless.build().unwrap()).bearer(&mint(&token())).into_successor();
    for (name, value) in
        json!({"jti": payload(&derived)["jti"], "iat": NOW + 500, "exp": NOW + 1_100}).as_object().unwrap()
    {
        head[name] = value.clone();
    }
    head
}

/// What becomes of that head: signed, or refused, in the window and in the grace.
fn signed(head: &str) -> bool {
    let clock = ManualClock::at(NOW);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = seen.clone();
    let authority = builder(&clock)
        .legacy_audience("old")
        .max_session_lifetime(Duration::from_secs(3_600))
        .confirm_with(|_, _| true)
        .store(LyingStore(head.into()))
        .on_event(move |event| {
            if let tower_reissue::Event::NotReissued { why, .. } = event {
                events.lock().unwrap().push(*why);
            }
        })
        .build()
        .unwrap();
    let guarded = Guarded::new(&authority);
    clock.set(NOW + 590);
    let in_window = guarded.bearer(&mint(&token()));
    assert!(in_window.is_admitted(), "{head}: the good response is not harmed: {in_window:?}");
    clock.set(NOW + 610);
    let in_grace = guarded.bearer(&mint(&token()));
    assert!(!in_grace.ran, "{head}");
    assert_eq!(in_window.successor.is_some(), in_grace.successor.is_some(), "{head}");
    match in_window.successor {
        Some(successor) => {
            assert_eq!(in_grace.status, 401, "{head}");
            assert_eq!(payload_text(&successor), head);
        }
        None if *seen.lock().unwrap() == [NotReissued::TooLate; 2] => {
            // No node can exchange it.
            assert_eq!(in_grace.reason, Some(Reason::Expired), "{head}");
            let head: Value = serde_json::from_str(head).unwrap();
            assert!(head["exp"].as_u64().unwrap() <= NOW + 600, "{head}");
        }
        None => {
            // A node with other settings may accept it.
            assert_eq!(in_grace.status, 503, "{head}");
            assert_eq!(in_grace.reason, Some(Reason::StoreUnavailable), "{head}");
            assert_eq!(*seen.lock().unwrap(), [NotReissued::HeadMismatch; 2], "{head}");
        }
    }
    in_grace.successor.is_some()
}

#[test]
fn a_head_that_is_the_tokens_own_is_signed_as_it_was_recorded() {
    assert!(signed(&head().to_string()));
    for narrower in [json!(["orders"]), json!("orders"), json!(["old", "orders"])] {
        let mut head = head();
        head["aud"] = narrower;
        assert!(signed(&head.to_string()), "{head}");
    }
    assert!(signed(&format!(" {} ", head())), "blanks are no claims");
}

#[test]
fn a_head_that_could_not_have_come_from_the_token_is_never_signed() {
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"sub": "mallory"}),
        json!({"sub": null}),
        json!({"sid": "s-2"}),
        json!({"sid": null}),
        json!({"jti": null}),
        json!({"jti": "token-1"}),
        json!({"jti": "token-2"}),
        json!({"iat": NOW + 630}),
        json!({"nbf": NOW + 500}),
        json!({"session_start": NOW - 101}),
        json!({"session_start": NumericDate::MAX.as_secs(), "iat": NOW - 100}),
        json!({"role": "admin"}),
        json!({"role": null}),
        json!({"admin": true}),
        json!({"cnf": null}),
        json!({"cnf": {"jkt": "y"}}),
        json!({"auth_time": NOW + 100}),
        json!({"auth_time": null}),
        json!({"amr": ["pwd", "otp"]}),
        json!({"acr": "high"}),
        json!({"aud": ["orders", "payments"]}),
        json!({"aud": "payments"}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"session_start": NOW}),
        json!({"session_start": null}),
        json!({"exp": NOW + 3_501}),
        json!({"exp": NOW + 590}),
        json!({"exp": NOW + 600}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"iat": NOW + 1_100}),
        json!({"exp": "soon"}),
    ] {
        let mut head = head();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => head.as_object_mut().unwrap().remove(name),
                value => head.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        assert!(!signed(&head.to_string()), "{changes}");
    }
}

#[test]
fn a_head_that_is_no_claims_object_is_never_signed() {
    let head = head().to_string();
    for text in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("{head}{head}"),
        head.replacen('{', r#"{"role":"admin","#, 1),
        head.replacen('{', r#"{"r\u006fle":"admin","#, 1),
        head.replacen(r#""clerk""#, r#""cl\u0065rk""#, 1),
        mint(&token()),
    ] {
        assert!(!signed(&text), "{text}");
    }
}

/// Sessions without a limit don't bound a head: its own lifetime does, the node's or the token's, whichever is longer.
#[test]
fn a_head_lives_no_longer_than_a_node_or_its_predecessor_would_have_it() {
    for (lifetime, lives, is_signed) in [
        (600, 600, true),
        (600, 601, false),
        (600, 8_000_000_000, false),
        // A deployment that makes the lifetime shorter, or longer.
        (300, 600, true),
        (300, 601, false),
        (900, 900, true),
        (900, 901, false),
    ] {
        let mut head = head();
        head["exp"] = json!(NOW + 500 + lives);
        let clock = ManualClock::at(NOW + 590);
        let authority = builder(&clock)
            .dangerous()
            .unbounded_sessions()
            .lifetime(Duration::from_secs(lifetime))
            .legacy_audience("old")
            .confirm_with(|_, _| true)
            .store(LyingStore(head.to_string().into()))
            .build()
            .unwrap();
        let answer = Guarded::new(&authority).bearer(&mint(&token()));
        assert!(answer.is_admitted());
        assert_eq!(answer.successor.is_some(), is_signed, "{lifetime} s, and a head of {lives} s");
    }
}

/// The predecessor's true life is not known then, and a head always has an `iat`.
#[test]
fn a_head_of_a_token_without_iat_lives_as_long_as_the_nodes_own() {
    for (longest, lives, iat, is_signed) in [
        (600, 600, Some(NOW + 500), true),
        (600, 601, Some(NOW + 500), false),
        (2_000, 600, Some(NOW + 500), true),
        (2_000, 601, Some(NOW + 500), false),
        (600, 600, None, false),
    ] {
        let mut predecessor = token();
        predecessor.as_object_mut().unwrap().remove("iat");
        let mut head = head();
        head["exp"] = json!(NOW + 500 + lives);
        match iat {
            Some(iat) => head["iat"] = json!(iat),
            None => drop(head.as_object_mut().unwrap().remove("iat")),
        }
        let authority = builder(&ManualClock::at(NOW + 590))
            .accept_without_iat(Duration::from_secs(longest))
            .legacy_audience("old")
            .confirm_with(|_, _| true)
            .store(LyingStore(head.to_string().into()))
            .build()
            .unwrap();
        let answer = Guarded::new(&authority).bearer(&mint(&predecessor));
        assert!(answer.is_admitted(), "{answer:?}");
        assert_eq!(answer.successor.is_some(), is_signed, "of {longest} s, a head of {lives} s, iat {iat:?}");
    }
}
