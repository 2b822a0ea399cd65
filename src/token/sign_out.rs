//! Judges a token that is presented to end its session.
//!
//! ```text
//! sign_out_horizon ──own──────────────────────► may_end_session ──► how it is ended, or a refusal
//!                 └──unknown──► ask the store ──►
//! ```
//!
//! Any own token ends its session, expired or not, as long as an authority on the store may admit a token of that session.

use super::horizon::{Horizon, furthest_ahead};
use super::policy::Policy;
use super::verify::Verified;
use crate::refusal::Reason;
use crate::time::NumericDate;

/// What the verdict depends on, apart from the policy and the store's horizon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignOut<'a> {
    pub(crate) token: &'a Verified,
    /// When the key that verified it left the ring. `None` if it is in the ring.
    pub(crate) retired_at: Option<NumericDate>,
    pub(crate) has_store: bool,
    pub(crate) now: NumericDate,
}

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As one of its subject's sessions.
    OfSubject,
    /// Somebody with a leaked key can invent sessions. So their number is limited, within this horizon, and none counts as its
    /// subject's, whose real ones it would displace.
    UnderRetiredKey(Horizon),
}

impl Policy {
    /// The horizon that decides, or `None` if the store has to be asked for it. Where this authority's own suffices, the store's
    /// is not smaller.
    pub(crate) fn sign_out_horizon(&self, sign_out: &SignOut<'_>) -> Option<Horizon> {
        let &SignOut { token, retired_at, has_store, now } = sign_out;
        let is_past_own_limit = now >= self.session_end(token.claims().session_start());
        let asks = has_store && (retired_at.is_some() || is_past_own_limit);
        (!asks).then(|| self.horizon())
    }

    /// Whether the token may end its session, and how.
    pub(crate) fn may_end_session(&self, sign_out: &SignOut<'_>, horizon: Horizon) -> Result<Ending, Reason> {
        let &SignOut { token, retired_at, now, .. } = sign_out;
        let claims = token.claims();
        // As far ahead as a sign-in dates its session, so that a token that was just issued can be signed out.
        let ahead = furthest_ahead(self.future_tolerance);
        let is_after = |instant: NumericDate| claims.iat().since(instant) > ahead;
        if !token.key().is_own() {
            return Err(Reason::WrongIssuer);
        }
        // A revocation is kept from its session's start on. With a start in the future it would outlive the horizon.
        if is_after(now) {
            return Err(Reason::NotYetValid(claims.dated_by()));
        }
        // It was signed after this service stopped using the key, so by somebody else.
        if retired_at.is_some_and(is_after) {
            return Err(Reason::UnknownKey);
        }
        // By the horizon and not by this policy's limit, because another service on the store may have a longer limit. Where no claim
        // says when the session began, another token of the same `sid` may be younger, but none under a retired key.
        let may_be_younger =
            claims.spans().session_start.is_none() && claims.sid().is_some() && retired_at.is_none();
        if !may_be_younger && now >= horizon.after(claims.session_start()) {
            return Err(Reason::SessionOver);
        }
        Ok(match retired_at {
            None => Ending::OfSubject,
            Some(_) => Ending::UnderRetiredKey(horizon),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::test_tokens::{ISSUED, at, policy, token, token_with};

    #[test]
    fn a_sign_out_asks_the_store_only_where_its_horizon_may_decide() {
        let policy = policy();
        let token = token(&policy, 0);
        let own = policy.horizon();
        let longer = Horizon::Secs(9_000);
        let (of_subject, over) = (Ok(Ending::OfSubject), Err(Reason::SessionOver));
        let under_retired = |horizon| Ok(Ending::UnderRetiredKey(horizon));
        for (secs, retired, has_store, asks, within_own, within_longer) in [
            (0, None, true, false, of_subject.clone(), of_subject.clone()),
            // Expired long ago, and before the session's limit.
            (5_999, None, true, false, of_subject.clone(), of_subject.clone()),
            (6_200, None, true, true, over.clone(), of_subject.clone()),
            (9_000, None, true, true, over.clone(), over.clone()),
            (6_200, None, false, false, over.clone(), of_subject.clone()),
            (100, Some(50), true, true, under_retired(own), under_retired(longer)),
            (100, Some(50), false, false, under_retired(own), under_retired(longer)),
        ] {
            let retired_at = retired.map(at);
            let sign_out = SignOut { token: &token, retired_at, has_store, now: at(secs) };
            let horizon = policy.sign_out_horizon(&sign_out);
            assert_eq!(horizon, (!asks).then_some(own), "{secs} {retired:?}");
            assert_eq!(policy.may_end_session(&sign_out, own), within_own, "{secs} {retired:?}");
            assert_eq!(policy.may_end_session(&sign_out, longer), within_longer, "{secs} {retired:?}");
        }
    }

    /// Minted elsewhere, with one `sid` for tokens of different ages.
    #[test]
    fn a_session_whose_start_no_claim_says_is_never_over() {
        let policy = policy();
        let over = policy.horizon().after(at(0));
        for (claims, expected) in [
            (json!({}), Err(Reason::SessionOver)),
            (json!({ "sid": "s", "session_start": ISSUED }), Err(Reason::SessionOver)),
            (json!({ "sid": "s" }), Ok(Ending::OfSubject)),
        ] {
            let token = token_with(&policy, &claims);
            let sign_out = SignOut { token: &token, retired_at: None, has_store: true, now: over };
            assert_eq!(policy.may_end_session(&sign_out, policy.horizon()), expected, "{claims}");
            // Whoever has such a key could otherwise end sessions for ever.
            let sign_out = SignOut { retired_at: Some(at(50)), ..sign_out };
            let verdict = policy.may_end_session(&sign_out, policy.horizon());
            assert_eq!(verdict, Err(Reason::SessionOver), "{claims}");
        }
    }

    #[test]
    fn a_token_from_the_future_or_signed_after_its_key_retired_ends_nothing() {
        let policy = policy();
        // Twice the tolerance and a second.
        for (iat, retired, now, refused) in [
            (11, None, 0, None),
            (12, None, 0, Some(Reason::NotYetValid("iat"))),
            (12, Some(0), 0, Some(Reason::NotYetValid("iat"))),
            (61, Some(50), 100, None),
            (62, Some(50), 100, Some(Reason::UnknownKey)),
            (62, None, 100, None),
        ] {
            let token = token_with(&policy, &json!({ "iat": ISSUED + iat, "exp": ISSUED + 900 }));
            let sign_out =
                SignOut { token: &token, retired_at: retired.map(at), has_store: false, now: at(now) };
            let verdict = policy.may_end_session(&sign_out, policy.horizon());
            assert_eq!(verdict.err(), refused, "{iat} {retired:?}");
        }
    }
}
