//! Records lost, spoilt, refused and kept, at the store itself.

use super::*;

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
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::UnknownSession));
        // Recorded, for an authority that admits them; unknown all the same.
        assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Recorded);
        assert_eq!(scene.renew(&store, 0, 2).await, Rotated::Superseded { head: claims(1).into() });
        for token in [0, 1] {
            assert_eq!(scene.standing(&store, token).await, Ok(Standing::UnknownSession));
        }
    }
    // In the very second of the loss too.
    let new = Scene::new(3);
    assert_eq!(new.sign_in(&store).await, Rotated::Recorded);
    assert_eq!(new.standing(&store, 0).await, Ok(Standing::Live));
    assert_eq!(new.renew(&store, 0, 1).await, Rotated::Recorded);
    assert_eq!(new.standing(&store, 1).await, Ok(Standing::Live));
    restored(std::slice::from_ref(&server)).await;
    // Begun elsewhere, after the loss: nothing of it can have been lost.
    let later = Scene { start: new.now + 10, now: new.now + 10, ..Scene::new(4) };
    assert_eq!(later.standing(&store, 0).await, Ok(Standing::Live));
    // A process that connects after the loss says the same.
    server.command(&["FLUSHALL"]);
    let now = SystemClock.now().as_secs();
    let restarted = RedisStore::connect(server.url()).await.unwrap();
    assert_eq!(
        Scene { start: now, now, ..Scene::new(5) }.standing(&restarted, 0).await,
        Ok(Standing::UnknownSession)
    );
}

#[tokio::test]
async fn a_session_that_is_dated_ahead_of_a_loss_is_not_live_again() {
    let (server, cluster) = (RedisServer::start(&[]), RedisCluster::start());
    let open = async || {
        server.command(&["FLUSHALL"]);
        RedisStore::connect(server.url()).await.unwrap()
    };
    revocations::a_session_that_is_dated_ahead_of_a_loss_is_not_live_again(open).await;
    let open = async || {
        cluster.0.iter().for_each(|node| drop(node.command(&["FLUSHALL"])));
        RedisStore::connect_cluster(cluster.urls()).await.unwrap()
    };
    revocations::a_session_that_is_dated_ahead_of_a_loss_is_not_live_again(open).await;
}

/// Each slot that was asked says that it was lost.
#[tokio::test]
async fn after_a_flush_one_call_restores_the_births_for_all_that_are_under_way() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    server.command(&["FLUSHALL"]);
    let scripts = || server.calls("evalsha") + server.calls("eval");
    let before = scripts();
    let scenes = (0..100).map(Scene::new).collect::<Vec<_>>();
    futures_util::future::join_all(scenes.iter().map(|scene| scene.standing(&store, 0))).await;
    restored(std::slice::from_ref(&server)).await;
    let asked = scripts() - before;
    assert!(asked < 5 * 1024, "{asked} scripts");
    assert!(server.command(&["DBSIZE"]).starts_with(":1024"));
}

/// In a rotation, a birth that was lost looks like one that lies on another server.
#[tokio::test]
async fn after_a_flush_a_rotation_costs_one_round_trip_again() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let sign_ins = async |from: u64| {
        let before = server.calls("evalsha");
        for n in from..from + 10 {
            assert_eq!(Scene::new(n).sign_in(&store).await, Rotated::Recorded);
        }
        server.calls("evalsha") - before
    };
    sign_ins(0).await;
    assert_eq!(sign_ins(100).await, 10);
    server.command(&["FLUSHALL"]);
    sign_ins(200).await;
    restored(std::slice::from_ref(&server)).await;
    let mut from = 300;
    eventually("one round trip", async || {
        from += 100;
        sign_ins(from).await == 10
    })
    .await;
}

/// In a cluster, the session's records may survive and its subject's be lost.
#[tokio::test]
async fn a_session_whose_subjects_records_were_lost_is_unknown() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    scene.sign_in(&store).await;
    let instant = NumericDate::from_secs(scene.now);
    let everywhere = Revocation::SubjectBefore { subject: scene.subject(), instant, except: None };
    store.revoke(everywhere, kept(instant, NumericDate::from_secs(scene.now + 3600))).await.unwrap();
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
    let keys = server.command(&["KEYS", "*:subject:*"]);
    let subject = keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
    let birth = format!("{}birth", subject.split("subject:").next().unwrap());
    assert!(server.command(&["DEL", subject, &birth]).starts_with(":2"));
    assert_eq!(scene.standing(&store, 0).await, Ok(Standing::UnknownSession));
}

#[tokio::test]
async fn a_record_that_is_not_ours_is_an_error() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for (n, spoilt) in [
        &["SET", "", "text"][..],
        &["RPUSH", "", "text"],
        &["HSET", "", "v", "3"],
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
        let revoked = store.revoke(revocation, kept(now, NumericDate::from_secs(scene.now + 9))).await;
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

fn key_of(server: &RedisServer, kind: &str, id: &str) -> String {
    let keys = server.command(&["KEYS", &format!("*:{kind}:{id}")]);
    keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap().to_owned()
}
