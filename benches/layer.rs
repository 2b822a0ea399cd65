//! One request through a no-op layer, through this one, and through tower-http's `ValidateRequestHeaderLayer` with
//! `jsonwebtoken::decode` in it: the same token, in one run. `cargo bench --bench layer`.
//!
//! Read the figures as differences from "floor" and as ratios to each other; the absolutes are the machine's.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

use std::convert::Infallible;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{Empty, Full};
use jsonwebtoken::{DecodingKey, Validation};
use tower::util::service_fn;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_reissue::{Algorithm, Authority, Login, ReissueLayer, SigningKey, SystemClock};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "orders";

/// What a user of jsonwebtoken would read.
#[derive(serde::Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "read into, as a user would, and then left")]
    sub: String,
}

fn key(algorithm: Algorithm) -> (SigningKey, DecodingKey) {
    let pem = |private: &[u8]| SigningKey::from_pem(algorithm, private).unwrap();
    match algorithm {
        Algorithm::RS256 => (
            pem(include_bytes!("../tests/keys/rsa2048.pem")),
            DecodingKey::from_rsa_pem(include_bytes!("../tests/keys/rsa2048.public.pem")).unwrap(),
        ),
        Algorithm::ES256 => (
            pem(include_bytes!("../tests/keys/p256.pem")),
            DecodingKey::from_ec_pem(include_bytes!("../tests/keys/p256.public.pem")).unwrap(),
        ),
        Algorithm::EdDSA => (
            pem(include_bytes!("../tests/keys/ed25519.pem")),
            DecodingKey::from_ed_pem(include_bytes!("../tests/keys/ed25519.public.pem")).unwrap(),
        ),
        _ => (SigningKey::from_secret(algorithm, SECRET).unwrap(), DecodingKey::from_secret(SECRET)),
    }
}

type Body = Full<Bytes>;

async fn handler<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("ok")))
}

/// A whole request: made, called, answered. No runtime; nothing here waits.
fn respond<S, R>(service: &mut S, bearer: &str) -> StatusCode
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let request = Request::builder().uri("/orders").header(AUTHORIZATION, bearer).body(Empty::new()).unwrap();
    match std::pin::pin!(service.call(request)).poll(&mut cx) {
        std::task::Poll::Ready(response) => response.unwrap().status(),
        std::task::Poll::Pending => panic!("nothing to wait for"),
    }
}

fn layers(c: &mut Criterion) {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (signing, decoding) = key(algorithm);
        let authority = |cache: u64| {
            Authority::builder(signing.clone())
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .lifetime(Duration::from_secs(86_400))
                .ceiling(Duration::from_secs(86_400))
                .clock(SystemClock)
                .token_cache_bytes(cache)
                .build()
                .unwrap()
        };
        let (authority, forgetful) = (authority(64 << 20), authority(0));
        let token = runtime.block_on(authority.issue(Login::new("alice"))).unwrap();
        let bearer = format!("Bearer {}", token.as_str());
        let forged = format!("{}x", &bearer[..bearer.len() - 1].trim_end_matches('x'));

        let mut floor = service_fn(handler);
        let mut ours = ReissueLayer::new(authority).layer(service_fn(handler));
        let mut first_sight = ReissueLayer::new(forgetful).layer(service_fn(handler));
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut theirs = ServiceBuilder::new()
            .layer(ValidateRequestHeaderLayer::custom(move |request: &mut Request<Empty<Bytes>>| {
                let refuse = || {
                    let mut response = Response::new(Body::default());
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                    response
                };
                let value = request.headers().get(AUTHORIZATION).ok_or_else(refuse)?;
                let token =
                    value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(refuse)?;
                let data =
                    jsonwebtoken::decode::<Claims>(token, &decoding, &validation).map_err(|_| refuse())?;
                request.extensions_mut().insert(std::sync::Arc::new(data.claims));
                Ok(())
            }))
            .service(service_fn(handler));

        assert_eq!(respond(&mut floor, &bearer), StatusCode::OK);
        assert_eq!(respond(&mut ours, &bearer), StatusCode::OK);
        assert_eq!(respond(&mut theirs, &bearer), StatusCode::OK);
        assert_eq!(respond(&mut first_sight, &bearer), StatusCode::OK);
        assert_eq!(respond(&mut ours, &forged), StatusCode::UNAUTHORIZED);
        assert_eq!(respond(&mut first_sight, &forged), StatusCode::UNAUTHORIZED);
        assert_eq!(respond(&mut theirs, &forged), StatusCode::UNAUTHORIZED);

        let mut group = c.benchmark_group(format!("{algorithm:?}"));
        group.bench_function("floor", |b| b.iter(|| respond(&mut floor, &bearer)));
        group.bench_function("tower-reissue, seen before", |b| b.iter(|| respond(&mut ours, &bearer)));
        group.bench_function("tower-reissue, first sight", |b| b.iter(|| respond(&mut first_sight, &bearer)));
        group.bench_function("tower-http + jsonwebtoken", |b| b.iter(|| respond(&mut theirs, &bearer)));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = layers
}
criterion_main!(benches);
