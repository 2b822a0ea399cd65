//! [`Layers`]: values by path, each from one source, and their merging.

use std::collections::BTreeMap;
use std::ffi::OsString;

use config::{Config, Value as Merged, ValueKind};
use serde::Deserialize;
use serde_json::{Error, Value};

use super::Settings;
use super::error::SettingsError;
use super::secret::Captured;
use super::types::{Fields, PLACES};
use super::value::Origins;

#[derive(Default)]
pub(super) struct Layers {
    values: BTreeMap<String, Given>,
    captured: Captured,
    layer: usize,
}

struct Given {
    value: Value,
    origin: String,
    layer: usize,
}

/// A list longer than this is a mistake in a variable's name.
const MOST_ENTRIES: usize = 100;

impl Layers {
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
    }

    /// The values of a document.
    pub(super) fn document(&mut self, name: &str, tree: Value) -> Result<(), SettingsError> {
        self.tree(name, tree, |_, value| value)
    }

    /// The same from a format that may have nothing but texts.
    pub(super) fn texts(&mut self, name: &str, tree: Value) -> Result<(), SettingsError> {
        self.tree(name, tree, spelled)
    }

    fn tree(&mut self, name: &str, tree: Value, read: fn(&str, Value) -> Value) -> Result<(), SettingsError> {
        if !tree.is_object() {
            return Err(SettingsError::new(format!("{name}: expected a table of settings")));
        }
        super::value::leaves(tree)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .try_for_each(|(path, value)| self.set(&path, read(&path, value), name))
    }

    /// The variables `PREFIX__…`: `__` separates the names in a path, and a number is a place in a list.
    pub(super) fn variables(
        &mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), SettingsError> {
        let prefix = format!("{prefix}__");
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(&prefix)) else { continue };
            // Compose and Kubernetes set a variable to nothing where its own source is not set.
            if value.is_empty() {
                continue;
            }
            let origin = format!("environment variable {name}");
            let path = path_of(&name[prefix.len()..])
                .ok_or_else(|| SettingsError::new(format!("{origin}: this is not the name of a setting")))?;
            if is_secret(&path) {
                self.secret_variable(&path, name, &origin, value)?;
            } else {
                let text = value
                    .into_string()
                    .map_err(|_| SettingsError::new(format!("{origin}: the value is not UTF-8")))?;
                self.set(&path, spelled(&path, Value::String(text)), &origin)?;
            }
        }
        Ok(())
    }

    /// A secret's bytes go past the merging: the tree has the variable's name.
    pub(super) fn secret_variable(
        &mut self,
        path: &str,
        name: &str,
        origin: &str,
        value: OsString,
    ) -> Result<(), SettingsError> {
        let parent = path.strip_suffix(".value").unwrap_or(path);
        self.captured.insert(name, value);
        self.set(&format!("{parent}.variable"), Value::String(name.to_owned()), origin)
    }

    /// Sets one value. Each is checked alone, so that an error is about it and its source.
    pub(super) fn set(&mut self, path: &str, value: Value, origin: &str) -> Result<(), SettingsError> {
        // A secret in short form is one by value.
        let path = match &value {
            Value::String(_) if is_secret(path) && !path.ends_with("value") => format!("{path}.value"),
            _ => path.to_owned(),
        };
        check(&path, &value)
            .map_err(|message| SettingsError::new(format!("the setting `{path}` ({origin}): {message}")))?;
        // Where a key comes from is one choice: a later layer's replaces an earlier one's.
        if let Some((table, name)) = path.rsplit_once('.').filter(|(_, name)| PLACES.contains(name)) {
            let layer = self.layer;
            self.values.retain(|other, given| {
                let is_other = other.rsplit_once('.').is_some_and(|(parent, other)| {
                    parent == table && other != name && PLACES.contains(&other)
                });
                !is_other || given.layer == layer
            });
        }
        // Of a list of tables too: an entry made of two layers' values would be nobody's, such as one layer's issuer with
        // another's keys.
        if path.contains('[') || value.is_array() {
            let list = path.split('[').next().unwrap_or_default();
            let layer = self.layer;
            let is_of_list = |other: &str| {
                other.strip_prefix(list).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            };
            self.values.retain(|other, given| given.layer == layer || !is_of_list(other));
        }
        self.values.insert(path, Given { value, origin: origin.to_owned(), layer: self.layer });
        Ok(())
    }

    pub(super) fn merge(self) -> Result<Settings, SettingsError> {
        let mut origins = Origins::default();
        let mut merged = Config::builder();
        for (path, given) in self.values {
            merged = merged.set_override(&*path, merged_value(given.value)).map_err(|_| gap())?;
            origins.insert(path, given.origin);
        }
        let merged = merged.build().map_err(|_| gap())?;
        let fields: Fields = merged.try_deserialize().map_err(|_| gap())?;
        fields.check(&origins)?;
        Ok(Settings { fields, origins, captured: self.captured })
    }
}

/// What is left once each value was checked alone.
fn gap() -> SettingsError {
    SettingsError::new(
        "the settings don't fit together: the entries of a list are numbered from 0, without a gap",
    )
}

/// `KEY__FILE` is `key.file`, and `TRUSTED_ISSUERS__0__ISSUER` is `trusted_issuers[0].issuer`.
fn path_of(name: &str) -> Option<String> {
    let mut path = String::new();
    for part in name.split("__") {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        match part.parse::<usize>() {
            Ok(at) if at < MOST_ENTRIES => path.push_str(&format!("[{at}]")),
            Ok(_) => return None,
            Err(_) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&part.to_ascii_lowercase());
            }
        }
    }
    Some(path)
}

fn is_secret(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    matches!(name, "value" | "password" | "bearer_token" | "proxy") || path == "store.url"
}

/// The number or boolean that a text spells, where the setting takes no text.
fn spelled(path: &str, value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    match serde_json::from_str(text) {
        Ok(spelled @ (Value::Number(_) | Value::Bool(_)))
            if check(path, &value).is_err() && check(path, &spelled).is_ok() =>
        {
            spelled
        }
        _ => value,
    }
}

/// Reads the settings with this value alone. Every setting may be absent, so what is wrong is this one. The library that merges would
/// read a fraction as a whole number, and `true` as 1.
fn check(path: &str, value: &Value) -> Result<(), String> {
    let mut value = value.clone();
    let names = path.split('.').rev();
    for name in names {
        let (name, is_list) = match name.split_once('[') {
            Some((name, _)) => (name, true),
            None => (name, false),
        };
        if is_list {
            value = Value::Array(vec![value]);
        }
        value = Value::Object([(name.to_owned(), value)].into_iter().collect());
    }
    Fields::deserialize(value).map(drop).map_err(|error| told(&error))
}

/// What serde says, without the value, which it quotes and which may be a secret in the wrong place.
fn told(error: &Error) -> String {
    let text = error.to_string();
    // "invalid type: <the value>, expected <what>", and whatever the value is, what was expected comes last.
    match text.rsplit_once("expected ") {
        Some((_, expected)) if text.starts_with("invalid ") => format!("expected {}", plain(expected)),
        None if text.starts_with("invalid ") => "this is not a value of the setting".to_owned(),
        // An unknown name, or what the types of this module say.
        _ => text,
    }
}

/// In words for somebody who edits settings, what serde expects.
fn plain(expected: &str) -> String {
    let bits = expected.strip_prefix('u').and_then(|bits| bits.parse::<u32>().ok());
    match (expected, bits) {
        (_, Some(bits @ 1..64)) => format!("a whole number from 0 to {}", (1_u64 << bits) - 1),
        (_, Some(_)) | ("usize", _) => "a whole number that is not negative".to_owned(),
        ("a boolean", _) => "`true` or `false`".to_owned(),
        ("a string", _) => "a text".to_owned(),
        ("a sequence", _) => "a list of tables".to_owned(),
        (_, _) if expected.starts_with("struct ") => "a table".to_owned(),
        _ => expected.to_owned(),
    }
}

fn merged_value(value: Value) -> Merged {
    let kind = match value {
        Value::Null => ValueKind::Nil,
        Value::Bool(value) => value.into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.into(),
        Value::Array(list) => ValueKind::Array(list.into_iter().map(merged_value).collect()),
        Value::Object(table) => {
            ValueKind::Table(table.into_iter().map(|(name, value)| (name, merged_value(value))).collect())
        }
    };
    Merged::new(None, kind)
}
