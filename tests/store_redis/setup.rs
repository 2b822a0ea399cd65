//! What it connects to, and what it leaves there.

use super::*;

#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_allowed() {
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
async fn every_key_but_the_births_and_the_horizon_expires() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    let now = SystemClock.now().as_secs();
    // Ahead of the clock, so that its slot lists it.
    let [scene, live] = [1, 2].map(|n| Scene { n, start: now + 20, now });
    for scene in [&scene, &live] {
        scene.sign_in(&store).await;
    }
    scene.revoke(&store).await;
    let until = NumericDate::from_secs(scene.now + 3600);
    for revocation in [
        Revocation::Token { session: SessionId::from_bytes([8; 32]), token: TokenId::from_bytes([8; 32]) },
        Revocation::SubjectBefore {
            subject: scene.subject(),
            instant: NumericDate::from_secs(scene.now),
            except: None,
        },
    ] {
        store.revoke(revocation, kept(NumericDate::from_secs(scene.now), until)).await.unwrap();
    }
    let keys = server.command(&["KEYS", "*"]);
    let mut others = 0;
    let stays = |key: &str| key.ends_with(":birth") || key == "tower-reissue:{horizon}:horizon";
    for key in keys.lines().filter(|line| line.starts_with("tower-reissue") && !stays(line)) {
        let ttl = server.command(&["TTL", key]);
        let ttl: i64 = ttl.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
        assert!((3600..=3700).contains(&ttl), "{key}: {ttl}");
        others += 1;
    }
    assert_eq!(others, 10, "{keys}");
    assert_eq!(keys.lines().filter(|line| line.ends_with(":birth")).count(), 1024);
}

/// `unbounded_sessions` keeps a revocation until the year 9999.
#[tokio::test]
async fn the_last_instant_of_all_is_kept_to_the_second() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    let scene = Scene::new(1);
    let last = NumericDate::MAX;
    store
        .revoke(Revocation::Session(scene.session()), kept(NumericDate::from_secs(scene.now), last))
        .await
        .unwrap();
    let before_the_last = Scene { now: last.as_secs() - 1, ..scene };
    assert_eq!(before_the_last.standing(&store, 0).await, Ok(Standing::Revoked));
}
