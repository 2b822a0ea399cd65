//! Memory is asked for as often as it must be, and no more: the counts are budgets. And what a request is wrapped in
//! stays small.
#![allow(missing_docs, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::mem::size_of_val;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{Empty, Full};
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_reissue::store::MemoryStore;
use tower_reissue::{Algorithm, Authority, AuthorityBuilder, Login, ManualClock, ReissueLayer, SigningKey};

const BORN: u64 = 1_800_000_000;
const LIFETIME: u64 = 600;

fn authority(algorithm: Algorithm, clock: &ManualClock) -> AuthorityBuilder {
    let key = match algorithm {
        Algorithm::ES256 => SigningKey::from_pem(algorithm, include_bytes!("keys/p256.pem")),
        Algorithm::RS256 => SigningKey::from_pem(algorithm, include_bytes!("keys/rsa2048.pem")),
        Algorithm::EdDSA => SigningKey::from_pem(algorithm, include_bytes!("keys/ed25519.pem")),
        _ => SigningKey::from_secret(algorithm, b"owls hunt mice while fog drifts."),
    };
    Authority::builder(key.unwrap())
        .issuer("https://login.example")
        .audience("orders")
        .lifetime(Duration::from_secs(LIFETIME))
        .max_session_lifetime(Duration::from_secs(86_400))
        .clock(clock.clone())
}

type Body = Full<Bytes>;

fn answer(_: Request<Empty<Bytes>>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::from("ok"))))
}

fn request(token: &str) -> Request<Empty<Bytes>> {
    let bearer = format!("Bearer {token}");
    Request::builder().uri("/orders").header(AUTHORIZATION, bearer).body(Empty::new()).unwrap()
}

/// How often memory is asked for between a request and its response, beyond what the inner service does.
fn allocations<S, R>(service: &mut S, token: &str) -> (StatusCode, u64)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let (request, mut cx) = (request(token), Context::from_waker(Waker::noop()));
    let mut status = None;
    let counted = allocation_counter::measure(|| {
        assert!(service.poll_ready(&mut cx).is_ready());
        match std::pin::pin!(service.call(request)).poll(&mut cx) {
            Poll::Ready(response) => status = Some(response.unwrap().status()),
            Poll::Pending => panic!("nothing to wait for"),
        }
    });
    (status.unwrap(), counted.count_total)
}

/// An extension is a box in a table in a box.
const EXTENSION: u64 = 3;

#[test]
fn a_token_seen_before_asks_for_no_memory_but_its_extensions() {
    let clock = ManualClock::at(BORN);
    let stateless = authority(Algorithm::HS256, &clock);
    let stored = authority(Algorithm::HS256, &clock).store(MemoryStore::new());
    for authority in [stateless, stored] {
        let authority = authority.build().unwrap();
        let token = authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
        let unshown = ReissueLayer::new(authority.clone()).without_extension();
        let mut unshown = unshown.layer(service_fn(answer));
        allocations(&mut unshown, token.as_str());
        assert_eq!(allocations(&mut unshown, token.as_str()), (StatusCode::OK, 0));
        let mut service = ReissueLayer::new(authority).layer(service_fn(answer));
        let mut floor = service_fn(answer);
        assert_eq!(allocations(&mut floor, token.as_str()), (StatusCode::OK, 0));
        allocations(&mut service, token.as_str());
        assert_eq!(allocations(&mut service, token.as_str()), (StatusCode::OK, EXTENSION));
    }
}

#[test]
fn a_first_sight_keeps_to_nine_allocations() {
    // The RustCrypto crates compute with public keys on the heap.
    let public: &[_] = match cfg!(any(feature = "aws_lc_rs", feature = "fips")) {
        true => &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        false => &[],
    };
    for &algorithm in [Algorithm::HS256].iter().chain(public) {
        let clock = ManualClock::at(BORN);
        let authority = authority(algorithm, &clock).token_cache_bytes(0).build().unwrap();
        let token = authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
        let mut service = ReissueLayer::new(authority).layer(service_fn(answer));
        allocations(&mut service, token.as_str());
        let (status, count) = allocations(&mut service, token.as_str());
        assert_eq!(status, StatusCode::OK);
        assert!(count - EXTENSION <= 9, "{algorithm:?}: {count}");
    }
}

#[test]
fn a_renewal_after_the_first_signs_nothing() {
    let clock = ManualClock::at(BORN);
    let authority = authority(Algorithm::RS256, &clock).build().unwrap();
    let token = authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
    let mut service = ReissueLayer::new(authority).layer(service_fn(answer));
    clock.advance(LIFETIME - 1);
    allocations(&mut service, token.as_str());
    let (status, count) = allocations(&mut service, token.as_str());
    assert_eq!(status, StatusCode::OK);
    // The header's place and value; and what a counter's label takes.
    assert!(count - EXTENSION <= 3 + u64::from(cfg!(feature = "metrics")), "{count}");
}

/// A request waits either in the handler's future or beside the service, never in both: what is added is the state's own.
#[test]
fn the_future_the_body_and_the_service_stay_small() {
    let clock = ManualClock::at(BORN);
    let authority = authority(Algorithm::HS256, &clock).build().unwrap();
    let token = authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
    let mut floor = service_fn(answer);
    let mut service = ReissueLayer::new(authority).layer(service_fn(answer));
    assert_eq!(size_of_val(&service), size_of_val(&floor) + size_of::<usize>());
    let request = || request(token.as_str());
    let larger = size_of_val(&floor.call(request())).max(size_of_val(&request()));
    let future = service.call(request());
    assert!(size_of_val(&future) <= larger + 104, "{} over {larger}", size_of_val(&future));
    let response = future.now_or_never().unwrap().unwrap();
    assert_eq!(size_of_val(response.body()), size_of::<Body>() + size_of::<usize>());
}
