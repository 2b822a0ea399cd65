//! Logout tokens: an issuer ends a session, by OpenID Connect Back-Channel Logout 1.0.

use std::borrow::Cow;

use super::claims::{check_audience, check_issuer, date};
use super::identity::TokenId;
use super::policy::{Policy, SKEW_MARGIN};
use super::verify::Proven;
use crate::jose::json::{self, Member};
use crate::jose::media_type;
use crate::keyring::ring::KeyRing;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// The member of `events` that makes a token a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What logout tokens are held to beside the policy.
#[derive(Clone, Debug)]
pub(crate) struct LogoutRules {
    /// The client ids of this service: a token for others is refused.
    pub(crate) clients: Vec<String>,
    /// Whether a token without `typ` is taken. Only its `events` show that it is a logout token.
    pub(crate) allow_missing_type: bool,
    /// How many seconds after its `iat` a token is taken, whatever its `exp` says.
    pub(crate) max_age: u64,
    /// A token with `sid` and `sub` ends the subject's sessions too.
    pub(crate) by_subject: bool,
}

impl LogoutRules {
    /// What the standard recommends for `exp` (§4), in seconds.
    pub(crate) const DEFAULT_MAX_AGE: u64 = 120;
    /// A store keeps a revocation for longer than this. So a replay within it ends only what the first use has ended: a later session
    /// of the same name is refused at that time anyway.
    pub(crate) const LONGEST_MAX_AGE: u64 = SKEW_MARGIN;
}

/// A logout token that holds.
#[derive(Clone, Debug)]
pub(crate) struct Logout {
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) sid: Option<String>,
    /// Whether the sessions of the subject end.
    pub(crate) ends_subject: bool,
    /// Sessions that began later are not meant.
    pub(crate) issued_at: NumericDate,
    /// Its name, which is used once.
    pub(crate) id: TokenId,
}

impl Logout {
    /// Checks everything in §2.6, except whether the token was used before.
    pub(crate) fn verify(
        token: &[u8],
        ring: &KeyRing,
        policy: &Policy,
        rules: &LogoutRules,
        now: NumericDate,
    ) -> Result<Self, Refusal> {
        if token.len() > policy.max_token_bytes {
            return Err(Reason::TooLong.into());
        }
        let mut scratch = vec![0; token.len()];
        let proven = Proven::of(token, ring, &mut scratch)?;
        match proven.header.typ.as_deref() {
            Some(typ) if media_type::is(typ, "logout+jwt") => {}
            None if rules.allow_missing_type => {}
            _ => return Err(Refusal::new(Reason::WrongType).with_hint("its header's typ is not logout+jwt")),
        }
        let members = json::members(&proven.payload).map_err(|_| Reason::MalformedToken)?;
        let raw = |name: &str| members.iter().find(|member| member.name == name).map(|member| member.value);
        let text = |name: &'static str| match raw(name).map(json::string) {
            Some(None) => Err(Refusal::new(Reason::InvalidClaim(name.into()))),
            text => Ok(text.flatten()),
        };
        let required = |name: &'static str| raw(name).ok_or(Reason::MissingClaim(name.into()));
        let foreign = proven.key.trusted().map(|issuer| &**issuer);
        let iss = text("iss")?;
        check_issuer(iss.as_deref(), policy, foreign, &members)?;
        if !proven.key.jwk_allows(iss.as_deref()) {
            return Err(Reason::WrongIssuer.into());
        }
        check_audience(raw("aud"), &rules.clients)?;
        let terms = policy.terms(foreign);
        let (iat, exp) = (date("iat", required("iat")?)?, date("exp", required("exp")?)?);
        if iat > now.after(terms.future_tolerance()) {
            return Err(Reason::NotYetValid("iat").into());
        }
        let leeway = terms.leeway();
        if now >= exp.after(leeway) {
            return Err(Reason::Expired.into());
        }
        if now >= iat.after(rules.max_age).after(leeway) {
            return Err(Refusal::new(Reason::Expired).with_hint("its iat is longer ago than max_age allows"));
        }
        let jti = text("jti")?.ok_or(Reason::MissingClaim("jti".into()))?;
        check_event(required("events")?)?;
        // An ID token has one, and must not do as a logout token.
        if raw("nonce").is_some() {
            return Err(Reason::InvalidClaim("nonce".into()).into());
        }
        let (subject, sid) = (text("sub")?.map(Cow::into_owned), text("sid")?.map(Cow::into_owned));
        if subject.is_none() && sid.is_none() {
            return Err(Reason::MissingClaim("sid".into()).into());
        }
        let ends_subject = sid.is_none() || rules.by_subject;
        let issuer = match foreign {
            Some(_) => iss.map(Cow::into_owned),
            None => policy.issuer.as_deref().map(str::to_owned),
        };
        let id = TokenId::from_claims(issuer.as_deref(), subject.as_deref(), &jti);
        Ok(Self { issuer, subject, sid, ends_subject, issued_at: iat, id })
    }
}

/// `events` is an object with the member, whose value is an object.
fn check_event(events: &str) -> Result<(), Refusal> {
    let invalid = |_| Refusal::new(Reason::InvalidClaim("events".into()));
    let events = json::members(events).map_err(invalid)?;
    let is_event = |member: &&Member<'_>| member.name == EVENT;
    let event = events.iter().find(is_event).ok_or(Reason::MissingClaim("events".into()))?;
    json::members(event.value).map(drop).map_err(invalid)
}
