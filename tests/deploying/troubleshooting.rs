//! The table of symptoms: each quoted line is what the log or the error says when its fault is provoked.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant, SystemTime};

use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_reissue::settings::{Airflow, Langflow, Settings};
use tower_reissue::{Algorithm, Authority, Login, ReissueLayer, RequireScope};

use super::page::{PAGE, block};
use super::support::sign_raw;
use super::{PREVIOUS, RSA, SECRET};

thread_local! {
    /// The log of what happens on this thread, once it records. A rotation writes it on another.
    static RECORDED: RefCell<Option<(Recorder, tracing::subscriber::DefaultGuard)>> = const { RefCell::new(None) };
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<u8>>>);

impl io::Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins a new record of this thread: a test's runtime runs on it. A global subscriber enables every line, because `tracing` may
/// take one for disabled if a thread without a subscriber is the first to reach it.
fn record() {
    static SUBSCRIBED: Once = Once::new();
    let subscriber = |recorder: Recorder| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || recorder.clone())
            .finish()
    };
    SUBSCRIBED
        .call_once(|| tracing::subscriber::set_global_default(subscriber(Recorder::default())).unwrap());
    drop(RECORDED.take());
    let recorder = Recorder::default();
    let subscribed = tracing::subscriber::set_default(subscriber(recorder.clone()));
    RECORDED.set(Some((recorder, subscribed)));
}

fn recorded() -> String {
    RECORDED.with_borrow(|recorded| {
        let log = recorded.as_ref().map(|(recorder, _)| recorder.0.lock().unwrap().clone());
        String::from_utf8(log.unwrap_or_default()).unwrap()
    })
}

const SECRET_VARIABLE: &str = "AIRFLOW__API_AUTH__JWT_SECRET";

async fn service(variables: &[(&str, &str)]) -> Result<(Authority, Settings), String> {
    let airflow = Airflow::execution_api().variables(variables.iter().copied());
    let settings = Settings::builder().airflow(airflow).variables("ORDERS", variables.iter().copied()).load();
    let settings = settings.map_err(|error| error.to_string())?;
    let authority = Authority::from_settings(&settings).await.map_err(|error| error.to_string())?;
    Ok((authority, settings))
}

fn claims(changes: Value) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "sub": "task-1", "jti": "a1", "aud": "urn:airflow.apache.org:task", "nbf": now, "iat": now, "exp": now + 600,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = match value.as_i64() {
            Some(later) => now.checked_add_signed(later).unwrap().into(),
            None => value.clone(),
        };
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

pub(crate) fn mint(secret: &str, changes: Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = r#"{"alg":"HS512","typ":"JWT","kid":"not-used"}"#;
    sign_raw(header, &claims(changes).to_string(), &key, Algorithm::HS512)
}

async fn send(authority: &Authority, settings: &Settings, token: &str) -> StatusCode {
    let layer = ReissueLayer::from_settings(authority.clone(), settings).unwrap();
    let handler = service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let credential = if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") };
    let request = Request::builder().header("authorization", credential);
    layer.layer(handler).oneshot(request.body(String::new()).unwrap()).await.unwrap().status()
}

/// The rows of the tables under a heading: the first cell, and the pattern of the second.
fn rows(title: &str) -> Vec<(&'static str, &'static str)> {
    let (_, after) = PAGE.split_once(&format!("\n## {title}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (first, second) = (cells.next()?, cells.next()?);
        let pattern = second.strip_prefix('`')?;
        // A quotation with backticks in it stands between two.
        Some((
            first,
            pattern.strip_prefix('`').map_or(pattern.strip_suffix('`'), |text| text.strip_suffix("``"))?,
        ))
    };
    section.lines().filter_map(cells).collect()
}

/// Whether a line is the pattern, in which `…` stands for anything.
fn matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Each row has a scenario, and each scenario a row.
fn check(title: &str, seen: &[(&str, String)]) {
    let rows = rows(title);
    let names = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        names(rows.iter().map(|(name, _)| *name).collect()),
        names(seen.iter().map(|(name, _)| *name).collect())
    );
    for ((name, pattern), (_, text)) in rows.iter().zip(seen) {
        assert!(
            text.lines().any(|line| matches(line.trim_start(), pattern)),
            "{name}\n{pattern}\nis not in\n{text}"
        );
    }
}

#[tokio::test]
async fn a_refused_token_is_logged_as_the_manual_says() {
    const ISSUER: &str = "https://airflow.example";
    let echoed = format!("{SECRET}\n");
    let variables = [(SECRET_VARIABLE, &*echoed), ("AIRFLOW__API_AUTH__JWT_ISSUER", ISSUER)];
    let (other, _) = service(&[(SECRET_VARIABLE, PREVIOUS), variables[1]]).await.unwrap();
    let of_other = other.issue(Login::new("task-1")).await.unwrap().into_string();
    let with = |mut changes: Value| {
        changes["iss"] = json!(ISSUER);
        mint(SECRET, changes)
    };
    let sign_as = |header: &str, algorithm| {
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        sign_raw(header, &claims(json!({ "iss": ISSUER })).to_string(), &key, algorithm)
    };
    let mut seen = Vec::new();
    for (symptom, token) in [
        (
            "\"signature verification failed\": two components have different secrets",
            mint(PREVIOUS, json!({ "iss": ISSUER })),
        ),
        (
            "the Secret ends with a line end, as `echo` writes it: Airflow counts it as part of the secret, and this crate does not",
            mint(&echoed, json!({ "iss": ISSUER })),
        ),
        (
            "two components have different secrets, and the token is one of this crate, which names its key",
            of_other,
        ),
        ("the secret is another after `helm upgrade`", with(json!({}))),
        ("\"token expired\"", with(json!({ "iat": -1000, "nbf": -1000, "exp": -400 }))),
        ("a token that expired moments ago", with(json!({ "iat": -630, "nbf": -630, "exp": -30 }))),
        ("clocks differ", with(json!({ "iat": 60, "nbf": 60 }))),
        ("the audience is another", with(json!({ "aud": "apache-airflow" }))),
        ("the issuer is another", mint(SECRET, json!({ "iss": "https://other.example" }))),
        ("a component has no issuer set", mint(SECRET, json!({}))),
        (
            "a component has another algorithm",
            sign_as(r#"{"alg":"HS256","typ":"JWT","kid":"not-used"}"#, Algorithm::HS256),
        ),
        ("a client sends the token with another scheme", format!("Token {}", with(json!({})))),
    ] {
        record();
        let (authority, settings) = service(&variables).await.unwrap();
        let is_good = symptom.contains("helm upgrade");
        assert_eq!(send(&authority, &settings, &token).await == StatusCode::OK, is_good, "{symptom}");
        seen.push((symptom, recorded()));
    }
    check("Tokens that are refused", &seen);
}

#[tokio::test]
async fn a_route_without_a_layer_is_logged_as_an_error_once() {
    record();
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
    let unguarded = RequireScope::new("orders:read").unwrap().layer(handler);
    for _ in 0..3 {
        let answer = unguarded.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let log = recorded();
    let levels: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("a route has no token") && line.contains("add the ReissueLayer last"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(levels, ["ERROR", "DEBUG", "DEBUG"], "{log}");
}

/// What the manual's command prints in a container with another secret, and here.
#[tokio::test]
#[ignore = "needs python3"]
async fn the_command_prints_the_fingerprint_that_the_log_has() {
    let command = block("Tokens that are refused", "fingerprint").text;
    let print = |secret: &str| {
        let output = Command::new("sh").args(["-c", &command]).env(SECRET_VARIABLE, secret).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    record();
    service(&[(SECRET_VARIABLE, SECRET)]).await.unwrap();
    assert!(recorded().contains(&format!("fingerprints=signs HS512 {}\n", print(SECRET))), "{}", recorded());
    assert!(!recorded().contains(&print(PREVIOUS)));
}

fn load_private_key(path: &str) -> String {
    let airflow = Airflow::execution_api().variables([("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", path)]);
    Settings::builder().airflow(airflow).load().unwrap_err().to_string()
}

/// On a thread whose user is not root, whom no mode stops.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        }
        work()
    });
    thread.join().unwrap()
}

#[tokio::test]
async fn a_start_that_fails_says_what_the_manual_says() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = place.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = place.path().join("missing").to_str().unwrap().to_owned();
    let (cat_missing, cat_empty) = (format!("cat {missing}"), format!("cat {}", file("empty", "")));
    file("secret_key", SECRET);
    fs::create_dir(place.path().join("private_key.pem")).unwrap();
    let directory = place.path().to_str().unwrap();
    let closed = file("closed", RSA);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut seen = Vec::new();
    for (mistake, variable, value) in [
        ("no secret", "AIRFLOW__API_AUTH__JWT_LEEWAY", "10"),
        ("a secret of 20 bytes", SECRET_VARIABLE, "Xq8-1zPw.7tRb4Lm_9Kd"),
        ("a template that was not filled in", SECRET_VARIABLE, "${JWT_SECRET}"),
        ("a name that is misspelt", "AIRFLOW__API_AUTH__JWT_SECERT", SECRET),
        ("the Secret's file is missing", "AIRFLOW__API_AUTH__JWT_SECRET_CMD", &*cat_missing),
        ("the Secret's key is empty", "AIRFLOW__API_AUTH__JWT_SECRET_CMD", &*cat_empty),
        ("the private key's file is missing", "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", &*missing),
    ] {
        seen.push((mistake, service(&[(variable, value)]).await.err().unwrap()));
    }
    seen.push(("a file that the process may not read", as_nobody(move || load_private_key(&closed))));
    for (mistake, algorithm, is_mounted) in [
        ("Compose mounts a key that is not there", "RS256", true),
        ("everybody can read Langflow's generated key", "HS256", false),
    ] {
        let langflow = Langflow::new()
            .variables([("LANGFLOW_CONFIG_DIR", directory), ("LANGFLOW_ALGORITHM", algorithm)]);
        let langflow = if is_mounted { langflow.mounted_keys() } else { langflow };
        let settings = Settings::builder().langflow(langflow).load().unwrap();
        seen.push((mistake, Authority::from_settings(&settings).await.err().unwrap().to_string()));
    }
    check("A start that fails", &seen);
}

#[tokio::test]
async fn what_happens_to_a_secret_is_logged_as_the_manual_says() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (secret, previous) = (path("jwt-secret"), path("previous"));
    fs::write(&secret, PREVIOUS).unwrap();
    record();
    let command = format!("cat {secret}");
    let variables =
        [("AIRFLOW__API_AUTH__JWT_SECRET_CMD", &*command), ("ORDERS__ROTATION__RELOAD_EVERY", "100ms")];
    let running = service(&variables).await.unwrap();
    let logged = async |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !recorded().contains(what) {
            assert!(Instant::now() < deadline, "{what} is not in {}", recorded());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        recorded()
    };
    fs::write(path("new"), SECRET).unwrap();
    fs::rename(path("new"), &secret).unwrap();
    let replaced = logged("keys replaced").await;
    fs::remove_file(&secret).unwrap();
    let gone = logged("ERROR").await;
    drop(running);
    let retired = [
        (SECRET_VARIABLE, SECRET),
        ("ORDERS__RETIRED_KEYS__0__FILE", &*previous),
        ("ORDERS__RETIRED_KEYS__0__ALGORITHM", "HS512"),
    ];
    service(&retired).await.unwrap();
    let missing = recorded();
    record();
    let set = path("jwks.json");
    service(&[(SECRET_VARIABLE, SECRET), ("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", &set)]).await.unwrap();
    check(
        "While it runs",
        &[
            ("the Secret is replaced", replaced),
            ("the Secret can't be read any more", gone),
            ("the previous secret is missing", missing),
            ("a JWK set is trusted beside a secret", recorded()),
        ],
    );
}
