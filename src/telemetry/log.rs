//! Events as `tracing` records.

use super::Event;
use crate::keyring::ring::KeyRing;
use crate::log::{Clipped, ERROR, KEYS, NAME, clipped, log};
use crate::refusal::{Reason, Refusal};
use crate::token::not_reissued::NotReissued;

pub(super) fn log(event: &Event<'_>) {
    match event {
        Event::Issued { expires_at } => log!(DEBUG, %expires_at, "token issued"),
        Event::Refused { refusal, ring } => log_refusal(refusal, ring),
        Event::Reissued { how, expires_at } => log!(DEBUG, how = how.label(), %expires_at, "token reissued"),
        // None is a fault: the application declined, the session is near its limit, or a refresh token renews it.
        Event::NotReissued {
            why: why @ (NotReissued::Declined | NotReissued::TooLate | NotReissued::ContinuedByPair),
            ..
        }
        | Event::NotReissued { why, repeated: true } => log!(DEBUG, why = why.label(), "token not reissued"),
        Event::NotReissued { why, .. } => log!(WARN, why = why.label(), "token not reissued"),
        Event::Reused { generations } => {
            log!(WARN, generations, "a token was used again, two generations or more after it was superseded")
        }
        Event::RefreshTokenReused { generations } => {
            log!(WARN, generations, "a refresh token was used twice; its session ends");
        }
        Event::RefreshFailed { error } => {
            log!(ERROR, error = %Clipped(error, ERROR), "the tokens of a refresh could not be made");
        }
        Event::RenewerFailed { error: Some(error) } => {
            log!(ERROR, error = %Clipped(error, ERROR), "the renewer failed");
        }
        Event::RenewerFailed { error: None } => log!(ERROR, "the renewer did not answer in time"),
        Event::Revoked => log!(INFO, "revocation recorded"),
        Event::StoreFailed { error } => {
            log!(ERROR, error = %Clipped(error, ERROR), "the claims store failed");
        }
        Event::InsecureCookie { name } => {
            log!(WARN, name = clipped(name, NAME), "the cookie is not `Secure`: for development only");
        }
        // Recorded where they happen.
        Event::Keys(_) | Event::HookPanicked { .. } => {}
    }
}

/// WARN for a refusal that another key may explain, for a fault of a token under a good key, and for a header that its minter got
/// wrong: keys, a minter or a configuration is wrong. INFO for a token that has expired or was revoked, which
/// every sign-out and every idle client causes, and for a route that requires more than a good token. DEBUG for everything that anybody can send.
fn log_refusal(refusal: &Refusal, ring: &KeyRing) {
    let reason = refusal.reason().label();
    let claim = refusal.claim().map(|claim| clipped(claim, NAME));
    let hint = refusal.hint().or_else(|| key_hint(refusal, ring));
    let expected = refusal.expected().map(|expected| clipped(expected, NAME));
    let missed_by = refusal.missed_by().map(|time| time.as_secs());
    match refusal.reason() {
        reason_ if reason_.is_about_keys() || refusal.kid().is_some() => {
            // `Fingerprints` reads them from the line, whatever the token's `kid` holds.
            let fingerprints = ring.fingerprint_summary(KEYS);
            log!(WARN, reason, hint, kid = refusal.kid(), issuers = expected, %fingerprints, "token refused");
        }
        Reason::Expired | Reason::ExpiredInGrace | Reason::SessionOver | Reason::Revoked => {
            log!(INFO, reason, claim, hint, expired_for = missed_by, "token refused, under a good key");
        }
        // Not a fault: the caller asked for something that needs another token.
        Reason::InsufficientScope | Reason::InsufficientAuthentication(_) => {
            log!(INFO, reason, claim, "request refused, under a good key");
        }
        reason_ if reason_.is_under_a_good_key() => {
            log!(WARN, reason, claim, hint, expected, ahead = missed_by, "token refused, under a good key");
        }
        Reason::MalformedToken if hint.is_some() => log!(WARN, reason, hint, "token refused"),
        _ => log!(DEBUG, reason, hint, "request refused"),
    }
}

/// The application's fault: a route wants the token of a layer that does not guard it.
pub(super) fn no_layer(claims: &str, remedy: &'static str, repeated: bool) {
    let claims = clipped(claims, NAME);
    match repeated {
        false => log!(ERROR, claims, remedy, "a route has no token"),
        true => log!(DEBUG, claims, remedy, "a route has no token"),
    }
}

/// What the operator can do about a key. It is not part of the refusal, because the sender of an unverified token must not learn which
/// keys there are.
fn key_hint(refusal: &Refusal, ring: &KeyRing) -> Option<&'static str> {
    match (refusal.reason(), refusal.kid()) {
        // Two processes with different secrets whose tokens share a `kid`, or name none.
        (Reason::BadSignature, _) => Some(
            "another key signed it, or it was changed; compare the fingerprints with its issuer's, logged as keys loaded",
        ),
        (Reason::UnknownKey, Some(kid)) if is_fingerprint(kid) => {
            Some("another key signed it; compare the fingerprints with its issuer's, logged as keys loaded")
        }
        // The only key may have signed it under an earlier name.
        (Reason::UnknownKey, Some(_)) if ring.keys().count() == 1 => {
            Some("the only key has another kid; also_known_as gives it a further one")
        }
        _ => None,
    }
}

/// Whether a `kid` is written as the fingerprint of a secret, or the thumbprint of a key pair (RFC 7638). Each key has one, so it is not
/// an earlier name of this ring's keys.
fn is_fingerprint(kid: &str) -> bool {
    matches!(kid.len(), 22 | 43) && kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;
    use crate::authority::Authority;
    use crate::keyring::event::KeyEvent;
    use crate::keyring::fingerprints::Fingerprints;
    use crate::keyring::handle::Keys;
    use crate::keys::Algorithm;
    use crate::keys::error::KeyError;
    use crate::keys::signing_key::SigningKey;
    use crate::refusal::Refusal;

    /// Writes what a log would have, a line each, as text and as JSON.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Lines>>);

    #[derive(Default)]
    struct Lines {
        text: Vec<String>,
        json: Vec<String>,
    }

    #[derive(Default)]
    struct Line {
        text: String,
        json: serde_json::Map<String, serde_json::Value>,
    }

    impl Visit for Line {
        fn record_str(&mut self, field: &Field, value: &str) {
            let _ = write!(self.text, " {field}={value:?}");
            self.json.insert(field.to_string(), value.into());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.text, " {field}={value:?}");
            self.json.insert(field.to_string(), format!("{value:?}").into());
        }
    }

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let level = event.metadata().level();
            let mut line = Line { text: level.to_string(), ..Line::default() };
            event.record(&mut line);
            let mut log = self.0.lock().expect("the log");
            log.text.push(line.text);
            log.json.push(
                serde_json::json!({
                    "timestamp": "2027-01-15T08:00:00.000000Z", "level": level.as_str(),
                    "fields": line.json, "target": "tower_reissue",
                })
                .to_string(),
            );
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged(act: impl FnOnce()) -> Vec<String> {
        logged_in_both(act).text
    }

    fn logged_in_both(act: impl FnOnce()) -> Lines {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), act);
        std::mem::take(&mut *log.0.lock().expect("the log"))
    }

    fn key(name: &str) -> SigningKey {
        SigningKey::from_secret(Algorithm::HS256, format!("{name:-<64}")).expect("a secret").with_kid(name)
    }

    #[test]
    fn a_refusal_that_a_key_may_explain_warns_with_the_line_that_keys_loaded_has() {
        let ring = KeyRing::new(key("main"));
        let refuse = |refusal: Refusal| {
            let lines = logged(|| log(&Event::Refused { refusal: &refusal, ring: &ring }));
            lines.concat()
        };
        // The token's `kid` is anybody's.
        let kid = Some("signs HS256 forged fingerprints=signs HS256 forged");
        for reason in [Reason::UnknownKey, Reason::BadSignature, Reason::WrongAlgorithm] {
            for refusal in [Refusal::new(reason.clone()), Refusal::with_kid(reason.clone(), kid)] {
                let line = refuse(refusal.clone());
                assert!(line.starts_with("WARN"), "{line}");
                assert!(line.contains(&format!("fingerprints={}", ring.fingerprints())), "{line}");
                assert_eq!(line.parse::<Fingerprints>(), Ok(ring.fingerprints()), "{line}");
                let json =
                    logged_in_both(|| log(&Event::Refused { refusal: &refusal, ring: &ring })).json.concat();
                assert_eq!(json.parse::<Fingerprints>(), Ok(ring.fingerprints()), "{json}");
            }
        }
    }

    #[test]
    fn a_ring_replaced_by_hand_is_on_record_once() {
        let ring = || {
            let ring = KeyRing::new(key("main")).retiring(key("old")).expect("two names");
            ring.retiring(key("older")).expect("three names")
        };
        let keys = Keys::from(ring());
        let builder = Authority::builder(keys.clone()).issuer("i").audience("a");
        let authority =
            builder.max_session_lifetime(std::time::Duration::from_secs(3600)).build().expect("it is whole");
        let replaced = |act: &dyn Fn() -> bool| {
            let lines = logged(|| assert!(act()));
            let lines: Vec<_> = lines.into_iter().filter(|line| line.contains("keys replaced")).collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines.concat().parse::<Fingerprints>(), Ok(keys.current().fingerprints()));
        };
        replaced(&|| authority.withdraw_key("old"));
        replaced(&|| authority.replace_keys(ring()).is_ok());
        replaced(&|| keys.withdraw("older"));
        assert!(logged(|| assert!(!keys.withdraw("older"))).is_empty());
        let lines = logged(|| assert!(keys.withdraw("main")));
        assert!(
            lines.iter().any(|line| line.starts_with("ERROR") && line.contains("there is no signing key")),
            "{lines:?}"
        );
    }

    #[test]
    fn the_log_says_how_a_token_of_a_renamed_key_is_admitted() {
        let kid = |kid| Refusal::with_kid(Reason::UnknownKey, kid);
        let two = KeyRing::new(key("main")).retiring(key("old")).expect("two names");
        for (ring, refusal, is_renamed) in [
            (KeyRing::new(key("main")), kid(Some("key-2019")), true),
            (KeyRing::new(key("main")), kid(None), false),
            (KeyRing::new(key("main")), Refusal::with_kid(Reason::BadSignature, Some("main")), false),
            // Nobody knows of which.
            (two, kid(Some("key-2019")), false),
        ] {
            let line = logged(|| log(&Event::Refused { refusal: &refusal, ring: &ring })).concat();
            assert_eq!(line.contains("also_known_as"), is_renamed, "{line}");
        }
    }

    #[test]
    fn the_log_says_that_another_key_signed_a_token() {
        let ring = KeyRing::new(key("main"));
        let thumbprint = SigningKey::generate(Algorithm::EdDSA).expect("a key");
        let secret = SigningKey::generate(Algorithm::HS256).expect("a secret");
        for (refusal, is_another) in [
            (Refusal::with_kid(Reason::BadSignature, Some("not-used")), true),
            (Refusal::with_kid(Reason::BadSignature, None), true),
            (Refusal::with_kid(Reason::UnknownKey, Some(thumbprint.fingerprint())), true),
            (Refusal::with_kid(Reason::UnknownKey, Some(secret.fingerprint())), true),
            (Refusal::with_kid(Reason::UnknownKey, Some("key-2019")), false),
            (Refusal::with_kid(Reason::UnknownKey, None), false),
        ] {
            let line = logged(|| log(&Event::Refused { refusal: &refusal, ring: &ring })).concat();
            assert_eq!(line.contains("another key signed it"), is_another, "{line}");
        }
    }

    /// Every event, as full as strangers and configuration can make it.
    #[test]
    fn no_line_is_longer_than_two_kibibytes() {
        for text in ["\u{202e}\r\n\u{1b}[31m\u{e9}x", "\u{61c}\u{2060}\u{e0041}x", "\"", "\\", "\"\\'\u{e9}"]
        {
            no_line_is_longer(&text.repeat(20_000));
        }
    }

    fn no_line_is_longer(long: &str) {
        use crate::store::{StoreError, StoreErrorKind};

        let mut ring = KeyRing::new(key("main"));
        for nth in 0..60 {
            ring =
                ring.retiring(key(&format!("{nth:02}")).with_kid(format!("{nth:02}{long}"))).expect("a key");
        }
        let store = StoreError::with_source(StoreErrorKind::Unavailable, long.to_owned());
        let error = KeyError::unavailable(long.to_owned()).because(std::io::Error::other(long.to_owned()));
        let mut events = vec![
            Event::StoreFailed { error: &store },
            Event::Keys(KeyEvent::LoadFailed { source: long, error: &error }),
            Event::Keys(KeyEvent::EmptyKeySet { source: long, issuer: long }),
            Event::Keys(KeyEvent::Skipped { source: long, error: &error }),
            Event::Keys(KeyEvent::Unreported { count: u64::MAX }),
            Event::Keys(KeyEvent::Ephemeral { kid: long }),
            Event::InsecureCookie { name: long },
            Event::Keys(KeyEvent::Loaded { ring: &ring }),
            Event::Keys(KeyEvent::Replaced { ring: &ring }),
        ];
        let refusals: Vec<Refusal> = [
            Reason::UnknownKey,
            Reason::BadSignature,
            Reason::MalformedToken,
            Reason::MissingClaim(long.to_owned().into()),
            Reason::InvalidClaim(long.to_owned().into()),
        ]
        .into_iter()
        .map(|reason| {
            Refusal::with_kid(reason, Some(long)).with_hint("a word on it").expecting(long.to_owned())
        })
        .chain([Refusal::with_kid(Reason::BadSignature, Some(long)).expecting(long.to_owned())])
        .collect();
        events.extend(refusals.iter().map(|refusal| Event::Refused { refusal, ring: &ring }));
        for event in &events {
            let lines = logged_in_both(|| super::super::record(event));
            assert!(!lines.text.is_empty(), "{event:?}");
            if let Event::Keys(event) = event {
                let text = event.to_string();
                assert!(text.len() <= 2_048 && text.chars().all(|c| !c.is_control()), "{text}");
            }
            for line in lines.text.iter().chain(&lines.json) {
                assert!(line.len() <= 2_048, "{} bytes: {line}", line.len());
                assert!(
                    !line.contains(['\r', '\u{1b}', '\u{202e}', '\u{61c}', '\u{2060}', '\u{e0041}']),
                    "{line}"
                );
            }
        }
        // What is cut from a refusal stands in full where the ring was new.
        let loaded = logged(|| super::super::record(&Event::Keys(KeyEvent::Loaded { ring: &ring })));
        let told: usize = loaded.iter().map(|line| line.matches(" HS256 ").count()).sum();
        assert_eq!((told, loaded.len() > 1), (61, true));
        let refused =
            logged(|| log(&Event::Refused { refusal: &Refusal::new(Reason::UnknownKey), ring: &ring }));
        let refused = refused.concat();
        assert!(refused.contains("signs HS256") && refused.contains(" more"), "{refused}");
    }

    #[test]
    fn a_route_without_a_layer_is_an_error_once() {
        for (repeated, level) in [(false, "ERROR"), (true, "DEBUG")] {
            let line = logged(|| no_layer("shop::Role", "add the ReissueLayer last", repeated)).concat();
            assert!(
                line.starts_with(level) && line.contains("shop::Role") && line.contains("last"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_successor_that_is_too_large_warns_once() {
        let line = |why, repeated| logged(|| log(&Event::NotReissued { why, repeated })).concat();
        for (why, repeated, level) in [
            (NotReissued::HeadTooLarge, false, "WARN"),
            (NotReissued::HeadTooLarge, true, "DEBUG"),
            (NotReissued::StoreFailed, false, "WARN"),
            (NotReissued::HeadMismatch, false, "WARN"),
            (NotReissued::Declined, false, "DEBUG"),
            (NotReissued::ContinuedByPair, false, "DEBUG"),
        ] {
            let line = line(why, repeated);
            assert!(line.starts_with(level), "{line}");
        }
        assert!(line(NotReissued::HeadTooLarge, true).contains("head_too_large"));
    }

    #[test]
    fn a_refusal_under_a_good_key_names_the_claim_and_warns() {
        let ring = KeyRing::new(key("main"));
        let line = |refusal: &Refusal| logged(|| log(&Event::Refused { refusal, ring: &ring })).concat();
        for (refusal, level, told) in [
            (Refusal::new(Reason::UnknownKey).with_hint("it has another kid"), "WARN", "it has another kid"),
            (
                Refusal::new(Reason::UnknownKey).expecting("https://a, https://b".to_owned()),
                "WARN",
                "issuers=\"https://a, https://b\"",
            ),
            (Refusal::new(Reason::MissingClaim("iat".into())), "WARN", "claim=\"iat\""),
            (
                Refusal::new(Reason::InvalidClaim("exp".into())).with_hint("it looks like milliseconds"),
                "WARN",
                "milliseconds",
            ),
            (Refusal::new(Reason::WrongIssuer), "WARN", "claim=\"iss\""),
            (
                Refusal::new(Reason::WrongAudience).expecting("orders, carts".to_owned()),
                "WARN",
                "expected=\"orders, carts\"",
            ),
            (Refusal::new(Reason::WrongAudience), "WARN", "claim=\"aud\""),
            (Refusal::new(Reason::NotYetValid("nbf")), "WARN", "claim=\"nbf\""),
            (Refusal::new(Reason::Unconfirmed), "WARN", "claim=\"cnf\""),
            (
                Refusal::new(Reason::NotYetValid("iat")).missing_by(30),
                "WARN",
                "future_tolerance allows 60 s at most\" ahead=30",
            ),
            (Refusal::new(Reason::Expired), "INFO", "claim=\"exp\""),
            (Refusal::new(Reason::Expired).missing_by(61), "INFO", "expired_for=61"),
            (Refusal::new(Reason::ExpiredInGrace).missing_by(1), "INFO", "expired_for=1"),
            (Refusal::new(Reason::Expired).with_hint("max_age"), "INFO", "max_age"),
            (Refusal::new(Reason::Revoked), "INFO", "revoked"),
            (
                Refusal::new(Reason::MalformedToken).with_hint("the header's kid is not a string"),
                "WARN",
                "kid is not a string",
            ),
            (Refusal::new(Reason::MalformedToken), "DEBUG", "malformed_token"),
            (Refusal::new(Reason::NoCredential), "DEBUG", "no_credential"),
            // What anybody can send, whatever is known about it.
            (Refusal::new(Reason::NoCredential).with_hint("not Bearer"), "DEBUG", "not Bearer"),
            (Refusal::new(Reason::CrossSite).with_hint("its Origin"), "DEBUG", "its Origin"),
        ] {
            let line = line(&refusal);
            assert!(line.starts_with(level) && line.contains(told), "{line}");
        }
    }
}
