//! The refresh endpoint: RFC 6749 §6 and §5.2 over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_reissue::store::MemoryStore;
use tower_reissue::{
    Authority, AuthorityBuilder, Cookie, Login, ManualClock, Reason, RefreshEndpoint, RefreshTokens, Refusal,
    Renewal, SameSite, Source, TokenPair,
};

use crate::support::guarded::header;
use crate::support::*;

const REFRESH: &str = "https://login.example/refresh";

fn pairs(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).store(MemoryStore::new()).refresh_tokens(RefreshTokens::new(REFRESH))
}

fn issued(authority: &Authority) -> TokenPair {
    let login = Login::new("alice").claims(&json!({ "scope": "read write" })).client_id("web");
    at_once(authority.issue_pair(login)).unwrap()
}

struct Answer {
    status: u16,
    json: Value,
    response: Response<()>,
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        (self.status, self.json["error"].as_str().unwrap_or_default())
    }

    fn set_cookie(&self) -> Option<&str> {
        self.response.headers().get("set-cookie").map(|field| field.to_str().unwrap())
    }
}

fn send(endpoint: &RefreshEndpoint, request: Request<Full<Bytes>>) -> Answer {
    let response = at_once(endpoint.clone().oneshot(request)).unwrap();
    let (parts, body) = response.into_parts();
    let body = at_once(body.collect()).unwrap().to_bytes();
    assert_eq!(parts.headers["cache-control"], "no-store");
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Answer { status: parts.status.as_u16(), json, response: Response::from_parts(parts, ()) }
}

fn post(fields: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request =
        fields.iter().fold(Request::post("/refresh"), |request, (name, value)| request.header(*name, *value));
    request.body(Full::new(body.into())).unwrap()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

fn form(parameters: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut body = form_urlencoded_of(parameters);
    body.push('&');
    post(&[FORM], body)
}

fn form_urlencoded_of(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+")));
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn from_a_form_from_json_from_a_header_and_from_a_cookie_the_answer_is_the_same() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let cookie = Cookie::without_host_prefix("__Secure-refresh").unwrap();
    let cookie = cookie.path("/refresh").unwrap().same_site(SameSite::Strict);
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
    let endpoint = endpoint.read_from([Source::cookie(cookie.clone()), Source::authorization()]);
    let client = [("client_id", "web"), ("scope", "read")];
    let token = || issued(&authority).refresh.into_string();
    let with = |name: &str, value: String| {
        let body = json!({ "client_id": "web", "scope": "read" }).to_string();
        post(&[JSON, (name, &value), ("sec-fetch-site", "same-origin")], body)
    };
    for (in_cookie, request) in [
        (false, {
            let token = token();
            form(&[("grant_type", "refresh_token"), ("refresh_token", &token), client[0], client[1]])
        }),
        (false, {
            let body = json!({ "grant_type": "refresh_token", "refresh_token": token(), "client_id": "web", "scope": "read", "other": 1 });
            post(&[("content-type", "Application/JSON; charset=utf-8")], body.to_string())
        }),
        (false, with("authorization", format!("Bearer {}", token()))),
        (true, with("cookie", format!("a=b; __Secure-refresh={}", token()))),
    ] {
        let answer = send(&endpoint, request);
        assert_eq!(answer.status, 200, "{}", answer.json);
        assert_eq!(answer.response.headers()["content-type"], "application/json");
        let mut json = answer.json.clone();
        let members = json.as_object_mut().unwrap();
        let access = members.remove("access_token").unwrap();
        assert_eq!(payload(access.as_str().unwrap())["scope"], "read");
        assert!(at_once(authority.admit(access.as_str().unwrap())).is_ok());
        let successor = match members.remove("refresh_token") {
            Some(token) => {
                assert!(!in_cookie && answer.set_cookie().is_none());
                token.as_str().unwrap().to_owned()
            }
            None => {
                let field = answer.set_cookie().expect("a cookie");
                assert!(
                    in_cookie && field.contains("Path=/refresh") && field.contains("SameSite=Strict"),
                    "{field}"
                );
                field.split_once('=').unwrap().1.split(';').next().unwrap().to_owned()
            }
        };
        assert_eq!(json, json!({ "token_type": "Bearer", "expires_in": 600, "scope": "read" }));
        assert_eq!(header(&successor)["typ"], "refresh+jwt");
        let again = form(&[("grant_type", "refresh_token"), ("refresh_token", &successor), client[0]]);
        let again = send(&endpoint, again);
        assert_eq!((again.status, &again.json["scope"]), (200, &json!("read write")), "{}", again.json);
    }
}

#[test]
fn a_request_at_fault_gets_the_error_of_the_rfc_and_spends_nothing() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
    let pair = issued(&authority);
    let (refresh, access) = (pair.refresh.as_str(), pair.access.as_str());
    let grant = ("grant_type", "refresh_token");
    let token = ("refresh_token", refresh);
    let web = ("client_id", "web");
    let json = |value: Value| post(&[JSON], value.to_string());
    let raw = |kind: &str, body: &str| post(&[("content-type", kind)], body.to_owned());
    let form_body = form_urlencoded_of(&[grant, token, web]);
    for (n, (request, status, error)) in [
        (form(&[token, web]), 400, "invalid_request"),
        (form(&[grant, web]), 400, "invalid_request"),
        (form(&[grant, ("refresh_token", ""), web]), 400, "invalid_request"),
        (form(&[]), 400, "invalid_request"),
        (form(&[grant, token, token, web]), 400, "invalid_request"),
        (form(&[grant, grant, token, web]), 400, "invalid_request"),
        (form(&[grant, token, web, ("x", "1"), ("x", "2")]), 400, "invalid_request"),
        (form(&[("grant_type", "password"), token, web]), 400, "unsupported_grant_type"),
        (form(&[("grant_type", "Refresh_token"), token, web]), 400, "unsupported_grant_type"),
        (form(&[grant, token]), 400, "invalid_grant"),
        (form(&[grant, token, ("client_id", "other")]), 400, "invalid_grant"),
        (form(&[grant, ("refresh_token", access), web]), 400, "invalid_grant"),
        (form(&[grant, ("refresh_token", "x"), web]), 400, "invalid_grant"),
        (form(&[grant, token, web, ("scope", "admin")]), 400, "invalid_scope"),
        (form(&[grant, token, web, ("scope", "read admin")]), 400, "invalid_scope"),
        (form(&[grant, token, web, ("client_secret", "s")]), 401, "invalid_client"),
        (form(&[grant, token, web, ("client_assertion", "s")]), 401, "invalid_client"),
        (post(&[FORM, ("authorization", "Basic d2ViOnM=")], form_body.clone()), 401, "invalid_client"),
        (json(json!({ "refresh_token": 1, "client_id": "web" })), 400, "invalid_request"),
        (
            json(json!({ "grant_type": "refresh_token", "refresh_token": refresh, "client_id": ["web"] })),
            400,
            "invalid_request",
        ),
        (
            json(json!({ "refresh_token": refresh, "client_id": "web", "grant_type": "code" })),
            400,
            "unsupported_grant_type",
        ),
        (json(json!([])), 400, "invalid_request"),
        (raw("application/json", "{"), 400, "invalid_request"),
        (
            raw("application/json", &format!(r#"{{"refresh_token":"{refresh}","refresh_token":"x"}}"#)),
            400,
            "invalid_request",
        ),
        (raw("text/plain", &form_body), 400, "invalid_request"),
        (raw("", &form_body), 400, "invalid_request"),
        (raw("application/x-www-form-urlencoded", &"x".repeat(100_000)), 400, "invalid_request"),
        (post(&[], ""), 400, "invalid_request"),
        // Not a source here.
        (post(&[("authorization", &format!("Bearer {refresh}"))], ""), 400, "invalid_request"),
        (post(&[("cookie", &format!("refresh={refresh}"))], ""), 400, "invalid_request"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(&endpoint, request);
        assert_eq!(answer.error(), (status, error), "request {n}: {}", answer.json);
        assert!(answer.json["error_description"].as_str().is_some_and(|text| text.len() > 10), "request {n}");
        assert_eq!(answer.response.headers().contains_key("www-authenticate"), status == 401, "request {n}");
        assert!(answer.json.get("access_token").is_none() && answer.set_cookie().is_none(), "request {n}");
        let told = answer.json.to_string();
        assert!(!told.contains(refresh) && !told.contains("alice"), "request {n}: {told}");
    }
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let request = Request::builder().method(method).body(Full::default()).unwrap();
        let answer = send(&endpoint, request);
        assert_eq!((answer.status, &answer.response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
    clock.set(NOW + 5_000);
    let answer = send(&endpoint, form(&[grant, token, web]));
    assert_eq!(answer.status, 200, "{}", answer.json);
    let successor = answer.json["refresh_token"].as_str().unwrap();
    assert_eq!(payload(successor)["iat"], NOW + 5_000, "this was the first rotation");
}

#[test]
fn a_token_in_two_places_is_refused() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap().read_from([Source::authorization()]);
    let token = issued(&authority).refresh.into_string();
    let body =
        json!({ "grant_type": "refresh_token", "refresh_token": token, "client_id": "web" }).to_string();
    let answer = send(&endpoint, post(&[JSON, ("authorization", &format!("Bearer {token}"))], body));
    assert_eq!(answer.error(), (400, "invalid_request"));
    assert_eq!(answer.response.extensions().get::<Refusal>().unwrap().reason(), &Reason::SeveralCredentials);
}

#[test]
fn a_cookie_refreshes_from_the_own_site_and_goes_when_it_is_of_no_use() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let cookie = Cookie::without_host_prefix("refresh").unwrap();
    let endpoint =
        RefreshEndpoint::new(authority.clone()).unwrap().read_from([Source::cookie(cookie.clone())]);
    let endpoint = endpoint.allow_origin("https://app.example").unwrap();
    let pair = issued(&authority);
    assert!(authority.set_cookie(&cookie, &pair.refresh).is_ok());
    let ask = |token: &str, from: (&str, &str)| {
        let sent = format!("refresh={token}");
        send(&endpoint, post(&[FORM, ("cookie", &sent), from], "client_id=web"))
    };
    const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
    for from in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("x", "y"),
    ] {
        let answer = ask(pair.refresh.as_str(), from);
        assert_eq!(answer.error(), (403, "access_denied"), "{from:?}");
        assert!(answer.set_cookie().is_none());
    }
    let first = ask(pair.refresh.as_str(), ("origin", "https://app.example"));
    assert_eq!(first.status, 200);
    let successor =
        first.set_cookie().unwrap().split_once('=').unwrap().1.split(';').next().unwrap().to_owned();
    // Later than the window and the tolerance: the session ends, and so does the cookie.
    clock.set(NOW + 65);
    let reused = ask(pair.refresh.as_str(), OWN);
    assert_eq!(reused.error(), (400, "invalid_grant"));
    assert!(
        reused.set_cookie().is_some_and(|field| field.contains("Max-Age=0")),
        "{:?}",
        reused.set_cookie()
    );
    let ended = ask(&successor, OWN);
    assert_eq!(ended.error(), (400, "invalid_grant"));
    assert!(ended.set_cookie().is_some_and(|field| field.contains("Max-Age=0")));
    // One that others may judge otherwise stays.
    for token in ["eyJhbGciOiJIUzI1NiJ9.y.z", "\"eyJhbGciOiJIUzI1NiJ9.y.z\"", &mint(&claims())] {
        assert!(ask(token, OWN).set_cookie().is_none(), "{token}");
    }
    for none in ["", "deleted", "x.y.z", "\"\""] {
        let field = ask(none, OWN).set_cookie().map(str::to_owned);
        assert!(field.is_some_and(|field| field.contains("Max-Age=0")), "{none}");
    }
    // 300 s past its `exp` nobody does.
    let of_another = at_once(authority.issue_pair(Login::new("bob"))).unwrap();
    let expires = of_another.refresh.expires_at().as_secs();
    for (at, removed) in [(expires - 1, false), (expires + 299, false), (expires + 300, true)] {
        clock.set(at);
        let answer = ask(of_another.refresh.as_str(), OWN);
        assert_eq!(answer.error(), (400, "invalid_grant"), "{at}");
        assert_eq!(answer.set_cookie().is_some(), removed, "{at}");
    }
}

#[test]
fn an_outage_is_a_503_and_spends_nothing() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
    let pair = issued(&authority);
    let ask = |endpoint: &RefreshEndpoint| {
        let body = json!({ "grant_type": "refresh_token", "refresh_token": pair.refresh.as_str(), "client_id": "web" });
        send(endpoint, post(&[JSON], body.to_string()))
    };
    let slow = pairs(&clock).store(store.clone());
    let slow = slow.renew_with(|_| std::future::ready(Err("down".into()))).build().unwrap();
    let wrong = pairs(&clock).store(store.clone());
    let wrong =
        wrong.renew_with(|_| std::future::ready(Ok(Renewal::keep().claims(&json!({ "sub": "bob" })))));
    let answer = ask(&RefreshEndpoint::new(wrong.build().unwrap()).unwrap());
    assert_eq!(answer.error(), (500, "server_error"));
    store.fail_to_rotate();
    for endpoint in [&endpoint, &RefreshEndpoint::new(slow).unwrap()] {
        let answer = ask(endpoint);
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
        assert_eq!(answer.response.headers()["retry-after"], "1");
    }
}

#[test]
fn a_refusal_removes_the_cookie_that_was_judged_and_those_that_hold_no_token() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).build().unwrap();
    let [dead, live] = [issued(&authority), issued(&authority)];
    at_once(authority.sign_out(dead.refresh.as_str())).unwrap();
    let cookie = |name| Source::cookie(Cookie::without_host_prefix(name).unwrap());
    let endpoint = RefreshEndpoint::new(authority).unwrap();
    let endpoint = endpoint.read_from([Source::authorization(), cookie("__Secure-a"), cookie("__Secure-b")]);
    let [dead, live] = [&dead, &live].map(|pair| pair.refresh.as_str());
    let bearer = format!("Bearer {dead}");
    let both = format!("__Secure-a={dead}; __Secure-b={live}");
    let (live, none) = (format!("__Secure-b={live}"), "__Secure-a=deleted".to_owned());
    let in_body = [("grant_type", "refresh_token"), ("refresh_token", dead), ("client_id", "web")];
    let form = form_urlencoded_of(&in_body);
    for (fields, body, removed) in [
        (vec![("authorization", &*bearer), ("cookie", &*live)], "client_id=web", None),
        (vec![("cookie", &*both)], "client_id=web", Some("__Secure-a")),
        (vec![("cookie", &*live)], &*form, None),
        (vec![("cookie", &*none)], &*form, Some("__Secure-a")),
        (vec![("cookie", &*none)], "client_id=web", Some("__Secure-a")),
    ] {
        let own = [("sec-fetch-site", "same-origin"), ("content-type", "application/x-www-form-urlencoded")];
        let fields: Vec<_> = own.into_iter().chain(fields).collect();
        let answer = send(&endpoint, post(&fields, body.to_owned()));
        assert_eq!(answer.status, 400, "{fields:?}");
        let set: Vec<_> = answer.response.headers().get_all("set-cookie").iter().collect();
        let names: Vec<_> =
            set.iter().map(|field| field.to_str().unwrap().split('=').next().unwrap()).collect();
        assert_eq!(names, Vec::from_iter(removed), "{fields:?}");
    }
}

/// Issued a moment ago by a node whose clock is ahead, or dated ahead of a revocation: it is worth something soon.
#[test]
fn a_refresh_token_that_is_not_valid_yet_is_not_refused_for_good() {
    let (ahead, behind) = (ManualClock::at(NOW), ManualClock::at(NOW - 2));
    let store = Arc::new(MemoryStore::new());
    let [one, other] = [&ahead, &behind].map(|clock| pairs(clock).store(store.clone()).build().unwrap());
    at_once(one.revoke_subject("alice")).unwrap();
    let pair = issued(&one);
    let endpoint = RefreshEndpoint::new(other).unwrap();
    let body =
        json!({ "grant_type": "refresh_token", "refresh_token": pair.refresh.as_str(), "client_id": "web" });
    let ask = || send(&endpoint, post(&[JSON], body.to_string()));
    let answer = ask();
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert_eq!(answer.response.headers()["retry-after"], "1");
    behind.set(NOW);
    assert_eq!(ask().status, 200);
    // By a clock that was a day ahead: it is of no use for so long that its user signs in again.
    behind.set(NOW - 86_400);
    assert_eq!(ask().error(), (400, "invalid_grant"));
}

#[test]
fn a_refresh_token_that_its_cookie_can_not_hold_is_not_spent() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(MemoryStore::new());
    let authority = pairs(&clock).store(store.clone()).max_added_head_bytes(8_192).build().unwrap();
    let login = Login::new("alice").claims(&json!({ "x": "x".repeat(2_700) }));
    let pair = at_once(authority.issue_pair(login)).unwrap();
    let cookie = Cookie::without_host_prefix("refresh").unwrap();
    let wide = cookie.clone();
    let endpoint = |cookie| {
        let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
        endpoint.read_from([Source::cookie(cookie)])
    };
    let sent = |endpoint: &RefreshEndpoint| {
        let sent = format!("refresh={}", pair.refresh.as_str());
        send(endpoint, post(&[("cookie", &sent), ("sec-fetch-site", "same-origin")], ""))
    };
    let narrow = wide.path(&format!("/{}", "p".repeat(1_000))).unwrap();
    assert!(authority.set_cookie(&narrow, &pair.refresh).is_err());
    assert_eq!(sent(&endpoint(narrow)).error(), (500, "server_error"));
    clock.set(NOW + Duration::from_secs(1_000).as_secs());
    let body = json!({ "grant_type": "refresh_token", "refresh_token": pair.refresh.as_str() }).to_string();
    let answer = send(&RefreshEndpoint::new(authority.clone()).unwrap(), post(&[JSON], body));
    assert_eq!(payload(answer.json["refresh_token"].as_str().unwrap())["iat"], NOW + 1_000);
}

#[test]
fn a_bound_refresh_token_needs_its_proof_each_time() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).confirm_with(|head, cnf| {
        cnf == r#"{"jkt":"x"}"# && head.headers().get("proof").is_some_and(|proof| proof == "x")
    });
    let authority = authority.build().unwrap();
    let endpoint = RefreshEndpoint::new(authority.clone()).unwrap();
    let login = Login::new("alice").claims(&json!({ "cnf": { "jkt": "x" } }));
    let mut token = at_once(authority.issue_pair(login)).unwrap().refresh.into_string();
    for _ in 0..3 {
        let body = json!({ "grant_type": "refresh_token", "refresh_token": token }).to_string();
        for proof in [&[JSON][..], &[JSON, ("proof", "y")]] {
            assert_eq!(send(&endpoint, post(proof, body.clone())).error(), (400, "invalid_grant"));
        }
        let answer = send(&endpoint, post(&[JSON, ("proof", "x")], body));
        assert_eq!(answer.status, 200, "{}", answer.json);
        for name in ["access_token", "refresh_token"] {
            assert_eq!(payload(answer.json[name].as_str().unwrap())["cnf"], json!({ "jkt": "x" }), "{name}");
        }
        token = answer.json["refresh_token"].as_str().unwrap().to_owned();
    }
}

#[test]
fn an_authority_without_refresh_tokens_has_no_endpoint() {
    let authority = builder(&ManualClock::at(NOW)).store(MemoryStore::new()).build().unwrap();
    let error = RefreshEndpoint::new(authority).unwrap_err().to_string();
    assert!(error.contains("`refresh_tokens`"), "{error}");
}
