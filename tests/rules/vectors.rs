//! Token vectors that nobody in this project wrote: Wycheproof, the RFCs' examples, PyJWT, jwt_verify_lib.
//!
//! They are not part of the crate. Where they are is said by `TOWER_REISSUE_VECTORS`, a folder with `tokens.jsonl`:
//!
//! ```sh
//! TOWER_REISSUE_VECTORS=… cargo test --test rules -- --include-ignored
//! ```

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::HeaderValue;
use serde_json::Value;
use tower_reissue::keys::{KeyRing, VerifyingKey};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock, Reason};

use crate::support::guarded::*;
use crate::support::*;

#[test]
#[ignore = "set TOWER_REISSUE_VECTORS to the folder that holds tokens.jsonl"]
fn every_vector_is_a_401_without_a_successor() {
    let rows = rows();
    let (mut sent, mut verified, mut keyless) = (0, 0, Vec::new());
    for row in &rows {
        let token = row["token"].as_str().unwrap();
        let id = row["id"].as_str().unwrap();
        assert_eq!(row["http_expect"], "401", "{id}");
        let (keys, refused) = keys(row);
        if HeaderValue::try_from(format!("Bearer {token}")).is_err()
            || !row["header_sendable"].as_bool().unwrap()
        {
            // No request can carry it: it is judged as a message on a socket would be.
            let authority = lenient(&keys).clock(ManualClock::at(NOW)).build().unwrap();
            let refusal = authority.admit(token).now_or_never().unwrap().unwrap_err();
            assert!(is_of_shape_or_key(refusal.reason()), "{id}: {refusal:?}");
            continue;
        }
        sent += 1;
        for now in [NOW, 1_300_819_379, 1_300_819_381] {
            for authority in [lenient(&keys), strict(&keys)] {
                let authority = authority.clock(ManualClock::at(now)).build().unwrap();
                let answer = Guarded::new(&authority).bearer(token);
                answer.assert_refused(401, &id);
            }
        }
        // How far it came tells more than the status: whoever wrote the row says whether its signature holds.
        let answer = Guarded::new(&lenient(&keys).clock(ManualClock::at(NOW)).build().unwrap()).bearer(token);
        let reason = answer.reason.unwrap();
        match row["expect"].as_str().unwrap() {
            "reject" => assert!(is_of_shape_or_key(&reason), "{id}: {reason:?}, {}", row["why"]),
            "accept" if refused == 0 => {
                verified += 1;
                assert!(!is_of_key(&reason), "{id}: {reason:?}, {}", row["why"]);
            }
            // Its key is one that this crate does not take.
            "accept" => keyless.push(id),
            _ => {}
        }
    }
    assert!(rows.len() >= 529 && sent >= 523, "{sent} of {} rows could be sent", rows.len());
    assert_eq!(verified, 34, "rows with a good signature");
    // Rows of keys whose private half is printed in an RFC, two rows of the secret of RFC 7520, and seven of one that counts up from 0: guessable, and refused.
    let guessable =
        [348, 352, 357, 358, 359, 367, 370, 376, 377].map(|tc| format!("wycheproof/json_web_signature/{tc}"));
    let printed = [
        "cookbook/jws/4_4.hmac-sha2_integrity_protection.json",
        "rfc7515/A.1",
        "wycheproof/json_web_signature/345",
        "wycheproof/json_web_signature/349",
        "cookbook/curve25519/jws.json",
        "cookbook/jws/4_1.rsa_v15_signature.json",
        "cookbook/jws/4_2.rsa-pss_signature.json",
        "rfc7515/A.2",
        "rfc7515/A.3",
        "rfc8037/A.4",
    ];
    keyless.sort_unstable();
    let mut expected: Vec<&str> = guessable.iter().map(String::as_str).chain(printed).collect();
    expected.sort_unstable();
    assert_eq!(keyless, expected);
}

fn rows() -> Vec<Value> {
    let folder = std::env::var_os("TOWER_REISSUE_VECTORS")
        .expect("TOWER_REISSUE_VECTORS must name the folder that holds tokens.jsonl");
    let file = Path::new(&folder).join("tokens.jsonl");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("TOWER_REISSUE_VECTORS: {}: {error}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The row's keys, and how many of them are none that this crate would take.
fn keys(row: &Value) -> (Vec<VerifyingKey>, usize) {
    let jwks = row["jwks"].as_array().unwrap();
    let keys: Vec<_> = jwks.iter().filter_map(|jwk| VerifyingKey::from_jwk(&jwk.to_string()).ok()).collect();
    let refused = jwks.len() - keys.len();
    (keys, refused)
}

/// Own keys, and as little asked of the claims as there can be.
fn lenient(keys: &[VerifyingKey]) -> AuthorityBuilder {
    let mut ring = KeyRing::new(key());
    for key in keys {
        ring = ring.clone().retiring(key.clone()).unwrap_or(ring);
    }
    Authority::builder(ring)
        .without_issuer()
        .without_audience()
        .grace(Duration::from_secs(300))
        .dangerous()
        .unbounded_sessions()
        .dangerous()
        .ignore_cnf()
}

/// The keys of a foreign issuer, the one that the RFCs' examples name.
fn strict(keys: &[VerifyingKey]) -> AuthorityBuilder {
    let ring = KeyRing::new(key());
    let ring = ring.clone().trust("joe", keys.iter().cloned()).unwrap_or(ring);
    Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(43_200))
}

fn is_of_key(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::UnknownKey | Reason::WrongAlgorithm | Reason::BadSignature | Reason::UnsupportedHeader
    )
}

fn is_of_shape_or_key(reason: &Reason) -> bool {
    is_of_key(reason)
        || matches!(reason, Reason::MalformedToken | Reason::MalformedCredential | Reason::TooLong)
}
