//! manual
/// m
pub mod threat_model {}
