//! Keys: they sign and verify tokens, and each belongs to one issuer.
//!
//! Every key is pinned to one algorithm when it is loaded. A token's header must match it. Weak, wrong and
//! contradictory keys are refused at load, with a [`KeyError`] that says what would be right: an HMAC secret that is
//! shorter than its hash or is really a public key, RSA under 2048 bits, an EC key on another curve than the
//! algorithm's, a JWK for encryption.
//!
//! A key's name, its `kid`, is its RFC 7638 thumbprint unless you set another. For a secret it is a fingerprint that
//! does not reveal the secret. Two processes with the same key compute the same name, so a log shows whether they
//! agree.
//!
//! A [`KeyRing`] is the set of keys that a process holds at one moment. A [`KeyRotation`] keeps a ring up to date
//! from a [`source`]: a variable, a file, a mounted Secret, a program.
//!
//! Not protected against: a secret or private key that has leaked (withdraw it from the ring), a secret that is long
//! enough but can be guessed, and an RSA key with badly generated primes (only the fingerprint of ROCA is checked).
//! The caller must erase the bytes that a key was loaded from.
//!
//! ```
//! use tower_reissue::keys::{Algorithm, KeyRing, SigningKey, VerifyingKey};
//!
//! # fn main() -> Result<(), tower_reissue::keys::KeyError> {
//! # let (last_years_secret, partner_jwk) = ("last year's secret: 32 random bytes or more", r#"
//! #     {"kty":"OKP","crv":"Ed25519","x":"1dyN9qxG5hs3CW0q8g7HY3X9ncI0u1PA-Aivtkzjb_A","kid":"partner-1"}"#);
//! let ring = KeyRing::new(SigningKey::generate(Algorithm::EdDSA)?)
//!     .retiring(SigningKey::from_secret(Algorithm::HS256, last_years_secret)?)?
//!     .trust("https://partner.example", [VerifyingKey::from_jwk(partner_jwk)?])?;
//!
//! assert_eq!(ring.kids().count(), 3);
//!
//! // A secret of 12 bytes is refused, with the remedy.
//! let refused = SigningKey::from_secret(Algorithm::HS256, "correct-hors").unwrap_err();
//! assert!(refused.to_string().contains("openssl rand"));
//! # Ok(())
//! # }
//! ```

// The room reads key material, and signs and verifies bytes. It knows no issuer's policy, no token and no time.

// The public face of this room and of `keyring` and `rotation` above it.
pub use self::algorithm::Algorithm;
pub use self::error::{KeyError, KeyErrorKind};
pub use self::key_set::KeySet;
pub use self::signing_key::{DangerousSigningKey, SigningKey};
pub use self::verifying_key::{DangerousVerifyingKey, VerifyingKey};
pub use crate::keyring::event::KeyEvent;
pub use crate::keyring::fingerprints::{Fingerprint, Fingerprints, Role};
pub use crate::keyring::handle::{IntoKeys, Keys};
pub use crate::keyring::ring::KeyRing;
pub use crate::keyring::trusted_issuer::TrustedIssuer;
pub use crate::rotation::source::{
    CommandSource, DirectorySource, EnvSource, FileSource, GeneratedSource, KeyFormat, KeySource,
};
#[cfg(feature = "jwks-no-provider")]
pub use crate::rotation::source::{DangerousJwksUrl, JwksUrl};
pub use crate::rotation::{KeyRotation, source};

// What rooms above use by module path. Few use the inner ones: `crypto` has `backend`, `rotation` `format`, `keyring` `issuer_name`,
// `conversions` `material` and `scheme`.
pub(crate) mod algorithm;
pub(crate) mod backend;
pub(crate) mod error;
pub(crate) mod format;
pub(crate) mod issuer_name;
pub(crate) mod key_set;
pub(crate) mod material;
pub(crate) mod scheme;
pub(crate) mod signing_key;
pub(crate) mod thumbprint;
pub(crate) mod verifying_key;

#[cfg(test)]
pub(crate) mod test_keys;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests_wycheproof;
