//! [`ConfigError`]: what a developer got wrong, said when the thing is built.

use std::error::Error as StdError;
use std::fmt;

/// A setting that can't be right. The message names it and says what would be.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConfigError {}
