//! [`Algorithm`], and the keys that it takes.

use std::fmt;
use std::str::FromStr;

use super::error::{KeyError, KeyErrorKind};
use super::scheme::{Curve, Hash, KeyType, Scheme};

/// A signature algorithm of JSON Web Signature (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// Every key is pinned to one when it is loaded. `none` is not among them. It reads and prints the name that a token's
/// `alg` has:
///
/// ```
/// use tower_reissue::Algorithm;
///
/// # fn main() -> Result<(), tower_reissue::KeyError> {
/// assert_eq!("ES256".parse::<Algorithm>()?, Algorithm::ES256);
/// assert_eq!(Algorithm::EdDSA.to_string(), "EdDSA");
/// // The name of RFC 9864 for the same algorithm.
/// assert_eq!("Ed25519".parse::<Algorithm>()?, Algorithm::EdDSA);
/// assert!("none".parse::<Algorithm>().is_err());
/// # Ok(())
/// # }
/// ```
#[allow(clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a token's `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }

    /// The names that it has in a token's `alg` header or a JWK. The first is its [`name`](Self::name).
    ///
    /// RFC 9864 adds the name `Ed25519` for `EdDSA` with an Ed25519 key. Its names for ECDSA (`ESP256`) are for COSE; in JOSE `ES256`
    /// implies the curve already.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::HS256 => &["HS256"],
            Self::HS384 => &["HS384"],
            Self::HS512 => &["HS512"],
            Self::RS256 => &["RS256"],
            Self::RS384 => &["RS384"],
            Self::RS512 => &["RS512"],
            Self::PS256 => &["PS256"],
            Self::PS384 => &["PS384"],
            Self::PS512 => &["PS512"],
            Self::ES256 => &["ES256"],
            Self::ES384 => &["ES384"],
            Self::EdDSA => &["EdDSA", "Ed25519"],
        }
    }

    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::HS256 => Scheme::Hmac(Hash::Sha256),
            Self::HS384 => Scheme::Hmac(Hash::Sha384),
            Self::HS512 => Scheme::Hmac(Hash::Sha512),
            Self::RS256 => Scheme::RsaPkcs1(Hash::Sha256),
            Self::RS384 => Scheme::RsaPkcs1(Hash::Sha384),
            Self::RS512 => Scheme::RsaPkcs1(Hash::Sha512),
            Self::PS256 => Scheme::RsaPss(Hash::Sha256),
            Self::PS384 => Scheme::RsaPss(Hash::Sha384),
            Self::PS512 => Scheme::RsaPss(Hash::Sha512),
            Self::ES256 => Scheme::Ecdsa(Curve::P256),
            Self::ES384 => Scheme::Ecdsa(Curve::P384),
            Self::EdDSA => Scheme::Ed25519,
        }
    }

    /// The type of key pair that it takes. `None` if it takes a secret.
    pub(crate) fn key_type(self) -> Option<KeyType> {
        match self.scheme() {
            Scheme::Hmac(_) => None,
            Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) => Some(KeyType::Rsa),
            Scheme::Ecdsa(curve) => Some(KeyType::Ec(curve)),
            Scheme::Ed25519 => Some(KeyType::Ed25519),
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

    pub(crate) fn is_hmac(self) -> bool {
        self.key_type().is_none()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses a name, which is case-sensitive (RFC 7515 §4.1.1). The error lists all names.
impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|algorithm| algorithm.names().contains(&name)).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().flat_map(|algorithm| algorithm.names()).copied().collect();
            KeyError::new(
                KeyErrorKind::Unsupported,
                format!("this is not the name of a supported algorithm; they are {}", names.join(", ")),
            )
        })
    }
}
