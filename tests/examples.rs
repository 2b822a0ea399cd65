//! Each example as its reader runs it: a process of its own, over a real socket.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

#[cfg(all(feature = "axum", feature = "sqlite", feature = "postgres"))]
#[path = "support/postgres.rs"]
mod postgres;
#[cfg(all(feature = "axum", feature = "sqlite", feature = "redis"))]
#[path = "support/servers.rs"]
mod servers;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tower_reissue::Algorithm;

#[test]
fn quickstart_walks_a_token_through_its_life_within_30_s() {
    let begun = Instant::now();
    let output = example("quickstart").output().unwrap();
    let transcript = succeeded(&output);
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    let steps: Vec<&str> = transcript.lines().filter(|line| line.contains(" s   ")).collect();
    for (step, told) in [
        ("200 A", "signs in"),
        ("200  ", "fresh"),
        ("200 + B", "last half"),
        ("200 + B", "expired while the handler ran"),
        ("401 + B", "in the grace"),
        ("200 + C", "eight at once"),
        ("401  ", "past the grace"),
        ("204  ", "signs out"),
        ("401  ", "its session has not"),
        ("401  ", "revoked beats grace"),
    ]
    .iter()
    .enumerate()
    .map(|(at, told)| (steps[at], told))
    {
        assert!(step.contains(told.0) && step.contains(told.1), "{told:?} is not in {step:?}");
    }
}

#[test]
fn the_commands_that_quickstart_prints_work_when_pasted() {
    let mut server = Server::start(example("quickstart").args(["--serve", "--lifetime", "8"]));
    let transcript = paste(&server.commands("Ctrl-C"));
    let seen: Vec<&str> = transcript
        .lines()
        .filter_map(|line| {
            let known = [
                "HTTP/1.1 200",
                "the orders of alice",
                "refreshed-api-token: ",
                "HTTP/1.1 204",
                "HTTP/1.1 401",
            ];
            known.into_iter().find(|known| line.starts_with(known))
        })
        .collect();
    assert_eq!(
        seen,
        ["HTTP/1.1 200", "the orders of alice", "refreshed-api-token: ", "HTTP/1.1 204", "HTTP/1.1 401"],
        "{transcript}"
    );
    assert!(transcript.contains("The token was revoked"), "{transcript}");
}

#[test]
#[ignore = "needs Node 18 or newer"]
fn the_fetch_snippet_of_the_readme_renews_and_sends_a_replay_once_more() {
    let readme = include_str!("../README.md");
    let snippet = readme.split_once("```js\n").unwrap().1.split_once("```").unwrap().0;
    // 12 s of life, a renewal window of 6 s, a grace of 4 s.
    let server = Server::start(example("quickstart").args(["--serve", "--lifetime", "12"]));
    let walk = include_str!("fetch_client.mjs").replace("// The README's snippet.", snippet);
    let file = tempfile::Builder::new().suffix(".mjs").tempfile().unwrap();
    std::fs::write(file.path(), walk).unwrap();
    let output = Command::new("node").arg(file.path()).arg(&server.address).output().unwrap();
    assert_eq!(
        succeeded(&output).lines().collect::<Vec<_>>(),
        [
            "fresh: 200, 1 request, the same token",
            "in its window: 200, 1 request, another token",
            "in the grace: 200, 2 requests, another token",
            "past the grace: 401, 1 request, the same token",
        ]
    );
}

#[test]
fn hyper_and_tonic_check_themselves() {
    for (name, last) in [
        ("hyper", "Both answers brought the same successor.\n"),
        ("tonic", "Every call came out as it says.\n"),
    ] {
        let output = example(name).output().unwrap();
        assert!(succeeded(&output).ends_with(last));
    }
}

#[test]
fn hyper_and_tonic_keep_serving() {
    let mut server = Server::start(example("hyper").arg("--serve"));
    let transcript = paste(&server.commands("Ctrl-C"));
    assert!(transcript.starts_with("HTTP/1.1 200"), "{transcript}");
    assert!(transcript.ends_with("hello alice\n"), "{transcript}");

    let server = Server::start(example("tonic").arg("--serve"));
    TcpStream::connect(&server.address).unwrap();
}

#[cfg(all(feature = "axum", feature = "sqlite"))]
#[test]
fn sessions_walks_through_two_nodes_on_one_store() {
    assert_walked(&example("sessions").output().unwrap());
}

#[cfg(all(feature = "axum", feature = "sqlite"))]
fn assert_walked(output: &Output) {
    let transcript = succeeded(output);
    assert_eq!(stderr(output), "");
    for told in [
        "two refreshes at once bring one and the same refresh token",
        "401 GET /me                       on both nodes, for its access token",
        "400 POST /refresh                 and for its refresh token",
        "200 GET /me                       and a new one began, in the same second",
        "403 POST /sign-in                 and he gets no other",
        "400 POST /refresh                 and nothing is left of the session",
    ] {
        assert!(transcript.contains(told), "{told:?} is not in {transcript}");
    }
    assert!(transcript.ends_with("All of it came out as it says.\n"), "{transcript}");
}

#[cfg(all(feature = "axum", feature = "sqlite", feature = "postgres"))]
#[test]
fn sessions_walks_on_postgresql() {
    let server = postgres::Postgres::start();
    assert_walked(&example("sessions").args(["--store", &server.url()]).output().unwrap());
}

#[cfg(all(feature = "axum", feature = "sqlite", feature = "redis"))]
#[test]
fn sessions_walks_on_redis() {
    let server = servers::RedisServer::start(&[]);
    assert_walked(&example("sessions").args(["--store", &server.url()]).output().unwrap());
}

/// What it prints is pasted into a shell, on a node that ends in the middle and begins again on the same data.
#[cfg(all(feature = "axum", feature = "sqlite"))]
#[test]
fn the_commands_that_sessions_prints_work_when_pasted() {
    let data = tempfile::tempdir().unwrap();
    let start = |listen: &str| {
        let data = data.path().to_str().unwrap();
        Server::start(example("sessions").args(["--serve", "--listen", listen, "--data", data]))
    };
    let mut node = start("127.0.0.1:0");
    let transcript = paste(&node.commands("Ctrl-C"));
    let statuses: Vec<&str> = transcript.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).collect();
    assert_eq!(
        statuses,
        ["201 Created", "200 OK", "200 OK", "401 Unauthorized", "400 Bad Request"],
        "{transcript}"
    );
    assert!(
        transcript.contains(r#""device":"phone""#) && transcript.contains("invalid_grant"),
        "{transcript}"
    );
    let documents = transcript.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let pairs: Vec<Value> = documents.filter(|document| document["refresh_token"].is_string()).collect();
    let refresh_tokens: Vec<_> =
        pairs.iter().filter_map(|pair| pair["refresh_token"].as_str()).map(name_of).collect();
    // Signed in, refreshed twice, and signed in anew with the new password.
    assert_eq!(refresh_tokens.len(), 4, "{transcript}");
    assert!(refresh_tokens[1] == refresh_tokens[2] && refresh_tokens[0] != refresh_tokens[1]);

    let token = pairs.last().unwrap()["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(node.send("GET", "/me", &bearer).status, 200);
    let listen = node.address.clone();
    drop(node);
    let node = start(&listen);
    assert_eq!(node.send("GET", "/me", &bearer).status, 200, "it is signed in after a restart");
}

#[cfg(all(feature = "axum", feature = "sqlite"))]
fn name_of(token: &str) -> Value {
    support::payload(token)["jti"].clone()
}

#[cfg(all(feature = "axum", feature = "jwks"))]
#[test]
fn resource_server_walks_through_what_may_happen_to_its_issuers_within_30_s() {
    let begun = Instant::now();
    let output = example("resource_server").output().unwrap();
    let transcript = succeeded(&output);
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    assert_eq!(stderr(&output), "");
    let mut lines = transcript.lines();
    for (sent, came_back, told) in [
        ("GET /orders    none ", "401", "a token is required"),
        ("", "", r#"Bearer realm="api""#),
        ("GET /orders    alice's", "200", "a key of the issuer"),
        ("POST /refunds  alice's", "403", "lacks a scope"),
        ("", "", r#"error="insufficient_scope""#),
        ("POST /refunds  bob's", "200", "has that scope"),
        ("GET /shop      none", "200", "optional"),
        ("GET /shop      alice's", "200", "is seen"),
        ("GET /shop      a.b.c", "401", "optional is not unchecked"),
        ("GET /health    none", "200", "nobody asks"),
        ("", "", "fetched once, at the start"),
        ("GET /orders    carol's", "200", "the new key"),
        ("GET /orders    alice's", "200", "the key before"),
        ("", "", "fetched once more"),
        ("", "", "The issuer is down"),
        ("GET /orders    alice's", "200", "seen before"),
        ("GET /orders    dave's", "200", "not seen before"),
        ("GET /orders    erin's", "503", "can't be fetched now"),
        ("", "", "retry-after: 1"),
        ("GET /orders    erin's", "200", "the issuer is back"),
        ("GET /orders    partner's", "401", "not trusted"),
        ("GET /orders    partner's", "200", "of another issuer"),
        ("GET /orders    partner's", "401", "removed"),
        ("GET /orders    dave's", "200", "as good as ever"),
        ("", "", "Every request was answered as it says."),
    ] {
        let is_it = |line: &&str| line.contains(sent) && line.contains(came_back) && line.contains(told);
        assert!(lines.any(|line| is_it(&line)), "{sent} {came_back} {told}: not in\n{transcript}");
    }
}

/// The second process knows of the first what it knows of any provider: the address.
#[cfg(all(feature = "axum", feature = "jwks"))]
#[test]
fn resource_server_keeps_serving_an_issuer_of_its_own_or_a_real_one() {
    let mut first = Server::start(example("resource_server").arg("--serve"));
    let mut commands = first.commands("Ctrl-C");
    let issuer = format!("http://{}", between(&commands, "http://", "/token"));
    let mut second = Server::start(example("resource_server").args([
        "--issuer",
        &issuer,
        "--audience",
        "orders",
        "--listen",
        "127.0.0.1:0",
    ]));
    commands.push_str(&second.commands("Ctrl-C"));
    let transcript = paste(&commands);
    let seen: Vec<&str> = transcript
        .lines()
        .filter(|line| ["HTTP/1.1 ", "the orders", "welcome"].iter().any(|known| line.starts_with(known)))
        .collect();
    let alice = format!("alice at {issuer}");
    let (orders, back) = (format!("the orders of {alice}"), format!("welcome back, {alice}"));
    let each = [
        "HTTP/1.1 200 OK",
        &orders,
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 200 OK",
        "welcome",
        "HTTP/1.1 200 OK",
        &back,
    ];
    assert_eq!(seen, [each, each].concat(), "{transcript}");
}

#[cfg(all(feature = "axum", feature = "jwks"))]
#[test]
fn resource_server_does_not_start_without_its_issuer() {
    // A port that nobody listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let issuer = format!("http://127.0.0.1:{port}");
    let output =
        example("resource_server").args(["--issuer", &issuer, "--audience", "orders"]).output().unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains(&issuer) && said.contains("no connection could be made"), "{said}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn an_example_refuses_flags_it_does_not_know() {
    let featured = if cfg!(all(feature = "axum", feature = "jwks")) { &["resource_server"][..] } else { &[] };
    for name in ["quickstart", "hyper", "tonic", "airflow"].iter().chain(featured) {
        let output = example(name).env(SECRET_VARIABLE, SECRET).arg("--no-such-flag").output().unwrap();
        assert!(!output.status.success());
        assert!(stderr(&output).contains(&format!("usage: {name}")), "{}", stderr(&output));
    }
}

// Airflow.

/// 64 bytes, as HS512 wants them.
const SECRET: &str = "a6Vn1x0pQz8RkT3uW5yB7dF9hJ2mL4oSgH0tY2cE4iK6qN8sM1bU3wX5vZ7jD9fP";
const SECRET_VARIABLE: &str = "AIRFLOW__API_AUTH__JWT_SECRET";
const ISSUER: &str = "https://airflow.example";
const TASK: &str = "/execution/task-instances/0198f6a2-7c1e-7d60-8d58-3f1b9c0e4a11/heartbeat";
const MISSING: &str = r#"{"detail":"Missing auth token"}"#;
const INVALID: &str = r#"{"detail":"Invalid auth token"}"#;

#[test]
fn airflow_answers_heartbeats_by_the_time_a_token_has_left() {
    let server = airflow();
    for (left, status, renewed) in [
        (600, 204, false),
        (130, 204, false),
        (100, 204, true),
        (3, 204, true),
        // Within the leeway, which Airflow admits.
        (-5, 204, true),
        // Within the grace.
        (-30, 403, true),
        (-70, 403, false),
    ] {
        let answer = server.heartbeat(&heartbeat_token(left, json!({})));
        assert_eq!((answer.status, answer.successor().is_some()), (status, renewed), "{left} s left");
        assert_eq!(answer.body, if status == 204 { "" } else { INVALID });
        if let Some(successor) = answer.successor() {
            let claims = support::payload(&successor);
            assert_eq!((&claims["sub"], &claims["scope"]), (&json!("task-1"), &json!("execution")));
            assert_eq!(claims["nbf"], claims["iat"]);
            let next = server.heartbeat(&successor);
            assert_eq!((next.status, next.successor()), (204, None), "the successor as the next token");
        }
    }
}

#[test]
fn airflow_never_renews_workload_and_callback_tokens() {
    let server = airflow();
    for (scope, renewed) in [(json!("workload"), false), (json!("callback"), false), (Value::Null, true)] {
        for (left, status) in [(100, 204), (-30, 403)] {
            let answer = server.heartbeat(&heartbeat_token(left, json!({ "scope": scope })));
            assert_eq!(
                (answer.status, answer.successor().is_some()),
                (status, renewed),
                "{scope}, {left} s left"
            );
        }
    }
}

#[test]
fn airflow_tells_a_missing_token_from_an_invalid_one() {
    let server = airflow();
    let good = heartbeat_token(100, json!({}));
    let wrong = |changes| format!("Authorization: Bearer {}", heartbeat_token(-30, changes));
    for (headers, status, body) in [
        ("X-None: 1".to_owned(), 401, MISSING),
        ("Authorization: Basic dXNlcjpwYXNz".to_owned(), 401, MISSING),
        ("Authorization: Bearer garbage".to_owned(), 403, INVALID),
        ("Authorization: Bearer".to_owned(), 403, INVALID),
        (format!("Authorization: Bearer  {good}"), 403, INVALID),
        (format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}"), 403, INVALID),
        (wrong(json!({ "aud": "urn:airflow.apache.org:api" })), 403, INVALID),
        (wrong(json!({ "aud": null })), 403, INVALID),
        (wrong(json!({ "iss": "https://other" })), 403, INVALID),
        (wrong(json!({ "iss": null })), 403, INVALID),
        (wrong(json!({ "exp": "soon" })), 403, INVALID),
    ] {
        let answer = server.send("PUT", TASK, &headers);
        assert_eq!((answer.status, &*answer.body), (status, body), "{headers}");
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(answer.successor(), None, "{headers}");
    }
    let health = server.send("GET", "/execution/health", "X-None: 1");
    assert_eq!((health.status, &*health.body), (200, r#"{"status":"healthy"}"#));
}

/// Airflow writes the first configured audience, whichever of them the token was made for.
#[test]
fn airflow_renews_under_the_first_audience() {
    let server = Server::start(
        example("airflow")
            .env(SECRET_VARIABLE, SECRET)
            .env("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "urn:example:new, urn:example:old")
            .args(["--listen", "127.0.0.1:0"]),
    );
    for (aud, renewed) in [
        (json!("urn:example:old"), json!("urn:example:new")),
        (json!(["urn:example:old"]), json!(["urn:example:new"])),
        (json!("urn:example:new"), json!("urn:example:new")),
    ] {
        let token = mint(SECRET, &claims(100, json!({ "iss": null, "aud": aud })));
        let successor = server.heartbeat(&token).successor().expect("it is due");
        assert_eq!(support::payload(&successor)["aud"], renewed, "{aud}");
    }
}

#[test]
fn airflow_sends_the_successor_with_an_error_too() {
    let path = "/execution/task-instances/1/heartbeat";
    let bearer = format!("Authorization: Bearer {}", heartbeat_token(100, json!({})));
    let answer = airflow().send_body("PUT", path, &bearer, "no JSON");
    assert_eq!((answer.status, answer.successor().is_some()), (422, true));
}

#[test]
fn airflow_gives_parallel_heartbeats_one_successor() {
    let server = airflow();
    for left in [100, -30] {
        let token = heartbeat_token(left, json!({}));
        let mut successors: Vec<_> = thread::scope(|scope| {
            let beats: Vec<_> =
                (0..32).map(|_| scope.spawn(|| server.heartbeat(&token).successor())).collect();
            beats.into_iter().map(|beat| beat.join().unwrap().unwrap()).collect()
        });
        successors.dedup();
        assert_eq!(successors.len(), 1);
    }
}

#[test]
#[ignore = "needs python3 with PyJWT"]
fn airflow_keeps_the_tokens_of_pyjwt_alive() {
    let server = airflow();
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/airflow_client.py"))
        .arg(&server.address)
        .env("AIRFLOW_SECRET", SECRET)
        .output()
        .expect("python3 runs");
    assert!(succeeded(&output).ends_with("all heartbeats answered as Airflow answers them\n"));
}

#[test]
fn airflow_takes_its_defaults_and_a_secret_shorter_than_the_hash() {
    let short = &SECRET[..32];
    let mut server = Server::start(
        example("airflow")
            .env(SECRET_VARIABLE, short)
            .env("AIRFLOW__API_AUTH__JWT_AUDIENCE", "urn:example:public")
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped()),
    );
    let beat = |aud| server.heartbeat(&mint(short, &claims(100, json!({ "iss": null, "aud": aud }))));
    for (aud, status) in [
        ("urn:airflow.apache.org:task", 204),
        ("urn:example:public", 204),
        ("urn:airflow.apache.org:api", 403),
    ] {
        assert_eq!(beat(aud).status, status, "{aud}");
    }
    server.process.kill().unwrap();
    let mut warnings = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut warnings).unwrap();
    for warning in ["shorter than the hash of HS512", "AIRFLOW__EXECUTION_API__JWT_AUDIENCE to keep them out"]
    {
        assert!(warnings.contains(warning), "{warning} is not in {warnings}");
    }
    assert!(!warnings.contains(short));
}

#[test]
fn airflow_exchanges_within_the_grace_it_is_told() {
    for (lifetime, flags, lasts) in [
        ("600", &["--grace", "20"][..], 20),
        ("600", &[], 60),
        ("30", &[], 14),
        ("86400", &["--grace", "300"], 300),
    ] {
        let server = Server::start(
            example("airflow")
                .env(SECRET_VARIABLE, SECRET)
                .env("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", lifetime)
                .args(["--listen", "127.0.0.1:0"])
                .args(flags),
        );
        // Not at the very instant: this clock is the real one.
        for (late, renewed) in [(lasts - 3, true), (lasts + 1, false)] {
            let answer = server.heartbeat(&heartbeat_token(-late, json!({})));
            assert_eq!((answer.status, answer.successor().is_some()), (403, renewed), "{late} s, {lifetime}");
        }
    }
}

#[test]
fn airflow_exits_2_where_a_setting_can_not_be_right() {
    for (name, value, message) in [
        (SECRET_VARIABLE, "", "is not set"),
        (SECRET_VARIABLE, "too short to sign with", "needs 32"),
        ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "RS256", "a secret takes HS256, HS384, HS512 or GUESS"),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "90", "the leeway is 90 s: at most 60 s"),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "-1", "whole seconds are right"),
        // A token of 12 s is renewable from its 6th second on.
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", "12", "is shorter than the leeway, 10 s"),
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", "0", "the lifetime is 0 s"),
    ] {
        let output = example("airflow").env(SECRET_VARIABLE, SECRET).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(name), "{name}={value}: {}", stderr(&output));
        assert_eq!(output.stdout, b"");
    }
    for (flag, value, message) in
        [("--grace", "301", "at most 300 s"), ("--listen", "here", "an address like")]
    {
        let output = example("airflow").env(SECRET_VARIABLE, SECRET).args([flag, value]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        assert!(stderr(&output).contains(message), "{flag} {value}: {}", stderr(&output));
    }
}

#[cfg(unix)]
#[test]
fn airflow_ends_with_ctrl_c() {
    let mut server = airflow();
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(server.process.wait().unwrap().success());
}

fn airflow() -> Server {
    Server::start(
        example("airflow")
            .env(SECRET_VARIABLE, SECRET)
            .env("AIRFLOW__API_AUTH__JWT_ISSUER", ISSUER)
            .env("AIRFLOW__API_AUTH__JWT_AUDIENCE", "urn:airflow.apache.org:api")
            .env("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "urn:airflow.apache.org:task, urn:example:tasks")
            .args(["--listen", "127.0.0.1:0"]),
    )
}

fn heartbeat_token(left: i64, changes: Value) -> String {
    mint(SECRET, &claims(left, changes))
}

fn claims(left: i64, changes: Value) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let exp = now.checked_add_signed(left).unwrap();
    let mut claims = json!({
        "jti": "f3a1c5d2", "iss": ISSUER, "aud": "urn:airflow.apache.org:task", "sub": "task-1",
        "nbf": exp - 600, "exp": exp, "iat": exp - 600, "scope": "execution",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn mint(secret: &str, claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = r#"{"alg":"HS512","typ":"JWT","kid":"not-used"}"#;
    support::sign_raw(header, &claims.to_string(), &key, Algorithm::HS512)
}

// Processes.

/// The example's binary, without the settings of whoever runs the tests.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is absent: `cargo build --examples` makes it", path.display());
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AIRFLOW__")) {
        command.env_remove(name);
    }
    command
}

fn succeeded(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{stdout}{}", output.status, stderr(output));
    stdout
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[cfg(all(feature = "axum", feature = "jwks"))]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

/// Runs printed commands in one shell, as a person pastes them.
fn paste(commands: &str) -> String {
    let curl = Command::new("curl").arg("--version").output();
    assert!(
        curl.is_ok_and(|output| output.status.success()),
        "this test needs curl: install the package `curl`"
    );
    // Standard output alone: curl's progress goes to the other.
    let output = Command::new("sh").args(["-c", commands]).output().unwrap();
    succeeded(&output).replace('\r', "")
}

/// An example that serves; ended with the test.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    /// Waits for the first line, which names the address.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| {
            panic!("the first line is {first:?}");
        });
        Self { process, address: address.to_owned(), stdout }
    }

    /// The indented lines of what it prints, up to the line that holds `last`.
    fn commands(&mut self, last: &str) -> String {
        let mut commands = String::new();
        for line in self.stdout.by_ref().lines() {
            let line = line.unwrap();
            if line.contains(last) {
                break;
            }
            if line.starts_with("  ") {
                commands.push_str(&line);
                commands.push('\n');
            }
        }
        commands
    }

    fn heartbeat(&self, token: &str) -> Answer {
        self.send("PUT", TASK, &format!("Authorization: Bearer {token}"))
    }

    /// One request on a connection of its own, its header fields as they are given.
    fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.send_body(method, path, headers, r#"{"hostname":"worker-1","pid":4711}"#)
    }

    fn send_body(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{headers}\r\n\r\n{body}",
            self.address
        )
        .unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (status, fields) = head.split_once("\r\n").unwrap();
        Answer {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            fields: fields.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Answer {
    status: u16,
    fields: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        let mut values = self
            .fields
            .lines()
            .filter_map(|field| field.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.to_owned());
        assert!(values.next().is_none(), "{name} twice");
        value
    }

    fn successor(&self) -> Option<String> {
        self.header("refreshed-api-token")
    }
}
