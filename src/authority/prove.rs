//! How a token is verified: from the cache, by its signature, or after its issuer's keys were loaded again.

use std::any::type_name;
use std::sync::Arc;

use super::{Authority, NotAdmitted, VerifiedToken};
use crate::keyring::handle::Refetched;
use crate::keyring::handle::Refetching;
use crate::refusal::{Reason, Refusal};
use crate::request::credential::Credential;
use crate::time::NumericDate;
use crate::token::kind::Expected;
use crate::token::verify::{self, Verified};

impl<C: Send + Sync + 'static> Authority<C> {
    /// The token from the cache, if this text was verified under a key that is still held.
    #[inline(always)]
    pub(super) fn remembered(&self, text: &[u8]) -> Option<VerifiedToken<C>> {
        self.0.cache.as_ref()?.get(text, &self.0.keys)
    }

    /// Verifies a token and reads its private claims.
    pub(super) fn verify(&self, text: &[u8], now: NumericDate) -> Result<VerifiedToken<C>, Refusal> {
        let inner = &*self.0;
        let ring = &inner.keys.load();
        let verified = verify::verify(text, ring, &inner.policy, Expected::Access)
            .map_err(|refusal| self.naming_issuers(text, refusal))?;
        // Their type is the application's, so its code may panic.
        let private = self.reporter().ask_hook("private_claims", || (inner.view)(verified.claims().text()));
        let private = match private {
            Some(Ok(private)) => private,
            unreadable => {
                return Err(verified.refused(unreadable_claims::<C>(unreadable.and_then(Result::err))));
            }
        };
        let token = VerifiedToken::new(verified, private, ring, Arc::downgrade(&self.0));
        Ok(match &inner.cache {
            Some(cache) => {
                cache.insert(text, token, ring, now, |token| inner.policy.dead_at(token.verified()))
            }
            None => token,
        })
    }

    /// Adds the names of the admitted issuers to the refusal of a token with an unknown key whose `iss` is none of them. The `iss`
    /// is not verified, but the usual cause is a configured issuer that differs from the `iss` its tokens have.
    #[cold]
    fn naming_issuers(&self, text: &[u8], refusal: Refusal) -> Refusal {
        let own = self.0.policy.issuer.as_deref();
        let is_known = |iss: &str| own == Some(iss) || self.0.keys.trusted(iss).is_some();
        let claimed = match refusal.reason() {
            Reason::UnknownKey => verify::claimed_key(text),
            _ => None,
        };
        if claimed.is_none_or(|(iss, _)| is_known(&iss)) {
            return refusal;
        }
        refusal.expecting(self.issuer_names())
    }

    /// The names of the admitted issuers for an error: the first ones, in a bounded number of bytes.
    pub(super) fn issuer_names(&self) -> String {
        const MOST: usize = 8;
        const MOST_BYTES: usize = 240;
        let trusted = self.0.keys.issuers();
        let own = self.0.policy.issuer.as_deref();
        let mut names = String::new();
        for (nth, name) in own.into_iter().chain(trusted.iter().map(|issuer| issuer.name())).enumerate() {
            let between = if nth == 0 { "" } else { ", " };
            if nth == MOST || names.len() + between.len() + name.len() > MOST_BYTES {
                names += between;
                names += "...";
                break;
            }
            names += between;
            names += name;
        }
        names
    }

    /// Verifies a token that is not in the cache. The error says what happens to the request.
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

    /// Verifies a token, and once more if its issuer's keys were loaded again for it.
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
        self.refetching(token, verify).await
    }

    /// The same, however the token is verified.
    pub(super) async fn refetching<T>(
        &self,
        token: &[u8],
        verify: impl Fn() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
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

    /// Whether a key that is not loaded here could be the own key of this refused token.
    pub(super) fn may_lack_own_key(&self, token: &[u8], refusal: &Refusal) -> bool {
        let own = self.0.policy.issuer.as_deref();
        match refusal.reason() {
            // The key that verified it is a trusted issuer's.
            Reason::WrongIssuer => {
                verify::claimed_key(token).is_some_and(|(claimed, _)| own.is_none_or(|own| claimed == own))
            }
            reason => reason.may_lack_key(),
        }
    }

    /// Verifies once more an own token that was refused for its key: another node may have signed it with a key that this one
    /// has yet to see, so the own source is read again.
    pub(super) async fn verify_refetching_own(
        &self,
        token: &[u8],
        expected: Expected,
        refusal: Refusal,
    ) -> Result<Verified, Refusal> {
        let keys = &self.0.keys;
        let is_known = verify::claimed_kid(token).is_some_and(|kid| keys.load().has_own_key(&kid));
        if is_known {
            return Err(refusal);
        }
        let verdict = match keys.refetch_own() {
            None => Err(refusal),
            Some(refetching) => match refetching.await {
                Refetched::Current => verify::verify(token, &keys.load(), &self.0.policy, expected),
                Refetched::Unreachable => return Err(refusal.because(Reason::KeysUnavailable)),
            },
        };
        // A client drops a refresh token that is refused for good (RFC 6749 §5.2).
        let iat = verify::claimed_iat(token).filter(|_| expected == Expected::Refresh);
        let may_come = iat
            .zip(keys.refetched_own_ago())
            .is_some_and(|(iat, ago)| self.0.policy.may_have_unread_key(iat, ago, self.now()));
        verdict.map_err(|refusal| match may_come && self.may_lack_own_key(token, &refusal) {
            true => refusal.because(Reason::KeysUnavailable),
            false => refusal,
        })
    }

    /// The load that may bring the key of a refused token, if the token claims a trusted issuer that has no such key here. Keys of
    /// own tokens and of untrusted issuers are not loaded.
    fn refetch_for(&self, token: &[u8], refusal: &Refusal) -> Option<Refetching> {
        // Without a manager nothing can be loaded, so the token need not be read again.
        if !refusal.reason().may_lack_key() || !self.0.keys.is_managed() {
            return None;
        }
        let (issuer, kid) = verify::claimed_key(token)?;
        // A token without `kid` may be under a key that the issuer has published since.
        if kid.is_some_and(|kid| self.0.keys.load().has_key_of(&issuer, &kid)) {
            return None;
        }
        self.0.keys.refetch(&issuer)
    }
}

/// The refusal of a token whose private claims are not a `C`. serde's message is left out, because it may quote a claim.
#[cold]
fn unreadable_claims<C>(error: Option<serde_json::Error>) -> Refusal {
    let stopped = error.map(|error| format!("; serde stopped at column {} of the claims", error.column()));
    Refusal::new(Reason::InvalidClaim("private claims".into())).expecting(format!(
        "{}{}",
        type_name::<C>(),
        stopped.unwrap_or_default()
    ))
}

/// The refusal of a token whose key is still unknown after its issuer's keys were loaded again. If they could not be loaded, it
/// is not a verdict on the token.
pub(crate) fn still_unknown(refusal: Refusal, refetched: Refetched) -> Refusal {
    match refetched {
        Refetched::Current => refusal,
        Refetched::Unreachable => refusal.because(Reason::KeysUnavailable),
    }
}
