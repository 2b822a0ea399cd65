//! Rule 5: every claim has its type and its range, and all of it is judged before expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tower_reissue::{AuthorityBuilder, ManualClock, Reason, RequestHead};

use crate::support::guarded::*;
use crate::support::*;

/// Every JSON type, and the odd members of each.
pub const VALUES: [&str; 22] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "999999999999999999999999999999",
    r#""""#,
    r#""x""#,
    r#"" ""#,
    r#""1800000600""#,
    "[]",
    "[null]",
    "[1]",
    r#"["x"]"#,
    r#"[["orders"]]"#,
    "{}",
    r#"{"a":1}"#,
    r#"{"a":[{"b":null}]}"#,
];

fn guarded() -> Guarded {
    with(|builder| builder)
}

fn with(options: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder) -> Guarded {
    Guarded::new(&options(builder(&ManualClock::at(NOW))).build().unwrap())
}

/// A token whose claim `name` has this JSON text, and no other value beside it.
pub fn token_with(name: &str, value: &str) -> String {
    let rest = claims_with(json!({name: null})).to_string();
    let text = rest.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    mint_raw(r#"{"alg":"HS256"}"#, &text)
}

#[track_caller]
fn assert_only(guarded: &Guarded, name: &str, admitted: &[&str]) {
    for value in VALUES.iter().chain(admitted) {
        let answer = guarded.bearer(&token_with(name, value));
        if admitted.contains(value) {
            assert!(answer.is_admitted(), "{name}: {value}: {answer:?}");
        } else {
            answer.assert_refused(401, &(name, value));
        }
    }
}

#[test]
fn exp_is_a_finite_number_later_than_iat() {
    let after = (NOW + 1).to_string();
    let float = format!("{}.5e0", NOW + 600);
    assert_only(&guarded(), "exp", &["253402300799", &after, &float, "1.8000006e9"]);
    for value in ["253402300800", "253402300799.5", "1e12", "9223372036854775808", "18446744073709551616"] {
        guarded().bearer(&token_with("exp", value)).assert_refused(401, &value);
    }
    for exp in [NOW - 1, NOW] {
        let answer = guarded().bearer(&token_with("exp", &exp.to_string()));
        answer.assert_refused(401, &exp);
        assert_eq!(answer.reason, Some(Reason::InvalidClaim("exp".into())));
    }
}

#[test]
fn iat_is_a_finite_number_that_has_come() {
    let unbounded = || with(|builder| builder.dangerous().unbounded_sessions());
    let recent = (NOW - 1).to_string();
    assert_only(&unbounded(), "iat", &[&recent, "0", "-0", "1.5"]);
    for value in ["253402300799", "253402300800", "-0.5", "1e12"] {
        unbounded().bearer(&token_with("iat", value)).assert_refused(401, &value);
    }
}

#[test]
fn nbf_where_there_is_one_is_a_finite_number_that_has_come() {
    let now = NOW.to_string();
    assert_only(&guarded(), "nbf", &[&now, "0", "-0", "1.5", "1.8e9"]);
}

#[test]
fn iss_is_the_one_string() {
    let iss = format!("\"{ISSUER}\"");
    let escaped = r#""https:\/\/login.ex\u0061mple""#;
    assert_only(&guarded(), "iss", &[&iss, escaped]);
    for value in [
        r#"["https://login.example"]"#,
        r#"["https://evil.example","https://login.example"]"#,
        r#"{"https://login.example":1}"#,
        r#""https://login.example/""#,
        r#""HTTPS://login.example""#,
        r#""https://login.example ""#,
        r#""https://login.example\u0000""#,
    ] {
        guarded().bearer(&token_with("iss", value)).assert_refused(401, &value);
    }
}

#[test]
fn aud_is_a_string_or_an_array_of_strings_that_names_the_service() {
    let good = [
        r#""orders""#,
        r#""\u006frders""#,
        r#"["orders"]"#,
        r#"["x","orders"]"#,
        r#"["orders","orders"]"#,
        r#"[ "x" , "orders" ]"#,
    ];
    assert_only(&guarded(), "aud", &good);
    for value in [
        r#""Orders""#,
        r#""orders ""#,
        r#""order""#,
        r#"["x","y"]"#,
        r#"["orders",1]"#,
        r#"[null,"orders"]"#,
        r#"["orders",["orders"]]"#,
        r#"["orders",{}]"#,
        r#"{"orders":true}"#,
        r#"{"0":"orders"}"#,
    ] {
        guarded().bearer(&token_with("aud", value)).assert_refused(401, &value);
    }
    let two = with(|builder| builder.also_accept_audience("y").legacy_audience("z"));
    for value in [r#""y""#, r#""z""#, r#"["q","y"]"#, r#"["q","z"]"#] {
        assert!(two.bearer(&token_with("aud", value)).is_admitted(), "{value}");
    }
}

#[test]
fn sub_jti_and_sid_are_strings_where_they_are_there() {
    for name in ["sub", "jti", "sid"] {
        assert_only(&guarded(), name, &[r#""""#, r#""x""#, r#"" ""#, r#""1800000600""#]);
        let absent = mint(&claims_with(json!({name: null})));
        assert!(guarded().bearer(&absent).is_admitted(), "no {name}");
    }
}

#[test]
fn auth_time_and_the_session_start_are_dates_where_they_are_judged() {
    let unbounded = || with(|builder| builder.dangerous().unbounded_sessions());
    let declared = || with(|builder| builder.session_starts_at_auth_time().dangerous().unbounded_sessions());
    assert_only(&unbounded(), "session_start", &["0", "-0", "1.5"]);
    assert_only(&declared(), "auth_time", &["0", "-0", "1.5"]);
}

/// The first is this service's own claim, and stays in every successor: a later one would move the session's end along. The
/// second is another's: who signed in again after the token was issued began no session with that.
#[test]
fn a_later_session_start_is_refused_and_a_later_auth_time_counts_as_the_iat() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).session_starts_at_auth_time().build().unwrap();
    for (claim, value, started) in [
        ("session_start", NOW - 60, Some(NOW - 60)),
        ("session_start", NOW, Some(NOW)),
        ("session_start", NOW + 1, None),
        ("auth_time", NOW - 60, Some(NOW - 60)),
        ("auth_time", NOW + 1, Some(NOW)),
        ("auth_time", NOW + 10_000, Some(NOW)),
    ] {
        let admitted = at_once(authority.admit(&mint(&claims_with(json!({ claim: value })))));
        let start = admitted.as_ref().ok().map(|token| token.session_start().as_secs());
        assert_eq!(start, started, "{claim}: {value}");
        if let Err(refusal) = admitted {
            assert_eq!(refusal.reason(), &Reason::InvalidClaim(claim.into()));
        }
    }
}

/// What is nested is the reader's: only the names that this service reads must not be in doubt.
#[test]
fn a_name_twice_is_refused_at_the_top_alone() {
    for (member, admitted) in [
        (r#""a":1,"a":1"#, false),
        (r#""a":1,"\u0061":1"#, false),
        (r#""a":{"b":1,"b":2}"#, true),
        (r#""a":[{"b":1,"b":1}]"#, true),
        (r#""a":{"iss":"x","iss":"y","exp":1}"#, true),
    ] {
        let text = claims().to_string().replacen('{', &format!("{{{member},"), 1);
        let answer = guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, &text));
        assert_eq!(answer.is_admitted(), admitted, "{member}: {answer:?}");
    }
}

/// Half of a pair of surrogates is no character. Where nobody reads the text it harms nobody, and survives as it is.
#[test]
fn a_lone_surrogate_is_refused_where_it_is_read() {
    let lone = r#"\ud800"#;
    for (member, admitted) in [
        (format!(r#""note":"{lone}""#), true),
        (format!(r#""note":["{lone}x"]"#), true),
        (format!(r#""jti":"{lone}""#), false),
        (format!(r#""sid":"x{lone}""#), false),
        (format!(r#""{lone}":1"#), false),
        (r#""jti":"\ud83d\ude00""#.to_owned(), true),
    ] {
        let rest = claims_with(json!({ "jti": null })).to_string();
        let text = rest.replacen('{', &format!("{{{member},"), 1);
        let guarded = Guarded::new(&builder(&ManualClock::at(NOW + 500)).build().unwrap());
        let answer = guarded.bearer(&mint_raw(r#"{"alg":"HS256"}"#, &text));
        assert_eq!(answer.is_admitted(), admitted, "{member}: {answer:?}");
        if admitted && member.contains("note") {
            let successor = answer.into_successor();
            assert!(payload_text(&successor).contains(&member), "{}", payload_text(&successor));
        }
    }
}

/// serde_json gives such a name another meaning where raw values are read.
#[test]
fn what_serde_json_keeps_for_itself_is_refused_wherever_it_stands() {
    let private = "$serde_json::private::RawValue";
    for member in [
        format!(r#""note":{{"{private}":"1"}}"#),
        format!(r#""note":"{private}""#),
        format!(r#""{private}":"1""#),
        format!(r#""note":{{"{}":"1"}}"#, private.replacen('s', r"\u0073", 1)),
    ] {
        let text = claims().to_string().replacen('{', &format!("{{{member},"), 1);
        let answer = guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, &text));
        answer.assert_refused(401, &member);
        assert_eq!(answer.reason, Some(Reason::MalformedToken), "{member}");
    }
    let dollar = claims_with(json!({ "note": "$serde_json", "$": 1 }));
    assert!(guarded().bearer(&mint(&dollar)).is_admitted());
}

#[test]
fn a_claim_that_no_configuration_asks_for_refuses_nothing() {
    let odd = [r#""2026-11-28T03:00:00Z""#, r#""1800000600""#, "1e400", r#"["a",{"b":null}]"#];
    for name in ["auth_time", "acr", "amr", "azp", "scope", "nonce", "client_id", "act", "events", "at_hash"]
    {
        for value in VALUES.iter().chain(&odd) {
            let answer = guarded().bearer(&token_with(name, value));
            assert!(answer.is_admitted(), "{name}: {value}: {answer:?}");
        }
    }
    // Asked for, it has to be there and to be something.
    let asked = with(|builder| builder.require_claim("auth_time"));
    assert!(asked.bearer(&token_with("auth_time", odd[0])).is_admitted());
    asked.bearer(&token_with("auth_time", "null")).assert_refused(401, &"auth_time");
}

#[test]
fn dates_with_exponents_are_floored_and_never_rounded() {
    let session = |start: &str| {
        let rest = claims_with(json!({ "sid": "s" })).to_string();
        mint_raw(r#"{"alg":"HS256"}"#, &rest.replacen('{', &format!("{{\"session_start\":{start},"), 1))
    };
    // A second late, and the start would lie after the token's `iat`.
    for start in ["1.79999999999999999999999e9", "1800000000.99999999999999999999", "18.0e8", "1.8E+9"] {
        assert!(guarded().bearer(&session(start)).is_admitted(), "{start}");
    }
    for start in ["-1e-99999999999999999999", "1.800000001e9", "1e99999999999999999999"] {
        guarded().bearer(&session(start)).assert_refused(401, &start);
    }
}

#[test]
fn a_refusal_names_the_claim_and_what_its_minter_got_wrong() {
    for (name, value, description) in [
        (
            "exp",
            "1800000600000",
            "The token holds a malformed claim: exp (it looks like milliseconds, and a NumericDate counts seconds)",
        ),
        (
            "iat",
            "1800000000000000",
            "The token holds a malformed claim: iat (it looks like microseconds, and a NumericDate counts seconds)",
        ),
        (
            "exp",
            r#""1800000600""#,
            "The token holds a malformed claim: exp (it is a string, and a NumericDate is a number)",
        ),
        ("exp", "1800000000", "The token holds a malformed claim: exp (it is not later than iat)"),
        ("sub", "7", "The token holds a malformed claim: sub (it is a number, and has to be a string)"),
        (
            "jti",
            "null",
            "The token holds a malformed claim: jti (it is null, and has to be a string or absent)",
        ),
        ("sid", "{}", "The token holds a malformed claim: sid (it has to be a string)"),
        (
            "session_start",
            "1800000001",
            "The token holds a malformed claim: session_start (it is later than iat)",
        ),
        (
            "cnf",
            "{}",
            "The sender of the token could not be confirmed (it is bound to a key by cnf, and no confirm_with confirmed its \
             holder)",
        ),
        ("nbf", "[]", "The token holds a malformed claim: nbf"),
        ("nbf", "1800000600", "The token is not valid yet: nbf"),
        (
            "iat",
            "1800000060",
            "The token is not valid yet: iat (the issuer's clock is ahead; future_tolerance allows 60 s at most)",
        ),
    ] {
        let answer = guarded().bearer(&token_with(name, value));
        let refusal = answer.refusal.expect(value);
        assert_eq!(refusal.to_string(), description);
        assert_eq!(refusal.claim(), Some(name));
    }
    let missing = guarded().bearer(&mint(&claims_with(json!({ "iat": null })))).refusal.unwrap();
    assert_eq!(
        missing.to_string(),
        "The token lacks a required claim: iat (accept_without_iat is for minters that write none)"
    );
    let kid =
        guarded().bearer(&mint_raw(r#"{"alg":"HS256","kid":7}"#, &claims().to_string())).refusal.unwrap();
    assert_eq!(kid.hint(), Some("the header's kid is not a string"));
}

/// For the log and the developer: the default response does not tell it.
#[test]
fn a_refusal_tells_what_is_configured_and_never_what_the_token_holds() {
    type Options = fn(AuthorityBuilder) -> AuthorityBuilder;
    let plain: Options = |builder| builder;
    let typed: Options = |builder| builder.access_type("at+jwt").access_type("access");
    let marked: Options = |builder| builder.access_claim("kind", "access");
    let secret = "private-value";
    let of = |name: &str| mint(&claims_with(json!({ name: secret })));
    let with_typ =
        |typ: &str| mint_raw(&json!({"alg": "HS256", "typ": typ}).to_string(), &claims().to_string());
    let typ_hint = "its header's typ is another one than access_type names";
    for (options, token, expected, hint) in [
        (plain, of("iss"), ISSUER, None),
        (plain, of("aud"), AUDIENCE, None),
        (|builder| builder.also_accept_audience("carts"), of("aud"), "orders, carts", None),
        (plain, with_typ(secret), "JWT, at+jwt, none", Some(typ_hint)),
        (typed, with_typ(secret), "at+jwt, access", Some(typ_hint)),
        (
            typed,
            mint_raw(r#"{"alg":"HS256"}"#, &claims().to_string()),
            "at+jwt, access",
            Some("its header has no typ, and access_type asks for one"),
        ),
        (
            marked,
            of("kind"),
            "kind=access",
            Some("the claim that access_claim names is absent, or another value"),
        ),
    ] {
        let answer = with(options).bearer(&token);
        answer.assert_refused(401, &expected);
        assert!(!answer.challenge().contains(expected), "{}", answer.challenge());
        let refusal = answer.refusal.unwrap();
        assert_eq!((refusal.expected(), refusal.hint()), (Some(expected), hint));
        let printed = format!("{refusal:?}");
        assert!(printed.contains(expected) && !printed.contains(secret), "{printed}");
    }
}

#[test]
fn exp_iat_iss_and_aud_are_required() {
    for name in ["exp", "iat", "iss", "aud"] {
        let answer = guarded().bearer(&mint(&claims_with(json!({name: null}))));
        answer.assert_refused(401, &name);
        assert_eq!(answer.reason, Some(Reason::MissingClaim(name.into())));
    }
    guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, "{}")).assert_refused(401, &"{}");
}

#[test]
fn going_without_issuer_or_audience_is_chosen_by_name() {
    let clock = ManualClock::at(NOW);
    let base = || tower_reissue::Authority::builder(key()).clock(clock.clone());
    let bare = claims_with(json!({"iss": null, "aud": null}));
    let neither = base()
        .without_issuer()
        .without_audience()
        .max_session_lifetime(std::time::Duration::from_secs(43_200))
        .build()
        .unwrap();
    let neither = Guarded::new(&neither);
    assert!(neither.bearer(&mint(&bare)).is_admitted());
    assert!(neither.bearer(&mint(&claims_with(json!({"iss": "x", "aud": ["y"]})))).is_admitted());
    // Not looked at for its value; a malformed one is malformed all the same.
    for (name, value) in [("iss", "1"), ("iss", "null"), ("aud", "1"), ("aud", "[1]"), ("aud", "null")] {
        neither.bearer(&token_with(name, value)).assert_refused(401, &(name, value));
    }
}

#[test]
fn nbf_and_iat_may_lie_five_seconds_ahead_and_not_six() {
    for name in ["nbf", "iat"] {
        for (ahead, admitted) in [(0, true), (4, true), (5, true), (6, false), (7, false), (300, false)] {
            let answer = guarded().bearer(&mint(&claims_with(json!({name: NOW + ahead}))));
            assert_eq!(answer.is_admitted(), admitted, "{name} {ahead} s ahead");
            if !admitted {
                answer.assert_refused(401, &(name, ahead));
                assert_eq!(answer.reason, Some(Reason::NotYetValid(name)));
            }
        }
        let strict = with(|builder| builder.future_tolerance(std::time::Duration::ZERO));
        assert!(strict.bearer(&mint(&claims_with(json!({name: NOW})))).is_admitted());
        strict.bearer(&mint(&claims_with(json!({name: NOW + 1})))).assert_refused(401, &name);
    }
}

#[test]
fn the_leeway_for_expiry_is_no_leeway_for_the_future() {
    let guarded = with(|builder| builder.leeway(std::time::Duration::from_secs(60)));
    guarded.bearer(&mint(&claims_with(json!({"nbf": NOW + 6})))).assert_refused(401, &"nbf");
}

#[test]
fn a_claim_twice_is_refused_however_it_is_escaped() {
    let text = claims().to_string();
    let escaped = |name: &str| format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
    for name in ["exp", "iat", "iss", "aud", "sub", "jti"] {
        let value = claims()[name].to_string();
        for again in [name.to_owned(), escaped(name)] {
            let twice = text.replacen('{', &format!("{{\"{again}\":{value},"), 1);
            guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, &twice)).assert_refused(401, &again);
        }
    }
    for twice in [r#""role":"user","role":"admin""#, r#""role":1,"r\u006fle":1"#, r#""":1,"":1"#] {
        let twice = text.replacen('{', &format!("{{{twice},"), 1);
        guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, &twice)).assert_refused(401, &twice);
    }
    // An escaped name is the name; another case is another name.
    let renamed = text.replacen("\"exp\"", "\"\\u0065xp\"", 1).replacen('{', "{\"EXP\":\"x\",", 1);
    assert!(guarded().bearer(&mint_raw(r#"{"alg":"HS256"}"#, &renamed)).is_admitted());
}

#[test]
fn further_claims_can_be_required() {
    let guarded = with(|builder| builder.require_claim("tenant").require_claim("sub"));
    for (changes, missing) in [
        (json!({}), Some("tenant")),
        (json!({"tenant": 7, "sub": null}), Some("sub")),
        (json!({"tenant": 7}), None),
        (json!({"tenant": ""}), None),
        (json!({"tenant": {"a": null}}), None),
    ] {
        let answer = guarded.bearer(&mint(&claims_with(changes.clone())));
        assert_eq!(answer.is_admitted(), missing.is_none(), "{changes}");
        if let Some(name) = missing {
            assert_eq!(answer.reason, Some(Reason::MissingClaim(name.into())));
        }
    }
    guarded.bearer(&token_with("tenant", "null")).assert_refused(401, &"null");
}

#[test]
fn a_confirmation_is_refused_unless_somebody_confirms_it() {
    let bound = || mint(&claims_with(json!({"cnf": {"jkt": "thumbprint"}})));
    let answer = guarded().bearer(&bound());
    answer.assert_refused(401, &"cnf");
    assert_eq!(answer.reason, Some(Reason::Unconfirmed));
    for value in VALUES {
        guarded().bearer(&token_with("cnf", value)).assert_refused(401, &value);
    }
    guarded().bearer(&token_with("\\u0063nf", "{}")).assert_refused(401, &"escaped");

    let asked = |proof: bool| {
        with(move |builder| {
            builder.confirm_with(move |head: &RequestHead<'_>, cnf: &str| {
                assert_eq!(cnf, r#"{"jkt":"thumbprint"}"#);
                assert!(head.headers().contains_key("authorization"));
                proof
            })
        })
    };
    assert!(asked(true).bearer(&bound()).is_admitted());
    let answer = asked(false).bearer(&bound());
    answer.assert_refused(401, &"no proof");
    assert_eq!(answer.reason, Some(Reason::Unconfirmed));
    // A confirmation verifier is not asked about tokens that are not bound.
    assert!(asked(false).bearer(&mint(&claims())).is_admitted());
    assert!(with(|builder| builder.dangerous().ignore_cnf()).bearer(&bound()).is_admitted());
}

#[test]
fn a_bound_token_is_confirmed_on_every_request_and_by_nobody_outside_the_layer() {
    let (token, proves) =
        (mint(&claims_with(json!({"cnf": {"jkt": "thumbprint"}}))), Arc::new(AtomicBool::new(true)));
    let asked = proves.clone();
    let clock = ManualClock::at(NOW);
    let confirming = builder(&clock)
        .confirm_with(move |_: &RequestHead<'_>, _: &str| asked.load(Ordering::SeqCst))
        .build()
        .unwrap();
    let guarded = Guarded::new(&confirming);
    for is_proven in [true, false, true] {
        proves.store(is_proven, Ordering::SeqCst);
        let answer = guarded.bearer(&token);
        assert_eq!(answer.is_admitted(), is_proven);
        assert_eq!(answer.reason == Some(Reason::Unconfirmed), !is_proven);
    }
    // There is no request that could prove anything, though this verifier would say yes.
    let unconfirmed = at_once(confirming.admit(&token)).unwrap_err();
    assert_eq!(*unconfirmed.reason(), Reason::Unconfirmed);
    assert!(at_once(confirming.admit(&mint(&claims()))).is_ok());
    let ignoring = builder(&clock).dangerous().ignore_cnf().build().unwrap();
    assert!(at_once(ignoring.admit(&token)).is_ok());
}

#[test]
fn private_claims_of_another_shape_are_refused_expired_or_not() {
    #[derive(serde::Deserialize)]
    struct Tenant {
        #[serde(rename = "tenant")]
        _tenant: u32,
    }
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).private_claims::<Tenant>().build().unwrap();
    let guarded = Guarded::new(&authority);
    for at in [NOW, NOW + 500, NOW + 601, NOW + 700] {
        clock.set(at);
        for tenant in [json!("7"), json!(-1), json!(7.5), json!([7]), json!(null)] {
            let answer = guarded.bearer(&mint(&claims_with(json!({"tenant": tenant}))));
            answer.assert_refused(401, &tenant);
            assert!(matches!(answer.reason, Some(Reason::InvalidClaim(_))), "{tenant}: {answer:?}");
        }
    }
    clock.set(NOW + 500);
    let answer = guarded.bearer(&mint(&claims_with(json!({"tenant": 7, "other": 1.0}))));
    assert!(answer.is_admitted());
    assert_eq!(payload(&answer.into_successor())["other"], json!(1.0));
}

#[test]
fn claims_that_nobody_registered_may_be_anything() {
    for value in VALUES {
        assert!(guarded().bearer(&token_with("x", value)).is_admitted(), "{value}");
    }
}
