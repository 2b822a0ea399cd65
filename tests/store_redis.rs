//! [`RedisStore`] against real servers: its promises and its outages. Each test starts its own server. Its races are in
//! `one_successor`.
#![cfg(feature = "redis")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/servers.rs"]
mod servers;
mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use servers::{Proxy, RedisCluster, RedisServer};
use support::{NOW, builder};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{
    Cached, ClaimsStore, MemoryStore, Presented, RedisStore, Revocation, Rotated, Rotation, SessionId,
    Standing, StoreErrorKind, SubjectId, TokenId, conformance,
};
use tower_reissue::{Authority, Clock as _, Login, ManualClock, NumericDate, ReissueLayer, SystemClock};

// Promises.

#[tokio::test]
async fn it_keeps_every_promise_on_one_server() {
    let server = RedisServer::start(&[]);
    conformance::all(&RedisStore::connect(server.url()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_every_promise_on_a_cluster() {
    let cluster = RedisCluster::start();
    let store = RedisStore::connect_cluster(cluster.urls()).await.unwrap();
    conformance::all(&store).await;
    // Every node took its part: the sessions really are spread.
    for node in &cluster.0 {
        assert!(node.calls("hset") > 0);
    }
    // A revocation published on one node is heard by a listener on any.
    let hearing = Cached::new(RedisStore::connect_cluster(cluster.urls().into_iter().rev()).await.unwrap())
        .for_at_most(Duration::from_secs(60))
        .hearing_revocations()
        .await
        .unwrap();
    for n in 0..10 {
        let token = Scene::new(n);
        assert_eq!(token.sign_in(&store).await, Rotated::Recorded);
        assert_eq!(hearing.standing(&token.presents(0)).await.unwrap(), Standing::Live);
        token.revoke(&store).await;
        refuses_within(&hearing, &token.presents(0), Duration::from_millis(500)).await;
    }
}

/// Staleness is allowed for revocations made elsewhere; the suite's all go through the same value.
#[tokio::test]
async fn behind_a_cache_it_keeps_every_promise() {
    conformance::all(&Cached::new(MemoryStore::new())).await;
    let server = RedisServer::start(&[]);
    conformance::all(&Cached::new(RedisStore::connect(server.url()).await.unwrap())).await;
    let store = Cached::new(RedisStore::connect(server.url()).await.unwrap());
    conformance::all(&store.hearing_revocations().await.unwrap()).await;
}

/// The memory store is itself held against a model: any calls in any order, time moving on, have one answer in both.
#[tokio::test]
async fn it_answers_as_the_memory_store_does() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for seed in 1..=15_u64 {
        let memory = MemoryStore::new();
        let mut random = Random(seed);
        let start = SystemClock.now().as_secs() + 300;
        let mut now = start + 10;
        for step in 0..150 {
            let n = random.below(4);
            let scene = Scene { n: seed * 100 + n, start: start + n, now };
            // Two sessions to each subject.
            let presents = |token| {
                let mut presented = scene.presents(token);
                presented.subject = Some(SubjectId::from_bytes(name(2, seed * 100 + n % 2)));
                presented
            };
            let until = NumericDate::from_secs(now + random.below(60));
            let (token, successor) = (random.below(7), random.below(7));
            let at = NumericDate::from_secs(now);
            match random.below(30) {
                0..4 => now += random.below(15),
                what @ 4..7 => {
                    let revocation = match what {
                        4 => Revocation::Token { session: scene.session(), token: token_id(token) },
                        5 => Revocation::Session(scene.session()),
                        _ => Revocation::SubjectBefore {
                            subject: presents(0).subject.unwrap(),
                            instant: NumericDate::from_secs(start + random.below(4)),
                        },
                    };
                    // Short, or everything is revoked before long.
                    let until = NumericDate::from_secs(now + random.below(15));
                    memory.revoke(revocation, at, until).await.unwrap();
                    store.revoke(revocation, at, until).await.unwrap();
                }
                what => {
                    let text = format!("{{\"step\":{step}}}");
                    let rotation = match what {
                        7 | 8 => Rotation::sign_in(presents(token), text, until),
                        _ => Rotation::renewal(presents(token), token_id(successor), text, until),
                    };
                    let expected = memory.rotate(rotation.clone()).await.map_err(|error| error.kind());
                    let rotated = store.rotate(rotation.clone()).await.map_err(|error| error.kind());
                    assert_eq!(rotated, expected, "seed {seed}, step {step}: {rotation:?}");
                }
            }
            let mut presented = presents(token);
            presented.now = NumericDate::from_secs(now);
            let expected = memory.standing_now(&presented).unwrap();
            assert_eq!(store.standing(&presented).await.unwrap(), expected, "seed {seed}, step {step}");
            let subject = presented.subject.unwrap();
            let mut listed = Vec::new();
            for records in
                [memory.sessions(subject, presented.now).await, store.sessions(subject, presented.now).await]
            {
                let records = records.unwrap().into_iter();
                let mut records = records
                    .map(|record| (record.session, record.session_start, record.renewed, record.claims))
                    .collect::<Vec<_>>();
                records.sort();
                listed.push(records);
            }
            assert_eq!(listed[1], listed[0], "seed {seed}, step {step}");
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn two_prefixes_share_nothing() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let other = RedisStore::connect(server.url()).with_prefix("other").await.unwrap();
    let scene = Scene::new(1);
    scene.revoke(&store).await;
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
    assert_eq!(scene.standing(&other, 0).await, Ok(Standing::Live));
}

#[tokio::test]
async fn what_is_printed_holds_no_password() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let connect = RedisStore::connect(&url);
    assert!(!format!("{connect:?}").contains("hunter2"));
    let store = connect.await.unwrap();
    let printed = format!("{store:?} {:?}", Cached::new(store.clone()));
    assert!(!printed.contains("hunter2") && printed.contains(&server.port().to_string()), "{printed}");
    for wrong in [url.replace("hunter2", "hunter3"), url.replace("redis://", "redis//"), String::new()] {
        let error = RedisStore::connect(&wrong).await.unwrap_err();
        let told = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!told.contains("hunter"), "{told}");
    }
}

// Set-up.

#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_said_aloud() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = RedisStore::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("allkeys-lru") && why.contains("noeviction"), "{why}");
    RedisStore::connect(server.url()).dangerous().allow_eviction().await.unwrap();
    for prefix in ["", "a{b}c"] {
        let error = RedisStore::connect(server.url()).with_prefix(prefix).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{prefix:?}");
    }
}

#[tokio::test]
async fn every_key_but_the_births_expires() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene { now: SystemClock.now().as_secs(), ..Scene::new(1) };
    scene.sign_in(&store).await;
    scene.revoke(&store).await;
    let until = NumericDate::from_secs(scene.now + 3600);
    for revocation in [
        Revocation::Token { session: SessionId::from_bytes([8; 32]), token: TokenId::from_bytes([8; 32]) },
        Revocation::SubjectBefore { subject: scene.subject(), instant: NumericDate::from_secs(scene.now) },
    ] {
        store.revoke(revocation, NumericDate::from_secs(scene.now), until).await.unwrap();
    }
    let keys = server.command(&["KEYS", "*"]);
    let mut others = 0;
    for key in keys.lines().filter(|line| line.starts_with("tower-reissue") && !line.ends_with(":birth")) {
        let ttl = server.command(&["TTL", key]);
        let ttl: i64 = ttl.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
        assert!((3600..=3700).contains(&ttl), "{key}: {ttl}");
        others += 1;
    }
    assert_eq!(others, 4, "{keys}");
    assert_eq!(keys.lines().filter(|line| line.ends_with(":birth")).count(), 1024);
}

/// `unbounded_sessions` keeps a revocation until the year 9999.
#[tokio::test]
async fn the_last_instant_of_all_is_kept_to_the_second() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    let last = NumericDate::MAX;
    store
        .revoke(Revocation::Session(scene.session()), NumericDate::from_secs(scene.now), last)
        .await
        .unwrap();
    let before_the_last = Scene { now: last.as_secs() - 1, ..scene };
    assert_eq!(before_the_last.standing(&store, 0).await, Ok(Standing::Revoked));
}

// Losses and faults, at the store.

#[tokio::test]
async fn after_a_flush_older_sessions_are_unknown_and_newer_ones_are_not() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let [old, revoked] = [Scene::new(1), Scene::new(2)];
    for scene in [&old, &revoked] {
        scene.sign_in(&store).await;
    }
    revoked.revoke(&store).await;
    server.command(&["FLUSHALL"]);
    for scene in [&old, &revoked] {
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Unknown));
        // Recorded, for an authority that admits them; unknown all the same.
        assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Recorded);
        assert_eq!(scene.renew(&store, 0, 2).await, Rotated::Superseded { head: claims(1).into() });
        for token in [0, 1] {
            assert_eq!(scene.standing(&store, token).await, Ok(Standing::Unknown));
        }
    }
    // In the very second of the loss too.
    let new = Scene::new(3);
    assert_eq!(new.sign_in(&store).await, Rotated::Recorded);
    assert_eq!(new.standing(&store, 0).await, Ok(Standing::Live));
    assert_eq!(new.renew(&store, 0, 1).await, Rotated::Recorded);
    assert_eq!(new.standing(&store, 1).await, Ok(Standing::Live));
    // Begun elsewhere, after the loss: nothing of it can have been lost.
    let later = Scene { start: new.now + 10, now: new.now + 10, ..Scene::new(4) };
    assert_eq!(later.standing(&store, 0).await, Ok(Standing::Live));
    // A process that connects after the loss says the same.
    server.command(&["FLUSHALL"]);
    let restarted = RedisStore::connect(server.url()).await.unwrap();
    let now = SystemClock.now().as_secs();
    assert_eq!(
        Scene { start: now, now, ..Scene::new(5) }.standing(&restarted, 0).await,
        Ok(Standing::Unknown)
    );
}

/// In a cluster, the session's records may survive and its subject's be lost.
#[tokio::test]
async fn a_session_whose_subjects_records_were_lost_is_unknown() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    scene.sign_in(&store).await;
    let instant = NumericDate::from_secs(scene.now);
    let everywhere = Revocation::SubjectBefore { subject: scene.subject(), instant };
    store.revoke(everywhere, instant, NumericDate::from_secs(scene.now + 3600)).await.unwrap();
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
    let keys = server.command(&["KEYS", "*:subject:*"]);
    let subject = keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
    let birth = format!("{}birth", subject.split("subject:").next().unwrap());
    assert!(server.command(&["DEL", subject, &birth]).starts_with(":2"));
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Unknown));
}

#[tokio::test]
async fn a_record_that_is_not_ours_is_an_error() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for (n, spoilt) in [
        &["SET", "", "text"][..],
        &["RPUSH", "", "text"],
        &["HSET", "", "v", "2"],
        &["HSET", "", "g", "many"],
        &["HSET", "", "u", "1e"],
        &["HDEL", "", "v"],
        &["HDEL", "", "a"],
    ]
    .into_iter()
    .enumerate()
    {
        let scene = Scene::new(n as u64);
        scene.sign_in(&store).await;
        let key = key_of(&server, "session", &scene.session().to_string());
        if !spoilt[0].starts_with('H') {
            server.command(&["DEL", &key]);
        }
        let words = spoilt.iter().map(|word| if word.is_empty() { &*key } else { word }).collect::<Vec<_>>();
        assert!(!server.command(&words).starts_with('-'));
        assert_eq!(scene.standing(&store, 0).await, Err(StoreErrorKind::Corrupt), "{spoilt:?}");
        let rotated = store.rotate(scene.renewal(0, 1)).await.map_err(|error| error.kind());
        assert_eq!(rotated, Err(StoreErrorKind::Corrupt), "{spoilt:?}");
        let revocation = Revocation::Session(scene.session());
        let now = NumericDate::from_secs(scene.now);
        let revoked = store.revoke(revocation, now, NumericDate::from_secs(scene.now + 9)).await;
        assert_eq!(revoked.map_err(|error| error.kind()), Err(StoreErrorKind::Corrupt), "{spoilt:?}");
    }
}

#[tokio::test]
async fn a_full_server_refuses_what_is_new_and_keeps_every_tombstone() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let [revoked, live] = [Scene::new(1), Scene::new(2)];
    for scene in [&revoked, &live] {
        scene.sign_in(&store).await;
    }
    revoked.revoke(&store).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.rotate(Scene::new(3).renewal(0, 1)).await.map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::Full));
    let refused = store.rotate(live.renewal(0, 1)).await.map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::Full));
    assert_eq!(live.standing(&store, 0).await, Ok(Standing::Live));
    assert_eq!(revoked.standing(&store, 0).await, Ok(Standing::Revoked));
    // A recorded session gives its place to its tombstone.
    live.revoke(&store).await;
    assert_eq!(live.standing(&store, 0).await, Ok(Standing::Revoked));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    for scene in [&revoked, &live] {
        assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Revoked);
    }
}

/// Other clients' scripts, or the operator, may empty the server's cache of them.
#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(scene.sign_in(&store).await, Rotated::Recorded);
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Live));
    scene.revoke(&store).await;
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
}

#[tokio::test]
async fn a_revocation_survives_the_servers_restart_where_it_is_persistent() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let [revoked, live] = [Scene::new(1), Scene::new(2)];
    for scene in [&revoked, &live] {
        scene.sign_in(&store).await;
    }
    revoked.revoke(&store).await;
    server.kill();
    assert!(revoked.standing(&store, 0).await.is_err());
    server.restart();
    assert_eq!(revoked.standing(&store, 0).await, Ok(Standing::Revoked));
    assert_eq!(live.standing(&store, 0).await, Ok(Standing::Live));
}

// Faults, through the layer.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_no_outage_is_anything_admitted_or_reissued_wrongly() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let proxy = Proxy::before(server.port()).await;
    let store = RedisStore::connect(proxy.url()).await.unwrap();
    let service = Service::over(store).await;
    service.check_healthy().await;

    server.kill();
    service.check_outage("killed").await;
    server.restart();
    service.recovers("killed").await;

    server.freeze();
    service.check_outage("frozen").await;
    server.thaw();
    service.recovers("frozen").await;

    for delay in [1, 50] {
        proxy.delay(Duration::from_millis(delay));
        service.check_healthy().await;
    }
    for delay in [800, 2_000] {
        proxy.delay(Duration::from_millis(delay));
        service.check_outage("slow").await;
    }
    proxy.delay(Duration::ZERO);
    service.recovers_within("slow", Duration::from_secs(4)).await;

    proxy.cut(true);
    service.check_outage("cut mid-reply").await;
    proxy.cut(false);
    service.recovers("cut mid-reply").await;

    // Standing is known and the successor can't be recorded: the response goes out unharmed and unrenewed.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let response = service.request(&service.live).await;
    assert_eq!((response.status(), successor(&response)), (StatusCode::OK, None), "out of memory");
    let response = service.request(&service.revoked).await;
    assert_eq!((response.status(), successor(&response)), (StatusCode::UNAUTHORIZED, None), "out of memory");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    service.check_healthy().await;

    let keys = server.command(&["KEYS", "*:session:*"]);
    for key in keys.lines().filter(|line| line.starts_with("tower-reissue")) {
        server.command(&["HSET", key, "v", "2"]);
    }
    service.check_requests("corrupt").await;

    // Lost is not an outage: the answer is known, and it is no.
    server.command(&["FLUSHALL"]);
    for token in [&service.live, &service.revoked] {
        let response = service.request(token).await;
        assert_eq!((response.status(), successor(&response)), (StatusCode::UNAUTHORIZED, None), "flushed");
    }
}

/// The store fails between a request's admission and its response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_fails_leaves_the_response_unharmed_and_unrenewed() {
    let server = RedisServer::start(&[]);
    let proxy = Arc::new(Proxy::before(server.port()).await);
    let store = RedisStore::connect(proxy.url()).await.unwrap();
    let service = Service::over(store).await;
    let fails = Arc::clone(&proxy);
    let handler = service_fn(move |_: Request<()>| {
        fails.cut(true);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) }
    });
    let layer = ReissueLayer::new(service.authority.clone());
    let response = layer.layer(handler).oneshot(bearer(&service.live)).await.unwrap();
    assert_eq!((response.status(), response.headers().get("refreshed-api-token")), (StatusCode::OK, None));
    proxy.cut(false);
    // It may or may not have been recorded; the next request is given the one that was.
    service.recovers("cut in a rotation").await;
    let given = successor(&service.request(&service.live).await).unwrap();
    assert_eq!(successor(&service.request(&service.live).await), Some(given));
}

// Pushed revocations.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_made_elsewhere_is_seen_within_200_ms() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::before(server.port()).await;
    let here = Cached::new(RedisStore::connect(server.url()).await.unwrap());
    let connect = RedisStore::connect(proxy.url());
    let bound = Duration::from_secs(1);
    let there = Cached::new(connect.await.unwrap()).for_at_most(bound).hearing_revocations().await.unwrap();
    let unfed = Cached::new(RedisStore::connect(server.url()).await.unwrap()).for_at_most(bound);
    for round in 0..3 {
        let scene = Scene::new(round);
        scene.sign_in(&here).await;
        let presented = scene.presents(0);
        for cached in [&there, &unfed] {
            assert_eq!(cached.standing(&presented).await.unwrap(), Standing::Live);
            assert_eq!(cached.standing_now(&presented), Some(Standing::Live));
        }
        let revocation = match round {
            0 => Revocation::Session(presented.session),
            1 => Revocation::Token { session: presented.session, token: presented.token },
            _ => Revocation::SubjectBefore { subject: scene.subject(), instant: presented.session_start },
        };
        here.revoke(revocation, presented.now, NumericDate::from_secs(scene.now + 3600)).await.unwrap();
        refuses_within(&there, &presented, Duration::from_millis(200)).await;
        refuses_within(&unfed, &presented, bound).await;
    }

    // The channel breaks in the middle of a message, and can't be opened again for a while.
    let scene = Scene::new(9);
    scene.sign_in(&here).await;
    assert_eq!(there.standing(&scene.presents(0)).await.unwrap(), Standing::Live);
    proxy.refuse(true);
    proxy.cut(true);
    scene.revoke(&here).await;
    // Past the bound it asks, and the store is out of its reach: no answer is not "live".
    tokio::time::sleep(bound).await;
    assert_eq!(there.standing_now(&scene.presents(0)), None);
    assert!(there.standing(&scene.presents(0)).await.is_err());
    proxy.cut(false);
    proxy.refuse(false);
    refuses_within(&there, &scene.presents(0), Duration::from_secs(1)).await;
    // And it hears again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let scene = Scene::new(10);
    scene.sign_in(&here).await;
    assert_eq!(there.standing(&scene.presents(0)).await.unwrap(), Standing::Live);
    scene.revoke(&here).await;
    refuses_within(&there, &scene.presents(0), Duration::from_millis(200)).await;
}

#[tokio::test]
async fn steady_traffic_on_a_live_session_costs_no_round_trip() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::before(server.port()).await;
    let store = RedisStore::connect(proxy.url()).await.unwrap();
    let scene = Scene::new(1);
    scene.sign_in(&store).await;
    // The first sends the script's text.
    scene.standing(&store, 0).await.unwrap();
    let before = proxy.turns();
    scene.standing(&store, 0).await.unwrap();
    assert_eq!(proxy.turns() - before, 1, "a standing, its questions pipelined");
    let cached = Cached::new(store);
    scene.standing(&cached, 0).await.unwrap();
    let before = proxy.turns();
    for _ in 0..1_000 {
        assert_eq!(cached.standing_now(&scene.presents(0)), Some(Standing::Live));
    }
    assert_eq!(proxy.turns() - before, 0, "warm");
}

/// One session and the instants its calls carry; its first token is number 0.
#[derive(Clone, Copy)]
struct Scene {
    n: u64,
    start: u64,
    now: u64,
}

impl Scene {
    fn new(n: u64) -> Self {
        let now = SystemClock.now().as_secs() + 60;
        Self { n, start: now, now }
    }

    fn session(&self) -> SessionId {
        SessionId::from_bytes(name(1, self.n))
    }

    fn subject(&self) -> SubjectId {
        SubjectId::from_bytes(name(2, self.n))
    }

    fn presents(&self, token: u64) -> Presented {
        let (start, now) = (NumericDate::from_secs(self.start), NumericDate::from_secs(self.now));
        Presented::new(self.session(), token_id(token), Some(self.subject()), start, now)
    }

    fn renewal(&self, token: u64, successor: u64) -> Rotation {
        let until = NumericDate::from_secs(self.now + 3600);
        Rotation::renewal(self.presents(token), token_id(successor), claims(successor), until)
    }

    async fn sign_in<S: ClaimsStore>(&self, store: &S) -> Rotated {
        let until = NumericDate::from_secs(self.now + 3600);
        store.rotate(Rotation::sign_in(self.presents(0), claims(0), until)).await.unwrap()
    }

    async fn renew<S: ClaimsStore>(&self, store: &S, token: u64, successor: u64) -> Rotated {
        store.rotate(self.renewal(token, successor)).await.unwrap()
    }

    async fn revoke<S: ClaimsStore>(&self, store: &S) {
        let (now, until) = (NumericDate::from_secs(self.now), NumericDate::from_secs(self.now + 3600));
        store.revoke(Revocation::Session(self.session()), now, until).await.unwrap();
    }

    async fn standing<S: ClaimsStore>(&self, store: &S, token: u64) -> Result<Standing, StoreErrorKind> {
        store.standing(&self.presents(token)).await.map_err(|error| error.kind())
    }
}

fn name(kind: u8, n: u64) -> [u8; 32] {
    let mut name = [kind; 32];
    // The first bytes choose the slot.
    name[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    name[8..16].copy_from_slice(&n.to_be_bytes());
    name
}

fn token_id(n: u64) -> TokenId {
    TokenId::from_bytes(name(3, n))
}

fn claims(token: u64) -> String {
    format!("{{\"jti\":\"{token}\"}}")
}

fn key_of(server: &RedisServer, kind: &str, id: &str) -> String {
    let keys = server.command(&["KEYS", &format!("*:{kind}:{id}")]);
    keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap().to_owned()
}

async fn refuses_within<S: ClaimsStore>(store: &S, presented: &Presented, limit: Duration) {
    let began = Instant::now();
    loop {
        let standing = match store.standing_now(presented) {
            Some(standing) => Some(standing),
            None => store.standing(presented).await.ok(),
        };
        if standing == Some(Standing::Revoked) {
            return;
        }
        // A little for this machine, which runs other things.
        assert!(began.elapsed() < limit + Duration::from_millis(100), "{standing:?} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A guarded service with two sessions whose tokens are due for renewal, one of them revoked.
struct Service {
    authority: Authority,
    live: String,
    revoked: String,
}

const DEADLINE: Duration = Duration::from_millis(400);

impl Service {
    async fn over(store: RedisStore) -> Self {
        let clock = ManualClock::at(NOW);
        let authority = builder(&clock).store(store).store_deadline(DEADLINE).build().unwrap();
        let live = authority.issue(Login::new("alice")).await.unwrap().into_string();
        let revoked = authority.issue(Login::new("bob")).await.unwrap().into_string();
        authority.sign_out(&revoked).await.unwrap();
        clock.advance(500);
        Self { authority, live, revoked }
    }

    async fn request(&self, token: &str) -> Response<impl http_body::Body> {
        let handler = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let layer = ReissueLayer::new(self.authority.clone());
        layer.layer(handler).oneshot(bearer(token)).await.unwrap()
    }

    async fn check_healthy(&self) {
        let response = self.request(&self.live).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(successor(&response).is_some());
        let response = self.request(&self.revoked).await;
        assert_eq!((response.status(), successor(&response)), (StatusCode::UNAUTHORIZED, None));
    }

    async fn check_outage(&self, fault: &str) {
        for _ in 0..3 {
            self.check_requests(fault).await;
            let began = Instant::now();
            assert!(self.authority.sign_out(&self.revoked).await.is_err(), "{fault}: not told");
            assert!(self.authority.issue(Login::new("carol")).await.is_err(), "{fault}: not told");
            assert!(
                began.elapsed() < 2 * DEADLINE + Duration::from_millis(300),
                "{fault}: no answer in time"
            );
        }
    }

    async fn check_requests(&self, fault: &str) {
        for token in [&self.live, &self.revoked] {
            let began = Instant::now();
            let response = self.request(token).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault}");
            assert!(response.headers().contains_key("retry-after"), "{fault}");
            assert_eq!(successor(&response), None, "{fault}");
            assert!(began.elapsed() < DEADLINE + Duration::from_millis(300), "{fault}: no answer in time");
        }
    }

    async fn recovers(&self, fault: &str) {
        self.recovers_within(fault, Duration::from_secs(1)).await;
    }

    async fn recovers_within(&self, fault: &str, limit: Duration) {
        let began = Instant::now();
        while self.request(&self.live).await.status() != StatusCode::OK {
            assert!(began.elapsed() < limit, "{fault}: no recovery");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.check_healthy().await;
    }
}

fn bearer(token: &str) -> Request<()> {
    Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

fn successor<B>(response: &Response<B>) -> Option<String> {
    Some(response.headers().get("refreshed-api-token")?.to_str().unwrap().to_owned())
}
