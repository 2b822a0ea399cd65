//! Rule 5, for the tokens of minters that never knew this crate: without `iat`, without `jti`, with dates as floats.

use std::time::Duration;

use serde_json::{Value, json};
use tower_reissue::keys::{KeyErrorKind, SigningKey};
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, KeyRing, ManualClock, MemoryStore, NumericDate, Reason,
    VerifyingKey,
};

use crate::support::guarded::*;
use crate::support::*;

const HOUR: u64 = 3_600;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn accepting(clock: &ManualClock) -> AuthorityBuilder {
    builder(clock).accept_without_iat(secs(HOUR))
}

/// A token without `iat`, with these claims set anew.
fn undated(changes: Value) -> String {
    let mut claims = claims_with(changes);
    claims.as_object_mut().unwrap().remove("iat");
    mint(&claims)
}

/// When the authority takes a token as issued, and its session as begun.
fn read(authority: &Authority, token: &str) -> Result<(u64, u64), Reason> {
    match at_once(authority.admit(token)) {
        Ok(token) => Ok((token.issued_at().as_secs(), token.session_start().as_secs())),
        Err(refusal) => Err(refusal.reason().clone()),
    }
}

#[test]
fn without_iat_a_token_is_refused_with_a_word_on_the_option() {
    let authority = builder(&ManualClock::at(NOW)).build().unwrap();
    let refusal = at_once(authority.admit(&undated(json!({})))).unwrap_err();
    assert_eq!(*refusal.reason(), Reason::MissingClaim("iat".into()));
    assert!(refusal.to_string().contains("accept_without_iat"), "{refusal}");
}

#[test]
fn a_token_without_iat_reads_as_issued_its_longest_life_before_exp() {
    let ahead = || Err(Reason::NotYetValid("exp"));
    let invalid = |name: &'static str| Err(Reason::InvalidClaim(name.into()));
    let begun = "session_start";
    for (changes, expected) in [
        (json!({}), Ok((NOW - 3_000, NOW - 3_000))),
        (json!({"exp": NOW + 1}), Ok((NOW - 3_599, NOW - 3_599))),
        (json!({"exp": NOW + HOUR}), Ok((NOW, NOW))),
        // A minter's clock may be ahead by the tolerance; past that, its tokens live longer than it was said.
        (json!({"exp": NOW + HOUR + 5}), Ok((NOW + 5, NOW + 5))),
        (json!({"exp": NOW + HOUR + 6}), ahead()),
        (json!({"exp": NOW + 30 * 24 * HOUR}), ahead()),
        (json!({"exp": NOW as f64 + 600.75}), Ok((NOW - 3_000, NOW - 3_000))),
        (json!({"exp": 0}), invalid("exp")),
        // A session-start claim says more, both ways.
        (json!({begun: NOW - 5_000}), Ok((NOW - 3_000, NOW - 5_000))),
        (json!({begun: NOW - 3_000}), Ok((NOW - 3_000, NOW - 3_000))),
        (json!({begun: NOW - 10}), Ok((NOW - 10, NOW - 10))),
        (json!({begun: NOW + 5}), Ok((NOW + 5, NOW + 5))),
        (json!({begun: NOW + 6}), ahead()),
        (json!({begun: NOW + 599}), ahead()),
        (json!({begun: NOW + 600}), invalid(begun)),
        (json!({begun: "today"}), invalid(begun)),
        // `nbf` is judged, and dates nothing: a minter may write it ahead.
        (json!({"nbf": NOW - 1}), Ok((NOW - 3_000, NOW - 3_000))),
        (json!({"nbf": NOW + 6}), Err(Reason::NotYetValid("nbf"))),
        // Not declared.
        (json!({"auth_time": NOW - 9_000}), Ok((NOW - 3_000, NOW - 3_000))),
    ] {
        let authority = accepting(&ManualClock::at(NOW)).build().unwrap();
        assert_eq!(read(&authority, &undated(changes.clone())), expected, "{changes}");
    }
    // There is nothing before the epoch.
    let authority = accepting(&ManualClock::at(50)).build().unwrap();
    assert_eq!(read(&authority, &undated(json!({"exp": 100}))), Ok((0, 0)));
    // Part of a second counts for a whole one: `exp` is floored.
    let longest = Duration::new(HOUR - 1, 1);
    let authority = builder(&ManualClock::at(NOW)).accept_without_iat(longest).build().unwrap();
    assert_eq!(read(&authority, &undated(json!({}))), Ok((NOW - 3_000, NOW - 3_000)));
    let authority = accepting(&ManualClock::at(NOW)).session_starts_at_auth_time().build().unwrap();
    for (auth_time, start) in [(NOW - 9_000, NOW - 9_000), (NOW - 10, NOW - 3_000)] {
        assert_eq!(read(&authority, &undated(json!({"auth_time": auth_time}))), Ok((NOW - 3_000, start)));
    }
}

#[test]
fn an_iat_that_is_present_is_judged_as_ever() {
    let authority = accepting(&ManualClock::at(NOW)).build().unwrap();
    for (iat, expected) in [
        (json!(NOW - 7_200), Ok((NOW - 7_200, NOW - 7_200))),
        (json!(NOW + 5), Ok((NOW + 5, NOW + 5))),
        (json!(NOW + 6), Err(Reason::NotYetValid("iat"))),
        (json!(NOW + 600), Err(Reason::InvalidClaim("exp".into()))),
        (json!("now"), Err(Reason::InvalidClaim("iat".into()))),
    ] {
        let token = mint(&claims_with(json!({"iat": iat})));
        assert_eq!(read(&authority, &token), expected, "{iat}");
    }
    let null = token_with_null_iat();
    assert_eq!(read(&authority, &null), Err(Reason::InvalidClaim("iat".into())));
    let late_start = mint(&claims_with(json!({"session_start": NOW + 1})));
    assert_eq!(read(&authority, &late_start), Err(Reason::InvalidClaim("session_start".into())));
}

fn token_with_null_iat() -> String {
    let claims = claims_with(json!({"iat": null})).to_string();
    mint_raw(r#"{"alg":"HS256"}"#, &claims.replacen('{', r#"{"iat":null,"#, 1))
}

#[test]
fn a_session_without_iat_ends_at_its_limit_from_the_earliest_start() {
    let clock = ManualClock::at(NOW);
    for (limit, exp, ends) in [
        // As long as the limit, counted from the sign-in where the life is the longest.
        (2 * HOUR, NOW + HOUR, NOW + HOUR),
        (HOUR, NOW + HOUR, NOW + HOUR),
        (HOUR - 600, NOW + HOUR, NOW + HOUR - 600),
        (HOUR - 600, NOW + 601, NOW + 1),
        (HOUR - 600, NOW + 600, NOW),
    ] {
        let guarded = Guarded::new(&accepting(&clock).max_session_lifetime(secs(limit)).build().unwrap());
        let token = undated(json!({"exp": exp}));
        for at in [NOW, ends - 1, ends].into_iter().filter(|at| *at >= NOW) {
            clock.set(at);
            assert_eq!(guarded.bearer(&token).is_admitted(), at < ends, "limit {limit}, exp {exp}, at {at}");
        }
    }
}

#[test]
fn successors_carry_an_iat_and_the_session_start() {
    let clock = ManualClock::at(NOW);
    let token = undated(json!({"jti": null, "sub": "bob"}));
    for at in [NOW + 590, NOW + 630] {
        clock.set(at);
        let stateless = accepting(&clock).build().unwrap();
        let recorded = accepting(&clock).store(MemoryStore::new()).build().unwrap();
        let successor = Guarded::new(&stateless).bearer(&token).into_successor();
        assert_eq!(
            successor,
            Guarded::new(&accepting(&clock).build().unwrap()).bearer(&token).into_successor()
        );
        for (successor, iat) in
            [(successor, NOW + 480), (Guarded::new(&recorded).bearer(&token).into_successor(), at)]
        {
            let claims = payload(&successor);
            assert_eq!(claims["iat"], iat);
            assert_eq!(claims["exp"], iat + 600);
            assert_eq!(claims["session_start"], NOW - 3_000);
            assert!(claims["jti"].is_string() && claims["sid"].is_string());
            // It needs no option any more.
            clock.set(iat + 590);
            let strict = builder(&clock).build().unwrap();
            assert_eq!(read(&strict, &successor), Ok((iat, NOW - 3_000)));
            let next = payload(&Guarded::new(&strict).bearer(&successor).into_successor());
            assert_eq!(next["session_start"], NOW - 3_000);
            assert_eq!(next["sid"], claims["sid"]);
            clock.set(at);
        }
    }
}

/// Whatever its true life is, as long as it is no longer than the longest.
#[test]
fn a_token_without_iat_minted_before_a_revocation_is_never_admitted_after_it() {
    const REVOKED: u64 = NOW + 200;
    // "Up to now" reaches sessions begun on clocks that are 3 s ahead.
    const REACH: u64 = REVOKED + 3;
    let clock = ManualClock::at(REVOKED);
    type Revoke<'a> = (&'a str, &'a dyn Fn(&Authority));
    let revoke: [Revoke<'_>; 3] = [
        ("subject", &|authority| at_once(authority.revoke_subject("alice")).unwrap()),
        ("all", &|authority| at_once(authority.revoke_all_before(NumericDate::MAX)).unwrap()),
        ("others", &|authority| {
            let own = at_once(authority.admit(&mint(&claims_with(json!({"sid": "own"}))))).unwrap();
            at_once(authority.revoke_other_sessions(&own)).unwrap();
        }),
    ];
    for (what, revoke) in revoke {
        clock.set(REVOKED);
        let authority = accepting(&clock).store(MemoryStore::new()).build().unwrap();
        let guarded = Guarded::new(&authority);
        revoke(&authority);
        for life in [HOUR, HOUR - 1, HOUR - 100, 300] {
            for minted in
                (REVOKED - 150..=REVOKED + 150).filter(|at| at.abs_diff(REVOKED) < 6 || at % 17 == 0)
            {
                let exp = minted + life;
                let token = undated(json!({"exp": exp, "jti": format!("{life}-{minted}")}));
                // Only then it is provably newer than the revocation.
                let is_newer = exp - HOUR > REACH;
                assert!(minted > REVOKED || !is_newer);
                for at in [0, 1, 2, 3, 4, 5, 150, 250, HOUR].map(|later| minted.max(REVOKED) + later) {
                    clock.set(at);
                    let answer = guarded.bearer(&token);
                    let expected = is_newer && at < exp;
                    assert_eq!(
                        answer.is_admitted(),
                        expected,
                        "{what}: of {life} s, minted {minted}, at {at}"
                    );
                    assert!(is_newer || answer.successor.is_none(), "{what}: exchanged");
                }
            }
        }
    }
}

#[test]
fn a_session_without_iat_is_signed_out_while_any_of_its_tokens_lives() {
    let clock = ManualClock::at(NOW);
    // The limit is shorter than the token's life: another service on the store may have a longer one.
    for limit in [600, 12 * HOUR] {
        for at in [NOW, NOW + 599, NOW + HOUR - 1, NOW + HOUR, NOW + HOUR + 59] {
            clock.set(at);
            let authority = accepting(&clock)
                .max_session_lifetime(secs(limit))
                .store(MemoryStore::new())
                .build()
                .unwrap();
            let token = undated(json!({"exp": NOW + HOUR, "sid": "s"}));
            at_once(authority.sign_out(&token)).unwrap();
            let other = mint(&claims_with(json!({"sid": "s", "iat": at, "exp": at + 600})));
            assert_eq!(read(&authority, &other), Err(Reason::Revoked), "limit {limit}, at {at}");
        }
    }
    clock.set(NOW);
    let authority = accepting(&clock).store(MemoryStore::new()).build().unwrap();
    let ahead = at_once(authority.sign_out(&undated(json!({"exp": NOW + HOUR + 12})))).unwrap_err();
    assert!(ahead.to_string().contains("iat"), "{ahead}");
}

#[test]
fn a_trusted_issuers_tokens_without_iat_are_read_the_same_way_and_never_renewed() {
    let clock = ManualClock::at(NOW);
    let partner = "https://partner.example";
    let foreign = VerifyingKey::from_secret(Algorithm::HS256, SECRET).unwrap();
    let ring =
        KeyRing::new(SigningKey::generate(Algorithm::HS256).unwrap()).trust(partner, [foreign]).unwrap();
    let authority = Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(secs(12 * HOUR))
        .accept_without_iat(secs(HOUR))
        .clock(clock.clone())
        .store(MemoryStore::new())
        .build()
        .unwrap();
    // What another issuer means by this claim is not known: it dates the token only where that is the safe reading.
    for (start, read_as) in
        [(None, NOW - 3_000), (Some(NOW - 10), NOW - 3_000), (Some(NOW - 4_000), NOW - 4_000)]
    {
        let token = undated(json!({"iss": partner, "session_start": start}));
        assert_eq!(read(&authority, &token), Ok((NOW - 3_000, read_as)), "{start:?}");
    }
    let token = undated(json!({"iss": partner}));
    at_once(authority.revoke_foreign_subject(partner, "alice")).unwrap();
    assert_eq!(read(&authority, &token), Err(Reason::Revoked));
    let newer = undated(json!({"iss": partner, "exp": NOW + HOUR + 4, "jti": "newer"}));
    assert_eq!(read(&authority, &newer), Ok((NOW + 4, NOW + 4)));
    clock.set(NOW + HOUR);
    let answer = Guarded::new(&authority).bearer(&newer);
    assert!(answer.is_admitted() && answer.successor.is_none(), "{answer:?}");
}

/// PyJWT's: `sub`, `type` and `exp`, no issuer, no audience.
#[test]
fn langflows_tokens_are_admitted_renewed_and_signed_out() {
    let clock = ManualClock::at(NOW);
    let authority = Authority::builder(key())
        .without_issuer()
        .without_audience()
        .access_claim("type", "access")
        .accept_without_iat(secs(HOUR))
        .max_session_lifetime(secs(12 * HOUR))
        .clock(clock.clone())
        .store(MemoryStore::new())
        .build()
        .unwrap();
    let guarded = Guarded::new(&authority);
    let langflow = |kind: &str, exp: u64| {
        mint(&json!({"sub": "5f2c8a8e-0f5e-4a63-b9b4-0c6f3a3f7f10", "type": kind, "exp": exp}))
    };
    let token = langflow("access", NOW + HOUR);
    assert!(guarded.bearer(&token).is_admitted());
    let refresh = guarded.bearer(&langflow("refresh", NOW + 7 * 24 * HOUR));
    refresh.assert_refused(401, &"refresh");
    assert_eq!(refresh.reason, Some(Reason::WrongType));

    clock.set(NOW + HOUR - 10);
    let successor = guarded.bearer(&token).into_successor();
    let text = payload_text(&successor);
    assert!(text.contains(r#""sub":"5f2c8a8e-0f5e-4a63-b9b4-0c6f3a3f7f10""#), "{text}");
    assert!(text.contains(r#""type":"access""#), "{text}");
    assert_eq!(read(&authority, &successor), Ok((NOW + HOUR - 10, NOW)));
    at_once(authority.sign_out(&successor)).unwrap();
    for dead in [&token, &successor] {
        assert_eq!(guarded.bearer(dead).reason, Some(Reason::Revoked));
    }
    // The user signs in again with Langflow.
    clock.advance(1);
    assert!(guarded.bearer(&langflow("access", NOW + 2 * HOUR - 9)).is_admitted());
}

/// What is accepted as it is, and what is refused by a message that says what to do. The manual's table has these rows.
#[test]
fn each_way_in_which_tokens_come_is_accepted_or_refused_with_a_remedy() {
    let dated = |name: &str, value: &str| {
        let rest = claims_with(json!({name: null})).to_string();
        mint_raw(r#"{"alg":"HS256"}"#, &rest.replacen('{', &format!("{{\"{name}\":{value},"), 1))
    };
    let headed = |header: &str| mint_raw(header, &claims().to_string());
    let own_typ = r#"{"alg":"HS256","typ":"acme+jwt"}"#;
    let old_kid = r#"{"alg":"HS256","typ":"JWT","kid":"key-2019"}"#;
    let plain = |builder: AuthorityBuilder| builder;
    type Option_ = fn(AuthorityBuilder) -> AuthorityBuilder;
    let rows: [(&str, String, Option<&str>, Option<Option_>); 9] = [
        ("no jti", mint(&claims_with(json!({"jti": null}))), None, None),
        ("iat a float", dated("iat", "1799999999.123456"), None, None),
        ("exp a float", dated("exp", "1800000600.9"), None, None),
        ("nbf a float", dated("nbf", "1799999999.5"), None, None),
        ("exp a string", dated("exp", r#""1800000600""#), Some("it is a string"), None),
        ("sub a number", dated("sub", "7"), Some("it is a number"), None),
        ("jti a number", dated("jti", "7"), Some("it is a number"), None),
        ("a typ of their own", headed(own_typ), Some("access_type"), Some(|b| b.access_type("acme+jwt"))),
        ("an old kid", headed(old_kid), Some("also_known_as"), None),
    ];
    for (what, token, remedy, option) in rows {
        let by = |with: Option_| Guarded::new(&with(builder(&ManualClock::at(NOW))).build().unwrap());
        let answer = by(plain).bearer(&token);
        assert_eq!(answer.is_admitted(), remedy.is_none(), "{what}: {answer:?}");
        if let Some(remedy) = remedy {
            let refusal = answer.refusal.unwrap();
            // Only the log knows the remedy for a token that no key has verified: rule 18.
            let told = if refusal.kid().is_some() { "names an unknown key" } else { remedy };
            assert!(refusal.to_string().contains(told), "{what}: {refusal}");
            assert_eq!(refusal.hint().is_some(), refusal.kid().is_none(), "{what}");
        }
        if let Some(option) = option {
            assert!(by(option).bearer(&token).is_admitted(), "{what}");
        }
    }
    let renamed = Authority::builder(key().also_known_as("key-2019"))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(secs(HOUR))
        .clock(ManualClock::at(NOW))
        .build()
        .unwrap();
    assert!(Guarded::new(&renamed).bearer(&headed(old_kid)).is_admitted());

    let short = SigningKey::from_secret(Algorithm::HS256, "mysecret-2019").unwrap_err();
    assert_eq!(short.kind(), KeyErrorKind::Weak);
    for part in ["13 bytes", "needs 32", "openssl rand", "no option"] {
        assert!(short.to_string().contains(part), "{part}: {short}");
    }
    assert!(SigningKey::dangerous().short_hmac(Algorithm::HS256, "mysecret-2019").is_err());
}

/// The service of the manual's page "Coming from jsonwebtoken", and a token that was signed before it moved.
#[test]
fn a_service_that_decoded_by_hand_moves_without_signing_anybody_out() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Private {
        company: String,
    }
    let clock = ManualClock::at(NOW);
    let base = || {
        Authority::builder(key())
            .without_issuer()
            .without_audience()
            .accept_without_iat(secs(HOUR))
            .max_session_lifetime(secs(12 * HOUR))
            .clock(clock.clone())
            .private_claims::<Private>()
    };
    let stateless = Guarded::new(&base().build().unwrap());
    let by_hand = mint(&json!({"sub": "b@b.example", "company": "ACME", "exp": NOW + HOUR}));
    assert!(stateless.bearer(&by_hand).is_admitted());
    // Too long a life for any `longest`: axum's example.
    let endless = mint(&json!({"sub": "b@b.example", "company": "ACME", "exp": 10_000_000_000_u64}));
    assert_eq!(stateless.bearer(&endless).reason, Some(Reason::NotYetValid("exp")));

    // A store comes. What either process renews, the other admits and renews, as long as they take no turns.
    clock.set(NOW + HOUR - 30);
    let store = std::sync::Arc::new(MemoryStore::new());
    let moved = base().store(std::sync::Arc::clone(&store)).build().unwrap();
    let recorded = Guarded::new(&moved);
    let first = stateless.bearer(&by_hand).into_successor();
    assert_eq!(payload(&recorded.bearer(&by_hand).into_successor())["jti"], payload(&first)["jti"]);
    clock.advance(500);
    let second = recorded.bearer(&first).into_successor();
    clock.advance(500);
    let third = stateless.bearer(&second).into_successor();
    clock.advance(500);
    let unknown = recorded.bearer(&third);
    assert!(unknown.is_admitted() && unknown.successor.is_none(), "{unknown:?}");
    at_once(moved.sign_out(&by_hand)).unwrap();
    assert_eq!(recorded.bearer(&third).reason, Some(Reason::Revoked), "one session from the first token on");
}
