use axum::extract::State;
use axum::http::{StatusCode, header::{CACHE_CONTROL, SET_COOKIE}};
use axum::response::IntoResponse;
use axum::{Router, routing::{get, post}};
use tower_reissue::{Authority, ConfigError, Cookie, Login, ReissueLayer, RevokeEndpoint, Source};

// Built with `.store(…)`: without one nobody can sign out.
fn app(authority: Authority) -> Result<Router, ConfigError> {
    let cookie = Cookie::new("session")?; // `__Host-session`: Secure, HttpOnly, SameSite=Lax
    let source = [Source::cookie(cookie.clone())];
    Ok(Router::new()
        .route("/orders", get(|| async { "orders" }))
        .route_layer(ReissueLayer::new(authority.clone()).read_from(source.clone()))
        .route_service("/logout", RevokeEndpoint::new(authority.clone())?.read_from(source))
        .route("/login", post(login))
        .with_state((authority, cookie)))
}

async fn login(
    State((authority, cookie)): State<(Authority, Cookie)>,
) -> Result<impl IntoResponse, StatusCode> {
    let token = authority.issue(Login::new("alice")).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let field = authority.set_cookie(&cookie, &token).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok([(SET_COOKIE, field), (CACHE_CONTROL, "no-store".parse().expect("a header value"))])
}
