//! [`PrivateDirectory`] on Unix: by descriptors, with the checks.

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
use crate::rotation::source::private_directory::Visibility;
use crate::rotation::source::private_directory::draft_name;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::Bytes;

pub(in crate::rotation::source) struct PrivateDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

/// Opens a directory on the path. It need not be readable on systems that have `O_PATH`.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const SEARCH: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::PATH);
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const SEARCH: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Opens a file to read. NONBLOCK: opening a named pipe would wait for another process.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The most links that are followed and directories that are created, together. Linux follows as many links.
const MAX_STEPS: usize = 40;

impl PrivateDirectory {
    /// `None` if it does not exist.
    pub(in crate::rotation::source) fn open(path: &Path) -> Result<Option<Self>, KeyError> {
        match walk(path, false)? {
            Some(directory) => Self::checked(path, directory).map(Some),
            None => Ok(None),
        }
    }

    /// Opens it, and creates the missing directories of its path, for this user alone.
    pub(in crate::rotation::source) fn create(path: &Path) -> Result<Self, KeyError> {
        let directory = walk(path, true)?.ok_or_else(|| unreadable(path, Errno::NOENT))?;
        Self::checked(path, directory)
    }

    fn checked(path: &Path, directory: OwnedFd) -> Result<Self, KeyError> {
        let found = Attributes::of(fstat(&directory).map_err(|error| unreadable(path, error))?);
        found.refuse_foreign(path)?;
        if found.is_writable_by_others() {
            let (place, mode) = (path.display(), found.mode);
            return Err(KeyError::unavailable(format!(
                "others may write to {place} (its mode is {mode:04o}) and replace the key: `chmod 700 \
                 {place}`; a mounted Secret is read with a `DirectorySource`"
            )));
        }
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Reads a file that belongs to this user or root and is not a link. `None` if it does not exist.
    pub(in crate::rotation::source) fn read(
        &self,
        name: &str,
        visibility: Visibility,
    ) -> Result<Option<Bytes>, KeyError> {
        let path = self.path.join(name);
        let file = match openat(&self.directory, name, FILE | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => return Err(is_link(&path)),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let found = Attributes::of(fstat(&file).map_err(|error| unreadable(&path, error))?);
        let place = path.display();
        if found.file_type != FileType::RegularFile {
            return Err(KeyError::unavailable(format!("{place} is not a regular file")));
        }
        found.refuse_foreign(&path)?;
        let mode = found.mode;
        match visibility {
            Visibility::Secret if mode & 0o077 != 0 => Err(KeyError::unavailable(format!(
                "others can read the private key in {place} (its mode is {mode:04o}): `chmod 600 {place}`, and replace the \
                 key if anybody may have read it"
            ))),
            Visibility::Public if found.is_writable_by_others() => Err(KeyError::unavailable(format!(
                "others may write to {place} (its mode is {mode:04o}): `chmod 644 {place}`"
            ))),
            _ => snapshot::read_all(File::from(file), place).map(Some),
        }
    }

    /// Creates a file as a whole and synced to disk, unless one of this name exists.
    pub(in crate::rotation::source) fn create_file(
        &self,
        name: &str,
        text: &str,
        visibility: Visibility,
    ) -> Result<(), KeyError> {
        let failed = |error: io::Error| {
            KeyError::unavailable(format!("{} can't be written", self.path.join(name).display()))
                .because(error)
        };
        let draft = Draft { directory: &self.directory, name: draft_name()? };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(visibility.mode().into());
        let file = openat(&self.directory, &draft.name, flags, mode).map_err(|error| failed(error.into()))?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        match linkat(&self.directory, &draft.name, &self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
        drop(draft);
        // The name must survive a power cut, or the next start generates another key. Errors are ignored, because not every
        // system can open a directory for this.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let _ = openat(&self.directory, ".", flags, Mode::empty()).and_then(fsync);
        Ok(())
    }
}

/// A file under a temporary name, which is removed on drop.
struct Draft<'a> {
    directory: &'a OwnedFd,
    name: String,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(self.directory, &self.name, AtFlags::empty());
    }
}

/// Opens a directory name by name, so that each link on the path is checked before it is followed.
fn walk(path: &Path, create: bool) -> Result<Option<OwnedFd>, KeyError> {
    let failed = |error| unreadable(path, error);
    let start = |path: &Path| {
        let from = if path.is_absolute() { "/" } else { "." };
        openat(CWD, from, SEARCH, Mode::empty()).map_err(failed)
    };
    let mut at = start(path)?;
    // The next name comes last.
    let mut names = names_of(path);
    let mut steps = 0;
    while let Some(name) = names.pop() {
        match openat(&at, &name, SEARCH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => {
                at = next;
                continue;
            }
            Err(Errno::NOENT) if !create => return Ok(None),
            Err(Errno::NOENT) => {
                match mkdirat(&at, &name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => {
                        let error = io::Error::from(error);
                        return Err(KeyError::unavailable(format!("{} can't be created", path.display()))
                            .because(error));
                    }
                }
                names.push(name);
            }
            // A link, or not a directory.
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
        steps += 1;
        if steps > MAX_STEPS {
            return Err(failed(Errno::LOOP));
        }
    }
    Ok(Some(at))
}

fn names_of(path: &Path) -> Vec<OsString> {
    let named = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().rev().filter(named).map(|component| component.as_os_str().to_owned()).collect()
}

/// Refuses a link that others can replace, because they choose its target.
fn refuse_foreign_link(path: &Path, at: &OwnedFd, name: &OsStr) -> Result<(), KeyError> {
    let failed = |error| unreadable(path, error);
    let parent = Attributes::of(fstat(at).map_err(failed)?);
    let link = Attributes::of(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?);
    if parent.is_foreign() || parent.is_writable_by_others() || link.is_foreign() {
        return Err(KeyError::unavailable(format!(
            "the path {} leads through the symbolic link {name:?}, which others can replace: configure the path that it names",
            path.display()
        )));
    }
    Ok(())
}

/// Reads a file that nobody but root or this user can replace. Links are followed.
///
/// Every directory on the path, every link and the file must belong to root or this user, and nobody else may write to the
/// directories and the file. A sticky directory may be open to others, because they can't replace what is in it: the root of a
/// Secret's volume in Kubernetes is one. Others may read the file.
pub(in crate::rotation::source) fn read_unreplaceable(path: &Path) -> Result<Bytes, KeyError> {
    let failed = |error: Errno| unreadable(path, error);
    let checked = |found: Attributes, place: &Path| {
        // A link has no mode of its own.
        let is_open = found.file_type != FileType::Symlink
            && found.is_writable_by_others()
            && !found.is_sticky_directory();
        if !found.is_foreign() && !is_open {
            return Ok(());
        }
        Err(KeyError::unavailable(format!(
            "others can replace {}, or what its links lead to: {} belongs to user {} and has the mode {:04o}; root or this \
             process's user must own the file, its links and every directory on the way, and nobody else may write there",
            path.display(),
            place.display(),
            found.owner,
            found.mode
        )))
    };
    let opened = |from: &OwnedFd, name: &OsStr, flags: OFlags, place: &Path| {
        let opened = openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        checked(Attributes::of(fstat(&opened).map_err(failed)?), place).map(|()| opened)
    };
    let start = |path: &Path| {
        let from = if path.is_absolute() { "/" } else { "." };
        let directory = openat(CWD, from, SEARCH, Mode::empty()).map_err(failed)?;
        checked(Attributes::of(fstat(&directory).map_err(failed)?), Path::new(from))?;
        Ok::<_, KeyError>((directory, PathBuf::from(from)))
    };
    let (mut at, mut place) = start(path)?;
    let mut names = names_of(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let next = place.join(&name);
        let found = Attributes::of(statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?);
        match found.file_type {
            FileType::Symlink => {
                checked(found, &next)?;
                links += 1;
                if links > MAX_STEPS {
                    return Err(failed(Errno::LOOP));
                }
                let target = readlinkat(&at, &name, Vec::new()).map_err(failed)?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    (at, place) = start(&target)?;
                }
                names.extend(names_of(&target));
            }
            FileType::RegularFile if names.is_empty() => {
                let file = opened(&at, &name, FILE, &next)?;
                return snapshot::read_all(File::from(file), path.display());
            }
            FileType::Directory => {
                at = opened(&at, &name, SEARCH, &next)?;
                place = next;
            }
            _ => break,
        }
    }
    Err(KeyError::unavailable(format!("{} is not a regular file", path.display())))
}

/// Owner, mode and type of a file or directory.
struct Attributes {
    owner: u32,
    mode: u32,
    file_type: FileType,
}

const ROOT: u32 = 0;

impl Attributes {
    #[allow(clippy::useless_conversion, reason = "a mode has 16 bits on some systems")]
    fn of(found: Stat) -> Self {
        Self {
            owner: found.st_uid,
            mode: u32::from(found.st_mode) & 0o7777,
            file_type: FileType::from_raw_mode(found.st_mode),
        }
    }

    /// A sticky directory counts: others can't replace a file in it, but they can create one first.
    fn is_writable_by_others(&self) -> bool {
        self.mode & 0o022 != 0
    }

    /// Others can't replace what is in it.
    fn is_sticky_directory(&self) -> bool {
        self.file_type == FileType::Directory && self.mode & 0o1000 != 0
    }

    /// Root is not foreign: it can do anything anyway.
    fn is_foreign(&self) -> bool {
        self.owner != geteuid().as_raw() && self.owner != ROOT
    }

    fn refuse_foreign(&self, path: &Path) -> Result<(), KeyError> {
        if self.is_foreign() {
            let (place, owner, own) = (path.display(), self.owner, geteuid().as_raw());
            return Err(KeyError::unavailable(format!(
                "{place} belongs to user {owner}, who can change it; this process is user {own}: `chown {own} {place}`"
            )));
        }
        Ok(())
    }
}

fn is_link(path: &Path) -> KeyError {
    KeyError::unavailable(format!(
        "{} is a symbolic link; a generated key is not read through one. Put the file itself there, or read it with a \
         `FileSource`",
        path.display()
    ))
}

fn unreadable(path: &Path, error: Errno) -> KeyError {
    snapshot::unreadable(path, error.into())
}
