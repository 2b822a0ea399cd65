//! Signs claims as a compact JWS. Private keys are used only here.

use std::borrow::Cow;

use super::{Authority, SignedSuccessor, VerifiedToken};
use crate::crypto::SignError;
use crate::jose::base64;
use crate::jose::header;
use crate::jose::header::EncodedHeaders;
use crate::keyring::ring::KeyRing;
use crate::keys::signing_key::SigningKey;
use crate::token::capacity::Capacity;
use crate::token::not_reissued::NotReissued;
use crate::token::successor::Successor;

impl<C: Send + Sync + 'static> Authority<C> {
    /// Signs a successor, once per process however many responses carry it. One that this response can't carry is an error.
    pub(super) fn sign_successor(
        &self,
        successor: &Successor,
        predecessor: &VerifiedToken<C>,
        capacity: Capacity,
    ) -> Result<SignedSuccessor, NotReissued> {
        // The check and the signature use the same ring, because the key could be withdrawn in between.
        let ring = self.0.keys.load();
        if !predecessor.held_by(&ring) {
            return Err(NotReissued::KeyWithdrawn);
        }
        let signed = predecessor.sign_once(&successor.claims, &ring, || {
            let typ = predecessor.verified().typ();
            self.signed_len(&ring, &successor.claims, typ)?;
            let iss = self.0.policy.issuer.as_deref();
            let token = sign(&ring, &successor.claims, iss, typ).map_err(|_| NotReissued::SigningFailed)?;
            SignedSuccessor::new(token, successor.exp).ok_or(NotReissued::SigningFailed)
        })?;
        capacity.admit(signed.token.len())?;
        Ok(signed)
    }

    /// The length of a signed token with these claims.
    pub(super) fn signed_len(
        &self,
        ring: &KeyRing,
        claims: &str,
        typ: Option<&str>,
    ) -> Result<usize, NotReissued> {
        let iss = self.0.policy.issuer.as_deref();
        let len = signed_len(ring, claims.len(), iss, typ).ok_or(NotReissued::SigningFailed)?;
        // This service would refuse a longer one.
        if len > self.0.policy.max_token_bytes { Err(NotReissued::TooLong) } else { Ok(len) }
    }
}

/// Signs claims of this `iss` with the ring's current key: a compact JWS, which is ASCII.
pub(super) fn sign(
    ring: &KeyRing,
    claims: &str,
    iss: Option<&str>,
    typ: Option<&str>,
) -> Result<Vec<u8>, SignError> {
    // There is no signing key if it was withdrawn and no other is loaded.
    let (key, headers) = ring.signing_for(iss).ok_or(SignError)?;
    let header = header_of(key, headers, typ);
    let mut token = Vec::with_capacity(len(&header, claims.len(), key));
    token.extend_from_slice(header.as_bytes());
    token.push(b'.');
    base64::append_url(claims.as_bytes(), &mut token).ok_or(SignError)?;
    let signature = key.sign(&token)?;
    token.push(b'.');
    base64::append_url(&signature, &mut token).ok_or(SignError)?;
    Ok(token)
}

/// The length of the token that [`sign`] makes of so many bytes of claims. `None` if no key signs.
pub(super) fn signed_len(
    ring: &KeyRing,
    claims: usize,
    iss: Option<&str>,
    typ: Option<&str>,
) -> Option<usize> {
    let (key, headers) = ring.signing_for(iss)?;
    Some(len(&header_of(key, headers, typ), claims, key))
}

fn header_of<'a>(key: &SigningKey, headers: &'a EncodedHeaders, typ: Option<&str>) -> Cow<'a, str> {
    match headers.text(typ) {
        Some(header) => Cow::Borrowed(header),
        None => Cow::Owned(header::write(key.written_alg(), typ, key.kid())),
    }
}

fn len(header: &str, claims: usize, key: &SigningKey) -> usize {
    header.len() + ".".len() + base64::url_len(claims) + ".".len() + base64::url_len(key.signature_len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::authority::{IssueError, Login};
    use crate::keys::Algorithm;
    use crate::time::NumericDate;

    /// Between the check of the reissue protocol and the signature another thread may withdraw the predecessor's key.
    #[test]
    fn a_token_whose_key_is_withdrawn_at_the_last_moment_gets_no_signature() {
        for kid in ["main", "old"] {
            let [main, old] =
                ["main", "old"].map(|kid| SigningKey::generate(Algorithm::HS256).unwrap().with_kid(kid));
            let signing = KeyRing::new(if kid == "main" { main.clone() } else { old.clone() });
            let claims = r#"{"iss":"i","aud":"a","iat":1800000000,"exp":1800000600}"#;
            let token = String::from_utf8(sign(&signing, claims, Some("i"), Some("JWT")).unwrap()).unwrap();
            let ring = KeyRing::new(main).retiring(old).unwrap();
            let authority = Authority::builder(ring)
                .issuer("i")
                .audience("a")
                .max_session_lifetime(Duration::from_secs(3_600))
                .clock(|| NumericDate::from_secs(1_800_000_500))
                .build()
                .unwrap();
            let token = authority.admit(&token).now_or_never().unwrap().unwrap();
            let successor = authority.0.policy.propose(token.verified(), authority.now()).unwrap();
            let signed = || authority.sign_successor(&successor, &token, authority.0.policy.any_capacity());
            assert!(signed().is_ok());
            assert!(authority.withdraw_key(kid));
            assert_eq!(signed().unwrap_err(), NotReissued::KeyWithdrawn, "{kid}");
        }
    }

    /// Whatever lets such a key become the signing one: its tokens would be refused everywhere.
    #[test]
    fn a_key_whose_jwk_names_another_issuer_signs_nothing() {
        let key = |issuer: &str| {
            let k = base64::encode_url("a secret of these tests: 32 bytes and more");
            let jwk = format!(r#"{{"kty":"oct","alg":"HS256","kid":"1","k":"{k}","issuer":"{issuer}"}}"#);
            SigningKey::from_jwk(&jwk).unwrap()
        };
        let authority: Authority = Authority::builder(key("i"))
            .issuer("i")
            .audience("a")
            .max_session_lifetime(Duration::from_secs(3_600))
            .clock(|| NumericDate::from_secs(1_800_000_500))
            .build()
            .unwrap();
        let issue = || authority.issue(Login::new("ada")).now_or_never().unwrap().map(drop);
        assert!(issue().is_ok());
        authority.0.keys.replace(KeyRing::new(key("other")));
        assert!(matches!(issue(), Err(IssueError::Signing)), "{:?}", issue());
        authority.0.keys.replace(KeyRing::new(key("i")));
        assert!(issue().is_ok());
    }

    #[test]
    fn a_tokens_length_is_known_before_it_is_signed() {
        for algorithm in [
            Algorithm::HS256,
            Algorithm::HS384,
            Algorithm::HS512,
            Algorithm::RS256,
            Algorithm::PS384,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ] {
            let ring = KeyRing::new(SigningKey::generate(algorithm).unwrap());
            for (claims, typ) in [("{}", Some("JWT")), (r#"{"a":1}"#, Some("other")), (r#"{"a":12}"#, None)] {
                let token = sign(&ring, claims, None, typ).unwrap();
                assert_eq!(
                    signed_len(&ring, claims.len(), None, typ),
                    Some(token.len()),
                    "{algorithm:?} {claims}"
                );
                assert_eq!(token.capacity(), token.len());
            }
        }
        assert_eq!(signed_len(&KeyRing::of(None), 2, None, None), None);
    }
}
