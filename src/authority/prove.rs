//! The proof that a token was signed as it reads: from memory, by verification, or after its issuer was asked for newer keys.

use std::sync::Arc;

use super::arrive::NotAdmitted;
use super::{Authority, VerifiedToken};
use crate::keyring::handle::Refetched;
use crate::keyring::handle::Refetching;
use crate::refusal::{Reason, Refusal};
use crate::request::credential::Credential;
use crate::time::NumericDate;
use crate::token::kind::Expected;
use crate::token::verify;

impl<C: Send + Sync + 'static> Authority<C> {
    /// The proof of a token from memory: where this very text was proven under a key that is held.
    #[inline(always)]
    pub(super) fn remembered(&self, text: &[u8]) -> Option<VerifiedToken<C>> {
        self.0.cache.as_ref()?.get(text, &self.0.keys)
    }

    /// The proof of a token seen first: it is verified, its private claims are read.
    pub(super) fn verify(&self, text: &[u8], now: NumericDate) -> Result<VerifiedToken<C>, Refusal> {
        let inner = &*self.0;
        let ring = &inner.keys.load();
        let verified = verify::verify(text, ring, &inner.policy, Expected::Access)
            .map_err(|refusal| self.naming_issuers(text, refusal))?;
        // The type that reads them is the application's own.
        let private = self
            .ask_hook("private_claims", || (inner.view)(verified.claims().text()))
            .and_then(Result::ok)
            .ok_or_else(|| Refusal::new(Reason::InvalidClaim("private claims".into())))?;
        let token = VerifiedToken::new(verified, private, ring, Arc::downgrade(&self.0));
        Ok(match &inner.cache {
            Some(cache) => {
                cache.insert(text, token, ring, now, |token| inner.policy.dead_at(token.verified()))
            }
            None => token,
        })
    }

    /// Names the issuers whose tokens are admitted, where a token under an unknown key claims another: what it claims nobody has
    /// proven, but most such tokens come of a configuration that has another `iss` than its issuer writes.
    #[cold]
    fn naming_issuers(&self, text: &[u8], refusal: Refusal) -> Refusal {
        const MOST: usize = 8;
        const MOST_BYTES: usize = 240;
        let inner = &*self.0;
        let own = inner.policy.issuer.as_deref();
        let is_known = |iss: &str| own == Some(iss) || inner.keys.trusted(iss).is_some();
        let claimed = match refusal.reason() {
            Reason::UnknownKey => verify::claimed_key(text),
            _ => None,
        };
        if claimed.is_none_or(|(iss, _)| is_known(&iss)) {
            return refusal;
        }
        let mut names = String::new();
        let all = own.map(str::to_owned).into_iter().chain(inner.keys.issuers(MOST + 1));
        for (nth, name) in all.enumerate() {
            let between = if nth == 0 { "" } else { ", " };
            if nth == MOST || names.len() + between.len() + name.len() > MOST_BYTES {
                names += between;
                names += "...";
                break;
            }
            names += between;
            names += &name;
        }
        refusal.expecting(names)
    }

    /// The proof of a request's token seen first, or what becomes of a request without one.
    #[inline(never)]
    pub(super) fn first_sight(
        &self,
        credential: &Credential<'_>,
        now: NumericDate,
    ) -> Result<VerifiedToken<C>, Box<NotAdmitted<C>>> {
        let text = credential.token().map_err(NotAdmitted::refused)?;
        self.verify(text, now).map_err(|refusal| match self.refetch_for(text, &refusal) {
            Some(refetching) => Box::new(NotAdmitted::Refetching { refetching, refusal }),
            None => NotAdmitted::refused(refusal),
        })
    }

    /// Verifies, once more where the issuer was asked for newer keys.
    pub(super) async fn verify_refetching(
        &self,
        token: &[u8],
    ) -> Result<(VerifiedToken<C>, NumericDate), Refusal> {
        let verify = || {
            let now = self.now();
            let token = match self.remembered(token) {
                Some(token) => token,
                None => self.verify(token, now)?,
            };
            Ok((token, now))
        };
        let refusal = match verify() {
            Ok(verified) => return Ok(verified),
            Err(refusal) => refusal,
        };
        let Some(refetching) = self.refetch_for(token, &refusal) else { return Err(refusal) };
        let refetched = refetching.await;
        verify().map_err(|refusal| match self.refetch_for(token, &refusal) {
            Some(_) => still_unknown(refusal, refetched),
            None => refusal,
        })
    }

    /// The fetch that may bring the key of a refused token: where it claims a trusted issuer that has no such key here.
    /// An own token's key, and one of an issuer nobody trusts, is not asked for.
    pub(super) fn refetch_for(&self, token: &[u8], refusal: &Refusal) -> Option<Refetching> {
        // Keys that nobody keeps up to date are not asked for, so the token need not be read once more.
        if !refusal.reason().is_about_keys() || !self.0.keys.is_managed() {
            return None;
        }
        let (issuer, kid) = verify::claimed_key(token)?;
        if self.0.keys.load().has_key_of(&issuer, kid.as_deref()) {
            return None;
        }
        self.0.keys.refetch(&issuer)
    }
}

/// What a token is refused with whose issuer has no such key here, after it was asked: a verdict only where it answered.
pub(crate) fn still_unknown(refusal: Refusal, refetched: Refetched) -> Refusal {
    match refetched {
        Refetched::Current => refusal,
        Refetched::Unreachable => refusal.because(Reason::KeysUnavailable),
    }
}
