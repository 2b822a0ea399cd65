//! How often a call is repeated.

use std::future::Future;

use super::Inner;
use super::failure::{failed, is_passing};
use crate::store::{StoreError, StoreErrorKind};

/// A row that changes during so many tries in a row is no contention any more.
const TRIES: u32 = 64;

/// How many tries are left.
pub(super) struct Tries {
    lost: u32,
    broken: u32,
}

impl Tries {
    /// Every connection of the pool may have died with the server.
    pub(super) fn new(connections: u32) -> Self {
        Self { lost: TRIES, broken: connections + 1 }
    }

    pub(super) fn lost(&mut self) -> Result<(), StoreError> {
        self.lost = self.lost.checked_sub(1).ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                "the row changed under every try to write it",
            )
        })?;
        Ok(())
    }

    pub(super) fn failed(&mut self, error: sqlx::Error) -> Result<(), StoreError> {
        match self.broken.checked_sub(1) {
            Some(left) if is_passing(&error) => {
                self.broken = left;
                Ok(())
            }
            _ => Err(failed(error)),
        }
    }
}

impl Inner {
    /// Repeats a call that may be made twice, for as long as its failure may pass.
    pub(super) async fn persist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let mut tries = Tries::new(self.backend.connections().1);
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => tries.failed(error)?,
            }
        }
    }
}
