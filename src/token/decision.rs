//! The verdict: a function of the evidence, and the only one.

use super::horizon::{Horizon, furthest_ahead};
use super::policy::{MAX_GRACE, Policy};
use super::standing::Standing;
use super::verify::Verified;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// Everything but the policy that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) token: &'a Verified,
    /// Whether the key that verified it is in the ring at this very moment: it may have been withdrawn since.
    pub(crate) key_held: bool,
    /// Whether the sender proved what `cnf` demands; true where it demands nothing.
    pub(crate) confirmed: bool,
    /// As the store says; `Live` where it was not asked.
    pub(crate) standing: Standing,
    pub(crate) now: NumericDate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The handler runs.
    Admit,
    /// Expired, and may still be exchanged for its successor.
    Grace,
    Refuse(Reason),
}

/// Judges a request in which no credential to verify was found: whether it reaches the handler without a token. A credential
/// that is there and can't be used is refused, for its sender means to be known.
pub(crate) fn admits_anonymous(optional: bool, reason: &Reason) -> bool {
    optional && *reason == Reason::NoCredential
}

impl Verified {
    /// Which date is too far ahead: `iat`, unless it is `nbf` alone.
    #[cold]
    fn not_yet_valid(&self, now: NumericDate) -> Reason {
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
    /// Faults come before expiry, so that "expired" always means "otherwise good". A caller asks first with
    /// [`Standing::Live`]: what is refused even then needs no store.
    // It is not generic: without this it would be called and not inlined. See `Reissue::call`.
    #[inline]
    pub(crate) fn decide(&self, evidence: &Evidence<'_>) -> Decision {
        let &Evidence { token, key_held, confirmed, standing, now } = evidence;
        let claims = token.claims();
        let refuse = Decision::Refuse;
        if !key_held {
            return refuse(Reason::UnknownKey);
        }
        if !confirmed && !self.ignore_confirmation {
            return refuse(Reason::Unconfirmed);
        }
        if now < token.valid_from() {
            return refuse(token.not_yet_valid(now));
        }
        match standing {
            Standing::Live => {}
            Standing::Reused { .. } if !self.reuse_ends_session => {}
            Standing::Reused { .. } => return refuse(Reason::Reused),
            Standing::Unknown if self.admit_after_store_loss => {}
            Standing::Unknown => return refuse(Reason::UnknownSession),
            Standing::Revoked => return refuse(Reason::Revoked),
        }
        // Equal counts as expired: RFC 7519 §4.1.4 says "on or after".
        if now < token.admitted_until() {
            return Decision::Admit;
        }
        if now >= token.session_end() {
            return refuse(Reason::SessionOver);
        }
        // Counted from `exp`, never from the end of the leeway. A foreign issuer's token can't be exchanged, nor one of a
        // pair, nor one that was superseded long ago.
        let is_superseded = matches!(standing, Standing::Reused { .. });
        if token.is_sliding() && !is_superseded && now < claims.exp().after(self.grace) {
            return Decision::Grace;
        }
        refuse(Reason::Expired)
    }

    /// Judges at the response whether a token that was admitted is owed a successor.
    ///
    /// `now` must not lie before the instant of admission: the caller takes the later of the two.
    #[inline]
    pub(crate) fn is_due(&self, token: &Verified, now: NumericDate) -> bool {
        let claims = token.claims();
        // Its name is hashed only near the end of its life: jitter can only shrink the window.
        now >= token.window_opens()
            && now >= self.renewable_from(token)
            && token.is_sliding()
            && now.since(claims.exp().after(self.leeway)) < self.in_flight
            && now < token.session_end()
    }

    /// Says of a refusal whether it removes the cookie that held the token: where no service that reads the cookie admits
    /// or exchanges the token, ever. Of a foreign token only its issuer knows that.
    pub(crate) fn settle_cookie(refusal: Refusal, token: &Verified, now: NumericDate) -> Refusal {
        let is_dead = now >= token.claims().exp().after(MAX_GRACE);
        let removes = token.key().is_own() && refusal.reason().is_irrevocable(is_dead);
        refusal.removing_cookie(removes)
    }

    /// r, the instant from which the token is renewable: the same on every node that reads this policy.
    pub(crate) fn renewable_from(&self, token: &Verified) -> NumericDate {
        let window = token.claims().exp().since(token.window_opens());
        let shrink = match window * self.jitter_percent / 100 {
            0 => 0,
            most => most * token.id().spread() / 65_535,
        };
        token.claims().exp().before(window - shrink)
    }

    /// The instant from which the token is good for nothing at all.
    pub(crate) fn dead_at(&self, token: &Verified) -> NumericDate {
        token.claims().exp().after(self.grace).max(token.admitted_until())
    }

    /// Whether the record of this token may still be there, so that a store can tell of its reuse.
    pub(crate) fn may_be_recorded(&self, token: &Verified, now: NumericDate) -> bool {
        let claims = token.claims();
        token.is_sliding() && now < self.token_matters_until(claims.exp(), claims.session_start())
    }

    /// Judges a token that is to end its session: any own one, expired or not, while an authority on the store may admit a
    /// token of that session.
    pub(crate) fn may_end_session(&self, sign_out: &SignOut<'_>) -> Result<(), Reason> {
        let &SignOut { token, retired_at, horizon, now } = sign_out;
        let claims = token.claims();
        // As far ahead as a sign-in dates its session: what was just issued can be signed out.
        let ahead = furthest_ahead(self.future_tolerance);
        let is_after = |instant: NumericDate| claims.iat().since(instant) > ahead;
        if !token.key().is_own() {
            return Err(Reason::WrongIssuer);
        }
        // A revocation is kept from its session's start on: with one in the future it would outlive the horizon.
        if is_after(now) {
            return Err(Reason::NotYetValid(claims.dated_by()));
        }
        // Whoever signed it had the key after this service stopped to use it.
        if retired_at.is_some_and(is_after) {
            return Err(Reason::UnknownKey);
        }
        // The horizon and not this policy's own limit: another service on the store may have a longer one.
        if now >= horizon.after(claims.session_start()) {
            return Err(Reason::SessionOver);
        }
        Ok(())
    }
}

/// A token that is to end its session, and what the verdict on that depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignOut<'a> {
    pub(crate) token: &'a Verified,
    /// When the key that verified it left the ring; `None` for a key of the ring.
    pub(crate) retired_at: Option<NumericDate>,
    /// The store's: how long after its start a session may be of use to any authority on it.
    pub(crate) horizon: Horizon,
    pub(crate) now: NumericDate,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
