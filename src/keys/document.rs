//! Keys written down: a generated key as PKCS#8, its public half as SubjectPublicKeyInfo, both as PEM.

use jsonwebtoken::Algorithm;
use zeroize::Zeroizing;

use super::backend::{self, Signer};
use super::der;
use super::error::{KeyError, KeyErrorKind};
use super::material::{Private, Public};
use super::scheme::{Curve, KeyType, Scheme};
use crate::base64;

/// A fresh key, before it is prepared.
pub(crate) enum Generated {
    Secret(Zeroizing<[u8; 64]>),
    Pkcs8(Zeroizing<Vec<u8>>),
}

/// RSA keys have 2048 bits.
pub(crate) fn generate(algorithm: Algorithm) -> Result<Generated, KeyError> {
    let scheme = Scheme::of(algorithm)?;
    Ok(match scheme.key_type() {
        None => Generated::Secret(random_bytes()?),
        Some(KeyType::Rsa) => Generated::Pkcs8(backend::generate_rsa().map_err(generation_failed)?),
        Some(KeyType::Ed25519) => Generated::Pkcs8(der::write_ed25519_private_key(&*random_bytes::<32>()?)),
        Some(KeyType::Ec(curve)) => Generated::Pkcs8(generate_ec(scheme, curve)?),
    })
}

/// The public half of a private key in PEM or DER.
pub(crate) fn public_half(algorithm: Algorithm, private: &[u8]) -> Result<Public, KeyError> {
    let document = der::private_key(private)?;
    let (_, public) = Signer::from_private(Scheme::of(algorithm)?, &document.private).map_err(|source| {
        KeyError::new(KeyErrorKind::Malformed, "the cryptographic library refused the private key")
            .because(source)
    })?;
    Ok(public)
}

/// The armour of RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = base64::encode_standard(der);
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() * 66 / 64 + 2 * label.len() + 40));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn generate_ec(scheme: Scheme, curve: Curve) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let draw = || {
        let bytes = random_bytes::<48>()?;
        let scalar: Zeroizing<Vec<u8>> =
            Zeroizing::new(bytes.iter().copied().take(curve.field_len()).collect());
        let private = Private::Ec { curve, scalar: scalar.clone() };
        let (_, public) = Signer::from_private(scheme, &private).map_err(generation_failed)?;
        match public {
            Public::Ec { point, .. } => Ok(der::write_ec_private_key(curve, &scalar, &point)),
            _ => Err(generation_failed("the public half is of another kind".into())),
        }
    };
    // A scalar that is zero or not under the curve's order is refused: one in 2^32 on P-256, fewer on P-384.
    draw().or_else(|_: KeyError| draw())
}

fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    backend::random().map(Zeroizing::new).map_err(|source| {
        KeyError::new(KeyErrorKind::Randomness, "no random bytes to generate a key from").because(source)
    })
}

fn generation_failed(source: backend::Refused) -> KeyError {
    KeyError::new(KeyErrorKind::Randomness, "the cryptographic library could not generate a key")
        .because(source)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::keys::test_keys::*;
    use crate::keys::{SigningKey, pem as armour};

    #[test]
    fn a_generated_key_written_down_loads_as_the_same_key() {
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            let Generated::Pkcs8(der) = generate(algorithm).unwrap() else { panic!("{algorithm:?}") };
            let key = SigningKey::from_der(algorithm, &der).unwrap();
            let read = SigningKey::from_pem(algorithm, pem("PRIVATE KEY", &der).as_bytes()).unwrap();
            let public = der::write_public_key(&public_half(algorithm, &der).unwrap());
            let public = crate::VerifyingKey::from_der(algorithm, &public).unwrap();
            assert_eq!(key.fingerprint(), read.fingerprint());
            assert_eq!(key.fingerprint(), public.fingerprint());
        }
    }

    #[test]
    fn documents_are_written_as_openssl_writes_them() {
        for (algorithm, private, public) in [
            (Algorithm::RS256, RSA_2048, RSA_2048_PUBLIC),
            (Algorithm::ES256, P256, P256_PUBLIC),
            (Algorithm::ES384, P384, P384_PUBLIC),
            (Algorithm::EdDSA, ED25519, ED25519_PUBLIC),
        ] {
            let der = armour::read(private).unwrap().der;
            let written = der::write_public_key(&public_half(algorithm, &der).unwrap());
            assert_eq!(pem("PUBLIC KEY", &written).as_bytes(), public, "{algorithm:?}");
            match der::private_key(&der).unwrap().private {
                Private::Ed25519 { seed } => assert_eq!(der::write_ed25519_private_key(seed), der),
                Private::Ec { curve, scalar } => {
                    let Public::Ec { point, .. } = public_half(algorithm, &der).unwrap() else { panic!() };
                    assert_eq!(der::write_ec_private_key(curve, &scalar, &point), der);
                }
                Private::Rsa { .. } => {}
            }
        }
    }
}
