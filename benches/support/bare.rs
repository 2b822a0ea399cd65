//! The bare primitives of aws-lc-rs over keys prepared once: what no verification or reissue can be cheaper than.
#![allow(dead_code, reason = "one bench verifies, the other signs")]
#![allow(unreachable_pub)]

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tower_reissue::Algorithm;

use crate::support::{SECRET, pem_for};

/// Whether a signature over a message is good.
pub type Verify = Box<dyn Fn(&[u8], &[u8]) -> bool>;
/// The signature over a message.
pub type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

pub fn verify(algorithm: Algorithm) -> Verify {
    let parameters: &'static dyn signature::VerificationAlgorithm = match algorithm {
        Algorithm::HS256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
            return Box::new(move |message, signature| hmac::verify(&key, message, signature).is_ok());
        }
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        _ => panic!("no budget is set for {algorithm:?}"),
    };
    let (_, public) = pem_for(algorithm).unwrap();
    let key = ParsedPublicKey::new(parameters, der(public)).unwrap();
    Box::new(move |message, signature| key.verify_sig(message, signature).is_ok())
}

pub fn sign(algorithm: Algorithm) -> Sign {
    let private = || der(pem_for(algorithm).unwrap().0);
    match algorithm {
        Algorithm::HS256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
            Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec())
        }
        Algorithm::RS256 => {
            let key = RsaKeyPair::from_pkcs8(&private()).unwrap();
            Box::new(move |message| {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            })
        }
        Algorithm::ES256 => {
            let parameters = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let key = EcdsaKeyPair::from_pkcs8(parameters, &private()).unwrap();
            Box::new(move |message| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
        }
        Algorithm::EdDSA => {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private()).unwrap();
            Box::new(move |message| key.sign(message).as_ref().to_vec())
        }
        _ => panic!("no budget is set for {algorithm:?}"),
    }
}

fn der(pem: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(pem).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap()
}
