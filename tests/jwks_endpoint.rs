//! The JWKS endpoint as a bare service, as an axum route, and behind hyper over TCP.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use jsonwebtoken::jwk::JwkSet;
use support::*;
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_reissue::keys::{Algorithm, KeyRing, KeyRotation, KeySet, VerifyingKey};
use tower_reissue::{Authority, JwksEndpoint, Login, ManualClock};

fn public() -> impl Iterator<Item = Algorithm> {
    ALGORITHMS.into_iter().filter(|algorithm| pem_for(*algorithm).is_some())
}

async fn ask(endpoint: &JwksEndpoint, method: Method, known: Option<&str>) -> Response<Bytes> {
    let mut request = Request::builder().method(method);
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    let response = endpoint.clone().oneshot(request.body(()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn kids(response: &Response<Bytes>) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn own_public_keys_are_published_and_nothing_else() {
    let ring = KeyRing::new(key_for(Algorithm::ES256).with_kid("signing"))
        .retiring(key_for(Algorithm::EdDSA).with_kid("retiring"))
        .unwrap()
        .retiring(key().with_kid("secret"))
        .unwrap()
        .trust("https://partner.example", [key_for(Algorithm::RS256).with_kid("foreign").into()])
        .unwrap();
    let response = ask(&JwksEndpoint::new(ring), Method::GET, None).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    assert_eq!(response.headers()["content-length"], response.body().len().to_string());
    assert_eq!(kids(&response), ["signing", "retiring"]);
    let text = std::str::from_utf8(response.body()).unwrap();
    assert!(!text.contains("oct") && !text.contains("\"d\"") && !text.contains("\"k\""), "{text}");
    for jwk in serde_json::from_str::<serde_json::Value>(text).unwrap()["keys"].as_array().unwrap() {
        assert_eq!(jwk["use"], "sig");
        assert!(jwk["kty"].is_string() && jwk["alg"].is_string() && jwk["kid"].is_string());
    }

    let only_secrets = ask(&JwksEndpoint::new(key()), Method::GET, None).await;
    assert_eq!(only_secrets.body(), r#"{"keys":[]}"#);
}

#[tokio::test]
async fn of_two_key_pairs_under_one_kid_the_signing_one_alone_is_published_under_it() {
    let pair = |algorithm| key_for(algorithm).with_kid("main");
    let set = KeySet::signing(pair(Algorithm::ES256))
        .retiring(pair(Algorithm::EdDSA))
        .retiring(key().with_kid("main"))
        .retiring(pair(Algorithm::RS256))
        // One key under two algorithms is one key.
        .retiring(key_for(Algorithm::PS256))
        .retiring(key_for(Algorithm::PS384));
    let keys = KeyRotation::new(set).start().await.unwrap();
    let response = ask(&JwksEndpoint::new(keys), Method::GET, None).await;
    let [ed, rsa] =
        [Algorithm::EdDSA, Algorithm::RS256].map(|algorithm| key_for(algorithm).fingerprint().to_owned());
    assert_eq!(kids(&response), ["main", &ed, &rsa, &rsa, &rsa]);
    // None is lost to a reader that passes over what is ambiguous.
    let text = std::str::from_utf8(response.body()).unwrap();
    let read = KeySet::from_jwk_set(text).unwrap();
    assert_eq!((read.verifying.len(), read.skipped.len()), (5, 0));
    assert_eq!(read.verifying[0].algorithm(), Algorithm::ES256);
}

#[tokio::test]
async fn what_is_published_verifies_the_tokens_here_and_in_jsonwebtoken() {
    for algorithm in public() {
        let clock = ManualClock::at(NOW);
        let build = |keys: tower_reissue::keys::Keys| {
            let builder = Authority::builder(keys).issuer(ISSUER).audience(AUDIENCE).clock(clock.clone());
            builder.max_session_lifetime(Duration::from_secs(12 * 3600)).build().unwrap()
        };
        let authority = build(key_for(algorithm).into());
        let token = authority.issue(Login::new("alice")).await.unwrap();
        let published = ask(&JwksEndpoint::new(&authority), Method::GET, None).await;
        let text = std::str::from_utf8(published.body()).unwrap();

        let set = KeySet::from_jwk_set(text).unwrap();
        let ring = KeyRing::new(key()).retiring(set.verifying[0].clone()).unwrap();
        assert_eq!(build(ring.into()).admit(token.as_str()).await.unwrap().subject(), Some("alice"));

        let theirs: JwkSet = serde_json::from_str(text).unwrap();
        assert_eq!(theirs.keys.len(), 1);
        assert_eq!(VerifyingKey::try_from(&theirs.keys[0]).unwrap().algorithm(), algorithm);
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&theirs.keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.into());
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        let claims = jwt::decode(token.as_str(), &decoding, &validation).unwrap().claims;
        assert_eq!(claims["sub"], "alice", "{algorithm:?}");
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let endpoint = JwksEndpoint::new(key_for(Algorithm::ES256)).max_age(Duration::from_secs(60));
    let first = ask(&endpoint, Method::GET, None).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let response = ask(&endpoint, Method::GET, Some(&known)).await;
        assert_eq!(response.status(), 304, "{known}");
        assert!(response.body().is_empty());
        assert_eq!(response.headers()["etag"], tag.as_str());
        assert_eq!(response.headers()["cache-control"], "public, max-age=60");
        assert!(response.headers().get("content-length").is_none());
    }
    for unknown in ["\"other\"", "", tag.trim_matches('"'), "W/*"] {
        assert_eq!(ask(&endpoint, Method::GET, Some(unknown)).await.status(), 200, "{unknown}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let endpoint = JwksEndpoint::new(key_for(Algorithm::ES256));
    let (get, head) = (ask(&endpoint, Method::GET, None).await, ask(&endpoint, Method::HEAD, None).await);
    assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
    assert!(head.body().is_empty());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let response = ask(&endpoint, method, None).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn what_is_published_follows_the_ring() {
    let authority = Authority::builder(key_for(Algorithm::ES256).with_kid("old"))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .build()
        .unwrap();
    let endpoint = JwksEndpoint::new(&authority);
    let before = ask(&endpoint, Method::GET, None).await;
    let tag = before.headers()["etag"].to_str().unwrap().to_owned();
    let new = key_for(Algorithm::EdDSA).with_kid("new");
    let ring = KeyRing::new(new.clone()).retiring(key_for(Algorithm::ES256).with_kid("old")).unwrap();
    authority.replace_keys(ring).unwrap();
    let during = ask(&endpoint, Method::GET, Some(&tag)).await;
    assert_eq!((during.status().as_u16(), kids(&during)), (200, vec!["new".to_owned(), "old".to_owned()]));
    authority.replace_keys(new).unwrap();
    assert_eq!(kids(&ask(&endpoint, Method::GET, None).await), ["new"]);
}

#[tokio::test]
async fn it_is_an_axum_route_and_a_hyper_service() {
    let endpoint = JwksEndpoint::new(key_for(Algorithm::EdDSA));
    let axum = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hyper = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [axum.local_addr().unwrap(), hyper.local_addr().unwrap()];
    let app: axum::Router = axum::Router::new().route_service("/.well-known/jwks.json", endpoint.clone());
    tokio::spawn(async move { axum::serve(axum, app).await.unwrap() });
    tokio::spawn(async move {
        loop {
            let (stream, _) = hyper.accept().await.unwrap();
            let service = TowerToHyperService::new(endpoint.clone());
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await.unwrap();
            });
        }
    });
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for address in addresses {
        let ask = async |method| {
            let uri = format!("http://{address}/.well-known/jwks.json");
            let request = Request::builder().method(method).uri(uri).body(Empty::new()).unwrap();
            let response = client.request(request).await.unwrap();
            let length = response.headers()["content-length"].to_str().unwrap().to_owned();
            (response.status().as_u16(), length, response.into_body().collect().await.unwrap().to_bytes())
        };
        let (status, length, body) = ask(Method::GET).await;
        assert_eq!((status, length), (200, body.len().to_string()));
        assert_eq!(KeySet::from_jwk_set(std::str::from_utf8(&body).unwrap()).unwrap().verifying.len(), 1);
        let (status, length, empty) = ask(Method::HEAD).await;
        assert_eq!((status, length, empty.len()), (200, body.len().to_string(), 0));
        assert_eq!(ask(Method::POST).await.0, 405);
    }
}
