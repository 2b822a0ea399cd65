//! Rule 3: the key decides the algorithm, the header decides nothing.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;
use tower_reissue::keys::{Algorithm, KeyRing, SigningKey, VerifyingKey};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock, Reason};

use crate::support::guarded::*;
use crate::support::*;

fn on(keys: impl tower_reissue::keys::IntoKeys) -> AuthorityBuilder {
    Authority::builder(keys)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(std::time::Duration::from_secs(43_200))
        .clock(ManualClock::at(NOW))
}

fn guarded() -> Guarded {
    Guarded::new(&on(key()).build().unwrap())
}

fn guarded_by(keys: impl tower_reissue::keys::IntoKeys) -> Guarded {
    Guarded::new(&on(keys).build().unwrap())
}

fn secret(n: u8) -> Vec<u8> {
    (n..n + 64).collect()
}

fn hs256(n: u8) -> SigningKey {
    SigningKey::from_secret(Algorithm::HS256, secret(n)).unwrap()
}

fn sign_by(n: u8, header: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(&secret(n));
    sign_raw(header, &claims().to_string(), &key, Algorithm::HS256)
}

fn with_header(header: &str) -> String {
    mint_raw(header, &claims().to_string())
}

#[test]
fn an_unsigned_token_is_refused_in_every_letter_case() {
    let claims = claims().to_string();
    let token = mint_raw("{}", &claims);
    let payload = token.split('.').nth(1).unwrap();
    for bits in 0..16_u32 {
        let none: String = "none"
            .chars()
            .enumerate()
            .map(|(at, c)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let header = format!(r#"{{"alg":"{none}"}}"#);
        // Correctly signed with the key, with another algorithm's signature, with none, with zeros.
        let signed = mint_raw(&header, &claims);
        let head = signed.split('.').next().unwrap();
        for token in [
            signed.clone(),
            format!("{head}.{payload}."),
            format!("{head}.{payload}"),
            format!("{head}.{payload}.AAAA"),
            format!("{head}.{payload}.{}", "A".repeat(43)),
        ] {
            for guarded in [guarded(), guarded_by(key_for(Algorithm::RS256))] {
                guarded.bearer(&token).assert_refused(401, &token);
            }
        }
    }
}

#[test]
fn only_the_exact_name_of_the_keys_algorithm_will_do() {
    for alg in [
        "hs256",
        "Hs256",
        "HS256 ",
        " HS256",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "EdDSA",
        "A128KW",
        "dir",
        "",
        "HS256\\u0000",
    ] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        guarded().bearer(&with_header(&header)).assert_refused(401, &alg);
    }
    for header in [
        r"{}",
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":null}}"#,
        r#"{"alg":256}"#,
        r#"{"ALG":"HS256"}"#,
    ] {
        guarded().bearer(&with_header(header)).assert_refused(401, &header);
    }
    assert!(guarded().bearer(&with_header(r#"{"\u0061lg":"\u0048S256"}"#)).is_admitted());
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let ring = || KeyRing::new(key_for(Algorithm::RS256).with_kid("rsa"));
    let text = std::str::from_utf8(pems::RSA_PUBLIC).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &base64).unwrap();
    let trimmed = text.trim();
    for secret in [
        text.as_bytes().to_vec(),
        trimmed.as_bytes().to_vec(),
        format!("{trimmed}\n\n").into_bytes(),
        format!("{text}\0").into_bytes(),
        format!(" {text} ").into_bytes(),
        text.replace('\n', "\r\n").into_bytes(),
        text.replace('\n', "").into_bytes(),
        pems::RSA_PUBLIC_PKCS1.to_vec(),
        der,
        base64.into_bytes(),
    ] {
        let forged = jsonwebtoken::EncodingKey::from_secret(&secret);
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for header in [
                format!(r#"{{"alg":"{algorithm:?}"}}"#),
                format!(r#"{{"alg":"{algorithm:?}","kid":"rsa"}}"#),
                r#"{"alg":"RS256","kid":"rsa"}"#.to_owned(),
            ] {
                let token = sign_raw(&header, &claims().to_string(), &forged, algorithm);
                guarded_by(ring()).bearer(&token).assert_refused(401, &header);
            }
        }
        // Nor can it be made one by mistake: no key is loaded from it as a secret.
        if secret.starts_with(b"-----") {
            assert!(SigningKey::from_secret(Algorithm::HS256, &secret).is_err());
        }
    }
}

#[test]
fn a_key_verifies_under_its_own_algorithm_only() {
    let pinned = [Algorithm::RS256, Algorithm::PS256, Algorithm::RS512, Algorithm::ES256, Algorithm::HS512];
    for pinned in pinned {
        let guarded = guarded_by(key_for(pinned).with_kid("k"));
        for algorithm in ALGORITHMS {
            let key = encoding_key_for(algorithm);
            for kid in ["", r#","kid":"k""#] {
                let header = format!(r#"{{"alg":"{algorithm:?}"{kid}}}"#);
                let answer = guarded.bearer(&sign_raw(&header, &claims().to_string(), &key, algorithm));
                assert_eq!(answer.is_admitted(), algorithm == pinned, "{pinned:?} {header}");
                // The header claims the pinned algorithm, the signature is of another.
                if algorithm != pinned {
                    answer.assert_refused(401, &header);
                    let header = format!(r#"{{"alg":"{pinned:?}"{kid}}}"#);
                    let lie = sign_raw(&header, &claims().to_string(), &key, algorithm);
                    guarded.bearer(&lie).assert_refused(401, &(pinned, algorithm));
                }
            }
        }
    }
}

#[test]
fn a_zero_signature_is_refused_under_every_algorithm() {
    for algorithm in ALGORITHMS {
        let token = mint_with(algorithm, &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let guarded = guarded_by(key_for(algorithm));
        assert!(guarded.bearer(&token).is_admitted());
        for zeros in ["A".repeat(signature.len()), "A".repeat(86), "A".repeat(128), "AA".to_owned()] {
            let forged = format!("{message}.{zeros}");
            guarded.bearer(&forged).assert_refused(401, &algorithm);
        }
    }
}

#[test]
fn crit_b64_zip_and_enc_are_refused_whatever_they_say() {
    for member in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["x"]"#,
        r#""crit":[]"#,
        r#""crit":"exp""#,
        r#""crit":null"#,
        r#""crit":{}"#,
        r#""crit":["alg"]"#,
        r#""crit":["x","x"],"x":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""\u0063rit":["x"]"#,
        r#""b64":true"#,
        r#""b64":false"#,
        r#""b64":null"#,
        r#""zip":"DEF""#,
        r#""zip":null"#,
        r#""enc":"A256GCM""#,
        r#""en\u0063":"A256GCM""#,
    ] {
        let answer = guarded().bearer(&with_header(&format!(r#"{{"alg":"HS256",{member}}}"#)));
        answer.assert_refused(401, &member);
        assert_eq!(answer.reason, Some(Reason::UnsupportedHeader), "{member}");
    }
}

#[test]
fn a_name_twice_is_refused_however_it_is_escaped() {
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","k\u0069d":"a"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"HS256","x":1,"x":1}"#,
        r#"{"alg":"HS256","\/":1,"/":1}"#,
        r#"{"alg":"HS256","crit":["x"],"crit":["x"]}"#,
    ] {
        guarded().bearer(&with_header(header)).assert_refused(401, &header);
    }
}

#[test]
fn unknown_header_names_are_no_matter() {
    let header = r#"{"alg":"HS256","x-foo":{"a":[1,2]},"cty":"JSON","iss":"whoever","exp":1}"#;
    assert!(guarded().bearer(&with_header(header)).is_admitted());
}

#[test]
fn a_key_that_the_token_brings_along_is_not_believed() {
    // An Ed25519 key that nobody gave the ring: PKCS#8 around 32 bytes.
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der: Vec<u8> = prefix.into_iter().chain(1..=32).collect();
    let attacker = jsonwebtoken::EncodingKey::from_ed_der(&der);
    let jwk = jwt::jwk_of(&attacker, Algorithm::EdDSA.into());
    let jwk = serde_json::to_value(&jwk).unwrap();
    let guarded = guarded_by(key_for(Algorithm::EdDSA).with_kid("ed"));
    for kid in [json!(null), json!("ed"), json!("attacker")] {
        let mut header = json!({"alg": "EdDSA", "typ": "JWT", "jwk": jwk, "kid": kid});
        if kid.is_null() {
            header.as_object_mut().unwrap().remove("kid");
        }
        let token = sign_raw(&header.to_string(), &claims().to_string(), &attacker, Algorithm::EdDSA);
        guarded.bearer(&token).assert_refused(401, &header);
    }
    let oct = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"}}"#;
    let bytes: Vec<u8> = (1..=32).collect();
    let own = jsonwebtoken::EncodingKey::from_secret(&bytes);
    let token = sign_raw(oct, &claims().to_string(), &own, Algorithm::HS256);
    self::guarded().bearer(&token).assert_refused(401, &oct);
    // A good signature is not harmed by it either.
    assert!(self::guarded().bearer(&with_header(oct)).is_admitted());
}

#[test]
fn no_token_opens_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys.json", listener.local_addr().unwrap());
    for name in ["jku", "x5u", "kid", "iss", "jwks_uri"] {
        let header = json!({"alg": "HS256", name: url}).to_string();
        let forged = sign_by(1, &header);
        guarded().bearer(&forged).assert_refused(401, &header);
        let _ = guarded().bearer(&with_header(&header));
    }
    let foreign = mint(&claims_with(json!({"iss": url})));
    guarded().bearer(&foreign).assert_refused(401, &"an issuer that is a URL");
    assert!(
        guarded().bearer(&with_header(&json!({"alg": "HS256", "x5c": ["MIIB"]}).to_string())).is_admitted()
    );
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody called");
}

#[test]
fn a_kid_is_looked_up_exactly() {
    let ring = KeyRing::new(hs256(1).with_kid("2026-01")).retiring(hs256(2).with_kid("2025-12")).unwrap();
    let guarded = Guarded::new(&on(ring).max_token_bytes(65_536).build().unwrap());
    let by = |n, kid: &str| sign_by(n, &json!({"alg": "HS256", "kid": kid}).to_string());
    assert!(guarded.bearer(&by(1, "2026-01")).is_admitted());
    assert!(guarded.bearer(&by(2, "2025-12")).is_admitted());
    // The right key by the wrong name is the wrong key.
    let answer = guarded.bearer(&by(1, "2025-12"));
    answer.assert_refused(401, &"another's kid");
    assert_eq!(answer.reason, Some(Reason::BadSignature));

    let long = "k".repeat(30_000);
    let longest = "k".repeat(1_000_000);
    for kid in [
        "",
        " ",
        "2026-01 ",
        "2026-1",
        "2026-01\0",
        "2026-01\r\nSet-Cookie: a=b",
        "../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "file:///dev/null",
        "' UNION SELECT 'secret' -- ",
        "1 OR 1=1",
        "$(id)",
        "{{7*7}}",
        "*",
        "null",
        &long,
    ] {
        let answer = guarded.bearer(&by(1, kid));
        answer.assert_refused(401, &kid.len());
        assert_eq!(answer.reason, Some(Reason::UnknownKey), "{kid}");
        for value in answer.headers.values() {
            let value = value.to_str().unwrap();
            assert!(kid.len() < 3 || !value.contains(kid), "{kid} is echoed: {value}");
        }
    }
    guarded.bearer(&by(1, &longest)).assert_refused(401, &"1 MB");
    for kid in ["null", "1", "true", "[\"2026-01\"]", "{}"] {
        let header = format!(r#"{{"alg":"HS256","kid":{kid}}}"#);
        guarded.bearer(&sign_by(1, &header)).assert_refused(401, &header);
    }
}

#[test]
fn without_a_kid_the_first_eight_keys_of_the_algorithm_are_tried() {
    let mut ring = KeyRing::new(hs256(1));
    for n in 2..=12 {
        ring = ring.retiring(hs256(n)).unwrap();
    }
    let guarded = guarded_by(ring);
    for n in 1..=12 {
        let nameless = sign_by(n, r#"{"alg":"HS256"}"#);
        assert_eq!(guarded.bearer(&nameless).is_admitted(), n <= 8, "key {n}");
        let named = json!({"alg": "HS256", "kid": hs256(n).kid()}).to_string();
        assert!(guarded.bearer(&sign_by(n, &named)).is_admitted(), "key {n}");
    }
    guarded.bearer(&sign_by(13, r#"{"alg":"HS256"}"#)).assert_refused(401, &"a key of nobody");
}

/// The proof was made while the key was among the first eight, and stands while the key is held.
#[test]
fn a_remembered_token_without_a_kid_outlasts_its_keys_place_among_the_first_eight() {
    let crowded =
        || (2..=9).map(hs256).rev().fold(KeyRing::new(hs256(10)), |ring, key| ring.retiring(key).unwrap());
    let with_key = |n| crowded().retiring(hs256(n)).unwrap();
    let authority = on(KeyRing::new(hs256(1))).build().unwrap();
    let guarded = Guarded::new(&authority);
    let nameless = sign_by(1, r#"{"alg":"HS256"}"#);
    assert!(guarded.bearer(&nameless).is_admitted());
    authority.replace_keys(with_key(1)).unwrap();
    assert!(guarded.bearer(&nameless).is_admitted(), "remembered");
    guarded_by(with_key(1)).bearer(&nameless).assert_refused(401, &"seen first");
    authority.replace_keys(crowded()).unwrap();
    guarded.bearer(&nameless).assert_refused(401, &"its key is gone");
}

#[test]
fn a_key_answers_to_the_further_kids_it_was_given() {
    let ring = KeyRing::new(hs256(1).with_kid("new").also_known_as("not-used"))
        .retiring(hs256(2).with_kid("old").also_known_as("not-used"))
        .unwrap();
    let guarded = guarded_by(ring);
    for (n, kid, admitted) in [
        (1, "not-used", true),
        (2, "not-used", true),
        (3, "not-used", false),
        (1, "new", true),
        (1, "old", false),
    ] {
        let token = sign_by(n, &json!({"alg": "HS256", "kid": kid}).to_string());
        assert_eq!(guarded.bearer(&token).is_admitted(), admitted, "{n} {kid}");
    }
}

#[test]
fn no_issuer_stands_in_the_way_of_anothers_tokens() {
    let verifying = |n: u8, kid: &str| VerifyingKey::from(hs256(n)).with_kid(kid);
    // One with more keys than are tried for a token, and more issuers of one kid than are.
    let mut ring = KeyRing::new(hs256(1).with_kid("own"))
        .trust("https://many.example", (40..60).map(|n| verifying(n, &n.to_string())))
        .unwrap();
    let issuers: Vec<_> = (2..22).map(|n| (n, format!("https://{n}.example"))).collect();
    for (n, issuer) in &issuers {
        ring = ring.trust(issuer, [verifying(*n, "1")]).unwrap();
    }
    let guarded = guarded_by(ring);
    for (n, issuer) in &issuers {
        let key = jsonwebtoken::EncodingKey::from_secret(&secret(*n));
        let claims = claims_with(json!({"iss": issuer})).to_string();
        for header in [r#"{"alg":"HS256","kid":"1"}"#, r#"{"alg":"HS256"}"#] {
            let answer = guarded.bearer(&sign_raw(header, &claims, &key, Algorithm::HS256));
            assert!(answer.is_admitted(), "{header} {issuer}: {answer:?}");
        }
    }
}

#[test]
fn a_key_speaks_for_its_own_issuer_only() {
    let partner = "https://partner.example";
    let other = "https://other.example";
    let ring = KeyRing::new(hs256(1).with_kid("own"))
        .trust(partner, [VerifyingKey::from(hs256(2)).with_kid("p")])
        .unwrap()
        .trust(other, [VerifyingKey::from(hs256(3)).with_kid("o")])
        .unwrap();
    let guarded = guarded_by(ring);
    for (n, kid) in [(1, "own"), (2, "p"), (3, "o")] {
        for (m, iss) in [(1, ISSUER), (2, partner), (3, other), (0, "https://nobody.example"), (0, "")] {
            let key = jsonwebtoken::EncodingKey::from_secret(&secret(n));
            let claims = claims_with(json!({"iss": iss})).to_string();
            // Without a kid, another issuer's key is not even tried; an own one always is.
            let untried = if n == 1 { Reason::WrongIssuer } else { Reason::BadSignature };
            for (header, refused) in [
                (json!({"alg": "HS256", "kid": kid}), Reason::WrongIssuer),
                (json!({"alg": "HS256"}), untried),
            ] {
                let answer = guarded.bearer(&sign_raw(&header.to_string(), &claims, &key, Algorithm::HS256));
                if n == m {
                    assert!(answer.is_admitted(), "{kid} for {iss}: {answer:?}");
                } else {
                    answer.assert_refused(401, &(kid, iss));
                    assert_eq!(answer.reason, Some(refused), "{kid} for {iss}");
                }
            }
        }
        let key = jsonwebtoken::EncodingKey::from_secret(&secret(n));
        let nameless = claims_with(json!({"iss": null})).to_string();
        let token = sign_raw(r#"{"alg":"HS256"}"#, &nameless, &key, Algorithm::HS256);
        guarded.bearer(&token).assert_refused(401, &"no issuer");
    }
}

#[test]
fn a_foreign_key_is_bound_to_its_issuer_even_where_the_own_one_has_no_name() {
    let partner = "https://partner.example";
    let ring = KeyRing::new(hs256(1)).trust(partner, [VerifyingKey::from(hs256(2))]).unwrap();
    let guarded = Guarded::new(
        &Authority::builder(ring)
            .without_issuer()
            .audience(AUDIENCE)
            .max_session_lifetime(std::time::Duration::from_secs(43_200))
            .clock(ManualClock::at(NOW))
            .build()
            .unwrap(),
    );
    let sign = |n, iss| {
        let key = jsonwebtoken::EncodingKey::from_secret(&secret(n));
        let claims = claims_with(json!({"iss": iss})).to_string();
        sign_raw(r#"{"alg":"HS256"}"#, &claims, &key, Algorithm::HS256)
    };
    assert!(guarded.bearer(&sign(1, json!(null))).is_admitted());
    assert!(guarded.bearer(&sign(2, json!(partner))).is_admitted());
    guarded.bearer(&sign(2, json!(null))).assert_refused(401, &"a foreign key without its issuer");
    guarded.bearer(&sign(2, json!(ISSUER))).assert_refused(401, &"a foreign key with another issuer");
}

/// A token and the set of the issuer `https://idp.example`, as providers send and publish them.
macro_rules! case {
    ($name:literal) => {
        include_str!(concat!("../cases/", $name)).trim()
    };
}

fn trusting(set: &str) -> Guarded {
    let set = tower_reissue::keys::KeySet::from_jwk_set(set).unwrap();
    guarded_by(KeyRing::new(key()).trust("https://idp.example", set.verifying).unwrap())
}

#[test]
fn a_providers_tokens_are_admitted_under_the_set_that_it_publishes() {
    for (set, token) in [
        (case!("set.ed25519_rfc9864.json"), case!("tok.ed25519.txt")),
        (case!("set.one_kid_two_kty.json"), case!("tok.rsa_2026.txt")),
        (case!("set.one_kid_two_kty.json"), case!("tok.ec_2026.txt")),
        (case!("set.keycloak.json"), case!("tok.keycloak.txt")),
    ] {
        let answer = trusting(set).bearer(token);
        assert!(answer.is_admitted(), "{token}: {answer:?}");
    }
    // Of another issuer's keys none will do.
    let answer = trusting(case!("set.keycloak.json")).bearer(case!("tok.ed25519.txt"));
    assert_eq!(answer.reason, Some(Reason::UnknownKey));
}

#[test]
fn what_is_wrong_with_a_providers_token_is_named() {
    for (token, claim, description) in [
        (
            case!("tok.no_iat.txt"),
            Some("iat"),
            "The token lacks a required claim: iat (accept_without_iat is for minters that write none)",
        ),
        (
            case!("tok.exp_ms.txt"),
            Some("exp"),
            "The token holds a malformed claim: exp (it looks like milliseconds, and a NumericDate counts seconds)",
        ),
        (case!("tok.kid_number.txt"), None, "The token is malformed (the header's kid is not a string)"),
    ] {
        let answer = trusting(case!("set.onelogin_no_use.json")).bearer(token);
        answer.assert_refused(401, &token);
        let refusal = answer.refusal.unwrap();
        assert_eq!((refusal.claim(), &*refusal.to_string()), (claim, description));
    }
}

#[test]
fn a_claim_that_nobody_declared_keeps_no_provider_out() {
    let set = tower_reissue::keys::KeySet::from_jwk_set(case!("set.adfs.json")).unwrap();
    let ring = KeyRing::new(key()).trust("http://adfs.example/adfs/services/trust", set.verifying).unwrap();
    let authority = on(ring).also_accept_audience("microsoft:identityserver:orders").build().unwrap();
    assert!(Guarded::new(&authority).bearer(case!("tok.adfs.txt")).is_admitted());
}

#[test]
fn eddsa_and_ed25519_name_one_algorithm_and_the_chosen_one_is_written() {
    let clock = ManualClock::at(NOW);
    let token = |alg: &str| {
        let encoding = encoding_key_for(Algorithm::EdDSA);
        sign_raw(&format!(r#"{{"alg":"{alg}"}}"#), &claims().to_string(), &encoding, Algorithm::EdDSA)
    };
    let plain = key_for(Algorithm::EdDSA);
    for (key, written) in [(plain.clone(), "EdDSA"), (plain.with_fully_specified_alg(), "Ed25519")] {
        let build = || on(key.clone()).jitter_percent(0).clock(clock.clone()).build().unwrap();
        let guarded = Guarded::new(&build());
        for alg in ["EdDSA", "Ed25519"] {
            clock.set(NOW);
            assert!(guarded.bearer(&token(alg)).is_admitted(), "{alg}");
            clock.set(NOW + 500);
            let successor = guarded.bearer(&token(alg)).into_successor();
            assert_eq!(header(&successor)["alg"], written);
            assert!(guarded.bearer(&successor).is_admitted(), "{written}");
        }
        clock.set(NOW);
        for alg in ["ed25519", "Ed448", "EDDSA", "ES256", "none", "ESP256"] {
            guarded.bearer(&token(alg)).assert_refused(401, &alg);
        }
        let issued = at_once(build().issue(tower_reissue::Login::new("alice"))).unwrap();
        assert_eq!(header(issued.as_str())["alg"], written);
    }
}

#[test]
fn own_keys_of_two_algorithms_share_a_kid() {
    let ring = KeyRing::new(key_for(Algorithm::ES256).with_kid("main"))
        .retiring(key_for(Algorithm::RS256).with_kid("main"))
        .unwrap();
    let guarded = guarded_by(ring.clone());
    for algorithm in [Algorithm::ES256, Algorithm::RS256] {
        let key = encoding_key_for(algorithm);
        let header = format!(r#"{{"alg":"{algorithm:?}","kid":"main"}}"#);
        let token = sign_raw(&header, &claims().to_string(), &key, algorithm);
        assert!(guarded.bearer(&token).is_admitted(), "{algorithm:?}");
    }
    let other = SigningKey::generate(Algorithm::RS256).unwrap().with_kid("main");
    assert!(ring.retiring(other).is_err());
}
