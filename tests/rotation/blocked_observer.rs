//! Observers and `tracing` subscribers that block or call back: nothing that protects waits for them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Once, OnceLock, mpsc};
use std::thread;

use tower_reissue::keys::{DirectorySource, KeyFormat, KeySet};
use tower_reissue::{KeyEvent, KeyRing};

use super::events::name_of;
use super::*;

/// Blocks everybody who waits for it, until it is dropped: for a time that fails the test.
struct Barrier {
    _held: mpsc::Sender<()>,
}

impl Barrier {
    fn new() -> (Self, impl Fn() + Send + Sync + 'static) {
        let (held, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let wait = move || {
            let _ = waits.lock().unwrap().recv_timeout(Duration::from_secs(30));
        };
        (Self { _held: held }, wait)
    }
}

/// Records nothing, and calls this for each event.
struct OnRecord<F>(F);

impl<F: Fn() + Send + Sync + 'static> tracing::Subscriber for OnRecord<F> {
    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        of.target() == "tower_reissue"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        (self.0)();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Calls this for what happens on this thread. A global subscriber enables every line, because `tracing` may take one for disabled if
/// a thread without a subscriber is the first to reach it.
fn on_record(act: impl Fn() + Send + Sync + 'static) -> tracing::subscriber::DefaultGuard {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| tracing::subscriber::set_global_default(OnRecord(|| ())).unwrap());
    tracing::subscriber::set_default(OnRecord(act))
}

/// On a runtime with one thread. The observer or the subscriber blocks on everything after the start.
#[tokio::test]
async fn whoever_hears_of_events_and_blocks_holds_up_no_load_and_no_withdrawal() {
    for blocks_in_log in [false, true] {
        let scratch = Scratch::new();
        write(&scratch.path("current"), &secret(1));
        write(&scratch.path("old"), &secret(2));
        write(&scratch.path("older"), &secret(3));
        let source = DirectorySource::new(scratch.dir(), "current", KeyFormat::secret(Algorithm::HS256));
        let (barrier, wait) = Barrier::new();
        let is_blocked = Arc::new(AtomicBool::new(false));
        let block = {
            let is_blocked = is_blocked.clone();
            move || {
                is_blocked.store(true, Ordering::SeqCst);
                wait();
            }
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = told.clone();
        let (in_log, in_observer) = if blocks_in_log { (Some(block), None) } else { (None, Some(block)) };
        let rotation = rotation(source).on_event(move |event| {
            let kids = |ring: &KeyRing| ring.kids().count();
            seen.lock().unwrap().push(match event {
                KeyEvent::Loaded { ring, .. } => return assert_eq!(kids(ring), 3),
                KeyEvent::Replaced { ring, .. } => format!("replaced {}", kids(ring)),
                event => name_of(event).to_owned(),
            });
            in_observer.iter().for_each(|block| block());
        });
        let keys = rotation.start().await.unwrap();
        let _subscriber = in_log.map(on_record);
        write(&scratch.path("short"), "x");
        eventually(|| is_blocked.load(Ordering::SeqCst)).await;

        write(&scratch.path("withdrawn"), secret_key(2).fingerprint());
        let held = || keys.current().kids().map(str::to_owned).collect::<Vec<_>>();
        eventually(|| held() == [secret_key(1).kid(), secret_key(3).kid()]).await;
        assert!(keys.withdraw(secret_key(3).kid()));
        write(&scratch.path("current"), &secret(4));
        signs_with(&keys, &secret_key(4)).await;
        let before = usize::from(!blocks_in_log);
        assert_eq!(told.lock().unwrap().len(), before, "{told:?}");
        drop(barrier);
        reported(|| told.lock().unwrap().len() >= 3);
        assert_eq!(told.lock().unwrap()[..3], ["skipped", "replaced 2", "replaced 1"]);
    }
}

#[tokio::test]
async fn an_observer_that_blocks_misses_the_oldest_events_and_is_told_how_many() {
    const WAITING: usize = 256;
    let more = 40;
    let count = 1 + more + WAITING;
    let all = (1..=count).fold(KeySet::signing(secret_key(0)), |set, n| set.retiring(secret_key(n)));
    let (barrier, wait) = Barrier::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let rotation = KeyRotation::new(all).on_event(move |event| {
        // An observer can spawn tasks.
        drop(tokio::spawn(async {}));
        seen.lock().unwrap().push(match event {
            KeyEvent::Loaded { .. } => return,
            KeyEvent::Replaced { ring, .. } => ring.kids().count(),
            KeyEvent::Unreported { count, .. } => 1_000 + usize::try_from(*count).unwrap(),
            other => panic!("{other:?}"),
        });
        wait();
    });
    let keys = rotation.start().await.unwrap();
    assert!(keys.withdraw(secret_key(1).kid()));
    reported(|| told.lock().unwrap().len() == 1);
    for n in 2..=count {
        assert!(keys.withdraw(secret_key(n).kid()));
    }
    drop((keys, barrier));
    // What waits is reported, and the thread ends.
    reported(|| Arc::strong_count(&told) == 1);
    let expected: Vec<_> = [count, 1_000 + more].into_iter().chain((1..=WAITING).rev()).collect();
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn whoever_hears_of_a_withdrawal_can_withdraw_another_key() {
    let withdrawing = |keys: Arc<OnceLock<Keys>>| {
        move || {
            if let Some(keys) = keys.get() {
                keys.withdraw(secret_key(3).kid());
            }
        }
    };
    let withdraws = |keys: Keys| {
        let withdrawn = Arc::new(AtomicBool::new(false));
        let is_withdrawn = withdrawn.clone();
        let ring = keys.clone();
        let subscriber = tracing::dispatcher::get_default(Clone::clone);
        thread::spawn(move || {
            tracing::dispatcher::with_default(&subscriber, || keys.withdraw(secret_key(2).kid()));
            withdrawn.store(true, Ordering::SeqCst);
        });
        reported(|| is_withdrawn.load(Ordering::SeqCst));
        reported(|| ring.current().kids().collect::<Vec<_>>() == [secret_key(1).kid()]);
    };
    let keys = Arc::new(OnceLock::new());
    let act = withdrawing(keys.clone());
    let set = KeySet::signing(secret_key(1)).retiring(secret_key(2)).retiring(secret_key(3));
    let managed = KeyRotation::new(set).on_event(move |_| act()).start().await.unwrap();
    withdraws(keys.get_or_init(|| managed).clone());

    let keys = Arc::new(OnceLock::new());
    let _subscriber = on_record(withdrawing(keys.clone()));
    let ring = KeyRing::new(secret_key(1)).retiring(secret_key(2)).unwrap().retiring(secret_key(3)).unwrap();
    withdraws(keys.get_or_init(|| Keys::from(ring)).clone());
}
