//! Keys from a JWK (RFC 7517). Members that restrict the use of a key are obeyed.

use std::borrow::Cow;

use zeroize::{Zeroize as _, Zeroizing};

use crate::jose::base64::Base64;
use crate::jose::base64::encode_url;
use crate::jose::json;
use crate::jose::json::Member;
use crate::jose::json::quoted;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::secret::Shorter;
use crate::keys::issuer_name::IssuerName;
use crate::keys::material::{Private, Public, RsaParts};
use crate::keys::scheme::{Curve, KeyType};

/// A JWK as text. Members are parsed when they are needed. A member that is `null` counts as absent. Members that are not used
/// (`x5c`, `x5t`, `ext`) may have any value.
pub(crate) struct Jwk<'a> {
    members: Vec<Member<'a>>,
}

/// What the reader of a JWK decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JwkOptions {
    /// The algorithm of a key that names none and could be of it.
    pub(crate) assumed: Option<Algorithm>,
    /// Of an `oct` key.
    pub(crate) shorter: Shorter,
}

impl<'a> Jwk<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, KeyError> {
        let text = text.trim_start_matches('\u{feff}');
        let members = json::members(text).map_err(|_| {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            malformed(if is_json {
                "it is not a JWK: a JSON object in which no member is repeated"
            } else if super::text::is_path(text) {
                "it is the path of a file; pass the text of the file, or use a `FileSource`"
            } else {
                "it is not JSON; is the file complete?"
            })
        })?;
        Ok(Self { members })
    }

    /// `None` if it is absent or not a string. In the latter case loading the key fails.
    pub(crate) fn kid(&self) -> Option<Cow<'a, str>> {
        self.string("kid").ok().flatten()
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.string("kty").is_ok_and(|kty| kty.as_deref() == Some("oct"))
    }

    /// Whether it holds more than a public key. `priv` is the private member of `AKP` keys, which are not supported.
    pub(crate) fn is_private(&self) -> bool {
        ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"].into_iter().any(|name| self.member(name).is_some())
    }

    /// Whether it is there to sign: a private key, or a secret unless its `key_ops` say that it only verifies.
    pub(crate) fn is_for_signing(&self) -> bool {
        let only_verifies = || {
            let has =
                |operations: &[Cow<'_, str>], name| operations.iter().any(|operation| operation == name);
            let operations = self.key_ops().ok().flatten();
            operations.is_some_and(|operations| has(&operations, "verify") && !has(&operations, "sign"))
        };
        if self.is_secret() { !only_verifies() } else { self.is_private() }
    }

    /// Whether it is certain that it can't sign: a public key of a type whose private members are known.
    pub(crate) fn is_public(&self) -> bool {
        let kty = self.string("kty").ok().flatten();
        !self.is_private() && kty.is_some_and(|kty| ["RSA", "EC", "OKP", "AKP"].contains(&&*kty))
    }

    /// Whether it is marked for encryption. Many sets contain such keys on purpose, so they are not reported.
    pub(crate) fn is_for_encryption(&self) -> bool {
        const OPERATIONS: [&str; 6] =
            ["encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"];
        match (self.string("use"), self.key_ops(), self.string("alg")) {
            (Ok(Some(purpose)), ..) => purpose == "enc",
            (_, Ok(Some(operations)), _) if !operations.is_empty() => {
                operations.iter().all(|operation| OPERATIONS.contains(&&**operation))
            }
            // The key management algorithms of RFC 7518 §4.1.
            (_, _, Ok(Some(alg))) => {
                ["RSA1_5", "RSA-OAEP", "ECDH-ES", "PBES2-"].iter().any(|begin| alg.starts_with(begin))
                    || alg.ends_with("KW")
                    || alg == "dir"
            }
            _ => false,
        }
    }

    /// Passes the private key to `load`, with the public key in the same JWK unless the private members contain it.
    pub(in crate::keys) fn with_private<T>(
        &self,
        load: impl FnOnce(&Private<'_>, Option<&[u8]>) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let public = self.public()?;
        let private = |name: &str| {
            self.decoded(name)?.ok_or_else(|| {
                KeyError::new(
                    KeyErrorKind::WrongType,
                    format!("it has no `{name}`: signing needs the private key with all its members"),
                )
            })
        };
        let d = private("d")?;
        match &public {
            Public::Rsa { .. } => {
                if self.member("oth").is_some() {
                    return Err(KeyError::new(KeyErrorKind::Unsupported, "it has more than two primes"));
                }
                let (p, q) = (private("p")?, private("q")?);
                let (dp, dq, qi) = (private("dp")?, private("dq")?, private("qi")?);
                let parts = RsaParts::new([&d, &p, &q, &dp, &dq, &qi]);
                load(&Private::Rsa { public, parts }, None)
            }
            Public::Ec { curve, point } => {
                if d.len() != curve.field_len() {
                    let name = curve.name();
                    return Err(malformed(format!(
                        "its `d` does not have the length that its crv, {name}, requires"
                    )));
                }
                load(&Private::Ec { curve: *curve, scalar: d }, Some(point))
            }
            Public::Ed25519 { x } => {
                let seed = <&[u8; 32]>::try_from(d.as_slice())
                    .map_err(|_| malformed("its `d` does not have 32 bytes"))?;
                load(&Private::Ed25519 { seed }, Some(x))
            }
        }
    }

    /// Adds the JWK's own name to an error, because its owner recognises that better than a thumbprint.
    pub(in crate::keys) fn with_name<T>(
        &self,
        load: impl FnOnce() -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let kid = self.string("kid")?;
        load().map_err(|error| match kid {
            Some(kid) => error.renamed(&kid),
            None => error,
        })
    }

    pub(in crate::keys) fn public(&self) -> Result<Public, KeyError> {
        match self.kind()? {
            Kind::Rsa => Public::rsa(&self.required("n")?, &self.required("e")?),
            Kind::Ec(curve) => {
                // RFC 7518 §6.2.1.2: each coordinate has the full length of the field. Otherwise a byte of x could count
                // as one of y.
                let (x, y) = (self.required("x")?, self.required("y")?);
                if x.len() != curve.field_len() || y.len() != curve.field_len() {
                    let name = curve.name();
                    return Err(malformed(format!(
                        "its coordinates do not have the length that its crv, {name}, requires"
                    )));
                }
                Public::ec(curve, &[&[4], x.as_slice(), y.as_slice()].concat())
            }
            Kind::Ed25519 => Public::ed25519(&self.required("x")?),
            Kind::Oct => Err(unsupported_type()),
        }
    }

    pub(in crate::keys) fn require_use(&self, operation: &str) -> Result<(), KeyError> {
        let wrong_use = |message: String| Err(KeyError::new(KeyErrorKind::WrongUse, message));
        if self.string("use")?.is_some_and(|purpose| purpose != "sig") {
            return wrong_use(
                "its `use` is not `sig`, so it must not be used for signatures; leave it out of the ring"
                    .to_owned(),
            );
        }
        match self.key_ops()? {
            Some(operations) if !operations.iter().any(|named| named == operation) => wrong_use(format!(
                "its `key_ops` lack `{operation}`, so it must not be used for that; leave it out of the ring"
            )),
            _ => Ok(()),
        }
    }

    /// The algorithm that it names, or the only one for its curve, or the assumed one if that takes a key of its type.
    pub(in crate::keys) fn algorithm(&self, assumed: Option<Algorithm>) -> Result<Algorithm, KeyError> {
        if let Some(alg) = self.string("alg")? {
            return alg.parse().map_err(|_| {
                let alg: String = alg.chars().take(32).flat_map(char::escape_debug).collect();
                KeyError::new(
                    KeyErrorKind::Unsupported,
                    format!("its `alg`, \"{alg}\", is not a supported signature algorithm"),
                )
            });
        }
        let key_type = match self.kind()? {
            Kind::Ec(Curve::P256) => return Ok(Algorithm::ES256),
            Kind::Ec(Curve::P384) => return Ok(Algorithm::ES384),
            Kind::Ed25519 => return Ok(Algorithm::EdDSA),
            Kind::Rsa => Some(KeyType::Rsa),
            Kind::Oct => None,
        };
        assumed.filter(|assumed| assumed.key_type() == key_type).ok_or_else(|| {
            KeyError::new(
                KeyErrorKind::AlgorithmMissing,
                "it names no `alg`, and several algorithms take a key of its type; in your own file, set it, as in \
                 \"alg\": \"RS256\"; if all tokens of an issuer have one algorithm, name it with \
                 `JwksUrl::assume_algorithm` or, for a file, `KeyFormat::assume_algorithm`",
            )
        })
    }

    fn kind(&self) -> Result<Kind, KeyError> {
        let kty = self.string("kty")?.ok_or_else(|| {
            malformed(match self.member("keys") {
                Some(keys) if keys.starts_with('[') => {
                    "it is a JWK set, not one JWK; read it with `KeyFormat::jwk_set` or `KeySet::from_jwk_set`"
                }
                _ => "it has no `kty`, so it is not a JWK",
            })
        })?;
        match (&*kty, self.string("crv")?.as_deref()) {
            ("RSA", _) => Ok(Kind::Rsa),
            ("oct", _) => Ok(Kind::Oct),
            ("EC", Some("P-256")) => Ok(Kind::Ec(Curve::P256)),
            ("EC", Some("P-384")) => Ok(Kind::Ec(Curve::P384)),
            ("OKP", Some("Ed25519")) => Ok(Kind::Ed25519),
            _ => Err(unsupported_type()),
        }
    }

    /// Some writers use a string for a single operation. It restricts the key in the same way.
    fn key_ops(&self) -> Result<Option<Vec<Cow<'a, str>>>, KeyError> {
        let Some(value) = self.member("key_ops") else { return Ok(None) };
        if let Some(operation) = json::string(value) {
            return Ok(Some(vec![operation]));
        }
        let operations =
            json::strings(value).ok_or_else(|| malformed("its `key_ops` is not an array of strings"))?;
        Ok(Some(operations.into_iter().map(|(_, operation)| operation).collect()))
    }

    pub(in crate::keys) fn required(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.decoded(name)?.ok_or_else(|| malformed(format!("it has no `{name}`")))
    }

    pub(in crate::keys) fn decoded(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let Some(mut text) = self.string(name)? else { return Ok(None) };
        let bytes = Base64::Url.decode(text.as_bytes());
        // It is a copy if something in it was escaped.
        if let Cow::Owned(copy) = &mut text {
            copy.zeroize();
        }
        bytes.map(Some).ok_or_else(|| malformed(format!("its `{name}` is not base64url without padding")))
    }

    pub(in crate::keys) fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, KeyError> {
        let Some(value) = self.member(name) else { return Ok(None) };
        json::string(value).map(Some).ok_or_else(|| {
            let found = match value.as_bytes().first() {
                Some(b'{') => "an object",
                Some(b'[') => "an array",
                Some(b't' | b'f') => "a boolean",
                _ => "a number",
            };
            malformed(format!("its `{name}` is {found}; RFC 7517 requires a string"))
        })
    }

    pub(in crate::keys) fn member(&self, name: &str) -> Option<&'a str> {
        let member = self.members.iter().find(|member| member.name == name)?;
        Some(member.value).filter(|value| *value != "null")
    }
}

/// The supported combinations of `kty` and `crv`.
enum Kind {
    Rsa,
    Ec(Curve),
    Ed25519,
    Oct,
}

/// The JWK of a public key, to publish.
pub(crate) fn published(public: &Public, alg: &str, kid: &str, issuer: Option<&IssuerName>) -> String {
    let parameters = match public {
        Public::Rsa { n, e } => format!(r#""kty":"RSA","n":"{}","e":"{}""#, encode_url(n), encode_url(e)),
        Public::Ec { curve, point } => {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let (crv, x, y) = (curve.name(), encode_url(x), encode_url(y));
            format!(r#""kty":"EC","crv":"{crv}","x":"{x}","y":"{y}""#)
        }
        Public::Ed25519 { x } => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode_url(x)),
    };
    // Without it the key could sign more where it is read than it may here.
    let issuer = issuer.map(|name| format!(r#","issuer":{}"#, quoted(&name.to_string()))).unwrap_or_default();
    format!(r#"{{"use":"sig","alg":"{alg}","kid":{}{issuer},{parameters}}}"#, quoted(kid))
}

fn malformed(message: impl Into<Cow<'static, str>>) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, message)
}

fn unsupported_type() -> KeyError {
    KeyError::new(
        KeyErrorKind::Unsupported,
        "its `kty` and `crv` are not of a supported kind: RSA, EC on P-256 or P-384, OKP Ed25519, oct",
    )
}
