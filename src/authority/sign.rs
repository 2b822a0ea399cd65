//! Signing: from claims text to a compact JWS. The one place where a private key is used.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;

use super::{Authority, VerifiedToken};
use crate::NumericDate;
use crate::base64;
use crate::keys::KeyRing;
use crate::keys::backend::SignError;
use crate::telemetry::NotReissued;
use crate::token::header;
use crate::token::successor::Successor;

/// A successor as it goes out.
#[derive(Clone)]
pub(crate) struct SignedSuccessor {
    /// As a header's value, marked sensitive.
    pub(crate) token: HeaderValue,
    pub(crate) exp: NumericDate,
}

impl SignedSuccessor {
    fn new(token: Vec<u8>, exp: NumericDate) -> Option<Self> {
        let mut token = HeaderValue::from_maybe_shared(Bytes::from(token)).ok()?;
        token.set_sensitive(true);
        Some(Self { token, exp })
    }

    pub(crate) fn text(&self) -> &str {
        // It is base64url and dots.
        self.token.to_str().unwrap_or_default()
    }
}

/// A token is a secret.
impl fmt::Debug for SignedSuccessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedSuccessor").field("exp", &self.exp).finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Signs a successor once per process, however many responses carry it.
    pub(super) fn sign_successor(
        &self,
        successor: &Successor,
        predecessor: &VerifiedToken<C>,
    ) -> Result<SignedSuccessor, NotReissued> {
        // The check and the signature share one look at the ring: between two the key could be withdrawn.
        let ring = self.0.keys.load();
        if !predecessor.held_by(&ring) {
            return Err(NotReissued::KeyWithdrawn);
        }
        predecessor.sign_once(&successor.claims, &ring, || {
            let token = sign(&ring, &successor.claims, predecessor.verified().typ())
                .map_err(|_| NotReissued::SigningFailed)?;
            // One that this service would refuse the next time is worth nothing.
            if token.len() > self.0.policy.max_token_bytes {
                return Err(NotReissued::TooLong);
            }
            SignedSuccessor::new(token, successor.exp).ok_or(NotReissued::SigningFailed)
        })
    }
}

/// Signs with the ring's current key: a compact JWS, which is ASCII.
pub(super) fn sign(ring: &KeyRing, claims: &str, typ: Option<&str>) -> Result<Vec<u8>, SignError> {
    // Withdrawn, and no other has come yet: better no token than one that nobody may admit.
    let (key, written) = ring.signing().ok_or(SignError)?;
    let other;
    let header = match written.text(typ) {
        Some(header) => header,
        None => {
            other = header::write(key.alg(), typ, key.kid());
            &other
        }
    };

    // It grows for RSA alone, whose signatures take hundreds of microseconds, and to what it needs.
    const SIGNATURE: usize = 96;
    let mut token = Vec::with_capacity(header.len() + (claims.len() + SIGNATURE) * 4 / 3 + 8);
    token.extend_from_slice(header.as_bytes());
    token.push(b'.');
    base64::append_url(claims.as_bytes(), &mut token).ok_or(SignError)?;
    let signature = key.sign(&token)?;
    token.push(b'.');
    base64::append_url(&signature, &mut token).ok_or(SignError)?;
    Ok(token)
}
