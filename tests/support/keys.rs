//! The repository's keys, as this crate and as jsonwebtoken load them: for tests and benches. Published with the
//! source: of no use elsewhere.

use jsonwebtoken::{AlgorithmFamily, DecodingKey, EncodingKey};
use tower_reissue::keys::{Algorithm, SigningKey};

pub const SECRET: &[u8] = b"owls hunt mice while fog drifts over harbours as nine bells ring";

/// Key pairs, in the formats keys come in.
pub mod pems {
    macro_rules! pem {
        ($name:ident, $file:literal) => {
            pub const $name: &[u8] = include_bytes!(concat!("../keys/", $file));
        };
    }
    pem!(RSA, "rsa2048.pem");
    pem!(RSA_PUBLIC, "rsa2048.public.pem");
    pem!(RSA_PUBLIC_PKCS1, "rsa2048.public.pkcs1.pem");
    pem!(RSA_1024, "rsa1024.pem");
    pem!(P256, "p256.pem");
    pem!(P256_PUBLIC, "p256.public.pem");
    pem!(P384, "p384.pem");
    pem!(P384_PUBLIC, "p384.public.pem");
    pem!(ED25519, "ed25519.pem");
    pem!(ED25519_PUBLIC, "ed25519.public.pem");
}

/// Every algorithm there is.
pub const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The repository's key for an algorithm, as the crate loads it.
pub fn key_for(algorithm: Algorithm) -> SigningKey {
    match pem_for(algorithm) {
        None => SigningKey::from_secret(algorithm, SECRET).unwrap(),
        Some((private, _)) => SigningKey::from_pem(algorithm, private).unwrap(),
    }
}

/// The same key, as jsonwebtoken loads it.
pub fn encoding_key_for(algorithm: Algorithm) -> EncodingKey {
    match (jsonwebtoken::Algorithm::from(algorithm).family(), pem_for(algorithm)) {
        (AlgorithmFamily::Rsa, Some((pem, _))) => EncodingKey::from_rsa_pem(pem).unwrap(),
        (AlgorithmFamily::Ec, Some((pem, _))) => EncodingKey::from_ec_pem(pem).unwrap(),
        (AlgorithmFamily::Ed, Some((pem, _))) => EncodingKey::from_ed_pem(pem).unwrap(),
        _ => EncodingKey::from_secret(SECRET),
    }
}

/// Its public half, as jsonwebtoken loads it.
pub fn decoding_key_for(algorithm: Algorithm) -> DecodingKey {
    match (jsonwebtoken::Algorithm::from(algorithm).family(), pem_for(algorithm)) {
        (AlgorithmFamily::Rsa, Some((_, pem))) => DecodingKey::from_rsa_pem(pem).unwrap(),
        (AlgorithmFamily::Ec, Some((_, pem))) => DecodingKey::from_ec_pem(pem).unwrap(),
        (AlgorithmFamily::Ed, Some((_, pem))) => DecodingKey::from_ed_pem(pem).unwrap(),
        _ => DecodingKey::from_secret(SECRET),
    }
}

/// The private and the public PEM; `None` for HMAC.
pub fn pem_for(algorithm: Algorithm) -> Option<(&'static [u8], &'static [u8])> {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
        Algorithm::ES256 => Some((pems::P256, pems::P256_PUBLIC)),
        Algorithm::ES384 => Some((pems::P384, pems::P384_PUBLIC)),
        Algorithm::EdDSA => Some((pems::ED25519, pems::ED25519_PUBLIC)),
        _ => Some((pems::RSA, pems::RSA_PUBLIC)),
    }
}
