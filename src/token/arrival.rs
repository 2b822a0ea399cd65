//! The arrival protocol: it judges a token that arrives, step by step.
//!
//! Its driver has the clock, the keys and the store. The driver calls [`Policy::arrive`], does what [`Next`] asks for, and passes
//! the answer to the function that [`Next`] names, until [`Next`] is a verdict. The layer, [`Authority::admit`](crate::Authority::admit)
//! and the endpoints are drivers. They get the same verdicts, and differ only in how they wait.
//!
//! ```text
//! arrive ──► AskStore ──standing──► EndSession ──session_ended──► Refuse
//!    │                      ├──► Admit, Refuse
//!    └──────────────────────┴──► Exchange ──exchanged──► Admit, Refuse, Exchanged
//! ```

use super::decision::{Decision, Evidence};
use super::not_reissued::NotReissued;
use super::policy::Policy;
use super::reissue::NoSuccessor;
use super::standing::Standing;
use super::verify::Verified;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// The inputs that stay the same while one token is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) now: NumericDate,
    /// Whether the sender proved what the token's `cnf` requires. `true` if the token has none.
    pub(crate) confirmed: bool,
    /// Whether a token within its grace can be exchanged here. In a request it can; in `admit` it can't.
    pub(crate) may_exchange: bool,
}

/// The inputs that are read again for each step, because they may change during a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) token: &'a Verified,
    /// Whether the key that verified the token is in the ring.
    pub(crate) key_held: bool,
}

/// What is known about the store before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreState {
    /// There is none.
    Absent,
    /// Within this second it said that the session is live, and no revocation was recorded since.
    SeenLive,
    NotAsked,
}

/// What to do next. Four variants are verdicts; the others name the function that takes the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Verdict: the handler runs.
    Admit,
    /// Verdict: the handler does not run.
    Refuse(Refusal),
    /// Verdict: refused with `ExpiredInGrace`; the refusal carries the token's successor.
    Exchanged,
    /// Verdict: refused for this reason, because no successor could be made. Why is to be reported.
    NotExchanged(NotReissued, Reason),
    /// Ask the store for the token's standing: [`Policy::standing`].
    AskStore {
        /// Whether the answer can lead to [`Exchange`](Self::Exchange).
        may_exchange: bool,
    },
    /// Revoke the session, because the token was reused: [`Policy::session_ended`].
    EndSession,
    /// Make the token's successor with the [reissue protocol](super::reissue): [`Policy::exchanged`].
    Exchange,
}

impl Next {
    fn refuse(reason: Reason) -> Self {
        Self::Refuse(Refusal::new(reason))
    }
}

impl Policy {
    /// The first step, before the store is asked.
    // `inline(always)`, with the rare cases in a function of their own: see `server::service::Reissue::call`.
    #[inline(always)]
    pub(crate) fn arrive(&self, arrival: Arrival, facts: Facts<'_>, store: StoreState) -> Next {
        let decision = self.decide(&arrival.evidence(facts, Standing::Live));
        match decision {
            Decision::Admit if store != StoreState::NotAsked => Next::Admit,
            decision => self.not_admitted_yet(arrival, facts, store, decision),
        }
    }

    #[inline(never)]
    fn not_admitted_yet(
        &self,
        arrival: Arrival,
        facts: Facts<'_>,
        store: StoreState,
        decision: Decision,
    ) -> Next {
        match decision {
            Decision::Refuse(reason)
                if store == StoreState::Absent || self.is_final(&reason, facts.token, arrival.now) =>
            {
                Next::refuse(reason)
            }
            decision if store != StoreState::Absent => {
                Next::AskStore { may_exchange: arrival.may_exchange && decision == Decision::Grace }
            }
            Decision::Grace => self.in_grace(arrival),
            Decision::Admit => Next::Admit,
            Decision::Refuse(reason) => Next::refuse(reason),
        }
    }

    /// After [`Next::AskStore`]: the answer, or `None` if the store failed. Then the reason for the refusal is one that does not
    /// depend on the store, if there is one.
    pub(crate) fn standing(&self, arrival: Arrival, facts: Facts<'_>, answer: Option<Standing>) -> Next {
        let decision = self.decide(&arrival.evidence(facts, answer.unwrap_or(Standing::Live)));
        match (decision, answer) {
            (Decision::Refuse(Reason::Reused), _) => Next::EndSession,
            (Decision::Refuse(reason), _) => Next::refuse(reason),
            (_, None) => Next::refuse(Reason::StoreUnavailable),
            (Decision::Admit, _) => Next::Admit,
            (Decision::Grace, _) => self.in_grace(arrival),
        }
    }

    /// After [`Next::EndSession`]: whether the revocation was recorded. If not, the session may still be live, and the refusal
    /// does not say that it ended.
    pub(crate) fn session_ended(&self, recorded: bool) -> Next {
        Next::refuse(if recorded { Reason::Reused } else { Reason::StoreUnavailable })
    }

    /// After [`Next::Exchange`].
    pub(crate) fn exchanged(
        &self,
        arrival: Arrival,
        facts: Facts<'_>,
        made: Result<(), NoSuccessor>,
    ) -> Next {
        match made {
            Ok(()) if self.admit_in_grace => Next::Admit,
            Ok(()) => Next::Exchanged,
            Err(NoSuccessor::NoReply) if self.admit_in_grace => Next::Admit,
            Err(NoSuccessor::NoReply) => Next::refuse(Reason::Expired),
            // The size is checked and reported again at the response.
            Err(NoSuccessor::Not(why)) if self.admit_in_grace && why.is_about_size() => Next::Admit,
            Err(NoSuccessor::Not(NotReissued::KeyWithdrawn)) => Next::refuse(Reason::UnknownKey),
            Err(NoSuccessor::Not(NotReissued::RenewerFailed)) => Next::refuse(Reason::RenewerUnavailable),
            // Neither is a verdict on the token: it may be exchanged once a key can sign again, or at a node with other settings.
            Err(NoSuccessor::Not(why @ NotReissued::SigningFailed)) => {
                Next::NotExchanged(why, Reason::KeysUnavailable)
            }
            Err(NoSuccessor::Not(why @ NotReissued::HeadMismatch)) => {
                Next::NotExchanged(why, Reason::StoreUnavailable)
            }
            Err(NoSuccessor::Not(why)) => Next::NotExchanged(why, Reason::Expired),
            Err(NoSuccessor::Revoked) => Next::refuse(Reason::Revoked),
            // The token may still be exchanged at another try.
            Err(NoSuccessor::StoreFailed) => Next::refuse(Reason::StoreUnavailable),
            // It became reused after the store was asked for its standing.
            Err(NoSuccessor::Reused { generations }) => {
                match self.standing(arrival, facts, Some(Standing::Reused { generations })) {
                    next @ (Next::EndSession | Next::Refuse(_)) => next,
                    _ => Next::refuse(Reason::Expired),
                }
            }
        }
    }

    /// Whether this refusal is final without asking the store. It is not for an expired token that may be recorded, because the
    /// store can say that it was reused.
    fn is_final(&self, reason: &Reason, token: &Verified, now: NumericDate) -> bool {
        *reason != Reason::Expired || !self.may_be_recorded(token, now)
    }

    fn in_grace(&self, arrival: Arrival) -> Next {
        match arrival.may_exchange {
            true => Next::Exchange,
            false => Next::refuse(Reason::Expired),
        }
    }
}

impl Arrival {
    #[inline(always)]
    fn evidence<'a>(&self, facts: Facts<'a>, standing: Standing) -> Evidence<'a> {
        let Facts { token, key_held } = facts;
        Evidence { token, key_held, confirmed: self.confirmed, standing, now: self.now }
    }
}

#[cfg(test)]
mod tests;
