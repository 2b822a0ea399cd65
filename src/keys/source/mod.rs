//! Where keys come from.

use std::time::Duration;

use jsonwebtoken::AlgorithmFamily;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{KeyError, KeyErrorKind};
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;

#[cfg(feature = "jwks")]
mod jwks_url;

#[cfg(feature = "jwks")]
pub use self::jwks_url::{DangerousJwksUrl, JwksUrl};

/// What a [`KeySource`] holds at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeySet {
    /// The key to sign with, where the source holds one.
    pub signing: Option<SigningKey>,
    /// The keys to verify with.
    pub verifying: Vec<VerifyingKey>,
    /// The `kid` of keys that must not be used any more.
    pub withdrawn: Vec<String>,
    /// How long the source says that this is good for.
    pub fresh_for: Option<Duration>,
    /// Keys that were refused, and why; the others serve.
    pub skipped: Vec<KeyError>,
}

/// Something that keys are loaded from, time and again.
pub trait KeySource: Send + Sync + 'static {
    /// Names the source in the log. No secrets.
    fn describe(&self) -> String;

    /// What it holds now.
    ///
    /// # Errors
    ///
    /// When it can't be read, or holds nothing of use.
    fn load(&self) -> impl Future<Output = Result<KeySet, KeyError>> + Send;
}

impl KeySet {
    /// The keys of a JWK set, RFC 7517 §5. One bad key is skipped; the others serve.
    ///
    /// # Errors
    ///
    /// When the text is not a JWK set, holds not one usable key, one `kid` twice, or secrets beside public keys.
    pub fn from_jwk_set(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct JwkSet<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let JwkSet { keys } = serde_json::from_str(text).map_err(|error| {
            KeyError::new(KeyErrorKind::Malformed, "the text is not a JWK set").because(error)
        })?;
        let mut set = Self::default();
        for text in keys {
            let key = serde_json::from_str(text.get()).map_err(|error| {
                KeyError::new(KeyErrorKind::Malformed, "it is not a JWK of a known kind").because(error)
            });
            match key.and_then(|jwk| VerifyingKey::from_jwk(&jwk)) {
                Ok(key) if set.verifying.iter().any(|held| held.kid() == key.kid()) => {
                    return Err(
                        KeyError::new(KeyErrorKind::DuplicateKid, "the set holds it twice").about(key.kid())
                    );
                }
                Ok(key) => set.verifying.push(key),
                Err(error) => set.skipped.push(error),
            }
        }
        let secrets = set.verifying.iter().filter(|key| key.algorithm().family() == AlgorithmFamily::Hmac);
        let secrets = secrets.count();
        if secrets > 0 && secrets < set.verifying.len() {
            return Err(KeyError::new(KeyErrorKind::Ring, "the set mixes secrets and public keys"));
        }
        if set.verifying.is_empty() {
            let error = KeyError::new(KeyErrorKind::Ring, "the JWK set holds not one usable key");
            return Err(match set.skipped.into_iter().next() {
                Some(first) => error.because(first),
                None => error,
            });
        }
        Ok(set)
    }
}
