//! Rule 22: a route that requires more than a good token refuses in the words of RFC 6750 and RFC 9470.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::util::ServiceFn;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::{
    Challenge, Event, ManualClock, NoReissue, Reason, Refusal, RefusalResponse, ReissueLayer, RequestHead,
    Require, RequireScope, RequireStepUp, VerifiedToken,
};

use crate::support::*;

type Handled = Ready<Result<Response<Full<Bytes>>, Infallible>>;
type Handler = ServiceFn<fn(Request<()>) -> Handled>;

fn handler(_: Request<()>) -> Handled {
    ready(Ok(Response::new(Full::from("ran"))))
}

/// One request through the layer and a requirement; without a runtime, for nothing is waited for.
fn send<L>(layer: &ReissueLayer, requirement: &L, request: Request<()>) -> Response<String>
where
    L: Layer<Handler, Service = Require<Handler>>,
{
    let handler: Handler = service_fn(handler);
    let service = layer.layer(requirement.layer(handler));
    let response = service.oneshot(request).now_or_never().expect("an answer without waiting").unwrap();
    response.map(|body| {
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    })
}

fn request_with(changes: Value) -> Request<()> {
    let token = mint(&claims_with(changes));
    Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

fn grpc(request: Request<()>) -> Request<()> {
    let (mut parts, ()) = request.into_parts();
    (parts.method, parts.version) = (Method::POST, Version::HTTP_2);
    parts.headers.insert("content-type", "application/grpc".parse().unwrap());
    Request::from_parts(parts, ())
}

fn layer(at: u64) -> ReissueLayer {
    ReissueLayer::new(builder(&ManualClock::at(NOW + at)).build().unwrap())
}

fn field<'a>(response: &'a Response<String>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn reason(response: &Response<String>) -> Option<&Reason> {
    response.extensions().get::<Refusal>().map(Refusal::reason)
}

fn scope() -> RequireScope {
    RequireScope::new("orders:write orders:read").unwrap()
}

fn step_up() -> RequireStepUp {
    RequireStepUp::acr_values("urn:mfa urn:phr").unwrap().max_age(Duration::from_secs(300)).unwrap()
}

#[test]
fn a_token_with_the_scopes_passes_and_one_without_gets_a_403_to_the_letter() {
    for held in [json!("orders:read orders:write"), json!(["orders:write", "x", "orders:read"])] {
        for name in ["scope", "scp"] {
            let response = send(&layer(0), &scope(), request_with(json!({ name: held })));
            assert_eq!(
                (response.status(), response.body().as_str()),
                (StatusCode::OK, "ran"),
                "{name} {held}"
            );
        }
    }
    for lacking in [json!({}), json!({ "scope": "orders:read" }), json!({ "scp": 7 })] {
        let response = send(&layer(0), &scope(), request_with(lacking));
        assert_eq!(response.status(), 403);
        assert_eq!(
            field(&response, "www-authenticate"),
            Some(
                "Bearer realm=\"api\", error=\"insufficient_scope\", \
                 error_description=\"The token does not have the scope that is required\", \
                 scope=\"orders:write orders:read\""
            )
        );
        assert_eq!(
            response.body(),
            r#"{"error":"insufficient_scope","error_description":"The token does not have the scope that is required"}"#
        );
        assert_eq!(field(&response, "cache-control"), Some("no-store"));
        assert_eq!(field(&response, "reissue-replay"), None);
        assert_eq!(reason(&response), Some(&Reason::InsufficientScope));
    }
}

#[test]
fn a_predicate_refuses_without_naming_a_scope_and_a_panic_is_a_no() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let observe = move |event: &Event<'_>| match event {
        Event::HookPanicked { hook, .. } => seen.lock().unwrap().push((*hook).to_owned()),
        Event::Refused { refusal, .. } => seen.lock().unwrap().push(refusal.reason().label().to_owned()),
        _ => {}
    };
    let authority = builder(&ManualClock::at(NOW)).on_event(observe).build().unwrap();
    let layer = ReissueLayer::new(authority);
    let alice = RequireScope::that(|token: &VerifiedToken| token.subject() == Some("alice"));
    assert_eq!(send(&layer, &alice, request_with(json!({}))).status(), 200);
    let response = send(&layer, &alice, request_with(json!({ "sub": "bob" })));
    assert_eq!(response.status(), 403);
    assert_eq!(
        field(&response, "www-authenticate"),
        Some(
            "Bearer realm=\"api\", error=\"insufficient_scope\", \
             error_description=\"The token does not have the scope that is required\""
        )
    );
    assert_eq!(std::mem::take(&mut *events.lock().unwrap()), ["insufficient_scope"], "told once");
    let panics = RequireScope::that(|_: &VerifiedToken| panic!("a predicate"));
    assert_eq!(send(&layer, &panics, request_with(json!({}))).status(), 403);
    assert_eq!(*events.lock().unwrap(), ["RequireScope::that", "insufficient_scope"]);
}

#[test]
fn a_step_up_is_a_401_that_names_what_the_next_token_needs() {
    let good = json!({ "acr": "urn:phr", "auth_time": NOW - 300 });
    assert_eq!(send(&layer(0), &step_up(), request_with(good)).status(), 200);
    for (claims, description, claim) in [
        (json!({ "auth_time": NOW }), "A different authentication level is required", "acr"),
        (json!({ "acr": "0", "auth_time": NOW }), "A different authentication level is required", "acr"),
        (json!({ "acr": "urn:mfa" }), "More recent authentication is required", "auth_time"),
        (
            json!({ "acr": "urn:mfa", "auth_time": NOW - 301 }),
            "More recent authentication is required",
            "auth_time",
        ),
    ] {
        let response = send(&layer(0), &step_up(), request_with(claims));
        assert_eq!(response.status(), 401);
        let challenge = format!(
            "Bearer realm=\"api\", error=\"insufficient_user_authentication\", \
             error_description=\"{description}\", acr_values=\"urn:mfa urn:phr\", max_age=\"300\""
        );
        assert_eq!(field(&response, "www-authenticate"), Some(&*challenge));
        assert_eq!(reason(&response), Some(&Reason::InsufficientAuthentication(claim)));
    }
}

#[test]
fn over_grpc_a_scope_is_status_7_and_a_step_up_16() {
    let forbidden = send(&layer(0), &scope(), grpc(request_with(json!({}))));
    let stepped = send(&layer(0), &step_up(), grpc(request_with(json!({}))));
    for (response, http, status, message) in [
        (forbidden, 403, "7", "The token does not have the scope that is required"),
        (stepped, 401, "16", "A different authentication level is required"),
    ] {
        assert_eq!(response.status(), http);
        assert_eq!(field(&response, "grpc-status"), Some(status));
        assert_eq!(field(&response, "grpc-message"), Some(message));
        assert_eq!(field(&response, "content-type"), Some("application/grpc"));
        assert_eq!(response.body(), "");
    }
}

#[test]
fn a_renewal_keeps_auth_time_and_so_does_not_make_a_sign_in_recent() {
    let clock = ManualClock::at(NOW);
    let layer = ReissueLayer::new(builder(&clock).build().unwrap());
    let recent = RequireStepUp::recent(Duration::from_secs(700)).unwrap();
    let mut token = mint(&claims_with(json!({ "auth_time": NOW, "acr": "urn:mfa" })));
    let mut statuses = Vec::new();
    for at in [500, 700, 701, 1_000, 1_300] {
        clock.set(NOW + at);
        let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let response = send(&layer, &recent, request);
        statuses.push((at, response.status().as_u16()));
        if let Some(successor) = field(&response, "refreshed-api-token") {
            token = successor.to_owned();
            assert_eq!(payload(&token)["auth_time"], NOW);
        }
    }
    assert_eq!(statuses, [(500, 200), (700, 200), (701, 401), (1_000, 401), (1_300, 401)]);
    // Twice, each time dated to where the window opened. The second came with a refusal.
    assert_eq!(payload(&token)["iat"], NOW + 960);
}

/// Rule 10: on any status.
#[test]
fn a_refusal_for_scope_carries_the_successor_that_is_due() {
    let response = send(&layer(500), &scope(), request_with(json!({})));
    assert_eq!(response.status(), 403);
    assert!(field(&response, "refreshed-api-token").is_some());
    assert_eq!(field(&response, "reissue-replay"), None, "it would be refused again");
    // A response of one's own may forgo it.
    let suppresses = |refusal: &Refusal, _: &RequestHead<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        response.extensions_mut().insert(NoReissue);
        response
    };
    let response = send(&layer(500).refuse_with(suppresses), &scope(), request_with(json!({})));
    assert_eq!((response.status().as_u16(), field(&response, "refreshed-api-token")), (403, None));
}

#[test]
fn the_layers_own_response_answers_with_the_requests_head_and_never_succeeds() {
    let shop = send(&layer(0).refuse_with(Challenge::new("shop")), &scope(), request_with(json!({})));
    assert!(field(&shop, "www-authenticate").unwrap().starts_with("Bearer realm=\"shop\", error="));
    let own = |refusal: &Refusal, head: &RequestHead<'_>| {
        let told = format!("{} {:?} {}", head.uri().path(), refusal.scope(), refusal.reason().label());
        Response::new(Bytes::from(told))
    };
    let mut request = request_with(json!({}));
    *request.uri_mut() = "/orders".parse().unwrap();
    let response = send(&layer(0).refuse_with(own), &scope(), request);
    assert_eq!(response.status(), 403, "a 200 is replaced");
    assert_eq!(response.body(), "/orders Some(\"orders:write orders:read\") insufficient_scope");
    assert_eq!(field(&response, "www-authenticate"), None, "nothing of the default is left");
    assert_eq!(field(&response, "cache-control"), Some("no-store"));
    fn panics() -> impl RefusalResponse {
        |_: &Refusal, _: &RequestHead<'_>| panic!("a response")
    }
    let response = send(&layer(0).refuse_with(panics()), &scope(), request_with(json!({})));
    assert_eq!(response.status(), 403);
    assert!(field(&response, "www-authenticate").unwrap().contains("insufficient_scope"));
}

#[test]
fn an_anonymous_request_gets_the_bare_challenge_and_an_unguarded_route_a_500() {
    let response = send(&layer(0).optional(), &scope(), Request::new(()));
    assert_eq!(response.status(), 401);
    assert_eq!(field(&response, "www-authenticate"), Some(r#"Bearer realm="api""#));
    assert_eq!(reason(&response), Some(&Reason::NoCredential));
    let response = send(&layer(0).without_extension(), &scope(), request_with(json!({})));
    assert_eq!(response.status(), 500);
    assert_eq!(
        response.body(),
        "no layer guards this route, or none with these private claims: add the ReissueLayer last, outside of what requires its token; after private_claims::<T>() take VerifiedToken<T>, and RequireScope::new(..)?.private_claims::<T>()"
    );
    assert_eq!(reason(&response), None);
}

/// A token that other code put there, by way of `Authority::admit`: the refusal is whole without a layer.
#[test]
fn without_a_layer_further_out_the_refusal_is_the_default_one() {
    let authority = builder(&ManualClock::at(NOW)).build().unwrap();
    let token = at_once(authority.admit(&mint(&claims()))).unwrap();
    let mut request = Request::new(());
    request.extensions_mut().insert(token);
    let service = scope().layer(service_fn(handler));
    let response = at_once(service.oneshot(request)).unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.headers()["www-authenticate"].to_str().unwrap().ends_with("orders:read\""));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_ne!(response.headers()["reissue-replay"], "safe");
}

/// An empty name, of a setting that is not set perhaps, is no scope: not even of a token whose list has two spaces in a row.
#[test]
fn no_token_has_an_empty_scope() {
    let authority = builder(&ManualClock::at(NOW)).build().unwrap();
    for held in [json!(""), json!("a  b"), json!([""]), json!(["a", ""]), json!(" ")] {
        let token = at_once(authority.admit(&mint(&claims_with(json!({ "scope": held }))))).unwrap();
        assert!(!token.has_scope(""), "{held}");
    }
}

#[test]
fn a_scope_or_value_that_a_challenge_can_not_hold_is_refused_at_construction() {
    for bad in ["", " a", "a ", "a  b", "a\"b", "a\\b", "a\nb", "größe"] {
        let error = RequireScope::new(bad).expect_err(bad).to_string();
        assert!(error.starts_with("the scope"), "{error}");
        let error = RequireStepUp::acr_values(bad).expect_err(bad).to_string();
        assert!(error.starts_with("the acr values"), "{error}");
    }
    for short in [Duration::ZERO, Duration::from_millis(999)] {
        assert!(RequireStepUp::recent(short).expect_err("short").to_string().contains("less than a second"));
    }
    let longest = RequireStepUp::recent(Duration::MAX).unwrap();
    assert_eq!(send(&layer(0), &longest, request_with(json!({ "auth_time": 0 }))).status(), 200);
}
