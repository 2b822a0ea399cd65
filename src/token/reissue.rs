//! The reissue protocol: it makes the successor of one token, step by step, for an exchange in the grace and for a renewal at
//! the response.
//!
//! ```text
//! AskPredicate ──allowed──► Sign                                     (no record: the successor is derived)
//!              ──allowed──► Record ──recorded──► AskPredicate ──allowed──► Sign
//!              ──allowed──► AskRenewer ──renewed──► Record ──► …       (with a renewer)
//!              ──allowed──► AskRenewer ──renewed──► AskPredicate ──► … (the same, no record: in a pair)
//!              ──allowed──► AskStanding ──stands──► AskPredicate ──► … (in a pair, before Sign)
//! ```
//!
//! After a wait for the store, or for a renewer alone, the predicate and the key are asked again, because either may refuse by then.
//! A recorded successor is not sent in that case.

use std::mem;

use super::capacity::Capacity;
use super::identity::SessionId;
use super::not_reissued::NotReissued;
use super::policy::Policy;
use super::renewal::{Narrowed, Renewal};
use super::standing::{Rotated, Standing};
use super::successor::Successor;
use super::verify::Verified;
use crate::refusal::Reason;
use crate::time::NumericDate;

/// One reissue. It begins with [`Step::AskPredicate`].
#[derive(Debug)]
pub(crate) struct Reissuing {
    now: NumericDate,
    /// The longest successor that the response can carry. `None` if it can carry none.
    capacity: Option<Capacity>,
    /// Whether a store records the successor. Otherwise it is derived.
    records: bool,
    /// Whether the successor is sent now; `false` if the request is admitted first.
    sends: bool,
    /// With a store: the proposed successor, and after the answer the recorded one.
    successor: Option<Successor>,
    is_recorded: bool,
    /// Whether a renewer is yet to be asked.
    asks_renewer: bool,
    /// Whether the store is yet to be asked for the session's standing: it records nothing that could fail for a revocation.
    asks_standing: bool,
    /// What a handler wants of the successor; `None` at a usual renewal. Boxed, because few have one.
    wanted: Option<Box<Renewal>>,
    /// Whether the renewer or the handler leaves less than the token has. A head on record must not have more.
    narrows: bool,
}

/// What to do next, and the function that takes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the application's predicate, and then the ring for the token's key: [`Reissuing::allowed`].
    AskPredicate,
    /// Ask the application's renewer: [`Reissuing::renewed`].
    AskRenewer,
    /// Ask the store for the session's standing: [`Reissuing::stands`].
    AskStanding,
    /// Ask the store to record the [successor](Reissuing::successor): [`Reissuing::recorded`].
    Record,
    /// Done: sign the [successor](Reissuing::successor).
    Sign(Capacity),
    /// Done: a successor can be made. The request is admitted, and the successor is sent with its response.
    Wait,
}

/// Why there is no successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSuccessor {
    Not(NotReissued),
    /// The response can't carry one, so none is recorded: recording one supersedes its predecessor.
    NoReply,
    Revoked,
    Reused {
        generations: u32,
    },
    /// The store did not answer.
    StoreFailed,
}

impl Reissuing {
    /// For a token that was admitted, at its response.
    pub(crate) fn at_response(now: NumericDate, capacity: Option<Capacity>, records: bool) -> Self {
        Self {
            now,
            capacity,
            records,
            sends: true,
            successor: None,
            is_recorded: false,
            asks_renewer: false,
            asks_standing: false,
            wanted: None,
            narrows: false,
        }
    }

    /// For a handler that wants the successor now, and may want it narrowed.
    pub(crate) fn on_request(
        policy: &Policy,
        token: &Verified,
        now: NumericDate,
        has_store: bool,
        wanted: Option<Renewal>,
    ) -> Result<Self, NotReissued> {
        if !token.is_sliding() {
            return Err(NotReissued::NotRenewable);
        }
        let records = has_store && token.is_recorded();
        // Every node derives the same successor, which is dated at the opening of the window and keeps the claims.
        if !records && (wanted.is_some() || now < policy.renewable_from(token)) {
            return Err(if has_store { NotReissued::NotRenewable } else { NotReissued::NeedsStore });
        }
        let wanted = wanted.map(Box::new);
        Ok(Self { wanted, ..Self::at_response(now, Some(policy.any_capacity()), records) })
    }

    /// The same, with a renewer to ask once before anything is recorded. What a handler asked for is applied in the same step. A
    /// store that records no successor of this token is asked whether the session goes on, before a successor is signed.
    pub(crate) fn asking(self, has_renewer: bool, has_store: bool) -> Self {
        let asks_renewer = has_renewer || self.wanted.is_some();
        Self { asks_renewer, asks_standing: has_store && !self.records, ..self }
    }

    /// For a token that arrived within its grace.
    pub(crate) fn in_grace(
        policy: &Policy,
        now: NumericDate,
        capacity: Option<Capacity>,
        records: bool,
    ) -> Self {
        Self { sends: !policy.admit_in_grace, ..Self::at_response(now, capacity, records) }
    }

    /// The instant at which the successor is made.
    pub(crate) fn now(&self) -> NumericDate {
        self.now
    }

    /// After [`Step::AskPredicate`]: whether the predicate allows a successor (`None` if it panicked), and whether the ring holds
    /// the token's key. Ask for the key last, because the predicate takes time.
    ///
    /// `signed_len` returns the length of a signed token with these claims.
    pub(crate) fn allowed(
        &mut self,
        policy: &Policy,
        token: &Verified,
        allowed: Option<bool>,
        key_held: bool,
        signed_len: impl FnOnce(&str) -> Result<usize, NotReissued>,
    ) -> Result<Step, NoSuccessor> {
        if !key_held {
            return Err(NotReissued::KeyWithdrawn.into());
        }
        match allowed {
            Some(true) => {}
            Some(false) => return Err(NotReissued::Declined.into()),
            None => return Err(NotReissued::HookPanicked.into()),
        }
        let is_made = !self.records || self.is_recorded;
        if is_made && mem::take(&mut self.asks_renewer) {
            return Ok(Step::AskRenewer);
        }
        if is_made && !self.sends {
            return self.successor(policy, token).map(|_| Step::Wait).ok_or(NotReissued::TooLate.into());
        }
        let capacity = self.capacity.ok_or(NoSuccessor::NoReply)?;
        if is_made {
            return Ok(match mem::take(&mut self.asks_standing) {
                true => Step::AskStanding,
                false => Step::Sign(capacity),
            });
        }
        if mem::take(&mut self.asks_renewer) {
            return Ok(Step::AskRenewer);
        }
        self.propose(policy, token, capacity, &Narrowed::default(), signed_len)
    }

    /// After [`Step::AskRenewer`]: its answer, or `None` if it failed.
    pub(crate) fn renewed(
        &mut self,
        policy: &Policy,
        token: &Verified,
        answer: Option<&Renewal>,
        signed_len: impl FnOnce(&str) -> Result<usize, NotReissued>,
    ) -> Result<Step, NoSuccessor> {
        let answer = answer.ok_or(NotReissued::RenewerFailed)?;
        let narrowed = answer.narrow(self.wanted.as_deref(), token.claims());
        let narrowed = narrowed.map_err(|reason| match reason {
            Reason::Declined => NotReissued::Declined,
            _ => NotReissued::RenewerFailed,
        })?;
        self.narrows = narrowed != Narrowed::default();
        if !self.records {
            // A derived successor keeps its claims.
            return match self.narrows {
                true => Err(NotReissued::RenewerFailed.into()),
                false => Ok(Step::AskPredicate),
            };
        }
        let capacity = self.capacity.ok_or(NoSuccessor::NoReply)?;
        self.propose(policy, token, capacity, &narrowed, signed_len)
    }

    /// After [`Step::AskStanding`]: the store's answer, or `None` if it failed.
    pub(crate) fn stands(policy: &Policy, answer: Option<Standing>) -> Result<Step, NoSuccessor> {
        match answer {
            Some(Standing::Live) => Ok(Step::AskPredicate),
            Some(Standing::UnknownSession) if policy.admit_after_store_loss => Ok(Step::AskPredicate),
            Some(Standing::UnknownSession) => Err(NotReissued::NotInChain.into()),
            Some(Standing::Revoked) => Err(NoSuccessor::Revoked),
            Some(Standing::Reused { generations }) => Err(NoSuccessor::Reused { generations }),
            None => Err(NoSuccessor::StoreFailed),
        }
    }

    fn propose(
        &mut self,
        policy: &Policy,
        token: &Verified,
        capacity: Capacity,
        narrowed: &Narrowed,
        signed_len: impl FnOnce(&str) -> Result<usize, NotReissued>,
    ) -> Result<Step, NoSuccessor> {
        let proposed = policy.propose_narrowed(token, self.now, narrowed).ok_or(NotReissued::TooLate)?;
        // A successor without an accepted audience would be refused here, so it counts as declined.
        if narrowed.audience.is_some() && policy.accept_head(token, &proposed.claims, self.now).is_err() {
            return Err(NotReissued::Declined.into());
        }
        // Checked before it is recorded, because recording it supersedes its predecessor.
        capacity.admit(signed_len(&proposed.claims)?)?;
        self.successor = Some(proposed);
        Ok(Step::Record)
    }

    /// After [`Step::Record`]: the store's answer, or `None` if it failed. The recorded successor is the proposed one, or the head
    /// that was recorded before.
    pub(crate) fn recorded(
        &mut self,
        policy: &Policy,
        token: &Verified,
        answer: Option<Rotated>,
    ) -> Result<Step, NoSuccessor> {
        match answer {
            Some(Rotated::Recorded) => {}
            Some(Rotated::Superseded { head }) => {
                let head = policy.accept_head(token, &head, self.now)?;
                let proposed = self.successor.replace(head.clone());
                let is_within = |proposed: &Successor| policy.only_renewed(&proposed.claims, &head.claims);
                if self.narrows && !proposed.as_ref().is_some_and(is_within) {
                    return Err(NotReissued::AlreadyReissued.into());
                }
            }
            Some(Rotated::Reused { generations }) => return Err(NoSuccessor::Reused { generations }),
            Some(Rotated::Revoked | Rotated::Predated { .. }) => return Err(NoSuccessor::Revoked),
            // The second is no answer to a renewal.
            Some(Rotated::NotInChain | Rotated::UnknownSession) => return Err(NotReissued::NotInChain.into()),
            None => return Err(NoSuccessor::StoreFailed),
        }
        self.is_recorded = true;
        Ok(Step::AskPredicate)
    }

    /// The successor to record or to sign. Without a record it is the one that every node derives.
    pub(crate) fn successor<'a>(&'a self, policy: &Policy, token: &'a Verified) -> Option<&'a Successor> {
        if self.records { self.successor.as_ref() } else { policy.derived(token, self.now) }
    }
}

/// Whether a handler may send a token of this session in place of the admitted one. `capacity` is `None` if the response carries none.
pub(crate) fn may_replace(
    admitted: &Verified,
    session: SessionId,
    len: usize,
    capacity: Option<Capacity>,
) -> Result<(), NotReissued> {
    if !admitted.key().is_own() || admitted.session() != session {
        return Err(NotReissued::NotRenewable);
    }
    capacity.ok_or(NotReissued::Suppressed)?.admit(len)
}

impl NoSuccessor {
    /// What a renewal reports. The response is sent without a successor, whatever the reason.
    pub(crate) fn at_response(self) -> Option<NotReissued> {
        match self {
            Self::Not(why) => Some(why),
            Self::NoReply => None,
            Self::Revoked => Some(NotReissued::Revoked),
            // Reuse is judged only when a token arrives. Here it may be due to a slow request.
            Self::Reused { .. } => Some(NotReissued::NotInChain),
            Self::StoreFailed => Some(NotReissued::StoreFailed),
        }
    }
}

impl From<NotReissued> for NoSuccessor {
    fn from(why: NotReissued) -> Self {
        Self::Not(why)
    }
}

#[cfg(test)]
mod tests;
