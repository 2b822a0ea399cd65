#![allow(clippy::unwrap_used)]

use std::error::Error as _;

use sqlx::Executor as _;

use super::*;
use crate::store::{SessionId, StoreErrorKind, TokenId};
use crate::time::Clock as _;
use crate::time::SystemClock;

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_keeps_what_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(dir.path().join("sessions.db").to_str().unwrap()).await.unwrap();
    store.revoke(Revocation::Session(session(0)), Retention::new(at(10), 0, 4_000_000_000)).await.unwrap();
    let limit_pages = |pages: u32| {
        let writer = match &store.0.backend {
            Backend::Sqlite { writer, .. } => writer.clone(),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => panic!("SQLite"),
        };
        async move {
            writer.execute(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).await.map(drop)
        }
    };
    // What SQLite answers with when the disk has no page more.
    limit_pages(40).await.unwrap();
    let mut recorded = 0;
    let error = loop {
        match store.rotate(sign_in(1 + recorded)).await {
            Ok(rotated) => assert_eq!(rotated, Rotated::Recorded),
            Err(error) => break error,
        }
        recorded += 1;
        assert!(recorded < 10_000, "it is never full");
    };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert!(error.source().is_some(), "{error:?}");
    for n in 0..20 {
        let revocation = Revocation::SubjectBefore {
            subject: SubjectId::from_bytes([n; 32]),
            instant: at(0),
            except: None,
        };
        match store.revoke(revocation, Retention::new(at(10), 0, 4_000_000_000)).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Full, "a revocation that is lost is said to be")
            }
        }
    }
    let presented = |n| {
        Presented::new(session(n), TokenId::from_bytes([0; 32]), None, SystemClock.now().after(60), at(10))
    };
    assert_eq!(store.standing(&presented(0)).await.unwrap(), Standing::Revoked);
    assert_eq!(store.standing(&presented(1)).await.unwrap(), Standing::Live);
    limit_pages(100_000).await.unwrap();
    assert_eq!(store.rotate(sign_in(1 + recorded)).await.unwrap(), Rotated::Recorded, "room again");
    store.close().await;
}

/// They are few among all that are on record.
#[tokio::test]
async fn the_sessions_that_begin_ahead_of_the_clock_are_found_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(dir.path().join("sessions.db").to_str().unwrap()).await.unwrap();
    let readers = match &store.0.backend {
        Backend::Sqlite { readers, .. } => readers,
        #[cfg(feature = "postgres")]
        Backend::Postgres(_) => panic!("SQLite"),
    };
    let plan = format!(
        "EXPLAIN QUERY PLAN {}",
        sqlx::SqlSafeStr::into_sql_str(&store.0.statements.begun_after.sql).as_str()
    );
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(plan)).fetch_all(readers).await.unwrap();
    let steps = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail")).collect::<Vec<_>>();
    assert!(steps.iter().any(|step| step.contains("sessions_by_start")), "{steps:#?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:#?}");
    store.close().await;
}

/// They may be many, and one that does not end must not keep the others live.
#[tokio::test]
async fn a_revocation_is_recorded_before_later_sessions_end_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(dir.path().join("sessions.db").to_str().unwrap()).await.unwrap();
    let now = SystemClock.now();
    let presented = |n, start| {
        Presented::new(
            session(n),
            TokenId::from_bytes([0; 32]),
            Some(SubjectId::from_bytes([9; 32])),
            start,
            now,
        )
    };
    for (n, start) in [(1, now), (2, now.after(60))] {
        let sign_in = Rotation::sign_in(presented(n, start), "{}", now.after(900));
        assert_eq!(store.rotate(sign_in).await.unwrap(), Rotated::Recorded);
    }
    let writer = match &store.0.backend {
        Backend::Sqlite { writer, .. } => writer,
        #[cfg(feature = "postgres")]
        Backend::Postgres(_) => panic!("SQLite"),
    };
    let table = format!("{}sessions", store.0.statements.prefix);
    let broken =
        format!("CREATE TRIGGER broken BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END");
    writer.execute(sqlx::AssertSqlSafe(broken)).await.unwrap();
    let subject = SubjectId::from_bytes([9; 32]);
    for revocation in [
        Revocation::SubjectBefore { subject, instant: now, except: None },
        Revocation::AllBefore { instant: now },
    ] {
        let error = store.revoke(revocation, Retention::new(now, 0, 900)).await.unwrap_err();
        assert!(format!("{error:?}").contains("broken"), "{error:?}");
        assert_eq!(store.standing(&presented(1, now)).await.unwrap(), Standing::Revoked, "{revocation:?}");
    }
    writer.execute("DROP TRIGGER broken").await.unwrap();
    let all = Revocation::AllBefore { instant: now };
    store.revoke(all, Retention::new(now, 0, 900)).await.unwrap();
    assert_eq!(store.standing(&presented(2, now.after(60))).await.unwrap(), Standing::Revoked);
}

/// A clock that is behind would vouch for what began before a loss.
#[tokio::test]
async fn a_store_is_dated_by_the_later_of_two_clocks_and_a_second_on() {
    let now = || secs(SystemClock.now());
    for (clock, is_ahead) in [(0, false), (now() - 5, false), (now() + 600, true)] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sessions.db");
        let wait = std::time::Duration::from_secs(5);
        let (backend, dialect) = Backend::sqlite(file.to_str().unwrap(), 1, wait).await.unwrap();
        let before = now();
        backend.migrate(dialect, "reissue_", clock).await.unwrap();
        let after = now();
        backend.close().await;
        let store = SqlStore::sqlite(file.to_str().unwrap()).await.unwrap();
        let find = &store.0.statements.find;
        let born = secs(store.0.find(find, None, None).await.unwrap().created_at);
        let expected = if is_ahead { clock + 1..=clock + 1 } else { before + 1..=after + 1 };
        assert!(expected.contains(&born), "{born}, by a clock at {clock}: {expected:?}");
    }
}

/// A revocation of its head leaves a sign-in's row with the head that it had.
#[tokio::test]
async fn a_sign_in_is_undone_only_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(dir.path().join("sessions.db").to_str().unwrap()).await.unwrap();
    let inner = &*store.0;
    let stamp = async || {
        let found = inner.find(&inner.statements.find, Some(session(1)), None).await.unwrap();
        found.stamp
    };
    let rotation = sign_in(1);
    let presented = rotation.presented;
    assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Recorded);
    let made = stamp().await.unwrap();
    let head = Revocation::Token { session: session(1), token: presented.token };
    store.revoke(head, Retention::new(at(10), 0, 4_000_000_000)).await.unwrap();
    assert!(!inner.undo(session(1), made).await.unwrap());
    assert_eq!(store.standing(&presented).await.unwrap(), Standing::Revoked);
    assert!(inner.undo(session(1), stamp().await.unwrap()).await.unwrap());
    assert_eq!(stamp().await, None);
}

fn sign_in(n: u64) -> Rotation {
    let presented = Presented::new(session(n), TokenId::from_bytes([0; 32]), None, at(0), at(10));
    Rotation::sign_in(presented, format!("{{\"pad\":\"{}\"}}", "x".repeat(1_000)), at(4_000_000_000))
}

fn session(n: u64) -> SessionId {
    let mut name = [0; 32];
    name.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
    SessionId::from_bytes(name)
}

fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(secs)
}
