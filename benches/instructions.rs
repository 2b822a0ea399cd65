//! Instructions per request on the hot paths, counted by callgrind: `cargo bench --bench instructions`. It fails where a
//! path grew past its limit by more than 5 %. Needs `valgrind`.
//!
//! A second issuer, a hundred tenants and a layer that is optional cost a token seen before nothing.
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
use tower_reissue::keys::{TrustedIssuer, VerifyingKey};
use tower_reissue::store::MemoryStore;
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, KeyRing, Login, ManualClock, ReissueLayer, SigningKey,
};

/// What a token seen before may cost over the floor; it is printed, and fails nothing. The request extension alone takes some
/// 670.
const BUDGET: Path = ("seen before", 1_500);

/// Each path and its limit: instructions over the floor.
const PATHS: [Path; 14] = [
    ("floor", 0),
    ("seen before", 1_455),
    ("seen before, 17 fields", 5_351),
    ("seen before, memory store", 1_499),
    ("seen before, beside an issuer", 1_455),
    ("seen before, of an issuer", 1_455),
    ("seen before, optional", 1_455),
    ("anonymous, optional", 1_116),
    // Longer by a tenant's names, which are compared too.
    ("seen before, a longer token", 1_480),
    ("seen before, of 100 tenants", 1_480),
    ("first sight", 25_642),
    ("renewed", 2_810),
    ("first sight, renewed", 57_256),
    ("refused", 22_321),
];

const SECRET: &[u8] = b"owls hunt mice while fog drifts.";
const BEGAN: u64 = 1_800_000_000;
const LIFETIME: u64 = 600;
const ISSUER: &str = "https://login.example";
const TENANT: &str = "https://login.example/tenant-50/v2.0";

fn main() -> ExitCode {
    counted::main(&PATHS, Some(BUDGET), run)
}

/// The fields that a browser sends beside the token's: most of what they cost over the floor is that they are dropped.
const A_BROWSERS: [&str; 16] = [
    "host",
    "connection",
    "content-length",
    "sec-ch-ua-platform",
    "user-agent",
    "accept",
    "sec-ch-ua",
    "content-type",
    "sec-ch-ua-mobile",
    "origin",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "referer",
    "accept-encoding",
    "accept-language",
];

fn run(path: &str) {
    let clock = ManualClock::at(BEGAN);
    let key = || SigningKey::from_secret(Algorithm::HS256, SECRET).unwrap().with_kid("k");
    let minter = |ring: KeyRing, issuer: &str| {
        Authority::builder(ring)
            .issuer(issuer)
            .audience("orders")
            .lifetime(Duration::from_secs(LIFETIME))
            .max_session_lifetime(Duration::from_secs(86_400))
            .token_cache_bytes(if path.starts_with("first sight") { 0 } else { 64 << 20 })
            .clock(clock.clone())
    };
    let foreign = || [VerifyingKey::from(SigningKey::generate(Algorithm::EdDSA).unwrap())];
    let verifier = |issuer: TrustedIssuer| {
        let ring = KeyRing::verify_only().trust(issuer, [key().into()]).unwrap();
        Authority::builder(ring).audience("orders").clock(clock.clone()).build().unwrap()
    };
    let own = minter(KeyRing::new(key()), ISSUER);
    let (minter, authority) = match path {
        "seen before, memory store" => the_same(own.store(MemoryStore::new())),
        "seen before, beside an issuer" => {
            let ring = KeyRing::new(key()).trust("https://partner.example", foreign()).unwrap();
            the_same(minter(ring, ISSUER))
        }
        "seen before, of an issuer" => (own.build().unwrap(), verifier(ISSUER.into())),
        "seen before, a longer token" => the_same(minter(KeyRing::new(key()), TENANT)),
        "seen before, of 100 tenants" => {
            let tenants = (0..100).map(|nth| format!("tenant-{nth}"));
            let tenants = TrustedIssuer::tenants("https://login.example/{tid}/v2.0", tenants);
            (minter(KeyRing::new(key()), TENANT).build().unwrap(), verifier(tenants))
        }
        _ => the_same(own),
    };
    let login = match path {
        "seen before, a longer token" | "seen before, of 100 tenants" => {
            Login::new("alice").claims(&json!({ "tid": "tenant-50" }))
        }
        _ => Login::new("alice"),
    };
    let token = minter.issue(login).now_or_never().unwrap().unwrap();
    let bearer = match path {
        "refused" => format!("Bearer {}AAAA", &token.as_str()[..token.as_str().len() - 4]),
        _ => format!("Bearer {}", token.as_str()),
    };
    let is_due = path.ends_with("renewed");
    if is_due {
        clock.advance(LIFETIME - 1);
    }
    let expected = if path == "refused" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };

    let mut floor = service_fn(handler);
    let layer = ReissueLayer::new(authority);
    let layer = if path.ends_with("optional") { layer.optional() } else { layer };
    let mut layered = layer.layer(service_fn(handler));
    let mut answer = |count: fn(&mut dyn FnMut())| {
        let mut request = Request::builder().uri("/orders");
        if path.ends_with("fields") {
            request = A_BROWSERS.iter().fold(request, |request, name| request.header(*name, "something"));
        }
        if !path.starts_with("anonymous") {
            request = request.header(AUTHORIZATION, &bearer);
        }
        let request = request.body(Empty::new()).unwrap();
        let (mut request, mut answered) = (Some(request), None);
        count(&mut || {
            let request = request.take().unwrap();
            answered = Some(match path {
                "floor" => respond(&mut floor, request),
                _ => respond(&mut layered, request),
            });
        });
        let answered = answered.unwrap();
        assert_eq!(answered.status(), expected);
        assert_eq!(answered.headers().contains_key("refreshed-api-token"), is_due);
    };
    // Caches are filled and lazy things made before the count begins.
    answer(|f| f());
    for _ in 0..TIMES {
        answer(measured);
    }
}

/// An authority that issues the tokens that it judges.
fn the_same(builder: AuthorityBuilder) -> (Authority, Authority) {
    let authority = builder.build().unwrap();
    (authority.clone(), authority)
}
