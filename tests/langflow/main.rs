//! The example `langflow`, as its reader and Langflow's clients meet it. `real.py` beside this file runs it with Langflow's own
//! settings, whose packages are too many to install here.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/example.rs"]
mod example;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::{Value, json};
use tower_reissue::Algorithm;

use self::example::{Answer, Server, example, paste, stderr, succeeded};

const SECRET: &str = "Xq8-1zPw.7tRb4Lm_9Kd5vNc2HyJ6gFs";
const PASSWORD: &str = "correct-horse";
const RSA: &str = include_str!("../keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("../keys/rsa2048.public.pem");
/// The account's id, which Langflow's tokens name.
const ID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";

fn langflow(variables: &[(&str, &str)]) -> Command {
    let mut command = example("langflow");
    command.env("LANGFLOW_SUPERUSER_PASSWORD", PASSWORD).args(["--listen", "127.0.0.1:0"]);
    command.envs(variables.iter().copied());
    command
}

fn start(variables: &[(&str, &str)]) -> Server {
    Server::start(langflow(variables).stderr(Stdio::null()))
}

impl Server {
    fn login(&self, password: &str) -> Answer {
        let form = format!("username=langflow&password={password}");
        let head = "Content-Type: application/x-www-form-urlencoded";
        self.exchange("POST", "/api/v1/login", head, &form)
    }

    fn whoami(&self, token: &str) -> Answer {
        self.exchange("GET", "/api/v1/users/whoami", &format!("Authorization: Bearer {token}"), "")
    }

    fn refresh(&self, token: &str) -> Answer {
        self.exchange("POST", "/api/v1/refresh", &format!("Cookie: refresh_token_lf={token}"), "")
    }
}

impl Answer {
    /// The value and the attributes of a cookie that it sets.
    fn cookie(&self, name: &str) -> (String, String) {
        let start = format!("set-cookie: {name}=");
        let mut fields = self.fields.lines().filter_map(|field| field.strip_prefix(&start));
        let (value, attributes) =
            fields.next().unwrap_or_else(|| panic!("no {name}")).split_once("; ").unwrap();
        assert_eq!(fields.next(), None, "{name} is set once");
        (value.to_owned(), attributes.to_owned())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    fn token(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("{}", self.body)).to_owned()
    }

    #[track_caller]
    fn is(&self, status: u16, detail: &str) {
        assert_eq!((self.status, self.json()["detail"].as_str()), (status, Some(detail)));
    }
}

/// `sub`, `type` and `exp`, and nothing else.
fn mint(kind: &str, left: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": ID, "type": kind, "exp": now.checked_add_signed(left).unwrap() });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    support::sign_raw(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), &key, Algorithm::HS256)
}

#[test]
fn it_signs_in_refreshes_and_signs_out() {
    let server = start(&[("LANGFLOW_SECRET_KEY", SECRET)]);
    server.login("wrong-horse").is(401, "Incorrect username or password");
    let signed_in = server.login(PASSWORD);
    assert_eq!((signed_in.status, &signed_in.json()["token_type"]), (200, &json!("bearer")));
    let (access, _) = signed_in.cookie("access_token_lf");
    let (refresh, _) = signed_in.cookie("refresh_token_lf");
    assert_eq!((&access, &refresh), (&signed_in.token("access_token"), &signed_in.token("refresh_token")));

    let by_cookie =
        server.exchange("GET", "/api/v1/users/whoami", &format!("Cookie: access_token_lf={access}"), "");
    for me in [by_cookie, server.whoami(&access)] {
        assert_eq!(
            (me.status, &me.json()["id"], &me.json()["username"]),
            (200, &json!(ID), &json!("langflow"))
        );
    }
    server.whoami(&refresh).is(401, "Invalid token type");
    // What the caller states counts before what a browser adds.
    for (header, cookie, status) in [(&access, "a.b.c", 200), (&"a.b.c".to_owned(), &*access, 401)] {
        let head = format!("Authorization: Bearer {header}\r\nCookie: access_token_lf={cookie}");
        assert_eq!(server.exchange("GET", "/api/v1/users/whoami", &head, "").status, status);
    }
    server.exchange("GET", "/api/v1/users/whoami", "X-None: 1", "").is(401, "Missing authentication token");
    server.exchange("POST", "/api/v1/refresh", "X-None: 1", "").is(401, "Invalid refresh token");
    server.refresh(&access).is(401, "Invalid refresh token");

    let refreshed = server.refresh(&refresh);
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_eq!(refreshed.cookie("access_token_lf").0, refreshed.token("access_token"));
    let (next, _) = refreshed.cookie("refresh_token_lf");
    assert_ne!(next, refresh);

    let signed_out =
        server.exchange("POST", "/api/v1/logout", &format!("Cookie: refresh_token_lf={next}"), "");
    assert_eq!((signed_out.status, &signed_out.json()["message"]), (200, &json!("Logout successful")));
    for name in ["access_token_lf", "refresh_token_lf"] {
        let (value, attributes) = signed_out.cookie(name);
        assert!(
            value.is_empty() && attributes.starts_with("Max-Age=0; Path=/"),
            "{name}={value}; {attributes}"
        );
    }
    // Under Langflow every one of these still works.
    server.whoami(&access).is(401, "Invalid token");
    server.whoami(&refreshed.token("access_token")).is(401, "Invalid token");
    server.refresh(&next).is(401, "Invalid refresh token");
}

#[test]
fn langflows_variables_say_how_its_cookies_are_set() {
    const LIFE: &str = "Max-Age=3660; ";
    const LONG: &str = "Max-Age=604860; ";
    for (variables, access, refresh) in [
        (
            vec![],
            format!("{LIFE}Path=/; HttpOnly; SameSite=Lax"),
            format!("{LONG}Path=/; HttpOnly; SameSite=Lax"),
        ),
        (
            vec![
                ("LANGFLOW_ACCESS_HTTPONLY", "true"),
                ("LANGFLOW_ACCESS_SECURE", "True"),
                ("LANGFLOW_ACCESS_SAME_SITE", "strict"),
                ("LANGFLOW_REFRESH_HTTPONLY", "0"),
                ("LANGFLOW_REFRESH_SECURE", "no"),
                ("LANGFLOW_REFRESH_SAME_SITE", "lax"),
            ],
            format!("{LIFE}Path=/; Secure; HttpOnly; SameSite=Strict"),
            format!("{LONG}Path=/; SameSite=Lax"),
        ),
        (
            vec![
                ("LANGFLOW_ACCESS_HTTPONLY", "false"),
                ("LANGFLOW_REFRESH_SECURE", "true"),
                ("LANGFLOW_REFRESH_SAME_SITE", "none"),
                ("LANGFLOW_COOKIE_DOMAIN", "flows.example"),
                ("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", "1800"),
                ("LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS", "86400"),
            ],
            "Max-Age=1860; Domain=flows.example; Path=/; SameSite=Lax".to_owned(),
            "Max-Age=86460; Domain=flows.example; Path=/; Secure; HttpOnly; SameSite=None".to_owned(),
        ),
    ] {
        let server = start(&[&[("LANGFLOW_SECRET_KEY", SECRET)], &*variables].concat());
        let signed_in = server.login(PASSWORD);
        let refreshed = server.refresh(&signed_in.token("refresh_token"));
        for answer in [signed_in, refreshed] {
            assert_eq!(answer.cookie("access_token_lf").1, access);
            assert_eq!(answer.cookie("refresh_token_lf").1, refresh);
        }
        // A removal whose domain or path is another removes nothing.
        let signed_out = server.exchange("POST", "/api/v1/logout", "X-None: 1", "");
        let without_age = |attributes: &str| attributes.split_once("; ").unwrap().1.to_owned();
        assert_eq!(without_age(&signed_out.cookie("access_token_lf").1), without_age(&access));
        assert_eq!(without_age(&signed_out.cookie("refresh_token_lf").1), without_age(&refresh));
    }
}

#[test]
fn langflows_own_tokens_are_admitted_renewed_and_exchanged_once() {
    let server = start(&[("LANGFLOW_SECRET_KEY", SECRET)]);
    for (left, status, renewed) in [(3500, 200, false), (300, 200, true), (-20, 401, true), (-90, 401, false)]
    {
        let answer = server.whoami(&mint("access", left));
        assert_eq!((answer.status, answer.successor().is_some()), (status, renewed), "{left} s left");
        if let Some(successor) = answer.successor() {
            assert_eq!(server.whoami(&successor).status, 200);
        }
        let head = format!("Cookie: access_token_lf={}", mint("access", left));
        let answer = server.exchange("GET", "/api/v1/users/whoami", &head, "");
        assert_eq!(answer.fields.contains("set-cookie: access_token_lf=ey"), renewed, "{left} s left");
    }
    // Longer than Langflow makes them by these settings.
    server.whoami(&mint("access", 7200)).is(401, "Invalid token");

    let old = mint("refresh", 86_400);
    server.whoami(&old).is(401, "Invalid token type");
    let refreshed = server.refresh(&old);
    assert_eq!(server.whoami(&refreshed.token("access_token")).status, 200);
    assert_eq!(server.refresh(&refreshed.token("refresh_token")).status, 200);
    server.refresh(&old).is(401, "Invalid refresh token");
    server.refresh(&mint("refresh", -1)).is(401, "Invalid refresh token");
    server.refresh(&mint("api_key", 3500)).is(401, "Invalid refresh token");
    // Presented many times at once.
    let at_once = mint("refresh", 83_000);
    let answers = std::thread::scope(|scope| {
        let presented: Vec<_> = (0..16).map(|_| scope.spawn(|| server.refresh(&at_once).status)).collect();
        presented.into_iter().map(|answer| answer.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    // One that was signed out is worthless, too.
    let other = mint("refresh", 80_000);
    let signed_out =
        server.exchange("POST", "/api/v1/logout", &format!("Cookie: refresh_token_lf={other}"), "");
    assert_eq!(signed_out.status, 200);
    server.refresh(&other).is(401, "Invalid refresh token");
}

#[test]
fn it_refreshes_for_pages_of_its_own_alone() {
    let allowed = start(&[
        ("LANGFLOW_SECRET_KEY", SECRET),
        ("LANGFLOW_CORS_ORIGINS", "https://a.example,https://b.example"),
    ]);
    // `*` is Langflow's default.
    let any = start(&[("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_CORS_ORIGINS", "*")]);
    for (fields, by_allowed, by_any) in [
        ("", 200, 200),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: https://flows.example\r\n", 200, 200),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://b.example\r\n", 200, 403),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n", 403, 403),
        ("Origin: https://evil.example\r\n", 403, 403),
        ("Origin: null\r\n", 403, 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403, 403),
    ] {
        for (server, status) in [(&allowed, by_allowed), (&any, by_any)] {
            let token = server.login(PASSWORD).token("refresh_token");
            for path in ["/api/v1/refresh", "/api/v1/logout"] {
                let head = format!("{fields}Cookie: refresh_token_lf={token}");
                assert_eq!(server.exchange("POST", path, &head, "").status, status, "{path} {fields}");
            }
            let head = format!("{fields}Content-Type: application/x-www-form-urlencoded");
            let form = format!("username=langflow&password={PASSWORD}");
            assert_eq!(server.exchange("POST", "/api/v1/login", &head, &form).status, status, "{fields}");
        }
    }
}

/// A token from before a restart is good after it.
#[test]
fn it_keeps_the_keys_that_it_generates() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, files) in
        [("HS256", &["secret_key"][..]), ("RS256", &["private_key.pem", "public_key.pem"]), ("RS512", &[])]
    {
        // RS512 reuses the pair of RS256.
        let place = directory.path().join(&algorithm[..2]);
        let variables = [("LANGFLOW_ALGORITHM", algorithm), ("LANGFLOW_CONFIG_DIR", place.to_str().unwrap())];
        let key = |place: &Path| fs::read(place.join(files.first().unwrap_or(&"private_key.pem"))).unwrap();
        let first = start(&variables);
        let signed_in = first.login(PASSWORD);
        let before = key(&place);
        drop(first);
        for file in files {
            assert!(place.join(file).is_file(), "{file}");
        }
        let second = start(&variables);
        assert_eq!(second.whoami(&signed_in.token("access_token")).status, 200, "{algorithm}");
        assert_eq!(key(&place), before, "{algorithm}");
        let header = support::guarded::header(&signed_in.token("access_token"));
        assert_eq!(header["alg"], algorithm);
    }
}

/// Also with tokens that are older than the store.
#[cfg(feature = "sqlite")]
#[test]
fn a_store_keeps_sessions_sign_outs_and_spent_tokens_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
    let variables = [("LANGFLOW_SECRET_KEY", SECRET), ("REISSUE__STORE__URL", &*url)];
    let first = start(&variables);
    let kept = first.login(PASSWORD).token("refresh_token");
    let ended = first.login(PASSWORD).token("refresh_token");
    assert_eq!(
        first.exchange("POST", "/api/v1/logout", &format!("Cookie: refresh_token_lf={ended}"), "").status,
        200
    );
    let langflows = mint("refresh", 86_400);
    assert_eq!(first.refresh(&langflows).status, 200);
    let older = mint("access", 3000);
    first.whoami(&older).is(401, "Invalid token");
    drop(first);
    let tolerant = start(&[&variables[..], &[("REISSUE__ADMIT_AFTER_STORE_LOSS", "true")]].concat());
    assert_eq!(tolerant.whoami(&older).status, 200);
    drop(tolerant);
    let second = start(&variables);
    assert_eq!(second.refresh(&kept).status, 200);
    second.refresh(&ended).is(401, "Invalid refresh token");
    second.refresh(&langflows).is(401, "Invalid refresh token");
}

#[test]
fn it_takes_a_private_key_or_a_pair() {
    let mounted = tempfile::tempdir().unwrap();
    fs::write(mounted.path().join("private_key.pem"), RSA).unwrap();
    let place = mounted.path().to_str().unwrap();
    for (variables, flags) in [
        (vec![("LANGFLOW_PRIVATE_KEY", RSA)], &[][..]),
        (vec![("LANGFLOW_PRIVATE_KEY", RSA), ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC)], &[]),
        (vec![("LANGFLOW_CONFIG_DIR", place)], &["--mounted-keys"]),
    ] {
        let variables = [&[("LANGFLOW_ALGORITHM", "RS256")], &*variables].concat();
        let server = Server::start(langflow(&variables).args(flags).stderr(Stdio::null()));
        assert_eq!(server.whoami(&server.login(PASSWORD).token("access_token")).status, 200);
    }
}

#[test]
fn it_exits_2_and_names_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let readable = directory.path().join("readable");
    fs::create_dir(&readable).unwrap();
    fs::write(readable.join("secret_key"), SECRET).unwrap();
    let readable = readable.to_str().unwrap();
    let run = |variables: &[(&str, &str)], flags: &[&str]| {
        let output = langflow(variables).args(flags).output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{variables:?}");
        stderr(&output)
    };
    for (name, value, message) in [
        ("LANGFLOW_SUPERUSER_PASSWORD", "", "is not set"),
        ("LANGFLOW_SECRET_KEY", "Xq8-1zPw.7tRb4Lm_9Kd", "has 20 bytes and needs 32"),
        ("LANGFLOW_ALGORITHM", "none", "expected HS256, RS256 or RS512"),
        ("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", "1h", "expected a whole number of seconds"),
        ("LANGFLOW_ACCESS_SECURE", "maybe", "expected `true` or `false`"),
        ("LANGFLOW_REFRESH_SAME_SITE", "all", "expected `strict`, `lax` or `none`"),
        ("LANGFLOW_COOKIE_DOMAIN", "https://flows.example", "is not a cookie's domain"),
        ("LANGFLOW_CORS_ORIGINS", "flows.example", "is not an origin"),
    ] {
        let said = run(&[("LANGFLOW_SECRET_KEY", SECRET), (name, value)], &[]);
        assert!(said.contains(name) && said.contains(message), "{name}: {said}");
    }
    let said = run(&[("LANGFLOW_CONFIG_DIR", readable)], &[]);
    assert!(said.contains("LANGFLOW_CONFIG_DIR") && said.contains("chmod"), "{said}");
    let said = run(&[("LANGFLOW_SECRET_KEY", SECRET)], &["--no-such-flag"]);
    assert!(said.contains("usage: langflow"), "{said}");
}

#[test]
fn it_prints_the_settings_in_force_without_the_secret() {
    let variables =
        [("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_ACCESS_SECURE", "true"), ("REISSUE__GRACE", "2m")];
    let printed = succeeded(&langflow(&variables).arg("--settings").output().unwrap());
    for line in [
        "grace = \"2m\"  # environment variable REISSUE__GRACE",
        "key.variable = \"LANGFLOW_SECRET_KEY\"  # environment variable LANGFLOW_SECRET_KEY",
        "request.cookie.insecure_for_development = false  # environment variable LANGFLOW_ACCESS_SECURE",
        "refresh_tokens.cookie.name = \"refresh_token_lf\"  # Langflow's default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    assert!(!printed.contains(SECRET));
}

#[test]
fn the_commands_that_it_prints_work_when_pasted() {
    let password = "correct horse & battery=staple";
    let mut server = start(&[
        ("LANGFLOW_SECRET_KEY", SECRET),
        ("LANGFLOW_SUPERUSER", "alice"),
        ("LANGFLOW_SUPERUSER_PASSWORD", password),
    ]);
    let commands = format!("LANGFLOW_SUPERUSER_PASSWORD='{password}'\n{}", server.commands("Ctrl-C"));
    let transcript = paste(&commands);
    let seen: Vec<Value> = transcript.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(seen.len(), 5, "{transcript}");
    assert!(seen[0]["access_token"].is_string() && seen[2]["access_token"].is_string(), "{transcript}");
    assert_eq!(seen[1]["username"], "alice");
    assert_eq!(seen[3]["message"], "Logout successful");
    assert_eq!(seen[4]["detail"], "Invalid token");
}

/// Two processes with different secrets: each refusal's line has the fingerprint of the key that is held here.
#[test]
fn it_logs_which_key_it_holds_where_a_signature_is_not_its_own() {
    let mut server = Server::start(
        langflow(&[("LANGFLOW_SECRET_KEY", "another secret of the other process, 32 bytes")])
            .stderr(Stdio::piped()),
    );
    server.whoami(&mint("access", 300)).is(401, "Invalid token");
    server.process.kill().unwrap();
    let mut log = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let loaded = log.lines().find(|line| line.contains("keys loaded")).unwrap();
    let (_, fingerprints) = loaded.split_once("fingerprints=").unwrap();
    let refused = log.lines().find(|line| line.contains("token refused")).unwrap();
    assert!(refused.contains("WARN") && refused.contains("bad_signature"), "{log}");
    assert!(refused.contains(fingerprints), "{log}");
}

#[test]
#[ignore = "needs python3 with PyJWT"]
fn it_and_pyjwt_admit_each_others_tokens() {
    for (algorithm, variable, key) in [
        ("HS256", "LANGFLOW_SECRET_KEY", SECRET),
        ("RS256", "LANGFLOW_PRIVATE_KEY", RSA),
        ("RS512", "LANGFLOW_PRIVATE_KEY", RSA),
    ] {
        walk(&start(&[("LANGFLOW_ALGORITHM", algorithm), (variable, key)]), algorithm, key);
        // The keys that either generates, the other reads.
        for langflow_is_first in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let config = place.path().to_str().unwrap();
            if langflow_is_first {
                python(&[algorithm, config], "generate.py", &[]);
            }
            let server = start(&[("LANGFLOW_ALGORITHM", algorithm), ("LANGFLOW_CONFIG_DIR", config)]);
            let file = if algorithm == "HS256" { "secret_key" } else { "private_key.pem" };
            walk(&server, algorithm, &fs::read_to_string(place.path().join(file)).unwrap());
        }
    }
}

fn walk(server: &Server, algorithm: &str, key: &str) {
    let variables = [("ALGORITHM", algorithm), ("KEY", key), ("PASSWORD", PASSWORD), ("ID", ID)];
    let told = python(&[&server.address], "client.py", &variables);
    assert!(told.ends_with("every token was answered as Langflow answers it\n"), "{algorithm}: {told}");
}

fn python(arguments: &[&str], script: &str, variables: &[(&str, &str)]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/langflow").join(script);
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).envs(variables.iter().copied());
    succeeded(&command.output().expect("python3 runs"))
}
