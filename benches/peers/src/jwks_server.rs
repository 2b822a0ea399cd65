//! A JWKS over loopback HTTP, for those who take their keys from nowhere else.

use axum::{Json, Router, routing::get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_reissue::Algorithm;

use crate::support::*;

/// Serves the repository's key for an algorithm until the runtime ends; returns the URL.
pub async fn serve(algorithm: Algorithm) -> String {
    let document = json!({ "keys": [jwk(algorithm)] });
    let app = Router::new().route("/jwks.json", get(move || async move { Json(document) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn jwk(algorithm: Algorithm) -> Value {
    let key = key_for(algorithm);
    let mut jwk = match key.verifying_key().to_jwk() {
        Some(public) => serde_json::from_str(&public).unwrap(),
        // A secret is published nowhere but here, where it is no secret.
        None => json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET) }),
    };
    jwk["kid"] = json!(key.kid());
    jwk["alg"] = json!(format!("{algorithm:?}"));
    jwk
}
