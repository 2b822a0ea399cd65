//! Notices that an SQLite file was replaced or removed while it is open.
//!
//! A connection stays with the file that it opened, even if the path leads to another one by now. A connection that is
//! opened later opens that other file. So a revocation could be written to the one, and a standing read from the other.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file at a path. Which one it is was read before any connection was opened: if it is replaced between the two, the
/// connection is to another file, and every answer is refused.
pub(super) struct OpenFile {
    path: PathBuf,
    id: FileId,
    /// Another file was seen at the path. Connections to it may be left, even if this one is put back.
    was_replaced: AtomicBool,
}

/// Device and inode. While a connection to the file is open, no other file gets the same.
type FileId = (u64, u64);

impl OpenFile {
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        Ok(Self { id: file_id(&path)?, path, was_replaced: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path leads to this file, and always has.
    pub(super) fn is_in_place(&self) -> bool {
        match file_id(&self.path) {
            Ok(id) if id == self.id => !self.was_replaced.load(Ordering::Acquire),
            Ok(_) => {
                self.was_replaced.store(true, Ordering::Release);
                false
            }
            Err(_) => false,
        }
    }

    /// The answer of a connection, if the file is still in its place.
    pub(super) fn confirm<T>(&self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if self.is_in_place() { answer } else { Err(ReplacedFile(self.path.clone()).into()) }
    }
}

#[cfg(all(unix, not(assume_not_unix)))]
fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Elsewhere the standard library can't tell files apart, and nothing is detected.
#[cfg(any(not(unix), assume_not_unix))]
fn file_id(_: &Path) -> io::Result<FileId> {
    Ok((0, 0))
}

#[derive(Debug)]
pub(super) struct ReplacedFile(PathBuf);

impl fmt::Display for ReplacedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the SQLite file {:?} was replaced or removed while it was open, so what is read and written may not be in \
             it: restart this process",
            self.0
        )
    }
}

impl std::error::Error for ReplacedFile {}

impl From<ReplacedFile> for sqlx::Error {
    fn from(error: ReplacedFile) -> Self {
        Self::Configuration(Box::new(error))
    }
}
