//! Secrets: byte for byte, by every way, and printed nowhere.

use std::fs;

use tower_reissue::settings::Settings;
use tower_reissue::{Algorithm, Authority, Login, SigningKey};

use super::{NEEDED, SECRET, toml};

/// Texts that a parser of values would change.
fn odd_secrets() -> Vec<String> {
    [
        "true",
        "[abc]",
        "{x=1}",
        "\"quoted\"",
        "'quoted'",
        "blanks at the end  ",
        " at the beginning",
        "1e3",
        "\\n",
        "null",
        "${HOME}",
        "a,b",
        "#x",
        "\u{e9}",
    ]
    .map(|odd| format!("{odd}{}", &SECRET[..40]))
    .into_iter()
    .chain([
        format!("{SECRET}  "),
        format!("[{SECRET}]"),
        format!("{{x={SECRET}}}"),
        format!("\"{SECRET}\""),
        format!("  {SECRET}"),
    ])
    .collect()
}

async fn kid(settings: Settings) -> String {
    let authority = Authority::from_settings(&settings).await.unwrap();
    let token = authority.issue(Login::new("alice")).await.unwrap();
    authority.admit(token.as_str()).await.unwrap();
    let header = token.as_str().split('.').next().unwrap();
    let header = base64_url(header);
    serde_json::from_slice::<serde_json::Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

fn base64_url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[tokio::test]
async fn a_secret_arrives_byte_for_byte_by_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    for secret in odd_secrets() {
        let expected = SigningKey::from_secret(Algorithm::HS256, &secret).unwrap();
        let builder = || Settings::builder().toml(NEEDED).toml("[key]\nalgorithm = 'HS256'");
        fs::write(&file, &secret).unwrap();
        let quoted = serde_json::to_string(&secret).unwrap();
        for (way, settings) in [
            ("variable", builder().variables("ORDERS", [("ORDERS__KEY__VALUE", &secret)])),
            ("file", builder().variables("ORDERS", [("ORDERS__KEY__FILE", file.to_str().unwrap())])),
            (
                "command",
                builder().variables("ORDERS", [("ORDERS__KEY__COMMAND", format!("cat {}", file.display()))]),
            ),
            ("toml", builder().toml(&format!("[key]\nvalue = {quoted}"))),
            ("values", builder().values("json", &serde_json::json!({ "key": { "value": secret } }))),
        ] {
            let settings = settings.load().unwrap();
            for told in
                [settings.to_string(), format!("{settings:?}"), serde_json::to_string(&settings).unwrap()]
            {
                assert!(!told.contains(&*secret) && !told.contains(&quoted), "{way}: {told}");
            }
            assert_eq!(kid(settings).await, expected.kid(), "{way}: {secret:?}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_in_a_variable_need_not_be_text() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let bytes: Vec<u8> = (1..=64).map(|n| 0x80 | n).collect();
    let settings = Settings::builder()
        .toml(NEEDED)
        .toml("[key]\nalgorithm = 'HS512'")
        .variables("ORDERS", [("ORDERS__KEY__VALUE", OsString::from_vec(bytes.clone()))])
        .load()
        .unwrap();
    assert_eq!(kid(settings).await, SigningKey::from_secret(Algorithm::HS512, &bytes).unwrap().kid());
}

#[tokio::test]
async fn a_stores_url_is_a_secret_by_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    fs::write(&file, "memory:\n").unwrap();
    let file = file.display();
    for store in [
        "url = 'memory:'".to_owned(),
        "url = { value = 'memory:' }".to_owned(),
        format!("url = {{ file = '{file}' }}"),
        format!("url = {{ command = 'cat {file}' }}"),
        format!("url = 'sqlite:{}/store.db'\ncache_for_at_most = '1s'", directory.path().display()),
    ] {
        let text = format!("{NEEDED}\n[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n[store]\n{store}");
        let authority = Authority::from_settings(&toml(&text).unwrap()).await.unwrap();
        let token = authority.issue(Login::new("alice")).await.unwrap();
        authority.revoke_subject("alice").await.unwrap();
        assert!(authority.admit(token.as_str()).await.is_err(), "{store}");
    }
}

#[tokio::test]
async fn a_retired_key_admits_and_a_withdrawn_one_does_not() {
    let old = "the secret of last year, which is 64 bytes long as well: --------";
    let text =
        |more: &str, key: &str| format!("{NEEDED}\n{more}\n[key]\nalgorithm = 'HS512'\nvalue = '{key}'");
    let before = Authority::from_settings(&toml(&text("", old)).unwrap()).await.unwrap();
    let token = before.issue(Login::new("alice")).await.unwrap();
    let fingerprint = SigningKey::from_secret(Algorithm::HS512, old).unwrap().fingerprint().to_owned();
    let retired = format!("{}\n[[retired_keys]]\nalgorithm = 'HS512'\nvalue = '{old}'", text("", SECRET));
    let admits = async |settings: Settings| {
        Authority::from_settings(&settings).await.unwrap().admit(token.as_str()).await.is_ok()
    };
    assert!(admits(toml(&retired).unwrap()).await);
    // As `docker --env-file` reads it, an editor saves it, the log prints it, and a list in JSON is.
    for listed in [
        fingerprint.clone(),
        format!("\"{fingerprint}\""),
        format!("\u{feff}{fingerprint}"),
        format!("HS512 {fingerprint}"),
        format!("kid={fingerprint}"),
        format!("other\n{fingerprint}\n"),
        format!("18a5kllpJbr8upcP-6RfJg {fingerprint}"),
        format!("18a5kllpJbr8upcP-6RfJg; {fingerprint}"),
        format!("leaked: {fingerprint}"),
    ] {
        let list = serde_json::json!({ "withdrawn_keys": ["other", listed] });
        let list = Settings::builder().toml(&retired).values("a list", &list).load().unwrap();
        assert!(!admits(list).await, "{listed:?} in a list");
        for listed in [
            listed.clone(),
            format!("other,{listed}"),
            format!("'other', '{listed}'"),
            format!("[\"other\", \"{listed}\"]"),
        ] {
            let variable = [("T__WITHDRAWN_KEYS", &listed)];
            let variable = Settings::builder().toml(&retired).variables("T", variable).load().unwrap();
            assert!(!admits(variable).await, "{listed:?}");
        }
    }
    let without = Authority::from_settings(&toml(&text("", SECRET)).unwrap()).await.unwrap();
    assert!(without.admit(token.as_str()).await.is_err());
}

#[tokio::test]
async fn a_listed_kid_is_withdrawn_whatever_its_characters_and_no_other_is() {
    let key = |kid: &str, value: &str| format!("algorithm = 'HS512'\nkid = '{kid}'\nvalue = '{value}'");
    let old = "the secret of last year, which is 64 bytes long as well: --------";
    for kid in ["#key-1", "main 2", "[old]", "HS512 old", "old;", "kid=x", "old # 1", "old"] {
        let before = format!("{NEEDED}[key]\n{}", key(kid, old));
        let before = Authority::from_settings(&toml(&before).unwrap()).await.unwrap();
        let token = before.issue(Login::new("alice")).await.unwrap();
        let after = format!(
            "{NEEDED}withdrawn_keys = ['{kid}']\n[key]\n{}\n[[retired_keys]]\n{}",
            key("main", SECRET),
            key(kid, old)
        );
        let after = Authority::from_settings(&toml(&after).unwrap()).await.unwrap();
        assert!(after.admit(token.as_str()).await.is_err(), "{kid:?}");
        assert!(after.issue(Login::new("alice")).await.is_ok(), "{kid:?}");
    }
}

#[tokio::test]
async fn a_trusted_issuers_key_is_withdrawn_with_an_own_key_and_without() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap().with_kid("leaked");
    fs::write(&file, format!("{{\"keys\":[{}]}}", key.verifying_key().to_jwk().unwrap())).unwrap();
    let issuer = Authority::builder(key.clone()).issuer("https://sso.example").audience("orders");
    let issuer = issuer.max_session_lifetime(std::time::Duration::from_secs(3600)).build().unwrap();
    let token = issuer.issue(Login::new("alice")).await.unwrap();
    let trusted = format!(
        "[[trusted_issuers]]\nissuer = 'https://sso.example'\n[trusted_issuers.key]\nformat = 'jwk_set'\nfile = '{}'",
        file.display()
    );
    let own = format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n");
    for before in ["audience = 'orders'\n", &own] {
        for (listed, is_admitted) in [("other", true), ("leaked", false), (key.fingerprint(), false)] {
            let settings = Settings::builder().toml(&format!("{before}{trusted}"));
            let settings = settings.variables("T", [("T__WITHDRAWN_KEYS", listed)]).load().unwrap();
            let authority = Authority::from_settings(&settings).await.unwrap();
            assert_eq!(authority.admit(token.as_str()).await.is_ok(), is_admitted, "{before} {listed}");
        }
    }
}

/// A person's mistake: the key, or a URL with a password, where a name belongs.
#[test]
fn a_secret_in_place_of_a_name_is_refused_and_printed_nowhere() {
    let pem = include_str!("../keys/ed25519.pem");
    let hidden = pem.lines().nth(1).unwrap();
    let one_line = pem.replace('\n', "\\n");
    let url = "https://user:hunter2@login.example/jwks";
    let random = "q3j01c5e".repeat(16);
    let base64 = "q3J0c2VjcmV0LXNlY3Jld/1zZWNyZXQtc2VjcmV0LXNlYw==";
    let token = "eyJhbGciOiJIUzI1NiJ9.q3J0c2VjcmV0.q3J0c2VjcmV0LXNlY3JldC1zZWNyZXQt";
    let field = &*format!("Bearer {token}");
    for name in
        ["FILE", "VARIABLE", "DIRECTORY", "GENERATED_IN", "JWKS_URL", "CERTIFICATES_URL", "BEARER_TOKEN_FILE"]
    {
        for text in [pem, &*one_line, url, &random, base64, token, field] {
            let variable = format!("T__KEY__{name}");
            let error = Settings::builder().variables("T", [(&*variable, text)]).load().unwrap_err();
            let expected = match name {
                "VARIABLE" => {
                    "expected the name of an environment variable that is set, and this may be its value"
                }
                _ if text.starts_with("q3") || text.contains(token) => {
                    "expected a path or URL, and this may be a secret: no such file exists (an absolute path is always taken)"
                }
                _ => "expected a path or URL, and this is a key or a URL with a password",
            };
            let setting = name.to_lowercase();
            assert_eq!(
                error.to_string(),
                format!("the setting `key.{setting}` (environment variable {variable}): {expected}")
            );
        }
    }
    let empty = tempfile::tempdir().unwrap();
    for text in [pem, &*one_line, &*random, base64, token, field] {
        let directory = ("T__KEY__DIRECTORY", empty.path().to_str().unwrap());
        let error = Settings::builder().variables("T", [directory, ("T__KEY__SIGNING_FILE", text)]).load();
        assert_eq!(
            error.unwrap_err().to_string(),
            "the setting `key.signing_file` (environment variable T__KEY__SIGNING_FILE): expected the name of a file in the \
             directory, and this may be a secret: no such file exists"
        );
    }
    for name in ["external.key", "OrdersProductionSecret2026"] {
        fs::write(empty.path().join(name), SECRET).unwrap();
        let directory = empty.path().display();
        let text = format!("[key]\nalgorithm = 'HS512'\ndirectory = '{directory}'\nsigning_file = '{name}'");
        assert!(toml(&text).is_ok(), "{name}");
    }
    let store = [("T__STORE__URL__VARIABLE", &*random)];
    let error = Settings::builder().variables("T", store).load().unwrap_err().to_string();
    assert!(error.contains("T__STORE__URL__VARIABLE") && !error.contains(&random), "{error}");
    for name in ["https://login.example/@keys", "C:\\new\\key.pem", "/run/secrets/a@b", "keys/jwt"] {
        assert!(Settings::builder().variables("T", [("T__KEY__FILE", name)]).load().is_ok(), "{name}");
    }
    for name in ["JWKS_URL", "CERTIFICATES_URL"] {
        let url = "https://login.example/keys?apikey=hunter2#hunter2";
        let printed = Settings::builder().variables("T", [(format!("T__KEY__{name}"), url)]).load().unwrap();
        for printed in [printed.to_string(), format!("{printed:?}"), serde_json::to_string(&printed).unwrap()]
        {
            assert!(printed.contains("\"https://login.example/keys?(secret)\""), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
    let airflow = tower_reissue::settings::Airflow::execution_api()
        .variables([("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", pem)]);
    let error = Settings::builder().airflow(airflow).load().unwrap_err().to_string();
    assert!(!error.contains(hidden) && error.contains("JWT_PRIVATE_KEY_PATH"), "{error}");
}

#[tokio::test]
async fn a_withdrawal_counts_also_while_the_key_that_signs_can_not_be_read() {
    let old = "the secret of last year, which is 64 bytes long as well: --------";
    let folder = tempfile::tempdir().unwrap();
    let signing = folder.path().join("signing");
    let directory = folder.path().join("old");
    fs::create_dir(&directory).unwrap();
    fs::write(&signing, SECRET).unwrap();
    fs::write(directory.join("key"), old).unwrap();
    let key = |place: &str| format!("algorithm = 'HS512'\n{place}");
    let before = format!("{NEEDED}[key]\n{}", key(&format!("value = '{old}'")));
    let before = Authority::from_settings(&toml(&before).unwrap()).await.unwrap();
    let token = before.issue(Login::new("alice")).await.unwrap();
    let text = format!(
        "{NEEDED}rotation.reload_every = '50ms'\n[key]\n{}\n[[retired_keys]]\n{}",
        key(&format!("file = '{}'", signing.display())),
        key(&format!("directory = '{}'\nsigning_file = 'key'", directory.display()))
    );
    let after = Authority::from_settings(&toml(&text).unwrap()).await.unwrap();
    assert!(after.admit(token.as_str()).await.is_ok());
    fs::write(&signing, "short").unwrap();
    let fingerprint = SigningKey::from_secret(Algorithm::HS512, old).unwrap().fingerprint().to_owned();
    fs::write(directory.join("withdrawn"), fingerprint).unwrap();
    let begun = std::time::Instant::now();
    while after.admit(token.as_str()).await.is_ok() {
        assert!(begun.elapsed().as_secs() < 20, "it is admitted still");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Four hosts that accept and never answer take 5 s each by default, and a load takes 15 s at most.
#[cfg(feature = "jwks")]
#[tokio::test(start_paused = true)]
async fn retired_keys_at_hosts_that_hang_do_not_keep_a_service_from_starting() {
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = host.local_addr().unwrap();
    let retired: String =
        (0..4).map(|n| format!("[[retired_keys]]\njwks_url = 'http://{at}/{n}'\n")).collect();
    let text = format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n{retired}");
    let started = Authority::from_settings(&toml(&text).unwrap()).await;
    assert!(started.is_ok(), "{:?}", started.err());
}
