//! A token in a cookie: who may send it, how long it lives, and when it is removed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Method, Request, Response};
use serde_json::json;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::keys::{Algorithm, KeyRing, VerifyingKey};
use tower_reissue::store::{Rotated, Standing, StoreErrorKind};
use tower_reissue::{
    Authority, Challenge, Cookie, Login, ManualClock, NoReissue, Reason, Refusal, RefusalResponse,
    ReissueLayer, RequestHead, RevokeEndpoint, Source,
};

use crate::kit::*;
use crate::support::*;

const REMOVAL: &str = "__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax";

fn cookie() -> Cookie {
    Cookie::new("session").unwrap()
}

fn layer(authority: Authority) -> ReissueLayer {
    ReissueLayer::new(authority).read_from([Source::cookie(cookie())])
}

fn with_cookie(token: &str) -> Request<()> {
    Request::builder().header("cookie", format!("__Host-session={token}")).body(()).unwrap()
}

fn set_cookies<R>(response: &Response<R>) -> Vec<&str> {
    response.headers().get_all(SET_COOKIE).iter().map(|field| field.to_str().unwrap()).collect()
}

fn reason<R>(response: &Response<R>) -> &Reason {
    response.extensions().get::<Refusal>().expect("a refusal").reason()
}

#[tokio::test]
async fn a_dead_cookie_is_removed_and_one_that_may_yet_be_good_stays() {
    let good = mint(&claims());
    let (head, _) = good.rsplit_once('.').unwrap();
    let over = mint(&claims_with(json!({ "session_start": NOW - 50_000 })));
    for (at, token, removed) in [
        // Past this service's grace, or its session limit: another service that reads the cookie may have a longer one, up to
        // the longest grace that there is.
        (660, good.clone(), false),
        (899, good.clone(), false),
        (900, good.clone(), true),
        (0, over.clone(), false),
        (899, over.clone(), false),
        (900, over.clone(), true),
        // Keys: another node may hold them.
        (0, mint_raw(r#"{"alg":"HS256","kid":"of another node"}"#, &claims().to_string()), false),
        (0, mint_raw(r#"{"alg":"HS512"}"#, &claims().to_string()), false),
        (0, format!("{head}.{}", "A".repeat(43)), false),
        // Under a bad key nothing is believed, an age neither.
        (660, format!("{head}.{}", "A".repeat(43)), false),
        // Configuration, time, or nothing that a key vouches for.
        (0, mint(&claims_with(json!({ "aud": "payments" }))), false),
        (0, mint(&claims_with(json!({ "nbf": NOW + 60 }))), false),
        (0, mint(&claims_with(json!({ "cnf": {} }))), false),
        // Something of a token is left.
        (1_000_000, format!("\"{good}\""), false),
        (1_000_000, head.to_owned(), false),
        // Whatever else is wrong with it, no service accepts it any more.
        (899, mint(&claims_with(json!({ "aud": "payments" }))), false),
        (900, mint(&claims_with(json!({ "aud": "payments" }))), true),
        (900, mint(&claims_with(json!({ "iss": "https://staging.example" }))), true),
        (900, mint(&claims_with(json!({ "nbf": NOW + 5_000 }))), true),
        (900, mint(&claims_with(json!({ "cnf": {} }))), true),
        (900, mint(&claims_with(json!({ "sub": 7 }))), true),
        (900, mint_raw(r#"{"alg":"HS256","typ":"refresh+jwt"}"#, &claims().to_string()), true),
        // When it expires is not known.
        (1_000_000, mint(&claims_with(json!({ "exp": "tomorrow" }))), false),
        (1_000_000, mint(&claims_with(json!({ "exp": null }))), false),
    ] {
        let response = through(&layer(stateless(at).0), with_cookie(&token), ok()).await;
        assert_status(&response, 401);
        let expected: &[&str] = if removed { &[REMOVAL] } else { &[] };
        assert_eq!(set_cookies(&response), expected, "at {at}: {:?}", reason(&response));
        // In a header there is no cookie to remove.
        let response = present(&stateless(at).0, &token).await;
        assert!(set_cookies(&response).is_empty());
    }
}

/// A token from before a change of the configuration, in a cookie without `Max-Age`: it must not block the sign-in page.
#[tokio::test]
async fn a_dead_cookie_that_a_new_requirement_refuses_is_removed() {
    #[derive(serde::Deserialize)]
    struct Private {
        #[allow(dead_code)]
        role: String,
    }
    async fn removed<C: Send + Sync + 'static>(authority: Authority<C>, reason_is: Reason) -> bool {
        let layer = ReissueLayer::new(authority).read_from([Source::cookie(cookie())]).optional();
        let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(ok()) });
        let response = layer.layer(handler).oneshot(with_cookie(&mint(&claims()))).await.unwrap();
        assert_status(&response, 401);
        assert_eq!(reason(&response), &reason_is);
        set_cookies(&response) == [REMOVAL]
    }
    for (at, is_removed) in [(0, false), (899, false), (900, true), (5 * 86_400, true)] {
        let builder = || builder(&ManualClock::at(NOW + at));
        let requiring = builder().require_claim("tenant").build().unwrap();
        assert_eq!(removed(requiring, Reason::MissingClaim("tenant".into())).await, is_removed, "{at}");
        let reading = builder().private_claims::<Private>().build().unwrap();
        assert_eq!(removed(reading, Reason::InvalidClaim("private claims".into())).await, is_removed, "{at}");
    }
}

/// Its issuer may renew it, and clean up after itself.
#[tokio::test]
async fn a_foreign_tokens_cookie_is_never_removed() {
    const PARTNER: &str = "https://partner.example";
    for (at, revoked) in [(600, false), (900, false), (1_000_000, false), (0, true), (900, true)] {
        let foreign = VerifyingKey::from_pem(Algorithm::ES256, pems::P256_PUBLIC).unwrap();
        let ring = KeyRing::new(key()).trust(PARTNER, [foreign]).unwrap();
        let standing = if revoked { Standing::Revoked } else { Standing::Live };
        let authority = Authority::builder(ring)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(43_200))
            .store(Scripted::new(Reply::Now(standing), Reply::Never))
            .clock(ManualClock::at(NOW + at))
            .build()
            .unwrap();
        for audience in [AUDIENCE, "payments"] {
            let token = mint_with(Algorithm::ES256, &claims_with(json!({ "iss": PARTNER, "aud": audience })));
            let response = through(&layer(authority.clone()), with_cookie(&token), ok()).await;
            assert_status(&response, 401);
            assert!(set_cookies(&response).is_empty(), "at {at}: {:?}", reason(&response));
        }
    }
}

#[tokio::test]
async fn what_the_store_says_removes_a_cookie_where_it_is_final() {
    let failed = Reply::Fail(StoreErrorKind::Unavailable);
    for (at, standing, removed, status) in [
        (0, Reply::Now(Standing::Revoked), true, 401),
        // A token that has not had its time is no reuse.
        (630, Reply::Now(Standing::Reused { generations: 2 }), true, 401),
        (0, Reply::Now(Standing::UnknownSession), false, 401),
        (0, failed, false, 503),
    ] {
        let store = Scripted::new(standing, Reply::Now(Rotated::Recorded));
        let builder = builder(&ManualClock::at(NOW + at)).store(store).end_session_on_reuse();
        let response = through(&layer(builder.build().unwrap()), with_cookie(&mint(&claims())), ok()).await;
        assert_status(&response, status);
        let expected: &[&str] = if removed { &[REMOVAL] } else { &[] };
        assert_eq!(set_cookies(&response), expected, "{:?}", reason(&response));
    }
}

#[tokio::test]
async fn a_cookie_in_its_grace_is_not_removed_whether_it_is_exchanged_or_not() {
    let token = mint(&claims());
    for has_store in [true, false] {
        let builder = || match has_store {
            true => {
                builder(&ManualClock::at(NOW + 630)).store(Scripted::rotating(Reply::Now(Rotated::Recorded)))
            }
            false => builder(&ManualClock::at(NOW + 630)),
        };
        let exchanged = through(&layer(builder().build().unwrap()), with_cookie(&token), ok()).await;
        let [field] = set_cookies(&exchanged)[..] else { panic!("one cookie") };
        assert!(field.starts_with("__Host-session=ey"), "{field}");
        // A later request may be liked.
        let declining = builder().renew_if(|_| false).build().unwrap();
        let declined = through(&layer(declining), with_cookie(&token), ok()).await;
        assert_eq!(reason(&declined), &Reason::Expired);
        assert!(set_cookies(&declined).is_empty());
    }
}

#[tokio::test]
async fn a_refusal_of_ones_own_keeps_its_cookies_and_makes_way_for_a_successor() {
    let answering = |own: &'static [&'static str], at: u64| {
        layer(stateless(at).0).refuse_with(move |refusal: &Refusal, _: &RequestHead<'_>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = refusal.status();
            own.iter().for_each(|field| {
                response.headers_mut().append(SET_COOKIE, field.parse().unwrap());
            });
            response
        })
    };
    let token = mint(&claims());
    let dead = through(&answering(&["a=b", "c=d"], 900), with_cookie(&token), ok()).await;
    assert_eq!(set_cookies(&dead), ["a=b", "c=d", REMOVAL]);
    let own = ["a=b", "__Host-session=; Max-Age=0", "c=d"];
    let dead =
        through(&answering(&["a=b", "__Host-session=; Max-Age=0", "c=d"], 900), with_cookie(&token), ok())
            .await;
    assert_eq!(set_cookies(&dead), own);
    // The refusal promises the successor, and it is spent.
    let exchanged =
        through(&answering(&["a=b", "__Host-session=; Max-Age=0", "c=d"], 630), with_cookie(&token), ok())
            .await;
    let [first, second, successor] = set_cookies(&exchanged)[..] else { panic!("three cookies") };
    assert_eq!((first, second), ("a=b", "c=d"));
    assert!(successor.starts_with("__Host-session=ey"));
    assert_eq!(header(&exchanged, "reissue-replay"), Some("safe"));
    // Who wants none gets none, and no promise that the request may be sent again.
    let forgoing = layer(stateless(630).0).refuse_with(|refusal: &Refusal, _: &RequestHead<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        response.extensions_mut().insert(NoReissue);
        response
    });
    let response = through(&forgoing, with_cookie(&token), ok()).await;
    assert!(set_cookies(&response).is_empty());
    assert_eq!(header(&response, "reissue-replay"), None);
}

#[tokio::test]
async fn a_refusal_that_forgoes_its_successor_promises_none_and_is_told_of() {
    type Change = fn(&mut Response<Bytes>);
    let clears: Change = |response| {
        response.headers_mut().insert("clear-site-data", "\"cookies\"".parse().unwrap());
    };
    let forgoes: Change = |response| {
        response.extensions_mut().insert(NoReissue);
    };
    for change in [clears, forgoes] {
        let events = Events::default();
        let store = Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded)));
        let builder = builder(&ManualClock::at(NOW + 630)).store(store).on_event(events.observe());
        let layer =
            layer(builder.build().unwrap()).refuse_with(move |refusal: &Refusal, head: &RequestHead<'_>| {
                let mut response = Challenge::default().respond(refusal, head);
                change(&mut response);
                response
            });
        let response = through(&layer, with_cookie(&mint(&claims())), ok()).await;
        assert_status(&response, 401);
        assert!(set_cookies(&response).is_empty());
        assert_eq!(reason(&response), &Reason::Expired);
        let challenge = header(&response, "www-authenticate").unwrap();
        assert!(!challenge.contains("successor"), "{challenge}");
        assert_eq!(events.take(), ["not_reissued suppressed", "refused expired"]);
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_does_not_lengthen_a_cookies_life() {
    let (authority, clock) = stateless(500);
    let stepping = service_fn(move |_: Request<()>| {
        clock.set(NOW - 5_000);
        async { Ok::<_, Infallible>(ok()) }
    });
    let response = layer(authority).layer(stepping).oneshot(with_cookie(&mint(&claims()))).await.unwrap();
    assert!(set_cookies(&response)[0].contains("; Max-Age=640;"), "{:?}", set_cookies(&response));
    // In the exchange, while the store records it.
    let clock = ManualClock::at(NOW + 630);
    let stepping = clock.clone();
    let store = Scripted {
        rotate: Box::new(move |_| {
            stepping.set(NOW - 5_000);
            Reply::Now(Rotated::Recorded)
        }),
        ..Scripted::rotating(Reply::Never)
    };
    let authority = builder(&clock).store(store).build().unwrap();
    let response = through(&layer(authority), with_cookie(&mint(&claims())), ok()).await;
    assert_status(&response, 401);
    // It begins where the token expires: 630 + 600, and 60 of grace.
    assert!(set_cookies(&response)[0].contains("; Max-Age=660;"), "{:?}", set_cookies(&response));
    // At the sign-in.
    let (authority, clock) = stateless(0);
    let token = authority.issue(Login::new("alice")).await.unwrap();
    clock.set(NOW - 5_000);
    let field = authority.set_cookie(&cookie(), &token).unwrap();
    assert!(field.to_str().unwrap().contains("; Max-Age=660;"), "{field:?}");
}

fn upgrade(fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::get("/socket").header("connection", "upgrade").header("upgrade", "websocket");
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

#[tokio::test]
async fn only_a_page_of_the_own_or_an_allowed_origin_opens_a_web_socket_with_a_cookie() {
    let cookie = format!("__Host-session={}", mint(&claims()));
    let cookie = ("cookie", &*cookie);
    let (own, cross) = (("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"));
    let app = ("origin", "https://app.example");
    for (fields, strict, allowing) in [
        (&[cookie][..], 403, 403),
        (&[cookie, own], 200, 200),
        (&[cookie, cross], 403, 403),
        (&[cookie, cross, app], 403, 200),
        (&[cookie, app], 403, 200),
        (&[cookie, app, ("host", "app.example")], 403, 200),
        (&[cookie, ("origin", "null")], 403, 403),
    ] {
        let allowing_app = layer(stateless(0).0).allow_origin("https://app.example").unwrap();
        for (layer, status) in [(layer(stateless(0).0), strict), (allowing_app, allowing)] {
            let response = through(&layer, upgrade(fields), ok()).await;
            assert_eq!(response.status(), status, "{fields:?}");
            if status == 403 {
                assert_eq!(reason(&response), &Reason::CrossSite);
                assert_eq!(header(&response, "www-authenticate"), None, "no other credential helps");
                assert!(set_cookies(&response).is_empty(), "the session is good");
                let body = text(response).await;
                assert!(body.contains(r#""error":"access_denied""#), "{body}");
                assert!(body.contains("not known to come from this site"), "{body}");
                let only_site = fields.len() == 2 && fields[1] == cross;
                let told =
                    if only_site { "Sec-Fetch-Site is not same-origin" } else { "that allow_origin names" };
                assert!(body.contains(told), "it says what to do: {body}");
            }
        }
    }
    // Over HTTP/2 a WebSocket is an extended CONNECT.
    let mut connect = upgrade(&[cookie, ("sec-websocket-version", "13")]);
    *connect.method_mut() = Method::CONNECT;
    assert_status(&through(&layer(stateless(0).0), connect, ok()).await, 403);
    // Any other request is `SameSite`'s and the handler's.
    let mut plain = upgrade(&[cookie, cross]);
    plain.headers_mut().remove("upgrade");
    assert_status(&through(&layer(stateless(0).0), plain, ok()).await, 200);
    // A page can't set the header.
    let layer = layer(stateless(0).0).read_from([Source::authorization(), Source::cookie(self::cookie())]);
    let bearer = format!("Bearer {}", mint(&claims()));
    let response = through(&layer, upgrade(&[("authorization", &bearer), cookie, cross]), ok()).await;
    assert_status(&response, 200);
    assert!(layer.allow_origin("https://*.example").unwrap_err().to_string().contains("https://*.example"));
}

#[tokio::test]
async fn an_insecure_cookie_is_told_of_where_it_is_read() {
    let insecure = || Source::cookie(Cookie::insecure_for_development("session").unwrap());
    let (authority, _, events) = storing(500, Arc::new(Scripted::rotating(Reply::Now(Rotated::Recorded))));
    let layer = ReissueLayer::new(authority.clone()).read_from([Source::authorization(), insecure()]);
    assert_eq!(events.take(), [r#"InsecureCookie { name: "session" }"#]);
    let _ = RevokeEndpoint::new(authority.clone()).unwrap().read_from([insecure()]);
    assert_eq!(events.take(), [r#"InsecureCookie { name: "session" }"#]);
    let _ = ReissueLayer::new(authority).read_from([Source::cookie(cookie())]);
    assert!(events.take().is_empty());
    let cookie = format!("session={}", mint(&claims()));
    let request = Request::builder().header("cookie", cookie).body(()).unwrap();
    let response = through(&layer, request, ok()).await;
    let [field] = set_cookies(&response)[..] else { panic!("one cookie") };
    assert!(field.ends_with("; Max-Age=660; Path=/; HttpOnly; SameSite=Lax"), "{field}");
}

#[tokio::test]
async fn a_cookie_of_a_domain_and_a_path_is_read_renewed_and_removed_as_that() {
    let wide = Cookie::without_host_prefix("session")
        .unwrap()
        .domain("example.com")
        .unwrap()
        .path("/orders")
        .unwrap();
    let attributes = "; Domain=example.com; Path=/orders; Secure; HttpOnly; SameSite=Lax";
    let request = || {
        let cookie = format!("session={}", mint(&claims()));
        Request::builder().header("cookie", cookie).body(()).unwrap()
    };
    for (at, begins) in [(500, "session=ey"), (630, "session=ey"), (900, "session=; Max-Age=0")] {
        let layer = ReissueLayer::new(stateless(at).0).read_from([Source::cookie(wide.clone())]);
        let response = through(&layer, request(), ok()).await;
        let [field] = set_cookies(&response)[..] else { panic!("one cookie") };
        assert!(field.starts_with(begins) && field.ends_with(attributes), "at {at}: {field}");
    }
}
