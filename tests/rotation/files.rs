//! Environment variables, files and directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use tower_reissue::keys::{
    Algorithm, CommandSource, DirectorySource, EnvSource, FileSource, GeneratedSource, KeyErrorKind,
    KeyFormat, KeySource,
};
use tower_reissue::{KeyEvent, Login, VerifyingKey};

use super::*;

fn format() -> KeyFormat {
    KeyFormat::secret(Algorithm::HS256)
}

fn kids(keys: &[VerifyingKey]) -> Vec<&str> {
    let mut kids: Vec<_> = keys.iter().map(VerifyingKey::fingerprint).collect();
    kids.sort_unstable();
    kids
}

/// Lays out a mounted Secret as the kubelet does: files are links into `..data`, which is swapped whole.
struct Mounted<'a> {
    at: &'a Path,
    count: usize,
}

impl Mounted<'_> {
    fn swap(&mut self, files: &[(&str, &str)]) {
        self.count += 1;
        let name = format!("..version-{}", self.count);
        fs::create_dir(self.at.join(&name)).unwrap();
        for (file, text) in files {
            write(&self.at.join(&name).join(file), text);
        }
        let old = fs::read_link(self.at.join("..data")).ok();
        symlink(&name, self.at.join("..data_tmp")).unwrap();
        fs::rename(self.at.join("..data_tmp"), self.at.join("..data")).unwrap();
        for (file, _) in files {
            let _ = symlink(Path::new("..data").join(file), self.at.join(file));
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.at.join(old)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_variable_holds_a_key_and_others_hold_retired_ones() {
    // Cargo sets these; no test may set a variable of a process with threads.
    let source = EnvSource::new("CARGO_MANIFEST_DIR_OF_NOBODY", format());
    assert_eq!(source.load().await.unwrap_err().kind(), KeyErrorKind::Unavailable);

    let child = |extra: &[(&str, String)]| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "files::in_a_child_the_variables_are_read", "--ignored", "--nocapture"]);
        command.envs(extra.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let key = |n| secret_key(n).kid().to_owned();
    let both = child(&[("ROTATION_KEY", secret(1)), ("ROTATION_OLD", secret(2))]);
    assert!(both.contains(&format!("{} | {}", key(1), key(2))), "{both}");
    let bad = child(&[("ROTATION_KEY", secret(1)), ("ROTATION_OLD", "short".to_owned())]);
    assert!(bad.contains(&format!("{} |  | ROTATION_OLD: key refused", key(1))), "{bad}");
    let one = child(&[("ROTATION_KEY", secret(1) + "\n"), ("ROTATION_OLD", String::new())]);
    assert!(one.contains(&format!("{} |  |", key(1))), "{one}");
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn in_a_child_the_variables_are_read() {
    if std::env::var_os("ROTATION_KEY").is_none() {
        return;
    }
    let set =
        EnvSource::new("ROTATION_KEY", format()).retired("ROTATION_OLD", format()).load().await.unwrap();
    let skipped: Vec<_> = set.skipped.iter().map(ToString::to_string).collect();
    println!("{} | {} | {}", set.signing.unwrap().kid(), kids(&set.verifying).join(" "), skipped.join(" "));
}

#[tokio::test(start_paused = true)]
async fn a_file_and_its_retired_files_are_read_again() {
    let scratch = Scratch::new();
    let (path, old) = (scratch.path("key"), scratch.path("old"));
    let source = FileSource::new(&path, format()).retired(&old, format());
    let error = source.load().await.unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unavailable);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");

    write(&path, &secret(1));
    let set = source.load().await.unwrap();
    assert_eq!(set.signing.unwrap().fingerprint(), secret_key(1).fingerprint());
    assert!(set.verifying.is_empty());

    write(&old, &secret(1));
    write(&path, &secret(2));
    // Half of a secret would be one, too: it has to be there a second later.
    for wait in [0, 999] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        let set = source.load().await.unwrap();
        assert_eq!(set.signing.unwrap().fingerprint(), secret_key(1).fingerprint());
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    let set = source.load().await.unwrap();
    assert_eq!(set.signing.unwrap().fingerprint(), secret_key(2).fingerprint());
    assert_eq!(kids(&set.verifying), [secret_key(1).fingerprint()]);

    for bad in ["", "short", "-----BEGIN PRIVATE KEY-----\nMC4C"] {
        write(&path, bad);
        let error = source.load().await.unwrap_err().to_string();
        assert!(error.contains("key:") || error.contains("unavailable"), "{error}");
        assert!(bad.is_empty() || !error.contains("MC4C"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_again_has_to_settle_again() {
    let scratch = Scratch::new();
    let path = scratch.path("key");
    let source = FileSource::new(&path, format());
    let fingerprint = || async { source.load().await.unwrap().signing.unwrap().fingerprint().to_owned() };
    let later = || tokio::time::advance(Duration::from_secs(1));
    write(&path, &secret(1));
    let (first, second) = (secret_key(1), secret_key(2));
    assert_eq!(fingerprint().await, first.fingerprint());
    // Half of it, the other half, nothing at all, too little, and what was there before: each begins anew.
    for between in [&secret(2)[..40], &secret(3), "", "short", &secret(1)] {
        write(&path, &secret(2));
        assert_eq!(fingerprint().await, first.fingerprint());
        later().await;
        write(&path, between);
        if let Ok(set) = source.load().await {
            assert_eq!(set.signing.unwrap().fingerprint(), first.fingerprint(), "{between:?}");
        }
        later().await;
        write(&path, &secret(2));
        assert_eq!(fingerprint().await, first.fingerprint(), "{between:?}");
        fs::remove_file(&path).unwrap();
        source.load().await.unwrap_err();
        later().await;
    }
    write(&path, &secret(2));
    assert_eq!(fingerprint().await, first.fingerprint());
    later().await;
    assert_eq!(fingerprint().await, second.fingerprint());
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_signs_at_the_second_look_and_a_new_pem_or_mounted_secret_at_the_first() {
    let scratch = Scratch::new();
    let (bare, armoured, mount) = (scratch.path("bare"), scratch.path("key.pem"), scratch.path("mount"));
    fs::create_dir(&mount).unwrap();
    let mut mounted = Mounted { at: &mount, count: 0 };
    write(&bare, &secret(1));
    write(&armoured, std::str::from_utf8(support::pems::P256).unwrap());
    let made = scratch.path("made");
    GeneratedSource::new(&made, Algorithm::ES256).load().await.unwrap();
    let other = made.join("private_key.pem");
    let began = tokio::time::Instant::now();
    mounted.swap(&[("current", &secret(1))]);
    let pem = FileSource::new(&armoured, KeyFormat::pem(Algorithm::ES256));
    let (bare_keys, armoured_keys, mounted_keys) = (
        KeyRotation::new(FileSource::new(&bare, format())).start().await.unwrap(),
        KeyRotation::new(pem).start().await.unwrap(),
        KeyRotation::new(DirectorySource::new(&mount, "current", format())).start().await.unwrap(),
    );
    let signer = |keys: &Keys| keys.current().kids().next().unwrap().to_owned();
    let old_pem = signer(&armoured_keys);
    tokio::time::sleep(Duration::from_secs(5)).await;
    write(&bare, &secret(2));
    fs::copy(&other, &armoured).unwrap();
    mounted.swap(&[("current", &secret(2))]);
    // The looks are at 10 s, 20 s and so on, and a few milliseconds.
    for (until, bare_is_new, others_are_new) in
        [(9, false, false), (11, false, true), (19, false, true), (21, true, true)]
    {
        tokio::time::sleep_until(began + Duration::from_secs(until)).await;
        assert_eq!(signer(&bare_keys) == secret_key(2).kid(), bare_is_new, "after {until} s");
        assert_eq!(signer(&mounted_keys) == secret_key(2).kid(), others_are_new, "after {until} s");
        assert_eq!(signer(&armoured_keys) != old_pem, others_are_new, "after {until} s");
    }
}

#[tokio::test]
async fn a_jwk_set_file_signs_with_its_private_key() {
    let scratch = Scratch::new();
    let path = scratch.path("keys.json");
    write(
        &path,
        r#"{"keys":[
            {"kty":"OKP","crv":"Ed25519","kid":"old","x":"1dyN9qxG5hs3CW0q8g7HY3X9ncI0u1PA-Aivtkzjb_A"},
            {"kty":"oct","alg":"HS256","kid":"new","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}]}"#,
    );
    let set = FileSource::new(&path, KeyFormat::jwk_set()).load().await.unwrap();
    assert_eq!(set.signing.unwrap().kid(), "new");
    assert_eq!(set.verifying[0].kid(), "old");
}

#[tokio::test]
async fn a_mounted_secret_is_read_whole_and_lists_what_is_retired_and_withdrawn() {
    let scratch = Scratch::new();
    let mut mounted = Mounted { at: scratch.dir(), count: 0 };
    let source = DirectorySource::new(scratch.dir(), "current", format());
    assert_eq!(source.load().await.unwrap_err().kind(), KeyErrorKind::Unavailable);

    let (one, two, three) = (secret(1), secret(2), secret(3));
    mounted.swap(&[("current", &one), ("withdrawn", "# compromised\n  kid-7 \n\nkid-8"), ("notes", "none")]);
    write(&scratch.path(".hidden"), &three);
    let set = source.load().await.unwrap();
    assert_eq!(set.signing.unwrap().fingerprint(), secret_key(1).fingerprint());
    assert_eq!(set.withdrawn, ["kid-7", "kid-8"]);
    assert!(set.verifying.is_empty());
    assert!(set.skipped[0].to_string().contains("notes"), "{:?}", set.skipped);

    mounted.swap(&[("current", &two), ("2026", &one), ("2025", &three)]);
    let set = source.load().await.unwrap();
    assert_eq!(set.signing.unwrap().fingerprint(), secret_key(2).fingerprint());
    let mut expected = [secret_key(1), secret_key(3)].map(|key| key.fingerprint().to_owned());
    expected.sort_unstable();
    assert_eq!(kids(&set.verifying), expected);
}

#[tokio::test]
async fn a_withdrawal_counts_whatever_is_wrong_with_the_keys() {
    let scratch = Scratch::new();
    let source = || DirectorySource::new(scratch.dir(), "current", format());
    write(&scratch.path("current"), &secret(1));
    write(&scratch.path("old"), &secret(2));
    let told = Arc::new(Mutex::new(Vec::new()));
    let keys = rotation(source())
        .on_event({
            let told = told.clone();
            move |event| {
                told.lock().unwrap().push(match event {
                    KeyEvent::Skipped { error, .. } => format!("skipped {error}"),
                    KeyEvent::LoadFailed { error, .. } => format!("failed {error}"),
                    _ => return,
                });
            }
        })
        .start()
        .await
        .unwrap();
    let lines = |text: &str| told.lock().unwrap().iter().filter(|line| line.contains(text)).count();
    let held = || keys.current().kids().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(held().len(), 2);

    // A neighbour that is too long or no file's link is passed over, and what it may have held is kept.
    write(&scratch.path("old"), &"x".repeat(2 * 1024 * 1024));
    symlink("nowhere", scratch.path("dangling")).unwrap();
    eventually(|| lines("no key is that long") == 1 && lines("dangling can't be read") == 1).await;
    assert_eq!((held().len(), lines("failed")), (2, 0));

    // The signing file is gone, a line is copied from the log, another misspelt.
    fs::remove_file(scratch.path("current")).unwrap();
    write(&scratch.path("withdrawn"), &format!("HS256 {} # leaked\nmisspelt\n", secret_key(2).fingerprint()));
    eventually(|| held() == [secret_key(1).kid()]).await;
    eventually(|| lines("holds no file current") > 3).await;
    assert_eq!(lines("\"misspelt\""), 1, "{told:?}");

    // Not to know what is withdrawn is no reason to admit it.
    write(&scratch.path("current"), &secret(1));
    fs::remove_file(scratch.path("withdrawn")).unwrap();
    fs::create_dir(scratch.path("withdrawn")).unwrap();
    assert_eq!(source().load().await.unwrap_err().kind(), KeyErrorKind::Unavailable);
    assert_eq!(held(), [secret_key(1).kid()]);
}

#[tokio::test]
async fn a_key_of_a_retired_set_that_does_not_load_is_reported_and_verifies_for_the_overlap() {
    let scratch = Scratch::new();
    let public = |n| jwk(n).replace("\"kty\"", "\"key_ops\":[\"verify\"],\"kty\"");
    let retired = |third: &str| {
        write(&scratch.path("old"), &format!("{{\"keys\":[{},{third}]}}", public(2)));
    };
    write(&scratch.path("current"), &jwk(1));
    let (one, set) = (KeyFormat::jwk, KeyFormat::jwk_set);
    let file = FileSource::new(scratch.path("current"), one()).retired(scratch.path("old"), set());
    let directory = DirectorySource::new(scratch.dir(), "current", one()).retired("old", set());
    retired(&public(3));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (in_file, in_directory) = (told.clone(), told.clone());
    let of_file = rotation(file).on_event(move |event| in_file.lock().unwrap().push(format!("file {event}")));
    let of_directory = rotation(directory)
        .on_event(move |event| in_directory.lock().unwrap().push(format!("directory {event}")));
    let (of_file, of_directory) = (of_file.start().await.unwrap(), of_directory.start().await.unwrap());
    retired(&public(3).replace(r#""alg":"HS256","#, ""));
    for source in ["file", "directory"] {
        eventually(|| {
            let told = told.lock().unwrap();
            told.iter().any(|told| told.starts_with(source) && told.contains("/old: entry 1 of the set: key"))
        })
        .await;
    }
    for keys in [of_file, of_directory] {
        assert_eq!(keys.current().kids().count(), 3, "{told:?}");
    }
}

#[tokio::test]
async fn every_key_on_a_line_of_the_withdrawn_ones_is_withdrawn() {
    let (a, b) = (secret_key(2).fingerprint().to_owned(), secret_key(3).fingerprint().to_owned());
    let named = |kid: &str| jwk(4).replace("\"kty\"", &format!("\"kid\":\"{kid}\",\"kty\""));
    for (line, expected) in [
        (format!("{a}, {b}"), vec!["old, older"]),
        (format!("{a} {b}"), vec!["old, older"]),
        (format!("[\"{a}\", \"{b}\"]"), vec!["old, older"]),
        (format!("verifies HS256 {a}, verifies HS256 {b}"), vec!["old, older"]),
        ("old, older".to_owned(), vec![&*a, &*b]),
    ] {
        let scratch = Scratch::new();
        for (name, text) in [("current", jwk(1)), ("2", jwk(2)), ("3", jwk(3)), ("4", named("old, older"))] {
            write(&scratch.path(name), &text);
        }
        write(&scratch.path("withdrawn"), &line);
        let source = DirectorySource::new(scratch.dir(), "current", KeyFormat::jwk());
        let keys = rotation(source).start().await.unwrap();
        let held: Vec<_> = keys.current().kids().skip(1).map(str::to_owned).collect();
        assert_eq!(held, expected, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_a_plain_directory_waits_unless_the_one_that_signs_is_withdrawn() {
    let scratch = Scratch::new();
    let source = DirectorySource::new(scratch.dir(), "current", format());
    let signing = || async { source.load().await.unwrap().signing.unwrap().fingerprint().to_owned() };
    write(&scratch.path("current"), &secret(1));
    assert_eq!(signing().await, secret_key(1).fingerprint());
    write(&scratch.path("current"), &secret(2));
    assert_eq!(signing().await, secret_key(1).fingerprint());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(signing().await, secret_key(2).fingerprint());
    // To wait would be to issue nothing.
    write(&scratch.path("withdrawn"), secret_key(2).fingerprint());
    write(&scratch.path("current"), &secret(3));
    assert_eq!(signing().await, secret_key(3).fingerprint());
    write(&scratch.path("current"), &secret(4));
    assert_eq!(signing().await, secret_key(3).fingerprint());
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_changes_all_the_time_holds_nothing_up_and_is_told() {
    let scratch = Scratch::new();
    let source = DirectorySource::new(scratch.dir(), "current", format());
    let noise = |n: usize| write(&scratch.path("audit.log"), &secret(100 + n));
    write(&scratch.path("current"), &secret(1));
    for n in [2, 3, 4] {
        write(&scratch.path(&format!("old-{n}")), &secret(n));
    }
    source.load().await.unwrap();
    write(&scratch.path("current"), &secret(5));
    fs::remove_file(scratch.path("old-3")).unwrap();
    let mut seen = Vec::new();
    for n in 0..6 {
        noise(n);
        let set = source.load().await.unwrap();
        let old: Vec<_> = set.verifying.iter().map(|key| key.fingerprint().to_owned()).collect();
        let told = set.skipped.iter().any(|error| error.to_string().contains("audit.log"));
        seen.push((set.signing.unwrap().fingerprint().to_owned(), old, told));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let keys = |ns: &[usize]| ns.iter().map(|n| secret_key(*n).fingerprint().to_owned()).collect::<Vec<_>>();
    let fresh = secret_key(5).fingerprint().to_owned();
    assert_eq!(seen[0], (secret_key(1).fingerprint().to_owned(), keys(&[2, 3, 4]), false));
    for (n, seen) in seen.into_iter().enumerate().skip(1) {
        assert_eq!(seen, (fresh.clone(), keys(&[2, 4]), n >= 3), "load {n}");
    }
    // It rests, and is what its text is: a key.
    let set = source.load().await.unwrap();
    assert_eq!((set.verifying.len(), set.skipped.len()), (3, 0));
}

#[tokio::test]
async fn a_secret_that_is_swapped_all_the_time_is_never_read_half_and_half() {
    let scratch = Scratch::new();
    let pair = |n: usize| (secret(n + 1), secret(n));
    let at = scratch.dir().to_owned();
    let mut mounted = Mounted { at: &at, count: 0 };
    let (current, old) = pair(0);
    mounted.swap(&[("current", &current), ("old", &old)]);
    let source = DirectorySource::new(scratch.dir(), "current", format());
    let writer = std::thread::spawn({
        let at = at.clone();
        move || {
            let mut mounted = Mounted { at: &at, count: 100 };
            for n in 1..40 {
                let (current, old) = pair(n);
                mounted.swap(&[("current", &current), ("old", &old)]);
                std::thread::sleep(Duration::from_millis(n as u64 % 30));
            }
        }
    });
    let mut read = 0;
    while !writer.is_finished() {
        if let Ok(set) = source.load().await {
            let signing = set.signing.unwrap();
            let n = (0..40).find(|n| secret_key(n + 1).fingerprint() == signing.fingerprint()).unwrap();
            assert_eq!(kids(&set.verifying), [secret_key(n).fingerprint()]);
            read += 1;
        }
    }
    writer.join().unwrap();
    assert!(read > 0);
    assert_eq!(source.load().await.unwrap().signing.unwrap().fingerprint(), secret_key(40).fingerprint());
}

#[tokio::test]
async fn a_bad_file_leaves_the_ring_serving_and_says_so() {
    let scratch = Scratch::new();
    let path = scratch.path("key");
    write(&path, &secret(1));
    let told = Arc::new(Mutex::new(Vec::new()));
    let keys = rotation(FileSource::new(&path, format()))
        .on_event({
            let told = told.clone();
            move |event| {
                told.lock().unwrap().push(match event {
                    KeyEvent::Loaded { ring, .. } => format!("loaded {}", ring.fingerprints()),
                    KeyEvent::Replaced { ring, .. } => format!("replaced {}", ring.fingerprints()),
                    KeyEvent::LoadFailed { source, error, .. } => format!("failed {source} {error}"),
                    other => panic!("{other:?}"),
                });
            }
        })
        .start()
        .await
        .unwrap();
    let has = |text: &str| told.lock().unwrap().iter().any(|line| line.contains(text));
    assert!(has(&format!("loaded signs HS256 {}", secret_key(1).fingerprint())));
    write(&path, "half a sec");
    eventually(|| has("failed file")).await;
    assert_eq!(keys.current().kids().collect::<Vec<_>>(), [secret_key(1).kid()]);
    fs::remove_file(&path).unwrap();
    eventually(|| has("can't be read")).await;
    write(&path, &secret(2));
    signs_with(&keys, &secret_key(2)).await;
    reported(|| has(&format!("replaced signs HS256 {}", secret_key(2).fingerprint())));
    assert!(!told.lock().unwrap().join(" ").contains("secret number"));
}

#[tokio::test]
async fn a_certificate_beside_the_keys_is_a_key_only_where_it_was_asked_for() {
    let scratch = Scratch::new();
    let case = |name: &str| fs::read(Path::new("tests/cases").join(name)).unwrap();
    for name in ["tls.key", "tls.crt", "ca.crt"] {
        fs::write(scratch.path(name), case(&format!("cert-manager/{name}"))).unwrap();
    }
    let format = || KeyFormat::pem(Algorithm::ES256);
    let source = || DirectorySource::new(scratch.dir(), "tls.key", format());
    let set = source().load().await.unwrap();
    assert_eq!((set.verifying.len(), set.skipped.len()), (0, 0), "{:?}", set.skipped);

    // Neither before nor after the source was read again.
    let now = tower_reissue::ManualClock::at(1_800_000_000);
    let keys = rotation(source()).start().await.unwrap();
    let authority = authority(keys).clock(now).build().unwrap();
    let token = String::from_utf8(case("tok.by_ca.txt")).unwrap();
    let refused = authority.admit(token.trim()).await.unwrap_err();
    assert_eq!(*refused.reason(), tower_reissue::Reason::UnknownKey);

    // Asked for by name, it is one.
    let asked = source().retired("ca.crt", format()).load().await.unwrap();
    assert_eq!(asked.verifying.len(), 1);
    let ca = &asked.verifying[0];
    // Under another name it is told, alone, in a chain and in DER.
    let bundle = [case("cert-manager/ca.crt"), case("cert-manager/tls.crt")].concat();
    for name in ["bundle.pem", "authority.cer", "more.crt"] {
        fs::write(scratch.path(name), &bundle).unwrap();
        let set = source().load().await.unwrap();
        assert!(set.verifying.is_empty());
        let told = set.skipped[0].to_string();
        assert!(told.contains(name) && told.contains("DirectorySource::retired"), "{told}");
        fs::remove_file(scratch.path(name)).unwrap();
    }
    // Under the label of a key it is still no key.
    for label in ["PUBLIC KEY", "RSA PUBLIC KEY"] {
        let text = String::from_utf8(case("cert-manager/ca.crt")).unwrap();
        fs::write(scratch.path("public.pem"), text.replace("CERTIFICATE", label)).unwrap();
        let set = source().load().await.unwrap();
        assert!(set.verifying.is_empty(), "{label}");
        let told = set.skipped[0].to_string();
        assert!(told.contains("public.pem") && told.contains("its label is"), "{told}");
        fs::remove_file(scratch.path("public.pem")).unwrap();
    }
    // So is the authority's private key, by its usual names.
    for name in ["ca.key", "rootCA-key.pem", "intermediate_ca_key", "front-proxy-ca.key"] {
        fs::copy("tests/keys/p256.pem", scratch.path(name)).unwrap();
        let set = source().load().await.unwrap();
        assert!(set.verifying.is_empty(), "{name}");
        let told = set.skipped[0].to_string();
        assert!(told.contains(name) && told.contains("DirectorySource::retired"), "{told}");
        let asked = source().retired(name, format()).load().await.unwrap();
        assert_eq!((asked.verifying.len(), asked.skipped.len()), (1, 0), "{name}");
        fs::remove_file(scratch.path(name)).unwrap();
    }
    let der = |pem: &[u8]| {
        use base64::Engine as _;
        let text = String::from_utf8_lossy(pem);
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        base64::engine::general_purpose::STANDARD.decode(body).unwrap()
    };
    let scratch = Scratch::new();
    fs::write(scratch.path("key.der"), der(&case("cert-manager/tls.key"))).unwrap();
    fs::write(scratch.path("ca.der"), der(&case("cert-manager/ca.crt"))).unwrap();
    let source = || DirectorySource::new(scratch.dir(), "key.der", KeyFormat::der(Algorithm::ES256));
    let set = source().load().await.unwrap();
    assert!(set.verifying.is_empty() && set.skipped[0].to_string().contains("ca.der"), "{:?}", set.skipped);
    let asked = source().retired("ca.der", KeyFormat::der(Algorithm::ES256)).load().await.unwrap();
    assert_eq!(asked.verifying[0].fingerprint(), ca.fingerprint());
    // What is nothing but a public key was put there to be one.
    let public = VerifyingKey::from_pem(Algorithm::ES256, case("cert-manager/ca.crt")).unwrap();
    assert_eq!(public.fingerprint(), ca.fingerprint());
    fs::copy("tests/keys/p256.public.pem", scratch.path("public.pem")).unwrap();
    let format = KeyFormat::pem(Algorithm::ES256);
    let asked = source().retired("public.pem", format).load().await.unwrap();
    assert_eq!(asked.verifying.len(), 1);
}

#[tokio::test]
async fn an_own_set_whose_keys_can_not_sign_changes_nothing_and_is_told() {
    let scratch = Scratch::new();
    let path = scratch.path("keys.json");
    let jwk = |kid: &str, k: &str| format!(r#"{{"kty":"oct","alg":"HS256","kid":"{kid}","k":"{k}"}}"#);
    let (new, old) = (
        jwk("new", "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"),
        jwk("old", "-ebuDNsVZ2iJtoZ-akfXTSCt4UO2cruLCsbWlBinggE"),
    );
    write(&path, &format!(r#"{{"keys":[{new},{old}]}}"#));
    let retired = scratch.path("retired.secret");
    write(&retired, &secret(1));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = failures.clone();
    let source = FileSource::new(&path, KeyFormat::jwk_set()).retired(&retired, format());
    let keys = rotation(source)
        .on_event(move |event| {
            if let KeyEvent::LoadFailed { error, .. } = event {
                told.lock().unwrap().push(error.to_string());
            }
        })
        .start()
        .await
        .unwrap();
    let authorities = ["https://a.example", "https://b.example"]
        .map(|issuer| authority(keys.clone()).issuer(issuer).build().unwrap());
    let of = |issuer: &str| {
        new.replacen("new", "of an issuer", 1).replacen('}', &format!(r#","issuer":"{issuer}"}}"#), 1)
    };
    for (set, fault) in [
        (String::new(), "no key that signs"),
        // Each authority signs with it.
        (of("https://a.example"), "for \"https://b.example\": its JWK's `issuer`"),
    ] {
        write(&path, &format!(r#"{{"keys":[{set}]}}"#));
        eventually(|| failures.lock().unwrap().iter().filter(|line| line.contains(fault)).count() > 2).await;
        assert_eq!(keys.current().kids().collect::<Vec<_>>(), ["new", "old", secret_key(1).kid()], "{set}");
        for authority in &authorities {
            authority.issue(Login::new("alice")).await.unwrap();
        }
    }
    write(&path, &format!(r#"{{"keys":[{}]}}"#, of("https://{any}.example")));
    eventually(|| keys.current().kids().next() == Some("of an issuer")).await;
    for authority in &authorities {
        authority.issue(Login::new("alice")).await.unwrap();
    }
}

#[tokio::test]
async fn a_program_is_asked_again() {
    let scratch = Scratch::new();
    let path = scratch.path("key");
    write(&path, &(secret(1) + "\n"));
    let line = format!("cat '{}'", path.display());
    let keys = rotation(CommandSource::from_line(&line, format()).unwrap()).start().await.unwrap();
    write(&path, &(secret(2) + "\n"));
    signs_with(&keys, &secret_key(2)).await;
    assert_eq!(keys.current().kids().nth(1), Some(secret_key(1).kid()));
}
