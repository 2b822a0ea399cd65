//! Issues tokens for a login handler: the first one of a session, or another one.

use std::any::Any;
use std::fmt;

use http::HeaderValue;
use serde::Serialize;

use super::builder::{PAIR_CLAIMS, RESERVED};
use super::mint::{Draft, Grant, Unsigned, new_jti, split_off};
use super::{Authority, IssueError, IssuedToken, VerifiedToken};
use crate::jose::json;
use crate::refusal::{Reason, Refusal};
use crate::request::cookie::Cookie;
use crate::store::{Presented, Rotation, SessionId, SubjectId};
use crate::telemetry::Event;
use crate::time::NumericDate;
use crate::token::capacity::Capacity;
use crate::token::claims::CLIENT_ID;
use crate::token::identity::TokenId;
use crate::token::kind::Sliding;
use crate::token::not_reissued::NotReissued;

/// A sign-in: the subject, and the claims for its tokens.
#[must_use = "a login is a request to `Authority::issue` or `Authority::issue_pair`"]
pub struct Login {
    subject: String,
    /// The `VerifiedToken<C>` whose session it joins. `Any`, because only the authority knows `C`.
    joins: Option<Box<dyn Any + Send + Sync>>,
    private: Result<String, serde_json::Error>,
    client_id: Option<String>,
    allows_undeliverable: bool,
}

impl Login {
    /// A sign-in of `subject`, the token's `sub`. [`issue`](Authority::issue) refuses an empty or blank subject.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            joins: None,
            private: Ok("{}".to_owned()),
            client_id: None,
            allows_undeliverable: false,
        }
    }

    /// More tokens in the session of a token that was admitted. They inherit its `sub`, `sid`, session start and `cnf`;
    /// every other claim is given with [`claims`](Self::claims). The token must be an own one that this authority admits
    /// now. If the store does not answer, or the session was revoked, nothing is issued.
    ///
    /// * [`issue`](Authority::issue) then issues an access token that is never renewed, besides the one that was presented.
    /// * [`issue_pair`](Authority::issue_pair) continues the session with the pair. The store records that the refresh token
    ///   supersedes the presented one, which is not renewed any more. If its answer was lost, ask again with the same token and
    ///   claims: until the refresh token is used, it is issued again.
    pub fn in_session<C: Send + Sync + 'static>(token: &VerifiedToken<C>) -> Self {
        Self { joins: Some(Box::new(token.clone())), ..Self::new("") }
    }

    /// The private claims, which must serialise to a JSON object. Names that the authority writes itself are refused:
    /// `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`, `sid`, the session-start claim and the access claim; in a pair, and
    /// for [`in_session`](Self::in_session), also `sliding`, `access_claims` and `client_id`.
    ///
    /// A token with the claim `"sliding": false` is never renewed.
    pub fn claims(mut self, private: &impl Serialize) -> Self {
        self.private = serde_json::to_string(private);
        self
    }

    /// The client that the tokens are issued to, their `client_id` (RFC 9068 §2.2). A refresh must then name the same one
    /// (RFC 6749 §6). Default: none.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Issues the token even if its successors are too large for a response head. Use it for a token that no layer
    /// renews, or whose holder signs in again when it expires. Default: [`IssueError::HeadTooLarge`]. Of a pair it matters
    /// for a [sliding](super::RefreshTokens::sliding_access_tokens) access token alone. A refresh needs no such permission: if its
    /// access token's successor would be too large, that token is renewed by the refresh token alone.
    pub fn allow_undeliverable(mut self) -> Self {
        self.allows_undeliverable = true;
        self
    }
}

/// Subject and claims are personal data.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// A login that was checked.
pub(super) struct SignIn<C> {
    pub(super) grant: Grant,
    /// The token whose session the login joins.
    pub(super) joined: Option<VerifiedToken<C>>,
    pub(super) allows_undeliverable: bool,
    pub(super) now: NumericDate,
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Issues the first token of a session, or another one of the session that [`Login::in_session`] names. With a store a
    /// new session is recorded, so it can be listed and revoked from then on.
    ///
    /// # Errors
    /// An [`IssueError`]. No token was issued then.
    pub async fn issue(&self, login: Login) -> Result<IssuedToken, IssueError> {
        let jti = new_jti()?;
        let sign_in = self.sign_in(login, &jti, false).await?;
        let now = sign_in.now;
        if let Some(joined) = &sign_in.joined {
            let start = joined.session_start();
            let draft = Draft::access(&sign_in.grant, jti, now.max(start), start).renewed(Sliding::Never);
            let token = self.sign_unsigned(&self.0.keys.load(), &self.draft(&draft)?, now)?;
            self.reporter().emit(&Event::Issued { expires_at: token.expires_at });
            return Ok(token);
        }
        self.begin(&sign_in, |start| {
            let draft = Draft::access(&sign_in.grant, jti.clone(), start, start);
            let unsigned = self.draft(&draft)?;
            let ring = self.0.keys.load();
            let renewed_len = self.renewed_len(&ring, &unsigned)?;
            let renewed_len = (!sign_in.allows_undeliverable).then_some(renewed_len);
            check_capacity(renewed_len, self.0.policy.any_capacity())?;
            let token = self.sign_unsigned(&ring, &unsigned, now)?;
            let until = self.0.policy.token_matters_until(unsigned.expires_at, start);
            Ok((IssuedToken { renewed_len, ..token }, unsigned, until))
        })
        .await
    }

    /// Checks a login. `jti` is the `jti` of the token that begins the session, if it begins one.
    pub(super) async fn sign_in(
        &self,
        login: Login,
        jti: &str,
        is_pair: bool,
    ) -> Result<SignIn<C>, IssueError> {
        if self.verifies_only() {
            return Err(IssueError::VerifyOnly);
        }
        let iss = self.0.policy.issuer.as_deref();
        let Login { subject, joins, private, client_id, allows_undeliverable } = login;
        let joined = joins.map(|token| self.to_join(token)).transpose().map_err(IssueError::NotLive)?;
        if joined.is_none() && subject.trim().is_empty() {
            return Err(IssueError::NoSubject);
        }
        let mut private = private.map_err(IssueError::Claims)?;
        let is_written = |name: &str| match name {
            "cnf" => joined.is_some(),
            CLIENT_ID => is_pair || client_id.is_some(),
            name => (is_pair || joined.is_some()) && PAIR_CLAIMS.contains(&name),
        };
        self.check_private(&private, is_written)?;
        let mut now = self.now();
        let (subject, sid, mut cnf) = match &joined {
            Some(token) => {
                now = self.admit_again(token).await.map_err(IssueError::NotLive)?;
                let claims = token.verified().claims();
                let cnf = claims.confirmation().map(str::to_owned);
                (claims.sub().map(str::to_owned), token.verified().sid(), cnf)
            }
            None => {
                let sid = TokenId::from_claims(iss, Some(&subject), jti).derived_sid();
                (Some(subject), sid, None)
            }
        };
        if is_pair && cnf.is_none() {
            // Both tokens and all their successors are bound.
            (private, cnf) = split_off(&private, "cnf");
        }
        let grant = Grant { session: SessionId::new(iss, &sid), subject, sid, cnf, client_id, private };
        Ok(SignIn { grant, joined, allows_undeliverable, now })
    }

    /// The token whose session a login joins, if it is one of this authority's own.
    fn to_join(&self, token: Box<dyn Any + Send + Sync>) -> Result<VerifiedToken<C>, Refusal> {
        let foreign = "it is not an own token that this authority admitted";
        let foreign = || Refusal::new(Reason::WrongIssuer).with_hint(foreign);
        let token = *token.downcast::<VerifiedToken<C>>().map_err(|_| foreign())?;
        if token.is_own() && token.is_of(&self.0) { Ok(token) } else { Err(foreign()) }
    }

    /// Begins a session. `sign` makes its token for a given start, and returns until when the record is needed.
    pub(super) async fn begin<T>(
        &self,
        sign_in: &SignIn<C>,
        sign: impl Fn(NumericDate) -> Result<(T, Unsigned, NumericDate), IssueError>,
    ) -> Result<T, IssueError> {
        let (policy, now) = (&self.0.policy, sign_in.now);
        let mut start = now;
        // Tried again with a later start if sessions of this age were revoked, before the call or during it.
        for _ in 0..3 {
            let (issued, recorded, until) = sign(start)?;
            let revoked_until = match self.0.store.clone() {
                None => None,
                Some(store) => {
                    let subject = sign_in.grant.subject.as_deref();
                    let subject = subject.map(|sub| SubjectId::new(policy.issuer.as_deref(), sub));
                    let id = self.token_id(&sign_in.grant, &recorded.jti);
                    let presented = Presented::new(sign_in.grant.session, id, subject, start, now);
                    let rotation = Rotation::sign_in(presented, recorded.claims, until);
                    let rotation = rotation.limited_by(self.retention(now));
                    let rotated = self.ask(store.rotate(rotation)).await.map_err(IssueError::Store)?;
                    rotated.of_sign_in().map_err(|_| IssueError::Revoked)?
                }
            };
            match revoked_until {
                None => {
                    self.reporter().emit(&Event::Issued { expires_at: recorded.expires_at });
                    return Ok(issued);
                }
                Some(instant) => start = policy.begins_after(instant, now).ok_or(IssueError::Revoked)?,
            }
        }
        Err(IssueError::Revoked)
    }

    /// The value of the `Set-Cookie` field that gives a new token to a browser, in the cookie that
    /// [`Source::cookie`](crate::Source::cookie) reads.
    ///
    /// # Errors
    /// [`IssueError::TooLong`] if browsers would not keep the cookie, or the one with its successor: more than 4,096
    /// bytes in all. [`IssueError::HeadTooLarge`] if a response head with the successor would be larger than
    /// [`max_added_head_bytes`](super::AuthorityBuilder::max_added_head_bytes), because this cookie's domain and path
    /// are long.
    pub fn set_cookie(&self, cookie: &Cookie, token: &IssuedToken) -> Result<HeaderValue, IssueError> {
        check_capacity(token.renewed_len, self.policy().cookie_capacity(cookie, 0))?;
        let max_age = self.cookie_max_age(token.expires_at, token.issued_at);
        cookie.set(&token.token, max_age).ok_or(IssueError::TooLong)
    }

    /// The private claims that a renewer gives to the access token of a pair.
    pub(super) fn check_renewed(&self, private: &str) -> Result<(), IssueError> {
        self.check_private(private, |name| name == "cnf" || PAIR_CLAIMS.contains(&name))
    }

    /// Refuses names that the authority writes itself. `is_written` says which more it writes for this login.
    fn check_private(&self, private: &str, is_written: impl Fn(&str) -> bool) -> Result<(), IssueError> {
        let policy = &self.0.policy;
        let own = |name: &str| {
            RESERVED.contains(&name)
                || is_written(name)
                || name == policy.session_start_claim
                || policy.access_claim.as_ref().is_some_and(|(claim, _)| name == claim)
        };
        let members = json::members(private).map_err(|_| IssueError::NotAnObject)?;
        match members.into_iter().find(|member| own(&member.name)) {
            Some(member) => Err(IssueError::ReservedClaim(member.name.into_owned())),
            None => Ok(()),
        }
    }
}

/// Checks that a successor of this length can be delivered, if its length matters.
pub(super) fn check_capacity(renewed_len: Option<usize>, capacity: Capacity) -> Result<(), IssueError> {
    match (renewed_len, capacity) {
        (Some(bytes), Capacity { longest, otherwise }) if bytes > longest => Err(match otherwise {
            NotReissued::CookieTooLong => IssueError::TooLong,
            _ => IssueError::HeadTooLarge { bytes, max: longest },
        }),
        _ => Ok(()),
    }
}
