//! What every store promises, and what this one does beside.

use super::*;

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
    let connect = |prefix: &str| RedisStore::connect(server.url()).with_prefix(prefix);
    conformance::all(&Cached::new(connect("cached").await.unwrap())).await;
    conformance::all(&Cached::new(connect("fed").await.unwrap()).hearing_revocations().await.unwrap()).await;
}

/// By a clock that the server's has not reached.
#[tokio::test]
async fn no_token_that_existed_at_a_revocation_is_ever_admitted_again_and_nobody_is_refused_after_it() {
    let server = RedisServer::start(&[]);
    let begin = SystemClock.now().as_secs() + 3_600;
    for seed in 1..=4 {
        let prefix = format!("model-{seed}");
        let open = async || RedisStore::connect(server.url()).with_prefix(&prefix).await.unwrap();
        revocations::no_token_that_existed_at_a_revocation_is_ever_admitted_again(open, begin, seed, 150)
            .await;
    }
}

#[tokio::test]
async fn revoking_up_to_now_spares_no_session_and_holds_up_nobody() {
    let server = RedisServer::start(&[]);
    let open = async || RedisStore::connect(server.url()).await.unwrap();
    for ahead in [0, 10] {
        let now = || SystemClock.now().as_secs() + ahead;
        revocations::revoking_up_to_now_spares_no_session_and_holds_up_nobody(open, now).await;
    }
}

#[tokio::test]
async fn a_revoker_whose_clock_is_behind_reaches_what_the_others_began() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).with_horizon(Horizon::Secs(86_400)).await.unwrap();
    revocations::a_revoker_whose_clock_is_behind_reaches_what_the_others_began(&store).await;
}

/// The memory store is itself held against a model: any calls in any order have one answer in both. Either sessions expire
/// as time moves on, or they are revoked and limited: of what is over by one clock alone, a shared store says more.
#[tokio::test]
async fn it_answers_as_the_memory_store_does() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    for seed in 1..=60_u64 {
        let memory = without_horizon(MemoryStore::new()).await;
        let mut random = Random(seed);
        let expires = seed % 2 == 0;
        // Ahead of the server's clock: what both date by the later one is dated alike. And each round ahead of the one
        // before, for all sessions up to an instant are revoked for good.
        let start = SystemClock.now().as_secs() + 600 * seed;
        // One begins ahead of the clock.
        let start_of = |n: u64| start + if n == 3 { 60 } else { n % 4 };
        let mut now = start + 10;
        let mut limit = SubjectLimit::new(1 + random.below(2) as usize);
        limit.remembered = 2 + random.below(3) as usize;
        for step in 0..60 {
            let n = random.below(6);
            let scene = Scene { n: seed * 100 + n, start: start_of(n), now };
            // Sessions of two subjects, and one of none.
            let subject_of = |n: u64| (n < 5).then(|| SubjectId::from_bytes(name(2, seed * 100 + n % 2)));
            let presents = |token| {
                let mut presented = scene.presents(token);
                presented.subject = subject_of(n);
                presented
            };
            let subject = SubjectId::from_bytes(name(2, seed * 100 + random.below(2)));
            let at = NumericDate::from_secs(now);
            let retention = kept(at, NumericDate::from_secs(now + 100_000)).limited_to(limit);
            let until = NumericDate::from_secs(now + if expires { random.below(60) } else { 100_000 });
            let (token, successor) = (random.below(7), random.below(7));
            match random.below(60) {
                0..8 => now += random.below(15),
                what @ 8..13 if !expires => {
                    let up_to_now = random.below(3) == 0;
                    let instant = if up_to_now { now + 3 } else { start + random.below(4) };
                    let instant = NumericDate::from_secs(instant);
                    let revocation = match what {
                        8 => Revocation::Token { session: scene.session(), token: token_id(token) },
                        9 | 10 => Revocation::Session(scene.session()),
                        11 if random.below(2) == 0 => Revocation::AllBefore { instant },
                        _ => {
                            let except = Some(Scene { n: seed * 100 + random.below(6), ..scene }.session());
                            let except = except.filter(|_| random.below(3) > 0);
                            Revocation::SubjectBefore { subject, instant, except }
                        }
                    };
                    let retention = retention.of(presents(0).subject, NumericDate::from_secs(scene.start));
                    memory.revoke(revocation, retention).await.unwrap();
                    store.revoke(revocation, retention).await.unwrap();
                }
                what => {
                    let text = format!("{{\"step\":{step}}}");
                    let rotation = match what {
                        13..25 => Rotation::sign_in(presents(token), text, until),
                        _ => Rotation::renewal(presents(token), token_id(successor), text, until),
                    };
                    let rotation = if expires { rotation } else { rotation.limited_by(retention) };
                    let expected = memory.rotate(rotation.clone()).await.map_err(|error| error.kind());
                    let rotated = store.rotate(rotation.clone()).await.map_err(|error| error.kind());
                    assert_eq!(rotated, expected, "seed {seed}, step {step}: {rotation:?}");
                }
            }
            for n in 0..6 {
                let mut presented = Scene { n: seed * 100 + n, start: start_of(n), now }.presents(token);
                presented.subject = subject_of(n);
                let expected = memory.standing_now(&presented).unwrap();
                let standing = store.standing(&presented).await.unwrap();
                assert_eq!(standing, expected, "seed {seed}, step {step}: {presented:?}");
            }
            let mut listed = Vec::new();
            for mut page in [Page::first(1), Page::default()] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for (records, is_ours) in [(&mut ours, true), (&mut theirs, false)] {
                    let at = NumericDate::from_secs(now);
                    page.after = None;
                    loop {
                        let SessionPage { sessions, next, .. } = match is_ours {
                            true => store.sessions(subject, at, page).await.unwrap(),
                            false => memory.sessions(subject, at, page).await.unwrap(),
                        };
                        records.extend(
                            sessions.into_iter().map(|r| (r.session, r.session_start, r.renewed, r.claims)),
                        );
                        let Some(next) = next else { break };
                        page = page.after(next);
                    }
                }
                assert_eq!(ours, theirs, "seed {seed}, step {step}");
                listed.push(ours);
            }
            assert_eq!(listed[0], listed[1], "seed {seed}, step {step}");
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
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
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
