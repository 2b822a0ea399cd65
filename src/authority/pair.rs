//! Pairs: an access token, and the refresh token that it is renewed with.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::issue::check_capacity;
use super::mint::{Draft, new_jti};
use super::{Authority, IssueError, IssuedToken, Login};
use crate::refusal::{Reason, Refusal};
use crate::store::Rotation;
use crate::telemetry::Event;
use crate::token::kind::Sliding;
use crate::token::refresh::NotContinued;
use crate::token::scope;

/// An access token and the refresh token of its session.
///
/// The access token is like any other, and is never renewed in a response: it carries the claim `"sliding": false`, unless
/// [`RefreshTokens::sliding_access_tokens`](super::RefreshTokens::sliding_access_tokens) asks for that. The refresh token has
/// the `typ` `refresh+jwt` and the refresh endpoint's audience, so no service takes it for an access token.
#[derive(Clone)]
#[non_exhaustive]
pub struct TokenPair {
    /// Goes to the services.
    pub access: IssuedToken,
    /// Goes to the refresh endpoint alone.
    pub refresh: IssuedToken,
    /// The access token's scopes, if it has any.
    pub(super) scope: Option<String>,
}

impl TokenPair {
    /// The body of a token response (RFC 6749 §5.1): `access_token`, `token_type`, `expires_in` (seconds), `refresh_token`
    /// and, if the access token has scopes, `scope`. Send it as `application/json` with `Cache-Control: no-store`.
    pub fn to_json(&self) -> String {
        self.json(Some(self.refresh.as_str()))
    }

    /// The same without `refresh_token`, for a client that keeps its refresh token in a cookie
    /// ([`Authority::set_cookie`]).
    pub fn to_json_without_refresh_token(&self) -> String {
        self.json(None)
    }

    fn json(&self, refresh_token: Option<&str>) -> String {
        let Self { access, scope, .. } = self;
        let mut body = json!({
            "access_token": access.as_str(),
            "token_type": "Bearer",
            "expires_in": access.expires_at().since(access.issued_at),
        });
        for (name, value) in [("refresh_token", refresh_token), ("scope", scope.as_deref())] {
            if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
                body.insert(name.to_owned(), value.into());
            }
        }
        body.to_string()
    }
}

/// Tokens are secrets.
impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("access", &self.access)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Begins a session with an access token and a refresh token, or continues the session that [`Login::in_session`] names
    /// with them. The store records the refresh token, so the session can be listed and revoked from then on; either token
    /// ends it at a [`RevokeEndpoint`](crate::RevokeEndpoint).
    ///
    /// The access token lives for the [`lifetime`](super::AuthorityBuilder::lifetime) and the refresh token for
    /// [`RefreshTokens::lifetime`](super::RefreshTokens::lifetime), both until the session's limit at most. The refresh token
    /// holds the login's private claims in its claim `access_claims`, for the access tokens to come. Both get the login's
    /// `cnf` (RFC 7800), so that a refresh needs the proof too.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use serde_json::json;
    /// # use tower_reissue::{Algorithm, SigningKey};
    /// use tower_reissue::{Authority, Login, MemoryStore, RefreshTokens};
    ///
    /// # async fn sign_in() -> Result<(), Box<dyn std::error::Error>> {
    /// # let key = SigningKey::generate(Algorithm::EdDSA)?;
    /// let authority = Authority::builder(key)
    ///     .issuer("https://login.example")
    ///     .audience("orders")
    ///     .max_session_lifetime(Duration::from_secs(30 * 24 * 3600))
    ///     .store(MemoryStore::new())
    ///     .refresh_tokens(RefreshTokens::new("https://login.example/refresh"))
    ///     .build()?;
    ///
    /// // In the login handler:
    /// let login = Login::new("alice").claims(&json!({ "scope": "orders:read orders:write" }));
    /// let pair = authority.issue_pair(login).await?;
    /// let body = pair.to_json();
    /// # assert!(body.contains(pair.refresh.as_str()));
    /// assert!(authority.admit(pair.access.as_str()).await.is_ok());
    /// assert!(authority.admit(pair.refresh.as_str()).await.is_err());
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sign_in()).unwrap();
    /// ```
    ///
    /// # Errors
    /// An [`IssueError`]. No token was issued then.
    pub async fn issue_pair(&self, login: Login) -> Result<TokenPair, IssueError> {
        if self.0.policy.refresh.is_none() {
            return Err(IssueError::NoRefreshTokens);
        }
        let (refresh_jti, access_jti) = (new_jti()?, new_jti()?);
        let sign_in = self.sign_in(login, &refresh_jti, true).await?;
        let (policy, now) = (&self.0.policy, sign_in.now);
        let sign = |start| {
            let iat = now.max(start);
            let refresh = self.draft(&Draft::refresh(&sign_in.grant, refresh_jti.clone(), iat, start))?;
            let access = Draft::access(&sign_in.grant, access_jti.clone(), iat, start);
            let access = self.draft(&access.renewed(policy.of_pairs()))?;
            let ring = self.0.keys.load();
            let renewed_len = self.renewed_len(&ring, &access)?;
            let slides = policy.of_pairs() == Sliding::InPair && !sign_in.allows_undeliverable;
            let renewed_len = slides.then_some(renewed_len);
            check_capacity(renewed_len, policy.any_capacity())?;
            let pair = TokenPair {
                access: IssuedToken { renewed_len, ..self.sign_unsigned(&ring, &access, now)? },
                refresh: self.sign_refresh_token(&ring, &refresh, now)?,
                scope: scope::named(&access.claims),
            };
            let until = policy.refresh_token_matters_until(refresh.expires_at, start);
            Ok((pair, refresh, until))
        };
        let Some(joined) = &sign_in.joined else { return self.begin(&sign_in, sign).await };
        let (pair, proposed, _) = sign(joined.session_start())?;
        let until = policy.refresh_record_matters_until(joined.verified(), proposed.expires_at);
        let store = self.0.store.clone().ok_or(IssueError::NoRefreshTokens)?;
        let id = self.token_id(&sign_in.grant, &proposed.jti);
        let rotation = Rotation::renewal(joined.presented(now), id, Arc::clone(&proposed.claims), until)
            .limited_by(self.retention(now));
        let rotated = self.ask(store.rotate(rotation)).await.map_err(IssueError::Store)?;
        let continued = policy.continued_by_pair(joined.verified(), &proposed.claims, now, rotated);
        let refresh = match continued {
            Ok(None) => pair.refresh,
            Ok(Some((jti, recorded))) => {
                let recorded = proposed.recorded(recorded).named(jti);
                self.sign_refresh_token(&self.0.keys.load(), &recorded, now)?
            }
            Err(NotContinued::NotNewest) => return Err(IssueError::NotNewest),
            Err(NotContinued::Revoked) => return Err(IssueError::NotLive(Refusal::new(Reason::Revoked))),
        };
        self.reporter().emit(&Event::Issued { expires_at: refresh.expires_at });
        Ok(TokenPair { refresh, ..pair })
    }
}
