//! The claims of a successor: its predecessor's JSON text, with other names and dates.

use std::borrow::Cow;

use super::claims::{ACCESS_CLAIMS, Claims};
use super::kind::TokenKind;
use super::not_reissued::NotReissued;
use super::policy::Policy;
use super::renewal::Narrowed;
use super::scope;
use super::successor::Successor;
use super::verify::Verified;
use crate::jose::json;
use crate::jose::json::Change;
use crate::time::NumericDate;

impl Policy {
    /// The successor as a pure function of its predecessor: every node makes the same one at any time, without communication.
    ///
    /// `None` if it would not outlive its predecessor, or has expired at `now`.
    pub(crate) fn derived<'a>(&self, token: &'a Verified, now: NumericDate) -> Option<&'a Successor> {
        let derive = || self.successor(token, self.renewable_from(token), &Narrowed::default());
        token
            .derived
            .get_or_init(derive)
            .as_ref()
            .filter(|successor| successor.outlives(token.claims().exp(), now))
    }

    /// The successor to propose to a store, beginning at `now`, or with its session if that begins later.
    pub(crate) fn propose(&self, token: &Verified, now: NumericDate) -> Option<Successor> {
        self.propose_narrowed(token, now, &Narrowed::default())
    }

    /// The same, with fewer scopes or audiences.
    pub(crate) fn propose_narrowed(
        &self,
        token: &Verified,
        now: NumericDate,
        narrowed: &Narrowed,
    ) -> Option<Successor> {
        let successor = self.successor(token, now, narrowed)?;
        Some(successor).filter(|successor| successor.outlives(outlived(token), now))
    }

    fn successor(&self, token: &Verified, iat: NumericDate, narrowed: &Narrowed) -> Option<Successor> {
        let claims = token.claims();
        // A session may begin ahead of this clock, and a token that is older than its session is malformed.
        let iat = iat.max(claims.session_start());
        let exp = self.exp_of(token.kind(), iat, claims.session_start());
        let (spans, now) = (claims.spans(), number(iat));
        let jti = named(&token.id().successor_jti()).into();
        let replace = |at, value| Change::Replace { at, value };
        let mut changes = Vec::with_capacity(8);
        changes.push(replace(spans.exp, number(exp).into()));
        changes.push(match spans.iat {
            Some(at) => replace(at, Cow::Borrowed(&*now)),
            None => Change::Append { name: "iat", value: Cow::Borrowed(&*now) },
        });
        changes.extend(spans.nbf.map(|at| replace(at, Cow::Borrowed(&*now))));
        changes.push(match claims.span_of_jti() {
            Some(at) => replace(at, jti),
            None => Change::Append { name: "jti", value: jti },
        });
        if claims.sid().is_none() {
            changes.push(Change::Append { name: "sid", value: named(&token.sid()).into() });
        }
        if spans.session_start.is_none() {
            let value = number(claims.session_start()).into();
            changes.push(Change::Append { name: &self.session_start_claim, value });
        }
        let audience = narrowed.audience.as_deref().or(claims.audience());
        let moved = audience.and_then(|aud| self.moved_audience(aud)).map(Cow::Owned);
        let moved = moved.or(narrowed.audience.as_deref().map(Cow::Borrowed));
        changes.extend(spans.aud.zip(moved).map(|(at, moved)| replace(at, moved)));
        let claims = json::splice(claims.text(), changes)?;
        let claims = narrowed.scopes.iter().fold(claims, |claims, left| scope::reduced(&claims, left));
        Some(Successor { claims: claims.into(), iat, exp })
    }

    /// The audience with each legacy name replaced by the primary one. `None` if there is none to replace.
    fn moved_audience(&self, aud: &str) -> Option<String> {
        let primary = json::quoted(self.primary_audience()?);
        if let Some(single) = json::string(aud) {
            return self.is_legacy_audience(&single).then_some(primary);
        }
        let names = json::strings(aud)?;
        if !names.iter().any(|(_, name)| self.is_legacy_audience(name)) {
            return None;
        }
        let mut moved: Vec<&str> = Vec::with_capacity(names.len());
        for (text, name) in &names {
            let text = if self.is_legacy_audience(name) { &primary } else { *text };
            if text != primary || !moved.contains(&text) {
                moved.push(text);
            }
        }
        Some(format!("[{}]", moved.join(",")))
    }

    /// Checks a head that a store returned, before it is signed. The store is trusted to order successors, but not to write claims.
    /// Fails if the head can't be a successor of this token, or is dead by now.
    ///
    /// The head may come from a node with another lifetime. It may live at most as long as this policy's lifetime or the token's
    /// own, whichever is longer, and ends with the session. While a deployment raises the lifetime, nodes with the old policy
    /// do not send heads of nodes with the new one.
    pub(crate) fn accept_head(
        &self,
        token: &Verified,
        head: &str,
        now: NumericDate,
    ) -> Result<Successor, NotReissued> {
        match self.recorded_head(token, head, now) {
            Some(head) if head.outlives(outlived(token), now) => Ok(head),
            Some(_) => Err(NotReissued::TooLate),
            None if is_refresh_token_of(token, head) => Err(NotReissued::ContinuedByPair),
            None => Err(NotReissued::HeadMismatch),
        }
    }

    /// The same for a head that may be dead by now: it still tells when its predecessor was superseded.
    pub(crate) fn recorded_head(&self, token: &Verified, head: &str, now: NumericDate) -> Option<Successor> {
        let claims = token.claims();
        // Without `iat` only a bound of the token's life is known.
        let own_life = claims.spans().iat.map_or(0, |_| claims.exp().since(claims.iat()));
        let longest = self.lifetime_of(token.kind()).max(own_life);
        let parsed = self.read_head(token, token.kind(), head, now)?;
        let named = parsed.jti() == Some(&*token.id().successor_jti())
            && parsed.nbf() == claims.nbf().map(|_| parsed.iat());
        if !named || parsed.exp().since(parsed.iat()) > longest || !self.only_renewed(claims.text(), head) {
            return None;
        }
        Some(Successor { iat: parsed.iat(), exp: parsed.exp(), claims: head.into() })
    }

    /// The refresh token on record that continues this access token's session, and its `jti`, if it is live and grants what the
    /// proposed one would.
    pub(super) fn recorded_refresh_token(
        &self,
        token: &Verified,
        proposed: &str,
        head: &str,
        now: NumericDate,
    ) -> Option<(String, Successor)> {
        let kind = TokenKind::Refresh;
        let parsed = self.read_head(token, kind, head, now)?;
        let life = parsed.exp().since(parsed.iat());
        let is_live = now < parsed.exp() && life <= self.lifetime_of(kind) && parsed.nbf().is_none();
        if !is_live || !self.only_renewed(proposed, head) {
            return None;
        }
        let jti = parsed.jti()?.to_owned();
        Some((jti, Successor { iat: parsed.iat(), exp: parsed.exp(), claims: head.into() }))
    }

    /// The claims of a head of this kind, if it is of the token's session, was not issued ahead, and ends with the session.
    fn read_head(&self, token: &Verified, kind: TokenKind, head: &str, now: NumericDate) -> Option<Claims> {
        let start = token.claims().session_start();
        let parsed = Claims::parse(head.into(), self, self.terms_of(kind, None)?, None).ok()?;
        let is_of_session = parsed.sid() == Some(&*token.sid()) && parsed.session_start() == start;
        let is_dated = parsed.spans().iat.is_some()
            && parsed.iat() <= now.after(self.future_tolerance)
            && parsed.exp() <= self.session_end(start);
        (is_of_session && is_dated).then_some(parsed)
    }

    /// Whether two claims texts differ only in names and dates, and the second has no further audience or scope.
    pub(super) fn only_renewed(&self, predecessor: &str, head: &str) -> bool {
        let (Ok(before), Ok(after)) = (json::members(predecessor), json::members(head)) else { return false };
        let added = |name: &str| before.iter().all(|member| member.name != name);
        let value = |members: &[json::Member<'_>], name: &str| {
            members.iter().find(|member| member.name == name).map(|member| member.value.to_owned())
        };
        // A renewer narrows them.
        let is_narrowed = |name: &str| match (value(&before, name), value(&after, name)) {
            (Some(before), Some(after)) => scope::is_within(&after, &before),
            _ => false,
        };
        let renewed = |name: &str| {
            matches!(name, "exp" | "iat" | "jti" | "nbf" | "aud")
                || (matches!(name, "scope" | "scp") && is_narrowed(name))
                || ((name == "sid" || name == self.session_start_claim) && added(name))
        };
        let kept = |members: &[json::Member<'_>]| -> Vec<(String, String)> {
            let mut kept: Vec<_> = members
                .iter()
                .filter(|member| !renewed(&member.name))
                .map(|member| (member.name.to_string(), member.value.to_owned()))
                .collect();
            kept.sort_unstable();
            kept
        };
        let had = audience(&before);
        let moved = |name: &str| {
            Some(name) == self.primary_audience() && had.iter().any(|had| self.is_legacy_audience(had))
        };
        kept(&before) == kept(&after) && audience(&after).iter().all(|name| had.contains(name) || moved(name))
    }
}

/// Whether a head is a refresh token of this access token's session, which began as a single token and goes on with a pair. This node
/// may know no refresh tokens.
fn is_refresh_token_of(token: &Verified, head: &str) -> bool {
    let Ok(members) = json::members(head) else { return false };
    let value = |name: &str| members.iter().find(|member| member.name == name).map(|member| member.value);
    let sid = value("sid").and_then(json::string);
    token.kind() == TokenKind::Access
        && value(ACCESS_CLAIMS).is_some()
        && sid.as_deref() == Some(&*token.sid())
}

/// The instant that a successor's `exp` must be later than. An access token's successor must expire later than the token itself. A
/// refresh token is replaced at each use, even if its successor expires no later.
fn outlived(token: &Verified) -> NumericDate {
    match token.kind() {
        TokenKind::Access => token.claims().exp(),
        TokenKind::Refresh => NumericDate::default(),
    }
}

/// The JSON text of a derived id, which needs no escaping.
fn named(name: &str) -> String {
    ["\"", name, "\""].concat()
}

fn number(date: NumericDate) -> String {
    date.as_secs().to_string()
}

fn audience<'a>(members: &'a [json::Member<'_>]) -> Vec<Cow<'a, str>> {
    let value = members.iter().find(|member| member.name == "aud").map_or("[]", |member| member.value);
    match json::string(value) {
        Some(single) => vec![single],
        None => json::strings(value).unwrap_or_default().into_iter().map(|(_, name)| name).collect(),
    }
}
