//! A policy and tokens for the unit tests of the decision core.

use super::kind::Expected;
use super::policy::{Policy, RefreshPolicy};
use super::verify::{Verified, verify};
use crate::jose::base64;
use crate::jose::header;
use crate::keyring::ring::KeyRing;
use crate::keys::Algorithm;
use crate::keys::signing_key::SigningKey;
use crate::time::NumericDate;

/// When the tokens here are issued.
pub(super) const ISSUED: u64 = 1_800_000_000;

/// Lifetime 600 s, grace 60 s, sessions of 6,000 s.
pub(super) fn policy() -> Policy {
    Policy {
        issuer: Some("https://login.example".into()),
        audiences: vec!["orders".to_owned()],
        legacy_audiences: Vec::new(),
        access_types: Vec::new(),
        access_claim: None,
        required_claims: Vec::new(),
        session_start_claim: "session_start".to_owned(),
        session_starts_at_auth_time: false,
        max_token_bytes: 8_192,
        max_added_head_bytes: 3_072,
        ignore_confirmation: false,
        longest_without_iat: None,
        lifetime: 600,
        leeway: 0,
        grace: 60,
        future_tolerance: 5,
        max_session_lifetime: Some(6_000),
        max_token_lifetime: None,
        old_horizons: Vec::new(),
        max_sessions: 100,
        in_flight: 60,
        jitter_percent: 10,
        admit_in_grace: false,
        reuse_ends_session: false,
        admit_after_store_loss: false,
        refresh: None,
    }
}

/// A token of 600 s, issued at [`ISSUED`], in a session that began `age` seconds before.
#[allow(clippy::unwrap_used)]
pub(super) fn token(policy: &Policy, age: u64) -> Verified {
    let (exp, start) = (ISSUED + 600, ISSUED - age);
    let claims = format!(
        r#"{{"iss":"https://login.example","aud":"orders","sub":"alice","jti":"j","sid":"s","iat":{ISSUED},"exp":{exp},"session_start":{start}}}"#
    );
    minted(policy, &claims)
}

fn minted(policy: &Policy, claims: &str) -> Verified {
    minted_as(policy, "JWT", Expected::Access, claims)
}

#[allow(clippy::unwrap_used)]
fn minted_as(policy: &Policy, typ: &str, expected: Expected, claims: &str) -> Verified {
    let key = SigningKey::from_secret(Algorithm::HS256, b"owls hunt mice while fog drifts.").unwrap();
    let mut text = [header::write("HS256", Some(typ), key.kid()), base64::encode_url(claims)].join(".");
    let signature = key.sign(text.as_bytes()).unwrap();
    text = [text, base64::encode_url(signature)].join(".");
    verify(text.as_bytes(), &KeyRing::new(key), policy, expected).unwrap()
}

/// The same policy with refresh tokens of 3,600 s and a reuse window of 60 s.
pub(super) fn policy_of_pairs() -> Policy {
    let refresh = RefreshPolicy {
        audience: "https://login.example/refresh".to_owned(),
        lifetime: 3_600,
        reuse_window: 60,
        sliding_access: false,
    };
    Policy { refresh: Some(refresh), ..policy() }
}

/// A refresh token of 3,600 s, issued at [`ISSUED`] at the begin of its session, with these claims beside.
#[allow(clippy::unwrap_used)]
pub(super) fn refresh_token(policy: &Policy, claims: &serde_json::Value) -> Verified {
    let mut all = serde_json::json!({
        "iss": "https://login.example", "aud": "https://login.example/refresh", "sub": "alice", "jti": "j", "sid": "s",
        "iat": ISSUED, "exp": ISSUED + 3_600, "session_start": ISSUED,
        "access_claims": { "scope": "read write" },
    });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    minted_as(policy, "refresh+jwt", Expected::Refresh, &all.to_string())
}

/// A token of 600 s, issued at [`ISSUED`], with these claims beside.
#[allow(clippy::unwrap_used)]
pub(super) fn token_with(policy: &Policy, claims: &serde_json::Value) -> Verified {
    let mut all = serde_json::json!({
        "iss": "https://login.example", "aud": "orders", "sub": "alice", "jti": "j", "iat": ISSUED, "exp": ISSUED + 600,
    });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    minted(policy, &all.to_string())
}

/// This many seconds after [`ISSUED`].
pub(super) fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(ISSUED + secs)
}
