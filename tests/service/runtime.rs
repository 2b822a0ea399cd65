//! Neither the stateless path nor the memory store needs an async runtime.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tower::{Layer, Service, service_fn};
use tower_reissue::{Login, MemoryStore, ReissueLayer};

use crate::kit::*;
use crate::support::*;

/// An executor that never wakes anybody: whatever waits, fails.
fn run<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits for something"),
    }
}

#[test]
fn stateless_admission_renewal_exchange_and_refusal_need_no_runtime() {
    let token = mint(&claims());
    for (at, status, renewed) in [(0, 200, false), (500, 200, true), (630, 401, true), (700, 401, false)] {
        let mut service = ReissueLayer::new(stateless(at).0).layer(service_fn(handler));
        let response = run(service.call(request(&token))).unwrap();
        assert_status(&response, status);
        assert_eq!(successor(&response).is_some(), renewed, "at {at}");
    }
}

#[test]
fn the_memory_store_needs_no_runtime() {
    let (authority, clock, _) = storing(0, MemoryStore::new());
    let token = run(authority.issue(Login::new("alice"))).unwrap().into_string();
    for (at, status, renewed) in [(0, 200, false), (500, 200, true), (630, 401, true), (700, 401, false)] {
        clock.set(NOW + at);
        let mut service = ReissueLayer::new(authority.clone()).layer(service_fn(handler));
        let response = run(service.call(request(&token))).unwrap();
        assert_status(&response, status);
        assert_eq!(successor(&response).is_some(), renewed, "at {at}");
    }
    clock.set(NOW);
    run(authority.sign_out(&token)).unwrap();
    let mut service = ReissueLayer::new(authority).layer(service_fn(handler));
    assert_status(&run(service.call(request(&token))).unwrap(), 401);
}
