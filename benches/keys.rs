//! First sight of a token, and one more token, per algorithm: this crate's prepared keys against
//! `jsonwebtoken::decode` and `encode`, in one run. `cargo bench --bench keys`.
//!
//! Both sides do the whole of it: header, signature, claims. This crate's also judges the claims that jsonwebtoken's
//! defaults leave alone. Both run on aws-lc-rs, this crate's default: with `rust_crypto` alone, two libraries would be
//! compared. Read the figures as ratios to each other; the absolutes are the machine's.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tower_reissue::{Algorithm, Authority, Login, SigningKey, SystemClock};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "orders";

const ALL: [Algorithm; 12] = [
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

#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    jti: String,
    sid: String,
    session_start: u64,
    iat: u64,
    exp: u64,
}

fn keys(algorithm: Algorithm) -> (SigningKey, EncodingKey, DecodingKey) {
    let (private, public): (&[u8], &[u8]) = match algorithm {
        Algorithm::ES256 => {
            (include_bytes!("../tests/keys/p256.pem"), include_bytes!("../tests/keys/p256.public.pem"))
        }
        Algorithm::ES384 => {
            (include_bytes!("../tests/keys/p384.pem"), include_bytes!("../tests/keys/p384.public.pem"))
        }
        Algorithm::EdDSA => {
            (include_bytes!("../tests/keys/ed25519.pem"), include_bytes!("../tests/keys/ed25519.public.pem"))
        }
        _ => {
            (include_bytes!("../tests/keys/rsa2048.pem"), include_bytes!("../tests/keys/rsa2048.public.pem"))
        }
    };
    let ours = || SigningKey::from_pem(algorithm, private).unwrap();
    match algorithm.family() {
        AlgorithmFamily::Hmac => (
            SigningKey::from_secret(algorithm, SECRET).unwrap(),
            EncodingKey::from_secret(SECRET),
            DecodingKey::from_secret(SECRET),
        ),
        AlgorithmFamily::Rsa => {
            (ours(), EncodingKey::from_rsa_pem(private).unwrap(), DecodingKey::from_rsa_pem(public).unwrap())
        }
        AlgorithmFamily::Ec => {
            (ours(), EncodingKey::from_ec_pem(private).unwrap(), DecodingKey::from_ec_pem(public).unwrap())
        }
        AlgorithmFamily::Ed => {
            (ours(), EncodingKey::from_ed_pem(private).unwrap(), DecodingKey::from_ed_pem(public).unwrap())
        }
    }
}

fn prepared_keys(c: &mut Criterion) {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();

    for algorithm in ALL {
        let (signing, encoding, decoding) = keys(algorithm);
        let kid = signing.kid().to_owned();
        let authority = Authority::builder(signing)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .lifetime(Duration::from_secs(86_400))
            .ceiling(Duration::from_secs(86_400))
            .clock(SystemClock)
            .token_cache_bytes(0) // what is measured is the verification
            .build()
            .unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut header = Header::new(algorithm);
        header.kid = Some(kid);

        let issue = || authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
        let admit = |token: &str| authority.admit(token).now_or_never().unwrap().is_ok();
        let decode = |token: &str| jsonwebtoken::decode::<Claims>(token, &decoding, &validation);
        let encode = |claims: &Claims| jsonwebtoken::encode(&header, claims, &encoding).unwrap();

        let token = issue();
        let claims = decode(token.as_str()).unwrap().claims;
        assert!(admit(token.as_str()) && admit(&encode(&claims)));
        let (message, signature) = token.as_str().rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
        assert!(!admit(&forged) && decode(&forged).is_err());

        let mut group = c.benchmark_group(format!("{algorithm:?}"));
        group.bench_function("verify, tower-reissue", |b| b.iter(|| admit(token.as_str())));
        group.bench_function("verify, jsonwebtoken::decode", |b| b.iter(|| decode(token.as_str()).is_ok()));
        group.bench_function("sign, tower-reissue", |b| b.iter(issue));
        group.bench_function("sign, jsonwebtoken::encode", |b| b.iter(|| encode(&claims)));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = prepared_keys
}
criterion_main!(benches);
