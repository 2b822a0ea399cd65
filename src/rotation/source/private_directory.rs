//! [`PrivateDirectory`]: a directory that only this process's user can write to, and the files in it.
//!
//! On Unix the checks and the use concern the same file. The directory is opened once, each file in it is opened through that
//! descriptor without following links, and owner, mode and type are read from the opened file. So nobody can replace a file
//! between the check and the use. Other systems have no such modes, and nothing is checked there.
//!
//! A symbolic link on the path to the directory is followed only if nobody but root or this user can have created it: the link
//! and the directory that holds it belong to one of them, and nobody else may write to that directory. Other directories on the
//! path may be writable by others (the root of a volume with a Kubernetes `fsGroup` is): a directory that they put in place of
//! the right one is refused because of its owner, and their links are not followed.
//!
//! Hard links are not counted. Making one requires write access to the directory, and a key has two while it is created.

#[cfg(any(not(unix), assume_not_unix))]
mod portable;
#[cfg(all(unix, not(assume_not_unix)))]
mod unix;

#[cfg(any(not(unix), assume_not_unix))]
pub(super) use crate::rotation::source::private_directory::portable::{PrivateDirectory, read_unreplaceable};
#[cfg(all(unix, not(assume_not_unix)))]
pub(super) use crate::rotation::source::private_directory::unix::{PrivateDirectory, read_unreplaceable};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Its owner alone.
    Secret,
    /// Everybody.
    Public,
}

impl Visibility {
    /// The mode of a new file, before the umask.
    #[cfg(all(unix, not(assume_not_unix)))]
    fn mode(self) -> u16 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// A random name for a file that is being written, so that two processes do not share one.
fn draft_name() -> Result<String, crate::keys::KeyError> {
    let random: [u8; 12] = crate::crypto::random().map_err(|error| {
        crate::keys::KeyError::new(crate::keys::KeyErrorKind::Randomness, "no random bytes to name a file")
            .because(error)
    })?;
    Ok(format!(".key-{}", crate::jose::base64::encode_url(random)))
}
