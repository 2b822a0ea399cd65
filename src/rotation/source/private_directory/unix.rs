//! By descriptors, with the checks.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fsync, linkat, mkdirat, openat, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::keys::error::KeyError;
use crate::rotation::source::look;
use crate::rotation::source::look::Bytes;
use crate::rotation::source::private_directory::Kept;
use crate::rotation::source::private_directory::draft_name;

pub(in crate::rotation::source) struct PrivateDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

/// A directory that is only gone through need not be readable, where the system can open it so.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const SEARCH: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::PATH);
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const SEARCH: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// As many links as Linux follows, and as many directories are made.
const MAX_DETOURS: usize = 40;

impl PrivateDirectory {
    /// `None` where there is none.
    pub(in crate::rotation::source) fn open(path: &Path) -> Result<Option<Self>, KeyError> {
        match walk(path, false)? {
            Some(directory) => Self::checked(path, directory).map(Some),
            None => Ok(None),
        }
    }

    /// Opens it, and makes what is missing of its path, for this user alone.
    pub(in crate::rotation::source) fn make(path: &Path) -> Result<Self, KeyError> {
        let directory = walk(path, true)?.ok_or_else(|| unreadable(path, Errno::NOENT))?;
        Self::checked(path, directory)
    }

    fn checked(path: &Path, directory: OwnedFd) -> Result<Self, KeyError> {
        let found = Owned::of(fstat(&directory).map_err(|error| unreadable(path, error))?);
        found.refuse_stranger(path)?;
        if found.is_open_to_writers() {
            let (place, mode) = (path.display(), found.mode);
            return Err(KeyError::unavailable(format!(
                "others may write to {place}, its mode is {mode:04o}, and put a key of theirs in place: `chmod 700 \
                 {place}`; a mounted Secret is read with a `DirectorySource`"
            )));
        }
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Reads a file that is this user's, or root's, and not a link; `None` where there is none.
    pub(in crate::rotation::source) fn read(
        &self,
        name: &str,
        kept: Kept,
    ) -> Result<Option<Bytes>, KeyError> {
        let path = self.path.join(name);
        // What is no file must not make the open wait for another process.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => return Err(is_link(&path)),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let found = Owned::of(fstat(&file).map_err(|error| unreadable(&path, error))?);
        let place = path.display();
        if found.file_type != FileType::RegularFile {
            return Err(KeyError::unavailable(format!("{place} is no file")));
        }
        found.refuse_stranger(&path)?;
        let mode = found.mode;
        match kept {
            Kept::Secret if mode & 0o077 != 0 => Err(KeyError::unavailable(format!(
                "{place} holds a private key and is open to others, its mode is {mode:04o}: `chmod 600 {place}`, and \
                 replace the key if anybody may have read it"
            ))),
            Kept::Public if found.is_open_to_writers() => Err(KeyError::unavailable(format!(
                "others may write to {place}, its mode is {mode:04o}: `chmod 644 {place}`"
            ))),
            _ => look::read_all(File::from(file), place).map(Some),
        }
    }

    /// Puts a file in place, whole and on disk, unless one of this name is there already.
    pub(in crate::rotation::source) fn keep_first(
        &self,
        name: &str,
        text: &str,
        kept: Kept,
    ) -> Result<(), KeyError> {
        let failed = |error: io::Error| {
            KeyError::unavailable(format!("{} can't be written", self.path.join(name).display()))
                .because(error)
        };
        let draft = Draft { directory: &self.directory, name: draft_name()? };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(kept.mode().into());
        let file = openat(&self.directory, &draft.name, flags, mode).map_err(|error| failed(error.into()))?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        match linkat(&self.directory, &draft.name, &self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        drop(draft);
        // The name must survive a power cut, or the next start makes another key. Not every system opens directories.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let _ = openat(&self.directory, ".", flags, Mode::empty()).and_then(fsync);
        Ok(())
    }
}

/// A file that is gone when it has served.
struct Draft<'a> {
    directory: &'a OwnedFd,
    name: String,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(self.directory, &self.name, AtFlags::empty());
    }
}

/// Opens a directory, one name after the other, so that each link on the way is looked at before it is followed.
fn walk(path: &Path, make: bool) -> Result<Option<OwnedFd>, KeyError> {
    let failed = |error| unreadable(path, error);
    let start = |path: &Path| {
        let from = if path.is_absolute() { "/" } else { "." };
        openat(CWD, from, SEARCH, Mode::empty()).map_err(failed)
    };
    let mut at = start(path)?;
    // The next name comes last.
    let mut names = names_of(path);
    let mut detours = 0;
    while let Some(name) = names.pop() {
        match openat(&at, &name, SEARCH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => {
                at = next;
                continue;
            }
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(Errno::NOENT) => {
                match mkdirat(&at, &name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => {
                        let error = io::Error::from(error);
                        return Err(
                            KeyError::unavailable(format!("{} can't be made", path.display())).because(error)
                        );
                    }
                }
                names.push(name);
            }
            // A link, or no directory.
            Err(error @ (Errno::LOOP | Errno::MLINK | Errno::NOTDIR)) => {
                let target = readlinkat(&at, &name, Vec::new()).map_err(|_| failed(error))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                refuse_foreign_link(path, &at, &name)?;
                if target.is_absolute() {
                    at = start(&target)?;
                }
                names.extend(names_of(&target));
            }
            Err(error) => return Err(failed(error)),
        }
        detours += 1;
        if detours > MAX_DETOURS {
            return Err(failed(Errno::LOOP));
        }
    }
    Ok(Some(at))
}

fn names_of(path: &Path) -> Vec<OsString> {
    let named = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().rev().filter(named).map(|component| component.as_os_str().to_owned()).collect()
}

/// Whoever can replace a link says what is behind it.
fn refuse_foreign_link(path: &Path, at: &OwnedFd, name: &OsStr) -> Result<(), KeyError> {
    let failed = |error| unreadable(path, error);
    let around = Owned::of(fstat(at).map_err(failed)?);
    let link = Owned::of(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?);
    if around.is_strange() || around.is_open_to_writers() || link.is_strange() {
        return Err(KeyError::unavailable(format!(
            "the path {} leads through the symbolic link {name:?}, which others can replace: give the path behind it",
            path.display()
        )));
    }
    Ok(())
}

/// Whose something is, and who may use it.
struct Owned {
    owner: u32,
    mode: u32,
    file_type: FileType,
}

const ROOT: u32 = 0;

impl Owned {
    #[allow(clippy::useless_conversion, reason = "a mode has 16 bits on some systems")]
    fn of(found: Stat) -> Self {
        Self {
            owner: found.st_uid,
            mode: u32::from(found.st_mode) & 0o7777,
            file_type: FileType::from_raw_mode(found.st_mode),
        }
    }

    /// In a sticky directory nobody replaces another's file, but anybody may be the first to put one there.
    fn is_open_to_writers(&self) -> bool {
        self.mode & 0o022 != 0
    }

    /// Root may do anything anyway.
    fn is_strange(&self) -> bool {
        self.owner != geteuid().as_raw() && self.owner != ROOT
    }

    fn refuse_stranger(&self, path: &Path) -> Result<(), KeyError> {
        if self.is_strange() {
            let (place, owner, own) = (path.display(), self.owner, geteuid().as_raw());
            return Err(KeyError::unavailable(format!(
                "{place} belongs to user {owner}, who may change it, and this process is user {own}: `chown {own} {place}`"
            )));
        }
        Ok(())
    }
}

fn is_link(path: &Path) -> KeyError {
    KeyError::unavailable(format!(
        "{} is a symbolic link, and a generated key is not read through one: put the file itself there, or read it with a \
         `FileSource`",
        path.display()
    ))
}

fn unreadable(path: &Path, error: Errno) -> KeyError {
    look::unreadable(path, error.into())
}
