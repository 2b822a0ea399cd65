//! Distinct tokens without end: the process must stay within the cache's bound of bytes. Linux only, for it reads
//! `/proc`. `cargo bench --bench flood`; `FLOOD_TOKENS=10000000` is the default.
//!
//! First tokens with a bad signature, which must leave nothing behind; then good ones, as many, which fill the cache and
//! push each other out; then good ones before a `MemoryStore`, which has not heard of their sessions.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Instant;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use support::*;
use tower_reissue::Algorithm;
use tower_reissue::{Authority, Clock as _, MemoryStore, SystemClock};

/// What the allocator and the rest of the process may take beside the cache.
const SLACK: u64 = 8 << 20;

fn main() {
    let tokens = match std::env::var("FLOOD_TOKENS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) if is_smoke() => 30_000,
        Err(_) => 10_000_000,
    };
    // Small enough that even a short flood runs over.
    let cache = if is_smoke() { 8 << 20 } else { 64 << 20 };
    let builder = || authority(key_for(Algorithm::HS256)).token_cache_bytes(cache);
    let mut mint = Mint::new();
    println!("{:<24} {:>12} {:>12} {:>14} {:>14}", "", "tokens", "s", "RSS before", "RSS grown by");

    let authority = builder().build().unwrap();
    flood("bad signatures", tokens, SLACK, &authority, || (mint.bad(), StatusCode::UNAUTHORIZED));
    let grown = flood("good tokens", tokens, cache + SLACK, &authority, || (mint.good(), StatusCode::OK));
    assert!(grown > cache / 4, "{grown} bytes: the flood did not fill the cache, so it shows no bound");
    drop(authority);

    let authority = builder().store(MemoryStore::new()).build().unwrap();
    flood("good, MemoryStore", tokens, cache + SLACK, &authority, || (mint.good(), StatusCode::OK));
}

/// Sends so many requests and asserts each answer, and that the process grew by `bound` at most, at any time.
fn flood(
    name: &str,
    tokens: u64,
    bound: u64,
    authority: &Authority,
    mut next: impl FnMut() -> (String, StatusCode),
) -> u64 {
    let mut service = guarded(authority);
    let (before, began) = (rss(), Instant::now());
    let mut grown = 0;
    for sent in 0..tokens {
        let (token, expected) = next();
        assert_eq!(respond(&mut service, &bearer(&token)).status(), expected, "{name}, token {sent}");
        if sent % 10_000 == 0 || sent + 1 == tokens {
            grown = grown.max(rss().saturating_sub(before));
        }
    }
    println!(
        "{name:<24} {tokens:>12} {:>12.1} {:>10} KiB {:>10} KiB (<= {} KiB)",
        began.elapsed().as_secs_f64(),
        before >> 10,
        grown >> 10,
        bound >> 10
    );
    assert!(grown <= bound, "{name}: the process grew by {grown} bytes, more than {bound}");
    grown
}

/// Mints tokens as cheaply as can be: one header, one key, a count.
struct Mint {
    key: hmac::Key,
    header: String,
    now: u64,
    count: u64,
}

impl Mint {
    fn new() -> Self {
        let kid = key_for(Algorithm::HS256).kid().to_owned();
        let header = serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": kid }).to_string();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, SECRET),
            header: URL_SAFE_NO_PAD.encode(header),
            now: SystemClock.now().as_secs(),
            count: 0,
        }
    }

    fn good(&mut self) -> String {
        self.count += 1;
        let (iat, exp, count) = (self.now, self.now + DAY.as_secs(), self.count);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"user-{count}","jti":"token-{count}","iat":{iat},"exp":{exp}}}"#
        );
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn bad(&mut self) -> String {
        forged(&self.good())
    }
}

/// The bytes of this process that are in memory.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
