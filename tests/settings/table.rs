//! Every setting of the manual's table, by TOML and by variable.

use std::collections::BTreeSet;

use tower_reissue::Authority;
use tower_reissue::settings::Settings;

/// A value for each setting, as in a variable.
const VALUES: &[(&str, &str)] = &[
    ("issuer", "https://login.example"),
    ("without_issuer", "true"),
    ("audience", "orders"),
    ("also_accept_audiences", "a,b"),
    ("legacy_audiences", "old"),
    ("without_audience", "true"),
    ("max_session_lifetime", "12h"),
    ("max_token_lifetime", "1h"),
    ("lifetime", "20m"),
    ("leeway", "10s"),
    ("grace", "2m"),
    ("future_tolerance", "7s"),
    ("accept_without_iat", "1h"),
    ("in_flight_allowance", "5m"),
    ("jitter_percent", "20"),
    ("access_types", "at+jwt"),
    ("access_claim", "type=access"),
    ("required_claims", "tenant"),
    ("session_start_claim", "begun"),
    ("session_starts_at_auth_time", "true"),
    ("max_token_bytes", "4096"),
    ("max_added_head_bytes", "2048"),
    ("max_sessions_per_subject", "5"),
    ("token_cache_bytes", "0"),
    ("renewer_deadline", "2s"),
    ("admit_in_grace", "true"),
    ("end_session_on_reuse", "true"),
    ("admit_after_store_loss", "true"),
    ("refresh_tokens.audience", "https://login.example/refresh"),
    ("refresh_tokens.lifetime", "1day"),
    ("refresh_tokens.reuse_window", "5s"),
    ("refresh_tokens.sliding_access_tokens", "true"),
    ("refresh_tokens.cookie.name", "refresh"),
    ("dangerous.unbounded_sessions", "true"),
    ("dangerous.ignore_cnf", "true"),
    ("withdrawn_keys", "k1"),
    ("key.value", "(secret)"),
    ("key.variable", "JWT"),
    ("key.file", "/run/secrets/jwt"),
    ("key.private_file", "/run/secrets/jwt"),
    ("key.command", "vault read jwt"),
    ("key.directory", "/etc/keys"),
    ("key.generated_in", "/var/lib/keys"),
    ("key.jwks_url", "https://login.example/jwks"),
    ("key.certificates_url", "https://login.example/x509"),
    ("key.signing_file", "current.pem"),
    ("key.algorithm", "ES256"),
    ("key.format", "pem"),
    ("key.kid", "k1"),
    ("key.airflow_kid", "true"),
    ("key.also_known_as", "not-used"),
    ("key.fully_specified_alg", "true"),
    ("key.dangerous_short_hmac", "true"),
    ("key.timeout", "3s"),
    ("key.max_bytes", "65536"),
    ("key.bearer_token", "(secret)"),
    ("key.bearer_token_file", "/run/secrets/token"),
    ("key.proxy", "(secret)"),
    ("key.without_proxy", "true"),
    ("key.root_certificate_file", "/etc/ca.pem"),
    ("rotation.activation_delay", "3m"),
    ("rotation.reload_every", "30s"),
    ("rotation.overlap", "2h"),
    ("rotation.stale_for", "2h"),
    ("rotation.cooldown", "1m"),
    ("rotation.require_trusted_issuers", "true"),
    ("trusted_issuers[].issuer", "https://sso.example/{tid}"),
    ("trusted_issuers[].tenants", "t1,t2"),
    ("trusted_issuers[].every_tenant", "true"),
    ("trusted_issuers[].audiences", "orders"),
    ("trusted_issuers[].without_audience", "true"),
    ("trusted_issuers[].access_types", "at+jwt"),
    ("trusted_issuers[].access_claim", "token_use=access"),
    ("trusted_issuers[].without_access_claim", "true"),
    ("trusted_issuers[].required_claims", "tid"),
    ("trusted_issuers[].leeway", "30s"),
    ("trusted_issuers[].future_tolerance", "30s"),
    ("trusted_issuers[].max_session_lifetime", "1h"),
    ("trusted_issuers[].accept_without_iat", "1h"),
    ("trusted_issuers[].session_starts_at_auth_time", "true"),
    ("trusted_issuers[].key.file", "/etc/sso.jwks"),
    ("store.url", "(secret)"),
    ("store.password", "(secret)"),
    ("store.prefix", "orders"),
    ("store.deadline", "2s"),
    ("store.wait", "3s"),
    ("store.max_connections", "7"),
    ("store.cluster", "true"),
    ("store.root_certificate_file", "/etc/ca.pem"),
    ("store.client_certificate_file", "/etc/client.pem"),
    ("store.client_key_file", "/etc/client.key"),
    ("store.wait_for_replicas", "1"),
    ("store.wait_for_replicas_timeout", "100ms"),
    ("store.cache_for_at_most", "1s"),
    ("store.cache_during_outage", "30s"),
    ("store.cache_max_sessions", "1000"),
    ("request.authorization", "false"),
    ("request.cookie.name", "session"),
    ("request.cookie.without_host_prefix", "true"),
    ("request.cookie.insecure_for_development", "true"),
    ("request.cookie.domain", "example.com"),
    ("request.cookie.path", "/orders"),
    ("request.cookie.same_site", "strict"),
    ("request.cookie.partitioned", "true"),
    ("request.cookie.without_http_only", "true"),
    ("request.websocket_query", "token"),
    ("request.deliver_in", "x-token"),
    ("request.optional", "true"),
    ("request.pass_preflight", "true"),
    ("request.allowed_origins", "https://app.example"),
];

fn rows() -> Vec<(&'static str, &'static str)> {
    include_str!("../../src/manual/settings.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .collect()
}

#[test]
fn the_manual_has_every_setting_and_no_other() {
    let documented: BTreeSet<&str> =
        rows().into_iter().map(|(name, _)| name).filter(|name| !is_foreign(name)).collect();
    let tried: BTreeSet<&str> = VALUES
        .iter()
        .map(|(path, _)| match *path {
            // The settings of another table.
            "trusted_issuers[].key.file" => "trusted_issuers[].key",
            "refresh_tokens.cookie.name" => "refresh_tokens.cookie",
            path => path,
        })
        .collect();
    assert_eq!(documented, tried);
    // The library's own list, which an unknown name brings forth.
    for table in [
        "",
        "refresh_tokens",
        "dangerous",
        "key",
        "rotation",
        "trusted_issuers[]",
        "store",
        "request",
        "request.cookie",
        "refresh_tokens.cookie",
    ] {
        let path = if table.is_empty() { "x".to_owned() } else { format!("{table}.x") };
        let variable = format!("T__{}", path.replace("[]", "__0").replace('.', "__").to_uppercase());
        let error = Settings::builder().variables("T", [(&*variable, "1")]).load().unwrap_err().to_string();
        let (_, expected) =
            error.split_once("expected one of ").or_else(|| error.split_once("expected ")).unwrap();
        for name in expected.split(['`', ',', ' ']).filter(|name| !name.is_empty() && *name != "or") {
            let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
            let path = path.replace("refresh_tokens.cookie.", "request.cookie.");
            let is_known = documented.iter().any(|row| {
                *row == path || row.starts_with(&format!("{path}.")) || row.starts_with(&format!("{path}["))
            });
            assert!(is_known || path == "retired_keys", "{path} is not in the manual");
        }
    }
}

#[test]
fn every_setting_is_read_from_a_variable_and_from_toml_and_printed_with_its_origin() {
    for (path, value) in VALUES {
        let path = path.replace("[]", "[0]");
        let variable =
            format!("ORDERS__{}", path.replace('[', "__").replace(']', "").replace('.', "__").to_uppercase());
        let settings = Settings::builder().variables("ORDERS", [(&*variable, *value)]).load();
        let printed = settings.unwrap_or_else(|error| panic!("{path}: {error}")).to_string();
        let origin = format!("  # environment variable {variable}");
        let line = printed
            .lines()
            .find(|line| line.ends_with(&origin))
            .unwrap_or_else(|| panic!("{path}: {printed}"));
        // Of a secret in a variable the settings have the variable's name.
        let is_secret = *value == "(secret)" || path == "key.command";
        let table = path.strip_suffix(".value").unwrap_or(&path);
        assert!(line.starts_with(if is_secret { table } else { &path }), "{line}");
        let shown: String =
            if is_secret { String::new() } else { value.chars().filter(|c| *c != ' ').collect() };
        let plain: String = line.chars().filter(|c| !matches!(c, ' ' | '"' | '[' | ']')).collect();
        assert!(plain.contains(&shown), "{line}");

        let is_text = !matches!(
            serde_json::from_str(value),
            Ok(serde_json::Value::Number(_) | serde_json::Value::Bool(_))
        );
        let quoted = if is_text { format!("'{value}'") } else { (*value).to_owned() };
        let mut text = String::new();
        match path.rsplit_once('.') {
            Some((table, name)) => {
                let header = match table.split_once("[0]") {
                    Some((list, "")) => format!("[[{list}]]"),
                    Some((list, rest)) => format!("[[{list}]]\n[{list}{rest}]"),
                    None => format!("[{table}]"),
                };
                text.push_str(&format!("{header}\n{name} = {quoted}"));
            }
            None => text.push_str(&format!("{path} = {quoted}")),
        }
        let printed = super::toml(&text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string();
        let line = printed
            .lines()
            .find(|line| line.starts_with(&*path))
            .unwrap_or_else(|| panic!("{path}: {printed}"));
        assert!(line.ends_with("  # TOML text"), "{line}");
    }
}

#[test]
fn the_defaults_that_are_printed_are_the_manuals() {
    let all = "[store]\nurl = 'memory:'\n[refresh_tokens]\naudience = 'r'";
    let printed = super::toml(all).unwrap().to_string();
    let mut seen = 0;
    for line in printed.lines().filter_map(|line| line.strip_suffix("  # default")) {
        let (path, value) = line.split_once(" = ").unwrap();
        let (_, row) = rows().into_iter().find(|(name, _)| *name == path).unwrap();
        let first = value.split(',').next().unwrap().trim_matches('"');
        assert!(row.replace('`', "").starts_with(first), "{path}: printed {value}, in the manual {row}");
        seen += 1;
    }
    assert!(seen > 15, "{printed}");
    assert!(!super::toml("").unwrap().to_string().contains("store."), "there is no store");
}

#[test]
fn a_later_layer_wins_and_any_serde_format_is_one() {
    let settings = Settings::builder()
        .toml("lifetime = '10m'\nleeway = '1s'\n[key]\nvalue = 'x'\nalgorithm = 'HS256'")
        .values("orders.json", &serde_json::json!({ "leeway": "2s", "trusted_issuers": [{ "issuer": "i" }] }))
        .variables(
            "ORDERS",
            [("ORDERS__LEEWAY", "3s"), ("ORDERS__KEY__FILE", "/k"), ("OTHER__X", "1"), ("ORDERS__GRACE", "")],
        )
        .load()
        .unwrap();
    let printed = settings.to_string();
    for line in [
        "lifetime = \"10m\"  # TOML text",
        "leeway = \"3s\"  # environment variable ORDERS__LEEWAY",
        "key.file = \"/k\"  # environment variable ORDERS__KEY__FILE",
        "key.algorithm = \"HS256\"  # TOML text",
        "trusted_issuers[0].issuer = \"i\"  # orders.json",
        "grace = \"1m\", or less if a shorter lifetime allows only that  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    assert!(!printed.contains("key.value"), "the file took its place: {printed}");
}

/// An entry made of two layers' values could trust one layer's issuer with another's keys.
#[tokio::test]
async fn a_layer_that_sets_one_entry_of_a_list_replaces_the_list() {
    const FILE: &str = "
[[trusted_issuers]]
issuer = 'https://{tid}.example'
every_tenant = true
key.jwks_url = 'https://a.example/jwks'
[[trusted_issuers]]
issuer = 'https://b.example'
[[retired_keys]]
file = '/old'
";
    let with = |later: serde_json::Value| {
        let settings = Settings::builder().toml(FILE).values("later", &later).load().unwrap();
        let lines: Vec<_> = settings.to_string().lines().map(str::to_owned).collect();
        let of = |list: &str| {
            let its = lines.iter().filter(|line| line.starts_with(list));
            its.map(|line| line.split("  #").next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        (of("trusted_issuers"), of("retired_keys"))
    };
    let retired = "retired_keys[0].file = \"/old\"".to_owned();
    // More than once: what is left to a map's order goes well now and then.
    for _ in 0..20 {
        let none = (String::new(), String::new());
        assert_eq!(with(serde_json::json!({ "trusted_issuers": [], "retired_keys": [] })), none);
        let issuer = "trusted_issuers[0].issuer = \"https://c.example\"".to_owned();
        let named = serde_json::json!({ "trusted_issuers": [{ "issuer": "https://c.example" }] });
        assert_eq!(with(named), (issuer, retired.clone()));
    }
    // By variables too, which then name all that an entry needs.
    let variable = |at| [(format!("T__TRUSTED_ISSUERS__{at}__KEY__JWKS_URL"), "https://c.example/jwks")];
    let without_retired = FILE.split("[[retired_keys]]").next().unwrap();
    let with = |at| Settings::builder().toml(without_retired).variables("T", variable(at)).load();
    let refused = with(1).unwrap_err().to_string();
    assert!(refused.contains("numbered from 0, without a gap"), "{refused}");
    let error = Authority::from_settings(&with(0).unwrap()).await.err().unwrap().to_string();
    assert!(error.contains("`trusted_issuers[0].issuer` is missing"), "{error}");
}

#[derive(serde::Deserialize)]
struct Application {
    auth: Settings,
}

#[test]
fn settings_are_a_field_of_an_applications_own_configuration() {
    let application: Application = serde_json::from_str(
        r#"{"auth":{"lifetime":"10m","access_types":["JWT"],"store":{"url":"redis://:pw@h"}}}"#,
    )
    .unwrap();
    let printed = application.auth.to_string();
    assert!(
        printed.contains("lifetime = \"10m\"  # the application's configuration\n")
            && printed.contains("access_types = [\"JWT\"]"),
        "{printed}"
    );
    assert!(!printed.contains("pw"), "{printed}");
    // A format that has only texts, such as another library's variables.
    let texts = r#"{"auth":{"jitter_percent":"9","without_issuer":"true","issuer":null}}"#;
    let printed = serde_json::from_str::<Application>(texts).unwrap().auth.to_string();
    assert!(
        printed.contains("jitter_percent = 9 ") && printed.contains("without_issuer = true "),
        "{printed}"
    );
    assert!(serde_json::from_str::<Application>(r#"{"auth":{"jitter_percent":"9.6"}}"#).is_err());
    let unknown = serde_json::from_str::<Application>(r#"{"auth":{"lifetme":"10m"}}"#);
    assert!(unknown.err().unwrap().to_string().contains("`lifetme`"));
    for wrong in
        [r#"{"auth":{"key":"hunter2"}}"#, r#"{"auth":"hunter2"}"#, r#"{"auth":{"lifetime":{"x":"hunter2"}}}"#]
    {
        let error = serde_json::from_str::<Application>(wrong).err().unwrap().to_string();
        assert!(error.contains("expected "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn no_duration_is_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, super::SECRET).unwrap();
    let database = format!("sqlite:{}", folder.path().join("store.db").display());
    let command = format!("cat {}", file.display());
    for (path, value) in VALUES {
        let is_duration =
            value.starts_with(|c: char| c.is_ascii_digit()) && !value.ends_with(|c: char| c.is_ascii_digit());
        if !is_duration {
            continue;
        }
        // In one layer, for the list of a later one replaces the list before it.
        let variable = format!("T__{}", path.replace("[]", "__0").replace('.', "__").to_uppercase());
        for extreme in ["0s", "1ns", "500000000000years", "9999999999999years"] {
            let settings = Settings::builder()
                .toml(super::NEEDED)
                .variables(
                    "T",
                    [
                        ("T__KEY__ALGORITHM", "HS512"),
                        ("T__KEY__COMMAND", &*command),
                        ("T__REFRESH_TOKENS__AUDIENCE", "https://login.example/refresh"),
                        ("T__TRUSTED_ISSUERS__0__ISSUER", "https://x.example"),
                        ("T__TRUSTED_ISSUERS__0__KEY__JWKS_URL", "http://127.0.0.1:1/"),
                        // Only SQL waits, only Redis has replicas: nobody listens here.
                        (
                            "T__STORE__URL",
                            if path.contains("replicas") { "redis://127.0.0.1:1" } else { &database },
                        ),
                        ("T__STORE__WAIT_FOR_REPLICAS", if path.contains("replicas") { "1" } else { "" }),
                        (&*variable, extreme),
                    ],
                )
                .load();
            let built = match settings {
                Ok(settings) => Authority::from_settings(&settings).await.map(|_| ()),
                Err(error) => Err(error),
            };
            // The error is about this duration, and not about what stands beside it: the duration was read.
            if let Err(error) = built.map_err(|error| error.to_string()) {
                let words = match *path {
                    "key.timeout" => "took longer than",
                    "store.wait" | "store.wait_for_replicas_timeout" => "the store can't be opened",
                    _ => &variable,
                };
                assert!(
                    error.contains(words) || error.contains(&variable),
                    "{variable} = {extreme}: {error}"
                );
            }
        }
    }
}

/// Both tables, against the names that the sources have.
#[test]
fn the_manual_has_every_variable_of_airflow_and_langflow() {
    let documented: BTreeSet<&str> =
        rows().into_iter().map(|(name, _)| name).filter(|name| is_foreign(name)).collect();
    let sources = concat!(
        include_str!("../../src/settings/airflow.rs"),
        include_str!("../../src/settings/langflow.rs")
    );
    let read: BTreeSet<&str> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"))
        .filter(|name| is_foreign(name))
        .collect();
    assert_eq!(documented, read);
    assert_eq!(read.len(), 29);
}

fn is_foreign(name: &str) -> bool {
    name.starts_with("AIRFLOW__") || name.starts_with("LANGFLOW_")
}

/// Options that take code, and those that a setting has by another name.
const NOT_SETTINGS: &[&str] = &[
    "private_claims",
    "clock",
    "store",
    "renew_if",
    "renew_with",
    "on_event",
    "confirm_with",
    "dangerous",
    "trust",
    "start",
    // The store's horizon is raised once, by an operator.
    "with_horizon",
    "horizon",
    "allow_eviction",
    "postgres_pool",
    "hearing_revocations",
    "without_extension",
    "refuse_with",
    "plain_http",
    "discover_plain_http",
];

/// The setting of an option whose name is another.
fn setting_of(option: &str) -> &str {
    match option {
        "also_accept_audience" => "also_accept_audiences",
        "legacy_audience" => "legacy_audiences",
        "access_type" => "access_types",
        "require_claim" => "required_claims",
        "session_starts_at_iat" => "session_starts_at_auth_time",
        "store_deadline" => "deadline",
        "assume_algorithm" => "algorithm",
        "root_certificate" => "root_certificate_file",
        "client_certificate" => "client_certificate_file",
        "with_prefix" | "table_prefix" => "prefix",
        "for_at_most" => "cache_for_at_most",
        "during_outage" => "cache_during_outage",
        "with_max_sessions" => "cache_max_sessions",
        "allow_origin" => "allowed_origins",
        "read_from" => "authorization",
        "sqlite" | "postgres" => "url",
        "short_hmac" => "dangerous_short_hmac",
        "with_kid" => "kid",
        "with_airflow_kid" => "airflow_kid",
        "with_fully_specified_alg" => "fully_specified_alg",
        other => other,
    }
}

/// A new option of a builder is a setting, or is listed above.
#[test]
fn every_option_that_takes_no_code_is_a_setting() {
    let known: BTreeSet<&str> =
        VALUES.iter().flat_map(|(path, _)| path.split('.')).chain(NOT_SETTINGS.iter().copied()).collect();
    let mut options = 0;
    for source in [
        include_str!("../../src/authority/builder/mod.rs"),
        include_str!("../../src/authority/builder/refresh_tokens.rs"),
        include_str!("../../src/keyring/trusted_issuer.rs"),
        include_str!("../../src/rotation/mod.rs"),
        include_str!("../../src/rotation/source/format.rs"),
        include_str!("../../src/rotation/source/jwks_url.rs"),
        include_str!("../../src/store/redis/connect.rs"),
        include_str!("../../src/store/sql/builder.rs"),
        include_str!("../../src/store/cached.rs"),
        include_str!("../../src/server/layer.rs"),
        include_str!("../../src/request/cookie.rs"),
    ] {
        for declaration in source.split("\n    pub fn ").skip(1) {
            let (name, rest) = declaration.split_once(['(', '<']).unwrap();
            let takes_self =
                rest.split_once(')').unwrap().0.trim_start().trim_start_matches("mut ").starts_with("self");
            if takes_self {
                options += 1;
                assert!(known.contains(setting_of(name)), "`{name}` is no setting");
            }
        }
    }
    assert!(options > 60, "{options}");
}
