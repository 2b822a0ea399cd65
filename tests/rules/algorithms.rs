//! Every algorithm, both ways against another implementation.

use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::keys::VerifyingKey;
use tower_reissue::{Algorithm, Authority, Login, ManualClock};

use crate::support::guarded::*;
use crate::support::*;

fn authority(algorithm: Algorithm, clock: &ManualClock) -> Authority {
    Authority::builder(key_for(algorithm))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(43_200))
        .clock(clock.clone())
        .build()
        .unwrap()
}

/// jsonwebtoken's own reading of a token, times aside: its clock is the real one.
fn decoded(algorithm: Algorithm, token: &str) -> Value {
    let mut validation = jsonwebtoken::Validation::new(algorithm.into());
    validation.validate_exp = false;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    jwt::decode(token, &decoding_key_for(algorithm), &validation)
        .unwrap_or_else(|error| panic!("{algorithm:?}: {error}"))
        .claims
}

#[test]
fn its_tokens_are_admitted_and_renewed_and_it_reads_the_successors() {
    for algorithm in ALGORITHMS {
        let clock = ManualClock::at(NOW);
        let guarded = Guarded::new(&authority(algorithm, &clock));
        let token = mint_with(algorithm, &claims());
        assert!(guarded.bearer(&token).is_admitted(), "{algorithm:?}");
        for after in [500, 659] {
            clock.set(NOW + after);
            let successor = guarded.bearer(&token).into_successor();
            let read = decoded(algorithm, &successor);
            assert_eq!(read["sub"], "alice", "{algorithm:?}");
            assert_eq!(header(&successor)["alg"], format!("{algorithm:?}"));
            assert_eq!(header(&successor)["kid"], key_for(algorithm).kid());
            assert!(guarded.bearer(&successor).is_admitted(), "{algorithm:?}");
        }
    }
}

#[test]
fn it_reads_what_is_issued() {
    for algorithm in ALGORITHMS {
        let clock = ManualClock::at(NOW);
        let authority = authority(algorithm, &clock);
        let issued = at_once(authority.issue(Login::new("alice").claims(&json!({"role": "clerk"})))).unwrap();
        assert_eq!(decoded(algorithm, issued.as_str())["role"], "clerk", "{algorithm:?}");
        assert!(Guarded::new(&authority).bearer(issued.as_str()).is_admitted(), "{algorithm:?}");
    }
}

#[test]
fn its_keys_are_taken_over() {
    for algorithm in ALGORITHMS {
        let _ = mint(&claims());
        let signing =
            tower_reissue::SigningKey::from_encoding_key(algorithm, &encoding_key_for(algorithm)).unwrap();
        let verifying = VerifyingKey::from_decoding_key(algorithm, &decoding_key_for(algorithm)).unwrap();
        assert_eq!(signing.kid(), key_for(algorithm).kid(), "{algorithm:?}");
        assert_eq!(verifying.kid(), signing.kid(), "{algorithm:?}");
    }
}

#[test]
fn a_single_changed_bit_of_the_signature_is_noticed() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    for algorithm in ALGORITHMS {
        let guarded = Guarded::new(&authority(algorithm, &ManualClock::at(NOW)));
        let token = mint_with(algorithm, &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            for bit in [0x01, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(changed));
                guarded.bearer(&forged).assert_refused(401, &(algorithm, at, bit));
            }
        }
    }
}
