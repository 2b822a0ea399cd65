//! [`VerifyingKey`]: verifies tokens.

use std::fmt;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::backend::Verifier;
use super::error::{KeyError, KeyErrorKind};
use super::material::Public;
use super::thumbprint;
use crate::keys::format::der;
use crate::keys::format::der::Document;
use crate::keys::format::jwk;
use crate::keys::format::jwk::{Jwk, JwkOptions};
use crate::keys::format::known_secrets;
use crate::keys::format::pem;
use crate::keys::format::secret;
use crate::keys::format::secret::Secret;
use crate::keys::format::secret::Shorter;
use crate::keys::issuer_name::IssuerName;

/// A public key or an HMAC secret, pinned to one algorithm: a token's header never chooses another.
///
/// It is parsed and prepared once, here; verifying parses nothing. Clones share it. [`Debug`] prints its `kid` and
/// algorithm only.
#[must_use = "a key does nothing until an authority, a ring or a set has it"]
#[derive(Clone)]
pub struct VerifyingKey {
    verifier: Arc<Verifier>,
    /// The public key, to publish. `None` for a secret.
    public: Option<Arc<Public>>,
    algorithm: Algorithm,
    /// The names of the algorithm that a token's header may have.
    alg_names: &'static [&'static str],
    /// The name that new tokens have.
    written_alg: &'static str,
    fingerprint: Arc<str>,
    kid: Arc<str>,
    further_kids: Vec<Arc<str>>,
    /// The only `iss` that it may sign, if its JWK names one.
    issuer: Option<IssuerName>,
    is_short_hmac: bool,
}

impl VerifyingKey {
    /// An HMAC secret. Whoever can verify with it can sign with it.
    ///
    /// # Errors
    ///
    /// As for [`SigningKey::from_secret`](crate::keys::SigningKey::from_secret).
    pub fn from_secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_checked_secret(algorithm, secret.as_ref(), Shorter::Refused)
    }

    /// An HMAC secret written in base64, padded, in one line: what `openssl rand -base64 64 | tr -d '\n'` prints.
    ///
    /// # Errors
    ///
    /// As for [`SigningKey::from_base64_secret`](crate::keys::SigningKey::from_base64_secret).
    pub fn from_base64_secret(algorithm: Algorithm, text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_secret(algorithm, secret::decode_base64(text.as_ref())?)
    }

    /// An HMAC secret written in base64url, padded or not, in one line.
    ///
    /// # Errors
    ///
    /// As for [`SigningKey::from_base64_secret`](crate::keys::SigningKey::from_base64_secret).
    pub fn from_base64url_secret(algorithm: Algorithm, text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_secret(algorithm, secret::decode_base64url(text.as_ref())?)
    }

    /// A public key in PEM: SubjectPublicKeyInfo (`PUBLIC KEY`), PKCS#1 (`RSA PUBLIC KEY`), or an X.509 certificate
    /// (`CERTIFICATE`) that holds one.
    ///
    /// A certificate is only a container here: its dates, signature, chain and revocation are **not** checked.
    /// Whoever puts the file in place must make sure that it is the right one.
    ///
    /// # Errors
    ///
    /// If the text holds no such key or more than one; if the key is of another type or curve than the algorithm
    /// takes; for an RSA key under 2048 or over 8192 bits or with an exponent under 65537; for a point that is not on
    /// its curve, compressed, or of small order. A private key is refused, because it need not be where tokens are
    /// only verified.
    pub fn from_pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let block = pem::read(pem.as_ref())?;
        match &*block.label {
            label @ ("PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE") => {
                // The two labels of keys are often confused. That of a certificate says that it was asked for as one.
                let is_certificate = der::kind(&block.der).map(|kind| kind == Document::Certificate);
                if is_certificate.is_some_and(|is| is != (label == "CERTIFICATE")) {
                    return Err(wrong_label(label));
                }
                Self::from_der(algorithm, &block.der)
            }
            label if label.ends_with("PRIVATE KEY") => Err(private_half()),
            label => Err(pem::unsupported(label, "PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE")),
        }
    }

    /// A public key in DER: SubjectPublicKeyInfo, PKCS#1 `RSAPublicKey`, or an X.509 certificate.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem).
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        if matches!(der::kind(der), Some(Document::PrivateKey | Document::EncryptedKey)) {
            return Err(private_half());
        }
        Self::from_public(algorithm, &der::public_key(der)?)
    }

    /// A JWK as text (RFC 7517). Its own `kid` is kept, in place of its thumbprint.
    ///
    /// A member that is `null` counts as absent, and a member that does not describe the key itself (`x5c`, `x5t`) is
    /// not read. A member `issuer`, as Entra's JWKs have, is the only `iss` that the key may sign, or a template of it.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem) and [`from_secret`](Self::from_secret), and if `use` is not `sig`,
    /// `key_ops` lacks `verify`, or `alg` contradicts `kty` or `crv`. Without `alg`, the curve of an `EC` or `OKP`
    /// key decides; an `RSA` or `oct` key is refused, because several algorithms would take it.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        Jwk::parse(json)?.verifying_key(JwkOptions::default())
    }

    /// Ways to load a key that weaken it.
    pub fn dangerous() -> DangerousVerifyingKey {
        DangerousVerifyingKey { _private: () }
    }

    /// Sets the key's name: its `kid`, in place of the thumbprint, fingerprint or the JWK's own.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into().into();
        self
    }

    /// A further `kid` that tokens under this key may carry. Several keys of a ring may share one; they are tried in
    /// turn.
    pub fn also_known_as(mut self, kid: impl Into<String>) -> Self {
        self.further_kids.push(kid.into().into());
        self
    }

    /// Names the algorithm as [`SigningKey::with_fully_specified_alg`] does, where the key is published.
    ///
    /// [`SigningKey::with_fully_specified_alg`]: crate::keys::SigningKey::with_fully_specified_alg
    pub fn with_fully_specified_alg(mut self) -> Self {
        self.written_alg = self.alg_names.last().copied().unwrap_or_default();
        self
    }

    /// Its `kid`: the name that was set, otherwise its JWK's, otherwise its [`fingerprint`](Self::fingerprint).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The RFC 7638 thumbprint (43 characters). For a secret, a 22-character name that is computed from it: the same
    /// in every process with the same secret, and useless for finding the secret.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The algorithm it is pinned to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is a secret shorter than its hash, loaded through [`dangerous`](Self::dangerous).
    pub fn is_short_hmac(&self) -> bool {
        self.is_short_hmac
    }

    /// The public key as the text of a JWK (RFC 7517) to publish, with `use`, `alg` and `kid`, and the member `issuer` if its own
    /// JWK has one; `None` for a secret.
    ///
    /// ```
    /// use tower_reissue::keys::{Algorithm, SigningKey, VerifyingKey};
    ///
    /// # fn main() -> Result<(), tower_reissue::keys::KeyError> {
    /// let key = SigningKey::generate(Algorithm::ES256)?.verifying_key();
    /// let jwk = key.to_jwk().expect("not a secret");
    /// assert_eq!(VerifyingKey::from_jwk(&jwk)?.kid(), key.kid());
    ///
    /// assert!(SigningKey::generate(Algorithm::HS256)?.verifying_key().to_jwk().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_jwk(&self) -> Option<String> {
        self.published(&self.kid)
    }

    /// The public key as the text of a JWK, under this name; `None` for a secret.
    pub(crate) fn published(&self, kid: &str) -> Option<String> {
        let issuer = self.issuer.as_ref();
        self.public.as_ref().map(|public| jwk::published(public, self.written_alg, kid, issuer))
    }

    /// The `kid` that Airflow gives the key; `None` where that is its fingerprint, or not computed from it.
    pub(crate) fn airflow_kid(&self) -> Option<String> {
        self.public.as_deref().and_then(thumbprint::of_airflow)
    }

    /// A signature of the wrong length does not verify.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify(message, signature)
    }

    /// The public key as SubjectPublicKeyInfo.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, KeyError> {
        self.verifier.to_spki().map_err(|source| {
            KeyError::new(
                KeyErrorKind::Unsupported,
                "the cryptographic library could not write the public key",
            )
            .because(source)
        })
    }

    /// The algorithm's name, by which keys are compared and logged.
    pub(crate) fn alg(&self) -> &'static str {
        self.alg_names.first().copied().unwrap_or_default()
    }

    /// The name that goes into a token's header.
    pub(crate) fn written_alg(&self) -> &'static str {
        self.written_alg
    }

    /// Whether a token's header may name its algorithm so.
    pub(crate) fn is_named(&self, alg: &str) -> bool {
        self.alg_names.contains(&alg)
    }

    /// The further `kid`s that tokens may name it by, each once.
    pub(crate) fn further_kids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.further_kids
            .iter()
            .enumerate()
            .filter(|(at, kid)| **kid != self.kid && !self.further_kids.iter().take(*at).any(|k| k == *kid))
            .map(|(_, kid)| kid)
    }

    /// Whether it is the same key under the same names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && self.algorithm == other.algorithm
            && self.written_alg == other.written_alg
            && self.kid == other.kid
            && self.further_kids == other.further_kids
            && self.issuer == other.issuer
    }

    pub(crate) fn issuer(&self) -> Option<&IssuerName> {
        self.issuer.as_ref()
    }

    /// Whether its JWK allows it to sign for this `iss`. Entra's JWKs have a member `issuer`, an `iss` or a template of one.
    pub(crate) fn may_sign_for(&self, iss: Option<&str>) -> bool {
        self.issuer.as_ref().is_none_or(|name| iss.is_some_and(|iss| name.matches(iss)))
    }

    /// The key with the name and the issuer that its JWK gives it. Every key that is read from a JWK passes here.
    pub(super) fn described_by(self, jwk: &Jwk<'_>) -> Result<Self, KeyError> {
        let issuer = jwk.string("issuer")?.map(|text| IssuerName::parse(&text)).transpose()?;
        let kid = jwk.string("kid")?.map_or(self.kid, |kid| (*kid).into());
        Ok(Self { issuer, kid, ..self })
    }

    pub(crate) fn from_public(algorithm: Algorithm, public: &Public) -> Result<Self, KeyError> {
        let fingerprint = thumbprint::of_public(public);
        algorithm.require(public.key_type()).map_err(|error| error.about(&fingerprint))?;
        if let Some(place) = known_secrets::private_key_printed_in(&fingerprint) {
            return Err(KeyError::new(
                KeyErrorKind::Guessable,
                format!("its private key is publicly known, from {place}; generate a new pair"),
            )
            .about(&fingerprint));
        }
        // The library also checks that a point is on its curve.
        let verifier = Verifier::from_public(algorithm.scheme(), public).map_err(|source| {
            KeyError::new(KeyErrorKind::Malformed, "the cryptographic library refused the public key")
                .about(&fingerprint)
                .because(source)
        })?;
        let public = Some(Arc::new(public.clone()));
        Ok(Self::new(algorithm, verifier, public, fingerprint, false))
    }

    fn from_checked_secret(algorithm: Algorithm, secret: &[u8], shorter: Shorter) -> Result<Self, KeyError> {
        Ok(Self::from_checked(&Secret::check(algorithm, secret, shorter)?))
    }

    pub(crate) fn from_checked(secret: &Secret<'_>) -> Self {
        let verifier = Verifier::from_secret(secret.hash, secret.bytes);
        let fingerprint = thumbprint::of_secret(secret.bytes);
        Self::new(secret.algorithm, verifier, None, fingerprint, secret.is_short)
    }

    fn new(
        algorithm: Algorithm,
        verifier: Verifier,
        public: Option<Arc<Public>>,
        fingerprint: String,
        is_short_hmac: bool,
    ) -> Self {
        let fingerprint: Arc<str> = fingerprint.into();
        Self {
            verifier: Arc::new(verifier),
            public,
            algorithm,
            alg_names: algorithm.names(),
            written_alg: algorithm.name(),
            kid: fingerprint.clone(),
            fingerprint,
            further_kids: Vec::new(),
            issuer: None,
            is_short_hmac,
        }
    }
}

/// Redacted: for HMAC this is the signing secret.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Ways to load a [`VerifyingKey`] that weaken it. Made by [`VerifyingKey::dangerous`].
#[must_use = "a key does nothing until an authority, a ring or a set has it"]
#[derive(Debug)]
pub struct DangerousVerifyingKey {
    _private: (),
}

impl DangerousVerifyingKey {
    /// An HMAC secret that may be shorter than its hash, against RFC 7518 §3.2, but not shorter than 32 bytes.
    ///
    /// # Errors
    ///
    /// As for [`SigningKey::from_secret`](crate::keys::SigningKey::from_secret), but for the length.
    pub fn short_hmac(
        self,
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_checked_secret(algorithm, secret.as_ref(), Shorter::Allowed)
    }
}

fn wrong_label(label: &str) -> KeyError {
    let what = if label == "CERTIFICATE" { "is no certificate" } else { "is a certificate" };
    KeyError::new(
        KeyErrorKind::Malformed,
        format!("its label is {label}, and what it holds {what}: correct the BEGIN and END lines"),
    )
}

fn private_half() -> KeyError {
    KeyError::new(
        KeyErrorKind::WrongType,
        "this is the private half; give the public one, or load it as a `SigningKey` and take its `verifying_key()`",
    )
}

impl Jwk<'_> {
    /// Reads the key that verifies.
    pub(crate) fn verifying_key(&self, options: JwkOptions) -> Result<VerifyingKey, KeyError> {
        self.with_name(|| {
            self.require_use("verify")?;
            let algorithm = self.algorithm(options.assumed)?;
            if self.is_secret() {
                let secret = self.required("k")?;
                return VerifyingKey::from_checked_secret(algorithm, &secret, options.shorter)?
                    .described_by(self);
            }
            VerifyingKey::from_public(algorithm, &self.public()?)?.described_by(self)
        })
    }
}
