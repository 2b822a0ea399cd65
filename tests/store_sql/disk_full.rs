//! Disks that are really full: small file systems of the tests' own.
//!
//! They are mounted, so these run where they are asked for, as root:
//! `cargo test --features sqlite,postgres --test store_sql disk_full -- --ignored`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a file system: needs root"]
async fn sqlite_on_a_full_disk() {
    let disk = SmallDisk::mount("2m");
    let file = disk.path().join("sessions.db");
    let store = SqlStore::sqlite(file.to_str().unwrap()).await.unwrap();
    refuses_what_is_new_and_keeps_what_was_revoked(store, &disk).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a file system: needs root"]
async fn postgres_with_its_tables_on_a_full_disk() {
    let server = postgres_server::Postgres::start();
    let disk = SmallDisk::mount("4m");
    postgres_server::give(disk.path());
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    place.meddle(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display())).await;
    let url = format!("{}?options=-c%20default_tablespace%3Dsmall", server.url());
    let store = SqlStore::postgres(url).await.unwrap();
    refuses_what_is_new_and_keeps_what_was_revoked(store, &disk).await;
}

/// Without room for its log the server ends itself: an outage, and nothing that was acknowledged is lost in it.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a file system: needs root"]
async fn postgres_with_its_log_on_a_full_disk() {
    let disk = SmallDisk::mount("16m");
    let server = postgres_server::Postgres::start_with_log_in(disk.path());
    let store = SqlStore::postgres(server.url()).await.unwrap();
    let service = Service::over(store.clone()).await;
    service.assert_well().await;
    let ballast = disk.fill();
    let mut recorded = Vec::new();
    let error = until_refused(&store, &mut recorded).await;
    assert_ne!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    let begun = Instant::now();
    let mut outages = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        for (token, known) in [(&service.fresh, 200), (&service.revoked, 401), (&service.due, 200)] {
            match service.ask(token).await {
                (503, true, false) => outages += 1,
                // It tries to come back by itself.
                (status, false, _) => assert_eq!(status, known),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(outages > 0, "it is never out");
    fs::remove_file(ballast).unwrap();
    if !server.answers() {
        server.run_again();
    }
    service.assert_recovers("no room for the log").await;
    for n in recorded {
        let given = store.rotate(sign_in(n)).await.unwrap();
        assert!(matches!(given, Rotated::Superseded { .. }), "{n} was acknowledged and is lost: {given:?}");
    }
}

async fn refuses_what_is_new_and_keeps_what_was_revoked(store: SqlStore, disk: &SmallDisk) {
    let service = Service::over(store.clone()).await;
    service.assert_well().await;
    store.revoke(Revocation::Session(session(1_000_000)), kept(now(), end())).await.unwrap();
    let ballast = disk.fill();
    let mut recorded = Vec::new();
    let error = until_refused(&store, &mut recorded).await;
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    // What is known is served; what can't be recorded is not given out; a revocation is made or fails aloud.
    assert_eq!(service.ask(&service.fresh).await, (200, false, false));
    assert_eq!(service.ask(&service.due).await, (200, false, true), "its successor is on record");
    assert_eq!(service.ask(&service.revoked).await, (401, false, false));
    let mut failed = 0;
    for n in 0..200 {
        let subject = SubjectId::from_bytes(name(n));
        match store
            .revoke(Revocation::SubjectBefore { subject, instant: start(), except: None }, kept(now(), end()))
            .await
        {
            Ok(()) => {
                let presented = owned(subject, session(2_000_000 + n), token(0));
                assert_eq!(store.standing(&presented).await.unwrap(), Standing::Revoked);
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0, "there was room for 200 tombstones");
    assert_eq!(
        store.standing(&presents(session(1_000_000), token(0))).await.unwrap(),
        Standing::Revoked,
        "revoked before"
    );
    fs::remove_file(ballast).unwrap();
    assert_eq!(store.rotate(sign_in(2_000_000)).await.unwrap(), Rotated::Recorded, "room again");
    service.assert_recovers("a full disk").await;
    for n in recorded {
        let given = store.rotate(sign_in(n)).await.unwrap();
        assert!(matches!(given, Rotated::Superseded { .. }), "{n} was acknowledged and is lost: {given:?}");
    }
}

async fn until_refused(store: &SqlStore, recorded: &mut Vec<u64>) -> tower_reissue::store::StoreError {
    loop {
        let n = recorded.len() as u64;
        match store.rotate(sign_in(n)).await {
            Ok(rotated) => assert_eq!(rotated, Rotated::Recorded),
            Err(error) => return error,
        }
        recorded.push(n);
        assert!(n < 20_000, "it is never full");
    }
}

fn sign_in(n: u64) -> Rotation {
    let presented = presents(session(10_000 + n), token(0));
    Rotation::sign_in(presented, format!("{{\"pad\":\"{}\"}}", "x".repeat(1_000)), end())
}

/// A file system in memory, gone with this value.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// # Panics
    /// Where it may not be mounted.
    fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"]).arg(dir.path());
        let output = mount.output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "this test mounts a small file system, which root may do alone: {why}"
        );
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all but a little of it: 64 KiB are left. The file that takes it.
    fn fill(&self) -> std::path::PathBuf {
        use std::io::Write as _;
        let (ballast, spare) = (self.path().join("ballast"), self.path().join("spare"));
        fs::write(&spare, [1; 64 * 1024]).unwrap();
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        fs::remove_file(spare).unwrap();
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has files open there keeps them until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
