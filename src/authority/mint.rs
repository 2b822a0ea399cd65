//! Makes new tokens: it writes their claims, checks them as on arrival, and signs.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::Error as _;

use super::{Authority, IssueError, IssuedToken, sign};
use crate::crypto;
use crate::jose::base64;
use crate::jose::json::{self, Change, quoted};
use crate::jose::media_type;
use crate::keyring::ring::KeyRing;
use crate::refusal::{Reason, Refusal};
use crate::store::SessionId;
use crate::time::NumericDate;
use crate::token::claims::{ACCESS_CLAIMS, CLIENT_ID, Claims, NO_ACCESS, SLIDING};
use crate::token::identity::{SUCCESSOR_JTI_LEN, TokenId};
use crate::token::kind::{Sliding, TokenKind};
use crate::token::successor::Successor;
use crate::token::verify::Verified;

/// What the tokens of one login share.
pub(super) struct Grant {
    pub(super) session: SessionId,
    pub(super) subject: Option<String>,
    pub(super) sid: String,
    /// The JSON text of `cnf`, unless it is among the private claims.
    pub(super) cnf: Option<String>,
    pub(super) client_id: Option<String>,
    /// The private claims of access tokens, as JSON text. A refresh token holds them for later access tokens.
    pub(super) private: String,
}

/// A token whose claims are to be written.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    kind: TokenKind,
    grant: &'a Grant,
    jti: String,
    iat: NumericDate,
    session_start: NumericDate,
    sliding: Sliding,
}

impl<'a> Draft<'a> {
    pub(super) fn access(
        grant: &'a Grant,
        jti: String,
        iat: NumericDate,
        session_start: NumericDate,
    ) -> Self {
        Self { kind: TokenKind::Access, grant, jti, iat, session_start, sliding: Sliding::Alone }
    }

    pub(super) fn refresh(
        grant: &'a Grant,
        jti: String,
        iat: NumericDate,
        session_start: NumericDate,
    ) -> Self {
        Self { kind: TokenKind::Refresh, ..Self::access(grant, jti, iat, session_start) }
    }

    /// The same token, renewed in this way.
    pub(super) fn renewed(self, sliding: Sliding) -> Self {
        Self { sliding, ..self }
    }
}

/// A token that is yet to be signed.
pub(super) struct Unsigned {
    pub(super) claims: Arc<str>,
    pub(super) jti: String,
    pub(super) expires_at: NumericDate,
    kind: TokenKind,
    session: SessionId,
}

impl Grant {
    /// The grant that a refresh token continues.
    pub(super) fn of(token: &Verified, private: String) -> Self {
        let claims = token.claims();
        Self {
            session: token.session(),
            subject: claims.sub().map(str::to_owned),
            sid: token.sid(),
            cnf: claims.confirmation().map(str::to_owned),
            client_id: token.claims().client_id().map(Cow::into_owned),
            private,
        }
    }
}

impl Unsigned {
    /// The refresh token that replaces this one, in its session.
    pub(super) fn successor(token: &Verified, session: SessionId, successor: &Successor) -> Self {
        Self {
            claims: Arc::clone(&successor.claims),
            jti: token.id().successor_jti(),
            expires_at: successor.exp,
            kind: TokenKind::Refresh,
            session,
        }
    }

    /// The same token with these claims: the successor that was recorded before.
    pub(super) fn recorded(self, successor: Successor) -> Self {
        Self { claims: successor.claims, expires_at: successor.exp, ..self }
    }

    /// The same token by the `jti` that its claims have.
    pub(super) fn named(self, jti: String) -> Self {
        Self { jti, ..self }
    }
}

/// A new `jti`: 128 random bits.
pub(super) fn new_jti() -> Result<String, IssueError> {
    Ok(base64::encode_url(crypto::random::<16>().map_err(|_| IssueError::Signing)?))
}

/// An object without one of its members, and that member's value.
pub(super) fn split_off(object: &str, name: &str) -> (String, Option<String>) {
    let (mut rest, mut found) = ("{}".to_owned(), None);
    for member in json::members(object).unwrap_or_default() {
        if member.name == name {
            found = Some(member.value.to_owned());
        } else {
            let member = Change::Append { name: &member.name, value: member.value.into() };
            rest = json::splice(&rest, vec![member]).unwrap_or(rest);
        }
    }
    match found {
        Some(_) => (rest, found),
        None => (object.to_owned(), None),
    }
}

impl<C: Send + Sync + 'static> Authority<C> {
    /// Writes the claims of a new token, and checks that this authority would accept them.
    pub(super) fn draft(&self, draft: &Draft<'_>) -> Result<Unsigned, IssueError> {
        let policy = &self.0.policy;
        let &Draft { kind, grant, ref jti, iat, session_start, sliding } = draft;
        let exp = policy.exp_of(kind, iat, session_start);
        let audience = policy.terms_of(kind, None).ok_or(IssueError::NoRefreshTokens)?.audiences().first();
        let mut own: Vec<_> = grant.subject.as_deref().map(|sub| ("sub", quoted(sub))).into_iter().collect();
        own.extend([("exp", exp.to_string()), ("iat", iat.to_string())]);
        own.extend(policy.issuer.as_deref().map(|iss| ("iss", quoted(iss))));
        own.extend(audience.map(|aud| ("aud", quoted(aud))));
        own.extend([("jti", quoted(jti)), ("sid", quoted(&grant.sid))]);
        own.push((&policy.session_start_claim, session_start.to_string()));
        own.extend(grant.client_id.as_deref().map(|id| (CLIENT_ID, quoted(id))));
        own.extend(grant.cnf.clone().map(|cnf| ("cnf", cnf)));
        let base = match kind {
            TokenKind::Access => {
                own.extend(policy.access_claim.as_ref().map(|(name, value)| (&**name, quoted(value))));
                own.extend(sliding.claim().map(|value| (SLIDING, value.to_owned())));
                &*grant.private
            }
            TokenKind::Refresh => {
                own.extend(policy.access_claim.as_ref().map(|(name, _)| (&**name, quoted(NO_ACCESS))));
                own.push((ACCESS_CLAIMS, grant.private.clone()));
                "{}"
            }
        };
        let own = own.into_iter().map(|(name, value)| Change::Append { name, value: value.into() });
        let claims: Arc<str> = json::splice(base, own.collect()).ok_or(IssueError::NotAnObject)?.into();
        self.check_own(&claims, kind)?;
        Ok(Unsigned { claims, jti: jti.clone(), expires_at: exp, kind, session: grant.session })
    }

    /// The id of a token, by which the store knows it.
    pub(super) fn token_id(&self, grant: &Grant, jti: &str) -> TokenId {
        TokenId::from_claims(self.0.policy.issuer.as_deref(), grant.subject.as_deref(), jti)
    }

    /// The length of its successor. Only the `jti` has another length: the dates are equally long.
    pub(super) fn renewed_len(&self, ring: &KeyRing, token: &Unsigned) -> Result<usize, IssueError> {
        let claims = token.claims.len() + SUCCESSOR_JTI_LEN - token.jti.len();
        let (iss, typ) = (self.0.policy.issuer.as_deref(), Some(self.type_of(token.kind)));
        let bytes = sign::signed_len(ring, claims, iss, typ).ok_or(IssueError::Signing)?;
        if bytes > self.0.policy.max_token_bytes { Err(IssueError::TooLong) } else { Ok(bytes) }
    }

    /// Signs a token that is not renewed in a response head; `issued_at` is the instant of the call.
    pub(super) fn sign_unsigned(
        &self,
        ring: &KeyRing,
        unsigned: &Unsigned,
        issued_at: NumericDate,
    ) -> Result<IssuedToken, IssueError> {
        self.renewed_len(ring, unsigned)?;
        let (iss, typ) = (self.0.policy.issuer.as_deref(), Some(self.type_of(unsigned.kind)));
        let token = sign::sign(ring, &unsigned.claims, iss, typ).map_err(|_| IssueError::Signing)?;
        let token = String::from_utf8(token).map_err(|_| IssueError::Signing)?;
        let &Unsigned { ref jti, expires_at, session, .. } = unsigned;
        let (jti, authority) = (jti.clone(), self.address());
        Ok(IssuedToken { token, jti, issued_at, expires_at, session, authority, renewed_len: None })
    }

    /// The same for a refresh token, whose successor must be deliverable where it is.
    pub(super) fn sign_refresh_token(
        &self,
        ring: &KeyRing,
        unsigned: &Unsigned,
        issued_at: NumericDate,
    ) -> Result<IssuedToken, IssueError> {
        let renewed_len = Some(self.renewed_len(ring, unsigned)?);
        Ok(IssuedToken { renewed_len, ..self.sign_unsigned(ring, unsigned, issued_at)? })
    }

    fn type_of(&self, kind: TokenKind) -> &str {
        match kind {
            TokenKind::Access => self.0.policy.issued_type(),
            TokenKind::Refresh => media_type::REFRESH,
        }
    }

    /// Checks that this service would accept the token. Otherwise its developer should get an error at once.
    fn check_own(&self, claims: &Arc<str>, kind: TokenKind) -> Result<(), IssueError> {
        let policy = &self.0.policy;
        let terms = policy.terms_of(kind, None).ok_or(IssueError::NoRefreshTokens)?;
        let parsed =
            Claims::parse(Arc::clone(claims), policy, terms, None).map_err(IssueError::Unacceptable)?;
        let bound = parsed.confirmation().is_some() && !policy.ignore_confirmation;
        if bound && self.0.hooks.confirm.is_none() {
            return Err(IssueError::Unacceptable(Refusal::new(Reason::Unconfirmed)));
        }
        if kind == TokenKind::Refresh {
            return Ok(());
        }
        // Their type is the application's, so its code may panic.
        match self.reporter().ask_hook("private_claims", || (self.0.view)(claims).map(drop)) {
            Some(read) => read.map_err(IssueError::Unreadable),
            None => Err(IssueError::Unreadable(serde_json::Error::custom("it panicked"))),
        }
    }
}
