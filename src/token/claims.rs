//! The claims of a verified payload: its JSON text, and the registered claims read from it once.

use std::borrow::Cow;
use std::sync::Arc;

use super::json::{self, Member, Span};
use super::policy::Policy;
use super::refusal::Reason;
use crate::NumericDate;

/// The text is the truth. Everything beside it was read from it and is checked for type and range.
#[derive(Debug)]
pub(crate) struct Claims {
    text: Arc<str>,
    iss: Option<Text>,
    sub: Option<Text>,
    jti: Option<Text>,
    sid: Option<Text>,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    session_start: NumericDate,
    start_is_declared: bool,
    confirmation: Option<Span>,
    places: Places,
}

/// Where values that a successor changes stand in the text.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) exp: Span,
    pub(crate) iat: Span,
    pub(crate) nbf: Option<Span>,
    pub(crate) aud: Option<Span>,
    pub(crate) session_start: Option<Span>,
}

/// A string claim: where it stands in the text, and its own copy where it is escaped there.
#[derive(Debug)]
struct Text {
    at: Span,
    unescaped: Option<Box<str>>,
}

/// The registered claims as their raw values, before any is believed.
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
    session_start: Option<&'a str>,
}

impl Claims {
    /// Rule 5, all of it but what depends on the time. `foreign` is the issuer a trusted foreign key belongs to.
    pub(crate) fn parse(text: Arc<str>, policy: &Policy, foreign: Option<&str>) -> Result<Self, Reason> {
        let members = json::members(&text).map_err(|_| Reason::MalformedToken)?;
        let raw = Raw::of(&members, policy);
        let string = |name, value: Option<&str>| value.map(|value| Text::of(name, value, &text)).transpose();
        let place = |value: &str| Span::of(value, &text).ok_or(Reason::TooLong);
        let iss = string("iss", raw.iss)?;
        check_issuer(iss.as_ref().and_then(|iss| iss.read(&text)), policy, foreign)?;
        check_audience(raw.aud, policy)?;
        let exp_text = raw.exp.ok_or(Reason::MissingClaim("exp".into()))?;
        let exp = date("exp", exp_text)?;
        let iat_text = raw.iat.ok_or(Reason::MissingClaim("iat".into()))?;
        let iat = date("iat", iat_text)?;
        if exp <= iat {
            return Err(Reason::InvalidClaim("exp".into()));
        }
        let nbf = raw.nbf.map(|value| date("nbf", value)).transpose()?;
        for name in &policy.required_claims {
            if !members.iter().any(|member| member.name == **name && member.value != "null") {
                return Err(Reason::MissingClaim(name.clone().into()));
            }
        }
        if let Some((name, wanted)) = &policy.access_claim {
            let marked = members
                .iter()
                .find(|member| member.name == **name)
                .and_then(|member| json::string(member.value));
            if marked.as_deref() != Some(wanted) {
                return Err(Reason::WrongType);
            }
        }
        let declared_start = raw
            .session_start
            .map(|value| date("session_start", value))
            .transpose()
            .map_err(|_| Reason::InvalidClaim(policy.session_start_claim.clone().into()))?;
        let auth_time = raw.auth_time.map(|value| date("auth_time", value)).transpose()?;
        // It stays in every successor's text, so that a later one would move the ceiling along.
        if declared_start.is_some_and(|start| start > iat) {
            return Err(Reason::InvalidClaim(policy.session_start_claim.clone().into()));
        }
        let start = declared_start.or(auth_time.filter(|_| policy.session_starts_at_auth_time));
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
            start_is_declared: start.is_some(),
            confirmation: raw.cnf.map(place).transpose()?,
            places: Places {
                exp: place(exp_text)?,
                iat: place(iat_text)?,
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

    pub(crate) fn iat(&self) -> NumericDate {
        self.iat
    }

    pub(crate) fn nbf(&self) -> Option<NumericDate> {
        self.nbf
    }

    pub(crate) fn session_start(&self) -> NumericDate {
        self.session_start
    }

    /// Whether a claim tells when the session began; otherwise its first token that was seen stands for it.
    pub(crate) fn start_is_declared(&self) -> bool {
        self.start_is_declared
    }

    /// The JSON text of `cnf` (RFC 7800 §3.1), where the token is bound to its sender.
    #[inline]
    pub(crate) fn confirmation(&self) -> Option<&str> {
        self.confirmation?.of_text(&self.text)
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// `aud`, as it was written.
    pub(crate) fn audience(&self) -> Option<&str> {
        self.places.aud?.of_text(&self.text)
    }

    /// Where the value of `jti` stands, quotes included.
    pub(crate) fn place_of_jti(&self) -> Option<Span> {
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
                name if name == policy.session_start_claim => &mut raw.session_start,
                _ => continue,
            };
            *claim = Some(value);
        }
        raw
    }
}

impl Text {
    fn of(name: &'static str, value: &str, text: &str) -> Result<Self, Reason> {
        let unescaped = match json::string(value).ok_or(Reason::InvalidClaim(name.into()))? {
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

fn check_issuer(iss: Option<&str>, policy: &Policy, foreign: Option<&str>) -> Result<(), Reason> {
    match (foreign.or(policy.issuer.as_deref()), iss) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(Reason::MissingClaim("iss".into())),
        (Some(wanted), Some(iss)) if wanted == iss => Ok(()),
        _ => Err(Reason::WrongIssuer),
    }
}

fn check_audience(aud: Option<&str>, policy: &Policy) -> Result<(), Reason> {
    let Some(value) = aud else {
        return if policy.audiences.is_empty() { Ok(()) } else { Err(Reason::MissingClaim("aud".into())) };
    };
    let invalid = || Reason::InvalidClaim("aud".into());
    let named = if value.starts_with('"') {
        policy.accepts_audience(&json::string(value).ok_or_else(invalid)?)
    } else {
        json::strings(value).ok_or_else(invalid)?.iter().any(|(_, name)| policy.accepts_audience(name))
    };
    if named || policy.audiences.is_empty() { Ok(()) } else { Err(Reason::WrongAudience) }
}

/// A NumericDate from its own text, so that no feature of a JSON library can change how it reads: a finite number
/// in 0..=253402300799, floored.
fn date(name: &'static str, value: &str) -> Result<NumericDate, Reason> {
    let invalid = || Reason::InvalidClaim(name.into());
    if let Some(secs) = whole(value) {
        return if secs <= NumericDate::MAX.as_secs() {
            Ok(NumericDate::from_secs(secs))
        } else {
            Err(invalid())
        };
    }
    // A decimal is floored as text: as a float it might be rounded up.
    if let Some((integral, fraction)) = value.split_once('.')
        && (1..=12).contains(&integral.len())
        && [integral, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        && integral != "253402300799"
    {
        return date(name, integral);
    }
    // `parse` also reads "inf", "nan" and "+1", which are no JSON: the first byte tells.
    if !value.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return Err(invalid());
    }
    let number = value.parse::<f64>().map_err(|_| invalid())?;
    if !(0.0..=NumericDate::MAX.as_secs() as f64).contains(&number) {
        return Err(invalid());
    }
    Ok(NumericDate::from_secs(number as u64))
}

/// Up to 12 digits: they hold every year to 9999 and fit every integer.
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
        ] {
            assert!(date("exp", text).is_err(), "{text}");
        }
    }
}
