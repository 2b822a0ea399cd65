//! [`SettingsBuilder`].

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use super::Settings;
use super::error::SettingsError;
use super::layer::Layers;
use super::value::leaves;
use crate::error::unreadable;

/// Reads settings from layers, of which a later one wins. Made by [`Settings::builder`].
#[must_use = "nothing is read until `load`"]
pub struct SettingsBuilder(Result<Layers, SettingsError>);

impl Default for SettingsBuilder {
    fn default() -> Self {
        Self(Ok(Layers::default()))
    }
}

impl SettingsBuilder {
    pub(super) fn layer(self, add: impl FnOnce(&mut Layers) -> Result<(), SettingsError>) -> Self {
        Self(self.0.and_then(|mut layers| {
            layers.next_layer();
            add(&mut layers).map(|()| layers)
        }))
    }

    /// A TOML file.
    pub fn toml_file(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.layer(|layers| {
            let text = std::fs::read_to_string(path)
                .map_err(|error| SettingsError::new(unreadable(path.display(), &error)).because(error))?;
            layers.document(&format!("file {}", path.display()), parse(&text, &path.display().to_string())?)
        })
    }

    /// A TOML text.
    pub fn toml(self, text: &str) -> Self {
        self.layer(|layers| layers.document("TOML text", parse(text, "the TOML text")?))
    }

    /// Values of any serde format, such as a `serde_json::Value`. `name` says in errors where they came from.
    pub fn values(self, name: &str, values: &impl Serialize) -> Self {
        self.layer(|layers| match serde_json::to_value(values) {
            Ok(tree @ serde_json::Value::Object(_)) => layers.document(name, tree),
            // The error may quote a value.
            _ => Err(SettingsError::new(format!("{name}: expected a table of settings"))),
        })
    }

    /// This process's variables that begin with `{prefix}__`. `ORDERS__KEY__FILE` is `key.file`, and
    /// `ORDERS__TRUSTED_ISSUERS__0__ISSUER` the `issuer` of the first trusted issuer. A list has commas between its entries.
    /// An empty variable counts as absent.
    pub fn environment(self, prefix: &str) -> Self {
        self.variables(prefix, std::env::vars_os())
    }

    /// The same from other variables than this process's, as in a test.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        self,
        prefix: &str,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.layer(|layers| layers.variables(prefix, variables))
    }

    /// The settings, checked one by one. What can only be judged together is checked by
    /// [`Authority::from_settings`](crate::Authority::from_settings).
    ///
    /// # Errors
    /// If a layer can't be read, a setting is unknown or can't be read, or a key or secret is given in two ways. The error
    /// names the setting and where it came from.
    pub fn load(self) -> Result<Settings, SettingsError> {
        self.0?.merge()
    }
}

/// The library's errors quote the line at fault, which may hold a secret.
fn parse(text: &str, name: &str) -> Result<serde_json::Value, SettingsError> {
    let table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingsError::new(format!("{name}, line {line}: this is not TOML: {}", error.message()))
    })?;
    let tree = serde_json::to_value(table)
        .map_err(|_| SettingsError::new(format!("{name}: it can't be read as settings")))?;
    // TOML has no null: it stands in place of a number that JSON does not have, and would count as absent.
    match leaves(tree.clone()).into_iter().find(|(_, value)| value.is_null()) {
        Some((path, _)) => Err(SettingsError::new(format!(
            "the setting `{path}` ({name}): `inf` and `nan` are no value of a setting"
        ))),
        None => Ok(tree),
    }
}
