//! [`DirectorySource`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::look::{self, Found, Memory, blocking};
use super::{KeyFormat, KeySet, KeySource};
use crate::keys::KeyError;

/// A directory of keys, as a mounted Kubernetes Secret: one named file signs, every other one is a retired key that
/// still verifies.
///
/// A file `withdrawn` lists keys that were compromised, a `kid` or fingerprint on each line: nothing under them is
/// admitted from then on. Names that begin with a dot, and directories, are passed over. A file that holds no key is
/// named in an event and passed over.
///
/// Put nothing else there. As [`KeyFormat::secret`] almost any text of 32 bytes and more is a key (a README, an editor's
/// backup), and whoever knows the text can sign with it. Prefer base64, PEM or JWK.
///
/// A mounted Secret is swapped whole by the link `..data`; it is read through that link once, so that no old file is
/// read beside a new one.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    directory: PathBuf,
    signing: PathBuf,
    format: KeyFormat,
    retired: Vec<(PathBuf, KeyFormat)>,
    memory: Memory,
}

const WITHDRAWN: &str = "withdrawn";
const MAX_FILES: usize = 100;

impl DirectorySource {
    /// `signing` names the file of the key that signs; every file is read in this format. While that file is
    /// missing, a load fails.
    pub fn new(directory: impl Into<PathBuf>, signing: impl Into<PathBuf>, format: KeyFormat) -> Self {
        Self {
            directory: directory.into(),
            signing: signing.into(),
            format,
            retired: Vec::new(),
            memory: Memory::default(),
        }
    }

    /// A retired key's file that is in another format, for the time around a change of the algorithm. There need be no such
    /// file.
    pub fn retired(mut self, name: impl Into<PathBuf>, format: KeyFormat) -> Self {
        self.retired.push((name.into(), format));
        self
    }

    fn look(&self) -> Result<Vec<Found>, KeyError> {
        let at = |error| look::unreadable(&self.directory, error);
        // The directory behind the link is never changed, only replaced: what is gone meanwhile is an error, and the
        // next look finds the new one.
        let directory = match fs::canonicalize(self.directory.join("..data")) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.directory.clone(),
            Err(error) => return Err(at(error)),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                names.push(PathBuf::from(name));
            }
        }
        if names.len() > MAX_FILES {
            return Err(KeyError::unavailable(format!(
                "{} holds more than {MAX_FILES} files: is it a directory of keys?",
                self.directory.display()
            )));
        }
        names.sort();
        let mut found = Vec::new();
        for name in names {
            let path = directory.join(&name);
            // Symlinks are followed: to a file, to a directory, to nothing.
            if !fs::metadata(&path).map_err(|error| look::unreadable(&path, error))?.is_dir() {
                found.push(Found { bytes: look::read(&path)?, place: name });
            }
        }
        Ok(found)
    }

    fn parse(&self, found: &[Found]) -> Result<KeySet, KeyError> {
        let at = |place: &Path, error: KeyError| error.at(self.directory.join(place).display());
        let signing = found.iter().find(|found| found.place == self.signing).ok_or_else(|| {
            KeyError::unavailable(format!(
                "{} holds no file {}",
                self.directory.display(),
                self.signing.display()
            ))
        })?;
        let mut set = self.format.read(&signing.bytes).map_err(|error| at(&signing.place, error))?;
        for Found { place, bytes } in found.iter().filter(|found| found.place != self.signing) {
            if place == Path::new(WITHDRAWN) {
                let lines = String::from_utf8_lossy(bytes);
                let kids = lines.lines().map(str::trim);
                set.withdrawn
                    .extend(kids.filter(|kid| !kid.is_empty() && !kid.starts_with('#')).map(str::to_owned));
                continue;
            }
            let named = self.retired.iter().find(|(name, _)| name == place).map(|(_, format)| format);
            match named.unwrap_or(&self.format).read(bytes) {
                Ok(retired) => set.retire(retired),
                Err(error) => set.skipped.push(at(place, error)),
            }
        }
        Ok(set)
    }
}

impl KeySource for DirectorySource {
    fn describe(&self) -> String {
        format!("directory {}", self.directory.display())
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let this = self.clone();
        blocking(move || this.memory.load(|| this.look(), |found| this.parse(found))).await
    }
}
