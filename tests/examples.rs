//! Each example as its reader runs it: a process of its own, over a real socket.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/example.rs"]
mod example;
mod support;

#[cfg(all(feature = "axum", feature = "sqlite", feature = "postgres"))]
#[path = "support/postgres.rs"]
mod postgres;
#[cfg(all(feature = "axum", feature = "sqlite", feature = "redis"))]
#[path = "support/servers.rs"]
mod servers;

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use self::example::{Server, example, paste, stderr, succeeded};

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
fn assert_walked(output: &std::process::Output) {
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
    use serde_json::Value;

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
        [
            "201 Created",
            "200 OK",
            // By cookie, until the phone ends that session.
            "204 No Content",
            "200 OK",
            "204 No Content",
            "401 Unauthorized",
            // With a new password.
            "200 OK",
            "401 Unauthorized",
            "400 Bad Request",
        ],
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
fn name_of(token: &str) -> serde_json::Value {
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
    for name in ["quickstart", "hyper", "tonic"].iter().chain(featured) {
        let output = example(name).arg("--no-such-flag").output().unwrap();
        assert!(!output.status.success());
        assert!(stderr(&output).contains(&format!("usage: {name}")), "{}", stderr(&output));
    }
}

#[cfg(all(feature = "axum", feature = "jwks"))]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}
