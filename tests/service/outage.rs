//! A store's outage is no verdict on a token, and harms no good response.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use tower_reissue::store::{Rotated, Standing, StoreErrorKind};
use tower_reissue::{ManualClock, Reason, Refusal, ReissueLayer};

use crate::kit::*;
use crate::support::*;

const FAILURES: [StoreErrorKind; 4] =
    [StoreErrorKind::Unavailable, StoreErrorKind::Timeout, StoreErrorKind::Full, StoreErrorKind::Corrupt];

fn grpc(token: &str) -> Request<()> {
    let mut request = request(token);
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    (*request.method_mut(), *request.version_mut()) = (http::Method::POST, http::Version::HTTP_2);
    request
}

#[tokio::test]
async fn a_store_that_fails_to_record_leaves_the_response_as_it_was() {
    for kind in FAILURES {
        let (authority, _, events) = storing(500, Scripted::rotating(Reply::Fail(kind)));
        let mut response = ok();
        response.headers_mut().insert("cache-control", "public, max-age=60".parse().unwrap());
        let before = response.headers().clone();
        let response = through(&ReissueLayer::new(authority), request(&mint(&claims())), response).await;
        assert_status(&response, 200);
        assert_eq!(response.headers(), &before);
        assert_eq!(text(response).await, "handled");
        assert_eq!(events.take(), [format!("store_failed {kind:?}"), "not_reissued store_failed".into()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_delays_the_response_by_its_deadline_at_most() {
    let (authority, _, events) = storing(500, Scripted::rotating(Reply::Never));
    let start = Instant::now();
    let response = present(&authority, &mint(&claims())).await;
    assert_status(&response, 200);
    assert_eq!(successor(&response), None);
    assert_eq!(start.elapsed().as_secs(), 1, "the default deadline");
    assert_eq!(events.take(), ["store_failed Timeout", "not_reissued store_failed"]);
}

#[tokio::test]
async fn a_grace_exchange_that_was_not_recorded_is_a_503() {
    for kind in FAILURES {
        let (authority, _, events) = storing(630, Scripted::rotating(Reply::Fail(kind)));
        let response = present(&authority, &mint(&claims())).await;
        assert_status(&response, 503);
        assert_eq!(header(&response, "retry-after"), Some("1"));
        assert_eq!(header(&response, "www-authenticate"), None, "no challenge: the token may be good");
        assert_eq!(successor(&response), None);
        assert_eq!(events.take(), [format!("store_failed {kind:?}"), "refused store_unavailable".into()]);
    }
}

#[tokio::test]
async fn a_standing_that_can_not_be_known_is_a_503_and_never_a_401() {
    for kind in FAILURES {
        for at in [0, 500, 630] {
            let store = Scripted::new(Reply::Fail(kind), Reply::Now(Rotated::Recorded));
            let (authority, _, events) = storing(at, store);
            let response = present(&authority, &mint(&claims())).await;
            assert_status(&response, 503);
            assert_eq!(header(&response, "retry-after"), Some("1"));
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &Reason::StoreUnavailable);
            assert_eq!(
                text(response).await,
                r#"{"error":"temporarily_unavailable","error_description":"The state of the session can not be known right now"}"#
            );
            assert_eq!(events.take(), [format!("store_failed {kind:?}"), "refused store_unavailable".into()]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_standing_that_never_comes_is_a_503_after_the_deadline() {
    for deadline in [1, 7] {
        let store = Scripted::new(Reply::<Standing>::Never, Reply::Never);
        let authority = builder(&ManualClock::at(NOW))
            .store(store)
            .store_deadline(Duration::from_secs(deadline))
            .build()
            .unwrap();
        let start = Instant::now();
        let response = present(&authority, &mint(&claims())).await;
        assert_status(&response, 503);
        assert_eq!(header(&response, "retry-after"), Some("1"));
        assert_eq!(start.elapsed().as_secs(), deadline);
        let layer = ReissueLayer::new(authority);
        let response = through(&layer, grpc(&mint(&claims())), ok()).await;
        assert_status(&response, 503);
        assert_eq!(header(&response, "grpc-status"), Some("14"));
        assert_eq!(header(&response, "retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_without_the_store() {
    let store = std::sync::Arc::new(Scripted::new(Reply::<Standing>::Never, Reply::Never));
    let (authority, ..) = storing(700, std::sync::Arc::clone(&store));
    let long_expired = mint(&claims_with(serde_json::json!({"iat": NOW - 5_000, "exp": NOW - 4_000})));
    for token in [long_expired, "a.b.c".to_owned()] {
        assert_status(&present(&authority, &token).await, 401);
    }
    assert!(store.calls().is_empty());
}

#[tokio::test]
async fn a_store_that_lost_its_records_is_believed_unless_told_otherwise() {
    let lost = || Scripted::new(Reply::Now(Standing::UnknownSession), Reply::Now(Rotated::Recorded));
    let (strict, ..) = storing(0, lost());
    let response = present(&strict, &mint(&claims())).await;
    assert_status(&response, 401);
    assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &Reason::UnknownSession);
    let lenient = builder(&ManualClock::at(NOW)).store(lost()).admit_after_store_loss().build().unwrap();
    assert_status(&present(&lenient, &mint(&claims())).await, 200);
}
