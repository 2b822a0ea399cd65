//! What one subject may take.

use super::*;

fn sign_in(n: u64, subject: SubjectId, limit: SubjectLimit) -> Rotation {
    let scene = Scene { start: Scene::new(n).start + n, ..Scene::new(n) };
    let now = NumericDate::from_secs(scene.now + n);
    let presented =
        Presented::new(scene.session(), token_id(n), Some(subject), NumericDate::from_secs(scene.start), now);
    let until = NumericDate::from_secs(scene.now + 100_000);
    Rotation::sign_in(presented, claims(n), until).limited_by(Retention::new(now, 5, 300).limited_to(limit))
}

/// Signing in and out without end takes a bounded number of keys, and brings nobody back.
#[tokio::test]
async fn a_subject_that_signs_in_and_out_without_end_takes_a_bounded_number_of_records() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).with_horizon(Horizon::Secs(86_400)).await.unwrap();
    let limit = SubjectLimit::new(3);
    let subject = Scene::new(0).subject();
    let mut signed_in = Vec::new();
    for n in 0..300 {
        let rotation = sign_in(n, subject, limit);
        let presented = rotation.presented;
        assert_eq!(store.rotate(rotation).await.unwrap(), Rotated::Recorded, "{n}");
        if n % 3 > 0 {
            let retention = Retention::new(presented.now, 5, 300).limited_to(limit);
            let retention = retention.of(Some(subject), presented.session_start);
            store.revoke(Revocation::Session(presented.session), retention).await.unwrap();
        } else {
            signed_in.push(presented.session);
        }
        // What gave way goes within a minute.
        let staying = "local count = 0 for _, key in ipairs(redis.call('KEYS', '*:session:*')) do \
                       if redis.call('PTTL', key) > 60000 then count = count + 1 end end return count";
        let records = integer(&server.command(&["EVAL", staying, "0"])).unwrap();
        assert!(records <= limit.remembered as u64 + 1, "{records} records after {n} sign-ins");
        for key in ["listed", "ended", "expiry"].map(|kind| format!("*:{kind}:*")) {
            let keys = server.command(&["KEYS", &key]);
            for key in keys.lines().filter(|line| line.starts_with("tower-reissue")) {
                let count = server.command(&["ZCARD", key]);
                let count: usize = count.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
                assert!(count <= limit.remembered + 1, "{key}: {count} after {n} sign-ins");
            }
        }
    }
    let now = sign_in(299, subject, limit).presented.now;
    let listed = store.sessions(subject, now, Page::default()).await.unwrap().sessions;
    // The last of the three that may be live was signed out.
    let live = signed_in.iter().rev().take(2).copied().collect::<Vec<_>>();
    assert_eq!(listed.iter().map(|record| record.session).collect::<Vec<_>>(), live);
    for n in 0..300 {
        let mut presented = sign_in(n, subject, limit).presented;
        presented.now = now;
        let is_live = live.contains(&presented.session);
        let expected = if is_live { Standing::Live } else { Standing::Revoked };
        assert_eq!(store.standing(&presented).await.unwrap(), expected, "{n}");
    }
}

const PRELUDE: &str = include_str!("../../src/store/redis/prelude.lua");

fn integer(answer: &str) -> Option<u64> {
    answer.lines().next().unwrap().trim_start_matches(':').parse().ok()
}

/// A cutoff that makes room takes the place of the records it covers, and of no others. A record may say more by then than
/// its subject was told.
#[tokio::test]
async fn what_a_cutoff_does_not_cover_stays() {
    let server = RedisServer::start(&[]);
    let forget = format!("{PRELUDE}{}", include_str!("../../src/store/redis/forget.lua"));
    let stays = |fields: &[&str]| {
        server.command(&["DEL", "k"]);
        server.command(&[&["HSET", "k", "v", "2", "p", "alice"], fields].concat());
        let answer = server.command(&["EVAL", &forget, "1", "k", "alice", "100", "5000"]);
        assert!(!answer.starts_with('-'), "{answer}");
        assert_eq!(
            integer(&server.command(&["EXISTS", "k"])),
            Some(1),
            "who asked before the cutoff was there, asks this"
        );
        server.command(&["PTTL", "k"]).starts_with(":-1")
    };
    assert!(!stays(&["s", "100", "x", "5000"]), "a session that ended");
    assert!(!stays(&["s", "100", "h", "head", "u", "5000"]), "a session that did not");
    assert!(stays(&["s", "101", "x", "5000"]), "a token of it may have begun later");
    assert!(stays(&["s", "100", "x", "5001"]), "it was promised for longer");
    assert!(stays(&["s", "101", "h", "head", "u", "5000"]), "a session begun later");
    assert!(stays(&["s", "100", "h", "head", "u", "5001"]), "a session that lives longer");
    assert!(stays(&["s", "100", "x", "5000", "p", "bob"]), "another subject's");
    // As version 1 wrote it, it does not say whose it was.
    server.command(&["DEL", "k"]);
    server.command(&["HSET", "k", "v", "1", "x", "5000"]);
    assert!(!server.command(&["EVAL", &forget, "1", "k", "", "100", "5000"]).starts_with('-'));
    assert!(server.command(&["PTTL", "k"]).starts_with(":-1"));
}

/// Its record was to go within a minute, with those of the sessions that it made one too many.
#[tokio::test]
async fn a_sign_in_that_was_forgotten_and_begins_again_is_kept_for_its_whole_life() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).with_horizon(Horizon::Secs(86_400)).await.unwrap();
    let (subject, limit) = (Scene::new(0).subject(), SubjectLimit::new(1));
    let now = NumericDate::from_secs(SystemClock.now().as_secs() + 60);
    let mut repeated = 0;
    for n in 0..12 {
        let session = Scene::new(n).session();
        let mut start = now;
        loop {
            let presented = Presented::new(session, token_id(n), Some(subject), start, now);
            let until = NumericDate::from_secs(now.as_secs() + 100_000);
            let sign_in = Rotation::sign_in(presented, claims(n), until);
            let sign_in = sign_in.limited_by(Retention::new(now, 5, 300).limited_to(limit));
            let Rotated::Predated { revoked_until } = store.rotate(sign_in).await.unwrap() else { break };
            start = NumericDate::from_secs(revoked_until.as_secs() + 1);
            repeated += 1;
        }
        let keys = server.command(&["KEYS", &format!("*:session:{session}")]);
        let record = keys.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
        let ttl = integer(&server.command(&["PTTL", record])).unwrap();
        assert!(ttl > 99_000_000, "sign-in {n}, after {repeated} that were told to begin later: {ttl} ms");
    }
    assert!(repeated > 0);
}

/// A call that asks two slots may find the subject's as it was before the cutoff, and the session's as it is after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_not_live_while_its_record_gives_way_to_the_cutoff() {
    let cluster = RedisCluster::start();
    let connect = async || {
        RedisStore::connect_cluster(cluster.urls()).with_horizon(Horizon::Secs(3_600)).await.unwrap()
    };
    let (asker, other) = (connect().await, connect().await);
    let node_of = |n: u64| {
        let tag = u16::from_be_bytes([name(1, n)[0], name(1, n)[1]]) % 1024;
        let slot = integer(&cluster.0[0].command(&["CLUSTER", "KEYSLOT", &tag.to_string()])).unwrap();
        [5460, 10922, 16383].iter().position(|&last| slot <= last).unwrap()
    };
    // Its slot is that of the session of its number.
    let subject = Scene::new(0).subject();
    let home = node_of(0);
    let there: Vec<_> = (1..).filter(|&n| node_of(n) == (home + 1) % 3).take(2).collect();
    let here: Vec<_> = (1..).filter(|&n| node_of(n) == home).take(3).collect();
    let now = Scene::new(0).now;
    let at = |secs: u64| NumericDate::from_secs(now + secs);
    let presented = |n: u64, start| {
        Presented::new(Scene::new(n).session(), token_id(n), Some(subject), at(start), at(100))
    };
    let mut limit = SubjectLimit::new(50);
    limit.remembered = 3;
    let end = async |presented: Presented| {
        let retention = Retention::new(at(100), 0, 300).limited_to(limit);
        let retention = retention.of(Some(subject), presented.session_start);
        other.revoke(Revocation::Session(presented.session), retention).await.unwrap();
    };
    let (victim, last) = (presented(there[0], 2), presented(here[2], 120));
    for presented in [victim, presented(here[0], 110), presented(here[1], 110)] {
        let sign_in = Rotation::sign_in(presented, claims(0), at(3_600));
        assert_eq!(other.rotate(sign_in).await.unwrap(), Rotated::Recorded);
    }
    end(victim).await;
    assert_eq!(asker.standing(&victim).await.unwrap(), Standing::Revoked);

    let node = &cluster.0[(home + 1) % 3];
    // As where something was forgotten before.
    let forget = concat!(
        include_str!("../../src/store/redis/prelude.lua"),
        "local function run(KEYS, ARGV)\n",
        include_str!("../../src/store/redis/forget.lua"),
        "end\n",
        include_str!("../../src/store/redis/answer.lua"),
    );
    assert!(!node.command(&["SCRIPT", "LOAD", forget]).starts_with('-'));
    let unknown_scripts = node.calls("eval");
    node.freeze();
    // The node reads the connection first on which something waited first, and all that it says.
    let first = async { other.standing(&presented(there[1], 3)).await };
    let asked = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        asker.standing(&victim).await
    };
    // One more than are remembered: the oldest gives way.
    let ended = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        end(last).await;
    };
    let thawed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.thaw();
    };
    let (_, standing, (), ()) = tokio::join!(first, asked, ended, thawed);
    assert_eq!(standing.unwrap(), Standing::Revoked);
    assert_eq!(node.calls("eval"), unknown_scripts, "the one that forgets was not known");
    assert_eq!(asker.standing(&victim).await.unwrap(), Standing::Revoked, "by the cutoff");
    let record = node.command(&["KEYS", &format!("*:session:{}", victim.session)]);
    let record = record.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
    let ttl = integer(&node.command(&["PTTL", record])).unwrap();
    assert!(ttl <= 60_000, "it did not give way: {ttl} ms");
}

#[tokio::test]
async fn a_session_that_ended_twice_counts_by_the_later_instants_in_either_order() {
    let server = RedisServer::start(&[]);
    let ended = format!("{PRELUDE}{}", include_str!("../../src/store/redis/ended.lua"));
    let now = SystemClock.now().as_secs();
    for (first, second) in [(0, 9), (9, 0)] {
        for more in [first, second] {
            let [latest, till] = [now + more, now + 1_000 + more].map(|secs| secs.to_string());
            let args = ["0", "0", "5", "300", "10", "channel", "@", "session", &latest, &till];
            let keys = ["subject", "birth", "listed", "ended", "expiry"];
            let now = now.to_string();
            let words = [&["EVAL", &*ended, "5"], &keys[..], &[&*now], &args].concat();
            assert!(!server.command(&words).starts_with('-'));
        }
        let score = |key| server.command(&["ZSCORE", key, "session"]).lines().nth(1).unwrap().to_owned();
        assert_eq!([score("ended"), score("expiry")], [now + 9, now + 1_009].map(|secs| secs.to_string()));
        server.command(&["FLUSHALL"]);
    }
}

/// A server does nothing else while a script runs. The cutoff is kept as long as what it takes the place of.
#[tokio::test]
async fn where_the_limit_was_lowered_each_call_makes_room_for_some() {
    let server = RedisServer::start(&[]);
    let ended = format!("{PRELUDE}{}", include_str!("../../src/store/redis/ended.lua"));
    let fill = "for n = 1, 1000 do redis.call('ZADD', 'listed', n, 'session ' .. n) end \
                redis.call('ZADD', 'expiry', ARGV[1], 'session 1')";
    let now = SystemClock.now().as_secs();
    let promised = (now + 1_000_000).to_string();
    assert!(!server.command(&["EVAL", fill, "0", &promised]).starts_with('-'));
    let now = now.to_string();
    let mut left = vec![1_000];
    while *left.last().unwrap() > 10 {
        let words = ["EVAL", &ended, "5", "subject", "birth", "listed", "ended", "expiry"];
        let args = [&*now, "0", "0", "5", "300", "10", "channel", "@"];
        assert!(!server.command(&[&words[..], &args].concat()).starts_with('-'));
        assert_eq!(server.command(&["HGET", "subject", "u"]).lines().nth(1), Some(&*promised));
        left.push(integer(&server.command(&["ZCARD", "listed"])).unwrap());
        assert!(left.windows(2).all(|two| two[1] < two[0] && two[0] - two[1] <= 128), "{left:?}");
    }
}

/// A call removes some of them. What is left takes nobody's place, neither among the live sessions nor among those that are
/// remembered.
#[tokio::test]
async fn what_has_expired_ends_no_live_session_while_it_waits_to_be_removed() {
    for remembered in [60, 5_000] {
        let server = RedisServer::start(&[]);
        let store = RedisStore::connect(server.url()).with_horizon(Horizon::Secs(86_400)).await.unwrap();
        let subject = Scene::new(0).subject();
        let mut limit = SubjectLimit::new(40);
        limit.remembered = remembered;
        let oldest = sign_in(0, subject, limit);
        assert_eq!(store.rotate(oldest.clone()).await.unwrap(), Rotated::Recorded);
        let tag = u16::from_be_bytes([subject.as_bytes()[0], subject.as_bytes()[1]]) % 1024;
        let keys =
            ["listed", "ended", "expiry"].map(|kind| format!("tower-reissue:{{{tag}}}:{kind}:{subject}"));
        let fill = "for n = 1, 1000 do \
                      local session = string.format('%064x', n) \
                      redis.call('ZADD', KEYS[n % 5 == 0 and 2 or 1], ARGV[1] + n, session) \
                      redis.call('ZADD', KEYS[3], ARGV[2] - n, session) \
                    end";
        let (start, expired) = (oldest.presented.session_start.to_string(), SystemClock.now().as_secs() - 10);
        let words = ["EVAL", fill, "3", &keys[0], &keys[1], &keys[2], &start, &expired.to_string()];
        assert!(!server.command(&words).starts_with('-'));

        let size = || keys.each_ref().map(|key| integer(&server.command(&["ZCARD", key])).unwrap());
        let mut live = vec![oldest.presented];
        let mut now = oldest.presented.now;
        for n in 0..12 {
            let before = size();
            let next = sign_in(2_000 + n, subject, limit);
            now = next.presented.now;
            live.push(next.presented);
            assert_eq!(store.rotate(next).await.unwrap(), Rotated::Recorded, "{n}");
            assert!(before[2].saturating_sub(size()[2]) <= 256, "{before:?}, then {:?}", size());
            for presented in &live {
                let mut presented = *presented;
                presented.now = now;
                assert_eq!(store.standing(&presented).await.unwrap(), Standing::Live, "{n}: {presented:?}");
            }
        }
        assert_eq!(size(), [13, 0, 13]);
        // The limit still holds.
        for n in 12..50 {
            assert_eq!(
                store.rotate(sign_in(2_000 + n, subject, limit)).await.unwrap(),
                Rotated::Recorded,
                "{n}"
            );
        }
        assert_eq!(store.sessions(subject, now, Page::default()).await.unwrap().sessions.len(), 40);
    }
}

/// Where they are so many that the caller's time is up, the next try goes on.
#[tokio::test]
async fn a_session_that_begins_ahead_is_ended_once_by_revocations_of_all() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let listed = || {
        let keys = server.command(&["KEYS", "*:ahead"]);
        let keys = keys.lines().filter(|line| line.starts_with("tower-reissue")).map(str::to_owned);
        keys.filter_map(|key| integer(&server.command(&["ZCARD", &key]))).sum::<u64>()
    };
    let scenes = [1, 2, 3].map(|n| Scene { start: Scene::new(n).start + 60, ..Scene::new(n) });
    for scene in &scenes {
        assert_eq!(scene.sign_in(&store).await, Rotated::Recorded);
    }
    assert_eq!(listed(), 3);
    scenes[0].revoke(&store).await;
    assert_eq!(listed(), 2);
    let instant = NumericDate::from_secs(scenes[0].now);
    store.revoke(Revocation::AllBefore { instant }, Retention::new(instant, 5, 300)).await.unwrap();
    assert_eq!(listed(), 0);
    for scene in &scenes {
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked));
    }
}

/// What lists a session and what records it are in two slots, and the caller may go away between them.
#[tokio::test]
async fn a_session_on_another_subjects_list_neither_ends_with_theirs_nor_stays_there() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    for up_to_now in [false, true] {
        let n = u64::from(up_to_now);
        let owner = Scene { start: Scene::new(n).start + 30, ..Scene::new(n) };
        assert_eq!(owner.sign_in(&store).await, Rotated::Recorded);
        let other = SubjectId::from_bytes(name(9, n));
        let tag = u16::from_be_bytes([other.as_bytes()[0], other.as_bytes()[1]]) % 1024;
        let listed = format!("tower-reissue:{{{tag}}}:listed:{other}");
        let hex = owner.session().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        server.command(&["ZADD", &listed, &owner.start.to_string(), &hex]);
        let now = NumericDate::from_secs(owner.now);
        if up_to_now {
            let revocation = Revocation::SubjectBefore { subject: other, instant: now, except: None };
            store.revoke(revocation, Retention::new(now, 5, 300)).await.unwrap();
        } else {
            let start = NumericDate::from_secs(owner.start + 1);
            let session = SessionId::from_bytes(name(1, 100));
            let presented = Presented::new(session, token_id(100), Some(other), start, now);
            let retention = Retention::new(now, 5, 300).limited_to(SubjectLimit::new(1));
            let until = NumericDate::from_secs(owner.now + 3_600);
            let sign_in = Rotation::sign_in(presented, claims(0), until).limited_by(retention);
            assert_eq!(store.rotate(sign_in).await.unwrap(), Rotated::Recorded);
        }
        assert_eq!(owner.standing(&store, 0).await, Ok(Standing::Live), "up to now: {up_to_now}");
        assert!(server.command(&["ZSCORE", &listed, &hex]).starts_with("$-1"), "up to now: {up_to_now}");
    }
}

/// Of a session that was never recorded, somebody may hold any number of tokens.
#[tokio::test]
async fn revoking_the_tokens_of_a_session_without_end_ends_the_session() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let scene = Scene::new(1);
    let retention = Retention::new(NumericDate::from_secs(scene.now), 5, 300);
    for n in 0..=128 {
        assert_eq!(scene.standing(&store, 1_000).await, Ok(Standing::Live), "{n} revoked");
        let revocation = Revocation::Token { session: scene.session(), token: token_id(n) };
        store.revoke(revocation, retention).await.unwrap();
        assert_eq!(scene.standing(&store, n).await, Ok(Standing::Revoked), "{n}");
    }
    for token in [0, 128, 1_000] {
        assert_eq!(scene.standing(&store, token).await, Ok(Standing::Revoked), "{token}");
    }
    let tokens = server.command(&["KEYS", "*:revoked:*"]);
    let tokens = tokens.lines().find(|line| line.starts_with("tower-reissue")).unwrap();
    // The tokens, and the version.
    assert!(server.command(&["HLEN", tokens]).starts_with(":129\r"));
}

/// Elsewhere too, where it is remembered.
#[tokio::test]
async fn a_session_that_ends_in_favour_of_another_is_published() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let elsewhere = Cached::new(RedisStore::connect(server.url()).await.unwrap());
    let elsewhere = elsewhere.for_at_most(Duration::from_secs(60)).hearing_revocations().await.unwrap();
    let (subject, limit) = (Scene::new(0).subject(), SubjectLimit::new(1));
    let first = sign_in(0, subject, limit);
    store.rotate(first.clone()).await.unwrap();
    assert_eq!(elsewhere.standing(&first.presented).await.unwrap(), Standing::Live);
    assert_eq!(store.rotate(sign_in(1, subject, limit)).await.unwrap(), Rotated::Recorded);
    refuses_within(&elsewhere, &first.presented, Duration::from_millis(500)).await;
}

/// Each page is a few round trips, whatever follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_with_100_000_sessions_is_listed_by_the_page() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let subject = Scene::new(0).subject();
    let now = SystemClock.now().as_secs() + 60;
    // As sign-ins write them, and a hundred to each second.
    let (record, listed) = (
        "redis.call('HSET', KEYS[1], 'v', '2', 'h', 'head', 'e', ARGV[2], 'g', '0', 'a', '', 'u', ARGV[2], 'c', '{}', \
         'r', ARGV[1], 's', ARGV[1], 'p', ARGV[3], 'i', '', 'o', '0')",
        "redis.call('ZADD', KEYS[2], ARGV[1], ARGV[4])",
    );
    let script = format!("{record} {listed}");
    let tag = |id: &[u8; 32]| u16::from_be_bytes([id[0], id[1]]) % 1024;
    let client = redis_client(&server);
    let listed = format!("tower-reissue:{{{}}}:listed:{subject}", tag(subject.as_bytes()));
    let until = (now + 3_600).to_string();
    client(&mut (0..100_000_u64).map(|n| {
        let session = SessionId::from_bytes(name(1, n));
        let key = format!("tower-reissue:{{{}}}:session:{session}", tag(session.as_bytes()));
        let hex = session.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let start = (now + n / 100).to_string();
        ["EVAL", &script, "2", &key, &listed, &start, &until, &subject.to_string(), &hex].map(str::to_owned)
    }));
    let at = NumericDate::from_secs(now);
    let (mut seen, mut page, mut slowest) = (Vec::new(), Page::first(1_000), Duration::ZERO);
    loop {
        let began = std::time::Instant::now();
        let SessionPage { sessions, next, .. } = store.sessions(subject, at, page).await.unwrap();
        slowest = slowest.max(began.elapsed());
        seen.extend(sessions.iter().map(|record| record.cursor()));
        let Some(next) = next else { break };
        // What a listing stands at may end before it goes on.
        if seen.len() % 10_000 == 0 {
            let gone = sessions.last().unwrap().session;
            let retention = Retention::new(at, 5, 300).limited_to(SubjectLimit::new(200_000));
            store.revoke(Revocation::Session(gone), retention.of(Some(subject), at)).await.unwrap();
        }
        page = page.after(next);
    }
    assert_eq!(seen.len(), 100_000);
    assert!(seen.is_sorted_by(|one, next| one > next), "the newest first, each once");
    // An authority gives a call 1 s.
    assert!(slowest < Duration::from_secs(1), "a page took {slowest:?}");
    // All but one end in one step.
    let spared = seen[50_000];
    let others = Revocation::SubjectBefore {
        subject,
        instant: NumericDate::from_secs(now + 2_000),
        except: Some(spared.session),
    };
    let began = std::time::Instant::now();
    store.revoke(others, Retention::new(at, 5, 300)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    for place in seen.iter().step_by(997).chain([&spared]) {
        let presented = Presented::new(place.session, token_id(0), Some(subject), place.session_start, at);
        let expected = if *place == spared { Standing::Live } else { Standing::Revoked };
        assert_eq!(store.standing(&presented).await.unwrap(), expected);
    }
}

/// Sends commands without waiting for the answer of each.
fn redis_client(server: &RedisServer) -> impl Fn(&mut dyn Iterator<Item = [String; 9]>) {
    use std::io::{Read as _, Write as _};
    let port = server.port();
    move |commands| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut reading = stream.try_clone().unwrap();
        let read = std::thread::spawn(move || {
            let mut replies = Vec::new();
            reading.read_to_end(&mut replies).unwrap();
            assert!(!replies.starts_with(b"-"), "{}", String::from_utf8_lossy(&replies[..80]));
        });
        for words in commands {
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            stream.write_all(text.as_bytes()).unwrap();
        }
        stream.write_all(b"*1\r\n$4\r\nQUIT\r\n").unwrap();
        read.join().unwrap();
    }
}
