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
        ("/unguarded", 500, false, "no layer here put a verified token with these claims"),
    ] {
        let response = fetch(server, Protocol::Http1, wire::get(path, Some(&token))).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(renewed(&response), carries, "{path}");
        assert_eq!(text(response), body);
    }
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
