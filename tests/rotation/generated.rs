//! Keys made at the first start.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use tower_reissue::VerifyingKey;
use tower_reissue::keys::{GeneratedSource, KeySource};

use super::*;

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::HS512];

#[tokio::test]
async fn a_generated_key_is_kept_for_its_owner_alone_and_loaded_ever_after() {
    for algorithm in ALGORITHMS {
        let scratch = Scratch::new();
        let directory = scratch.path("made");
        let load =
            || async { GeneratedSource::new(&directory, algorithm).load().await.unwrap().signing.unwrap() };
        let first = load().await;
        assert_eq!(load().await.fingerprint(), first.fingerprint());
        assert!(!first.is_ephemeral());

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let mut names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        if algorithm == Algorithm::HS512 {
            assert_eq!(names, ["secret_key"]);
        } else {
            assert_eq!(names, ["private_key.pem", "public_key.pem"]);
            let public = fs::read(directory.join("public_key.pem")).unwrap();
            assert_eq!(VerifyingKey::from_pem(algorithm, public).unwrap().fingerprint(), first.fingerprint());
        }
        for name in names {
            // A published key is as open as the umask lets any file be.
            fs::write(scratch.path("any"), "").unwrap();
            let expected = if name == "public_key.pem" { mode(&scratch.path("any")) & 0o644 } else { 0o600 };
            assert_eq!(mode(&directory.join(name)), expected);
        }
    }
}

#[tokio::test]
async fn a_public_half_that_is_missing_is_written_and_a_strange_one_is_refused() {
    let scratch = Scratch::new();
    let load = || GeneratedSource::new(scratch.dir(), Algorithm::EdDSA);
    load().load().await.unwrap();
    let public = scratch.path("public_key.pem");
    let text = fs::read(&public).unwrap();
    fs::remove_file(&public).unwrap();
    load().load().await.unwrap();
    assert_eq!(fs::read(&public).unwrap(), text);
    fs::write(&public, "another's").unwrap();
    let error = load().load().await.unwrap_err().to_string();
    assert!(error.contains("public_key.pem") && error.contains("remove it"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_gone_is_not_made_anew_while_the_process_runs() {
    for algorithm in [Algorithm::EdDSA, Algorithm::HS256] {
        let scratch = Scratch::new();
        let directory = scratch.path("made");
        let source = GeneratedSource::new(&directory, algorithm);
        let key = source.load().await.unwrap().signing.unwrap();
        let aside = scratch.path("aside");
        fs::rename(&directory, &aside).unwrap();
        for _ in 0..2 {
            let error = source.clone().load().await.unwrap_err().to_string();
            assert!(error.contains("the generated key is gone"), "{error}");
        }
        assert!(!directory.exists());
        fs::rename(&aside, &directory).unwrap();
        assert_eq!(source.load().await.unwrap().signing.unwrap().fingerprint(), key.fingerprint());
        let name = if algorithm == Algorithm::HS256 { "secret_key" } else { "private_key.pem" };
        fs::write(directory.join(name), "foreign").unwrap();
        assert!(source.load().await.unwrap_err().to_string().contains(name));
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_or_replace_is_refused_with_the_remedy() {
    for algorithm in [Algorithm::EdDSA, Algorithm::HS256] {
        let scratch = Scratch::new();
        let directory = scratch.path("made");
        let load = || GeneratedSource::new(&directory, algorithm);
        let key = load().load().await.unwrap().signing.unwrap();
        let file =
            directory.join(if algorithm == Algorithm::EdDSA { "private_key.pem" } else { "secret_key" });
        let chmod =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let told = || async {
            let loaded = load().load().await;
            loaded.map(|set| assert_eq!(set.signing.unwrap().fingerprint(), key.fingerprint()))
        };
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o666, 0o777] {
            chmod(&file, mode);
            let error = told().await.unwrap_err().to_string();
            let remedy = format!("`chmod 600 {}`", file.display());
            assert!(error.contains(&format!("{mode:04o}")) && error.contains(&remedy), "{error}");
        }
        for mode in [0o600, 0o400, 0o700] {
            chmod(&file, mode);
            told().await.unwrap();
        }
        for mode in [0o770, 0o707, 0o720, 0o777, 0o2775] {
            chmod(&directory, mode);
            let error = told().await.unwrap_err().to_string();
            let remedy = format!("`chmod 700 {}`", directory.display());
            assert!(error.contains(&format!("{mode:04o}")) && error.contains(&remedy), "{error}");
        }
        // Who reads the directory reads no key, and in a sticky one nobody replaces another's file.
        for mode in [0o700, 0o755, 0o1777] {
            chmod(&directory, mode);
            told().await.unwrap();
        }

        // Nothing is made where others could replace it.
        let open = scratch.path("open");
        fs::create_dir(&open).unwrap();
        chmod(&open, 0o777);
        let error = GeneratedSource::new(&open, algorithm).load().await.unwrap_err().to_string();
        assert!(error.contains("0777"), "{error}");
        assert_eq!(fs::read_dir(&open).unwrap().count(), 0);

        // A link leads to a directory that others write to.
        chmod(&open, 0o700);
        fs::rename(&file, open.join("key")).unwrap();
        std::os::unix::fs::symlink(open.join("key"), &file).unwrap();
        told().await.unwrap();
        chmod(&open, 0o777);
        assert!(told().await.unwrap_err().to_string().contains("others may write to"));
    }
}

#[tokio::test]
async fn a_key_that_is_opened_to_others_while_it_serves_is_told_and_serves_on() {
    let scratch = Scratch::new();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = told.clone();
    let keys = rotation(GeneratedSource::new(scratch.dir(), Algorithm::EdDSA))
        .on_event(move |event| {
            if let tower_reissue::Event::KeysFailed { error, .. } = event {
                seen.lock().unwrap().push(error.to_string());
            }
        })
        .start()
        .await
        .unwrap();
    let file = scratch.path("private_key.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    eventually(|| told.lock().unwrap().iter().any(|line: &String| line.contains("chmod 600"))).await;
    assert_eq!(keys.current().kids().count(), 1);
}

#[test]
fn of_16_processes_that_start_at_once_one_makes_the_key() {
    for algorithm in ["RS256", "EdDSA", "HS256"] {
        let scratch = Scratch::new();
        let start = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "generated::in_a_child_a_key_is_generated", "--ignored", "--nocapture"])
                .env("ROTATION_GENERATE_IN", scratch.dir())
                .env("ROTATION_ALGORITHM", algorithm)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..16).map(|_| start()).collect();
        // They have all been started: let them go.
        fs::write(scratch.path(".go"), "").unwrap();
        let mut fingerprints = HashSet::new();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{text}");
            let line = text.lines().find_map(|line| line.split_once("fingerprint: ")).expect("a fingerprint");
            fingerprints.insert(line.1.to_owned());
        }
        assert_eq!(fingerprints.len(), 1, "{algorithm}: {fingerprints:?}");
        let left_over = fs::read_dir(scratch.dir())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".key-"));
        assert_eq!(left_over.count(), 0);
    }
}

#[tokio::test]
#[ignore = "run by the test above, in processes of their own"]
async fn in_a_child_a_key_is_generated() {
    let Some(directory) = std::env::var_os("ROTATION_GENERATE_IN") else { return };
    let algorithm = std::env::var("ROTATION_ALGORITHM").unwrap().parse().unwrap();
    while !Path::new(&directory).join(".go").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let set = GeneratedSource::new(directory, algorithm).load().await.unwrap();
    println!("fingerprint: {}", set.signing.unwrap().fingerprint());
}
