//! Revocations heard as they happen.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_made_elsewhere_is_seen_within_200_ms() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::before(server.port()).await;
    let here = Cached::new(RedisStore::connect(server.url()).await.unwrap());
    let connect = RedisStore::connect(url(&proxy));
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
            _ => Revocation::SubjectBefore {
                subject: scene.subject(),
                instant: presented.session_start,
                except: None,
            },
        };
        here.revoke(revocation, kept(presented.now, NumericDate::from_secs(scene.now + 3600))).await.unwrap();
        refuses_within(&there, &presented, Duration::from_millis(200)).await;
        refuses_within(&unfed, &presented, bound).await;
    }

    // The channel breaks in the middle of a message, and can't be opened again for a while.
    let scene = Scene::new(9);
    scene.sign_in(&here).await;
    assert_eq!(there.standing(&scene.presents(0)).await.unwrap(), Standing::Live);
    proxy.turn(Weather::Cut);
    scene.revoke(&here).await;
    // Past the bound it asks, and the store is out of its reach: no answer is not "live".
    tokio::time::sleep(bound).await;
    assert_eq!(there.standing_now(&scene.presents(0)), None);
    assert!(there.standing(&scene.presents(0)).await.is_err());
    proxy.turn(Weather::Clear);
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
    let store = RedisStore::connect(url(&proxy)).await.unwrap();
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
