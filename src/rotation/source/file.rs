//! [`FileSource`].

use std::path::PathBuf;

use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::given;
use crate::rotation::source::private_directory::read_unreplaceable;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::Debounce;
use crate::rotation::source::snapshot::Entry;
use crate::rotation::source::snapshot::LoadCache;
use crate::rotation::source::snapshot::blocking;

/// A file that holds a key or a JWK set.
///
/// It is read at every reload. A change is used once two reads, 20 ms apart, agree, so that a file that is truncated
/// or being written changes nothing.
///
/// Half of a bare secret ([`KeyFormat::secret`], `base64`, `base64url`) is also a secret. So such a change is used
/// once two consecutive reloads, at least a second apart, read the same: one reload interval later than for a PEM,
/// DER or JWK. The first load of a process uses what is there after the 20 ms. A file that is replaced as a whole, by
/// a rename, is never read half.
///
/// A single file does not hold older keys: a process that restarts after the key was replaced has never seen the old one, and
/// refuses its tokens. Keep the old key in a [`retired`](Self::retired) file until its tokens have expired, or use a
/// JWK set or a [`DirectorySource`](super::DirectorySource).
///
/// ```
/// use tower_reissue::keys::{Algorithm, FileSource, KeyFormat};
///
/// let source = FileSource::new("/etc/orders/jwt.pem", KeyFormat::pem(Algorithm::EdDSA))
///     .retired("/etc/orders/jwt-old.secret", KeyFormat::base64(Algorithm::HS256));
/// ```
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Clone, Debug)]
pub struct FileSource {
    file: (PathBuf, KeyFormat),
    retired: Vec<(PathBuf, KeyFormat)>,
    /// Whether the file is refused if others can replace it.
    is_private: bool,
    cache: LoadCache,
}

impl FileSource {
    /// The key or keys in this file.
    pub fn new(path: impl Into<PathBuf>, format: KeyFormat) -> Self {
        Self {
            file: (given::path(path), format),
            retired: Vec::new(),
            is_private: false,
            cache: LoadCache::default(),
        }
    }

    /// The key in this file, unless somebody other than root or this process's user can replace the file, a link or a directory
    /// on the way. Each load checks this.
    #[cfg(feature = "settings")]
    pub(crate) fn private(path: impl Into<PathBuf>, format: KeyFormat) -> Self {
        Self { is_private: true, ..Self::new(path, format) }
    }

    /// A file with a key that does not sign any more. It may be missing.
    pub fn retired(mut self, path: impl Into<PathBuf>, format: KeyFormat) -> Self {
        self.retired.push((given::path(path), format));
        self
    }

    fn snapshot(&self) -> Result<Vec<Entry>, KeyError> {
        let (path, _) = &self.file;
        let bytes = if self.is_private { read_unreplaceable(path) } else { snapshot::read(path) }?;
        let mut found = vec![Entry::new(path, bytes)];
        for (path, _) in &self.retired {
            if path.try_exists().map_err(|error| snapshot::unreadable(path, error))? {
                found.push(Entry::new(path, snapshot::read(path)?));
            }
        }
        Ok(found)
    }

    fn parse(&self, found: &[Entry]) -> Result<KeySet, KeyError> {
        let mut set = KeySet::default();
        for Entry { place, bytes, .. } in found {
            let at = |error: KeyError| error.at(place.display());
            if *place == self.file.0 {
                set = self.file.1.read(bytes).map_err(at)?;
            } else if let Some((_, format)) = self.retired.iter().find(|(path, _)| path == place) {
                match format.read(bytes) {
                    Ok(retired) => set.retire(retired, place.display()),
                    Err(error) => set.skipped.push(at(error)),
                }
            }
        }
        Ok(set)
    }
}

impl KeySource for FileSource {
    fn describe(&self) -> String {
        format!("file {}", self.file.0.display())
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let this = self.clone();
        let formats = std::iter::once(&self.file).chain(&self.retired).map(|(_, format)| format);
        let settled = Debounce::for_formats(formats);
        blocking(move || this.cache.load(settled, || this.snapshot(), |found| this.parse(found))).await
    }
}
