use axum::extract::State;
use axum::http::{StatusCode, header::CACHE_CONTROL};
use axum::response::IntoResponse;
use axum::{Router, routing::{get, post}};
use tower_reissue::{Authority, Login, ReissueLayer};

fn app(authority: Authority) -> Router {
    Router::new()
        .route("/orders", get(|| async { "orders" }))
        .route_layer(ReissueLayer::new(authority.clone())) // guards the routes added before it
        .route("/login", post(login)) // needs no token
        .with_state(authority)
}

/// A real handler checks a password first.
async fn login(State(authority): State<Authority>) -> Result<impl IntoResponse, StatusCode> {
    let token = authority.issue(Login::new("alice")).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([(CACHE_CONTROL, "no-store")], token.into_string()))
}
