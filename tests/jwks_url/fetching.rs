//! Ways to a JWK set that are not plain: through a proxy, behind a token, compressed, as certificates.

use std::io::Write as _;

use connect_proxy::ConnectProxy;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

#[path = "../support/connect_proxy.rs"]
mod connect_proxy;

#[tokio::test]
async fn a_proxy_tunnels_https_and_can_not_read_it() {
    let server = Server::tls("127.0.0.1", |_, _| ok(set(&["a"]))).await;
    let url = server.url("/jwks.json").replace("127.0.0.1", "localhost");
    let source = || JwksUrl::new(&url).unwrap().root_certificate(AUTHORITY).unwrap();
    let proxy = ConnectProxy::to(server.authority.parse().unwrap(), None).await;
    assert_eq!(kids(&source().proxy(format!("http://{}", proxy.address)).unwrap()).await, ["a"]);
    let port = server.authority.rsplit(':').next().unwrap();
    assert_eq!(proxy.asked(), [format!("CONNECT localhost:{port} HTTP/1.1")]);
    assert_eq!(kids(&source().without_proxy()).await, ["a"]);
    assert_eq!(proxy.asked().len(), 1);

    // Whoever the tunnel leads to has to prove the name.
    let elsewhere = JwksUrl::new("https://keys.example/jwks.json").unwrap().root_certificate(AUTHORITY);
    let elsewhere = elsewhere.unwrap().proxy(format!("http://{}", proxy.address)).unwrap();
    let text = failure(&elsewhere).await;
    assert!(text.contains("certificate"), "{text}");
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_proxy_is_given_its_password_and_no_other() {
    let server = Server::tls("127.0.0.1", |_, _| ok(set(&["a"]))).await;
    let source = || server.source().root_certificate(AUTHORITY).unwrap();
    // alice:s3cret
    let proxy =
        ConnectProxy::to(server.authority.parse().unwrap(), Some("Basic YWxpY2U6czNjcmV0")).await.address;
    assert_eq!(kids(&source().proxy(format!("http://alice:s3cret@{proxy}")).unwrap()).await, ["a"]);
    for url in [format!("http://{proxy}"), format!("http://alice:wrong@{proxy}")] {
        let source = source().proxy(&url).unwrap();
        let text = failure(&source).await;
        assert!(text.contains("proxy authorization required") && !text.contains("wrong"), "{text}");
        assert!(!format!("{source:?}").contains("alice"));
    }
}

#[test]
fn a_proxy_that_is_not_plain_http_is_refused_at_once() {
    for url in ["https://proxy.example:3129", "socks5://proxy.example", "proxy.example:3128", "", "/"] {
        let refused = JwksUrl::new("https://keys.example").unwrap().proxy(url);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("http://host:port") || text.contains("can't be read"), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_fetch_and_sent_to_its_own_origin_alone() {
    let seen = |server: &Server, nth: usize| {
        let (_, headers) = &server.seen.lock().unwrap()[nth];
        headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let server = Server::plain(|_, _| ok(set(&["a"]))).await;
    let source = server.source().bearer_token_file(&file);
    let text = failure(&source).await;
    assert!(text.contains("token") && text.contains("can't be read") && server.hits() == 0, "{text}");
    for (nth, token) in ["one", "two\n"].into_iter().enumerate() {
        std::fs::write(&file, token).unwrap();
        assert_eq!(kids(&source).await, ["a"]);
        assert_eq!(seen(&server, nth), Some(format!("Bearer {}", token.trim())));
    }
    std::fs::write(&file, "\u{feff}three\r\n").unwrap();
    assert_eq!(kids(&source).await, ["a"]);
    assert_eq!(seen(&server, 2).as_deref(), Some("Bearer three"));
    let huge = vec![b'x'; (1 << 20) + 1];
    for broken in [&b"a\r\nx: y"[..], b"\xffx: y", b" \n", &huge] {
        std::fs::write(&file, broken).unwrap();
        let text = failure(&source).await;
        assert!(text.contains("no token to send") && !text.contains("x: y") && text.len() < 1_000, "{text}");
        assert_eq!(server.hits(), 3);
    }

    // An issuer's configuration can't lead it to another origin.
    let keys = Server::plain(|_, _| ok(set(&["a"]))).await;
    let jwks_uri = keys.url("/jwks.json");
    let issuer = Server::plain(move |request, _| {
        let issuer = format!("http://{}", request.headers()["host"].to_str().unwrap());
        ok(json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string())
    })
    .await;
    let source = JwksUrl::discover(issuer.url("")).unwrap().bearer_token("secret");
    assert_eq!(kids(&source).await, ["a"]);
    assert_eq!((seen(&issuer, 0).as_deref(), seen(&keys, 0)), (Some("Bearer secret"), None));
    assert!(!format!("{source:?}").contains("secret"));

    let in_the_clear = JwksUrl::dangerous().plain_http("http://keys.example/jwks.json").unwrap();
    let text = failure(&in_the_clear.bearer_token("secret")).await;
    assert!(text.contains("in the clear") && !text.contains("secret"), "{text}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_answer_is_read_within_its_bound() {
    let text = set(&["a"]);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(text.as_bytes()).unwrap();
    let deflated = zlib.finish().unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
    bare.write_all(text.as_bytes()).unwrap();
    let serve = async |coding: Option<&'static str>, bytes: Vec<u8>| {
        Server::plain(move |_, _| {
            let mut response = ok(bytes.clone());
            if let Some(coding) = coding {
                response.headers_mut().insert("content-encoding", coding.parse().unwrap());
            }
            response
        })
        .await
    };
    for (coding, bytes) in [
        (Some("gzip"), gzip(text.as_bytes())),
        (Some("X-GZIP"), gzip(text.as_bytes())),
        // Some send it and do not say so.
        (None, gzip(text.as_bytes())),
        (Some("deflate"), deflated.clone()),
        (Some("deflate"), bare.finish().unwrap()),
    ] {
        let server = serve(coding, bytes).await;
        assert_eq!(kids(&server.source()).await, ["a"], "{coding:?}");
    }
    // A megabyte of blanks is a kilobyte of gzip.
    let bomb = gzip(&[b' '; 1 << 20]);
    assert!(bomb.len() < 2_000);
    let server = serve(Some("gzip"), bomb).await;
    let error = failure(&server.source()).await;
    assert!(error.contains("more than 262144 bytes"), "{error}");
    let exact = gzip(text.as_bytes());
    let server = serve(Some("gzip"), exact).await;
    assert_eq!(kids(&server.source().max_bytes(text.len())).await, ["a"]);
    failure(&server.source().max_bytes(text.len() - 1)).await;
    for (coding, bytes, says) in [
        (Some("gzip"), gzip(text.as_bytes())[..20].to_vec(), "broke off"),
        (Some("deflate"), deflated[..20].to_vec(), "broke off"),
        (Some("deflate"), b"\xff\xff\xff".to_vec(), "and its body is not"),
        (Some("br"), text.clone().into_bytes(), "`Content-Encoding` is \"br\""),
        (Some("utf-8"), text.clone().into_bytes(), "`Content-Encoding` is \"utf-8\""),
        (Some("gzip, gzip"), gzip(&gzip(text.as_bytes())), "`Content-Encoding` is \"gzip, gzip\""),
        (Some("gzip"), text.clone().into_bytes(), "`Content-Encoding` is \"gzip\", and its body is not"),
        (Some("X-Gzip"), Vec::new(), "`Content-Encoding` is \"x-gzip\", and its body is not"),
        (
            Some("deflate"),
            text.clone().into_bytes(),
            "`Content-Encoding` is \"deflate\", and its body is not",
        ),
        (Some("deflate"), Vec::new(), "`Content-Encoding` is \"deflate\", and its body is not"),
    ] {
        let server = serve(coding, bytes).await;
        let error = failure(&server.source()).await;
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn certificates_by_kid_are_keys_where_they_were_asked_for() {
    let pem = include_str!("../keys/p256.certificate.pem");
    let map = json!({ "k1": pem, "k2": pem, "bad": "-----BEGIN CERTIFICATE-----" }).to_string();
    let server = Server::plain(move |request, _| match request.uri().path() {
        "/certificates" => ok(map.clone()),
        "/none" => ok("{}"),
        "/many" => {
            let map: serde_json::Map<_, _> = (0..257).map(|n| (n.to_string(), json!(pem))).collect();
            ok(Value::from(map).to_string())
        }
        _ => ok(r#"{"keys":[]}"#),
    })
    .await;
    let at = |path| JwksUrl::certificates(server.url(path), Algorithm::ES256).unwrap();
    let set = at("/certificates").load().await.unwrap();
    let kids: Vec<_> = set.verifying.iter().map(|key| key.kid()).collect();
    assert_eq!((kids, set.skipped.len()), (vec!["k1", "k2"], 1));
    assert!(set.skipped[0].to_string().contains("bad"), "{}", set.skipped[0]);
    let none = at("/none").load().await.unwrap();
    assert!(none.verifying.is_empty() && none.skipped.is_empty());
    assert!(failure(&at("/many")).await.contains("256"));
    assert!(failure(&at("/jwks")).await.contains("certificates in PEM by `kid`"));
    // Not asked for, it is no set, and the error says how to ask.
    let plain = JwksUrl::new(server.url("/certificates")).unwrap();
    assert!(failure(&plain).await.contains("`JwksUrl::certificates`"));
    // What is wrong with one is told, and the others serve.
    let long = "k".repeat(257);
    for (body, found, says) in [
        (json!({ "k1": pem, &long: pem }).to_string(), 1, "257 bytes"),
        (json!({ "k1": pem, "k2": 7 }).to_string(), 1, "k2"),
        (json!({ "k1": pem, "k2": [pem] }).to_string(), 1, "k2"),
    ] {
        let server = Server::plain(move |_, _| ok(body.clone())).await;
        let set = JwksUrl::certificates(server.url("/"), Algorithm::ES256).unwrap().load().await.unwrap();
        assert_eq!((set.verifying.len(), set.skipped.len()), (found, 1), "{says}");
        let skipped = set.skipped[0].to_string();
        assert!(skipped.contains(says) && skipped.len() < 500, "{skipped}");
    }
    // Another party's text is not quoted, and nothing of it is dropped in silence.
    let many = |good: &str, bad: usize| {
        let one = |n: usize| (n.to_string(), json!(if n < bad { "x" } else { good }));
        Value::from((0..300).map(one).collect::<serde_json::Map<_, _>>()).to_string()
    };
    let twice = format!(r#"{{"k1":{0},"k1":{0}}}"#, json!(pem));
    for (body, says) in [
        (many(pem, 0), "300 certificates"),
        (many(pem, 1), "300 certificates"),
        (many("x", 300), "300 certificates"),
        (twice, "is repeated"),
        (json!("A".repeat(100_000)).to_string(), "certificates in PEM by `kid`"),
        (json!(["A".repeat(100_000)]).to_string(), "certificates in PEM by `kid`"),
        (format!(r#"{{"k1":{}}}"#, json!({ "x": "A".repeat(100_000) })), "k1"),
        ("A".repeat(100_000), "certificates in PEM by `kid`"),
        (String::new(), "it is empty"),
        ("<html>".to_owned(), "it is HTML"),
        (super::set(&["a"]), "`JwksUrl::new`"),
    ] {
        let server = Server::plain(move |_, _| ok(body.clone())).await;
        let text = failure(&JwksUrl::certificates(server.url("/"), Algorithm::ES256).unwrap()).await;
        assert!(text.contains(says) && text.len() < 1_000 && !text.contains("AAAA"), "{says}: {text}");
    }
    // The wrong algorithm is no key at all.
    let wrong = JwksUrl::certificates(server.url("/certificates"), Algorithm::RS256).unwrap();
    failure(&wrong).await;
}

/// A byte order mark is no part of a text, whatever the text is.
#[tokio::test]
async fn a_byte_order_mark_is_dropped_from_every_answer() {
    let pem = include_str!("../keys/p256.certificate.pem");
    let server = Server::plain(move |request, _| {
        let base = format!("http://{}", request.headers()["host"].to_str().unwrap());
        let text = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }).to_string()
            }
            "/certificates" => json!({ "a": pem }).to_string(),
            _ => set(&["a"]),
        };
        let marked = format!("\u{feff}{text}");
        match request.uri().query() {
            None => ok(marked),
            Some(_) => {
                let mut response = ok(gzip(marked.as_bytes()));
                response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
                response
            }
        }
    })
    .await;
    for source in [
        JwksUrl::new(server.url("/keys")).unwrap(),
        JwksUrl::new(server.url("/keys?gzip")).unwrap(),
        JwksUrl::discover(server.url("")).unwrap(),
        JwksUrl::certificates(server.url("/certificates"), Algorithm::ES256).unwrap(),
        JwksUrl::certificates(server.url("/certificates?gzip"), Algorithm::ES256).unwrap(),
    ] {
        assert_eq!(kids(&source).await, ["a"], "{source:?}");
    }
}
