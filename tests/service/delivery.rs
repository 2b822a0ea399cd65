//! Rules 16 and 17: how a successor goes back, and what becomes of the response that carries it.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::store::Rotated;
use tower_reissue::{Authority, Cookie, NoReissue, ReissueLayer, SameSite, Source, VerifiedToken};

use crate::kit::*;
use crate::support::*;

fn response(fields: &[(&'static str, &'static str)]) -> Response<Full<Bytes>> {
    let mut response = ok();
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

fn with(mut request: Request<()>, fields: &[(&'static str, &'static str)]) -> Request<()> {
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn due() -> Request<()> {
    request(&mint(&claims()))
}

fn layer() -> ReissueLayer {
    ReissueLayer::new(stateless(500).0)
}

fn all<'a, R>(response: &'a Response<R>, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn the_header_is_sensitive_and_its_name_configurable() {
    let response = through(&layer(), due(), ok()).await;
    assert!(response.headers()[HEADER].is_sensitive());
    let named = layer().deliver_in(HeaderName::from_static("x-fresh")).unwrap();
    let response = through(&named, due(), ok()).await;
    assert!(response.headers()["x-fresh"].is_sensitive());
    for taken in
        ["reissue-replay", "cache-control", "set-cookie", "access-control-expose-headers", "www-authenticate"]
    {
        assert!(layer().deliver_in(HeaderName::from_static(taken)).is_err(), "{taken}");
    }
    assert!(!response.headers().contains_key(HEADER));
}

#[tokio::test]
async fn a_layer_keeps_the_token_from_handlers_on_demand_and_renews_it_all_the_same() {
    // Without a wait, after one for a slow store, and behind a layer that shows the same.
    let slow = || {
        let store = Scripted::rotating(Reply::Now(Rotated::Recorded));
        ReissueLayer::new(storing(500, store).0)
    };
    for (layer, shown) in [
        (layer(), true),
        (layer().without_extension(), false),
        (slow(), true),
        (slow().without_extension(), false),
    ] {
        let service = service_fn(move |request: Request<()>| async move {
            assert_eq!(request.extensions().get::<VerifiedToken>().is_some(), shown);
            Ok::<_, Infallible>(ok())
        });
        let response = layer.layer(service).oneshot(due()).await.unwrap();
        assert!(successor(&response).is_some());
        let outer = ReissueLayer::new(stateless(500).0);
        assert_eq!(outer.layer(layer.layer(service)).oneshot(due()).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_handlers_own_value_stays_single() {
    let response = through(&layer(), due(), response(&[(HEADER, "the handler's own")])).await;
    assert_eq!(all(&response, HEADER), ["the handler's own"]);
    assert_eq!(header(&response, "cache-control"), None);
}

#[tokio::test]
async fn a_response_that_carries_a_successor_is_kept_by_no_cache() {
    let response = through(
        &layer(),
        due(),
        response(&[
            ("cache-control", "public, max-age=3600"),
            ("cache-control", "s-maxage=7200"),
            ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
            ("cdn-cache-control", "max-age=60"),
            ("cloudflare-cdn-cache-control", "max-age=60"),
            ("vercel-cdn-cache-control", "max-age=60"),
            ("netlify-cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("x-accel-expires", "60"),
            ("of-a-cdn-to-come-cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("vary", "accept"),
        ]),
    )
    .await;
    let mut left: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["cache-control", "etag", HEADER, "vary"]);
    assert_eq!(all(&response, "cache-control"), ["no-store"]);
}

const EXPOSE: &str = "access-control-expose-headers";

#[tokio::test]
async fn the_name_is_exposed_to_other_origins_only() {
    for (request_fields, exposed) in [
        (&[][..], None),
        (&[("origin", "https://app.example")], Some(HEADER)),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "same-origin")], None),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "same-site")], Some(HEADER)),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], Some(HEADER)),
        (&[("sec-fetch-site", "cross-site")], None),
    ] {
        let response = through(&layer(), with(due(), request_fields), ok()).await;
        assert!(successor(&response).is_some());
        assert_eq!(header(&response, EXPOSE), exposed, "{request_fields:?}");
    }
    let token_not_due = mint(&claims_with(json!({ "exp": NOW + 700 })));
    let early = with(request(&token_not_due), &[("origin", "https://app.example")]);
    let response = through(&ReissueLayer::new(stateless(0).0), early, ok()).await;
    assert_eq!(header(&response, EXPOSE), None, "only where there is something to read");
}

#[tokio::test]
async fn the_name_joins_those_exposed_already_and_is_not_doubled() {
    let cross = || with(due(), &[("origin", "https://app.example")]);
    for (before, after) in [
        (&[(EXPOSE, "x-request-id")][..], vec!["x-request-id", HEADER]),
        (
            &[(EXPOSE, "x-request-id, ETag"), (EXPOSE, "x-other")],
            vec!["x-request-id, ETag", "x-other", HEADER],
        ),
        (&[(EXPOSE, "x-request-id, Refreshed-API-Token")], vec!["x-request-id, Refreshed-API-Token"]),
        (&[(EXPOSE, "a"), (EXPOSE, " refreshed-api-token ,b")], vec!["a", "refreshed-api-token ,b"]),
        (&[(EXPOSE, "x-refreshed-api-token")], vec!["x-refreshed-api-token", HEADER]),
    ] {
        let response = through(&layer(), cross(), response(before)).await;
        let exposed: Vec<_> = all(&response, EXPOSE).into_iter().map(str::trim).collect();
        assert_eq!(exposed, after);
    }
}

fn cookies(authority: Authority) -> ReissueLayer {
    ReissueLayer::new(authority).read_from([Source::cookie(Cookie::new("session").unwrap())])
}

fn cookie_request(token: &str) -> Request<()> {
    Request::builder().header("cookie", format!("theme=dark; __Host-session={token}")).body(()).unwrap()
}

#[tokio::test]
async fn a_cookies_successor_goes_back_as_the_same_cookie() {
    let token = mint(&claims());
    for (at, status, max_age) in [(480, 200, 660), (500, 200, 640), (599, 200, 541), (630, 401, 510)] {
        let response = through(&cookies(stateless(at).0), cookie_request(&token), ok()).await;
        assert_status(&response, status);
        assert_eq!(successor(&response), None, "in no header besides");
        let [field] = all(&response, "set-cookie")[..] else { panic!("one cookie") };
        let (pair, attributes) = field.split_once("; ").unwrap();
        // The successor lives to 1080, and can be exchanged for 60 s more.
        assert_eq!(attributes, format!("Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite=Lax"));
        let value = pair.strip_prefix("__Host-session=").unwrap();
        assert_eq!(payload(value)["exp"], NOW + 1080);
        assert!(response.headers()["set-cookie"].is_sensitive());
        assert_eq!(all(&response, "cache-control"), ["no-store"]);
    }
}

#[tokio::test]
async fn a_cookie_says_when_it_is_sent_along() {
    for (same_site, text) in [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax"), (SameSite::None, "None")]
    {
        let cookie = Cookie::new("session").unwrap().same_site(same_site);
        let layer = layer().read_from([Source::cookie(cookie)]);
        let response = through(&layer, cookie_request(&mint(&claims())), ok()).await;
        assert!(header(&response, "set-cookie").unwrap().ends_with(&format!("; SameSite={text}")));
    }
}

#[tokio::test]
async fn a_cookie_is_appended_to_the_handlers_own() {
    let own = [("set-cookie", "theme=light; Path=/"), ("set-cookie", "__Host-sessions=2; Path=/; Secure")];
    let response =
        through(&cookies(stateless(500).0), cookie_request(&mint(&claims())), response(&own)).await;
    let fields = all(&response, "set-cookie");
    assert_eq!(fields[..2], [own[0].1, own[1].1]);
    assert!(fields[2].starts_with("__Host-session=ey"));
    assert_eq!(fields.len(), 3);
}

#[tokio::test]
async fn a_handler_that_sets_or_clears_the_cookie_is_left_alone() {
    for own in ["__Host-session=; Max-Age=0; Path=/; Secure", "__Host-session=another; Path=/; Secure"] {
        let answer = response(&[("set-cookie", "a=b"), ("set-cookie", own)]);
        let response = through(&cookies(stateless(500).0), cookie_request(&mint(&claims())), answer).await;
        assert_eq!(all(&response, "set-cookie"), ["a=b", own]);
        assert_eq!(header(&response, "cache-control"), None);
    }
    let mut answer = ok();
    answer.extensions_mut().insert(NoReissue);
    let response = through(&cookies(stateless(500).0), cookie_request(&mint(&claims())), answer).await;
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn of_several_sources_the_successor_goes_back_where_its_token_was() {
    let layer = layer().read_from([Source::authorization(), Source::cookie(Cookie::new("session").unwrap())]);
    let token = mint(&claims());
    let by_cookie = through(&layer, cookie_request(&token), ok()).await;
    assert!(header(&by_cookie, "set-cookie").is_some() && successor(&by_cookie).is_none());
    let mut both = cookie_request("not looked at");
    both.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let by_header = through(&layer, both, ok()).await;
    assert!(header(&by_header, "set-cookie").is_none() && successor(&by_header).is_some());
}

fn websocket(token: &str) -> Request<()> {
    Request::builder()
        .uri(format!("/socket?access_token={token}"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_querys_token_is_answered_with_no_successor_and_spends_none() {
    let token = mint(&claims());
    for (at, status) in [(500, 200), (630, 401)] {
        let store = std::sync::Arc::new(Scripted::rotating(Reply::Never));
        let (authority, _, events) = storing(at, std::sync::Arc::clone(&store));
        let layer = ReissueLayer::new(authority).read_from([Source::websocket_query("access_token")]);
        let response = through(&layer, websocket(&token), ok()).await;
        assert_status(&response, status);
        assert_eq!(successor(&response), None);
        assert!(!store.calls().contains(&"rotate"), "at {at}");
        let expected: &[&str] = if status == 401 { &["refused expired"] } else { &[] };
        assert_eq!(events.take(), expected, "no successor is promised");
    }
}
