//! One request through a bare handler (the floor), through this layer, and through tower-http's `ValidateRequestHeaderLayer`
//! with `jsonwebtoken::decode` in it: the same token, in one run. `cargo bench --bench layer`. More peers: `benches/peers`.
//!
//! This layer has seen the token before, and then once more without the request extension and once with a `MemoryStore`; or
//! it sees it for the first time. The table at the end gives nanoseconds of the thread's CPU time over the floor, beside the
//! budgets; what criterion prints above it compares with the last run. A second table has what a route may require: scopes, a
//! step-up, and a layer that lets anonymous requests through.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

#[path = "support/last_run.rs"]
mod last_run;
mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use last_run::compare_with_last_run;
use serde_json::json;
use support::*;
use tower::{Layer as _, Service, service_fn};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_reissue::Algorithm;
use tower_reissue::{Clock as _, Login, MemoryStore, ReissueLayer, RequireScope, RequireStepUp, SystemClock};

/// What a token seen before may add, in nanoseconds, and what where handlers are not shown it.
const SEEN_BEFORE: f64 = 200.0;
const UNSHOWN: f64 = 150.0;
/// What a requirement may add to a token seen before.
const REQUIREMENT: f64 = 30.0;

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
    requirements();
}

/// What is required of a token seen before, over a layer that requires nothing.
fn requirements() {
    let authority = authority(key_for(Algorithm::HS256)).build().unwrap();
    let claims = |claims| Login::new("alice").claims(&claims);
    let bearer = |login: Login| bearer(at_once(authority.issue(login)).unwrap().as_str());
    let held = "openid profile orders:read orders:write";
    let list: Vec<_> = held.split(' ').collect();
    let now = SystemClock.now().as_secs();
    let text = bearer(claims(json!({ "scope": held, "acr": "urn:mfa", "auth_time": now })));
    let list = bearer(claims(json!({ "scp": list })));
    let plain = bearer(Login::new("alice"));

    let layer = ReissueLayer::new(authority.clone());
    let scope = RequireScope::new("orders:write").unwrap();
    let step_up = RequireStepUp::acr_values("urn:mfa").unwrap().max_age(DAY).unwrap();
    let mut nothing = layer.layer(service_fn(handler));
    let mut scoped = layer.layer(scope.layer(service_fn(handler)));
    let mut stepped = layer.layer(step_up.layer(service_fn(handler)));
    let mut optional = layer.clone().optional().layer(service_fn(handler));
    assert_eq!(respond(&mut scoped, &text).status(), StatusCode::OK);
    assert_eq!(respond(&mut scoped, &list).status(), StatusCode::OK);
    assert_eq!(respond(&mut scoped, &plain).status(), StatusCode::FORBIDDEN);
    assert_eq!(respond(&mut stepped, &text).status(), StatusCode::OK);
    assert_eq!(respond(&mut stepped, &plain).status(), StatusCode::UNAUTHORIZED);
    assert_eq!(respond(&mut optional, &text).status(), StatusCode::OK);

    let (mut with_text, mut with_list) = (scoped.clone(), scoped);
    let mut list_alone = nothing.clone();
    let mut contest = Contest::new();
    let alone = contest.add("nothing required", || respond(&mut nothing, &text));
    let alone_list = contest.add("nothing required, token with a list", || respond(&mut list_alone, &list));
    let with_text = contest.add("a scope of a string", || respond(&mut with_text, &text));
    let with_list = contest.add("a scope of a list", || respond(&mut with_list, &list));
    let stepped = contest.add("acr and auth_time", || respond(&mut stepped, &text));
    let optional = contest.add("optional, with a token", || respond(&mut optional, &text));
    let results = contest.run();
    for (name, over) in [
        ("a scope of a string", results.over(with_text, alone)),
        ("a scope of a list", results.over(with_list, alone_list)),
        ("acr and auth_time", results.over(stepped, alone)),
        ("optional, with a token", results.over(optional, alone)),
    ] {
        println!("{name:<26}+ {over:.1} ns (<= {REQUIREMENT:.0}: {})", verdict(over, REQUIREMENT));
    }
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
