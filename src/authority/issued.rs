//! [`IssuedToken`] and [`IssueError`]: what comes of a login.

use std::error::Error as StdError;
use std::fmt;

use crate::error::{debug_as_display, with_causes};
use crate::refusal::Refusal;
use crate::store::{SessionId, StoreError};
use crate::time::NumericDate;

/// A token as it was issued.
#[derive(Clone)]
pub struct IssuedToken {
    pub(super) token: String,
    pub(super) jti: String,
    pub(super) issued_at: NumericDate,
    pub(super) expires_at: NumericDate,
    pub(super) session: SessionId,
    /// The address of the authority that made it. It is only compared.
    pub(super) authority: usize,
    /// The length of its successors, which must be deliverable where it is. `None` if that does not matter.
    pub(super) renewed_len: Option<usize>,
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

    /// Its `jti`. It is not secret, so it can name the token in an audit log.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The session that it belongs to.
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
    /// There are no refresh tokens here: the builder was given no
    /// [`refresh_tokens`](super::AuthorityBuilder::refresh_tokens).
    NoRefreshTokens,
    /// The token of [`Login::in_session`](super::Login::in_session) is not admitted here, or can't be judged. Answer with the
    /// refusal's [`status`](Refusal::status): it is a 503 where the store does not answer.
    NotLive(Refusal),
    /// The session of [`Login::in_session`](super::Login::in_session) continues with another token: the given one was superseded,
    /// or the session already has a pair with other claims, or one whose refresh token was used.
    NotNewest,
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
    /// No key signs, because it was withdrawn or its JWK has a member `issuer` that is not the authority's; or the cryptographic
    /// library failed.
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
            Self::Claims(_) => "the private claims can't be serialised; this error holds serde's message without printing it, because it may quote a claim"
                .to_owned(),
            Self::NotAnObject => "the private claims must be one JSON object with distinct names".to_owned(),
            Self::ReservedClaim(name) => {
                format!("the private claims hold {name:?}, which the authority writes itself")
            }
            Self::NoRefreshTokens => {
                "the authority has no refresh tokens: give its builder `refresh_tokens`".to_owned()
            }
            Self::NotLive(refusal) => {
                format!("the token whose session the login joins is refused: {refusal} ({:?})", refusal.reason())
            }
            Self::NotNewest => {
                "the session already continues with another token than the one that the login names".to_owned()
            }
            Self::Unacceptable(refusal) => {
                format!("this service would refuse the token: {refusal} ({:?})", refusal.reason())
            }
            Self::Unreadable(error) => format!(
                "the private claims can't be read back as the type of `private_claims`; serde stopped at column {} of the \
                 claims; this error holds its message without printing it, because it may quote a claim",
                error.column()
            ),
            Self::TooLong => {
                "the token would be longer than `max_token_bytes`, or its cookie longer than browsers accept: use fewer claims"
                    .to_owned()
            }
            Self::HeadTooLarge { bytes, max } => format!(
                "the token's successor would have {bytes} bytes, and a response head carries {max}: use fewer claims, a larger \
                 `max_added_head_bytes` with proxies that accept it, or `Login::allow_undeliverable`"
            ),
            Self::Signing => {
                "the signing key could not sign: it was withdrawn, its JWK's `issuer` is another one, or the cryptographic library \
                 failed"
                    .to_owned()
            }
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
