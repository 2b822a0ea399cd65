//! A token's life in an application that shares every dependency, each with all that it offers. `Cargo.toml` lists them.
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../support/servers.rs"]
#[allow(dead_code, clippy::indexing_slicing)]
mod servers;

use std::convert::Infallible;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use servers::RedisServer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::keys::{CommandSource, JwksUrl, KeyError, KeyFormat, KeySource as _};
use tower_reissue::store::{Cached, RedisStore, SqlStore};
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, Clock as _, JwksEndpoint, KeyRing, Login, ManualClock,
    MemoryStore, ReissueLayer, RevokeEndpoint, SigningKey, SystemClock, VerifiedToken,
};

const ISSUER: &str = "https://login.example";
const PARTNER: &str = "https://partner.example";
const LIFETIME: u64 = 600;
/// Neither is as serde_json has it without `arbitrary_precision` and `preserve_order`.
const PRIVATE: &str = r#"{"z":12345678901234567890.10,"a":[1.50,-0.0]}"#;

/// One test: what it says of the process holds after everything else.
#[tokio::test]
async fn a_token_lives_its_life_and_nothing_is_installed_for_the_process() {
    let signals = caught_signals();

    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        live(algorithm, |builder| builder, false).await;
        live(algorithm, |builder| builder.store(Cached::new(MemoryStore::new())), true).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqlStore::sqlite(dir.path().join("sessions.db").to_str().unwrap()).await.unwrap();
    live(Algorithm::EdDSA, |builder| builder.store(sqlite), true).await;
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction"]);
    let redis = RedisStore::connect(server.url()).await.unwrap();
    live(Algorithm::EdDSA, |builder| builder.store(redis), true).await;

    a_command_prints_a_key().await;

    let partner = Partner::start().await;
    if cfg!(feature = "default") {
        assert!(
            catch_unwind(rustls::ClientConfig::builder).is_err(),
            "rustls has two providers to choose from"
        );
        partner.admit().await.unwrap();
    } else {
        let error = partner.admit().await.unwrap_err().to_string();
        assert!(error.contains("install_default"), "{error}");
    }

    assert_eq!(caught_signals(), signals, "a signal handler was installed");
    assert!(CryptoProvider::get_default().is_none());
    assert!(jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default().is_ok());
    assert!(!tracing::dispatcher::has_been_set());
    assert!(metrics::set_global_recorder(metrics::NoopRecorder).is_ok());
    assert!(sqlx::any::install_drivers(&[]).is_ok());

    if cfg!(feature = "default") {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    } else {
        // Which chooses, and installs, the one that there is.
        let _ = rustls::ClientConfig::builder();
    }
    partner.admit().await.unwrap();
}

#[test]
fn the_application_has_its_own_cache() {
    let cache = quick_cache::sync::Cache::new(10);
    cache.insert("key", 1);
    assert_eq!((cache.get("key"), cache.hits()), (Some(1), 1));
}

#[test]
fn what_is_nested_too_deep_is_refused_whatever_serde_json_would_read() {
    let authority = builder(Algorithm::HS256, &ManualClock::at(LIFETIME)).build().unwrap();
    let nested = |depth| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let issue = |depth| {
        let private: Box<serde_json::value::RawValue> =
            serde_json::value::RawValue::from_string(nested(depth)).unwrap();
        runtime.block_on(authority.issue(Login::new("alice").claims(&private)))
    };
    let token = issue(100).unwrap();
    assert!(runtime.block_on(authority.admit(token.as_str())).is_ok());
    assert!(issue(200).is_err());
}

/// Issued, admitted, renewed at the end of its life, exchanged within the grace and, where there is a store, revoked.
async fn live(
    algorithm: Algorithm,
    with_store: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder,
    ends: bool,
) {
    let clock = ManualClock::at(SystemClock.now().as_secs());
    let authority = with_store(builder(algorithm, &clock)).build().unwrap();
    let private: serde_json::Value = serde_json::from_str(PRIVATE).unwrap();
    let first = authority.issue(Login::new("alice").claims(&private)).await.unwrap().into_string();

    let (status, claims, successor) = present(&authority, &first).await;
    assert_eq!((status, successor), (StatusCode::OK, None));
    let members = PRIVATE.trim_matches(['{', '}']);
    assert!(claims.contains(members), "{claims}");

    clock.advance(LIFETIME - 10);
    let (status, _, renewed) = present(&authority, &first).await;
    assert_eq!(status, StatusCode::OK);
    let renewed = renewed.unwrap();

    clock.advance(15);
    let (status, _, exchanged) = present(&authority, &first).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let payload = |token: &str| token.split('.').nth(1).unwrap().to_owned();
    assert_eq!(payload(&exchanged.unwrap()), payload(&renewed), "one successor");

    let (status, claims, _) = present(&authority, &renewed).await;
    assert_eq!(status, StatusCode::OK);
    assert!(claims.contains(members), "{claims}");

    if ends {
        let revoke = Request::post("/sign-out").header("authorization", format!("Bearer {renewed}"));
        let endpoint = RevokeEndpoint::new(authority.clone()).unwrap();
        let response = endpoint.oneshot(revoke.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let (status, _, successor) = present(&authority, &renewed).await;
        assert_eq!((status, successor), (StatusCode::UNAUTHORIZED, None));
    }
}

fn builder(algorithm: Algorithm, clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(SigningKey::generate(algorithm).unwrap())
        .issuer(ISSUER)
        .audience("orders")
        .lifetime(Duration::from_secs(LIFETIME))
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .clock(clock.clone())
}

/// A response's status, the claims that the handler saw, and the successor that it carries.
async fn present(authority: &Authority, token: &str) -> (StatusCode, String, Option<String>) {
    let handler = service_fn(async |request: Request<Empty<Bytes>>| {
        let token: &VerifiedToken = request.extensions().get().unwrap();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(token.json().to_owned())))
    });
    let request = Request::get("/orders").header("authorization", format!("Bearer {token}"));
    let service = ReissueLayer::new(authority.clone()).layer(handler);
    let response = service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    let successor = response.headers().get("refreshed-api-token");
    let successor = successor.map(|token| token.to_str().unwrap().to_owned());
    let (parts, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).unwrap(), successor)
}

/// An issuer whose keys are fetched over TLS.
struct Partner {
    keys: SigningKey,
    url: String,
}

impl Partner {
    async fn start() -> Self {
        let keys = SigningKey::generate(Algorithm::ES256).unwrap();
        let url = serve_tls(JwksEndpoint::new(keys.clone())).await;
        Self { keys, url }
    }

    /// Fetches its keys, and admits a token of it.
    async fn admit(&self) -> Result<(), KeyError> {
        let source = JwksUrl::new(&self.url)?;
        let source = source.root_certificate(include_bytes!("../keys/tls/authority.pem"))?;
        let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDSA)?);
        let keys = keys.trust(PARTNER, source.load().await?.verifying).unwrap();

        let authority = |keys: KeyRing, issuer| {
            let builder = Authority::builder(keys).issuer(issuer).audience("orders");
            builder.max_session_lifetime(Duration::from_secs(12 * 3600)).build().unwrap()
        };
        let token = authority(self.keys.clone().into(), PARTNER).issue(Login::new("alice")).await.unwrap();
        let admitted = authority(keys, ISSUER).admit(token.as_str()).await.unwrap();
        assert_eq!((admitted.issuer(), admitted.is_own()), (Some(PARTNER), false));
        Ok(())
    }
}

async fn serve_tls(endpoint: JwksEndpoint) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(include_bytes!("../keys/tls/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../keys/tls/server.key.pem")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(endpoint.clone()));
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                Builder::new(TokioExecutor::new()).serve_connection(stream, service).await.unwrap();
            });
        }
    });
    format!("https://{address}/jwks.json")
}

async fn a_command_prints_a_key() {
    let secret = "owls hunt mice while fog drifts over the moor";
    let source = CommandSource::new("echo", [secret], KeyFormat::secret(Algorithm::HS256));
    let expected = SigningKey::from_secret(Algorithm::HS256, secret).unwrap();
    assert_eq!(source.load().await.unwrap().signing.unwrap().fingerprint(), expected.fingerprint());
}

/// The signals that this process has a handler for, as Linux lists them; elsewhere none is looked at.
fn caught_signals() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find(|line| line.starts_with("SigCgt")).map(str::to_owned)
}
