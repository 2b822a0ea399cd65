//! A verifying key from a JWK (RFC 7517), with every member that restricts it obeyed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType,
    Jwk, KeyOperations, OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType,
};
use zeroize::Zeroizing;

use super::error::{KeyError, KeyErrorKind};
use super::material::Public;
use super::scheme::{Curve, Scheme};
use super::verifying_key::VerifyingKey;

pub(crate) fn verifying_key(jwk: &Jwk) -> Result<VerifyingKey, KeyError> {
    allowed_to_verify(jwk)?;
    let algorithm = algorithm(jwk)?;
    let scheme = Scheme::of(algorithm)?;
    let public = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(key) => {
            let secret = decode("k", &key.value)?;
            return VerifyingKey::from_secret(algorithm, secret).map(|key| named(key, jwk));
        }
        AlgorithmParameters::RSA(key) => Public::rsa(&decode("n", &key.n)?, &decode("e", &key.e)?)?,
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
            Public::ec(curve, &[&[4], x.as_slice(), y.as_slice()].concat())?
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Public::ed25519(&decode("x", &key.x)?)?
        }
        _ => return Err(unsupported_type()),
    };
    VerifyingKey::from_public(algorithm, scheme, &public).map(|key| named(key, jwk))
}

/// The JWK of a public key, as other parties are to load it.
pub(crate) fn published(public: &Public, algorithm: Algorithm, kid: &str) -> Jwk {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let parameters = match public {
        Public::Rsa { n, e } => AlgorithmParameters::RSA(RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: encode(n),
            e: encode(e),
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
                x: encode(x),
                y: encode(y),
            })
        }
        Public::Ed25519 { x } => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: encode(x),
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

fn allowed_to_verify(jwk: &Jwk) -> Result<(), KeyError> {
    match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => {}
        Some(_) => {
            return Err(KeyError::new(
                KeyErrorKind::WrongUse,
                "its `use` is not `sig`: it was not made for signatures; leave it out of the ring",
            ));
        }
    }
    match &jwk.common.key_operations {
        Some(operations) if !operations.contains(&KeyOperations::Verify) => Err(KeyError::new(
            KeyErrorKind::WrongUse,
            "its `key_ops` lack `verify`: it was not made for that; leave it out of the ring",
        )),
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
    // The decoder's own error quotes what it stumbled on: not passed on.
    URL_SAFE_NO_PAD.decode(value).map(Zeroizing::new).map_err(|_| {
        KeyError::new(KeyErrorKind::Malformed, format!("its `{member}` is not base64url without padding"))
    })
}

fn named(key: VerifyingKey, jwk: &Jwk) -> VerifyingKey {
    match &jwk.common.key_id {
        Some(kid) => key.with_kid(kid),
        None => key,
    }
}

fn unsupported_type() -> KeyError {
    KeyError::new(
        KeyErrorKind::Unsupported,
        "its `kty` and `crv` are not of a supported kind: RSA, EC on P-256 or P-384, OKP Ed25519, oct",
    )
}
