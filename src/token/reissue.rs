//! The reissue protocol: it makes the successor of one token, step by step, for an exchange in the grace and for a renewal at
//! the response.
//!
//! ```text
//! AskPredicate ──allowed──► Sign                                     (no record: the successor is derived)
//!              ──allowed──► Record ──recorded──► AskPredicate ──allowed──► Sign
//!              ──allowed──► AskRenewer ──renewed──► Record ──► …       (with a renewer)
//!              ──allowed──► AskRenewer ──renewed──► AskPredicate ──► … (the same, no record: in a pair)
//! ```
//!
//! After a wait for the store, or for a renewer alone, the predicate and the key are asked again, because either may refuse by then.
//! A recorded successor is not sent in that case.

use std::fmt;
use std::mem;

use super::identity::SessionId;
use super::policy::Policy;
use super::renewal::{Narrowed, Renewal};
use super::standing::Rotated;
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
    /// What a handler wants of the successor; `None` at a usual renewal. Boxed, because few have one.
    wanted: Option<Box<Renewal>>,
}

/// What to do next, and the function that takes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the application's predicate, and then the ring for the token's key: [`Reissuing::allowed`].
    AskPredicate,
    /// Ask the application's renewer: [`Reissuing::renewed`].
    AskRenewer,
    /// Ask the store to record the [successor](Reissuing::successor): [`Reissuing::recorded`].
    Record,
    /// Done: sign the [successor](Reissuing::successor).
    Sign(Capacity),
    /// Done: a successor can be made. The request is admitted, and the successor is sent with its response.
    Wait,
}

/// How long a successor the response can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// The longest token, in bytes.
    pub(crate) longest: usize,
    /// What is reported if the successor is longer.
    pub(crate) otherwise: NotReissued,
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
            wanted: None,
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

    /// The same, with a renewer to ask once before anything is recorded. What a handler asked for is applied in the same step.
    pub(crate) fn asking_renewer(self, has_renewer: bool) -> Self {
        Self { asks_renewer: has_renewer || self.wanted.is_some(), ..self }
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
            return Ok(Step::Sign(capacity));
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
        if !self.records {
            // A derived successor keeps its claims.
            let is_kept = narrowed == Narrowed::default();
            return if is_kept { Ok(Step::AskPredicate) } else { Err(NotReissued::RenewerFailed.into()) };
        }
        let capacity = self.capacity.ok_or(NoSuccessor::NoReply)?;
        self.propose(policy, token, capacity, &narrowed, signed_len)
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
        if narrowed.audience.is_some() && policy.accept_head(token, &proposed.claims, self.now).is_none() {
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
                let head = policy.accept_head(token, &head, self.now).ok_or(NotReissued::HeadMismatch)?;
                let proposed = self.successor.replace(head.clone());
                let is_within = |proposed: &Successor| policy.only_renewed(&proposed.claims, &head.claims);
                if self.wanted.is_some() && !proposed.as_ref().is_some_and(is_within) {
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

impl Capacity {
    /// Whether the response carries a token of this many bytes.
    pub(crate) fn admit(self, bytes: usize) -> Result<(), NotReissued> {
        if bytes <= self.longest { Ok(()) } else { Err(self.otherwise) }
    }
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

/// Why a successor that was due is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReissued {
    /// `renew_if` returned false, or the renewer of `renew_with` refused.
    Declined,
    /// `renew_if` panicked.
    HookPanicked,
    /// It would not outlive its predecessor: the session's end is near, the handler took too long, or a handler asked for it
    /// within the second in which the token was issued.
    TooLate,
    /// The key that signed the predecessor has left the ring.
    KeyWithdrawn,
    /// The session was revoked.
    Revoked,
    /// The store does not know that this token leads to the session's head, or the token came too late.
    NotInChain,
    /// The head that the store recorded can't be a successor of this token. It is never signed.
    HeadMismatch,
    /// The store did not record the successor.
    StoreFailed,
    /// The renewer of `renew_with` failed, panicked, did not answer in time, or gave claims that are not its to give; or a handler
    /// gave such claims to [`reissue_with`](crate::Authority::reissue_with).
    RenewerFailed,
    /// A handler asked for a successor that there can't be. One of these holds:
    ///
    /// * the token is another issuer's;
    /// * the token holds `"sliding": false`, as the access token of a pair does;
    /// * the token is a sliding one of a pair, and the handler asked before its renewal window or for other claims;
    /// * the handler's [`Reissued`](crate::Reissued) holds a token of another session than the request's.
    NotRenewable,
    /// A handler asked for a successor that only a store makes possible: before the renewal window opens, or with fewer scopes or
    /// audiences.
    NeedsStore,
    /// A handler asked for a successor with fewer scopes or audiences, and another one with more is on record.
    AlreadyReissued,
    /// The key could not sign.
    SigningFailed,
    /// The response of [`refuse_with`](crate::ReissueLayer::refuse_with) wants no successor in an exchange: it holds
    /// [`NoReissue`](crate::NoReissue), or clears the cookies. Or a response with [`Reissued`](crate::Reissued) can carry no token:
    /// it has another one, or its status is 304, say. A store has recorded the successor; the next request with the token gets it.
    Suppressed,
    /// It would be longer than this service accepts.
    TooLong,
    /// As a cookie it would be longer than browsers keep.
    CookieTooLong,
    /// It would make the response head larger than
    /// [`max_added_head_bytes`](crate::AuthorityBuilder::max_added_head_bytes) allows.
    HeadTooLarge,
}

impl NotReissued {
    /// A fixed name for counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::HookPanicked => "hook_panicked",
            Self::TooLate => "too_late",
            Self::KeyWithdrawn => "key_withdrawn",
            Self::Revoked => "revoked",
            Self::NotInChain => "not_in_chain",
            Self::HeadMismatch => "head_mismatch",
            Self::StoreFailed => "store_failed",
            Self::RenewerFailed => "renewer_failed",
            Self::NotRenewable => "not_renewable",
            Self::NeedsStore => "needs_store",
            Self::AlreadyReissued => "already_reissued",
            Self::SigningFailed => "signing_failed",
            Self::Suppressed => "suppressed",
            Self::TooLong => "too_long",
            Self::CookieTooLong => "cookie_too_long",
            Self::HeadTooLarge => "head_too_large",
        }
    }

    /// Why a token has no successor that is refused for this reason, though it was admitted before.
    pub(crate) fn of_refused(reason: &Reason) -> Self {
        match reason {
            Reason::UnknownKey => Self::KeyWithdrawn,
            Reason::StoreUnavailable => Self::StoreFailed,
            Reason::Revoked | Reason::Reused => Self::Revoked,
            Reason::UnknownSession => Self::NotInChain,
            _ => Self::TooLate,
        }
    }

    /// Whether the reason is the token's size. Then it applies to all its successors.
    pub(crate) fn is_about_size(self) -> bool {
        matches!(self, Self::TooLong | Self::CookieTooLong | Self::HeadTooLarge)
    }
}

impl fmt::Display for NotReissued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no successor: ")?;
        f.write_str(match self {
            Self::Declined => "`renew_if` or the renewer declined",
            Self::HookPanicked => "`renew_if` panicked",
            Self::TooLate => {
                "it would not outlive its token, whose session ends soon, or which was issued within this second"
            }
            Self::KeyWithdrawn => "the key that signed the token is no longer held",
            Self::Revoked => "the session was revoked",
            Self::NotInChain => "the store does not know that the token leads to the session's newest one",
            Self::HeadMismatch => "what the store recorded can't be a successor of the token",
            Self::StoreFailed => "the store did not record it",
            Self::RenewerFailed => {
                "the renewer failed or did not answer in time, or claims were given that are not to be changed"
            }
            Self::NotRenewable => {
                "the token has none: it is not an own one of this session, or belongs to a pair, whose refresh token renews it"
            }
            Self::NeedsStore => {
                "it needs a `store`: without one there is a successor in the renewal window only, the same on every node"
            }
            Self::AlreadyReissued => "one with more scopes or audiences is on record",
            Self::SigningFailed => "the key could not sign",
            Self::Suppressed => "the response is to carry none, or can't",
            Self::TooLong => "it would be longer than `max_token_bytes`",
            Self::CookieTooLong => "as a cookie it would be longer than browsers keep",
            Self::HeadTooLarge => "it would make the response head larger than `max_added_head_bytes`",
        })
    }
}

impl std::error::Error for NotReissued {}

#[cfg(test)]
mod tests;
