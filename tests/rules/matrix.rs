//! Expired, within the grace, and otherwise bad: "expired" must never mean that nothing else was looked at
//! (CVE-2024-51744). Every cell is refused, hands out no successor, and does not bother the store.

use serde_json::{Value, json};
use tower_reissue::keys::{Algorithm, KeyRing, SigningKey, VerifyingKey};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock, Reason};

use crate::rule_05_claims::{VALUES, token_with};
use crate::support::guarded::*;
use crate::support::*;

const PARTNER: &str = "https://partner.example";
/// Ten seconds after the token died, fifty before it can't be exchanged any more.
const IN_GRACE: u64 = NOW + 610;

fn foreign_secret() -> Vec<u8> {
    (1..=64).collect()
}

fn ring() -> KeyRing {
    let foreign = VerifyingKey::from_secret(Algorithm::HS256, foreign_secret()).unwrap().with_kid("partner");
    KeyRing::new(key().with_kid("own"))
        .retiring(key_for(Algorithm::ES256).with_kid("ec"))
        .unwrap()
        .trust(PARTNER, [foreign])
        .unwrap()
}

fn on(clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(ring())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(std::time::Duration::from_secs(43_200))
        .clock(clock.clone())
}

/// Refused with a store and without one, admitted and exchanged at no instant; a store that is never asked.
#[track_caller]
fn assert_dead(token: &str, cell: &dyn std::fmt::Debug) -> Reason {
    let mut reason = None;
    for admit_in_grace in [false, true] {
        let clock = ManualClock::at(IN_GRACE);
        let store = CountingStore::default();
        let with = |builder: AuthorityBuilder| {
            if admit_in_grace { builder.admit_in_grace() } else { builder }.build().unwrap()
        };
        let stateless = Guarded::new(&with(on(&clock)));
        let stateful = Guarded::new(&with(on(&clock).store(store.clone())));
        // At the instant of death, in the grace, at its last second, and after it.
        for at in [NOW + 600, IN_GRACE, NOW + 659, NOW + 660] {
            clock.set(at);
            for guarded in [&stateless, &stateful] {
                let answer = guarded.bearer(token);
                answer.assert_refused(401, cell);
                assert_ne!(answer.reason, Some(Reason::ExpiredInGrace), "{cell:?}");
                reason = answer.reason;
            }
        }
        assert_eq!(store.asked(), 0, "{cell:?}: the store was asked");
    }
    reason.expect("a reason")
}

fn mint_expired(changes: Value) -> String {
    mint(&claims_with(changes))
}

#[test]
fn the_token_that_every_cell_spoils_is_exchangeable() {
    let clock = ManualClock::at(IN_GRACE);
    let store = CountingStore::default();
    let answer = Guarded::new(&on(&clock).store(store.clone()).build().unwrap()).bearer(&mint(&claims()));
    assert_eq!(answer.reason, Some(Reason::ExpiredInGrace));
    assert!(answer.successor.is_some());
    assert!(store.asked() > 0);
    assert!(Guarded::new(&on(&clock).build().unwrap()).bearer(&mint(&claims())).successor.is_some());
}

#[test]
fn expired_and_badly_signed() {
    let token = mint(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = mint(&claims_with(json!({"sub": "bob"})));
    let others_signature = other.rsplit_once('.').unwrap().1;
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    for signature in [
        others_signature.to_owned(),
        format!("{flipped}{}", &signature[1..]),
        signature[..signature.len() - 4].to_owned(),
        format!("{signature}AAAA"),
        "A".repeat(43),
    ] {
        let reason = assert_dead(&format!("{message}.{signature}"), &signature);
        // A cut may leave idle bits behind, and is malformed then.
        assert!(matches!(reason, Reason::BadSignature | Reason::MalformedToken), "{signature}: {reason:?}");
    }
    let mallory = other.replacen(other.split('.').nth(1).unwrap(), token.split('.').nth(1).unwrap(), 1);
    assert_eq!(assert_dead(&mallory, &"another's payload"), Reason::BadSignature);
}

#[test]
fn expired_and_of_another_key() {
    let other = jsonwebtoken::EncodingKey::from_secret(b"another secret altogether, of some length, no less");
    let claims = claims().to_string();
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"own"}"#] {
        let token = sign_raw(header, &claims, &other, Algorithm::HS256);
        assert_eq!(assert_dead(&token, &header), Reason::BadSignature);
    }
}

#[test]
fn expired_and_of_an_unknown_kid() {
    for kid in ["", "Own", "own ", "x", "../own"] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        assert_eq!(assert_dead(&mint_raw(&header, &claims().to_string()), &kid), Reason::UnknownKey);
    }
}

#[test]
fn expired_and_of_another_algorithm() {
    for algorithm in ALGORITHMS {
        if matches!(algorithm, Algorithm::HS256 | Algorithm::ES256) {
            continue;
        }
        for kid in ["", r#","kid":"own""#, r#","kid":"ec""#] {
            let header = format!(r#"{{"alg":"{algorithm:?}"{kid}}}"#);
            let token = sign_raw(&header, &claims().to_string(), &encoding_key_for(algorithm), algorithm);
            assert_dead(&token, &header);
        }
    }
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"hs256"}"#, r#"{"alg":"ES256","kid":"own"}"#] {
        assert_dead(&mint_raw(header, &claims().to_string()), &header);
    }
}

#[test]
fn expired_and_with_a_header_that_is_not_supported() {
    for header in [
        r#"{"alg":"HS256","crit":["x"],"x":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":true}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
    ] {
        assert_dead(&mint_raw(header, &claims().to_string()), &header);
    }
}

#[test]
fn expired_and_of_another_type() {
    for typ in ["refresh+jwt", "logout+jwt", "id+jwt", ""] {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        assert_eq!(assert_dead(&mint_raw(&header, &claims().to_string()), &typ), Reason::WrongType);
    }
}

#[test]
fn expired_and_without_the_claim_that_marks_an_access_token() {
    let clock = ManualClock::at(IN_GRACE);
    let store = CountingStore::default();
    let authority = on(&clock).access_claim("type", "access").store(store.clone()).build().unwrap();
    for kind in [json!(null), json!("refresh"), json!(["access"])] {
        let answer = Guarded::new(&authority).bearer(&mint_expired(json!({"type": kind})));
        answer.assert_refused(401, &kind);
        assert_eq!(answer.reason, Some(Reason::WrongType));
    }
    assert_eq!(store.asked(), 0);
}

#[test]
fn expired_and_of_another_issuer() {
    for iss in [json!("https://evil.example"), json!(PARTNER), json!(""), json!([ISSUER]), json!(null)] {
        assert_dead(&mint_expired(json!({"iss": iss})), &iss);
    }
}

#[test]
fn expired_and_for_another_audience() {
    for aud in [json!("payments"), json!([]), json!(["payments"]), json!(["orders", 1]), json!(null)] {
        assert_dead(&mint_expired(json!({"aud": aud})), &aud);
    }
}

#[test]
fn expired_and_not_valid_yet() {
    // Not at the end of the grace either: the instants of `assert_dead` end at NOW + 660.
    for changes in
        [json!({"nbf": NOW + 666}), json!({"nbf": NOW + 100_000}), json!({"nbf": 253_402_300_799_u64})]
    {
        assert_eq!(assert_dead(&mint_expired(changes.clone()), &changes), Reason::NotYetValid("nbf"));
    }
}

#[test]
fn expired_before_it_was_issued() {
    for iat in [NOW + 600, NOW + 601, NOW + 700, NOW + 100_000] {
        assert_dead(&mint_expired(json!({"iat": iat})), &iat);
    }
}

#[test]
fn expired_and_with_a_registered_claim_of_the_wrong_type() {
    for name in ["exp", "iat", "nbf", "iss", "aud", "sub", "jti", "sid", "session_start"] {
        for value in VALUES {
            let number = value.parse::<f64>().is_ok_and(|number| (0.0..=253_402_300_799.0).contains(&number));
            let right = match name {
                "nbf" | "iat" | "session_start" => number,
                "sub" | "jti" | "sid" => value.starts_with('"'),
                _ => false,
            };
            if !right {
                assert_dead(&token_with(name, value), &(name, value));
            }
        }
    }
}

#[test]
fn expired_and_with_a_claim_twice() {
    let text = claims().to_string();
    for twice in [r#""exp":1800000600"#, r#""\u0065xp":1900000000"#, r#""role":1,"role":1"#] {
        let text = text.replacen('{', &format!("{{{twice},"), 1);
        assert_dead(&mint_raw(r#"{"alg":"HS256"}"#, &text), &twice);
    }
}

#[test]
fn expired_and_bound_to_a_sender_that_nobody_confirmed() {
    for cnf in ["{}", r#"{"jkt":"x"}"#, "null", "1"] {
        assert_eq!(assert_dead(&token_with("cnf", cnf), &cnf), Reason::Unconfirmed);
    }
}

#[test]
fn expired_and_without_a_required_claim() {
    let clock = ManualClock::at(IN_GRACE);
    let store = CountingStore::default();
    let authority = on(&clock).require_claim("tenant").store(store.clone()).build().unwrap();
    Guarded::new(&authority).bearer(&mint(&claims())).assert_refused(401, &"tenant");
    assert_eq!(store.asked(), 0);
}

#[test]
fn expired_and_past_the_session_limit() {
    for start in [NOW + 600 - 43_200, NOW - 43_200, 0] {
        assert_eq!(assert_dead(&mint_expired(json!({"session_start": start})), &start), Reason::SessionOver);
    }
}

#[test]
fn expired_and_foreign() {
    let foreign = jsonwebtoken::EncodingKey::from_secret(&foreign_secret());
    for iss in [PARTNER, ISSUER, "https://evil.example"] {
        // Without a kid, the keys of the claimed issuer alone are tried, and own ones.
        for (header, not_its_own) in [
            (r#"{"alg":"HS256"}"#, Reason::BadSignature),
            (r#"{"alg":"HS256","kid":"partner"}"#, Reason::WrongIssuer),
        ] {
            let claims = claims_with(json!({"iss": iss})).to_string();
            let token = sign_raw(header, &claims, &foreign, Algorithm::HS256);
            let reason = assert_dead(&token, &(iss, header));
            let expected = if iss == PARTNER { Reason::Expired } else { not_its_own };
            assert_eq!(reason, expected);
        }
    }
}

#[test]
fn the_keys_of_the_matrix_are_in_order() {
    // The retiring key's token is exchangeable, so that its cells fail for their own reason.
    let clock = ManualClock::at(IN_GRACE);
    let answer = Guarded::new(&on(&clock).build().unwrap()).bearer(&mint_with(Algorithm::ES256, &claims()));
    assert_eq!(answer.reason, Some(Reason::ExpiredInGrace));
    assert!(SigningKey::from_secret(Algorithm::HS256, foreign_secret()).is_ok());
}
