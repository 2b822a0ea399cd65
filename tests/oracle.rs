//! Whole tokens, mutated in thousands of ways: our verdict against jsonwebtoken's, for every algorithm.
//!
//! jsonwebtoken runs on aws-lc-rs here whichever library this crate runs on. The tokens are mutated on the wire and
//! never signed anew, so that header and claims policy, in which the two differ on purpose, has no say: whatever is not
//! the token as it was signed has to be refused by both, but for the second form that ECDSA signatures have.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::Validation;
use support::*;
use tower_reissue::keys::Algorithm;
use tower_reissue::{Authority, ManualClock};

/// How many mutants of each algorithm's token are judged.
const MUTANTS: usize = 600;

/// SplitMix64: the same mutants in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A mutant: mostly of the signature's bytes, so that it reaches the primitive; else of the text.
fn mutate(token: &str, other: &str, random: &mut Random) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0";
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut text = token.as_bytes().to_vec();
    match random.below(12) {
        0..=3 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        4 => {
            let at = random.below(bytes.len());
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
        }
        5 => bytes.truncate(random.below(bytes.len() + 1)),
        6 => bytes.extend(std::iter::repeat_n(0, random.below(3))),
        7 => bytes.insert(0, 0),
        8 => {
            let (at, with) = (random.below(bytes.len()), random.below(bytes.len()));
            bytes.swap(at, with);
        }
        9 => {
            let at = random.below(text.len());
            text[at] = ALPHABET[random.below(ALPHABET.len())];
            return String::from_utf8(text).unwrap();
        }
        10 => {
            let at = random.below(text.len());
            if random.below(2) == 0 {
                text.remove(at);
            } else {
                text.insert(at, ALPHABET[random.below(ALPHABET.len())]);
            }
            return String::from_utf8(text).unwrap();
        }
        // Another token's signature, or its message.
        _ => {
            let (other_message, other_signature) = other.rsplit_once('.').unwrap();
            return match random.below(2) {
                0 => format!("{message}.{other_signature}"),
                _ => format!("{other_message}.{signature}"),
            };
        }
    }
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// (r, s) and (r, n - s) sign the same.
fn twin(token: &str, order: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(signature.len() / 2);
    let order: Vec<u8> =
        (0..order.len()).step_by(2).map(|at| u8::from_str_radix(&order[at..at + 2], 16).unwrap()).collect();
    let mut borrow = 0;
    let mut difference: Vec<u8> = order
        .iter()
        .zip(s)
        .rev()
        .map(|(n, s)| {
            let digit = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(digit < 0);
            digit.rem_euclid(256) as u8
        })
        .collect();
    difference.reverse();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode([r, &difference].concat()))
}

#[test]
fn every_verdict_on_a_mutated_token_is_jsonwebtokens() {
    let (mut accepted, mut refused) = (0, 0);
    for (seed, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let (signing, decoding, encoding) =
            (key_for(algorithm), decoding_key_for(algorithm), encoding_key_for(algorithm));
        let header = format!(r#"{{"alg":"{algorithm:?}","typ":"JWT"}}"#);
        let token = sign_raw(&header, &claims().to_string(), &encoding, algorithm);
        let other = claims_with(serde_json::json!({ "sub": "mallory", "jti": "token-2" }));
        let other = sign_raw(&header, &other.to_string(), &encoding, algorithm);

        let authority = Authority::builder(signing)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(12 * 3600))
            .clock(ManualClock::at(NOW))
            .build()
            .unwrap();
        let mut validation = Validation::new(algorithm.into());
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        let ours = |token: &str| {
            let admitted = authority.admit(token).now_or_never().expect("nothing to wait for");
            admitted.ok().map(|token| token.subject().unwrap().to_owned())
        };
        let theirs = |token: &str| {
            let decoded = jwt::decode(token, &decoding, &validation);
            decoded.ok().map(|token| token.claims["sub"].as_str().unwrap().to_owned())
        };

        assert_eq!(ours(&token).as_deref(), Some("alice"), "{algorithm:?}");
        assert_eq!(ours(&other).as_deref(), Some("mallory"), "{algorithm:?}");
        let mut random = Random(seed as u64);
        let twin = match algorithm {
            Algorithm::ES256 => {
                Some(twin(&token, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"))
            }
            Algorithm::ES384 => Some(twin(
                &token,
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            )),
            _ => None,
        };
        if let Some(twin) = &twin {
            assert_eq!(ours(twin).as_deref(), Some("alice"), "{algorithm:?}: the twin");
        }
        let mutants = (0..MUTANTS).map(|_| mutate(&token, &other, &mut random));
        for mutant in mutants.chain([token.clone(), other.clone()]).chain(twin) {
            let (our_verdict, their_verdict) = (ours(&mutant), theirs(&mutant));
            assert_eq!(our_verdict, their_verdict, "{algorithm:?}: {mutant}");
            if our_verdict.is_some() { accepted += 1 } else { refused += 1 }
        }
    }
    // A mutation that changes nothing (a byte set to what it was) leaves a valid token.
    assert!(accepted > 12 * 2 && refused > 12 * MUTANTS * 9 / 10, "{accepted} accepted, {refused} refused");
}
