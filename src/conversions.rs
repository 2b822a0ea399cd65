//! Conversions from and to jsonwebtoken's types, for services that use that crate too.
//!
//! No other file names jsonwebtoken, so a new major version of it changes only this one.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use zeroize::Zeroizing;

use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::material::Public;
use crate::keys::scheme::Scheme;
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;
use crate::refusal::{Reason, Refusal};

/// Fails for an algorithm that only a later version of jsonwebtoken knows.
impl TryFrom<jsonwebtoken::Algorithm> for Algorithm {
    type Error = KeyError;

    fn try_from(theirs: jsonwebtoken::Algorithm) -> Result<Self, KeyError> {
        // It prints the name that RFC 7518 or RFC 8037 gives it.
        format!("{theirs:?}").parse()
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::HS384 => Self::HS384,
            Algorithm::HS512 => Self::HS512,
            Algorithm::RS256 => Self::RS256,
            Algorithm::RS384 => Self::RS384,
            Algorithm::RS512 => Self::RS512,
            Algorithm::PS256 => Self::PS256,
            Algorithm::PS384 => Self::PS384,
            Algorithm::PS512 => Self::PS512,
            Algorithm::ES256 => Self::ES256,
            Algorithm::ES384 => Self::ES384,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

impl SigningKey {
    /// A key that a service already holds for jsonwebtoken. Its bytes are read again, under all the rules of this type.
    ///
    /// # Errors
    ///
    /// As for [`from_secret`](Self::from_secret) and [`from_pem`](Self::from_pem), and if the key's family is not the
    /// algorithm's.
    pub fn from_encoding_key(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, KeyError> {
        require_family(algorithm, key.family())?;
        match key.family() {
            AlgorithmFamily::Hmac => Self::from_secret(algorithm, key.as_bytes()),
            _ => Self::from_der(algorithm, key.as_bytes()),
        }
    }
}

impl VerifyingKey {
    /// A key that a service already holds for jsonwebtoken. Its bytes are read again, under all the rules of this type.
    ///
    /// # Errors
    ///
    /// As for [`from_secret`](Self::from_secret) and [`from_pem`](Self::from_pem), and if the key's family is not the
    /// algorithm's.
    pub fn from_decoding_key(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, KeyError> {
        require_family(algorithm, key.family())?;
        let bytes = match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes,
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                return Self::from_public(algorithm, &Public::rsa(n, e)?);
            }
        };
        // jsonwebtoken holds a bare point if the key came as PEM or a JWK, and the unchanged bytes if it came as DER.
        match (key.family(), algorithm.scheme()) {
            (AlgorithmFamily::Hmac, _) => Self::from_secret(algorithm, bytes),
            (AlgorithmFamily::Ec, Scheme::Ecdsa(curve)) if bytes.first() == Some(&4) => {
                Self::from_public(algorithm, &Public::ec(curve, bytes)?)
            }
            (AlgorithmFamily::Ed, _) if bytes.len() == 32 => {
                Self::from_public(algorithm, &Public::ed25519(bytes)?)
            }
            _ => Self::from_der(algorithm, bytes),
        }
    }
}

/// As [`VerifyingKey::from_jwk`] reads the text.
///
/// jsonwebtoken's type drops the name of an algorithm that it does not know, such as `Ed25519` (RFC 9864), and members that
/// bind a key to an issuer: read such a JWK from its text.
impl TryFrom<&Jwk> for VerifyingKey {
    type Error = KeyError;

    fn try_from(jwk: &Jwk) -> Result<Self, KeyError> {
        // It contains only strings and enums, so serialisation does not fail.
        let text = Zeroizing::new(serde_json::to_string(jwk).unwrap_or_default());
        Self::from_jwk(&text)
    }
}

/// Fails for a secret, which is never published.
///
/// jsonwebtoken's type can't hold the name `Ed25519`
/// ([`with_fully_specified_alg`](VerifyingKey::with_fully_specified_alg)): it then has no `alg`, and the key's curve decides.
impl TryFrom<&VerifyingKey> for Jwk {
    type Error = KeyError;

    fn try_from(key: &VerifyingKey) -> Result<Self, KeyError> {
        let text = key.to_jwk().ok_or_else(|| {
            KeyError::new(KeyErrorKind::WrongType, "it is a secret, which is never published as a JWK")
        })?;
        let mut jwk: Self = serde_json::from_str(&text).map_err(|source| {
            KeyError::new(KeyErrorKind::Unsupported, "jsonwebtoken does not read its JWK").because(source)
        })?;
        jwk.common.key_algorithm =
            (key.written_alg() == key.alg()).then(|| jsonwebtoken::Algorithm::from(key.algorithm()).into());
        Ok(jwk)
    }
}

/// The error kind with which jsonwebtoken refuses such a token. For a reason that it does not have, `Provider` with the
/// refusal's text.
impl From<&Refusal> for ErrorKind {
    fn from(refusal: &Refusal) -> Self {
        match refusal.reason() {
            Reason::NoCredential
            | Reason::SeveralCredentials
            | Reason::MalformedCredential
            | Reason::UnsupportedScheme
            | Reason::TooLong
            | Reason::MalformedToken
            | Reason::UnsupportedHeader
            | Reason::WrongType => Self::InvalidToken,
            Reason::WrongAlgorithm => Self::InvalidAlgorithm,
            Reason::UnknownKey | Reason::BadSignature => Self::InvalidSignature,
            Reason::MissingClaim(name) => Self::MissingRequiredClaim(name.to_string()),
            Reason::InvalidClaim(name) => Self::InvalidClaimFormat(name.to_string()),
            Reason::WrongIssuer => Self::InvalidIssuer,
            Reason::WrongAudience => Self::InvalidAudience,
            Reason::NotYetValid(_) => Self::ImmatureSignature,
            Reason::Expired | Reason::ExpiredInGrace | Reason::SessionOver => Self::ExpiredSignature,
            Reason::Unconfirmed
            | Reason::CrossSite
            | Reason::InsufficientScope
            | Reason::InsufficientAuthentication(_)
            | Reason::Revoked
            | Reason::Reused
            | Reason::RefreshTokenReused
            | Reason::UnknownSession
            | Reason::WrongClient
            | Reason::InvalidScope
            | Reason::Declined
            | Reason::RenewerUnavailable
            | Reason::KeysUnavailable
            | Reason::StoreUnavailable => Self::Provider(refusal.to_string()),
        }
    }
}

fn require_family(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), KeyError> {
    if jsonwebtoken::Algorithm::from(algorithm).family() == family {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::WrongType,
        format!(
            "jsonwebtoken has it as a key of the family {family:?}, to which {algorithm} does not belong"
        ),
    ))
}
