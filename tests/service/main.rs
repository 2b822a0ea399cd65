//! The layer as a tower service: readiness, reissue, delivery, refusals and sessions, in memory.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod body;
mod cancellation;
mod cookies;
mod delivery;
mod handler;
mod kit;
mod lying_store;
mod one_successor;
mod optional;
mod outage;
mod panics;
mod race;
mod readiness;
mod refusals;
mod require;
mod runtime;
mod secrecy;
mod sessions;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod withdrawn_key;
