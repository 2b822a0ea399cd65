//! Every duration that the crate is given, at its extremes: none, the shortest and the longest there is.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_reissue::keys::{
    Algorithm, CommandSource, JwksUrl, KeyFormat, KeyRing, KeyRotation, KeySet, KeySource, SigningKey,
    TrustedIssuer,
};
use tower_reissue::store::{Cached, SqlStore};
use tower_reissue::{
    Authority, AuthorityBuilder, BackchannelLogoutEndpoint, JwksEndpoint, Login, MemoryStore, RefreshTokens,
    RequireStepUp,
};

const EXTREMES: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];

/// Every public function that takes a duration, and every public field that is one, by file and name; each is tried
/// below under this name.
const KNOWN: [&str; 33] = [
    "authority/builder/mod.rs max_session_lifetime",
    "authority/builder/mod.rs lifetime",
    "authority/builder/mod.rs leeway",
    "authority/builder/mod.rs grace",
    "authority/builder/mod.rs future_tolerance",
    "authority/builder/mod.rs accept_without_iat",
    "authority/builder/mod.rs in_flight_allowance",
    "authority/builder/mod.rs max_token_lifetime",
    "authority/builder/mod.rs store_deadline",
    "authority/builder/mod.rs renewer_deadline",
    "authority/builder/refresh_tokens.rs lifetime",
    "authority/builder/refresh_tokens.rs reuse_window",
    "endpoint/backchannel_logout.rs max_age",
    "endpoint/jwks.rs max_age",
    "keyring/trusted_issuer.rs accept_without_iat",
    "keyring/trusted_issuer.rs future_tolerance",
    "keyring/trusted_issuer.rs leeway",
    "keyring/trusted_issuer.rs max_session_lifetime",
    "server/require.rs max_age",
    "server/require.rs recent",
    "rotation/mod.rs activation_delay",
    "rotation/mod.rs reload_every",
    "rotation/mod.rs overlap",
    "rotation/mod.rs stale_for",
    "rotation/mod.rs cooldown",
    "rotation/source/command.rs timeout",
    "rotation/source/jwks_url.rs timeout",
    "keys/key_set.rs fresh_for",
    "keys/key_set.rs fresh_for (field)",
    "store/cached.rs for_at_most",
    "store/cached.rs during_outage",
    "store/redis/connect.rs wait_for_replicas",
    "store/sql/builder.rs wait",
];

#[test]
fn no_duration_of_the_crate_is_missing_here() {
    let mut found = BTreeSet::new();
    search(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut found);
    let known: BTreeSet<String> = KNOWN.map(str::to_owned).into();
    assert_eq!(found, known, "try each new one at its extremes");
}

/// What of the sources is public and has a duration in its parameters or is one.
fn search(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            search(&path, &format!("{name}/"), found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            for declaration in text.split("\n    pub ").skip(1).chain(text.split("\npub ").skip(1)) {
                found.extend(named(declaration).map(|item| format!("{name} {item}")));
            }
        }
    }
}

fn named(declaration: &str) -> Option<String> {
    let function = ["fn ", "async fn ", "const fn "].iter().find_map(|kind| declaration.strip_prefix(kind));
    if let Some(function) = function {
        let signature = function.split(['{', ';']).next()?;
        let parameters = signature.split("->").next()?;
        let name = parameters.split(['(', '<']).next()?;
        return parameters.contains("Duration").then(|| name.to_owned());
    }
    let line = declaration.lines().next()?;
    let (name, kind) = line.split_once(": ")?;
    (kind.contains("Duration") && name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .then(|| format!("{name} (field)"))
}

fn key() -> SigningKey {
    SigningKey::from_secret(Algorithm::HS256, "a secret of these tests: 32 bytes and more").unwrap()
}

fn builder() -> AuthorityBuilder {
    Authority::builder(key())
        .issuer("https://login.example")
        .audience("orders")
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .store(MemoryStore::new())
}

/// Whether a duration has a meaning for an option is its own to say; where it is accepted, tokens live.
async fn works(builder: AuthorityBuilder) -> Result<(), String> {
    let authority = builder.build().map_err(|error| error.to_string())?;
    let token = authority.issue(Login::new("alice")).await.unwrap();
    let admitted = authority.admit(token.as_str()).await.unwrap();
    authority.revoke_session(&admitted).await.unwrap();
    assert!(authority.admit(token.as_str()).await.is_err(), "it was revoked");
    Ok(())
}

#[tokio::test]
async fn an_authority_is_built_with_any_or_refuses_it() {
    for time in EXTREMES {
        let is_longest = time == Duration::MAX;
        let options = [
            (builder().max_session_lifetime(time), false),
            // Rounded up to a second.
            (builder().accept_without_iat(time), !is_longest && !time.is_zero()),
            (builder().lifetime(time), false),
            (builder().leeway(time), !is_longest),
            (builder().grace(time), !is_longest),
            (builder().future_tolerance(time), !is_longest),
            // However long the handler took.
            (builder().in_flight_allowance(time), true),
            (builder().store_deadline(time), !time.is_zero()),
            (builder().renewer_deadline(time), !time.is_zero()),
            (
                builder()
                    .refresh_tokens(RefreshTokens::new("https://login.example/refresh").reuse_window(time)),
                !is_longest,
            ),
            (
                builder().refresh_tokens(RefreshTokens::new("https://login.example/refresh").lifetime(time)),
                false,
            ),
            // Nothing would bound the records of sessions that are unbounded too.
            (builder().dangerous().unbounded_sessions().in_flight_allowance(time), !is_longest),
            (builder().store(Cached::new(MemoryStore::new()).for_at_most(time)), true),
            (builder().store(Cached::new(MemoryStore::new()).during_outage(time)), true),
            (builder().store(Cached::new(MemoryStore::new()).for_at_most(time).during_outage(time)), true),
        ];
        for (at, (builder, is_accepted)) in options.into_iter().enumerate() {
            let works = works(builder).await;
            assert_eq!(works.is_ok(), is_accepted, "option {at}, {time:?}: {works:?}");
        }
    }
}

#[test]
fn an_authority_that_only_verifies_bounds_the_life_of_tokens_within_ten_years() {
    let year = Duration::from_secs(365 * 24 * 3600);
    for (time, is_accepted) in EXTREMES.map(|time| (time, false)).into_iter().chain([(year, true)]) {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap().verifying_key();
        let ring = KeyRing::verify_only().trust("https://login.example", [key]).unwrap();
        let built = Authority::builder(ring).audience("orders").max_token_lifetime(time).build();
        assert_eq!(built.is_ok(), is_accepted, "{time:?}: {:?}", built.err());
    }
}

#[test]
fn a_trusted_issuer_is_taken_with_any_or_refused_by_name() {
    for time in EXTREMES {
        let is_longest = time == Duration::MAX;
        let issuer = || TrustedIssuer::new("https://login.example");
        for (name, issuer, is_accepted) in [
            ("leeway", issuer().leeway(time), !is_longest),
            ("future_tolerance", issuer().future_tolerance(time), !is_longest),
            ("max_session_lifetime", issuer().max_session_lifetime(time), false),
            ("accept_without_iat", issuer().accept_without_iat(time), !is_longest && !time.is_zero()),
        ] {
            let key = SigningKey::generate(Algorithm::EdDSA).unwrap().verifying_key();
            let trusted = KeyRing::verify_only().trust(issuer, [key]);
            assert_eq!(trusted.is_ok(), is_accepted, "{name} {time:?}: {:?}", trusted.err());
        }
    }
}

#[test]
fn a_sign_in_may_be_required_to_be_as_recent_as_can_be_told_in_seconds() {
    for time in EXTREMES {
        let is_longest = time == Duration::MAX;
        assert_eq!(RequireStepUp::recent(time).is_ok(), is_longest, "{time:?}");
        let required = RequireStepUp::acr_values("urn:example:gold").unwrap().max_age(time);
        assert_eq!(required.is_ok(), is_longest, "{time:?}");
    }
}

#[test]
fn a_logout_token_is_taken_for_minutes() {
    for time in EXTREMES {
        let endpoint = BackchannelLogoutEndpoint::new(builder().build().unwrap(), ["orders-web"]).unwrap();
        assert!(endpoint.max_age(time).is_err(), "{time:?}");
    }
}

#[tokio::test]
async fn an_endpoint_says_a_max_age_that_caches_can_read() {
    for time in EXTREMES {
        let response = JwksEndpoint::new(key()).max_age(time).oneshot(Request::new(())).await.unwrap();
        let header = response.headers()["cache-control"].to_str().unwrap().to_owned();
        let age: u64 = header.rsplit('=').next().unwrap().parse().unwrap();
        // RFC 9111 §1.2.2: more than 2^31 may overflow at a cache.
        assert!(age <= 1 << 31 && (age > 0) == (time == Duration::MAX), "{header}");
    }
}

#[tokio::test]
async fn a_rotation_starts_with_any_or_refuses_it() {
    for time in EXTREMES {
        let own = || KeySet::signing(key());
        let mut fresh = own();
        fresh.fresh_for = Some(time);
        for (rotation, is_accepted) in [
            (KeyRotation::new(own()).activation_delay(time), true),
            (KeyRotation::new(own()).reload_every(time), !time.is_zero()),
            (KeyRotation::new(own()).overlap(time), true),
            (KeyRotation::new(own()).stale_for(time), true),
            (KeyRotation::new(own()).cooldown(time), true),
            (KeyRotation::new(own().fresh_for(time)), true),
            (KeyRotation::new(fresh.clone()).trust("https://partner.example", fresh.clone()), true),
        ] {
            let started = rotation.trust("https://other.example", own()).start().await;
            assert_eq!(started.is_ok(), is_accepted, "{time:?}");
            if let Ok(keys) = started {
                assert_eq!(keys.current().kids().next(), Some(key().kid()), "{time:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_source_waits_as_long_as_it_is_told() {
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"1dyN9qxG5hs3CW0q8g7HY3X9ncI0u1PA-Aivtkzjb_A"}]}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    for time in EXTREMES {
        let is_longest = time == Duration::MAX;
        let url = JwksUrl::new(&url).unwrap().timeout(time).load().await;
        assert_eq!(url.is_ok(), is_longest, "{time:?}: {url:?}");
        // A program may end before its time is looked at, so this one takes some.
        let program = format!("sleep 0.1; echo '{set}'");
        let program =
            CommandSource::new("sh", ["-c", &program], KeyFormat::jwk_set()).timeout(time).load().await;
        assert_eq!(program.is_ok(), is_longest, "{time:?}: {program:?}");
    }
}

#[tokio::test]
async fn a_store_opens_or_gives_up() {
    for time in EXTREMES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("claims.sqlite");
        let opened = SqlStore::builder().wait(time).sqlite(path.to_str().unwrap()).await;
        match opened {
            Ok(store) if time == Duration::MAX => works(builder().store(store)).await.unwrap(),
            Ok(_) => {}
            Err(error) => assert!(time < Duration::MAX, "{error}"),
        }
    }
}
