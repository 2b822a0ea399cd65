//! Names of keys that are computed from the keys.

use super::backend::{self, Signer};
use super::material::Public;
use super::scheme::Hash;
use crate::jose::base64::encode_url;

/// The JWK thumbprint of RFC 7638, for Ed25519 by RFC 8037: 43 characters of base64url.
pub(crate) fn of_public(public: &Public) -> String {
    // The required members in lexical order, without whitespace (RFC 7638 §3.2). Nothing here needs escaping. Written by
    // hand: jsonwebtoken's `thumbprint` hashes with a process-wide provider, and panics without one.
    let canonical = match public {
        Public::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode_url(e), encode_url(n)),
        Public::Ec { curve, point } => {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                curve.name(),
                encode_url(x),
                encode_url(y)
            )
        }
        Public::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode_url(x)),
    };
    encode_url(backend::sha256(canonical.as_bytes()))
}

/// The `kid` that Airflow gives a key pair, where that is no thumbprint: for RSA it hashes `key_ops` too.
pub(crate) fn of_airflow(public: &Public) -> Option<String> {
    let Public::Rsa { n, e } = public else { return None };
    let (e, n) = (encode_url(e), encode_url(n));
    let hashed = format!(r#"{{"e":"{e}","key_ops":["verify"],"kty":"RSA","n":"{n}"}}"#);
    Some(encode_url(backend::sha256(hashed.as_bytes())))
}

/// The fingerprint of a secret: 22 characters of base64url, equal wherever the secret is.
///
/// An RFC 7638 thumbprint of a secret would be a plain hash of it. This is an HMAC-SHA-256 *keyed by* the secret, over
/// a label that no token's signing input can equal (those hold a dot), so it is neither a token's signature nor of use
/// to make one. Like any token it can still be tested offline against guesses, so it hides a secret only as far as
/// the secret can't be guessed: one reason for the minimum of 32 bytes.
pub(crate) fn of_secret(secret: &[u8]) -> String {
    const LABEL: &[u8] = b"tower-reissue secret fingerprint";
    // An HMAC does not fail in either backend. If it did, the name would be empty.
    let tag = Signer::from_secret(Hash::Sha256, secret).sign(LABEL).unwrap_or_default();
    encode_url(tag.get(..16).unwrap_or_default())
}

/// Whether the text has the form of a thumbprint or a fingerprint.
pub(crate) fn is_one(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    matches!(text.len(), 22 | 43) && text.bytes().all(fits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::jose::base64::Base64;

    #[test]
    fn the_example_of_rfc_7638_has_its_thumbprint() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj\
                 hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5\
                 hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let n = Base64::Url.decode(n.as_bytes()).unwrap();
        let public = Public::rsa(&n, &[1, 0, 1]).unwrap();
        assert_eq!(of_public(&public), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_example_of_rfc_8037_has_its_thumbprint() {
        let x = Base64::Url.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let public = Public::ed25519(&x).unwrap();
        assert_eq!(of_public(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_secret_has_one_fingerprint_and_shares_it_with_no_other() {
        let secret = b"an HMAC secret of more than 32 bytes";
        let fingerprint = of_secret(secret);
        // Pinned: processes of different versions must agree.
        assert_eq!(fingerprint, "18a5kllpJbr8upcP-6RfJg");
        for other in [&secret[1..], &secret[..secret.len() - 1], b"", &[0; 32]] {
            assert_ne!(fingerprint, of_secret(other));
        }
    }
}
