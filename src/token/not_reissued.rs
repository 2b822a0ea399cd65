//! [`NotReissued`]: why a successor that was due is not sent.

use std::fmt;

use crate::refusal::Reason;

/// Why a successor that was due is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReissued {
    /// `renew_if` returned false, or the renewer of `renew_with` refused.
    Declined,
    /// `renew_if` panicked.
    HookPanicked,
    /// It would not outlive its predecessor: the session's end is near, the handler took too long, or a handler asked for it
    /// within the second in which the token was issued. Or the one on record has expired by now.
    TooLate,
    /// The key that signed the predecessor has left the ring.
    KeyWithdrawn,
    /// The session was revoked.
    Revoked,
    /// The store does not know that this token leads to the session's head, or the token came too late.
    NotInChain,
    /// Its session goes on with a pair ([`Login::in_session`](crate::Login::in_session)), whose refresh token renews it.
    ContinuedByPair,
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
    /// The renewer or a handler wanted a successor with fewer scopes or audiences, and one with more is on record.
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
            Self::ContinuedByPair => "continued_by_pair",
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
            Self::ContinuedByPair => "the session goes on with a pair, whose refresh token renews it",
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
