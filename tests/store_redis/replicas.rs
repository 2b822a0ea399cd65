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

/// The horizon on record is smaller than this process knows, and raising it waits for replicas of every primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_loss_no_standing_waits_for_a_silent_replica() {
    let cluster = RedisCluster::with_replicas();
    let connect = || RedisStore::connect_cluster(cluster.urls());
    let less = connect().with_horizon(Horizon::Secs(100)).await.unwrap();
    connect().with_horizon(Horizon::Secs(100_000)).await.unwrap();
    let more = connect().wait_for_replicas(1, Duration::from_millis(300)).await.unwrap();
    let (primaries, replicas) = cluster.0.split_at(3);
    for primary in primaries {
        primary.command(&["FLUSHALL"]);
    }
    assert!(Scene::new(9).standing(&less, 0).await.is_ok());
    restored(primaries).await;
    replicas[0].freeze();
    let standing = async |n: u64| {
        let presented = Scene::new(n).presents(0);
        let told = tokio::time::timeout(Duration::from_secs(1), more.standing(&presented)).await;
        assert!(matches!(told, Ok(Ok(_))), "{n}: {told:?}");
    };
    futures_util::future::join_all((100..130).map(standing)).await;
    for n in 200..240 {
        standing(n).await;
    }
    // Each slot has its copy, also where the others' replicas are silent.
    eventually("copied", async || whole_slots(primaries, "100000") == 1024).await;
    let scene = Scene::new(1);
    let began = std::time::Instant::now();
    let revoked = revoke(&more, Revocation::Session(scene.session())).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{revoked:?} after {:?}", began.elapsed());
    assert_eq!(scene.standing(&less, 0).await, Ok(Standing::Revoked));
    replicas[0].thaw();
    eventually("raised", async || {
        standing(300).await;
        connect().await.unwrap().horizon_now(Horizon::Secs(100)).unwrap().current == Horizon::Secs(100_000)
    })
    .await;
}

/// The horizon on record is smaller than this process knows, and raising it waits for the replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_after_a_loss_is_made_while_a_replica_is_silent() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::replica_of(&primary);
    let connect = || RedisStore::connect(primary.url());
    let less = connect().with_horizon(Horizon::Secs(100)).await.unwrap();
    connect().with_horizon(Horizon::Secs(100_000)).await.unwrap();
    let more = connect().wait_for_replicas(1, Duration::from_millis(300)).await.unwrap();
    primary.command(&["FLUSHALL"]);
    less.standing(&Scene::new(9).presents(0)).await.unwrap();
    replica.freeze();
    // Meets a smaller copy, and can't put right what others have.
    more.standing(&Scene::new(20).presents(0)).await.unwrap();
    for n in 0..3 {
        let scene = Scene::new(n);
        scene.sign_in(&less).await;
        assert_eq!(revoke(&more, Revocation::Session(scene.session())).await, Err(StoreErrorKind::Timeout));
        assert_eq!(scene.standing(&less, 0).await, Ok(Standing::Revoked), "{n}");
    }
    replica.thaw();
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

/// `WAIT` counts what the connection wrote. Redis 7.2 and Valkey don't count a call that writes nothing.
#[tokio::test]
async fn whatever_waits_for_replicas_writes_again_when_it_arrives_again() {
    let primary =
        RedisServer::start(&["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "3600"]);
    let _replica = RedisServer::replica_of(&primary);
    let replicated = || -> u64 {
        let info = primary.command(&["INFO", "replication"]);
        let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        offset.unwrap().parse().unwrap()
    };
    macro_rules! script {
        ($name:literal) => {
            concat!(
                include_str!("../../src/store/redis/prelude.lua"),
                include_str!(concat!("../../src/store/redis/", $name, ".lua"))
            )
        };
    }
    let now = SystemClock.now().as_secs();
    let [now, later, till] = [now, now + 5, now + 86_400].map(|secs| secs.to_string());
    let retention = [&*now, "3600", &*now, "5", "300"];
    let session = ["session", "revoked", "birth", "ahead"];
    let ended = ["subject", "birth", "listed", "ended", "expiry"];
    let (name, token) = (&"ab".repeat(32), "token");
    let of_session = |token, other: &'static str| [other, token, "channel", "message", &**name, "0"];
    for (what, script, keys, args) in [
        ("a session", script!("revoke"), &session[..], &[&retention[..], &of_session("", "")].concat()[..]),
        ("a token", script!("revoke"), &session, &[&retention[..], &of_session(token, "")].concat()),
        (
            "a token of no session",
            script!("revoke"),
            &["other session", "others revoked", "birth", "ahead"],
            &[&retention[..], &of_session(token, "alice")].concat(),
        ),
        (
            "a subject",
            script!("revoke_subject"),
            &["subject", "birth", "listed"],
            &[&retention[..], &[&*later, "", "channel", "@", "call"]].concat(),
        ),
        (
            "all",
            script!("revoke_all"),
            &["birth", "ahead"],
            &[&retention[..], &[&*later, "channel", "@", "call"]].concat(),
        ),
        (
            "an ended session",
            script!("ended"),
            &ended,
            &[&retention[..], &["2", "channel", "@", name, &*later, &*till]].concat(),
        ),
        ("one too many", script!("ended"), &ended, &[&retention[..], &["1", "channel", "@"]].concat()),
        ("a horizon", script!("horizon"), &["horizon"], &["", "3600"]),
        ("its raise", script!("horizon"), &["horizon"], &["3600", "7200 1:3600"]),
        ("its copy", script!("birth"), &["birth"], &["0", "7200", "1"]),
    ] {
        if what == "one too many" {
            primary.command(&["ZADD", "listed", "1", "first", "2", "second"]);
        }
        let count = keys.len().to_string();
        for round in 0..3 {
            let before = replicated();
            let answer = primary.command(&[&["EVAL", script, &*count], keys, args].concat());
            assert!(!answer.starts_with('-'), "{what}: {answer}");
            assert!(replicated() > before, "{what} writes nothing in round {round}");
        }
    }
}

/// In a cluster the copies in the slots are on other nodes than the record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raise_is_reported_only_when_a_replica_of_each_node_holds_it() {
    let cluster = RedisCluster::with_replicas();
    let connect = |timeout| RedisStore::connect_cluster(cluster.urls()).wait_for_replicas(1, timeout);
    // Replicas that have just begun take longer.
    connect(ENOUGH).with_horizon(Horizon::Secs(60)).await.unwrap();
    let hasty = connect(Duration::from_millis(300)).await.unwrap();
    let (primaries, replicas) = cluster.0.split_at(3);
    for (n, (primary, replica)) in primaries.iter().zip(replicas).enumerate() {
        let to = Horizon::Secs(86_400 * (n as u64 + 1));
        let has_record = primary.command(&["EXISTS", "tower-reissue:{horizon}:horizon"]).starts_with(":1");
        replica.freeze();
        let raised = hasty.raise_horizon(to, SystemClock.now()).await.map_err(|error| error.kind());
        replica.thaw();
        assert_eq!(raised, Err(StoreErrorKind::Timeout), "node {n}, which has the record: {has_record}");
        // The replica may take a moment.
        eventually("raised", async || hasty.raise_horizon(to, SystemClock.now()).await.is_ok()).await;
        assert_eq!(hasty.horizon(to).await.unwrap().current, to);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_a_raise_is_reported_only_when_a_replica_holds_it() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::replica_of(&primary);
    let connect = |timeout| RedisStore::connect(primary.url()).wait_for_replicas(1, timeout);
    let patient = connect(ENOUGH).with_horizon(Horizon::Secs(60)).await.unwrap();
    let hasty = connect(Duration::from_millis(300)).await.unwrap();
    replica.freeze();
    let raise = async |store: &RedisStore| {
        let raised = store.raise_horizon(Horizon::Secs(86_400), SystemClock.now()).await;
        raised.map_err(|error| error.kind())
    };
    // Also where it finds its own raise.
    for _ in 0..2 {
        assert_eq!(raise(&hasty).await, Err(StoreErrorKind::Timeout));
    }
    replica.thaw();
    assert_eq!(raise(&patient).await, Ok(()));
}
