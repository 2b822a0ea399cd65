//! Rule 2: what has not the shape of a token is refused with a 401, never a 500, never a panic.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;
use tower_reissue::{ManualClock, Reason};

use crate::support::guarded::*;
use crate::support::*;

fn guarded() -> Guarded {
    limited_to(8_192)
}

fn limited_to(bytes: usize) -> Guarded {
    Guarded::new(&builder(&ManualClock::at(NOW)).max_token_bytes(bytes).build().unwrap())
}

/// A good token of exactly this many bytes.
fn token_of(bytes: usize) -> String {
    for pad in 0..bytes {
        // Three bytes of the payload are four of the token: blanks in the header reach every length but some.
        for blanks in 0..4 {
            let header = format!(r#"{{"alg":"HS256"{}}}"#, " ".repeat(blanks));
            let claims = claims_with(json!({"pad": "x".repeat(bytes * 3 / 4 - 300 + pad)}));
            let token = mint_raw(&header, &claims.to_string());
            if token.len() == bytes {
                return token;
            }
        }
    }
    unreachable!("no token of {bytes} bytes");
}

#[test]
fn a_token_may_have_8_kib_and_not_a_byte_more() {
    assert!(guarded().bearer(&token_of(8_192)).is_admitted());
    let answer = guarded().bearer(&token_of(8_193));
    answer.assert_refused(401, &8_193);
    assert_eq!(answer.reason, Some(Reason::TooLong));
}

#[test]
fn the_longest_token_is_configurable() {
    for bytes in [512, 1_000, 65_536] {
        assert!(limited_to(bytes).bearer(&token_of(bytes)).is_admitted(), "{bytes}");
        limited_to(bytes).bearer(&token_of(bytes + 1)).assert_refused(401, &bytes);
    }
}

#[test]
fn the_layer_does_not_hand_out_a_successor_that_it_would_refuse() {
    // The successor of this one gains a `sid` and a session start.
    let clock = ManualClock::at(NOW + 500);
    let guarded = Guarded::new(&builder(&clock).max_token_bytes(512).build().unwrap());
    let answer = guarded.bearer(&token_of(512));
    assert!(answer.is_admitted());
    assert_eq!(answer.successor, None);
}

#[test]
fn a_token_has_three_parts_none_of_them_empty() {
    let token = mint(&claims());
    let [header, payload, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let many = |count| ".".repeat(count);
    for malformed in [
        String::new(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{token}.{signature}"),
        format!("{token}.{payload}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}."),
        many(1),
        many(2),
        many(3),
        many(4),
        many(8_000),
        many(100_000),
        format!("{header}{}{signature}", many(100_000)),
    ] {
        if malformed.is_empty() {
            // Scheme and space alone: a malformed credential.
            guarded().bearer(&malformed).assert_refused(400, &malformed);
        } else {
            let answer = guarded().bearer(&malformed);
            answer.assert_refused(401, &malformed.len());
            // Told by its shape, before a key is looked for.
            let expected = if malformed.len() > 8_192 { Reason::TooLong } else { Reason::MalformedToken };
            assert_eq!(answer.reason, Some(expected), "{malformed}");
        }
    }
}

#[test]
fn each_part_is_canonical_base64url() {
    // 32 bytes of signature end in a character with two idle bits, a header of 20 bytes likewise.
    let header = r#"{"alg":"HS256", "a":1}"#;
    let token = mint_raw(header, &claims().to_string());
    assert!(guarded().bearer(&token).is_admitted());
    let parts: Vec<&str> = token.split('.').collect();
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (at, part) in parts.iter().enumerate() {
        let with = |text: String| {
            let mut parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            parts[at] = text;
            parts.join(".")
        };
        for padding in ["=", "==", "===", "%3D"] {
            let padded = with(format!("{part}{padding}"));
            guarded().bearer(&padded).assert_refused(401, &padded);
        }
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        if URL_SAFE.encode(&bytes) != *part {
            let padded = with(URL_SAFE.encode(&bytes));
            guarded().bearer(&padded).assert_refused(401, &padded);
            // Other last characters that differ in the idle bits only.
            let last = ALPHABET.find(part.chars().last().unwrap()).unwrap();
            for stray in [1, 2, 3] {
                let other = ALPHABET.chars().nth(last ^ stray).unwrap();
                let sibling = with(format!("{}{other}", &part[..part.len() - 1]));
                guarded().bearer(&sibling).assert_refused(401, &sibling);
            }
        }
        if STANDARD_NO_PAD.encode(&bytes) != *part {
            let standard = with(STANDARD_NO_PAD.encode(&bytes));
            guarded().bearer(&standard).assert_refused(401, &standard);
        }
    }
}

#[test]
fn the_standard_alphabet_is_not_base64url() {
    // A payload whose text needs '-' and '_', so that the other alphabet differs.
    let token = mint(&claims_with(json!({"x": "\u{3fb}\u{3ff}??>>~~\u{fff}"})));
    let standard = token.replace('-', "+").replace('_', "/");
    assert_ne!(token, standard);
    assert!(guarded().bearer(&token).is_admitted());
    guarded().bearer(&standard).assert_refused(401, &standard);
}

#[test]
fn json_nests_128_deep_and_no_deeper() {
    let guarded = limited_to(65_536);
    // The object itself is the first level.
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
    for (levels, admitted) in
        [(2, true), (127, true), (128, true), (129, false), (1_000, false), (10_000, false)]
    {
        let in_header = format!(r#"{{"alg":"HS256","a":{}}}"#, nested(levels));
        let claims = claims().to_string();
        let in_payload = claims.replacen('{', &format!(r#"{{"a":{},"#, nested(levels)), 1);
        let tokens = [
            mint_raw(&in_header, &claims),
            mint_raw(r#"{"alg":"HS256"}"#, &in_payload),
            mint_raw(
                r#"{"alg":"HS256"}"#,
                &claims.replacen('{', &format!(r#"{{"a":{},"#, objects(levels.min(3_000))), 1),
            ),
        ];
        for token in tokens {
            let answer = guarded.bearer(&token);
            assert_eq!(answer.is_admitted(), admitted, "{levels} levels: {:?}", answer.reason);
            if !admitted {
                answer.assert_refused(401, &levels);
            }
        }
    }
    // Unclosed, and far too deep for anything that recurses.
    for payload in ["[".repeat(40_000), r#"{"a":"#.repeat(8_000), nested(20_000)] {
        guarded.bearer(&mint_raw(r#"{"alg":"HS256"}"#, &payload)).assert_refused(401, &"payload");
        guarded.bearer(&mint_raw(&payload, "{}")).assert_refused(401, &"header");
    }
    let huge = mint_raw(r#"{"alg":"HS256"}"#, &nested(100_000));
    guarded.bearer(&huge).assert_refused(401, &100_000);
}

#[test]
fn header_and_payload_are_each_one_json_object_in_utf_8() {
    let claims = claims().to_string();
    let header = r#"{"alg":"HS256"}"#;
    for bad in [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"HS256\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{\"alg\":\"HS256\",}",
        "{'alg':'HS256'}",
        "{\"alg\":\"HS256\"\u{0}}",
        "\u{feff}{\"alg\":\"HS256\"}",
        "{\"alg\":01}",
        "// x\n{}",
    ] {
        if !bad.is_empty() {
            guarded().bearer(&mint_raw(bad, &claims)).assert_refused(401, &bad);
            guarded().bearer(&mint_raw(header, bad)).assert_refused(401, &bad);
        }
    }
    let array = format!("[{claims}]");
    guarded().bearer(&mint_raw(header, &array)).assert_refused(401, &array);
    let twice = format!("{claims}{claims}");
    guarded().bearer(&mint_raw(header, &twice)).assert_refused(401, &twice);
}

#[test]
fn a_payload_that_is_no_utf_8_is_refused_though_its_signature_holds() {
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"] {
        let mut payload = claims().to_string().replacen('{', r#"{"a":"@","#, 1).into_bytes();
        let at = payload.iter().position(|&byte| byte == b'@').unwrap();
        payload.splice(at..=at, bytes.iter().copied());
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = hmac_of(message.as_bytes());
        guarded().bearer(&format!("{message}.{signature}")).assert_refused(401, &bytes);
    }
}

/// The bytes are judged as bytes: their length first, then their shape.
#[test]
fn a_credential_that_is_no_text_is_no_token() {
    let token = mint(&claims()).into_bytes();
    for at in 0..token.len() {
        for strange in [b"\xff".as_slice(), b"\xc3\xa4", b"\x80"] {
            let mut credential = [b"Bearer ".as_slice(), &token].concat();
            credential.splice(7 + at..8 + at, strange.iter().copied());
            let answer = guarded().send(request(&[("authorization", &credential)]));
            answer.assert_refused(401, &at);
            assert_eq!(answer.reason, Some(Reason::MalformedToken), "{at}");
        }
    }
    let endless = [b"Bearer ".as_slice(), &[0xff; 8_193]].concat();
    let answer = guarded().send(request(&[("authorization", &endless)]));
    answer.assert_refused(401, &"8,193 bytes");
    assert_eq!(answer.reason, Some(Reason::TooLong));
}

/// The signature that `mint_raw` would make of a message that is no text.
fn hmac_of(message: &[u8]) -> String {
    jwt::sign(message, &jsonwebtoken::EncodingKey::from_secret(SECRET), jsonwebtoken::Algorithm::HS256)
}

/// Bytes that an HTTP field may hold.
fn field_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff, Just(b' '), Just(b','), Just(b'.')],
        0..200,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_the_header_is_a_400_or_a_401(value in field_bytes(), scheme in any::<bool>()) {
        let value = if scheme { [b"Bearer ", value.as_slice()].concat() } else { value };
        let answer = guarded().send(request(&[("authorization", &value)]));
        prop_assert!(matches!(answer.status, 400 | 401), "{:?}", answer);
        prop_assert!(!answer.ran && answer.successor.is_none());
    }

    #[test]
    fn a_changed_token_is_no_token(at in any::<prop::sample::Index>(), byte in 0x21_u8..=0x7e, how in 0..4_u8) {
        let token = mint(&claims());
        let mut changed = token.clone().into_bytes();
        let at = at.index(changed.len());
        match how {
            0 => changed[at] = byte,
            1 => changed.insert(at, byte),
            2 => { changed.remove(at); }
            _ => changed.truncate(at),
        }
        let changed = String::from_utf8(changed).unwrap();
        let answer = guarded().bearer(&changed);
        if changed == token {
            prop_assert!(answer.is_admitted());
        } else {
            prop_assert!(matches!(answer.status, 400 | 401), "{changed}: {:?}", answer);
            prop_assert!(!answer.ran && answer.successor.is_none(), "{changed}");
        }
    }

    #[test]
    fn a_signature_over_any_payload_at_all_never_panics(payload in "\\PC{0,60}", header in "\\PC{0,40}") {
        for token in [mint_raw(r#"{"alg":"HS256"}"#, &payload), mint_raw(&header, &claims().to_string())] {
            let answer = guarded().bearer(&token);
            prop_assert_eq!(answer.status, 401);
            prop_assert!(!answer.ran && answer.successor.is_none());
        }
    }
}
