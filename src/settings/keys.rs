//! Key sources from settings.

use crate::keys::algorithm::Algorithm;
use crate::keys::error::KeyError;
use crate::rotation::source::KeyFormat;
use crate::rotation::source::command::CommandSource;
use crate::rotation::source::directory::{DirectorySource, withdrawn_by};
use crate::rotation::source::file::FileSource;
use crate::rotation::source::generated::GeneratedSource;

use super::Settings;
use super::error::SettingsError;
use super::places::{OwnKeys, Place};
use super::secret::{Place as Named, VariableName};
use super::types::{Issuer, Key, Name};

impl Settings {
    /// `None` if the settings name no own key.
    pub(super) async fn own_keys(&self) -> Result<Option<OwnKeys>, SettingsError> {
        let fields = &self.fields;
        let Some(key) = &fields.key else {
            if !fields.retired_keys.is_empty() {
                return Err(SettingsError::new(format!(
                    "{}: there is no `key` that signs in their place",
                    self.origins.describe("retired_keys[0]")
                )));
            }
            return Ok(None);
        };
        let signing = self.place("key", key).await?;
        let mut retired = Vec::new();
        for (at, key) in fields.retired_keys.iter().enumerate() {
            retired.push(self.place(&format!("retired_keys[{at}]"), key).await?);
        }
        Ok(Some(OwnKeys::new(signing, retired)))
    }

    /// The names of `withdrawn_keys`, which also count if there is no own key.
    pub(super) fn withdrawn_keys(&self) -> Vec<String> {
        let listed = self.fields.withdrawn_keys.iter().flat_map(|list| &list.0);
        listed.flat_map(|entry| withdrawn_by(entry)).collect()
    }

    /// The source of a trusted issuer's keys. Without a place they are found by discovery.
    pub(super) async fn issuer_keys(
        &self,
        path: &str,
        name: &str,
        issuer: &Issuer,
    ) -> Result<Place, SettingsError> {
        let key_path = format!("{path}.key");
        match &issuer.key {
            Some(key) if !key.places().is_empty() => self.place(&key_path, key).await,
            key => {
                let key = key.clone().unwrap_or_default();
                self.url(path, &key_path, Address::Issuer(name), &key).await
            }
        }
    }

    async fn place(&self, path: &str, key: &Key) -> Result<Place, SettingsError> {
        let Some(&place) = key.places().first() else {
            return Err(SettingsError::new(format!(
                "{}: expected one of `value`, `variable`, `file`, `command`, `private_file`, `directory` and `generated_in`",
                self.origins.describe(path)
            )));
        };
        let path_of_place = format!("{path}.{place}");
        let setting = self.origins.describe(&path_of_place);
        let failed = |error: KeyError| SettingsError::new(setting.clone()).because(error);
        let algorithm = || {
            let missing = || {
                SettingsError::new(format!(
                    "{setting}: the setting `{path}.algorithm` is missing, as in \"HS256\", \"RS256\", \"ES256\" or \"EdDSA\""
                ))
            };
            key.algorithm.map(|Name(algorithm)| algorithm).ok_or_else(missing)
        };
        Ok(match key {
            Key { value: Some(value), .. } => {
                let read = self.format(path, key)?.read(value.0.as_bytes());
                Place::new(&setting, read.map_err(failed)?)
            }
            Key { variable: Some(VariableName(variable)), .. } => {
                let value = self.captured.read(variable).map_err(failed)?;
                Place::new(&setting, self.format(path, key)?.read(&value).map_err(failed)?)
            }
            Key { file: Some(Named(file)), .. } => {
                Place::new(&setting, FileSource::new(file, self.format(path, key)?))
            }
            Key { private_file: Some(Named(file)), .. } => {
                Place::new(&setting, FileSource::private(file, self.format(path, key)?))
            }
            Key { command: Some(line), .. } => {
                let command = CommandSource::from_line(&line.0, self.format(path, key)?).map_err(failed)?;
                let command = match key.timeout {
                    Some(timeout) => command.timeout(timeout.0),
                    None => command,
                };
                Place::new(&setting, command)
            }
            Key { directory: Some(Named(directory)), .. } => {
                let Some(signing) = &key.signing_file else {
                    return Err(SettingsError::new(format!(
                        "{setting}: the setting `{path}.signing_file` is missing, the name of the file that signs"
                    )));
                };
                Place::new(&setting, DirectorySource::new(directory, signing, self.format(path, key)?))
            }
            Key { generated_in: Some(Named(directory)), .. } => {
                Place::new(&setting, GeneratedSource::new(directory, algorithm()?))
            }
            Key { certificates_url: Some(Named(url)), .. } => {
                return self.url(&path_of_place, path, Address::Certificates(url, algorithm()?), key).await;
            }
            Key { jwks_url: Some(Named(url)), .. } => {
                return self.url(&path_of_place, path, Address::Keys(url), key).await;
            }
            _ => return Err(SettingsError::new(format!("{setting}: it names no key"))),
        })
    }

    fn format(&self, path: &str, key: &Key) -> Result<KeyFormat, SettingsError> {
        let name = key.format_name();
        let of: Option<fn(Algorithm) -> KeyFormat> = match name {
            "secret" => Some(KeyFormat::secret),
            "base64" => Some(KeyFormat::base64),
            "base64url" => Some(KeyFormat::base64url),
            "pem" => Some(KeyFormat::pem),
            "der" => Some(KeyFormat::der),
            "jwk" | "jwk_set" => None,
            _ => {
                return Err(SettingsError::new(format!(
                    "{}: expected `secret`, `base64`, `base64url`, `pem`, `der`, `jwk` or `jwk_set`",
                    self.origins.describe(&format!("{path}.format"))
                )));
            }
        };
        let mut format = match (of, key.algorithm) {
            (Some(of), Some(Name(algorithm))) => of(algorithm),
            (None, assumed) => {
                let format = if name == "jwk" { KeyFormat::jwk() } else { KeyFormat::jwk_set() };
                assumed.into_iter().fold(format, |format, Name(algorithm)| format.assume_algorithm(algorithm))
            }
            (Some(_), None) => {
                return Err(SettingsError::new(format!(
                    "{}: the setting `{path}.algorithm` is missing, as in \"HS256\", \"RS256\", \"ES256\" or \"EdDSA\"",
                    self.origins.describe(path)
                )));
            }
        };
        if let Some(kid) = &key.kid {
            format = format.with_kid(kid);
        }
        if key.airflow_kid == Some(true) {
            format = format.with_airflow_kid();
        }
        for kid in key.also_known_as.iter().flat_map(|list| &list.0) {
            format = format.also_known_as(kid);
        }
        if key.fully_specified_alg == Some(true) {
            format = format.with_fully_specified_alg();
        }
        Ok(if key.dangerous_short_hmac == Some(true) { format.dangerous().short_hmac() } else { format })
    }

    #[cfg(not(feature = "jwks-no-provider"))]
    async fn url(&self, at: &str, _: &str, _: Address<'_>, _: &Key) -> Result<Place, SettingsError> {
        Err(SettingsError::new(format!(
            "{}: keys are fetched from a URL only with the crate's feature `jwks`",
            self.origins.describe(at)
        )))
    }

    /// `at` is the setting with the address, `path` the table with the options.
    #[cfg(feature = "jwks-no-provider")]
    async fn url(
        &self,
        at: &str,
        path: &str,
        address: Address<'_>,
        key: &Key,
    ) -> Result<Place, SettingsError> {
        use crate::rotation::source::JwksUrl;

        let setting = self.origins.describe(at);
        let failed = |error: KeyError| SettingsError::new(setting.clone()).because(error);
        let mut source = match address {
            Address::Keys(url) => JwksUrl::new(url),
            Address::Certificates(url, algorithm) => JwksUrl::certificates(url, algorithm),
            Address::Issuer(issuer) => JwksUrl::discover(issuer),
        }
        .map_err(failed)?;
        if let (Address::Keys(_) | Address::Issuer(_), Some(Name(algorithm))) = (&address, key.algorithm) {
            source = source.assume_algorithm(algorithm);
        }
        if let Some(timeout) = key.timeout {
            source = source.timeout(timeout.0);
        }
        if let Some(bytes) = key.max_bytes {
            source = source.max_bytes(bytes);
        }
        if let Some(token) = &key.bearer_token {
            let token = token.read(&format!("{path}.bearer_token"), &self.captured, &self.origins).await?;
            source = source.bearer_token(&*token);
        }
        if let Some(Named(file)) = &key.bearer_token_file {
            source = source.bearer_token_file(file);
        }
        if let Some(proxy) = &key.proxy {
            let setting = format!("{path}.proxy");
            let url = proxy.read(&setting, &self.captured, &self.origins).await?;
            source = source
                .proxy(&*url)
                .map_err(|error| SettingsError::new(self.origins.describe(&setting)).because(error))?;
        }
        if key.without_proxy == Some(true) {
            source = source.without_proxy();
        }
        if let Some(Named(file)) = &key.root_certificate_file {
            let failed = |error: KeyError| {
                SettingsError::new(self.origins.describe(&format!("{path}.root_certificate_file")))
                    .because(error)
            };
            let pem = crate::rotation::source::read_file(file).await.map_err(failed)?;
            source = source.root_certificate(&*pem).map_err(failed)?;
        }
        Ok(Place::new(&setting, source))
    }
}

#[cfg_attr(not(feature = "jwks-no-provider"), allow(dead_code, reason = "the error names none"))]
enum Address<'a> {
    Keys(&'a str),
    Certificates(&'a str, Algorithm),
    Issuer(&'a str),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use crate::keys::VerifyingKey;
    use crate::keys::format::pem;
    use crate::keys::test_keys::*;

    /// The keys that the settings read in these bytes.
    fn read(key: &serde_json::Value, bytes: &[u8]) -> Result<Vec<VerifyingKey>, String> {
        let key: Key = serde_json::from_value(key.clone()).unwrap();
        let format = Settings::builder().load().unwrap().format("key", &key).unwrap();
        format.read(bytes).map(|set| set.into_verifying().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_option_is_without_effect_exactly_where_no_key_of_the_format_changes_by_it() {
        use base64::engine::{Engine as _, general_purpose::STANDARD, general_purpose::URL_SAFE_NO_PAD};

        const SECRET: &[u8] = b"a secret of these tests: 32 bytes and more";
        let long = [SECRET, SECRET].concat().to_ascii_uppercase();
        let oct = json!({ "kty": "oct", "alg": "HS512", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET) })
            .to_string();
        let private: [&[u8]; 3] = [P256, RSA_2048, ED25519];
        let rsa = String::from_utf8(RSA_2048_JWK.to_vec()).unwrap();
        let mut nameless: serde_json::Value = serde_json::from_str(&rsa).unwrap();
        nameless.as_object_mut().unwrap().remove("kid");
        let ed25519 =
            crate::SigningKey::from_pem(Algorithm::EdDSA, ED25519).unwrap().verifying_key().to_jwk().unwrap();
        let jwks = [oct, rsa, nameless.to_string(), ed25519];
        let files = |format: &str| -> Vec<Vec<u8>> {
            match format {
                "secret" => vec![SECRET.to_vec(), long.clone()],
                "base64" => [SECRET, &long].map(|secret| STANDARD.encode(secret).into()).into(),
                "base64url" => [SECRET, &long].map(|secret| URL_SAFE_NO_PAD.encode(secret).into()).into(),
                "pem" => private.map(<[u8]>::to_vec).into(),
                "der" => private.map(|key| pem::read(key).unwrap().der.to_vec()).into(),
                "jwk" => jwks.clone().map(String::into_bytes).into(),
                _ => jwks.clone().map(|jwk| format!(r#"{{"keys":[{jwk}]}}"#).into_bytes()).into(),
            }
        };
        let options = json!({
            "kid": "x",
            "also_known_as": ["x"],
            "airflow_kid": true,
            "fully_specified_alg": true,
            "dangerous_short_hmac": true,
        });
        let is_same = |some: &Vec<VerifyingKey>, others: &Vec<VerifyingKey>| {
            some.len() == others.len() && some.iter().zip(others).all(|(key, other)| key.is_same(other))
        };
        for format in ["secret", "base64", "base64url", "pem", "der", "jwk", "jwk_set"] {
            let files = files(format);
            for algorithm in ["HS256", "HS384", "HS512", "RS256", "PS512", "ES256", "EdDSA"] {
                for beside in [json!({}), json!({ "kid": "y" })] {
                    let mut key = json!({ "file": "/k", "format": format, "algorithm": algorithm });
                    key.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
                    let plain: Vec<_> = files.iter().map(|file| read(&key, file)).collect();
                    if plain.iter().all(Result::is_err) {
                        continue;
                    }
                    for (name, value) in options.as_object().unwrap() {
                        let mut changed = key.clone();
                        changed[name] = value.clone();
                        let has_effect = files.iter().zip(&plain).any(|(file, plain)| {
                            match (plain, read(&changed, file)) {
                                (Ok(plain), Ok(changed)) => !is_same(plain, &changed),
                                (plain, changed) => plain.is_ok() != changed.is_ok(),
                            }
                        });
                        let changed: Key = serde_json::from_value(changed).unwrap();
                        let idle: HashSet<_> = changed.without_effect().collect();
                        assert_eq!(!idle.contains(&**name), has_effect, "{name} of {key}");
                    }
                }
            }
        }
    }
}
