//! One reissue: a request through the layer whose response carries the successor, over the same request when nothing is
//! due, against `jsonwebtoken::encode`, and against serialising the claims and one bare signature.
//! `cargo bench --bench reissue`.
//!
//! The successor of a token is signed once and kept, so every measured request brings a token of its own. It was seen
//! before: what is measured is deciding, deriving, signing and delivering. CPU time of the thread.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/last_run.rs"]
mod last_run;
mod support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue, StatusCode};
use jsonwebtoken::Header;
use last_run::compare_with_last_run;
use support::*;
use tower_reissue::Algorithm;
use tower_reissue::{Authority, Clock as _, ManualClock, SystemClock};

const LIFETIME: u64 = 600;
const DELIVERED: HeaderName = HeaderName::from_static("refreshed-api-token");

fn main() {
    use_aws_lc();
    let mut table = format!(
        "{:<6} {:>12} {:>12} {:>12}  {:<24} {:<24}",
        "", "reissue", "encode", "bare", "against encode", "against serialise + bare"
    );
    for algorithm in BUDGETED {
        let (encode_budget, bare_budget) = match algorithm {
            Algorithm::HS256 => (None, None),
            Algorithm::ES256 => (Some(0.65), Some(1.05)),
            _ => (Some(0.60), Some(1.05)),
        };
        let rig = Rig::new(algorithm);
        let token = issue(&rig.authority);
        let claims: Claims = claims(&token);
        let mut header = Header::new(algorithm.into());
        header.kid = Some(key_for(algorithm).kid().to_owned());
        let encoding = encoding_key_for(algorithm);
        let sign = bare::sign(algorithm);

        let mut contest = Contest::new();
        let reissue = contest.add_turns("reissue", |times| rig.turn(times));
        let encode = contest
            .add("jsonwebtoken::encode", || jsonwebtoken::encode(&header, &claims, &encoding).unwrap());
        let bare = contest.add("serialise + bare signature", || {
            let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).unwrap());
            token.push('.');
            URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims).unwrap(), &mut token);
            let signature = sign(token.as_bytes());
            token.push('.');
            URL_SAFE_NO_PAD.encode_string(signature, &mut token);
            token
        });
        let results = contest.run();
        compare_with_last_run(format!("reissue {algorithm:?}"), &mut contest);
        let told = |other: usize, budget: Option<f64>| {
            let ratio = results.ratio(reissue, other);
            match budget {
                Some(budget) => format!("{ratio:.2} (<= {budget:.2} {})", verdict(ratio, budget)),
                None => format!("{ratio:.2}"),
            }
        };
        table += &format!(
            "\n{:<6} {:>9.2} µs {:>9.2} µs {:>9.2} µs  {:<24} {:<24}",
            format!("{algorithm:?}"),
            results.nanos(reissue) / 1e3,
            results.nanos(encode) / 1e3,
            results.nanos(bare) / 1e3,
            told(encode, encode_budget),
            told(bare, bare_budget),
        );
    }
    println!("{table}");
}

/// The layer of one algorithm, and the clock that makes a token due.
struct Rig {
    authority: Authority,
    clock: ManualClock,
}

impl Rig {
    fn new(algorithm: Algorithm) -> Self {
        let clock = ManualClock::at(SystemClock.now().as_secs());
        let lifetime = Duration::from_secs(LIFETIME);
        let authority =
            authority(key_for(algorithm)).lifetime(lifetime).clock(clock.clone()).build().unwrap();
        Self { authority, clock }
    }

    /// As many reissues, each of a token that was seen before: what the requests take longer than when none was due.
    fn turn(&self, times: u64) -> Duration {
        let mut service = guarded(&self.authority);
        let bearers: Vec<HeaderValue> = (0..times).map(|_| bearer(&issue(&self.authority))).collect();
        for bearer in &bearers {
            assert_eq!(respond(&mut service, bearer).status(), StatusCode::OK);
        }
        let mut pass = |owed: u64| {
            let mut delivered = 0;
            let began = cpu_time();
            for bearer in &bearers {
                delivered += u64::from(respond(&mut service, bearer).headers().contains_key(DELIVERED));
            }
            let taken = cpu_time() - began;
            assert_eq!(delivered, owed);
            taken
        };
        let not_due = pass(0);
        self.clock.advance(LIFETIME - 10);
        let due = pass(times);
        // These tokens are dead then: the next turn's begin with an empty cache.
        self.clock.advance(2 * LIFETIME);
        due.saturating_sub(not_due)
    }
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Claims {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
