//! Where there are no Unix permissions: the files, and no checks.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::keys::error::KeyError;
use crate::rotation::source::look;
use crate::rotation::source::look::Bytes;
use crate::rotation::source::private_directory::Kept;
use crate::rotation::source::private_directory::draft_name;

pub(in crate::rotation::source) struct PrivateDirectory {
    path: PathBuf,
}

impl PrivateDirectory {
    /// `None` where there is none.
    pub(in crate::rotation::source) fn open(path: &Path) -> Result<Option<Self>, KeyError> {
        let is_there = path.try_exists().map_err(|error| look::unreadable(path, error))?;
        Ok(is_there.then(|| Self { path: path.to_owned() }))
    }

    /// Opens it, and makes what is missing of its path.
    pub(in crate::rotation::source) fn make(path: &Path) -> Result<Self, KeyError> {
        fs::create_dir_all(path).map_err(|error| {
            KeyError::unavailable(format!("{} can't be made", path.display())).because(error)
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Reads a file; `None` where there is none.
    pub(in crate::rotation::source) fn read(&self, name: &str, _: Kept) -> Result<Option<Bytes>, KeyError> {
        let path = self.path.join(name);
        match path.try_exists() {
            Ok(true) => look::read(&path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(look::unreadable(&path, error)),
        }
    }

    /// Puts a file in place, whole and on disk, unless one of this name is there already.
    pub(in crate::rotation::source) fn keep_first(
        &self,
        name: &str,
        text: &str,
        _: Kept,
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

/// A file that is gone when it has served.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
