//! The decision core: the bytes of a credential in, a verdict out.
//!
//! Everything here is synchronous and pure. There is no clock (an instant is an argument), no I/O, no randomness
//! and no logging, so a verdict is a function of its arguments. Nothing outside this module decides.
//!
//! One token walks through it in this order:
//!
//! 1. [`verify`]: shape, header policy, the key's own algorithm, signature.
//! 2. [`claims`]: the payload's JSON text, read once into checked fields. A [`verify::Verified`] comes out.
//! 3. [`arrival`]: the protocol that leads to the verdict. It asks the store if that is needed, and has
//!    [`decision`] judge the token under the [`policy`].
//! 4. [`reissue`]: the protocol that makes the token's successor, in exchange for an expired token or at the response.
//!    [`succession`] splices its claims into the same text.
//!
//! An issuer's [`logout`] token is no token to be admitted with: it ends sessions, and is verified apart.
//!
//! A refresh token takes another way, [`refresh`], and so does a token that is presented to end its session, [`sign_out`].
//!
//! A route may require more of a token that was admitted: [`requirement`].

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
