//! `SqlStore` on an SQLite file and on a PostgreSQL server of the tests' own: the conformance suite, servers crashed,
//! frozen and cut off. Its races, and processes killed in them, are in `one_successor`.
#![cfg(any(feature = "sqlite", feature = "postgres"))]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, unused_imports, reason = "each database has faults of its own")
)]

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod postgres_server;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use support::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{
    ClaimsStore, MemoryStore, Presented, Revocation, Rotated, Rotation, SessionId, SessionRecord, SqlStore,
    Standing, StoreErrorKind, SubjectId, TokenId, conformance,
};
use tower_reissue::{Clock as _, ManualClock, NumericDate, ReissueLayer, SystemClock};

/// Where a store is: an SQLite path or a PostgreSQL URL, and the prefix of its tables.
#[derive(Clone)]
struct Place {
    address: String,
    prefix: String,
    /// Of an SQLite file.
    _dir: Option<Arc<TempDir>>,
}

impl Place {
    async fn open(&self) -> SqlStore {
        self.try_open().await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    async fn try_open(&self) -> Result<SqlStore, tower_reissue::store::StoreError> {
        let builder = SqlStore::builder().table_prefix(&self.prefix);
        // Longer than any queue of these tests on a machine that does other things too.
        let builder = builder.wait(Duration::from_secs(30));
        #[cfg(feature = "postgres")]
        if self.address.starts_with("postgres:") {
            return builder.postgres(&self.address).await;
        }
        #[cfg(feature = "sqlite")]
        return builder.sqlite(&self.address).await;
        #[cfg(not(feature = "sqlite"))]
        unreachable!("no SQLite");
    }

    /// Runs a statement behind the store's back; `{p}` is the prefix. The rows changed.
    async fn meddle(&self, statement: &str) -> u64 {
        use sqlx::{Connection as _, Executor as _};
        let statement = statement.replace("{p}", &self.prefix);
        #[cfg(feature = "postgres")]
        if self.address.starts_with("postgres:") {
            let mut connection = sqlx::PgConnection::connect(&self.address).await.unwrap();
            return connection.execute(&*statement).await.unwrap().rows_affected();
        }
        #[cfg(feature = "sqlite")]
        {
            let mut connection = sqlx::SqliteConnection::connect(&self.address).await.unwrap();
            let changed = connection.execute(&*statement).await.unwrap().rows_affected();
            connection.close().await.unwrap();
            changed
        }
        #[cfg(not(feature = "sqlite"))]
        unreachable!("no SQLite")
    }

    fn bytes(&self, hex: &str) -> String {
        if self.address.starts_with("postgres:") { format!("'\\x{hex}'") } else { format!("x'{hex}'") }
    }
}

#[cfg(feature = "sqlite")]
fn new_sqlite() -> Place {
    let dir = TempDir::new("sqlite");
    let address = dir.path().join("sessions.db").to_str().unwrap().to_owned();
    Place { address, prefix: "reissue_".to_owned(), _dir: Some(Arc::new(dir)) }
}

/// Tables of their own on one server that all tests share.
#[cfg(feature = "postgres")]
fn new_postgres() -> Place {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static SERVER: LazyLock<postgres_server::Postgres> = LazyLock::new(postgres_server::Postgres::start);
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("p{}_", COUNTER.fetch_add(1, Ordering::Relaxed));
    Place { address: SERVER.url(), prefix, _dir: None }
}

macro_rules! on_each_database {
    ($($scene:ident),* $(,)?) => {
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scene() {
                super::$scene(super::new_sqlite()).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scene() {
                super::$scene(super::new_postgres()).await;
            })*
        }
    };
}

on_each_database! {
    every_promise_is_kept,
    promises_about_races_are_kept_while_others_use_the_store,
    revocations_survive_a_restart,
    a_session_begun_before_the_store_without_a_record_is_unknown,
    an_older_schema_is_brought_up_to_date_and_a_newer_one_refused,
    many_may_open_a_new_store_at_once,
    what_has_expired_goes_and_what_lives_stays,
    a_record_that_makes_no_sense_is_corrupt_and_a_503,
    a_revocation_that_returned_is_seen_by_every_other_connection,
    it_answers_as_the_memory_store_does,
    debug_prints_no_address,
}

async fn every_promise_is_kept(place: Place) {
    conformance::all(&place.open().await).await;
}

async fn promises_about_races_are_kept_while_others_use_the_store(place: Place) {
    let store = place.open().await;
    let tasks = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                conformance::of_n_concurrent_rotations_exactly_one_is_recorded_and_all_learn_the_same_head(
                    &store,
                )
                .await;
                conformance::a_revocation_beats_a_rotation_in_either_order(&store).await;
                conformance::a_dropped_rotation_leaves_the_old_or_the_new_state(&store).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn revocations_survive_a_restart(place: Place) {
    let store = place.open().await;
    let subject = SubjectId::from_bytes([9; 32]);
    let by_subject = owned(subject, session(3), token(1));
    let cases = [
        (Revocation::Token { session: session(1), token: token(1) }, presents(session(1), token(1))),
        (Revocation::Session(session(2)), presents(session(2), token(1))),
        (Revocation::SubjectBefore { subject, instant: start() }, by_subject),
    ];
    for (revocation, presented) in cases {
        let signed_in = Rotation::sign_in(presented, "{}", end());
        assert_eq!(store.rotate(signed_in).await.unwrap(), Rotated::Recorded);
        store.revoke(revocation, now(), end()).await.unwrap();
    }
    store.close().await;
    let error = store.standing(&by_subject).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);

    let store = place.open().await;
    for (_, presented) in cases {
        assert_eq!(store.standing(&presented).await.unwrap(), Standing::Revoked);
        let renewal = Rotation::renewal(presented, token(2), "{}", end());
        assert_eq!(store.rotate(renewal).await.unwrap(), Rotated::Revoked);
    }
}

async fn a_session_begun_before_the_store_without_a_record_is_unknown(place: Place) {
    let store = place.open().await;
    let before = NumericDate::from_secs(SystemClock.now().as_secs() - 60);
    let older = Presented::new(session(1), token(1), None, before, now());
    assert_eq!(store.standing(&older).await.unwrap(), Standing::Unknown);
    assert_eq!(store.standing(&presents(session(2), token(1))).await.unwrap(), Standing::Live);
    // Where the authority admits it all the same, its first rotation puts it on record.
    let renewal = Rotation::renewal(older, token(2), "{}", end());
    assert_eq!(store.rotate(renewal).await.unwrap(), Rotated::Recorded);
    assert_eq!(store.standing(&older).await.unwrap(), Standing::Live);
    // A store of the same tables is no younger; one that was made anew is.
    assert_eq!(place.open().await.standing(&older).await.unwrap(), Standing::Live);
    place.meddle("DELETE FROM {p}sessions").await;
    assert_eq!(store.standing(&older).await.unwrap(), Standing::Unknown);
    // A revocation is known whatever else was lost.
    store.revoke(Revocation::Session(session(1)), now(), end()).await.unwrap();
    assert_eq!(store.standing(&older).await.unwrap(), Standing::Revoked);
}

async fn an_older_schema_is_brought_up_to_date_and_a_newer_one_refused(place: Place) {
    let store = place.open().await;
    assert_eq!(store.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    store.close().await;
    // What version 1 was.
    for index in ["sessions_by_subject", "sessions_by_expiry", "subjects_by_expiry"] {
        place.meddle(&format!("DROP INDEX {{p}}{index}")).await;
    }
    place.meddle("UPDATE {p}store SET version = 1").await;
    let stores = [place.open().await, place.open().await];
    for store in &stores {
        let given = store.rotate(renewal(token(0), token(2))).await.unwrap();
        assert_eq!(given, Rotated::Superseded { head: token(1).to_string().into() });
    }
    assert_eq!(place.meddle("UPDATE {p}store SET version = 9 WHERE version = 2").await, 1, "the version");
    place.meddle("DROP INDEX {p}sessions_by_subject").await;
    let error = place.try_open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("version 9"), "{source}");
}

async fn many_may_open_a_new_store_at_once(place: Place) {
    let openings = (0..8).map(|_| {
        let place = place.clone();
        tokio::spawn(async move { place.open().await })
    });
    for (n, opening) in openings.collect::<Vec<_>>().into_iter().enumerate() {
        let store = opening.await.unwrap();
        let rotated = store.rotate(renewal(token(n as u64), token(n as u64 + 1))).await.unwrap();
        assert_eq!(rotated, Rotated::Recorded);
    }
    // Of another prefix: another store.
    let other = Place { prefix: "other_".to_owned() + &place.prefix, ..place.clone() };
    assert_eq!(other.open().await.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    for prefix in ["", "1", "a-b", "Reissue_", "a\"; --", "a.b"] {
        let error = Place { prefix: prefix.to_owned(), ..place.clone() }.try_open().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{prefix:?}");
    }
}

async fn what_has_expired_goes_and_what_lives_stays(place: Place) {
    let store = place.open().await;
    let at = NumericDate::from_secs;
    // Long ago, so that it has expired by the database's own clock too.
    for n in 0..600 {
        let presented = Presented::new(session(n), token(0), None, at(0), at(100));
        store.rotate(Rotation::sign_in(presented, "{}", at(200))).await.unwrap();
        let subject = SubjectId::from_bytes(*session(n).as_bytes());
        let revocation = Revocation::SubjectBefore { subject, instant: at(50) };
        if n < 20 {
            store.revoke(revocation, at(100), at(200)).await.unwrap();
        }
    }
    store.revoke(Revocation::Session(session(7_000)), now(), end()).await.unwrap();
    // Expired by the caller's clock, which has leapt ahead, and by nobody else's.
    let removed = store.purge(NumericDate::MAX).await.unwrap();
    assert_eq!(store.purge(NumericDate::MAX).await.unwrap(), 0);
    assert!((1..=620).contains(&removed), "{removed}");
    assert_eq!(
        store.standing(&presents(session(7_000), token(1))).await.unwrap(),
        Standing::Revoked,
        "a live tombstone"
    );

    // Nobody purges: what expired goes with the writes that follow.
    for n in 0..100 {
        let presented = Presented::new(session(n), token(0), None, at(0), at(100));
        store.rotate(Rotation::sign_in(presented, "{}", at(200))).await.unwrap();
    }
    let begun = Instant::now();
    let mut n = 0;
    // The rows that the writes themselves add are alive.
    while place.meddle("UPDATE {p}sessions SET renewed = renewed WHERE expires <= 200").await > 0 {
        n += 1;
        store.revoke(Revocation::Session(session(8_000 + n)), now(), end()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
    }
    assert_eq!(store.standing(&presents(session(7_000), token(1))).await.unwrap(), Standing::Revoked);
    assert_eq!(store.standing(&presents(session(8_001), token(1))).await.unwrap(), Standing::Revoked);
}

async fn a_record_that_makes_no_sense_is_corrupt_and_a_503(place: Place) {
    let store = place.open().await;
    let scene = Scene::new(store.clone()).await;
    let short = place.bytes("00");
    for damage in [
        format!("head = {short}"),
        "generation = -1".to_owned(),
        "claims = NULL, chain_until = 253402300799".to_owned(),
        "chain_until = -5".to_owned(),
        "revoked_until = 253402300800".to_owned(),
        format!("ancestors = {short}"),
        format!("revoked_tokens = {short}"),
        "session_start = NULL".to_owned(),
    ] {
        // A copy aside, to put back.
        place.meddle("DROP TABLE IF EXISTS {p}aside").await;
        place.meddle("CREATE TABLE {p}aside AS SELECT * FROM {p}sessions").await;
        place.meddle(&format!("UPDATE {{p}}sessions SET {damage}")).await;
        for token in [&scene.due, &scene.revoked] {
            let (status, retry_after, successor) = scene.request(token).await;
            if damage.contains("claims") {
                // Read by a rotation only: the request is served, unrenewed. A tombstone is a tombstone still.
                assert!(matches!(status, 200 | 401) && !successor, "{damage}: {status}");
                assert_eq!(status == 401, token == &scene.revoked, "{damage}");
            } else if token == &scene.due || damage.contains("revoked") {
                assert_eq!((status, retry_after, successor), (503, true, false), "{damage}");
            } else {
                // A revoked session's row has little left to be damaged.
                assert!(matches!(status, 401 | 503) && !successor, "{damage}: {status}");
            }
        }
        place.meddle("DELETE FROM {p}sessions").await;
        place.meddle("INSERT INTO {p}sessions SELECT * FROM {p}aside").await;
    }
    assert_eq!(scene.request(&scene.due).await, (200, false, true), "put right");
    // The store's own row lost: nothing can be known.
    place.meddle("DELETE FROM {p}store").await;
    let error = store.standing(&presents(session(1), token(1))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(std::error::Error::source(&error).is_some());
}

/// Two stores on one place, as two processes would have: the one revokes, the other rotates all the while.
async fn a_revocation_that_returned_is_seen_by_every_other_connection(place: Place) {
    let (revoker, rotator) = (place.open().await, place.open().await);
    for n in 0..60 {
        let subject = SubjectId::from_bytes(*session(n).as_bytes());
        let presented = owned(subject, session(n), token(0));
        let revocation = match n % 3 {
            0 => Revocation::Session(session(n)),
            1 => Revocation::SubjectBefore { subject, instant: start() },
            _ => Revocation::Token { session: session(n), token: token(0) },
        };
        if n % 2 == 0 {
            rotator.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
        }
        let rotation = Rotation::renewal(presented, token(1), "{}", end());
        let (rotated, revoked) =
            tokio::join!(rotator.rotate(rotation), revoker.revoke(revocation, now(), end()));
        revoked.unwrap();
        let left = match rotated.unwrap() {
            Rotated::Recorded => &[token(0), token(1)][..],
            Rotated::Revoked => &[token(0)],
            other => panic!("{other:?}"),
        };
        for token in left {
            let presented = owned(subject, session(n), *token);
            assert_eq!(rotator.standing(&presented).await.unwrap(), Standing::Revoked, "{n}");
            let rotation = Rotation::renewal(presented, self::token(2), "{}", end());
            assert_eq!(rotator.rotate(rotation).await.unwrap(), Rotated::Revoked, "{n}");
        }
    }
}

/// Any calls in any order, time moving on.
async fn it_answers_as_the_memory_store_does(place: Place) {
    let (store, memory) = (place.open().await, MemoryStore::new());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |bound: u64| {
        // xorshift: the same calls in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let start = start().as_secs();
    let at = |secs: u64| NumericDate::from_secs(start + secs);
    let subject = |s: u64| SubjectId::from_bytes(name(s % 2));
    let mut now = 10;
    for call in 0..1_500 {
        let (s, t, lasts) = (below(4), below(7), below(60));
        match below(30) {
            0..4 => now += below(15),
            4..27 => {
                let presented = Presented::new(session(s), token(t), Some(subject(s)), at(s), at(now));
                let successor = below(7);
                let claims = format!("{call}");
                let rotation = if below(10) == 0 {
                    Rotation::sign_in(presented, claims, at(now + lasts + 1))
                } else {
                    Rotation::renewal(presented, token(successor), claims, at(now + lasts + 1))
                };
                let ours = store.rotate(rotation.clone()).await.map_err(|error| error.kind());
                let theirs = memory.rotate(rotation).await.map_err(|error| error.kind());
                assert_eq!(ours, theirs, "call {call}");
            }
            n => {
                let revocation = match n {
                    27 => Revocation::Session(session(s)),
                    28 => Revocation::Token { session: session(s), token: token(t) },
                    _ => Revocation::SubjectBefore { subject: subject(s), instant: at(below(4)) },
                };
                store.revoke(revocation, at(now), at(now + lasts / 2)).await.unwrap();
                memory.revoke(revocation, at(now), at(now + lasts / 2)).await.unwrap();
            }
        }
        let presented = Presented::new(session(s), token(t), Some(subject(s)), at(s), at(now));
        let ours = store.standing(&presented).await.unwrap();
        assert_eq!(ours, memory.standing(&presented).await.unwrap(), "call {call}");
        if call % 16 == 0 {
            let (ours, theirs) = (
                store.sessions(subject(s), at(now)).await.unwrap(),
                memory.sessions(subject(s), at(now)).await.unwrap(),
            );
            let sorted = |records: Vec<SessionRecord>| {
                let mut records = records
                    .into_iter()
                    .map(|r| (r.session, r.session_start, r.renewed, r.claims))
                    .collect::<Vec<_>>();
                records.sort();
                records
            };
            assert_eq!(sorted(ours), sorted(theirs), "call {call}");
        }
    }
}

async fn debug_prints_no_address(place: Place) {
    let debug = format!("{:?}", place.open().await);
    assert!(debug.starts_with("SqlStore { backend: "), "{debug}");
    for secret in [place.address.as_str(), "127.0.0.1", "tests@", "sessions.db"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[cfg(feature = "sqlite")]
mod sqlite_faults {
    use super::*;

    #[tokio::test]
    async fn a_file_locked_by_another_process_is_a_503_in_time_and_never_a_401() {
        use sqlx::{Connection as _, Executor as _};
        let place = new_sqlite();
        let scene = Scene::new(place.open().await).await;
        let mut other = sqlx::SqliteConnection::connect(&place.address).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        // Readers don't wait for a writer; what must be written is not. A revocation fails aloud.
        assert_eq!(scene.request(&scene.fresh).await, (200, false, false));
        assert_eq!(scene.request(&scene.unrenewed).await, (200, false, false), "served unrenewed");
        assert_eq!(scene.request(&scene.due).await, (200, false, true), "its successor is on record");
        assert_eq!(scene.request(&scene.grace).await, (503, true, false));
        assert_eq!(scene.request(&scene.revoked).await, (401, false, false));
        let begun = Instant::now();
        assert!(scene.authority.revoke_subject("alice").await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        other.execute("ROLLBACK").await.unwrap();
        drop(other);
        // What was cut off may have been done after all, or not; nothing is worse for it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(scene.request(&scene.revoked).await.0, 401);
    }

    #[tokio::test]
    async fn a_busy_timeout_that_ends_is_a_timeout() {
        use sqlx::{Connection as _, Executor as _};
        let place = new_sqlite();
        let store =
            SqlStore::builder().wait(Duration::from_millis(100)).sqlite(&place.address).await.unwrap();
        let mut other = sqlx::SqliteConnection::connect(&place.address).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        let error = store.rotate(renewal(token(0), token(1))).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Timeout);
        other.execute("ROLLBACK").await.unwrap();
        assert_eq!(store.rotate(renewal(token(0), token(1))).await.unwrap(), Rotated::Recorded);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_memory_too() {
        let dir = TempDir::new("sqlite-none");
        let file = dir.path().join("sessions.db");
        std::fs::write(&file, "a".repeat(8192)).unwrap();
        let error = SqlStore::sqlite(file.to_str().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        for memory in [":memory:", "sqlite::memory:", "sqlite://x?mode=memory", ""] {
            let error = SqlStore::sqlite(memory).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{memory:?}");
        }
        let error =
            SqlStore::sqlite(dir.path().join("missing/sessions.db").to_str().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
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
}

#[cfg(feature = "postgres")]
mod postgres_faults {
    use super::*;
    use crate::postgres_server::Postgres;

    /// Crashed, frozen, and with every connection cut; through a real layer.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_outage_is_a_503_never_a_401_and_ends_within_a_second_of_the_servers_return() {
        let server = Postgres::start();
        let store = SqlStore::postgres(server.url()).await.unwrap();
        let scene = Scene::new(store).await;
        scene.assert_well().await;

        for round in 0..3 {
            server.crash();
            scene.assert_out().await;
            server.run_again();
            scene.assert_well_within_a_second(&format!("crash {round}")).await;
        }
        for round in 0..2 {
            server.freeze();
            scene.assert_out().await;
            scene.assert_out().await;
            server.thaw();
            scene.assert_well_within_a_second(&format!("freeze {round}")).await;
        }
        // Connections that were cut are replaced within the call: nobody notices.
        let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
        for _ in 0..5 {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
            place.meddle(cut).await;
            scene.assert_well().await;
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_in_time() {
        let builder = SqlStore::builder().wait(Duration::from_millis(300));
        let error = builder.postgres("postgres://somebody:secret@127.0.0.1:9/x").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Timeout);
        assert!(!format!("{error:?} {error}").contains("secret"));
        let error = SqlStore::postgres("http://127.0.0.1:9/x").await;
        assert!(error.is_err());
    }
}

/// Tokens of every kind before a real layer over the store.
struct Scene {
    authority: tower_reissue::Authority,
    /// Nothing is due.
    fresh: String,
    /// To be renewed.
    due: String,
    /// To be renewed too, and not renewed yet.
    unrenewed: String,
    /// To be exchanged.
    grace: String,
    /// Of a session that was revoked.
    revoked: String,
}

impl Scene {
    async fn new(store: SqlStore) -> Self {
        let clock = ManualClock::at(NOW + 1_000);
        let authority =
            builder(&clock).store(store).store_deadline(Duration::from_millis(500)).build().unwrap();
        let made = |jti: &str, age: u64| {
            let iat = NOW + 1_000 - age;
            mint(&claims_with(json!({ "jti": jti, "sid": jti, "iat": iat, "exp": iat + 600 })))
        };
        let scene = Self {
            fresh: made("fresh", 10),
            due: made("due", 500),
            unrenewed: made("unrenewed", 500),
            grace: made("grace", 610),
            revoked: made("revoked", 10),
            authority,
        };
        scene.authority.sign_out(&scene.revoked).await.unwrap();
        assert_eq!(scene.request(&scene.due).await, (200, false, true));
        scene
    }

    /// Status, whether it says Retry-After, whether there is a successor. Never late.
    async fn request(&self, token: &str) -> (u16, bool, bool) {
        let service =
            ReissueLayer::new(self.authority.clone()).layer(service_fn(|_: Request<()>| async move {
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
            }));
        let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let begun = Instant::now();
        let response = service.oneshot(request).await.unwrap();
        // Two calls of the store at most, each with its deadline of half a second.
        assert!(begun.elapsed() < Duration::from_millis(1900), "answered after {:?}", begun.elapsed());
        let has = |name: &str| response.headers().contains_key(name);
        (response.status().as_u16(), has("retry-after"), has("refreshed-api-token"))
    }

    async fn assert_well(&self) {
        assert_eq!(self.request(&self.fresh).await, (200, false, false), "fresh");
        assert_eq!(self.request(&self.due).await, (200, false, true), "due");
        assert_eq!(self.request(&self.grace).await, (401, false, true), "in grace");
        assert_eq!(self.request(&self.revoked).await, (401, false, false), "revoked");
    }

    async fn assert_out(&self) {
        let tokens = [&self.fresh, &self.due, &self.grace, &self.revoked];
        let answers = futures_util::future::join_all(tokens.map(|token| self.request(token))).await;
        assert_eq!(answers, [(503, true, false); 4]);
        assert!(self.authority.revoke_subject("nobody").await.is_err(), "a revocation fails aloud");
    }

    async fn assert_well_within_a_second(&self, after: &str) {
        let begun = Instant::now();
        while self.request(&self.fresh).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?} after {after}", begun.elapsed());
        self.assert_well().await;
    }
}

/// After any store's birth.
fn start() -> NumericDate {
    NumericDate::from_secs(4_000_000_000)
}

fn now() -> NumericDate {
    NumericDate::from_secs(4_000_000_060)
}

fn end() -> NumericDate {
    NumericDate::from_secs(4_000_003_600)
}

fn name(n: u64) -> [u8; 32] {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&n.to_be_bytes());
    name
}

fn token(n: u64) -> TokenId {
    TokenId::from_bytes(name(n))
}

fn session(n: u64) -> SessionId {
    SessionId::from_bytes(name(n))
}

fn presents(session: SessionId, token: TokenId) -> Presented {
    Presented::new(session, token, None, start(), now())
}

fn owned(subject: SubjectId, session: SessionId, token: TokenId) -> Presented {
    Presented::new(session, token, Some(subject), start(), now())
}

/// Of session 0; the claims are the successor's name.
fn renewal(predecessor: TokenId, successor: TokenId) -> Rotation {
    Rotation::renewal(presents(session(0), predecessor), successor, successor.to_string(), end())
}
