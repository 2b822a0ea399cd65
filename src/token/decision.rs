//! [`Policy::decide`]: judges access tokens as they arrive.

use super::policy::{MAX_GRACE, Policy};
use super::standing::Standing;
use super::verify::{self, Verified};
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// Everything that a verdict depends on, apart from the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) token: &'a Verified,
    /// Whether the key that verified it is in the ring now. It may have been withdrawn since.
    pub(crate) key_held: bool,
    /// Whether the sender proved what `cnf` requires. `true` without `cnf`.
    pub(crate) confirmed: bool,
    /// The answer of the store. `Live` if it was not asked.
    pub(crate) standing: Standing,
    pub(crate) now: NumericDate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The handler runs.
    Admit,
    /// Expired, but it may still be exchanged for its successor.
    Grace,
    Refuse(Reason),
}

/// Whether a request without a credential to verify reaches the handler without a token. A credential that is present but unusable
/// is refused, because its sender does not mean to be anonymous.
pub(crate) fn admits_anonymous(optional: bool, reason: &Reason) -> bool {
    optional && *reason == Reason::NoCredential
}

/// Whether the response to a refusal removes the cookie that the token came in, so that it does not block the sign-in page until its
/// `Max-Age`: if no service that reads it can ever admit or exchange the token, which only its issuer knows of a foreign one, or if
/// the cookie's value, `credential`, can hold no token. Without a value it is one that may.
pub(crate) fn removes_cookie(refusal: &Refusal, credential: Option<&[u8]>, now: NumericDate) -> bool {
    refusal.own_exp().is_some_and(|exp| is_irrevocable(refusal.reason(), now >= exp.after(MAX_GRACE)))
        || credential.is_some_and(|credential| holds_no_token(refusal.reason(), credential))
}

/// Whether this credential was refused because there is no token in it, whoever reads it. A token with something around it, or a
/// fault in it, counts as one: its session may be live.
fn holds_no_token(reason: &Reason, credential: &[u8]) -> bool {
    // The first two are judged before the shape is.
    matches!(
        reason,
        Reason::TooLong | Reason::SeveralCredentials | Reason::MalformedToken | Reason::MalformedCredential
    ) && !verify::may_hold_token(credential)
}

/// Whether no later request with the same own token can be admitted or exchanged. `is_dead` says that it is past the longest
/// grace that a service can have.
fn is_irrevocable(reason: &Reason, is_dead: bool) -> bool {
    // While the token is not dead, another service that reads the cookie may have a longer grace or session limit, or accept
    // what this one does not.
    matches!(reason, Reason::Revoked | Reason::Reused | Reason::RefreshTokenReused)
        || (is_dead && reason.is_under_a_good_key())
}

/// Whether no session is left to end with a credential that a sign-out refused for this reason: its session is over, or it can hold no
/// token. RFC 7009 §2.2 has this answered 200.
// No wildcard, so that a new reason needs a decision here.
pub(crate) fn is_worthless_at_sign_out(reason: &Reason, credential: &[u8]) -> bool {
    match reason {
        Reason::SessionOver => true,
        Reason::MalformedToken | Reason::MalformedCredential | Reason::TooLong => {
            !verify::may_hold_token(credential)
        }
        // Not judged, or for another service or another time to judge.
        Reason::NoCredential
        | Reason::SeveralCredentials
        | Reason::UnsupportedScheme
        | Reason::UnsupportedHeader
        | Reason::WrongType
        | Reason::UnknownKey
        | Reason::WrongAlgorithm
        | Reason::KeysUnavailable
        | Reason::BadSignature
        | Reason::MissingClaim(_)
        | Reason::InvalidClaim(_)
        | Reason::WrongIssuer
        | Reason::WrongAudience
        | Reason::NotYetValid(_)
        | Reason::Unconfirmed
        | Reason::StoreUnavailable
        | Reason::CrossSite => false,
        // A sign-out is not refused for these.
        Reason::Expired
        | Reason::ExpiredInGrace
        | Reason::Revoked
        | Reason::Reused
        | Reason::RefreshTokenReused
        | Reason::UnknownSession
        | Reason::InsufficientScope
        | Reason::InsufficientAuthentication(_)
        | Reason::WrongClient
        | Reason::InvalidScope
        | Reason::Declined
        | Reason::RenewerUnavailable => false,
    }
}

impl Verified {
    /// A refusal of this token.
    pub(crate) fn refused(&self, refusal: impl Into<Refusal>) -> Refusal {
        let refusal = refusal.into();
        if self.key().is_own() { refusal.of_own_token(Some(self.claims().exp())) } else { refusal }
    }

    /// The date that is too far ahead: `iat`, or `nbf` if only that is.
    #[cold]
    pub(super) fn not_yet_valid(&self, now: NumericDate) -> Reason {
        let claims = self.claims();
        let tolerance =
            claims.nbf().map_or(claims.iat(), |nbf| nbf.max(claims.iat())).since(self.valid_from());
        match claims.iat().since(now) > tolerance {
            true => Reason::NotYetValid(claims.dated_by()),
            false => Reason::NotYetValid("nbf"),
        }
    }
}

impl Policy {
    /// Judges a token as it arrives.
    ///
    /// Other faults are checked before expiry, so that "expired" always means "otherwise good". Callers pass [`Standing::Live`]
    /// first: a token that is refused even then needs no answer of the store.
    // `inline`, because it is not generic and would be called otherwise. See `server::service::Reissue::call`.
    #[inline]
    pub(crate) fn decide(&self, evidence: &Evidence<'_>) -> Decision {
        let &Evidence { token, key_held, confirmed, standing, now } = evidence;
        let claims = token.claims();
        let refuse = Decision::Refuse;
        if let Err(reason) = self.may_be_presented(token, key_held, confirmed, now) {
            return refuse(reason);
        }
        match standing {
            Standing::Live => {}
            Standing::Reused { .. } if !self.reuse_ends_session || !self.is_over(token, now) => {}
            Standing::Reused { .. } => return refuse(Reason::Reused),
            Standing::UnknownSession if self.admit_after_store_loss => {}
            Standing::UnknownSession => return refuse(Reason::UnknownSession),
            Standing::Revoked => return refuse(Reason::Revoked),
        }
        // Equal counts as expired: RFC 7519 §4.1.4 says "on or after".
        if now < token.admitted_until() {
            return Decision::Admit;
        }
        if now >= token.session_end() {
            return refuse(Reason::SessionOver);
        }
        // Counted from `exp`, not from the end of the leeway. Foreign tokens, tokens of a pair that are not sliding, and reused
        // tokens can't be exchanged.
        let is_reused = matches!(standing, Standing::Reused { .. });
        if token.is_sliding() && !is_reused && now < claims.exp().after(self.grace) {
            return Decision::Grace;
        }
        refuse(Reason::Expired)
    }

    /// The checks that come first for every token: of its key, of its sender, and that it is valid yet.
    #[inline(always)]
    pub(super) fn may_be_presented(
        &self,
        token: &Verified,
        key_held: bool,
        confirmed: bool,
        now: NumericDate,
    ) -> Result<(), Reason> {
        if !key_held {
            return Err(Reason::UnknownKey);
        }
        if !confirmed && !self.ignore_confirmation {
            return Err(Reason::Unconfirmed);
        }
        if now < token.valid_from() {
            return Err(token.not_yet_valid(now));
        }
        Ok(())
    }

    /// How many generations ago the token was superseded, if the store's answer is a reuse that is reported.
    pub(crate) fn reported_reuse(
        &self,
        token: &Verified,
        answer: Option<Standing>,
        now: NumericDate,
    ) -> Option<u32> {
        match answer {
            Some(Standing::Reused { generations }) if self.is_over(token, now) => Some(generations),
            _ => None,
        }
    }

    /// Whether a token has had its time. Before that it is no reuse, however many successors it has: a session that was renewed
    /// early, or got a pair, has several tokens that are good.
    #[inline]
    fn is_over(&self, token: &Verified, now: NumericDate) -> bool {
        now >= token.claims().exp()
    }

    /// Whether a successor is due at the response to an admitted request.
    ///
    /// `now` must not be before the admission: pass the later of the two.
    #[inline]
    pub(crate) fn is_due(&self, token: &Verified, now: NumericDate) -> bool {
        let claims = token.claims();
        // The jitter needs a hash and can only shrink the window, so it is computed last.
        now >= token.window_opens()
            && now >= self.renewable_from(token)
            && token.is_sliding()
            && now.since(claims.exp().after(self.leeway)) < self.in_flight
            && now < token.session_end()
    }

    /// Completes the refusal of a verified token: when it expires, if it is an own one, and by how much it missed its time.
    pub(crate) fn settle(refusal: Refusal, token: &Verified, now: NumericDate) -> Refusal {
        let claims = token.claims();
        let missed_by = match refusal.reason() {
            Reason::Expired | Reason::ExpiredInGrace => now.since(claims.exp()),
            Reason::NotYetValid("nbf") => claims.nbf().map_or(0, |nbf| nbf.since(now)),
            Reason::NotYetValid(_) => claims.iat().since(now),
            _ => 0,
        };
        token.refused(refusal).missing_by(missed_by)
    }

    /// The instant from which the token is renewable. It is the same on every node with this policy.
    pub(crate) fn renewable_from(&self, token: &Verified) -> NumericDate {
        let window = token.claims().exp().since(token.window_opens());
        let shrink = match window * self.jitter_percent / 100 {
            0 => 0,
            most => most * token.id().spread() / 65_535,
        };
        token.claims().exp().before(window - shrink)
    }

    /// The instant from which the token can be neither admitted nor exchanged.
    pub(crate) fn dead_at(&self, token: &Verified) -> NumericDate {
        token.claims().exp().after(self.grace).max(token.admitted_until())
    }

    /// Whether a store may still have the record of this token, and so detect its reuse.
    pub(crate) fn may_be_recorded(&self, token: &Verified, now: NumericDate) -> bool {
        let claims = token.claims();
        token.is_sliding()
            && token.is_recorded()
            && now < self.token_matters_until(claims.exp(), claims.session_start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::tests::reasons;

    #[test]
    fn a_request_is_anonymous_where_it_has_no_credential_and_needs_none() {
        for (reason, anonymous) in [
            (Reason::NoCredential, true),
            (Reason::SeveralCredentials, false),
            (Reason::MalformedCredential, false),
            (Reason::UnsupportedScheme, false),
            (Reason::CrossSite, false),
        ] {
            assert_eq!(admits_anonymous(true, &reason), anonymous, "{reason:?}");
            assert!(!admits_anonymous(false, &reason), "{reason:?}");
        }
    }

    #[test]
    fn a_cookie_is_removed_where_the_end_of_its_own_token_is_known_and_past() {
        let at = NumericDate::from_secs;
        let past = 1_000 + MAX_GRACE;
        for (reason, exp, now, removed) in [
            (Reason::Revoked, Some(1_000), 0, true),
            (Reason::Revoked, None, 1_000_000, false),
            (Reason::Expired, Some(1_000), past - 1, false),
            (Reason::Expired, Some(1_000), past, true),
            (Reason::MissingClaim("tenant".into()), Some(1_000), past - 1, false),
            (Reason::MissingClaim("tenant".into()), Some(1_000), past, true),
            (Reason::MissingClaim("tenant".into()), None, past, false),
            (Reason::UnknownKey, Some(1_000), past, false),
            (Reason::StoreUnavailable, Some(1_000), past, false),
        ] {
            let refusal = Refusal::new(reason).of_own_token(exp.map(at));
            // Whatever else the cookie holds.
            for credential in [None, Some(&b"eyJhbGciOiJIUzI1NiJ9.b.c"[..]), Some(b"nonsense")] {
                assert_eq!(removes_cookie(&refusal, credential, at(now)), removed, "{refusal:?} at {now}");
            }
        }
    }

    #[test]
    fn a_cookie_is_removed_where_it_can_hold_no_token() {
        let removing = |credential: Option<&str>| -> Vec<_> {
            let credential = credential.map(str::as_bytes);
            let removes = |reason: &Reason| {
                removes_cookie(&reason.clone().into(), credential, NumericDate::from_secs(1_000_000))
            };
            reasons().into_iter().filter(removes).collect()
        };
        let shapeless = [
            Reason::SeveralCredentials,
            Reason::MalformedCredential,
            Reason::TooLong,
            Reason::MalformedToken,
        ];
        for (credential, expected) in [
            (Some(""), &shapeless[..]),
            (Some("x"), &shapeless),
            (Some("deleted"), &shapeless),
            (Some("\"\""), &shapeless),
            (Some("a.b.c"), &shapeless),
            // Another node may find a token in it, or another key for it.
            (Some("eyJhbGciOiJIUzI1NiJ9.b.c"), &[]),
            (Some("\"e30.b.c\""), &[]),
            (Some("eyJhbGciOiJIUzI1NiJ9.x"), &[]),
            (None, &[]),
        ] {
            assert_eq!(removing(credential), expected, "{credential:?}");
        }
    }

    #[test]
    fn a_reason_is_irrevocable_where_no_later_request_can_change_it() {
        for reason in reasons() {
            let ended = matches!(reason.label(), "revoked" | "reused" | "refresh_token_reused");
            let is_dead = ended || reason.is_under_a_good_key();
            assert_eq!(
                (is_irrevocable(&reason, false), is_irrevocable(&reason, true)),
                (ended, is_dead),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_credential_is_worthless_where_its_session_is_over_or_it_can_hold_no_token() {
        let worthless = |credential: &str| -> Vec<_> {
            let all = reasons().into_iter();
            all.filter(|reason| is_worthless_at_sign_out(reason, credential.as_bytes())).collect()
        };
        let none =
            [Reason::MalformedCredential, Reason::TooLong, Reason::MalformedToken, Reason::SessionOver];
        // The first part of a token is `{"alg":"HS256"}` or `{}`, in one spelling or another.
        for (credential, expected) in [
            ("", &none[..]),
            ("nonsense", &none),
            ("a.b.c", &none),
            ("a.b.c d", &none),
            ("\u{feff}.\u{80}.\u{c3}", &none),
            ("eyJhbGciOiJIUzI1NiJ9", &none),
            ("W10.b.c", &none),
            ("eyJhbGciOiJIUzI1NiJ9.b.c", &none[3..]),
            ("eyJhbGciOiJIUzI1NiJ9..", &none[3..]),
            ("eyJhbGciOiJIUzI1NiJ9.b.c.d.e", &none[3..]),
            ("e30.b.c", &none[3..]),
            ("e30=.b=.c=", &none[3..]),
            ("ewogfQ.b.c", &none[3..]),
            ("eyJhbGciOiJIUzI1NiJ9.x", &none[3..]),
            ("a.eyJhbGciOiJIUzI1NiJ9.x", &none[3..]),
            ("_eyJhbGci\nOiJIUzI1NiJ9.b.c", &none[3..]),
            ("%22eyJhbGciOiJIUzI1NiJ9%2Eb%2Ec%22", &none[3..]),
            ("\"e30.b.c\"", &none[3..]),
            ("Bearer e30.b.c\r\n", &none[3..]),
            ("token=e30.b.c", &none[3..]),
            ("a.b.c, e30.b.c", &none[3..]),
        ] {
            assert_eq!(worthless(credential), expected, "{credential:?}");
        }
    }
}
