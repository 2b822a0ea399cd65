//! [`Airflow`]: the settings of Airflow 3's `[api_auth]` and `[execution_api]`, from their variables.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::SettingsBuilder;
use super::error::SettingsError;
use super::layer::Layers;
use super::value::AIRFLOWS_DEFAULT as DEFAULT;
use super::variables::{Variables, origin};
use crate::error::unreadable;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::KeyErrorKind;
use crate::keys::signing_key::SigningKey;

/// Airflow 3's own variables, for [`SettingsBuilder::airflow`]. [The manual](crate::manual::settings#airflow) has the table.
///
/// ```no_run
/// use tower_reissue::settings::{Airflow, SecretsInDirectory, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let airflow = Airflow::execution_api().secrets_backend(SecretsInDirectory::new("/run/secrets"));
/// let settings = Settings::builder().airflow(airflow).environment("ORDERS").load()?;
/// # Ok(()) }
/// ```
#[must_use = "give it to `SettingsBuilder::airflow`"]
pub struct Airflow {
    api: Api,
    variables: Variables,
    backend: Option<Box<dyn SecretsBackend>>,
}

enum Api {
    Execution,
    Public,
    Cli,
}

const SECRET: &str = "AIRFLOW__API_AUTH__JWT_SECRET";
const SECRET_COMMAND: &str = "AIRFLOW__API_AUTH__JWT_SECRET_CMD";
const SECRET_NAME: &str = "AIRFLOW__API_AUTH__JWT_SECRET_SECRET";
const PRIVATE_KEY_PATH: &str = "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH";
const ALGORITHM: &str = "AIRFLOW__API_AUTH__JWT_ALGORITHM";
const KID: &str = "AIRFLOW__API_AUTH__JWT_KID";
const PUBLIC_AUDIENCE: &str = "AIRFLOW__API_AUTH__JWT_AUDIENCE";
const ISSUER: &str = "AIRFLOW__API_AUTH__JWT_ISSUER";
const LEEWAY: &str = "AIRFLOW__API_AUTH__JWT_LEEWAY";
const PUBLIC_LIFETIME: &str = "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME";
const CLI_LIFETIME: &str = "AIRFLOW__API_AUTH__JWT_CLI_EXPIRATION_TIME";
const TRUSTED_JWKS: &str = "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL";
const EXECUTION_LIFETIME: &str = "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME";
const EXECUTION_AUDIENCE: &str = "AIRFLOW__EXECUTION_API__JWT_AUDIENCE";

/// The whole of `[api_auth]`.
const API_AUTH: [&str; 12] = [
    SECRET,
    SECRET_COMMAND,
    SECRET_NAME,
    PRIVATE_KEY_PATH,
    ALGORITHM,
    KID,
    PUBLIC_AUDIENCE,
    ISSUER,
    LEEWAY,
    PUBLIC_LIFETIME,
    CLI_LIFETIME,
    TRUSTED_JWKS,
];

impl Airflow {
    /// The execution API, which tasks call. From this process's variables.
    pub fn execution_api() -> Self {
        Self::of(Api::Execution)
    }

    /// The public API, whose tokens live for `[api_auth] jwt_expiration_time`.
    pub fn public_api() -> Self {
        Self::of(Api::Public)
    }

    /// The same with the lifetime that tokens for the CLI have, `[api_auth] jwt_cli_expiration_time`.
    pub fn cli() -> Self {
        Self::of(Api::Cli)
    }

    fn of(api: Api) -> Self {
        Self { api, variables: as_airflow_reads(Variables::of_process()), backend: None }
    }

    /// Other variables than this process's, as in a test.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables = as_airflow_reads(Variables::of(variables));
        self
    }

    /// Where the secret is that `AIRFLOW__API_AUTH__JWT_SECRET_SECRET` names. Default: none, and that variable is an error.
    pub fn secrets_backend(mut self, backend: impl SecretsBackend + 'static) -> Self {
        self.backend = Some(Box::new(backend));
        self
    }

    fn add(&self, layers: &mut Layers) -> Result<(), SettingsError> {
        let variables = &self.variables;
        if let Some(unknown) =
            variables.names().find(|name| name.starts_with("AIRFLOW__API_AUTH__") && !API_AUTH.contains(name))
        {
            let known: Vec<_> =
                API_AUTH.iter().map(|name| name.trim_start_matches("AIRFLOW__API_AUTH__")).collect();
            return Err(SettingsError::new(format!(
                "{}: `[api_auth]` has no such option; it has {}",
                origin(unknown),
                known.join(", ")
            )));
        }
        let issuer = variables.text(ISSUER)?;
        let has_key = self.key(layers)?;
        self.trusted_keys(layers, issuer, has_key)?;
        self.audiences(layers, has_key)?;
        let leeway = json!(format!("{}s", variables.seconds(LEEWAY, 10)?));
        layers.set("leeway", leeway.clone(), &from(variables, LEEWAY))?;
        layers.set("future_tolerance", leeway, &from(variables, LEEWAY))?;
        if !has_key {
            return Ok(());
        }
        match issuer {
            Some(issuer) => layers.set("issuer", json!(issuer), &origin(ISSUER))?,
            None => layers.set("without_issuer", json!(true), DEFAULT)?,
        }
        let (name, default) = match self.api {
            Api::Execution => (EXECUTION_LIFETIME, 600),
            Api::Public => (PUBLIC_LIFETIME, 86_400),
            Api::Cli => (CLI_LIFETIME, 3_600),
        };
        let lifetime = variables.seconds(name, default)?;
        layers.set("lifetime", json!(format!("{lifetime}s")), &from(variables, name))?;
        // A replaced key verifies until the last token under it has ended.
        let overlap = lifetime.saturating_add(600).max(3_600);
        layers.set("rotation.overlap", json!(format!("{overlap}s")), &from(variables, name))?;
        // Airflow's threshold is the same for every token.
        layers.set("jitter_percent", json!(0), DEFAULT)?;
        // Airflow has no limit, and a task may run for days. 30 days are longer than tasks run, and bound the use of a stolen token.
        layers.set("max_session_lifetime", json!("30days"), "default, Airflow has none")
    }

    /// Whether there is a key that signs. A private key comes before a secret, as in Airflow.
    fn key(&self, layers: &mut Layers) -> Result<bool, SettingsError> {
        let variables = &self.variables;
        let algorithm = variables.text(ALGORITHM)?.filter(|name| *name != "GUESS");
        if let Some(path) = variables.text(PRIVATE_KEY_PATH)? {
            layers.set("key.file", json!(path), &origin(PRIVATE_KEY_PATH))?;
            match algorithm {
                Some(name) => layers.set("key.algorithm", json!(name), &origin(ALGORITHM))?,
                None => {
                    layers.set("key.algorithm", json!(guessed(path)?.name()), &origin(PRIVATE_KEY_PATH))?
                }
            }
            match variables.text(KID)? {
                Some(kid) => layers.set("key.kid", json!(kid), &origin(KID))?,
                None => layers.set("key.airflow_kid", json!(true), DEFAULT)?,
            }
            return Ok(true);
        }
        if let Some(secret) = variables.raw(SECRET) {
            let is_changed =
                |text: &str| text == "~" || text.starts_with("~/") || variables.expanded(text) != text;
            if secret.to_str().is_some_and(is_changed) {
                return Err(SettingsError::new(format!(
                    "{}: Airflow expands the `$NAME` or `~/` in it, perhaps to another secret in each container: take one without",
                    origin(SECRET)
                )));
            }
            layers.secret_variable("key.value", SECRET, &origin(SECRET), secret.clone())?;
        } else if let Some(line) = variables.text(SECRET_COMMAND)? {
            layers.set("key.command", json!(line), &origin(SECRET_COMMAND))?;
        } else if let Some(name) = variables.text(SECRET_NAME)? {
            let secret = self.backend_secret(name)?;
            layers.secret_variable("key.value", SECRET_NAME, &origin(SECRET_NAME), secret)?;
        } else if variables.text(TRUSTED_JWKS)?.is_some() {
            return Ok(false);
        } else {
            return Err(SettingsError::new(format!(
                "{SECRET} is missing: the secret that every component shares, from `openssl rand -hex 64`; or \
                 {SECRET_COMMAND}, {SECRET_NAME}, {PRIVATE_KEY_PATH} or {TRUSTED_JWKS}"
            )));
        }
        layers.set("key.format", json!("secret"), DEFAULT)?;
        match algorithm {
            Some(name @ ("HS256" | "HS384" | "HS512")) => {
                layers.set("key.algorithm", json!(name), &origin(ALGORITHM))?;
            }
            None => layers.set("key.algorithm", json!("HS512"), DEFAULT)?,
            Some(_) => {
                return Err(SettingsError::new(format!(
                    "{}: a secret takes HS256, HS384, HS512 or GUESS; another algorithm takes {PRIVATE_KEY_PATH}",
                    origin(ALGORITHM)
                )));
            }
        }
        // The chart's secrets have 32 bytes, and Airflow signs with HS512 whatever their length.
        layers.set("key.dangerous_short_hmac", json!(true), DEFAULT)?;
        // What Airflow writes for every secret.
        layers.set("key.also_known_as", json!(["not-used"]), DEFAULT)?;
        Ok(true)
    }

    fn backend_secret(&self, name: &str) -> Result<OsString, SettingsError> {
        let at = origin(SECRET_NAME);
        let Some(backend) = &self.backend else {
            return Err(SettingsError::new(format!(
                "{at}: there is no secrets backend: give one with `secrets_backend`"
            )));
        };
        match backend.secret(name) {
            Ok(Some(secret)) if !secret.is_empty() => Ok(secret),
            // Without the name, for it may be the secret itself.
            Ok(_) => Err(SettingsError::new(format!(
                "{at}: the secrets backend has no secret of this name, or an empty one"
            ))),
            Err(error) => Err(SettingsError::new(format!("{at}: the secrets backend failed: {error}"))),
        }
    }

    /// Beside an own key these are other components' keys of the same issuer. Without one they are a trusted issuer's.
    fn trusted_keys(
        &self,
        layers: &mut Layers,
        issuer: Option<&str>,
        has_key: bool,
    ) -> Result<(), SettingsError> {
        let Some(place) = self.variables.text(TRUSTED_JWKS)? else { return Ok(()) };
        let from = origin(TRUSTED_JWKS);
        #[cfg(feature = "tracing")]
        if has_key && self.variables.raw(PRIVATE_KEY_PATH).is_none() {
            crate::log::log!(
                WARN,
                "{TRUSTED_JWKS} is set beside a secret: tokens under the secret are admitted here, and refused by Airflow"
            );
        }
        let table = if has_key { "retired_keys[0]" } else { "trusted_issuers[0].key" };
        if !has_key {
            let Some(issuer) = issuer else {
                return Err(SettingsError::new(format!(
                    "{from}: {ISSUER} is missing, the issuer whose keys these are; or a secret or private key of this service"
                )));
            };
            layers.set("trusted_issuers[0].issuer", json!(issuer), &origin(ISSUER))?;
        }
        // Airflow's own sets name no algorithm. As PyJWT, it takes RS256 for an RSA key; all others have only one.
        match self.variables.text(ALGORITHM)?.filter(|name| *name != "GUESS" && !name.starts_with("HS")) {
            Some(name) => layers.set(&format!("{table}.algorithm"), json!(name), &origin(ALGORITHM))?,
            None => layers.set(&format!("{table}.algorithm"), json!("RS256"), DEFAULT)?,
        }
        if place.starts_with("http://") || place.starts_with("https://") {
            return layers.set(&format!("{table}.jwks_url"), json!(place), &from);
        }
        let path = place.strip_prefix("file://").unwrap_or(place);
        layers.set(&format!("{table}.file"), json!(path), &from)?;
        layers.set(&format!("{table}.format"), json!("jwk_set"), &from)
    }

    /// New and renewed tokens carry the first audience, which Airflow accepts. The others are accepted here.
    fn audiences(&self, layers: &mut Layers, has_key: bool) -> Result<(), SettingsError> {
        let (name, default) = match self.api {
            Api::Execution => (EXECUTION_AUDIENCE, "urn:airflow.apache.org:task"),
            Api::Public | Api::Cli => (PUBLIC_AUDIENCE, "apache-airflow"),
        };
        let text = self.variables.text(name)?.unwrap_or(default);
        let mut list: Vec<&str> =
            text.split(',').map(str::trim).filter(|audience| !audience.is_empty()).collect();
        let from = from(&self.variables, name);
        if list.first().is_some_and(|first| *first != text) && !matches!(self.api, Api::Execution) {
            // Airflow documents a list, and takes the whole text for one audience, in its own tokens and in others'.
            list.insert(0, text);
        }
        let Some((first, others)) = list.split_first() else {
            return Err(SettingsError::new(format!("{from}: expected at least one audience")));
        };
        layers.set("audience", json!(first), &from)?;
        if others.is_empty() {
            return Ok(());
        }
        layers.set(if has_key { "legacy_audiences" } else { "also_accept_audiences" }, json!(others), &from)
    }
}

/// Airflow expands all values but those that say where the secret is. The secret itself is refused if that changes it.
fn as_airflow_reads(variables: Variables) -> Variables {
    variables.with_expanded(|name| {
        name.starts_with("AIRFLOW__") && ![SECRET, SECRET_COMMAND, SECRET_NAME].contains(&name)
    })
}

fn from(variables: &Variables, name: &str) -> String {
    if variables.raw(name).is_some() { origin(name) } else { DEFAULT.to_owned() }
}

/// `GUESS`: the algorithm of the private key in this file.
fn guessed(path: &str) -> Result<Algorithm, SettingsError> {
    let at = origin(PRIVATE_KEY_PATH);
    let pem = std::fs::read(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| SettingsError::new(format!("{at}: {}", unreadable(path, &error))).because(error))?;
    let algorithms = [Algorithm::RS256, Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384];
    let mut errors = Vec::new();
    for algorithm in algorithms {
        match SigningKey::from_pem(algorithm, &*pem) {
            Ok(_) => return Ok(algorithm),
            Err(error) => errors.push(error),
        }
    }
    // What the key's own algorithm says, rather than that the key is not of another one.
    let error = errors.into_iter().min_by_key(|error| error.kind() == KeyErrorKind::WrongType);
    let refused = SettingsError::new(format!("{at}: {path} holds no private key of a supported algorithm"));
    Err(match error {
        Some(error) => refused.because(error),
        None => refused,
    })
}

impl SettingsBuilder {
    /// Airflow 3's own variables. A later layer may replace what follows from them.
    ///
    /// ```
    /// use tower_reissue::settings::{Airflow, Settings};
    ///
    /// let airflow = Airflow::execution_api().variables([("AIRFLOW__API_AUTH__JWT_SECERT", "…")]);
    /// let error = Settings::builder().airflow(airflow).load().unwrap_err().to_string();
    /// assert!(error.starts_with("environment variable AIRFLOW__API_AUTH__JWT_SECERT"));
    /// ```
    pub fn airflow(self, airflow: Airflow) -> Self {
        self.layer(|layers| airflow.add(layers))
    }
}

/// Where secrets are that a variable `…_SECRET` names, such as Vault. It is asked once, when the settings are loaded.
pub trait SecretsBackend: Send + Sync {
    /// The secret of this name, `None` if there is none. It may block.
    ///
    /// # Errors
    /// If the backend can't answer. The error is printed and must hold no secret.
    fn secret(&self, name: &str) -> Result<Option<OsString>, Box<dyn Error + Send + Sync>>;
}

/// Secrets in environment variables: `{prefix}{name}`.
#[derive(Clone, Debug)]
pub struct SecretsInEnvironment {
    prefix: String,
}

impl SecretsInEnvironment {
    /// Airflow's own prefix for configuration is `AIRFLOW_CONFIG_`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }
}

impl SecretsBackend for SecretsInEnvironment {
    fn secret(&self, name: &str) -> Result<Option<OsString>, Box<dyn Error + Send + Sync>> {
        let name = format!("{}{name}", self.prefix);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(is_name) {
            return Err("this is not the name of a variable".into());
        }
        Ok(std::env::var_os(name))
    }
}

/// Secrets in the files of a directory, as Kubernetes and Docker mount them. One line end at the end is not part of a
/// secret.
#[derive(Clone, Debug)]
pub struct SecretsInDirectory {
    directory: PathBuf,
}

impl SecretsInDirectory {
    /// The file of a secret has its name.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl SecretsBackend for SecretsInDirectory {
    fn secret(&self, name: &str) -> Result<Option<OsString>, Box<dyn Error + Send + Sync>> {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("expected the name of a file in the directory".into());
        }
        match std::fs::read_to_string(self.directory.join(name)) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Some(text.strip_suffix('\r').unwrap_or(text).into()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // Without the name, for it may be the secret itself.
            Err(error) => Err(format!("{}: {error}", unreadable("a file in the directory", &error)).into()),
        }
    }
}
