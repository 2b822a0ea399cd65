//! `rediss://`, and what is said of a server that can't be used.
#![cfg(feature = "redis-tls")]

use std::time::Instant;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("../keys/tls/authority.pem");
const CLIENT: (&[u8], &[u8]) =
    (include_bytes!("../keys/tls/client.pem"), include_bytes!("../keys/tls/client.key.pem"));

fn key(name: &str) -> String {
    format!("{}/tests/keys/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

/// As an application does, at the start of `main`.
fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn start(tls_port: u16, clients: &str) -> RedisServer {
    RedisServer::start(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &key("server"),
        "--tls-key-file",
        &key("server.key"),
        "--tls-ca-cert-file",
        &key("client"),
        "--tls-auth-clients",
        clients,
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_it_keeps_every_promise() {
    install_provider();
    let port = servers::free_port();
    let _server = start(port, "no");
    let url = format!("rediss://127.0.0.1:{port}");
    let connect = || RedisStore::connect(&url).root_certificate(AUTHORITY);
    let store = connect().await.unwrap();
    conformance::all(&store).await;
    // The feed has a connection of its own.
    let hearing = Cached::new(connect().await.unwrap()).for_at_most(Duration::from_secs(60));
    let hearing = hearing.hearing_revocations().await.unwrap();
    let scene = Scene::new(1);
    assert_eq!(scene.sign_in(&store).await, Rotated::Recorded);
    assert_eq!(hearing.standing(&scene.presents(0)).await.unwrap(), Standing::Live);
    scene.revoke(&store).await;
    refuses_within(&hearing, &scene.presents(0), Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_reached_over_tls() {
    install_provider();
    let ports = [(); 3].map(|()| servers::free_port());
    let cluster = RedisCluster::over_tls(&ports, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/tls"));
    let urls = ports.map(|port| format!("rediss://127.0.0.1:{port}"));
    let store = RedisStore::connect_cluster(urls).root_certificate(AUTHORITY).await.unwrap();
    for n in 0..10 {
        let scene = Scene::new(n);
        assert_eq!(scene.sign_in(&store).await, Rotated::Recorded);
        scene.revoke(&store).await;
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
    }
    assert!(cluster.0.iter().all(|node| node.calls("hset") > 0));
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_is_shown_it() {
    install_provider();
    let port = servers::free_port();
    let _server = start(port, "yes");
    let connect = || RedisStore::connect(format!("rediss://127.0.0.1:{port}")).root_certificate(AUTHORITY);
    connect().client_certificate(CLIENT.0, CLIENT.1).await.unwrap();
    connect().await.unwrap_err();
}

/// The port of a server that answers every connection as HTTP does what it can't read.
async fn web_server() -> u16 {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(client);
            });
        }
    });
    port
}

/// Of each: who must act, and the words that tell what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_used_is_told_with_cause_and_remedy() {
    use StoreErrorKind::{Misconfigured, Timeout, Unavailable};
    install_provider();
    let (nobody, tls_port) = (servers::free_port(), servers::free_port());
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let open = start(tls_port, "no");
    let cluster = RedisCluster::start();
    let web = web_server().await;
    let connect =
        |url: &str| RedisStore::connect(url.replace("SERVER", &format!("127.0.0.1:{}", server.port())));
    let tls = format!("rediss://127.0.0.1:{tls_port}");
    let refused = format!("127.0.0.1:{nobody}: Connection refused");
    let plain = format!("redis://127.0.0.1:{tls_port}");
    for (connect, kind, told) in [
        (connect(&format!("redis://127.0.0.1:{nobody}")), Unavailable, &*refused),
        (
            RedisStore::connect_cluster([format!("redis://127.0.0.1:{nobody}")]),
            Unavailable,
            "Connection refused",
        ),
        (connect("redis://SERVER"), Misconfigured, "needs the password"),
        (connect("redis://:hunter3@SERVER"), Misconfigured, "refuses the URL's user and password"),
        (connect("redis://hunter2@SERVER"), Misconfigured, "no password"),
        (connect("redis://:hunter2@SERVER/hunter2"), Misconfigured, "database"),
        (connect("redis://:hunter2/@SERVER"), Misconfigured, "percent-encoded"),
        (connect("rediss://:hunter2@SERVER").root_certificate(AUTHORITY), Timeout, "not speak TLS"),
        (connect(&plain), Unavailable, "use a `rediss://` URL"),
        (connect(&format!("redis://127.0.0.1:{web}")), Misconfigured, "does not speak Redis's protocol"),
        (connect(&tls).root_certificate(CLIENT.0), Misconfigured, "`root_certificate`"),
        (connect(&tls).root_certificate("no PEM"), Misconfigured, "root certificate is not a PEM"),
        (connect(&tls).client_certificate(CLIENT.0, "no PEM"), Misconfigured, "private key"),
        (connect(&open.url()).root_certificate(AUTHORITY), Misconfigured, "`rediss://`"),
        (RedisStore::connect_cluster([tls.clone(), open.url()]), Misconfigured, "some of the Redis URLs"),
        (RedisStore::connect_cluster(Vec::<String>::new()), Misconfigured, "no Redis URL"),
        (RedisStore::connect_cluster([open.url()]), Misconfigured, "use `RedisStore::connect`"),
        (connect(&cluster.urls()[0]), Misconfigured, "use `RedisStore::connect_cluster`"),
    ] {
        let began = Instant::now();
        let printed = format!("{connect:?}");
        let error = connect.await.expect_err(told);
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains(told), "{told}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        let debug = format!("{printed} {error:?}");
        assert!(!text.contains("hunter") && !debug.contains("hunter"), "{text} {debug}");
        assert!(began.elapsed() < Duration::from_secs(5), "{text}: after {:?}", began.elapsed());
    }
}
