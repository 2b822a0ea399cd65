//! The rules of the crate, each through its public surface: the real layer over a handler in memory, a clock that is
//! set by hand, and tokens that another implementation minted.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod rule_01_one_credential;
mod rule_02_shape;
mod rule_03_header;
mod rule_03_type;
mod rule_05_claims;
