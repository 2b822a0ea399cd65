//! Tables and processes of the first edition: what it recorded holds, and what is left of it fails.

use super::*;
use crate::support::kept;

on_each_database! {
    an_older_schema_is_brought_up_to_date_and_a_newer_one_refused,
    no_statement_of_an_older_release_runs_on_a_newer_schema,
    what_was_kept_for_ever_is_brought_under_the_horizon,
}

const SCHEMA: &str = include_str!("first_edition/schema.sql");
const STATEMENTS: &str = include_str!("first_edition/statements.sql");

/// Of year 9999.
const FOR_EVER: i64 = 253_402_300_799;

async fn an_older_schema_is_brought_up_to_date_and_a_newer_one_refused(place: Place) {
    let older = before();
    for version in [1, 3] {
        let place = Place { prefix: format!("{}v{version}_", place.prefix), ..place.clone() };
        place.make_first_edition().await;
        place.revoked(session(5), end().as_secs() as i64).await;
        // Renewed; and one that was begun before the store, which version 2 forgot.
        for (n, begun) in [(1, start()), (2, older)] {
            place.renewed(session(n), begun, end().as_secs() as i64).await;
        }
        place.meddle(&format!("UPDATE {{p}}store SET born = {}", older.as_secs() + 1)).await;
        if version == 1 {
            for index in ["sessions_by_subject", "sessions_by_expiry", "subjects_by_expiry"] {
                place.meddle(&format!("DROP INDEX {{p}}{index}")).await;
            }
            place.meddle("ALTER TABLE {p}sessions DROP COLUMN orphan").await;
            place.meddle("UPDATE {p}store SET version = 1").await;
        } else {
            let orphan =
                format!("UPDATE {{p}}sessions SET orphan = 1 WHERE session_start = {}", older.as_secs());
            place.meddle(&orphan).await;
        }
        for store in [place.open().await, place.open().await] {
            for (n, begun, standing) in [(1, start(), Standing::Live), (2, older, Standing::UnknownSession)] {
                let presented = Presented::new(session(n), token(0), None, begun, now());
                let given = store.rotate(Rotation::renewal(presented, token(2), "2", end())).await.unwrap();
                assert_eq!(given, Rotated::Superseded { head: "1".into() });
                let presented = Presented::new(session(n), token(1), None, begun, now());
                assert_eq!(store.standing(&presented).await.unwrap(), standing);
            }
            assert_eq!(store.standing(&presents(session(5), token(1))).await.unwrap(), Standing::Revoked);
        }
        assert_eq!(place.meddle("UPDATE {p}store SET version = 9 WHERE version = 7").await, 1, "the version");
        place.meddle("DROP INDEX {p}sessions_by_subject").await;
        let error = place.try_open().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("version 9"), "{source}");
    }
}

/// A process of an older release may be running when a newer one brings the tables up to date. It does not know what the
/// newer one records, so it must not answer, write or remove anything.
async fn no_statement_of_an_older_release_runs_on_a_newer_schema(place: Place) {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _};
    place.make_first_edition().await;
    macro_rules! run {
        ($connection:ty, $but_last:expr) => {{
            let mut older = <$connection>::connect(&place.address).await.unwrap();
            let mut statements = place.statements(STATEMENTS);
            statements.truncate(statements.len() - $but_last);
            for statement in &statements {
                older.prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await.unwrap();
            }
            let revoke = statements.iter().find(|sql| sql.starts_with("INSERT") && sql.contains("(subject,"));
            let revoke = async |connection: &mut $connection| {
                let query = sqlx::query(AssertSqlSafe(revoke.unwrap().clone()));
                let query = query.bind(name(7).to_vec()).bind(5_i64).bind(6_i64).bind(1_i64);
                query.execute(connection).await.map(drop)
            };
            revoke(&mut older).await.unwrap();
            place.open().await;
            // Prepared before the tables were brought up to date.
            let error = revoke(&mut older).await.unwrap_err().to_string();
            assert!(error.contains("expires"), "{error}");
            let mut newer = <$connection>::connect(&place.address).await.unwrap();
            for statement in &statements {
                let failed = newer.prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await;
                let error = failed.map(drop).expect_err(statement).to_string();
                assert!(error.contains("expires"), "{statement}: {error}");
            }
        }};
    }
    #[cfg(feature = "postgres")]
    if place.is_postgres() {
        run!(sqlx::PgConnection, 0);
        return;
    }
    #[cfg(feature = "sqlite")]
    run!(sqlx::SqliteConnection, 2);
}

async fn what_was_kept_for_ever_is_brought_under_the_horizon(place: Place) {
    place.make_first_edition().await;
    for n in 0..600 {
        place.revoked(session(n), FOR_EVER).await;
    }
    place.renewed(session(700), start(), FOR_EVER).await;
    let subject = place.bytes(&"07".repeat(32));
    place.meddle(&format!("INSERT INTO {{p}}subjects VALUES ({subject}, 5, {FOR_EVER})")).await;
    let store = place.open().await;
    let for_ever = ["sessions", "subjects"].map(|table| {
        format!("UPDATE {{p}}{table} SET kept_until = kept_until WHERE kept_until = {FOR_EVER}")
    });
    let left = async || place.meddle(&for_ever[0]).await + place.meddle(&for_ever[1]).await;
    store.purge(SystemClock.now()).await.unwrap();
    assert_eq!(left().await, 602, "nobody knows how long they matter");
    store.horizon(Horizon::Secs(3_600)).await.unwrap();
    let begun = SystemClock.now();
    assert_eq!(store.purge(begun).await.unwrap(), 0);
    assert_eq!(left().await, 0);
    let end = later(SystemClock.now(), 3_600 + 360).as_secs();
    for table in ["sessions", "subjects"] {
        let wrong = format!(
            "UPDATE {{p}}{table} SET kept_until = kept_until WHERE kept_until > {end} OR kept_until < {}",
            begun.as_secs() + 3_600
        );
        assert_eq!(place.meddle(&wrong).await, 0, "{table}");
    }
    let at = |session| Presented::new(session, token(1), None, begun, begun);
    assert_eq!(store.standing(&at(session(599))).await.unwrap(), Standing::Revoked);
    let presented = Presented::new(session(700), token(0), None, begun, begun);
    let given = store.rotate(Rotation::renewal(presented, token(2), "2", later(begun, 60))).await.unwrap();
    assert_eq!(given, Rotated::Superseded { head: "1".into() });
    let subject = SubjectId::from_bytes([7; 32]);
    let older = Presented::new(session(800), token(0), Some(subject), NumericDate::from_secs(5), begun);
    assert_eq!(store.standing(&older).await.unwrap(), Standing::Revoked);
    // Where sessions are unbounded, so are revocations.
    store.raise_horizon(Horizon::Unbounded, begun).await.unwrap();
    store.revoke(Revocation::Session(session(900)), kept(begun, begun)).await.unwrap();
    store.purge(SystemClock.now()).await.unwrap();
    assert_eq!(left().await, 1);
}

impl Place {
    async fn make_first_edition(&self) {
        if !self.is_postgres() {
            std::fs::File::options().append(true).create(true).open(&self.address).unwrap();
        }
        for statement in self.statements(SCHEMA) {
            self.meddle(&statement).await;
        }
    }

    /// Those of a file, in this database's dialect.
    fn statements(&self, file: &str) -> Vec<String> {
        let (bytes, clock, skip_locked) = match self.is_postgres() {
            true => {
                ("BYTEA", "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)", " FOR UPDATE SKIP LOCKED")
            }
            false => ("BLOB", "CAST(strftime('%s', 'now') AS INTEGER)", ""),
        };
        let file = file.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        let in_dialect = |statement: &str| {
            statement
                .trim()
                .trim_end_matches(';')
                .replace("{p}", &self.prefix)
                .replace("{bytes}", bytes)
                .replace("{clock}", clock)
                .replace("{skip_locked}", skip_locked)
        };
        file.split(";\n").map(in_dialect).filter(|statement| !statement.is_empty()).collect()
    }

    /// As the first edition recorded a revoked session.
    async fn revoked(&self, session: SessionId, until: i64) {
        let (session, none) = (self.id(session.as_bytes()), self.bytes(""));
        let row = format!(
            "INSERT INTO {{p}}sessions (session, revoked_until, revoked_tokens, expires, stamp) \
             VALUES ({session}, {until}, {none}, {until}, 1)"
        );
        self.meddle(&row).await;
    }

    /// A session whose token 0 was renewed with token 1.
    async fn renewed(&self, session: SessionId, begun: NumericDate, until: i64) {
        let ids = [session.as_bytes(), token(1).as_bytes(), token(0).as_bytes()].map(|id| self.id(id));
        let [session, head, _] = &ids;
        let ancestor = format!("{}{:016x}{until:016x}", hex(token(0).as_bytes()), 0);
        let row = format!(
            "INSERT INTO {{p}}sessions (session, session_start, head, head_until, generation, chain_until, renewed, \
             ancestors, claims, revoked_until, revoked_tokens, expires, stamp) \
             VALUES ({session}, {}, {head}, {until}, 1, {until}, 5, {}, '1', 0, {}, {until}, 1)",
            begun.as_secs(),
            self.bytes(&ancestor),
            self.bytes(""),
        );
        self.meddle(&row).await;
    }

    fn id(&self, id: &[u8]) -> String {
        self.bytes(&hex(id))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
