//! [`Fields`]: every setting, as serde reads it. Each may be absent; what must be there is checked when the authority is built.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::SettingsError;
use super::secret::{Hidden, Place, Secret, VariableName};
use super::value::{AIRFLOWS_DEFAULT, Origins};
use crate::keys::algorithm::Algorithm;
use crate::keys::scheme::KeyType;
use crate::rotation::source::{is_key_text, is_secret_for_name};

/// Declares tables whose entries may all be absent and of which an unknown one is an error.
macro_rules! tables {
    ($($(#[$note:meta])* $table:ident { $($(#[$entry_note:meta])* $entry:ident: $type:ty,)+ })+) => {
        $(
            $(#[$note])*
            #[derive(Clone, Default, Deserialize, Serialize)]
            #[serde(deny_unknown_fields, default)]
            pub(super) struct $table {
                $(
                    $(#[$entry_note])*
                    #[serde(skip_serializing_if = "is_absent")]
                    pub(super) $entry: $type,
                )+
            }
        )+
    };
}

tables! {
    Fields {
        issuer: Option<String>,
        without_issuer: Option<bool>,
        audience: Option<String>,
        also_accept_audiences: Option<List>,
        legacy_audiences: Option<List>,
        without_audience: Option<bool>,
        max_session_lifetime: Option<Time>,
        max_token_lifetime: Option<Time>,
        lifetime: Option<Time>,
        leeway: Option<Time>,
        grace: Option<Time>,
        future_tolerance: Option<Time>,
        accept_without_iat: Option<Time>,
        in_flight_allowance: Option<Time>,
        jitter_percent: Option<u8>,
        access_types: Option<List>,
        access_claim: Option<Claim>,
        required_claims: Option<List>,
        session_start_claim: Option<String>,
        session_starts_at_auth_time: Option<bool>,
        max_token_bytes: Option<usize>,
        max_added_head_bytes: Option<usize>,
        max_sessions_per_subject: Option<usize>,
        token_cache_bytes: Option<u64>,
        renewer_deadline: Option<Time>,
        admit_in_grace: Option<bool>,
        end_session_on_reuse: Option<bool>,
        admit_after_store_loss: Option<bool>,
        refresh_tokens: Option<Refresh>,
        dangerous: Option<Dangerous>,
        key: Option<Key>,
        retired_keys: Vec<Key>,
        withdrawn_keys: Option<List>,
        rotation: Option<Rotation>,
        trusted_issuers: Vec<Issuer>,
        store: Option<Store>,
        request: Option<Request>,
    }

    Refresh {
        audience: Option<String>,
        lifetime: Option<Time>,
        reuse_window: Option<Time>,
        sliding_access_tokens: Option<bool>,
        cookie: Option<CookieFields>,
    }

    Dangerous {
        unbounded_sessions: Option<bool>,
        ignore_cnf: Option<bool>,
    }

    /// A key, or the keys of an issuer.
    Key {
        algorithm: Option<Name>,
        format: Option<String>,
        kid: Option<String>,
        airflow_kid: Option<bool>,
        also_known_as: Option<List>,
        fully_specified_alg: Option<bool>,
        dangerous_short_hmac: Option<bool>,
        value: Option<Hidden>,
        variable: Option<VariableName>,
        file: Option<Place>,
        command: Option<Hidden>,
        private_file: Option<Place>,
        directory: Option<Place>,
        signing_file: Option<String>,
        generated_in: Option<Place>,
        jwks_url: Option<Place>,
        certificates_url: Option<Place>,
        timeout: Option<Time>,
        max_bytes: Option<usize>,
        bearer_token: Option<Secret>,
        bearer_token_file: Option<Place>,
        proxy: Option<Secret>,
        without_proxy: Option<bool>,
        root_certificate_file: Option<Place>,
    }

    Rotation {
        activation_delay: Option<Time>,
        reload_every: Option<Time>,
        overlap: Option<Time>,
        stale_for: Option<Time>,
        cooldown: Option<Time>,
        require_trusted_issuers: Option<bool>,
    }

    Issuer {
        issuer: Option<String>,
        tenants: Option<List>,
        every_tenant: Option<bool>,
        audiences: Option<List>,
        without_audience: Option<bool>,
        access_types: Option<List>,
        access_claim: Option<Claim>,
        without_access_claim: Option<bool>,
        required_claims: Option<List>,
        leeway: Option<Time>,
        future_tolerance: Option<Time>,
        max_session_lifetime: Option<Time>,
        accept_without_iat: Option<Time>,
        session_starts_at_auth_time: Option<bool>,
        key: Option<Key>,
    }

    Store {
        url: Option<Secret>,
        password: Option<Secret>,
        prefix: Option<String>,
        deadline: Option<Time>,
        wait: Option<Time>,
        max_connections: Option<u32>,
        cluster: Option<bool>,
        root_certificate_file: Option<Place>,
        client_certificate_file: Option<Place>,
        client_key_file: Option<Place>,
        wait_for_replicas: Option<usize>,
        wait_for_replicas_timeout: Option<Time>,
        cache_for_at_most: Option<Time>,
        cache_during_outage: Option<Time>,
        cache_max_sessions: Option<usize>,
    }

    Request {
        authorization: Option<bool>,
        cookie: Option<CookieFields>,
        websocket_query: Option<String>,
        deliver_in: Option<String>,
        optional: Option<bool>,
        pass_preflight: Option<bool>,
        allowed_origins: Option<List>,
    }

    CookieFields {
        name: Option<String>,
        without_host_prefix: Option<bool>,
        insecure_for_development: Option<bool>,
        domain: Option<String>,
        path: Option<String>,
        same_site: Option<String>,
        partitioned: Option<bool>,
        without_http_only: Option<bool>,
    }
}

/// Where a key or a secret comes from: one of these.
pub(super) const PLACES: &[&str] = &[
    "value",
    "variable",
    "file",
    "command",
    "private_file",
    "directory",
    "generated_in",
    "jwks_url",
    "certificates_url",
];

/// What holds where a setting is absent, as it is printed. A test compares it with the manual.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("lifetime", "\"10m\""),
    ("leeway", "\"0s\""),
    ("grace", "\"1m\", or less if a shorter lifetime allows only that"),
    ("future_tolerance", "\"5s\""),
    ("in_flight_allowance", "\"1m\", or the grace if that is longer"),
    ("jitter_percent", "10"),
    ("access_types", "\"JWT\", \"at+jwt\" or absent"),
    ("session_start_claim", "\"session_start\""),
    ("max_token_bytes", "8192"),
    ("max_added_head_bytes", "3072"),
    ("max_sessions_per_subject", "100"),
    ("token_cache_bytes", "67108864"),
    ("refresh_tokens.lifetime", "\"7days\""),
    ("refresh_tokens.reuse_window", "\"1m\""),
    ("renewer_deadline", "\"5s\""),
    ("rotation.activation_delay", "\"0s\""),
    ("rotation.reload_every", "\"10s\""),
    ("rotation.overlap", "\"1h\", or 10m more than the longest token lives"),
    ("rotation.stale_for", "\"1day\""),
    ("rotation.cooldown", "\"30s\""),
    ("store.deadline", "\"1s\""),
    ("request.authorization", "true"),
    ("request.deliver_in", "\"Refreshed-API-Token\""),
];

impl Fields {
    /// What can be said without building anything: a key or a secret that is given twice.
    pub(super) fn check(&self, origins: &Origins) -> Result<(), SettingsError> {
        let issuers = self.trusted_issuers.iter().enumerate();
        let keys = self.key.iter().map(|key| ("key".to_owned(), key));
        let retired =
            self.retired_keys.iter().enumerate().map(|(at, key)| (format!("retired_keys[{at}]"), key));
        let foreign =
            issuers.filter_map(|(at, it)| Some((format!("trusted_issuers[{at}].key"), it.key.as_ref()?)));
        let mut secrets = Vec::new();
        // The first error for an own key without a place is that it has none. An issuer's keys are found by discovery.
        let own = keys.chain(retired).map(|(path, key)| (path, key, !key.places().is_empty()));
        for (path, key, is_found) in own.chain(foreign.map(|(path, key)| (path, key, true))) {
            once(&path, &key.places(), origins)?;
            if is_found {
                effective(&path, key.without_effect(), origins)?;
            }
            key.check_signing_file(&path, origins)?;
            secrets.push((format!("{path}.bearer_token"), &key.bearer_token));
            secrets.push((format!("{path}.proxy"), &key.proxy));
        }
        if let Some(store) = &self.store {
            secrets.extend([
                ("store.url".to_owned(), &store.url),
                ("store.password".to_owned(), &store.password),
            ]);
        }
        for (path, secret) in secrets {
            let Some(secret) = secret else { continue };
            let given = [
                secret.value.is_some(),
                secret.variable.is_some(),
                secret.file.is_some(),
                secret.command.is_some(),
            ];
            let names: Vec<_> =
                PLACES.iter().zip(given).filter(|(_, is)| *is).map(|(name, _)| *name).collect();
            once(&path, &names, origins)?;
        }
        Ok(())
    }
}

/// What is added to Airflow's variables can't be left out, so it may be without effect.
pub(super) fn effective<'a>(
    path: &str,
    idle: impl IntoIterator<Item = &'a str>,
    origins: &Origins,
) -> Result<(), SettingsError> {
    let is_given = |name: &&str| origins.of(&format!("{path}.{name}")) != Some(AIRFLOWS_DEFAULT);
    match idle.into_iter().find(is_given) {
        Some(name) => Err(SettingsError::new(format!(
            "{} has no effect beside what else is set there: leave it out",
            origins.describe(&format!("{path}.{name}"))
        ))),
        None => Ok(()),
    }
}

fn once(path: &str, given: &[&str], origins: &Origins) -> Result<(), SettingsError> {
    match given {
        [first, second, ..] => Err(SettingsError::new(format!(
            "{} and {} are both given: leave one out",
            origins.describe(&format!("{path}.{first}")),
            origins.describe(&format!("{path}.{second}"))
        ))),
        _ => Ok(()),
    }
}

impl Key {
    /// Which of [`PLACES`] are given.
    pub(super) fn places(&self) -> Vec<&'static str> {
        let given = [
            self.value.is_some(),
            self.variable.is_some(),
            self.file.is_some(),
            self.command.is_some(),
            self.private_file.is_some(),
            self.directory.is_some(),
            self.generated_in.is_some(),
            self.jwks_url.is_some(),
            self.certificates_url.is_some(),
        ];
        PLACES.iter().zip(given).filter(|(_, is)| *is).map(|(name, _)| *name).collect()
    }

    /// It is printed, so a secret in its place is refused.
    fn check_signing_file(&self, path: &str, origins: &Origins) -> Result<(), SettingsError> {
        let directory = self.directory.as_ref().map_or("", |Place(directory)| directory);
        let Some(name) = &self.signing_file else { return Ok(()) };
        if is_key_text(name) || is_secret_for_name(Path::new(directory), name) {
            return Err(SettingsError::new(format!(
                "{}: expected the name of a file in the directory, and this may be a secret: no such file exists",
                origins.describe(&format!("{path}.signing_file"))
            )));
        }
        Ok(())
    }

    /// The format that is named, or that of the algorithm's keys.
    pub(super) fn format_name(&self) -> &str {
        let is_hmac = self.algorithm.is_some_and(|Name(algorithm)| algorithm.is_hmac());
        self.format.as_deref().unwrap_or(if is_hmac { "secret" } else { "pem" })
    }

    /// The options that the key's place or format does not have.
    pub(super) fn without_effect(&self) -> impl Iterator<Item = &'static str> + use<> {
        let place = self.places().first().copied();
        // Without a place, an issuer's keys are found by discovery.
        let is_fetched = matches!(place, None | Some("jwks_url" | "certificates_url"));
        let is_read = !is_fetched && place != Some("generated_in");
        // The keys of a set keep their own names.
        let is_one = is_read && self.format_name() != "jwk_set";
        // These formats have keys of the algorithm only. A JWK names its own. Unknown formats have an error of their own.
        let is_pinned = matches!(self.format_name(), "secret" | "base64" | "base64url" | "pem" | "der");
        let algorithm = self.algorithm.filter(|_| is_pinned).map(|Name(algorithm)| algorithm);
        let may_be_rsa = algorithm.is_none_or(|algorithm| algorithm.key_type() == Some(KeyType::Rsa));
        let may_be_renamed = algorithm.is_none_or(|algorithm| algorithm.names().len() > 1);
        // HS256 needs no more than the least that can be allowed.
        let may_be_short = algorithm.is_none_or(|it| matches!(it, Algorithm::HS384 | Algorithm::HS512));
        [
            ("format", self.format.is_some(), is_read),
            ("kid", self.kid.is_some(), is_one),
            ("airflow_kid", self.airflow_kid.is_some(), is_one && may_be_rsa && self.kid.is_none()),
            ("also_known_as", self.also_known_as.is_some(), is_one),
            ("fully_specified_alg", self.fully_specified_alg.is_some(), is_read && may_be_renamed),
            ("max_bytes", self.max_bytes.is_some(), is_fetched),
            ("dangerous_short_hmac", self.dangerous_short_hmac.is_some(), is_read && may_be_short),
            ("signing_file", self.signing_file.is_some(), place == Some("directory")),
            ("timeout", self.timeout.is_some(), is_fetched || place == Some("command")),
            ("bearer_token", self.bearer_token.is_some(), is_fetched),
            ("bearer_token_file", self.bearer_token_file.is_some(), is_fetched),
            ("proxy", self.proxy.is_some(), is_fetched),
            ("without_proxy", self.without_proxy.is_some(), is_fetched),
            ("root_certificate_file", self.root_certificate_file.is_some(), is_fetched),
        ]
        .into_iter()
        .filter(|(_, is_set, has_effect)| *is_set && !*has_effect)
        .map(|(name, ..)| name)
    }
}

impl Store {
    /// An option that a store of this scheme does not have.
    pub(super) fn without_effect(&self, scheme: &str) -> Option<&'static str> {
        let is_redis = matches!(scheme, "redis" | "rediss" | "redis+unix");
        let is_postgres = matches!(scheme, "postgres" | "postgresql");
        let is_sql = is_postgres || scheme == "sqlite";
        [
            ("password", self.password.is_some(), is_postgres),
            ("prefix", self.prefix.is_some(), is_redis || is_sql),
            ("wait", self.wait.is_some(), is_sql),
            ("max_connections", self.max_connections.is_some(), is_sql),
            ("cluster", self.cluster.is_some(), is_redis),
            ("root_certificate_file", self.root_certificate_file.is_some(), is_redis),
            (
                "client_certificate_file",
                self.client_certificate_file.is_some(),
                is_redis && self.client_key_file.is_some(),
            ),
            (
                "client_key_file",
                self.client_key_file.is_some(),
                is_redis && self.client_certificate_file.is_some(),
            ),
            ("wait_for_replicas", self.wait_for_replicas.is_some(), is_redis),
            (
                "wait_for_replicas_timeout",
                self.wait_for_replicas_timeout.is_some(),
                is_redis && self.wait_for_replicas.is_some(),
            ),
        ]
        .into_iter()
        .find(|(_, is_set, has_effect)| *is_set && !*has_effect)
        .map(|(name, ..)| name)
    }
}

trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

fn is_absent(value: &impl Absent) -> bool {
    value.is_absent()
}

/// A duration with its unit: `90s`, `10m`, `1h 30m`. A bare number is refused, because its unit would be a guess.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, as in \"90s\", \"10m\" or \"1h 30m\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
                humantime::parse_duration(text.trim()).map(Time).map_err(|_| {
                    E::custom("expected a duration with its unit, as in \"90s\", \"10m\" or \"1h 30m\"")
                })
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// A list; in a variable, with commas between.
#[derive(Clone, Serialize)]
pub(super) struct List(pub(super) Vec<String>);

impl List {
    pub(super) fn split(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts, or one text with commas between them")
            }

            fn visit_str<E>(self, text: &str) -> Result<List, E> {
                Ok(List::split(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<List, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(List)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A claim and its value, `type=access`.
#[derive(Clone)]
pub(super) struct Claim(pub(super) String, pub(super) String);

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| D::Error::custom("expected a claim and its value, as in \"type=access\""))?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}={}", self.0, self.1))
    }
}

/// The name of an algorithm.
#[derive(Clone, Copy)]
pub(super) struct Name(pub(super) Algorithm);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
