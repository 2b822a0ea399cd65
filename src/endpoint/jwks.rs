//! [`JwksEndpoint`]: publishes the public keys, for other services that verify this one's tokens.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tower_service::Service;

use super::document::{self, cache_control};
use crate::keyring::handle::IntoKeys;
use crate::keyring::handle::Keys;
use crate::keyring::ring::KeyRing;
use crate::server::FixedBody;
use crate::time::clamped;

/// Publishes the own public keys as a JWK set (RFC 7517 §5), for `GET` and `HEAD`: the signing key, keys that do not
/// sign yet, and retiring keys.
///
/// Mount it outside the layer, because those who fetch keys have no token.
///
/// Secrets are never published, nor keys of a trusted foreign issuer. A ring of secrets gives an empty set. The
/// endpoint follows the ring: a new key is published at once, a withdrawn one is not.
///
/// If several key pairs have the same `kid`, only one of them is published under it: the signing key if it is among
/// them, otherwise the first. The others are published under their thumbprints, so services that verify by `kid`
/// refuse their tokens.
///
/// A response may be cached for 300 seconds ([`max_age`](Self::max_age)). Caches learn of a new key that much later,
/// so let a new key sign only after that time, with the rotation's [activation
/// delay](crate::keys::KeyRotation::activation_delay), or rely on verifiers that fetch again when a `kid` is unknown.
///
/// ```
/// # use std::time::Duration;
/// # use tower_reissue::keys::{Algorithm, SigningKey};
/// use tower_reissue::{Authority, JwksEndpoint};
///
/// # let key = SigningKey::generate(Algorithm::ES256)?;
/// let authority = Authority::builder(key)
///     .issuer("https://login.example")
///     .audience("orders")
///     .max_session_lifetime(Duration::from_secs(12 * 3600))
///     .build()?;
/// let endpoint = JwksEndpoint::new(authority).max_age(Duration::from_secs(60));
/// let app: axum::Router = axum::Router::new().route_service("/.well-known/jwks.json", endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = in_hyper!("JwksEndpoint")]
#[must_use = "an endpoint does nothing until it is mounted"]
#[derive(Clone, Debug)]
pub struct JwksEndpoint {
    keys: Keys,
    cache_control: HeaderValue,
}

impl JwksEndpoint {
    /// An endpoint for the keys of an [`Authority`](crate::Authority) or a reference to one, of [`Keys`], a [`KeyRing`], or a
    /// [`SigningKey`](crate::keys::SigningKey).
    pub fn new(keys: impl IntoKeys) -> Self {
        Self { keys: keys.into_keys(), cache_control: cache_control(Duration::from_secs(300)) }
    }

    /// How long a response may be cached, in whole seconds. Default 300, at most ten years. With zero, caches ask
    /// each time.
    ///
    /// A longer time saves requests, but other services then accept a withdrawn key for that much longer.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.cache_control = cache_control(clamped(max_age));
        self
    }
}

impl<B> Service<Request<B>> for JwksEndpoint {
    type Response = Response<FixedBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<FixedBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asked = (request.method(), request.headers());
        let body = published(&self.keys.load());
        ready(Ok(document::respond(asked, "application/jwk-set+json", &self.cache_control, body)))
    }
}

fn published(ring: &KeyRing) -> Bytes {
    let mut names: Vec<(&str, &str)> = Vec::new();
    let mut jwks = Vec::new();
    // The signing key comes first, and keeps its name.
    for key in ring.own_keys() {
        let (kid, fingerprint) = (key.kid(), key.fingerprint());
        // Two keys of one name: many verifiers would take the wrong one, or neither, whatever their algorithms
        // (RFC 7517 §4.5).
        let is_taken = names.iter().any(|(taken, by)| *taken == kid && *by != fingerprint);
        jwks.extend(key.published(if is_taken { fingerprint } else { kid }));
        names.push((kid, fingerprint));
    }
    format!(r#"{{"keys":[{}]}}"#, jwks.join(",")).into()
}
