//! What an [`Algorithm`] asks of a key, in the shape the code matches on.

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::error::{KeyError, KeyErrorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Hmac(Hash),
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Curve),
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

/// The asymmetric kinds of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl Scheme {
    pub(crate) fn of(algorithm: Algorithm) -> Result<Self, KeyError> {
        Ok(match algorithm {
            Algorithm::HS256 => Self::Hmac(Hash::Sha256),
            Algorithm::HS384 => Self::Hmac(Hash::Sha384),
            Algorithm::HS512 => Self::Hmac(Hash::Sha512),
            Algorithm::RS256 => Self::RsaPkcs1(Hash::Sha256),
            Algorithm::RS384 => Self::RsaPkcs1(Hash::Sha384),
            Algorithm::RS512 => Self::RsaPkcs1(Hash::Sha512),
            Algorithm::PS256 => Self::RsaPss(Hash::Sha256),
            Algorithm::PS384 => Self::RsaPss(Hash::Sha384),
            Algorithm::PS512 => Self::RsaPss(Hash::Sha512),
            Algorithm::ES256 => Self::Ecdsa(Curve::P256),
            Algorithm::ES384 => Self::Ecdsa(Curve::P384),
            Algorithm::EdDSA => Self::Ed25519,
            // `Algorithm` is non-exhaustive: a later jsonwebtoken may know more than we do.
            other => {
                return Err(KeyError::new(
                    KeyErrorKind::Unsupported,
                    format!("the algorithm {other:?} is not supported"),
                ));
            }
        })
    }

    /// The names that it has in a token's `alg` header or a JWK. The first is its [`name`](Self::name).
    ///
    /// RFC 9864 gave `EdDSA` with an Ed25519 key a name of its own. The names that it gave ECDSA (`ESP256`) are for COSE; in
    /// JOSE `ES256` says the curve already.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Hmac(Hash::Sha256) => &["HS256"],
            Self::Hmac(Hash::Sha384) => &["HS384"],
            Self::Hmac(Hash::Sha512) => &["HS512"],
            Self::RsaPkcs1(Hash::Sha256) => &["RS256"],
            Self::RsaPkcs1(Hash::Sha384) => &["RS384"],
            Self::RsaPkcs1(Hash::Sha512) => &["RS512"],
            Self::RsaPss(Hash::Sha256) => &["PS256"],
            Self::RsaPss(Hash::Sha384) => &["PS384"],
            Self::RsaPss(Hash::Sha512) => &["PS512"],
            Self::Ecdsa(Curve::P256) => &["ES256"],
            Self::Ecdsa(Curve::P384) => &["ES384"],
            Self::Ed25519 => &["EdDSA", "Ed25519"],
        }
    }

    /// The name that RFC 7518 §3.1 or RFC 8037 §3.1 gives it.
    pub(crate) fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }

    /// The name that is fully specified in the sense of RFC 9864: it leaves no parameter to the key.
    pub(crate) fn fully_specified_name(self) -> &'static str {
        self.names().last().copied().unwrap_or_default()
    }

    /// The type of key pair it takes; `None` where it takes a secret.
    pub(crate) fn key_type(self) -> Option<KeyType> {
        match self {
            Self::Hmac(_) => None,
            Self::RsaPkcs1(_) | Self::RsaPss(_) => Some(KeyType::Rsa),
            Self::Ecdsa(curve) => Some(KeyType::Ec(curve)),
            Self::Ed25519 => Some(KeyType::Ed25519),
        }
    }

    /// Refuses a key of another type than the algorithm takes.
    pub(crate) fn require(self, found: KeyType) -> Result<(), KeyError> {
        match self.key_type() {
            Some(wanted) if wanted == found => Ok(()),
            Some(wanted) => Err(KeyError::new(
                KeyErrorKind::WrongType,
                format!(
                    "it is {found}, and {} takes {wanted}; name the algorithm that fits the key",
                    self.name()
                ),
            )),
            None => Err(KeyError::new(
                KeyErrorKind::WrongType,
                format!(
                    "it is {found}, and {} takes a shared secret; a key pair used as a secret would let \
                     anybody with the public half sign",
                    self.name()
                ),
            )),
        }
    }
}

/// The algorithm that a JWK's `alg` names.
pub(crate) fn algorithm_named(alg: &str) -> Option<Algorithm> {
    let algorithm = |name: &str| name.parse().ok().filter(|algorithm| Scheme::of(*algorithm).is_ok());
    if alg == Scheme::Ed25519.fully_specified_name() { Some(Algorithm::EdDSA) } else { algorithm(alg) }
}

impl Hash {
    /// Output size in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Curve {
    /// Size of a coordinate and of a private scalar, in bytes.
    pub(crate) fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The name in a JWK's `crv`, RFC 7518 §6.2.1.1.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa => f.write_str("an RSA key"),
            Self::Ec(curve) => write!(f, "an EC key on {}", curve.name()),
            Self::Ed25519 => f.write_str("an Ed25519 key"),
        }
    }
}

pub(crate) fn require_family(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), KeyError> {
    if algorithm.family() == family {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::WrongType,
        format!(
            "jsonwebtoken holds it as a key of the family {family:?}, and {algorithm:?} is not one of its algorithms"
        ),
    ))
}
