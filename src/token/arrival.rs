//! The arrival protocol: what becomes of a token that arrives, one question at a time.
//!
//! Whoever drives it holds the clock, the keys and the store. It calls [`Policy::arrive`], does what [`Next`] asks for, and
//! hands the answer to the function that [`Next`] names, until [`Next`] is a verdict. Every driver gets the same verdicts: the
//! layer, [`Authority::admit`](crate::Authority::admit) and the endpoints differ only in how they wait.
//!
//! ```text
//! arrive ──► AskStore ──standing──► EndSession ──session_ended──► Refuse
//!    │                      ├──► Admit, Refuse
//!    └──────────────────────┴──► Exchange ──exchanged──► Admit, Refuse, Exchanged
//! ```

use super::decision::{Decision, Evidence};
use super::policy::Policy;
use super::reissue::{NoSuccessor, NotReissued};
use super::standing::Standing;
use super::verify::Verified;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// What stays the same while one token is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) now: NumericDate,
    /// Whether the sender proved what the token's `cnf` demands; true where it demands nothing.
    pub(crate) confirmed: bool,
    /// Whether a token within its grace can be exchanged here: a request's can, a message's can't.
    pub(crate) may_exchange: bool,
}

/// What is read again for each step, since it may change while something is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) token: &'a Verified,
    /// Whether the key that verified the token is in the ring.
    pub(crate) key_held: bool,
}

/// What is known of the store before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreState {
    /// There is none.
    Absent,
    /// It said within this second that the session is live, and nothing was revoked since.
    SeenLive,
    NotAsked,
}

/// What to do next. Three are verdicts; each other names the function that takes its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Verdict: the handler runs.
    Admit,
    /// Verdict: the handler does not run.
    Refuse(Refusal),
    /// Verdict: refused, as this token's successor goes out with the refusal.
    Exchanged,
    /// Verdict: refused. No successor could be made, and why is to be reported.
    NotExchanged(NotReissued),
    /// Ask the store for the token's standing: [`Policy::standing`].
    AskStore {
        /// Whether the answer can lead to [`Exchange`](Self::Exchange).
        may_exchange: bool,
    },
    /// Revoke the session, for the token was reused: [`Policy::session_ended`].
    EndSession,
    /// Make the token's successor by the [reissue protocol](super::reissue): [`Policy::exchanged`].
    Exchange,
}

impl Next {
    fn refuse(reason: Reason) -> Self {
        Self::Refuse(Refusal::new(reason))
    }
}

impl Policy {
    /// The first step, without the store's word.
    // Always, as what few requests come to is in a function of its own: see `Reissue::call`.
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

    /// After [`Next::AskStore`]: what the store said; `None` where it could not be asked. The token is then refused with
    /// what speaks against it anyhow, if anything does.
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

    /// After [`Next::EndSession`]: whether the revocation was recorded. Otherwise the session may live on, and nobody is told
    /// that it ended.
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
            // Whether the response can carry one is judged, and reported, when the handler has run.
            Err(NoSuccessor::Not(why)) if self.admit_in_grace && why.is_about_size() => Next::Admit,
            Err(NoSuccessor::Not(NotReissued::KeyWithdrawn)) => Next::refuse(Reason::UnknownKey),
            Err(NoSuccessor::Not(why)) => Next::NotExchanged(why),
            Err(NoSuccessor::Revoked) => Next::refuse(Reason::Revoked),
            // The token may still be good for an exchange.
            Err(NoSuccessor::StoreSilent) => Next::refuse(Reason::StoreUnavailable),
            // It was superseded after the store was asked for its standing.
            Err(NoSuccessor::Reused { generations }) => {
                match self.standing(arrival, facts, Some(Standing::Reused { generations })) {
                    next @ (Next::EndSession | Next::Refuse(_)) => next,
                    _ => Next::refuse(Reason::Expired),
                }
            }
        }
    }

    /// Whether this reason stands whatever the store says. That of an expired token that may be on record does not: the
    /// store still tells whether it was superseded long ago.
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
