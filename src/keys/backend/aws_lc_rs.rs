//! Signatures by aws-lc-rs.

use ::aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use ::aws_lc_rs::rand::SystemRandom;
use ::aws_lc_rs::rsa::{KeyPairComponents, KeySize};
use ::aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaKeyPair,
    RsaPublicKeyComponents,
};
use ::aws_lc_rs::{digest, hmac, rand};
use zeroize::Zeroizing;

use super::{RandomnessFailed, Refused, SignError};
use crate::keys::material::{Private, Public};
use crate::keys::scheme::{Curve, Hash, KeyType, Scheme};

#[allow(clippy::large_enum_variant, reason = "one per key, behind an Arc; a box would only add a step")]
pub(crate) enum Signer {
    Hmac(hmac::Key),
    Rsa { key: RsaKeyPair, padding: &'static dyn signature::RsaEncoding },
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

#[allow(clippy::large_enum_variant, reason = "one per key, behind an Arc; a box would only add a step")]
pub(crate) enum Verifier {
    Hmac(hmac::Key),
    Public(ParsedPublicKey),
}

impl Signer {
    pub(crate) fn from_secret(hash: Hash, secret: &[u8]) -> Self {
        Self::Hmac(hmac_key(hash, secret))
    }

    /// Prepares a private key and derives its public half.
    pub(crate) fn from_private(scheme: Scheme, private: &Private<'_>) -> Result<(Self, Public), Refused> {
        match (scheme, private) {
            (
                Scheme::RsaPkcs1(_) | Scheme::RsaPss(_),
                Private::Rsa { public: public @ Public::Rsa { n, e }, parts },
            ) => {
                let key = RsaKeyPair::from_components(&KeyPairComponents {
                    public_key: RsaPublicKeyComponents { n, e },
                    d: parts.d,
                    p: parts.p,
                    q: parts.q,
                    dP: parts.dp,
                    dQ: parts.dq,
                    qInv: parts.qinv,
                })?;
                Ok((Self::Rsa { key, padding: rsa_encoding(scheme)? }, public.clone()))
            }
            (Scheme::Ecdsa(wanted), Private::Ec { curve, scalar }) if wanted == *curve => {
                let key = EcdsaKeyPair::from_private_key_der(ecdsa(wanted), &bare_ec_private_key(scalar))?;
                let public = Public::ec(*curve, key.public_key().as_ref())?;
                Ok((Self::Ecdsa(key), public))
            }
            (Scheme::Ed25519, Private::Ed25519 { seed }) => {
                let key = Ed25519KeyPair::from_seed_unchecked(*seed)?;
                let public = Public::ed25519(key.public_key().as_ref())?;
                Ok((Self::Ed25519(key), public))
            }
            _ => Err("the key is not of the algorithm's type".into()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa { key, padding } => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*padding, &SystemRandom::new(), message, &mut signature).map_err(|_| SignError)?;
                Ok(signature)
            }
            Self::Ecdsa(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(|_| SignError)?.as_ref().to_vec()),
        }
    }
}

impl Verifier {
    pub(crate) fn from_secret(hash: Hash, secret: &[u8]) -> Self {
        Self::Hmac(hmac_key(hash, secret))
    }

    pub(crate) fn from_public(scheme: Scheme, public: &Public) -> Result<Self, Refused> {
        let key = match (scheme, public) {
            (Scheme::RsaPkcs1(_) | Scheme::RsaPss(_), Public::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(scheme)?)?
            }
            (Scheme::Ecdsa(Curve::P256), Public::Ec { curve: Curve::P256, point }) => {
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)?
            }
            (Scheme::Ecdsa(Curve::P384), Public::Ec { curve: Curve::P384, point }) => {
                ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)?
            }
            (Scheme::Ed25519, Public::Ed25519 { x }) => ParsedPublicKey::new(&signature::ED25519, x)?,
            _ => return Err("the key is not of the algorithm's type".into()),
        };
        Ok(Self::Public(key))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    /// The public key as SubjectPublicKeyInfo, RFC 5280.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Hmac(_) => Err("a secret has no public half".into()),
            Self::Public(key) => Ok(key.as_der()?.as_ref().to_vec()),
        }
    }
}

/// A fresh private key as PKCS#8, version 1: OpenSSL does not read version 2.
pub(crate) fn generate(key_type: KeyType) -> Result<Zeroizing<Vec<u8>>, Refused> {
    // The library's own documents are zeroed when they are dropped.
    let der = match key_type {
        KeyType::Rsa => {
            let der: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
            der.as_ref().to_vec()
        }
        KeyType::Ec(curve) => EcdsaKeyPair::generate(ecdsa(curve))?.to_pkcs8v1()?.as_ref().to_vec(),
        KeyType::Ed25519 => Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec(),
    };
    Ok(Zeroizing::new(der))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), RandomnessFailed> {
    rand::fill(bytes).map_err(|_| RandomnessFailed)
}

fn hmac_key(hash: Hash, secret: &[u8]) -> hmac::Key {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::Key::new(algorithm, secret)
}

fn rsa_encoding(scheme: Scheme) -> Result<&'static dyn signature::RsaEncoding, Refused> {
    Ok(match scheme {
        Scheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
        Scheme::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
        Scheme::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
        Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_SHA256,
        Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_SHA384,
        Scheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_SHA512,
        _ => return Err("not an RSA algorithm".into()),
    })
}

fn rsa_parameters(scheme: Scheme) -> Result<&'static signature::RsaParameters, Refused> {
    Ok(match scheme {
        Scheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1(Hash::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1(Hash::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPss(Hash::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return Err("not an RSA algorithm".into()),
    })
}

fn ecdsa(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}

/// An RFC 5915 `ECPrivateKey` with nothing but its scalar; the curve is the algorithm's, the point is derived.
///
/// Written by hand: the library takes a scalar by itself only together with its point, which many keys come without.
fn bare_ec_private_key(scalar: &[u8]) -> Zeroizing<Vec<u8>> {
    // 32 or 48 bytes: every length fits into one byte.
    let len = scalar.len() as u8;
    let mut der = Zeroizing::new(Vec::with_capacity(7 + scalar.len()));
    der.extend_from_slice(&[0x30, 5 + len, 0x02, 1, 1, 0x04, len]);
    der.extend_from_slice(scalar);
    der
}
