//! Verifies the text of a token: shape, header policy, key, signature and claims. Time and standing are judged elsewhere.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::mem;
use std::sync::{Arc, OnceLock};

use super::claims::{Claims, date_of};
use super::horizon::how_far_ahead;
use super::identity::{SessionId, SubjectId, TokenId};
use super::kind::{Expected, Sliding, TokenKind};
use super::policy::Policy;
use super::successor::Successor;
use crate::jose::base64;
use crate::jose::header::Header;
use crate::jose::json;
use crate::jose::media_type;
use crate::keyring::ring::KeyRing;
use crate::keyring::ring::RingKey;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// A token whose signature and claims were checked against a ring and a policy.
///
/// Only [`verify`] constructs it, so holding one is the proof. It does not mean that the token is still good: it may have expired
/// long ago. Its dates follow from the policy that it was verified under, so it must be judged under the same one.
#[derive(Debug)]
pub(crate) struct Verified {
    claims: Claims,
    key: Arc<RingKey>,
    typ: Option<Cow<'static, str>>,
    kind: TokenKind,
    /// The issuer that own keys sign for.
    own_issuer: Option<Arc<str>>,
    // The dates that every request is judged by. They follow only from the claims, the policy and the issuer's terms.
    valid_from: NumericDate,
    admitted_until: NumericDate,
    window_opens: NumericDate,
    session_end: NumericDate,
    not_begun_before: NumericDate,
    /// Hashed when it is first needed, because most tokens never need it.
    id: OnceLock<TokenId>,
    /// The successor that every node derives, computed once.
    pub(super) derived: OnceLock<Option<Successor>>,
}

pub(crate) fn verify(
    token: &[u8],
    ring: &KeyRing,
    policy: &Policy,
    expected: Expected,
) -> Result<Verified, Refusal> {
    if token.len() > policy.max_token_bytes {
        return Err(Refusal::new(Reason::TooLong));
    }
    let mut scratch = vec![0; token.len()];
    let proven = Proven::of(token, ring, &mut scratch)?;
    let (is_own, payload) = (proven.key.is_own(), Arc::clone(&proven.payload));
    // Whatever is wrong with it, its `exp` is signed.
    proven.verified(policy, expected).map_err(|refusal| match is_own {
        true => refusal.of_own_token(date_of("exp", &payload)),
        false => refusal,
    })
}

/// A token whose signature is good. Its claims are not checked yet.
pub(super) struct Proven<'a> {
    pub(super) header: Header<'a>,
    pub(super) payload: Arc<str>,
    pub(super) key: Arc<RingKey>,
    signing_input: &'a [u8],
}

impl<'a> Proven<'a> {
    /// `scratch` is as long as the token. The parts are decoded into it.
    #[inline(always)]
    pub(super) fn of(token: &'a [u8], ring: &'a KeyRing, mut scratch: &'a mut [u8]) -> Result<Self, Refusal> {
        let Parts { header: encoded, payload, signature, signing_input } =
            Parts::of(token).ok_or(Refusal::new(Reason::MalformedToken))?;
        let header = match ring.signing().and_then(|(_, headers)| headers.read(encoded)) {
            Some(header) => header,
            None => Header::parse(decode_text(encoded, &mut scratch)?)?,
        };
        let payload: Arc<str> = decode_text(payload, &mut scratch)?.into();
        let signature = decode(signature, &mut scratch)?;
        let key = prove(&header, ring, signing_input, signature, &payload)?;
        Ok(Self { header, payload, key, signing_input })
    }

    /// Checks everything but the time and the standing.
    fn verified(self, policy: &Policy, expected: Expected) -> Result<Verified, Refusal> {
        let Self { header, payload, key, signing_input } = self;
        let kind = TokenKind::of(header.typ.as_deref());
        expected.check(kind)?;
        let foreign = key.trusted().map(|issuer| &**issuer);
        let Some(terms) = policy.terms_of(kind, foreign) else {
            let hint = "it is a refresh token, and this authority has none of its own";
            return Err(Refusal::new(Reason::WrongType).with_hint(hint));
        };
        if !terms.accepts_type(header.typ.as_deref()) {
            let hint = match header.typ {
                Some(_) => "its header's typ is another one than access_type names",
                None => "its header has no typ, and access_type asks for one",
            };
            return Err(Refusal::new(Reason::WrongType).with_hint(hint).expecting(terms.accepted_types()));
        }
        let claims = Claims::parse(payload, policy, terms, foreign)?;
        if !key.jwk_allows(claims.iss()) {
            let hint = "the key's JWK has an issuer member, and iss is another one";
            return Err(Refusal::new(Reason::WrongIssuer).with_hint(hint));
        }
        Ok(Verified {
            id: match claims.jti() {
                Some(_) => OnceLock::new(),
                None => TokenId::from_signing_input(signing_input).into(),
            },
            derived: OnceLock::new(),
            own_issuer: policy.issuer.clone(),
            valid_from: terms.valid_from(claims.iat(), claims.nbf()),
            admitted_until: terms.admitted_until(claims.exp(), claims.session_start()),
            session_end: terms.session_end(claims.session_start()),
            not_begun_before: claims.session_start().before(how_far_ahead(terms.future_tolerance())),
            window_opens: policy.window_opens(claims.iat(), claims.exp()),
            claims,
            key,
            kind,
            typ: header.typ.map(interned),
        })
    }
}

/// The common types are not allocated.
fn interned(typ: Cow<'_, str>) -> Cow<'static, str> {
    ["JWT", "at+jwt", media_type::REFRESH]
        .into_iter()
        .find(|known| typ == *known)
        .map_or_else(|| Cow::Owned(typ.into_owned()), Cow::Borrowed)
}

/// The key that made the signature, which may sign for the token's `iss`. A candidate verifies with its own algorithm; the
/// header's must equal it.
fn prove(
    header: &Header<'_>,
    ring: &KeyRing,
    signing_input: &[u8],
    signature: &[u8],
    payload: &str,
) -> Result<Arc<RingKey>, Refusal> {
    let kid = header.kid.as_deref();
    let refuse = |reason| Refusal::with_kid(reason, kid);
    let claimed = LazyCell::new(|| claimed_issuer(payload));
    let issuer = || claimed.as_deref();
    let mut candidates = ring.candidates(kid, &header.alg, issuer).peekable();
    if candidates.peek().is_none() {
        let is_known = ring.knows_kid(kid, issuer);
        return Err(refuse(if is_known { Reason::WrongAlgorithm } else { Reason::UnknownKey }));
    }
    let signed = candidates.find(|key| key.verify(signing_input, signature));
    let key = signed.ok_or_else(|| refuse(Reason::BadSignature))?;
    // Before any claim is judged by the terms of the key's issuer: the token may be under a key of its own issuer that is not
    // loaded yet, and which the other issuer publishes too.
    if let Some(trusted) = key.trusted()
        && issuer().is_some_and(|iss| !trusted.names(iss))
    {
        return Err(Refusal::new(Reason::WrongIssuer).expecting(trusted.name().to_owned()));
    }
    Ok(Arc::clone(key))
}

/// The `iss` of a payload that is not verified.
fn claimed_issuer(payload: &str) -> Option<Cow<'_, str>> {
    let members = json::members(payload).ok()?;
    json::string(members.iter().find(|member| member.name == "iss")?.value)
}

/// The issuer and the `kid` that a refused token claims. They are not verified, and only say whose keys to load again.
pub(crate) fn claimed_key(token: &[u8]) -> Option<(String, Option<String>)> {
    let mut scratch = vec![0; token.len()];
    let payload = decode_text(Parts::of(token)?.payload, &mut &mut *scratch).ok()?;
    Some((claimed_issuer(payload)?.into_owned(), claimed_kid(token)))
}

/// The `kid` that a refused token claims.
pub(crate) fn claimed_kid(token: &[u8]) -> Option<String> {
    let mut scratch = vec![0; token.len()];
    let header = decode_text(Parts::of(token)?.header, &mut &mut *scratch).ok()?;
    Header::parse(header).ok()?.kid.map(|kid| kid.into_owned())
}

/// The `iat` that a refused token claims.
pub(crate) fn claimed_iat(token: &[u8]) -> Option<NumericDate> {
    let mut scratch = vec![0; token.len()];
    date_of("iat", decode_text(Parts::of(token)?.payload, &mut &mut *scratch).ok()?)
}

/// Whether there may be a token in this text, whatever stands around it or is missing: a dot, plain or percent-encoded, and the
/// base64url of how a JSON object begins (`{"`, `{}`, or a brace and white space). It is not decoded, because one character more
/// before it, or a line end within, would hide it.
pub(crate) fn may_hold_token(text: &[u8]) -> bool {
    let has_dot = text.contains(&b'.') || text.windows(3).any(|three| three.eq_ignore_ascii_case(b"%2e"));
    has_dot && text.windows(2).any(|two| matches!(two, b"ey" | b"ew" | b"e3"))
}

/// The parts of a token, still encoded.
struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    signing_input: &'a [u8],
}

impl<'a> Parts<'a> {
    /// A further dot becomes part of the payload, which is then not base64url. With a single dot the payload's range is
    /// invalid, and `get` returns `None`.
    fn of(token: &'a [u8]) -> Option<Self> {
        let first = memchr::memchr(b'.', token)?;
        let last = memchr::memrchr(b'.', token)?;
        Some(Self {
            header: token.get(..first)?,
            payload: token.get(first + 1..last)?,
            signature: token.get(last + 1..)?,
            signing_input: token.get(..last)?,
        })
    }
}

/// Decodes one part, which must be canonical and not empty, into the front of `scratch`.
fn decode<'a>(part: &[u8], scratch: &mut &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    match base64::decode_url(part, scratch) {
        Some(len @ 1..) => {
            let (decoded, rest) = mem::take(scratch).split_at_mut(len);
            *scratch = rest;
            Ok(decoded)
        }
        _ => Err(Refusal::new(Reason::MalformedToken)),
    }
}

fn decode_text<'a>(part: &[u8], scratch: &mut &'a mut [u8]) -> Result<&'a str, Refusal> {
    std::str::from_utf8(decode(part, scratch)?).map_err(|_| Refusal::new(Reason::MalformedToken))
}

impl Verified {
    #[inline]
    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    #[inline]
    pub(crate) fn key(&self) -> &RingKey {
        &self.key
    }

    /// Whether the ring holds its key, for its issuer.
    pub(crate) fn is_held_by(&self, ring: &KeyRing) -> bool {
        ring.holds(&self.key, self.claims.iss())
    }

    pub(crate) fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Whether it can be renewed or exchanged at all: an own access token, and of a pair only where that was asked for.
    pub(crate) fn is_sliding(&self) -> bool {
        self.key.is_own() && self.kind == TokenKind::Access && self.claims.sliding() != Sliding::Never
    }

    /// Whether a store records its successor.
    pub(crate) fn is_recorded(&self) -> bool {
        self.claims.sliding() == Sliding::Alone
    }

    /// The instant from which the token is no longer admitted.
    #[inline]
    pub(crate) fn admitted_until(&self) -> NumericDate {
        self.admitted_until
    }

    /// The instant from which `iat` and `nbf` are not too far ahead.
    #[inline]
    pub(crate) fn valid_from(&self) -> NumericDate {
        self.valid_from
    }

    /// The instant from which its session is over.
    pub(crate) fn session_end(&self) -> NumericDate {
        self.session_end
    }

    /// The earliest instant, by a store's clock, at which its session can have begun.
    pub(crate) fn not_begun_before(&self) -> NumericDate {
        self.not_begun_before
    }

    /// Where the renewal window opens, before jitter.
    #[inline]
    pub(crate) fn window_opens(&self) -> NumericDate {
        self.window_opens
    }

    /// The issuer under which the token's names are unique. For a foreign token that is its own `iss`, because its key may sign
    /// for many tenants. Without an issuer check there is none.
    pub(crate) fn namespace(&self) -> Option<&str> {
        if self.key.is_own() { self.own_issuer.as_deref() } else { self.claims.iss() }
    }

    /// The header's `typ`, which a successor keeps.
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The token's id. Two texts of one token (a second ES256 signature, another encoding) share it.
    pub(crate) fn id(&self) -> TokenId {
        *self.id.get_or_init(|| {
            // Without a `jti` it was set when the token was verified.
            let jti = self.claims.jti().unwrap_or_default();
            TokenId::from_claims(self.namespace(), self.claims.sub(), jti)
        })
    }

    /// The id that its successor will have.
    pub(crate) fn successor_id(&self) -> TokenId {
        TokenId::from_claims(self.namespace(), self.claims.sub(), &self.id().successor_jti())
    }

    /// The session's id: from the `sid` claim, or derived from the token that begins the session.
    pub(crate) fn sid(&self) -> String {
        self.claims.sid().map_or_else(|| self.id().derived_sid(), str::to_owned)
    }

    pub(crate) fn session(&self) -> SessionId {
        SessionId::new(self.namespace(), &self.sid())
    }

    pub(crate) fn subject(&self) -> Option<SubjectId> {
        self.claims.sub().map(|sub| SubjectId::new(self.namespace(), sub))
    }
}
