//! tower-http's layers inside and outside.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::support::*;
use crate::wire::*;

type Asked = Request<Full<Bytes>>;

fn visit(token: Option<&str>) -> Asked {
    get("/", token).map(|()| Full::default())
}

fn due() -> Asked {
    let mut request = visit(Some(&mint(&claims())));
    request.headers_mut().insert(header::ORIGIN, "https://app.example".parse().unwrap());
    request.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    request
}

#[tokio::test]
async fn trace_and_compression_on_either_side() {
    let inside = ServiceBuilder::new()
        .layer(layer(500))
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .service(service_fn(whoami));
    let outside = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(layer(500))
        .service(service_fn(whoami));
    let responses =
        [inside.oneshot(due()).await.unwrap().map(|_| ()), outside.oneshot(due()).await.unwrap().map(|_| ())];
    for response in responses {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(renewed(&response));
    }
}

#[tokio::test]
async fn a_whole_stack_over_a_socket() {
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(5)))
        .layer(CorsLayer::new().allow_origin(Any))
        .layer(CompressionLayer::new())
        .layer(layer(500))
        .layer(CompressionLayer::new())
        .layer(TraceLayer::new_for_http())
        .service(service_fn(whoami));
    let server = serve(stack).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let response = fetch(server, protocol, get("/", Some(&mint(&claims())))).await;
        assert_eq!(response.status(), 200);
        assert!(renewed(&response));
        assert_eq!(text(response), "alice".repeat(40));
        assert_eq!(fetch(server, protocol, get("/", None)).await.status(), 401);
    }
}

async fn panics(_: Asked) -> Result<Response<Full<Bytes>>, Infallible> {
    panic!("on purpose")
}

#[tokio::test]
async fn a_panic_caught_inside_is_a_response_like_any_other() {
    let inside =
        ServiceBuilder::new().layer(layer(500)).layer(CatchPanicLayer::new()).service(service_fn(panics));
    let response = inside.oneshot(due()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(renewed(&response));
    let outside =
        ServiceBuilder::new().layer(CatchPanicLayer::new()).layer(layer(500)).service(service_fn(panics));
    let response = outside.oneshot(due()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(!renewed(&response));
}

async fn hangs(_: Asked) -> Result<Response<Full<Bytes>>, Infallible> {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_a_response_like_any_other() {
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(5));
    let inside = ServiceBuilder::new().layer(layer(500)).layer(timeout()).service(service_fn(hangs));
    let response = inside.oneshot(due()).await.unwrap();
    assert_eq!(response.status(), 504);
    assert!(renewed(&response));
    let outside = ServiceBuilder::new().layer(timeout()).layer(layer(500)).service(service_fn(hangs));
    let response = outside.oneshot(due()).await.unwrap();
    assert_eq!(response.status(), 504);
    assert!(!renewed(&response));
}

fn preflight() -> Asked {
    Request::builder()
        .method(Method::OPTIONS)
        .header(header::ORIGIN, "https://app.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn a_cors_layer_outside_answers_preflights_and_lets_scripts_read_refusals_and_successors() {
    let stack = ServiceBuilder::new()
        .layer(CorsLayer::new().allow_origin(Any).allow_methods([Method::PUT]))
        .layer(layer(500))
        .service(service_fn(whoami));
    let response = stack.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "PUT");
    let response = stack.clone().oneshot(due()).await.unwrap();
    assert!(renewed(&response));
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(response.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS], HEADER);
    let response = stack.oneshot(visit(None)).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
}

/// It writes its own list over the one it finds: an application that exposes names names ours too.
#[tokio::test]
async fn a_cors_layer_outside_that_exposes_names_has_to_name_the_successors_header() {
    let named = [header::ETAG, HEADER.parse().unwrap()];
    let stack = ServiceBuilder::new()
        .layer(CorsLayer::new().allow_origin(Any).expose_headers(named))
        .layer(layer(500))
        .service(service_fn(whoami));
    let response = stack.oneshot(due()).await.unwrap();
    let exposed: Vec<_> = response.headers().get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS).iter().collect();
    assert_eq!(exposed, ["etag,refreshed-api-token"]);
}

#[tokio::test]
async fn a_cors_layer_inside_answers_the_preflights_that_are_let_through() {
    let stack = ServiceBuilder::new()
        .layer(layer(500).pass_preflight())
        .layer(CorsLayer::new().allow_origin(Any).expose_headers([header::ETAG]))
        .service(service_fn(whoami));
    let response = stack.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!renewed(&response));
    let response = stack.oneshot(due()).await.unwrap();
    let exposed: Vec<_> = response.headers().get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS).iter().collect();
    assert_eq!(exposed, ["etag", HEADER], "ours joins what it exposes");
}
