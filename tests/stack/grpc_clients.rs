//! Refusals as gRPC clients of other languages see them, and as the frames they come in: behind tower-http's layers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::process::Command;
use tonic_health::ServingStatus;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_reissue::store::MemoryStore;
use tower_reissue::{Challenge, ManualClock, ReissueLayer};

use crate::support::*;
use crate::wire::{HEADER, layer, serve};

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A health service behind the layer, which is behind what a service has in front of it.
async fn health(layer: ReissueLayer) -> SocketAddr {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_grpc())
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30)))
        .layer(CorsLayer::new().allow_origin(Any))
        .layer(CompressionLayer::new())
        .layer(layer)
        .service(health);
    serve(stack).await
}

/// A layer whose store has no room for a single record.
fn out_of_order() -> ReissueLayer {
    let store = MemoryStore::new().with_max_entries(0);
    ReissueLayer::new(builder(&ManualClock::at(NOW + 630)).store(store).build().unwrap())
}

async fn call(address: SocketAddr, content_type: &str, token: Option<&str>) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut request = Request::post(format!("http://{address}{CHECK}"))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::ACCEPT_ENCODING, "gzip")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    client.request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_refusal_is_one_headers_frame_that_ends_the_stream() {
    let token = mint(&claims());
    let challenge = Challenge::default().dangerous().grpc_refusals_with_http_200();
    for (layer, token, http, status, carries) in [
        (layer(0), None, 401, "16", false),
        (layer(0), Some("a.b.c"), 401, "16", false),
        (layer(630), Some(&*token), 401, "16", true),
        (out_of_order(), Some(&*token), 503, "14", false),
        (layer(630).refuse_with(challenge), Some(&*token), 200, "16", true),
    ] {
        let response = call(health(layer).await, "application/grpc", token).await;
        // As the headers came, before anything else was read: an empty DATA frame would have to come yet.
        assert!(response.body().is_end_stream(), "{response:?}");
        assert_eq!(response.status(), http);
        assert_eq!(response.headers()["grpc-status"], status);
        assert_eq!(response.headers().contains_key(HEADER), carries);
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
        let collected = response.into_body().collect().await.unwrap();
        assert!(collected.trailers().is_none() && collected.to_bytes().is_empty());
    }
}

/// The tokens that the clients below present, and what each of them reads.
fn presented() -> (Vec<String>, Value) {
    let two = format!("{0}, Bearer {0}", mint(&claims()));
    let tokens = vec![String::new(), "a.b.c".to_owned(), two, mint(&claims())];
    let read = json!([
        {"code": 16, "message": "A bearer token is required", "successor": false, "replay": null},
        {"code": 16, "message": "The token is malformed", "successor": false, "replay": null},
        {"code": 16, "message": "The request carries more than one credential", "successor": false, "replay": null},
        {"code": 16, "message": "The token expired; the response carries its successor", "successor": true, "replay": "safe"},
    ]);
    (tokens, read)
}

/// What a client, run with an address and tokens, printed of each; of a successor only whether it is one.
async fn printed(mut client: Command, address: SocketAddr, tokens: &[String]) -> Value {
    client.arg(address.to_string()).args(tokens).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(120), client.output());
    let output = output.await.expect("it ends").expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let read = lines.lines().map(|line| {
        let mut read: Value = serde_json::from_str(line).unwrap();
        let successor = read["successor"].take();
        read["successor"] = successor.as_str().is_some_and(|token| payload(token)["sub"] == "alice").into();
        read
    });
    read.collect()
}

async fn assert_reads_refusals(client: impl Fn() -> Command) {
    let (tokens, read) = presented();
    let address = health(layer(630)).await;
    assert_eq!(printed(client(), address, &tokens).await, read);
    // A good call reads its successor too, and an outage is told as one.
    let good = std::slice::from_ref(&tokens[3]);
    let renewed = json!([{"code": 0, "message": "", "successor": true, "replay": null}]);
    assert_eq!(printed(client(), health(layer(500)).await, good).await, renewed);
    let outage = printed(client(), health(out_of_order()).await, good).await;
    assert_eq!((&outage[0]["code"], &outage[0]["successor"]), (&json!(14), &json!(false)));
}

/// A script beside this file.
fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack").join(name)
}

fn installed(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path)
}

#[tokio::test]
#[ignore = "needs Python's grpcio"]
async fn grpcio_reads_status_message_and_successor_of_a_refusal() {
    assert_reads_refusals(|| {
        // In a virtual environment of this checkout, or wherever Python finds it.
        let python = installed("python/bin/python3");
        let mut client = Command::new(if python.exists() { python } else { "python3".into() });
        client.arg(script("grpcio_client.py"));
        client
    })
    .await;
}

#[tokio::test]
#[ignore = "needs npm's @grpc/grpc-js"]
async fn grpc_js_reads_status_message_and_successor_of_a_refusal() {
    assert_reads_refusals(|| {
        let mut client = Command::new("node");
        client.arg(script("grpc_js_client.js"));
        if std::env::var_os("NODE_PATH").is_none() {
            client.env("NODE_PATH", installed("node/node_modules"));
        }
        client
    })
    .await;
}
