//! From the text of a token to a [`Verified`]: shape, header policy, key, signature, claims. No time, no standing.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::mem;
use std::sync::{Arc, OnceLock};

use super::claims::Claims;
use super::identity::{SessionId, SubjectId, TokenId};
use super::kind::{Expected, TokenKind};
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
/// [`verify`] is its one construction site, so holding one is the proof. Whether the token is still good is not said: it
/// may be long dead. Its dates are those of the policy that it was verified under, so it is judged under no other.
#[derive(Debug)]
pub(crate) struct Verified {
    claims: Claims,
    key: Arc<RingKey>,
    typ: Option<Cow<'static, str>>,
    kind: TokenKind,
    /// The issuer that own keys sign for.
    own_issuer: Option<Arc<str>>,
    /// Dates that every request is held against: they follow from the claims, the policy and the issuer's terms alone.
    valid_from: NumericDate,
    admitted_until: NumericDate,
    window_opens: NumericDate,
    session_end: NumericDate,
    /// Hashed when it is first asked for: most tokens are never named.
    id: OnceLock<TokenId>,
    /// What every node derives as its successor, made once.
    pub(super) derived: OnceLock<Option<Successor>>,
}

pub(crate) fn verify(
    token: &[u8],
    ring: &KeyRing,
    policy: &Policy,
    expected: Expected,
) -> Result<Verified, Refusal> {
    let refuse = Refusal::new;
    if token.len() > policy.max_token_bytes {
        return Err(refuse(Reason::TooLong));
    }
    let mut room = vec![0; token.len()];
    let Proven { header, payload, key, signing_input } = Proven::of(token, ring, &mut room)?;
    let kind = TokenKind::of(header.typ.as_deref());
    expected.check(kind)?;
    let foreign = key.trusted().map(|issuer| &**issuer);
    let Some(terms) = policy.terms_of(kind, foreign) else {
        let hint = "it is a refresh token, and this authority has none of its own";
        return Err(refuse(Reason::WrongType).with_hint(hint));
    };
    if !terms.accepts_type(header.typ.as_deref()) {
        let hint = match header.typ {
            Some(_) => "its header's typ is another one than access_type names",
            None => "its header has no typ, and access_type asks for one",
        };
        return Err(refuse(Reason::WrongType).with_hint(hint).expecting(terms.accepted_types()));
    }
    let claims = Claims::parse(payload, policy, terms, foreign)?;
    if !key.jwk_allows(claims.iss()) {
        let hint = "the key's JWK has an issuer member, and iss is another one";
        return Err(refuse(Reason::WrongIssuer).with_hint(hint));
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
        // A window that never opens costs a request nothing.
        window_opens: match kind == TokenKind::Access && claims.is_sliding() {
            true => policy.window_opens(claims.iat(), claims.exp()),
            false => NumericDate::MAX,
        },
        claims,
        key,
        kind,
        typ: header.typ.map(kept),
    })
}

/// A token whose signature is good. Of its claims nothing is known but that its key's holder wrote them.
pub(super) struct Proven<'a> {
    pub(super) header: Header<'a>,
    pub(super) payload: Arc<str>,
    pub(super) key: Arc<RingKey>,
    signing_input: &'a [u8],
}

impl<'a> Proven<'a> {
    /// `room` is as long as the token: its parts are decoded into it.
    #[inline(always)]
    pub(super) fn of(token: &'a [u8], ring: &'a KeyRing, mut room: &'a mut [u8]) -> Result<Self, Refusal> {
        let Parts { header: encoded, payload, signature, signing_input } =
            Parts::of(token).ok_or(Refusal::new(Reason::MalformedToken))?;
        let header = match ring.signing().and_then(|(_, written)| written.read(encoded)) {
            Some(header) => header,
            None => Header::parse(decode_text(encoded, &mut room)?)?,
        };
        let payload: Arc<str> = decode_text(payload, &mut room)?.into();
        let signature = decode(signature, &mut room)?;
        let key = prove(&header, ring, signing_input, signature, &payload)
            .map_err(|reason| Refusal::with_kid(reason, header.kid.as_deref()))?;
        Ok(Self { header, payload, key, signing_input })
    }
}

/// The common names are not copied.
fn kept(typ: Cow<'_, str>) -> Cow<'static, str> {
    ["JWT", "at+jwt", media_type::REFRESH]
        .into_iter()
        .find(|known| typ == *known)
        .map_or_else(|| Cow::Owned(typ.into_owned()), Cow::Borrowed)
}

/// The key that made the signature. Each candidate's algorithm is its own; the header's must merely equal it.
fn prove(
    header: &Header<'_>,
    ring: &KeyRing,
    signing_input: &[u8],
    signature: &[u8],
    payload: &str,
) -> Result<Arc<RingKey>, Reason> {
    let kid = header.kid.as_deref();
    let claimed = LazyCell::new(|| claimed_issuer(payload));
    let issuer = || claimed.as_deref();
    let mut candidates = ring.candidates(kid, &header.alg, issuer).peekable();
    if candidates.peek().is_none() {
        return Err(if ring.knows_kid(kid, issuer) { Reason::WrongAlgorithm } else { Reason::UnknownKey });
    }
    candidates.find(|key| key.verify(signing_input, signature)).cloned().ok_or(Reason::BadSignature)
}

/// What a payload says whose it is, before anything of it is proven.
fn claimed_issuer(payload: &str) -> Option<Cow<'_, str>> {
    let members = json::members(payload).ok()?;
    json::string(members.iter().find(|member| member.name == "iss")?.value)
}

/// The issuer and the `kid` that a refused token claims, believed by nobody: it tells whose keys to ask for again.
pub(crate) fn claimed_key(token: &[u8]) -> Option<(String, Option<String>)> {
    let mut room = vec![0; token.len()];
    let payload = decode_text(Parts::of(token)?.payload, &mut &mut *room).ok()?;
    Some((claimed_issuer(payload)?.into_owned(), claimed_kid(token)))
}

/// The `kid` alone.
pub(crate) fn claimed_kid(token: &[u8]) -> Option<String> {
    let mut room = vec![0; token.len()];
    let header = decode_text(Parts::of(token)?.header, &mut &mut *room).ok()?;
    Header::parse(header).ok()?.kid.map(|kid| kid.into_owned())
}

/// Of a token, still encoded.
struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    signing_input: &'a [u8],
}

impl<'a> Parts<'a> {
    /// A dot too many is left in the payload, where it is no base64url. Of a single one the payload would end before it
    /// begins, and `get` gives `None`.
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

/// One part, canonical and not empty, decoded into the front of the room.
fn decode<'a>(part: &[u8], room: &mut &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    match base64::decode_url(part, room) {
        Some(len @ 1..) => {
            let (decoded, rest) = mem::take(room).split_at_mut(len);
            *room = rest;
            Ok(decoded)
        }
        _ => Err(Refusal::new(Reason::MalformedToken)),
    }
}

fn decode_text<'a>(part: &[u8], room: &mut &'a mut [u8]) -> Result<&'a str, Refusal> {
    std::str::from_utf8(decode(part, room)?).map_err(|_| Refusal::new(Reason::MalformedToken))
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

    pub(crate) fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Whether it can be renewed or exchanged at all: an own access token that is not part of a pair.
    pub(crate) fn is_sliding(&self) -> bool {
        self.key.is_own() && self.kind == TokenKind::Access && self.claims.is_sliding()
    }

    /// The instant from which the token is admitted no more.
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

    /// Where the renewal window opens, before jitter.
    #[inline]
    pub(crate) fn window_opens(&self) -> NumericDate {
        self.window_opens
    }

    /// Whose names the token's are: of a foreign one its own `iss`, which its key may sign for many tenants. An issuer
    /// that nobody looks at names nothing.
    pub(crate) fn namespace(&self) -> Option<&str> {
        if self.key.is_own() { self.own_issuer.as_deref() } else { self.claims.iss() }
    }

    /// The header's `typ`, which a successor keeps.
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The token's name: two texts of one token (an ES256 twin, a re-encoding) share it.
    pub(crate) fn id(&self) -> TokenId {
        *self.id.get_or_init(|| {
            // Without a `jti` it was named when it was verified.
            let jti = self.claims.jti().unwrap_or_default();
            TokenId::from_claims(self.namespace(), self.claims.sub(), jti)
        })
    }

    /// The name that its successor will have.
    pub(crate) fn successor_id(&self) -> TokenId {
        TokenId::from_claims(self.namespace(), self.claims.sub(), &self.id().successor_jti())
    }

    /// The session's name: the `sid` claim, or the one derived from the token that opens it.
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
