//! What a person gets wrong, and the whole text of the error.

use std::fs;

use tower_reissue::settings::Settings;
use tower_reissue::{Authority, ReissueLayer};

use super::{NEEDED, SECRET, toml};

#[test]
fn an_unreadable_setting_is_named_with_its_source_and_no_value() {
    let mistake = |name: &str, value: &str| {
        Settings::builder().variables("ORDERS", [(name, value)]).load().unwrap_err().to_string()
    };
    let duration = "expected a duration with its unit, as in \"90s\", \"10m\" or \"1h 30m\"";
    for (name, value, expected) in [
        ("ORDERS__LIFETIME", "600", format!("the setting `lifetime` (environment variable ORDERS__LIFETIME): {duration}")),
        ("ORDERS__LIFETIME", "soon", format!("the setting `lifetime` (environment variable ORDERS__LIFETIME): {duration}")),
        (
            "ORDERS__KEY__ALGORITHM",
            "none",
            "the setting `key.algorithm` (environment variable ORDERS__KEY__ALGORITHM): key refused: this is not the name of a \
             supported algorithm; they are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, \
             Ed25519"
                .to_owned(),
        ),
        (
            "ORDERS__ROTATION__RELOAD",
            "1s",
            "the setting `rotation.reload` (environment variable ORDERS__ROTATION__RELOAD): unknown field `reload`, expected one \
             of `activation_delay`, `reload_every`, `overlap`, `stale_for`, `cooldown`, `require_trusted_issuers`"
                .to_owned(),
        ),
        (
            "ORDERS__ACCESS_CLAIM",
            "access",
            "the setting `access_claim` (environment variable ORDERS__ACCESS_CLAIM): expected a claim and its value, as in \
             \"type=access\""
                .to_owned(),
        ),
        (
            "ORDERS__JITTER_PERCENT",
            "many",
            "the setting `jitter_percent` (environment variable ORDERS__JITTER_PERCENT): expected a whole number from 0 to 255".to_owned(),
        ),
        ("ORDERS__", "x", "environment variable ORDERS__: this is not the name of a setting".to_owned()),
        (
            "ORDERS__TRUSTED_ISSUERS__4000000000__ISSUER",
            "x",
            "environment variable ORDERS__TRUSTED_ISSUERS__4000000000__ISSUER: this is not the name of a setting".to_owned(),
        ),
        (
            "ORDERS__TRUSTED_ISSUERS__1__ISSUER",
            "x",
            "the settings don't fit together: the entries of a list are numbered from 0, without a gap".to_owned(),
        ),
    ] {
        assert_eq!(mistake(name, value), expected);
    }
    // A secret where a table belongs, or in a wrong place.
    let table = "expected a table";
    let tables = "expected a list of tables";
    for (name, expected) in [
        ("ORDERS__KEY", table),
        ("ORDERS__STORE", table),
        ("ORDERS__REQUEST__COOKIE", table),
        ("ORDERS__KEY__KEY", "unknown field `key`, "),
        ("ORDERS__RETIRED_KEYS", tables),
        ("ORDERS__RETIRED_KEYS__0", table),
        ("ORDERS__TRUSTED_ISSUERS", tables),
        ("ORDERS__JITTER_PERCENT", "expected a whole number"),
        ("ORDERS__WITHOUT_ISSUER", "expected `true` or `false`"),
        ("ORDERS__LEEWAY", duration),
        ("ORDERS__KEY__ALGORITHM", "key refused: this is not the name of a supported algorithm"),
        ("ORDERS__ACCESS_CLAIM", "expected a claim and its value, as in \"type=access\""),
    ] {
        // Texts that a library's messages could be taken apart at.
        for secret in [
            SECRET.to_owned(),
            format!("{SECRET} for key `x`"),
            format!("`{SECRET}`, expected {SECRET} for key `{SECRET}`"),
            format!("invalid type: {SECRET}\", expected \"{SECRET}"),
        ] {
            let error = mistake(name, &secret);
            let (setting, said) = error.split_once(&format!(" (environment variable {name}): ")).unwrap();
            assert!(setting.starts_with("the setting `") && said.starts_with(expected), "{error}");
            assert!(!error.contains("of these tests"), "{error}");
        }
    }
    // Numbers and lists in the wrong place.
    for (text, expected) in [
        ("jitter_percent = 300", "expected a whole number from 0 to 255"),
        ("jitter_percent = -1", "expected a whole number from 0 to 255"),
        ("max_token_bytes = -1", "expected a whole number that is not negative"),
        ("key = 1", table),
        ("retired_keys = 1", tables),
        ("retired_keys = [1]", table),
        ("audience = [1]", "expected a text"),
        ("withdrawn_keys = 1", "expected a list of texts, or one text with commas between them"),
        ("lifetime = 600", duration),
        ("store.url = 1", "expected a secret, or one of `value`, `variable`, `file` and `command`"),
        (
            "[key]\nfile = 'x'\nmax_bytes = 99999999999999999999999",
            "the TOML text, line 3: this is not TOML: ",
        ),
    ] {
        let error = toml(text).unwrap_err().to_string();
        let said = error.split_once(" (TOML text): ").map_or(&*error, |(_, said)| said);
        assert!(
            said == expected || expected.ends_with("TOML: ") && said.starts_with(expected),
            "{text}: {error}"
        );
    }
}

/// The library that merges the layers would take the nearest number.
#[test]
fn a_number_or_boolean_of_another_kind_is_refused_and_never_converted() {
    let whole = "expected a whole number from 0 to 255";
    let natural = "expected a whole number that is not negative";
    let boolean = "expected `true` or `false`";
    for (name, value, expected) in [
        ("jitter_percent", "9.6", whole),
        ("jitter_percent", "9.0", whole),
        ("jitter_percent", "true", whole),
        ("jitter_percent", "'9'", whole),
        ("token_cache_bytes", "1e30", natural),
        ("max_token_bytes", "true", natural),
        ("max_token_bytes", "'yes'", natural),
        ("max_sessions_per_subject", "0.4", natural),
        ("max_sessions_per_subject", "''", natural),
        ("without_audience", "0.1", boolean),
        ("without_audience", "1", boolean),
        ("without_audience", "'true'", boolean),
        ("without_audience", "'on'", boolean),
        ("issuer", "5", "expected a text"),
        ("issuer", "true", "expected a text"),
        ("audience", "1.10", "expected a text"),
    ] {
        let error = toml(&format!("{name} = {value}")).unwrap_err().to_string();
        assert_eq!(error, format!("the setting `{name}` (TOML text): {expected}"), "{value}");
    }
    for value in ["inf", "nan", "-inf"] {
        let error = toml(&format!("store.max_connections = {value}")).unwrap_err().to_string();
        let expected =
            "the setting `store.max_connections` (the TOML text): `inf` and `nan` are no value of a setting";
        assert_eq!(error, expected);
    }
    let of_variable = |name: &str, value: &str| {
        let variable = format!("T__{}", name.to_uppercase());
        Settings::builder().variables("T", [(&*variable, value)]).load()
    };
    for (name, value, expected) in [
        ("jitter_percent", "9.6", whole),
        ("jitter_percent", "300", whole),
        ("jitter_percent", "+9", whole),
        ("jitter_percent", "09", whole),
        ("jitter_percent", "1e1", whole),
        ("jitter_percent", "true", whole),
        ("max_token_bytes", "yes", natural),
        ("max_token_bytes", "null", natural),
        ("without_audience", "1", boolean),
        ("without_audience", "yes", boolean),
        ("without_audience", "True", boolean),
    ] {
        let error = of_variable(name, value).unwrap_err().to_string();
        assert!(error.ends_with(&format!("): {expected}")), "{name} {value}: {error}");
    }
    for (name, value, printed) in [
        ("jitter_percent", "9", "9"),
        ("max_token_bytes", "8192", "8192"),
        ("without_audience", "true", "true"),
        // What spells a number is a text where a text belongs.
        ("issuer", "5", "\"5\""),
        ("audience", "true", "\"true\""),
    ] {
        let settings = of_variable(name, value).unwrap().to_string();
        assert!(settings.contains(&format!("{name} = {printed}  # environment")), "{settings}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line_and_never_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.toml");
    let load = || Settings::builder().toml_file(&path).load().unwrap_err().to_string();
    assert_eq!(load(), format!("{} can't be read: No such file or directory (os error 2)", path.display()));
    fs::write(&path, format!("issuer = 'x'\n[key]\nvalue = {SECRET}\n")).unwrap();
    let error = load();
    assert!(error.starts_with(&format!("{}, line 3: this is not TOML: ", path.display())), "{error}");
    assert!(!error.contains("of these tests"), "{error}");
    fs::write(&path, "[key]\nvalue = 'hidden value'\nkind = 'x'\n").unwrap();
    let error = load();
    assert!(
        error.starts_with(&format!("the setting `key.kind` (file {}): unknown field `kind`", path.display())),
        "{error}"
    );
}

#[tokio::test]
async fn what_can_not_be_built_names_the_setting_and_its_source() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    let key = format!("[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'");
    fs::write(directory.path().join("short"), "Xq8-1zPw.7tRb4Lm_9Kd").unwrap();
    for (text, expected) in [
        (
            NEEDED.to_owned(),
            "the setting `key` is missing, as in `key.algorithm` and `key.file`; a service that only verifies has \
             `trusted_issuers` in its place"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nkid = 'x'"),
            "the setting `key` (TOML text): expected one of `value`, `variable`, `file`, `command`, `private_file`, \
             `directory` and `generated_in`"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nfile = '/k'"),
            "the setting `key` (TOML text): the setting `key.algorithm` is missing, as in \"HS256\", \"RS256\", \"ES256\" or \
             \"EdDSA\""
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\nfile = '{place}/none'"),
            format!(
                "the keys don't load: keys unavailable: the setting `key.file` (TOML text): {place}/none can't be read: No such \
                 file or directory (os error 2)"
            ),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\nfile = '{place}/short'"),
            format!("the keys don't load: key refused: the setting `key.file` (TOML text): {place}/short: key refused: the secret for HS512 has 20 bytes and needs 64..."),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = 'Xq8-1zPw.7tRb4Lm_9Kd'"),
            "the setting `key.value` (TOML text): key refused: the secret for HS512 has 20 bytes and needs 64...".to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\ncommand = 'false'"),
            "the keys don't load: keys unavailable: the setting `key.command` (TOML text): command \"false\" failed: exit \
             status: 1; what it said is on this process's standard error"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\ndirectory = '{place}'"),
            "the setting `key.directory` (TOML text): the setting `key.signing_file` is missing, the name of the file that signs"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvariable = 'NO_SUCH_VARIABLE'"),
            "the setting `key.variable` (TOML text): keys unavailable: the variable NO_SUCH_VARIABLE is not set, or is empty"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nalgorithm = 'RS256'\nvalue = '''{}'''", include_str!("../keys/rsa2048.public.pem")),
            "the keys don't load: key refused: the setting `key.value` (TOML text) has no key that signs: expected a private key or a \
             secret. A public key that verifies goes into `retired_keys`, another issuer's into `trusted_issuers`"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[key]\nformat = 'txt'\nvalue = 'x'"),
            "the setting `key.format` (TOML text): expected `secret`, `base64`, `base64url`, `pem`, `der`, `jwk` or `jwk_set`"
                .to_owned(),
        ),
        (
            format!("{NEEDED}lifetime = '1s'\n{key}"),
            "the lifetime is 1 s... (`lifetime` is from TOML text)".to_owned(),
        ),
        (key.clone(), "the setting `issuer` is missing: ...".to_owned()),
        (format!("issuer = 'x'\n{key}"), "the setting `audience` is missing: ...".to_owned()),
        (format!("issuer = 'x'\naudience = 'y'\n{key}"), "the setting `max_session_lifetime` is missing: ...".to_owned()),
        (
            format!("{NEEDED}{key}\n[store]\nurl = 'mysql://user:hunter2@h'"),
            "the setting `store.url` (TOML text): expected `memory:`, `redis://…`, `rediss://…`, `postgres://…` or `sqlite:…`"
                .to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\nurl = 'redis://:hunter2@127.0.0.1:1'\nroot_certificate_file = '/no/ca.pem'"),
            "the setting `store.url` (TOML text): the setting `store.root_certificate_file` (TOML text): keys unavailable: \
             /no/ca.pem can't be read: No such file or directory (os error 2)"
                .to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\nurl = 'redis://:hunter2@127.0.0.1:1'"),
            "the setting `store.url` (TOML text): the store can't be opened: ...".to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\ncluster = true\nurl = 'redis://:hunter2@127.0.0.1:1,redis://:hunter2@127.0.0.1:2'"),
            "the setting `store.url` (TOML text): the store can't be opened: ...".to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\nurl = 'postgres://u:hunter2@127.0.0.1:1/d'\nwait = '1s'"),
            "the setting `store.url` (TOML text): the store can't be opened: ...".to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\nprefix = 'x'"),
            "the setting `store` (TOML text): the setting `store.url` is missing: expected `memory:`, `redis://…`, `postgres://…` \
             or `sqlite:…`"
                .to_owned(),
        ),
        (
            format!("{NEEDED}{key}\n[store]\nurl = {{ file = '{place}/none' }}"),
            format!(
                "the setting `store.url.file` (TOML text): keys unavailable: {place}/none can't be read: No such file or \
                 directory (os error 2)"
            ),
        ),
        (
            format!(
                "{NEEDED}{key}\n[store]\nurl = 'memory:'\n[refresh_tokens]\naudience = 'r'\nsliding_access_tokens = true"
            ),
            "`sliding_access_tokens` without `renew_with`: ...(`refresh_tokens.sliding_access_tokens` is from TOML text)"
                .to_owned(),
        ),
        (
            format!("{NEEDED}[[retired_keys]]\nalgorithm = 'HS512'\nvalue = '{SECRET}'"),
            "the setting `retired_keys[0]` (TOML text): there is no `key` that signs in their place".to_owned(),
        ),
        (
            format!("{NEEDED}rotation.reload_every = '0s'\n{key}"),
            "the setting `rotation.reload_every` (TOML text): key refused: `reload_every` is 0: it must be longer, and 10 s is the default"
                .to_owned(),
        ),
        (
            format!(
                "{NEEDED}leeway = '1s'\n{key}\n[[trusted_issuers]]\nissuer = 'https://a.example'\nleeway = '1s'\n\
                 [[trusted_issuers]]\nissuer = 'https://b.example'\nleeway = '61s'"
            ),
            "the setting `trusted_issuers[1].leeway` (TOML text): key refused: the trusted issuer \"https://b.example\": its \
             `leeway` is 61 s: at most 60 s"
                .to_owned(),
        ),
        (
            "audience = 'y'\n[[trusted_issuers]]\nissuer = 'https://a.example/{tid}'\nkey.jwks_url = 'https://a.example/jwks'".to_owned(),
            "the setting `trusted_issuers[0]` (TOML text): key refused: the trusted issuer \"https://a.example/{tid}\": it is a template: ..."
                .to_owned(),
        ),
        (
            "audience = 'y'\n[[trusted_issuers]]\nleeway = '1s'".to_owned(),
            "the setting `trusted_issuers[0]` (TOML text): the setting `trusted_issuers[0].issuer` is missing".to_owned(),
        ),
    ] {
        let settings = toml(&text).unwrap();
        let error = Authority::from_settings(&settings).await.err().unwrap().to_string();
        assert_says(&error, &expected);
        assert!(!error.contains("hunter2") && !error.contains("Xq8-1zPw"), "{error}");
    }
}

#[test]
fn two_places_of_a_key_or_a_secret_are_an_error_that_names_both() {
    let both = "[key]\nvalue = 'hidden'\nfile = '/k'";
    assert_eq!(
        toml(both).unwrap_err().to_string(),
        "the setting `key.value` (TOML text) and the setting `key.file` (TOML text) are both given: leave one out"
    );
    let both = Settings::builder()
        .variables("ORDERS", [("ORDERS__STORE__URL", "hidden"), ("ORDERS__STORE__URL__FILE", "/url")])
        .load();
    assert_eq!(
        both.unwrap_err().to_string(),
        "the setting `store.url.variable` (environment variable ORDERS__STORE__URL) and the setting `store.url.file` \
         (environment variable ORDERS__STORE__URL__FILE) are both given: leave one out"
    );
}

#[tokio::test]
async fn a_setting_without_effect_is_an_error() {
    for (key, name) in [
        ("file = '/k'\nsigning_file = 'x'", "signing_file"),
        ("file = '/k'\ntimeout = '1s'", "timeout"),
        ("generated_in = '/k'\nkid = 'x'", "kid"),
        ("generated_in = '/k'\nformat = 'pem'", "format"),
        ("jwks_url = 'https://h'\nkid = 'x'", "kid"),
        ("value = 'x'\nbearer_token = 'x'", "bearer_token"),
        ("command = 'x'\nproxy = 'x'", "proxy"),
        ("file = '/k'\nairflow_kid = true", "airflow_kid"),
        ("file = '/k'\nfully_specified_alg = true", "fully_specified_alg"),
        ("file = '/k'\nformat = 'jwk_set'\nkid = 'x'", "kid"),
        ("file = '/k'\nformat = 'jwk_set'\nalso_known_as = ['x']", "also_known_as"),
    ] {
        let error = toml(&format!("[key]\nalgorithm = 'HS512'\n{key}")).unwrap_err().to_string();
        let expected = format!(
            "the setting `key.{name}` (TOML text) has no effect beside what else is set there: leave it out"
        );
        assert_eq!(error, expected);
    }
    // Keys that are found by discovery.
    for (key, name) in [
        ("kid = 'x'", "kid"),
        ("format = 'pem'", "format"),
        ("also_known_as = ['x']", "also_known_as"),
        ("airflow_kid = true", "airflow_kid"),
        ("fully_specified_alg = true", "fully_specified_alg"),
        ("dangerous_short_hmac = true", "dangerous_short_hmac"),
        ("signing_file = 'x'", "signing_file"),
    ] {
        let text =
            format!("[[trusted_issuers]]\nissuer = 'https://sso.example'\n[trusted_issuers.key]\n{key}");
        let expected = format!(
            "the setting `trusted_issuers[0].key.{name}` (TOML text) has no effect beside what else is set there: leave it out"
        );
        assert_eq!(toml(&text).unwrap_err().to_string(), expected);
        let fetched =
            text.replace(key, "algorithm = 'ES256'\ntimeout = '1s'\nmax_bytes = 9999\nwithout_proxy = true");
        assert!(toml(&fetched).is_ok());
    }
    for (store, name) in [
        ("url = 'memory:'\nprefix = 'x'", "prefix"),
        ("url = 'redis://h'\nwait = '1s'", "wait"),
        ("url = 'redis://h'\npassword = 'x'", "password"),
        ("url = 'redis://h'\nwait_for_replicas_timeout = '1s'", "wait_for_replicas_timeout"),
        ("url = 'sqlite:x'\nwait_for_replicas = 1", "wait_for_replicas"),
        ("url = 'sqlite:x'\npassword = 'x'", "password"),
    ] {
        let text = format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n[store]\n{store}");
        let error = Authority::from_settings(&toml(&text).unwrap()).await.err().unwrap().to_string();
        let expected = format!(
            "the setting `store.{name}` (TOML text) has no effect beside what else is set there: leave it out"
        );
        assert_eq!(error, expected);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_generated_key_that_others_can_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("keys");
    let text = format!("{NEEDED}[key]\nalgorithm = 'HS512'\ngenerated_in = '{}'", place.display());
    let settings = toml(&text).unwrap();
    drop(Authority::from_settings(&settings).await.unwrap());
    let file = place.join("secret_key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Authority::from_settings(&settings).await.err().unwrap().to_string();
    assert!(error.contains("the setting `key.generated_in` (TOML text)"), "{error}");
    assert!(error.contains("644") && error.contains("600"), "{error}");
}

#[tokio::test]
async fn what_a_layer_can_not_do_names_the_setting() {
    for (request, expected) in [
        (
            "authorization = false",
            "the setting `request.authorization` (TOML text): no token would be read: name a cookie or a query parameter, or leave \
             this out",
        ),
        ("deliver_in = 'a b'", "the setting `request.deliver_in` (TOML text): this is not a header's name"),
        (
            "deliver_in = 'cache-control'",
            "the setting `request.deliver_in` (TOML text): a successor can't be delivered in `cache-control`...",
        ),
        (
            "cookie.name = 's'\ncookie.same_site = 'some'",
            "the setting `request.cookie.same_site` (TOML text): expected `strict`, `lax` or `none`",
        ),
        (
            "cookie.name = 'Http-s'\ncookie.without_http_only = true",
            "the setting `request.cookie.without_http_only` (TOML text): browsers drop the cookie \"__Host-Http-s\" without \
             `HttpOnly`: use a name that begins with neither `Http-` nor `__Http-`",
        ),
        (
            "cookie.path = '/'",
            "the setting `request.cookie` (TOML text): the setting `request.cookie.name` is missing",
        ),
    ] {
        let text = format!("{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n[request]\n{request}");
        let settings = toml(&text).unwrap();
        let authority = Authority::from_settings(&settings).await.unwrap();
        let error = ReissueLayer::from_settings(authority, &settings).err().unwrap();
        assert_says(&error.to_string(), expected);
    }
    let text = format!(
        "{NEEDED}[key]\nalgorithm = 'HS512'\nvalue = '{SECRET}'\n[request]\noptional = true\npass_preflight = true\n\
         websocket_query = 't'\nallowed_origins = ['https://app.example']\ndeliver_in = 'x-next'\n[request.cookie]\nname = 's'"
    );
    let settings = toml(&text).unwrap();
    let authority = Authority::from_settings(&settings).await.unwrap();
    assert!(ReissueLayer::from_settings(authority, &settings).is_ok());
    assert_eq!(settings.cookie().unwrap().unwrap().name(), "__Host-s");
}

/// `...` stands for what another module says.
pub fn assert_says(error: &str, expected: &str) {
    match expected.split_once("...") {
        Some((start, end)) => {
            assert!(error.starts_with(start) && error.ends_with(end), "{error}\n{expected}")
        }
        None => assert_eq!(error, expected),
    }
}
