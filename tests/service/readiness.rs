//! Readiness: the service that reported ready is the one called, and a refusal gives back what it reserved.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tokio::sync::Semaphore;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reissue::store::{Rotated, Standing, StoreErrorKind};
use tower_reissue::{Authority, ReissueLayer};
use tower_test::mock;

use crate::kit::*;
use crate::support::*;

/// Refuses to be called unless this very clone was polled ready, and remembers which clone was.
struct Particular {
    id: usize,
    ready: bool,
    ids: Arc<AtomicUsize>,
    called: Arc<Mutex<Vec<usize>>>,
}

impl Particular {
    fn new() -> Self {
        Self { id: 0, ready: false, ids: Arc::default(), called: Arc::default() }
    }
}

impl Clone for Particular {
    fn clone(&self) -> Self {
        Self {
            id: self.ids.fetch_add(1, Ordering::SeqCst) + 1,
            ready: false,
            ids: Arc::clone(&self.ids),
            called: Arc::clone(&self.called),
        }
    }
}

impl Service<Request<()>> for Particular {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Handled>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "clone {} was never ready", self.id);
        self.called.lock().unwrap().push(self.id);
        ready(Ok(ok()))
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let layer = ReissueLayer::new(stateless(0).0);
    let (mut service, mut handle) =
        mock::spawn_with::<Request<()>, Response<Full<Bytes>>, _, _>(|inner| layer.layer(inner));
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let response = tokio::spawn(service.call(request(&mint(&claims()))));
    let (seen, reply) = handle.next_request().await.unwrap();
    assert_eq!(token_of(&seen).unwrap().subject(), Some("alice"));
    assert!(service.poll_ready().is_pending(), "one was allowed");
    reply.send_response(ok());
    assert_status(&response.await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_called() {
    let inner = Particular::new();
    let called = Arc::clone(&inner.called);
    let mut service = ReissueLayer::new(stateless(0).0).layer(inner);
    for _ in 0..3 {
        let response = service.ready().await.unwrap().call(request(&mint(&claims()))).await.unwrap();
        assert_status(&response, 200);
    }
    assert_eq!(*called.lock().unwrap(), [0, 0, 0], "and no clone was made");
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_called_after_waiting_for_the_store_too() {
    let gate = Arc::new(Semaphore::new(0));
    let store = Scripted::new(Reply::After(Arc::clone(&gate), Standing::Live), Reply::Now(Rotated::Recorded));
    let inner = Particular::new();
    let called = Arc::clone(&inner.called);
    let mut service = ReissueLayer::new(storing(0, store).0).layer(inner);
    let first = tokio::spawn(service.ready().await.unwrap().call(request(&mint(&claims()))));
    // The next one gets a service of its own, while the first is still parked.
    let second = tokio::spawn(service.ready().await.unwrap().call(request(&mint(&claims()))));
    tokio::task::yield_now().await;
    assert!(called.lock().unwrap().is_empty(), "nothing runs before the store has answered");
    gate.add_permits(2);
    assert_status(&first.await.unwrap().unwrap(), 200);
    assert_status(&second.await.unwrap().unwrap(), 200);
    assert_eq!(*called.lock().unwrap(), [0, 1]);
}

/// Every way to be refused: at once, after the store was asked, with a successor and without.
fn refusals() -> Vec<(&'static str, Authority, Request<()>)> {
    let (live, ..) = stateless(0);
    let (late, ..) = stateless(630);
    let (over, ..) = stateless(700);
    let token = mint(&claims());
    let scripted = |at, standing| storing(at, Scripted::new(standing, Reply::Now(Rotated::Recorded))).0;
    let gate = Arc::new(Semaphore::new(100));
    vec![
        ("missing", live.clone(), bare()),
        ("malformed credential", live.clone(), request("")),
        ("malformed token", live.clone(), request("a.b.c")),
        ("of another audience", live, request(&mint(&claims_with(json!({ "aud": "other" }))))),
        ("exchanged", late, request(&token)),
        ("expired", over, request(&token)),
        ("revoked", scripted(0, Reply::After(gate, Standing::Revoked)), request(&token)),
        ("exchanged with a store", scripted(630, Reply::Now(Standing::Live)), request(&token)),
        ("outage", scripted(0, Reply::Fail(StoreErrorKind::Unavailable)), request(&token)),
    ]
}

#[tokio::test(start_paused = true)]
async fn refused_requests_do_not_starve_the_next_over_a_concurrency_limit() {
    for (name, authority, bad) in refusals() {
        let inner = ConcurrencyLimit::new(service_fn(handler), 1);
        let service = ReissueLayer::new(authority).layer(inner);
        let mut kept = Vec::new();
        for _ in 0..5 {
            // As a server does: a clone for each connection, kept as long as the connection is.
            let mut connection = service.clone();
            let ready = tokio::time::timeout(Duration::from_secs(1), connection.ready()).await;
            let response = ready.expect(name).unwrap().call(bad.clone()).await.unwrap();
            assert_ne!(response.status(), 200, "{name}");
            kept.push(connection);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_requests_do_not_starve_the_next_over_a_buffer() {
    for (name, authority, bad) in refusals() {
        let inner = Buffer::new(ConcurrencyLimit::new(service_fn(handler), 1), 1);
        let service = ReissueLayer::new(authority).layer(inner);
        let mut kept = Vec::new();
        for _ in 0..5 {
            let mut connection = service.clone();
            let ready = tokio::time::timeout(Duration::from_secs(1), connection.ready()).await;
            let response = ready.expect(name).unwrap().call(bad.clone()).await.unwrap();
            assert_ne!(response.status(), 200, "{name}");
            kept.push(connection);
        }
    }
}

#[tokio::test]
async fn no_handler_runs_on_a_refusal() {
    for (name, authority, bad) in refusals() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let inner = service_fn(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            handler(request)
        });
        ReissueLayer::new(authority).layer(inner).oneshot(bad).await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 0, "{name}");
    }
}

/// An error that is nothing but itself: no `std::error::Error`, no conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Ready,
    Called,
}

#[derive(Clone)]
struct Breaks(Broken);

impl Service<Request<()>> for Breaks {
    type Response = Response<Full<Bytes>>;
    type Error = Broken;
    type Future = Ready<Result<Self::Response, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(if self.0 == Broken::Ready { Err(Broken::Ready) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err(Broken::Called))
    }
}

#[tokio::test]
async fn the_inner_services_errors_pass_untouched() {
    let layer = ReissueLayer::new(stateless(500).0);
    for broken in [Broken::Ready, Broken::Called] {
        let answer = layer.layer(Breaks(broken)).oneshot(request(&mint(&claims()))).await;
        assert_eq!(answer.err(), Some(broken));
    }
}

/// An application keeps the layer in a struct and names no more types than it has.
struct Application {
    layer: ReissueLayer,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layer.fmt(f)
    }
}

#[tokio::test]
async fn a_call_can_be_spawned_and_a_layer_kept_in_a_field() {
    let application = Application { layer: ReissueLayer::new(stateless(500).0) };
    let mut service = application.layer.layer(service_fn(handler));
    let call = service.ready().await.unwrap().call(request(&mint(&claims())));
    let response = tokio::spawn(call).await.unwrap().unwrap();
    assert!(successor(&response).is_some());
}
