//! What the sources that read files share: looking until two looks agree, and loading only what changed.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{KeySet, Turn};
use crate::keys::KeyError;
use crate::keys::backend::sha256;

/// More than any key or set of keys takes.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// How long a changed file must stay as it is to be taken for whole: a secret cut in half can be a secret too.
const SETTLE: Duration = Duration::from_millis(20);
const MAX_LOOKS: usize = 10;

/// The bytes of a file, variable or output, which may be a secret.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// Something that was found, and where.
pub(super) struct Found {
    pub(super) place: PathBuf,
    pub(super) bytes: Bytes,
    /// Why it could not be read, where a source goes on without it.
    pub(super) unread: Option<KeyError>,
}

impl Found {
    pub(super) fn new(place: impl Into<PathBuf>, bytes: Bytes) -> Self {
        Self { place: place.into(), bytes, unread: None }
    }

    pub(super) fn unread(place: impl Into<PathBuf>, error: KeyError) -> Self {
        Self { place: place.into(), bytes: Bytes::default(), unread: Some(error) }
    }

    fn unread_because(&self) -> String {
        self.unread.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// An error is the same one where it says the same.
impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
            && self.bytes == other.bytes
            && self.unread_because() == other.unread_because()
    }
}

/// The last thing that loaded, and what it was loaded from. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Option<Loaded>>>);

/// The digest of what was found, and what it loaded as.
type Loaded = ([u8; 32], KeySet);

/// A digest of a secret would let it be guessed at.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(..)")
    }
}

impl Memory {
    /// Looks until two looks in a row agree, and loads that; what loaded before is not loaded again.
    pub(super) fn load(
        &self,
        mut look: impl FnMut() -> Result<Vec<Found>, KeyError>,
        load: impl FnOnce(&[Found]) -> Result<KeySet, KeyError>,
    ) -> Result<KeySet, KeyError> {
        let mut found = look()?;
        for _ in 0..MAX_LOOKS {
            let digest = digest(&found);
            if let Some(set) = self.known(&digest) {
                return Ok(set);
            }
            thread::sleep(SETTLE);
            let again = look()?;
            if again == found {
                let set = load(&found)?;
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, set.clone()));
                return Ok(set);
            }
            found = again;
        }
        Err(KeyError::unavailable("it changes each time it is looked at"))
    }

    fn known(&self, digest: &[u8; 32]) -> Option<KeySet> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.as_ref().filter(|(known, _)| known == digest).map(|(_, set)| set.clone())
    }
}

fn digest(found: &[Found]) -> [u8; 32] {
    let parts: Zeroizing<Vec<u8>> = Zeroizing::new(
        found
            .iter()
            .flat_map(|found| {
                [
                    sha256(found.place.as_os_str().as_encoded_bytes()),
                    sha256(&found.bytes),
                    sha256(found.unread_because().as_bytes()),
                ]
                .concat()
            })
            .collect(),
    );
    sha256(&parts)
}

/// A whole file, symlinks followed, of at most [`MAX_BYTES`].
pub(super) fn read(path: &Path) -> Result<Bytes, KeyError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    read_all(file, path.display())
}

pub(super) fn read_all(from: impl std::io::Read, place: impl std::fmt::Display) -> Result<Bytes, KeyError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = from.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 > MAX_BYTES => Err(KeyError::unavailable(format!(
            "{place} holds more than {MAX_BYTES} bytes: no key is that long"
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(KeyError::unavailable(format!("{place} can't be read")).because(error)),
    }
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> KeyError {
    KeyError::unavailable(format!("{} can't be read: {error}", path.display())).because(error)
}

/// Runs what waits for files or programs where it may: off the runtime's own threads.
pub(super) async fn blocking(
    work: impl FnOnce() -> Result<KeySet, KeyError> + Send + 'static,
) -> Result<KeySet, KeyError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            // It goes on when nobody waits for it any more, and keeps the source's turn for as long.
            let turn = Turn::current();
            let work = move || {
                let _turn = turn;
                work()
            };
            runtime
                .spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(KeyError::unavailable("the load was broken off").because(error)))
        }
        Err(_) => work(),
    }
}
