//! `JwksUrl` against real servers on loopback: well-behaved, slow, dead, wrong, huge, rotating.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/eventually.rs"]
mod eventually;
mod fetching;
mod issuers;

use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_reissue::keys::{Algorithm, JwksUrl, KeyErrorKind, KeySource, SigningKey, VerifyingKey};

const AUTHORITY: &[u8] = include_bytes!("../keys/tls/authority.pem");

type Body = BoxBody<Bytes, Infallible>;

/// A server on loopback that answers by a function of the request and its number, and remembers what it was sent.
struct Server {
    authority: String,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    accepting: tokio::task::AbortHandle,
}

impl Server {
    async fn plain(
        answer: impl Fn(&Request<Incoming>, usize) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::start("127.0.0.1", None, answer).await
    }

    async fn tls(
        address: &str,
        answer: impl Fn(&Request<Incoming>, usize) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_slice_iter(include_bytes!("../keys/tls/server.pem"));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../keys/tls/server.key.pem")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        Self::start(address, Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    async fn start(
        address: &str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Request<Incoming>, usize) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log, tls) = (answer.clone(), log.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let number = {
                            let mut log = log.lock().unwrap();
                            log.push((request.uri().to_string(), request.headers().clone()));
                            log.len()
                        };
                        let response = answer(&request, number);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    match tls {
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                        None => {
                            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self { authority, scheme, seen, accepting: accepting.abort_handle() }
    }

    /// Closes its port.
    async fn die(&self) {
        self.accepting.abort();
        while tokio::net::TcpStream::connect(&self.authority).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority)
    }

    fn source(&self) -> JwksUrl {
        JwksUrl::new(self.url("/jwks.json")).unwrap()
    }

    fn hits(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

fn ok(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(full(text))
}

fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(full("")).unwrap()
}

fn key(kid: &str) -> Value {
    let key = VerifyingKey::from_pem(Algorithm::ES256, include_bytes!("../keys/p256.public.pem")).unwrap();
    serde_json::from_str(&key.with_kid(kid).to_jwk().unwrap()).unwrap()
}

fn set(kids: &[&str]) -> String {
    json!({ "keys": kids.iter().map(|kid| key(kid)).collect::<Vec<_>>() }).to_string()
}

async fn kids(source: &JwksUrl) -> Vec<String> {
    let set = source.load().await.unwrap();
    set.verifying.iter().map(|key| key.kid().to_owned()).collect()
}

/// The whole chain of an error, on one line.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

async fn failure(source: &JwksUrl) -> String {
    let error = source.load().await.unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unavailable);
    told(&error)
}

#[tokio::test]
async fn a_set_is_loaded_with_nothing_said_but_what_is_wanted() {
    let server = Server::plain(|_, _| ok(set(&["a", "b"]))).await;
    let source = JwksUrl::new(server.url("/keys?policy=1")).unwrap();
    let set = source.load().await.unwrap();
    assert_eq!(set.verifying.iter().map(|key| key.kid()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(set.signing.is_none() && set.skipped.is_empty() && set.fresh_for.is_none());

    let seen = server.seen.lock().unwrap();
    let (path, headers) = &seen[0];
    assert_eq!(path, "/keys?policy=1");
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    assert_eq!(headers["accept-encoding"], "identity");
    assert_eq!(headers["user-agent"], concat!("tower-reissue/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn tls_is_checked_against_the_roots_given() {
    let server = Server::tls("127.0.0.1", |_, _| ok(set(&["a"]))).await;
    let trusting = || server.source().root_certificate(AUTHORITY).unwrap();
    assert_eq!(kids(&trusting()).await, ["a"]);

    let by_name = server.url("/jwks.json").replace("127.0.0.1", "localhost");
    assert_eq!(kids(&JwksUrl::new(by_name).unwrap().root_certificate(AUTHORITY).unwrap()).await, ["a"]);

    let text = failure(&server.source()).await;
    assert!(text.contains("certificate") || text.contains("root"), "{text}");

    // The certificate is for 127.0.0.1 and localhost.
    let misnamed = Server::tls("127.0.0.2", |_, _| ok(set(&["a"]))).await;
    let text = failure(&misnamed.source().root_certificate(AUTHORITY).unwrap()).await;
    assert!(text.contains("certificate"), "{text}");

    let not_tls = Server::plain(|_, _| ok(set(&["a"]))).await;
    let url = not_tls.url("/").replace("http:", "https:");
    failure(&JwksUrl::new(url).unwrap().root_certificate(AUTHORITY).unwrap()).await;
    assert_eq!(not_tls.hits(), 0);
}

#[tokio::test]
async fn what_is_unchanged_is_not_sent_again() {
    let server = Server::plain(|request, number| {
        let known = request.headers().get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
        match (number, known.as_deref()) {
            (1, None) => Response::builder().header("etag", "\"one\"").body(full(set(&["a"]))).unwrap(),
            (2, Some("\"one\"")) => {
                Response::builder().status(304).header("cache-control", "max-age=600").body(full("")).unwrap()
            }
            (3, Some("\"one\"")) => {
                Response::builder().header("etag", "W/\"two\"").body(full(set(&["b"]))).unwrap()
            }
            (4, Some("W/\"two\"")) => status(304),
            (5, Some("W/\"two\"")) => status(500),
            // A failure forgets nothing; an answer without a tag does.
            (6, Some("W/\"two\"")) => ok(set(&["c"])),
            (7, None) => status(304),
            unexpected => panic!("{unexpected:?}"),
        }
    })
    .await;
    let source = server.source();
    assert_eq!(kids(&source).await, ["a"]);
    let unchanged = source.load().await.unwrap();
    assert_eq!(unchanged.verifying[0].kid(), "a");
    assert_eq!(unchanged.fresh_for, Some(Duration::from_secs(600)));
    assert_eq!(kids(&source).await, ["b"]);
    let unchanged = source.load().await.unwrap();
    assert_eq!((unchanged.verifying[0].kid(), unchanged.fresh_for), ("b", None));
    failure(&source).await;
    assert_eq!(kids(&source).await, ["c"]);
    let text = failure(&source).await;
    assert!(text.contains("304"), "{text}");
}

#[tokio::test]
async fn caching_headers_say_how_long_it_is_fresh() {
    let server = Server::plain(|_, _| {
        Response::builder().header("cache-control", "public, max-age=900").body(full(set(&["a"]))).unwrap()
    })
    .await;
    assert_eq!(server.source().load().await.unwrap().fresh_for, Some(Duration::from_secs(900)));
}

#[tokio::test]
async fn a_slow_server_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = JwksUrl::new(format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let trickling = Server::plain(|_, _| {
        let (drops, received) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while drops.send(Ok(Frame::data(Bytes::from_static(b" ")))).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(received));
        Response::new(BodyExt::boxed(body))
    })
    .await;
    for source in [silent, trickling.source()] {
        let begun = Instant::now();
        let text = failure(&source.timeout(Duration::from_millis(200))).await;
        assert!(text.contains("within 200ms"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_dead_port_is_an_error_with_its_source() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let text = failure(&JwksUrl::new(format!("http://{address}/keys?token=hidden")).unwrap()).await;
    assert!(text.contains(&format!("http://{address}/keys: no connection")), "{text}");
    assert!(text.contains("refused") && !text.contains("hidden"), "{text}");
}

#[tokio::test]
async fn only_a_200_counts() {
    for code in [201, 202, 203, 204, 206, 400, 401, 403, 404, 429, 500, 503] {
        let server = Server::plain(move |_, _| {
            Response::builder()
                .status(code)
                .body(full(if code == 204 { String::new() } else { set(&["a"]) }))
                .unwrap()
        })
        .await;
        let text = failure(&server.source()).await;
        assert!(text.contains(&code.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::plain(|_, _| ok(set(&["evil"]))).await;
    for code in [301, 302, 303, 307, 308] {
        let to = target.url("/");
        let server = Server::plain(move |_, _| {
            Response::builder().status(code).header("location", &to).body(full(set(&["evil"]))).unwrap()
        })
        .await;
        let text = failure(&server.source()).await;
        assert!(text.contains("redirects are not followed"), "{text}");
        assert_eq!(server.hits(), 1);
    }
    assert_eq!(target.hits(), 0);
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let announced = Server::plain(|_, _| ok(vec![b' '; 300 * 1024])).await;
    let text = failure(&announced.source()).await;
    assert!(text.contains("more than 262144 bytes"), "{text}");

    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let endless = Server::plain(move |_, _| {
        let counter = counter.clone();
        let chunks = tokio_stream::iter((0..).map(move |_| {
            counter.fetch_add(16 * 1024, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&[b' '; 16 * 1024])))
        }));
        Response::new(BodyExt::boxed(StreamBody::new(chunks)))
    })
    .await;
    let text = failure(&endless.source().max_bytes(64 * 1024)).await;
    assert!(text.contains("more than 65536 bytes"), "{text}");
    // What the sockets buffer is a few megabytes; then the connection is closed and the server stops.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent_by_then = sent.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sent.load(Ordering::SeqCst), sent_by_then, "the server is still sending");

    // At the limit to the byte is within it.
    let exact = set(&["a"]);
    let limit = exact.len();
    let server = Server::plain(move |_, _| ok(exact.clone())).await;
    assert!(server.source().max_bytes(limit).load().await.is_ok());
    assert!(server.source().max_bytes(limit - 1).load().await.is_err());
}

#[tokio::test]
async fn what_is_no_set_of_usable_keys_is_an_error() {
    let mut encryption = key("a");
    encryption["use"] = "enc".into();
    let secret =
        json!({"kty": "oct", "alg": "HS256", "kid": "s", "k": "-ebuDNsVZ2iJtoZ-akfXTSCt4UO2cruLCsbWlBinggE"});
    for body in [
        Bytes::new(),
        Bytes::from_static(b"<html>Sign in</html>"),
        Bytes::from_static(b"\xff\xfe"),
        "[]".into(),
        "{}".into(),
        r#"{"keys":{}}"#.into(),
        r#"{"keys":[1]}"#.into(),
        key("bare").to_string().into(),
        format!("{} trailing", set(&["a"])).into(),
        json!({ "keys": [encryption] }).to_string().into(),
        json!({ "keys": [secret] }).to_string().into(),
        json!({ "keys": [secret, key("a")] }).to_string().into(),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let server = Server::plain(move |_, _| ok(body.clone())).await;
        let told = failure(&server.source()).await;
        assert!(told.contains(&server.url("/jwks.json")), "{text}: {told}");
        assert!(!told.contains("-ebuDNsVZ2iJ"), "{told}");
    }
}

#[tokio::test]
async fn what_an_answer_is_in_place_of_a_set_is_named() {
    let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    for (coding, body, says) in [
        (None, &b"<!DOCTYPE html><title>Sign in</title>"[..], "it is HTML"),
        (None, b"", "it is empty"),
        (None, br#"{"issuer":"x","jwks_uri":"https://login.example/keys"}"#, "`JwksUrl::discover`"),
        (None, br#"{"k1":"-----BEGIN CERTIFICATE-----"}"#, "`JwksUrl::certificates`"),
        (None, gzip, "broke off"),
        (Some("gzip"), gzip, "broke off"),
        (Some("br"), b"\x0b", "`Content-Encoding` is \"br\""),
        (None, include_bytes!("../cases/set.entra.json"), "assume_algorithm"),
        (None, include_bytes!("../cases/set.numeric_kid.json"), "its `kid` is a number"),
    ] {
        let server = Server::plain(move |_, _| {
            let mut response = ok(body);
            if let Some(coding) = coding {
                response.headers_mut().insert("content-encoding", coding.parse().unwrap());
            }
            response
        })
        .await;
        let error = server.source().load().await.unwrap_err();
        // The cause stands in the error's own text.
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let server = Server::plain(|_, _| {
        let mut response = ok(&include_bytes!("../cases/set.bom.json")[..]);
        response.headers_mut().insert("content-encoding", "identity".parse().unwrap());
        response
    })
    .await;
    assert_eq!(kids(&server.source()).await, ["k-1"]);
}

#[tokio::test]
async fn an_issuers_keys_in_place_of_own_ones_are_pointed_to_where_they_belong() {
    let server = Server::plain(|_, _| ok(set(&["a"]))).await;
    let refused = tower_reissue::keys::KeyRotation::new(server.source()).start().await.unwrap_err();
    assert!(refused.to_string().contains("`KeyRotation::trust(issuer, source)`"), "{refused}");
}

#[tokio::test]
async fn one_bad_key_is_skipped_and_the_others_serve() {
    let mut bad = key("bad");
    bad["y"] = bad["x"].clone();
    let body =
        json!({ "keys": [key("a"), bad, {"kty": "new", "kid": "post-quantum"}, key("b")] }).to_string();
    let server = Server::plain(move |_, _| ok(body.clone())).await;
    let set = server.source().load().await.unwrap();
    assert_eq!(set.verifying.iter().map(|key| key.kid()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(set.skipped.len(), 2);
    assert!(set.skipped[0].to_string().contains("bad"), "{}", set.skipped[0]);
}

#[tokio::test]
async fn each_load_sees_the_keys_of_that_moment() {
    let server = Server::plain(|_, number| match number {
        1 => ok(set(&["old"])),
        2 => ok(set(&["old", "new"])),
        _ => ok(set(&["new"])),
    })
    .await;
    let source = server.source();
    assert_eq!(kids(&source).await, ["old"]);
    assert_eq!(kids(&source).await, ["old", "new"]);
    assert_eq!(kids(&source).await, ["new"]);
}

#[tokio::test]
async fn a_key_without_alg_can_be_taken_for_the_assumed_algorithm() {
    let rsa = VerifyingKey::from_pem(Algorithm::RS256, include_bytes!("../keys/rsa2048.public.pem")).unwrap();
    let mut rsa: Value = serde_json::from_str(&rsa.with_kid("rsa").to_jwk().unwrap()).unwrap();
    rsa.as_object_mut().unwrap().remove("alg");
    let mut p256 = key("p256");
    p256.as_object_mut().unwrap().remove("alg");
    let mut named = rsa.clone();
    (named["alg"], named["kid"]) = ("PS256".into(), "named".into());
    let body = json!({ "keys": [rsa, p256, named] }).to_string();
    let server = Server::plain(move |_, _| ok(body.clone())).await;

    assert_eq!(kids(&server.source()).await, ["p256", "named"]);
    let set = server.source().assume_algorithm(Algorithm::RS384).load().await.unwrap();
    let found: Vec<_> = set.verifying.iter().map(|key| (key.kid(), key.algorithm())).collect();
    let expected = [("rsa", Algorithm::RS384), ("p256", Algorithm::ES256), ("named", Algorithm::PS256)];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_issuers_configuration_leads_to_its_keys() {
    let server = Server::plain(|request, _| {
        let host = request.headers()["host"].to_str().unwrap();
        let configuration = |issuer: &str, jwks_uri: &str| {
            ok(json!({ "issuer": issuer, "jwks_uri": jwks_uri, "more": [1] }).to_string())
        };
        let base = format!("http://{host}");
        match request.uri().path() {
            "/a/.well-known/openid-configuration" => {
                configuration(&format!("{base}/a"), &format!("{base}/a/keys"))
            }
            "/a/keys" => ok(set(&["a"])),
            "/other/.well-known/openid-configuration" => {
                configuration(&format!("{base}/a"), &format!("{base}/a/keys"))
            }
            "/plain/.well-known/openid-configuration" => {
                configuration(&format!("{base}/plain"), "http://login.example/keys")
            }
            "/empty/.well-known/openid-configuration" => ok("{}"),
            "/nameless/.well-known/openid-configuration" => ok(r#"{"jwks_uri":"https://login.example"}"#),
            "/keyless/.well-known/openid-configuration" => ok(r#"{"issuer":"https://login.example"}"#),
            "/string/.well-known/openid-configuration" => ok(json!("A".repeat(100_000)).to_string()),
            "/typed/.well-known/openid-configuration" => {
                ok(json!({ "issuer": ["A".repeat(100_000)], "jwks_uri": "A".repeat(100_000) }).to_string())
            }
            "/page/.well-known/openid-configuration" => ok("<html>Sign in</html>"),
            "/down/.well-known/openid-configuration" => status(503),
            // RFC 8414 §3.1 and §5: the issuer's path comes last.
            "/.well-known/oauth-authorization-server/oauth/b" => {
                configuration(&format!("{base}/oauth/b"), &format!("{base}/a/keys"))
            }
            "/.well-known/openid-configuration/oauth/c" => {
                configuration(&format!("{base}/oauth/c"), &format!("{base}/a/keys"))
            }
            "/.well-known/oauth-authorization-server/down" => {
                configuration(&format!("{base}/down"), &format!("{base}/a/keys"))
            }
            _ => status(404),
        }
    })
    .await;
    let discover = |path| JwksUrl::discover(server.url(path)).unwrap();
    for path in ["/a", "/oauth/b", "/oauth/c"] {
        assert_eq!(kids(&discover(path)).await, ["a"], "{path}");
    }
    let both = failure(&discover("/other")).await;
    assert!(both.contains(&server.url("/a\"")) && both.contains(&server.url("/other\"")), "{both}");
    assert!(discover("/a").describe().contains("openid-configuration"));
    for (path, says) in [
        // The issuer has to be the same to the letter, a slash included.
        ("/a/", "equal to the letter"),
        ("/other", "equal to the letter"),
        ("/plain", "not an https URL"),
        ("/empty", "it has no `issuer`"),
        ("/nameless", "it has no `issuer`"),
        ("/keyless", "it has no `jwks_uri`"),
        ("/string", "not an OpenID configuration"),
        ("/typed", "not an OpenID configuration"),
        ("/page", "it is HTML"),
        ("/gone", "404"),
        // An outage is no reason to look elsewhere.
        ("/down", "503"),
    ] {
        let text = failure(&discover(path)).await;
        // It quotes no more of the answer than the issuer.
        assert!(text.contains(says) && text.len() < 2_000, "{path}: {text}");
    }
    assert!(JwksUrl::discover("https://login.example/?tenant=1").is_err());
}

#[test]
fn only_https_and_loopback_urls_are_taken() {
    for url in [
        "https://login.example/jwks.json",
        "https://login.example:8443/keys?v=2",
        "http://127.0.0.1:9/x",
        "http://127.8.0.1/x",
        "http://[::1]:9/",
        "http://localhost/",
    ] {
        assert!(JwksUrl::new(url).is_ok(), "{url}");
    }
    for (url, says) in [
        ("http://login.example/jwks.json?key=hidden", "http://login.example/jwks.json is not an https URL"),
        ("http://10.0.0.1/", "not an https URL"),
        ("http://127.0.0.1.example/", "not an https URL"),
        ("http://localhost.example/", "not an https URL"),
        ("ftp://login.example/", "not an https URL"),
        ("file:///etc/passwd", "URL"),
        ("https://user:hidden@login.example/", "password"),
        ("/jwks.json", "not absolute"),
        ("login.example", "not an https URL"),
        ("login.example/jwks.json", "begins with https://"),
        ("", "begins with https://"),
    ] {
        let text = told(&JwksUrl::new(url).unwrap_err());
        assert!(text.contains(says) && !text.contains("hidden"), "{url}: {text}");
    }
    for refused in [JwksUrl::new("http://login.example/"), JwksUrl::discover("http://login.example/")] {
        let text = told(&refused.unwrap_err());
        assert!(text.contains("dangerous().plain_http(") && text.contains("discover_plain_http("), "{text}");
    }
    assert!(JwksUrl::dangerous().plain_http("http://login.example/").is_ok());
    assert!(JwksUrl::dangerous().discover_plain_http("http://login.example/realms/x").is_ok());
    assert!(JwksUrl::dangerous().discover_plain_http("http://login.example/?a").is_err());
    assert!(JwksUrl::dangerous().plain_http("ftp://login.example/").is_err());
}

#[test]
fn a_root_certificate_that_is_none_is_refused_at_once() {
    let source = || JwksUrl::new("https://login.example/").unwrap();
    for pem in [&b""[..], b"nothing", include_bytes!("../keys/p256.public.pem")] {
        assert_eq!(source().root_certificate(pem).unwrap_err().kind(), KeyErrorKind::Malformed);
    }
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(source().root_certificate(junk).is_err());
    assert!(source().root_certificate(AUTHORITY).is_ok());
}

#[test]
fn it_prints_its_url_without_the_query() {
    let source = JwksUrl::new("https://login.example/keys?key=hidden").unwrap();
    assert_eq!(source.describe(), "the JWK set at https://login.example/keys");
    assert_eq!(format!("{source:?}"), "JwksUrl(\"the JWK set at https://login.example/keys\")");
}

#[tokio::test]
async fn no_crypto_provider_is_installed_for_the_process() {
    let server = Server::tls("127.0.0.1", |_, _| ok(set(&["a"]))).await;
    assert_eq!(kids(&server.source().root_certificate(AUTHORITY).unwrap()).await, ["a"]);
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn what_our_endpoint_publishes_is_what_is_loaded() {
    use tower::ServiceExt;
    let signing = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let endpoint = tower_reissue::JwksEndpoint::new(signing.clone());
    let published = endpoint.oneshot(Request::new(())).await.unwrap();
    assert_eq!(published.status(), StatusCode::OK);
    let body = published.into_body().collect().await.unwrap().to_bytes();
    let server = Server::plain(move |_, _| ok(body.clone())).await;
    assert_eq!(kids(&server.source()).await, [signing.kid()]);
}

#[tokio::test]
async fn a_set_of_too_many_keys_is_an_error_and_a_kid_that_is_no_name_is_skipped() {
    let many: Vec<String> = (0..300).map(|n| format!("k{n}")).collect();
    let many = set(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Server::plain(move |_, _| ok(many.clone())).await;
    let text = failure(&server.source()).await;
    assert!(text.contains("300 keys"), "{text}");

    let long = "k".repeat(10_000);
    let body = set(&["a", &long]);
    let server = Server::plain(move |_, _| ok(body.clone())).await;
    let set = server.source().load().await.unwrap();
    assert_eq!((set.verifying[0].kid(), set.verifying.len()), ("a", 1));
    assert!(set.skipped[0].to_string().contains("10000 bytes"), "{}", set.skipped[0]);
}
