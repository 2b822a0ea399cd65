//! Keys from their sources, replaced while requests run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/eventually.rs"]
mod eventually;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "tracing")]
mod blocked_observer;
mod events;
mod files;
mod generated;
mod issuers;
mod processes;
mod refetch;
mod rotating;
mod sign_out;
mod survival;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tempfile::TempDir;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::keys::{
    Algorithm, FileSource, KeyError, KeyRotation, KeySet, KeySource, Keys, SigningKey,
};
use tower_reissue::{Authority, AuthorityBuilder, ReissueLayer, ResponseBody};

use self::eventually::eventually;

/// Tiny, for the tests' sake: the clock that rotations read counts seconds.
const RELOAD: Duration = Duration::from_millis(5);

/// A directory that this user alone may enter, gone after the test.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }
}

/// Waits until this is so: events are reported on a thread of their own. It waits in real time, also if the runtime's is paused.
fn reported(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not reported");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A file source that counts how often it is asked.
struct CountedFile(FileSource, Arc<AtomicUsize>);

impl KeySource for CountedFile {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.load().await
    }
}

/// The n-th secret of a test, as the text of its file.
fn secret(n: usize) -> String {
    format!("secret number {n:04} of a test: as long as HS512 wants it, and more than that")
}

fn secret_key(n: usize) -> SigningKey {
    SigningKey::from_secret(Algorithm::HS256, secret(n)).unwrap()
}

fn authority(keys: Keys) -> AuthorityBuilder {
    Authority::builder(keys)
        .issuer(support::ISSUER)
        .audience(support::AUDIENCE)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .jitter_percent(0)
}

/// The n-th secret as a JWK: half of it is no key.
fn jwk(n: usize) -> String {
    use base64::Engine as _;
    let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret(n));
    format!(r#"{{"kty":"oct","alg":"HS256","k":"{k}"}}"#)
}

type Guarded = BoxCloneSyncService<Request<()>, Response<ResponseBody<Full<Bytes>>>, Infallible>;

fn guarded(authority: Authority) -> Guarded {
    let handler =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) });
    BoxCloneSyncService::new(ReissueLayer::new(authority).layer(handler))
}

async fn answer(service: &Guarded, token: &str) -> Response<ResponseBody<Full<Bytes>>> {
    let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    service.clone().oneshot(request).await.unwrap()
}

async fn status(service: &Guarded, token: &str) -> StatusCode {
    answer(service, token).await.status()
}

/// Waits until the ring signs with this key.
async fn signs_with(keys: &Keys, key: &SigningKey) {
    eventually(|| keys.current().kids().next() == Some(key.kid())).await;
}

fn rotation(source: impl tower_reissue::keys::KeySource) -> KeyRotation {
    KeyRotation::new(source).reload_every(RELOAD)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
