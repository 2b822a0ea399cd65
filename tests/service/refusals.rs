//! Rule 18: refusals speak the request's protocol, and tell no more than their kind.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use jsonwebtoken::errors::ErrorKind;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{
    Challenge, Cookie, MemoryStore, Reason, Refusal, ReissueLayer, RequestHead, RequireScope, RevokeEndpoint,
    Source,
};

use crate::kit::*;
use crate::support::*;

fn layer(at: u64) -> ReissueLayer {
    ReissueLayer::new(stateless(at).0)
}

fn refusal<R>(response: &Response<R>) -> &Refusal {
    response.extensions().get().expect("the refusal, for layers further out")
}

#[tokio::test]
async fn a_request_without_a_token_gets_a_bare_challenge() {
    let response = through(&layer(0), bare(), ok()).await;
    assert_status(&response, 401);
    assert_eq!(header(&response, "www-authenticate"), Some(r#"Bearer realm="api""#));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(text(response).await, "{}");
}

#[tokio::test]
async fn a_challenge_tells_error_and_description() {
    let good = mint(&claims());
    let two = {
        let mut two = request(&good);
        two.headers_mut().append("authorization", "Bearer x".parse().unwrap());
        two
    };
    for (at, bad, status, error, description) in [
        (700, request(&good), 401, "invalid_token", "The token expired"),
        (630, request(&good), 401, "invalid_token", "The token expired; the response carries its successor"),
        (0, request("x"), 401, "invalid_token", "The token is malformed"),
        (0, two, 400, "invalid_request", "The request carries more than one credential"),
        (
            0,
            request(&format!(" {good}")),
            400,
            "invalid_request",
            "The credential must be the scheme, one space and the token",
        ),
        (12 * 3600, request(&good), 401, "invalid_token", "The session has reached its longest life"),
    ] {
        let response =
            through(&layer(at).refuse_with(tower_reissue::Challenge::new("the orders")), bad, ok()).await;
        assert_status(&response, status);
        assert_eq!(
            header(&response, "www-authenticate").unwrap(),
            format!(r#"Bearer realm="the orders", error="{error}", error_description="{description}""#)
        );
        assert_eq!(header(&response, "content-type"), Some("application/json"));
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body, json!({ "error": error, "error_description": description }));
    }
}

#[tokio::test]
async fn a_realm_can_not_break_out_of_its_quotes() {
    let layer = layer(0).refuse_with(tower_reissue::Challenge::new("a\"b\\c\r\nd\u{e9}"));
    let response = through(&layer, bare(), ok()).await;
    assert_eq!(header(&response, "www-authenticate"), Some(r#"Bearer realm="abcd""#));
}

/// A gRPC request as its clients send it.
fn grpc(mut request: Request<()>, content_type: &str) -> Request<()> {
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    request
}

#[tokio::test]
async fn a_grpc_refusal_is_trailers_only_with_the_status_of_http_too() {
    let token = mint(&claims());
    for content_type in
        ["application/grpc", "application/grpc+proto", "application/grpc;x", "APPLICATION/gRPC"]
    {
        for (at, renewed, message) in [
            (630, true, "The token expired; the response carries its successor"),
            (700, false, "The token expired"),
        ] {
            let response = through(&layer(at), grpc(request(&token), content_type), ok()).await;
            assert_status(&response, 401);
            assert_eq!(successor(&response).is_some(), renewed, "{content_type}");
            assert_eq!(header(&response, "grpc-status"), Some("16"), "{content_type}");
            assert_eq!(header(&response, "grpc-message"), Some(message));
            assert_eq!(header(&response, "content-type"), Some("application/grpc"));
            let challenge = header(&response, "www-authenticate").unwrap();
            assert!(challenge.starts_with(r#"Bearer realm="api", error="invalid_token""#), "{challenge}");
            assert!(response.body().is_end_stream());
            assert_eq!(response.body().size_hint().exact(), Some(0));
        }
    }
}

#[tokio::test]
async fn any_fault_of_a_grpc_requests_credential_is_unauthenticated() {
    let two = || {
        let mut two = request(&mint(&claims()));
        two.headers_mut().append("authorization", "Bearer x".parse().unwrap());
        two
    };
    for bad in [bare(), request(""), request("x"), request(" x"), two()] {
        let response = through(&layer(0), grpc(bad, "application/grpc"), ok()).await;
        assert_status(&response, 401);
        assert_eq!(header(&response, "grpc-status"), Some("16"));
        assert!(response.body().is_end_stream());
    }
}

#[tokio::test]
async fn what_merely_looks_like_grpc_is_answered_as_http() {
    let of = |method: Method, version: Version, content_type: &str| {
        let mut request = grpc(request("x"), content_type);
        (*request.method_mut(), *request.version_mut()) = (method, version);
        request
    };
    for (method, version, content_type) in [
        (Method::GET, Version::HTTP_11, "application/grpc"),
        (Method::GET, Version::HTTP_2, "application/grpc"),
        (Method::PUT, Version::HTTP_2, "application/grpc"),
        (Method::POST, Version::HTTP_11, "application/grpc"),
        (Method::POST, Version::HTTP_10, "application/grpc"),
        (Method::POST, Version::HTTP_2, "application/grpc-web"),
        (Method::POST, Version::HTTP_2, "application/grpc-web+proto"),
        (Method::POST, Version::HTTP_2, "application/grpcx"),
        (Method::POST, Version::HTTP_2, "application/json"),
    ] {
        let what = format!("{method} {version:?} {content_type}");
        for layer in [layer(0), layer(0).refuse_with(Challenge::default())] {
            let response = through(&layer, of(method.clone(), version, content_type), ok()).await;
            assert_eq!(response.status(), 401, "{what}");
            assert_eq!(header(&response, "grpc-status"), None, "{what}");
            assert_eq!(header(&response, "content-type"), Some("application/json"), "{what}");
        }
    }
}

#[tokio::test]
async fn http_200_over_grpc_is_had_by_asking_for_it_and_by_grpc_alone() {
    let challenge = || Challenge::new("api").dangerous().grpc_refusals_with_http_200();
    let layers = || [layer(630).refuse_with(challenge()), layer(700).refuse_with(challenge())];
    let token = mint(&claims());
    for (method, version, content_type, answered_as) in [
        (Method::POST, Version::HTTP_2, "application/grpc", Some("application/grpc")),
        (Method::POST, Version::HTTP_2, "application/grpc-web+proto", Some("application/grpc-web")),
        (Method::POST, Version::HTTP_11, "application/grpc-web-text", Some("application/grpc-web")),
        (Method::GET, Version::HTTP_2, "application/grpc", None),
        (Method::POST, Version::HTTP_11, "application/grpc", None),
        (Method::GET, Version::HTTP_11, "application/grpc-web", None),
        (Method::POST, Version::HTTP_2, "application/json", None),
    ] {
        for layer in layers() {
            let mut request = grpc(request(&token), content_type);
            (*request.method_mut(), *request.version_mut()) = (method.clone(), version);
            let response = through(&layer, request, ok()).await;
            let what = format!("{method} {version:?} {content_type}");
            assert_eq!(response.status(), if answered_as.is_some() { 200 } else { 401 }, "{what}");
            assert_eq!(header(&response, "grpc-status"), answered_as.map(|_| "16"), "{what}");
            if let Some(answered_as) = answered_as {
                assert_eq!(header(&response, "content-type"), Some(answered_as), "{what}");
                assert!(response.body().is_end_stream(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn no_refusal_of_ones_own_looks_like_a_success() {
    for (own, answered) in [
        (100, 401),
        (101, 401),
        (200, 401),
        (204, 401),
        (299, 401),
        (304, 401),
        (302, 302),
        (400, 400),
        (403, 403),
        (503, 503),
    ] {
        let layer = layer(0).refuse_with(move |_: &Refusal, _: &RequestHead<'_>| {
            Response::builder().status(own).header("reissue-replay", "safe").body(Bytes::new()).unwrap()
        });
        let response = through(&layer, bare(), ok()).await;
        assert_eq!(response.status(), answered, "{own}");
        assert_eq!(header(&response, "reissue-replay"), None, "{own}");
    }
}

#[tokio::test]
async fn only_a_refusal_that_carries_a_successor_says_that_it_may_be_sent_again() {
    let token = mint(&claims());
    let inner = |status: u16| {
        let mut response = ok();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("reissue-replay", "safe".parse().unwrap());
        response.headers_mut().insert("etag", "kept".parse().unwrap());
        response
    };
    for (at, of_inner, status, safe) in [
        (0, 200, 200, None),
        (0, 401, 401, None),
        (500, 200, 200, None),
        (500, 401, 401, None),
        (630, 200, 401, Some("safe")),
        (700, 200, 401, None),
    ] {
        let response = through(&layer(at), request(&token), inner(of_inner)).await;
        assert_status(&response, status);
        assert_eq!(header(&response, "reissue-replay"), safe, "at {at}");
        assert_eq!(header(&response, "etag").is_some(), at < 600, "at {at}");
    }
    let response = through(&layer(0).pass_preflight(), preflight(), inner(200)).await;
    assert_eq!((header(&response, "reissue-replay"), header(&response, "etag")), (None, Some("kept")));
    // A script on another origin has to read it.
    let mut cross = request(&token);
    cross.headers_mut().insert("origin", "https://app.example".parse().unwrap());
    let response = through(&layer(630), cross, ok()).await;
    let exposed = response.headers().get_all("access-control-expose-headers");
    let exposed: Vec<_> = exposed.iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(exposed, [HEADER, "reissue-replay"]);
}

#[tokio::test]
async fn a_closure_may_answer_and_the_successor_is_added_all_the_same() {
    let layer = layer(630).refuse_with(|refusal: &Refusal, head: &RequestHead<'_>| {
        Response::builder()
            .status(403)
            .header("x-path", head.uri().path())
            .header("cache-control", "public")
            .body(Bytes::from(refusal.reason().label()))
            .unwrap()
    });
    let mut late = request(&mint(&claims()));
    *late.uri_mut() = "/here".parse().unwrap();
    let response = through(&layer, late, ok()).await;
    assert_status(&response, 403);
    assert_eq!(header(&response, "x-path"), Some("/here"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert!(successor(&response).is_some());
    assert_eq!(refusal(&response).reason(), &Reason::ExpiredInGrace);
    assert_eq!(text(response).await, "expired_in_grace");
    // The default is a value too, for a closure to fall back on.
    let _ = ReissueLayer::new(stateless(0).0).refuse_with(Challenge::default());
}

#[tokio::test]
async fn a_refusal_reads_as_the_jsonwebtoken_error_its_users_know() {
    let with = |changes: Value| request(&mint(&claims_with(changes)));
    let headed = |header: &str| request(&mint_raw(header, &claims().to_string()));
    let forged = {
        let mut token = mint(&claims());
        let last = if token.pop() == Some('A') { 'E' } else { 'A' };
        token.push(last);
        request(&token)
    };
    for (bad, reason, kind) in [
        (bare(), Reason::NoCredential, ErrorKind::InvalidToken),
        (request(""), Reason::MalformedCredential, ErrorKind::InvalidToken),
        (request(&"x".repeat(9_000)), Reason::TooLong, ErrorKind::InvalidToken),
        (request("a.b"), Reason::MalformedToken, ErrorKind::InvalidToken),
        (headed(r#"{"alg":"HS256","crit":[]}"#), Reason::UnsupportedHeader, ErrorKind::InvalidToken),
        (headed(r#"{"alg":"HS256","typ":"rt+jwt"}"#), Reason::WrongType, ErrorKind::InvalidToken),
        (headed(r#"{"alg":"HS256","kid":"x"}"#), Reason::UnknownKey, ErrorKind::InvalidSignature),
        (headed(r#"{"alg":"HS512"}"#), Reason::WrongAlgorithm, ErrorKind::InvalidAlgorithm),
        (forged, Reason::BadSignature, ErrorKind::InvalidSignature),
        (
            with(json!({ "exp": null })),
            Reason::MissingClaim("exp".into()),
            ErrorKind::MissingRequiredClaim("exp".into()),
        ),
        (
            with(json!({ "iat": "x" })),
            Reason::InvalidClaim("iat".into()),
            ErrorKind::InvalidClaimFormat("iat".into()),
        ),
        (with(json!({ "iss": "x" })), Reason::WrongIssuer, ErrorKind::InvalidIssuer),
        (with(json!({ "aud": "x" })), Reason::WrongAudience, ErrorKind::InvalidAudience),
        (with(json!({ "nbf": NOW + 60 })), Reason::NotYetValid("nbf"), ErrorKind::ImmatureSignature),
        (with(json!({ "iat": NOW - 700, "exp": NOW - 100 })), Reason::Expired, ErrorKind::ExpiredSignature),
        (
            with(json!({ "iat": NOW - 610, "exp": NOW - 10 })),
            Reason::ExpiredInGrace,
            ErrorKind::ExpiredSignature,
        ),
        (with(json!({ "session_start": 1 })), Reason::SessionOver, ErrorKind::ExpiredSignature),
        (
            with(json!({ "cnf": {} })),
            Reason::Unconfirmed,
            ErrorKind::Provider(
                "The sender of the token could not be confirmed (it is bound to a key by cnf, and no confirm_with confirmed \
                 its holder)"
                    .into(),
            ),
        ),
    ] {
        let response = through(&layer(0), bad, ok()).await;
        let status = if reason == Reason::MalformedCredential { 400 } else { 401 };
        assert_status(&response, status);
        assert_eq!(refusal(&response).reason(), &reason);
        assert_eq!(ErrorKind::from(refusal(&response)), kind, "{reason:?}");
    }
}

fn preflight() -> Request<()> {
    Request::builder()
        .method(Method::OPTIONS)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_preflight_is_refused_like_any_request_unless_it_is_let_through() {
    assert_status(&through(&layer(0), preflight(), ok()).await, 401);
    let response = through(&layer(500).pass_preflight(), preflight(), ok()).await;
    assert_status(&response, 200);
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn only_a_whole_preflight_is_let_through_and_without_claims() {
    use tower::{Layer, ServiceExt, service_fn};
    let layer = layer(500).pass_preflight();
    let without = |name: &str| {
        let mut request = preflight();
        request.headers_mut().remove(name);
        request
    };
    let mut put = preflight();
    *put.method_mut() = Method::PUT;
    for request in [without("origin"), without("access-control-request-method"), put] {
        assert_status(&through(&layer, request, ok()).await, 401);
    }
    // A token that comes along opens nothing and is not renewed.
    let mut carrying = preflight();
    carrying.headers_mut().extend(request(&mint(&claims())).headers().clone());
    let handler = service_fn(|request: Request<()>| async move {
        assert!(token_of(&request).is_none());
        Ok::<_, std::convert::Infallible>(ok())
    });
    let response = layer.layer(handler).oneshot(carrying).await.unwrap();
    assert_status(&response, 200);
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn in_grace_a_request_may_be_let_through_instead() {
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).grace(Duration::from_secs(30)).admit_in_grace().build().unwrap();
    for (at, status, renewed) in [(629, 200, true), (630, 401, false)] {
        clock.set(NOW + at);
        let response = present(&authority, &mint(&claims())).await;
        assert_status(&response, status);
        assert_eq!(successor(&response).is_some(), renewed, "at {at}");
    }
}

/// The challenge stays bare, as RFC 6750 §3.1 has it where there is no credential.
#[tokio::test]
async fn an_authorization_that_is_no_credential_is_told_to_the_log_alone() {
    const SCHEME: Option<&str> = Some("Authorization is there, but its scheme is not Bearer");
    const UNREAD: Option<&str> = Some("Authorization is there, but read_from has no Source::authorization");
    let cookie = || [Source::cookie(Cookie::new("session").unwrap())];
    let request = |value: Option<&str>| {
        let request = value
            .into_iter()
            .fold(Request::post("/"), |request, value| request.header("authorization", value));
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let assert_bare = |response: &Response<_>, hint: Option<&str>, row: &str| {
        assert_status(response, 401);
        assert_eq!(header(response, "www-authenticate"), Some(r#"Bearer realm="api""#), "{row}");
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!((refusal.reason(), refusal.hint()), (&Reason::NoCredential, hint), "{row}");
    };
    for (value, of_header, of_cookie) in [
        (None, None, None),
        (Some("a.b.c"), SCHEME, UNREAD),
        (Some("Token a.b.c"), SCHEME, UNREAD),
        (Some("Basic eDp5"), SCHEME, UNREAD),
        (Some("Bearer a.b.c"), None, UNREAD),
    ] {
        let clock = tower_reissue::ManualClock::at(NOW);
        let authority = builder(&clock).store(MemoryStore::new()).build().unwrap();
        let handler = service_fn(async |_: Request<Full<Bytes>>| Handled::Ok(ok()));
        for (is_header, hint) in [(true, of_header), (false, of_cookie)] {
            if is_header && value == Some("Bearer a.b.c") {
                continue;
            }
            let row = format!("{value:?} {is_header}");
            let (layer, endpoint) = (layer(0), RevokeEndpoint::new(authority.clone()).unwrap());
            let (layer, endpoint) = match is_header {
                true => (layer, endpoint),
                false => (layer.read_from(cookie()), endpoint.read_from(cookie())),
            };
            let answer = layer.clone().layer(handler).oneshot(request(value)).await.unwrap();
            assert_bare(&answer.map(|_| ()), hint, &row);
            let scope = RequireScope::new("orders:read").unwrap();
            let deferred =
                layer.optional().layer(scope.layer(handler)).oneshot(request(value)).await.unwrap();
            assert_bare(&deferred.map(|_| ()), hint, &row);
            let answer = endpoint.oneshot(request(value)).await.unwrap();
            assert_bare(&answer.map(|_| ()), hint, &row);
        }
    }
}

#[tokio::test]
async fn a_refusal_knows_by_how_much_the_token_missed_its_time_and_does_not_send_it() {
    for (at, changes, missed_by) in [
        (661, json!({}), Some(61)),
        (630, json!({}), Some(30)),
        (600, json!({}), None),
        (0, json!({ "iat": NOW + 37 }), Some(37)),
        (0, json!({ "nbf": NOW + 37 }), Some(37)),
        (0, json!({ "nbf": NOW + 37, "iat": NOW + 9 }), Some(9)),
        (0, json!({ "aud": "carts" }), None),
    ] {
        let response = present(&stateless(at).0, &mint(&claims_with(changes.clone()))).await;
        assert_status(&response, 401);
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert_eq!(refusal.missed_by(), missed_by.map(Duration::from_secs), "{at} {changes}");
        let challenge = header(&response, "www-authenticate").unwrap().to_owned();
        let told = format!("{challenge}{}", text(response).await);
        assert!(!told.contains("37") && !told.contains("61"), "{told}");
    }
}

#[tokio::test]
async fn private_claims_of_another_type_are_named_to_the_log_alone() {
    #[derive(Debug, serde::Deserialize)]
    struct Role {
        #[allow(dead_code, reason = "only read")]
        role: String,
    }
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).private_claims::<Role>().build().unwrap();
    let refusal = authority.admit(&mint(&claims_with(json!({ "role": 4711 })))).await.unwrap_err();
    let expected = refusal.expected().unwrap();
    let (name, column) = expected.split_once("; serde stopped at column ").unwrap();
    assert_eq!(name, std::any::type_name::<Role>());
    assert!(column.split(' ').next().unwrap().parse::<usize>().unwrap() > 1, "{column}");
    assert!(!expected.contains("4711"), "{expected}");
    assert_eq!(refusal.to_string(), "The token holds a malformed claim: private claims");
}
