//! Rule 12: a successor says what its predecessor said, in the same words.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tower_reissue::{Authority, IssueError, Login, ManualClock};

use crate::support::guarded::*;
use crate::support::*;

/// One member of a claims object as it is written, blanks included.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    value: String,
    blanks: [&'static str; 4],
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 2 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r\n  ")]
}

/// JSON text of any value, with its odd spellings.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        prop::sample::select(vec![
            "1.0",
            "1e3",
            "-0",
            "0",
            "1E+2",
            "1e-400",
            "0.10",
            "-1.50e+07",
            "123456789012345678901234567890",
            "0.30000000000000004",
            "1e400",
            "null",
            "true",
            "false",
            r#""""#,
            r#""\u0041\u00e9\ud83d\ude00""#,
            r#""\/\b\f\n\r\t\"\\""#,
            "\"\u{2028}\u{7f}\u{202e}\"",
            r#""exp\":1,\"exp""#,
            r#""}{][,:""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            r#"{"exp":1,"iat":2,"jti":3}"#,
            r#"{"a":{"sub":"x","sid":[null]}}"#,
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}".prop_map(|text| Value::from(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), blank())
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!("{blank},")))),
            (prop::collection::vec(inner, 0..4), blank()).prop_map(|(items, blank)| {
                let members: Vec<_> =
                    items.iter().enumerate().map(|(n, v)| format!("\"k{n}\"{blank}:{v}")).collect();
                format!("{{{}{blank}}}", members.join(","))
            }),
        ]
    })
}

fn private_member() -> impl Strategy<Value = Member> {
    let name = prop_oneof![
        prop::sample::select(vec![
            r#""cnf_""#,
            r#""acr""#,
            r#""amr""#,
            r#""azp""#,
            r#""scope""#,
            r#""EXP""#,
            r#""exp ""#,
            r#""e\/xp""#,
            r#""\u0061b""#,
            r#""""#,
            r#""\"exp\"""#,
            r#""session start""#,
        ])
        .prop_map(str::to_owned),
        "\\PC{1,6}".prop_map(|name| Value::from(name).to_string()),
    ];
    (name, value(), [blank(), blank(), blank(), blank()]).prop_map(|(name, value, blanks)| Member {
        name,
        value,
        blanks,
    })
}

/// The claims that an authority asks for, and some of those it only knows.
fn registered(optional: u8) -> Vec<Member> {
    let mut members = vec![
        ("\"iss\"", json!(ISSUER).to_string()),
        ("\"aud\"", r#"[ "x","\u006frders" ]"#.to_owned()),
        ("\"sub\"", r#""al\u0069ce""#.to_owned()),
        ("\"exp\"", format!("{}.0", NOW + 600)),
        (r#""i\u0061t""#, NOW.to_string()),
    ];
    for (bit, name, value) in [
        (0, "\"jti\"", "\"first\"".to_owned()),
        (1, "\"nbf\"", "1.8e9".to_owned()),
        (2, "\"sid\"", r#""s\u002d1""#.to_owned()),
        (3, "\"session_start\"", format!("{}.25", NOW - 7)),
        (4, "\"auth_time\"", format!("{NOW}.0")),
    ] {
        if optional >> bit & 1 == 1 {
            members.push((name, value));
        }
    }
    members
        .into_iter()
        .map(|(name, value)| Member { name: name.to_owned(), value, blanks: ["", " ", "", ""] })
        .collect()
}

fn text(members: &[Member]) -> String {
    let written: Vec<_> = members
        .iter()
        .map(|Member { name, value, blanks: [a, b, c, d] }| format!("{a}{name}{b}:{c}{value}{d}"))
        .collect();
    format!("{{{}}}", written.join(","))
}

/// The members of a token's payload as they are written: no number is read that `f64` can't hold.
fn raw(token: &str) -> BTreeMap<String, String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&payload_text(token)).unwrap();
    members.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
}

fn unescaped(name: &str) -> String {
    serde_json::from_str(name).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn five_reissues_change_nothing_but_names_and_dates(
        private in prop::collection::vec(private_member(), 0..8),
        optional in 0..32_u8,
        order in any::<u64>(),
        store in any::<bool>(),
    ) {
        let mut members = registered(optional);
        for member in private {
            let taken = ["session_start", "auth_time", "nbf", "sid", "jti", "cnf"];
            let name = unescaped(&member.name);
            if !taken.contains(&&*name) && members.iter().all(|held| unescaped(&held.name) != name) {
                members.push(member);
            }
        }
        let len = members.len();
        members.rotate_left(usize::try_from(order % len as u64).unwrap());

        let clock = ManualClock::at(NOW);
        let builder = builder(&clock).max_token_bytes(65_536);
        let builder = if store { builder.store(CountingStore::default()) } else { builder };
        let guarded = Guarded::new(&builder.build().unwrap());
        let mut token = mint_raw(r#"{"alg":"HS256"}"#, &text(&members));
        for _ in 0..5 {
            // Its last second, and then the first of its grace.
            let exp: f64 = raw(&token)["exp"].parse().unwrap();
            clock.set(exp as u64 - u64::from(!optional & 1));
            let answer = guarded.bearer(&token);
            prop_assert!(answer.successor.is_some(), "{}: {:?}", text(&members), answer.reason);
            token = answer.into_successor();

            // What may change is copied from the successor into the predecessor's text; the rest must be equal.
            let found = raw(&token);
            for member in &mut members {
                let name = unescaped(&member.name);
                if matches!(&*name, "exp" | "iat" | "jti") {
                    member.value = found[&name].clone();
                } else if name == "nbf" {
                    member.value = found["iat"].clone();
                }
            }
            // What was missing is appended, once, in a fixed order.
            for name in ["jti", "sid", "session_start"] {
                if members.iter().all(|member| unescaped(&member.name) != name) {
                    let (name, value) = (format!("\"{name}\""), found[name].clone());
                    members.push(Member { name, value, blanks: [""; 4] });
                }
            }
            prop_assert_eq!(payload_text(&token), text(&members));
            let date = |name: &str| found[name].parse::<u64>().unwrap();
            prop_assert!(date("exp") > date("iat") && date("exp") > exp as u64);
        }
    }
}

fn successor_of(builder: tower_reissue::AuthorityBuilder, claims: &Value) -> Value {
    payload(&Guarded::new(&builder.build().unwrap()).bearer(&mint(claims)).into_successor())
}

#[test]
fn what_binds_a_token_to_its_sender_and_its_login_is_kept() {
    let clock = ManualClock::at(NOW + 500);
    let kept = json!({
        "cnf": {"jkt": "x", "x5t#S256": "y"}, "acr": "urn:mace:incommon:iap:silver", "amr": ["pwd", "otp"],
        "auth_time": NOW - 100, "sid": "s-1", "session_start": NOW - 50, "sub": "alice", "iss": ISSUER,
        "aud": AUDIENCE, "scope": "read write", "azp": "app", "client_id": "app", "roles": ["a"], "nonce": "n",
    });
    for builder in [
        builder(&clock).dangerous().ignore_cnf(),
        builder(&clock).dangerous().ignore_cnf().store(CountingStore::default()),
        builder(&clock).confirm_with(|_, _| true),
        builder(&clock).confirm_with(|_, _| true).session_starts_at_auth_time(),
    ] {
        let next = successor_of(builder, &claims_with(kept.clone()));
        for (name, value) in kept.as_object().unwrap() {
            assert_eq!(&next[name], value, "{name}");
        }
        assert_eq!(next.as_object().unwrap().len(), kept.as_object().unwrap().len() + 3, "{next}");
    }
}

#[test]
fn an_nbf_is_moved_and_never_added() {
    let clock = ManualClock::at(NOW + 500);
    assert_eq!(successor_of(builder(&clock), &claims()).get("nbf"), None);
    let next = successor_of(builder(&clock), &claims_with(json!({"nbf": NOW - 5})));
    assert_eq!(next["nbf"], next["iat"]);
}

#[test]
fn a_legacy_audience_moves_to_the_primary_one_element_by_element() {
    let clock = ManualClock::at(NOW + 500);
    for (aud, moved) in [
        (json!("orders"), json!("orders")),
        (json!("old"), json!("orders")),
        (json!("kept"), json!("kept")),
        (json!(["old"]), json!(["orders"])),
        (json!(["kept", "old"]), json!(["kept", "orders"])),
        (json!(["old", "elsewhere", "kept"]), json!(["orders", "elsewhere", "kept"])),
        (json!(["old", "older"]), json!(["orders"])),
        (json!(["orders", "old"]), json!(["orders"])),
        (json!(["elsewhere", "orders"]), json!(["elsewhere", "orders"])),
    ] {
        for store in [false, true] {
            let builder =
                builder(&clock).legacy_audience("old").legacy_audience("older").also_accept_audience("kept");
            let builder = if store { builder.store(CountingStore::default()) } else { builder };
            let guarded = Guarded::new(&builder.build().unwrap());
            let token = mint(&claims_with(json!({"aud": aud})));
            assert_eq!(payload(&guarded.bearer(&token).into_successor())["aud"], moved, "{aud}");
            // Whoever asks second is given the same one.
            assert_eq!(payload(&guarded.bearer(&token).into_successor())["aud"], moved, "{aud}");
        }
    }
}

fn authority() -> Authority {
    builder(&ManualClock::at(NOW)).access_claim("type", "access").build().unwrap()
}

#[test]
fn issue_refuses_the_names_that_it_writes_itself() {
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "session_start", "type"] {
        let refused = at_once(authority().issue(Login::new("alice").claims(&json!({name: 1})))).unwrap_err();
        assert!(matches!(&refused, IssueError::ReservedClaim(found) if found == name), "{name}: {refused}");
        // Escaped it is the same name.
        let escaped = format!("{{\"\\u{:04x}{}\":1}}", name.as_bytes()[0], &name[1..]);
        let raw: Box<RawValue> = serde_json::from_str(&escaped).unwrap();
        let refused = at_once(authority().issue(Login::new("alice").claims(&raw))).unwrap_err();
        assert!(
            matches!(&refused, IssueError::ReservedClaim(found) if found == name),
            "{escaped}: {refused}"
        );
    }
    for text in ["[]", "1", "null", "\"a\"", r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#] {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        let refused = at_once(authority().issue(Login::new("alice").claims(&raw))).unwrap_err();
        assert!(matches!(refused, IssueError::NotAnObject), "{text}: {refused}");
    }
    let refused =
        at_once(authority().issue(Login::new("alice").claims(&json!({"x": "x".repeat(9_000)})))).unwrap_err();
    assert!(matches!(refused, IssueError::TooLong), "{refused}");
}

#[test]
fn an_issued_token_says_what_it_was_given_and_is_admitted() {
    let raw: Box<RawValue> =
        serde_json::from_str(r#"{ "n": 1.0, "big":123456789012345678901234567890 }"#).unwrap();
    let issued = at_once(authority().issue(Login::new("al\"ice\u{7}").claims(&raw))).unwrap();
    let text = payload_text(issued.as_str());
    assert!(text.starts_with(r#"{ "n": 1.0, "big":123456789012345678901234567890 ,"#), "{text}");
    let found = payload(issued.as_str());
    assert_eq!(found["sub"], "al\"ice\u{7}");
    assert_eq!((&found["iat"], &found["exp"]), (&json!(NOW), &json!(NOW + 600)));
    assert_eq!(
        (&found["iss"], &found["aud"], &found["type"]),
        (&json!(ISSUER), &json!(AUDIENCE), &json!("access"))
    );
    assert_eq!(found["session_start"], NOW);
    assert!(found["jti"].as_str().is_some_and(|jti| jti.len() >= 22) && found["sid"].is_string());
    assert!(Guarded::new(&authority()).bearer(issued.as_str()).is_admitted());
    // No two logins share a name.
    let other = at_once(authority().issue(Login::new("alice"))).unwrap();
    assert_ne!(payload(other.as_str())["jti"], found["jti"]);
}
