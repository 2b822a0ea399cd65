//! Keys from a JWK (RFC 7517), with every member that restricts them obeyed.

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType,
    Jwk, KeyOperations, OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::{KeyError, KeyErrorKind};
use super::material::{Private, Public, RsaParts};
use super::scheme::{Curve, Scheme};
use super::signing_key::SigningKey;
use super::verifying_key::VerifyingKey;
use crate::base64::{Base64, encode_url};

pub(crate) fn verifying_key(jwk: &Jwk) -> Result<VerifyingKey, KeyError> {
    allowed_to(KeyOperations::Verify, jwk)?;
    let algorithm = algorithm(jwk)?;
    let key = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(key) => VerifyingKey::from_secret(algorithm, decode("k", &key.value)?)?,
        _ => VerifyingKey::from_public(algorithm, Scheme::of(algorithm)?, &public(jwk)?)?,
    };
    Ok(match &jwk.common.key_id {
        Some(kid) => key.with_kid(kid),
        None => key,
    })
}

/// A secret, or a key pair whose private members are there.
pub(crate) fn signing_key(text: &str) -> Result<SigningKey, KeyError> {
    let jwk = parse(text)?;
    let key = private_key(&jwk, text).map_err(|error| match &jwk.common.key_id {
        Some(kid) => error.about(kid),
        None => error,
    })?;
    Ok(match jwk.common.key_id {
        Some(kid) => key.with_kid(kid),
        None => key,
    })
}

/// The public members, or a secret. The parser's own error may quote what it stumbled on: not passed on.
pub(crate) fn parse(text: &str) -> Result<Jwk, KeyError> {
    serde_json::from_str(text).map_err(|_| {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if is_json {
            KeyError::new(
                KeyErrorKind::Unsupported,
                "it is no JWK of a kind known here: its `kty`, `crv` or `alg` is another, or a member is missing",
            )
        } else {
            KeyError::new(KeyErrorKind::Malformed, "it is no JSON; is the file complete?")
        }
    })
}

/// Whether the JWK holds more than a public key.
pub(crate) fn is_private(text: &str) -> bool {
    crate::token::json::members(text).is_ok_and(|members| {
        members.iter().any(|member| matches!(&*member.name, "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth"))
    })
}

/// The private members of RFC 7518 §6.2.2 and §6.3.2, and of RFC 8037 §2.
#[derive(Deserialize)]
struct PrivateMembers {
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    oth: Option<serde::de::IgnoredAny>,
}

impl Drop for PrivateMembers {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        let Self { d, p, q, dp, dq, qi, oth: _ } = self;
        for member in [d, p, q, dp, dq, qi] {
            member.zeroize();
        }
    }
}

fn private_key(jwk: &Jwk, text: &str) -> Result<SigningKey, KeyError> {
    allowed_to(KeyOperations::Sign, jwk)?;
    let algorithm = algorithm(jwk)?;
    if let AlgorithmParameters::OctetKey(key) = &jwk.algorithm {
        return SigningKey::from_secret(algorithm, decode("k", &key.value)?);
    }
    let scheme = Scheme::of(algorithm)?;
    let public = public(jwk)?;
    let members: PrivateMembers = serde_json::from_str(text)
        .map_err(|_| KeyError::new(KeyErrorKind::Malformed, "a private member of it is not a string"))?;
    let member = |name: &str, value: &Option<String>| match value {
        Some(value) => decode(name, value),
        None => Err(KeyError::new(
            KeyErrorKind::WrongType,
            format!("it has no `{name}`: signing takes the private key, with all its members"),
        )),
    };
    let d = member("d", &members.d)?;
    match &public {
        Public::Rsa { .. } => {
            if members.oth.is_some() {
                return Err(KeyError::new(KeyErrorKind::Unsupported, "it has more than two primes"));
            }
            let (p, q) = (member("p", &members.p)?, member("q", &members.q)?);
            let (dp, dq) = (member("dp", &members.dp)?, member("dq", &members.dq)?);
            let qi = member("qi", &members.qi)?;
            let parts = RsaParts::new([&d, &p, &q, &dp, &dq, &qi]);
            SigningKey::from_private(algorithm, scheme, &Private::Rsa { public, parts }, None)
        }
        Public::Ec { curve, point } => {
            if d.len() != curve.field_len() {
                return Err(KeyError::new(
                    KeyErrorKind::Malformed,
                    format!("its `d` does not have the length of one on its crv, {}", curve.name()),
                ));
            }
            SigningKey::from_private(
                algorithm,
                scheme,
                &Private::Ec { curve: *curve, scalar: d },
                Some(point),
            )
        }
        Public::Ed25519 { x } => {
            let seed = <&[u8; 32]>::try_from(d.as_slice())
                .map_err(|_| KeyError::new(KeyErrorKind::Malformed, "its `d` does not have 32 bytes"))?;
            SigningKey::from_private(algorithm, scheme, &Private::Ed25519 { seed }, Some(x))
        }
    }
}

fn public(jwk: &Jwk) -> Result<Public, KeyError> {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => Public::rsa(&decode("n", &key.n)?, &decode("e", &key.e)?),
        AlgorithmParameters::EllipticCurve(key) => {
            let curve = curve(&key.curve)?;
            // RFC 7518 §6.2.1.2: each coordinate has the full length of the field, so that no byte of x can pass for
            // one of y.
            let (x, y) = (decode("x", &key.x)?, decode("y", &key.y)?);
            if x.len() != curve.field_len() || y.len() != curve.field_len() {
                return Err(KeyError::new(
                    KeyErrorKind::Malformed,
                    format!("its coordinates do not have the length of ones on its crv, {}", curve.name()),
                ));
            }
            Public::ec(curve, &[&[4], x.as_slice(), y.as_slice()].concat())
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Public::ed25519(&decode("x", &key.x)?)
        }
        _ => Err(unsupported_type()),
    }
}

/// The JWK of a public key, as other parties are to load it.
pub(crate) fn published(public: &Public, algorithm: Algorithm, kid: &str) -> Jwk {
    let parameters = match public {
        Public::Rsa { n, e } => AlgorithmParameters::RSA(RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: encode_url(n),
            e: encode_url(e),
        }),
        Public::Ec { curve, point } => {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                key_type: EllipticCurveKeyType::EC,
                curve: match curve {
                    Curve::P256 => EllipticCurve::P256,
                    Curve::P384 => EllipticCurve::P384,
                },
                x: encode_url(x),
                y: encode_url(y),
            })
        }
        Public::Ed25519 { x } => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: encode_url(x),
        }),
    };
    let common = CommonParameters {
        public_key_use: Some(PublicKeyUse::Signature),
        key_algorithm: Some(algorithm.into()),
        key_id: Some(kid.to_owned()),
        ..CommonParameters::default()
    };
    Jwk { common, algorithm: parameters }
}

fn allowed_to(operation: KeyOperations, jwk: &Jwk) -> Result<(), KeyError> {
    match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => {}
        Some(_) => {
            return Err(KeyError::new(
                KeyErrorKind::WrongUse,
                "its `use` is not `sig`: it was not made for signatures; leave it out of the ring",
            ));
        }
    }
    let lacking = match &operation {
        KeyOperations::Sign => {
            "its `key_ops` lack `sign`: it was not made for that; leave it out of the ring"
        }
        _ => "its `key_ops` lack `verify`: it was not made for that; leave it out of the ring",
    };
    match &jwk.common.key_operations {
        Some(operations) if !operations.contains(&operation) => {
            Err(KeyError::new(KeyErrorKind::WrongUse, lacking))
        }
        _ => Ok(()),
    }
}

/// The algorithm it names, else the only one that its curve leaves.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, KeyError> {
    if let Some(named) = jwk.common.key_algorithm {
        return Algorithm::try_from(named).map_err(|source| {
            KeyError::new(KeyErrorKind::Unsupported, "its `alg` is not a supported signature algorithm")
                .because(source)
        });
    }
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) => match curve(&key.curve)? {
            Curve::P256 => Ok(Algorithm::ES256),
            Curve::P384 => Ok(Algorithm::ES384),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Ok(Algorithm::EdDSA),
        AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKey(_) => Err(KeyError::new(
            KeyErrorKind::AlgorithmMissing,
            "it names no `alg`, and several algorithms take a key of its type; set `alg`, as in \"alg\": \"RS256\"",
        )),
        _ => Err(unsupported_type()),
    }
}

fn curve(crv: &EllipticCurve) -> Result<Curve, KeyError> {
    match crv {
        EllipticCurve::P256 => Ok(Curve::P256),
        EllipticCurve::P384 => Ok(Curve::P384),
        _ => Err(unsupported_type()),
    }
}

fn decode(member: &str, value: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    Base64::Url.decode(value.as_bytes()).ok_or_else(|| {
        KeyError::new(KeyErrorKind::Malformed, format!("its `{member}` is not base64url without padding"))
    })
}

fn unsupported_type() -> KeyError {
    KeyError::new(
        KeyErrorKind::Unsupported,
        "its `kty` and `crv` are not of a supported kind: RSA, EC on P-256 or P-384, OKP Ed25519, oct",
    )
}
