//! What the sources that read files share: snapshots of the files until two agree, and a cache of what loaded last.

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

use crate::error::unreadable as unreadable_text;
use crate::keys::error::KeyError;
use crate::keys::key_set::KeySet;
use crate::keys::signing_key::SigningKey;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::load_permits::LoadPermit;

/// More than any key or set of keys takes.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// How long a changed file must stay the same to count as completely written.
const SETTLE: Duration = Duration::from_millis(20);
const MAX_SNAPSHOTS: usize = 10;

/// How long a changed bare secret must stay the same. Half of a secret is a secret too, so parsing does not detect it.
const SETTLE_SECRET: Duration = Duration::from_secs(1);
/// A file that changes more often than this in a row is reported.
const MAX_CHANGES: u32 = 3;

/// When a change is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debounce {
    /// Once two snapshots of one load agree. It suffices if half a file does not parse, or if the files are replaced whole.
    WithinLoad,
    /// Once two loads, at least [`SETTLE_SECRET`] apart, find the same. Each file waits only for itself. The first load of a
    /// process has nothing to fall back on, so it uses what it finds.
    AcrossLoads,
}

impl Debounce {
    pub(super) fn for_formats<'a>(mut formats: impl Iterator<Item = &'a KeyFormat>) -> Self {
        if formats.any(KeyFormat::is_bare_secret) { Self::AcrossLoads } else { Self::WithinLoad }
    }
}

/// The bytes of a file, variable or output, which may be a secret.
pub(crate) type Bytes = Zeroizing<Vec<u8>>;

/// A file or a variable of a snapshot.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) place: PathBuf,
    pub(super) bytes: Bytes,
    /// Why it could not be read. The source continues without it.
    pub(super) error: Option<KeyError>,
}

impl Entry {
    pub(super) fn new(place: impl Into<PathBuf>, bytes: Bytes) -> Self {
        Self { place: place.into(), bytes, error: None }
    }

    pub(super) fn failed(place: impl Into<PathBuf>, error: KeyError) -> Self {
        Self { place: place.into(), bytes: Bytes::default(), error: Some(error) }
    }

    fn error_text(&self) -> String {
        self.error.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Two errors are equal if their texts are.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.bytes == other.bytes && self.error_text() == other.error_text()
    }
}

/// The key set that loaded last, and the snapshot that it was loaded from. Clones share it.
#[derive(Clone, Default)]
pub(super) struct LoadCache(Arc<Mutex<CacheState>>);

#[derive(Default)]
struct CacheState {
    loaded: Option<(Vec<Entry>, KeySet)>,
    /// Changes that are not used yet, by their place.
    pending: BTreeMap<PathBuf, Change>,
}

/// A change of one place.
struct Change {
    /// What is there now; `None` if it was removed.
    to: Option<Entry>,
    since: Instant,
    /// How often it changed again.
    again: u32,
}

/// The entries may hold secrets.
impl fmt::Debug for LoadCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadCache(..)")
    }
}

impl LoadCache {
    /// Takes snapshots until two in a row agree, and parses the last. An unchanged snapshot is not parsed again. A change that
    /// `debounce` holds back is replaced by what was there before. A change that does not parse is an error at once.
    pub(super) fn load(
        &self,
        debounce: Debounce,
        mut snapshot: impl FnMut() -> Result<Vec<Entry>, KeyError>,
        parse: impl Fn(&[Entry]) -> Result<KeySet, KeyError>,
    ) -> Result<KeySet, KeyError> {
        let mut snapshot = || snapshot().inspect_err(|_| self.state().pending.clear());
        let mut found = snapshot()?;
        for _ in 0..MAX_SNAPSHOTS {
            if let Some(set) = self.state().cached(&found) {
                return Ok(set);
            }
            thread::sleep(SETTLE);
            let again = snapshot()?;
            if again == found {
                let used = self.state().debounced(&found, debounce);
                let mut set = parse(&found)?;
                if used != found {
                    set = parse(&used)?;
                }
                return Ok(self.state().store(used, set));
            }
            found = again;
        }
        Err(KeyError::unavailable("it changes each time it is read"))
    }

    /// Whether `is` holds for the signing key that loaded last.
    pub(super) fn signs_with(&self, is: impl FnOnce(&SigningKey) -> bool) -> bool {
        let state = self.state();
        state.loaded.as_ref().and_then(|(_, set)| set.signing.as_ref()).is_some_and(is)
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheState {
    fn cached(&mut self, found: &[Entry]) -> Option<KeySet> {
        let set = self.loaded.as_ref().filter(|(used, _)| used == found).map(|(_, set)| set.clone())?;
        self.pending.clear();
        Some(set)
    }

    /// The entries to use: each place as it is now, or as it was if its change has to wait.
    fn debounced(&mut self, found: &[Entry], debounce: Debounce) -> Vec<Entry> {
        let before = std::mem::take(&mut self.pending);
        let (Some((used, _)), Debounce::AcrossLoads) = (&self.loaded, debounce) else {
            return found.to_vec();
        };
        let at = |files: &[Entry], place: &Path| files.iter().find(|file| file.place == place).cloned();
        let mut settle = |place: &Path| {
            let (was, is) = (at(used, place), at(found, place));
            if is == was {
                return was;
            }
            let change = Change::observed(before.get(place), is);
            if change.since.elapsed() >= SETTLE_SECRET {
                return change.to;
            }
            self.pending.insert(place.to_owned(), change);
            was
        };
        let mut files: Vec<_> = found.iter().filter_map(|file| settle(&file.place)).collect();
        for (index, file) in used.iter().enumerate() {
            if at(found, &file.place).is_none()
                && let Some(gone) = settle(&file.place)
            {
                // At its old index, so that the order of the keys stays the same.
                files.insert(index.min(files.len()), gone);
            }
        }
        files
    }

    fn store(&mut self, used: Vec<Entry>, mut set: KeySet) -> KeySet {
        self.loaded = Some((used, set.clone()));
        let unstable = self.pending.iter().filter(|(_, change)| change.again >= MAX_CHANGES);
        set.skipped.extend(unstable.map(|(place, _)| {
            let text = "it changes at every load; its previous content is used until two loads read the same";
            KeyError::unavailable(text).at(place.display())
        }));
        set
    }
}

impl Change {
    fn observed(before: Option<&Self>, to: Option<Entry>) -> Self {
        match before {
            Some(Self { to: last, since, again }) if *last == to => Self { to, since: *since, again: *again },
            Some(Self { again, .. }) => Self { to, since: Instant::now(), again: again.saturating_add(1) },
            None => Self { to, since: Instant::now(), again: 0 },
        }
    }
}

/// Reads a file of at most [`MAX_BYTES`]. Links are followed.
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
        Err(error) => Err(KeyError::unavailable(unreadable_text(place, &error)).because(error)),
    }
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> KeyError {
    KeyError::unavailable(unreadable_text(path.display(), &error)).because(error)
}

/// Runs work that blocks on files or programs on a thread for it, not on the runtime's own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            // The work continues if its caller is dropped, and holds the permit until it ends.
            let permit = LoadPermit::current();
            let work = move || {
                let _permit = permit;
                work()
            };
            runtime
                .spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(KeyError::unavailable("the load was cancelled").because(error)))
        }
        Err(_) => work(),
    }
}
