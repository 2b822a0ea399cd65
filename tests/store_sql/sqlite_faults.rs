//! Faults of a file.

use super::*;

#[tokio::test]
async fn a_file_locked_by_another_process_is_a_503_in_time_and_never_a_401() {
    use sqlx::{Connection as _, Executor as _};
    let place = new_sqlite();
    let service = Service::over(place.open().await).await;
    let mut other = sqlx::SqliteConnection::connect(&place.address).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    // Readers don't wait for a writer; what must be written is not. A revocation fails aloud.
    assert_eq!(service.ask(&service.fresh).await, (200, false, false));
    assert_eq!(service.ask(&service.unrenewed).await, (200, false, false), "served unrenewed");
    assert_eq!(service.ask(&service.due).await, (200, false, true), "its successor is on record");
    assert_eq!(service.ask(&service.unexchanged).await, (503, true, false));
    assert_eq!(service.ask(&service.grace).await, (401, false, true), "its successor is on record");
    assert_eq!(service.ask(&service.revoked).await, (401, false, false));
    let begun = Instant::now();
    assert!(service.authority.revoke_subject("alice").await.is_err());
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    other.execute("ROLLBACK").await.unwrap();
    drop(other);
    // What was cut off may have been done after all, or not; nothing is worse for it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(service.ask(&service.revoked).await.0, 401);
}

#[tokio::test]
async fn a_busy_timeout_that_ends_is_a_timeout() {
    use sqlx::{Connection as _, Executor as _};
    let place = new_sqlite();
    let store = SqlStore::builder().wait(Duration::from_millis(100)).sqlite(&place.address).await.unwrap();
    let mut other = sqlx::SqliteConnection::connect(&place.address).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = store.rotate(renewal(token(0), token(1))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(store.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_memory_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sessions.db");
    std::fs::write(&file, "a".repeat(8192)).unwrap();
    let error = SqlStore::sqlite(file.to_str().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    for memory in [":memory:", "sqlite::memory:", "sqlite://x?mode=memory", ""] {
        let error = SqlStore::sqlite(memory).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{memory:?}");
    }
    let file = dir.path().join("missing/sessions.db");
    let error = SqlStore::sqlite(file.to_str().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let told = error.to_string();
    assert!(told.contains(file.to_str().unwrap()) && told.matches("No such file").count() == 1, "{told}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_missing_file_is_created_where_a_link_leads() {
    let dir = tempfile::tempdir().unwrap();
    let [link, target] = ["store.db", "volume.db"].map(|name| dir.path().join(name));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for _ in 0..2 {
        let store = SqlStore::sqlite(link.to_str().unwrap()).await.unwrap();
        let standing = store.standing(&presents(session(0), token(1))).await.unwrap();
        assert_eq!((standing, target.exists()), (Standing::Live, true));
    }
}

/// The connection that writes would go on with the old file, and one that is opened later would read the new one.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_the_file_was_replaced_or_removed_every_call_is_an_outage() {
    for is_restored in [true, false] {
        let place = new_sqlite();
        let store = place.open().await;
        let presented = presents(session(0), token(1));
        store.rotate(renewal(token(0), token(1))).await.unwrap();
        assert_eq!(store.standing(&presented).await.unwrap(), Standing::Live);
        let [backup, aside] = ["backup", "aside"].map(|name| format!("{}.{name}", place.address));
        place.meddle(&format!("VACUUM INTO '{backup}'")).await;
        std::fs::rename(&place.address, &aside).unwrap();
        if is_restored {
            std::fs::rename(&backup, &place.address).unwrap();
        }

        let told = |error: StoreError| {
            let text = error.to_string();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{text}");
            for part in [&*place.address, "replaced or removed", "restart"] {
                assert!(text.contains(part), "{part:?} is missing: {text}");
            }
        };
        let revocation = Revocation::Session(session(0));
        told(store.revoke(revocation, kept(now(), end())).await.unwrap_err());
        told(store.rotate(renewal(token(1), token(2))).await.unwrap_err());
        let subject = SubjectId::from_bytes([7; 32]);
        told(store.sessions(subject, now(), Page::default()).await.unwrap_err());
        told(store.horizon(Horizon::Secs(1)).await.unwrap_err());
        told(store.purge(now()).await.unwrap_err());
        // More than there are connections yet.
        let asked = (0..16).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.standing(&presented).await })
        });
        for answer in futures_util::future::join_all(asked).await {
            told(answer.unwrap().unwrap_err());
        }
        assert_eq!(std::fs::exists(&place.address).unwrap(), is_restored, "a file was made anew");

        std::fs::rename(&aside, &place.address).unwrap();
        if is_restored {
            // Connections to the other file may be left.
            told(store.standing(&presented).await.unwrap_err());
        } else {
            assert_eq!(store.standing(&presented).await.unwrap(), Standing::Live);
        }
        let restarted = place.open().await;
        assert_eq!(restarted.standing(&presented).await.unwrap(), Standing::Live);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = new_sqlite();
    let store = place.open().await;
    store.rotate(renewal(token(0), token(1))).await.unwrap();
    let dir = std::path::Path::new(&place.address).parent().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}
