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
        let pairs = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        Self(pairs.collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    pub(super) fn raw(&self, name: &str) -> Option<&OsString> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, SettingsError> {
        let not_text = || SettingsError::new(format!("{}: the value is not UTF-8", origin(name)));
        self.raw(name).map(|value| value.to_str().ok_or_else(not_text)).transpose()
    }

    /// The value of each variable of which this holds is [`expanded`](Self::expanded).
    pub(super) fn with_expanded(mut self, is_expanded: impl Fn(&str) -> bool) -> Self {
        let expanded: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| is_expanded(name))
            .filter_map(|(name, value)| Some((name.clone(), self.expanded(value.to_str()?).into())))
            .collect();
        self.0.extend(expanded);
        self
    }

    /// As Python's `expandvars` and `expanduser`, again until nothing changes: `$NAME`, `${NAME}`, and `~` before a `/`. What is
    /// not set stays as it is, and so does another user's `~name`.
    pub(super) fn expanded(&self, text: &str) -> String {
        // A variable may name itself: `A=$A/b`.
        const MOST_ROUNDS: usize = 8;
        let mut text = text.to_owned();
        for _ in 0..MOST_ROUNDS {
            let mut next = self.with_values(&text);
            if let Some(rest) = next.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))
                && let Some(home) = self.0.get("HOME").and_then(|home| home.to_str())
            {
                next = format!("{}{rest}", home.trim_end_matches('/'));
            }
            if next == text {
                break;
            }
            text = next;
        }
        text
    }

    fn with_values(&self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut parts = text.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = match part.strip_prefix('{').and_then(|part| part.split_once('}')) {
                Some(braced) => braced,
                None => part.split_at(part.find(|c| !is_part(c)).unwrap_or(part.len())),
            };
            match self.0.get(name).and_then(|value| value.to_str()) {
                Some(value) => out.extend([value, rest]),
                None => out.extend(["$", part]),
            }
        }
        out
    }

    /// As pydantic reads it, in any letter case.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, SettingsError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        match &*text.trim().to_ascii_lowercase() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
            _ => Err(SettingsError::new(format!("{}: expected `true` or `false`", origin(name)))),
        }
    }

    /// A whole number of seconds.
    pub(super) fn seconds(&self, name: &str, default: u64) -> Result<u64, SettingsError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.trim()
            .parse()
            .map_err(|_| SettingsError::new(format!("{}: expected a whole number of seconds", origin(name))))
    }
}

pub(super) fn origin(name: &str) -> String {
    format!("environment variable {name}")
}
