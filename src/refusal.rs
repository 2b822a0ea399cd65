//! [`Refusal`] and [`Reason`]: why a request was refused.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;

use crate::time::NumericDate;

/// A refusal: its [`Reason`], the `kid` that the token named, and a hint at the minter's likely mistake.
///
/// It shows no value of the token except its `kid`, so it can be logged. The layer leaves it in the extensions of the
/// response, for layers further out.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    kid: Option<Box<str>>,
    hint: Option<&'static str>,
    /// What the configuration accepts in place of what the token holds.
    expected: Option<Box<str>>,
    /// When the token expires, if it is an own one whose signature is good.
    own_exp: Option<NumericDate>,
    /// In whole seconds. `None` if it is less than one, or the refusal is not about the time.
    missed_by: Option<NonZeroU32>,
    required: Option<Box<Required>>,
}

/// What a route requires of a token, as the challenge names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Required {
    pub(crate) scope: Option<Cow<'static, str>>,
    pub(crate) acr_values: Option<Cow<'static, str>>,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
}

/// What a refusal says of the request. Its HTTP status, its challenge and its gRPC status follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No good credential: 401, gRPC 16.
    Unauthenticated,
    /// More than one credential, or one that can't be read: 400 (RFC 6750 §3.1). gRPC has no such status: 16.
    BadRequest,
    /// The request is not allowed, whoever sends it, or not with this token: 403, gRPC 7.
    Forbidden,
    /// Not a verdict on the request: 503, gRPC 14.
    Unavailable,
}

/// The reason for a refusal, one variant for each cause. [`Reason::label`] names it for counters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The request carries no credential (RFC 6750 §3.1: the challenge is bare).
    NoCredential,
    /// Two headers, a comma-joined pair, a duplicate cookie or parameter (RFC 6750 §2).
    SeveralCredentials,
    /// A scheme without a token, blanks around the token or after its three parts, or an empty cookie or parameter.
    MalformedCredential,
    /// The credential's scheme is `DPoP` (RFC 9449 §7.1), and this service takes `Bearer`.
    UnsupportedScheme,
    /// Longer than the configured maximum.
    TooLong,
    /// Not three non-empty parts in canonical base64url, or a header or payload that is not a JSON object, repeats a name or is
    /// nested too deep, or a header whose `alg`, `kid` or `typ` is not a string.
    MalformedToken,
    /// The header holds `crit`, `b64`, `zip` or `enc` (RFC 7515 §4.1.11, RFC 7797 §3, RFC 7516 §4.1).
    UnsupportedHeader,
    /// Not an access token: its `typ`, or the claim that marks an access token, is another (RFC 8725 §3.11).
    WrongType,
    /// The ring holds no key for the token's `kid`.
    UnknownKey,
    /// The header's algorithm is not the one pinned to the key (RFC 8725 §3.1).
    WrongAlgorithm,
    /// The token's `kid` is unknown, and the issuer's keys can't be fetched right now. Or the token is within the grace, and there
    /// is no key to sign its successor with. Not a verdict on the token: 503 with Retry-After.
    KeysUnavailable,
    /// No key that could have signed the token verifies its signature.
    BadSignature,
    /// A required claim is absent.
    MissingClaim(Cow<'static, str>),
    /// A claim of the wrong JSON type or out of range.
    InvalidClaim(Cow<'static, str>),
    /// `iss` is not the issuer that the key belongs to (RFC 8725 §3.8).
    WrongIssuer,
    /// `aud` does not name this service (RFC 7519 §4.1.3).
    WrongAudience,
    /// This claim, `nbf` or `iat`, is further in the future than the tolerance allows (RFC 7519 §4.1.5). Or `exp` of
    /// a token without `iat` is further ahead than the tolerance and the longest life of such tokens.
    NotYetValid(&'static str),
    /// The token is bound to its sender by `cnf` (RFC 7800), and the binding was not confirmed.
    Unconfirmed,
    /// Now is at or past `exp`, leeway and grace included (RFC 7519 §4.1.4). Or within the grace, if no successor can
    /// be given.
    Expired,
    /// Expired, within the grace. The response carries the successor.
    ExpiredInGrace,
    /// The session has reached its limit.
    SessionOver,
    /// The token, its session, or its subject's sessions of that age were revoked.
    Revoked,
    /// An access token that was superseded two or more generations ago, and the policy ends a session for it. The session has
    /// ended.
    Reused,
    /// A refresh token that was presented again after its reuse window (RFC 9700 §4.14.2). The session has ended.
    RefreshTokenReused,
    /// The store lost its records, and this session began before it was created again.
    UnknownSession,
    /// The store did not answer. Or the token is to be exchanged, and only a service with other settings can sign the successor
    /// that is recorded. Not a verdict on the token: 503 with Retry-After.
    StoreUnavailable,
    /// The token came in a cookie, with a request that must come from the same origin or an allowed one, and neither
    /// `Sec-Fetch-Site` nor `Origin` shows that it does: 403.
    CrossSite,
    /// The token is good but lacks a scope that the route requires, or the route's predicate refused it (RFC 6750 §3.1): 403.
    InsufficientScope,
    /// The token is good, but its holder signed in too weakly or too long ago for the route (RFC 9470 §3). The claim at fault is
    /// `acr` or `auth_time`.
    InsufficientAuthentication(&'static str),
    /// A refresh whose request names another `client_id` than the refresh token, or one of the two names none (RFC 6749 §6).
    WrongClient,
    /// A refresh that asks for scopes which were not granted (RFC 6749 §6).
    InvalidScope,
    /// The renewer of [`renew_with`](crate::AuthorityBuilder::renew_with) refused a next token.
    Declined,
    /// The renewer of [`renew_with`](crate::AuthorityBuilder::renew_with) failed, panicked or did not answer in time. Not a
    /// verdict on the token: 503 with Retry-After.
    RenewerUnavailable,
}

impl Refusal {
    pub(crate) fn new(reason: Reason) -> Self {
        let hint = match reason {
            Reason::Unconfirmed => {
                Some("it is bound to a key by cnf, and no confirm_with confirmed its holder")
            }
            Reason::NotYetValid("iat") => {
                Some("the issuer's clock is ahead; future_tolerance allows 60 s at most")
            }
            _ => None,
        };
        Self { reason, kid: None, hint, expected: None, own_exp: None, missed_by: None, required: None }
    }

    /// Names the token's `kid`, made safe for a log line: escaped, and cut to 64 bytes.
    pub(crate) fn with_kid(reason: Reason, kid: Option<&str>) -> Self {
        Self { kid: kid.map(printable), ..Self::new(reason) }
    }

    /// Adds a hint at the minter's likely mistake.
    pub(crate) fn with_hint(self, hint: impl Into<Option<&'static str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Adds what the configuration accepts.
    pub(crate) fn expecting(self, expected: impl Into<Option<String>>) -> Self {
        Self { expected: expected.into().map(String::into_boxed_str), ..self }
    }

    /// Sets by how many seconds the token missed the time in which it is good.
    pub(crate) fn missing_by(self, seconds: u64) -> Self {
        Self { missed_by: NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX)), ..self }
    }

    /// Says that it is about an own token whose signature is good, and when that expires, if it can be read.
    pub(crate) fn of_own_token(self, exp: Option<NumericDate>) -> Self {
        Self { own_exp: exp, ..self }
    }

    /// Adds what the route requires.
    pub(crate) fn requiring(self, required: Required) -> Self {
        Self { required: Some(Box::new(required)), ..self }
    }

    /// The same token refused for another reason. Only the `kid` is kept: a hint explains the reason that it came with.
    pub(crate) fn because(self, reason: Reason) -> Self {
        Self { kid: self.kid, ..Self::new(reason) }
    }

    /// The reason.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The `kid` that the token named, escaped and cut to 64 bytes. Only set if no key was found for it, the key has
    /// another algorithm, or the signature is wrong.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The claim at fault: a registered name, or one that the configuration names. Never a value, and never a name
    /// that only the token has.
    pub fn claim(&self) -> Option<&str> {
        match &self.reason {
            Reason::MissingClaim(name) | Reason::InvalidClaim(name) => Some(name),
            Reason::NotYetValid(name) | Reason::InsufficientAuthentication(name) => Some(name),
            Reason::InsufficientScope => self.scope().map(|_| "scope"),
            Reason::WrongIssuer => Some("iss"),
            Reason::WrongAudience => Some("aud"),
            Reason::Unconfirmed => Some("cnf"),
            Reason::Expired | Reason::ExpiredInGrace => Some("exp"),
            Reason::NoCredential
            | Reason::SeveralCredentials
            | Reason::MalformedCredential
            | Reason::UnsupportedScheme
            | Reason::TooLong
            | Reason::MalformedToken
            | Reason::UnsupportedHeader
            | Reason::WrongType
            | Reason::UnknownKey
            | Reason::WrongAlgorithm
            | Reason::KeysUnavailable
            | Reason::BadSignature
            | Reason::SessionOver
            | Reason::Revoked
            | Reason::Reused
            | Reason::RefreshTokenReused
            | Reason::UnknownSession
            | Reason::StoreUnavailable
            | Reason::CrossSite
            | Reason::Declined
            | Reason::RenewerUnavailable => None,
            Reason::WrongClient => Some("client_id"),
            Reason::InvalidScope => Some("scope"),
        }
    }

    pub(crate) fn required(&self) -> Option<&Required> {
        self.required.as_deref()
    }

    /// The bytes of a response head that name what the route requires; 64 for what stands around it.
    pub(crate) fn required_len(&self) -> usize {
        let Some(Required { scope, acr_values, .. }) = self.required() else { return 0 };
        64 + [scope, acr_values].into_iter().flatten().map(|names| names.len()).sum::<usize>()
    }

    /// The scopes that the route requires, all of them, as configured. Set for an
    /// [`InsufficientScope`](Reason::InsufficientScope), unless a predicate refused, and for an
    /// [`InsufficientAuthentication`](Reason::InsufficientAuthentication) if the guard also requires scopes.
    pub fn scope(&self) -> Option<&str> {
        self.required()?.scope.as_deref()
    }

    /// The `acr` values of which the route requires one, as configured: of an
    /// [`InsufficientAuthentication`](Reason::InsufficientAuthentication).
    pub fn acr_values(&self) -> Option<&str> {
        self.required()?.acr_values.as_deref()
    }

    /// How long ago the sign-in may be for the route, in whole seconds: of an
    /// [`InsufficientAuthentication`](Reason::InsufficientAuthentication).
    pub fn max_age(&self) -> Option<Duration> {
        self.required()?.max_age.map(Duration::from_secs)
    }

    /// The minter's likely mistake, if the token shows one: milliseconds instead of seconds, for example.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// By how much the token missed the time in which it is good, in whole seconds: how long ago its `exp` was, or how far ahead
    /// `iat` or `nbf` is. `None` if it is less than a second, or the refusal is not about the time. It is meant for the log, and not
    /// in the default response.
    pub fn missed_by(&self) -> Option<Duration> {
        self.missed_by.map(|seconds| Duration::from_secs(seconds.get().into()))
    }

    /// The issuers, audiences or types that the configuration accepts, separated by commas, if the token has another
    /// one. Of an [`UnknownKey`](Reason::UnknownKey) the issuers, at most 240 bytes, if the token claims another. Of private claims
    /// that can't be read, their type, and the column of the claims at which serde stopped. It is meant for the log. The default
    /// response does not contain it, because a sender of another service's token need not learn how this one is configured.
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// The HTTP status of the default response: 400, 401, 403 or 503.
    pub fn status(&self) -> StatusCode {
        match self.class() {
            Class::Unauthenticated => StatusCode::UNAUTHORIZED,
            Class::BadRequest => StatusCode::BAD_REQUEST,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `error` of the challenge (RFC 6750 §3.1, RFC 9470 §3), or `None` for a bare challenge.
    pub fn error(&self) -> Option<&'static str> {
        match (&self.reason, self.class()) {
            (Reason::NoCredential, _) => None,
            (Reason::InsufficientScope, _) => Some("insufficient_scope"),
            (Reason::InvalidScope, _) => Some("invalid_scope"),
            (Reason::InsufficientAuthentication(_), _) => Some("insufficient_user_authentication"),
            (_, Class::Unauthenticated) => Some("invalid_token"),
            (_, Class::BadRequest) => Some("invalid_request"),
            // This code and the next one are from RFC 6749 §4.1.2.1.
            (_, Class::Forbidden) => Some("access_denied"),
            (_, Class::Unavailable) => Some("temporarily_unavailable"),
        }
    }

    /// Whether another token could be accepted, so that a challenge is of use.
    pub(crate) fn is_about_the_token(&self) -> bool {
        match self.class() {
            Class::Unauthenticated | Class::BadRequest => true,
            Class::Forbidden => self.reason == Reason::InsufficientScope,
            Class::Unavailable => false,
        }
    }

    pub(crate) fn class(&self) -> Class {
        self.reason.class()
    }

    /// When the token expires, if it is an own one whose signature is good.
    pub(crate) fn own_exp(&self) -> Option<NumericDate> {
        self.own_exp
    }
}

impl Reason {
    /// Whether another key, or another name or algorithm of a key, could change the verdict.
    pub(crate) fn is_about_keys(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::WrongAlgorithm | Self::BadSignature)
    }

    /// Whether a key that is not loaded here could change the verdict. The key of a wrong issuer may be the claimed issuer's too, and
    /// not be loaded from there yet.
    pub(crate) fn may_lack_key(&self) -> bool {
        self.is_about_keys() || *self == Self::WrongIssuer
    }

    /// Whether the token's signature was verified before it was refused.
    // No wildcard, so that a new reason needs a decision here.
    pub(crate) fn is_under_a_good_key(&self) -> bool {
        match self {
            Self::WrongType
            | Self::MissingClaim(_)
            | Self::InvalidClaim(_)
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::NotYetValid(_)
            | Self::Unconfirmed
            | Self::Expired
            | Self::ExpiredInGrace
            | Self::SessionOver
            | Self::Revoked
            | Self::Reused
            | Self::RefreshTokenReused
            | Self::InsufficientScope
            | Self::InsufficientAuthentication(_)
            | Self::WrongClient
            | Self::InvalidScope
            | Self::Declined
            | Self::UnknownSession => true,
            Self::NoCredential
            | Self::SeveralCredentials
            | Self::MalformedCredential
            | Self::UnsupportedScheme
            | Self::TooLong
            | Self::MalformedToken
            | Self::UnsupportedHeader
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::KeysUnavailable
            | Self::BadSignature
            | Self::CrossSite
            | Self::RenewerUnavailable
            | Self::StoreUnavailable => false,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::SeveralCredentials | Self::MalformedCredential | Self::InvalidScope => Class::BadRequest,
            Self::CrossSite | Self::InsufficientScope => Class::Forbidden,
            Self::KeysUnavailable | Self::StoreUnavailable | Self::RenewerUnavailable => Class::Unavailable,
            Self::NoCredential
            | Self::UnsupportedScheme
            | Self::TooLong
            | Self::MalformedToken
            | Self::UnsupportedHeader
            | Self::WrongType
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::BadSignature
            | Self::MissingClaim(_)
            | Self::InvalidClaim(_)
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::NotYetValid(_)
            | Self::Unconfirmed
            | Self::Expired
            | Self::ExpiredInGrace
            | Self::SessionOver
            | Self::Revoked
            | Self::Reused
            | Self::RefreshTokenReused
            | Self::UnknownSession
            | Self::WrongClient
            | Self::Declined
            | Self::InsufficientAuthentication(_) => Class::Unauthenticated,
        }
    }

    /// A fixed name for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::SeveralCredentials => "several_credentials",
            Self::MalformedCredential => "malformed_credential",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::TooLong => "too_long",
            Self::MalformedToken => "malformed_token",
            Self::UnsupportedHeader => "unsupported_header",
            Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Unconfirmed => "unconfirmed",
            Self::Expired => "expired",
            Self::ExpiredInGrace => "expired_in_grace",
            Self::SessionOver => "session_over",
            Self::Revoked => "revoked",
            Self::Reused => "reused",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::UnknownSession => "unknown_session",
            Self::StoreUnavailable => "store_unavailable",
            Self::CrossSite => "cross_site",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientAuthentication(_) => "insufficient_authentication",
            Self::WrongClient => "wrong_client",
            Self::InvalidScope => "invalid_scope",
            Self::Declined => "declined",
            Self::RenewerUnavailable => "renewer_unavailable",
        }
    }
}

/// The `error_description` of the challenge. It names the claim at fault and never quotes a value of the token. It needs no
/// escaping in a header, in JSON or in gRPC's `grpc-message`: RFC 6750 §3 allows printable ASCII but for `"` and `\`, and
/// gRPC escapes `%`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = match &self.reason {
            Reason::NoCredential => "A bearer token is required",
            Reason::SeveralCredentials => "The request carries more than one credential",
            Reason::MalformedCredential => "The credential must be the scheme, one space and the token",
            Reason::UnsupportedScheme => "The scheme of the credential is not supported; Bearer is",
            Reason::TooLong => "The token is too long",
            Reason::MalformedToken => "The token is malformed",
            Reason::UnsupportedHeader => "The token header is not supported",
            Reason::WrongType => "The token is of another type than is accepted here",
            Reason::UnknownKey => "The token names an unknown key",
            Reason::WrongAlgorithm => "The algorithm of the token is not accepted",
            Reason::KeysUnavailable => "The keys of the issuer are not available right now",
            Reason::BadSignature => "The signature of the token is invalid",
            Reason::MissingClaim(_) => "The token lacks a required claim",
            Reason::InvalidClaim(_) => "The token holds a malformed claim",
            Reason::WrongIssuer => "The issuer of the token is not accepted",
            Reason::WrongAudience => "The token is meant for another audience",
            Reason::NotYetValid("exp") => {
                "The token has no iat, and is dated further ahead than such a token may be"
            }
            Reason::NotYetValid(_) => "The token is not valid yet",
            Reason::Unconfirmed => "The sender of the token could not be confirmed",
            Reason::Expired => "The token expired",
            Reason::ExpiredInGrace => "The token expired; the response carries its successor",
            Reason::SessionOver => "The session has reached its longest life",
            Reason::Revoked => "The token was revoked",
            Reason::Reused => "The token was used again after it was superseded",
            Reason::RefreshTokenReused => "The refresh token was used again after its reuse window",
            Reason::UnknownSession => "The session is not known",
            Reason::StoreUnavailable => "The state of the session can not be known right now",
            Reason::CrossSite => {
                "The request carries its token in a cookie and is not known to come from this site"
            }
            Reason::InsufficientScope => "The token does not have the scope that is required",
            // The texts of RFC 9470 §3.
            Reason::InsufficientAuthentication("acr") => "A different authentication level is required",
            Reason::InsufficientAuthentication(_) => "More recent authentication is required",
            Reason::WrongClient => "The token was not issued to this client",
            Reason::InvalidScope => "A scope that is asked for was not granted",
            Reason::Declined => "The token is not renewed",
            Reason::RenewerUnavailable => "Whether the token is renewed can not be known right now",
        };
        f.write_str(description)?;
        if let Reason::MissingClaim(name) | Reason::InvalidClaim(name) = &self.reason {
            write!(f, ": {}", Described(name, 64))?;
        } else if let Reason::NotYetValid(name) = &self.reason {
            write!(f, ": {name}")?;
        }
        match self.hint {
            Some(hint) => write!(f, " ({})", Described(hint, 256)),
            None => Ok(()),
        }
    }
}

/// A configured claim's name, or a hint, as far as a description can hold it: at most so many characters, `?` in place of
/// those that would need escaping.
struct Described<'a>(&'a str, usize);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%');
        self.0.chars().take(self.1).try_for_each(|c| write!(f, "{}", if fits(c) { c } else { '?' }))
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl std::error::Error for Refusal {}

/// The description, and what the configuration accepts: `main` prints this.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.expected().map_or(Ok(()), |expected| write!(f, " (expected: {expected})"))
    }
}

fn printable(kid: &str) -> Box<str> {
    let mut text = String::with_capacity(64);
    for escaped in kid.chars().map(char::escape_default) {
        if text.len() + escaped.len() > 64 {
            break;
        }
        text.extend(escaped);
    }
    text.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every reason there is.
    pub(crate) fn reasons() -> Vec<Reason> {
        use Reason::*;
        let all = vec![
            NoCredential,
            SeveralCredentials,
            MalformedCredential,
            TooLong,
            MalformedToken,
            UnsupportedHeader,
            WrongType,
            UnknownKey,
            WrongAlgorithm,
            KeysUnavailable,
            BadSignature,
            MissingClaim("sub".into()),
            InvalidClaim("iat".into()),
            WrongIssuer,
            WrongAudience,
            NotYetValid("nbf"),
            Unconfirmed,
            Expired,
            ExpiredInGrace,
            SessionOver,
            Revoked,
            Reused,
            UnknownSession,
            StoreUnavailable,
            CrossSite,
            UnsupportedScheme,
            InsufficientScope,
            InsufficientAuthentication("acr"),
            WrongClient,
            InvalidScope,
            Declined,
            RenewerUnavailable,
            RefreshTokenReused,
        ];
        // A new reason does not compile here: give it the next number, and a place in the list above.
        let number = |reason: &Reason| match reason {
            NoCredential => 0,
            SeveralCredentials => 1,
            MalformedCredential => 2,
            TooLong => 3,
            MalformedToken => 4,
            UnsupportedHeader => 5,
            WrongType => 6,
            UnknownKey => 7,
            WrongAlgorithm => 8,
            KeysUnavailable => 9,
            BadSignature => 10,
            MissingClaim(_) => 11,
            InvalidClaim(_) => 12,
            WrongIssuer => 13,
            WrongAudience => 14,
            NotYetValid(_) => 15,
            Unconfirmed => 16,
            Expired => 17,
            ExpiredInGrace => 18,
            SessionOver => 19,
            Revoked => 20,
            Reused => 21,
            UnknownSession => 22,
            StoreUnavailable => 23,
            CrossSite => 24,
            UnsupportedScheme => 25,
            InsufficientScope => 26,
            InsufficientAuthentication(_) => 27,
            WrongClient => 28,
            InvalidScope => 29,
            Declined => 30,
            RenewerUnavailable => 31,
            RefreshTokenReused => 32,
        };
        assert!(all.iter().map(number).eq(0..33), "every reason, in this order");
        let labels: std::collections::BTreeSet<_> = all.iter().map(Reason::label).collect();
        assert_eq!(labels.len(), all.len(), "each has a label of its own");
        all
    }

    #[test]
    fn a_refusal_has_no_success_status_and_one_error_a_status() {
        for reason in reasons() {
            let refusal = Refusal::new(reason.clone());
            let (status, error) = match reason.label() {
                "no_credential" => (401, None),
                "several_credentials" | "malformed_credential" => (400, Some("invalid_request")),
                "invalid_scope" => (400, Some("invalid_scope")),
                "cross_site" => (403, Some("access_denied")),
                "insufficient_scope" => (403, Some("insufficient_scope")),
                "insufficient_authentication" => (401, Some("insufficient_user_authentication")),
                "keys_unavailable" | "store_unavailable" | "renewer_unavailable" => {
                    (503, Some("temporarily_unavailable"))
                }
                _ => (401, Some("invalid_token")),
            };
            assert_eq!((refusal.status().as_u16(), refusal.error()), (status, error), "{reason:?}");
        }
    }

    #[test]
    fn a_description_names_the_claim_and_needs_no_escaping() {
        for (reason, hint, text) in [
            (Reason::MissingClaim("iat".into()), None, "The token lacks a required claim: iat"),
            (
                Reason::InvalidClaim("exp".into()),
                Some("it looks like milliseconds"),
                "The token holds a malformed claim: exp (it looks like milliseconds)",
            ),
            (Reason::NotYetValid("nbf"), None, "The token is not valid yet: nbf"),
            (
                Reason::MissingClaim("https://example/rôle \"%\\".into()),
                None,
                "The token lacks a required claim: https://example/r?le ???",
            ),
        ] {
            assert_eq!(Refusal::new(reason).with_hint(hint).to_string(), text);
        }
        let long = Refusal::new(Reason::InvalidClaim("x".repeat(10_000).into())).to_string();
        assert!(long.len() < 128, "{long}");
    }

    #[test]
    fn the_same_token_refused_for_another_reason_keeps_its_kid_and_no_hint() {
        let first = Refusal::with_kid(Reason::UnknownKey, Some("key-2019"))
            .with_hint("a hint at the key")
            .expecting("main".to_owned());
        let second = first.because(Reason::KeysUnavailable);
        assert_eq!(second, Refusal::with_kid(Reason::KeysUnavailable, Some("key-2019")));
    }

    #[test]
    fn a_kid_in_a_refusal_is_escaped_and_cut_to_64_bytes() {
        let hostile = format!("a\r\nSet-Cookie: x\0\u{202e}{}", "k".repeat(1_000_000));
        let refusal = Refusal::with_kid(Reason::UnknownKey, Some(&hostile));
        let kid = refusal.kid().expect("a kid");
        assert!(kid.len() <= 64);
        assert!(kid.starts_with(r"a\r\nSet-Cookie: x\u{0}\u{202e}kkk"), "{kid}");
        assert!(kid.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }
}
