//! [`StoreError`]: a store could not do what it was asked.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{debug_as_display, with_causes};

/// A store could not do what it was asked. The operator must act. The client gets a 503, never a 401.
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No answer: the backend is down, refused, or broke off.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// At capacity with records that still matter: nothing was written.
    Full,
    /// A record was found that this store did not write.
    Corrupt,
    /// The call is inconsistent, for example a token named as its own successor. It is the caller's bug, and nothing
    /// was written.
    Misused,
    /// There is no store: a stateless authority records nothing.
    Stateless,
    /// The backend, or a proxy in front of it, is set up in a way that no store can work with. The source names the
    /// remedy.
    Misconfigured,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of this kind, with the backend's own error behind it.
    pub fn with_source(kind: StoreErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What failed.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self.kind {
            StoreErrorKind::Unavailable => "the claims store is unavailable",
            StoreErrorKind::Timeout => "the claims store did not answer in time",
            StoreErrorKind::Full => "the claims store is at capacity with records that still matter",
            StoreErrorKind::Corrupt => "the claims store holds a record it can't read",
            StoreErrorKind::Misused => "the call to the claims store is invalid",
            StoreErrorKind::Misconfigured => "the claims store is misconfigured",
            StoreErrorKind::Stateless => {
                "a stateless authority records nothing; give the builder a store, MemoryStore for one process"
            }
        };
        f.write_str(&with_causes(message, self.source()))
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

debug_as_display!(StoreError);
