//! Revocations heard as they happen.

use tower_reissue::store::{Cached, RevocationFeed as _};

use super::*;
use crate::outage::refuses_within;
use crate::postgres_server::Postgres;
use crate::proxy::{Proxy, Weather};

/// Long enough that what is seen sooner was heard.
const BOUND: Duration = Duration::from_secs(20);
/// Of a message on one machine that does other things too.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_made_elsewhere_is_heard_long_before_the_bound() {
    let place = new_postgres();
    let (here, there) = (place.open().await, hearing(place.open().await, BOUND).await);
    let deaf = Cached::new(place.open().await).for_at_most(BOUND);
    for (n, revocation) in revocations().into_iter().enumerate() {
        let presented = sign_in(&here, n as u64).await;
        for cached in [&there, &deaf] {
            assert_eq!(cached.standing(&presented).await.unwrap(), Standing::Live);
            assert_eq!(cached.standing_now(&presented), Some(Standing::Live));
        }
        here.revoke(revocation, kept(now(), end())).await.unwrap();
        refuses_within(AT_ONCE, &there, &presented).await;
        assert_eq!(deaf.standing_now(&presented), Some(Standing::Live), "nobody told it");
        // What is made here is seen here at once, heard or not.
        deaf.revoke(revocation, kept(now(), end())).await.unwrap();
        assert_eq!(deaf.standing(&presented).await.unwrap(), Standing::Revoked);
    }
    // Under another prefix is another store.
    let other = Place { prefix: "other_".to_owned() + &place.prefix, ..place }.open().await;
    let presented = sign_in(&here, 9).await;
    assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
    other.revoke(Revocation::Session(presented.session), kept(now(), end())).await.unwrap();
    tokio::time::sleep(AT_ONCE).await;
    assert_eq!(there.standing_now(&presented), Some(Standing::Live));
}

/// Told at the commit of what is told, not before: an answer that a listener asks for must not be older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_heard_is_committed_and_a_rotation_is_no_news() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let place = new_postgres();
    let (here, there) = (place.open().await, place.open().await);
    let (heard, mut news) = tokio::sync::mpsc::unbounded_channel();
    let _subscription = there.subscribe(Arc::new(move |pushed| heard.send(pushed).unwrap())).await.unwrap();
    let stale = AtomicU32::new(0);
    for n in 0..100 {
        let presented = sign_in(&here, n).await;
        let revoke = here.revoke(Revocation::Session(presented.session), kept(now(), end()));
        let hear = async {
            let told = tokio::time::timeout(Duration::from_secs(5), news.recv()).await.expect("told");
            assert_eq!(
                format!("{told:?}"),
                format!("Some(Revoked({:?}))", Revocation::Session(presented.session))
            );
            if there.standing(&presented).await.unwrap() != Standing::Revoked {
                stale.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (revoked, ()) = tokio::join!(revoke, hear);
        revoked.unwrap();
    }
    assert_eq!(stale.into_inner(), 0, "heard before it was committed");
}

/// Up to which instant is the store's to say: later where a session was dated after the revocation before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_instant_that_is_heard_is_the_one_on_record() {
    let place = new_postgres();
    let (here, there) = (place.open().await, place.open().await);
    let (heard, mut news) = tokio::sync::mpsc::unbounded_channel();
    let _subscription = there.subscribe(Arc::new(move |pushed| heard.send(pushed).unwrap())).await.unwrap();
    let [.., Revocation::SubjectBefore { subject, .. }] = revocations() else { panic!("a subject's") };
    for round in 0..2 {
        for revocation in [
            Revocation::SubjectBefore { subject, instant: now(), except: None },
            Revocation::AllBefore { instant: now() },
        ] {
            here.revoke(revocation, kept(now(), end())).await.unwrap();
            let told = tokio::time::timeout(Duration::from_secs(5), news.recv()).await.expect("told");
            let presented = owned(subject, session(7), token(0));
            let sign_in = here.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
            let Rotated::Predated { revoked_until } = sign_in else { panic!("{sign_in:?}") };
            let recorded = match revocation {
                Revocation::AllBefore { .. } => Revocation::AllBefore { instant: revoked_until },
                _ => Revocation::SubjectBefore { subject, instant: revoked_until, except: None },
            };
            assert_eq!(format!("{told:?}"), format!("Some(Revoked({recorded:?}))"), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_tells_the_bound_holds_and_the_channel_comes_back() {
    let bound = Duration::from_secs(2);
    let place = new_postgres();
    let proxy = Proxy::before(place.port()).await;
    let here = place.open().await;
    let mut through = place.clone();
    through.address = place.address.replace(&format!(":{}", place.port()), &format!(":{}", proxy.port()));
    let there = hearing(through.open().await, bound).await;

    // The listener's own connection is ended, and no other can be made: the statements' are cut too, but told of it.
    let presented = sign_in(&here, 1).await;
    assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
    proxy.turn(Weather::Cut);
    assert!(place.end_listeners().await >= 1);
    here.revoke(Revocation::Session(presented.session), kept(now(), end())).await.unwrap();
    assert_eq!(there.standing_now(&presented), Some(Standing::Live), "within the bound, and not told");
    tokio::time::sleep(bound).await;
    assert_eq!(there.standing_now(&presented), None, "past the bound it is asked");
    assert!(there.standing(&presented).await.is_err(), "no answer is not `live`");

    // Back: what was missed is forgotten with all else, and what comes is heard.
    let unseen = sign_in(&here, 2).await;
    proxy.turn(Weather::Clear);
    assert_eq!(there.standing(&presented).await.unwrap(), Standing::Revoked);
    assert_eq!(there.standing(&unseen).await.unwrap(), Standing::Live);
    here.revoke(Revocation::Session(unseen.session), kept(now(), end())).await.unwrap();
    refuses_within(bound, &there, &unseen).await;
    hears_again(&here, &there, 3).await;
}

/// Telling is what may fail, recording is not. The server says that its queue of notifications is full at the commit, and
/// undoes what it was to tell; here a trigger says so in its stead, for a queue of 8 GB takes long to fill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_cannot_be_told_is_recorded() {
    let bound = Duration::from_secs(2);
    let place = new_postgres();
    let (here, there) = (place.open().await, hearing(place.open().await, bound).await);
    place
        .meddle(
            "CREATE FUNCTION {p}tells() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM set_config('tests.tells', (current_query() LIKE '%pg_notify(%')::text, true);
                 RETURN NULL; END $$;
             CREATE FUNCTION {p}is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF current_setting('tests.tells') = 'true' THEN
                     RAISE 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000';
                 END IF;
                 RETURN NULL; END $$",
        )
        .await;
    for table in ["sessions", "subjects"] {
        let table = format!("{}{table}", place.prefix);
        place
            .meddle(&format!(
                "CREATE TRIGGER tells AFTER INSERT OR UPDATE ON {table}
                     FOR EACH ROW EXECUTE FUNCTION {{p}}tells();
                 CREATE CONSTRAINT TRIGGER is_full AFTER INSERT OR UPDATE ON {table}
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {{p}}is_full()"
            ))
            .await;
    }
    for (n, revocation) in revocations().into_iter().enumerate() {
        let presented = sign_in(&here, n as u64).await;
        assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
        here.revoke(revocation, kept(now(), end())).await.unwrap();
        assert_eq!(here.standing(&presented).await.unwrap(), Standing::Revoked, "{revocation:?}");
        assert_eq!(there.standing_now(&presented), Some(Standing::Live), "nobody was told: {revocation:?}");
        refuses_within(bound + AT_ONCE, &there, &presented).await;
    }
    // Room again: told again.
    place.meddle("DROP FUNCTION {p}is_full() CASCADE").await;
    hears_again(&here, &there, 10).await;
}

/// Ended on its own, the channel is open again long before the bound, and what it missed is not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_ended_comes_back_and_forgets_what_it_may_have_missed() {
    let place = new_postgres();
    let (here, there) = (place.open().await, hearing(place.open().await, BOUND).await);
    for n in 0..5 {
        let presented = sign_in(&here, n).await;
        assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
        assert_eq!(place.end_listeners().await, 1);
        here.revoke(Revocation::Session(presented.session), kept(now(), end())).await.unwrap();
        refuses_within(Duration::from_secs(1), &there, &presented).await;
    }
    hears_again(&here, &there, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_and_heard_again() {
    let server = Postgres::start();
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    let bound = Duration::from_secs(1);
    let (here, there) = (place.open().await, hearing(place.open().await, bound).await);
    let presented = sign_in(&here, 1).await;
    assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
    server.freeze();
    // Longer than the channel may be silent unasked, and its answer may take.
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    assert_eq!(there.standing_now(&presented), None, "past the bound");
    server.thaw();
    hears_again(&here, &there, 2).await;
    server.crash();
    server.run_again();
    hears_again(&here, &there, 100).await;
}

#[tokio::test]
async fn steady_traffic_on_a_live_session_costs_no_round_trip() {
    let place = new_postgres();
    let proxy = Proxy::before(place.port()).await;
    let mut through = place.clone();
    through.address = place.address.replace(&format!(":{}", place.port()), &format!(":{}", proxy.port()));
    let store = through.open().await;
    // By another, or what removes expired rows behind a write would be counted.
    let presented = sign_in(&place.open().await, 1).await;
    // The first on each connection of the pool, one after the other, prepares the statement.
    for _ in 0..10 {
        store.standing(&presented).await.unwrap();
    }
    settled(&proxy).await;
    let before = proxy.turns();
    store.standing(&presented).await.unwrap();
    assert_eq!(
        settled(&proxy).await - before,
        2,
        "one statement, and behind it the pool's look at the connection"
    );
    let cached = hearing(store, BOUND).await;
    cached.standing(&presented).await.unwrap();
    let before = settled(&proxy).await;
    for _ in 0..1_000 {
        assert_eq!(cached.standing_now(&presented), Some(Standing::Live));
    }
    assert_eq!(settled(&proxy).await - before, 0, "warm, and listening");
}

/// Round trips, those behind the callers' backs included.
async fn settled(proxy: &Proxy) -> u64 {
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.turns()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_tells_nobody_and_says_so() {
    let error = Cached::new(new_sqlite().open().await).hearing_revocations().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("SQLite") && why.contains("hearing_revocations"), "{why}");
}

impl Place {
    fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
    }

    /// Ends the backends that listen to this place.
    async fn end_listeners(&self) -> u64 {
        self.meddle(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN \"{p}revocations\"'",
        )
        .await
    }
}

async fn hearing(store: SqlStore, bound: Duration) -> Cached<SqlStore> {
    Cached::new(store).for_at_most(bound).hearing_revocations().await.unwrap()
}

/// One of each kind, of the sessions 0 to 2.
fn revocations() -> [Revocation; 3] {
    let subject = SubjectId::from_bytes(name(2));
    [
        Revocation::Session(session(0)),
        Revocation::Token { session: session(1), token: token(0) },
        Revocation::SubjectBefore { subject, instant: start(), except: None },
    ]
}

async fn sign_in(store: &SqlStore, n: u64) -> Presented {
    let presented = owned(SubjectId::from_bytes(name(n)), session(n), token(0));
    let signed_in = store.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
    assert_eq!(signed_in, Rotated::Recorded);
    presented
}

/// One revocation after the other is made, until two in a row are seen well before the bound: the first may have been
/// forgotten with all else when the channel was opened again.
async fn hears_again(here: &SqlStore, there: &Cached<SqlStore>, from: u64) {
    let mut in_a_row = 0;
    for n in from..from + 20 {
        let presented = sign_in(here, n).await;
        assert_eq!(there.standing(&presented).await.unwrap(), Standing::Live);
        here.revoke(Revocation::Session(presented.session), kept(now(), end())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        in_a_row = if there.standing_now(&presented) == Some(Standing::Live) { 0 } else { in_a_row + 1 };
        if in_a_row == 2 {
            return;
        }
    }
    panic!("it does not hear again");
}
