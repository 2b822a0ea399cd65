//! Langflow's variables: each, its mistakes, and tokens as Langflow makes and checks them.

use std::fs;

use http::StatusCode;
use serde_json::{Value, json};
use tower_reissue::settings::{Langflow, Settings};
use tower_reissue::{Authority, Login};

use super::SECRET;
use super::python::{python, send};

const RSA: &str = include_str!("../keys/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("../keys/rsa2048.public.pem");
const OTHER_PUBLIC: &str = include_str!("../keys/rsa1024.public.pem");

fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let langflow = Langflow::new().variables(variables.iter().copied());
    Settings::builder().langflow(langflow).load().map_err(|error| error.to_string())
}

#[test]
fn every_variable_is_read_and_its_default_is_langflows() {
    let printed = load(&[("LANGFLOW_SECRET_KEY", SECRET)]).unwrap().to_string();
    for line in [
        "key.variable = \"LANGFLOW_SECRET_KEY\"  # environment variable LANGFLOW_SECRET_KEY",
        "key.algorithm = \"HS256\"  # Langflow's default",
        "lifetime = \"1h\"  # Langflow's default",
        "accept_without_iat = \"1h\"  # Langflow's default",
        "max_session_lifetime = \"7days\"  # Langflow's default",
        "access_claim = \"type=access\"  # Langflow's default",
        "request.cookie.name = \"access_token_lf\"  # Langflow's default",
        "request.cookie.same_site = \"lax\"  # Langflow's default",
        "request.cookie.insecure_for_development = true  # Langflow's default",
        "request.cookie.without_http_only = false  # Langflow's default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
    }
    for (variables, lines) in [
        (
            vec![("LANGFLOW_CONFIG_DIR", "/c"), ("LANGFLOW_ALGORITHM", "RS512")],
            [
                "key.generated_in = \"/c\"  # environment variable LANGFLOW_CONFIG_DIR",
                "key.algorithm = \"RS512\"  # environment variable LANGFLOW_ALGORITHM",
            ],
        ),
        (
            vec![("HOME", "/h"), ("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", "1800")],
            [
                "key.generated_in = \"/h/.cache/langflow\"  # Langflow's default",
                "lifetime = \"30m\"  # environment variable LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS",
            ],
        ),
        (
            vec![
                ("HOME", "/h"),
                ("XDG_CACHE_HOME", "/x"),
                ("LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS", "86400"),
            ],
            [
                "key.generated_in = \"/x/langflow\"  # Langflow's default",
                "max_session_lifetime = \"1day\"  # environment variable LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS",
            ],
        ),
        (
            vec![
                ("LANGFLOW_PRIVATE_KEY", RSA),
                ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC),
                ("LANGFLOW_ALGORITHM", "RS256"),
            ],
            [
                "key.variable = \"LANGFLOW_PRIVATE_KEY\"  # environment variable LANGFLOW_PRIVATE_KEY",
                "key.algorithm = \"RS256\"  # environment variable LANGFLOW_ALGORITHM",
            ],
        ),
    ] {
        let printed = load(&variables).unwrap().to_string();
        for line in lines {
            assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
        }
        assert!(!printed.contains("PRIVATE KEY"), "{printed}");
    }
    assert!(!printed.contains("allowed_origins") && !printed.contains("refresh_token_lf"), "{printed}");
    let printed = load(&[
        ("LANGFLOW_SECRET_KEY", SECRET),
        ("LANGFLOW_ACCESS_SECURE", "TRUE"),
        ("LANGFLOW_COOKIE_DOMAIN", "flows.example"),
        ("LANGFLOW_CORS_ORIGINS", "https://a.example, https://b.example"),
    ])
    .unwrap()
    .to_string();
    for line in [
        "request.cookie.insecure_for_development = false  # environment variable LANGFLOW_ACCESS_SECURE",
        "request.cookie.domain = \"flows.example\"  # environment variable LANGFLOW_COOKIE_DOMAIN",
        "request.allowed_origins = [\"https://a.example\",\"https://b.example\"]  # environment variable LANGFLOW_CORS_ORIGINS",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
    }
    for (value, allowed) in [
        ("*", None),
        (" [\"*\"]", None),
        ("https://a.example", Some("[\"https://a.example\"]")),
        (
            "[\"https://a.example\", \"https://b.example\"]",
            Some("[\"https://a.example\",\"https://b.example\"]"),
        ),
    ] {
        let printed =
            load(&[("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_CORS_ORIGINS", value)]).unwrap().to_string();
        let line = printed.lines().find_map(|line| line.strip_prefix("request.allowed_origins = "));
        let shown = line.map(|line| line.split_once("  #").unwrap().0);
        assert_eq!(shown, allowed, "{value}");
    }
    let pairs =
        Langflow::new().variables([("LANGFLOW_SECRET_KEY", SECRET)]).refresh_tokens("/api/v1/refresh");
    let printed = Settings::builder().langflow(pairs).load().unwrap().to_string();
    for line in [
        "refresh_tokens.audience = \"/api/v1/refresh\"",
        "refresh_tokens.lifetime = \"7days\"",
        "max_session_lifetime = \"30days\"",
        "refresh_tokens.cookie.name = \"refresh_token_lf\"",
        "refresh_tokens.cookie.same_site = \"lax\"",
        "refresh_tokens.cookie.insecure_for_development = true",
        "refresh_tokens.cookie.without_http_only = false",
    ] {
        assert!(printed.lines().any(|printed| printed.starts_with(line)), "{line}:\n{printed}");
    }
}

#[test]
fn each_mistake_names_its_variable() {
    for (variables, expected) in [
        (
            vec![("LANGFLOW_ALGORITHM", "ES256")],
            "environment variable LANGFLOW_ALGORITHM: expected HS256, RS256 or RS512",
        ),
        (vec![], "LANGFLOW_CONFIG_DIR is missing: the directory in which a generated key is kept"),
        (
            vec![("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS", "1h")],
            "environment variable LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS: expected a whole number of seconds",
        ),
        (
            vec![("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_PRIVATE_KEY", RSA)],
            "environment variable LANGFLOW_PRIVATE_KEY: LANGFLOW_ALGORITHM must be RS256 or RS512 for it, and is HS256 (Langflow's \
             default): leave one out",
        ),
        (
            vec![("LANGFLOW_ALGORITHM", "HS256"), ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC)],
            "environment variable LANGFLOW_PUBLIC_KEY: LANGFLOW_ALGORITHM must be RS256 or RS512 for it, and is HS256 \
             (environment variable LANGFLOW_ALGORITHM): leave one out",
        ),
        (
            vec![("LANGFLOW_SECRET_KEY", SECRET), ("LANGFLOW_ACCESS_HTTPONLY", "sometimes")],
            "environment variable LANGFLOW_ACCESS_HTTPONLY: expected `true` or `false`",
        ),
        (
            vec![("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC)],
            "environment variable LANGFLOW_PUBLIC_KEY: LANGFLOW_PRIVATE_KEY is missing, the private key that this is the public \
             half of",
        ),
        (
            vec![
                ("LANGFLOW_ALGORITHM", "RS256"),
                ("LANGFLOW_PRIVATE_KEY", RSA),
                ("LANGFLOW_PUBLIC_KEY", OTHER_PUBLIC),
            ],
            "environment variable LANGFLOW_PUBLIC_KEY: key ...",
        ),
        (
            vec![
                ("LANGFLOW_ALGORITHM", "RS256"),
                ("LANGFLOW_PRIVATE_KEY", "x"),
                ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC),
            ],
            "environment variable LANGFLOW_PRIVATE_KEY: key refused: ...",
        ),
    ] {
        super::mistakes::assert_says(&load(&variables).unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_secret_of_20_bytes_and_a_public_key_in_its_place_name_the_variable() {
    for (variables, name) in [
        (vec![("LANGFLOW_SECRET_KEY", "Xq8-1zPw.7tRb4Lm_9Kd")], "LANGFLOW_SECRET_KEY"),
        (vec![("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_PRIVATE_KEY", RSA_PUBLIC)], "LANGFLOW_PRIVATE_KEY"),
    ] {
        let settings = load(&variables).unwrap();
        let error = Authority::from_settings(&settings).await.err().unwrap().to_string();
        assert!(error.contains(&format!("(environment variable {name})")), "{error}");
        assert!(!error.contains("Xq8-1zPw"), "{error}");
    }
}

/// Generated at the first start, reused at every later one, under Langflow's own file names.
#[tokio::test]
async fn a_generated_key_is_kept_and_a_mounted_one_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, files) in [
        ("HS256", &["secret_key"][..]),
        ("RS256", &["private_key.pem", "public_key.pem"]),
        ("RS512", &["private_key.pem", "public_key.pem"]),
    ] {
        let place = directory.path().join(algorithm);
        let variables = [("LANGFLOW_ALGORITHM", algorithm), ("LANGFLOW_CONFIG_DIR", place.to_str().unwrap())];
        let first = Authority::from_settings(&load(&variables).unwrap()).await.unwrap();
        let token = first.issue(Login::new("alice")).await.unwrap();
        for file in files {
            assert!(place.join(file).is_file(), "{algorithm} {file}");
        }
        let second = Authority::from_settings(&load(&variables).unwrap()).await.unwrap();
        assert!(second.admit(token.as_str()).await.is_ok(), "{algorithm}");
    }
    // A pair of which the halves are not each other's.
    let other = fs::read_to_string(directory.path().join("RS256/public_key.pem")).unwrap();
    let pair =
        [("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_PRIVATE_KEY", RSA), ("LANGFLOW_PUBLIC_KEY", &*other)];
    assert_eq!(
        load(&pair).unwrap_err(),
        "environment variable LANGFLOW_PUBLIC_KEY: it is not the public half of LANGFLOW_PRIVATE_KEY; leave it out, and it is \
         derived"
    );
    // A pair that Compose mounts, which everybody can read.
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    fs::write(mounted.join("private_key.pem"), RSA).unwrap();
    let variables = [("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_CONFIG_DIR", mounted.to_str().unwrap())];
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        fs::set_permissions(mounted.join("private_key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = Authority::from_settings(&load(&variables).unwrap()).await.err().unwrap().to_string();
        assert!(error.contains("LANGFLOW_CONFIG_DIR") && error.contains("644"), "{error}");
    }
    let langflow = Langflow::new().variables(variables).mounted_keys();
    let settings = Settings::builder().langflow(langflow).load().unwrap();
    assert!(Authority::from_settings(&settings).await.is_ok());
    #[cfg(unix)]
    {
        // As Kubernetes mounts it.
        let linked = directory.path().join("linked");
        fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(mounted.join("private_key.pem"), linked.join("private_key.pem")).unwrap();
        let variables = [("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_CONFIG_DIR", linked.to_str().unwrap())];
        assert!(Authority::from_settings(&load(&variables).unwrap()).await.is_ok());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_a_key_is_followed_only_if_nobody_else_can_replace_it() {
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
    use std::path::Path;

    const OTHER: Option<u32> = Some(54_321);
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // As the kubelet mounts a Secret: `secret_key` leads to `..data/secret_key`, and `..data` to the directory of the files.
    type Change<'a> = &'a dyn Fn(&Path, &Path);
    let rows: [(&str, bool, bool, Change<'_>); 13] = [
        ("as mounted", true, false, &|_, _| {}),
        ("a directory that is not sticky, but private", true, false, &|volume, _| chmod(volume, 0o755)),
        ("readable by its owner alone", true, false, &|_, file| chmod(file, 0o400)),
        ("others may replace the links", false, false, &|volume, _| chmod(volume, 0o777)),
        ("others may replace the file", false, false, &|_, file| chmod(file.parent().unwrap(), 0o777)),
        ("others may write to the file", false, false, &|_, file| chmod(file, 0o666)),
        ("another user's link", false, true, &|volume, _| {
            lchown(volume.join("secret_key"), OTHER, None).unwrap()
        }),
        ("another user's link on the way", false, true, &|volume, _| {
            lchown(volume.join("..data"), OTHER, None).unwrap()
        }),
        ("others may replace the volume", false, false, &|volume, _| chmod(volume.parent().unwrap(), 0o777)),
        ("others may create files beside the volume", true, false, &|volume, _| {
            chmod(volume.parent().unwrap(), 0o1777)
        }),
        ("another user's directory of the volume", false, true, &|volume, _| {
            chown(volume.parent().unwrap(), OTHER, None).unwrap()
        }),
        ("no key but a directory", false, false, &|_, file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("another user's file", false, true, &|_, file| chown(file, OTHER, None).unwrap()),
    ];
    for (why, is_taken, needs_root, change) in rows {
        if needs_root && !rustix::process::geteuid().is_root() {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        let file = volume.join("..2026_11_28/secret_key");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, SECRET).unwrap();
        chmod(&file, 0o644);
        chmod(&volume, 0o1777);
        symlink("..2026_11_28", volume.join("..data")).unwrap();
        symlink("..data/secret_key", volume.join("secret_key")).unwrap();
        let variables = [("LANGFLOW_CONFIG_DIR", volume.to_str().unwrap())];
        let before = load(&variables).unwrap();
        let written = serde_json::to_value(&before).unwrap();
        change(&volume, &file);
        for before in [before, serde_json::from_value(written).unwrap()] {
            let started = Authority::from_settings(&before).await;
            assert_eq!(started.is_ok(), is_taken, "{why}, since the settings were read: {:?}", started.err());
        }
        let loaded = load(&variables);
        assert_eq!(loaded.is_ok(), is_taken, "{why}: {loaded:?}");
        match loaded {
            Ok(settings) => assert!(Authority::from_settings(&settings).await.is_ok(), "{why}"),
            Err(error) => {
                assert!(
                    error.starts_with("environment variable LANGFLOW_CONFIG_DIR: ")
                        && (error.contains("belongs to") || error.contains("is not a regular file")),
                    "{error}"
                );
            }
        }
        let mounted = Langflow::new().variables(variables).mounted_keys();
        assert!(Settings::builder().langflow(mounted).load().is_ok(), "{why}");
    }
}

#[tokio::test]
#[ignore = "needs python3 with PyJWT"]
async fn langflows_tokens_are_admitted_and_langflow_admits_their_successors() {
    let escaped = RSA.replace('\n', "\\n");
    for (algorithm, key, variables) in [
        ("HS256", SECRET, vec![("LANGFLOW_SECRET_KEY", SECRET)]),
        ("RS256", RSA, vec![("LANGFLOW_ALGORITHM", "RS256"), ("LANGFLOW_PRIVATE_KEY", RSA)]),
        (
            "RS512",
            RSA,
            vec![
                ("LANGFLOW_ALGORITHM", "RS512"),
                ("LANGFLOW_PRIVATE_KEY", &*escaped),
                ("LANGFLOW_PUBLIC_KEY", RSA_PUBLIC),
            ],
        ),
    ] {
        let settings = load(&variables).unwrap();
        let mint = |kind: &str, left: i64| {
            python(
                &json!({ "do": "langflow_mint", "algorithm": algorithm, "key": key, "type": kind, "left": left }),
            )
        };
        assert_eq!(send(&settings, &mint("access", 3000)).await, (StatusCode::OK, None), "{algorithm}");
        assert_eq!(
            send(&settings, &mint("refresh", 3000)).await,
            (StatusCode::UNAUTHORIZED, None),
            "{algorithm}"
        );
        for (left, status) in [(300, StatusCode::OK), (-20, StatusCode::UNAUTHORIZED)] {
            let (answer, successor) = send(&settings, &mint("access", left)).await;
            assert_eq!(answer, status, "{algorithm} {left}");
            let check = json!({ "do": "langflow_check", "algorithm": algorithm, "key": key, "token": successor.unwrap() });
            let checked: Value = serde_json::from_str(&python(&check)).unwrap();
            assert_eq!(checked["claims"]["sub"], "3fa85f64-5717-4562-b3fc-2c963f66afa6");
        }
        let authority = Authority::from_settings(&settings).await.unwrap();
        let token = authority.issue(Login::new("alice")).await.unwrap();
        python(
            &json!({ "do": "langflow_check", "algorithm": algorithm, "key": key, "token": token.as_str() }),
        );
    }
}
