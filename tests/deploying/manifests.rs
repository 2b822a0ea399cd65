//! Each manifest: what it gives to a container, and an authority from that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tower_reissue::settings::{Airflow, Langflow, SecretsInDirectory, Settings};
use tower_reissue::{Authority, Login};

use super::cluster::{Cluster, Container, airflow_component, compose};
use super::page::block;
use super::support::guarded::header;
use super::{RSA, RSA_PUBLIC, SECRET, filled};

const VALUE: &str = "The value";
const VARIABLE: &str = "A Secret, as a variable";
const FILE: &str = "A Secret, as a file, by `_CMD`";
const BACKEND: &str = "A secrets backend, by `_SECRET`";
const MANAGERS: &str = "External secret managers";

/// The document with each placeholder replaced.
pub fn document(title: &str, name: &str) -> Value {
    fill(block(title, name).document())
}

fn fill(value: Value) -> Value {
    match value {
        Value::String(text) => filled(&text).into(),
        Value::Array(list) => list.into_iter().map(fill).collect(),
        Value::Object(entries) => entries.into_iter().map(|(name, value)| (name, fill(value))).collect(),
        other => other,
    }
}

pub async fn airflow(container: &Container) -> Result<Authority, String> {
    let variables = || container.variables.iter().cloned();
    let secrets = SecretsInDirectory::new(container.path("/etc/airflow-secrets"));
    let airflow = Airflow::execution_api().variables(variables()).secrets_backend(secrets);
    let settings = Settings::builder().airflow(airflow).variables("ORDERS", variables()).load();
    let settings = settings.map_err(|error| error.to_string())?;
    Authority::from_settings(&settings).await.map_err(|error| error.to_string())
}

/// As the container's user.
fn start_airflow(container: &Container) -> Authority {
    container.run(async || airflow(container).await).unwrap_or_else(|error| panic!("{error}"))
}

fn start_langflow(container: &Container) -> Authority {
    container.run(async || langflow(container).await).unwrap_or_else(|error| panic!("{error}"))
}

async fn langflow(container: &Container) -> Result<Authority, String> {
    let mut langflow = Langflow::new().variables(container.variables.iter().cloned());
    match &container.arguments[..] {
        [] => {}
        [flag] if flag == "--mounted-keys" => langflow = langflow.mounted_keys(),
        other => panic!("{other:?}"),
    }
    let settings = Settings::builder().langflow(langflow).load().map_err(|error| error.to_string())?;
    Authority::from_settings(&settings).await.map_err(|error| error.to_string())
}

async fn admit_each_other(one: &Authority, two: &Authority) {
    for (from, to) in [(one, two), (two, one)] {
        let token = from.issue(Login::new("task-1")).await.unwrap();
        assert_eq!(to.admit(token.as_str()).await.unwrap().subject(), Some("task-1"));
    }
}

fn with_secret() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(&block(VARIABLE, "secret.yaml").document(), filled);
    cluster
}

#[tokio::test]
async fn each_option_of_the_chart_gives_the_service_the_secret_of_airflows_components() {
    let cluster = with_secret();
    let values = |title, name| cluster.start(&airflow_component(&document(title, name)));
    let components = [
        values(VALUE, "values.yaml"),
        values(VARIABLE, "values.yaml"),
        values(VARIABLE, "values.yaml of the official chart"),
        values(FILE, "values.yaml"),
    ];
    let services =
        [VALUE, VARIABLE, FILE, BACKEND].map(|title| cluster.start(&document(title, "orders.yaml")));
    let of_value = Airflow::execution_api().variables([("AIRFLOW__API_AUTH__JWT_SECRET", SECRET)]);
    let known = Settings::builder().airflow(of_value).load().unwrap();
    let known = Authority::from_settings(&known).await.unwrap();
    for container in components.iter().chain(&services) {
        admit_each_other(&known, &start_airflow(container)).await;
    }
}

#[tokio::test]
async fn each_external_secret_manager_writes_the_secret_that_the_others_use() {
    for manager in [
        "AWS Secrets Manager, by the External Secrets Operator",
        "Google Secret Manager, by the External Secrets Operator",
        "HashiCorp Vault, by the Vault Secrets Operator; the entry has the field `jwt-secret`",
    ] {
        let mut cluster = Cluster::new();
        cluster.apply(&document(MANAGERS, manager), |_| SECRET.to_owned());
        for title in [VARIABLE, FILE] {
            let component = cluster.start(&airflow_component(&document(title, "values.yaml")));
            let service = cluster.start(&document(title, "orders.yaml"));
            let (component, service) = (start_airflow(&component), start_airflow(&service));
            admit_each_other(&component, &service).await;
        }
    }
}

#[tokio::test]
async fn compose_gives_langflow_a_secret_a_generated_pair_or_a_mounted_one() {
    const HS256: &str = "Compose, HS256";
    let project = || {
        let project = tempfile::tempdir().unwrap();
        let keys = project.path().join("keys");
        fs::create_dir(&keys).unwrap();
        for (name, pem) in [("private_key.pem", RSA), ("public_key.pem", RSA_PUBLIC)] {
            fs::write(keys.join(name), pem).unwrap();
            // The image's user is another than the one who made the files.
            fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        project
    };
    for (title, algorithm) in [
        (HS256, "HS256"),
        ("Compose, RS256, generated", "RS256"),
        ("Compose, RS256, with mounted keys", "RS256"),
    ] {
        let place = project();
        let env = block(HS256, ".env").text.replace("<openssl rand -hex 32>", SECRET);
        let file = block(title, "compose.yaml").document();
        let container = compose(&file, place.path(), &env).unwrap();
        let first = langflow(&container).await.unwrap_or_else(|error| panic!("{title}: {error}"));
        let token = first.issue(Login::new("alice")).await.unwrap();
        assert_eq!(header(token.as_str())["alg"], algorithm, "{title}");
        // A new container on the same files and volumes.
        assert!(langflow(&container).await.unwrap().admit(token.as_str()).await.is_ok(), "{title}");
    }
    let place = project();
    let file = block(HS256, "compose.yaml").document();
    assert_eq!(
        compose(&file, place.path(), "").err().unwrap(),
        "required variable JWT_SECRET_KEY is missing a value: set it in .env"
    );
}

#[tokio::test]
async fn a_kubernetes_secret_gives_langflow_its_pair_as_variables_and_as_files() {
    const VARIABLES: &str = "Kubernetes Secret, as variables";
    let documents = block(VARIABLES, "langflow.yaml").documents();
    let mut cluster = Cluster::new();
    cluster.apply(&documents[0], filled);
    let by_variables = start_langflow(&cluster.start(&documents[1]));
    let mounted = document("Kubernetes Secret, as files", "langflow.yaml");
    let by_files = start_langflow(&cluster.start(&mounted));
    admit_each_other(&by_variables, &by_files).await;
    let token = by_files.issue(Login::new("alice")).await.unwrap();
    assert_eq!(header(token.as_str())["alg"], "RS256");
}

/// Copied as it is, a manifest starts nothing.
#[tokio::test]
async fn a_placeholder_that_stays_is_refused_by_the_variable_that_holds_it() {
    const NOT_FILLED_IN: &str = "the secret is a template that was not filled in";
    let as_it_is = |text: &str| text.to_owned();
    let mut cluster = Cluster::new();
    cluster.apply(&block(VARIABLE, "secret.yaml").document(), as_it_is);
    for (title, name) in [
        (VALUE, "AIRFLOW__API_AUTH__JWT_SECRET"),
        (VARIABLE, "AIRFLOW__API_AUTH__JWT_SECRET"),
        (FILE, "AIRFLOW__API_AUTH__JWT_SECRET_CMD"),
        (BACKEND, "AIRFLOW__API_AUTH__JWT_SECRET_SECRET"),
    ] {
        let container = cluster.start(&block(title, "orders.yaml").document());
        let error = airflow(&container).await.err().unwrap();
        assert!(error.contains(name) && error.contains(NOT_FILLED_IN), "{title}: {error}");
    }
    let place = tempfile::tempdir().unwrap();
    let env = block("Compose, HS256", ".env").text;
    let container = compose(&block("Compose, HS256", "compose.yaml").document(), place.path(), &env).unwrap();
    let error = langflow(&container).await.err().unwrap();
    assert!(error.contains("LANGFLOW_SECRET_KEY") && error.contains(NOT_FILLED_IN), "{error}");
    let documents = block("Kubernetes Secret, as variables", "langflow.yaml").documents();
    cluster.apply(&documents[0], as_it_is);
    let error = langflow(&cluster.start(&documents[1])).await.err().unwrap();
    assert!(error.contains("LANGFLOW_PRIVATE_KEY") && error.contains("no BEGIN line"), "{error}");
}
