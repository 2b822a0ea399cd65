//! tonic 0.14: refusals and successors as its clients see them, unary and streaming.

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower_reissue::store::{MemoryStore, StoreErrorKind};
use tower_reissue::{ManualClock, ReissueLayer, RequireScope, RequireStepUp};

use crate::support::*;
use crate::wire::{HEADER, layer};

type Client<F> = HealthClient<InterceptedService<Channel, F>>;

/// A health service behind the layer, and its client with this token.
async fn client(
    layer: ReissueLayer,
    token: Option<String>,
) -> Client<impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone> {
    let (reporter, health) = health().await;
    let server = Server::builder().layer(layer).add_service(health);
    connect(reporter, |incoming| server.serve_with_incoming(incoming), token).await
}

async fn health() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("orders", ServingStatus::Serving).await;
    (reporter, health)
}

async fn connect<S>(
    reporter: HealthReporter,
    serve: impl FnOnce(TcpListenerStream) -> S,
    token: Option<String>,
) -> Client<impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone>
where
    S: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(TcpListenerStream::new(listener));
    tokio::spawn(async move {
        // The service watched stays as long as its reporter does.
        let _reporter = reporter;
        server.await
    });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    HealthClient::with_interceptor(channel, move |mut request: Request<()>| {
        if let Some(token) = &token {
            let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    })
}

fn orders() -> HealthCheckRequest {
    HealthCheckRequest { service: "orders".into() }
}

#[tokio::test]
async fn a_unary_call_carries_the_successor_in_its_metadata() {
    for (at, renewed) in [(0, false), (500, true)] {
        let mut client = client(layer(at), Some(mint(&claims()))).await;
        let response = client.check(orders()).await.unwrap();
        assert_eq!(response.metadata().contains_key(HEADER), renewed);
        assert_eq!(response.get_ref().status, 1);
    }
}

#[tokio::test]
async fn a_stream_carries_the_successor_in_its_first_metadata() {
    let mut client = client(layer(500), Some(mint(&claims()))).await;
    let response = client.watch(orders()).await.unwrap();
    assert!(response.metadata().contains_key(HEADER));
    let first = response.into_inner().message().await.unwrap().expect("the present status");
    assert_eq!(first.status, 1);
}

#[tokio::test]
async fn a_refusal_is_a_status_of_unauthenticated() {
    for (at, token, renewed, message) in [
        (0, None, false, "A bearer token is required"),
        (0, Some("a.b.c".to_owned()), false, "The token is malformed"),
        (700, Some(mint(&claims())), false, "The token expired"),
        (630, Some(mint(&claims())), true, "The token expired; the response carries its successor"),
    ] {
        let mut client = client(layer(at), token).await;
        for status in [client.check(orders()).await.unwrap_err(), client.watch(orders()).await.unwrap_err()] {
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.message(), message);
            assert_eq!(status.metadata().contains_key(HEADER), renewed);
        }
    }
}

#[tokio::test]
async fn an_outage_is_a_status_of_unavailable() {
    // A store too small for a single session.
    let store = MemoryStore::new().with_max_entries(1);
    let authority = builder(&ManualClock::at(NOW + 630)).store(store).build().unwrap();
    let refused = authority.issue(tower_reissue::Login::new("alice")).await.unwrap_err();
    assert!(matches!(
        refused,
        tower_reissue::IssueError::Store(error) if error.kind() == StoreErrorKind::Full
    ));
    let mut client = client(ReissueLayer::new(authority), Some(mint(&claims()))).await;
    assert_eq!(client.check(orders()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_scope_is_permission_denied_and_a_step_up_unauthenticated() {
    let token = mint(&claims());
    let (reporter, service) = health().await;
    let scope = RequireScope::new("orders:read").unwrap();
    let server = Server::builder().layer(layer(500)).layer(scope).add_service(service);
    let mut scoped =
        connect(reporter, |incoming| server.serve_with_incoming(incoming), Some(token.clone())).await;
    let (reporter, service) = health().await;
    let step_up = RequireStepUp::acr_values("urn:mfa").unwrap();
    let server = Server::builder().layer(layer(500)).layer(step_up).add_service(service);
    let mut stepped = connect(reporter, |incoming| server.serve_with_incoming(incoming), Some(token)).await;
    for (status, code, message) in [
        (
            scoped.check(orders()).await,
            Code::PermissionDenied,
            "The token does not have the scope that is required",
        ),
        (
            stepped.check(orders()).await,
            Code::Unauthenticated,
            "A different authentication level is required",
        ),
    ] {
        let status = status.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
        assert!(status.metadata().contains_key(HEADER), "the token was admitted, and its successor is due");
    }
    let status = scoped.watch(orders()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}
