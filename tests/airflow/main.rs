//! The example `airflow`, as its reader and Airflow's clients meet it. `supervised.py` beside this file runs it under the
//! supervisor of Airflow's task SDK, which is too large to install here.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/example.rs"]
mod example;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tower_reissue::Algorithm;

use self::example::{Answer, Server, example, paste, stderr, succeeded};

/// 64 bytes, as HS512 wants them.
const SECRET: &str = "a6Vn1x0pQz8RkT3uW5yB7dF9hJ2mL4oSgH0tY2cE4iK6qN8sM1bU3wX5vZ7jD9fP";
const SECRET_VARIABLE: &str = "AIRFLOW__API_AUTH__JWT_SECRET";
const ISSUER: &str = "https://airflow.example";
const TASK: &str = "0198f6a2-7c1e-7d60-8d58-3f1b9c0e4a11";
const PROCESS: &str = r#"{"hostname":"worker-1","pid":4711}"#;
const MISSING: &str = r#"{"detail":"Missing auth token"}"#;
const INVALID: &str = r#"{"detail":"Invalid auth token"}"#;
const NOT_ALLOWED: &str = r#"{"detail":"Token type not allowed for this endpoint"}"#;

#[test]
fn a_heartbeat_is_answered_by_the_time_its_token_has_left() {
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
        let answer = heartbeat(&server, &token(left, json!({})));
        assert_eq!((answer.status, answer.successor().is_some()), (status, renewed), "{left} s left");
        assert_eq!(answer.body, if status == 204 { "" } else { INVALID });
        if let Some(successor) = answer.successor() {
            let claims = support::payload(&successor);
            assert_eq!((&claims["sub"], &claims["scope"]), (&json!(TASK), &json!("execution")));
            assert_eq!(claims["nbf"], claims["iat"]);
            let next = heartbeat(&server, &successor);
            assert_eq!((next.status, next.successor()), (204, None), "the successor as the next token");
        }
    }
}

#[test]
fn a_workload_token_is_exchanged_by_run_and_good_for_nothing_else() {
    let server = start(&[]);
    let workload = token(600, json!({ "scope": "workload", "exp": now() + 86_400 }));
    for answer in [
        heartbeat(&server, &workload),
        send(&server, "GET", "variables/v", &workload, ""),
        send(&server, "PATCH", &task("state"), &workload, r#"{"state":"success"}"#),
    ] {
        assert_eq!((answer.status, &*answer.body, answer.successor()), (403, NOT_ALLOWED, None));
    }
    let answer = run(&server, &workload, PROCESS);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let own = answer.successor().expect("an execution token");
    assert!(answer.fields.contains("cache-control: no-store"), "{}", answer.fields);
    let claims = support::payload(&own);
    assert_eq!(
        (&claims["sub"], &claims["scope"], &claims["aud"], &claims["iss"]),
        (&json!(TASK), &json!("execution"), &json!("urn:airflow.apache.org:task"), &json!(ISSUER))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert_eq!((heartbeat(&server, &own).status, heartbeat(&server, &own).successor()), (204, None));
    // Its answer may have been lost.
    assert!(run(&server, &workload, PROCESS).successor().is_some());
    // Whoever copied the token from the queue comes too late.
    let thief = run(&server, &workload, r#"{"hostname":"elsewhere","pid":4711}"#);
    assert_eq!((thief.status, thief.successor()), (409, None), "{}", thief.body);
    assert!(thief.body.contains(r#""previous_state":"running""#), "{}", thief.body);
}

#[test]
fn a_token_that_is_no_tasks_is_never_renewed() {
    let server = airflow();
    for (scope, admitted, renewed) in [
        (json!("workload"), 403, false),
        (json!("callback"), 403, false),
        (json!("execution workload"), 403, false),
        (json!(["execution"]), 403, false),
        (Value::Null, 204, true),
    ] {
        for (left, status) in [(100, admitted), (-30, 403)] {
            let answer = heartbeat(&server, &token(left, json!({ "scope": scope })));
            assert_eq!(
                (answer.status, answer.successor().is_some()),
                (status, renewed),
                "{scope}, {left} s left"
            );
        }
        let answer = run(&server, &token(-30, json!({ "scope": scope })), PROCESS);
        assert_eq!((answer.status, answer.successor().is_some()), (403, renewed), "{scope}");
    }
}

#[test]
fn a_task_speaks_for_itself_alone_and_not_after_its_end() {
    let server = airflow();
    let other = token(100, json!({ "sub": "0198f6a2-7c1e-7d60-8d58-000000000000" }));
    for answer in [
        heartbeat(&server, &other),
        run(&server, &other, PROCESS),
        send(&server, "PATCH", &task("state"), &other, r#"{"state":"failed"}"#),
    ] {
        let mismatch = r#"{"detail":"Token subject does not match task instance ID"}"#;
        assert_eq!((answer.status, &*answer.body), (403, mismatch));
    }
    let own = || token(100, json!({}));
    let elsewhere = send(&server, "PUT", &task("heartbeat"), &own(), r#"{"hostname":"worker-1","pid":1}"#);
    assert!(elsewhere.status == 409 && elsewhere.body.contains("running_elsewhere"), "{}", elsewhere.body);
    // It waits for its second try, for which its token is kept alive.
    let state =
        |state: &str| send(&server, "PATCH", &task("state"), &own(), &format!(r#"{{"state":"{state}"}}"#));
    assert_eq!(state("up_for_retry").status, 204);
    assert!(run(&server, &own(), PROCESS).body.contains(r#""should_retry":false"#));
    assert_eq!(state("success").status, 204);
    assert_eq!(state("success").status, 200, "the same once more");
    let late = heartbeat(&server, &own());
    assert_eq!((late.status, late.successor()), (409, None), "{}", late.body);
    assert_eq!(run(&server, &own(), PROCESS).status, 409);
    assert_eq!(state("failed").status, 409);
}

#[test]
fn variables_connections_and_xcoms_are_answered_as_the_sdk_reads_them() {
    let server = airflow();
    let token = token(500, json!({}));
    let send = |method, path: &str, body| send(&server, method, path, &token, body);
    assert_eq!(send("PUT", "variables/a/b", r#"{"val":"1","description":null}"#).status, 201);
    assert_eq!(send("GET", "variables/a/b", "").body, r#"{"key":"a/b","value":"1"}"#);
    assert_eq!(send("DELETE", "variables/a/b", "").status, 204);
    for path in ["variables/a/b", "connections/db", "xcoms/d/r/t/k"] {
        let answer = send("GET", path, "");
        assert!(answer.status == 404 && answer.body.contains("not_found"), "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    }
    assert_eq!(send("POST", "xcoms/d/r/t/k", r#"{"rows":[1,2]}"#).status, 201);
    assert_eq!(send("GET", "xcoms/d/r/t/k", "").body, r#"{"key":"k","value":{"rows":[1,2]}}"#);
    assert_eq!(send("GET", "xcoms/d/r/t/k?map_index=1", "").status, 404);
    assert_eq!(send("DELETE", "xcoms/d/r/t/k", "").status, 200);
    assert_eq!(send("GET", "xcoms/d/r/t/k", "").status, 404);
    assert_eq!(send("PUT", &task("rtif"), r#"{"bash_command":"true"}"#).status, 201);
    assert_eq!(send("PATCH", &task("rendered-map-index"), r#""first""#).status, 200);
}

#[test]
fn a_missing_token_is_told_from_an_invalid_one() {
    let server = airflow();
    let good = token(100, json!({}));
    let wrong = |changes| format!("Authorization: Bearer {}", token(-30, changes));
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
        let answer = server.send_body("PUT", &format!("/execution/{}", task("heartbeat")), &headers, PROCESS);
        assert_eq!((answer.status, &*answer.body), (status, body), "{headers}");
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(answer.successor(), None, "{headers}");
    }
    let health = server.send("GET", "/execution/health", "X-None: 1");
    assert_eq!((health.status, &*health.body), (200, r#"{"status":"healthy"}"#));
}

/// Airflow writes the first configured audience, whichever of them the token was made for.
#[test]
fn a_renewed_token_has_the_first_audience() {
    let server = start(&[("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "urn:example:new, urn:example:old")]);
    for (aud, renewed) in [
        (json!("urn:example:old"), json!("urn:example:new")),
        (json!(["urn:example:old"]), json!(["urn:example:new"])),
        (json!("urn:example:new"), json!("urn:example:new")),
    ] {
        let successor = run(&server, &token(100, json!({ "aud": aud })), PROCESS).successor();
        assert_eq!(support::payload(&successor.expect("it is due"))["aud"], renewed, "{aud}");
    }
}

#[test]
fn an_error_carries_the_successor_too() {
    let bearer = token(100, json!({}));
    for (server, path, body, status) in [
        (airflow(), task("heartbeat"), "no JSON", 422),
        (airflow(), "variables/none".to_owned(), "", 404),
        (start(&[]), task("heartbeat"), PROCESS, 404),
    ] {
        let method = if path.starts_with("variables") { "GET" } else { "PUT" };
        let answer = send(&server, method, &path, &bearer, body);
        assert_eq!((answer.status, answer.successor().is_some()), (status, true), "{path}");
    }
}

#[test]
fn parallel_heartbeats_get_one_successor() {
    let server = airflow();
    for left in [100, -30] {
        let token = token(left, json!({}));
        let mut successors: Vec<_> = thread::scope(|scope| {
            let beats: Vec<_> =
                (0..32).map(|_| scope.spawn(|| heartbeat(&server, &token).successor())).collect();
            beats.into_iter().map(|beat| beat.join().unwrap().unwrap()).collect()
        });
        successors.dedup();
        assert_eq!(successors.len(), 1);
    }
}

/// The light half of `supervised.py`: tokens as Airflow's `JWTGenerator` and `JWTValidator` make and check them, by PyJWT alone.
#[test]
#[ignore = "needs python3 with PyJWT"]
fn the_tokens_of_pyjwt_are_kept_alive() {
    let key = |name| format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let path = "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH";
    for (algorithm, variable, value, store) in [
        ("HS512", SECRET_VARIABLE, SECRET.to_owned(), ""),
        ("RS256", path, key("rsa2048"), ""),
        ("EdDSA", path, key("ed25519"), ""),
        ("HS512", SECRET_VARIABLE, SECRET.to_owned(), "memory:"),
    ] {
        let server = start(&[
            (variable, &value),
            ("EXECUTION__STORE__URL", store),
            ("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "urn:airflow.apache.org:task, urn:example:tasks"),
        ]);
        let key = if variable == path { fs::read_to_string(&value).unwrap() } else { value };
        let output = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/airflow/client.py"))
            .args([&*server.address, algorithm])
            .env("AIRFLOW_KEY", key)
            .output()
            .expect("python3 runs");
        assert!(succeeded(&output).ends_with("every call answered as Airflow answers it\n"));
    }
}

#[test]
fn a_secret_shorter_than_its_hash_is_enough_as_for_airflow() {
    let short = &SECRET[..32];
    let server = start(&[(SECRET_VARIABLE, short), ("AIRFLOW__API_AUTH__JWT_ISSUER", "")]);
    for (aud, status) in [("urn:airflow.apache.org:task", 200), ("apache-airflow", 403)] {
        let token = mint(short, &claims(100, json!({ "iss": null, "aud": aud })));
        assert_eq!(run(&server, &token, PROCESS).status, status, "{aud}");
    }
}

#[test]
fn an_exchange_ends_with_the_grace() {
    for (lifetime, grace, lasts) in
        [("600", "20s", 20), ("600", "", 60), ("30", "", 14), ("86400", "5m", 300)]
    {
        let server =
            start(&[("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", lifetime), ("EXECUTION__GRACE", grace)]);
        // Not at the very instant: this clock is the real one.
        for (late, renewed) in [(lasts - 3, true), (lasts + 1, false)] {
            let answer = heartbeat(&server, &token(-late, json!({})));
            assert_eq!((answer.status, answer.successor().is_some()), (403, renewed), "{late} s, {lifetime}");
        }
    }
}

/// The SDK does not send a refused call again, so a variable that is asked for with an expired token fails its task.
#[test]
fn with_admit_in_grace_a_late_call_is_answered() {
    for (admits, status) in [("", 403), ("true", 404)] {
        let server = start(&[("EXECUTION__ADMIT_IN_GRACE", admits)]);
        let answer = send(&server, "GET", "variables/none", &token(-30, json!({})), "");
        assert_eq!((answer.status, answer.successor().is_some()), (status, true), "{admits:?}");
    }
}

/// The old secret still verifies, the new one signs, and neither needs a restart.
#[test]
fn a_task_crosses_a_rotation_of_the_secret_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwt");
    fs::write(&file, SECRET).unwrap();
    let command = format!("cat {}", file.display());
    let server = start(&[
        (SECRET_VARIABLE, ""),
        ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", &command),
        ("EXECUTION__ROTATION__RELOAD_EVERY", "1s"),
    ]);
    let old = token(100, json!({}));
    assert_eq!(run(&server, &old, PROCESS).status, 200);
    let new: String = SECRET.chars().rev().collect();
    fs::write(&file, &new).unwrap();
    let under_new = mint(&new, &claims(500, json!({})));
    let begun = Instant::now();
    while heartbeat(&server, &under_new).status != 204 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new secret is not used");
        thread::sleep(Duration::from_millis(200));
    }
    let answer = heartbeat(&server, &old);
    assert_eq!(answer.status, 204);
    let successor = answer.successor().expect("it is due");
    let key = jsonwebtoken::DecodingKey::from_secret(new.as_bytes());
    let mut check = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS512);
    check.set_audience(&["urn:airflow.apache.org:task"]);
    jsonwebtoken::decode::<Value>(&successor, &key, &check).expect("the successor is under the new secret");
}

/// What a person gets wrong: each message names the variable or file, and none the secret.
#[test]
fn a_mistake_in_the_settings_ends_it_with_2_and_names_the_variable() {
    for (name, value, message) in [
        (SECRET_VARIABLE, "", "is missing: the secret that every component shares"),
        (SECRET_VARIABLE, "Xq8-1zPw.7tRb4Lm_9Kd", "has 20 bytes and needs 32"),
        ("AIRFLOW__API_AUTH__JWT_SECERT", "x", "has no such option"),
        ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "RS256", "a secret takes HS256, HS384, HS512 or GUESS"),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "90", "the leeway is 90 s: at most 60 s"),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "-1", "expected a whole number of seconds"),
        ("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "/no/such/key.pem", "/no/such/key.pem can't be read"),
        // A token of 12 s is renewable from its 6th second on.
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", "12", "is shorter than the leeway, 10 s"),
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", "0", "the lifetime is 0 s"),
        ("EXECUTION__GRACE", "301s", "at most 300 s"),
        ("EXECUTION__GRASE", "30s", "expected one of"),
    ] {
        let output = example("airflow").env(SECRET_VARIABLE, SECRET).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(name), "{name}={value}: {}", stderr(&output));
        assert!(!stderr(&output).contains("Xq8-1zPw"), "{}", stderr(&output));
        assert_eq!(output.stdout, b"");
    }
    for (name, value, message) in [
        (
            "AIRFLOW__API_AUTH__JWT_SECRET_CMD",
            "cat /no/such/secret",
            "/no/such/secret: No such file or directory",
        ),
        ("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "jwt", "the secrets backend has no secret of this name"),
    ] {
        let output =
            example("airflow").env(name, value).args(["--secrets", "/no/such/folder"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{name}={value}: {}", stderr(&output));
        assert!(stderr(&output).contains(name), "{name}={value}: {}", stderr(&output));
    }
    for (flag, value, message) in [("--listen", "here", "an address like"), ("--port", "1", "usage: airflow")]
    {
        let output = example("airflow").env(SECRET_VARIABLE, SECRET).args([flag, value]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        assert!(stderr(&output).contains(message), "{flag} {value}: {}", stderr(&output));
    }
}

#[test]
fn two_components_with_different_secrets_are_told_by_one_line_of_the_log() {
    let other: String = SECRET.chars().rev().collect();
    let listening = |secret: &str| {
        let mut command = example("airflow");
        command.env(SECRET_VARIABLE, secret).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut server = Server::start(&mut command);
        let log = BufReader::new(server.process.stderr.take().unwrap());
        (server, log)
    };
    let next = |log: &mut Lines<BufReader<ChildStderr>>, what: &str| {
        log.map(Result::unwrap)
            .find(|line| line.contains(what))
            .unwrap_or_else(|| panic!("no line of the log has {what:?}"))
    };
    let fingerprints = |line: &str| line.split_once("fingerprints=").unwrap().1.to_owned();
    let (one, log) = listening(SECRET);
    let mut log_of_one = log.lines();
    let (_two, log) = listening(&other);
    let mut log_of_two = log.lines();
    let held_by_one = fingerprints(&next(&mut log_of_one, "keys loaded"));
    let held_by_two = fingerprints(&next(&mut log_of_two, "keys loaded"));
    assert_ne!(held_by_one, held_by_two);
    let token = mint(&other, &claims(100, json!({ "iss": null })));
    assert_eq!(run(&one, &token, PROCESS).status, 403);
    let refused = next(&mut log_of_one, "token refused");
    for part in ["WARN", "bad_signature", "another key signed it", "not-used", &held_by_one] {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    assert!(!refused.contains(SECRET) && !refused.contains(&token));
}

#[test]
fn the_commands_that_it_prints_work_when_pasted() {
    let mut command = example("airflow");
    command.env(SECRET_VARIABLE, SECRET).args(["--try", "--listen", "127.0.0.1:0"]).stderr(Stdio::null());
    let mut server = Server::start(&mut command);
    let transcript = paste(&server.commands("Ctrl-C"));
    let statuses: Vec<&str> = transcript.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["204", "403", "204", "409"], "{transcript}");
}

#[test]
fn the_settings_are_printed_without_the_secret() {
    let output = example("airflow").env(SECRET_VARIABLE, SECRET).arg("--settings").output().unwrap();
    let printed = succeeded(&output);
    assert!(printed.contains("lifetime = \"10m\"  # Airflow's default\n"), "{printed}");
    assert!(!printed.contains(SECRET), "{printed}");
}

#[cfg(unix)]
#[test]
fn it_ends_with_ctrl_c() {
    let mut server = airflow();
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(server.process.wait().unwrap().success());
}

/// An execution API that knows the task, which runs in `PROCESS`.
fn airflow() -> Server {
    let server = start(&[]);
    let answer = run(&server, &token(500, json!({})), PROCESS);
    assert_eq!(answer.status, 200, "{}", answer.body);
    server
}

/// With these variables besides the secret and the issuer.
fn start(variables: &[(&str, &str)]) -> Server {
    let mut command = example("airflow");
    command
        .env(SECRET_VARIABLE, SECRET)
        .env("AIRFLOW__API_AUTH__JWT_ISSUER", ISSUER)
        .envs(variables.iter().copied())
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::null());
    Server::start(&mut command)
}

fn task(what: &str) -> String {
    format!("task-instances/{TASK}/{what}")
}

fn heartbeat(server: &Server, token: &str) -> Answer {
    send(server, "PUT", &task("heartbeat"), token, PROCESS)
}

fn run(server: &Server, token: &str, process: &str) -> Answer {
    send(server, "PATCH", &task("run"), token, process)
}

fn send(server: &Server, method: &str, path: &str, token: &str, body: &str) -> Answer {
    server.send_body(
        method,
        &format!("/execution/{path}"),
        &format!("Authorization: Bearer {token}\r\nContent-Type: application/json"),
        body,
    )
}

/// A token of the task with 600 s of life, of which so many are left.
fn token(left: i64, changes: Value) -> String {
    mint(SECRET, &claims(left, changes))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn claims(left: i64, changes: Value) -> Value {
    let exp = now().checked_add_signed(left).unwrap();
    let mut claims = json!({
        "jti": "f3a1c5d2", "iss": ISSUER, "aud": "urn:airflow.apache.org:task", "sub": TASK,
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
