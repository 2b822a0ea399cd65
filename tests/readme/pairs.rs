use std::time::Duration;
use axum::extract::State;
use axum::http::{StatusCode, header::{CACHE_CONTROL, CONTENT_TYPE}};
use axum::response::IntoResponse;
use axum::{Router, routing::{get, post}};
use tower_reissue::{Authority, Login, MemoryStore, RefreshEndpoint, RefreshTokens, ReissueLayer, SigningKey};

fn app(key: SigningKey) -> Result<Router, tower_reissue::ConfigError> {
    let authority = Authority::builder(key)
        .issuer("https://login.example")
        .audience("orders")
        .max_session_lifetime(Duration::from_secs(90 * 24 * 3600))
        .store(MemoryStore::new()) // a real service takes one that outlives it
        .refresh_tokens(RefreshTokens::new("https://login.example/refresh"))
        .build()?;
    Ok(Router::new()
        .route("/orders", get(|| async { "orders" }))
        .route_layer(ReissueLayer::new(authority.clone()))
        .route_service("/refresh", RefreshEndpoint::new(authority.clone())?)
        .route("/login", post(login))
        .with_state(authority))
}

async fn login(State(authority): State<Authority>) -> Result<impl IntoResponse, StatusCode> {
    let pair = authority.issue_pair(Login::new("alice")).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, "application/json")], pair.to_json()))
}
