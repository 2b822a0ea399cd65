//! The decision core: the bytes of a credential in, a verdict out.
//!
//! Everything here is synchronous and pure. There is no clock (an instant is an argument), no I/O, no randomness
//! and no logging, so a verdict is a function of its arguments. Nothing outside this module decides.
//!
//! What drivers use, in the order of the protocol:
//!
//! 1. [`verify::verify`]: the text of a credential becomes a [`Verified`](verify::Verified), which holds checked
//!    [`claims`] and the ids by which a store knows it ([`identity`]).
//! 2. [`Policy::arrive`](policy::Policy::arrive): takes an [`Arrival`](arrival::Arrival), the [`Facts`](arrival::Facts) of the
//!    moment, and whether there is a store. Do what each [`Next`](arrival::Next) asks for, until it is a verdict.
//! 3. [`Requirement::judge`](requirement::Requirement::judge): what a route requires of a token that was admitted.
//! 4. [`Policy::is_due`](policy::Policy::is_due): whether the response is to carry a successor. How long that may be, is its
//!    [`Capacity`](capacity::Capacity).
//! 5. [`Reissuing`](reissue::Reissuing): makes the successor, at the response or in exchange for an expired token. Do what each
//!    [`Step`](reissue::Step) asks for, until there is a [`Successor`](successor::Successor) to sign, or a
//!    [`NotReissued`](not_reissued::NotReissued).
//!
//! Besides the two protocols:
//!
//! * [`Policy::judge_refresh`](policy::Policy::judge_refresh): a refresh token, whose [`RefreshStep`](refresh::RefreshStep)s are
//!   done in the same way.
//! * [`SignOut`](sign_out::SignOut) and [`Policy::may_end_session`](policy::Policy::may_end_session): a token that ends its
//!   session.
//! * [`Logout::verify`](logout::Logout::verify): an issuer's logout token, which admits nobody and ends sessions.
//! * [`Policy::horizon`](policy::Policy::horizon): how long a store must keep a revocation.

pub(crate) mod arrival;
pub(crate) mod capacity;
pub(crate) mod claims;
pub(crate) mod decision;
pub(crate) mod horizon;
pub(crate) mod identity;
pub(crate) mod kind;
pub(crate) mod logout;
pub(crate) mod not_reissued;
pub(crate) mod policy;
pub(crate) mod refresh;
pub(crate) mod reissue;
pub(crate) mod renewal;
pub(crate) mod requirement;
pub(crate) mod scope;
pub(crate) mod sign_out;
pub(crate) mod standing;
pub(crate) mod succession;
pub(crate) mod successor;
pub(crate) mod terms;
#[cfg(test)]
mod test_tokens;
pub(crate) mod verify;
