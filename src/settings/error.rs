//! [`SettingsError`].

use std::error::Error;
use std::fmt;

use crate::error::debug_as_display;

/// A setting that is wrong or can't be read, for the operator. The text names the setting, where it came from and what would
/// be right. It holds no secret.
pub struct SettingsError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SettingsError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    pub(super) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            // It prints its own causes.
            Some(source) if !self.message.contains(&source.to_string()) => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

debug_as_display!(SettingsError);

impl Error for SettingsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
