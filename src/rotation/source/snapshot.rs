//! What the sources that read files share: looking until two looks agree, and loading only what changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::keys::signing_key::SigningKey;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::turn::Turn;

/// More than any key or set of keys takes.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// How long a changed file must stay as it is to be taken for whole.
const SETTLE: Duration = Duration::from_millis(20);
const MAX_LOOKS: usize = 10;

/// How long a changed secret must stay as it is: half of it is a secret too, and nothing in it tells.
const SETTLE_SECRET: Duration = Duration::from_secs(1);
/// How often in a row it may change again until it is told.
const MAX_CHANGES: u32 = 3;

/// What has to agree for a change to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Two looks of one load: what is cut short does not parse, or it is replaced whole.
    AtOnce,
    /// Of each file by itself, every look of two loads that are a second apart or more: one that is written to all the time
    /// holds up no other. The first load of all has nothing to fall back on, and is settled at once.
    NextLoad,
}

impl Settled {
    pub(super) fn for_formats<'a>(mut formats: impl Iterator<Item = &'a KeyFormat>) -> Self {
        if formats.any(KeyFormat::is_bare_secret) { Self::NextLoad } else { Self::AtOnce }
    }
}

/// The bytes of a file, variable or output, which may be a secret.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// Something that was found, and where.
#[derive(Clone)]
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
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Default)]
struct Remembered {
    /// What was taken of what was found, and what it loaded as.
    loaded: Option<(Vec<Found>, KeySet)>,
    /// What is not taken yet, by its place.
    waiting: BTreeMap<PathBuf, Change>,
}

/// What is in a place now, or that nothing is.
struct Change {
    to: Option<Found>,
    since: Instant,
    /// How often it changed again.
    again: u32,
}

/// What was found may be a secret.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(..)")
    }
}

impl Memory {
    /// Looks until two looks in a row agree, and loads that; what loaded before is not loaded again. Until the change of a
    /// file is settled it counts as it was before; a change that does not load is an error at once.
    pub(super) fn load(
        &self,
        settled: Settled,
        mut look: impl FnMut() -> Result<Vec<Found>, KeyError>,
        load: impl Fn(&[Found]) -> Result<KeySet, KeyError>,
    ) -> Result<KeySet, KeyError> {
        let mut look = || look().inspect_err(|_| self.remembered().waiting.clear());
        let mut found = look()?;
        for _ in 0..MAX_LOOKS {
            if let Some(set) = self.remembered().known(&found) {
                return Ok(set);
            }
            thread::sleep(SETTLE);
            let again = look()?;
            if again == found {
                let taken = self.remembered().settle(&found, settled);
                let mut set = load(&found)?;
                if taken != found {
                    set = load(&taken)?;
                }
                return Ok(self.remembered().take(taken, set));
            }
            found = again;
        }
        Err(KeyError::unavailable("it changes each time it is looked at"))
    }

    /// Whether what loaded last has a signing key of which this is true.
    pub(super) fn signs_with(&self, is: impl FnOnce(&SigningKey) -> bool) -> bool {
        let remembered = self.remembered();
        remembered.loaded.as_ref().and_then(|(_, set)| set.signing.as_ref()).is_some_and(is)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn known(&mut self, found: &[Found]) -> Option<KeySet> {
        let set = self.loaded.as_ref().filter(|(taken, _)| taken == found).map(|(_, set)| set.clone())?;
        self.waiting.clear();
        Some(set)
    }

    /// What is to be taken of what was found just now: each place as it is, or as it was while its change waits.
    fn settle(&mut self, found: &[Found], settled: Settled) -> Vec<Found> {
        let before = std::mem::take(&mut self.waiting);
        let (Some((taken, _)), Settled::NextLoad) = (&self.loaded, settled) else { return found.to_vec() };
        let at = |files: &[Found], place: &Path| files.iter().find(|file| file.place == place).cloned();
        let mut settle = |place: &Path| {
            let (was, is) = (at(taken, place), at(found, place));
            if is == was {
                return was;
            }
            let change = Change::seen(before.get(place), is);
            if change.since.elapsed() >= SETTLE_SECRET {
                return change.to;
            }
            self.waiting.insert(place.to_owned(), change);
            was
        };
        let mut files: Vec<_> = found.iter().filter_map(|file| settle(&file.place)).collect();
        for (index, file) in taken.iter().enumerate() {
            if at(found, &file.place).is_none()
                && let Some(gone) = settle(&file.place)
            {
                // Where it was: the order of the keys stays.
                files.insert(index.min(files.len()), gone);
            }
        }
        files
    }

    fn take(&mut self, taken: Vec<Found>, mut set: KeySet) -> KeySet {
        self.loaded = Some((taken, set.clone()));
        let restless = self.waiting.iter().filter(|(_, change)| change.again >= MAX_CHANGES);
        set.skipped.extend(restless.map(|(place, _)| {
            let told = "it changes again and again, and counts as it was before until two loads see the same";
            KeyError::unavailable(told).at(place.display())
        }));
        set
    }
}

impl Change {
    fn seen(before: Option<&Self>, to: Option<Found>) -> Self {
        match before {
            Some(Self { to: seen, since, again }) if *seen == to => Self { to, since: *since, again: *again },
            Some(Self { again, .. }) => Self { to, since: Instant::now(), again: again.saturating_add(1) },
            None => Self { to, since: Instant::now(), again: 0 },
        }
    }
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
    KeyError::unavailable(format!("{} can't be read", path.display())).because(error)
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
