//! Rule 15: a successor that is too large to go out is neither recorded, nor promised, nor sent.

use std::convert::Infallible;
use std::sync::Arc;

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::Rotated;
use tower_reissue::{
    Authority, AuthorityBuilder, Challenge, Cookie, Event, IssueError, Login, ManualClock, Reason, Refusal,
    ReissueLayer, RequireScope, RequireStepUp, Source,
};

use crate::kit::*;
use crate::support::*;

/// What is kept of the bound for all but the token.
const NAMES: usize = 512;

fn fat(bytes: usize) -> String {
    mint(&claims_with(json!({ "fat": "x".repeat(bytes) })))
}

/// The length of its successor.
async fn successor_len(token: &str) -> usize {
    let authority = builder(&ManualClock::at(NOW + 500)).max_added_head_bytes(65_536).build().unwrap();
    successor(&present(&authority, token).await).expect("it is due").len()
}

/// How many bytes make its length this, about: a few less and a few more.
async fn around(len: usize) -> std::ops::Range<usize> {
    let about = (len - successor_len(&fat(0)).await) * 3 / 4;
    about - 6..about + 6
}

fn by_cookie(authority: Authority) -> ReissueLayer {
    ReissueLayer::new(authority).read_from([Source::cookie(Cookie::new("session").unwrap())])
}

fn in_cookie(token: &str) -> Request<()> {
    Request::builder().header("cookie", format!("__Host-session={token}")).body(()).unwrap()
}

/// One request in the window and one in the grace, with a store and without, in the header and in a cookie.
async fn assert_goes_out(
    token: &str,
    is_cookie: bool,
    goes_out: Result<(), &str>,
    configure: impl Fn(AuthorityBuilder) -> AuthorityBuilder,
) {
    for (at, has_store) in [(500, true), (630, true), (500, false), (630, false)] {
        let store = Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded)));
        let events = Events::default();
        let builder = configure(builder(&ManualClock::at(NOW + at))).on_event(events.observe());
        let builder = if has_store { builder.store(Arc::clone(&store)) } else { builder };
        let authority = builder.build().unwrap();
        let (layer, request) = match is_cookie {
            true => (by_cookie(authority), in_cookie(token)),
            false => (ReissueLayer::new(authority), request(token)),
        };
        let response = through(&layer, request, ok()).await;
        let what = format!("at {at}, store: {has_store}, {goes_out:?}, {:?}", response.headers());
        assert_status(&response, if at == 500 { 200 } else { 401 });
        let carries = header(&response, if is_cookie { "set-cookie" } else { HEADER }).is_some();
        assert_eq!(carries, goes_out.is_ok(), "{what}");
        assert_eq!(
            store.calls().contains(&"rotate"),
            has_store && goes_out.is_ok(),
            "nothing is spent: {what}"
        );
        let mut expected = match goes_out {
            Ok(()) => vec![],
            Err(why) => vec![format!("not_reissued {why}")],
        };
        if at == 630 {
            let reason = if goes_out.is_ok() { Reason::ExpiredInGrace } else { Reason::Expired };
            assert_eq!(response.extensions().get::<Refusal>().unwrap().reason(), &reason, "{what}");
            assert_eq!(header(&response, "reissue-replay").is_some(), goes_out.is_ok(), "{what}");
            expected.push(format!("refused {}", reason.label()));
        }
        if goes_out.is_ok() {
            expected.push(format!("reissued {}", if at == 500 { "renewed" } else { "exchanged" }));
        } else if at == 500 {
            assert!(response.headers().is_empty(), "the response is not harmed: {what}");
        }
        assert_eq!(events.take(), expected, "{what}");
    }
}

#[tokio::test]
async fn a_successor_fits_into_what_may_be_added_to_a_head() {
    let token = fat(1_000);
    let len = successor_len(&token).await;
    for is_cookie in [false, true] {
        for (bound, goes_out) in [(len + NAMES, Ok(())), (len + NAMES - 1, Err("head_too_large"))] {
            assert_goes_out(&token, is_cookie, goes_out, |builder| builder.max_added_head_bytes(bound)).await;
        }
    }
}

#[tokio::test]
async fn the_default_bound_is_3072_bytes() {
    let (mut out, mut kept) = (0, 0);
    for bytes in around(3_072 - NAMES).await {
        let token = fat(bytes);
        let fits = successor_len(&token).await + NAMES <= 3_072;
        *(if fits { &mut out } else { &mut kept }) += 1;
        let goes_out = if fits { Ok(()) } else { Err("head_too_large") };
        assert_goes_out(&token, false, goes_out, |builder| builder).await;
    }
    assert!(out > 0 && kept > 0, "both sides of the bound: {out}, {kept}");
}

#[tokio::test]
async fn a_long_name_counts_in_full() {
    let token = fat(1_000);
    let bound = successor_len(&token).await + NAMES;
    let authority = || builder(&ManualClock::at(NOW + 500)).max_added_head_bytes(bound).build().unwrap();
    for (len, goes_out) in [(30, true), (300, false)] {
        let name = http::HeaderName::from_bytes(&vec![b'x'; len]).unwrap();
        let layer = ReissueLayer::new(authority()).deliver_in(name.clone()).unwrap();
        let response = through(&layer, request(&token), ok()).await;
        assert_eq!(response.headers().contains_key(name), goes_out, "{len}");
    }
}

/// The challenge of an exchange included, whatever its realm and protocol.
#[tokio::test]
async fn a_head_with_a_successor_is_within_the_bound_as_it_leaves() {
    let token = fat(around(3_072 - NAMES).await.start);
    let len = successor_len(&token).await;
    let realm = || Challenge::new(&"r".repeat(2_000));
    for (at, is_grpc, realm) in [500, 630].into_iter().flat_map(|at| {
        [(at, false, None), (at, true, None), (at, false, Some(realm())), (at, true, Some(realm()))]
    }) {
        let authority = builder(&ManualClock::at(NOW + at)).build().unwrap();
        let layer = ReissueLayer::new(authority);
        let layer = if let Some(realm) = realm { layer.refuse_with(realm) } else { layer };
        let mut request = request(&token);
        request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        if is_grpc {
            *request.method_mut() = http::Method::POST;
            *request.version_mut() = http::Version::HTTP_2;
            request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        }
        let response = through(&layer, request, ok()).await;
        assert_eq!(successor(&response).map(|token| token.len()), Some(len));
        let added: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        assert!(added <= 3_072, "at {at}, gRPC {is_grpc}: {added}: {:?}", response.headers());
    }
}

/// Where the names take more than what is kept for them, the bound counts each byte of the largest head there is: that of an
/// exchange over gRPC with the longest realm.
#[tokio::test]
async fn the_bound_counts_the_largest_head_to_the_byte() {
    let token = fat(1_000);
    let exchange = async |realm: usize, bound: usize| {
        let authority = builder(&ManualClock::at(NOW + 630)).max_added_head_bytes(bound).build().unwrap();
        let layer = ReissueLayer::new(authority).refuse_with(Challenge::new(&"r".repeat(realm)));
        let layer = layer.deliver_in(http::HeaderName::from_bytes(&[b'x'; 100]).unwrap()).unwrap();
        let mut request = request(&token);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let response = through(&layer, request, ok()).await;
        let added = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        (response.headers().contains_key("reissue-replay"), added.sum::<usize>())
    };
    let (goes_out, largest) = exchange(64, 65_536).await;
    assert!(goes_out);
    for (realm, added) in [(63, largest - 1), (64, largest), (65, largest), (2_000, largest)] {
        assert_eq!(exchange(realm, largest).await, (true, added), "{realm}");
        assert!(!exchange(realm, largest - 1).await.0, "{realm}");
    }
}

/// A refusal by a requirement names beside the successor what it requires, and that counts too.
#[tokio::test]
async fn what_a_route_requires_counts_beside_a_successor() {
    const NAMED: usize = 1_000;
    let handler = || service_fn(|_: Request<()>| async { Ok::<_, Infallible>(ok()) });
    let scope = RequireScope::new(&"s".repeat(NAMED)).unwrap().layer(handler());
    let step_up = RequireStepUp::acr_values(&"v".repeat(NAMED)).unwrap().layer(handler());
    // Of the largest that goes out with a plain response, with a refusal, and a bit more.
    for (room, goes_out) in [(NAMED + 40, true), (NAMED - 40, false), (20, false)] {
        let token = fat(around(3_072 - NAMES - room).await.start);
        for (inner, status, is_cookie) in
            [(&scope, 403, false), (&scope, 403, true), (&step_up, 401, false), (&step_up, 401, true)]
        {
            let store = Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded)));
            let events = Events::default();
            let authority = builder(&ManualClock::at(NOW + 500)).store(Arc::clone(&store));
            let authority = authority.on_event(events.observe()).build().unwrap();
            let (layer, request) = match is_cookie {
                true => (by_cookie(authority), in_cookie(&token)),
                false => (ReissueLayer::new(authority), request(&token)),
            };
            let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
            assert_status(&response, status);
            let carries = header(&response, if is_cookie { "set-cookie" } else { HEADER }).is_some();
            let headers = response.headers().iter();
            let added: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            let what = format!("{room} left, {status}, cookie: {is_cookie}, {added} bytes");
            assert!(added <= 3_072, "{what}");
            assert_eq!(carries, goes_out, "{what}");
            assert_eq!(store.calls().contains(&"rotate"), goes_out, "nothing is spent: {what}");
            let told = if goes_out { "reissued renewed" } else { "not_reissued head_too_large" };
            assert_eq!(events.take().last().map(String::as_str), Some(told), "{what}");
        }
    }
}

#[tokio::test]
async fn a_cookie_fits_into_what_browsers_keep() {
    let empty = "__Host-session=; Max-Age=34560000; Path=/; Secure; HttpOnly; SameSite=Lax";
    let (mut out, mut kept) = (0, 0);
    for bytes in around(4_096 - empty.len()).await {
        let token = fat(bytes);
        let fits = successor_len(&token).await + empty.len() <= 4_096;
        *(if fits { &mut out } else { &mut kept }) += 1;
        let goes_out = if fits { Ok(()) } else { Err("cookie_too_long") };
        assert_goes_out(&token, true, goes_out, |builder| builder.max_added_head_bytes(65_536)).await;
    }
    assert!(out > 0 && kept > 0, "both sides of the bound: {out}, {kept}");
}

#[tokio::test]
async fn a_successor_that_this_service_would_refuse_is_not_recorded() {
    // It gains a `sid` and a session start, so that it is longer than its predecessor.
    let token = fat(1_000);
    let len = successor_len(&token).await;
    assert!(token.len() < len - 1);
    for (longest, goes_out) in [(len, Ok(())), (len - 1, Err("too_long"))] {
        assert_goes_out(&token, false, goes_out, |builder| builder.max_token_bytes(longest)).await;
    }
}

#[tokio::test]
async fn in_a_grace_that_admits_a_token_too_large_to_renew_is_admitted() {
    for has_store in [true, false] {
        let (store, events) =
            (Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded))), Events::default());
        let builder = builder(&ManualClock::at(NOW + 630)).admit_in_grace().on_event(events.observe());
        let builder = if has_store { builder.store(Arc::clone(&store)) } else { builder };
        let response = present(&builder.build().unwrap(), &fat(3_000)).await;
        assert_status(&response, 200);
        assert!(response.headers().is_empty());
        assert!(!store.calls().contains(&"rotate"));
        assert_eq!(events.take(), ["not_reissued head_too_large"], "told once");
    }
}

#[tokio::test]
async fn a_size_is_told_of_as_repeated_from_the_second_time_on() {
    let seen: Arc<std::sync::Mutex<Vec<bool>>> = Arc::default();
    let told = Arc::clone(&seen);
    let authority = builder(&ManualClock::at(NOW + 500)).on_event(move |event| {
        if let Event::NotReissued { repeated, .. } = event {
            told.lock().unwrap().push(*repeated);
        }
    });
    let authority = authority.build().unwrap();
    for _ in 0..3 {
        present(&authority, &fat(3_000)).await;
    }
    assert_eq!(*seen.lock().unwrap(), [false, true, true]);
}

#[tokio::test]
async fn what_is_issued_can_be_renewed() {
    let events = Events::default();
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).on_event(events.observe()).build().unwrap();
    let (mut issued, mut refused) = (0, 0);
    for bytes in 1_580..1_660 {
        let login = || Login::new("alice").claims(&json!({ "fat": "x".repeat(bytes) }));
        clock.set(NOW);
        let token = match authority.issue(login()).await {
            Ok(token) => Ok(token),
            Err(IssueError::HeadTooLarge { bytes, max, .. }) => {
                assert!(bytes > max && max == 3_072 - NAMES);
                Err(authority.issue(login().allow_undeliverable()).await.unwrap())
            }
            Err(other) => panic!("{other}"),
        };
        *(if token.is_ok() { &mut issued } else { &mut refused }) += 1;
        clock.set(NOW + 500);
        let renewable = token.is_ok();
        let token = token.unwrap_or_else(|token| token);
        let first = successor(&present(&authority, token.as_str()).await);
        assert_eq!(first.is_some(), renewable, "{bytes}");
        if let Some(first) = first {
            // Nor does it grow with the generations.
            clock.set(NOW + 1_000);
            let second = successor(&present(&authority, &first).await).expect("the second");
            assert_eq!(first.len(), second.len());
        }
    }
    assert!(issued > 0 && refused > 0, "both sides of the bound: {issued}, {refused}");
}

#[tokio::test]
async fn a_cookie_that_is_handed_out_can_be_renewed() {
    let clock = ManualClock::at(NOW);
    let path = format!("/{}", "orders/".repeat(20));
    let wide = Cookie::without_host_prefix("session").unwrap().domain("example.com").unwrap();
    for (cookie, bound, sizes) in [
        (Cookie::new("session").unwrap(), 65_536, 2_700..2_800),
        // Its own bound comes before that of browsers.
        (wide.path(&path).unwrap(), 3_072, 1_440..1_600),
    ] {
        let authority = builder(&clock).max_added_head_bytes(bound).build().unwrap();
        let layer = ReissueLayer::new(authority.clone()).read_from([Source::cookie(cookie.clone())]);
        let (mut handed_out, mut refused) = (0, 0);
        for bytes in sizes {
            clock.set(NOW);
            let login = || Login::new("alice").claims(&json!({ "fat": "x".repeat(bytes) }));
            let token = authority.issue(login()).await.unwrap();
            let field = authority.set_cookie(&cookie, &token);
            clock.set(NOW + 500);
            let request =
                Request::builder().header("cookie", format!("{}={}", cookie.name(), token.as_str()));
            let response = through(&layer, request.body(()).unwrap(), ok()).await;
            assert_eq!(field.is_ok(), response.headers().contains_key("set-cookie"), "{bytes}");
            *(if field.is_ok() { &mut handed_out } else { &mut refused }) += 1;
            // Who does not want it renewed has it set where it fits itself.
            let undeliverable = authority.issue(login().allow_undeliverable()).await.unwrap();
            assert!(field.is_err() || authority.set_cookie(&cookie, &undeliverable).is_ok(), "{bytes}");
        }
        assert!(handed_out > 0 && refused > 0, "both sides of the bound: {handed_out}, {refused}");
    }
}

#[tokio::test]
async fn a_token_whose_successor_would_be_refused_is_not_issued() {
    let issue = |longest: usize, bytes: usize| {
        let authority = builder(&ManualClock::at(NOW)).max_token_bytes(longest).build().unwrap();
        async move { authority.issue(Login::new("alice").claims(&json!({ "fat": "x".repeat(bytes) }))).await }
    };
    // A successor's `jti` is longer by ten characters.
    let token = issue(8_192, 500).await.unwrap();
    let longest = token.as_str().len();
    assert!(matches!(issue(longest, 500).await, Err(IssueError::TooLong)));
    assert!(issue(longest + 14, 500).await.is_ok());
}
