//! A store orders successors; it does not get to write claims.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower_reissue::store::{Rotated, Standing};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock};

use crate::kit::*;
use crate::support::*;

fn own_claims() -> Value {
    claims_with(json!({ "sid": "s1", "session_start": NOW, "role": "clerk", "cnf": { "jkt": "k" } }))
}

/// What an honest store would have recorded for the token of [`own_claims`].
fn honest() -> Value {
    let mut head = own_claims();
    // The name that every node derives from the token's.
    head["jti"] = json!(derived_jti());
    head["iat"] = json!(NOW + 490);
    head["exp"] = json!(NOW + 1090);
    head
}

fn derived_jti() -> String {
    let authority = builder(&ManualClock::at(NOW + 500)).confirm_with(|_, _| true).build().unwrap();
    let answer = present(&authority, &mint(&own_claims())).now_or_never().expect("nothing to wait for");
    payload(&successor(&answer).expect("a successor"))["jti"].as_str().unwrap().to_owned()
}

fn over(head: String, at: u64) -> (AuthorityBuilder, Events) {
    let events = Events::default();
    let store = Scripted::rotating(Reply::Now(Rotated::Superseded { head: head.into() }));
    let builder = builder(&ManualClock::at(NOW + at))
        .store(store)
        .legacy_audience("old-orders")
        .on_event(events.observe())
        .confirm_with(|_, _| true);
    (builder, events)
}

async fn given(authority: &Authority) -> Answer {
    present(authority, &mint(&own_claims())).await
}

/// Each answer counts for what was asked: the first admits or forbids the exchange, the second makes a successor.
#[tokio::test]
async fn a_store_that_says_reused_and_then_recorded_is_believed_each_time() {
    let reused = || Reply::Now(Standing::Reused { generations: 3 });
    for (at, ends, status, renewed, told) in [
        // Before its `exp` a token is no reuse, whatever became of its session.
        (500, false, 200, true, &["reissued renewed"][..]),
        (500, true, 200, true, &["reissued renewed"]),
        // In the grace the first forbids the exchange, so the second is not asked for.
        (630, false, 401, false, &["reused 3", "refused expired"]),
        (630, true, 401, false, &["revoked", "reused 3", "refused reused"]),
    ] {
        let events = Events::default();
        let store = Scripted::new(reused(), Reply::Now(Rotated::Recorded));
        let builder = builder(&ManualClock::at(NOW + at)).store(store).on_event(events.observe());
        let builder = if ends { builder.end_session_on_reuse() } else { builder };
        let response = present(&builder.build().unwrap(), &mint(&claims())).await;
        assert_status(&response, status);
        assert_eq!(successor(&response).is_some(), renewed, "at {at}");
        assert_eq!(events.take(), told, "at {at}");
    }
    // Between the two calls of an exchange the session went on elsewhere: only the rotation says it.
    for (ends, told) in
        [(false, &["reused 2", "refused expired"][..]), (true, &["revoked", "reused 2", "refused reused"])]
    {
        let events = Events::default();
        let store = Scripted::rotating(Reply::Now(Rotated::Reused { generations: 2 }));
        let builder = builder(&ManualClock::at(NOW + 630)).store(store).on_event(events.observe());
        let builder = if ends { builder.end_session_on_reuse() } else { builder };
        let response = present(&builder.build().unwrap(), &mint(&claims())).await;
        assert_status(&response, 401);
        assert_eq!(
            (successor(&response), events.take()),
            (None, told.iter().map(ToString::to_string).collect())
        );
    }
    // The rotation says it first, and records at the next request.
    let replies = std::sync::Mutex::new(vec![Rotated::Recorded, Rotated::Reused { generations: 2 }]);
    let store = Scripted {
        rotate: Box::new(move |_| Reply::Now(replies.lock().unwrap().pop().expect("two calls"))),
        ..Scripted::rotating(Reply::Never)
    };
    let (authority, _, events) = storing(500, store);
    for (renewed, told) in [(false, "not_reissued not_in_chain"), (true, "reissued renewed")] {
        let response = present(&authority, &mint(&claims())).await;
        assert_status(&response, 200);
        assert_eq!((successor(&response).is_some(), events.take()), (renewed, vec![told.to_owned()]));
    }
}

#[tokio::test]
async fn an_honest_head_is_signed_as_it_was_recorded() {
    for (at, status) in [(500, 200), (630, 401)] {
        let (builder, _) = over(honest().to_string(), at);
        let response = given(&builder.build().unwrap()).await;
        assert_status(&response, status);
        assert_eq!(payload_text(&successor(&response).expect("the head")), honest().to_string());
    }
}

#[tokio::test]
async fn a_head_mismatch_is_never_signed() {
    let changed = |name: &str, value: Value| {
        let mut head = honest();
        head[name] = value;
        head.to_string()
    };
    let without = |name: &str| {
        let mut head = honest();
        head.as_object_mut().unwrap().remove(name);
        head.to_string()
    };
    for head in [
        changed("iss", json!("https://evil.example")),
        changed("sub", json!("mallory")),
        changed("sid", json!("s2")),
        changed("aud", json!("payments")),
        changed("aud", json!([AUDIENCE, "payments"])),
        changed("aud", json!([AUDIENCE, "old-orders"])),
        changed("role", json!("admin")),
        changed("extra", json!(true)),
        changed("cnf", json!({ "jkt": "thief" })),
        changed("session_start", json!(NOW + 1)),
        changed("exp", json!(NOW + 12 * 3600 + 1)),
        changed("exp", json!(NOW + 480)),
        changed("exp", json!("2030-01-01")),
        without("iss"),
        without("sub"),
        without("sid"),
        without("jti"),
        without("role"),
        without("cnf"),
        without("session_start"),
        without("exp"),
        "{}".to_owned(),
        String::new(),
        format!("{},\"sub\":\"mallory\"}}", honest().to_string().trim_end_matches('}')),
    ] {
        for (at, status, label) in [(500, 200, None), (630, 503, Some("refused store_unavailable"))] {
            let (builder, events) = over(head.clone(), at);
            let response = given(&builder.build().unwrap()).await;
            assert_status(&response, status);
            assert_eq!(successor(&response), None, "{head}");
            let expected: Vec<_> = ["not_reissued head_mismatch"].into_iter().chain(label).collect();
            assert_eq!(events.take(), expected, "{head}");
        }
    }
    // A head that is no longer of use is no mismatch, and no node can exchange it.
    for (at, status, label) in [(500, 200, None), (630, 401, Some("refused expired"))] {
        let (builder, events) = over(changed("exp", json!(NOW + 600)), at);
        let response = given(&builder.build().unwrap()).await;
        assert_status(&response, status);
        assert_eq!(successor(&response), None);
        let expected: Vec<_> = ["not_reissued too_late"].into_iter().chain(label).collect();
        assert_eq!(events.take(), expected);
    }
}

#[tokio::test]
async fn a_head_that_is_dead_by_now_is_not_signed() {
    let (builder, events) = over(honest().to_string(), 0);
    let clock = ManualClock::at(NOW + 500);
    let token = mint(&own_claims());
    let authority = builder.clock(clock.clone()).in_flight_allowance(Duration::MAX).build().unwrap();
    let handler = tower::service_fn(move |_: http::Request<()>| {
        clock.set(NOW + 1090);
        async { Ok::<_, std::convert::Infallible>(ok()) }
    });
    let layer = tower_reissue::ReissueLayer::new(authority);
    let service = tower::Layer::layer(&layer, handler);
    let response = tower::ServiceExt::oneshot(service, request(&token)).await.unwrap();
    assert_eq!(successor(&response), None);
    assert_eq!(events.take(), ["not_reissued too_late"]);
}
