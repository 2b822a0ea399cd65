//! Rule 14: the renewer of a token that is renewed in responses keeps, narrows or refuses its successor.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::store::{ClaimsStore, MemoryStore, Rotated, Rotation, StoreError};
use tower_reissue::{
    Authority, AuthorityBuilder, Event, ManualClock, NotReissued, NumericDate, Reason, Renewal,
    RenewalRequest, VerifiedToken,
};

use crate::support::guarded::*;
use crate::support::*;

fn recording(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).also_accept_audience("billing").store(CountingStore::default())
}

fn renewing(
    clock: &ManualClock,
    answer: impl Fn(RenewalRequest) -> Renewal + Send + Sync + 'static,
) -> Authority {
    recording(clock).renew_with(move |request| ready(Ok(answer(request)))).build().unwrap()
}

/// A token with scopes and audiences, in its renewal window at `NOW + 500`.
fn token(changes: Value) -> String {
    let mut claims = json!({
        "aud": ["other", AUDIENCE, "billing"], "scope": "read write", "role": "clerk", "sid": "s-1",
        "session_start": NOW,
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    mint(&claims_with(claims))
}

#[test]
fn a_renewer_narrows_scopes_and_audiences_and_nothing_else() {
    type Answer = fn(RenewalRequest) -> Renewal;
    let cases: [(Answer, Value, Value); 6] = [
        (|_| Renewal::keep(), json!("read write"), json!(["other", AUDIENCE, "billing"])),
        (|_| Renewal::keep().scope("read"), json!("read"), json!(["other", AUDIENCE, "billing"])),
        (
            |_| Renewal::keep().scope("write admin read"),
            json!("read write"),
            json!(["other", AUDIENCE, "billing"]),
        ),
        (|_| Renewal::keep().scope(""), json!(""), json!(["other", AUDIENCE, "billing"])),
        (|_| Renewal::keep().audience(["billing", "new"]), json!("read write"), json!(["billing"])),
        (|_| Renewal::keep().scope("write").audience([AUDIENCE]), json!("write"), json!([AUDIENCE])),
    ];
    for (answer, scope, audience) in cases {
        let clock = ManualClock::at(NOW + 500);
        let guarded = Guarded::new(&renewing(&clock, answer));
        let text = token(json!({}));
        let response = guarded.bearer(&text);
        assert!(response.is_admitted(), "{response:?}");
        let successor = payload(&response.into_successor());
        assert_eq!((&successor["scope"], &successor["aud"]), (&scope, &audience));
        let kept = |mut claims: Value| {
            let members = claims.as_object_mut().unwrap();
            members.retain(|name, _| !["scope", "aud", "jti", "iat", "exp"].contains(&&**name));
            claims
        };
        assert_eq!(kept(successor), kept(payload(&text)));
        // In the grace it is exchanged for the same: what is on record counts.
        clock.set(NOW + 620);
        let exchanged = payload(&guarded.bearer(&text).into_successor());
        assert_eq!((&exchanged["scope"], &exchanged["aud"]), (&scope, &audience));
    }
}

/// A right that was taken away meanwhile, of a session whose successor with it is on record.
#[test]
fn a_head_on_record_with_more_than_the_renewer_leaves_by_now_is_not_sent() {
    let less: [fn() -> Renewal; 2] =
        [|| Renewal::keep().scope("read"), || Renewal::keep().audience([AUDIENCE])];
    for less in less {
        let clock = ManualClock::at(NOW + 500);
        let narrows = Arc::new(AtomicBool::new(false));
        let is_narrower = Arc::clone(&narrows);
        let authority =
            renewing(
                &clock,
                move |_| {
                    if is_narrower.load(Ordering::SeqCst) { less() } else { Renewal::keep() }
                },
            );
        let text = token(json!({}));
        let guarded = Guarded::new(&authority);
        let recorded = guarded.bearer(&text).into_successor();
        narrows.store(true, Ordering::SeqCst);
        clock.set(NOW + 510);
        let again = guarded.bearer(&text);
        assert!(again.is_admitted() && again.successor.is_none(), "{again:?}");
        let asked = at_once(authority.reissue(&admit(&authority, &text)));
        assert_eq!(asked.unwrap_err(), NotReissued::AlreadyReissued);
        // Its holder gets less in turn.
        clock.set(NOW + 1_010);
        let next = payload(&guarded.bearer(&recorded).into_successor());
        let left = (next["scope"] == "read", next["aud"] == json!([AUDIENCE]));
        assert!(left.0 != left.1, "{next}");
        // In the grace too, of another session.
        narrows.store(false, Ordering::SeqCst);
        clock.set(NOW + 500);
        let text = token(json!({ "sid": "s-2", "jti": "of s-2" }));
        guarded.bearer(&text).into_successor();
        narrows.store(true, Ordering::SeqCst);
        clock.set(NOW + 620);
        let late = guarded.bearer(&text);
        assert_eq!((late.status, late.reason, late.successor), (401, Some(Reason::Expired), None));
    }
}

#[test]
fn a_renewer_is_asked_with_the_tokens_claims_and_once() {
    let clock = ManualClock::at(NOW + 479);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let authority = renewing(&clock, move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!((request.subject(), request.is_refresh()), (Some("alice"), false));
        assert_eq!(request.claim::<String>("role").unwrap().as_deref(), Some("clerk"));
        Renewal::keep()
    });
    let guarded = Guarded::new(&authority);
    let text = token(json!({}));
    assert_eq!(guarded.bearer(&text).successor, None);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing is due");
    clock.set(NOW + 480);
    assert!(guarded.bearer(&text).successor.is_some());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // A successor that is declined by the predicate is not asked about.
    let declined = recording(&clock).renew_if(|_| false).renew_with(|_| async { panic!("it is asked") });
    assert_eq!(Guarded::new(&declined.build().unwrap()).bearer(&text).successor, None);
}

#[test]
fn a_renewer_that_says_no_harms_no_response_and_spends_nothing() {
    type Answer = fn() -> Result<Renewal, Box<dyn std::error::Error + Send + Sync>>;
    let cases: [(Answer, NotReissued, u16); 5] = [
        (|| Ok(Renewal::refuse("blocked")), NotReissued::Declined, 401),
        (|| Ok(Renewal::keep().audience([""; 0])), NotReissued::Declined, 401),
        // None of those that are accepted here.
        (|| Ok(Renewal::keep().audience(["other"])), NotReissued::Declined, 401),
        (|| Err("down".into()), NotReissued::RenewerFailed, 503),
        (|| Ok(Renewal::keep().claims(&json!({ "role": "admin" }))), NotReissued::RenewerFailed, 503),
    ];
    for (n, (answer, why, status)) in cases.into_iter().enumerate() {
        let clock = ManualClock::at(NOW + 500);
        let store = Arc::new(MemoryStore::new());
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let reported = told.clone();
        let authority = recording(&clock).store(store.clone()).renew_with(move |_| ready(answer()));
        let authority = authority.on_event(move |event| {
            if let Event::NotReissued { why, .. } = event {
                reported.lock().unwrap().push(*why);
            }
        });
        let guarded = Guarded::new(&authority.build().unwrap());
        let text = token(json!({}));
        let response = guarded.bearer(&text);
        assert!(response.is_admitted() && response.successor.is_none(), "{n}: {response:?}");
        assert_eq!(*told.lock().unwrap(), [why], "{n}");
        clock.set(NOW + 620);
        let refused = guarded.bearer(&text);
        refused.assert_refused(status, &n);
        let reason = if status == 503 { Reason::RenewerUnavailable } else { Reason::Expired };
        assert_eq!(refused.reason, Some(reason), "{n}");
        // Nothing was recorded: another node may still renew it.
        let good = Guarded::new(&recording(&clock).store(store).build().unwrap());
        assert_eq!(payload(&good.bearer(&text).into_successor())["iat"], NOW + 620, "{n}");
    }
}

/// A head with more than its predecessor has is never signed, whoever wrote it.
#[test]
fn a_head_may_hold_fewer_scopes_and_never_more() {
    for (head, good) in [
        (json!({ "scope": "read" }), true),
        (json!({ "scope": "write read" }), true),
        (json!({ "scope": "" }), true),
        (json!({ "scope": "read admin" }), false),
        (json!({ "scope": ["read", "write", "admin"] }), false),
        (json!({ "scope": null }), false),
        (json!({ "scope": "read", "scp": "admin" }), false),
        (json!({ "role": "admin" }), false),
        (json!({ "aud": [AUDIENCE, "payments"] }), false),
    ] {
        let clock = ManualClock::at(NOW + 500);
        let store = Arc::new(MemoryStore::new());
        let authority = recording(&clock).store(store.clone()).build().unwrap();
        let text = token(json!({}));
        let first = Guarded::new(&authority).bearer(&text).into_successor();
        // The same head as somebody else would have it.
        let mut planted = payload(&first);
        planted.as_object_mut().unwrap().extend(head.as_object().unwrap().clone());
        let planting = Planted { inner: store, head: planted.to_string().into() };
        let reader = recording(&clock).store(planting).build().unwrap();
        let answer = Guarded::new(&reader).bearer(&text);
        assert!(answer.is_admitted());
        assert_eq!(answer.successor.is_some(), good, "{head}");
    }
}

/// A store in which somebody wrote a head.
struct Planted {
    inner: Arc<MemoryStore>,
    head: Arc<str>,
}

impl ClaimsStore for Planted {
    forward!(inner: standing, revoke, sessions, horizon, horizon_now, raise_horizon);

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        self.inner.rotate(rotation).await?;
        Ok(Rotated::Superseded { head: self.head.clone() })
    }
}

fn admit(authority: &Authority, token: &str) -> VerifiedToken {
    at_once(authority.admit(token)).unwrap()
}

#[test]
fn a_handler_can_have_the_successor_before_it_is_due() {
    let clock = ManualClock::at(NOW);
    let authority = renewing(&clock, |_| Renewal::keep().scope("read"));
    let text = token(json!({}));
    let admitted = admit(&authority, &text);
    clock.set(NOW + 10);
    let early = at_once(authority.reissue(&admitted)).unwrap();
    let claims = payload(early.as_str());
    assert_eq!(
        (&claims["iat"], &claims["scope"], &claims["jti"]),
        (&json!(NOW + 10), &json!("read"), &json!(early.jti()))
    );
    assert_eq!(early.session(), admitted.session());
    // There is one successor, however often it is asked for, and whoever sends it.
    assert_eq!(at_once(authority.reissue(&admitted)).unwrap().as_str(), early.as_str());
    clock.set(NOW + 500);
    assert_eq!(Guarded::new(&authority).bearer(&text).into_successor(), early.as_str());
    assert!(Guarded::new(&authority).bearer(early.as_str()).is_admitted());
    let next = at_once(authority.reissue(&admit(&authority, early.as_str()))).unwrap();
    assert_ne!(next.jti(), early.jti());
}

#[test]
fn what_has_no_successor_has_none_on_request() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = recording(&clock).store(store.clone()).build().unwrap();
    let admitted = admit(&authority, &token(json!({})));
    let why = |authority: &Authority, token: &VerifiedToken| at_once(authority.reissue(token)).unwrap_err();
    let unrenewable = admit(&authority, &token(json!({ "sliding": false, "jti": "other" })));
    assert_eq!(why(&authority, &unrenewable), NotReissued::NotRenewable);
    assert_eq!(why(&recording(&clock).build().unwrap(), &admitted), NotReissued::NotRenewable, "another's");
    let declining = renewing(&clock, |_| Renewal::refuse("blocked"));
    assert_eq!(why(&declining, &admit(&declining, &token(json!({})))), NotReissued::Declined);
    let stateless = builder(&clock).build().unwrap();
    let derived = admit(&stateless, &mint(&claims()));
    assert_eq!(why(&stateless, &derived), NotReissued::NeedsStore);
    clock.set(NOW + 480);
    let successor = at_once(stateless.reissue(&derived)).unwrap();
    assert_eq!(Guarded::new(&stateless).bearer(&mint(&claims())).into_successor(), successor.as_str());

    clock.set(NOW + 600);
    assert_eq!(why(&authority, &admitted), NotReissued::TooLate);
    clock.set(NOW + 10);
    store.fail_to_rotate();
    assert_eq!(why(&authority, &admitted), NotReissued::StoreFailed);
    at_once(authority.revoke_session(&admitted)).unwrap();
    assert_eq!(why(&authority, &admitted), NotReissued::Revoked);
}

#[test]
fn a_handler_narrows_the_successor_and_nothing_else() {
    let clock = ManualClock::at(NOW + 10);
    let authority = recording(&clock).build().unwrap();
    let text = token(json!({}));
    let admitted = admit(&authority, &text);
    let wanted = || Renewal::keep().scope("read admin").audience([AUDIENCE, "new"]);
    let narrowed = at_once(authority.reissue_with(&admitted, wanted())).unwrap();
    let claims = payload(narrowed.as_str());
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("read"), &json!([AUDIENCE])));
    assert_eq!((&claims["role"], &claims["sid"]), (&json!("clerk"), &json!("s-1")));
    // It is the token's one successor, whoever asks for it and sends it.
    let again = at_once(authority.reissue_with(&admitted, wanted())).unwrap();
    assert_eq!(again.as_str(), narrowed.as_str());
    assert_eq!(at_once(authority.reissue(&admitted)).unwrap().as_str(), narrowed.as_str());
    // On record is less than that.
    let keep = at_once(authority.reissue_with(&admitted, Renewal::keep())).unwrap();
    assert_eq!(keep.as_str(), narrowed.as_str());
    clock.set(NOW + 500);
    assert_eq!(Guarded::new(&authority).bearer(&text).into_successor(), narrowed.as_str());
    // And so it stays.
    clock.set(NOW + 600);
    let next = payload(&Guarded::new(&authority).bearer(narrowed.as_str()).into_successor());
    assert_eq!((&next["scope"], &next["aud"]), (&json!("read"), &json!([AUDIENCE])));
}

/// A sign-in after a revocation is dated ahead, and so is one on a machine whose clock is ahead.
#[test]
fn a_successor_is_no_older_than_its_session() {
    for ahead in [1, 5] {
        let clock = ManualClock::at(NOW - ahead);
        let store = Arc::new(MemoryStore::new());
        let of = |lifetime| {
            recording(&clock).store(store.clone()).lifetime(Duration::from_secs(lifetime)).build().unwrap()
        };
        // Its lifetime is longer than the token's, so there is a successor at once.
        let authority = of(900);
        let text = token(json!({ "session_start": NOW }));
        let admitted = admit(&authority, &text);
        let successor = at_once(authority.reissue(&admitted)).unwrap();
        let claims = payload(successor.as_str());
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW), &json!(NOW + 900)), "{ahead}");
        assert_eq!(successor.expires_at(), NumericDate::from_secs(NOW + 900));
        for node in [&authority, &of(900)] {
            admit(node, successor.as_str());
        }
        // It is the one that every node sends.
        clock.set(NOW + 590);
        assert_eq!(Guarded::new(&of(900)).bearer(&text).into_successor(), successor.as_str());
    }
}

/// Software that reads the other claim must not see more, and a claim of another type holds no scope.
#[test]
fn both_claims_of_scopes_are_narrowed_and_what_is_no_list_is_kept() {
    for (scope, scp, expected) in [
        (json!("read write"), json!(["read", "write"]), (json!("read"), json!(["read"]))),
        (json!(["write"]), json!("write read"), (json!([]), json!("read"))),
        (json!({ "read": true }), json!("read write"), (json!({ "read": true }), json!("read"))),
        (json!("read write"), json!(["read", 1]), (json!("read"), json!(["read", 1]))),
        (json!(false), json!(["read", 1]), (json!(false), json!(["read", 1]))),
    ] {
        let clock = ManualClock::at(NOW + 10);
        let authority = recording(&clock).build().unwrap();
        let admitted = admit(&authority, &token(json!({ "scope": scope, "scp": scp })));
        let ask = || at_once(authority.reissue_with(&admitted, Renewal::keep().scope("read"))).unwrap();
        let successor = ask();
        let claims = payload(successor.as_str());
        assert_eq!((claims["scope"].clone(), claims["scp"].clone()), expected);
        // Whoever asks again gets it again, so it is not recorded for nothing.
        assert_eq!(ask().as_str(), successor.as_str(), "{claims}");
    }
}

#[test]
fn a_handler_gets_no_successor_with_more_than_it_wants() {
    let clock = ManualClock::at(NOW + 10);
    let authority = recording(&clock).build().unwrap();
    let admitted = admit(&authority, &token(json!({})));
    let recorded = at_once(authority.reissue(&admitted)).unwrap();
    for wanted in [Renewal::keep().scope("read"), Renewal::keep().audience([AUDIENCE])] {
        assert_eq!(
            at_once(authority.reissue_with(&admitted, wanted)).unwrap_err(),
            NotReissued::AlreadyReissued
        );
    }
    // The one on record can be narrowed in turn.
    clock.set(NOW + 20);
    let head = admit(&authority, recorded.as_str());
    let narrowed = at_once(authority.reissue_with(&head, Renewal::keep().scope("read"))).unwrap();
    assert_eq!(payload(narrowed.as_str())["scope"], "read");
}

#[test]
fn a_handler_and_the_renewer_both_narrow() {
    let clock = ManualClock::at(NOW + 10);
    let authority =
        renewing(&clock, |_| Renewal::keep().scope("read delete").audience([AUDIENCE, "billing"]));
    let admitted = admit(&authority, &token(json!({ "scope": ["read", "write", "delete"] })));
    let wanted = Renewal::keep().scope("write delete").audience(["other", AUDIENCE]);
    let claims = payload(at_once(authority.reissue_with(&admitted, wanted)).unwrap().as_str());
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!(["delete"]), &json!([AUDIENCE])));
}

#[test]
fn what_a_handler_may_not_have_spends_nothing() {
    let clock = ManualClock::at(NOW + 10);
    let store = CountingStore::default();
    let authority = recording(&clock).store(store).build().unwrap();
    let text = token(json!({}));
    let admitted = admit(&authority, &text);
    for (wanted, why) in [
        (Renewal::refuse("no"), NotReissued::Declined),
        (Renewal::keep().audience(["other"]), NotReissued::Declined),
        (Renewal::keep().claims(&json!({ "role": "admin" })), NotReissued::RenewerFailed),
    ] {
        assert_eq!(at_once(authority.reissue_with(&admitted, wanted)).unwrap_err(), why);
    }
    let first = at_once(authority.reissue(&admitted)).unwrap();
    assert_eq!(payload(first.as_str())["scope"], "read write", "none was recorded before");

    let narrow = || Renewal::keep().scope("read");
    let why = |authority: &Authority, text: &str| {
        at_once(authority.reissue_with(&admit(authority, text), narrow())).unwrap_err()
    };
    let declining = recording(&clock).renew_if(|_| false).build().unwrap();
    assert_eq!(why(&declining, &text), NotReissued::Declined);
    let refusing = renewing(&clock, |_| Renewal::refuse("blocked"));
    assert_eq!(why(&refusing, &text), NotReissued::Declined);
    // The access token of a pair.
    let of_pair = token(json!({ "sliding": false, "jti": "other" }));
    assert_eq!(why(&authority, &of_pair), NotReissued::NotRenewable);
    // The session's limit is 12 h, and its last token has no successor.
    let last = token(json!({ "jti": "last", "session_start": NOW + 600 - 12 * 3600 }));
    assert_eq!(why(&authority, &last), NotReissued::TooLate);
    // Without a store every node derives the same successor, within the window too.
    let stateless = builder(&clock).also_accept_audience("billing").build().unwrap();
    assert_eq!(why(&stateless, &text), NotReissued::NeedsStore);
    clock.set(NOW + 500);
    assert_eq!(why(&stateless, &text), NotReissued::NeedsStore);
}
