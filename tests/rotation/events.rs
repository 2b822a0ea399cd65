//! Events about keys: how many there are, and that nothing waits for whoever hears them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Once, OnceLock, mpsc};
use std::thread;

use tower_reissue::keys::{DirectorySource, KeyError, KeyFormat, KeySet, KeySource};
use tower_reissue::{KeyEvent, KeyRing};

use super::*;

const A: &str = "https://a.example";

/// Gives these answers, each by its number.
struct Turning<F>(AtomicUsize, F);

impl<F: Fn(usize) -> Result<KeySet, KeyError> + Send + Sync + 'static> KeySource for Turning<F> {
    fn describe(&self) -> String {
        "a source that turns".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        (self.1)(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

fn turning(answer: impl Fn(usize) -> Result<KeySet, KeyError> + Send + Sync + 'static) -> impl KeySource {
    Turning(AtomicUsize::new(0), answer)
}

fn issuer(source: impl KeySource) -> KeyRotation {
    KeyRotation::verify_only().trust(A, source)
}

fn own(source: impl KeySource) -> KeyRotation {
    KeyRotation::new(source)
}

fn verifying(n: usize) -> KeySet {
    KeySet::verifying([secret_key(n).into()])
}

/// This set, and so many keys beside it that don't load.
fn broken(load: usize, count: usize, mut set: KeySet) -> Result<KeySet, KeyError> {
    let keys = (0..count).map(|n| format!(r#"{{"kty":"future","kid":"{load}-{n}"}}"#));
    let good = SigningKey::generate(Algorithm::EdDSA).unwrap().verifying_key().to_jwk().unwrap();
    let keys: Vec<_> = keys.chain([good]).collect();
    set.skipped = KeySet::from_jwk_set(&format!(r#"{{"keys":[{}]}}"#, keys.join(",")))?.skipped;
    assert_eq!(set.skipped.len(), count);
    Ok(set)
}

fn name_of(event: &KeyEvent<'_>) -> &'static str {
    match event {
        KeyEvent::Loaded { .. } => "loaded",
        KeyEvent::Replaced { .. } => "replaced",
        KeyEvent::LoadFailed { .. } => "failed",
        KeyEvent::EmptyKeySet { .. } => "empty",
        KeyEvent::Skipped { .. } => "skipped",
        _ => "another",
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_source_answers_its_events_are_eight_at_once_and_then_one_a_minute() {
    let many =
        |load: usize| (0..40).map(move |n| secret_key(100 * load + n).with_kid("k".repeat(200)).into());
    // What happens, and the events of which there are so many.
    let cases: [(&str, KeyRotation, &[&str]); 9] = [
        ("other keys", issuer(turning(move |n| Ok(KeySet::verifying(many(n))))), &["replaced"]),
        (
            "a key or none",
            issuer(turning(|n| Ok(if n % 2 == 0 { verifying(1) } else { KeySet::default() }))),
            &["empty", "replaced"],
        ),
        (
            "a key or none that loads",
            issuer(turning(|n| if n % 2 == 0 { Ok(verifying(1)) } else { broken(n, 1, KeySet::default()) })),
            &["failed", "skipped"],
        ),
        (
            "a key or another failure",
            issuer(turning(|n| match n % 2 {
                0 => Ok(verifying(1)),
                _ => Err(KeyError::unavailable(format!("failure {n}"))),
            })),
            &["failed"],
        ),
        ("other broken keys", issuer(turning(|n| broken(n, 200, verifying(1)))), &["skipped"]),
        (
            "the own key under other names",
            own(KeySet::signing(secret_key(1))).trust(
                A,
                turning(|n| Ok(KeySet::verifying([secret_key(1).with_kid(format!("theirs-{n}")).into()]))),
            ),
            &["skipped"],
        ),
        ("another own key", own(turning(|n| Ok(KeySet::signing(secret_key(n))))), &["replaced"]),
        (
            "an own key or none",
            own(turning(|n| Ok(if n % 2 == 0 { KeySet::signing(secret_key(1)) } else { KeySet::default() }))),
            &["failed"],
        ),
        ("other broken files", own(turning(|n| broken(n, 20, KeySet::signing(secret_key(1))))), &["skipped"]),
    ];
    for (what, rotation, expected) in cases {
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = told.clone();
        let rotation = rotation.on_event(move |event| {
            assert!(event.to_string().len() <= 2_048);
            seen.lock().unwrap().push(name_of(event));
        });
        let keys = rotation.start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(605)).await;
        drop(keys);
        // The observer goes with the thread that reports.
        reported(|| Arc::strong_count(&told) == 1);
        let told = told.lock().unwrap();
        for kind in ["replaced", "failed", "empty", "skipped", "another"] {
            let count = told.iter().filter(|name| **name == kind).count();
            let bounds = if expected.contains(&kind) { 15..=18 } else { 0..=0 };
            assert!(bounds.contains(&count), "{what}: {count} of {kind}: {told:?}");
        }
    }
}

/// As an application does that reads its list of tenants each minute.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_trusted_again_has_the_limit_that_it_had() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let rotation = KeyRotation::verify_only().on_event(move |event| {
        if let KeyEvent::Skipped { .. } = event {
            seen.lock().unwrap().push(event.to_string());
        }
    });
    let keys = rotation.start().await.unwrap();
    let authority = Authority::builder(keys.clone()).audience(support::AUDIENCE).build().unwrap();
    for call in 0..60 {
        let source = turning(move |load| broken(100 * call + load, 20, verifying(1)));
        authority.trust_issuer(A, source).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    drop((authority, keys));
    reported(|| Arc::strong_count(&told) == 1);
    let told = told.lock().unwrap();
    assert!((15..=18).contains(&told.len()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_one_source_hides_no_change_of_another_and_not_the_last_ring() {
    let keys: [Arc<AtomicUsize>; 3] = Default::default();
    let key = |of: usize| {
        let key = keys[of].clone();
        move || key.load(Ordering::SeqCst)
    };
    let (own, noisy, other) = (key(0), key(1), key(2));
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let rotation = KeyRotation::new(turning(move |_| Ok(KeySet::signing(secret_key(own())))))
        // Another key at each load, until it is told one.
        .trust(A, turning(move |n| Ok(verifying(100 + if noisy() == 0 { n } else { 0 }))))
        .trust("https://b.example", turning(move |_| Ok(verifying(50 + other()))))
        .on_event(move |event| {
            if let KeyEvent::Replaced { ring, .. } = event {
                seen.lock().unwrap().push(ring.fingerprints().to_string());
            }
        });
    let ring = rotation.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(305)).await;
    let last = || told.lock().unwrap().last().cloned().unwrap_or_default();
    for (of, key) in [(0, 1), (2, 51)] {
        keys[of].store(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(11)).await;
        reported(|| last().contains(secret_key(key).fingerprint()));
    }
    // So is a call of the application.
    assert!(ring.withdraw(secret_key(51).kid()));
    reported(|| !last().contains(secret_key(51).fingerprint()));

    keys[1].store(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(75)).await;
    reported(|| last() == ring.current().fingerprints().to_string());
    assert!(last().contains(secret_key(100).fingerprint()), "{told:?}");
    assert!(told.lock().unwrap().len() < 20, "{told:?}");
}

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
