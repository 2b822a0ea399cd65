//! Revocations that wait for replicas.

use super::*;

/// For a replica that is there, on a machine that does other things too.
const ENOUGH: Duration = Duration::from_secs(20);

async fn revoke(store: &RedisStore, revocation: Revocation) -> Result<(), StoreErrorKind> {
    let now = SystemClock.now();
    let until = NumericDate::from_secs(now.as_secs() + 3_600);
    store.revoke(revocation, kept(now, until)).await.map_err(|error| {
        if error.kind() == StoreErrorKind::Timeout {
            assert!(format!("{:?}", error).contains("0 of 1 replicas"), "{error:?}");
        }
        error.kind()
    })
}

fn revocations(n: u64) -> [Revocation; 3] {
    let scene = Scene::new(n);
    [
        Revocation::Session(scene.session()),
        Revocation::Token { session: Scene::new(n + 100).session(), token: token_id(0) },
        Revocation::SubjectBefore {
            subject: scene.subject(),
            instant: NumericDate::from_secs(scene.start),
            except: None,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_reported_only_when_a_replica_holds_it() {
    let mut primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::replica_of(&primary);
    let connect = || RedisStore::connect(primary.url());
    let store = connect().wait_for_replicas(1, ENOUGH).await.unwrap();
    let hasty = connect().wait_for_replicas(1, Duration::from_millis(200)).await.unwrap();
    let unwaited = connect().await.unwrap();
    for revocation in revocations(0) {
        assert_eq!(revoke(&store, revocation).await, Ok(()), "{revocation:?}");
    }

    replica.freeze();
    for revocation in revocations(1) {
        for attempt in 0..2 {
            let revoked = revoke(&hasty, revocation).await;
            assert_eq!(revoked, Err(StoreErrorKind::Timeout), "{revocation:?}, attempt {attempt}");
        }
        assert_eq!(revoke(&unwaited, revocation).await, Ok(()));
    }
    // It is made all the same.
    assert_eq!(Scene::new(1).standing(&unwaited, 0).await, Ok(Standing::Revoked));
    // Nothing waits behind it: neither another call, nor what another revocation does.
    let patient = connect().wait_for_replicas(1, Duration::MAX).await.unwrap();
    let pending = (20..30).map(|n| {
        let (patient, revocation) = (patient.clone(), Revocation::Session(Scene::new(n).session()));
        tokio::spawn(async move { revoke(&patient, revocation).await })
    });
    let pending = pending.collect::<Vec<_>>();
    for n in 20..30 {
        refuses_within(&patient, &Scene::new(n).presents(0), Duration::from_millis(500)).await;
    }
    assert!(pending.iter().all(|revocation| !revocation.is_finished()));

    replica.thaw();
    for revocation in pending {
        assert_eq!(revocation.await.unwrap(), Ok(()));
    }
    for revocation in revocations(1) {
        assert_eq!(revoke(&store, revocation).await, Ok(()), "{revocation:?}");
    }
    // What was reported outlives the primary.
    primary.kill();
    assert!(replica.command(&["REPLICAOF", "NO", "ONE"]).starts_with("+OK"));
    let promoted = RedisStore::connect(replica.url()).await.unwrap();
    for n in (0..2).chain(20..30) {
        assert_eq!(Scene::new(n).standing(&promoted, 0).await, Ok(Standing::Revoked), "{n}");
    }
}

/// Each revocation waits for replicas of its own primary, and for no other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_it_waits_for_the_replica_of_its_own_primary() {
    let cluster = RedisCluster::with_replicas();
    let connect = || RedisStore::connect_cluster(cluster.urls());
    let store = connect().wait_for_replicas(1, ENOUGH).await.unwrap();
    let hasty = connect().wait_for_replicas(1, Duration::from_millis(200)).await.unwrap();
    for n in 0..10 {
        for revocation in revocations(n) {
            assert_eq!(revoke(&store, revocation).await, Ok(()), "{revocation:?}");
        }
    }
    let (primaries, replicas) = cluster.0.split_at(3);
    replicas[0].freeze();
    let mut outcomes = [0, 0];
    for n in 200..220 {
        let scene = Scene::new(n);
        let session = scene.session();
        scene.sign_in(&store).await;
        let found = primaries[0].command(&["KEYS", &format!("*:session:{session}")]);
        let is_orphan = found.contains("tower-reissue");
        outcomes[usize::from(is_orphan)] += 1;
        let store = if is_orphan { &hasty } else { &store };
        let expected = if is_orphan { Err(StoreErrorKind::Timeout) } else { Ok(()) };
        assert_eq!(revoke(store, Revocation::Session(session)).await, expected, "{n}");
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    replicas[0].thaw();
}

#[tokio::test]
async fn waiting_for_nobody_or_where_it_is_forbidden_is_refused_at_connect() {
    let server = RedisServer::start(&[]);
    let timeout = Duration::from_millis(50);
    let error = RedisStore::connect(server.url()).wait_for_replicas(0, timeout).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    // Without a replica it connects: only who revokes is told.
    let alone = RedisStore::connect(server.url()).wait_for_replicas(1, Duration::ZERO).await.unwrap();
    assert_eq!(
        revoke(&alone, Revocation::Session(Scene::new(1).session())).await,
        Err(StoreErrorKind::Timeout)
    );
    server.command(&["ACL", "SETUSER", "default", "-wait"]);
    let error = RedisStore::connect(server.url()).wait_for_replicas(1, timeout).await.unwrap_err();
    assert!(format!("{error:?}").contains("'wait' command"), "{error:?}");
    RedisStore::connect(server.url()).await.unwrap();
}

/// Where a revocation waits, it is made twice. The second is no new one: nobody's next session is dated later for it.
#[tokio::test]
async fn a_revocation_that_arrives_again_is_dated_as_before() {
    let server = RedisServer::start(&[]);
    let scripts = [
        (
            include_str!("../../src/store/redis/revoke_subject.lua"),
            ["subject", "birth", "listed"].as_slice(),
            "i",
        ),
        (include_str!("../../src/store/redis/revoke_all.lua"), &["birth", "ahead"], "a"),
    ];
    for (script, keys, field) in scripts {
        let script = format!("{}{script}", include_str!("../../src/store/redis/prelude.lua"));
        let count = keys.len().to_string();
        let now = SystemClock.now().as_secs() + 60;
        // Later by the clock of whoever sends it again.
        for (later, name, expected) in [(0, "call", 3), (9, "call", 3), (9, "another", 12)] {
            let [at, instant] = [now + later, now + later + 3].map(|secs| secs.to_string());
            let args = [&*at, "86400", "0", "5", "300", &instant];
            let except = if keys.len() == 3 { &[""][..] } else { &[] };
            let answer = server.command(
                &[&["EVAL", &*script, &*count], keys, &args, except, &["channel", "@", name]].concat(),
            );
            assert!(!answer.starts_with('-'), "{answer}");
            let recorded = server.command(&["HGET", keys[0], field]);
            assert_eq!(
                recorded.lines().nth(1),
                Some(&*(now + expected).to_string()),
                "{name}, {later} s later"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_waits_reaches_as_far_as_one_that_does_not() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let _replica = RedisServer::replica_of(&primary);
    let connect = || RedisStore::connect(primary.url());
    let waiting = connect().wait_for_replicas(1, ENOUGH).await.unwrap();
    for (n, store) in [(0, &waiting), (1, &connect().await.unwrap())] {
        // Its clock is ahead of the server's, so the instant is its own to say.
        let scene = Scene::new(n);
        let (now, instant) = (NumericDate::from_secs(scene.now), NumericDate::from_secs(scene.now + 3));
        let retention = || kept(now, NumericDate::from_secs(scene.now + 3_600));
        let subject_before = Revocation::SubjectBefore { subject: scene.subject(), instant, except: None };
        store.revoke(subject_before, retention()).await.unwrap();
        assert_eq!(scene.sign_in(store).await, Rotated::Predated { revoked_until: instant }, "{n}");
        // A session that was dated after the first ends by its name.
        let dated = Scene { n: n + 10, start: scene.now + 4, now: scene.now };
        let mut presented = dated.presents(0);
        presented.subject = Some(scene.subject());
        let until = NumericDate::from_secs(scene.now + 3_600);
        assert_eq!(
            store.rotate(Rotation::sign_in(presented, claims(0), until)).await.unwrap(),
            Rotated::Recorded,
            "{n}"
        );
        store.revoke(subject_before, retention()).await.unwrap();
        assert_eq!(dated.standing(store, 0).await, Ok(Standing::Revoked), "{n}");
        assert_eq!(scene.sign_in(store).await, Rotated::Predated { revoked_until: instant }, "{n}");
    }
    // In the slot that is written last, and waited for.
    let all = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let _replica = RedisServer::replica_of(&all);
    let store = RedisStore::connect(all.url()).wait_for_replicas(1, ENOUGH).await.unwrap();
    let scene = Scene::new(0);
    let (now, instant) = (NumericDate::from_secs(scene.now), NumericDate::from_secs(scene.now + 3));
    store
        .revoke(Revocation::AllBefore { instant }, kept(now, NumericDate::from_secs(scene.now + 3_600)))
        .await
        .unwrap();
    for last in [0xff, 0] {
        let session = SessionId::from_bytes([last; 32]);
        let presented = Presented::new(session, token_id(0), None, now, now);
        let sign_in = Rotation::sign_in(presented, claims(0), NumericDate::from_secs(scene.now + 3_600));
        assert_eq!(
            store.rotate(sign_in).await.unwrap(),
            Rotated::Predated { revoked_until: instant },
            "{last}"
        );
    }
}
