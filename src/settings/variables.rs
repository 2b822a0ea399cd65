//! [`Variables`]: environment variables with names of their own, as other systems have them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::error::SettingsError;

/// Variables, of which an empty one counts as absent.
#[derive(Clone, Default)]
pub(super) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    pub(super) fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    pub(super) fn of<N: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = variables.into_iter().filter_map(|(name, value)| {
            let (name, value) = (name.into().into_string().ok()?, value.into());
            (!value.is_empty()).then_some((name, value))
        });
        Self(pairs.collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn raw(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, SettingsError> {
        let not_text = || SettingsError::new(format!("{}: the value is not UTF-8", origin(name)));
        self.0.get(name).map(|value| value.to_str().ok_or_else(not_text)).transpose()
    }

    /// As pydantic reads it, in any letter case.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, SettingsError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        match &*text.trim().to_ascii_lowercase() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
            _ => Err(SettingsError::new(format!("{}: `true` or `false` is right", origin(name)))),
        }
    }

    /// A number of seconds, as a duration with its unit.
    pub(super) fn seconds(&self, name: &str, default: u64) -> Result<u64, SettingsError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.trim()
            .parse()
            .map_err(|_| SettingsError::new(format!("{}: a whole number of seconds is right", origin(name))))
    }
}

pub(super) fn origin(name: &str) -> String {
    format!("environment variable {name}")
}
