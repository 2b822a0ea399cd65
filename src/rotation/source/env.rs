//! [`EnvSource`].

use zeroize::Zeroizing;

use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::given;
use crate::rotation::source::snapshot::Debounce;
use crate::rotation::source::snapshot::Entry;
use crate::rotation::source::snapshot::LoadCache;
use crate::rotation::source::snapshot::MAX_BYTES;
use crate::rotation::source::snapshot::blocking;

/// An environment variable that holds a key.
///
/// A process keeps the environment that it was started with, so a new key needs a restart. Set the old key as
/// [`retired`](Self::retired) then, or its tokens are refused after the restart.
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Clone, Debug)]
pub struct EnvSource {
    variable: (String, KeyFormat),
    retired: Vec<(String, KeyFormat)>,
    cache: LoadCache,
}

impl EnvSource {
    /// The key in this variable.
    pub fn new(variable: impl Into<String>, format: KeyFormat) -> Self {
        Self {
            variable: (given::variable(variable), format),
            retired: Vec::new(),
            cache: LoadCache::default(),
        }
    }

    /// A variable with a key that does not sign any more. It may be unset or empty.
    pub fn retired(mut self, variable: impl Into<String>, format: KeyFormat) -> Self {
        self.retired.push((given::variable(variable), format));
        self
    }

    fn read(&self) -> Result<KeySet, KeyError> {
        let (name, format) = &self.variable;
        let mut set = match value(name)? {
            Some(value) => format.read(&value).map_err(|error| error.at(name))?,
            None => {
                return Err(KeyError::unavailable(format!("the variable {name} is not set, or is empty")));
            }
        };
        for (name, format) in &self.retired {
            if let Some(value) = value(name)? {
                match format.read(&value) {
                    Ok(retired) => set.retire(retired, name),
                    Err(error) => set.skipped.push(error.at(name)),
                }
            }
        }
        Ok(set)
    }

    fn snapshot(&self) -> Result<Vec<Entry>, KeyError> {
        let names = std::iter::once(&self.variable).chain(&self.retired).map(|(name, _)| name);
        names.map(|name| Ok(Entry::new(name, value(name)?.unwrap_or_default()))).collect()
    }
}

impl KeySource for EnvSource {
    fn describe(&self) -> String {
        format!("environment variable {}", self.variable.0)
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let this = self.clone();
        blocking(move || this.cache.load(Debounce::WithinLoad, || this.snapshot(), |_| this.read())).await
    }
}

fn value(name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let value = std::env::var_os(name).map(|value| Zeroizing::new(value.into_encoded_bytes()));
    match value {
        Some(value) if value.len() as u64 > MAX_BYTES => {
            Err(KeyError::unavailable(format!("the variable {name} is longer than any key")))
        }
        value => Ok(value.filter(|value| !value.is_empty())),
    }
}
