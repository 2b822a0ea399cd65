//! Whether a private key lies where only its owner can read and replace it.
//!
//! Of Unix permissions alone: what an access list of another system says is not looked at.

use std::path::Path;

use crate::keys::KeyError;

/// The key's file may be read by its owner alone, and its directory be written to by its owner alone.
#[cfg(all(unix, not(assume_not_unix)))]
pub(super) fn refuse_open_key(path: &Path) -> Result<(), KeyError> {
    let own = unix::own_uid()?;
    unix::refuse_readable(path, own)?;
    // The file may be a link: whoever writes to either directory puts a key of theirs in its place.
    let real = path.canonicalize().map_err(|error| super::look::unreadable(path, error))?;
    [path, &real]
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(|parent| unix::refuse_writable(parent, own))
}

/// As for the key's: before there is one.
#[cfg(all(unix, not(assume_not_unix)))]
pub(super) fn refuse_open_directory(path: &Path) -> Result<(), KeyError> {
    unix::refuse_writable(path, unix::own_uid()?)
}

#[cfg(any(not(unix), assume_not_unix))]
pub(super) fn refuse_open_key(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(any(not(unix), assume_not_unix))]
pub(super) fn refuse_open_directory(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(all(unix, not(assume_not_unix)))]
mod unix {
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use super::super::look;
    use crate::keys::KeyError;

    const OTHERS: u32 = 0o077;
    const OTHERS_WRITE: u32 = 0o022;
    /// In such a directory an entry is replaced by its owner alone.
    const STICKY: u32 = 0o1000;
    const ROOT: u32 = 0;

    /// The user that this process acts as: a pipe is its maker's.
    pub(super) fn own_uid() -> Result<u32, KeyError> {
        let uid = || Ok::<_, std::io::Error>(File::from(OwnedFd::from(std::io::pipe()?.0)).metadata()?.uid());
        uid().map_err(|error| {
            KeyError::unavailable(format!("which user this process runs as can't be known: {error}"))
                .because(error)
        })
    }

    pub(super) fn refuse_readable(path: &Path, own: u32) -> Result<(), KeyError> {
        let (mode, owner) = looked_at(path)?;
        refuse_strange(path, owner, own)?;
        if mode & OTHERS != 0 {
            let place = path.display();
            return Err(KeyError::unavailable(format!(
                "{place} holds a private key and is open to others, its mode is {mode:04o}: `chmod 600 {place}`, and \
                 replace the key if anybody may have read it"
            )));
        }
        Ok(())
    }

    pub(super) fn refuse_writable(directory: &Path, own: u32) -> Result<(), KeyError> {
        // The parent of a bare name.
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.into() };
        let (mode, owner) = looked_at(&directory)?;
        refuse_strange(&directory, owner, own)?;
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            let place = directory.display();
            return Err(KeyError::unavailable(format!(
                "others may write to {place}, its mode is {mode:04o}, and put a key of theirs in place: `chmod 700 {place}`"
            )));
        }
        Ok(())
    }

    fn refuse_strange(path: &Path, owner: u32, own: u32) -> Result<(), KeyError> {
        if owner != own && owner != ROOT {
            let place = path.display();
            return Err(KeyError::unavailable(format!(
                "{place} belongs to user {owner}, who may change it, and this process is user {own}: `chown {own} {place}`"
            )));
        }
        Ok(())
    }

    fn looked_at(path: &Path) -> Result<(u32, u32), KeyError> {
        let data = fs::metadata(path).map_err(|error| look::unreadable(path, error))?;
        Ok((data.mode() & 0o7777, data.uid()))
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use std::os::unix::fs::chown;

        use super::*;

        #[test]
        fn the_own_user_is_the_one_that_files_are_made_as() {
            let file = tempfile::NamedTempFile::new().unwrap();
            let path = file.path();
            let owner = fs::metadata(path).unwrap().uid();
            assert_eq!(own_uid().unwrap(), owner);

            // Another user's file, to a process that is not root: root's own would be anybody's to trust.
            let (owner, own) = if owner == ROOT {
                chown(path, Some(4242), None).unwrap();
                (4242, ROOT)
            } else {
                (owner, owner + 1)
            };
            for refused in [refuse_readable(path, own), refuse_writable(path, own)] {
                let told = refused.unwrap_err().to_string();
                let place = path.display();
                assert!(told.contains(&format!("belongs to user {owner}")), "{told}");
                assert!(told.contains(&format!("`chown {own} {place}`")), "{told}");
            }
            // Root may do anything anyway.
            assert!(refuse_writable(Path::new("/"), 4242).is_ok());
        }
    }
}
