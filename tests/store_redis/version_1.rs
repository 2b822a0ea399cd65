//! Beside processes of version 0.1, and after them. Their scripts are in `version_1/`, as they were.

use super::*;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(const $name: &str = concat!(include_str!("version_1/prelude.lua"), include_str!($file));)*
    };
}

scripts! {
    STANDING = "version_1/standing.lua";
    ROTATE = "version_1/rotate.lua";
    REVOKE = "version_1/revoke.lua";
    SUBJECT = "version_1/subject.lua";
    REVOKE_SUBJECT = "version_1/revoke_subject.lua";
    BIRTH = "version_1/birth.lua";
}

/// The year 9999: how long version 0.1 kept a revocation of a session without a declared start.
const LAST: &str = "253402300799";

/// A process of version 0.1, as far as the server sees it.
struct Old<'a>(&'a RedisServer);

impl Old<'_> {
    fn run(&self, script: &str, keys: &[String], args: &[&str]) -> String {
        let count = keys.len().to_string();
        let words = ["EVAL", script, &count].into_iter().chain(keys.iter().map(String::as_str));
        self.0.command(&words.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    fn connect(&self) {
        for tag in 0..1024 {
            self.run(BIRTH, &[format!("tower-reissue:{{{tag}}}:birth")], &["0"]);
        }
    }

    fn list(&self, scene: &Scene) -> String {
        let [now, until] = [scene.now, scene.now + 3_600].map(|instant| instant.to_string());
        let keys = ["subject", "sessions", "birth"].map(|kind| subject_key(scene, kind));
        self.run(SUBJECT, &keys, &[&now, &scene.session().to_string(), &scene.start.to_string(), &until])
    }

    fn rotate(&self, scene: &Scene, token: u64, successor: u64) -> String {
        let [now, until, start] =
            [scene.now, scene.now + 3_600, scene.start].map(|instant| instant.to_string());
        let [token_id, successor_id] = [token, successor].map(|token| token_id(token).to_string());
        let keys = ["session", "revoked", "birth"].map(|kind| session_key(scene, kind));
        let supersedes = if token == successor { "0" } else { "1" };
        let (claims, subject) = (claims(successor), scene.subject().to_string());
        let args =
            [&now, &token_id, &successor_id, supersedes, &until, &claims, &start, &subject, "before", "1"];
        self.run(ROTATE, &keys, &args)
    }

    fn standing(&self, scene: &Scene) -> String {
        let keys = ["session", "revoked", "birth"].map(|kind| session_key(scene, kind));
        self.run(STANDING, &keys, &[&scene.now.to_string(), &token_id(0).to_string()])
    }

    fn revoke(&self, scene: &Scene, token: &str, until: &str) -> String {
        let keys = ["session", "revoked"].map(|kind| session_key(scene, kind));
        self.run(REVOKE, &keys, &[&scene.now.to_string(), until, token, "channel", "message"])
    }

    fn revoke_subject(&self, scene: &Scene) -> String {
        let (now, start) = (scene.now.to_string(), scene.start.to_string());
        self.run(
            REVOKE_SUBJECT,
            &[subject_key(scene, "subject")],
            &[&now, LAST, &start, "channel", "message"],
        )
    }
}

fn session_key(scene: &Scene, kind: &str) -> String {
    key(scene.session().as_bytes(), kind, &scene.session().to_string())
}

fn subject_key(scene: &Scene, kind: &str) -> String {
    key(scene.subject().as_bytes(), kind, &scene.subject().to_string())
}

fn key(id: &[u8; 32], kind: &str, name: &str) -> String {
    let tag = u16::from_be_bytes([id[0], id[1]]) % 1024;
    match kind {
        "birth" => format!("tower-reissue:{{{tag}}}:birth"),
        _ => format!("tower-reissue:{{{tag}}}:{kind}:{name}"),
    }
}

fn ttl(server: &RedisServer, key: &str) -> i64 {
    server.command(&["TTL", key]).lines().next().unwrap().trim_start_matches(':').parse().unwrap()
}

const HORIZON: u64 = 3_600;

async fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(server.url()).with_horizon(Horizon::Secs(HORIZON)).await.unwrap()
}

#[tokio::test]
async fn what_version_0_1_recorded_goes_on_and_comes_under_the_horizon() {
    let server = RedisServer::start(&[]);
    let old = Old(&server);
    old.connect();
    let [live, other, session, short, token, subject] = [1, 2, 3, 4, 5, 6].map(Scene::new);
    for scene in [&live, &other] {
        assert!(old.list(scene).starts_with("*4"));
        assert!(old.rotate(scene, 0, 0).contains("recorded"));
    }
    assert!(old.revoke(&session, "", LAST).contains("done"));
    assert!(old.revoke(&short, "", &(short.now + 60).to_string()).contains("done"));
    assert!(old.revoke(&token, &token_id(0).to_string(), LAST).contains("done"));
    assert!(old.revoke_subject(&subject).contains("done"));

    let store = connect(&server).await;
    for scene in [&live, &other] {
        let page = store.sessions(scene.subject(), SystemClock.now(), Page::default()).await.unwrap();
        assert_eq!(page.sessions.iter().map(|record| record.session).collect::<Vec<_>>(), [scene.session()]);
    }
    assert_eq!(live.standing(&store, 0).await, Ok(Standing::Live));
    assert_eq!(live.renew(&store, 0, 1).await, Rotated::Recorded);
    assert_eq!(live.renew(&store, 0, 2).await, Rotated::Superseded { head: claims(1).into() });
    live.revoke(&store).await;
    assert_eq!(live.standing(&store, 1).await, Ok(Standing::Revoked));
    assert_eq!(other.standing(&store, 0).await, Ok(Standing::Live));

    let keys = [
        (&session, session_key(&session, "session")),
        (&short, session_key(&short, "session")),
        (&token, session_key(&token, "revoked")),
        (&subject, subject_key(&subject, "subject")),
    ];
    for (scene, key) in keys {
        for _ in 0..2 {
            assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Revoked), "{key}");
            // By now and for the tolerance and the margin, and a minute longer. The scene is a minute ahead.
            let ttl = ttl(&server, &key);
            let longest = HORIZON as i64 + 60 + 300 + 60 + 60;
            assert!((longest - 10..=longest).contains(&ttl), "{key}: {ttl} s");
        }
        assert_eq!(scene.renew(&store, 0, 1).await, Rotated::Revoked, "{key}");
    }
}

/// It would keep revocations for less than the horizon, and knows nothing of what is revoked in new ways.
#[tokio::test]
async fn a_process_of_version_0_1_is_refused_once_a_newer_one_has_connected() {
    let server = RedisServer::start(&[]);
    let old = Old(&server);
    old.connect();
    let [before, after, unknown] = [1, 2, 3].map(Scene::new);
    old.list(&before);
    old.rotate(&before, 0, 0);
    let store = connect(&server).await;
    assert_eq!(before.renew(&store, 0, 1).await, Rotated::Recorded);
    assert_eq!(after.sign_in(&store).await, Rotated::Recorded);
    let connected = old.run(BIRTH, &[session_key(&unknown, "birth")], &["0"]);
    assert!(connected.starts_with('-'), "connect: {connected}");
    for scene in [&before, &after, &unknown] {
        for (call, answer) in [
            ("standing", old.standing(scene)),
            ("list", old.list(scene)),
            ("sign-in", old.rotate(scene, 0, 0)),
            ("renewal", old.rotate(scene, 1, 2)),
        ] {
            assert!(answer.starts_with('-'), "{call}: {answer}");
        }
    }
    for scene in [&before, &after] {
        for (call, answer) in [
            ("session", old.revoke(scene, "", LAST)),
            ("token", old.revoke(scene, &token_id(1).to_string(), LAST)),
            ("subject", old.revoke_subject(scene)),
        ] {
            assert!(answer.starts_with("-CORRUPT"), "revoking the {call}: {answer}");
        }
        assert_eq!(scene.standing(&store, 0).await, Ok(Standing::Live));
    }
    // What has no record it can still revoke. That holds, and is kept as long as it must be once it is met.
    assert!(old.revoke(&unknown, "", &(unknown.now + 60).to_string()).contains("done"));
    assert!(old.revoke_subject(&unknown).contains("done"));
    assert_eq!(unknown.standing(&store, 0).await, Ok(Standing::Revoked));
    assert!(ttl(&server, &session_key(&unknown, "session")) > HORIZON as i64);
}
