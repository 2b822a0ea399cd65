//! Keys replaced and withdrawn under traffic.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tower_reissue::keys::{FileSource, KeyErrorKind, KeyFormat, KeySet};
use tower_reissue::{Event, KeyEvent, KeyRing, Login, ManualClock, NotReissued, VerifyingKey};

use super::*;

fn file(path: &Path) -> FileSource {
    FileSource::new(path, KeyFormat::secret(Algorithm::HS256))
}

/// Puts a file in place in one of the ways that people and tools do.
fn replace(path: &Path, text: &str, way: usize) {
    let beside = path.with_extension(format!("{way}.new"));
    match way % 4 {
        // Truncated and written.
        0 => fs::write(path, text).unwrap(),
        // Written in two halves: another secret in between, and a long one.
        1 => {
            use std::io::Write as _;
            let (half, rest) = text.split_at(text.len() / 2 + 4);
            let mut file = fs::File::create(path).unwrap();
            file.write_all(half.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            file.write_all(rest.as_bytes()).unwrap();
        }
        2 => {
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, path).unwrap();
        }
        _ => {
            let target = path.with_extension(format!("{}.target", text.len() + way));
            fs::write(&target, text).unwrap();
            std::os::unix::fs::symlink(&target, &beside).unwrap();
            fs::rename(&beside, path).unwrap();
        }
    }
    if way % 4 < 2 && path.is_symlink() {
        panic!("written through the link of an earlier way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_file_is_replaced_100_times_and_no_valid_token_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("key");
    write(&path, &jwk(0));
    let asked = Arc::new(AtomicUsize::new(0));
    let source = CountedFile(FileSource::new(&path, KeyFormat::jwk()), asked.clone());
    let keys = rotation(source).start().await.unwrap();
    let authority = authority(keys.clone()).build().unwrap();
    let service = guarded(authority.clone());
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));

    let traffic: Vec<_> = (0..4)
        .map(|_| {
            let (authority, service) = (authority.clone(), service.clone());
            let (done, served) = (done.clone(), served.clone());
            tokio::spawn(async move {
                let mut tokens = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    tokens.push(authority.issue(Login::new("alice")).await.unwrap());
                    // The newest, the oldest, and one in between.
                    for at in [tokens.len() - 1, 0, tokens.len() / 2] {
                        let status = status(&service, tokens[at].as_str()).await;
                        assert_eq!(status, StatusCode::OK, "token {at} of {}", tokens.len());
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();

    for n in 1..=100 {
        if n % 5 == 0 {
            let bad = ["", "short", "-----BEGIN PRIVATE KEY-----\nMC4CAQ", "\0"][n / 5 % 4];
            fs::remove_file(&path).unwrap();
            write(&path, bad);
            let before = asked.load(Ordering::SeqCst);
            eventually(|| asked.load(Ordering::SeqCst) > before + 1).await;
        }
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        replace(&path, &jwk(n), n);
        signs_with(&keys, &secret_key(n)).await;
    }
    done.store(true, Ordering::SeqCst);
    for task in traffic {
        task.await.unwrap();
    }
    assert!(served.load(Ordering::SeqCst) > 1_000);
    // Every key that ever signed still verifies, and nothing that was half a key.
    assert_eq!(keys.current().kids().count(), 101);
}

/// A bare secret, of which half is a secret too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_written_slowly_is_never_taken_by_half() {
    use std::io::Write as _;
    let scratch = Scratch::new();
    let path = scratch.path("key");
    write(&path, &secret(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let signers = seen.clone();
    let keys = rotation(file(&path))
        .on_event(move |event| {
            if let KeyEvent::Replaced { ring, .. } = event {
                signers.lock().unwrap().push(ring.kids().next().unwrap_or_default().to_owned());
            }
        })
        .start()
        .await
        .unwrap();
    let whole = secret(1);
    let (half, rest) = whole.split_at(40);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    file.write_all(rest.as_bytes()).unwrap();
    signs_with(&keys, &secret_key(1)).await;
    // In each of the other ways, too.
    for n in 2..6 {
        let began = std::time::Instant::now();
        replace(&path, &secret(n), n);
        signs_with(&keys, &secret_key(n)).await;
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
    }
    let expected: Vec<_> = (1..6).map(|n| secret_key(n).kid().to_owned()).collect();
    reported(|| *seen.lock().unwrap() == expected);
}

/// Four nodes with one source and an activation delay of one reload interval. The first reloads a moment before the
/// second: a key that appears in between is seen by the first almost an interval after the others.
#[tokio::test(start_paused = true)]
async fn of_four_nodes_that_reload_at_different_moments_each_admits_what_any_signs() {
    const ROTATIONS: usize = 40;
    let interval = Duration::from_secs(10);
    let start = tokio::time::Instant::now();
    let clock = move || tower_reissue::NumericDate::from_secs(support::NOW + start.elapsed().as_secs());
    let source = Shared(Arc::new(Mutex::new(0)));
    let mut nodes = Vec::new();
    for after in [300, 2_000, 4_500, 0] {
        let rotation = KeyRotation::new(source.clone()).reload_every(interval).activation_delay(interval);
        let keys = rotation.clock(clock).start().await.unwrap();
        nodes.push(authority(keys).clock(clock).build().unwrap());
        tokio::time::sleep(Duration::from_millis(after)).await;
    }
    let services: Vec<_> = nodes.iter().cloned().map(guarded).collect();
    let mut signers = std::collections::HashSet::new();
    // 30.25 s a key: the new ones appear at every part of the interval.
    for step in 0..121 * (ROTATIONS + 1) {
        if step % 121 == 120 {
            *source.0.lock().unwrap() += 1;
        }
        for authority in nodes.iter().filter(|_| step % 2 == 0) {
            let token = authority.issue(Login::new("alice")).await.unwrap();
            signers.insert(token.as_str().split('.').next().unwrap().to_owned());
            for service in &services {
                assert_eq!(status(service, token.as_str()).await, StatusCode::OK, "at step {step}");
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(signers.len(), ROTATIONS + 1, "each key has signed");
}

/// Holds one key and never says that there was another.
#[derive(Clone)]
struct Shared(Arc<Mutex<usize>>);

impl tower_reissue::keys::KeySource for Shared {
    fn describe(&self) -> String {
        "a shared source".to_owned()
    }

    async fn load(&self) -> Result<KeySet, tower_reissue::KeyError> {
        Ok(KeySet::signing(secret_key(*self.0.lock().unwrap())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_under_a_retiring_key_is_renewed_at_its_usual_instant_with_the_new_one() {
    let clock = ManualClock::at(support::NOW);
    let source = Shared(Arc::default());
    let keys = KeyRotation::new(source.clone()).clock(clock.clone()).start().await.unwrap();
    let authority = authority(keys).clock(clock.clone()).build().unwrap();
    let service = guarded(authority.clone());
    let token = authority.issue(Login::new("alice")).await.unwrap();
    *source.0.lock().unwrap() = 1;
    tokio::time::sleep(Duration::from_secs(11)).await;
    for (at, renewed) in [(479, false), (480, true)] {
        clock.set(support::NOW + at);
        let response = answer(&service, token.as_str()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let successor = response.headers().get("refreshed-api-token").map(|token| token.to_str().unwrap());
        assert_eq!(successor.is_some(), renewed, "at {at}");
        if let Some(successor) = successor {
            let alone = Authority::builder(secret_key(1))
                .issuer(support::ISSUER)
                .audience(support::AUDIENCE)
                .max_session_lifetime(Duration::from_secs(12 * 3600))
                .clock(clock.clone())
                .build()
                .unwrap();
            assert!(alone.admit(successor).await.is_ok(), "signed with the new key");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_withdrawn_while_a_request_is_in_flight_stops_its_renewal() {
    let clock = ManualClock::at(support::NOW);
    let scratch = Scratch::new();
    let directory = tower_reissue::keys::DirectorySource::new(
        scratch.dir(),
        "current",
        KeyFormat::secret(Algorithm::HS256),
    );
    write(&scratch.path("current"), &secret(1));
    let keys = KeyRotation::new(directory).clock(clock.clone()).start().await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let authority = authority(keys.clone())
        .clock(clock.clone())
        .on_event({
            let told = told.clone();
            move |event| {
                if let Event::NotReissued { why, .. } = event {
                    told.lock().unwrap().push(*why);
                }
            }
        })
        .build()
        .unwrap();
    let handler = service_fn(|_: Request<()>| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let service: Guarded = BoxCloneSyncService::new(ReissueLayer::new(authority.clone()).layer(handler));
    let token = authority.issue(Login::new("alice")).await.unwrap();
    clock.advance(500);
    let in_flight = tokio::spawn({
        let (service, token) = (service.clone(), token.as_str().to_owned());
        async move { answer(&service, &token).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The operator puts a new key there and withdraws the old one.
    write(&scratch.path("current"), &secret(2));
    write(&scratch.path("withdrawn"), secret_key(1).kid());
    let response = in_flight.await.unwrap();
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(2).kid()]);
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("refreshed-api-token"));
    assert_eq!(*told.lock().unwrap(), [NotReissued::KeyWithdrawn]);
    assert_eq!(status(&service, token.as_str()).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_is_withdrawn_by_hand_from_keys_of_every_kind() {
    let ring = KeyRing::new(secret_key(1)).retiring(secret_key(2)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let plain = authority(ring.into())
        .on_event(move |event| {
            if let Event::Keys(KeyEvent::Replaced { ring, .. }) = event {
                seen.lock().unwrap().push(ring.fingerprints().to_string());
            }
        })
        .build()
        .unwrap();
    assert!(plain.withdraw_key(secret_key(2).kid()));
    assert!(!plain.withdraw_key(secret_key(2).kid()));
    assert!(plain.issue(Login::new("alice")).await.is_ok());
    assert!(plain.withdraw_key(secret_key(1).fingerprint()));
    assert!(plain.issue(Login::new("alice")).await.is_err(), "better none than one nobody admits");
    plain.replace_keys(secret_key(3)).unwrap();
    // One that is not held replaces nothing.
    assert_eq!(
        *told.lock().unwrap(),
        [
            format!("signs HS256 {}", secret_key(1).fingerprint()),
            String::new(),
            format!("signs HS256 {}", secret_key(3).fingerprint())
        ]
    );

    let keys = rotation(KeySet::signing(secret_key(1)).retiring(secret_key(2))).start().await.unwrap();
    assert!(keys.withdraw(secret_key(2).kid()));
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(1).kid()]);
    tokio::time::sleep(RELOAD * 4).await;
    assert_eq!(keys.current().kids().count(), 1, "the source still lists it");
}

#[tokio::test]
async fn what_can_not_be_right_is_refused_at_the_start() {
    let refused = |rotation: KeyRotation| async { rotation.start().await.unwrap_err() };
    let own = || KeySet::signing(secret_key(1));
    let foreign = || KeySet::verifying([secret_key(2).into()]);
    assert_eq!(refused(KeyRotation::new(foreign())).await.kind(), KeyErrorKind::WrongType);
    assert_eq!(refused(KeyRotation::new(own()).trust("", foreign())).await.kind(), KeyErrorKind::Ring);
    let twice = KeyRotation::new(own()).trust("x", foreign()).trust("x", foreign());
    assert!(refused(twice).await.to_string().contains("twice"));
    let never = KeyRotation::new(own()).reload_every(Duration::ZERO);
    assert!(refused(never).await.to_string().contains("`reload_every` is 0"));
    let withdrawn = own().withdrawing(secret_key(1).kid());
    assert!(refused(KeyRotation::new(withdrawn)).await.to_string().contains("withdrawn"));

    // Tokens of 600 s and a grace of 60 s outlive the key.
    for (overlap, right) in [(659, false), (660, true)] {
        let keys = KeyRotation::new(own()).overlap(Duration::from_secs(overlap)).start().await.unwrap();
        assert_eq!(authority(keys).build().is_ok(), right);
    }
    let keys = KeyRotation::new(own()).trust(support::ISSUER, foreign()).start().await.unwrap();
    assert!(authority(keys).build().is_err(), "the own issuer is not a foreign one");
    let keys = KeyRotation::new(own()).start().await.unwrap();
    let authority = authority(keys).build().unwrap();
    assert!(authority.replace_keys(secret_key(3)).is_err(), "the rotation would put its own back");
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_of_the_keys() {
    let source = Counted(Arc::default());
    let keys = KeyRotation::new(source.clone()).start().await.unwrap();
    let clone = keys.clone();
    drop(keys);
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(source.0.load(Ordering::SeqCst), 4);
    drop(clone);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(source.0.load(Ordering::SeqCst), 4);
    assert_eq!(Arc::strong_count(&source.0), 1, "nothing holds the source any more");
}

#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl tower_reissue::keys::KeySource for Counted {
    fn describe(&self) -> String {
        "a counted source".to_owned()
    }

    async fn load(&self) -> Result<KeySet, tower_reissue::KeyError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(KeySet::signing(secret_key(1)))
    }
}

#[tokio::test]
async fn a_key_that_is_kept_nowhere_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let build = |key: SigningKey| {
        let told = told.clone();
        authority(key.into())
            .on_event(move |event| match event {
                Event::Keys(KeyEvent::Ephemeral { kid, .. }) => {
                    told.lock().unwrap().push(format!("ephemeral {kid}"))
                }
                Event::Keys(KeyEvent::Loaded { ring, .. }) => {
                    told.lock().unwrap().push(format!("loaded {}", ring.fingerprints()))
                }
                _ => {}
            })
            .build()
            .unwrap()
    };
    build(secret_key(1));
    assert_eq!(*told.lock().unwrap(), [format!("loaded signs HS256 {}", secret_key(1).fingerprint())]);
    let generated = SigningKey::generate(Algorithm::EdDSA).unwrap();
    build(generated.clone());
    assert_eq!(told.lock().unwrap().last().unwrap(), &format!("ephemeral {}", generated.kid()));
}

#[tokio::test(start_paused = true)]
async fn an_own_key_that_a_trusted_issuer_publishes_makes_no_token_the_issuers() {
    const PARTNER: &str = "https://partner.example";
    let published = [secret_key(1).with_kid("theirs"), secret_key(2)].map(VerifyingKey::from);
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let keys = KeyRotation::new(KeySet::signing(secret_key(1)))
        .trust(PARTNER, KeySet::verifying(published))
        .on_event(move |event| {
            if let KeyEvent::Skipped { error, .. } = event {
                seen.lock().unwrap().push(error.to_string());
            }
        })
        .start()
        .await
        .unwrap();
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(1).kid(), secret_key(2).kid()]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("\"theirs\"") && told[0].contains(PARTNER), "{told:?}");

    let service = guarded(authority(keys).clock(ManualClock::at(support::NOW)).build().unwrap());
    let token = |n: usize, kid: &str| {
        let header = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
        let claims = support::claims_with(serde_json::json!({"iss": PARTNER})).to_string();
        let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
        support::sign_raw(&header, &claims, &key, Algorithm::HS256)
    };
    assert_eq!(status(&service, &token(2, secret_key(2).kid())).await, StatusCode::OK);
    for kid in ["theirs", secret_key(1).kid()] {
        assert_eq!(status(&service, &token(1, kid)).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn the_ring_is_loaded_before_it_is_replaced() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let keys = KeyRotation::new(KeySet::signing(secret_key(1)).withdrawing("misspelt"))
        .trust("https://partner.example", KeySet::verifying([VerifyingKey::from(secret_key(2))]))
        .on_event(move |event| {
            seen.lock().unwrap().push(match event {
                KeyEvent::Loaded { ring, .. } => format!("loaded {}", ring.kids().count()),
                KeyEvent::Replaced { ring, .. } => format!("replaced {}", ring.kids().count()),
                KeyEvent::Skipped { .. } => "skipped".to_owned(),
                other => panic!("{other:?}"),
            });
        })
        .start()
        .await
        .unwrap();
    assert_eq!(*told.lock().unwrap(), ["skipped", "loaded 2"]);
    assert!(keys.withdraw(secret_key(2).fingerprint()));
    reported(|| told.lock().unwrap().last().unwrap() == "replaced 1");
}
