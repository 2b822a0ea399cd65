//! `RequireScope` as a tower service: readiness, what it wraps, and a refusal whose successor the store records.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reissue::store::{Rotated, Standing};
use tower_reissue::{Refusal, ReissueLayer, RequestHead, RequireScope};
use tower_test::mock;

use crate::kit::*;
use crate::support::*;

fn scope() -> RequireScope {
    RequireScope::new("orders:read").unwrap()
}

fn with_token(claims: serde_json::Value) -> Request<()> {
    request(&mint(&claims_with(claims)))
}

#[tokio::test]
async fn readiness_is_the_inner_services_and_a_refusal_never_reaches_it() {
    let layer = ReissueLayer::new(stateless(0).0);
    let (mut service, mut handle) = mock::spawn_with::<Request<()>, Response<Full<Bytes>>, _, _>(|inner| {
        layer.layer(scope().layer(inner))
    });
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let refused = service.call(with_token(json!({}))).await.unwrap();
    assert_status(&refused, 403);
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let response = tokio::spawn(service.call(with_token(json!({ "scope": "orders:read" }))));
    let (seen, reply) = handle.next_request().await.unwrap();
    assert!(token_of(&seen).unwrap().has_scope("orders:read"));
    reply.send_response(ok());
    assert_status(&response.await.unwrap().unwrap(), 200);
}

/// A permit that is kept would starve the next request.
#[tokio::test]
async fn a_refusal_gives_back_what_readiness_reserved() {
    let limited = ConcurrencyLimit::new(service_fn(handler), 1);
    let mut service = ReissueLayer::new(stateless(0).0).layer(scope().layer(limited));
    for _ in 0..3 {
        let answer = service.ready().await.unwrap().call(with_token(json!({}))).await.unwrap();
        assert_status(&answer, 403);
    }
    let answer = service.ready().await.unwrap().call(with_token(json!({ "scope": "orders:read" })));
    assert_status(&answer.await.unwrap(), 200);
}

/// Answers with this status.
#[derive(Clone, Debug, PartialEq)]
struct Answers(u16);

impl Service<Request<()>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let response = Response::builder().status(self.0).body(Full::default());
        ready(Ok(response.unwrap()))
    }
}

#[tokio::test]
async fn the_wrapped_service_can_be_read_changed_and_taken_back() {
    let mut service = ReissueLayer::new(stateless(0).0).layer(scope().layer(Answers(200)));
    assert_eq!(service.get_ref().get_ref(), &Answers(200));
    *service.get_mut().get_mut() = Answers(204);
    for (claims, status) in [(json!({ "scope": "orders:read" }), 204), (json!({}), 403)] {
        let answer = service.ready().await.unwrap().call(with_token(claims)).await.unwrap();
        assert_status(&answer, status);
    }
    // What is sent past either guard is not checked by it.
    let past_the_layer = service.get_mut().call(bare()).await.unwrap();
    assert_status(&past_the_layer, 500);
    let past_both = service.get_mut().get_mut().call(bare()).await.unwrap();
    assert_status(&past_both, 204);
    assert_eq!(service.into_inner().into_inner(), Answers(204));
}

#[tokio::test]
async fn a_refusal_waits_for_the_store_to_record_its_successor() {
    let rotated = |store| async move {
        let (authority, _, events) = storing(500, store);
        let service = ReissueLayer::new(authority).layer(scope().layer(service_fn(handler)));
        let answer = service.oneshot(with_token(json!({}))).await.unwrap();
        assert_status(&answer, 403);
        assert!(header(&answer, "www-authenticate").unwrap().ends_with("scope=\"orders:read\""));
        let carries = answer.headers().contains_key(HEADER);
        (carries, events.take())
    };
    let store = Scripted::new(Reply::Now(Standing::Live), Reply::Now(Rotated::Recorded));
    assert_eq!(
        rotated(store).await,
        (true, vec!["refused insufficient_scope".to_owned(), "reissued renewed".to_owned()])
    );
    let store = Scripted::new(Reply::Now(Standing::Live), Reply::Now(Rotated::Revoked));
    let (carries, events) = rotated(store).await;
    assert!(!carries && events[0] == "refused insufficient_scope", "{events:?}");
}

/// Layers between add what belongs to the response that they saw: its coding, its validators, its time in a cache. The
/// layer's own refusal has another body, and no cache keeps it. What is not about those stays.
#[tokio::test]
async fn what_layers_between_say_of_the_body_and_to_caches_is_not_said_of_the_refusal() {
    const DROPPED: [(&str, &str); 16] = [
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=600"),
        ("cdn-cache-control", "max-age=600"),
        ("content-digest", "sha-256=:AAAA:"),
        ("content-encoding", "gzip"),
        ("content-language", "en"),
        ("content-length", "7"),
        ("content-location", "/orders"),
        ("content-range", "bytes 0-6/7"),
        ("etag", "\"1\""),
        ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("surrogate-control", "max-age=600"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
    ];
    const KEPT: [(&str, &str); 4] = [
        ("access-control-allow-origin", "https://app.example"),
        ("content-security-policy", "default-src 'none'"),
        ("vary", "origin"),
        ("x-request-id", "1"),
    ];
    // Where a successor goes out with it, and where none is due.
    for at in [0, 500] {
        let adds = tower::util::MapResponseLayer::new(|mut response: Response<_>| {
            for (name, value) in DROPPED.into_iter().chain(KEPT) {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        });
        let service = ReissueLayer::new(stateless(at).0);
        let service = service.layer(adds.layer(scope().layer(service_fn(handler))));
        let answer = service.oneshot(with_token(json!({}))).await.unwrap();
        assert_status(&answer, 403);
        for (name, value) in DROPPED {
            assert_ne!(header(&answer, name), Some(value), "{name} at {at}");
        }
        for (name, value) in KEPT {
            assert_eq!(header(&answer, name), Some(value), "{name} at {at}");
        }
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(header(&answer, "content-type"), Some("application/json"));
    }
}

/// Each header with what a layer between sets, what `refuse_with` sets, and what is sent of the two.
#[tokio::test]
async fn of_what_layers_between_and_the_refusal_both_set_lists_and_cookies_are_kept_together() {
    const BOTH: [(&str, &str, &str); 5] = [
        ("access-control-expose-headers", "x-request-id", "x-denied"),
        ("clear-site-data", "\"cache\"", "\"storage\""),
        ("link", "</a>; rel=preload", "</b>; rel=help"),
        ("set-cookie", "flash=seen; Path=/", "flash=denied; Path=/"),
        ("vary", "origin", "accept-language"),
    ];
    const REFUSALS: [(&str, &str, &str); 7] = [
        ("access-control-allow-origin", "https://a.example", "https://b.example"),
        ("cache-control", "public", "no-store"),
        ("content-length", "7", "0"),
        ("content-security-policy", "default-src 'none'", "default-src 'self'"),
        ("content-type", "text/plain", "text/html"),
        ("www-authenticate", "Basic", "Bearer"),
        ("x-request-id", "1", "2"),
    ];
    fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        BOTH.into_iter().chain(REFUSALS)
    }
    let layer = ReissueLayer::new(stateless(0).0).refuse_with(|refusal: &Refusal, _: &RequestHead<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        for (name, _, of_refusal) in all() {
            response.headers_mut().append(name, of_refusal.parse().unwrap());
        }
        response
    });
    let between = tower::util::MapResponseLayer::new(|mut response: Response<_>| {
        for (name, of_layer, _) in all() {
            response.headers_mut().insert(name, of_layer.parse().unwrap());
        }
        response
    });
    let service = layer.layer(between.layer(scope().layer(service_fn(handler))));
    let answer = service.oneshot(with_token(json!({}))).await.unwrap();
    assert_status(&answer, 403);
    let sent = |name: &str| -> Vec<_> {
        answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    for (name, of_layer, of_refusal) in BOTH {
        assert_eq!(sent(name), [of_layer, of_refusal], "{name}");
    }
    for (name, _, of_refusal) in REFUSALS {
        assert_eq!(sent(name), [of_refusal], "{name}");
    }
}

#[tokio::test]
async fn private_claims_of_another_type_are_looked_for_by_it() {
    #[derive(serde::Deserialize)]
    struct Tenant {
        tenant: String,
    }
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).private_claims::<Tenant>().build().unwrap();
    let layer = ReissueLayer::new(authority);
    let token = || with_token(json!({ "scope": "orders:read", "tenant": "acme" }));
    let same = scope().private_claims::<Tenant>();
    let answer = layer.layer(same.layer(service_fn(handler))).oneshot(token()).await.unwrap();
    assert_status(&answer, 200);
    let acme =
        RequireScope::that(|token: &tower_reissue::VerifiedToken<Tenant>| token.claims().tenant == "acme");
    let answer = layer.layer(acme.layer(service_fn(handler))).oneshot(token()).await.unwrap();
    assert_status(&answer, 200);
    // No token of the default type is there.
    let answer = layer.layer(scope().layer(service_fn(handler))).oneshot(token()).await.unwrap();
    assert_status(&answer, 500);
}
