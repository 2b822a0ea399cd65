//! [`Terms`]: the rules for the tokens of one issuer and kind.

use std::slice;

use super::kind::TokenKind;
use super::policy::{Policy, RefreshPolicy, SKEW_MARGIN};
use crate::jose::media_type;
use crate::keyring::trusted_issuer::{IssuerTerms, TrustedIssuer};
use crate::time::NumericDate;

/// The policy for the tokens of one issuer and kind: the issuer's or the refresh tokens'
/// setting where there is one, otherwise the authority's.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    policy: &'a Policy,
    issuer: Option<&'a IssuerTerms>,
    refresh: Option<&'a RefreshPolicy>,
}

impl Policy {
    /// The terms of an issuer's access tokens. `None` is the own issuer.
    pub(crate) fn terms<'a>(&'a self, issuer: Option<&'a TrustedIssuer>) -> Terms<'a> {
        Terms { policy: self, issuer: issuer.map(TrustedIssuer::terms), refresh: None }
    }

    /// The terms of tokens of this kind. `None` for foreign refresh tokens, and for own ones if there are none.
    pub(crate) fn terms_of<'a>(
        &'a self,
        kind: TokenKind,
        issuer: Option<&'a TrustedIssuer>,
    ) -> Option<Terms<'a>> {
        match kind {
            TokenKind::Access => Some(self.terms(issuer)),
            TokenKind::Refresh if issuer.is_some() => None,
            TokenKind::Refresh => {
                let refresh = Some(self.refresh.as_ref()?);
                Some(Terms { policy: self, issuer: None, refresh })
            }
        }
    }

    /// The instant from which a session of own tokens is over.
    pub(crate) fn session_end(&self, session_start: NumericDate) -> NumericDate {
        self.terms(None).session_end(session_start)
    }

    /// When an own token of this kind expires that begins at `iat`.
    pub(crate) fn exp_of(
        &self,
        kind: TokenKind,
        iat: NumericDate,
        session_start: NumericDate,
    ) -> NumericDate {
        iat.after(self.lifetime_of(kind)).min(self.session_end(session_start))
    }

    /// Until when the record of a refresh token matters: until its `exp`, after which it is refused whatever the store says.
    pub(crate) fn refresh_token_matters_until(
        &self,
        exp: NumericDate,
        session_start: NumericDate,
    ) -> NumericDate {
        self.terms(None).admitted_until(exp, session_start).after(SKEW_MARGIN)
    }

    /// Until when the record of a token matters: while it can be admitted, exchanged or in flight, and for one more lifetime, in
    /// which its return shows that it was copied, because by then it may be two generations old. At most until its session's end.
    pub(crate) fn token_matters_until(&self, exp: NumericDate, session_start: NumericDate) -> NumericDate {
        let window = self.grace.max(self.leeway.saturating_add(self.in_flight));
        exp.after(window).min(self.session_end(session_start)).after(self.lifetime + SKEW_MARGIN)
    }
}

impl<'a> Terms<'a> {
    fn own<T>(self, said: impl FnOnce(&'a IssuerTerms) -> Option<T>) -> Option<T> {
        self.issuer.and_then(said)
    }

    /// Accepted audiences. Empty if `aud` is not checked.
    pub(crate) fn audiences(self) -> &'a [String] {
        if let Some(refresh) = self.refresh {
            return slice::from_ref(&refresh.audience);
        }
        self.own(|issuer| issuer.audiences.as_deref()).unwrap_or(&self.policy.audiences)
    }

    pub(crate) fn accepts_type(self, typ: Option<&str>) -> bool {
        if self.refresh.is_some() {
            return typ.is_some_and(media_type::is_refresh);
        }
        let types = self.access_types();
        let Some(typ) = typ else { return types.is_empty() };
        let is = |wanted: &str| media_type::is(typ, wanted);
        if types.is_empty() { is("JWT") || is("at+jwt") } else { types.iter().any(|wanted| is(wanted)) }
    }

    /// The accepted values of `typ`, for the log.
    pub(crate) fn accepted_types(self) -> String {
        if self.refresh.is_some() {
            return media_type::REFRESH.to_owned();
        }
        match self.access_types() {
            [] => "JWT, at+jwt, none".to_owned(),
            types => types.join(", "),
        }
    }

    fn access_types(self) -> &'a [String] {
        self.own(|issuer| issuer.access_types.as_deref()).unwrap_or(&self.policy.access_types)
    }

    pub(crate) fn access_claim(self) -> Option<&'a (String, String)> {
        if self.refresh.is_some() {
            return None;
        }
        self.own(|issuer| issuer.access_claim.as_ref()).unwrap_or(&self.policy.access_claim).as_ref()
    }

    pub(crate) fn required_claims(self) -> &'a [String] {
        if self.refresh.is_some() {
            return &[];
        }
        self.own(|issuer| issuer.required_claims.as_deref()).unwrap_or(&self.policy.required_claims)
    }

    pub(crate) fn longest_without_iat(self) -> Option<u64> {
        if self.refresh.is_some() {
            return None;
        }
        self.own(|issuer| issuer.longest_without_iat).or(self.policy.longest_without_iat)
    }

    pub(crate) fn session_starts_at_auth_time(self) -> bool {
        self.own(|issuer| issuer.session_starts_at_auth_time)
            .unwrap_or(self.policy.session_starts_at_auth_time)
    }

    pub(crate) fn future_tolerance(self) -> u64 {
        self.own(|issuer| issuer.future_tolerance).unwrap_or(self.policy.future_tolerance)
    }

    /// The instant from which `iat` and `nbf` are within the tolerance. `Verified` keeps it.
    pub(crate) fn valid_from(self, iat: NumericDate, nbf: Option<NumericDate>) -> NumericDate {
        nbf.map_or(iat, |nbf| nbf.max(iat)).before(self.future_tolerance())
    }

    pub(crate) fn leeway(self) -> u64 {
        self.own(|issuer| issuer.leeway).unwrap_or(self.policy.leeway)
    }

    /// The instant from which the token is no longer admitted. `Verified` keeps it.
    pub(crate) fn admitted_until(self, exp: NumericDate, session_start: NumericDate) -> NumericDate {
        exp.after(self.leeway()).min(self.session_end(session_start))
    }

    /// The instant from which the session is over. Of two limits the shorter counts, because the store keeps revocations for the
    /// authority's. `Verified` keeps it.
    pub(crate) fn session_end(self, session_start: NumericDate) -> NumericDate {
        let limits = [self.policy.max_session_lifetime, self.own(|issuer| issuer.max_session_lifetime)];
        let limits = limits.into_iter().flatten().chain(self.policy.old_limits(session_start));
        limits.fold(NumericDate::MAX, |end, limit| end.min(session_start.after(limit)))
    }
}
