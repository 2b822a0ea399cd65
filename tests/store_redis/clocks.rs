//! A caller's clock and the server's, where they differ.

use super::*;

/// Births long ago, so that sessions may have begun at any time since.
pub fn backdate_births(server: &RedisServer) {
    let all = "for tag = 0, 1023 do redis.call('HSET', 'tower-reissue:{' .. tag .. '}:birth', 's', '1', 'i', '1') end";
    assert!(!server.command(&["EVAL", all, "0"]).starts_with('-'));
}

fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(secs)
}

fn revocations(n: u64) -> [Revocation; 3] {
    let scene = Scene::new(n);
    [
        Revocation::Session(Scene::new(n + 1).session()),
        Revocation::Token { session: Scene::new(n + 2).session(), token: token_id(0) },
        Revocation::SubjectBefore { subject: scene.subject(), instant: at(scene.start), except: None },
    ]
}

#[tokio::test]
async fn no_record_expires_before_its_instant_by_either_clock() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    let clock = SystemClock.now().as_secs();
    for now in [clock - 86_400, clock - 60, clock, clock + 60, clock + 86_400] {
        let until = at(now + 3_600);
        for revocation in revocations(0) {
            store.revoke(revocation, kept(at(now), until)).await.unwrap();
        }
        Scene { now, ..Scene::new(9) }.sign_in(&store).await;
        let keys = server.command(&["KEYS", "*"]);
        let stays = |key: &str| key.ends_with(":birth") || key.ends_with(":horizon");
        let mut records = 0;
        for key in keys.lines().filter(|line| line.starts_with("tower-reissue") && !stays(line)) {
            let ttl = server.command(&["TTL", key]);
            let ttl: u64 = ttl.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
            // A revocation is dated by the later clock, a session by the caller's.
            let longest = now.max(clock) + 3_600 - now.min(clock);
            let least = until.as_secs().max(clock + 3_600) - clock;
            assert!(
                (least..longest + 120).contains(&ttl),
                "{key}: {ttl} s by a clock at {now}, {clock} here"
            );
            records += 1;
        }
        assert_eq!(records, 8);
        server.command(&["FLUSHALL"]);
    }
}

/// By its clock all of it is over. By the server's and the others' it is not.
#[tokio::test]
async fn a_caller_whose_clock_is_ahead_overlooks_and_removes_nothing() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    let ahead = |scene: &Scene| Scene { now: scene.now + 86_400, ..*scene };
    let [session, token, subject] = [Scene::new(1), Scene::new(2), Scene::new(3)];
    for (scene, revocation) in [
        (&session, Revocation::Session(session.session())),
        (&token, Revocation::Token { session: token.session(), token: token_id(0) }),
        (
            &subject,
            Revocation::SubjectBefore {
                subject: subject.subject(),
                instant: at(subject.start),
                except: None,
            },
        ),
    ] {
        store.revoke(revocation, kept(at(scene.now), at(scene.now + 3_600))).await.unwrap();
        for scene in [*scene, ahead(scene)] {
            assert_eq!(
                scene.standing(&store, 0).await,
                Ok(Standing::Revoked),
                "{revocation:?} at {}",
                scene.now
            );
            assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Revoked, "{revocation:?} at {}", scene.now);
        }
    }
    // A caller that sweeps: revoked tokens of one session, and sessions of one subject.
    for n in 100..200 {
        let more = Revocation::Token { session: token.session(), token: token_id(n) };
        store.revoke(more, kept(at(ahead(&token).now), at(ahead(&token).now + 60))).await.unwrap();
    }
    assert_eq!(token.standing(&store, 0).await, Ok(Standing::Revoked));
    let live = Scene::new(4);
    live.sign_in(&store).await;
    let mut other = ahead(&live).presents(0);
    other.session = Scene::new(5).session();
    store.rotate(Rotation::sign_in(other, claims(0), at(ahead(&live).now + 60))).await.unwrap();
    let listed = store.sessions(live.subject(), at(live.now), Page::default()).await.unwrap().sessions;
    assert!(listed.iter().any(|record| record.session == live.session()), "{listed:?}");
    // A weaker revocation by that clock takes nothing from a stronger one.
    let weaker = Revocation::SubjectBefore {
        subject: subject.subject(),
        instant: at(subject.start - 9),
        except: None,
    };
    store.revoke(weaker, kept(at(ahead(&subject).now), at(ahead(&subject).now + 60))).await.unwrap();
    assert_eq!(subject.standing(&store, 0).await, Ok(Standing::Revoked));
    // A token that has a successor takes its session with it.
    let chain = Scene::new(6);
    chain.sign_in(&store).await;
    chain.renew(&store, 0, 1).await;
    let superseded = Revocation::Token { session: chain.session(), token: token_id(0) };
    store.revoke(superseded, kept(at(ahead(&chain).now), at(ahead(&chain).now + 60))).await.unwrap();
    assert_eq!(chain.standing(&store, 1).await, Ok(Standing::Revoked));
    // What was superseded long ago is still noticed when it comes back.
    let reused = Scene::new(7);
    let until = |secs| at(reused.now + secs);
    store.rotate(Rotation::sign_in(reused.presents(0), claims(0), until(100))).await.unwrap();
    for (token, later, secs) in [(0, 0, 100), (1, 0, 3_600), (2, 200, 3_600)] {
        let presented = Scene { now: reused.now + later, ..reused }.presents(token);
        let rotation = Rotation::renewal(presented, token_id(token + 1), claims(token + 1), until(secs));
        assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Recorded);
    }
    assert_eq!(reused.standing(&store, 0).await, Ok(Standing::Reused { generations: 3 }));
}

#[tokio::test]
async fn a_tombstone_is_over_when_both_clocks_say_so() {
    let server = RedisServer::start(&[]);
    let store = without_horizon(RedisStore::connect(server.url()).await.unwrap()).await;
    backdate_births(&server);
    let now = SystemClock.now().as_secs();
    for revocation in revocations(10) {
        store.revoke(revocation, kept(at(now), at(now + 1))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    for (n, subject) in [(11, None), (12, None), (13, Some(Scene::new(10).subject()))] {
        for (now, standing) in [(now, Standing::Revoked), (now + 9, Standing::Live)] {
            let scene = Scene { n, start: now - 600, now };
            let mut presented = scene.presents(0);
            presented.subject = subject;
            assert_eq!(store.standing(&presented).await.unwrap(), standing, "{n} at {now}");
        }
    }
}
