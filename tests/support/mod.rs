//! What the integration tests share: keys, a clock that stands still, and a mint that can forge anything.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod forward;
pub mod guarded;
pub mod jwt;
mod keys;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Empty;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::keys::{Algorithm, SigningKey};
use tower_reissue::store::{
    ClaimsStore, Horizon, MemoryStore, Page, Presented, Retention, Revocation, Rotated, Rotation,
    SessionPage, Standing, StoreError, StoreErrorKind, SubjectId,
};
use tower_reissue::{
    Authority, AuthorityBuilder, ManualClock, NumericDate, PrivateClaims, Reason, Refusal, ReissueLayer,
};

pub(crate) use self::forward::forward;
pub use self::keys::*;

pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "orders";
/// The instant at which the tests' clock stands.
pub const NOW: u64 = 1_800_000_000;

pub fn key() -> SigningKey {
    SigningKey::from_secret(Algorithm::HS256, SECRET).unwrap()
}

/// A builder with everything required: 600 s of life, 60 s of grace, no leeway, no jitter, a session limit of 12 hours.
pub fn builder(clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(key())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .jitter_percent(0)
        .clock(clock.clone())
}

/// Claims that are in order: issued at `NOW`, dead at `NOW + 600`, renewable from `NOW + 480` on.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": "token-1",
        "iat": NOW, "exp": NOW + 600,
    })
}

/// `claims` with some of them set anew; `null` removes.
pub fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// An HS256 token under [`SECRET`] with a header that is in order.
pub fn mint(claims: &Value) -> String {
    mint_raw(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// An HS256 signature by another library over whatever header and payload.
pub fn mint_raw(header: &str, payload: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    sign_raw(header, payload, &key, Algorithm::HS256)
}

pub fn sign_raw(
    header: &str,
    payload: &str,
    key: &jsonwebtoken::EncodingKey,
    algorithm: Algorithm,
) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jwt::sign(message.as_bytes(), key, algorithm.into());
    format!("{message}.{signature}")
}

/// The claims of a token, unverified.
pub fn payload(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// The claims of a token as their text, unverified.
pub fn payload_text(token: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// How a revocation is kept until an instant, in a store whose horizon is 0 s.
pub fn kept(now: NumericDate, until: NumericDate) -> Retention {
    Retention::new(now, 0, until.as_secs() - now.as_secs())
}

/// The same store with a horizon of 0 s, in which a revocation is kept for as long as [`kept`] says.
pub async fn without_horizon<S: ClaimsStore>(store: S) -> S {
    store.horizon(Horizon::Secs(0)).await.unwrap();
    store
}

/// A future that has its answer at the first poll.
#[track_caller]
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("an answer without waiting")
}

/// A memory store that counts how often it is asked, and fails where it is told to. Clones share it.
#[derive(Clone, Default)]
pub struct CountingStore {
    inner: Arc<MemoryStore>,
    asked: Arc<AtomicUsize>,
    rotate_fails: Arc<AtomicBool>,
    meanwhile: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl CountingStore {
    /// Calls of every method but `epoch`.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn fail_to_rotate(&self) {
        self.rotate_fails.store(true, Ordering::SeqCst);
    }

    /// What happens while it is asked anything, its epoch too.
    pub fn meanwhile(&self, happens: impl Fn() + Send + Sync + 'static) {
        assert!(self.meanwhile.set(Box::new(happens)).is_ok(), "it is set once");
    }

    fn happens(&self) {
        if let Some(happens) = self.meanwhile.get() {
            happens();
        }
    }

    fn count(&self) -> &MemoryStore {
        self.happens();
        self.asked.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

impl ClaimsStore for CountingStore {
    forward!(inner: horizon, horizon_now, raise_horizon);

    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        self.count().standing(presented).await
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        self.count().standing_now(presented)
    }

    fn epoch(&self) -> Option<u64> {
        self.happens();
        self.inner.epoch()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        let store = self.count();
        if self.rotate_fails.load(Ordering::SeqCst) {
            return Err(StoreErrorKind::Unavailable.into());
        }
        store.rotate(rotation).await
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        self.count().revoke(revocation, retention).await
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        self.count().sessions(subject, now, page).await
    }
}

/// A token under the repository's key for an algorithm, without `kid`.
pub fn mint_with(algorithm: Algorithm, claims: &Value) -> String {
    let header = format!(r#"{{"alg":"{algorithm:?}"}}"#);
    sign_raw(&header, &claims.to_string(), &encoding_key_for(algorithm), algorithm)
}

/// An ES256 token with (r, n - s) for its signature's (r, s): it verifies wherever the other does.
pub fn twin(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + at] = u8::try_from(difference + 256 * borrow).unwrap();
    }
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}
