//! axum 0.8: on a router, on its routes, on one method; `Extension`, and with the feature `axum` the extractor.

use axum::routing::{get, post_service};
use axum::{Extension, Router};
use tower_reissue::{MemoryStore, NoReissue, RevokeEndpoint, VerifiedToken};

use crate::support::*;
use crate::wire::{self, Protocol, fetch, layer, renewed, serve, text};

async fn by_extension(Extension(token): Extension<VerifiedToken>) -> String {
    token.subject().unwrap().to_owned()
}

#[tokio::test]
async fn a_router_may_be_layered_as_a_whole_on_its_routes_and_on_one_method() {
    let open = || Router::new().route("/open", get(async || "open"));
    let guarded = || Router::new().route("/", get(by_extension));
    let whole = serve(guarded().layer(layer(500))).await;
    let routes = serve(guarded().route_layer(layer(500)).merge(open())).await;
    let method = Router::new().route("/", get(by_extension).layer(layer(500))).merge(open());
    let method = serve(method).await;
    let nested = serve(Router::new().nest("/in", guarded().layer(layer(500))).merge(open())).await;
    let token = mint(&claims());
    for (server, path) in [(whole, "/"), (routes, "/"), (method, "/"), (nested, "/in")] {
        let response = fetch(server, Protocol::Http1, wire::get(path, Some(&token))).await;
        assert_eq!(response.status(), 200);
        assert!(renewed(&response));
        assert_eq!(text(response), "alice");
        let response = fetch(server, Protocol::Http1, wire::get(path, None)).await;
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="api""#);
    }
    for (server, path, status) in
        [(whole, "/nowhere", 401), (routes, "/nowhere", 404), (routes, "/open", 200), (method, "/open", 200)]
    {
        assert_eq!(fetch(server, Protocol::Http1, wire::get(path, None)).await.status(), status, "{path}");
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_handler_extracts_the_token_and_may_suppress_the_successor() {
    use axum::response::IntoResponse;

    async fn whoami(token: VerifiedToken) -> String {
        token.subject().unwrap().to_owned()
    }
    let goodbye = async |_: VerifiedToken| (NoReissue, "bye").into_response();
    let guarded = Router::new().route("/", get(whoami)).route("/bye", get(goodbye)).layer(layer(500));
    let server = serve(guarded.route("/unguarded", get(whoami))).await;
    let token = mint(&claims());
    for (path, status, carries, body) in [
        ("/", 200, true, "alice"),
        ("/bye", 200, false, "bye"),
        (
            "/unguarded",
            500,
            false,
            "no layer guards this route, or none with these private claims: add the ReissueLayer last, outside of what requires its token; after private_claims::<T>() take VerifiedToken<T>, and RequireScope::new(..)?.private_claims::<T>()",
        ),
    ] {
        let response = fetch(server, Protocol::Http1, wire::get(path, Some(&token))).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(renewed(&response), carries, "{path}");
        assert_eq!(text(response), body);
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_handler_returns_a_token_with_its_response() {
    use axum::extract::State;
    use tower_reissue::{Authority, Reissued, Renewal};

    async fn read_only(State(authority): State<Authority>, token: VerifiedToken) -> (Reissued, &'static str) {
        let narrowed = authority.reissue_with(&token, Renewal::keep().scope("read")).await.unwrap();
        (Reissued(narrowed), "done")
    }
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).store(MemoryStore::new()).build().unwrap();
    let login = tower_reissue::Login::new("alice").claims(&serde_json::json!({ "scope": "read write" }));
    let token = authority.issue(login).await.unwrap().into_string();
    clock.set(NOW + 10);
    let layer = tower_reissue::ReissueLayer::new(authority.clone());
    let server = serve(Router::new().route("/", get(read_only)).layer(layer).with_state(authority)).await;
    let response = fetch(server, Protocol::Http1, wire::get("/", Some(&token))).await;
    assert_eq!(response.status(), 200);
    let successor = response.headers()["refreshed-api-token"].to_str().unwrap().to_owned();
    assert_eq!(payload(&successor)["scope"], "read");
    assert!(!response.headers().contains_key("reissue-replay"));
    assert_eq!(text(response), "done");
}

#[tokio::test]
async fn a_handler_puts_the_marker_in_the_extensions() {
    let goodbye = async || Extension(NoReissue);
    let server = serve(Router::new().route("/", get(goodbye)).layer(layer(500))).await;
    let response = fetch(server, Protocol::Http1, wire::get("/", Some(&mint(&claims())))).await;
    assert_eq!(response.status(), 200);
    assert!(!renewed(&response));
}

#[tokio::test]
async fn signing_out_beside_the_layer() {
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).store(MemoryStore::new()).build().unwrap();
    let router = Router::new()
        .route("/", get(by_extension))
        .layer(tower_reissue::ReissueLayer::new(authority.clone()))
        .route("/sign-out", post_service(RevokeEndpoint::new(authority).unwrap()));
    let server = serve(router).await;
    let token = mint(&claims());
    let visit = || fetch(server, Protocol::Http1, wire::get("/", Some(&token)));
    assert_eq!(visit().await.status(), 200);
    clock.set(NOW + 630);
    let mut request = wire::get("/sign-out", Some(&token));
    *request.method_mut() = http::Method::POST;
    let response = fetch(server, Protocol::Http1, request).await;
    assert_eq!(response.status(), 204);
    assert!(!renewed(&response));
    let response = visit().await;
    assert_eq!(response.status(), 401, "the tombstone beats the grace");
    assert!(!renewed(&response));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_handler_behind_an_optional_layer_may_or_must_have_a_token_or_looks_at_the_refusal() {
    use tower_reissue::{Challenge, Reason, VerifiedTokenRejection};

    async fn may(token: Option<VerifiedToken>) -> String {
        token.map_or("nobody".to_owned(), |token| token.subject().unwrap().to_owned())
    }
    async fn must(token: VerifiedToken) -> String {
        token.subject().unwrap().to_owned()
    }
    async fn looks(token: Result<VerifiedToken, VerifiedTokenRejection>) -> String {
        match token {
            Ok(token) => token.subject().unwrap().to_owned(),
            Err(rejection) => {
                assert_eq!(rejection.refusal().unwrap().reason(), &Reason::NoCredential);
                rejection.to_string()
            }
        }
    }
    let guarded = Router::new().route("/may", get(may)).route("/must", get(must)).route("/looks", get(looks));
    let layer = layer(0).optional().refuse_with(Challenge::new("shop"));
    let server = serve(guarded.layer(layer).route("/unguarded", get(may))).await;
    let token = mint(&claims());
    for (path, token, status, body) in [
        ("/may", None, 200, "nobody"),
        ("/may", Some(&token), 200, "alice"),
        ("/must", None, 401, "{}"),
        ("/must", Some(&token), 200, "alice"),
        ("/looks", None, 200, "A bearer token is required"),
        ("/looks", Some(&token), 200, "alice"),
        // A route that no layer guards never has a token: `None` would hide the mistake.
        (
            "/unguarded",
            None,
            500,
            "no layer guards this route, or none with these private claims: add the ReissueLayer last, outside of what requires its token; after private_claims::<T>() take VerifiedToken<T>, and RequireScope::new(..)?.private_claims::<T>()",
        ),
    ] {
        let response = fetch(server, Protocol::Http1, wire::get(path, token.map(String::as_str))).await;
        assert_eq!(response.status(), status, "{path}");
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(challenge, (status == 401).then_some(r#"Bearer realm="shop""#), "{path}");
        assert!(!response.headers().contains_key("reissue-replay"), "{path}");
        assert_eq!(response.headers().contains_key("cache-control"), status == 401, "{path}");
        assert_eq!(text(response), body, "{path}");
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn routes_and_handlers_require_scopes_and_a_step_up() {
    use std::time::Duration;

    use tower_http::set_header::SetResponseHeaderLayer;
    use tower_reissue::{Guarded, RequireScope, RequireStepUp, TokenGuard};

    struct Refunds;
    impl TokenGuard for Refunds {
        const SCOPE: &'static str = "orders:refund";
        const MAX_AGE: Option<Duration> = Some(Duration::from_secs(300));
    }
    async fn refund(token: Guarded<Refunds>) -> String {
        token.subject().unwrap().to_owned()
    }

    let cors = SetResponseHeaderLayer::overriding(
        http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
        http::HeaderValue::from_static("https://app.example"),
    );
    let scoped = Router::new()
        .route("/scoped", get(by_extension))
        .route_layer(RequireScope::new("orders:refund").unwrap())
        // What a layer in between adds stays.
        .route_layer(cors);
    let stepped = Router::new()
        .route("/stepped", get(by_extension))
        .route_layer(RequireStepUp::recent(Duration::from_secs(300)).unwrap());
    let router = Router::new().route("/refund", get(refund)).merge(scoped).merge(stepped);
    let server = serve(router.layer(layer(0)).route("/unguarded", get(refund))).await;
    let scope = "error=\"insufficient_scope\", error_description=\"The token does not have the scope that is required\", scope=\"orders:refund\"";
    let recent = "error=\"insufficient_user_authentication\", error_description=\"More recent authentication is required\", max_age=\"300\"";
    // The next token needs the scope as well.
    let both = recent.replace("max_age", "scope=\"orders:refund\", max_age");
    for (path, claims, status, challenge) in [
        ("/scoped", serde_json::json!({}), 403, scope),
        ("/scoped", serde_json::json!({ "scope": "orders:refund" }), 200, ""),
        ("/stepped", serde_json::json!({ "auth_time": NOW - 301 }), 401, recent),
        ("/stepped", serde_json::json!({ "auth_time": NOW - 300 }), 200, ""),
        ("/refund", serde_json::json!({ "auth_time": NOW }), 403, scope),
        ("/refund", serde_json::json!({ "scope": ["orders:refund"], "auth_time": NOW - 301 }), 401, &both),
        ("/refund", serde_json::json!({ "scope": ["orders:refund"], "auth_time": NOW - 300 }), 200, ""),
        ("/unguarded", serde_json::json!({ "scope": ["orders:refund"] }), 500, ""),
    ] {
        let token = mint(&claims_with(claims.clone()));
        let response = fetch(server, Protocol::Http1, wire::get(path, Some(&token))).await;
        assert_eq!(response.status(), status, "{path} {claims}");
        let told = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        let expected = format!("Bearer realm=\"api\", {challenge}");
        assert_eq!(told, (!challenge.is_empty()).then_some(&*expected), "{path} {claims}");
        let has_cors = response.headers().contains_key("access-control-allow-origin");
        assert_eq!(has_cors, path == "/scoped", "{path}");
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(length, text(response).len());
    }
}

#[cfg(feature = "axum")]
#[test]
fn a_rejection_prints_no_credential() {
    use axum::extract::FromRequestParts;
    use futures_util::FutureExt;
    use tower::{Layer, ServiceExt, service_fn};

    let printed = layer(0).optional().layer(service_fn(async |request: http::Request<()>| {
        let (mut parts, ()) = request.into_parts();
        let rejection = <VerifiedToken as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        let printed = format!("{rejection:?}");
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from(
            printed,
        )))
    }));
    let request = http::Request::builder().header("cookie", "a=sesame").body(()).unwrap();
    let response = printed.oneshot(request).now_or_never().unwrap().unwrap();
    let body: http_body_util::Collected<bytes::Bytes> =
        http_body_util::BodyExt::collect(response.into_body()).now_or_never().unwrap().unwrap();
    let printed = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    assert!(printed.contains("A bearer token is required") && !printed.contains("sesame"), "{printed}");
}
