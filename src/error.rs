//! [`ConfigError`]: what a developer got wrong, said when the thing is built.

use std::error::Error as StdError;
use std::fmt;

use crate::keys::KeyError;

/// A setting that can't be right. The message names it and says what would be.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    source: Option<KeyError>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// So that `?` carries a key's refusal out of a function that builds an authority.
impl From<KeyError> for ConfigError {
    fn from(source: KeyError) -> Self {
        Self { message: source.to_string(), source: Some(source) }
    }
}
