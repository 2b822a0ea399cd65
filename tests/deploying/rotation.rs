//! The secret is replaced under load, on two nodes that see the change at different times.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::{Layer as _, service_fn};
use tower_reissue::settings::{Langflow, Settings};
use tower_reissue::{Authority, Login, ReissueLayer};

use super::cluster::{Cluster, Container};
use super::manifests::{airflow, document};
use super::page::block;
use super::support::guarded::header;
use super::{PREVIOUS, RSA, RSA_PUBLIC, SECRET, filled};

const ROTATION: &str = "Rotation";
/// In place of the manifest's three minutes.
const DELAY: Duration = Duration::from_secs(5);
/// How much later the second node sees the change.
const LAG: Duration = Duration::from_millis(1500);

struct Node {
    container: Container,
    authority: Authority,
    address: SocketAddr,
}

impl Node {
    /// A server of the manifest's Deployment, which reads its files more often than every 10 s.
    async fn start(cluster: &Cluster, delay: Duration) -> Self {
        let mut container = cluster.start(&document(ROTATION, "orders.yaml"));
        let delayed =
            container.variables.iter_mut().find(|(name, _)| name.ends_with("ACTIVATION_DELAY")).unwrap();
        assert_eq!(delayed.1, "3m");
        delayed.1 = format!("{}ms", delay.as_millis());
        container.variables.push(("ORDERS__ROTATION__RELOAD_EVERY".to_owned(), "100ms".to_owned()));
        let authority = airflow(&container).await.unwrap();
        let handler =
            service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
        let service = ReissueLayer::new(authority.clone()).layer(handler);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(connection), service));
            }
        });
        Self { container, authority, address }
    }

    fn sync(&self, cluster: &Cluster) {
        self.container.volumes.iter().for_each(|volume| cluster.sync(volume));
    }

    async fn token(&self) -> String {
        self.authority.issue(Login::new("task-1")).await.unwrap().into_string()
    }
}

async fn status(client: &Client<HttpConnector, Empty<Bytes>>, node: SocketAddr, token: &str) -> StatusCode {
    let request = Request::builder()
        .uri(format!("http://{node}/"))
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

fn client() -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// As one of Airflow's components, which holds this secret alone.
fn airflows_token(secret: &str) -> String {
    crate::troubleshooting::mint(secret, json!({}))
}

/// Before the change there is the previous secret alone.
fn before() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.set_secret("airflow-jwt-secret", "jwt-secret", PREVIOUS);
    cluster.set_secret("airflow-jwt-secret", "previous", "");
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_replaced_under_load_and_every_request_is_answered_200() {
    let mut cluster = before();
    let nodes = Arc::new([Node::start(&cluster, DELAY).await, Node::start(&cluster, DELAY).await]);
    let from_before = [nodes[0].token().await, nodes[1].token().await, airflows_token(PREVIOUS)];
    let is_over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for n in 0..4 {
        let (nodes, is_over, sent, old) =
            (Arc::clone(&nodes), Arc::clone(&is_over), Arc::clone(&sent), from_before[n % 3].clone());
        load.spawn(async move {
            let client = client();
            while !is_over.load(Ordering::Relaxed) {
                // Signed by either node just now, and by whoever signed before the change.
                let tokens = [nodes[0].token().await, nodes[1].token().await, old.clone()];
                for token in &tokens {
                    for node in &*nodes {
                        assert_eq!(status(&client, node.address, token).await, StatusCode::OK);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The manifest's Secret, in one change.
    cluster.apply(&block(ROTATION, "secret.yaml").document(), filled);
    nodes[0].sync(&cluster);
    tokio::time::sleep(LAG).await;
    nodes[1].sync(&cluster);
    // Both sign with the new secret: a process that knows it alone admits their tokens.
    let mut alone = Cluster::new();
    alone.set_secret("airflow-jwt-secret", "jwt-secret", SECRET);
    alone.set_secret("airflow-jwt-secret", "previous", "");
    let alone = Node::start(&alone, DELAY).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    for node in &*nodes {
        while alone.authority.admit(&node.token().await).await.is_err() {
            assert!(Instant::now() < deadline, "a node still signs with the secret from before");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_over.store(true, Ordering::Relaxed);
    // A request that was not answered 200 panicked.
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 500, "{sent} requests are no load");

    // A process that starts after the change, and one of Airflow's that was restarted.
    let late = Node::start(&cluster, DELAY).await;
    let client = client();
    for token in from_before.iter().chain([&airflows_token(SECRET), &late.token().await]) {
        for node in [&late, &nodes[0], &nodes[1]] {
            assert_eq!(status(&client, node.address, token).await, StatusCode::OK);
        }
    }
    assert!(alone.authority.admit(&from_before[0]).await.is_err(), "the secret was replaced");
}

#[tokio::test]
async fn without_the_delay_the_node_that_reads_first_signs_what_the_other_refuses() {
    let mut cluster = before();
    let nodes = [Node::start(&cluster, Duration::ZERO).await, Node::start(&cluster, Duration::ZERO).await];
    cluster.apply(&block(ROTATION, "secret.yaml").document(), filled);
    nodes[0].sync(&cluster);
    let client = client();
    let deadline = Instant::now() + Duration::from_secs(20);
    while status(&client, nodes[1].address, &nodes[0].token().await).await == StatusCode::OK {
        assert!(Instant::now() < deadline, "it never signed with the new secret");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    nodes[1].sync(&cluster);
    while status(&client, nodes[1].address, &nodes[0].token().await).await != StatusCode::OK {
        assert!(Instant::now() < deadline, "the other never read it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn langflows_mounted_private_key_is_replaced_without_a_restart() {
    let mut cluster = Cluster::new();
    cluster.set_secret("langflow-jwt-keys", "private-key", RSA);
    cluster.set_secret("langflow-jwt-keys", "public-key", RSA_PUBLIC);
    let mounted = document("Kubernetes Secret, as files", "langflow.yaml");
    let container = cluster.start(&mounted);
    let langflow = Langflow::new().variables(container.variables.iter().cloned());
    let often = [("REISSUE__ROTATION__RELOAD_EVERY", "100ms")];
    let settings = Settings::builder().langflow(langflow).variables("REISSUE", often).load().unwrap();
    let authority = Authority::from_settings(&settings).await.unwrap();
    let token = async || authority.issue(Login::new("alice")).await.unwrap().into_string();
    let (before, kid) = (token().await, |token: &str| header(token)["kid"].clone());

    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().to_str().unwrap();
    let generated =
        Langflow::new().variables([("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_CONFIG_DIR", place)]);
    let generated = Settings::builder().langflow(generated).load().unwrap();
    Authority::from_settings(&generated).await.unwrap();
    let other = fs::read_to_string(elsewhere.path().join("private_key.pem")).unwrap();
    cluster.set_secret("langflow-jwt-keys", "private-key", &other);
    container.volumes.iter().for_each(|volume| cluster.sync(volume));
    let deadline = Instant::now() + Duration::from_secs(20);
    while kid(&token().await) == kid(&before) {
        assert!(Instant::now() < deadline, "it still signs with the key from before");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for token in [before, token().await] {
        assert!(authority.admit(&token).await.is_ok());
    }
}
