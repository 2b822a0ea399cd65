//! Keys as a service loads them, held against jsonwebtoken with its provider named explicitly.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER as ORACLE;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use super::format::pem;
use super::test_keys::*;
use super::*;
use crate::keys::backend::Verifier;
use crate::keys::material::Public;
use crate::keys::scheme::Curve;

const MESSAGE: &[u8] = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0";
const SECRET: &[u8] = b"an HMAC secret for these tests, of 64 bytes and more: long enough for all.";

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

/// The test key pair of an algorithm, as PEM.
fn pems(algorithm: Algorithm) -> (&'static [u8], &'static [u8]) {
    match (jsonwebtoken::Algorithm::from(algorithm).family(), algorithm) {
        (AlgorithmFamily::Rsa, _) => (RSA_2048, RSA_2048_PUBLIC),
        (_, Algorithm::ES256) => (P256, P256_PUBLIC),
        (_, Algorithm::ES384) => (P384, P384_PUBLIC),
        (AlgorithmFamily::Ed, _) => (ED25519, ED25519_PUBLIC),
        _ => panic!("{algorithm:?} has no PEM"),
    }
}

fn pair(algorithm: Algorithm) -> (SigningKey, VerifyingKey) {
    if algorithm.is_hmac() {
        let signing = SigningKey::from_secret(algorithm, SECRET).unwrap();
        return (signing, VerifyingKey::from_secret(algorithm, SECRET).unwrap());
    }
    let (private, public) = pems(algorithm);
    (SigningKey::from_pem(algorithm, private).unwrap(), VerifyingKey::from_pem(algorithm, public).unwrap())
}

/// The same pair as jsonwebtoken's own keys.
fn their_pair(algorithm: Algorithm) -> (EncodingKey, DecodingKey) {
    match jsonwebtoken::Algorithm::from(algorithm).family() {
        AlgorithmFamily::Hmac => (EncodingKey::from_secret(SECRET), DecodingKey::from_secret(SECRET)),
        AlgorithmFamily::Rsa => {
            let (private, public) = pems(algorithm);
            (EncodingKey::from_rsa_pem(private).unwrap(), DecodingKey::from_rsa_pem(public).unwrap())
        }
        AlgorithmFamily::Ec => {
            let (private, public) = pems(algorithm);
            (EncodingKey::from_ec_pem(private).unwrap(), DecodingKey::from_ec_pem(public).unwrap())
        }
        AlgorithmFamily::Ed => {
            let (private, public) = pems(algorithm);
            (EncodingKey::from_ed_pem(private).unwrap(), DecodingKey::from_ed_pem(public).unwrap())
        }
    }
}

fn kind<T>(result: Result<T, KeyError>) -> Option<KeyErrorKind> {
    result.err().map(|error| error.kind())
}

fn jwk(value: Value) -> String {
    value.to_string()
}

fn ed25519_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "1dyN9qxG5hs3CW0q8g7HY3X9ncI0u1PA-Aivtkzjb_A"})
}

fn p256_jwk() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "_bM5gJV07JwURturGmoCiZJjqeptITDdT9oTTV4a1f0",
        "y": "Vfm8VxSR1FL7qMn0uwt0Y2WNerNi8H_Tn5d3gh6cAws",
    })
}

fn rsa_jwk() -> Value {
    json!({
        "kty": "RSA",
        "n": "zS_n13DLwJbpSU3I-c-os3Qmsh6-ZnOry2_WmSsNILwLSVob-3bS-bwIGQ3Gi_mSBL7NbylGTDP3OXM3FS9GMLS0KFZc5_VkhKgPlQ79QCTFHvNkSQ\
              2oSNsRMVTGqTEmuruTMwj7U9-xUJo3bGK8l4B6_iw2kLjtmZVmYKLRe0iLoEL_QWpt0ggf5vIGUvufxIvUc9IwGnRECDm6Pbg-Wc3NpkpXl30dNsCA\
              0t_2FIMFlpFqfDLU1Lg6EE-iOg4HJJGiSWIgR7hZgo4Mc9cHQz31KZ5sXYUAetdYBuVs7DOopZ8LEgm_ls4vZs6dVE1_-NQIMP56_1pGOcyNFAL9bQ",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    })
}

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> String {
    jwk[member] = value.into();
    self::jwk(jwk)
}

#[test]
fn every_algorithm_signs_and_verifies() {
    for algorithm in ALL {
        let (signing, verifying) = pair(algorithm);
        assert_eq!((signing.algorithm(), verifying.algorithm()), (algorithm, algorithm));
        assert_eq!(signing.kid(), verifying.kid());
        let signature = signing.sign(MESSAGE).unwrap();
        assert!(verifying.verify(MESSAGE, &signature), "{algorithm:?}");
        assert!(signing.verifying_key().verify(MESSAGE, &signature), "{algorithm:?}");
        assert!(VerifyingKey::from(&signing).verify(MESSAGE, &signature), "{algorithm:?}");
    }
}

#[test]
fn a_signature_changed_in_any_way_is_false() {
    for algorithm in ALL {
        let (signing, verifying) = pair(algorithm);
        let signature = signing.sign(MESSAGE).unwrap();
        let len = signature.len();
        assert!(!verifying.verify(b"another message", &signature));
        assert!(!verifying.verify(&MESSAGE[1..], &signature));
        assert!(!verifying.verify(b"", &signature));
        for at in [0, 1, len / 2, len - 1] {
            let mut tampered = signature.clone();
            tampered[at] ^= 0x40;
            assert!(!verifying.verify(MESSAGE, &tampered), "{algorithm:?} at {at}");
        }
        for wrong in [
            vec![],
            vec![0],
            vec![0; len],
            vec![0xff; len],
            signature[..len - 1].to_vec(),
            signature[1..].to_vec(),
            signature[..len / 2].to_vec(),
            [&signature[..], &[0]].concat(),
            [&[0], &signature[..]].concat(),
            [&signature[..], &signature[..]].concat(),
            vec![0x30; 100_000],
        ] {
            assert!(!verifying.verify(MESSAGE, &wrong), "{algorithm:?}: {} bytes", wrong.len());
        }
    }
}

#[test]
fn an_ecdsa_signature_in_der_is_false() {
    // The other form of ECDSA signatures; RFC 7518 §3.4 has r || s only.
    let (signing, verifying) = pair(Algorithm::ES256);
    let signature = signing.sign(MESSAGE).unwrap();
    assert_eq!(signature.len(), 64);
    let integer = |value: &[u8]| [&[2, 33, 0][..], value].concat();
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    let der = [&[0x30, body.len() as u8][..], &body].concat();
    assert!(!verifying.verify(MESSAGE, &der));
}

#[test]
fn a_key_verifies_under_its_own_algorithm_only() {
    let rsa = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    for signed in rsa {
        let signature = pair(signed).0.sign(MESSAGE).unwrap();
        for pinned in rsa {
            assert_eq!(pair(pinned).1.verify(MESSAGE, &signature), signed == pinned, "{signed:?} {pinned:?}");
        }
    }
}

#[test]
fn jsonwebtoken_verifies_our_signatures_and_we_verify_theirs() {
    for algorithm in ALL {
        let (ours, our_verifying) = pair(algorithm);
        let (theirs, their_verifying) = their_pair(algorithm);
        let signature = ours.sign(MESSAGE).unwrap();
        let verifier = (ORACLE.verifier_factory)(&algorithm.into(), &their_verifying).unwrap();
        assert!(verifier.verify(MESSAGE, &signature).is_ok(), "{algorithm:?}");

        let signature =
            (ORACLE.signer_factory)(&algorithm.into(), &theirs).unwrap().try_sign(MESSAGE).unwrap();
        assert!(our_verifying.verify(MESSAGE, &signature), "{algorithm:?}");
    }
}

#[test]
fn jsonwebtokens_own_keys_are_taken_over() {
    for algorithm in ALL {
        let (ours, our_verifying) = pair(algorithm);
        let (theirs, their_verifying) = their_pair(algorithm);
        let signing = SigningKey::from_encoding_key(algorithm, &theirs).unwrap();
        let verifying = VerifyingKey::from_decoding_key(algorithm, &their_verifying).unwrap();
        assert_eq!((signing.kid(), verifying.kid()), (ours.kid(), our_verifying.kid()));
        assert!(verifying.verify(MESSAGE, &ours.sign(MESSAGE).unwrap()), "{algorithm:?}");
        assert!(our_verifying.verify(MESSAGE, &signing.sign(MESSAGE).unwrap()), "{algorithm:?}");
    }
    for (algorithm, value) in
        [(Algorithm::RS256, rsa_jwk()), (Algorithm::ES256, p256_jwk()), (Algorithm::EdDSA, ed25519_jwk())]
    {
        let jwk: Jwk = serde_json::from_value(value).unwrap();
        let theirs = DecodingKey::from_jwk(&jwk).unwrap();
        let taken_over = VerifyingKey::from_decoding_key(algorithm, &theirs).unwrap();
        assert_eq!(taken_over.kid(), VerifyingKey::try_from(&jwk).unwrap().fingerprint());
    }
}

#[test]
fn a_jsonwebtoken_key_of_another_family_or_too_weak_is_refused() {
    let secret = EncodingKey::from_secret(SECRET);
    assert_eq!(kind(SigningKey::from_encoding_key(Algorithm::RS256, &secret)), Some(KeyErrorKind::WrongType));
    // Its public bytes labelled as a secret: the key confusion of CVE-2016-10555.
    let (_, public) = their_pair(Algorithm::RS256);
    assert_eq!(
        kind(VerifyingKey::from_decoding_key(Algorithm::HS256, &public)),
        Some(KeyErrorKind::WrongType)
    );
    let confused = DecodingKey::from_secret(public.try_get_as_bytes().unwrap());
    assert_eq!(
        kind(VerifyingKey::from_decoding_key(Algorithm::HS256, &confused)),
        Some(KeyErrorKind::NotASecret)
    );

    let short = EncodingKey::from_secret(b"short");
    assert_eq!(kind(SigningKey::from_encoding_key(Algorithm::HS256, &short)), Some(KeyErrorKind::Weak));
    let p384 = EncodingKey::from_ec_pem(P384).unwrap();
    assert_eq!(kind(SigningKey::from_encoding_key(Algorithm::ES256, &p384)), Some(KeyErrorKind::WrongType));
    let p384 = DecodingKey::from_ec_pem(P384_PUBLIC).unwrap();
    assert_eq!(kind(VerifyingKey::from_decoding_key(Algorithm::ES256, &p384)), Some(KeyErrorKind::Malformed));
    let rsa_1024 = DecodingKey::from_rsa_pem(RSA_1024_PUBLIC).unwrap();
    assert_eq!(kind(VerifyingKey::from_decoding_key(Algorithm::RS256, &rsa_1024)), Some(KeyErrorKind::Weak));
    let junk = DecodingKey::from_ed_der(&[1, 2, 3]);
    assert_eq!(kind(VerifyingKey::from_decoding_key(Algorithm::EdDSA, &junk)), Some(KeyErrorKind::Malformed));
}

#[test]
fn every_format_of_a_key_gives_the_same_key() {
    let rs256 = SigningKey::from_pem(Algorithm::RS256, RSA_2048).unwrap();
    for text in [RSA_2048, RSA_2048_PKCS1] {
        let der = pem::read(text).unwrap().der;
        assert_eq!(SigningKey::from_pem(Algorithm::RS256, text).unwrap().kid(), rs256.kid());
        assert_eq!(SigningKey::from_der(Algorithm::RS256, &der).unwrap().kid(), rs256.kid());
    }
    for text in [RSA_2048_PUBLIC, RSA_2048_PUBLIC_PKCS1] {
        let der = pem::read(text).unwrap().der;
        assert_eq!(VerifyingKey::from_pem(Algorithm::RS256, text).unwrap().kid(), rs256.kid());
        assert_eq!(VerifyingKey::from_der(Algorithm::RS256, &der).unwrap().kid(), rs256.kid());
    }
    for (algorithm, pkcs8, sec1) in [(Algorithm::ES256, P256, P256_SEC1), (Algorithm::ES384, P384, P384_SEC1)]
    {
        let key = SigningKey::from_pem(algorithm, pkcs8).unwrap();
        let other = SigningKey::from_pem(algorithm, sec1).unwrap();
        assert_eq!(key.kid(), other.kid());
        assert!(key.verifying_key().verify(MESSAGE, &other.sign(MESSAGE).unwrap()));
    }
}

#[test]
fn a_key_of_another_type_or_curve_than_the_algorithm_takes_is_refused() {
    for algorithm in ALL {
        for (private, public) in
            [(RSA_2048, RSA_2048_PUBLIC), (P256, P256_PUBLIC), (P384, P384_PUBLIC), (ED25519, ED25519_PUBLIC)]
        {
            let fits = !algorithm.is_hmac() && pems(algorithm).0 == private;
            let expected = (!fits).then_some(KeyErrorKind::WrongType);
            assert_eq!(kind(SigningKey::from_pem(algorithm, private)), expected, "{algorithm:?}");
            assert_eq!(kind(VerifyingKey::from_pem(algorithm, public)), expected, "{algorithm:?}");
        }
    }
    let error = VerifyingKey::from_pem(Algorithm::ES256, P384_PUBLIC).unwrap_err().to_string();
    assert!(error.contains("P-384") && error.contains("ES256 takes an EC key on P-256"), "{error}");
}

#[test]
fn a_weak_rsa_key_is_refused_in_either_half() {
    for (result, says) in [
        (SigningKey::from_pem(Algorithm::RS256, RSA_1024).map(VerifyingKey::from), "1024 bits"),
        (VerifyingKey::from_pem(Algorithm::PS256, RSA_1024_PUBLIC), "1024 bits"),
        (SigningKey::from_pem(Algorithm::RS256, RSA_2048_E3).map(VerifyingKey::from), "65537"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Weak);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_key_of_the_faulty_chips_is_refused() {
    // Every power of 65537 has the fingerprint: here the largest of 2,041 to 2,057 bits.
    let mut n = vec![1];
    for _ in 0..128 {
        // Times 2^16, plus itself.
        let shifted = [&n[..], &[0, 0]].concat();
        let padded = [&[0, 0], &n[..]].concat();
        let mut carry = 0;
        let mut sum: Vec<u8> = shifted
            .iter()
            .zip(&padded)
            .rev()
            .map(|(a, b)| {
                carry += u16::from(*a) + u16::from(*b);
                let byte = carry as u8;
                carry >>= 8;
                byte
            })
            .collect();
        sum.reverse();
        n = sum;
    }
    let mut roca = rsa_jwk();
    roca["n"] = URL_SAFE_NO_PAD.encode(&n).into();
    let error = VerifyingKey::from_jwk(&jwk(roca)).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Weak);
    assert!(error.to_string().contains("ROCA"), "{error}");
}

#[test]
fn the_wrong_half_or_kind_of_file_is_named_as_such() {
    let signing = |pem| kind(SigningKey::from_pem(Algorithm::ES256, pem));
    let verifying = |pem| kind(VerifyingKey::from_pem(Algorithm::ES256, pem));
    assert_eq!(signing(P256_PUBLIC), Some(KeyErrorKind::WrongType));
    assert_eq!(signing(P256_CERTIFICATE), Some(KeyErrorKind::WrongType));
    assert_eq!(signing(P256_ENCRYPTED), Some(KeyErrorKind::Unsupported));
    assert_eq!(signing(P521), Some(KeyErrorKind::Unsupported));
    assert_eq!(verifying(P256), Some(KeyErrorKind::WrongType));
    assert_eq!(verifying(P256_SEC1), Some(KeyErrorKind::WrongType));
    assert_eq!(signing(b""), Some(KeyErrorKind::Malformed));

    for error in [
        SigningKey::from_der(Algorithm::ES256, P256).err(),
        VerifyingKey::from_der(Algorithm::ES256, P256_PUBLIC).err(),
        KeyFormat::der(Algorithm::ES256).read(P256).err(),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains("`KeyFormat::pem`"), "{error}");
    }
    let other = b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
    let error = SigningKey::from_pem(Algorithm::ES256, other).unwrap_err().to_string();
    assert!(error.contains("`CERTIFICATE REQUEST`") && error.contains("EC PRIVATE KEY"), "{error}");

    let der = pem::read(P256).unwrap().der;
    assert_eq!(kind(VerifyingKey::from_der(Algorithm::ES256, &der)), Some(KeyErrorKind::WrongType));
    let der = pem::read(P256_PUBLIC).unwrap().der;
    assert_eq!(kind(SigningKey::from_der(Algorithm::ES256, &der)), Some(KeyErrorKind::WrongType));
}

#[test]
fn a_pair_whose_halves_do_not_belong_together_is_refused() {
    let error = |mut der: Vec<u8>, at: usize| {
        der[at] ^= 1;
        kind(SigningKey::from_der(Algorithm::ES256, &der))
    };
    let der = pem::read(P256).unwrap().der.to_vec();
    // The last byte belongs to the public point that the document holds beside the scalar.
    assert_eq!(error(der.clone(), der.len() - 1), Some(KeyErrorKind::Malformed));
    let der = pem::read(RSA_2048).unwrap().der.to_vec();
    for at in [200, 600, 1000] {
        let mut changed = der.clone();
        changed[at] ^= 1;
        assert_eq!(
            kind(SigningKey::from_der(Algorithm::RS256, &changed)),
            Some(KeyErrorKind::Malformed),
            "{at}"
        );
    }
}

#[test]
fn an_rsa_document_with_a_byte_changed_never_panics() {
    let der = pem::read(RSA_2048).unwrap().der.to_vec();
    for at in (0..der.len()).step_by(7) {
        for value in [0, 1, 0xff] {
            let mut changed = der.clone();
            changed[at] = value;
            let _ = SigningKey::from_der(Algorithm::RS256, &changed);
        }
    }
}

#[test]
fn an_ed25519_pair_in_pkcs8_version_2_is_read_and_compared() {
    let v1 = pem::read(ED25519).unwrap().der.to_vec();
    let key = SigningKey::from_pem(Algorithm::EdDSA, ED25519).unwrap();
    let public = pem::read(ED25519_PUBLIC).unwrap().der;
    let x = &public[public.len() - 32..];
    // RFC 8410 §7, and as *ring* 0.16 wrote it.
    for field in [[&[0x81, 0x21, 0x00], x].concat(), [&[0xa1, 0x23, 0x03, 0x21, 0x00], x].concat()] {
        let mut v2 = [&v1[..], &field].concat();
        v2[1] += field.len() as u8;
        v2[4] = 1;
        assert_eq!(SigningKey::from_der(Algorithm::EdDSA, &v2).unwrap().kid(), key.kid());
        *v2.last_mut().unwrap() ^= 1;
        assert_eq!(kind(SigningKey::from_der(Algorithm::EdDSA, &v2)), Some(KeyErrorKind::Malformed));
    }
}

#[test]
fn a_point_off_its_curve_is_refused_with_the_librarys_reason() {
    let mut der = pem::read(P256_PUBLIC).unwrap().der.to_vec();
    *der.last_mut().unwrap() ^= 1;
    let error = VerifyingKey::from_der(Algorithm::ES256, &der).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Malformed);
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_compressed_point_is_refused_with_the_remedy() {
    let der = pem::read(P256_PUBLIC).unwrap().der;
    let (head, point) = der.split_at(der.len() - 65);
    let mut compressed = [head, &[2], &point[1..33]].concat();
    compressed[1] -= 32;
    let bits = head.len() - 2;
    compressed[bits] -= 32;
    let error = VerifyingKey::from_der(Algorithm::ES256, &compressed).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unsupported);
    assert!(error.to_string().contains("uncompressed"));
}

/// Where a certificate is no key unless it is asked for, its label must not hide it.
#[test]
fn a_certificate_is_labelled_as_one_and_nothing_else_is() {
    let relabelled = |pem: &[u8], to: &str| {
        let text = std::str::from_utf8(pem).unwrap();
        let from = text.lines().next().unwrap().trim_start_matches("-----BEGIN ").trim_end_matches('-');
        VerifyingKey::from_pem(Algorithm::RS256, text.replace(from, to))
    };
    for (pem, label, loads) in [
        (RSA_2048_CERTIFICATE, "CERTIFICATE", true),
        (RSA_2048_CERTIFICATE, "PUBLIC KEY", false),
        (RSA_2048_CERTIFICATE, "RSA PUBLIC KEY", false),
        (RSA_2048_PUBLIC, "CERTIFICATE", false),
        (RSA_2048_PUBLIC_PKCS1, "CERTIFICATE", false),
        // Many writers confuse the two labels of keys.
        (RSA_2048_PUBLIC, "RSA PUBLIC KEY", true),
        (RSA_2048_PUBLIC_PKCS1, "PUBLIC KEY", true),
    ] {
        let read = relabelled(pem, label);
        assert_eq!(read.is_ok(), loads, "{label}: {read:?}");
        let Err(error) = read else { continue };
        assert!(error.to_string().contains("its label is"), "{error}");
    }
}

#[test]
fn a_short_secret_passes_only_as_dangerous_and_is_marked() {
    let secret = &SECRET[..32];
    assert_eq!(kind(SigningKey::from_secret(Algorithm::HS512, secret)), Some(KeyErrorKind::Weak));
    assert_eq!(kind(VerifyingKey::from_secret(Algorithm::HS512, secret)), Some(KeyErrorKind::Weak));
    let signing = SigningKey::dangerous().short_hmac(Algorithm::HS512, secret).unwrap();
    let verifying = VerifyingKey::dangerous().short_hmac(Algorithm::HS512, secret).unwrap();
    assert!(signing.is_short_hmac() && verifying.is_short_hmac());
    assert!(verifying.verify(MESSAGE, &signing.sign(MESSAGE).unwrap()));
    assert!(!SigningKey::dangerous().short_hmac(Algorithm::HS256, secret).unwrap().is_short_hmac());
    assert!(!pair(Algorithm::HS512).0.is_short_hmac());
    let too_short = SigningKey::dangerous().short_hmac(Algorithm::HS512, &SECRET[..31]);
    assert_eq!(kind(too_short), Some(KeyErrorKind::Weak));
}

#[test]
fn a_jwk_becomes_the_key_it_describes() {
    let rsa = VerifyingKey::from_jwk(&jwk(rsa_jwk())).unwrap();
    // Its own kid wins over the thumbprint.
    assert_eq!(rsa.kid(), "2011-04-29");
    assert_eq!(rsa.fingerprint(), "PZJE4b3mpWEw7STas-3WsLBc8kXtsJ67tyzV1qNHqBg");
    assert_eq!(rsa.algorithm(), Algorithm::RS256);
    assert_eq!(rsa.with_kid("renamed").kid(), "renamed");

    // Without `alg`, the curve decides.
    let p256 = VerifyingKey::from_jwk(&jwk(p256_jwk())).unwrap();
    assert_eq!((p256.algorithm(), p256.kid()), (Algorithm::ES256, p256.fingerprint()));
    let ed25519 = VerifyingKey::from_jwk(&jwk(ed25519_jwk())).unwrap();
    assert_eq!(ed25519.algorithm(), Algorithm::EdDSA);

    let k = URL_SAFE_NO_PAD.encode(SECRET);
    let oct = VerifyingKey::from_jwk(&jwk(json!({"kty": "oct", "k": k, "alg": "HS384"}))).unwrap();
    assert_eq!(oct.kid(), pair(Algorithm::HS384).1.kid());
    assert!(oct.verify(MESSAGE, &pair(Algorithm::HS384).0.sign(MESSAGE).unwrap()));
}

/// The limit is published with the key, so that who reads it there obeys it too.
#[test]
fn the_issuer_that_a_jwk_names_stays_with_its_key() {
    let private = |issuer: Value| {
        let mut jwk = serde_json::from_slice::<Value>(RSA_2048_JWK).unwrap();
        jwk["issuer"] = issuer;
        SigningKey::from_jwk(&jwk.to_string())
    };
    for (issuer, mine, other) in [
        (Value::Null, true, true),
        (json!("https://a.example"), true, false),
        (json!("https://{name}.example"), true, true),
        (json!("https://a.example/\"quoted\""), false, false),
    ] {
        let signing = private(issuer.clone()).unwrap();
        let public = signing.verifying_key();
        let read = VerifyingKey::from_jwk(&public.with_kid("renamed").to_jwk().unwrap()).unwrap();
        for key in [signing.verifying_key(), signing.with_kid("renamed").into(), read] {
            let allowed = ["https://a.example", "https://b.example"].map(|iss| key.may_sign_for(Some(iss)));
            assert_eq!(allowed, [mine, other], "{issuer}: {key:?}");
            assert_eq!(key.issuer().map(ToString::to_string).as_deref(), issuer.as_str());
        }
    }
    for wrong in [json!(7), json!(""), json!("https://{a}{b}")] {
        let error = private(wrong).unwrap_err().to_string();
        assert!(error.starts_with("key \""), "{error}");
    }
}

/// A secret verifies whatever it signs, so it must be allowed to do both; a key that only verifies need not sign.
#[test]
fn what_restricts_a_secret_is_obeyed_on_every_way() {
    let secret = |kid: &str, operations: Value| {
        let k = URL_SAFE_NO_PAD.encode([kid.as_bytes(), SECRET].concat());
        json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": k, "key_ops": operations})
    };
    for (operations, signs, verifies) in [
        (Value::Null, true, true),
        (json!(["sign", "verify"]), true, true),
        (json!(["verify"]), false, true),
        (json!("verify"), false, true),
        (json!(["sign"]), false, false),
        (json!([]), false, false),
    ] {
        let jwk = secret("old", operations.clone());
        assert_eq!(SigningKey::from_jwk(&jwk.to_string()).is_ok(), signs, "{operations}");
        assert_eq!(VerifyingKey::from_jwk(&jwk.to_string()).is_ok(), verifies, "{operations}");
        let first = KeySet::from_own_jwk_set(&json!({ "keys": [jwk] }).to_string());
        assert_eq!(first.is_ok_and(|set| set.signing.is_some()), signs, "{operations}");
        let keys = json!({ "keys": [secret("new", Value::Null), jwk] });
        let retired = KeySet::from_own_jwk_set(&keys.to_string()).unwrap();
        assert_eq!(retired.verifying.len(), usize::from(verifies), "{operations}");
        assert_eq!(retired.skipped.len(), usize::from(!verifies), "{operations}");
    }
}

#[test]
fn an_ed25519_key_has_two_names_and_writes_the_one_that_was_chosen() {
    let (signing, verifying) = pair(Algorithm::EdDSA);
    assert_eq!(signing.written_alg(), "EdDSA");
    let renamed = signing.with_fully_specified_alg();
    assert_eq!((renamed.written_alg(), renamed.verifying_key().written_alg()), ("Ed25519", "Ed25519"));
    for key in [&verifying, &renamed.verifying_key()] {
        assert!(key.is_named("EdDSA") && key.is_named("Ed25519"));
        assert!(!key.is_named("Ed448") && !key.is_named("ed25519") && !key.is_named("ES256"));
        // Two processes that write different names hold the same key.
        assert_eq!(key.alg(), "EdDSA");
    }
    assert!(!verifying.is_same(&renamed.verifying_key()));
    let published = renamed.verifying_key().published("k").unwrap();
    assert!(published.contains(r#""alg":"Ed25519""#), "{published}");
    let read = VerifyingKey::from_jwk(&published).unwrap();
    assert_eq!((read.fingerprint(), read.kid()), (renamed.fingerprint(), "k"));
    // jsonwebtoken's type has no such name.
    let jwk = Jwk::try_from(&renamed.verifying_key()).unwrap();
    assert_eq!(jwk.common.key_algorithm, None);
    assert_eq!(VerifyingKey::try_from(&jwk).unwrap().fingerprint(), renamed.fingerprint());

    let format = KeyFormat::pem(Algorithm::EdDSA).with_fully_specified_alg();
    assert_eq!(format.read(ED25519).unwrap().signing.unwrap().written_alg(), "Ed25519");
    assert_eq!(format.read(ED25519_PUBLIC).unwrap().verifying[0].written_alg(), "Ed25519");
    for algorithm in ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::EdDSA) {
        let (signing, _) = pair(algorithm);
        let names = [signing.written_alg(), signing.with_fully_specified_alg().written_alg()];
        assert_eq!(names, [format!("{algorithm:?}"), format!("{algorithm:?}")]);
    }
}

#[test]
fn the_signature_of_rfc_7515_a3_verifies() {
    let message = "eyJhbGciOiJFUzI1NiJ9.\
                   eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    // Its private key is printed there, so no `VerifyingKey` is made of it.
    let coordinates =
        ["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"];
    let [x, y] = coordinates.map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    let public = Public::ec(Curve::P256, &[&[4], &*x, &y].concat()).unwrap();
    let key = Verifier::from_public(Algorithm::ES256.scheme(), &public).unwrap();
    assert!(key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
}

#[test]
fn what_restricts_a_jwk_is_obeyed() {
    for (jwk, expected) in [
        (with(p256_jwk(), "use", "sig"), None),
        (with(p256_jwk(), "use", "enc"), Some(KeyErrorKind::WrongUse)),
        (with(p256_jwk(), "use", "anything"), Some(KeyErrorKind::WrongUse)),
        (with(p256_jwk(), "key_ops", json!(["verify"])), None),
        (with(p256_jwk(), "key_ops", json!(["sign", "verify"])), None),
        (with(p256_jwk(), "key_ops", json!(["sign"])), Some(KeyErrorKind::WrongUse)),
        (with(p256_jwk(), "key_ops", json!([])), Some(KeyErrorKind::WrongUse)),
        (with(p256_jwk(), "key_ops", json!(["encrypt", "wrapKey"])), Some(KeyErrorKind::WrongUse)),
        (with(p256_jwk(), "alg", "ES256"), None),
        (with(p256_jwk(), "alg", "ES384"), Some(KeyErrorKind::WrongType)),
        (with(p256_jwk(), "alg", "RS256"), Some(KeyErrorKind::WrongType)),
        (with(p256_jwk(), "alg", "HS256"), Some(KeyErrorKind::WrongType)),
        (with(p256_jwk(), "alg", "RSA-OAEP"), Some(KeyErrorKind::Unsupported)),
        (with(p256_jwk(), "alg", "none"), Some(KeyErrorKind::Unsupported)),
        (with(p256_jwk(), "crv", "P-384"), Some(KeyErrorKind::Malformed)),
        (with(p256_jwk(), "crv", "P-521"), Some(KeyErrorKind::Unsupported)),
        (with(p256_jwk(), "crv", "Ed25519"), Some(KeyErrorKind::Unsupported)),
        (with(p256_jwk(), "x", "AA"), Some(KeyErrorKind::Malformed)),
        (with(p256_jwk(), "x", ""), Some(KeyErrorKind::Malformed)),
        (
            with(p256_jwk(), "x", "_bM5gJV07JwURturGmoCiZJjqeptITDdT9oTTV4a1f0="),
            Some(KeyErrorKind::Malformed),
        ),
        (with(p256_jwk(), "y", "_bM5gJV07JwURturGmoCiZJjqeptITDdT9oTTV4a1f0"), Some(KeyErrorKind::Malformed)),
        (with(ed25519_jwk(), "crv", "P-256"), Some(KeyErrorKind::Unsupported)),
        (with(ed25519_jwk(), "alg", "ES256"), Some(KeyErrorKind::WrongType)),
        (with(ed25519_jwk(), "x", "AA"), Some(KeyErrorKind::Malformed)),
        (with(ed25519_jwk(), "x", URL_SAFE_NO_PAD.encode([0; 32])), Some(KeyErrorKind::Weak)),
        (with(rsa_jwk(), "alg", "PS512"), None),
        (with(rsa_jwk(), "alg", Value::Null), Some(KeyErrorKind::AlgorithmMissing)),
        (with(rsa_jwk(), "alg", "ES256"), Some(KeyErrorKind::WrongType)),
        (with(rsa_jwk(), "alg", "HS256"), Some(KeyErrorKind::WrongType)),
        (with(rsa_jwk(), "e", "Aw"), Some(KeyErrorKind::Weak)),
        (with(rsa_jwk(), "e", ""), Some(KeyErrorKind::Weak)),
        (with(rsa_jwk(), "n", "0vx7ago"), Some(KeyErrorKind::Weak)),
        (
            jwk(json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)})),
            Some(KeyErrorKind::AlgorithmMissing),
        ),
        (jwk(json!({"kty": "oct", "k": "", "alg": "HS256"})), Some(KeyErrorKind::Guessable)),
        (jwk(json!({"kty": "oct", "k": "c2hvcnQ", "alg": "HS256"})), Some(KeyErrorKind::Weak)),
        (
            jwk(json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "ES256"})),
            Some(KeyErrorKind::WrongType),
        ),
        (jwk(json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"})), Some(KeyErrorKind::Unsupported)),
    ] {
        assert_eq!(kind(VerifyingKey::from_jwk(&jwk)), expected, "{jwk:?}");
    }
}

#[test]
fn a_refusal_names_the_key_and_never_its_bytes() {
    let mut weak = rsa_jwk();
    weak["n"] = "0vx7ago".into();
    weak["kid"] = "line\nbreak".into();
    let error = VerifyingKey::from_jwk(&jwk(weak)).unwrap_err();
    assert!(error.to_string().starts_with("key \"line\\nbreak\" refused: "), "{error}");

    let mismatch = VerifyingKey::from_pem(Algorithm::RS256, P256_PUBLIC).unwrap_err();
    let thumbprint = VerifyingKey::from_pem(Algorithm::ES256, P256_PUBLIC).unwrap();
    assert!(mismatch.to_string().contains(thumbprint.kid()), "{mismatch}");

    let secret = "hunter2hunter2";
    let error = SigningKey::from_secret(Algorithm::HS256, secret).unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
    }
    // A guessable secret's fingerprint would let it be guessed.
    assert!(!error.to_string().contains(&thumbprint::of_secret(secret.as_bytes())));
}

#[test]
fn debug_prints_no_key() {
    let (signing, verifying) = pair(Algorithm::HS256);
    let (signing, verifying) = (signing.with_kid("main"), verifying.with_kid("main"));
    assert_eq!(format!("{signing:?}"), "SigningKey { kid: \"main\", algorithm: HS256, .. }");
    assert_eq!(format!("{verifying:?}"), "VerifyingKey { kid: \"main\", algorithm: HS256, .. }");
}

#[test]
fn a_name_replaces_the_kid_and_leaves_the_fingerprint() {
    let (signing, _) = pair(Algorithm::ES256);
    let fingerprint = signing.kid().to_owned();
    let named = signing.with_kid("main").also_known_as("old");
    assert_eq!((named.kid(), named.fingerprint()), ("main", fingerprint.as_str()));
    let ring = KeyRing::new(named);
    assert!(ring.knows_kid(Some("main"), || None) && ring.knows_kid(Some("old"), || None));
    assert!(!ring.knows_kid(Some(&fingerprint), || None));
}

#[test]
fn a_generated_key_is_new_each_time_and_works() {
    for algorithm in
        [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::HS256, Algorithm::HS512]
    {
        let (one, two) = (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
        assert_ne!(one.kid(), two.kid());
        let signature = one.sign(MESSAGE).unwrap();
        assert!(one.verifying_key().verify(MESSAGE, &signature), "{algorithm:?}");
        assert!(!two.verifying_key().verify(MESSAGE, &signature), "{algorithm:?}");
    }
    let rsa = SigningKey::generate(Algorithm::PS256).unwrap();
    assert!(rsa.verifying_key().verify(MESSAGE, &rsa.sign(MESSAGE).unwrap()));
}

#[test]
fn keys_go_from_thread_to_thread() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<SigningKey>();
    shared::<VerifyingKey>();
    shared::<KeyRing>();
}

#[test]
fn a_certificate_is_a_container_for_its_key() {
    for (algorithm, certificate, public) in [
        (Algorithm::ES256, P256_CERTIFICATE, P256_PUBLIC),
        (Algorithm::RS256, RSA_2048_CERTIFICATE, RSA_2048_PUBLIC),
        // It was good for one day.
        (Algorithm::EdDSA, ED25519_CERTIFICATE, ED25519_PUBLIC),
    ] {
        let key = VerifyingKey::from_pem(algorithm, certificate).unwrap();
        let der = pem::read(certificate).unwrap().der;
        assert_eq!(VerifyingKey::from_der(algorithm, &der).unwrap().kid(), key.kid());
        assert_eq!(key.kid(), VerifyingKey::from_pem(algorithm, public).unwrap().kid());
    }
    assert_eq!(
        kind(VerifyingKey::from_pem(Algorithm::ES384, P256_CERTIFICATE)),
        Some(KeyErrorKind::WrongType)
    );
    // Two certificates are a chain: which key is meant is not guessed.
    let chain = [P256_CERTIFICATE, P256_CERTIFICATE].concat();
    assert_eq!(kind(VerifyingKey::from_pem(Algorithm::ES256, chain)), Some(KeyErrorKind::Malformed));
}

#[test]
fn a_secret_in_base64_is_its_bytes() {
    // Bytes that use what the two alphabets differ in, and need padding.
    let secret: Vec<u8> = [&[0xfb, 0xff, 0xfe][..], SECRET].concat();
    let (plain, url) = (STANDARD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret));
    assert!(plain.contains('+') && plain.contains('/') && plain.ends_with('='));
    let expected = SigningKey::from_secret(Algorithm::HS256, &secret).unwrap();
    for kid in [
        SigningKey::from_base64_secret(Algorithm::HS256, &plain).unwrap().kid(),
        SigningKey::from_base64url_secret(Algorithm::HS256, &url).unwrap().kid(),
        SigningKey::from_base64url_secret(Algorithm::HS256, URL_SAFE.encode(&secret)).unwrap().kid(),
        VerifyingKey::from_base64_secret(Algorithm::HS256, &plain).unwrap().kid(),
        VerifyingKey::from_base64url_secret(Algorithm::HS256, &url).unwrap().kid(),
    ] {
        assert_eq!(kid, expected.kid());
    }
    let standard = |text: &str| kind(SigningKey::from_base64_secret(Algorithm::HS256, text));
    let urlsafe = |text: &str| kind(SigningKey::from_base64url_secret(Algorithm::HS256, text));
    let unpadded = plain.trim_end_matches('=');
    for text in [&url, unpadded, &format!("{plain}\n"), &format!(" {plain}"), &format!("{plain}="), "*"] {
        assert_eq!(standard(text), Some(KeyErrorKind::Malformed), "{text:?}");
    }
    for text in [&plain, &format!("{url}\n"), &format!("{url}==="), "*"] {
        assert_eq!(urlsafe(text), Some(KeyErrorKind::Malformed), "{text:?}");
    }
    // Stray bits at the end: another text for the same bytes.
    let mut stray = url.clone().into_bytes();
    *stray.last_mut().unwrap() += 1;
    assert_eq!(urlsafe(std::str::from_utf8(&stray).unwrap()), Some(KeyErrorKind::Malformed));
    // The rules for secrets hold for what was decoded.
    assert_eq!(standard(""), Some(KeyErrorKind::Guessable));
    assert_eq!(standard(&STANDARD.encode([7; 64])), Some(KeyErrorKind::Guessable));
    assert_eq!(standard(&STANDARD.encode(&secret[..31])), Some(KeyErrorKind::Weak));
    assert_eq!(standard(&STANDARD.encode(P256_PUBLIC)), Some(KeyErrorKind::NotASecret));
    let error = SigningKey::from_base64_secret(Algorithm::HS256, "hunter2hunter2!").unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn a_published_key_is_the_key() {
    for algorithm in ALL {
        let (signing, verifying) = pair(algorithm);
        let verifying = verifying.with_kid("k");
        let Some(text) = verifying.to_jwk() else {
            assert!(algorithm.is_hmac());
            assert_eq!(kind(Jwk::try_from(&verifying)), Some(KeyErrorKind::WrongType));
            continue;
        };
        assert!(!algorithm.is_hmac());
        let members: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(members["use"], "sig");
        assert_eq!(members["alg"], verifying.alg());
        assert_eq!(members["kid"], "k");
        assert!(members.get("d").is_none() && members.get("k").is_none());
        let read = Jwk::try_from(&verifying).unwrap();
        assert_eq!(read.common.key_algorithm, Some(jsonwebtoken::Algorithm::from(algorithm).into()));
        let loaded = VerifyingKey::from_jwk(&text).unwrap();
        assert_eq!((loaded.kid(), loaded.algorithm()), ("k", algorithm));
        assert_eq!(loaded.fingerprint(), verifying.fingerprint());
        let signature = signing.sign(MESSAGE).unwrap();
        assert!(loaded.verify(MESSAGE, &signature), "{algorithm:?}");
        let theirs = DecodingKey::from_jwk(&read).unwrap();
        let theirs = (ORACLE.verifier_factory)(&algorithm.into(), &theirs).unwrap();
        assert!(theirs.verify(MESSAGE, &signature).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_key_pair_whose_private_key_is_printed_in_public_neither_signs_nor_verifies() {
    let public = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let private = public.replace('}', r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#);
    let p256 = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    for refused in [
        VerifyingKey::from_jwk(public).err(),
        VerifyingKey::from_jwk(&jwk(p256)).err(),
        SigningKey::from_jwk(&private).err(),
    ] {
        let error = refused.unwrap();
        assert_eq!(error.kind(), KeyErrorKind::Guessable, "{error}");
        assert!(error.to_string().contains("publicly known, from RFC"), "{error}");
    }
    // In a set the other keys are used.
    let set = format!(r#"{{"keys":[{public},{}]}}"#, ed25519_jwk());
    let set = KeySet::from_jwk_set(&set).unwrap();
    assert_eq!((set.verifying.len(), set.skipped.len()), (1, 1));
}
