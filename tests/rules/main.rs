//! The rules of the crate, each through its public surface: the real layer over a handler in memory, a clock that is
//! set by hand, and tokens that another implementation minted.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod algorithms;
mod configuration;
mod matrix;
mod rule_01_one_credential;
mod rule_02_shape;
mod rule_03_header;
mod rule_03_type;
mod rule_05_claims;
mod rule_05_tokens_as_they_come;
mod rule_06_time;
mod rule_07_horizon;
mod rule_07_revocation;
mod rule_07_signing_in_again;
mod rule_07_standing;
mod rule_08_in_flight;
mod rule_09_grace;
mod rule_11_head;
mod rule_11_one_successor;
mod rule_11_window;
mod rule_12_claims_survive;
mod rule_13_own_keys;
mod rule_14_renewer;
mod rule_19_signing_out;
mod rule_20_verify_only;
mod rule_21_issuers;
mod rule_22_scopes;
mod rule_24_edges;
mod rule_24_endpoint;
mod rule_24_pairs;
mod rule_24_refresh;
mod rule_24_sliding;
mod rule_24_thief;
mod rule_27_bounds;
mod vectors;
