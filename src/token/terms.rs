//! [`Terms`]: what a token is held to.

use super::policy::Policy;
use crate::keyring::trusted_issuer::{IssuerTerms, TrustedIssuer};
use crate::time::NumericDate;

/// The policy for the tokens of one issuer: what its [`TrustedIssuer`] says, and the authority's own in all else.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    policy: &'a Policy,
    issuer: Option<&'a IssuerTerms>,
}

impl Policy {
    /// `None`: the terms of own tokens.
    pub(crate) fn terms<'a>(&'a self, issuer: Option<&'a TrustedIssuer>) -> Terms<'a> {
        Terms { policy: self, issuer: issuer.map(TrustedIssuer::terms) }
    }

    /// The instant from which a session of own tokens is over, whatever was reissued.
    pub(crate) fn session_end(&self, session_start: NumericDate) -> NumericDate {
        self.terms(None).session_end(session_start)
    }
}

impl<'a> Terms<'a> {
    fn own<T>(self, said: impl FnOnce(&'a IssuerTerms) -> Option<T>) -> Option<T> {
        self.issuer.and_then(said)
    }

    /// Accepted audiences; empty where `aud` is not looked at.
    pub(crate) fn audiences(self) -> &'a [String] {
        self.own(|issuer| issuer.audiences.as_deref()).unwrap_or(&self.policy.audiences)
    }

    /// Media types compare without regard to case and to an omitted `application/` (RFC 7515 §4.1.9).
    pub(crate) fn accepts_type(self, typ: Option<&str>) -> bool {
        let types = self.access_types();
        let Some(typ) = typ else { return types.is_empty() };
        let is = |wanted: &str| short(typ).eq_ignore_ascii_case(short(wanted));
        if types.is_empty() { is("JWT") || is("at+jwt") } else { types.iter().any(|wanted| is(wanted)) }
    }

    /// The accepted values of `typ`, for the log.
    pub(crate) fn accepted_types(self) -> String {
        match self.access_types() {
            [] => "JWT, at+jwt, none".to_owned(),
            types => types.join(", "),
        }
    }

    fn access_types(self) -> &'a [String] {
        self.own(|issuer| issuer.access_types.as_deref()).unwrap_or(&self.policy.access_types)
    }

    pub(crate) fn access_claim(self) -> Option<&'a (String, String)> {
        self.own(|issuer| issuer.access_claim.as_ref()).unwrap_or(&self.policy.access_claim).as_ref()
    }

    pub(crate) fn required_claims(self) -> &'a [String] {
        self.own(|issuer| issuer.required_claims.as_deref()).unwrap_or(&self.policy.required_claims)
    }

    pub(crate) fn longest_without_iat(self) -> Option<u64> {
        self.own(|issuer| issuer.longest_without_iat).or(self.policy.longest_without_iat)
    }

    pub(crate) fn future_tolerance(self) -> u64 {
        self.own(|issuer| issuer.future_tolerance).unwrap_or(self.policy.future_tolerance)
    }

    /// The instant from which the token is no more ahead of the clock than is tolerated. `Verified` keeps it.
    pub(crate) fn valid_from(self, iat: NumericDate, nbf: Option<NumericDate>) -> NumericDate {
        nbf.map_or(iat, |nbf| nbf.max(iat)).before(self.future_tolerance())
    }

    /// The instant from which the token is admitted no more. `Verified` keeps it.
    pub(crate) fn admitted_until(self, exp: NumericDate, session_start: NumericDate) -> NumericDate {
        let leeway = self.own(|issuer| issuer.leeway).unwrap_or(self.policy.leeway);
        exp.after(leeway).min(self.session_end(session_start))
    }

    /// The instant from which the session is over. Of two limits the shorter counts: the authority's is what the store
    /// keeps revocations for. `Verified` keeps it.
    pub(crate) fn session_end(self, session_start: NumericDate) -> NumericDate {
        let limits = [self.policy.max_session_lifetime, self.own(|issuer| issuer.max_session_lifetime)];
        let limits = limits.into_iter().flatten().chain(self.policy.old_limits(session_start));
        limits.fold(NumericDate::MAX, |end, limit| end.min(session_start.after(limit)))
    }
}

fn short(typ: &str) -> &str {
    match typ.split_at_checked(12) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") && !rest.contains('/') => rest,
        _ => typ,
    }
}
