//! [`Langflow`]: Langflow's settings of its tokens, from their variables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::SettingsBuilder;
use super::error::SettingsError;
use super::layer::Layers;
use super::variables::{Variables, origin};
use crate::keys::algorithm::Algorithm;
use crate::keys::error::KeyError;
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;
use crate::rotation::source::refuse_replaceable;

/// Langflow's own variables, with the defaults of its release 1.13, for [`SettingsBuilder::langflow`].
/// [The manual](crate::manual::settings#langflow) has the table.
///
/// Langflow's tokens hold `sub`, `type` and `exp`, and nothing else: such tokens are admitted, and their successors also have
/// an `iat` and the start of the session.
///
/// ```no_run
/// use tower_reissue::settings::{Langflow, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::builder().langflow(Langflow::new()).load()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "give it to `SettingsBuilder::langflow`"]
pub struct Langflow {
    variables: Variables,
    refresh_audience: Option<String>,
    has_mounted_keys: bool,
}

const ALGORITHM: &str = "LANGFLOW_ALGORITHM";
const SECRET: &str = "LANGFLOW_SECRET_KEY";
const PRIVATE: &str = "LANGFLOW_PRIVATE_KEY";
const PUBLIC: &str = "LANGFLOW_PUBLIC_KEY";
const LIFETIME: &str = "LANGFLOW_ACCESS_TOKEN_EXPIRE_SECONDS";
const REFRESH_LIFETIME: &str = "LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS";
const DIRECTORY: &str = "LANGFLOW_CONFIG_DIR";
const ACCESS_SAME_SITE: &str = "LANGFLOW_ACCESS_SAME_SITE";
const ACCESS_SECURE: &str = "LANGFLOW_ACCESS_SECURE";
const ACCESS_HTTPONLY: &str = "LANGFLOW_ACCESS_HTTPONLY";
const REFRESH_SAME_SITE: &str = "LANGFLOW_REFRESH_SAME_SITE";
const REFRESH_SECURE: &str = "LANGFLOW_REFRESH_SECURE";
const REFRESH_HTTPONLY: &str = "LANGFLOW_REFRESH_HTTPONLY";
const COOKIE_DOMAIN: &str = "LANGFLOW_COOKIE_DOMAIN";
const CORS_ORIGINS: &str = "LANGFLOW_CORS_ORIGINS";

const DEFAULT: &str = "Langflow's default";
const MONTH: u64 = 30 * 24 * 3600;

/// A cookie's name, the variables of its attributes, and Langflow's defaults for them.
struct CookieVariables {
    name: &'static str,
    same_site: (&'static str, &'static str),
    secure: (&'static str, bool),
    http_only: (&'static str, bool),
}

const ACCESS_COOKIE: CookieVariables = CookieVariables {
    name: "access_token_lf",
    same_site: (ACCESS_SAME_SITE, "lax"),
    secure: (ACCESS_SECURE, false),
    http_only: (ACCESS_HTTPONLY, true),
};

const REFRESH_COOKIE: CookieVariables = CookieVariables {
    name: "refresh_token_lf",
    same_site: (REFRESH_SAME_SITE, "lax"),
    secure: (REFRESH_SECURE, false),
    http_only: (REFRESH_HTTPONLY, true),
};

impl Langflow {
    /// From this process's variables.
    #[allow(clippy::new_without_default, reason = "it reads the environment")]
    pub fn new() -> Self {
        Self { variables: Variables::of_process(), refresh_audience: None, has_mounted_keys: false }
    }

    /// Other variables than this process's, as in a test.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables = Variables::of(variables);
        self
    }

    /// Issues pairs, with refresh tokens of `LANGFLOW_REFRESH_TOKEN_EXPIRE_SECONDS` for this audience, and Langflow's cookie
    /// for them ([`Settings::refresh_cookie`](super::Settings::refresh_cookie)). Needs a store, which Langflow has none of.
    /// Default: access tokens are renewed in responses, and the session ends after that time.
    pub fn refresh_tokens(mut self, audience: impl Into<String>) -> Self {
        self.refresh_audience = Some(audience.into());
        self
    }

    /// The keys in `LANGFLOW_CONFIG_DIR` were put there by somebody else, such as Compose: they are read as they are, and again
    /// when they change, and none is generated. Default: for a symbolic link, as Kubernetes mounts them, if root or this process's
    /// user owns the file, its links and every directory on the way, and nobody else can replace any of them; others may read the
    /// file. Each load checks this, and another link is an error. A key that is generated may be read only by its owner, and a
    /// key file with another mode is refused.
    ///
    /// Costs: neither the file's mode nor its owner is checked.
    pub fn mounted_keys(mut self) -> Self {
        self.has_mounted_keys = true;
        self
    }

    fn add(&self, layers: &mut Layers) -> Result<(), SettingsError> {
        let variables = &self.variables;
        let named = |name: &str| variables.raw(name).map_or_else(|| DEFAULT.to_owned(), |_| origin(name));
        let algorithm = match variables.text(ALGORITHM)? {
            None | Some("HS256") => Algorithm::HS256,
            Some("RS256") => Algorithm::RS256,
            Some("RS512") => Algorithm::RS512,
            Some(_) => {
                return Err(SettingsError::new(format!(
                    "{}: expected HS256, RS256 or RS512",
                    origin(ALGORITHM)
                )));
            }
        };
        layers.set("key.algorithm", json!(algorithm.name()), &named(ALGORITHM))?;
        if algorithm.is_hmac() {
            if let Some(name) = [PRIVATE, PUBLIC].into_iter().find(|name| variables.raw(name).is_some()) {
                return Err(SettingsError::new(format!(
                    "{}: {ALGORITHM} must be RS256 or RS512 for it, and is HS256 ({}): leave one out",
                    origin(name),
                    named(ALGORITHM)
                )));
            }
            self.secret(layers)?
        } else {
            self.pair(layers, algorithm)?
        }

        let lifetime = variables.seconds(LIFETIME, 3_600)?;
        let refresh = variables.seconds(REFRESH_LIFETIME, 604_800)?;
        let secs = |seconds: u64| json!(format!("{seconds}s"));
        layers.set("lifetime", secs(lifetime), &named(LIFETIME))?;
        // Its tokens have no `iat`, and live for no longer than this.
        layers.set("accept_without_iat", secs(lifetime), &named(LIFETIME))?;
        layers.set("access_claim", json!("type=access"), DEFAULT)?;
        layers.set("without_issuer", json!(true), DEFAULT)?;
        layers.set("without_audience", json!(true), DEFAULT)?;
        self.cookie(layers, "request.cookie", &ACCESS_COOKIE)?;
        if let Some(text) = variables.text(CORS_ORIGINS)? {
            // Langflow also takes a JSON list.
            let origins = serde_json::from_str(text).unwrap_or_else(|_| json!(text.trim()));
            if origins != json!("*") && origins != json!(["*"]) {
                layers.set("request.allowed_origins", origins, &origin(CORS_ORIGINS))?;
            }
        }
        match &self.refresh_audience {
            Some(audience) => {
                layers.set("refresh_tokens.audience", json!(audience), "`refresh_tokens` of the code")?;
                layers.set("refresh_tokens.lifetime", secs(refresh), &named(REFRESH_LIFETIME))?;
                self.cookie(layers, "refresh_tokens.cookie", &REFRESH_COOKIE)?;
                // A replaced key verifies until the last refresh token under it has ended.
                layers.set(
                    "rotation.overlap",
                    secs(refresh.saturating_add(600)),
                    &named(REFRESH_LIFETIME),
                )?;
                layers.set("max_session_lifetime", secs(refresh.max(MONTH)), "default, Langflow has none")
            }
            None => {
                layers.set("rotation.overlap", secs(lifetime.saturating_add(600)), &named(LIFETIME))?;
                layers.set("max_session_lifetime", secs(refresh), &named(REFRESH_LIFETIME))
            }
        }
    }

    fn cookie(
        &self,
        layers: &mut Layers,
        table: &str,
        cookie: &CookieVariables,
    ) -> Result<(), SettingsError> {
        let variables = &self.variables;
        let mut set = |name: &str, value: serde_json::Value, variable: Option<&str>| {
            let given = variable.filter(|variable| variables.raw(variable).is_some());
            layers.set(&format!("{table}.{name}"), value, &given.map_or(DEFAULT.to_owned(), origin))
        };
        let (same_site, default) = cookie.same_site;
        let (secure, is_secure) = cookie.secure;
        let (http_only, is_http_only) = cookie.http_only;
        set("name", json!(cookie.name), None)?;
        set("without_host_prefix", json!(true), None)?;
        set("same_site", json!(variables.text(same_site)?.unwrap_or(default)), Some(same_site))?;
        set("insecure_for_development", json!(!variables.flag(secure, is_secure)?), Some(secure))?;
        set("without_http_only", json!(!variables.flag(http_only, is_http_only)?), Some(http_only))?;
        match variables.text(COOKIE_DOMAIN)? {
            Some(domain) => set("domain", json!(domain), Some(COOKIE_DOMAIN)),
            None => Ok(()),
        }
    }

    fn secret(&self, layers: &mut Layers) -> Result<(), SettingsError> {
        match self.variables.raw(SECRET) {
            Some(secret) => layers.secret_variable("key.value", SECRET, &origin(SECRET), secret.clone()),
            None => self.kept(layers, "secret_key"),
        }
    }

    fn pair(&self, layers: &mut Layers, algorithm: Algorithm) -> Result<(), SettingsError> {
        let Some(private) = self.variables.raw(PRIVATE) else {
            if self.variables.raw(PUBLIC).is_some() {
                return Err(SettingsError::new(format!(
                    "{}: {PRIVATE} is missing, the private key that this is the public half of",
                    origin(PUBLIC)
                )));
            }
            return self.kept(layers, "private_key.pem");
        };
        layers.secret_variable("key.value", PRIVATE, &origin(PRIVATE), private.clone())?;
        let Some(public) = self.variables.raw(PUBLIC) else { return Ok(()) };
        let failed =
            |name: &'static str| move |error: KeyError| SettingsError::new(origin(name)).because(error);
        let private = SigningKey::from_pem(algorithm, private.as_encoded_bytes()).map_err(failed(PRIVATE))?;
        let public = VerifyingKey::from_pem(algorithm, public.as_encoded_bytes()).map_err(failed(PUBLIC))?;
        if private.fingerprint() != public.fingerprint() {
            return Err(SettingsError::new(format!(
                "{}: it is not the public half of {PRIVATE}; leave it out, and it is derived",
                origin(PUBLIC)
            )));
        }
        Ok(())
    }

    /// The key of the configuration's directory, generated at the first start unless it was mounted.
    fn kept(&self, layers: &mut Layers, name: &str) -> Result<(), SettingsError> {
        let (directory, origin) = match self.variables.text(DIRECTORY)? {
            Some(directory) => (PathBuf::from(directory), origin(DIRECTORY)),
            None => (self.default_directory()?, DEFAULT.to_owned()),
        };
        let path = directory.join(name);
        let text = |path: &Path| {
            let not_text = || SettingsError::new(format!("{origin}: the path is not UTF-8"));
            path.to_str().map(str::to_owned).ok_or_else(not_text)
        };
        if self.has_mounted_keys {
            layers.set("key.file", json!(text(&path)?), &origin)
        } else if path.is_symlink() {
            // Each load checks it again.
            let refused =
                format!("{origin}: this link to a key is followed only with `Langflow::mounted_keys`");
            refuse_replaceable(&path).map_err(|error| SettingsError::new(refused).because(error))?;
            layers.set("key.private_file", json!(text(&path)?), &origin)
        } else {
            layers.set("key.generated_in", json!(text(&directory)?), &origin)
        }
    }

    /// As `platformdirs.user_cache_dir("langflow", "langflow")` on Linux.
    fn default_directory(&self) -> Result<PathBuf, SettingsError> {
        let cache = match (self.variables.raw("XDG_CACHE_HOME"), self.variables.raw("HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(home).join(".cache"),
            (None, None) => {
                return Err(SettingsError::new(format!(
                    "{DIRECTORY} is missing: the directory in which a generated key is kept"
                )));
            }
        };
        Ok(cache.join("langflow"))
    }
}

impl SettingsBuilder {
    /// Langflow's own variables. A later layer may replace what follows from them.
    pub fn langflow(self, langflow: Langflow) -> Self {
        self.layer(|layers| langflow.add(layers))
    }
}
