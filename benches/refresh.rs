//! One refresh over the memory store, against what it can't do without: the proof of the refresh token, two signatures and
//! one rotation. `cargo bench --bench refresh`.
//!
//! Every refresh brings the token that the one before returned, so each is verified for the first time. CPU time of the
//! thread.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/bare.rs"]
mod bare;
mod support;

use std::time::Duration;

use support::*;
use tower_reissue::store::{ClaimsStore as _, Presented, Rotated, Rotation, SessionId, SubjectId, TokenId};
use tower_reissue::{Clock as _, Login, MemoryStore, NumericDate, Refresh, RefreshTokens, SystemClock};

fn main() {
    use_aws_lc();
    println!(
        "{:<6} {:>12} {:>16} {:>12}  {:<24} {:<24}",
        "", "refresh", "2 bare + rotate", "+ verify", "against 2 bare + rotate", "with the proof"
    );
    for algorithm in BUDGETED {
        let authority = authority(key_for(algorithm))
            .lifetime(Duration::from_secs(600))
            .refresh_tokens(RefreshTokens::new("https://login.example/refresh").lifetime(DAY))
            .store(MemoryStore::new())
            .build()
            .unwrap();
        let pair = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
        let [access, refresh] = [&pair.access, &pair.refresh].map(|token| token.as_str().to_owned());
        let (sign, verify) = (bare::sign(algorithm), bare::verify(algorithm));
        let message = |token: &str| token.rsplit_once('.').unwrap().0.as_bytes().to_vec();
        let messages = [message(&access), message(&refresh)];
        let signature = sign(&messages[1]);

        let mut contest = Contest::new();
        let refreshed = contest.add_turns("refresh", |times| {
            let mut token = at_once(authority.issue_pair(Login::new("alice"))).unwrap().refresh.into_string();
            let began = cpu_time();
            for _ in 0..times {
                token = at_once(authority.refresh(Refresh::new(token))).unwrap().refresh.into_string();
            }
            cpu_time() - began
        });
        let least = |proof: bool| {
            let (sign, verify, messages, signature) = (&sign, &verify, &messages, &signature);
            move |times: u64| {
                let store = Chain::new();
                let began = cpu_time();
                for nth in 0..times {
                    assert!(!proof || verify(&messages[1], signature));
                    std::hint::black_box((sign(&messages[0]), sign(&messages[1])));
                    store.rotate(nth);
                }
                cpu_time() - began
            }
        };
        let without_proof = contest.add_turns("two signatures and a rotation", least(false));
        let with_proof = contest.add_turns("the same and a proof", least(true));
        let results = contest.run();
        let told = |other: usize, budget: f64| {
            let ratio = results.ratio(refreshed, other);
            format!("{ratio:.2} (<= {budget:.2} {})", verdict(ratio, budget))
        };
        println!(
            "{:<6} {:>9.2} µs {:>13.2} µs {:>9.2} µs  {:<24} {:.2}",
            format!("{algorithm:?}"),
            results.nanos(refreshed) / 1e3,
            results.nanos(without_proof) / 1e3,
            results.nanos(with_proof) / 1e3,
            told(without_proof, 1.10),
            results.ratio(refreshed, with_proof),
        );
    }
}

/// A session whose tokens supersede each other, as a store sees it.
struct Chain {
    store: MemoryStore,
    now: NumericDate,
}

impl Chain {
    fn new() -> Self {
        let chain = Self { store: MemoryStore::new(), now: SystemClock.now() };
        let sign_in = Rotation::sign_in(chain.presented(0), CLAIMS, chain.end());
        assert_eq!(at_once(chain.store.rotate(sign_in)).unwrap(), Rotated::Recorded);
        chain
    }

    fn end(&self) -> NumericDate {
        NumericDate::from_secs(self.now.as_secs() + 600)
    }

    fn presented(&self, nth: u64) -> Presented {
        let subject = Some(SubjectId::from_bytes([1; 32]));
        Presented::new(SessionId::from_bytes([2; 32]), token(nth), subject, self.now, self.now)
    }

    fn rotate(&self, nth: u64) {
        let renewal = Rotation::renewal(self.presented(nth), token(nth + 1), CLAIMS, self.end());
        assert_eq!(at_once(self.store.rotate(renewal)).unwrap(), Rotated::Recorded);
    }
}

/// As long as those of a refresh token.
const CLAIMS: &str = r#"{"sub":"alice","exp":1795955000,"iat":1795868600,"iss":"https://login.example","aud":"https://login.example/refresh","jti":"0ZBbxApMuwxo_YvTwEw4Zw","sid":"SUgwDCj3icwMsnKlnNz9yEuttZtdgV4Ku","session_start":1795868471}"#;

fn token(nth: u64) -> TokenId {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&nth.to_le_bytes());
    TokenId::from_bytes(bytes)
}
