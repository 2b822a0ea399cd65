//! `ReissueLayer::optional`: what reaches the handler without a token, and what does not.

use bytes::Bytes;
use http::header::COOKIE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{Cookie, Reason, Refusal, ReissueLayer, RequireScope, Source};
use tower_test::mock;

use crate::kit::*;
use crate::support::*;

/// A handler that says whom it sees.
async fn whom(request: Request<()>) -> Handled {
    let whom = token_of(&request).map_or("nobody", |token| token.subject().unwrap());
    Ok(Response::new(Full::from(whom.to_owned())))
}

fn optional(at: u64) -> ReissueLayer {
    ReissueLayer::new(stateless(at).0).optional()
}

#[tokio::test]
async fn a_request_without_a_credential_reaches_the_handler_and_carries_no_successor() {
    let basic = Request::builder().header("authorization", "Basic dXNlcjpwYXNz").body(()).unwrap();
    for (request, whose, carries) in
        [(bare(), "nobody", false), (basic, "nobody", false), (request(&mint(&claims())), "alice", true)]
    {
        let answer = optional(500).layer(service_fn(whom)).oneshot(request).await.unwrap();
        assert_status(&answer, 200);
        assert_eq!(successor(&answer).is_some(), carries);
        assert_eq!(text(answer).await, whose);
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_as_ever() {
    let bearer = |value: &str| Request::builder().header("authorization", value).body(()).unwrap();
    let expired = mint(&claims_with(json!({ "iat": NOW - 9_000, "exp": NOW - 8_000 })));
    let both = Request::builder()
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b")
        .body(())
        .unwrap();
    for (request, status, reason) in [
        (bearer("Bearer"), 400, Reason::MalformedCredential),
        (bearer("Bearer  a"), 400, Reason::MalformedCredential),
        (both, 400, Reason::SeveralCredentials),
        (bearer("DPoP a.b.c"), 401, Reason::UnsupportedScheme),
        (bearer("Bearer a.b.c"), 401, Reason::MalformedToken),
        (request(&expired), 401, Reason::Expired),
        (request(&mint(&claims_with(json!({ "aud": "another" })))), 401, Reason::WrongAudience),
    ] {
        let never = service_fn(async |_: Request<()>| -> Handled { panic!("the handler ran") });
        let answer = optional(0).layer(never).oneshot(request).await.unwrap();
        assert_status(&answer, status);
        assert_eq!(answer.extensions().get::<Refusal>().unwrap().reason(), &reason);
    }
}

#[tokio::test]
async fn a_dead_cookie_is_refused_and_removed_so_that_the_next_request_is_anonymous() {
    let (authority, _) = stateless(100_000);
    let layer =
        ReissueLayer::new(authority).read_from([Source::cookie(Cookie::new("session").unwrap())]).optional();
    let cookie = format!("__Host-session={}", mint(&claims()));
    let request = Request::builder().header(COOKIE, cookie).body(()).unwrap();
    let answer = layer.layer(service_fn(whom)).oneshot(request).await.unwrap();
    assert_status(&answer, 401);
    assert!(header(&answer, "set-cookie").unwrap().contains("Max-Age=0"), "{:?}", answer.headers());
    let answer = layer.layer(service_fn(whom)).oneshot(bare()).await.unwrap();
    assert_eq!(text(answer).await, "nobody");
}

#[tokio::test]
async fn a_cookie_that_can_hold_no_token_is_removed_so_that_the_next_request_is_anonymous() {
    let layer = optional(0).read_from([Source::cookie(Cookie::new("session").unwrap())]);
    let too_long = "x".repeat(9_000);
    for (value, status) in [
        ("", 400),
        ("x", 401),
        ("deleted", 401),
        ("\"\"", 401),
        ("a b", 401),
        ("a.b.c", 401),
        (&too_long, 401),
    ] {
        let cookie = format!("theme=dark; __Host-session={value}");
        let request = Request::builder().header(COOKIE, cookie).body(()).unwrap();
        let answer = layer.layer(service_fn(whom)).oneshot(request).await.unwrap();
        assert_status(&answer, status);
        let removal = header(&answer, "set-cookie");
        assert!(removal.is_some_and(|field| field.starts_with("__Host-session=; Max-Age=0")), "{value:?}");
    }
    // In a header it says nothing of a cookie.
    let answer = optional(0).layer(service_fn(whom)).oneshot(request("x")).await.unwrap();
    assert_status(&answer, 401);
    assert_eq!(header(&answer, "set-cookie"), None);
}

#[tokio::test]
async fn a_token_that_a_layer_further_out_put_there_is_removed() {
    let cookie = Source::cookie(Cookie::new("session").unwrap());
    let outer = ReissueLayer::new(stateless(0).0);
    let inner = ReissueLayer::new(stateless(0).0).read_from([cookie]).optional();
    let service = outer.layer(inner.layer(service_fn(whom)));
    let answer = service.oneshot(request(&mint(&claims()))).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "nobody");
}

/// A service that reads a user's token and another service's, each as claims of its own type. Either may be absent.
#[tokio::test]
async fn layers_of_two_types_of_claims_each_let_an_anonymous_request_through() {
    #[derive(serde::Deserialize)]
    struct Service {}
    let clock = tower_reissue::ManualClock::at(NOW);
    let cookie = Source::cookie(Cookie::new("session").unwrap());
    let of_services = builder(&clock).private_claims::<Service>().build().unwrap();
    let of_services = || ReissueLayer::new(of_services.clone()).read_from([cookie.clone()]).optional();
    for users_first in [true, false] {
        let services = || RequireScope::new("a").unwrap().private_claims::<Service>();
        let users = || RequireScope::new("a").unwrap();
        // 401 says that the requirement found a layer which let the request through; 500 that it found none.
        for is_of_users in [true, false] {
            let handler = service_fn(handler);
            let answer = match (users_first, is_of_users) {
                (true, true) => {
                    let inner = of_services().layer(users().layer(handler));
                    optional(0).layer(inner).oneshot(bare()).await.unwrap().map(drop)
                }
                (true, false) => {
                    let inner = of_services().layer(services().layer(handler));
                    optional(0).layer(inner).oneshot(bare()).await.unwrap().map(drop)
                }
                (false, true) => {
                    let inner = optional(0).layer(users().layer(handler));
                    of_services().layer(inner).oneshot(bare()).await.unwrap().map(drop)
                }
                (false, false) => {
                    let inner = optional(0).layer(services().layer(handler));
                    of_services().layer(inner).oneshot(bare()).await.unwrap().map(drop)
                }
            };
            assert_eq!(answer.status(), 401, "users' layer first: {users_first}, asked for: {is_of_users}");
        }
    }
}

/// What the inner service reserved is used by the anonymous request, not given back.
#[tokio::test]
async fn an_anonymous_request_goes_to_the_service_that_was_polled_ready() {
    let layer = optional(0);
    let (mut service, mut handle) =
        mock::spawn_with::<Request<()>, Response<Full<Bytes>>, _, _>(|inner| layer.layer(inner));
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let answer = tokio::spawn(service.call(bare()));
    let (seen, reply) = handle.next_request().await.unwrap();
    assert!(token_of(&seen).is_none());
    reply.send_response(ok());
    assert_status(&answer.await.unwrap().unwrap(), 200);
}
