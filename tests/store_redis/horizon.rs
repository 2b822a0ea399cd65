//! How long revocations are kept: the store's horizon, whichever process revokes.

use std::future::IntoFuture as _;

use super::*;

const SHORT: Horizon = Horizon::Secs(100);
const LONG: Horizon = Horizon::Secs(100_000);

/// The shortest time that any of the revocations is kept.
async fn kept_by(store: &RedisStore, servers: &[RedisServer], n: u64) -> i64 {
    let (scene, now) = (Scene::new(n), SystemClock.now());
    let retention = Retention::new(now, 5, 300);
    for revocation in [
        Revocation::Session(scene.session()),
        Revocation::Token { session: Scene::new(n + 1).session(), token: token_id(0) },
        Revocation::SubjectBefore { subject: scene.subject(), instant: now, except: None },
    ] {
        store.revoke(revocation, retention).await.unwrap();
    }
    let mut kept = Vec::new();
    for server in servers {
        for key in server.command(&["KEYS", "*:*:*"]).lines().filter(|line| line.starts_with("tower-reissue"))
        {
            let of_these = [scene.session().to_string(), Scene::new(n + 1).session().to_string()];
            if of_these.iter().any(|name| key.ends_with(name)) || key.ends_with(&scene.subject().to_string())
            {
                let ttl = server.command(&["TTL", key]);
                kept.push(ttl.lines().next().unwrap().trim_start_matches(':').parse().unwrap());
            }
        }
    }
    assert_eq!(kept.len(), 3);
    kept.into_iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_kept_for_the_stores_horizon_by_whichever_process() {
    let (server, cluster) = (RedisServer::start(&[]), RedisCluster::start());
    for (urls, servers) in [(None, std::slice::from_ref(&server)), (Some(cluster.urls()), &*cluster.0)] {
        let connect = || match &urls {
            None => RedisStore::connect(server.url()),
            Some(urls) => RedisStore::connect_cluster(urls),
        };
        let first = connect().await.unwrap();
        // Nobody has set it: for ever.
        assert_eq!(first.horizon_now(Horizon::Secs(5)), None);
        assert!(kept_by(&first, servers, 0).await > 250_000_000);
        assert_eq!(first.horizon(SHORT).await.unwrap(), StoreHorizon::new(SHORT));
        assert_eq!(first.horizon_now(LONG), Some(StoreHorizon::new(SHORT)));
        let kept = kept_by(&first, servers, 10).await;
        assert!((400..500).contains(&kept), "{kept}");

        let second = connect().await.unwrap();
        // It is the first one's that counts.
        assert_eq!(second.horizon_now(LONG), Some(StoreHorizon::new(SHORT)));
        assert_eq!(second.horizon(LONG).await.unwrap(), StoreHorizon::new(SHORT));
        let before = SystemClock.now();
        second.raise_horizon(LONG, NumericDate::from_secs(0)).await.unwrap();
        second.raise_horizon(SHORT, NumericDate::from_secs(0)).await.unwrap();
        let raised = second.horizon(SHORT).await.unwrap();
        assert_eq!((raised.current, raised.raises.len()), (LONG, 1));
        assert_eq!(raised.raises[0].from, 100);
        assert!(raised.raises[0].at >= before && raised.raises[0].at.as_secs() <= before.as_secs() + 10);
        // This process was not told.
        assert_eq!(first.horizon_now(LONG), Some(StoreHorizon::new(SHORT)));
        let kept = kept_by(&first, servers, 20).await;
        assert!((100_300..100_500).contains(&kept), "{kept}");
        assert_eq!(connect().await.unwrap().horizon_now(SHORT), Some(raised.clone()));

        // Lost: whoever knew it puts it back.
        for node in servers {
            node.command(&["FLUSHALL"]);
        }
        let kept = kept_by(&second, servers, 30).await;
        assert!((100_300..100_500).contains(&kept), "{kept}");
        second.standing(&Scene::new(40).presents(0)).await.unwrap();
        restored(servers).await;
        assert_eq!(second.horizon(SHORT).await.unwrap(), raised);
        // Lost, and set by somebody who needs less.
        for node in servers {
            node.command(&["FLUSHALL"]);
        }
        let newcomer = connect().await.unwrap();
        assert_eq!(newcomer.horizon(SHORT).await.unwrap().current, SHORT);
        assert!(kept_by(&second, servers, 50).await > 100_000);
        assert_eq!(second.horizon(SHORT).await.unwrap().current, LONG);
        let kept = kept_by(&newcomer, servers, 60).await;
        assert!((100_300..100_500).contains(&kept), "{kept}");
    }
}

/// The horizon is asked for so where an authority is built.
#[tokio::test]
async fn the_first_call_sets_the_largest_need_of_all_authorities_built_before_it() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for need in [SHORT, LONG, SHORT] {
        assert_eq!(store.horizon_now(need), None);
    }
    for need in [SHORT, LONG] {
        assert_eq!(store.horizon(need).await.unwrap(), StoreHorizon::new(LONG));
    }
}

#[tokio::test]
async fn the_horizon_can_be_given_at_connect() {
    let server = RedisServer::start(&[]);
    let connect = |horizon| RedisStore::connect(server.url()).with_horizon(horizon);
    assert_eq!(connect(SHORT).await.unwrap().horizon_now(LONG), Some(StoreHorizon::new(SHORT)));
    let raised = connect(LONG).await.unwrap().horizon_now(SHORT).unwrap();
    assert_eq!((raised.current, raised.raises.len()), (LONG, 1));
    assert_eq!(connect(SHORT).await.unwrap().horizon_now(SHORT), Some(raised));
    assert_eq!(connect(Horizon::Unbounded).await.unwrap().horizon_now(SHORT).unwrap().raises.len(), 2);
    // A horizon that nobody can read is not taken for another.
    server.command(&["SET", "tower-reissue:{horizon}:horizon", "a while"]);
    let error = connect(SHORT).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

/// What a process does first after a loss, of any kind.
async fn call(store: &RedisStore, which: usize, scene: &Scene) {
    let retention = Retention::new(NumericDate::from_secs(scene.now), 5, 300);
    let instant = NumericDate::from_secs(scene.start);
    let revocation = match which {
        0 => return assert!(scene.standing(store, 0).await.is_ok()),
        1 => return assert_eq!(scene.sign_in(store).await, Rotated::Recorded),
        2 => return drop(store.sessions(scene.subject(), instant, Page::default()).await.unwrap()),
        3 => Revocation::Session(scene.session()),
        4 => Revocation::Token { session: scene.session(), token: token_id(0) },
        5 => Revocation::SubjectBefore { subject: scene.subject(), instant, except: None },
        _ => Revocation::AllBefore { instant },
    };
    store.revoke(revocation, retention).await.unwrap();
}

/// Whoever comes first sets what it knows; whoever knows more puts it right with its own first call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_loss_the_first_call_of_a_process_that_knows_a_larger_horizon_restores_it() {
    let (server, cluster) = (RedisServer::start(&[]), RedisCluster::start());
    for (urls, nodes) in [(None, std::slice::from_ref(&server)), (Some(cluster.urls()), &*cluster.0)] {
        let connect = || match &urls {
            None => RedisStore::connect(server.url()),
            Some(urls) => RedisStore::connect_cluster(urls),
        };
        let less = connect().with_horizon(SHORT).await.unwrap();
        let more = connect().await.unwrap();
        more.raise_horizon(LONG, SystemClock.now()).await.unwrap();
        for which in 0..7 {
            for node in nodes {
                node.command(&["FLUSHALL"]);
            }
            call(&less, 0, &Scene::new(100)).await;
            restored(nodes).await;
            assert_eq!(connect().await.unwrap().horizon_now(SHORT), Some(StoreHorizon::new(SHORT)));
            call(&more, which, &Scene::new(200)).await;
            eventually("raised", async || {
                let found = connect().await.unwrap().horizon_now(SHORT).unwrap();
                (found.current, found.raises.len()) == (LONG, 1)
            })
            .await;
            for n in [300, 500] {
                assert!(kept_by(&less, nodes, n).await > 100_000, "after call {which}");
            }
        }
    }
}

/// What they revoked may be forgotten by the time that somebody comes who knew a larger horizon before the loss.
#[tokio::test]
async fn no_revocation_of_a_process_that_came_first_after_a_loss_is_undone_by_its_smaller_horizon() {
    for (round, which) in [3, 4, 5, 6, 3, 3].into_iter().enumerate() {
        let server = RedisServer::start(&[]);
        let more = RedisStore::connect(server.url()).with_horizon(LONG).await.unwrap();
        server.command(&["FLUSHALL"]);
        let less = RedisStore::connect(server.url()).await.unwrap();
        less.horizon(SHORT).await.unwrap();
        // Begun after the loss, and before the server's clock says that their revocations are over.
        let soon = SystemClock.now().as_secs() + 2;
        let [revoked, recorded, other] = [1, 2, 3].map(|n| Scene { n, start: soon, now: soon });
        assert_eq!(recorded.sign_in(&less).await, Rotated::Recorded);
        call(&less, which, &revoked).await;
        assert_eq!(revoked.standing(&less, 0).await, Ok(Standing::Revoked), "call {which}");
        // As when their time is over: all but what was recorded.
        if which == 6 {
            for key in server.command(&["KEYS", "*:birth"]).lines().filter(|key| key.ends_with("birth")) {
                server.command(&["HDEL", key, "a", "u"]);
            }
        }
        for kind in ["session", "revoked", "subject"] {
            let keys = server.command(&["KEYS", &format!("*:{kind}:*")]);
            let of_recorded = [recorded.session().to_string(), recorded.subject().to_string()];
            for key in keys.lines().filter(|key| key.starts_with("tower-reissue")) {
                if !of_recorded.iter().any(|name| key.ends_with(name)) {
                    server.command(&["DEL", key]);
                }
            }
        }
        assert_eq!(revoked.standing(&less, 0).await, Ok(Standing::Live), "call {which}");
        let is_raised = async || whole_slots([&server], "100000") == 1024;
        if round == 4 {
            // By way of another slot.
            tokio::time::sleep(Duration::from_secs(2)).await;
            other.standing(&less, 0).await.unwrap();
            other.standing(&more, 0).await.unwrap();
            eventually("raised", is_raised).await;
            assert_eq!(revoked.standing(&less, 0).await, Ok(Standing::UnknownSession));
        }
        if round == 5 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            more.raise_horizon(LONG, SystemClock.now()).await.unwrap();
        }
        assert_eq!(revoked.standing(&more, 0).await, Ok(Standing::UnknownSession), "call {which}");
        assert_eq!(recorded.standing(&more, 0).await, Ok(Standing::Live), "call {which}");
        eventually("raised", is_raised).await;
        let later = Scene { start: revoked.now + 5, now: revoked.now + 5, ..Scene::new(4) };
        assert_eq!(later.standing(&more, 0).await, Ok(Standing::Live), "call {which}");
    }
}

/// It was dated by a caller whose clock is ahead.
#[tokio::test]
async fn a_slot_that_is_dated_anew_is_never_dated_earlier() {
    let server = RedisServer::start(&[]);
    let more = RedisStore::connect(server.url()).with_horizon(LONG).await.unwrap();
    let scene = Scene::new(1);
    let [high, low, ..] = name(1, scene.n);
    let birth = format!("tower-reissue:{{{}}}:birth", u16::from_be_bytes([high, low]) % 1024);
    let ahead = (scene.now + 3_600).to_string();
    server.command(&["HSET", &birth, "s", &ahead, "h", "100"]);
    assert_eq!(scene.standing(&more, 0).await, Ok(Standing::UnknownSession));
    assert_eq!(server.command(&["HGET", &birth, "s"]).lines().nth(1), Some(&*ahead));
    assert_eq!(server.command(&["HGET", &birth, "h"]).lines().nth(1), Some("100000"));
}

/// Of some slots, as where one node of a cluster is replaced. What the others and the record say counts there too.
#[tokio::test]
async fn a_revocation_in_a_slot_that_was_lost_is_kept_for_the_horizon_on_record() {
    let server = RedisServer::start(&[]);
    let connect = || RedisStore::connect(server.url());
    // These are not told of the raise.
    let connected =
        futures_util::future::join_all((3..7).map(|_| connect().with_horizon(SHORT).into_future()));
    let stores = connected.await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    connect().with_horizon(LONG).await.unwrap();
    for (which, store) in (3..7).zip(stores) {
        assert_eq!(store.horizon_now(SHORT), Some(StoreHorizon::new(SHORT)));
        let scene = Scene::new(which);
        let tag = lose_slot(&server, &scene);
        let birth = format!("tower-reissue:{{{tag}}}:birth");
        call(&store, usize::try_from(which).unwrap(), &scene).await;
        let until = match which {
            6 => {
                let until = server.command(&["HGET", &birth, "u"]);
                until.lines().nth(1).unwrap().parse::<u64>().unwrap()
            }
            _ => {
                scene.now
                    + kept_in(
                        &server,
                        tag,
                        ["session", "revoked", "subject"][usize::try_from(which).unwrap() - 3],
                    )
            }
        };
        assert!(until > scene.now + 100_000, "call {which}: {} s", until - scene.now);
        let horizon = server.command(&["HGET", &birth, "h"]);
        assert_eq!(horizon.lines().nth(1), Some("100000"), "after call {which}");
    }
}

/// It is made all the same, and can't be reported: how long it has to be kept is not known. The other calls go on.
#[tokio::test]
async fn a_revocation_after_a_loss_is_made_and_fails_where_the_horizon_on_record_cannot_be_known() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).with_horizon(SHORT).await.unwrap();
    let [scene, other, token, older] = [1, 2, 3, 4].map(Scene::new);
    lose_slot(&server, &scene);
    server.command(&["SET", "tower-reissue:{horizon}:horizon", "a while"]);
    let retention = Retention::new(NumericDate::from_secs(scene.now), 5, 300);
    let instant = NumericDate::from_secs(scene.start - 10);
    let older = Scene { start: scene.start - 20, ..older };
    let unknown = Err(StoreErrorKind::Corrupt);
    for (revocation, revoked, expected) in [
        (Revocation::Session(scene.session()), &scene, unknown),
        (Revocation::Token { session: scene.session(), token: token_id(0) }, &scene, unknown),
        (Revocation::AllBefore { instant }, &older, unknown),
        // Their slots have their copies.
        (Revocation::Session(other.session()), &other, Ok(())),
        (Revocation::Token { session: token.session(), token: token_id(0) }, &token, Ok(())),
    ] {
        let answer = store.revoke(revocation, retention).await.map_err(|error| error.kind());
        assert_eq!(answer, expected, "{revocation:?}");
        assert_eq!(revoked.standing(&store, 0).await, Ok(Standing::Revoked), "{revocation:?}");
    }
    assert_eq!(Scene::new(5).sign_in(&store).await, Rotated::Recorded);
    server.command(&["SET", "tower-reissue:{horizon}:horizon", "100000"]);
    store.revoke(Revocation::Session(scene.session()), retention).await.unwrap();
    assert!(kept_by(&store, std::slice::from_ref(&server), 10).await > 100_000);
}

/// As where a node of a cluster is replaced. Answers the slot's hash tag.
fn lose_slot(server: &RedisServer, scene: &Scene) -> u16 {
    let [high, low, ..] = name(1, scene.n);
    let tag = u16::from_be_bytes([high, low]) % 1024;
    let lost = server.command(&["DEL", &format!("tower-reissue:{{{tag}}}:birth")]);
    assert!(lost.starts_with(":1"), "{lost}");
    tag
}

/// For how many seconds the slot keeps its only record of this kind.
fn kept_in(server: &RedisServer, tag: u16, kind: &str) -> u64 {
    let keys = server.command(&["KEYS", &format!("tower-reissue:{{{tag}}}:{kind}:*")]);
    let key = keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
    let ttl = server.command(&["TTL", key]);
    ttl.lines().next().unwrap().trim_start_matches(':').parse().unwrap()
}

/// Whoever meets the slot first may fail to restore it, or not wait for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_slot_was_lost_is_told_until_it_is_restored() {
    for round in 0..3 {
        let server = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
        let replica = RedisServer::replica_of(&server);
        let connect = || RedisStore::connect(server.url());
        let one = connect().with_horizon(SHORT).await.unwrap();
        let two = connect().await.unwrap();
        let waiting = connect().wait_for_replicas(1, Duration::from_secs(1)).await.unwrap();
        // They are not told.
        connect().with_horizon(LONG).await.unwrap();
        let scene = Scene::new(1);
        let retention = Retention::new(NumericDate::from_secs(scene.now), 5, 300);
        let revoke = async |store: &RedisStore| {
            let revoked = store.revoke(Revocation::Session(scene.session()), retention).await;
            revoked.map_err(|error| error.kind())
        };
        let tag = lose_slot(&server, &scene);
        let revoker = match round {
            0 => {
                let record = server.command(&["GET", "tower-reissue:{horizon}:horizon"]);
                let record = record.lines().nth(1).unwrap();
                server.command(&["SET", "tower-reissue:{horizon}:horizon", "a while"]);
                assert!(scene.standing(&one, 0).await.is_ok());
                assert_eq!(revoke(&two).await, Err(StoreErrorKind::Corrupt));
                server.command(&["SET", "tower-reissue:{horizon}:horizon", record]);
                &two
            }
            1 => {
                replica.freeze();
                assert_eq!(revoke(&waiting).await, Err(StoreErrorKind::Timeout));
                replica.thaw();
                &waiting
            }
            _ => {
                server.freeze();
                let presented = scene.presents(0);
                let dropped = tokio::time::timeout(Duration::from_millis(200), one.standing(&presented));
                assert!(dropped.await.is_err());
                server.thaw();
                &one
            }
        };
        let mut revoked = revoke(revoker).await;
        for _ in 0..20 {
            if revoked == Err(StoreErrorKind::Timeout) {
                revoked = revoke(revoker).await;
            }
        }
        assert_eq!(revoked, Ok(()), "{round}");
        let kept = kept_in(&server, tag, "session");
        assert!(kept > 100_000, "round {round}: {kept} s");
        assert_eq!(whole_slots([&server], "100000"), 1024);
    }
}
