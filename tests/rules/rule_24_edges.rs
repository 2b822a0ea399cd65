//! Rule 24 where clocks differ, nodes differ, and application code or a client breaks off.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, Full, StreamBody};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{ClaimsStore, MemoryStore, Retention, Revocation, StoreError};
use tower_reissue::{
    Authority, AuthorityBuilder, Cookie, Event, Login, ManualClock, Refresh, RefreshEndpoint, RefreshTokens,
    ReissueLayer, Renewal, Source, TokenPair,
};

use crate::support::*;

const ENDPOINT: &str = "https://login.example/refresh";

fn pairs(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).store(MemoryStore::new()).refresh_tokens(RefreshTokens::new(ENDPOINT))
}

fn refreshed(authority: &Authority, token: &str) -> Result<TokenPair, String> {
    at_once(authority.refresh(Refresh::new(token))).map_err(|error| error.to_string())
}

#[test]
fn a_session_that_begins_ahead_of_the_clock_is_refreshed_and_goes_on() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    at_once(authority.revoke_subject("alice")).unwrap();
    // Dated after the revocation, which reaches ahead.
    let first = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
    let second = refreshed(&authority, first.refresh.as_str()).unwrap();
    clock.set(NOW + 30);
    assert!(refreshed(&authority, second.refresh.as_str()).is_ok());

    // A login node whose clock is ahead by a second.
    let store = Arc::new(MemoryStore::new());
    let node = |clock: &ManualClock| {
        let node = builder(clock).store(store.clone());
        node.refresh_tokens(RefreshTokens::new(ENDPOINT)).build().unwrap()
    };
    let (ahead, behind) = (ManualClock::at(NOW + 1), ManualClock::at(NOW));
    let first = at_once(node(&ahead).issue_pair(Login::new("alice"))).unwrap();
    let second = refreshed(&node(&behind), first.refresh.as_str()).unwrap();
    ahead.set(NOW + 500);
    assert!(refreshed(&node(&ahead), second.refresh.as_str()).is_ok());
}

/// A lifetime was lowered, and a store that starts empty learns of the session by a token that ends after its successor.
#[test]
fn a_token_that_outlives_its_successor_is_remembered_until_its_own_end() {
    let clock = ManualClock::at(NOW);
    let hours = |hours: u64| Duration::from_secs(3_600 * hours);
    let node = |lifetime: Duration, refresh_lifetime: Duration| {
        let tokens = RefreshTokens::new(ENDPOINT).lifetime(refresh_lifetime);
        let node = builder(&clock).lifetime(lifetime).store(MemoryStore::new()).refresh_tokens(tokens);
        node.build().unwrap()
    };
    let before = node(hours(2), hours(10));
    let pair = at_once(before.issue_pair(Login::new("alice"))).unwrap();
    let sliding = at_once(before.issue(Login::new("bob"))).unwrap();
    let after = node(hours(1) / 6, hours(1) / 2);
    clock.set(NOW + 60);
    refreshed(&after, pair.refresh.as_str()).unwrap();
    let token = at_once(after.admit(sliding.as_str())).unwrap();
    at_once(after.issue_pair(Login::in_session(&token))).unwrap();
    // Both new refresh tokens have expired, and neither old token has.
    clock.set(NOW + 3_600);
    let again = at_once(after.issue_pair(Login::in_session(&token)));
    assert!(again.is_err(), "a token that a pair superseded begins another one");
    let error = refreshed(&after, pair.refresh.as_str()).unwrap_err();
    assert!(error.contains("used"), "{error}");
    assert!(refreshed(&after, pair.refresh.as_str()).unwrap_err().contains("revoked"), "the session ended");
}

/// The store can't tell it from a token that was superseded long ago.
#[test]
fn the_session_ends_with_an_access_token_that_the_store_never_records() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    type Issue = fn(&Authority, &TokenPair) -> String;
    let issues: [Issue; 3] = [
        |_, pair| pair.access.as_str().to_owned(),
        |authority, pair| refreshed(authority, pair.refresh.as_str()).unwrap().access.as_str().to_owned(),
        |authority, pair| {
            let token = at_once(authority.admit(pair.access.as_str())).unwrap();
            at_once(authority.issue(Login::in_session(&token))).unwrap().into_string()
        },
    ];
    for issue in issues {
        let pair = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
        let token = at_once(authority.admit(&issue(&authority, &pair))).unwrap();
        at_once(authority.revoke_token(&token)).unwrap();
        assert!(at_once(authority.admit(pair.access.as_str())).is_err());
        let error = refreshed(&authority, pair.refresh.as_str()).unwrap_err();
        assert!(error.contains("revoked"), "{error}");
    }
}

/// The window is counted from the `iat` that another node wrote, whose clock may be behind by the tolerance.
#[test]
fn a_parallel_refresh_on_a_node_whose_clock_is_ahead_is_no_reuse() {
    for window in [1, 5, 60] {
        for (ahead, is_reuse) in [(0, false), (5, false), (5 + window, true)] {
            let (slow, fast) = (ManualClock::at(NOW), ManualClock::at(NOW + ahead));
            let store = Arc::new(MemoryStore::new());
            let node = |clock: &ManualClock| {
                let tokens = RefreshTokens::new(ENDPOINT).reuse_window(Duration::from_secs(window));
                builder(clock).store(store.clone()).refresh_tokens(tokens).build().unwrap()
            };
            let (slow, fast) = (node(&slow), node(&fast));
            let first = at_once(slow.issue_pair(Login::new("alice"))).unwrap();
            let second = refreshed(&slow, first.refresh.as_str()).unwrap();
            match refreshed(&fast, first.refresh.as_str()) {
                Ok(again) if !is_reuse => assert_eq!(again.refresh.jti(), second.refresh.jti()),
                other => assert!(is_reuse && other.is_err(), "window {window}, {ahead} s ahead: {other:?}"),
            }
        }
    }
}

#[test]
fn the_reuse_window_begins_once_the_renewer_has_answered() {
    let clock = ManualClock::at(NOW);
    let (is_slow, later) = (AtomicBool::new(true), clock.clone());
    let authority = builder(&clock)
        .store(MemoryStore::new())
        .refresh_tokens(RefreshTokens::new(ENDPOINT).reuse_window(Duration::from_secs(4)))
        .renew_with(move |_| {
            if is_slow.swap(false, Ordering::SeqCst) {
                later.set(NOW + 4);
            }
            async { Ok(Renewal::keep()) }
        })
        .build()
        .unwrap();
    let first = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
    let second = refreshed(&authority, first.refresh.as_str()).unwrap();
    assert_eq!(payload(second.refresh.as_str())["iat"], NOW + 4);
    let again = refreshed(&authority, first.refresh.as_str()).unwrap();
    assert_eq!(again.refresh.jti(), second.refresh.jti());
}

/// A token that has not had its time is no reuse, however many successors it has.
#[test]
fn an_access_token_stays_good_beside_what_its_session_went_on_with() {
    let clock = ManualClock::at(NOW);
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let authority = pairs(&clock)
        .end_session_on_reuse()
        .on_event(move |event| {
            if matches!(event, Event::Reused { .. }) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
        .build()
        .unwrap();
    let old = at_once(authority.issue(Login::new("alice"))).unwrap();
    let token = at_once(authority.admit(old.as_str())).unwrap();
    let first = at_once(authority.issue_pair(Login::in_session(&token))).unwrap();
    clock.set(NOW + 300);
    let second = refreshed(&authority, first.refresh.as_str()).unwrap();
    assert!(at_once(authority.admit(old.as_str())).is_ok());
    assert!(at_once(authority.admit(second.access.as_str())).is_ok());
    assert!(refreshed(&authority, second.refresh.as_str()).is_ok());

    // The same of a token that was renewed twice before it was due.
    let old = at_once(authority.issue(Login::new("bob"))).unwrap();
    let mut last = old.as_str().to_owned();
    for step in 1..=2 {
        clock.set(NOW + 300 + step);
        let token = at_once(authority.admit(&last)).unwrap();
        last = at_once(authority.reissue(&token)).unwrap().into_string();
    }
    assert!(at_once(authority.admit(old.as_str())).is_ok());
    assert!(at_once(authority.admit(&last)).is_ok());
    assert_eq!(told.load(Ordering::SeqCst), 0);
    // Once it is over, it is one.
    clock.set(NOW + 900);
    assert!(at_once(authority.admit(old.as_str())).is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
    assert!(at_once(authority.admit(&last)).is_err(), "the session ended");
}

#[test]
fn a_node_with_other_settings_says_nothing_of_a_token_it_can_not_judge_and_ends_a_theft() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let node = |secs| {
        let refresh_tokens = RefreshTokens::new(ENDPOINT).lifetime(Duration::from_secs(secs));
        builder(&clock).store(store.clone()).refresh_tokens(refresh_tokens).build().unwrap()
    };
    let (old, new) = (node(3600), node(7200));
    let first = at_once(old.issue_pair(Login::new("alice"))).unwrap();
    clock.set(NOW + 100);
    let second = refreshed(&new, first.refresh.as_str()).unwrap();
    // A lost response, tried again at the old node.
    let refused = refreshed(&old, first.refresh.as_str()).unwrap_err();
    assert!(refused.contains("can not be known right now"), "{refused}");
    assert!(refreshed(&new, first.refresh.as_str()).is_ok());
    // And much later: by whom it was stolen.
    clock.set(NOW + 1000);
    assert!(refreshed(&old, first.refresh.as_str()).is_err());
    assert!(refreshed(&new, second.refresh.as_str()).is_err(), "the session ended");
}

#[test]
fn a_narrowed_scope_is_narrow_under_both_of_its_names() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    let granted = json!({ "scope": "read write", "scp": ["read", "write"] });
    let pair = at_once(authority.issue_pair(Login::new("alice").claims(&granted))).unwrap();
    let narrowed = at_once(authority.refresh(Refresh::new(pair.refresh.as_str()).scope("read"))).unwrap();
    let claims = payload(narrowed.access.as_str());
    assert_eq!((&claims["scope"], &claims["scp"]), (&json!("read"), &json!(["read"])));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[tokio::test]
async fn a_renewer_that_panics_when_it_is_dropped_at_its_deadline_has_not_answered() {
    let clock = ManualClock::at(NOW);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let authority = pairs(&clock)
        .renewer_deadline(Duration::from_millis(20))
        .renew_with(|_| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
            Ok(Renewal::keep())
        })
        .on_event(move |event| {
            if let Event::RenewerFailed { .. } = event {
                seen.lock().unwrap().push("failed");
            }
        })
        .build()
        .unwrap();
    let pair = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
    assert!(authority.refresh(Refresh::new(pair.refresh.as_str())).await.is_err());
    assert_eq!(*events.lock().unwrap(), ["failed"]);

    // In the layer, after the handler has run: its response goes out.
    let token = at_once(authority.issue(Login::new("alice"))).unwrap();
    clock.set(NOW + 500);
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
    });
    let bearer = format!("Bearer {}", token.as_str());
    let request = Request::get("/").header("authorization", bearer).body(()).unwrap();
    let response = ReissueLayer::new(authority).layer(handler).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Takes a while to revoke.
struct Slow(MemoryStore);

impl ClaimsStore for Slow {
    forward!(0: standing, rotate, sessions, horizon, raise_horizon);

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        self.0.revoke(revocation, retention).await
    }
}

fn form(token: &str) -> Request<Full<Bytes>> {
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    request.body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn a_thief_who_hangs_up_ends_the_session_all_the_same() {
    let clock = ManualClock::at(NOW);
    let slow = builder(&clock).store(Slow(MemoryStore::new()));
    let authority = slow.refresh_tokens(RefreshTokens::new(ENDPOINT)).build().unwrap();
    let first = authority.issue_pair(Login::new("alice")).await.unwrap();
    let second = authority.refresh(Refresh::new(first.refresh.as_str())).await.unwrap();
    clock.set(NOW + 100);
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
    let asked = endpoint.oneshot(form(first.refresh.as_str()));
    assert!(tokio::time::timeout(Duration::from_millis(10), asked).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(authority.refresh(Refresh::new(second.refresh.as_str())).await.is_err());
}

#[test]
fn a_cookie_is_refreshed_whatever_type_an_empty_body_has() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    let pair = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
    let cookie = Source::cookie(Cookie::new("refresh").unwrap());
    let endpoint = RefreshEndpoint::new(authority).unwrap().read_from([cookie]);
    for content_type in [None, Some("application/json"), Some("application/x-www-form-urlencoded")] {
        let mut request = Request::post("/")
            .header("sec-fetch-site", "same-origin")
            .header("cookie", format!("__Host-refresh={}", pair.refresh.as_str()));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        // Chunked, as proxies send it: that it is empty shows only at its end.
        let frames =
            futures_util::stream::empty::<Result<http_body::Frame<Bytes>, std::convert::Infallible>>();
        let request = request.body(StreamBody::new(frames)).unwrap();
        assert_eq!(at_once(endpoint.clone().oneshot(request)).unwrap().status(), 200, "{content_type:?}");
    }
}
