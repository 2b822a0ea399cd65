//! What a handler has the layer do with the token of its caller: `Reissued`.

use std::convert::Infallible;
use std::future::ready;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::MemoryStore;
use tower_reissue::{
    Authority, Cookie, IssuedToken, Login, NoReissue, ReissueLayer, Reissued, Renewal, Source,
};

use crate::kit::*;
use crate::support::*;

async fn signed_in(authority: &Authority) -> String {
    let login = Login::new("alice").claims(&json!({ "scope": "read write" }));
    authority.issue(login).await.unwrap().into_string()
}

async fn read_only(authority: &Authority, token: &str) -> IssuedToken {
    let admitted = authority.admit(token).await.unwrap();
    authority.reissue_with(&admitted, Renewal::keep().scope("read")).await.unwrap()
}

/// A handler's response with this token for its caller.
fn with(token: &IssuedToken) -> Response<Full<Bytes>> {
    let mut response = ok();
    Reissued(token.clone()).put_into(&mut response);
    response
}

#[tokio::test]
async fn the_layer_sends_a_handlers_token_as_it_sends_one_that_is_due() {
    let (authority, clock, events) = storing(0, MemoryStore::new());
    let layer = ReissueLayer::new(authority.clone());
    let token = signed_in(&authority).await;
    for at in [10, 500] {
        // Not due, and due: one successor.
        clock.set(NOW + at);
        let narrowed = read_only(&authority, &token).await;
        events.take();
        let mut cross_origin = request(&token);
        cross_origin.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        cross_origin.headers_mut().insert("host", "api.example".parse().unwrap());
        let response = through(&layer, cross_origin, with(&narrowed)).await;
        assert_eq!(successor(&response).as_deref(), Some(narrowed.as_str()));
        assert!(response.headers()[HEADER].is_sensitive());
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert_eq!(header(&response, "access-control-expose-headers"), Some(HEADER));
        assert_eq!(header(&response, "reissue-replay"), None, "the mark is the layer's own");
        assert!(events.take().is_empty(), "its issue was reported");
        assert_eq!(payload(narrowed.as_str())["scope"], "read");
    }
}

#[tokio::test]
async fn a_cookies_token_is_replaced_in_its_cookie() {
    let (authority, clock, _) = storing(0, MemoryStore::new());
    let layer =
        ReissueLayer::new(authority.clone()).read_from([Source::cookie(Cookie::new("session").unwrap())]);
    let token = signed_in(&authority).await;
    clock.set(NOW + 10);
    let narrowed = read_only(&authority, &token).await;
    let request = Request::builder().header("cookie", format!("__Host-session={token}")).body(()).unwrap();
    let response = through(&layer, request, with(&narrowed)).await;
    let expected = format!("__Host-session={}; Max-Age=660; ", narrowed.as_str());
    assert!(header(&response, "set-cookie").unwrap().starts_with(&expected));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn another_token_of_the_session_may_take_its_place_and_one_of_another_may_not() {
    let (authority, clock, events) = storing(0, MemoryStore::new());
    let layer = ReissueLayer::new(authority.clone());
    let token = signed_in(&authority).await;
    let admitted = authority.admit(&token).await.unwrap();
    // In the window, where the token's own successor would be due.
    clock.set(NOW + 500);
    let stepped_up = Login::in_session(&admitted).claims(&json!({ "acr": "gold" }));
    let of_session = authority.issue(stepped_up).await.unwrap();
    let response = through(&layer, request(&token), with(&of_session)).await;
    assert_eq!(successor(&response).as_deref(), Some(of_session.as_str()));

    let of_bob = authority.issue(Login::new("bob")).await.unwrap();
    events.take();
    let response = through(&layer, request(&token), with(&of_bob)).await;
    assert_eq!(payload(&successor(&response).unwrap())["sub"], "alice", "her own is due");
    assert_eq!(events.take(), ["not_reissued not_renewable", "reissued renewed"]);
    // Nobody's session.
    let response = through(&layer.optional(), bare(), with(&of_bob)).await;
    assert_eq!((response.status(), successor(&response)), (StatusCode::OK, None));
    assert_eq!(events.take(), ["not_reissued not_renewable"]);
}

/// Two layers of two authorities: of the header, and inside it of a cookie.
#[tokio::test]
async fn of_two_layers_each_sends_its_own_token_and_leaves_the_others_alone() {
    let (outer, clock, outer_events) = storing(0, MemoryStore::new());
    let (inner, inner_clock, inner_events) = storing(0, MemoryStore::new());
    let cookie = Cookie::new("session").unwrap();
    let layers = ReissueLayer::new(inner.clone()).read_from([Source::cookie(cookie)]).optional();
    let (of_outer, of_inner) = (signed_in(&outer).await, signed_in(&inner).await);
    for now in [&clock, &inner_clock] {
        now.set(NOW + 10);
    }
    let for_outer = read_only(&outer, &of_outer).await;
    let for_inner = read_only(&inner, &of_inner).await;
    let for_bob = inner.issue(Login::new("bob")).await.unwrap();
    for (has_cookie, chosen, in_header, in_cookie) in [
        (true, &for_outer, true, false),
        (true, &for_inner, false, true),
        (true, &for_bob, false, false),
        // Anonymous for the inner layer.
        (false, &for_outer, true, false),
    ] {
        let mut request = request(&of_outer);
        if has_cookie {
            let field = format!("__Host-session={of_inner}").parse().unwrap();
            request.headers_mut().insert("cookie", field);
        }
        drop((outer_events.take(), inner_events.take()));
        let response = with(chosen);
        let handler = service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(response.clone())));
        let service = ReissueLayer::new(outer.clone()).layer(layers.layer(handler));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(successor(&response).as_deref(), in_header.then_some(chosen.as_str()));
        let field = header(&response, "set-cookie");
        assert_eq!(field.is_some_and(|field| field.contains(chosen.as_str())), in_cookie);
        assert_eq!(header(&response, "reissue-replay"), None);
        let unsent = (!in_header && !in_cookie).then_some("not_reissued not_renewable");
        assert_eq!(inner_events.take(), Vec::from_iter(unsent));
        assert!(outer_events.take().is_empty());
    }
}

#[tokio::test]
async fn a_response_that_can_carry_no_token_is_left_as_it_is() {
    let (authority, clock, events) = storing(0, MemoryStore::new());
    let token = signed_in(&authority).await;
    clock.set(NOW + 10);
    let narrowed = read_only(&authority, &token).await;
    type Change = fn(&mut Response<Full<Bytes>>);
    let cases: [(Change, Option<&str>); 3] = [
        (|response| assert!(response.extensions_mut().insert(NoReissue).is_none()), None),
        (|response| *response.status_mut() = StatusCode::NOT_MODIFIED, None),
        (|response| drop(response.headers_mut().insert(HEADER, "its own".parse().unwrap())), Some("its own")),
    ];
    for (change, carried) in cases {
        let mut response = with(&narrowed);
        change(&mut response);
        events.take();
        let response = through(&ReissueLayer::new(authority.clone()), request(&token), response).await;
        assert_eq!(successor(&response).as_deref(), carried);
        assert_eq!(events.take(), ["not_reissued suppressed"]);
    }
    // It is on record: whoever asks later gets it.
    clock.set(NOW + 500);
    let response = present(&authority, &token).await;
    assert_eq!(successor(&response).as_deref(), Some(narrowed.as_str()));

    let (authority, _, events) = storing(0, MemoryStore::new());
    let token = signed_in(&authority).await;
    let long = json!({ "of": "x".repeat(3_000) });
    let admitted = authority.admit(&token).await.unwrap();
    let long = authority.issue(Login::in_session(&admitted).claims(&long)).await.unwrap();
    events.take();
    let response = through(&ReissueLayer::new(authority), request(&token), with(&long)).await;
    assert_eq!(successor(&response), None);
    assert_eq!(events.take(), ["not_reissued head_too_large"]);
}
