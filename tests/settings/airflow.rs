//! Airflow's variables: each, its mistakes, and tokens as Airflow makes and checks them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use tower_reissue::settings::{Airflow, SecretsInDirectory, SecretsInEnvironment, Settings};
use tower_reissue::{Algorithm, Authority, AuthorityBuilder, Login, SigningKey};

use super::SECRET;
use super::python::{python, send};

const RSA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa2048.pem");
const ED25519: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ed25519.pem");

fn load(airflow: Airflow, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let airflow = airflow.variables(variables.iter().copied());
    Settings::builder().airflow(airflow).load().map_err(|error| error.to_string())
}

fn printed(variables: &[(&str, &str)]) -> String {
    load(Airflow::execution_api(), variables).unwrap().to_string()
}

const WITH_SECRET: (&str, &str) = ("AIRFLOW__API_AUTH__JWT_SECRET", SECRET);

#[test]
fn every_variable_is_read_and_its_default_is_airflows() {
    let defaults = printed(&[WITH_SECRET]);
    for line in [
        "key.variable = \"AIRFLOW__API_AUTH__JWT_SECRET\"  # environment variable AIRFLOW__API_AUTH__JWT_SECRET",
        "key.algorithm = \"HS512\"  # Airflow's default",
        "without_issuer = true  # Airflow's default",
        "audience = \"urn:airflow.apache.org:task\"  # Airflow's default",
        "leeway = \"10s\"  # Airflow's default",
        "future_tolerance = \"10s\"  # Airflow's default",
        "lifetime = \"10m\"  # Airflow's default",
    ] {
        assert!(defaults.lines().any(|printed| printed == line), "{line}:\n{defaults}");
    }
    assert!(!defaults.contains("of these tests"));
    for (name, value, setting) in [
        ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "HS256", "key.algorithm = \"HS256\""),
        ("AIRFLOW__API_AUTH__JWT_ISSUER", "https://airflow.example", "issuer = \"https://airflow.example\""),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "20", "leeway = \"20s\""),
        ("AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME", "1200", "lifetime = \"20m\""),
        ("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "a, b,c", "audience = \"a\""),
        ("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "a, b,c", "legacy_audiences = [\"b\",\"c\"]"),
        ("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "/jwks.json", "retired_keys[0].file = \"/jwks.json\""),
        ("AIRFLOW__API_AUTH__JWT_LEEWAY", "0", "leeway = \"0s\""),
        (
            "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL",
            "https://h/jwks",
            "retired_keys[0].jwks_url = \"https://h/jwks\"",
        ),
    ] {
        let printed = printed(&[WITH_SECRET, (name, value)]);
        let line = format!("{setting}  # environment variable {name}");
        assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
    }
    for (path, algorithm) in [(RSA, "RS256"), (ED25519, "EdDSA")] {
        let name = "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH";
        // As in Airflow it comes before the secret.
        let printed = printed(&[WITH_SECRET, (name, path), ("AIRFLOW__API_AUTH__JWT_KID", "k1")]);
        for line in [
            format!("key.file = \"{path}\"  # environment variable {name}"),
            format!("key.algorithm = \"{algorithm}\"  # environment variable {name}"),
            "key.kid = \"k1\"  # environment variable AIRFLOW__API_AUTH__JWT_KID".to_owned(),
        ] {
            assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
        }
        assert!(!printed.contains("key.variable"), "{printed}");
    }
    let public = [
        WITH_SECRET,
        ("AIRFLOW__API_AUTH__JWT_AUDIENCE", "web"),
        ("AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME", "7200"),
    ];
    let cli = [WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_CLI_EXPIRATION_TIME", "1800")];
    let one = [WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_AUDIENCE", "web,")];
    let two = [WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_AUDIENCE", "web,phone")];
    for (api, variables, lines) in [
        (Airflow::public_api(), &[WITH_SECRET][..], ["audience = \"apache-airflow\"", "lifetime = \"1day\""]),
        (Airflow::cli(), &[WITH_SECRET], ["audience = \"apache-airflow\"", "lifetime = \"1h\""]),
        (Airflow::public_api(), &public, ["audience = \"web\"", "lifetime = \"2h\""]),
        // Airflow's own tokens name the whole text, and it accepts no others, so successors must name it too.
        (Airflow::public_api(), &two, ["audience = \"web,phone\"", "legacy_audiences = [\"web\",\"phone\"]"]),
        (Airflow::cli(), &two, ["audience = \"web,phone\"", "legacy_audiences = [\"web\",\"phone\"]"]),
        (Airflow::public_api(), &one, ["audience = \"web,\"", "legacy_audiences = [\"web\"]"]),
        (Airflow::cli(), &cli, ["audience = \"apache-airflow\"", "lifetime = \"30m\""]),
    ] {
        let printed = load(api, variables).unwrap().to_string();
        for line in lines {
            assert!(
                printed.lines().any(|printed| printed.starts_with(&format!("{line}  # "))),
                "{line}:\n{printed}"
            );
        }
    }
}

#[test]
fn values_are_expanded_as_python_does_and_a_secret_that_would_change_is_refused() {
    let path = "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL";
    let set = [
        ("AIRFLOW_HOME", "/opt/airflow"),
        ("HOME", "/home/airflow/"),
        ("NESTED", "${AIRFLOW_HOME}/nested"),
        ("EMPTY", ""),
        ("LOOP", "$LOOP"),
    ];
    // Each row as CPython's `expandvars` and `expanduser` give it.
    for (value, expected) in [
        ("/plain", "/plain"),
        ("$AIRFLOW_HOME/jwks.json", "/opt/airflow/jwks.json"),
        ("${AIRFLOW_HOME}s/jwks.json", "/opt/airflows/jwks.json"),
        ("$AIRFLOW_HOMES/$/${/$AIRFLOW_HOME", "$AIRFLOW_HOMES/$/${//opt/airflow"),
        ("$NONE/$AIRFLOW_HOME$EMPTY/x", "$NONE//opt/airflow/x"),
        ("~/jwks.json", "/home/airflow/jwks.json"),
        ("/~/jwks.json", "/~/jwks.json"),
        ("~airflow-of-no-system/x", "~airflow-of-no-system/x"),
        ("$NESTED/x", "/opt/airflow/nested/x"),
        ("$LOOP/x", "$LOOP/x"),
    ] {
        let variables: Vec<_> = set.into_iter().chain([WITH_SECRET, (path, value)]).collect();
        let line = format!("retired_keys[0].file = {expected:?}  # environment variable {path}");
        let printed = printed(&variables);
        assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
    }
    for (secret, is_taken) in [
        (format!("$AIRFLOW_HOME{SECRET}"), true),
        (format!("$AIRFLOW_HOME/{SECRET}"), false),
        (format!("{SECRET}${{AIRFLOW_HOME}}"), false),
        (format!("~/{SECRET}"), false),
        (format!("~{SECRET}"), true),
        (format!("$NONE {SECRET}$"), true),
    ] {
        let variables: Vec<_> =
            set.into_iter().chain([("AIRFLOW__API_AUTH__JWT_SECRET", &*secret)]).collect();
        match load(Airflow::execution_api(), &variables) {
            Ok(_) => assert!(is_taken, "{secret}"),
            Err(error) => {
                assert!(
                    !is_taken && error.starts_with("environment variable AIRFLOW__API_AUTH__JWT_SECRET: "),
                    "{error}"
                );
                assert!(!error.contains("of these tests"), "{error}");
            }
        }
    }
    // The command is not expanded, and an empty secret is none.
    let printed = printed(&[
        ("AIRFLOW__API_AUTH__JWT_SECRET", ""),
        ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "cat /$X"),
        ("X", "/y"),
    ]);
    assert!(printed.contains("key.command") && !printed.contains("/y"), "{printed}");
}

#[tokio::test]
async fn a_secret_comes_by_value_command_and_backend_in_airflows_order() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("jwt"), format!("{SECRET}\n")).unwrap();
    let other = "another secret for these tests, 64 bytes of text as well: -------";
    let value = WITH_SECRET;
    let command = format!("cat {}/jwt", directory.path().display());
    let command = ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", &*command);
    let name = ("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "jwt");
    let expected = SigningKey::from_secret(Algorithm::HS512, SECRET).unwrap();
    for variables in [
        &[value][..],
        &[command],
        &[name],
        &[
            value,
            ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "false"),
            ("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "none"),
        ],
        &[command, ("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "none")],
        &[("AIRFLOW__API_AUTH__JWT_SECRET", ""), name],
    ] {
        let airflow = Airflow::execution_api().secrets_backend(SecretsInDirectory::new(directory.path()));
        let settings = load(airflow, variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
        let authority = Authority::from_settings(&settings).await.unwrap();
        let token = authority.issue(Login::new("t")).await.unwrap();
        let ring = tower_reissue::KeyRing::new(expected.clone());
        let admits = |ring| Authority::builder(ring).without_issuer().audience("urn:airflow.apache.org:task");
        let limit = std::time::Duration::from_secs(3600);
        let same = admits(ring).max_session_lifetime(limit).build().unwrap();
        assert!(same.admit(token.as_str()).await.is_ok(), "{variables:?}");
        let ring = tower_reissue::KeyRing::new(SigningKey::from_secret(Algorithm::HS512, other).unwrap());
        let different = admits(ring).max_session_lifetime(limit).build().unwrap();
        assert!(different.admit(token.as_str()).await.is_err());
    }
    // The variable of this name is Cargo's, in every test.
    let from_environment = Airflow::execution_api().secrets_backend(SecretsInEnvironment::new("CARGO_PKG_"));
    let settings = load(from_environment, &[("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "NAME")]).unwrap();
    let error = Authority::from_settings(&settings).await.err().unwrap().to_string();
    assert!(error.contains("has 13 bytes"), "tower-reissue: {error}");
}

#[test]
fn each_mistake_names_its_variable() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("key.pem");
    fs::write(&garbage, "no key").unwrap();
    let garbage = garbage.to_str().unwrap();
    for (variables, expected) in [
        (
            vec![],
            "AIRFLOW__API_AUTH__JWT_SECRET is missing: the secret that every component shares, from `openssl rand -hex 64`; \
             or AIRFLOW__API_AUTH__JWT_SECRET_CMD, AIRFLOW__API_AUTH__JWT_SECRET_SECRET, \
             AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH or AIRFLOW__API_AUTH__TRUSTED_JWKS_URL",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_LEEWAY", "10s")],
            "environment variable AIRFLOW__API_AUTH__JWT_LEEWAY: expected a whole number of seconds",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "RS256")],
            "environment variable AIRFLOW__API_AUTH__JWT_ALGORITHM: a secret takes HS256, HS384, HS512 or GUESS; another \
             algorithm takes AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", " ,")],
            "environment variable AIRFLOW__EXECUTION_API__JWT_AUDIENCE: expected at least one audience",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", "jwt")],
            "environment variable AIRFLOW__API_AUTH__JWT_SECRET_SECRET: there is no secrets backend: give one with \
             `secrets_backend`",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "echo 'x")],
            "the keys of this variable are refused later",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "/no/such/key.pem")],
            "environment variable AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH: /no/such/key.pem can't be read: No such file or \
             directory (os error 2)",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", garbage)],
            "environment variable AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH: {garbage} holds no private key of a supported algorithm: \
             key refused: not a PEM file with a key: ...",
        ),
        (
            vec![("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "/jwks.json")],
            "environment variable AIRFLOW__API_AUTH__TRUSTED_JWKS_URL: AIRFLOW__API_AUTH__JWT_ISSUER is missing, the issuer \
             whose keys these are; or a secret or private key of this service",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_KEY", "x")],
            "environment variable AIRFLOW__API_AUTH__JWT_KEY: `[api_auth]` has no such option; it has JWT_SECRET, \
             JWT_SECRET_CMD, JWT_SECRET_SECRET, JWT_PRIVATE_KEY_PATH, JWT_ALGORITHM, JWT_KID, JWT_AUDIENCE, JWT_ISSUER, \
             JWT_LEEWAY, JWT_EXPIRATION_TIME, JWT_CLI_EXPIRATION_TIME, TRUSTED_JWKS_URL",
        ),
    ] {
        let loaded = load(Airflow::execution_api(), &variables);
        if expected.ends_with("later") {
            assert!(loaded.is_ok());
            continue;
        }
        super::mistakes::assert_says(&loaded.unwrap_err(), &expected.replace("{garbage}", garbage));
    }
    let secret = "q3j01c5e".repeat(40);
    let too_long = std::fs::read(directory.path().join(&secret)).unwrap_err();
    let too_long = format!("the secrets backend failed: a file in the directory can't be read: {too_long}");
    let directory = || SecretsInDirectory::new(directory.path());
    for (name, expected) in [
        (&*secret, &*too_long),
        ("none", "the secrets backend has no secret of this name, or an empty one"),
        ("../none", "the secrets backend failed: expected the name of a file in the directory"),
    ] {
        let airflow = Airflow::execution_api().secrets_backend(directory());
        let error = load(airflow, &[("AIRFLOW__API_AUTH__JWT_SECRET_SECRET", name)]).unwrap_err();
        assert_eq!(error, format!("environment variable AIRFLOW__API_AUTH__JWT_SECRET_SECRET: {expected}"));
    }
}

/// Without a name of the algorithm, the error is that of the key's own algorithm.
#[test]
fn a_private_key_that_can_not_be_used_says_why() {
    let der: Vec<u8> = include_str!("../keys/p256.pem")
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<String>()
        .into();
    let mut der = STANDARD.decode(der).unwrap();
    // The last bytes are its public half.
    *der.last_mut().unwrap() ^= 1;
    let mismatched =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (pem, expected) in [
        (
            &*mismatched,
            "its document holds a public key that does not belong to the private key; export the pair again",
        ),
        (
            include_str!("../keys/p256.public.pem"),
            "this is the public half, and signing needs the private one; load it as a `VerifyingKey`",
        ),
        (
            include_str!("../keys/p521.pem"),
            "it is an EC key on another curve than P-256 or P-384 (or on unnamed parameters); generate one on these",
        ),
        (
            include_str!("../keys/rsa1024.pem"),
            "its RSA modulus has 1024 bits; use a key of 2048 bits or more",
        ),
    ] {
        fs::write(path, pem).unwrap();
        let error =
            load(Airflow::execution_api(), &[("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", path)]).unwrap_err();
        let at = format!(
            "environment variable AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH: {path} holds no private key of a supported algorithm: "
        );
        assert!(error.starts_with(&at) && error.ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn what_can_not_be_built_names_airflows_variable() {
    for (variables, expected) in [
        (
            vec![("AIRFLOW__API_AUTH__JWT_SECRET", "Xq8-1zPw.7tRb4Lm_9Kd")],
            "the setting `key.variable` (environment variable AIRFLOW__API_AUTH__JWT_SECRET): key refused: ...",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "echo 'x")],
            "the setting `key.command` (environment variable AIRFLOW__API_AUTH__JWT_SECRET_CMD): key refused: the command can't \
             be split into arguments: a quote is not closed",
        ),
        (
            vec![("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "false")],
            "the keys don't load: keys unavailable: the setting `key.command` (environment variable \
             AIRFLOW__API_AUTH__JWT_SECRET_CMD): command \"false\" failed: exit status: 1; what it said is on this process's standard error",
        ),
        (
            vec![(
                "AIRFLOW__API_AUTH__JWT_SECRET_CMD",
                "echo Xq8-1zPw.7tRb4Lm_9KdXq8-1zPw.7tRb4Lm_9Kd | base64 -d",
            )],
            "the setting `key.command` (environment variable AIRFLOW__API_AUTH__JWT_SECRET_CMD): key refused: the command can't \
             be split into arguments: there is no shell, and a word of it is a shell's, ...",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_LEEWAY", "600")],
            "the leeway is 600 s...(`leeway` is from environment variable AIRFLOW__API_AUTH__JWT_LEEWAY)",
        ),
        (
            vec![WITH_SECRET, ("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "http://keys.example/jwks")],
            "the setting `retired_keys[0].jwks_url` (environment variable AIRFLOW__API_AUTH__TRUSTED_JWKS_URL): ...",
        ),
    ] {
        let settings = load(Airflow::execution_api(), &variables).unwrap();
        let error = Authority::from_settings(&settings).await.err().unwrap().to_string();
        super::mistakes::assert_says(&error, expected);
        assert!(!error.contains("Xq8-1zPw"), "{error}");
    }
}

/// As the documentation says of the scopes `workload` and `callback`.
#[tokio::test]
async fn a_predicate_of_the_code_goes_in_between_and_the_error_still_names_the_variable() {
    let built = async |leeway| {
        let settings =
            load(Airflow::execution_api(), &[WITH_SECRET, ("AIRFLOW__API_AUTH__JWT_LEEWAY", leeway)])
                .unwrap();
        let builder = AuthorityBuilder::from_settings(&settings).await.unwrap();
        settings.build(builder.renew_if(|token| token.claims().get::<String>("scope").is_ok()))
    };
    assert!(built("10").await.is_ok());
    let error = built("600").await.err().unwrap().to_string();
    assert!(
        error.ends_with("(`leeway` is from environment variable AIRFLOW__API_AUTH__JWT_LEEWAY)"),
        "{error}"
    );
}

/// A successor carries the first audience, and the trusted JWK set of another component is the same issuer's.
#[tokio::test]
#[ignore = "needs python3 with PyJWT"]
async fn airflows_tokens_are_admitted_and_airflow_admits_their_successors() {
    let directory = tempfile::tempdir().unwrap();
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let short = "Kd9_mL4bRt7.wPz1-8qXKd9_mL4bRt7w";
    let (path, kid) =
        ("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", ("AIRFLOW__API_AUTH__JWT_KID", "custom-kid"));
    let issuer = ("AIRFLOW__API_AUTH__JWT_ISSUER", "https://airflow.example");
    let jwk = |algorithm: &str, key: &str| -> Value {
        let jwk = python(&json!({ "do": "airflow_jwk", "algorithm": algorithm, "key": key }));
        serde_json::from_str(&jwk).unwrap()
    };
    let (rsa, ed) = (read(RSA), read(ED25519));
    let (rsa_jwk, ed_jwk) = (jwk("RS256", &rsa), jwk("EdDSA", &ed));
    let (rsa_kid, ed_kid) = (rsa_jwk["kid"].as_str().unwrap(), ed_jwk["kid"].as_str().unwrap());
    for (algorithm, key, minted_kid, variables) in [
        ("HS512", SECRET, None, vec![WITH_SECRET]),
        ("HS512", SECRET, Some("not-used"), vec![WITH_SECRET, issuer]),
        ("HS512", short, Some("not-used"), vec![("AIRFLOW__API_AUTH__JWT_SECRET", short)]),
        (
            "HS256",
            short,
            None,
            vec![("AIRFLOW__API_AUTH__JWT_SECRET", short), ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "HS256")],
        ),
        ("RS256", &rsa, Some(rsa_kid), vec![(path, RSA)]),
        ("RS256", &rsa, Some("custom-kid"), vec![(path, RSA), kid, issuer]),
        ("EdDSA", &ed, Some(ed_kid), vec![(path, ED25519), issuer]),
        ("EdDSA", &ed, Some("custom-kid"), vec![(path, ED25519), kid]),
    ] {
        let mut variables = variables.clone();
        variables.push(("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "urn:first,urn:second"));
        let issuer = variables.iter().find(|(name, _)| *name == issuer.0).map(|(_, value)| *value);
        let settings = load(Airflow::execution_api(), &variables).unwrap();
        for (audience, age, status) in [
            ("urn:first", 10, 200),
            ("urn:second", 550, 200),
            ("urn:second", 605, 200),
            ("urn:other", 10, 401),
        ] {
            let mint = json!({ "do": "airflow_mint", "algorithm": algorithm, "key": key, "kid": minted_kid, "issuer": issuer,
                "audience": audience, "age": age, "lifetime": 600 });
            let (answer, successor) = send(&settings, &python(&mint)).await;
            assert_eq!(answer, StatusCode::from_u16(status).unwrap(), "{algorithm} {audience} {age}");
            let Some(successor) = successor else {
                assert_eq!(age, 10);
                continue;
            };
            let check = json!({ "do": "airflow_check", "algorithm": algorithm, "key": key, "issuer": issuer,
                "audiences": ["urn:first", "urn:second"], "token": successor });
            let checked: Value = serde_json::from_str(&python(&check)).unwrap();
            let claims = &checked["claims"];
            assert_eq!(
                (&claims["aud"], &claims["sub"], &claims["scope"]),
                (&json!("urn:first"), &json!("task-1"), &json!("execution"))
            );
            assert_eq!(claims["iss"].as_str(), issuer);
            if !algorithm.starts_with("HS") {
                assert_eq!(checked["kid"].as_str(), minted_kid, "{algorithm}");
            }
            assert_eq!(send(&settings, &successor).await.0, StatusCode::OK);
        }
    }
    // The set of other components, beside an own key, and alone. Airflow's own set holds the key that signs, too.
    let set = directory.path().join("jwks.json");
    fs::write(&set, json!({ "keys": [rsa_jwk, ed_jwk] }).to_string()).unwrap();
    let set = ("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", set.to_str().unwrap());
    for (algorithm, key, kid) in [("RS256", &rsa, rsa_kid), ("EdDSA", &ed, ed_kid)] {
        let mint = json!({ "do": "airflow_mint", "algorithm": algorithm, "key": key, "kid": kid, "issuer": issuer.1,
            "audience": "urn:airflow.apache.org:task", "age": 550, "lifetime": 600 });
        let token = python(&mint);
        for (own, renews) in [(Some(RSA), true), (Some(ED25519), true), (None, false)] {
            let own = own.map(|file| (path, file));
            let variables: Vec<_> = [issuer, set].into_iter().chain(own).collect();
            let settings = load(Airflow::execution_api(), &variables).unwrap();
            let (status, successor) = send(&settings, &token).await;
            assert_eq!((status, successor.is_some()), (StatusCode::OK, renews), "{algorithm} beside {own:?}");
        }
    }
}
