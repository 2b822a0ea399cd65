//! What an operator and a reviewer want to read before they trust this crate.

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("writing_a_store.md")]
pub mod writing_a_store {}

#[doc = include_str!("changelog.md")]
pub mod changelog {}
