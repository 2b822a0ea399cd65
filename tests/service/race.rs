//! Rule 8: the response is judged by the evidence of admission, at the time of the response.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{Clock, ManualClock, MemoryStore, NoReissue, NumericDate, ReissueLayer};

use crate::kit::*;
use crate::support::*;

/// Reads tokio's clock, which the tests pause: `NOW` is the instant of its making.
fn tokio_clock() -> impl Clock {
    let start = Instant::now();
    move || NumericDate::from_secs(NOW + start.elapsed().as_secs())
}

/// A request that arrives `arrives` seconds into its token's life and is handled for `takes`.
async fn raced(layer: ReissueLayer, arrives: u64, takes: u64) -> Answer {
    let inner = service_fn(move |_: Request<()>| async move {
        sleep(Duration::from_secs(takes)).await;
        Ok::<_, Infallible>(ok())
    });
    sleep(Duration::from_secs(arrives)).await;
    layer.layer(inner).oneshot(request(&mint(&claims()))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_while_the_handler_runs_is_renewed() {
    // Leeway, arrival, duration, and whether the successor is delivered.
    for (leeway, arrives, takes, renewed) in [
        (0, 0, 479, false),
        (0, 0, 480, true),
        (0, 598, 3, true),
        (0, 599, 60, true),
        (0, 599, 61, false),
        (0, 1, 658, true),
        (0, 1, 659, false),
        (10, 598, 3, true),
        (10, 608, 3, true),
        (10, 609, 60, true),
        (10, 609, 61, false),
    ] {
        let authority = builder(&ManualClock::at(0))
            .clock(tokio_clock())
            .leeway(Duration::from_secs(leeway))
            .build()
            .unwrap();
        let response = raced(ReissueLayer::new(authority), arrives, takes).await;
        assert_status(&response, 200);
        let given = successor(&response);
        assert_eq!(given.is_some(), renewed, "leeway {leeway}, arrival {arrives}, {takes} s in the handler");
        if let Some(given) = given {
            assert_eq!(payload(&given)["exp"], NOW + 480 + 600, "derived from the predecessor alone");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_in_flight_allowance_does_not_depend_on_the_grace() {
    for (grace, takes, renewed) in [(0, 60, true), (0, 61, false), (120, 120, true), (120, 121, false)] {
        let authority = builder(&ManualClock::at(0))
            .clock(tokio_clock())
            .grace(Duration::from_secs(grace))
            .build()
            .unwrap();
        let response = raced(ReissueLayer::new(authority), 599, takes).await;
        assert_eq!(successor(&response).is_some(), renewed, "grace {grace}, {takes} s in the handler");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_store_the_allowance_may_be_however_long_the_handler_took() {
    let authority = builder(&ManualClock::at(0))
        .clock(tokio_clock())
        .store(MemoryStore::new())
        .in_flight_allowance(Duration::MAX)
        .build()
        .unwrap();
    let response = raced(ReissueLayer::new(authority), 590, 4 * 3600).await;
    let given = payload(&successor(&response).expect("a successor"));
    assert_eq!(given["iat"], NOW + 590 + 4 * 3600);
    assert_eq!(given["exp"], NOW + 590 + 4 * 3600 + 600);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_reaches_its_limit_while_the_handler_runs_is_not_renewed() {
    for (takes, renewed) in [(100, true), (101, false)] {
        let authority = builder(&ManualClock::at(0))
            .clock(tokio_clock())
            .max_session_lifetime(Duration::from_secs(651))
            .build()
            .unwrap();
        let response = raced(ReissueLayer::new(authority), 550, takes).await;
        let given = successor(&response);
        assert_eq!(given.is_some(), renewed, "{takes} s in the handler");
        if let Some(given) = given {
            assert_eq!(payload(&given)["exp"], NOW + 651);
        }
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_while_the_handler_runs_changes_nothing() {
    for steps_to in [490, 100] {
        for with_store in [false, true] {
            let clock = ManualClock::at(NOW + 500);
            let mut builder = builder(&clock);
            if with_store {
                builder = builder.store(MemoryStore::new());
            }
            let layer = ReissueLayer::new(builder.build().unwrap());
            let handler = service_fn(move |_: Request<()>| {
                clock.set(NOW + steps_to);
                async { Ok::<_, Infallible>(ok()) }
            });
            let response = layer.layer(handler).oneshot(request(&mint(&claims()))).await.unwrap();
            let given = payload(&successor(&response).expect("a successor"));
            let iat = NOW + if with_store { 500 } else { 480 };
            assert_eq!((&given["iat"], &given["exp"]), (&iat.into(), &(iat + 600).into()));
        }
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    let mut response = ok();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn a_successor_goes_out_on_any_final_status_but_304() {
    let layer = ReissueLayer::new(stateless(500).0);
    let token = mint(&claims());
    for status in (200..600).filter(|&status| status != 304) {
        let response = through(&layer, request(&token), answer(status)).await;
        assert_status(&response, status);
        assert!(successor(&response).is_some(), "{status}");
        assert_eq!(text(response).await, "handled");
    }
    for status in [100, 101, 102, 103, 304] {
        let response = through(&layer, request(&token), answer(status)).await;
        assert_status(&response, status);
        assert!(successor(&response).is_none(), "{status}");
        assert!(response.headers().is_empty(), "a response without a successor is untouched: {status}");
    }
}

#[tokio::test]
async fn a_response_that_may_not_carry_a_successor_spends_none() {
    let store = std::sync::Arc::new(Scripted::rotating(Reply::Never));
    let (authority, ..) = storing(500, std::sync::Arc::clone(&store));
    let layer = ReissueLayer::new(authority);
    let mut suppressed = ok();
    suppressed.extensions_mut().insert(NoReissue);
    let mut carrying = ok();
    carrying.headers_mut().insert(HEADER, HeaderValue::from_static("the handler's own"));
    for response in [answer(304), answer(101), suppressed, carrying] {
        let response = through(&layer, request(&mint(&claims())), response).await;
        let own = header(&response, HEADER);
        assert!(own.is_none() || own == Some("the handler's own"));
        assert!(header(&response, "cache-control").is_none());
        assert_eq!(store.calls(), ["standing"], "nothing is recorded");
    }
}

#[tokio::test]
async fn a_token_that_is_not_due_is_not_renewed_and_its_response_is_untouched() {
    let layer = ReissueLayer::new(stateless(479).0);
    let response = through(&layer, request(&mint(&claims())), ok()).await;
    assert!(response.headers().is_empty());
}
