//! [`KeyFormat`]: how the bytes of a source are read.

use zeroize::Zeroizing;

use crate::jose::base64::Base64;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::der;
use crate::keys::format::der::Document;
use crate::keys::format::jwk::{Jwk, JwkOptions};
use crate::keys::format::pem;
use crate::keys::format::secret;
use crate::keys::format::secret::Shorter;
use crate::keys::format::text;
use crate::keys::key_set::KeySet;
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;

/// How to read the bytes of a file, a variable or a program's output. It is never guessed, because the same bytes are
/// one secret as text and another as base64.
///
/// A private key or a secret signs. A public key only verifies.
#[must_use = "a format does nothing until a source reads with it"]
#[derive(Clone, Debug)]
pub struct KeyFormat {
    encoding: Encoding,
    kid: Option<String>,
    airflow_kid: bool,
    further_kids: Vec<String>,
    options: JwkOptions,
    fully_specified: bool,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Secret(Algorithm),
    Base64(Algorithm, Base64),
    Pem(Algorithm),
    Der(Algorithm),
    Jwk,
    JwkSet,
}

impl KeyFormat {
    /// An HMAC secret: the bytes as they are, without one line end at the end.
    ///
    /// A file or a program's output often ends in a line end that other processes do not count as part of the secret.
    /// Provide a binary secret, which may really end in one, in base64.
    pub fn secret(algorithm: Algorithm) -> Self {
        Self::new(Encoding::Secret(algorithm))
    }

    /// An HMAC secret in base64 (RFC 4648 §4), padded or not. White space, quotes and a byte order mark around it are
    /// dropped.
    pub fn base64(algorithm: Algorithm) -> Self {
        Self::new(Encoding::Base64(algorithm, Base64::StandardAnyPadding))
    }

    /// An HMAC secret in base64url (RFC 4648 §5), padded or not. White space, quotes and a byte order mark around it are
    /// dropped.
    pub fn base64url(algorithm: Algorithm) -> Self {
        Self::new(Encoding::Base64(algorithm, Base64::UrlAnyPadding))
    }

    /// A private or public key in PEM. Its line ends may be the two characters `\n`, as variables hold them, and the
    /// whole may be in base64 or UTF-16.
    pub fn pem(algorithm: Algorithm) -> Self {
        Self::new(Encoding::Pem(algorithm))
    }

    /// A private or public key in DER.
    pub fn der(algorithm: Algorithm) -> Self {
        Self::new(Encoding::Der(algorithm))
    }

    /// One JWK: private, public or `oct`. It names its algorithm itself, so the algorithm changes with the file. A secret with
    /// `"key_ops": ["verify"]` only verifies.
    pub fn jwk() -> Self {
        Self::new(Encoding::Jwk)
    }

    /// A set of own JWKs, read as by [`KeySet::from_own_jwk_set`].
    pub fn jwk_set() -> Self {
        Self::new(Encoding::JwkSet)
    }

    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            kid: None,
            airflow_kid: false,
            further_kids: Vec::new(),
            options: JwkOptions::default(),
            fully_specified: false,
        }
    }

    /// The algorithm of JWKs that name none and could be of it. Without this, RSA keys and secrets without `alg` do not load, because
    /// several algorithms would accept them. The other formats name their algorithm, so this changes nothing for them.
    pub fn assume_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.options.assumed = Some(algorithm);
        self
    }

    /// Sets the key's name, in place of its thumbprint or fingerprint. The keys of a JWK set keep their own names.
    ///
    /// If the name stays the same from key to key, tokens under the old and the new key are tried with both. To
    /// withdraw one of them, use its fingerprint.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Names an RSA key pair as Airflow does, so that Airflow finds it in its JWK set: with the hash of a JWK that holds `key_ops`,
    /// against RFC 7638 §3.2. Tokens that name the thumbprint are accepted, too. Airflow's other keys have the names that they have
    /// here, so this changes nothing for them, for a key with a [`kid`](Self::with_kid), or for a JWK set.
    pub fn with_airflow_kid(mut self) -> Self {
        self.airflow_kid = true;
        self
    }

    /// A further `kid` that tokens of the key may name. The keys of a JWK set keep their own names.
    pub fn also_known_as(mut self, kid: impl Into<String>) -> Self {
        self.further_kids.push(kid.into());
        self
    }

    /// Names the algorithm as [`SigningKey::with_fully_specified_alg`] does: `Ed25519` in place of `EdDSA`. Also for the
    /// keys of a JWK set.
    pub fn with_fully_specified_alg(mut self) -> Self {
        self.fully_specified = true;
        self
    }

    /// Ways to read a key that weaken it.
    pub fn dangerous(self) -> DangerousKeyFormat {
        DangerousKeyFormat(self)
    }

    /// Reads a key, or the keys of a set.
    ///
    /// # Errors
    /// As the constructors of [`SigningKey`] and [`VerifyingKey`].
    pub fn read(&self, bytes: &[u8]) -> Result<KeySet, KeyError> {
        let mut set = self.read_keys(bytes)?;
        if self.fully_specified {
            set.signing = set.signing.map(SigningKey::with_fully_specified_alg);
            set.verifying = set.verifying.into_iter().map(VerifyingKey::with_fully_specified_alg).collect();
        }
        Ok(set)
    }

    fn read_keys(&self, bytes: &[u8]) -> Result<KeySet, KeyError> {
        Ok(match self.encoding {
            Encoding::Secret(algorithm) => self.secret_key(algorithm, without_line_end(bytes))?,
            Encoding::Base64(algorithm, form) => {
                // Editors and shells add quotes and white space, which are never base64 themselves.
                let text = text::undressed(bytes);
                let text = text.trim_ascii();
                let name = if matches!(form, Base64::UrlAnyPadding) { "base64url" } else { "base64" };
                let secret = form.decode(text).ok_or_else(|| secret::not_in(form, text, name))?;
                self.secret_key(algorithm, &secret)?
            }
            Encoding::Pem(algorithm) if pem::read(bytes)?.label.ends_with("PRIVATE KEY") => {
                self.signing(SigningKey::from_pem(algorithm, bytes)?)
            }
            Encoding::Pem(algorithm) => self.verifying(VerifyingKey::from_pem(algorithm, bytes)?),
            Encoding::Der(algorithm) => match der::kind(bytes) {
                Some(Document::PublicKey | Document::Certificate) => {
                    self.verifying(VerifyingKey::from_der(algorithm, bytes)?)
                }
                Some(Document::PrivateKey | Document::EncryptedKey) => {
                    self.signing(SigningKey::from_der(algorithm, bytes)?)
                }
                None => return Err(der::not_a_key(bytes)),
            },
            Encoding::Jwk => {
                let text = text(bytes)?;
                let jwk = Jwk::parse(&text)?;
                if jwk.is_for_signing() {
                    self.signing(jwk.signing_key(self.options)?)
                } else {
                    self.verifying(jwk.verifying_key(self.options)?)
                }
            }
            Encoding::JwkSet => KeySet::own(&text(bytes)?, self.options)?,
        })
    }

    /// Whether the bytes are a certificate, or hold one beside something else, as this format reads them.
    pub(super) fn finds_certificate(&self, bytes: &[u8]) -> bool {
        match self.encoding {
            Encoding::Pem(_) => pem::has_certificate(bytes),
            Encoding::Der(_) => der::kind(bytes) == Some(Document::Certificate),
            Encoding::Secret(_) | Encoding::Base64(..) | Encoding::Jwk | Encoding::JwkSet => false,
        }
    }

    /// Whether half of what it reads would be a key too.
    pub(super) fn is_bare_secret(&self) -> bool {
        matches!(self.encoding, Encoding::Secret(_) | Encoding::Base64(..))
    }

    fn secret_key(&self, algorithm: Algorithm, secret: &[u8]) -> Result<KeySet, KeyError> {
        Ok(self.signing(SigningKey::from_checked_secret(algorithm, secret, self.options.shorter)?))
    }

    fn signing(&self, key: SigningKey) -> KeySet {
        let (kid, further) = self.names(&key.verifying_key());
        KeySet::signing(further.iter().fold(key.with_kid(kid), |key, kid| key.also_known_as(kid)))
    }

    fn verifying(&self, key: VerifyingKey) -> KeySet {
        let (kid, further) = self.names(&key);
        KeySet::verifying([further.iter().fold(key.with_kid(kid), |key, kid| key.also_known_as(kid))])
    }

    /// The key's name, and its further ones.
    fn names(&self, key: &VerifyingKey) -> (String, Vec<String>) {
        let mut further = self.further_kids.clone();
        if let Some(kid) = &self.kid {
            return (kid.clone(), further);
        }
        let has_own_name = key.kid() != key.fingerprint();
        match key.airflow_kid().filter(|_| self.airflow_kid && !has_own_name) {
            Some(kid) => {
                further.push(key.fingerprint().to_owned());
                (kid, further)
            }
            None => (key.kid().to_owned(), further),
        }
    }
}

/// Ways to read a key that weaken it. Made by [`KeyFormat::dangerous`].
#[must_use = "a format does nothing until a source reads with it"]
#[derive(Debug)]
pub struct DangerousKeyFormat(KeyFormat);

impl DangerousKeyFormat {
    /// A secret may be shorter than its hash, against RFC 7518 §3.2, but not shorter than 32 bytes. Also one in a JWK or
    /// a JWK set.
    pub fn short_hmac(mut self) -> KeyFormat {
        self.0.options.shorter = Shorter::Allowed;
        self.0
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn text(bytes: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    text::plain(bytes).ok_or_else(|| KeyError::new(KeyErrorKind::Malformed, "it is not text"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose;

    use super::*;
    use crate::keys::test_keys::*;

    const SECRET: &str = "a secret of these tests: 32 bytes and more";

    fn fingerprint(set: &KeySet) -> &str {
        set.signing.as_ref().unwrap().fingerprint()
    }

    #[test]
    fn a_secret_is_one_secret_with_and_without_its_line_end() {
        let format = KeyFormat::secret(Algorithm::HS256);
        let expected = SigningKey::from_secret(Algorithm::HS256, SECRET).unwrap();
        for end in ["", "\n", "\r\n"] {
            let read = format.read(format!("{SECRET}{end}").as_bytes()).unwrap();
            assert_eq!(fingerprint(&read), expected.fingerprint());
        }
        let two = format.read(format!("{SECRET}\n\n").as_bytes()).unwrap();
        assert_ne!(fingerprint(&two), expected.fingerprint(), "only one is stripped");
    }

    #[test]
    fn base64_is_read_in_the_alphabet_that_was_said() {
        let bytes = std::array::from_fn::<u8, 40, _>(|n| 0xfb ^ (n as u8 * 6));
        let expected = SigningKey::from_secret(Algorithm::HS256, bytes).unwrap();
        let standard = general_purpose::STANDARD.encode(bytes);
        let url = general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        assert!(standard.contains(['+', '/']));
        let read = KeyFormat::base64(Algorithm::HS256).read(format!("{standard}\n").as_bytes()).unwrap();
        assert_eq!(fingerprint(&read), expected.fingerprint());
        let read = KeyFormat::base64url(Algorithm::HS256).read(url.as_bytes()).unwrap();
        assert_eq!(fingerprint(&read), expected.fingerprint());
        for (format, other) in
            [(KeyFormat::base64(Algorithm::HS256), &url), (KeyFormat::base64url(Algorithm::HS256), &standard)]
        {
            let error = format.read(other.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), KeyErrorKind::Malformed);
            assert!(!format!("{error:?}").contains(&other[..8]));
        }
    }

    #[test]
    fn a_path_or_wrapped_base64_is_told_apart() {
        let wrapped =
            format!("{}\n{}", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo", "wMTIzNDU2Nzg5YWJjZGVmZ2hpamtsbW5vcA==");
        for (text, remedy) in [("/run/secrets/jwt.b64\n", "`FileSource`"), (&*wrapped, "join the lines")] {
            for format in [KeyFormat::base64(Algorithm::HS256), KeyFormat::base64url(Algorithm::HS256)] {
                let error = format.read(text.as_bytes()).unwrap_err().to_string();
                assert!(error.contains(remedy), "{error}");
            }
        }
    }

    #[test]
    fn a_private_key_signs_and_a_public_one_verifies() {
        let key = SigningKey::from_pem(Algorithm::ES256, P256).unwrap();
        let format = KeyFormat::pem(Algorithm::ES256);
        assert_eq!(fingerprint(&format.read(P256).unwrap()), key.fingerprint());
        let public = format.read(P256_PUBLIC).unwrap();
        assert!(public.signing.is_none());
        assert_eq!(public.verifying[0].fingerprint(), key.fingerprint());

        let format = KeyFormat::der(Algorithm::ES256);
        let private = pem::read(P256).unwrap().der;
        assert_eq!(fingerprint(&format.read(&private).unwrap()), key.fingerprint());
        let public = format.read(&pem::read(P256_PUBLIC).unwrap().der).unwrap();
        assert_eq!(public.verifying[0].fingerprint(), key.fingerprint());
    }

    /// In DER no label says which half it is, so the document itself does.
    #[test]
    fn der_is_refused_for_what_is_wrong_with_it_as_pem_is() {
        use Algorithm::{ES256, RS256};
        for (algorithm, pem, says) in [
            (RS256, RSA_1024_PUBLIC, "has 1024 bits"),
            (RS256, RSA_1024, "has 1024 bits"),
            (RS256, RSA_2048_E3, "exponent"),
            (ES256, RSA_2048_PUBLIC, "ES256 takes"),
            (ES256, RSA_2048_PUBLIC_PKCS1, "ES256 takes"),
            (ES256, RSA_2048_CERTIFICATE, "ES256 takes"),
            (ES256, RSA_2048, "ES256 takes"),
            (ES256, RSA_2048_PKCS1, "ES256 takes"),
            (ES256, P384_SEC1, "ES256 takes"),
            (RS256, P256_PUBLIC, "RS256 takes"),
            (RS256, P256_CERTIFICATE, "RS256 takes"),
            (RS256, ED25519, "RS256 takes"),
            (ES256, P521, "another curve"),
        ] {
            let der = pem::read(pem).unwrap().der;
            let of_pem = KeyFormat::pem(algorithm).read(pem).unwrap_err();
            let of_der = KeyFormat::der(algorithm).read(&der).unwrap_err();
            assert_eq!(of_der.to_string(), of_pem.to_string());
            assert!(of_der.to_string().contains(says), "{says}: {of_der}");
        }
        let encrypted = String::from_utf8_lossy(P256_ENCRYPTED);
        let body: String = encrypted.lines().filter(|line| !line.starts_with('-')).collect();
        let encrypted = general_purpose::STANDARD.decode(body).unwrap();
        for (bytes, says) in [
            (&encrypted[..], "decrypt it first"),
            (P256, "`KeyFormat::pem`"),
            (b"", "neither a private nor a public key"),
            (b"hunter2", "neither a private nor a public key"),
            (b"\x30\x03\x02\x01\x00", "neither a private nor a public key"),
        ] {
            let error = KeyFormat::der(ES256).read(bytes).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_set_where_one_jwk_was_expected_is_named() {
        for text in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct"}],"more":1}"#] {
            let error = KeyFormat::jwk().read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("`KeyFormat::jwk_set`"), "{error}");
        }
        for text in [r#"[{"kty":"oct"}]"#, "{}", r#"{"keys":7}"#] {
            let error = KeyFormat::jwk().read(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("jwk_set"), "{error}");
        }
    }

    #[test]
    fn a_jwk_that_names_no_algorithm_takes_the_assumed_one() {
        let without_alg = |jwk: &[u8]| {
            let mut jwk: serde_json::Value = serde_json::from_slice(jwk).unwrap();
            jwk.as_object_mut().unwrap().remove("alg");
            jwk
        };
        let private = without_alg(RSA_2048_JWK);
        let public =
            SigningKey::from_pem(Algorithm::RS256, RSA_2048).unwrap().verifying_key().to_jwk().unwrap();
        let public = without_alg(public.as_bytes());
        let ed25519 =
            SigningKey::from_pem(Algorithm::EdDSA, ED25519).unwrap().verifying_key().to_jwk().unwrap();
        let ed25519 = without_alg(ed25519.as_bytes());
        let oct = serde_json::json!({ "kty": "oct", "k": general_purpose::URL_SAFE_NO_PAD.encode(SECRET), "kid": "s" });
        let set = |key: &serde_json::Value| serde_json::json!({ "keys": [key] });
        for (key, assumed, read) in [
            (&private, Algorithm::RS512, Some(Algorithm::RS512)),
            (&public, Algorithm::RS512, Some(Algorithm::RS512)),
            (&oct, Algorithm::HS256, Some(Algorithm::HS256)),
            // Only one algorithm takes it.
            (&ed25519, Algorithm::RS256, Some(Algorithm::EdDSA)),
            (&public, Algorithm::HS256, None),
            (&oct, Algorithm::RS256, None),
        ] {
            for (format, text) in
                [(KeyFormat::jwk(), key.to_string()), (KeyFormat::jwk_set(), set(key).to_string())]
            {
                let found = format.clone().assume_algorithm(assumed).read(text.as_bytes());
                let found = found.ok().and_then(|set| set.into_verifying().next());
                assert_eq!(found.map(|key| key.algorithm()), read, "{assumed:?}");
                let is_named = read == Some(Algorithm::EdDSA);
                assert_eq!(format.read(text.as_bytes()).is_ok(), is_named, "nothing is assumed");
            }
        }
    }

    #[test]
    fn airflows_name_is_given_to_rsa_keys_without_one() {
        let format = KeyFormat::pem(Algorithm::RS256).with_airflow_kid();
        // Printed by `key_to_jwk_dict` of apache-airflow-core 3.3.2 for this key.
        let airflows = "3SyWBuRNcd9CKsedqXvgg_RcsESs-JFTPUjQP9cy85s";
        let key = format.read(RSA_2048).unwrap().signing.unwrap();
        assert_eq!(key.kid(), airflows);
        let ring = crate::KeyRing::new(key.clone());
        assert!(ring.knows_kid(Some(key.fingerprint()), || None), "its thumbprint names it, too");
        let public = format.read(RSA_2048_PUBLIC).unwrap();
        assert_eq!(public.verifying[0].kid(), airflows);
        assert_eq!(format.with_kid("k1").read(RSA_2048).unwrap().signing.unwrap().kid(), "k1");
        let other =
            KeyFormat::pem(Algorithm::EdDSA).with_airflow_kid().read(ED25519).unwrap().signing.unwrap();
        assert_eq!(other.kid(), other.fingerprint());
        let jwk = key.verifying_key().with_kid("own").to_jwk().unwrap();
        assert_eq!(
            KeyFormat::jwk().with_airflow_kid().read(jwk.as_bytes()).unwrap().verifying[0].kid(),
            "own"
        );
    }

    #[test]
    fn names_and_a_short_secret_are_given_with_the_format() {
        let format = KeyFormat::secret(Algorithm::HS512).with_kid("main").also_known_as("not-used");
        assert_eq!(format.read(SECRET.as_bytes()).unwrap_err().kind(), KeyErrorKind::Weak);
        let set = format.dangerous().short_hmac().read(SECRET.as_bytes()).unwrap();
        let ring = crate::KeyRing::new(set.signing.unwrap());
        assert!(ring.knows_kid(Some("main"), || None) && ring.knows_kid(Some("not-used"), || None));
    }

    #[test]
    fn a_short_secret_is_allowed_in_a_jwk_too() {
        let oct = |kid: &str| serde_json::json!({ "kty": "oct", "alg": "HS512", "kid": kid, "k": general_purpose::URL_SAFE_NO_PAD.encode(format!("{SECRET}{kid}")) });
        let mut verifying = oct("old");
        verifying["key_ops"] = serde_json::json!(["verify"]);
        for (format, text, kids) in [
            (KeyFormat::jwk(), oct("new").to_string(), &["new"][..]),
            (KeyFormat::jwk(), verifying.to_string(), &["old"]),
            (
                KeyFormat::jwk_set(),
                serde_json::json!({ "keys": [verifying, oct("new"), oct("older")] }).to_string(),
                &["new", "old", "older"],
            ),
        ] {
            assert!(format.read(text.as_bytes()).is_err());
            let set = format.dangerous().short_hmac().read(text.as_bytes()).unwrap();
            assert!(set.skipped.is_empty(), "{:?}", set.skipped);
            let keys: Vec<_> = set.into_verifying().collect();
            assert!(keys.iter().all(VerifyingKey::is_short_hmac));
            assert_eq!(keys.iter().map(VerifyingKey::kid).collect::<Vec<_>>(), kids);
        }
    }
}
