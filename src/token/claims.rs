//! The claims of a verified payload: its JSON text, and the registered claims read from it once.

use std::borrow::Cow;
use std::sync::Arc;

use super::kind::Sliding;
use super::policy::Policy;
use super::terms::Terms;
use crate::jose::json;
use crate::jose::json::Member;
use crate::jose::json::Span;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::refusal::{Reason, Refusal};
use crate::time::NumericDate;

/// The claim that says how a token is renewed.
pub(crate) const SLIDING: &str = "sliding";

/// The claim of a refresh token that holds the private claims of its access tokens. They stand in an object of their own, so
/// that software which takes a refresh token for an access token does not find them.
pub(crate) const ACCESS_CLAIMS: &str = "access_claims";

/// The value of the access claim in a refresh token, for software that tells the two apart by that claim.
pub(crate) const NO_ACCESS: &str = "refresh";

/// The client that a pair was issued to (RFC 9068 §2.2).
pub(crate) const CLIENT_ID: &str = "client_id";

/// The text is authoritative. All other fields were read from it and checked for type and range.
#[derive(Debug)]
pub(crate) struct Claims {
    text: Arc<str>,
    iss: Option<StringClaim>,
    sub: Option<StringClaim>,
    jti: Option<StringClaim>,
    sid: Option<StringClaim>,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    session_start: NumericDate,
    confirmation: Option<Span>,
    /// `scope`, or `scp` if there is no `scope`.
    scopes: Option<Span>,
    acr: Option<Span>,
    auth_time: Option<Span>,
    sliding: Sliding,
    client_id: Option<Span>,
    access_claims: Option<Span>,
    spans: ClaimSpans,
}

/// The spans in the text of the values that a successor changes.
#[derive(Debug)]
pub(crate) struct ClaimSpans {
    pub(crate) exp: Span,
    /// `None` if the token has none. [`Claims::iat`] then follows from `exp`.
    pub(crate) iat: Option<Span>,
    pub(crate) nbf: Option<Span>,
    pub(crate) aud: Option<Span>,
    pub(crate) session_start: Option<Span>,
}

/// A string claim: its place in the text, and a copy if it is escaped there.
#[derive(Debug)]
struct StringClaim {
    at: Span,
    unescaped: Option<Box<str>>,
}

/// The registered claims as raw JSON, not checked yet.
#[derive(Default)]
struct Raw<'a> {
    iss: Option<&'a str>,
    sub: Option<&'a str>,
    aud: Option<&'a str>,
    exp: Option<&'a str>,
    nbf: Option<&'a str>,
    iat: Option<&'a str>,
    jti: Option<&'a str>,
    sid: Option<&'a str>,
    cnf: Option<&'a str>,
    auth_time: Option<&'a str>,
    scope: Option<&'a str>,
    scp: Option<&'a str>,
    acr: Option<&'a str>,
    sliding: Option<&'a str>,
    client_id: Option<&'a str>,
    access_claims: Option<&'a str>,
    session_start: Option<&'a str>,
}

impl Claims {
    /// Checks every part of rule 5 that does not depend on the time. `terms` are those of the token's kind and issuer, and `foreign` is
    /// the issuer a trusted foreign key belongs to.
    pub(crate) fn parse(
        text: Arc<str>,
        policy: &Policy,
        terms: Terms<'_>,
        foreign: Option<&TrustedIssuer>,
    ) -> Result<Self, Refusal> {
        let members = json::members(&text).map_err(|_| Reason::MalformedToken)?;
        let raw = Raw::of(&members, policy);
        let string =
            |name, value: Option<&str>| value.map(|value| StringClaim::of(name, value, &text)).transpose();
        let place = |value: &str| Span::of(value, &text).ok_or(Reason::TooLong);
        let iss = string("iss", raw.iss)?;
        check_issuer(iss.as_ref().and_then(|iss| iss.read(&text)), policy, foreign, &members)?;
        check_audience(raw.aud, terms.audiences())?;
        let exp_text = raw.exp.ok_or(Reason::MissingClaim("exp".into()))?;
        let exp = date("exp", exp_text)?;
        let iat = match raw.iat {
            Some(value) => date("iat", value)?,
            None => issued_no_earlier(exp, terms.longest_without_iat())?,
        };
        if exp <= iat {
            return Err(
                Refusal::new(Reason::InvalidClaim("exp".into())).with_hint("it is not later than iat")
            );
        }
        if policy.max_token_lifetime.is_some_and(|longest| exp.since(iat) > longest) {
            return Err(Refusal::new(Reason::InvalidClaim("exp".into()))
                .with_hint("it is further after iat than max_token_lifetime"));
        }
        let nbf = raw.nbf.map(|value| date("nbf", value)).transpose()?;
        for name in terms.required_claims() {
            if !members.iter().any(|member| member.name == **name && member.value != "null") {
                return Err(Reason::MissingClaim(name.clone().into()).into());
            }
        }
        if let Some((name, wanted)) = terms.access_claim() {
            let marked = members
                .iter()
                .find(|member| member.name == **name)
                .and_then(|member| json::string(member.value));
            if marked.as_deref() != Some(wanted) {
                let hint = "the claim that access_claim names is absent, or another value";
                return Err(Refusal::new(Reason::WrongType)
                    .with_hint(hint)
                    .expecting(format!("{name}={wanted}")));
            }
        }
        // In own tokens the claim must be valid. What a foreign issuer means by a claim of this name is not known, so it is used
        // if it is a date and ignored otherwise.
        let declared_start = raw.session_start.map(|value| date("session_start", value)).transpose();
        // The latest instant at which the token can have been issued.
        let issued_by = if raw.iat.is_some() { iat } else { exp.before(1) };
        let declared_start = match declared_start {
            // Every successor keeps it, so a later one would delay the session's end.
            Ok(Some(start)) if start > issued_by && foreign.is_none() => Err(Some(match raw.iat {
                Some(_) => "it is later than iat",
                None => "it is not earlier than exp",
            })),
            Ok(start) => Ok(start),
            Err(_) if foreign.is_some() => Ok(None),
            Err(refusal) => Err(refusal.hint()),
        };
        let declared_start = declared_start.map_err(|hint| {
            Refusal::new(Reason::InvalidClaim(policy.session_start_claim.clone().into())).with_hint(hint)
        })?;
        // A claim that no configuration asks for is not checked. ADFS, for example, writes `auth_time` as an ISO string.
        let auth_time = raw.auth_time.filter(|_| terms.session_starts_at_auth_time());
        let auth_time = auth_time.map(|value| date("auth_time", value)).transpose()?;
        // A token is not issued before its session begins, so an own session start is also a bound for a missing `iat`. It is not
        // later than an `iat` that is present.
        let iat = declared_start.filter(|_| foreign.is_none()).map_or(iat, |start| iat.max(start));
        let start = declared_start.or(auth_time);
        let session_start = start.map_or(iat, |start| start.min(iat));
        Ok(Self {
            iss,
            sub: string("sub", raw.sub)?,
            jti: string("jti", raw.jti)?,
            sid: string("sid", raw.sid)?,
            exp,
            iat,
            nbf,
            session_start,
            confirmation: raw.cnf.map(place).transpose()?,
            scopes: raw.scope.or(raw.scp).map(place).transpose()?,
            acr: raw.acr.map(place).transpose()?,
            auth_time: raw.auth_time.map(place).transpose()?,
            sliding: policy.sliding(raw.sliding),
            client_id: raw.client_id.map(place).transpose()?,
            access_claims: raw.access_claims.map(place).transpose()?,
            spans: ClaimSpans {
                exp: place(exp_text)?,
                iat: raw.iat.map(place).transpose()?,
                nbf: raw.nbf.map(place).transpose()?,
                aud: raw.aud.map(place).transpose()?,
                session_start: raw.session_start.map(place).transpose()?,
            },
            text,
        })
    }

    /// The payload, as it was signed.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(crate) fn iss(&self) -> Option<&str> {
        self.iss.as_ref()?.read(&self.text)
    }

    pub(crate) fn sub(&self) -> Option<&str> {
        self.sub.as_ref()?.read(&self.text)
    }

    pub(crate) fn jti(&self) -> Option<&str> {
        self.jti.as_ref()?.read(&self.text)
    }

    /// The session's name as the token has it; [`Verified::sid`](super::verify::Verified::sid) derives a missing one.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.sid.as_ref()?.read(&self.text)
    }

    pub(crate) fn exp(&self) -> NumericDate {
        self.exp
    }

    /// `iat`, or for a token without one the earliest instant at which it can have been issued.
    pub(crate) fn iat(&self) -> NumericDate {
        self.iat
    }

    /// The claim that [`iat`](Self::iat) was read from.
    pub(crate) fn dated_by(&self) -> &'static str {
        if self.spans.iat.is_some() { "iat" } else { "exp" }
    }

    pub(crate) fn nbf(&self) -> Option<NumericDate> {
        self.nbf
    }

    pub(crate) fn session_start(&self) -> NumericDate {
        self.session_start
    }

    /// The JSON text of `cnf` (RFC 7800 §3.1), if the token is bound to its sender.
    #[inline]
    pub(crate) fn confirmation(&self) -> Option<&str> {
        self.confirmation?.of_text(&self.text)
    }

    /// The JSON text of `scope` (RFC 8693 §4.2), or of `scp`, which some issuers write in its stead.
    pub(crate) fn scopes(&self) -> Option<&str> {
        self.scopes?.of_text(&self.text)
    }

    /// `acr`. `None` if it is absent or not a string.
    pub(crate) fn acr(&self) -> Option<Cow<'_, str>> {
        json::string(self.acr?.of_text(&self.text)?)
    }

    /// `auth_time`. `None` if it is absent or not a NumericDate.
    pub(crate) fn auth_time(&self) -> Option<NumericDate> {
        date("auth_time", self.auth_time?.of_text(&self.text)?).ok()
    }

    /// The client that it was issued to. `None` if `client_id` is absent or no string.
    pub(crate) fn client_id(&self) -> Option<Cow<'_, str>> {
        json::string(self.client_id?.of_text(&self.text)?)
    }

    /// The private claims that a refresh token grants, as their JSON text.
    pub(crate) fn access_claims(&self) -> &str {
        let claims = self.access_claims.and_then(|claims| claims.of_text(&self.text));
        claims.filter(|claims| claims.starts_with('{')).unwrap_or("{}")
    }

    pub(crate) fn sliding(&self) -> Sliding {
        self.sliding
    }

    pub(crate) fn spans(&self) -> &ClaimSpans {
        &self.spans
    }

    /// The JSON text of `aud`.
    pub(crate) fn audience(&self) -> Option<&str> {
        self.spans.aud?.of_text(&self.text)
    }

    /// The place of the value of `jti`, with its quotes.
    pub(crate) fn span_of_jti(&self) -> Option<Span> {
        self.jti.as_ref().map(|jti| jti.at)
    }
}

impl<'a> Raw<'a> {
    fn of(members: &[Member<'a>], policy: &Policy) -> Self {
        let mut raw = Self::default();
        for Member { name, value } in members {
            let claim = match &**name {
                "iss" => &mut raw.iss,
                "sub" => &mut raw.sub,
                "aud" => &mut raw.aud,
                "exp" => &mut raw.exp,
                "nbf" => &mut raw.nbf,
                "iat" => &mut raw.iat,
                "jti" => &mut raw.jti,
                "sid" => &mut raw.sid,
                "cnf" => &mut raw.cnf,
                "auth_time" => &mut raw.auth_time,
                "scope" => &mut raw.scope,
                "scp" => &mut raw.scp,
                "acr" => &mut raw.acr,
                SLIDING => &mut raw.sliding,
                CLIENT_ID => &mut raw.client_id,
                ACCESS_CLAIMS => &mut raw.access_claims,
                name if name == policy.session_start_claim => &mut raw.session_start,
                _ => continue,
            };
            *claim = Some(value);
        }
        raw
    }
}

impl StringClaim {
    fn of(name: &'static str, value: &str, text: &str) -> Result<Self, Refusal> {
        let refuse = || Refusal::new(Reason::InvalidClaim(name.into())).with_hint(misread_string(value));
        let unescaped = match json::string(value).ok_or_else(refuse)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(unescaped) => Some(unescaped.into()),
        };
        Ok(Self { at: Span::of(value, text).ok_or(Reason::TooLong)?, unescaped })
    }

    fn read<'a>(&'a self, text: &'a str) -> Option<&'a str> {
        match &self.unescaped {
            Some(unescaped) => Some(unescaped),
            None => self.at.of_text(text)?.strip_prefix('"')?.strip_suffix('"'),
        }
    }
}

pub(super) fn check_issuer(
    iss: Option<&str>,
    policy: &Policy,
    foreign: Option<&TrustedIssuer>,
    members: &[Member<'_>],
) -> Result<(), Refusal> {
    let own = policy.issuer.as_deref();
    let wrong = |expected: &str| Err(Refusal::new(Reason::WrongIssuer).expecting(expected.to_owned()));
    match (foreign, own, iss) {
        (None, None, _) => Ok(()),
        (_, _, None) => Err(Reason::MissingClaim("iss".into()).into()),
        (None, Some(own), Some(iss)) => {
            if own == iss {
                Ok(())
            } else {
                wrong(own)
            }
        }
        // Tokens of the own issuer must be under own keys, even if a trusted issuer's keys may sign for it.
        (Some(foreign), Some(own), Some(iss)) if own == iss => wrong(foreign.name()),
        (Some(foreign), _, Some(iss)) => check_tenant(foreign.tenant_of(iss), members),
    }
}

/// Checks the tenant: one provider signs for all its tenants, so the claim and `iss` must name the same one.
fn check_tenant(expected: Option<(&str, &str)>, members: &[Member<'_>]) -> Result<(), Refusal> {
    let Some((name, tenant)) = expected else { return Ok(()) };
    let member = members.iter().find(|member| member.name == name);
    let member = member.ok_or_else(|| Reason::MissingClaim(name.to_owned().into()))?;
    match json::string(member.value).as_deref() == Some(tenant) {
        true => Ok(()),
        false => Err(Refusal::new(Reason::InvalidClaim(name.to_owned().into()))
            .with_hint("it is another tenant than the one that iss names")),
    }
}

/// If no audience is accepted, `aud` is not checked.
pub(super) fn check_audience(aud: Option<&str>, accepted: &[String]) -> Result<(), Refusal> {
    let Some(value) = aud else {
        return match accepted.is_empty() {
            true => Ok(()),
            false => Err(Reason::MissingClaim("aud".into()).into()),
        };
    };
    let invalid = || Refusal::new(Reason::InvalidClaim("aud".into()));
    let is_accepted = |name: &str| accepted.iter().any(|accepted| accepted == name);
    let named = if value.starts_with('"') {
        is_accepted(&json::string(value).ok_or_else(invalid)?)
    } else {
        json::strings(value).ok_or_else(invalid)?.iter().any(|(_, name)| is_accepted(name))
    };
    match named || accepted.is_empty() {
        true => Ok(()),
        false => Err(Refusal::new(Reason::WrongAudience).expecting(accepted.join(", "))),
    }
}

/// The earliest instant at which a token without `iat` can have been issued, by the longest life that its minter gives. It is never
/// later than the true one, so a revocation of tokens of its true age covers it.
fn issued_no_earlier(exp: NumericDate, longest: Option<u64>) -> Result<NumericDate, Refusal> {
    const HINT: &str = "accept_without_iat is for minters that write none";
    match longest {
        Some(longest) => Ok(exp.before(longest)),
        None => Err(Refusal::new(Reason::MissingClaim("iat".into())).with_hint(HINT)),
    }
}

/// A NumericDate (RFC 7519 §2): a JSON number from 0 to the end of the year 9999, floored to whole seconds.
pub(super) fn date(name: &'static str, value: &str) -> Result<NumericDate, Refusal> {
    match whole(value).or_else(|| floored(value)) {
        Some(secs) if secs <= NumericDate::MAX.as_secs() => Ok(NumericDate::from_secs(secs)),
        _ => Err(Refusal::new(Reason::InvalidClaim(name.into())).with_hint(misread_date(value))),
    }
}

/// The date in this claim of a payload that was refused as a whole. `None` if it can't be read.
pub(super) fn date_of(name: &'static str, payload: &str) -> Option<NumericDate> {
    let members = json::members(payload).ok()?;
    date(name, members.iter().find(|member| member.name == name)?.value).ok()
}

/// A JSON number other than a plain integer, floored. It is parsed as text, because a float would round it, and a date that is read
/// a second late could escape a revocation. `None` if it is not a number, negative, or past the year 9999.
#[cold]
fn floored(value: &str) -> Option<u64> {
    let (sign, number) = value.strip_prefix('-').map_or((false, value), |number| (true, number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integral, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if integral.is_empty() || !are_digits(integral) || !are_digits(fraction) {
        return None;
    }
    let digits = || integral.bytes().chain(fraction.bytes()).map(|digit| digit - b'0');
    let Some(leading_zeros) = digits().position(|digit| digit != 0) else { return Some(0) };
    if sign {
        return None;
    }
    // The number of digits before the point, without leading zeros. An exponent too large for an integer makes the number 0 or
    // too large.
    let exponent = match exponent.parse::<i32>() {
        Ok(exponent) => i64::from(exponent),
        Err(_) if exponent.starts_with('-') => i64::MIN / 2,
        Err(_) => i64::MAX / 2,
    };
    let before_point = i64::try_from(integral.len()).ok()?.saturating_add(exponent);
    let places = before_point.saturating_sub(i64::try_from(leading_zeros).ok()?);
    if places > 12 {
        return None;
    }
    let mut rest = digits().skip(leading_zeros);
    let secs = (0..places).fold(0, |secs: u64, _| secs * 10 + u64::from(rest.next().unwrap_or(0)));
    let is_past_the_end = secs == NumericDate::MAX.as_secs() && rest.any(|digit| digit != 0);
    (!is_past_the_end).then_some(secs)
}

/// A hint at the minter's likely mistake, if the value shows one.
#[cold]
fn misread_date(value: &str) -> Option<&'static str> {
    match value.len() {
        _ if value.starts_with('"') => Some("it is a string, and a NumericDate is a number"),
        12..=14 if whole(value).is_none_or(|secs| secs > NumericDate::MAX.as_secs()) && is_integer(value) => {
            Some("it looks like milliseconds, and a NumericDate counts seconds")
        }
        15..=17 if is_integer(value) => Some("it looks like microseconds, and a NumericDate counts seconds"),
        18..=20 if is_integer(value) => Some("it looks like nanoseconds, and a NumericDate counts seconds"),
        _ => None,
    }
}

/// The same for a claim that must be a string.
#[cold]
fn misread_string(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => "it is a number, and has to be a string",
        Some(b'n') => "it is null, and has to be a string or absent",
        Some(b'"') => "its escapes make no text",
        _ => "it has to be a string",
    }
}

fn is_integer(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
}

/// A plain integer of up to 12 digits, enough for every date to the year 9999.
fn whole(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 12 {
        return None;
    }
    let mut whole = 0;
    for byte in digits.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        whole = whole * 10 + u64::from(digit);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_date_is_read_from_its_text_and_floored() {
        for (text, secs) in [
            ("0", 0),
            ("-0", 0),
            ("1.999", 1),
            ("1800000599.9999999999999", 1_800_000_599),
            ("1e3", 1_000),
            ("1E+3", 1_000),
            ("1800000000", 1_800_000_000),
            ("253402300799", 253_402_300_799),
            ("1.8e9", 1_800_000_000),
            ("18000000000e-1", 1_800_000_000),
            ("0.0000000018e18", 1_800_000_000),
            ("1.80061855399999999999999e9", 1_800_618_553),
            ("1800618553.99999999999999999999", 1_800_618_553),
            ("253402300799.0", 253_402_300_799),
            ("2.53402300799e11", 253_402_300_799),
            ("-0.0e9", 0),
            ("0e99999999999999999999", 0),
            ("1e-99999999999999999999", 0),
            ("9e-1", 0),
            ("00000000000001", 1),
        ] {
            assert_eq!(date("exp", text).expect(text).as_secs(), secs, "{text}");
        }
        for text in [
            "-1",
            "-0.5",
            "253402300800",
            "253402300799.5",
            "1e400",
            "-1e400",
            "1e12",
            "\"1800000000\"",
            "null",
            "true",
            "[1]",
            "{}",
            "999999999999999999999999999999",
            "2.534023007990001e11",
            "-1e-99999999999999999999",
            "-0.00001",
            "1e99999999999999999999",
            "1e2147483648",
            "0x10",
            "e9",
            "+1",
        ] {
            assert!(date("exp", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_in_another_unit_is_refused_with_a_word_on_it() {
        let hint = |text| date("exp", text).expect_err(text).hint();
        for (text, unit) in [
            ("1800000000000", "milliseconds"),
            ("253402300800", "milliseconds"),
            ("1800000000000000", "microseconds"),
            ("1800000000000000000", "nanoseconds"),
            ("\"1800000000\"", "a string"),
        ] {
            assert!(hint(text).is_some_and(|hint| hint.contains(unit)), "{text}");
        }
        for text in ["-1", "null", "true", "1e400", "[1800000000000]"] {
            assert_eq!(hint(text), None, "{text}");
        }
    }
}
