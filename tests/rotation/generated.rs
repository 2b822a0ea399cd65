//! Keys made at the first start.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::process::{Command, Stdio};

use tower_reissue::VerifyingKey;
use tower_reissue::keys::{
    DirectorySource, FileSource, GeneratedSource, KeyErrorKind, KeyFormat, KeySet, KeySource,
};

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
        // In a sticky one nobody replaces another's file, but anybody may be the first to put one there.
        for mode in [0o770, 0o707, 0o720, 0o777, 0o2775, 0o1777] {
            chmod(&directory, mode);
            let error = told().await.unwrap_err().to_string();
            let remedy = format!("`chmod 700 {}`", directory.display());
            assert!(error.contains(&format!("{mode:04o}")) && error.contains(&remedy), "{error}");
        }
        // Who reads the directory reads no key.
        for mode in [0o700, 0o755, 0o1755] {
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

        // A link is not followed, wherever it leads.
        chmod(&open, 0o700);
        fs::rename(&file, open.join("key")).unwrap();
        symlink(open.join("key"), &file).unwrap();
        let error = told().await.unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains("FileSource"), "{error}");
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn refusal(directory: &Path, algorithm: Algorithm) -> String {
    let source = GeneratedSource::new(directory, algorithm);
    // Opening what is not a regular file must not block.
    let loaded = tokio::time::timeout(Duration::from_secs(10), source.load()).await.expect("an answer");
    let error = loaded.map(|set| panic!("{set:?} was read")).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Unavailable, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_key_that_another_user_put_there_is_never_read() {
    for (algorithm, name) in [(Algorithm::HS256, "secret_key"), (Algorithm::EdDSA, "private_key.pem")] {
        // The key of another service of this user's, and a sticky directory that anybody can write to.
        let scratch = Scratch::new();
        let (theirs, shared) = (scratch.path("theirs"), scratch.path("shared"));
        GeneratedSource::new(&theirs, algorithm).load().await.unwrap();
        fs::create_dir(&shared).unwrap();
        chmod(&shared, 0o1777);
        symlink(theirs.join(name), shared.join(name)).unwrap();
        // As root, the link can be made another user's; in other processes it has to be this user's.
        let _ = lchown(shared.join(name), Some(4242), Some(4242));
        assert!(refusal(&shared, algorithm).await.contains("others may write to"));
        // Nor where the directory was closed when the link was there already.
        chmod(&shared, 0o700);
        assert!(refusal(&shared, algorithm).await.contains("symbolic link"));

        // A pipe, a directory and another user's file under the name are no key either.
        fs::remove_file(shared.join(name)).unwrap();
        let made = Command::new("mkfifo").args(["-m", "600"]).arg(shared.join(name)).status();
        assert!(made.unwrap().success());
        assert!(refusal(&shared, algorithm).await.contains("is not a regular file"));
        fs::remove_file(shared.join(name)).unwrap();
        fs::create_dir(shared.join(name)).unwrap();
        chmod(&shared.join(name), 0o700);
        assert!(refusal(&shared, algorithm).await.contains("is not a regular file"));
        fs::remove_dir(shared.join(name)).unwrap();
        fs::write(shared.join(name), fs::read(theirs.join(name)).unwrap()).unwrap();
        chmod(&shared.join(name), 0o600);
        if lchown(shared.join(name), Some(4242), None).is_ok() {
            assert!(refusal(&shared, algorithm).await.contains("belongs to user 4242"));
        }
    }
    // The public half is looked at in the same way.
    let scratch = Scratch::new();
    GeneratedSource::new(scratch.dir(), Algorithm::EdDSA).load().await.unwrap();
    let public = scratch.path("public_key.pem");
    chmod(&public, 0o666);
    assert!(refusal(scratch.dir(), Algorithm::EdDSA).await.contains("`chmod 644"));
    fs::rename(&public, scratch.path("aside")).unwrap();
    symlink(scratch.path("aside"), &public).unwrap();
    assert!(refusal(scratch.dir(), Algorithm::EdDSA).await.contains("symbolic link"));
}

#[tokio::test]
async fn links_on_the_way_are_followed_where_nobody_else_can_replace_them() {
    let scratch = Scratch::new();
    let real = scratch.path("real");
    let load = |path: PathBuf| async { GeneratedSource::new(path, Algorithm::HS256).load().await };
    let key = load(real.join("keys")).await.unwrap().signing.unwrap();
    let same = |set: KeySet| assert_eq!(set.signing.unwrap().fingerprint(), key.fingerprint());

    fs::create_dir(scratch.path("links")).unwrap();
    symlink("../real", scratch.path("links/relative")).unwrap();
    symlink(&real, scratch.path("links/absolute")).unwrap();
    symlink("relative/keys", scratch.path("links/whole")).unwrap();
    for path in ["links/relative/keys", "links/absolute/keys", "links/whole", "links/absolute/../real/keys/."]
    {
        same(load(scratch.path(path)).await.unwrap());
    }
    // From where the process is.
    let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    same(load(up.join(real.strip_prefix("/").unwrap()).join("keys")).await.unwrap());

    for mode in [0o777, 0o1777, 0o775] {
        chmod(&scratch.path("links"), mode);
        for path in ["links/relative/keys", "links/absolute/keys", "links/whole"] {
            let error = refusal(&scratch.path(path), Algorithm::HS256).await;
            assert!(error.contains("others can replace"), "{error}");
        }
    }
    chmod(&scratch.path("links"), 0o755);
    if lchown(scratch.path("links/relative"), Some(4242), None).is_ok() {
        let error = refusal(&scratch.path("links/relative/keys"), Algorithm::HS256).await;
        assert!(error.contains("others can replace"), "{error}");
    }
    symlink("loop", scratch.path("links/loop")).unwrap();
    refusal(&scratch.path("links/loop"), Algorithm::HS256).await;
    fs::write(scratch.path("file"), "").unwrap();
    refusal(&scratch.path("file"), Algorithm::HS256).await;
    refusal(&scratch.path("file/keys"), Algorithm::HS256).await;
}

/// As the kubelet mounts it: everybody may write to the sticky mount as far as its mode says, and all is links.
fn mounted_secret(at: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(at.join("..2027_01_15")).unwrap();
    for (name, text) in files {
        write(&at.join("..2027_01_15").join(name), text);
        symlink(Path::new("..data").join(name), at.join(name)).unwrap();
    }
    symlink("..2027_01_15", at.join("..data")).unwrap();
}

#[tokio::test]
async fn a_mounted_secret_is_for_file_and_directory_sources_and_a_generated_source_refuses_it() {
    let expected = secret_key(1);
    // A Secret's own mode, and that of one with an `fsGroup`, whose files the group may read.
    for (mode, file_mode) in [(0o1777, 0o644), (0o3777, 0o440), (0o2775, 0o440)] {
        let scratch = Scratch::new();
        let mount = scratch.path("mount");
        mounted_secret(
            &mount,
            &[("secret_key", &secret(1)), ("old", &secret(2)), ("withdrawn", "\u{feff}\"x\"\r\n")],
        );
        for name in ["secret_key", "old", "withdrawn"] {
            chmod(&mount.join(name), file_mode);
        }
        for path in [&mount, &mount.join("..2027_01_15")] {
            chmod(path, mode);
        }
        let format = || KeyFormat::secret(Algorithm::HS256);
        let from_file = FileSource::new(mount.join("secret_key"), format()).load().await.unwrap();
        assert_eq!(from_file.signing.unwrap().fingerprint(), expected.fingerprint());
        let set = DirectorySource::new(&mount, "secret_key", format()).load().await.unwrap();
        assert_eq!(set.signing.unwrap().fingerprint(), expected.fingerprint());
        assert_eq!((set.verifying.len(), set.skipped.len(), set.withdrawn), (1, 0, vec!["x".to_owned()]));
        let error = refusal(&mount, Algorithm::HS256).await;
        assert!(error.contains(&format!("{mode:04o}")) && error.contains("`DirectorySource`"), "{error}");

        // A key of its own goes into a directory below the mount, which is made for this user alone.
        let own = GeneratedSource::new(mount.join("own"), Algorithm::HS256).load().await.unwrap();
        assert!(own.signing.is_some());
    }
}

#[tokio::test]
async fn a_key_that_is_opened_to_others_while_it_serves_is_told_and_serves_on() {
    let scratch = Scratch::new();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = told.clone();
    let keys = rotation(GeneratedSource::new(scratch.dir(), Algorithm::EdDSA))
        .on_event(move |event| {
            if let tower_reissue::KeyEvent::LoadFailed { error, .. } = event {
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
