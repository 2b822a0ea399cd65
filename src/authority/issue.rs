//! The first token of a session, for the login handler.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use serde::Serialize;
use serde::de::Error as _;

use super::builder::RESERVED;
use super::{Authority, sign};
use crate::crypto;
use crate::error::{debug_as_display, with_causes};
use crate::jose::base64;
use crate::jose::json;
use crate::jose::json::Change;
use crate::jose::json::quoted;
use crate::refusal::{Reason, Refusal};
use crate::request::cookie::Cookie;
use crate::store::{Presented, Rotated, Rotation, SessionId, StoreError, SubjectId};
use crate::telemetry::Event;
use crate::time::NumericDate;
use crate::token::claims::Claims;
use crate::token::identity::{SUCCESSOR_JTI_LEN, TokenId};
use crate::token::reissue::{Capacity, NotReissued};

/// A sign-in: the subject, and the claims for its tokens.
#[must_use = "a login is a request to `Authority::issue`"]
pub struct Login {
    subject: String,
    private: Result<String, serde_json::Error>,
    allows_undeliverable: bool,
}

impl Login {
    /// A sign-in of `subject`, the token's `sub`. [`issue`](Authority::issue) refuses an empty or blank subject.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), private: Ok("{}".to_owned()), allows_undeliverable: false }
    }

    /// The private claims, which must serialise to a JSON object. Names that the authority writes itself are refused:
    /// `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`, `sid`, the session-start claim and the access claim.
    pub fn claims(mut self, private: &impl Serialize) -> Self {
        self.private = serde_json::to_string(private);
        self
    }

    /// Issues the token even if its successors are too large for a response head. Use it for a token that no layer
    /// renews, or whose holder signs in again when it expires. Default: [`IssueError::HeadTooLarge`].
    pub fn allow_undeliverable(mut self) -> Self {
        self.allows_undeliverable = true;
        self
    }
}

/// Subject and claims are somebody's data.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// The first token of a session.
#[derive(Clone)]
pub struct IssuedToken {
    token: String,
    issued_at: NumericDate,
    expires_at: NumericDate,
    session: SessionId,
    /// The length of its successors, which are to fit where it fits; `None` where that does not matter.
    renewed_len: Option<usize>,
}

impl IssuedToken {
    /// The compact JWS.
    pub fn as_str(&self) -> &str {
        &self.token
    }

    /// The compact JWS.
    pub fn into_string(self) -> String {
        self.token
    }

    /// Its `exp`.
    pub fn expires_at(&self) -> NumericDate {
        self.expires_at
    }

    /// The session that it begins.
    pub fn session(&self) -> SessionId {
        self.session
    }
}

/// A token is a secret.
impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[non_exhaustive]
pub enum IssueError {
    /// The authority's keys only verify ([`KeyRing::verify_only`](crate::keys::KeyRing::verify_only)): there is no key to sign
    /// with.
    VerifyOnly,
    /// The subject is empty or blank. Otherwise all accounts without a name would share one subject.
    NoSubject,
    /// The private claims can't be serialised. What serde says of it may quote a claim, so this error neither prints it nor
    /// returns it as its source.
    Claims(serde_json::Error),
    /// The private claims are not one JSON object with distinct names, nested at most 128 deep.
    NotAnObject,
    /// The private claims hold a name that the authority writes itself.
    ReservedClaim(String),
    /// This service would refuse the token, for the reason in the refusal: a required claim is missing, say.
    Unacceptable(Refusal),
    /// The private claims can't be read as the [`private_claims::<T>()`](super::AuthorityBuilder::private_claims) of
    /// this authority. serde's message may quote a claim, so this error neither prints it nor returns it as its
    /// source.
    Unreadable(serde_json::Error),
    /// The token or its successor would be longer than this service accepts.
    TooLong,
    /// The token's successor would make a response head larger than
    /// [`max_added_head_bytes`](super::AuthorityBuilder::max_added_head_bytes) allows, so it could not be renewed.
    #[non_exhaustive]
    HeadTooLarge {
        /// The length of the successor, in bytes.
        bytes: usize,
        /// The longest that can be delivered.
        max: usize,
    },
    /// The key could not sign.
    Signing,
    /// The session could not be recorded. Answer 503: the next try may succeed.
    Store(StoreError),
    /// The subject's sessions, or all sessions, were revoked up to an instant so far ahead that no session may begin
    /// after it. This clock is behind the revoker's or the store's by more than the tolerance. Answer 503.
    Revoked,
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Self::VerifyOnly => "the authority's keys only verify, so it issues nothing: give it a key that signs".to_owned(),
            Self::NoSubject => "the login names no subject: `Login::new` takes the account that signed in".to_owned(),
            Self::Claims(_) => "the private claims can't be serialised; what serde says is within this error, for it may quote a claim"
                .to_owned(),
            Self::NotAnObject => "the private claims must be one JSON object with distinct names".to_owned(),
            Self::ReservedClaim(name) => {
                format!("the private claims hold {name:?}, which the authority writes itself")
            }
            Self::Unacceptable(refusal) => {
                format!("this service would refuse the token: {refusal} ({:?})", refusal.reason())
            }
            Self::Unreadable(error) => format!(
                "the private claims can't be read back as the type of `private_claims`; the reader stopped at column {} of \
                 the claims, and what it says is within this error, for it may quote a claim",
                error.column()
            ),
            Self::TooLong => {
                "the token would be longer than `max_token_bytes`, or its cookie than browsers keep: fewer claims are right"
                    .to_owned()
            }
            Self::HeadTooLarge { bytes, max } => format!(
                "the token's successor would have {bytes} bytes, and a response head carries {max}: fewer claims are right, or \
                 a larger `max_added_head_bytes` and proxies that take it, or `Login::allow_undeliverable`"
            ),
            Self::Signing => "the signing key could not sign".to_owned(),
            Self::Store(_) => "the session could not be recorded".to_owned(),
            Self::Revoked => {
                "the subject's sessions were revoked up to an instant that this clock has not reached; try again"
                    .to_owned()
            }
        };
        f.write_str(&with_causes(message, self.source()))
    }
}

impl StdError for IssueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(source) => Some(source),
            _ => None,
        }
    }
}

debug_as_display!(IssueError);

/// What a new session's first token is called, whose it is, and whether it may be too large to be renewed.
struct Names {
    subject: String,
    jti: String,
    sid: String,
    allows_undeliverable: bool,
}

/// A session's first token, signed.
struct First {
    token: String,
    renewed_len: Option<usize>,
    claims: Arc<str>,
    expires_at: NumericDate,
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Issues the first token of a session. With a store the session is recorded, so it can be listed and revoked
    /// from then on.
    ///
    /// # Errors
    /// An [`IssueError`]. No token was issued then.
    pub async fn issue(&self, login: Login) -> Result<IssuedToken, IssueError> {
        if self.verifies_only() {
            return Err(IssueError::VerifyOnly);
        }
        if login.subject.trim().is_empty() {
            return Err(IssueError::NoSubject);
        }
        let policy = &self.0.policy;
        let private = login.private.map_err(IssueError::Claims)?;
        self.check_private(&private)?;

        let now = self.now();
        let iss = policy.issuer.as_deref();
        let jti = base64::encode_url(crypto::random::<16>().map_err(|_| IssueError::Signing)?);
        let id = TokenId::from_claims(iss, Some(&login.subject), &jti);
        let Login { subject, allows_undeliverable, .. } = login;
        let names = Names { sid: id.derived_sid(), jti, subject, allows_undeliverable };
        let session = SessionId::new(iss, &names.sid);
        let mut start = now;
        // Again where sessions of that age were revoked: before it was asked, or while it was.
        for _ in 0..3 {
            let First { token, renewed_len, claims, expires_at } =
                self.sign_first(&names, &private, start)?;
            let revoked_until = match self.0.store.clone() {
                None => None,
                Some(store) => {
                    let subject = SubjectId::new(iss, &names.subject);
                    let presented = Presented::new(session, id, Some(subject), start, now);
                    let until = policy.token_matters_until(expires_at, start);
                    let sign_in = Rotation::sign_in(presented, claims, until).limited_by(self.retention(now));
                    match self.ask(store.rotate(sign_in)).await.map_err(IssueError::Store)? {
                        Rotated::Predated { revoked_until } => Some(revoked_until),
                        Rotated::Revoked => return Err(IssueError::Revoked),
                        _ => None,
                    }
                }
            };
            match revoked_until {
                None => {
                    self.emit(Event::Issued { expires_at });
                    return Ok(IssuedToken { token, issued_at: now, expires_at, session, renewed_len });
                }
                Some(instant) => start = policy.begins_after(instant, now).ok_or(IssueError::Revoked)?,
            }
        }
        Err(IssueError::Revoked)
    }

    /// The first token of a session that begins at `start`.
    fn sign_first(&self, names: &Names, private: &str, start: NumericDate) -> Result<First, IssueError> {
        let policy = &self.0.policy;
        let exp = start.after(policy.lifetime).min(policy.session_end(start));
        let mut own =
            vec![("sub", quoted(&names.subject)), ("exp", exp.to_string()), ("iat", start.to_string())];
        own.extend(policy.issuer.as_deref().map(|iss| ("iss", quoted(iss))));
        own.extend(policy.primary_audience().map(|aud| ("aud", quoted(aud))));
        own.extend([("jti", quoted(&names.jti)), ("sid", quoted(&names.sid))]);
        own.push((&policy.session_start_claim, start.to_string()));
        own.extend(policy.access_claim.as_ref().map(|(name, value)| (&**name, quoted(value))));
        let own = own.into_iter().map(|(name, value)| Change::Append { name, value: value.into() });
        let claims = json::splice(private, own.collect()).ok_or(IssueError::NotAnObject)?;
        let claims: Arc<str> = claims.into();
        self.check_own(&claims)?;

        let ring = self.0.keys.load();
        let typ = Some(policy.issued_type());
        // A successor differs in its dates, which are as long, and in its `jti`.
        let successor = claims.len() + SUCCESSOR_JTI_LEN - names.jti.len();
        let bytes = sign::signed_len(&ring, successor, typ).ok_or(IssueError::Signing)?;
        if bytes > policy.max_token_bytes {
            return Err(IssueError::TooLong);
        }
        let renewed_len = (!names.allows_undeliverable).then_some(bytes);
        check_capacity(renewed_len, policy.any_capacity())?;
        let token = sign::sign(&ring, &claims, typ).map_err(|_| IssueError::Signing)?;
        let token = String::from_utf8(token).map_err(|_| IssueError::Signing)?;
        Ok(First { token, renewed_len, claims, expires_at: exp })
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
        check_capacity(token.renewed_len, self.cookie_capacity(cookie))?;
        let max_age = self.cookie_max_age(token.expires_at, token.issued_at);
        cookie.set(&token.token, max_age).ok_or(IssueError::TooLong)
    }

    /// A token that this very service would refuse is a mistake that its developer should hear of at once.
    fn check_own(&self, claims: &Arc<str>) -> Result<(), IssueError> {
        let policy = &self.0.policy;
        let parsed = Claims::parse(Arc::clone(claims), policy, None).map_err(IssueError::Unacceptable)?;
        let bound = parsed.confirmation().is_some() && !policy.ignore_confirmation;
        if bound && self.0.hooks.confirm.is_none() {
            return Err(IssueError::Unacceptable(Refusal::new(Reason::Unconfirmed)));
        }
        // The type that reads them is the application's own.
        match self.ask_hook("private_claims", || (self.0.view)(claims).map(drop)) {
            Some(read) => read.map_err(IssueError::Unreadable),
            None => Err(IssueError::Unreadable(serde_json::Error::custom("it panicked"))),
        }
    }

    fn check_private(&self, private: &str) -> Result<(), IssueError> {
        let policy = &self.0.policy;
        let own = |name: &str| {
            RESERVED.contains(&name)
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

/// Whether a successor of this length, if it matters, can be delivered.
fn check_capacity(renewed_len: Option<usize>, capacity: Capacity) -> Result<(), IssueError> {
    match (renewed_len, capacity) {
        (Some(bytes), Capacity { longest, otherwise }) if bytes > longest => Err(match otherwise {
            NotReissued::CookieTooLong => IssueError::TooLong,
            _ => IssueError::HeadTooLarge { bytes, max: longest },
        }),
        _ => Ok(()),
    }
}
