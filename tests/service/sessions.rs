//! Sessions: reuse, revocation, signing out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{Page, Rotated, Standing, StoreErrorKind};
use tower_reissue::{
    Authority, Cookie, FixedBody, Login, ManualClock, MemoryStore, NoReissue, Reason, Refusal, ReissueLayer,
    RevokeEndpoint, Source,
};

use crate::kit::*;
use crate::support::*;

/// Tokens that live 60 s and are renewable after 30, with 10 s of leeway: a grandparent can still be presented.
fn short_lived(end_on_reuse: bool) -> (Authority, ManualClock, Events) {
    let (clock, events) = (ManualClock::at(NOW), Events::default());
    let mut builder = builder(&clock)
        .lifetime(Duration::from_secs(60))
        .leeway(Duration::from_secs(10))
        .grace(Duration::from_secs(29))
        .store(MemoryStore::new())
        .on_event(events.observe());
    if end_on_reuse {
        builder = builder.end_session_on_reuse();
    }
    (builder.build().unwrap(), clock, events)
}

/// Three generations; the clock is left at 62 s.
async fn three_generations(authority: &Authority, clock: &ManualClock) -> [String; 3] {
    let first = authority.issue(Login::new("alice")).await.unwrap().into_string();
    clock.set(NOW + 30);
    let second = successor(&present(authority, &first).await).expect("the second");
    clock.set(NOW + 62);
    let third = successor(&present(authority, &second).await).expect("the third");
    [first, second, third]
}

#[tokio::test]
async fn a_token_superseded_two_generations_ago_is_reported_and_not_renewed() {
    let (authority, clock, events) = short_lived(false);
    let [first, second, third] = three_generations(&authority, &clock).await;
    events.take();
    // Admitted by the leeway.
    let response = present(&authority, &first).await;
    assert_status(&response, 200);
    assert_eq!(successor(&response), None);
    assert_eq!(events.take(), ["reused 2", "not_reissued not_in_chain"]);
    // Expired: it can't be exchanged.
    clock.set(NOW + 72);
    let response = present(&authority, &first).await;
    assert_status(&response, 401);
    assert_eq!(successor(&response), None);
    assert_eq!(events.take(), ["reused 2", "refused expired"], "reported once");
    for token in [&second, &third] {
        assert_status(&present(&authority, token).await, 200);
    }
}

#[tokio::test]
async fn where_the_policy_says_so_reuse_ends_the_session() {
    for at in [62, 72] {
        let (authority, clock, events) = short_lived(true);
        let [first, second, third] = three_generations(&authority, &clock).await;
        clock.set(NOW + at);
        events.take();
        let response = present(&authority, &first).await;
        assert_status(&response, 401);
        assert_eq!(successor(&response), None);
        assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &Reason::Reused);
        assert_eq!(events.take(), ["revoked", "reused 2", "refused reused"]);
        for token in [&second, &third] {
            let response = present(&authority, token).await;
            assert_status(&response, 401);
            assert_eq!(successor(&response), None);
            assert_eq!(events.take(), ["refused revoked"]);
        }
    }
}

#[tokio::test]
async fn a_reused_token_is_not_refused_as_reused_while_the_session_may_still_be_live() {
    let store = Scripted {
        revoke: Reply::Fail(StoreErrorKind::Unavailable),
        ..Scripted::new(Reply::Now(Standing::Reused { generations: 3 }), Reply::Now(Rotated::Recorded))
    };
    let authority = builder(&ManualClock::at(NOW + 630)).store(store).end_session_on_reuse().build().unwrap();
    let response = present(&authority, &mint(&claims())).await;
    assert_status(&response, 503);
    assert_eq!(header(&response, "retry-after"), Some("1"));
}

#[tokio::test]
async fn a_slow_request_whose_token_was_superseded_twice_meanwhile_is_merely_not_renewed() {
    let (authority, clock, events) = short_lived(true);
    let first = authority.issue(Login::new("alice")).await.unwrap().into_string();
    clock.set(NOW + 30);
    let (meanwhile, ticking, token) = (authority.clone(), clock.clone(), first.clone());
    let slow = service_fn(move |_: Request<()>| {
        let (authority, clock, first) = (meanwhile.clone(), ticking.clone(), token.clone());
        async move {
            let second = successor(&present(&authority, &first).await).expect("the second");
            clock.set(NOW + 62);
            successor(&present(&authority, &second).await).expect("the third");
            Ok::<_, Infallible>(ok())
        }
    });
    let response = ReissueLayer::new(authority.clone()).layer(slow).oneshot(request(&first)).await.unwrap();
    assert_status(&response, 200);
    assert_eq!(successor(&response), None);
    assert!(!events.take().iter().any(|event| event.starts_with("reused") || event == "revoked"));
    assert_eq!(
        authority.sessions("alice", Page::default()).await.unwrap().sessions.len(),
        1,
        "the session lives"
    );
}

#[tokio::test]
async fn a_handler_that_ends_the_session_gets_no_successor() {
    let (authority, clock, events) = storing(0, MemoryStore::new());
    for by_subject in [false, true] {
        clock.set(NOW + if by_subject { 2_000 } else { 0 });
        let token = authority.issue(Login::new("alice")).await.unwrap().into_string();
        clock.advance(500);
        let revoking = authority.clone();
        let handler = service_fn(move |request: Request<()>| {
            let authority = revoking.clone();
            async move {
                match by_subject {
                    true => authority.revoke_subject("alice").await.unwrap(),
                    false => authority.revoke_session(token_of(&request).unwrap()).await.unwrap(),
                }
                Ok::<_, Infallible>(ok())
            }
        });
        events.take();
        let layer = ReissueLayer::new(authority.clone());
        let response = layer.layer(handler).oneshot(request(&token)).await.unwrap();
        assert_status(&response, 200);
        assert_eq!(successor(&response), None, "even without `NoReissue`");
        assert_eq!(events.take(), ["revoked", "not_reissued revoked"]);
        assert_status(&present(&authority, &token).await, 401);
    }
}

#[tokio::test]
async fn a_handler_may_suppress_the_successor() {
    let mut response = ok();
    response.extensions_mut().insert(NoReissue);
    let layer = ReissueLayer::new(stateless(500).0);
    let response = through(&layer, request(&mint(&claims())), response).await;
    assert!(response.headers().is_empty());
}

async fn sign_out(endpoint: &RevokeEndpoint, request: Request<()>) -> http::Response<FixedBody> {
    endpoint.clone().oneshot(request.map(|()| String::new())).await.unwrap()
}

fn post(mut request: Request<()>) -> Request<()> {
    *request.method_mut() = Method::POST;
    request
}

#[tokio::test]
async fn a_tombstone_beats_the_grace() {
    let (authority, clock, _) = storing(0, MemoryStore::new());
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let first = authority.issue(Login::new("alice")).await.unwrap().into_string();
    clock.set(NOW + 590);
    let second = successor(&present(&authority, &first).await).unwrap();
    // The client signs out with the one that has just expired.
    clock.set(NOW + 610);
    let response = sign_out(&endpoint, post(request(&first))).await;
    assert_status(&response, 204);
    assert!(response.headers().get(HEADER).is_none(), "never a successor");
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    for token in [&first, &second] {
        let response = present(&authority, token).await;
        assert_status(&response, 401);
        assert_eq!(successor(&response), None);
        assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &Reason::Revoked);
    }
    assert_status(&sign_out(&endpoint, post(request(&first))).await, 204);
}

#[tokio::test]
async fn signing_out_works_until_the_horizon_is_over_and_for_own_tokens_only() {
    let (authority, clock, _) = storing(0, MemoryStore::new());
    let endpoint = RevokeEndpoint::new(authority).unwrap();
    let token = mint(&claims());
    // The session limit, and the 60 s that a response in flight adds to it.
    for (at, status) in [(12 * 3600 + 59, 204), (12 * 3600 + 60, 401)] {
        clock.set(NOW + at);
        assert_status(&sign_out(&endpoint, post(request(&token))).await, status);
    }
    clock.set(NOW);
    let other = mint(&claims_with(json!({ "iss": "https://other.example" })));
    for (bad, status) in [(request(&other), 401), (request("x.y.z"), 401), (bare(), 401), (request(""), 400)]
    {
        assert_status(&sign_out(&endpoint, post(bad)).await, status);
    }
    let response = sign_out(&endpoint, request(&token)).await;
    assert_status(&response, 405);
    assert_eq!(header(&response, "allow"), Some("POST"));
}

#[tokio::test]
async fn signing_out_removes_the_cookie() {
    let cookie = Cookie::new("session").unwrap();
    let (authority, ..) = storing(0, MemoryStore::new());
    let endpoint = RevokeEndpoint::new(authority).unwrap().read_from([Source::cookie(cookie)]);
    let with = |token: &str| {
        let request = Request::post("/").header("sec-fetch-site", "same-origin");
        request.header("cookie", format!("a=b; __Host-session={token}")).body(()).unwrap()
    };
    for (token, status) in [(&*mint(&claims()), 204), ("x.y.z", 401)] {
        let response = sign_out(&endpoint, with(token)).await;
        assert_status(&response, status);
        assert_eq!(
            header(&response, "set-cookie"),
            Some("__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
    }
}

#[tokio::test]
async fn a_sign_out_that_was_not_recorded_is_a_503_and_keeps_the_cookie() {
    let store = Scripted {
        revoke: Reply::Fail(StoreErrorKind::Unavailable),
        ..Scripted::rotating(Reply::Now(Rotated::Recorded))
    };
    let (authority, _, events) = storing(0, Arc::new(store));
    let source = Source::cookie(Cookie::new("session").unwrap());
    let endpoint = RevokeEndpoint::new(authority).unwrap().read_from([source]);
    let cookie = format!("__Host-session={}", mint(&claims()));
    let request = Request::post("/").header("sec-fetch-site", "same-origin").header("cookie", cookie);
    let response = sign_out(&endpoint, request.body(()).unwrap()).await;
    assert_status(&response, 503);
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert!(response.headers().get("set-cookie").is_none());
    assert_eq!(events.take(), ["store_failed Unavailable", "refused store_unavailable"]);
}

#[tokio::test]
async fn a_stateless_authority_can_revoke_nothing_and_says_so() {
    let (authority, _) = stateless(0);
    assert!(!authority.can_revoke());
    assert!(RevokeEndpoint::new(authority.clone()).unwrap_err().to_string().contains("store"));
    let token = authority.admit(&mint(&claims())).await.unwrap();
    let kinds = [
        authority.revoke_session(&token).await.unwrap_err().kind(),
        authority.revoke_token(&token).await.unwrap_err().kind(),
        authority.revoke_subject("alice").await.unwrap_err().kind(),
        authority.sessions("alice", Page::default()).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [StoreErrorKind::Stateless; 4]);
    assert!(authority.sign_out(&mint(&claims())).await.is_err());
}
