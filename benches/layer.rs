//! One request through a bare handler (the floor), through this layer, and through tower-http's `ValidateRequestHeaderLayer`
//! with `jsonwebtoken::decode` in it: the same token, in one run. `cargo bench --bench layer`. More peers: `benches/peers`.
//!
//! This layer has seen the token before, and then once more without the request extension and once with a `MemoryStore`; or
//! it sees it for the first time. The table at the end gives nanoseconds of the thread's CPU time over the floor, beside the
//! budgets; what criterion prints above it compares with the last run.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

#[path = "support/last_run.rs"]
mod last_run;
mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use jsonwebtoken::Algorithm;
use last_run::compare_with_last_run;
use support::*;
use tower::{Layer as _, Service, service_fn};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_reissue::{MemoryStore, ReissueLayer};

/// What a token seen before may add, in nanoseconds, and what where handlers are not shown it.
const SEEN_BEFORE: f64 = 200.0;
const UNSHOWN: f64 = 150.0;

fn main() {
    use_aws_lc();
    let mut table = format!(
        "{:<6}{:>10}{:>28}{:>28}{:>28}{:>14}{:>28}",
        "",
        "floor",
        "seen before",
        "without extension",
        "MemoryStore",
        "first sight",
        "tower-http + jsonwebtoken"
    );
    for algorithm in BUDGETED {
        let builder = || authority(key_for(algorithm));
        let mut floor = service_fn(handler);
        let mut seen = guarded(&builder().build().unwrap());
        let unshown = ReissueLayer::new(builder().build().unwrap()).without_extension();
        let mut unshown = unshown.layer(service_fn(handler));
        let mut stored = guarded(&builder().store(MemoryStore::new()).build().unwrap());
        let mut first = guarded(&builder().token_cache_bytes(0).build().unwrap());
        let mut theirs = validate_request_header(algorithm);

        let token = issue(&builder().build().unwrap());
        let (good, forged) = (bearer(&token), bearer(&forged(&token)));
        assert_eq!(respond(&mut floor, &good).status(), StatusCode::OK);
        assert_judged(&mut seen, &good, &forged);
        assert_judged(&mut unshown, &good, &forged);
        assert_judged(&mut stored, &good, &forged);
        assert_judged(&mut first, &good, &forged);
        assert_judged(&mut theirs, &good, &forged);

        let mut contest = Contest::new();
        let floor = contest.add("floor", || respond(&mut floor, &good));
        let seen = contest.add("seen before", || respond(&mut seen, &good));
        let unshown = contest.add("seen before, without extension", || respond(&mut unshown, &good));
        let stored = contest.add("seen before, MemoryStore", || respond(&mut stored, &good));
        let first = contest.add("first sight", || respond(&mut first, &good));
        let theirs = contest.add("tower-http + jsonwebtoken", || respond(&mut theirs, &good));
        let results = contest.run();
        let over = |contender| results.over(contender, floor);
        let budgeted = |contender, budget| {
            let over = over(contender);
            format!("+ {over:.1} ns (<= {budget:.0}: {})", verdict(over, budget))
        };
        compare_with_last_run(format!("layer {algorithm:?}"), &mut contest);
        table += &format!(
            "\n{:<6}{:>7.0} ns{:>28}{:>28}{:>28}{:>14}{:>28}",
            format!("{algorithm:?}"),
            results.nanos(floor),
            budgeted(seen, SEEN_BEFORE),
            budgeted(unshown, UNSHOWN),
            budgeted(stored, SEEN_BEFORE),
            format!("+ {:.0} ns", over(first)),
            format!("+ {:.0} ns, {:.0} x", over(theirs), over(theirs) / over(seen)),
        );
    }
    println!("{table}");
}

fn validate_request_header(
    algorithm: Algorithm,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<Body>, Error = std::convert::Infallible> {
    let (decoding, validation) = (decoding_key_for(algorithm), validation(algorithm));
    let claims = move |request: &Request<Empty<Bytes>>| {
        let token = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        Some(Arc::new(jsonwebtoken::decode::<Claims>(token, &decoding, &validation).ok()?.claims))
    };
    let validate = move |request: &mut Request<Empty<Bytes>>| match claims(request) {
        Some(claims) => {
            request.extensions_mut().insert(claims);
            Ok(())
        }
        None => {
            let mut response = Response::new(Body::default());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Err(response)
        }
    };
    ValidateRequestHeaderLayer::custom(validate).layer(service_fn(handler))
}

fn assert_judged<S, B>(service: &mut S, good: &HeaderValue, forged: &HeaderValue)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
{
    assert_eq!(respond(service, good).status(), StatusCode::OK);
    assert_eq!(respond(service, forged).status(), StatusCode::UNAUTHORIZED);
}
