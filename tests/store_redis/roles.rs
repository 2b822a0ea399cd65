//! Servers that are replicas, and primaries that become one.

use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// A store's server, and the replica that took over from it.
async fn failed_over(store: &RedisStore, old: &RedisServer, new: &RedisServer) -> RedisStore {
    let began = Instant::now();
    while Scene::new(1).session_on(new).is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "the replica has not what {store:?} wrote");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(new.command(&["REPLICAOF", "NO", "ONE"]).starts_with("+OK"));
    // It can't reach the new primary yet, so it has nothing of what happens there.
    assert!(old.command(&["REPLICAOF", "127.0.0.1", "1"]).starts_with("+OK"));
    RedisStore::connect(new.url()).await.unwrap()
}

impl Scene {
    fn session_on(&self, server: &RedisServer) -> Option<String> {
        let keys = server.command(&["KEYS", &format!("*:session:{}", self.session())]);
        keys.lines().find(|line| line.starts_with("tower-reissue")).map(str::to_owned)
    }
}

#[tokio::test]
async fn a_replica_is_refused_at_connect() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    RedisStore::connect(primary.url()).await.unwrap();
    let replica = RedisServer::replica_of(&primary);
    for (change, kind) in [
        (&["PING"][..], StoreErrorKind::Misconfigured),
        // It takes writes, and loses them when it is synchronised.
        (&["CONFIG", "SET", "replica-read-only", "no"], StoreErrorKind::Misconfigured),
        (&["CONFIG", "SET", "replica-read-only", "yes"], StoreErrorKind::Misconfigured),
        // It does not tell its role.
        (&["ACL", "SETUSER", "default", "-info"], StoreErrorKind::Unavailable),
    ] {
        assert!(replica.command(change).starts_with('+'), "{change:?}");
        let connect = || RedisStore::connect(replica.url());
        let refused = connect().await.expect_err("a replica");
        assert!(
            refused.kind() == kind && refused.to_string().contains("is a replica"),
            "{change:?}: {refused}"
        );
        let waiting = connect().wait_for_replicas(1, Duration::from_millis(50)).await;
        assert!(waiting.expect_err("a replica").to_string().contains("replica"), "{change:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_became_a_replica_answers_nothing() {
    for stale in ["yes", "no"] {
        let old =
            RedisServer::start(&["--repl-diskless-sync-delay", "0", "--replica-serve-stale-data", stale]);
        let new = RedisServer::replica_of(&old);
        let store = RedisStore::connect(old.url()).await.unwrap();
        let day = Horizon::Secs(86_400);
        store.horizon(day).await.unwrap();
        let scene = Scene::new(1);
        assert_eq!(scene.sign_in(&store).await, Rotated::Recorded);
        assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Recorded);
        let promoted = failed_over(&store, &old, &new).await;
        scene.revoke(&promoted).await;
        assert_eq!(scene.standing(&promoted, 1).await, Ok(Standing::Revoked));

        let now = NumericDate::from_secs(scene.now);
        let mut nobodys = scene.presents(1);
        nobodys.subject = None;
        let mut nobodys_renewal = scene.renewal(0, 2);
        nobodys_renewal.presented.subject = None;
        let revocation = Revocation::Session(scene.session());
        for round in 0..2 {
            let answers = [
                ("standing", store.standing(&scene.presents(1)).await.map(drop)),
                ("standing without a subject", store.standing(&nobodys).await.map(drop)),
                // None of these would write.
                ("a renewal again", store.rotate(scene.renewal(0, 2)).await.map(drop)),
                ("one without a subject", store.rotate(nobodys_renewal.clone()).await.map(drop)),
                ("a listing", store.sessions(scene.subject(), now, Page::default()).await.map(drop)),
                ("the horizon", store.horizon(day).await.map(drop)),
                ("a raise to what it is", store.raise_horizon(day, now).await),
                ("a raise", store.raise_horizon(Horizon::Secs(90_000), now).await),
                ("a revocation", store.revoke(revocation, Retention::new(now, 5, 300)).await),
            ];
            for (what, answer) in answers {
                let error = answer.expect_err(what);
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{what}, {round}: {error}");
                assert!(error.to_string().contains("is a replica"), "{what}, {round}: {error}");
            }
        }
        // It follows the new primary, is promoted again, and has what happened there.
        assert!(old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]).starts_with("+OK"));
        let began = Instant::now();
        while !old.command(&["INFO", "replication"]).contains("master_link_status:up") {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(old.command(&["REPLICAOF", "NO", "ONE"]).starts_with("+OK"));
        assert_eq!(scene.standing(&store, 1).await, Ok(Standing::Revoked));
    }
}

/// An address that leads to one server, and then to another. Connections stay where they are.
async fn moving_address(mut leads_to: watch::Receiver<u16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let port = *leads_to.borrow_and_update();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_moved_to_the_new_primary_is_followed() {
    for stale in ["yes", "no"] {
        let old =
            RedisServer::start(&["--repl-diskless-sync-delay", "0", "--replica-serve-stale-data", stale]);
        let new = RedisServer::replica_of(&old);
        let (address, leads_to) = watch::channel(old.port());
        let url = moving_address(leads_to).await;
        let scene = Scene::new(1);
        // Both its connections.
        let store = RedisStore::connect(&url).wait_for_replicas(1, Duration::from_secs(2)).await.unwrap();
        scene.sign_in(&store).await;
        Scene::new(2).revoke(&store).await;
        let promoted = failed_over(&store, &old, &new).await;
        scene.revoke(&promoted).await;
        address.send_replace(new.port());

        assert_eq!(scene.standing(&store, 0).await, Err(StoreErrorKind::Unavailable), "by the old one");
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked), "by the new one");
        let retention = Retention::new(NumericDate::from_secs(scene.now), 5, 300);
        let mut revoked = Vec::new();
        for _ in 0..2 {
            let again = store.revoke(Revocation::Session(scene.session()), retention).await;
            revoked.push(again.map_err(|error| error.kind()));
        }
        // The new one has no replica.
        assert_eq!(revoked, [Err(StoreErrorKind::Unavailable), Err(StoreErrorKind::Timeout)]);
    }
}

/// The probe for it is a write, and must not stand for the first one, at which the memory limit is judged.
#[tokio::test]
async fn where_writes_fail_for_other_reasons_standings_are_told() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    scene.sign_in(&store).await;
    for [setting, value] in [["min-replicas-to-write", "3"], ["maxmemory", "1"]] {
        assert!(server.command(&["CONFIG", "SET", setting, value]).starts_with("+OK"));
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Live), "{setting}");
        if setting == "maxmemory" {
            let full = store.rotate(scene.renewal(0, 1)).await.map_err(|error| error.kind());
            assert_eq!(full, Err(StoreErrorKind::Full));
        }
        assert!(server.command(&["CONFIG", "SET", setting, "0"]).starts_with("+OK"));
    }
    assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Recorded);
}
