//! [`SigningKey`]: signs tokens.

use std::fmt;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::backend::{SignError, Signer};
use super::error::{KeyError, KeyErrorKind};
use super::material::{Private, Public};
use super::thumbprint;
use super::verifying_key::VerifyingKey;
use crate::keys::format::der;
use crate::keys::format::der::{Document, PrivateDocument};
use crate::keys::format::jwk::{Jwk, JwkOptions};
use crate::keys::format::pem;
use crate::keys::format::pkcs8;
use crate::keys::format::pkcs8::Generated;
use crate::keys::format::secret;
use crate::keys::format::secret::Secret;
use crate::keys::format::secret::Shorter;
use crate::keys::issuer_name::IssuerName;

/// A private key or an HMAC secret, pinned to one algorithm.
///
/// It is parsed and prepared once, when it is loaded. Clones share it. The bytes that it was loaded from are not
/// kept. [`Debug`] prints only its `kid` and algorithm.
#[must_use = "a key does nothing until an authority, a ring or a set has it"]
#[derive(Clone)]
pub struct SigningKey {
    signer: Arc<Signer>,
    public: VerifyingKey,
    /// The length of a signature in bytes, the same for every message.
    signature_len: usize,
    /// Whether it was generated here and not stored.
    is_ephemeral: bool,
}

impl SigningKey {
    /// An HMAC secret, for `HS256`, `HS384` or `HS512`.
    ///
    /// The bytes are used as they are: decode base64 or hex first if the secret is written so, and remove a file's
    /// trailing newline.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than the hash (32, 48, 64 bytes; RFC 7518 §3.2), blank, a shorter text repeated,
    /// publicly known or a placeholder, or a PEM, DER, JWK or SSH key, a path or a URL; or if the algorithm takes a key pair.
    pub fn from_secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_checked_secret(algorithm, secret.as_ref(), Shorter::Refused)
    }

    /// An HMAC secret in padded base64, in one line, as `openssl rand -base64 64 | tr -d '\n'` prints it.
    ///
    /// # Errors
    ///
    /// As for [`from_secret`](Self::from_secret), on the decoded bytes, and if the text is not canonical base64: the
    /// other alphabet, missing or surplus padding, stray bits at its end, white space, line ends.
    pub fn from_base64_secret(algorithm: Algorithm, text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_secret(algorithm, secret::decode_base64(text.as_ref())?)
    }

    /// An HMAC secret in base64url, padded or not, in one line, as Python's `secrets.token_urlsafe(64)` returns it.
    ///
    /// # Errors
    ///
    /// As for [`from_base64_secret`](Self::from_base64_secret).
    pub fn from_base64url_secret(algorithm: Algorithm, text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_secret(algorithm, secret::decode_base64url(text.as_ref())?)
    }

    /// A private key in PEM: PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// If the text holds no such key or more than one; if the key is encrypted, or of another type or curve than the
    /// algorithm takes; for an RSA key under 2048 or over 8192 bits or with an exponent under 65537; or if its parts
    /// contradict one another.
    pub fn from_pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let block = pem::read(pem.as_ref())?;
        match &*block.label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Self::from_der(algorithm, &block.der),
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => Err(public_half()),
            label => Err(pem::unsupported(label, "PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")),
        }
    }

    /// A private key in DER: PKCS#8, PKCS#1 `RSAPrivateKey`, or SEC1 `ECPrivateKey`.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem).
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        if matches!(der::kind(der), Some(Document::PublicKey | Document::Certificate)) {
            return Err(public_half());
        }
        let PrivateDocument { private, claimed_public } = der::private_key(der)?;
        Self::from_private(algorithm, &private, claimed_public)
    }

    /// A private JWK (RFC 7517): an `oct` key, or a key pair with its private members. Its own `kid` is kept. With a member
    /// `issuer` it signs only for that issuer.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem) and [`from_secret`](Self::from_secret), and if `use` is not `sig`,
    /// `key_ops` lacks `sign` (for an `oct` key also `verify`), or `alg` is missing although several algorithms take the key.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        Jwk::parse(json)?.signing_key(JwkOptions::default())
    }

    pub(crate) fn from_private(
        algorithm: Algorithm,
        private: &Private<'_>,
        claimed_public: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        algorithm.require(private.key_type())?;
        let (signer, public) = Signer::from_private(algorithm.scheme(), private).map_err(|source| {
            KeyError::new(KeyErrorKind::Malformed, "the cryptographic library refused the private key")
                .because(source)
        })?;
        if claimed_public.is_some_and(|claimed| !is_claimed(&public, claimed)) {
            return Err(KeyError::new(
                KeyErrorKind::Malformed,
                "its document holds a public key that does not belong to the private key; export the pair again",
            )
            .about(&thumbprint::of_public(&public)));
        }
        Self::from_pair(algorithm, signer, &public)
    }

    /// Ways to load a key that weaken it.
    pub fn dangerous() -> DangerousSigningKey {
        DangerousSigningKey { _private: () }
    }

    /// A new random key, for tests and first steps. RSA keys have 2048 bits, secrets 64 bytes.
    ///
    /// It exists in this process only: every token under it is refused after a restart and by every other node.
    ///
    /// # Errors
    ///
    /// If the system's source of randomness fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut key = match pkcs8::generate(algorithm)? {
            Generated::Secret(secret) => Self::from_secret(algorithm, secret.as_slice())?,
            Generated::Pkcs8(der) => Self::from_der(algorithm, &der)?,
        };
        key.is_ephemeral = true;
        Ok(key)
    }

    /// Sets the key's name: the `kid` that its tokens carry, in place of the thumbprint or fingerprint.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.public = self.public.with_kid(kid);
        self
    }

    /// A further `kid` that tokens under this key may carry.
    ///
    /// Several keys of a ring may share one, as all of Airflow's secrets do ("not-used"). They are tried in turn.
    pub fn also_known_as(mut self, kid: impl Into<String>) -> Self {
        self.public = self.public.also_known_as(kid);
        self
    }

    /// Names the algorithm as RFC 9864 does: the tokens of an Ed25519 key have `"alg":"Ed25519"` instead of
    /// `"EdDSA"`, and so does its published JWK. The names of all other algorithms are fully specified already and do
    /// not change.
    ///
    /// Both names are accepted in tokens that are verified here. Default: `EdDSA`, because more libraries know it.
    pub fn with_fully_specified_alg(mut self) -> Self {
        self.public = self.public.with_fully_specified_alg();
        self
    }

    /// Its `kid`: the name that was set, otherwise its [`fingerprint`](Self::fingerprint).
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The RFC 7638 thumbprint of its public half (43 characters). For a secret, a 22-character name that is computed
    /// from it: the same in every process with the same secret, and useless for finding the secret.
    pub fn fingerprint(&self) -> &str {
        self.public.fingerprint()
    }

    /// The algorithm it is pinned to.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// Whether it is a secret shorter than its hash, loaded through [`dangerous`](Self::dangerous).
    pub fn is_short_hmac(&self) -> bool {
        self.public.is_short_hmac()
    }

    /// Whether it was [`generate`](Self::generate)d, so that its tokens become invalid with the process.
    pub fn is_ephemeral(&self) -> bool {
        self.is_ephemeral
    }

    /// The key that verifies its tokens: the public half, or for HMAC the same secret.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// Whether its JWK allows it to sign for this `iss`.
    pub(crate) fn may_sign_for(&self, iss: Option<&str>) -> bool {
        self.public.may_sign_for(iss)
    }

    /// An error if its JWK does not allow it to sign for this `iss`, the own one: no token of it would be admitted.
    pub(crate) fn check_issuer(&self, own: Option<&str>) -> Result<(), KeyError> {
        match self.issuer() {
            Some(named) if !self.may_sign_for(own) => Err(KeyError::new(
                KeyErrorKind::WrongUse,
                format!(
                    "it may not sign for {}: its JWK's `issuer` is {:?}; correct the issuer, or remove the member",
                    own.map_or("no issuer".to_owned(), |own| format!("{own:?}")),
                    named.to_string(),
                ),
            )
            .about(self.kid())),
            _ => Ok(()),
        }
    }

    /// The only `iss` that it may sign, if its JWK names one.
    pub(crate) fn issuer(&self) -> Option<&IssuerName> {
        self.public.issuer()
    }

    /// The algorithm's name, by which keys are compared and logged.
    pub(crate) fn alg(&self) -> &'static str {
        self.public.alg()
    }

    /// The algorithm as its tokens' headers name it.
    pub(crate) fn written_alg(&self) -> &'static str {
        self.public.written_alg()
    }

    pub(crate) fn signature_len(&self) -> usize {
        self.signature_len
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer.sign(message)
    }

    pub(crate) fn from_checked_secret(
        algorithm: Algorithm,
        secret: &[u8],
        shorter: Shorter,
    ) -> Result<Self, KeyError> {
        let secret = Secret::check(algorithm, secret, shorter)?;
        let signer = Arc::new(Signer::from_secret(secret.hash, secret.bytes));
        let (public, signature_len) = (VerifyingKey::from_checked(&secret), secret.hash.len());
        Ok(Self { signer, public, signature_len, is_ephemeral: false })
    }

    fn from_pair(algorithm: Algorithm, signer: Signer, public: &Public) -> Result<Self, KeyError> {
        let signature_len = match public {
            Public::Rsa { n, .. } => n.len(),
            Public::Ec { curve, .. } => 2 * curve.field_len(),
            Public::Ed25519 { .. } => 64,
        };
        let public = VerifyingKey::from_public(algorithm, public)?;
        Ok(Self { signer: Arc::new(signer), public, signature_len, is_ephemeral: false })
    }
}

/// Redacted: a key must not reach a log by way of a struct that holds it.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// Ways to load a [`SigningKey`] that weaken it. Made by [`SigningKey::dangerous`].
#[must_use = "a key does nothing until an authority, a ring or a set has it"]
#[derive(Debug)]
pub struct DangerousSigningKey {
    _private: (),
}

impl DangerousSigningKey {
    /// An HMAC secret that may be shorter than its hash, against RFC 7518 §3.2, but not shorter than 32 bytes.
    ///
    /// For systems whose secret can't be changed: Airflow signs with HS512 and often a 32-byte secret. It costs the
    /// margin above 256 bits of strength, and nothing else if the secret is random.
    ///
    /// # Errors
    ///
    /// As for [`SigningKey::from_secret`], except for the length.
    pub fn short_hmac(self, algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<SigningKey, KeyError> {
        SigningKey::from_checked_secret(algorithm, secret.as_ref(), Shorter::Allowed)
    }
}

fn public_half() -> KeyError {
    KeyError::new(
        KeyErrorKind::WrongType,
        "this is the public half, and signing needs the private one; load it as a `VerifyingKey`",
    )
}

/// Whether `claimed` is the public key that was derived from the private one.
fn is_claimed(derived: &Public, claimed: &[u8]) -> bool {
    match derived {
        Public::Ec { curve, point } => match claimed.split_first() {
            // For a compressed point only x and the parity of y can be compared.
            Some((sign @ (2 | 3), x)) => {
                let len = curve.field_len();
                point.get(1..=len) == Some(x) && point.last().is_some_and(|y| 2 + (y & 1) == *sign)
            }
            _ => point == claimed,
        },
        Public::Ed25519 { x } => x == claimed,
        // Never claimed apart from the private key.
        Public::Rsa { .. } => true,
    }
}

impl From<SigningKey> for VerifyingKey {
    fn from(key: SigningKey) -> Self {
        key.verifying_key()
    }
}

impl From<&SigningKey> for VerifyingKey {
    fn from(key: &SigningKey) -> Self {
        key.verifying_key()
    }
}

impl Jwk<'_> {
    /// Reads the key that signs: a secret, or a key pair whose private members are there.
    pub(crate) fn signing_key(&self, options: JwkOptions) -> Result<SigningKey, KeyError> {
        self.with_name(|| {
            self.require_use("sign")?;
            let key = self.private_key(options)?;
            Ok(SigningKey { public: key.public.described_by(self)?, ..key })
        })
    }

    fn private_key(&self, options: JwkOptions) -> Result<SigningKey, KeyError> {
        let algorithm = self.algorithm(options.assumed)?;
        if self.is_secret() {
            // It also verifies what it signed.
            self.require_use("verify")?;
            return SigningKey::from_checked_secret(algorithm, &self.required("k")?, options.shorter);
        }
        self.with_private(|private, public| SigningKey::from_private(algorithm, private, public))
    }
}
