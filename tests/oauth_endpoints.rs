//! Revocation by RFC 7009, introspection by RFC 7662, metadata by RFC 8414.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use support::*;
use tokio::net::TcpListener;
use tower::{Service, ServiceExt};
use tower_reissue::keys::{KeyRing, KeyRotation, KeySet, KeySource as _};
use tower_reissue::store::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreErrorKind, StoreHorizon, SubjectId,
};
use tower_reissue::{
    Authority, Cookie, IntrospectionEndpoint, JwksEndpoint, Login, ManualClock, MemoryStore,
    MetadataEndpoint, NumericDate, RefreshEndpoint, RefreshTokens, RevokeEndpoint, Source,
};

const FORM: &str = "application/x-www-form-urlencoded";

fn recording(clock: &ManualClock) -> Authority {
    builder(clock).store(MemoryStore::new()).build().unwrap()
}

fn post(content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/").header("content-type", content_type).body(Full::new(body.into())).unwrap()
}

async fn ask<S, B, D>(service: S, request: Request<B>) -> Response<Bytes>
where
    S: Service<Request<B>, Response = Response<D>, Error = Infallible>,
    D: http_body::Body<Error = Infallible>,
{
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn document(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

/// RFC 6749 §5.2, to the letter.
fn error(response: &Response<Bytes>) -> (u16, String) {
    assert_eq!(response.headers()["cache-control"], "no-store");
    let document = document(response);
    let description = document["error_description"].as_str().unwrap();
    assert!(description.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'));
    (response.status().as_u16(), document["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_in_the_body_is_revoked_and_what_is_worthless_is_a_200() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let revoke =
        async |content_type: &str, body: String| ask(endpoint.clone(), post(content_type, body)).await;
    for (content_type, hint) in [(FORM, ""), (FORM, "refresh_token"), ("application/json", "")] {
        let token = authority.issue(Login::new("alice")).await.unwrap();
        let body = match content_type {
            FORM => format!("token={}&token_type_hint={hint}", token.as_str()),
            _ => json!({ "token": token.as_str() }).to_string(),
        };
        assert!(authority.admit(token.as_str()).await.is_ok());
        // Twice: RFC 7009 §2.2 wants the second to succeed too.
        for _ in 0..2 {
            let response = revoke(content_type, body.clone()).await;
            assert_eq!((response.status().as_u16(), response.body().len()), (200, 0));
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        assert!(authority.admit(token.as_str()).await.is_err());
    }
    let good = mint(&claims());
    let forged = format!("{}A", &good[..good.len() - 1]);
    for worthless in ["nonsense", "a.b.c", &mint(&claims_with(json!({ "iat": 1, "exp": 2 })))] {
        assert_eq!(revoke(FORM, format!("token={worthless}")).await.status(), 200, "{worthless}");
    }
    // Another node may hold the key, or the token may be another service's.
    for unjudged in [&forged, &mint(&claims_with(json!({ "aud": "carts" })))] {
        let response = revoke(FORM, format!("token={unjudged}")).await;
        assert_eq!(error(&response), (400, "unsupported_token_type".to_owned()), "{unjudged}");
    }
    for bad in ["token=a&token=b".to_owned(), format!("token={}", "x".repeat(65 * 1024))] {
        assert_eq!(error(&revoke(FORM, bad).await), (400, "invalid_request".to_owned()));
    }
}

/// What clients add to a token: a line end, blanks, quotes, a scheme, padding. The session lives on, so no answer says success.
#[tokio::test]
async fn a_text_that_holds_a_token_is_not_worthless_whatever_is_wrong_with_it() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let token = authority.issue(Login::new("alice")).await.unwrap();
    let good = token.as_str();
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let typed = r#"{"alg":"HS256","typ":"JWT"}"#;
    let repeated = format!(r#"{},"x":1,"x":2}}"#, claims().to_string().trim_end_matches('}'));
    for text in [
        format!("{good}%0A"),
        format!("{good}%0D%0A"),
        format!("%20{good}"),
        format!("{good}+"),
        format!("Bearer+{good}"),
        format!("token%3D{good}"),
        format!("%22{good}%22"),
        format!("{good}="),
        format!("{header}=.{payload}=.{signature}="),
        format!("{header}.{payload}%0A.{signature}"),
        format!("{good}+{good}"),
        format!("{good}%00"),
        // Encoded twice, with something glued to it, and folded.
        format!("%2522{good}%2522"),
        format!("Bearer%2520{good}"),
        format!("s%253A{good}"),
        format!("token_{good}"),
        format!("-{good}"),
        format!("{}%0A{}", &good[..7], &good[7..]),
        // Cut off, and a part too many.
        format!("{header}.{payload}"),
        good[1..].to_owned(),
        good[..good.len() - 2].to_owned(),
        format!("{header}.{payload}."),
        format!("{good}.x"),
        // Under a good key.
        mint_raw(typed, &repeated),
        mint_raw(r#"{"alg":"HS256","typ":"JWT","kid":7}"#, &claims().to_string()),
    ] {
        let response = ask(endpoint.clone(), post(FORM, format!("token={text}"))).await;
        assert_eq!(error(&response), (400, "invalid_request".to_owned()), "{text}");
        assert!(authority.admit(good).await.is_ok(), "{text}");
    }
}

#[tokio::test]
async fn a_token_in_the_body_beside_one_in_the_head_is_refused() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
    let kept = authority.issue(Login::new("alice")).await.unwrap();
    let bearer = format!("Bearer {}", kept.as_str());
    // Another session's token, and a form's own field of that name.
    let other = authority.issue(Login::new("bob")).await.unwrap();
    for body in [format!("token={}", other.as_str()), "token=csrf-4f1c".to_owned()] {
        let mut request = post(FORM, body);
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        assert_eq!(ask(endpoint.clone(), request).await.status(), 400);
        assert!(authority.admit(kept.as_str()).await.is_ok());
        assert!(authority.admit(other.as_str()).await.is_ok());
    }
    // Faulty credentials in the head, or a body that two readers could read in two ways: nobody knows whose session is meant.
    let faults = [
        ("authorization", format!("{bearer} x"), 400, ""),
        ("authorization", format!("DPoP {}", kept.as_str()), 401, ""),
        ("cookie", format!("__Host-session={0}; __Host-session=x", kept.as_str()), 400, ""),
        ("authorization", bearer.clone(), 400, "&a=1&a=2"),
        ("cookie", format!("__Host-session={}", kept.as_str()), 400, "&a=1&a=2"),
    ];
    for (name, value, status, more) in faults {
        let sources = [Source::authorization(), Source::cookie(Cookie::new("session").unwrap())];
        let endpoint = RevokeEndpoint::new(authority.clone()).unwrap().read_from(sources);
        let mut request = post(FORM, format!("token={}{more}", other.as_str()));
        request.headers_mut().insert(name, value.parse().unwrap());
        request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
        let answer = ask(endpoint, request).await;
        assert_eq!(answer.status(), status, "{name} {more}");
        assert!(authority.admit(kept.as_str()).await.is_ok(), "{name} {more}");
        assert!(authority.admit(other.as_str()).await.is_ok(), "{name} {more}");
    }
    // What may hold the other token, in a form that is no parameter.
    let list = format!(r#"["{}"]"#, other.as_str());
    for (content_type, body) in [
        ("application/json", format!(r#"{{"token":{list}}}"#)),
        ("application/json", list),
        (FORM, format!("token[]={}", other.as_str())),
        // As `fetch` sends a text.
        ("text/plain;charset=UTF-8", format!(r#"{{"token":"{}"}}"#, other.as_str())),
    ] {
        let mut request = post(content_type, body);
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        assert_eq!(ask(endpoint.clone(), request).await.status(), 400);
        assert!(authority.admit(kept.as_str()).await.is_ok());
    }
    // Client authentication is no token. Nobody asked for it, and it changes nothing.
    let mut request = post(FORM, format!("token={}", other.as_str()));
    request.headers_mut().insert("authorization", "Basic eA==".parse().unwrap());
    assert_eq!(ask(endpoint.clone(), request).await.status(), 200);
    assert!(authority.admit(other.as_str()).await.is_err());
    // A body without a token, as a sign-out button or a wrapper of fetch sends it.
    for (content_type, body) in [
        (FORM, ""),
        (FORM, "csrf=1"),
        ("application/json", ""),
        ("application/json", "null"),
        ("application/json", "{}"),
        ("application/json", "[]"),
    ] {
        let token = authority.issue(Login::new("alice")).await.unwrap();
        let mut request = post(content_type, body);
        request.headers_mut().insert("authorization", format!("Bearer {}", token.as_str()).parse().unwrap());
        assert_eq!(ask(endpoint.clone(), request).await.status(), 204, "{content_type} {body}");
        assert!(authority.admit(token.as_str()).await.is_err());
    }
}

/// A store that was reachable when the authority was built.
struct Down;

impl ClaimsStore for Down {
    async fn standing(&self, _: &Presented) -> Result<Standing, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn rotate(&self, _: Rotation) -> Result<Rotated, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn revoke(&self, _: Revocation, _: Retention) -> Result<(), StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn sessions(&self, _: SubjectId, _: NumericDate, _: Page) -> Result<SessionPage, StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        MemoryStore::new().horizon(need).await
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        MemoryStore::new().horizon_now(need)
    }

    async fn raise_horizon(&self, _: Horizon, _: NumericDate) -> Result<(), StoreError> {
        Err(StoreErrorKind::Unavailable.into())
    }
}

#[tokio::test]
async fn a_store_that_is_down_leaves_the_session_and_says_so() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).store(Down).build().unwrap();
    let token = mint(&claims());
    let revoke = RevokeEndpoint::new(authority.clone()).unwrap();
    let introspect = IntrospectionEndpoint::new(authority, |_| true);
    let body = format!("token={token}");
    let expected = (503, "temporarily_unavailable".to_owned());
    assert_eq!(error(&ask(revoke, post(FORM, body.clone())).await), expected);
    assert_eq!(error(&ask(introspect, post(FORM, body)).await), expected);
}

#[tokio::test]
async fn introspection_says_what_admission_says() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let endpoint = IntrospectionEndpoint::new(authority.clone(), |_| true);
    let introspect = async |token: &str| {
        let response = ask(endpoint.clone(), post(FORM, format!("token={token}"))).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["cache-control"], "no-store");
        document(&response)
    };
    let private = json!({ "scope": "read write", "active": false, "token_type": "N_A", "tier": "gold" });
    let token = authority.issue(Login::new("alice").claims(&private)).await.unwrap();
    let active = introspect(token.as_str()).await;
    let mut expected = payload(token.as_str());
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    assert_eq!(active, expected);
    // An array is the same scopes, as a text.
    let scp = mint(&claims_with(json!({ "scp": ["read", "write"] })));
    let told = introspect(&scp).await;
    assert_eq!((&told["scope"], &told["scp"]), (&json!("read write"), &Value::Null));
    // Proof of possession is the asker's to check.
    let bound = mint(&claims_with(json!({ "cnf": { "jkt": "x" } })));
    assert_eq!(introspect(&bound).await["cnf"], json!({ "jkt": "x" }));
    assert!(authority.admit(&bound).await.is_err());

    let inactive = json!({ "active": false });
    for (why, token) in [
        ("no token", "nonsense".to_owned()),
        ("another audience", mint(&claims_with(json!({ "aud": "carts" })))),
        ("another issuer", mint(&claims_with(json!({ "iss": "https://else.example" })))),
        ("another type", mint_raw(r#"{"alg":"HS256","typ":"refresh+jwt"}"#, &claims().to_string())),
        ("within the grace", mint(&claims_with(json!({ "iat": NOW - 610, "exp": NOW - 10 })))),
        ("another key", format!("{}x", &mint(&claims())[..mint(&claims()).len() - 1])),
    ] {
        assert_eq!(introspect(&token).await, inactive, "{why}");
    }
    authority.sign_out(token.as_str()).await.unwrap();
    assert_eq!(introspect(token.as_str()).await, inactive);
}

#[tokio::test]
async fn only_who_may_ask_is_answered() {
    let clock = ManualClock::at(NOW);
    let authority = recording(&clock);
    let by_key = IntrospectionEndpoint::new(authority.clone(), |head| {
        head.headers().get("authorization").is_some_and(|value| value == "Bearer caller")
    });
    let body = format!("token={}", mint(&claims()));
    let response = ask(by_key.clone(), post(FORM, body.clone())).await;
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(error(&response), (401, "invalid_client".to_owned()));
    let mut request = post(FORM, body.clone());
    request.headers_mut().insert("authorization", "Bearer caller".parse().unwrap());
    assert_eq!(document(&ask(by_key, request).await)["active"], true);
    // A predicate that panics says no.
    let panics = IntrospectionEndpoint::new(authority.clone(), |_| panic!("a predicate"));
    assert_eq!(error(&ask(panics, post(FORM, body.clone())).await).0, 401);

    let open = IntrospectionEndpoint::new(authority, |_| true);
    for request in [post(FORM, ""), post("text/plain", body.clone()), post(FORM, format!("{body}&{body}"))] {
        assert_eq!(error(&ask(open.clone(), request).await), (400, "invalid_request".to_owned()));
    }
    let mut get = post(FORM, body);
    *get.method_mut() = http::Method::GET;
    let response = ask(open.clone(), get).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    // A client that breaks off in the middle of its body.
    let broken = StreamBody::new(futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"token="))),
        Err(std::io::Error::other("reset")),
    ]));
    let request = Request::post("/").header("content-type", FORM).body(broken).unwrap();
    assert_eq!(error(&ask(open, request).await), (400, "invalid_request".to_owned()));
}

/// The three over TCP, in axum and in bare hyper; what the metadata names leads to keys that verify.
#[tokio::test]
async fn a_client_finds_the_endpoints_by_the_metadata() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let signing = key_for(tower_reissue::Algorithm::EdDSA);
    let authority = Authority::builder(signing)
        .issuer(&at)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(3600))
        .store(MemoryStore::new())
        .refresh_tokens(RefreshTokens::new(format!("{at}/refresh")))
        .build()
        .unwrap();
    let metadata = MetadataEndpoint::new(&at)
        .unwrap()
        .jwks(&format!("{at}/keys"))
        .unwrap()
        .token(&format!("{at}/refresh"))
        .unwrap()
        .revocation(&format!("{at}/revoke"))
        .unwrap()
        .introspection(&format!("{at}/introspect"))
        .unwrap()
        .scopes(["read", "write"]);
    let introspect = IntrospectionEndpoint::new(authority.clone(), |_| true);
    let app = axum::Router::new()
        .route_service("/.well-known/oauth-authorization-server", metadata)
        .route_service("/keys", JwksEndpoint::new(&authority))
        .route_service("/refresh", RefreshEndpoint::new(authority.clone()).unwrap())
        .route_service("/revoke", RevokeEndpoint::new(authority.clone()).unwrap())
        .route_service("/introspect", introspect.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let hyper = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let in_hyper = format!("http://{}/", hyper.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = hyper.accept().await.unwrap();
            let service = TowerToHyperService::new(introspect.clone());
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(
                async move { builder.serve_connection(TokioIo::new(stream), service).await.unwrap() },
            );
        }
    });

    let curl = async |arguments: &[&str]| {
        let output = tokio::process::Command::new("curl").arg("-sS").args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found = curl(&[&format!("{at}/.well-known/oauth-authorization-server")]).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        found,
        json!({
            "issuer": at, "response_types_supported": [], "token_endpoint": format!("{at}/refresh"),
            "grant_types_supported": ["refresh_token"], "token_endpoint_auth_methods_supported": ["none"],
            "jwks_uri": format!("{at}/keys"),
            "revocation_endpoint": format!("{at}/revoke"), "revocation_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": format!("{at}/introspect"), "scopes_supported": ["read", "write"],
        })
    );
    let set = KeySet::from_jwk_set(&curl(&[found["jwks_uri"].as_str().unwrap()]).await).unwrap();
    let elsewhere = Authority::builder(KeyRing::verify_only().trust(&at, set.verifying).unwrap());
    let elsewhere = elsewhere.audience(AUDIENCE).build().unwrap();
    let token = authority.issue(Login::new("alice")).await.unwrap();
    assert_eq!(elsewhere.admit(token.as_str()).await.unwrap().subject(), Some("alice"));

    let pair = authority.issue_pair(Login::new("alice")).await.unwrap();
    let refresh = format!("grant_type=refresh_token&refresh_token={}", pair.refresh.as_str());
    let refreshed = curl(&["-d", &refresh, found["token_endpoint"].as_str().unwrap()]).await;
    let refreshed: Value = serde_json::from_str(&refreshed).unwrap();
    assert!(elsewhere.admit(refreshed["access_token"].as_str().unwrap()).await.is_ok());
    // A refresh token is nobody's access token.
    let as_access = format!("token={}", refreshed["refresh_token"].as_str().unwrap());
    let introspection = found["introspection_endpoint"].as_str().unwrap();
    assert_eq!(curl(&["-d", &as_access, introspection]).await, r#"{"active":false}"#);

    let parameter = format!("token={}", token.as_str());
    for at in [found["introspection_endpoint"].as_str().unwrap(), &in_hyper] {
        let told: Value = serde_json::from_str(&curl(&["-d", &parameter, at]).await).unwrap();
        assert_eq!(told["active"], true);
    }
    let revocation = found["revocation_endpoint"].as_str().unwrap();
    assert_eq!(curl(&["-d", &parameter, "-w", "%{http_code}", revocation]).await, "200");
    let told = curl(&["-d", &parameter, &in_hyper]).await;
    assert_eq!(told, r#"{"active":false}"#);
}

#[test]
fn metadata_names_no_place_that_can_be_tampered_with() {
    let issuer = MetadataEndpoint::new("https://login.example/tenant").unwrap();
    for bad in [
        "http://login.example/revoke",
        "login.example/revoke",
        "/revoke",
        "",
        "https://",
        "https://login.example/revoke#here",
        "ftp://login.example/revoke",
        "http://localhost.example/revoke",
        "https://login.example/a b",
    ] {
        assert!(issuer.clone().revocation(bad).is_err(), "{bad}");
        assert!(MetadataEndpoint::new(bad).is_err(), "{bad}");
    }
    assert!(MetadataEndpoint::new("https://login.example?tenant=1").is_err());
    for good in
        ["http://localhost:8080/revoke", "http://[::1]/revoke", "https://login.example/revoke?tenant=1"]
    {
        assert!(issuer.clone().revocation(good).is_ok(), "{good}");
    }
}

/// A key source that can't be read: a token under a key that is unknown here may be another node's.
#[tokio::test]
async fn a_token_that_can_not_be_judged_is_a_503() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let format = tower_reissue::keys::KeyFormat::secret(tower_reissue::Algorithm::HS256).with_kid("one");
    let source = tower_reissue::keys::FileSource::new(&path, format);
    assert!(source.load().await.is_ok());
    let keys = KeyRotation::new(source).start().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let authority = Authority::builder(keys)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(3600))
        .store(Arc::new(MemoryStore::new()))
        .build()
        .unwrap();
    let endpoint = RevokeEndpoint::new(authority).unwrap();
    let token = mint_raw(r#"{"alg":"HS256","typ":"JWT","kid":"two"}"#, &claims().to_string());
    let response = ask(endpoint, post(FORM, format!("token={token}"))).await;
    assert_eq!(error(&response), (503, "temporarily_unavailable".to_owned()));
}
