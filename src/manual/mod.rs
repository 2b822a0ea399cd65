//! The manual: what operators and reviewers of this crate need to know.

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("coming_from_jsonwebtoken.md")]
pub mod coming_from_jsonwebtoken {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("features.md")]
pub mod features {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("writing_a_store.md")]
pub mod writing_a_store {}

#[doc = include_str!("changelog.md")]
pub mod changelog {}
