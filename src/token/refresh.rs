//! The refresh protocol: it judges a refresh token that is presented, step by step.
//!
//! ```text
//! judge_refresh ──► the renewer ──► propose_refresh ──► the store records ──► refresh_recorded
//!
//! refresh_recorded ──► Issue, Refuse
//!                 ├──► EndSession ──refresh_session_ended──► Refuse
//!                 └──► AskStore ──refresh_standing──► EndSession, Refuse
//! ```
//!
//! Every check that can refuse runs before the store records, so a refused refresh token is not spent.

use super::claims::date_of;
use super::horizon::MAX_AHEAD;
use super::kind::TokenKind;
use super::not_reissued::NotReissued;
use super::policy::Policy;
use super::renewal::Renewal;
use super::scope;
use super::standing::{Rotated, Standing};
use super::successor::Successor;
use super::verify::Verified;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// Everything but the policy that the first verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshEvidence<'a> {
    pub(crate) token: &'a Verified,
    /// Whether the key that verified it is in the ring.
    pub(crate) key_held: bool,
    /// Whether the sender proved what `cnf` demands; true where it demands nothing.
    pub(crate) confirmed: bool,
    /// The client that asks, as the request names it.
    pub(crate) client_id: Option<&'a str>,
    /// The scopes that the request asks for (RFC 6749 §6).
    pub(crate) scope: Option<&'a str>,
    pub(crate) now: NumericDate,
}

/// What to do next. `Issue`, `Refuse` and `NoSuccessor` are verdicts; each other names the function that takes its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefreshStep {
    /// Verdict: the recorded successor goes out, and a new access token with it.
    Issue(Successor),
    /// Verdict.
    Refuse(Reason),
    /// Verdict: refused for this reason, and why there is no successor is to be reported.
    NoSuccessor(NotReissued, Reason),
    /// Ask the store for the token's standing: [`Policy::refresh_standing`].
    AskStore,
    /// Revoke the session, for the token was used twice: [`Policy::refresh_session_ended`].
    EndSession {
        /// How many generations ago the token was superseded; 0 where the store has forgotten it.
        generations: u32,
    },
}

/// What a refresh proposes to record and to issue.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// The private claims of the new access token, as JSON text.
    pub(crate) claims: String,
    /// The new refresh token. Its `iat` is that of both.
    pub(crate) successor: Successor,
}

/// Why a session does not continue with a new pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotContinued {
    Revoked,
    /// With another token than that of the login.
    NotNewest,
}

impl Policy {
    /// Judges a refresh token as it is presented. Faults come before expiry.
    pub(crate) fn judge_refresh(&self, evidence: &RefreshEvidence<'_>) -> Result<(), Refusal> {
        let &RefreshEvidence { token, key_held, confirmed, client_id, scope, now } = evidence;
        let refuse = |reason| Err(Refusal::new(reason));
        self.may_be_presented(token, key_held, confirmed, now).map_err(Refusal::new)?;
        let issued_to = token.claims().client_id();
        if issued_to.as_deref() != client_id {
            let hint = match (issued_to, client_id) {
                (Some(_), None) => "the request names no client_id, and the token was issued to a client",
                (None, _) => "the request names a client_id, and the token was issued to no client",
                _ => "the request's client_id is another one than the token was issued to",
            };
            return Err(Refusal::new(Reason::WrongClient).with_hint(hint));
        }
        if scope.is_some_and(|scope| !scope::are_held(token.claims().access_claims(), scope)) {
            return refuse(Reason::InvalidScope);
        }
        if now >= token.session_end() {
            return refuse(Reason::SessionOver);
        }
        if now >= token.admitted_until() {
            return refuse(Reason::Expired);
        }
        Ok(())
    }

    /// The new tokens, after the renewer answered. The granted claims are changed by the renewer, and then limited to the scopes
    /// that were asked for.
    pub(crate) fn propose_refresh(
        &self,
        evidence: &RefreshEvidence<'_>,
        renewal: &Renewal,
        now: NumericDate,
    ) -> Result<Proposal, Refusal> {
        let token = evidence.token;
        let mut claims = renewal.apply(token.claims().access_claims())?;
        if !renewal.leaves(self.primary_audience()) {
            return Err(Refusal::new(Reason::Declined).with_hint("no audience is left"));
        }
        if let Some(asked) = evidence.scope {
            claims = scope::narrowed(&claims, asked)
                .ok_or_else(|| Refusal::new(Reason::InvalidScope).with_hint("none of them is granted now"))?;
        }
        let successor = self.propose(token, now).ok_or_else(|| Refusal::new(Reason::SessionOver))?;
        Ok(Proposal { claims, successor })
    }

    /// Until when the record of a refresh token that supersedes this token matters. The rotation may be the only record of both,
    /// and the superseded one can expire later, if a lifetime was lowered since.
    pub(crate) fn refresh_record_matters_until(
        &self,
        superseded: &Verified,
        exp: NumericDate,
    ) -> NumericDate {
        let (claims, start) = (superseded.claims(), superseded.claims().session_start());
        let own = match superseded.kind() {
            TokenKind::Access => self.token_matters_until(claims.exp(), start),
            TokenKind::Refresh => self.refresh_token_matters_until(claims.exp(), start),
        };
        self.refresh_token_matters_until(exp, start).max(own)
    }

    /// Whether a refresh token that claims to be issued at `iat` may be under an own key that was not read yet: it was issued since the
    /// own source was last read, `ago` seconds before, or this node's copy of the source may have been late. By a clock that was
    /// further ahead than any may be, its user signs in again.
    pub(crate) fn may_have_unread_key(&self, iat: NumericDate, ago: u64, now: NumericDate) -> bool {
        // A second more, because both are floored.
        let read = now.before(ago + 1);
        iat.after(self.future_tolerance) >= read && iat <= now.after(MAX_AHEAD)
    }

    /// What the store made of a refresh token that is to continue this access token's session: `None` if it does. Otherwise the one
    /// on record, and its `jti`, of an earlier try whose answer was lost: it is signed again.
    ///
    /// # Errors
    /// If the session was revoked, or continues in another way. It was live a moment before, so trying again does not help.
    pub(crate) fn continued_by_pair(
        &self,
        token: &Verified,
        proposed: &str,
        now: NumericDate,
        answer: Rotated,
    ) -> Result<Option<(String, Successor)>, NotContinued> {
        match answer {
            Rotated::Recorded => Ok(None),
            Rotated::Superseded { head } => {
                let recorded = self.recorded_refresh_token(token, proposed, &head, now);
                recorded.map(Some).ok_or(NotContinued::NotNewest)
            }
            Rotated::Revoked | Rotated::Predated { .. } => Err(NotContinued::Revoked),
            Rotated::Reused { .. } | Rotated::NotInChain | Rotated::UnknownSession => {
                Err(NotContinued::NotNewest)
            }
        }
    }

    /// What the store made of the proposed successor; `None` where it did not answer. `key_held` is asked anew: the key may
    /// have been withdrawn while the store was waited for. The reuse window is judged by when the token arrived, so that a slow
    /// renewer puts nobody outside it; everything else by now.
    pub(crate) fn refresh_recorded(
        &self,
        token: &Verified,
        (arrived, now): (NumericDate, NumericDate),
        key_held: bool,
        proposed: Successor,
        answer: Option<Rotated>,
    ) -> RefreshStep {
        let successor = match answer {
            Some(Rotated::Recorded) => proposed,
            Some(Rotated::Superseded { head }) => match self.recorded_head(token, &head, now) {
                Some(head) if self.is_within_reuse_window(head.iat, arrived) => {
                    if now >= head.exp {
                        return RefreshStep::Refuse(Reason::Expired);
                    }
                    head
                }
                Some(_) => return RefreshStep::EndSession { generations: 1 },
                // Another node may sign it, whose settings differ. It still tells when this token was spent.
                None => match self.spent_at(&head) {
                    Some(spent) if !self.is_within_reuse_window(spent, arrived) => {
                        return RefreshStep::EndSession { generations: 1 };
                    }
                    // A node with other settings may accept it, so the answer is 503 and no verdict.
                    _ => {
                        return RefreshStep::NoSuccessor(NotReissued::HeadMismatch, Reason::StoreUnavailable);
                    }
                },
            },
            Some(Rotated::Reused { generations }) => return RefreshStep::EndSession { generations },
            Some(Rotated::Revoked | Rotated::Predated { .. }) => return RefreshStep::Refuse(Reason::Revoked),
            // The store forgot a token that was superseded long ago.
            Some(Rotated::NotInChain) => return RefreshStep::AskStore,
            Some(Rotated::UnknownSession) => return RefreshStep::Refuse(Reason::UnknownSession),
            None => return RefreshStep::Refuse(Reason::StoreUnavailable),
        };
        if key_held { RefreshStep::Issue(successor) } else { RefreshStep::Refuse(Reason::UnknownKey) }
    }

    /// After [`RefreshStep::AskStore`].
    pub(crate) fn refresh_standing(&self, answer: Option<Standing>) -> RefreshStep {
        match answer {
            None => RefreshStep::Refuse(Reason::StoreUnavailable),
            Some(Standing::Revoked) => RefreshStep::Refuse(Reason::Revoked),
            Some(Standing::UnknownSession) => RefreshStep::Refuse(Reason::UnknownSession),
            Some(Standing::Reused { generations }) => RefreshStep::EndSession { generations },
            // The session goes on, and this token leads nowhere: each of its refresh tokens was recorded once.
            Some(Standing::Live) => RefreshStep::EndSession { generations: 0 },
        }
    }

    /// After [`RefreshStep::EndSession`]: whether the revocation was recorded. If it was not, the session may live on, so the answer
    /// does not say that it ended.
    pub(crate) fn refresh_session_ended(&self, recorded: bool) -> RefreshStep {
        RefreshStep::Refuse(if recorded { Reason::RefreshTokenReused } else { Reason::StoreUnavailable })
    }

    /// Whether a refresh token that was spent at this instant may still be answered with its successor.
    ///
    /// The instant is the successor's `iat`, by the clock of the node that wrote it, which may be behind by the tolerance. Without
    /// the tolerance, a parallel refresh on another node would end the session. The window is over once its length has passed. A
    /// length of 0 s means that there is no window.
    fn is_within_reuse_window(&self, spent: NumericDate, arrived: NumericDate) -> bool {
        let window = self.refresh.as_ref().map_or(0, |refresh| refresh.reuse_window);
        window > 0 && arrived.since(spent) < window.saturating_add(self.future_tolerance)
    }

    /// The `iat` of a head that this authority would not sign.
    fn spent_at(&self, head: &str) -> Option<NumericDate> {
        date_of("iat", head)
    }
}

#[cfg(test)]
mod tests;
