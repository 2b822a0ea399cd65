//! Paths of settings, and where their values came from.

use std::collections::BTreeMap;

use serde_json::Value;

/// The origin of what is added to Airflow's variables.
pub(super) const AIRFLOWS_DEFAULT: &str = "Airflow's default";

/// Where each value came from, by its path.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn insert(&mut self, path: String, origin: String) {
        self.0.insert(path, origin);
    }

    /// The origin of this path, or of the first value below it.
    pub(super) fn of(&self, path: &str) -> Option<&str> {
        let is_below =
            |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.0
            .get(path)
            .or_else(|| self.0.iter().find(|(other, _)| is_below(other)).map(|(_, origin)| origin))
            .map(|o| &**o)
    }

    /// Names a setting: `` `key.file` (environment variable ORDERS__KEY__FILE) ``.
    pub(super) fn describe(&self, path: &str) -> String {
        match self.of(path) {
            Some(origin) => format!("the setting `{path}` ({origin})"),
            None => format!("the setting `{path}`"),
        }
    }

    /// Names the settings that a builder's error speaks of, which have the names of the builder's methods.
    pub(super) fn mentioned_in(&self, message: &str) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mentions = |name: &str| {
            message.match_indices(name).any(|(at, _)| {
                !message[..at].ends_with(is_part) && !message[at + name.len()..].starts_with(is_part)
            })
        };
        let named: Vec<String> = self
            .0
            .iter()
            .filter(|(path, _)| {
                let name = path.rsplit('.').next().unwrap_or(path);
                let words = if name == "max_session_lifetime" {
                    "session limit".into()
                } else {
                    name.replace('_', " ")
                };
                mentions(name) || mentions(&words)
            })
            .map(|(path, origin)| format!("`{path}` is from {origin}"))
            .collect();
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }
}

/// The values of a tree, each with its path. A list without tables in it is one value.
pub(super) fn leaves(tree: Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(String::new(), tree, &mut found);
    found
}

fn collect(path: String, value: Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(path, value, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (at, value) in list.into_iter().enumerate() {
                collect(format!("{path}[{at}]"), value, found);
            }
        }
        value => found.push((path, value)),
    }
}
