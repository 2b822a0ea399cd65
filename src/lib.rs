//! Placeholder.
mod clock;
/// k
pub mod keys;
/// s
pub mod store;
mod token;
pub use clock::{Clock, ManualClock, NumericDate, SystemClock};
/// m
pub mod manual { 
/// m
pub mod threat_model {} }
