//! [`Secret`]: by value, variable, file or command; and [`Captured`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::SettingsError;
use super::value::Origins;
use crate::keys::error::KeyError;
use crate::rotation::source::command::CommandSource;
use crate::rotation::source::{KeyFormat, is_key_text, is_secret_for_path, is_variable, read_file};

/// The variables with secrets that were found when the settings were read.
#[derive(Clone, Default)]
pub(super) struct Captured(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl Captured {
    pub(super) fn insert(&mut self, name: &str, value: OsString) {
        self.0.insert(name.to_owned(), Zeroizing::new(value.into_encoded_bytes()));
    }

    /// What the variable holds.
    pub(super) fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let found = self.0.get(name).cloned();
        found
            .or_else(|| std::env::var_os(name).map(|value| Zeroizing::new(value.into_encoded_bytes())))
            .filter(|value| !value.is_empty())
            .ok_or_else(|| KeyError::unavailable(format!("the variable {name} is not set, or is empty")))
    }
}

/// A path or URL. A secret in its place, or a password in a URL, is refused, because it is printed.
#[derive(Clone)]
pub(super) struct Place(pub(super) String);

/// Without the query of a URL, which may hold a secret, as `JwksUrl` prints it.
impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(place) = self;
        match place.split_once(['?', '#']) {
            Some((url, _)) if url.contains("://") => serializer.collect_str(&format_args!("{url}?(secret)")),
            _ => serializer.serialize_str(place),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let authority = text.split_once("://").and_then(|(_, rest)| rest.split('/').next());
        if is_key_text(&text) || authority.is_some_and(|authority| authority.contains('@')) {
            return Err(D::Error::custom(
                "expected a path or URL, and this is a key or a URL with a password",
            ));
        }
        if is_secret_for_path(&text) {
            return Err(D::Error::custom(
                "expected a path or URL, and this may be a secret: no such file exists (an absolute path is always taken)",
            ));
        }
        Ok(Self(text.to_string()))
    }
}

/// The name of an environment variable. A secret in its place is refused, because the name is printed.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(super) struct VariableName(pub(super) String);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        if !is_variable(&text) {
            return Err(D::Error::custom(
                "expected the name of an environment variable that is set, and this may be its value",
            ));
        }
        Ok(Self(text.to_string()))
    }
}

/// A text that is printed nowhere.
#[derive(Clone)]
pub(super) struct Hidden(pub(super) Zeroizing<String>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// A secret other than a key. A plain string is one by value.
#[derive(Clone, Default, Serialize)]
pub(super) struct Secret {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variable: Option<VariableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Hidden>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Table {
            value: Option<Hidden>,
            variable: Option<VariableName>,
            file: Option<Place>,
            command: Option<Hidden>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret, or one of `value`, `variable`, `file` and `command`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret { value: Some(Hidden(Zeroizing::new(text.to_owned()))), ..Secret::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                let Table { value, variable, file, command } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Secret { value, variable, file, command })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Secret {
    /// The text, less one line end of a file or a command's output.
    pub(super) async fn read(
        &self,
        path: &str,
        captured: &Captured,
        origins: &Origins,
    ) -> Result<Zeroizing<String>, SettingsError> {
        let failed = |name: &str, error: KeyError| {
            SettingsError::new(origins.describe(&format!("{path}.{name}"))).because(error)
        };
        let (name, bytes) = match self {
            Self { value: Some(Hidden(value)), .. } => return Ok(value.clone()),
            Self { variable: Some(VariableName(variable)), .. } => ("variable", captured.read(variable)),
            Self { file: Some(Place(file)), .. } => ("file", read_file(file).await.map(without_line_end)),
            Self { command: Some(Hidden(line)), .. } => {
                // The format is not used: the output is no key.
                let output = match CommandSource::from_line(line, KeyFormat::jwk()) {
                    Ok(command) => command.timeout(Duration::from_secs(5)).output().await,
                    Err(error) => Err(error),
                };
                ("command", output.map(without_line_end))
            }
            _ => {
                return Err(SettingsError::new(format!(
                    "{}: expected one of `value`, `variable`, `file` and `command`",
                    origins.describe(path)
                )));
            }
        };
        let bytes = bytes.map_err(|error| failed(name, error))?;
        String::from_utf8(bytes.to_vec()).map(Zeroizing::new).map_err(|_| {
            SettingsError::new(format!("{}: it is not UTF-8", origins.describe(&format!("{path}.{name}"))))
        })
    }
}

fn without_line_end(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}
