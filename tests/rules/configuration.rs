//! What can't be right is refused when the authority is built, by a message that names the option and a remedy.

use std::time::Duration;

use tower_reissue::keys::{Algorithm, KeyErrorKind, KeyFormat, KeyRing, SigningKey, VerifyingKey};
use tower_reissue::{Authority, AuthorityBuilder, IssueError, Login, ManualClock};

use crate::support::guarded::*;
use crate::support::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn good() -> AuthorityBuilder {
    builder(&ManualClock::at(NOW))
}

#[track_caller]
fn assert_refused(builder: AuthorityBuilder, says: &[&str]) {
    let message = builder.build().expect_err(&format!("{says:?}")).to_string();
    for part in says {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn issuer_audience_and_session_limit_must_be_said() {
    let start = || Authority::builder(key());
    assert_refused(start().audience("a").max_session_lifetime(secs(3_600)), &["issuer(", "without_issuer()"]);
    assert_refused(
        start().issuer("i").max_session_lifetime(secs(3_600)),
        &["audience(", "without_audience()"],
    );
    assert_refused(start().issuer("i").audience("a"), &["max_session_lifetime(", "12 hours"]);
    assert_refused(good().issuer(""), &["issuer(", "without_issuer()"]);
    assert_refused(good().issuer(" \t"), &["issuer(", "without_issuer()"]);
    assert_refused(good().audience(" "), &["audience(", "without_audience()"]);
    assert!(start().without_issuer().without_audience().dangerous().unbounded_sessions().build().is_ok());
}

#[test]
fn audiences_must_not_contradict_one_another() {
    assert_refused(good().also_accept_audience(" "), &["audience", "needs a name"]);
    assert_refused(good().legacy_audience(""), &["audience", "needs a name"]);
    assert_refused(good().legacy_audience(AUDIENCE), &["primary audience", "legacy", "moves to the primary"]);
    let start = || Authority::builder(key()).issuer("i").max_session_lifetime(secs(3_600));
    for builder in [start().also_accept_audience("x"), start().legacy_audience("x")] {
        assert_refused(builder.without_audience(), &["`without_audience()`", "primary one with `audience`"]);
    }
    // In either order: which was meant, nobody can say.
    for builder in [good().without_audience(), start().without_audience().audience("a").audience("b")] {
        assert_refused(builder, &["`audience` and `without_audience()`", "leave one out"]);
    }
    for builder in [good().without_issuer(), good().without_issuer().issuer("i")] {
        assert_refused(builder, &["`issuer` and `without_issuer()`", "leave one out"]);
    }
}

#[test]
fn the_own_issuer_is_not_a_foreign_one() {
    let other = VerifyingKey::from(key_for(Algorithm::EdDSA));
    let ring = KeyRing::new(key()).trust(ISSUER, [other]).unwrap();
    let builder =
        Authority::builder(ring).issuer(ISSUER).audience(AUDIENCE).max_session_lifetime(secs(3_600));
    assert_refused(builder, &[ISSUER, "foreign issuer", "`retiring`"]);
}

#[test]
fn times_must_leave_room_for_one_another() {
    for lifetime in [0, 1, 31_536_001, u64::MAX] {
        let builder = good().dangerous().unbounded_sessions().lifetime(secs(lifetime));
        assert_refused(builder, &["lifetime", "600 s is the default"]);
    }
    assert_refused(good().leeway(secs(61)), &["leeway is 61 s", "at most 60 s"]);
    assert_refused(good().future_tolerance(secs(61)), &["future tolerance is 61 s", "at most 60 s"]);
    assert_refused(good().grace(secs(301)), &["grace is 301 s", "at most 300 s"]);
    assert_refused(
        good().grace(secs(10)).leeway(secs(11)),
        &["grace, 10 s", "leeway, 11 s", "at least as long"],
    );
    // L - w <= grace: 600 s less 120 s are more than 300 s; 100 s less 30 s are 70 s.
    assert_refused(
        good().lifetime(secs(100)).grace(secs(70)),
        &["grace is 70 s", "under 70 s", "longer lifetime"],
    );
    assert!(good().lifetime(secs(100)).grace(secs(69)).build().is_ok());
    assert_refused(
        good().max_session_lifetime(secs(599)),
        &["session limit, 599 s, is shorter than the lifetime, 600 s"],
    );
    assert!(good().max_session_lifetime(secs(600)).build().is_ok());
    for longest in [Duration::ZERO, Duration::new(315_360_000, 1), Duration::MAX] {
        assert_refused(
            good().accept_without_iat(longest),
            &["accept_without_iat", "longest life", "ten years"],
        );
    }
    for longest in [Duration::from_nanos(1), secs(315_360_000)] {
        assert!(good().accept_without_iat(longest).build().is_ok());
    }
    let ten_years = 315_360_000;
    assert!(good().max_session_lifetime(secs(ten_years)).build().is_ok());
    for longer in [secs(ten_years + 1), Duration::MAX] {
        let says = ["longer than ten years", "`dangerous().unbounded_sessions()`"];
        assert_refused(good().max_session_lifetime(longer), &says);
    }
    assert_refused(good().jitter_percent(51), &["jitter is 51 %", "at most 50 %"]);
    for allowance in [secs(301), Duration::MAX] {
        assert_refused(good().in_flight_allowance(allowance), &["in_flight_allowance", "over 300 s"]);
        assert!(good().in_flight_allowance(allowance).store(CountingStore::default()).build().is_ok());
    }
    assert_refused(good().store_deadline(Duration::ZERO), &["store deadline is 0", "1 s is the default"]);
    for builder in [
        good().leeway(secs(60)).grace(secs(60)),
        good().grace(secs(300)),
        good().grace(secs(0)),
        good().lifetime(secs(2)).grace(secs(0)),
        good().future_tolerance(secs(60)),
        good().jitter_percent(50),
        good().in_flight_allowance(secs(300)),
    ] {
        assert!(builder.build().is_ok());
    }
}

#[test]
fn names_must_be_ones() {
    for name in [
        "",
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "sid",
        "cnf",
        "auth_time",
        "scope",
        "scp",
        "acr",
    ] {
        assert_refused(
            good().session_start_claim(name),
            &["session-start claim", &format!("{name:?}"), "private name", "session_starts_at_auth_time()"],
        );
    }
    for typ in ["", " "] {
        assert_refused(good().access_type(typ), &["access type", "at+jwt"]);
    }
    for (name, value) in [
        ("", "access"),
        ("type", ""),
        ("sub", "alice"),
        ("session_start", "x"),
        ("exp", "1"),
        ("cnf", "x"),
        ("auth_time", "x"),
    ] {
        assert_refused(good().access_claim(name, value), &["access claim", "a private name and a value"]);
    }
    assert_refused(good().require_claim(""), &["require_claim", "empty name"]);
    for bytes in [0, 511, 65_537, usize::MAX] {
        assert_refused(good().max_token_bytes(bytes), &["longest token", "8192 is the default"]);
    }
}

/// The output in base64 would have two lines, which no format of secrets takes.
#[test]
fn the_command_that_a_refused_secret_is_answered_with_prints_one_that_loads_in_every_format() {
    let random: String = (0..64_u8).map(|n| format!("{:02x}", n.wrapping_mul(151) ^ 0xa5)).collect();
    let printed = format!("{random}\n");
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for refused in
            ["too short", "passwordpasswordpasswordpassword", &"a".repeat(64), &"your-secret-".repeat(6)]
        {
            let error = SigningKey::from_secret(algorithm, refused).unwrap_err().to_string();
            assert!(error.contains("`openssl rand -hex 64`"), "{error}");
        }
        for format in
            [KeyFormat::secret(algorithm), KeyFormat::base64(algorithm), KeyFormat::base64url(algorithm)]
        {
            assert!(format.read(printed.as_bytes()).is_ok(), "{algorithm} {format:?}");
        }
        assert!(SigningKey::from_base64_secret(algorithm, &random).is_ok());
        assert!(SigningKey::from_base64url_secret(algorithm, &random).is_ok());
    }
}

#[test]
fn a_key_too_weak_is_refused_where_it_is_loaded() {
    let secret: Vec<u8> = (1..=64).collect();
    for (algorithm, size) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        for length in [31, size - 1] {
            let error = SigningKey::from_secret(algorithm, &secret[..length]).unwrap_err();
            assert_eq!(error.kind(), KeyErrorKind::Weak);
            let message = error.to_string();
            assert!(
                message.contains(&format!("needs {size}")) && message.contains("openssl rand"),
                "{message}"
            );
        }
        assert!(SigningKey::from_secret(algorithm, &secret[..size]).is_ok());
        // Not even aloud are 31 bytes enough.
        assert!(SigningKey::dangerous().short_hmac(algorithm, &secret[..31]).is_err());
        assert!(SigningKey::dangerous().short_hmac(algorithm, &secret[..32]).is_ok());
    }
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let error = SigningKey::from_pem(algorithm, pems::RSA_1024).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Weak, "{error}");
        assert!(error.to_string().contains("2048"), "{error}");
    }
    for secret in [&b""[..], b"                                        ", pems::RSA_PUBLIC, pems::P256_PUBLIC]
    {
        assert!(SigningKey::from_secret(Algorithm::HS256, secret).is_err());
        assert!(SigningKey::dangerous().short_hmac(Algorithm::HS256, secret).is_err());
    }
}

#[test]
fn a_short_secret_that_was_allowed_aloud_admits_and_renews() {
    let secret: Vec<u8> = (1..=32).collect();
    let key = SigningKey::dangerous().short_hmac(Algorithm::HS512, &secret).unwrap();
    let authority = Authority::builder(key)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(secs(3_600))
        .clock(ManualClock::at(NOW + 500))
        .build()
        .unwrap();
    let key = jsonwebtoken::EncodingKey::from_secret(&secret);
    let token = sign_raw(r#"{"alg":"HS512"}"#, &claims().to_string(), &key, Algorithm::HS512);
    assert!(Guarded::new(&authority).bearer(&token).successor.is_some());
}

#[test]
fn what_is_said_before_the_claims_type_is_not_lost() {
    #[derive(serde::Deserialize)]
    struct Mine {}
    let clock = ManualClock::at(NOW + 630);
    let authority = builder(&clock).admit_in_grace().private_claims::<Mine>().build().unwrap();
    assert!(Guarded::new(&authority).bearer(&mint(&claims())).is_admitted());
    let refused = builder(&clock).renew_if(|_| false).private_claims::<Mine>().build().unwrap_err();
    assert!(refused.to_string().contains("renew_if"), "{refused}");
}

#[test]
fn a_limit_of_all_time_is_not_a_limit() {
    let clock = ManualClock::at(NOW);
    let refused = builder(&clock).max_session_lifetime(Duration::MAX).build().unwrap_err();
    assert!(refused.to_string().contains("unbounded_sessions"), "{refused}");
}

#[test]
fn a_login_without_a_subject_is_refused() {
    let authority = good().build().unwrap();
    for subject in ["", " ", "\t\n"] {
        let refused = at_once(authority.issue(Login::new(subject))).unwrap_err();
        assert!(matches!(refused, IssueError::NoSubject), "{refused}");
        assert!(refused.to_string().contains("`Login::new`"), "{refused}");
    }
}

#[test]
fn a_sign_out_without_a_store_says_that_there_is_none() {
    let authority = good().build().unwrap();
    let refused = at_once(authority.sign_out(&mint(&claims()))).unwrap_err().to_string();
    assert!(refused.contains("give the builder a store"), "{refused}");
}

#[test]
fn issue_refuses_what_the_service_would_refuse() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Mine {
        role: String,
    }
    let clock = ManualClock::at(NOW);
    let required = builder(&clock).require_claim("tenant").build().unwrap();
    assert!(matches!(at_once(required.issue(Login::new("bob"))), Err(IssueError::Unacceptable(_))));
    let typed = builder(&clock).private_claims::<Mine>().build().unwrap();
    let Err(IssueError::Unreadable(why)) = at_once(typed.issue(Login::new("bob"))) else {
        panic!("nobody could read its role")
    };
    assert!(why.to_string().contains("role"), "{why}");
    let bound = serde_json::json!({"role": "clerk", "cnf": {"jkt": "x"}});
    assert!(matches!(
        at_once(typed.issue(Login::new("bob").claims(&bound))),
        Err(IssueError::Unacceptable(_))
    ));
    assert!(at_once(typed.issue(Login::new("bob").claims(&serde_json::json!({"role": "clerk"})))).is_ok());
}
