//! Signatures by the RustCrypto crates.

use ed25519::pkcs8::KeypairBytes;
use ed25519_dalek::Verifier as _;
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac as _};
use p256::ecdsa::signature::Signer as _;
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use rsa::traits::PrivateKeyParts as _;
use rsa::{BoxedUint, Generate as _, PrivateKey, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::{RandomnessFailed, Refused, SignError};
use crate::keys::material::{Private, Public, RsaParts};
use crate::keys::scheme::{Curve, Hash, KeyType, Scheme};

pub(crate) enum Signer {
    Hmac(HmacKey),
    Rsa { key: PrivateKey, padding: Padding },
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

#[allow(clippy::large_enum_variant, reason = "one per key, behind an Arc; a box would only add a step")]
pub(crate) enum Verifier {
    Hmac(HmacKey),
    Rsa { key: PublicKey, padding: Padding },
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The state after the key's two blocks; each message starts from a clone of it.
pub(crate) enum HmacKey {
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

#[derive(Clone, Copy)]
pub(crate) enum Padding {
    Pkcs1(Hash),
    Pss(Hash),
}

impl Signer {
    pub(crate) fn from_secret(hash: Hash, secret: &[u8]) -> Self {
        Self::Hmac(HmacKey::new(hash, secret))
    }

    /// Prepares a private key and derives its public half.
    pub(crate) fn from_private(scheme: Scheme, private: &Private<'_>) -> Result<(Self, Public), Refused> {
        match (scheme, private) {
            (
                Scheme::RsaPkcs1(_) | Scheme::RsaPss(_),
                Private::Rsa { public: public @ Public::Rsa { n, e }, parts },
            ) => {
                let key = rsa_private_key(n, e, parts)?;
                Ok((Self::Rsa { key, padding: Padding::of(scheme)? }, public.clone()))
            }
            (Scheme::Ecdsa(Curve::P256), Private::Ec { curve: Curve::P256, scalar }) => {
                let key = p256::ecdsa::SigningKey::from_slice(scalar)?;
                let point = key.verifying_key().to_sec1_point(false);
                Ok((Self::P256(key), Public::ec(Curve::P256, point.as_bytes())?))
            }
            (Scheme::Ecdsa(Curve::P384), Private::Ec { curve: Curve::P384, scalar }) => {
                let key = p384::ecdsa::SigningKey::from_slice(scalar)?;
                let point = key.verifying_key().to_sec1_point(false);
                Ok((Self::P384(key), Public::ec(Curve::P384, point.as_bytes())?))
            }
            (Scheme::Ed25519, Private::Ed25519 { seed }) => {
                let key = ed25519_dalek::SigningKey::from_bytes(seed);
                let public = Public::ed25519(key.verifying_key().as_bytes())?;
                Ok((Self::Ed25519(key), public))
            }
            _ => Err("the key is not of the algorithm's type".into()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Hmac(key) => Ok(key.sign(message)),
            Self::Rsa { key, padding } => padding.sign(key, message),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(|_| SignError)?;
                Ok(signature.to_vec())
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(|_| SignError)?;
                Ok(signature.to_vec())
            }
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(|_| SignError)?.to_bytes().to_vec()),
        }
    }
}

impl Verifier {
    pub(crate) fn from_secret(hash: Hash, secret: &[u8]) -> Self {
        Self::Hmac(HmacKey::new(hash, secret))
    }

    pub(crate) fn from_public(scheme: Scheme, public: &Public) -> Result<Self, Refused> {
        Ok(match (scheme, public) {
            (Scheme::RsaPkcs1(_) | Scheme::RsaPss(_), Public::Rsa { n, e }) => {
                let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
                Self::Rsa { key: PublicKey::new(n, e)?, padding: Padding::of(scheme)? }
            }
            (Scheme::Ecdsa(Curve::P256), Public::Ec { curve: Curve::P256, point }) => {
                Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point)?)
            }
            (Scheme::Ecdsa(Curve::P384), Public::Ec { curve: Curve::P384, point }) => {
                Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point)?)
            }
            (Scheme::Ed25519, Public::Ed25519 { x }) => {
                Self::Ed25519(ed25519_dalek::VerifyingKey::from_bytes(x)?)
            }
            _ => return Err("the key is not of the algorithm's type".into()),
        })
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => key.verify(message, signature),
            Self::Rsa { key, padding } => padding.verify(key, message, signature),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // Not `verify_strict`, which refuses an R of small order as well; aws-lc does not, and the verdict must
            // not depend on the build. Public keys of small order were refused at load.
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// The public key as SubjectPublicKeyInfo, RFC 5280.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, Refused> {
        let document = match self {
            Self::Hmac(_) => return Err("a secret has no public half".into()),
            Self::Rsa { key, .. } => key.to_public_key_der()?,
            Self::P256(key) => key.to_public_key_der()?,
            Self::P384(key) => key.to_public_key_der()?,
            Self::Ed25519(key) => key.to_public_key_der()?,
        };
        Ok(document.into_vec())
    }
}

/// A fresh private key as PKCS#8, version 1: OpenSSL does not read version 2.
pub(crate) fn generate(key_type: KeyType) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let document = match key_type {
        KeyType::Rsa => PrivateKey::new(&mut SysRng, 2048)?.to_pkcs8_der()?,
        KeyType::Ec(Curve::P256) => p256::ecdsa::SigningKey::try_generate()?.to_pkcs8_der()?,
        KeyType::Ec(Curve::P384) => p384::ecdsa::SigningKey::try_generate()?.to_pkcs8_der()?,
        KeyType::Ed25519 => {
            let mut pair = KeypairBytes { secret_key: [0; 32], public_key: None };
            getrandom::fill(&mut pair.secret_key)?;
            pair.to_pkcs8_der()?
        }
    };
    Ok(document.to_bytes())
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), RandomnessFailed> {
    getrandom::fill(bytes).map_err(|_| RandomnessFailed)
}

fn rsa_private_key(n: &[u8], e: &[u8], parts: &RsaParts<'_>) -> Result<PrivateKey, Refused> {
    let bits = u32::try_from(8 * n.len())?;
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits);
    let primes = vec![number(parts.p)?, number(parts.q)?];
    let key = PrivateKey::from_components(
        number(n)?,
        BoxedUint::from_be_slice_vartime(e),
        number(parts.d)?,
        primes,
    )?;
    // The library derives these anew and is never told the document's; aws-lc refuses a document whose are wrong.
    let given = [
        Zeroizing::new(number(parts.dp)?),
        Zeroizing::new(number(parts.dq)?),
        Zeroizing::new(number(parts.qinv)?),
    ];
    let [dp, dq, qinv] = &given;
    let derived = key.qinv().map(|qinv| Zeroizing::new(qinv.retrieve()));
    if key.dp() == Some(dp) && key.dq() == Some(dq) && derived.as_ref() == Some(qinv) {
        Ok(key)
    } else {
        Err("the parts of the RSA key contradict one another".into())
    }
}

impl HmacKey {
    fn new(hash: Hash, secret: &[u8]) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256(keyed(secret)),
            Hash::Sha384 => Self::Sha384(keyed(secret)),
            Hash::Sha512 => Self::Sha512(keyed(secret)),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256(key) => key.clone().chain_update(message).finalize().into_bytes().to_vec(),
            Self::Sha384(key) => key.clone().chain_update(message).finalize().into_bytes().to_vec(),
            Self::Sha512(key) => key.clone().chain_update(message).finalize().into_bytes().to_vec(),
        }
    }

    fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        match self {
            Self::Sha256(key) => key.clone().chain_update(message).verify_slice(tag).is_ok(),
            Self::Sha384(key) => key.clone().chain_update(message).verify_slice(tag).is_ok(),
            Self::Sha512(key) => key.clone().chain_update(message).verify_slice(tag).is_ok(),
        }
    }
}

impl Padding {
    fn of(scheme: Scheme) -> Result<Self, Refused> {
        match scheme {
            Scheme::RsaPkcs1(hash) => Ok(Self::Pkcs1(hash)),
            Scheme::RsaPss(hash) => Ok(Self::Pss(hash)),
            _ => Err("not an RSA algorithm".into()),
        }
    }

    /// Blinded by randomness of the system.
    fn sign(self, key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Pkcs1(Hash::Sha256) => key.pkcs1v15_sign::<Sha256>(message),
            Self::Pkcs1(Hash::Sha384) => key.pkcs1v15_sign::<Sha384>(message),
            Self::Pkcs1(Hash::Sha512) => key.pkcs1v15_sign::<Sha512>(message),
            Self::Pss(Hash::Sha256) => key.pss_sign::<Sha256>(message),
            Self::Pss(Hash::Sha384) => key.pss_sign::<Sha384>(message),
            Self::Pss(Hash::Sha512) => key.pss_sign::<Sha512>(message),
        }
        .map_err(|_| SignError)
    }

    /// The salt of PSS is as long as the hash, RFC 7518 §3.5.
    fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Pkcs1(Hash::Sha256) => key.pkcs1v15_verify::<Sha256>(message, signature),
            Self::Pkcs1(Hash::Sha384) => key.pkcs1v15_verify::<Sha384>(message, signature),
            Self::Pkcs1(Hash::Sha512) => key.pkcs1v15_verify::<Sha512>(message, signature),
            Self::Pss(Hash::Sha256) => key.pss_verify::<Sha256>(message, signature),
            Self::Pss(Hash::Sha384) => key.pss_verify::<Sha384>(message, signature),
            Self::Pss(Hash::Sha512) => key.pss_verify::<Sha512>(message, signature),
        }
        .is_ok()
    }
}

fn keyed<M: KeyInit>(secret: &[u8]) -> M {
    M::new_from_slice(secret).expect("an HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It compiles only with the features that zero what a key leaves behind.
    #[test]
    fn keys_are_zeroed_when_they_are_dropped() {
        fn is_zeroed<T: zeroize::ZeroizeOnDrop>() {}
        is_zeroed::<PrivateKey>();
        is_zeroed::<p256::ecdsa::SigningKey>();
        is_zeroed::<p384::ecdsa::SigningKey>();
        is_zeroed::<ed25519_dalek::SigningKey>();
        // An HMAC's state is two of its hash's.
        is_zeroed::<Sha256>();
        is_zeroed::<Sha384>();
        is_zeroed::<Sha512>();
    }
}
