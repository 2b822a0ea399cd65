//! Events about keys: how many there are, and that nothing waits for whoever hears them.

use std::sync::{Arc, Mutex};

use tower_reissue::KeyEvent;
use tower_reissue::keys::{KeyError, KeySet, KeySource};

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

pub(super) fn name_of(event: &KeyEvent<'_>) -> &'static str {
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

/// The limit lets one of many through: the one that matters most.
#[tokio::test(start_paused = true)]
async fn no_number_of_broken_keys_hides_a_misspelt_withdrawal_or_an_own_key_of_an_issuer() {
    for lasts in [true, false] {
        let broken = move |load: usize, set: KeySet| broken(if lasts { 0 } else { load }, 20, set);
        // From the first load on, or later.
        for since in [0, 5] {
            let own = KeySet::signing(secret_key(1));
            let misspelt = move |load: usize| {
                let own = own.clone();
                broken(load, if load >= since { own.withdrawing("misspelt") } else { own })
            };
            let theirs = move |load: usize| {
                let theirs = (load >= since).then(|| secret_key(1).with_kid("theirs").into());
                broken(load, KeySet::verifying(theirs.into_iter().chain([secret_key(2).into()])))
            };
            for (name, rotation) in [
                ("\"misspelt\"", self::own(turning(misspelt.clone()))),
                ("\"misspelt\"", KeyRotation::verify_only().trust(A, turning(misspelt))),
                ("\"theirs\"", self::own(KeySet::signing(secret_key(1))).trust(A, turning(theirs))),
            ] {
                let told = Arc::new(Mutex::new(Vec::new()));
                let seen = told.clone();
                let rotation = rotation.on_event(move |event| {
                    if let KeyEvent::Skipped { .. } = event {
                        seen.lock().unwrap().push(event.to_string());
                    }
                });
                let keys = rotation.start().await.unwrap();
                tokio::time::sleep(Duration::from_secs(305)).await;
                drop(keys);
                reported(|| Arc::strong_count(&told) == 1);
                let told = told.lock().unwrap();
                let named = told.iter().filter(|line| line.contains(name)).count();
                assert_eq!(named, 1, "{name} since {since}, {lasts}: {told:?}");
            }
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

#[derive(Debug)]
struct PanicsWhenPrinted;

impl std::fmt::Display for PanicsWhenPrinted {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("when it is printed")
    }
}

impl std::error::Error for PanicsWhenPrinted {}

/// Of the application's own errors, one that can't be printed.
#[tokio::test]
async fn a_withdrawal_counts_whatever_the_errors_beside_it_do_when_they_are_printed() {
    let withdrawing = |load: usize, set: KeySet| {
        if load == 0 {
            return Ok(set);
        }
        let mut set = KeySet::default().withdrawing(secret_key(2).fingerprint());
        set.skipped.push(KeyError::unavailable("it can't be read").because(PanicsWhenPrinted));
        Ok(set)
    };
    let both = KeySet::signing(secret_key(1)).retiring(secret_key(2));
    let own = own(turning(move |load| withdrawing(load, both.clone())));
    let issuer = issuer(turning(move |load| withdrawing(load, verifying(2))));
    for (rotation, left) in [(own, 1), (issuer, 0)] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let rotation = rotation.reload_every(RELOAD);
        let keys = rotation.on_event(move |event| hears.lock().unwrap().push(event.to_string()));
        let keys = keys.start().await.unwrap();
        eventually(|| keys.current().kids().count() == left).await;
        eventually(|| {
            let told = told.lock().unwrap();
            told.iter().any(|told| told.contains("it can't be read: an error that panics"))
        })
        .await;
    }
}
