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
    conformance::all(&Cached::new(RedisStore::connect(server.url()).await.unwrap())).await;
    let store = Cached::new(RedisStore::connect(server.url()).await.unwrap());
    conformance::all(&store.hearing_revocations().await.unwrap()).await;
}

/// The memory store is itself held against a model: any calls in any order, time moving on, have one answer in both.
#[tokio::test]
async fn it_answers_as_the_memory_store_does() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    // A clock that the server's is ahead of: tombstones then end by the caller's, as they do in memory.
    clocks::backdate_births(&server);
    for seed in 1..=15_u64 {
        let memory = without_horizon(MemoryStore::new()).await;
        let mut random = Random(seed);
        let start = SystemClock.now().as_secs() - 86_400;
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
                            except: None,
                        },
                    };
                    // Short, or everything is revoked before long.
                    let until = NumericDate::from_secs(now + random.below(15));
                    memory.revoke(revocation, kept(at, until)).await.unwrap();
                    store.revoke(revocation, kept(at, until)).await.unwrap();
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
            for records in [
                memory.sessions(subject, presented.now, Page::default()).await,
                store.sessions(subject, presented.now, Page::default()).await,
            ] {
                let records = records.unwrap().sessions.into_iter();
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
