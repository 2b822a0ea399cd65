//! Sources and observers that panic, and loads that never end.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::sync::{Arc, Mutex};

use tower_reissue::KeyEvent;
use tower_reissue::keys::{FileSource, KeyError, KeyFormat, KeySet, KeySource};

use super::*;

/// Panics where it is told to, and counts how often it is asked.
#[derive(Clone, Default)]
struct Fragile(Arc<Mutex<(usize, Option<usize>)>>);

impl Fragile {
    fn hold(&self, key: Option<usize>) {
        self.0.lock().unwrap().1 = key;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().0
    }
}

impl KeySource for Fragile {
    fn describe(&self) -> String {
        "a fragile source".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let holds = {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            state.1
        };
        Ok(KeySet::signing(secret_key(holds.expect("the secret of the source: hunter2"))))
    }
}

/// The failures that were told.
fn failures(rotation: KeyRotation) -> (KeyRotation, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let rotation = rotation.on_event(move |event| {
        if let KeyEvent::LoadFailed { source, error, .. } = event {
            seen.lock().unwrap().push(format!("{source}: {error}"));
        }
    });
    (rotation, told)
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_told_and_asked_again_while_the_old_keys_serve() {
    let (own, foreign) = (Fragile::default(), Fragile::default());
    own.hold(Some(1));
    foreign.hold(Some(2));
    let rotation = KeyRotation::new(own.clone()).trust("https://partner.example", foreign.clone());
    let (rotation, told) = failures(rotation);
    let keys = rotation.start().await.unwrap();
    for source in [&own, &foreign] {
        source.hold(None);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(own.asked() >= 6 && foreign.asked() >= 3, "{} {}", own.asked(), foreign.asked());
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(1).kid(), secret_key(2).kid()]);
    reported(|| told.lock().unwrap().len() >= 8);
    let told = told.lock().unwrap().clone();
    assert!(told.iter().all(|line| line.starts_with("a fragile source") && line.contains("panicked")));
    assert!(!told.concat().contains("hunter2"));

    own.hold(Some(3));
    foreign.hold(Some(4));
    tokio::time::sleep(Duration::from_secs(70)).await;
    let held: Vec<_> = keys.current().kids().map(str::to_owned).collect();
    assert_eq!(held, [secret_key(3).kid(), secret_key(1).kid(), secret_key(4).kid()]);

    let at_the_start = Fragile::default();
    let error = KeyRotation::new(at_the_start).start().await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_ends_neither_the_rotation_nor_a_request() {
    let own = Fragile::default();
    own.hold(Some(1));
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let keys = KeyRotation::new(own.clone())
        .on_event(move |_| panic!("event {}", count.fetch_add(1, Ordering::SeqCst)))
        .start()
        .await
        .unwrap();
    for n in 2..5 {
        own.hold(Some(n));
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(keys.current().kids().next(), Some(secret_key(n).kid()));
    }
    assert!(keys.withdraw(secret_key(2).kid()));
    assert!(!keys.current().kids().any(|kid| kid == secret_key(2).kid()));
    // Loaded, replaced three times, withdrawn.
    reported(|| seen.load(Ordering::SeqCst) == 1 + 3 + 1);
}

/// A clock that fails for a while.
#[tokio::test(start_paused = true)]
async fn a_round_that_panics_is_told_and_the_next_one_goes_on() {
    let own = Fragile::default();
    own.hold(Some(1));
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clock = {
        let fails = fails.clone();
        move || {
            assert!(!fails.load(Ordering::SeqCst), "no time");
            tower_reissue::NumericDate::from_secs(support::NOW)
        }
    };
    let (rotation, told) = failures(KeyRotation::new(own.clone()).clock(clock));
    let keys = rotation.start().await.unwrap();
    own.hold(Some(2));
    fails.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(keys.current().kids().next(), Some(secret_key(1).kid()));
    reported(|| told.lock().unwrap().len() == 2);
    let told = told.lock().unwrap().clone();
    assert!(told[0].contains("a round panicked"), "{told:?}");
    fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(keys.current().kids().next(), Some(secret_key(2).kid()));
}

/// Takes the place of a file, and lets go of whoever hangs on it, also where the test fails.
struct Pipe<'a>(&'a Path);

impl<'a> Pipe<'a> {
    fn in_place_of(path: &'a Path) -> Self {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        Self(path)
    }

    /// What was opened long ago reads this, and what is opened from now on finds a file with it.
    fn answer(self, text: &str) {
        let mut pipe = self.open();
        fs::remove_file(self.0).unwrap();
        write(self.0, text);
        pipe.write_all(text.as_bytes()).unwrap();
    }

    fn open(&self) -> File {
        // For reading too: so it waits for nobody.
        OpenOptions::new().read(true).write(true).open(self.0).unwrap()
    }
}

impl Drop for Pipe<'_> {
    fn drop(&mut self) {
        if fs::metadata(self.0).is_ok_and(|data| data.file_type().is_fifo()) {
            let _pipe = self.open();
            let _ = fs::remove_file(self.0);
        }
    }
}

/// Opening a pipe that nobody writes to blocks its thread, as a network file system that is gone does.
#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_the_only_one_of_its_source_and_is_told_until_it_ends() {
    let scratch = Scratch::new();
    let (own, foreign) = (scratch.path("own"), scratch.path("foreign"));
    let asked = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let source =
        |path: &Path, n: usize| CountedFile(FileSource::new(path, KeyFormat::jwk()), asked[n].clone());
    write(&own, &jwk(1));
    write(&foreign, &jwk(2));
    let rotation = KeyRotation::new(source(&own, 0)).trust("https://partner.example", source(&foreign, 1));
    let (rotation, told) = failures(rotation);
    let keys = rotation.start().await.unwrap();
    let pipes = [&own, &foreign].map(|path| Pipe::in_place_of(path));
    let asked = || asked.each_ref().map(|asked| asked.load(Ordering::SeqCst));
    // While a thread of the runtime is blocked, time does not pass by itself.
    for _ in 0..300 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(asked(), [2, 2], "a second load began beside the one that hangs");
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(1).kid(), secret_key(2).kid()]);
    for path in [&own, &foreign] {
        let name = path.display().to_string();
        let lines = |text: &str| {
            let told = told.lock().unwrap();
            told.iter().filter(|line| line.contains(&name) && line.contains(text)).count()
        };
        reported(|| {
            lines("an earlier load hangs and can't be cancelled; no other one begins before it ends") > 3
        });
        assert_eq!(lines("no answer within 15 s"), 1, "{told:?}");
    }

    // The file system answers again: what was opened long ago ends, and a new load begins.
    for (pipe, n) in pipes.into_iter().zip([3, 4]) {
        pipe.answer(&jwk(n));
    }
    let is_new = || {
        let ring = keys.current();
        let held: Vec<_> = ring.kids().collect();
        held.contains(&secret_key(3).kid()) && held.contains(&secret_key(4).kid())
    };
    for _ in 0..20_000 {
        if is_new() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_new());
    assert_eq!(keys.current().kids().next(), Some(secret_key(3).kid()));
}
