//! [`Settings`]: an authority from environment variables, TOML or any serde format.
//!
//! ```no_run
//! use tower_reissue::settings::Settings;
//! use tower_reissue::{Authority, ReissueLayer};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! // A later layer wins: ORDERS__LIFETIME over `lifetime` in the file.
//! let settings = Settings::builder().toml_file("/etc/orders.toml").environment("ORDERS").load()?;
//! println!("{settings}");
//! let authority = Authority::from_settings(&settings).await?;
//! let layer = ReissueLayer::from_settings(authority, &settings)?;
//! # Ok(()) }
//! ```
//!
//! [The manual](crate::manual::settings) has the table of all settings. Each does what the builder's method of its name
//! does, and is checked there. An unknown key is an error, and an error names the setting and where it came from.
//!
//! [`SettingsBuilder::airflow`] and [`SettingsBuilder::langflow`] read the variables that those systems have, and set what
//! follows from them.
//!
//! Secrets (keys, passwords, the store's URL) are given by value, variable, file or command, and are taken byte for byte.
//! They are printed nowhere. Not protected against: whoever can write to a file or variable of the settings can set the key,
//! and name a command that this process runs.

// Layers are merged by the `config` crate, which is maintained (figment's last release was in 2024). Its parsers of formats
// and its environment source are off: they guess types, and their errors quote the text at fault, which may be a secret.

mod airflow;
mod authority;
mod builder;
mod error;
mod keys;
mod langflow;
mod layer;
mod places;
mod secret;
mod store;
mod types;
mod value;
mod variables;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::airflow::{Airflow, SecretsBackend, SecretsInDirectory, SecretsInEnvironment};
pub use self::builder::SettingsBuilder;
pub use self::error::SettingsError;
pub use self::langflow::Langflow;
use self::layer::Layers;
use self::secret::Captured;
use self::types::{DEFAULTS, Fields};
use self::value::Origins;

/// Everything that a deployment tunes. Read by [`Settings::builder`], or as part of an application's own configuration: it
/// implements [`Deserialize`].
///
/// It prints (and serialises) the settings in force, with their origins and the defaults, and without secrets.
///
/// ```
/// use tower_reissue::settings::Settings;
///
/// let error = Settings::builder().toml("lifetme = '10m'").load().unwrap_err().to_string();
/// assert!(error.contains("`lifetme`") && error.contains("expected one of"), "{error}");
/// ```
#[derive(Clone)]
pub struct Settings {
    fields: Fields,
    origins: Origins,
    captured: Captured,
}

impl Settings {
    /// Reads settings from layers, of which a later one wins.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The format's own errors quote values, which may be secrets.
        let tree = serde_json::Value::deserialize(deserializer)?;
        let mut layers = Layers::default();
        layers.texts("the application's configuration", tree).map_err(D::Error::custom)?;
        layers.merge().map_err(D::Error::custom)
    }
}

/// Secrets are left out: in their place stands `(secret)`.
impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

/// One line for each setting in force: `lifetime = "10m"  # environment variable ORDERS__LIFETIME`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        let mut lines: BTreeMap<String, String> = value::leaves(shown)
            .into_iter()
            .map(|(path, value)| {
                let origin = self.origins.of(&path).map(|origin| format!("  # {origin}")).unwrap_or_default();
                (path, format!("{value}{origin}"))
            })
            .collect();
        for (path, default) in DEFAULTS {
            // A part that is not there, such as the store, has no options in force.
            let is_there = match path.split_once('.') {
                Some((table @ ("store" | "refresh_tokens"), _)) => {
                    lines.keys().any(|path| path.starts_with(&format!("{table}.")))
                }
                _ => true,
            };
            if is_there && !default.is_empty() {
                lines.entry((*path).to_owned()).or_insert_with(|| format!("{default}  # default"));
            }
        }
        lines.iter().try_for_each(|(path, line)| writeln!(f, "{path} = {line}"))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
