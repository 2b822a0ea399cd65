//! Faults of a server.

use super::*;
use crate::outage::Policy;
use crate::postgres_server::Postgres;
use crate::proxy::{Proxy, Weather};

/// Crashed, frozen, and with every connection cut; through a real layer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_is_a_503_never_a_401_and_ends_within_a_second_of_the_servers_return() {
    let server = Postgres::start();
    let store = SqlStore::postgres(server.url()).await.unwrap();
    let service = Service::over(store).await;
    service.assert_well().await;

    for round in 0..3 {
        server.crash();
        service.assert_out("crashed or frozen").await;
        server.run_again();
        service.assert_recovers(&format!("crash {round}")).await;
    }
    for round in 0..2 {
        server.freeze();
        service.assert_out("crashed or frozen").await;
        service.assert_out("crashed or frozen").await;
        server.thaw();
        service.assert_recovers(&format!("freeze {round}")).await;
    }
    // Connections that were cut are replaced within the call: nobody notices.
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    for _ in 0..5 {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        place.meddle(cut).await;
        service.assert_well().await;
    }
}

/// Slow, cut and black networks, under every policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_fault_of_the_network_admits_reissues_or_delays_wrongly() {
    let server = Postgres::start();
    futures_util::future::join_all(Policy::ALL.map(async |policy| {
        let proxy = Proxy::before(server.port()).await;
        let open = |url: String| {
            let prefix = format!("{policy:?}_").to_lowercase();
            SqlStore::builder().table_prefix(prefix).postgres(url)
        };
        let (through, elsewhere) = (open(server.url_at(proxy.port())), open(server.url()));
        outage::every_fault(policy, &proxy, through.await.unwrap(), elsewhere.await.unwrap()).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_the_network_forgot_are_replaced_at_the_first_silence() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let service = Service::over(SqlStore::postgres(server.url_at(proxy.port())).await.unwrap()).await;
    outage::forgotten_connections(&proxy, &service).await;
}

/// The pool asks each connection once more when it is given back. One thread, so that the network forgets between the
/// answer and that question.
#[tokio::test]
async fn a_connection_forgotten_on_its_way_back_to_the_pool_is_replaced() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let store = SqlStore::builder().max_connections(1).postgres(server.url_at(proxy.port())).await.unwrap();
    let ask = async || store.standing(&presents(session(1), token(1))).await;
    for round in 0..3 {
        ask().await.unwrap();
        proxy.turn(Weather::Forgotten);
        tokio::time::sleep(Duration::from_millis(20)).await;
        proxy.turn(Weather::Clear);
        let answered = tokio::time::timeout(Duration::from_secs(4), ask()).await;
        answered.unwrap_or_else(|_| panic!("round {round}: never replaced")).unwrap();
    }
}

#[test]
fn a_call_may_be_dropped_outside_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = Postgres::start();
    let presented = presents(session(1), token(1));
    let proxy = runtime.block_on(Proxy::before(server.port()));
    let store = runtime.block_on(SqlStore::postgres(server.url_at(proxy.port()))).unwrap();
    let mut call = Box::pin(store.standing(&presented));
    proxy.turn(Weather::BlackHole);
    runtime.block_on(async {
        let answered = tokio::time::timeout(Duration::from_millis(200), &mut call).await;
        assert!(answered.is_err(), "nothing was passed on");
    });
    drop(call);
    proxy.turn(Weather::Clear);
    runtime.block_on(store.standing(&presented)).unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_time() {
    let begun = Instant::now();
    let error = SqlStore::postgres("postgres://somebody:secret@127.0.0.1:9/x").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let text = format!("{error} {:?} {}", error, std::error::Error::source(&error).unwrap());
    assert!(text.contains("127.0.0.1:9: ") && text.contains("Connection refused"), "{text}");
    assert!(!text.contains("secret") && !text.contains("somebody"), "{text}");
}

/// The password may stand anywhere in a URL that is wrong.
#[tokio::test]
async fn a_url_that_is_wrong_is_told_by_what_is_wrong_and_never_repeated() {
    for (url, told) in [
        ("", "does not begin"),
        ("hunter2", "does not begin"),
        ("hunter2@127.0.0.1/x", "does not begin"),
        ("mysql://root:hunter2@127.0.0.1:9/x", "does not begin"),
        ("http://hunter2@127.0.0.1:9/x", "does not begin"),
        ("postgres:/hunter2", "does not begin"),
        ("postgres://user:hunter2/hunter2@127.0.0.1:9/x", "can't be read"),
        ("postgres://127.0.0.1:65536/hunter2", "can't be read"),
        ("postgres://127.0.0.1:9/hunter2?sslmode=on", "`ssl_mode`"),
    ] {
        let error = SqlStore::postgres(url).await.expect_err(url);
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains(told) && text.contains("`postgres://[user"), "{url}: {text}");
        assert!(!text.contains("hunter2"), "{url}: {text}");
    }
}

#[tokio::test]
async fn tls_that_is_not_compiled_in_is_told_with_the_feature_that_has_it() {
    let server = Postgres::start();
    let error = SqlStore::postgres(server.url() + "?sslmode=require").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("`tls-rustls-ring`"), "{error}");
}

#[tokio::test]
async fn an_error_of_the_server_is_not_taken_for_a_poolers() {
    let server = Postgres::start();
    let refusing = rewriting::before(server.port(), Some(("BEGIN", "BEGUN")), Duration::ZERO).await;
    let error = SqlStore::postgres(server.url_at(refusing)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("syntax error"), "{error}");
}

#[tokio::test]
async fn a_notification_that_takes_longer_than_the_wait_is_not_taken_for_a_poolers_silence() {
    let server = Postgres::start();
    let slow = rewriting::before(server.port(), None, Duration::from_millis(500)).await;
    let builder = SqlStore::builder().wait(Duration::from_millis(300));
    builder.postgres(server.url_at(slow)).await.unwrap();
}

/// Each says what is wrong, and none says the password.
#[tokio::test]
async fn what_a_server_does_not_take_is_misconfigured() {
    let server = Postgres::start();
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    place.open().await.close().await;
    let password = "a/b@c:d%?#";
    for (user, more) in
        [("guest", ""), ("reader", "; ALTER ROLE reader SET default_transaction_read_only = on")]
    {
        server.ask_for_password(user);
        let role = format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'{more}");
        place.meddle(&role).await;
    }
    let url = |user: &str, database: &str| {
        format!("postgres://{user}:false@127.0.0.1:{}/{database}", server.port())
    };
    let with = |password: &str| SqlStore::builder().password(password);
    assert!(!format!("{:?}", with(password)).contains(password));
    // The rules are read again a moment after they are changed.
    let begun = Instant::now();
    while SqlStore::postgres(url("guest", "postgres")).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no password is asked for");
    }
    with(password).postgres(url("guest", "postgres")).await.unwrap();
    for (builder, user, database, reason) in [
        (SqlStore::builder(), "guest", "postgres", "password authentication failed"),
        (with("guessed"), "guest", "postgres", "password authentication failed"),
        (with(password), "guest", "elsewhere", "does not exist"),
        (with(password), "reader", "postgres", "read-only"),
    ] {
        let error = builder.postgres(url(user, database)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error:?}");
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains(reason), "{why}");
        assert!(!format!("{error:?}").contains("guessed") && !format!("{error:?}").contains(password));
    }
}

/// A switchover can leave a standby at the address, which answers from the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_became_a_standby_gives_no_answer() {
    let server = Postgres::start();
    let store = SqlStore::builder().max_connections(2).postgres(server.url()).await.unwrap();
    store.horizon(Horizon::Secs(3_600)).await.unwrap();
    let subject = SubjectId::from_bytes([7; 32]);
    let presented = owned(subject, session(0), token(0));
    assert_eq!(store.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap(), Rotated::Recorded);
    assert_eq!(store.standing(&presented).await.unwrap(), Standing::Live);
    server.crash();
    server.become_standby();
    for _ in 0..5 {
        let refused = [
            store.standing(&presented).await.map(drop),
            store.sessions(subject, now(), Page::default()).await.map(drop),
            store.horizon(Horizon::Secs(1)).await.map(drop),
            store.rotate(renewal(token(0), token(1))).await.map(drop),
            store.revoke(Revocation::Session(session(0)), kept(now(), end())).await,
        ];
        for (call, refused) in refused.into_iter().enumerate() {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "call {call}: {error:?}");
            assert!(format!("{error:?}").contains("read-only"), "call {call}: {error:?}");
        }
    }
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    place.meddle("SELECT pg_promote()").await;
    assert_eq!(store.standing(&presented).await.unwrap(), Standing::Live);
    store.revoke(Revocation::Session(session(0)), kept(now(), end())).await.unwrap();
    assert_eq!(store.standing(&presented).await.unwrap(), Standing::Revoked);
}
