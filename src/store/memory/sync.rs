//! The lock and the counter: the standard library's, or those of a checker that tries every order of their use.

#[cfg(all(test, store_model))]
pub(super) use loom::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU64};
#[cfg(not(all(test, store_model)))]
pub(super) use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU64};
