//! Generated keys, and their PEM.

use zeroize::Zeroizing;

use crate::jose::base64;
use crate::keys::algorithm::Algorithm;
use crate::keys::backend;
use crate::keys::error::{KeyError, KeyErrorKind};

/// A generated key, as bytes.
pub(crate) enum Generated {
    Secret(Zeroizing<[u8; 64]>),
    Pkcs8(Zeroizing<Vec<u8>>),
}

/// RSA keys have 2048 bits.
pub(crate) fn generate(algorithm: Algorithm) -> Result<Generated, KeyError> {
    Ok(match algorithm.key_type() {
        None => Generated::Secret(backend::random().map(Zeroizing::new).map_err(|source| {
            KeyError::new(KeyErrorKind::Randomness, "no random bytes to generate a key from").because(source)
        })?),
        Some(key_type) => Generated::Pkcs8(backend::generate(key_type).map_err(|source| {
            KeyError::new(KeyErrorKind::Randomness, "the cryptographic library could not generate a key")
                .because(source)
        })?),
    })
}

/// PEM (RFC 7468). Written here, because no dependency of the default build writes it.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::keys::signing_key::SigningKey;
    use crate::keys::test_keys::*;

    const PAIRS: [(Algorithm, &[u8], &[u8]); 4] = [
        (Algorithm::RS256, RSA_2048, RSA_2048_PUBLIC),
        (Algorithm::ES256, P256, P256_PUBLIC),
        (Algorithm::ES384, P384, P384_PUBLIC),
        (Algorithm::EdDSA, ED25519, ED25519_PUBLIC),
    ];

    #[test]
    fn a_generated_key_written_down_loads_as_the_same_key() {
        for (algorithm, ..) in PAIRS {
            let Generated::Pkcs8(der) = generate(algorithm).unwrap() else { panic!("{algorithm:?}") };
            let key = SigningKey::from_der(algorithm, &der).unwrap();
            let read = SigningKey::from_pem(algorithm, pem("PRIVATE KEY", &der).as_bytes()).unwrap();
            let public = key.verifying_key().to_spki().unwrap();
            let public = crate::VerifyingKey::from_der(algorithm, &public).unwrap();
            assert_eq!(key.fingerprint(), read.fingerprint());
            assert_eq!(key.fingerprint(), public.fingerprint());
        }
    }

    #[test]
    fn a_public_half_is_written_as_openssl_writes_it() {
        for (algorithm, private, public) in PAIRS {
            let key = SigningKey::from_pem(algorithm, private).unwrap();
            let written = pem("PUBLIC KEY", &key.verifying_key().to_spki().unwrap());
            assert_eq!(written.as_bytes(), public, "{algorithm:?}");
        }
    }
}
