//! [`PrivateDirectory`]: a directory that only this process's user can write to, and the files in it.
//!
//! What is checked is what is used. On Unix the directory is opened once, each file in it is opened through that
//! descriptor without following a link, and owner, mode and type are those of the opened file: nobody can put another in
//! its place between the check and the use. Elsewhere modes mean nothing, and nothing is checked.
//!
//! On the way to the directory a symbolic link is followed only where root or this user alone can have put it there: it
//! belongs to one of them, and so does the directory that holds it, which nobody else may write to. A directory on the
//! way that others may write to is no objection by itself (the root of a volume with a Kubernetes `fsGroup` is one): a
//! directory of theirs in place of the right one is refused for its owner, and a link of theirs is not followed.
//!
//! Hard links are not counted: making one takes writing to the directory, and while a key is put in place it has two.

#[cfg(any(not(unix), assume_not_unix))]
mod portable;
#[cfg(all(unix, not(assume_not_unix)))]
mod unix;

#[cfg(any(not(unix), assume_not_unix))]
pub(super) use crate::rotation::source::private_directory::portable::PrivateDirectory;
#[cfg(all(unix, not(assume_not_unix)))]
pub(super) use crate::rotation::source::private_directory::unix::PrivateDirectory;

/// What is kept in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// For its owner alone.
    Secret,
    /// For everybody to read.
    Public,
}

impl Kept {
    /// The mode of a new file, as far as the umask goes.
    #[cfg(all(unix, not(assume_not_unix)))]
    fn mode(self) -> u16 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// A name for a file that is not whole yet: of two processes, each has its own.
fn draft_name() -> Result<String, crate::keys::KeyError> {
    let random: [u8; 12] = crate::crypto::random().map_err(|error| {
        crate::keys::KeyError::new(crate::keys::KeyErrorKind::Randomness, "no random bytes to name a file")
            .because(error)
    })?;
    Ok(format!(".key-{}", crate::jose::base64::encode_url(random)))
}
