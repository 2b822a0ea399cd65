//! Instructions that a requirement takes of a token seen before, counted by callgrind: `cargo bench --bench requirements`. It
//! fails where one grew past its limit by more than 5 %. Needs `valgrind`.
//!
//! A program of its own: the services of `instructions` would be compiled otherwise beside these.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/counted.rs"]
mod counted;

use std::process::ExitCode;
use std::time::Duration;

use counted::{Path, TIMES, handler, measured, respond};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::Empty;
use serde_json::json;
use tower::Layer;
use tower::util::service_fn;
use tower_reissue::{
    Algorithm, Authority, Login, ManualClock, ReissueLayer, RequireScope, RequireStepUp, SigningKey,
};

/// Each requirement and its limit: instructions over a layer that requires nothing.
const PATHS: [Path; 5] = [
    ("nothing", 0),
    ("a scope", 607),
    ("the fourth scope of a list", 915),
    ("a predicate", 603),
    ("a step-up", 763),
];

const BEGAN: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn main() -> ExitCode {
    counted::main(&PATHS, None, run)
}

fn run(path: &str) {
    let key =
        SigningKey::from_secret(Algorithm::HS256, b"owls hunt mice while fog drifts.").unwrap().with_kid("k");
    let authority = Authority::builder(key)
        .issuer("https://login.example")
        .audience("orders")
        .lifetime(DAY)
        .max_session_lifetime(DAY)
        .clock(ManualClock::at(BEGAN))
        .build()
        .unwrap();
    let scope = match path {
        "the fourth scope of a list" => json!(["openid", "profile", "orders:read", "orders:write"]),
        _ => json!("openid profile orders:read orders:write"),
    };
    let claims = json!({ "scope": scope, "acr": "urn:mfa", "auth_time": BEGAN });
    let token = authority.issue(Login::new("alice").claims(&claims)).now_or_never().unwrap().unwrap();
    let bearer = format!("Bearer {}", token.as_str());

    let layer = ReissueLayer::new(authority);
    let mut nothing = layer.layer(service_fn(handler));
    let scope = match path {
        "a predicate" => RequireScope::that(|token| token.has_scope("orders:write")),
        _ => RequireScope::new("orders:write").unwrap(),
    };
    let mut scope = layer.layer(scope.layer(service_fn(handler)));
    let step_up = RequireStepUp::acr_values("urn:mfa").unwrap().max_age(DAY).unwrap();
    let mut step_up = layer.layer(step_up.layer(service_fn(handler)));
    let mut answer = |count: fn(&mut dyn FnMut())| {
        let request =
            Request::builder().uri("/orders").header(AUTHORIZATION, &bearer).body(Empty::new()).unwrap();
        let (mut request, mut answered) = (Some(request), None);
        count(&mut || {
            let request = request.take().unwrap();
            answered = Some(match path {
                "nothing" => respond(&mut nothing, request),
                "a step-up" => respond(&mut step_up, request),
                _ => respond(&mut scope, request),
            });
        });
        assert_eq!(answered.unwrap().status(), StatusCode::OK);
    };
    // Caches are filled and lazy things made before the count begins.
    answer(|f| f());
    for _ in 0..TIMES {
        answer(measured);
    }
}
