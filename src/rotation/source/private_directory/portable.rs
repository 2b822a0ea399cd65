//! [`PrivateDirectory`] on systems without Unix permissions: without checks.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::keys::error::KeyError;
use crate::rotation::source::private_directory::Visibility;
use crate::rotation::source::private_directory::draft_name;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::Bytes;

pub(in crate::rotation::source) struct PrivateDirectory {
    path: PathBuf,
}

impl PrivateDirectory {
    /// `None` if it does not exist.
    pub(in crate::rotation::source) fn open(path: &Path) -> Result<Option<Self>, KeyError> {
        let is_there = path.try_exists().map_err(|error| snapshot::unreadable(path, error))?;
        Ok(is_there.then(|| Self { path: path.to_owned() }))
    }

    /// Opens it, and creates the missing directories of its path.
    pub(in crate::rotation::source) fn create(path: &Path) -> Result<Self, KeyError> {
        fs::create_dir_all(path).map_err(|error| {
            KeyError::unavailable(format!("{} can't be created", path.display())).because(error)
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Reads a file. `None` if it does not exist.
    pub(in crate::rotation::source) fn read(
        &self,
        name: &str,
        _: Visibility,
    ) -> Result<Option<Bytes>, KeyError> {
        let path = self.path.join(name);
        match path.try_exists() {
            Ok(true) => snapshot::read(&path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(snapshot::unreadable(&path, error)),
        }
    }

    /// Creates a file as a whole and synced to disk, unless one of this name exists.
    pub(in crate::rotation::source) fn create_file(
        &self,
        name: &str,
        text: &str,
        _: Visibility,
    ) -> Result<(), KeyError> {
        let path = self.path.join(name);
        let failed = |error: io::Error| {
            KeyError::unavailable(format!("{} can't be written", path.display())).because(error)
        };
        let draft = Draft(self.path.join(draft_name()?));
        let mut file = OpenOptions::new().create_new(true).write(true).open(&draft.0).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        match fs::hard_link(&draft.0, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// Nothing is checked.
pub(in crate::rotation::source) fn read_unreplaceable(path: &Path) -> Result<Bytes, KeyError> {
    snapshot::read(path)
}

/// A file under a temporary name, which is removed on drop.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
