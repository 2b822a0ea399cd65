//! A request dropped at any point leaks nothing, and leaves the store in the old state or the new.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::sync::Semaphore;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, service_fn};
use tower_reissue::store::{Rotated, Rotation, Standing};
use tower_reissue::{Authority, Login, ManualClock, Refresh, RefreshTokens, ReissueLayer};

use crate::kit::*;
use crate::support::*;

/// Whether a handler answers, or never does.
#[derive(Clone, Copy, PartialEq)]
enum Handler {
    Answers,
    Hangs,
}

/// Polls a call until it waits, drops it, and counts what is left of it.
fn drop_while_pending(authority: Authority, handler: Handler) {
    let permits = Arc::new(Semaphore::new(1));
    let probe = Arc::new(());
    let inner = service_fn(move |request: Request<Arc<()>>| async move {
        let probe = request.into_body();
        if handler == Handler::Hangs {
            pending::<()>().await;
        }
        let mut response = Response::new(Empty::<Bytes>::new());
        response.extensions_mut().insert(probe);
        Ok::<_, Infallible>(response)
    });
    let mut service =
        ReissueLayer::new(authority).layer(ConcurrencyLimit::with_semaphore(inner, Arc::clone(&permits)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert_eq!(permits.available_permits(), 0);
    let mut call = Box::pin(service.call(request(&mint(&claims())).map(|()| Arc::clone(&probe))));
    for _ in 0..3 {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    drop(call);
    assert_eq!(permits.available_permits(), 1, "the permit returns");
    assert_eq!(Arc::strong_count(&probe), 1, "request and response are gone");
}

#[tokio::test]
async fn a_request_dropped_while_the_store_is_asked_leaks_nothing() {
    let store = Arc::new(Scripted::new(Reply::<Standing>::Never, Reply::Now(Rotated::Recorded)));
    let (authority, ..) = storing(0, Arc::clone(&store));
    drop_while_pending(authority, Handler::Answers);
    assert_eq!(Arc::strong_count(&store), 1, "the authority is gone, and so is every reference to its store");
    assert_eq!(store.calls(), ["standing"], "it is asked once, however often it is polled");
}

#[tokio::test]
async fn a_request_dropped_while_its_handler_runs_leaks_nothing() {
    drop_while_pending(stateless(500).0, Handler::Hangs);
    let store = Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded)));
    let (authority, ..) = storing(500, Arc::clone(&store));
    drop_while_pending(authority, Handler::Hangs);
    assert_eq!(Arc::strong_count(&store), 1);
    assert_eq!(store.calls(), ["standing"], "nothing is recorded for a response that never was");
}

#[tokio::test]
async fn a_request_dropped_while_its_successor_is_recorded_leaks_nothing() {
    let store = Arc::new(Scripted::rotating(Reply::Never));
    let (authority, ..) = storing(500, Arc::clone(&store));
    drop_while_pending(authority, Handler::Answers);
    assert_eq!(Arc::strong_count(&store), 1);
    assert_eq!(store.calls(), ["standing", "rotate"]);
}

#[tokio::test]
async fn a_dropped_renewal_leaves_the_old_state_or_the_new() {
    for (gate_closed_after, recorded_at) in [(false, 510), (true, 500)] {
        let store = Arc::new(Gated::default());
        let (authority, clock, _) = storing(500, Arc::clone(&store));
        let gate = if gate_closed_after { &store.after } else { &store.before };
        gate.close();
        drop_while_pending(authority.clone(), Handler::Answers);
        gate.open();
        clock.set(NOW + 510);
        let given = successor(&present(&authority, &mint(&claims())).await).expect("a successor");
        assert_eq!(payload(&given)["iat"], NOW + recorded_at);
        // It is a whole state: the successor leads on.
        clock.set(NOW + 1090);
        let next = successor(&present(&authority, &given).await).expect("the next");
        assert_eq!(payload(&next)["sub"], "alice");
    }
}

#[tokio::test]
async fn a_dropped_exchange_leaves_the_old_state_or_the_new() {
    for (gate_closed_after, recorded_at) in [(false, 640), (true, 630)] {
        let store = Arc::new(Gated::default());
        let (authority, clock, _) = storing(630, Arc::clone(&store));
        let gate = if gate_closed_after { &store.after } else { &store.before };
        gate.close();
        drop_while_pending(authority.clone(), Handler::Answers);
        gate.open();
        clock.set(NOW + 640);
        let given = successor(&present(&authority, &mint(&claims())).await).expect("a successor");
        assert_eq!(payload(&given)["iat"], NOW + recorded_at);
    }
}

#[tokio::test]
async fn a_reuse_is_reported_although_its_sender_hangs_up() {
    let (gate, clock, events) = (Arc::new(Semaphore::new(0)), ManualClock::at(NOW), Events::default());
    let authority = {
        let reused = |rotation: &Rotation| match rotation.supersedes {
            true => Reply::Now(Rotated::Reused { generations: 2 }),
            false => Reply::Now(Rotated::Recorded),
        };
        let store = Scripted {
            rotate: Box::new(reused),
            revoke: Reply::After(Arc::clone(&gate), ()),
            ..Scripted::new(Reply::Now(Standing::Reused { generations: 3 }), Reply::Never)
        };
        builder(&clock)
            .store(store)
            .refresh_tokens(RefreshTokens::new("https://login.example/refresh"))
            .end_session_on_reuse()
            .on_event(events.observe())
            .build()
            .unwrap()
    };
    let pair = authority.issue_pair(Login::new("alice")).await.unwrap();
    let token = mint(&claims());
    clock.set(NOW + 630);
    let presented: Pin<Box<dyn Future<Output = ()>>> = Box::pin(present(&authority, &token).map(drop));
    let refreshed = authority.refresh(Refresh::new(pair.refresh.as_str())).map(drop);
    for (mut asked, reported) in
        [(presented, "reused 3"), (Box::pin(refreshed), "RefreshTokenReused { generations: 2 }")]
    {
        events.take();
        assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(asked);
        tokio::task::yield_now().await;
        assert!(events.take().is_empty(), "nothing is reported before the session has ended");
        gate.add_permits(1);
        tokio::task::yield_now().await;
        assert_eq!(events.take(), ["revoked", reported]);
    }
}

#[test]
fn a_call_that_was_never_polled_holds_nothing_either() {
    let store = Arc::new(Scripted::new(Reply::<Standing>::Never, Reply::Never));
    let (authority, ..) = storing(0, Arc::clone(&store));
    let permits = Arc::new(Semaphore::new(1));
    let inner = ConcurrencyLimit::with_semaphore(service_fn(handler), Arc::clone(&permits));
    let mut service = ReissueLayer::new(authority).layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    drop::<Pin<Box<dyn Future<Output = _>>>>(Box::pin(service.call(request(&mint(&claims())))));
    assert_eq!(permits.available_permits(), 1);
    assert!(store.calls().is_empty(), "a future does nothing before it is polled");
}
