//! From settings to an authority and a layer, by their builders.

use std::time::Duration;

use http::HeaderName;

use super::Settings;
use super::error::SettingsError;
use super::types::{CookieFields, Fields, Issuer, Time};
use crate::authority::{Authority, AuthorityBuilder, PrivateClaims, RefreshTokens};
use crate::error::ConfigError;
use crate::keyring::handle::Keys;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keys::error::KeyError;
use crate::request::cookie::{Cookie, SameSite};
use crate::request::credential::Source;
use crate::rotation::KeyRotation;
use crate::server::ReissueLayer;
use crate::token::policy::{DEFAULT_LIFETIME, DEFAULT_REFRESH_LIFETIME};

impl Authority<PrivateClaims> {
    /// The authority of these settings. It loads the keys, keeps them up to date, and opens the store.
    ///
    /// For hooks, a clock or claims of a type of its own, see [`AuthorityBuilder::from_settings`].
    ///
    /// # Errors
    /// If a key or the store can't be used, or the settings don't fit together. The error names the setting at fault.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let builder = AuthorityBuilder::from_settings(settings).await?;
        // With hooks, the application's own code may say these.
        settings.fields.check_complete()?;
        settings.build(builder)
    }
}

impl AuthorityBuilder<PrivateClaims> {
    /// A builder with all that the settings say, for further options of the code's own. [`Settings::build`] builds it, with
    /// the settings in its errors.
    ///
    /// ```no_run
    /// use tower_reissue::settings::Settings;
    /// use tower_reissue::{Authority, AuthorityBuilder};
    ///
    /// # async fn start(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = AuthorityBuilder::from_settings(&settings).await?;
    /// let authority: Authority = settings.build(builder.renew_if(|token| token.subject() != Some("kiosk")))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As for [`Authority::from_settings`], except what [`build`](Self::build) finds.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let keys = settings.start_keys().await?;
        let mut builder = settings.fields.policy(Authority::builder(keys));
        if let Some(store) = settings.store().await? {
            builder = builder.store(store);
        }
        Ok(builder)
    }
}

impl<C: Send + Sync + 'static> ReissueLayer<C> {
    /// A layer that reads tokens and delivers successors as the settings say, under `request`.
    ///
    /// # Errors
    /// If one of these settings can't be right.
    pub fn from_settings(authority: Authority<C>, settings: &Settings) -> Result<Self, SettingsError> {
        let mut layer = Self::new(authority);
        let Some(request) = &settings.fields.request else { return Ok(layer) };
        let mut sources = Vec::new();
        // What the caller states counts before what a browser adds.
        if request.authorization != Some(false) {
            sources.push(Source::authorization());
        }
        sources.extend(settings.cookie()?.map(Source::cookie));
        sources.extend(request.websocket_query.clone().map(Source::websocket_query));
        if sources.is_empty() {
            return Err(SettingsError::new(format!(
                "{}: no token would be read: name a cookie or a query parameter, or leave this out",
                settings.origins.describe("request.authorization")
            )));
        }
        layer = layer.read_from(sources);
        if let Some(name) = &request.deliver_in {
            let at = || settings.origins.describe("request.deliver_in");
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| SettingsError::new(format!("{}: this is not a header's name", at())))?;
            layer = layer.deliver_in(header).map_err(|error| SettingsError::new(at()).because(error))?;
        }
        for origin in settings.allowed_origins() {
            layer = layer.allow_origin(origin).map_err(|error| {
                SettingsError::new(settings.origins.describe("request.allowed_origins")).because(error)
            })?;
        }
        if request.optional == Some(true) {
            layer = layer.optional();
        }
        if request.pass_preflight == Some(true) {
            layer = layer.pass_preflight();
        }
        Ok(layer)
    }
}

impl Settings {
    /// The cookie under `request.cookie`, to set at a login; [`ReissueLayer::from_settings`] reads it.
    ///
    /// # Errors
    /// If one of its settings can't be right.
    pub fn cookie(&self) -> Result<Option<Cookie>, SettingsError> {
        let request = self.fields.request.as_ref();
        self.cookie_at("request.cookie", request.and_then(|request| request.cookie.as_ref()))
    }

    /// The cookie under `refresh_tokens.cookie`, for the refresh tokens of pairs: for a login handler, and for the sources of a
    /// [`RefreshEndpoint`](crate::RefreshEndpoint::read_from).
    ///
    /// # Errors
    /// If one of its settings can't be right.
    pub fn refresh_cookie(&self) -> Result<Option<Cookie>, SettingsError> {
        let refresh = self.fields.refresh_tokens.as_ref();
        self.cookie_at("refresh_tokens.cookie", refresh.and_then(|refresh| refresh.cookie.as_ref()))
    }

    /// The origins under `request.allowed_origins`, for the `allow_origin` of endpoints.
    /// [`ReissueLayer::from_settings`] reads them too.
    pub fn allowed_origins(&self) -> impl Iterator<Item = &str> {
        let request = self.fields.request.iter();
        request.flat_map(|request| &request.allowed_origins).flat_map(|list| &list.0).map(String::as_str)
    }

    fn cookie_at(&self, path: &str, cookie: Option<&CookieFields>) -> Result<Option<Cookie>, SettingsError> {
        let Some(cookie) = cookie else { return Ok(None) };
        let at = |name: &str| self.origins.describe(&format!("{path}.{name}"));
        let failed =
            |name: &'static str| move |error: ConfigError| SettingsError::new(at(name)).because(error);
        let Some(name) = &cookie.name else {
            return Err(SettingsError::new(format!(
                "{}: the setting `{path}.name` is missing",
                self.origins.describe(path)
            )));
        };
        let mut built = match (cookie.without_host_prefix, cookie.insecure_for_development) {
            (_, Some(true)) => Cookie::insecure_for_development(name),
            (Some(true), _) => Cookie::without_host_prefix(name),
            _ => Cookie::new(name),
        }
        .map_err(failed("name"))?;
        if let Some(domain) = &cookie.domain {
            built = built.domain(domain).map_err(failed("domain"))?;
        }
        if let Some(path) = &cookie.path {
            built = built.path(path).map_err(failed("path"))?;
        }
        if let Some(same_site) = &cookie.same_site {
            built = built.same_site(match &*same_site.to_ascii_lowercase() {
                "strict" => SameSite::Strict,
                "lax" => SameSite::Lax,
                "none" => SameSite::None,
                _ => {
                    let at = at("same_site");
                    return Err(SettingsError::new(format!("{at}: expected `strict`, `lax` or `none`")));
                }
            });
        }
        if cookie.without_http_only == Some(true) {
            if built.needs_http_only() {
                let (at, name) = (at("without_http_only"), built.name());
                return Err(SettingsError::new(format!(
                    "{at}: browsers drop the cookie {name:?} without `HttpOnly`: use a name that begins with neither `Http-` \
                     nor `__Http-`"
                )));
            }
            built = built.without_http_only();
        }
        Ok(Some(if cookie.partitioned == Some(true) { built.partitioned() } else { built }))
    }

    /// Builds an authority from a builder of [`AuthorityBuilder::from_settings`].
    ///
    /// # Errors
    /// As [`AuthorityBuilder::build`]. The error also says where the settings that it speaks of came from.
    pub fn build<C: Send + Sync + 'static>(
        &self,
        builder: AuthorityBuilder<C>,
    ) -> Result<Authority<C>, SettingsError> {
        builder.build().map_err(|error| {
            let message = error.to_string();
            let origins = self.origins.mentioned_in(&message);
            SettingsError::new(format!("{message}{origins}")).because(error)
        })
    }

    /// An error about an option of this table. The error names the option as the builder's method, which is the setting's name.
    fn refused(&self, table: &str, error: KeyError) -> SettingsError {
        let message = error.to_string();
        let mut named = message.split('`').skip(1).step_by(2).map(|name| format!("{table}.{name}"));
        let setting = named.find(|path| self.origins.of(path).is_some());
        SettingsError::new(self.origins.describe(setting.as_deref().unwrap_or(table))).because(error)
    }

    async fn start_keys(&self) -> Result<Keys, SettingsError> {
        let fields = &self.fields;
        let mut rotation = match self.own_keys().await? {
            Some(own) if own.has_parts() => KeyRotation::new(own).with_late_parts(),
            Some(own) => KeyRotation::new(own),
            None if fields.trusted_issuers.is_empty() => {
                return Err(SettingsError::new(
                    "the setting `key` is missing, as in `key.algorithm` and `key.file`; a service that only verifies has \
                     `trusted_issuers` in its place",
                ));
            }
            None => KeyRotation::verify_only(),
        };
        for (at, issuer) in fields.trusted_issuers.iter().enumerate() {
            let path = format!("trusted_issuers[{at}]");
            let Some(name) = issuer.issuer.as_deref() else {
                return Err(SettingsError::new(format!(
                    "{}: the setting `{path}.issuer` is missing",
                    self.origins.describe(&path)
                )));
            };
            let trusted = issuer.trusted(name).checked().map_err(|error| self.refused(&path, error))?;
            let keys = self.issuer_keys(&path, name, issuer).await?;
            rotation = rotation.trust(trusted, keys);
        }
        rotation = rotation.withdrawing(&self.origins.describe("withdrawn_keys"), self.withdrawn_keys());
        rotation = rotation.overlap(fields.default_overlap());
        if let Some(set) = &fields.rotation {
            rotation = with(rotation, set.activation_delay, KeyRotation::activation_delay);
            rotation = with(rotation, set.reload_every, KeyRotation::reload_every);
            rotation = with(rotation, set.overlap, KeyRotation::overlap);
            rotation = with(rotation, set.stale_for, KeyRotation::stale_for);
            rotation = with(rotation, set.cooldown, KeyRotation::cooldown);
            if set.require_trusted_issuers == Some(true) {
                rotation = rotation.require_trusted_issuers();
            }
        }
        rotation.check().map_err(|error| self.refused("rotation", error))?;
        rotation.start().await.map_err(|error| SettingsError::new("the keys don't load").because(error))
    }
}

impl Fields {
    /// Names what has no default, in words for somebody who edits settings.
    fn check_complete(&self) -> Result<(), SettingsError> {
        let is_set = |flag: Option<bool>| flag == Some(true);
        let has_key = self.key.is_some();
        let is_unbounded = self.dangerous.as_ref().is_some_and(|it| is_set(it.unbounded_sessions));
        for (is_missing, what) in [
            (
                has_key && self.issuer.is_none() && !is_set(self.without_issuer),
                "`issuer` is missing: the name that issues the tokens, as in \"https://login.example\"; or `without_issuer`",
            ),
            (
                self.audience.is_none() && !is_set(self.without_audience),
                "`audience` is missing: the name of this service in the `aud` of tokens; or `without_audience`",
            ),
            (
                has_key && self.max_session_lifetime.is_none() && !is_unbounded,
                "`max_session_lifetime` is missing: the longest that a session may live, as in \"12h\"",
            ),
        ] {
            if is_missing {
                return Err(SettingsError::new(format!("the setting {what}")));
            }
        }
        Ok(())
    }

    /// A replaced key verifies for as long as the last token under it may be of use: its life, and at most five minutes of grace
    /// and one of leeway.
    fn default_overlap(&self) -> Duration {
        let or =
            |time: &Option<Time>, secs| time.as_ref().map_or(Duration::from_secs(secs), |Time(time)| *time);
        let refresh =
            self.refresh_tokens.as_ref().map(|refresh| or(&refresh.lifetime, DEFAULT_REFRESH_LIFETIME));
        let longest = or(&self.lifetime, DEFAULT_LIFETIME).max(refresh.unwrap_or_default());
        longest.saturating_add(Duration::from_secs(600)).max(Duration::from_secs(3600))
    }
}

fn with<B>(builder: B, time: Option<Time>, set: fn(B, Duration) -> B) -> B {
    match time {
        Some(Time(time)) => set(builder, time),
        None => builder,
    }
}

impl Issuer {
    fn trusted(&self, name: &str) -> TrustedIssuer {
        let mut issuer = match (&self.tenants, self.every_tenant) {
            (Some(tenants), _) => TrustedIssuer::tenants(name, tenants.0.iter().map(String::as_str)),
            (None, Some(true)) => TrustedIssuer::every_tenant(name),
            _ => TrustedIssuer::new(name),
        };
        for audience in self.audiences.iter().flat_map(|list| &list.0) {
            issuer = issuer.audience(audience);
        }
        if self.without_audience == Some(true) {
            issuer = issuer.without_audience();
        }
        for typ in self.access_types.iter().flat_map(|list| &list.0) {
            issuer = issuer.access_type(typ);
        }
        if let Some(claim) = &self.access_claim {
            issuer = issuer.access_claim(&claim.0, &claim.1);
        }
        if self.without_access_claim == Some(true) {
            issuer = issuer.without_access_claim();
        }
        for claim in self.required_claims.iter().flat_map(|list| &list.0) {
            issuer = issuer.require_claim(claim);
        }
        issuer = with(issuer, self.leeway, TrustedIssuer::leeway);
        issuer = with(issuer, self.future_tolerance, TrustedIssuer::future_tolerance);
        issuer = with(issuer, self.max_session_lifetime, TrustedIssuer::max_session_lifetime);
        issuer = with(issuer, self.accept_without_iat, TrustedIssuer::accept_without_iat);
        match self.session_starts_at_auth_time {
            Some(true) => issuer.session_starts_at_auth_time(),
            Some(false) => issuer.session_starts_at_iat(),
            None => issuer,
        }
    }
}

/// `builder.option(value)` for every option that the settings have.
macro_rules! apply {
    ($fields:ident, $builder:ident;
     values: $($value:ident)+; times: $($time:ident)+; flags: $($flag:ident)+; lists: $($list:ident => $each:ident,)+) => {
        $(if let Some(value) = $fields.$value.clone() { $builder = $builder.$value(value); })+
        $(if let Some(Time(time)) = $fields.$time { $builder = $builder.$time(time); })+
        $(if $fields.$flag == Some(true) { $builder = $builder.$flag(); })+
        $(for entry in $fields.$list.iter().flat_map(|list| &list.0) { $builder = $builder.$each(entry); })+
    };
}

impl Fields {
    fn policy(&self, mut builder: AuthorityBuilder) -> AuthorityBuilder {
        apply! {
            self, builder;
            values: issuer audience jitter_percent session_start_claim max_token_bytes max_added_head_bytes
                max_sessions_per_subject token_cache_bytes;
            times: max_session_lifetime max_token_lifetime lifetime leeway grace future_tolerance accept_without_iat
                in_flight_allowance renewer_deadline;
            flags: without_issuer without_audience session_starts_at_auth_time admit_in_grace end_session_on_reuse
                admit_after_store_loss;
            lists: also_accept_audiences => also_accept_audience, legacy_audiences => legacy_audience,
                access_types => access_type, required_claims => require_claim,
        }
        if let Some(claim) = &self.access_claim {
            builder = builder.access_claim(&claim.0, &claim.1);
        }
        if let Some(refresh) = &self.refresh_tokens {
            let tokens = RefreshTokens::new(refresh.audience.clone().unwrap_or_default());
            let tokens = with(tokens, refresh.lifetime, RefreshTokens::lifetime);
            let mut tokens = with(tokens, refresh.reuse_window, RefreshTokens::reuse_window);
            if refresh.sliding_access_tokens == Some(true) {
                tokens = tokens.sliding_access_tokens();
            }
            builder = builder.refresh_tokens(tokens);
        }
        if let Some(dangerous) = &self.dangerous {
            if dangerous.unbounded_sessions == Some(true) {
                builder = builder.dangerous().unbounded_sessions();
            }
            if dangerous.ignore_cnf == Some(true) {
                builder = builder.dangerous().ignore_cnf();
            }
        }
        if let Some(Time(deadline)) = self.store.as_ref().and_then(|store| store.deadline) {
            builder = builder.store_deadline(deadline);
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuers_auth_time_counts_or_not_or_as_the_authority_has_it() {
        let named = || TrustedIssuer::new("https://sso.example");
        for (set, expected) in [
            (None, named()),
            (Some(true), named().session_starts_at_auth_time()),
            (Some(false), named().session_starts_at_iat()),
        ] {
            let issuer = Issuer { session_starts_at_auth_time: set, ..Issuer::default() };
            assert_eq!(issuer.trusted("https://sso.example"), expected, "{set:?}");
        }
    }
}
