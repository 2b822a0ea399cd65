//! Rule 21: each trusted issuer has its own policy, an `iss` belongs to one issuer, and tenants share nothing.

use std::time::Duration;

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tower_reissue::keys::{
    Algorithm, KeyError, KeyFormat, KeyRing, KeyRotation, KeySet, SigningKey, TrustedIssuer, VerifyingKey,
};
use tower_reissue::store::{MemoryStore, StoreErrorKind};
use tower_reissue::{Authority, AuthorityBuilder, ManualClock, NumericDate, Reason, VerifiedToken};

use crate::support::guarded::Guarded;
use crate::support::{AUDIENCE, CountingStore, ISSUER, NOW, at_once, claims_with, mint, sign_raw};

const A: &str = "https://a.example";
const B: &str = "https://b.example";
const TEMPLATE: &str = "https://login.example/{tid}/v2.0";

fn secret(name: &str) -> String {
    format!("{name:-<64}")
}

/// All under one `kid`, as it can be.
fn key(name: &str) -> VerifyingKey {
    SigningKey::from_secret(Algorithm::HS256, secret(name)).unwrap().with_kid("1").into()
}

/// A token by this key, of this `iss`, which has its changes of the usual claims.
fn token(name: &str, iss: &str, changes: Value) -> String {
    typed(name, iss, changes, "JWT")
}

fn typed(name: &str, iss: &str, changes: Value, typ: &str) -> String {
    let mut claims = claims_with(changes);
    claims["iss"] = json!(iss);
    let header = json!({"alg": "HS256", "typ": typ, "kid": "1"}).to_string();
    let key = EncodingKey::from_secret(secret(name).as_bytes());
    sign_raw(&header, &claims.to_string(), &key, Algorithm::HS256)
}

fn encoding(name: &str) -> EncodingKey {
    EncodingKey::from_secret(secret(name).as_bytes())
}

/// A token whose header names this `kid`.
fn under(kid: &str, name: &str, iss: &str) -> String {
    let header = json!({"alg": "HS256", "kid": kid}).to_string();
    sign_raw(&header, &claims_with(json!({"iss": iss})).to_string(), &encoding(name), Algorithm::HS256)
}

fn ring_with_own() -> KeyRing {
    KeyRing::new(crate::support::key()).trust(A, [key("a")]).unwrap()
}

fn verifier(ring: KeyRing) -> AuthorityBuilder {
    Authority::builder(ring).audience(AUDIENCE).clock(ManualClock::at(NOW))
}

fn admit(authority: &Authority, token: &str) -> Result<VerifiedToken, Reason> {
    at_once(authority.admit(token)).map_err(|refusal| refusal.reason().clone())
}

/// For the log: whoever configured `https://a.example/` finds the slash. The response names none of them.
#[test]
fn a_token_of_an_issuer_that_nobody_trusts_says_which_are_trusted() {
    let tenants = TrustedIssuer::tenants(TEMPLATE, ["t1"]);
    let ring = || {
        let ring = KeyRing::verify_only().trust(A, [key("a")]).unwrap();
        ring.trust(tenants.clone(), [key("b").with_kid("2")]).unwrap()
    };
    let own = || Authority::builder(ring_with_own()).issuer(ISSUER).audience(AUDIENCE);
    let limit = Duration::from_secs(3600);
    let both = format!("{A}, {TEMPLATE}");
    for (authority, all) in [
        (verifier(ring()).build().unwrap(), both.clone()),
        (own().max_session_lifetime(limit).build().unwrap(), format!("{ISSUER}, {A}")),
    ] {
        let refused = |token: &str| at_once(authority.admit(token)).unwrap_err();
        for iss in ["https://a.example/", "https://login.example/t2/v2.0", "https://evil.example"] {
            // Nobody's key of this name, or that of another.
            let refusal = refused(&under("9", "c", iss));
            assert_eq!(refusal.reason(), &Reason::UnknownKey, "{iss}");
            assert_eq!(refusal.expected(), Some(&*all), "{iss}");
            assert!(!refusal.to_string().contains("https:"), "{refusal}");
        }
        // An issuer that is trusted, or none: it is the key that is unknown.
        assert_eq!(refused(&under("9", "c", A)).expected(), None);
        let refusal =
            refused(&sign_raw(r#"{"alg":"HS256","kid":"9"}"#, "{}", &encoding("c"), Algorithm::HS256));
        assert_eq!((refusal.reason(), refusal.expected()), (&Reason::UnknownKey, None));
    }
}

/// Of a rotation also those whose keys are not known, in the order in which they came to be trusted.
#[tokio::test]
async fn the_issuers_of_a_rotation_are_named_as_they_come_and_go() {
    let keys = KeyRotation::verify_only().trust(B, KeySet::verifying([key("b")])).start().await.unwrap();
    let authority = Authority::builder(keys).audience(AUDIENCE).clock(ManualClock::at(NOW)).build().unwrap();
    let expected = async || {
        let refusal = authority.admit(&under("9", "c", "https://evil.example")).await.unwrap_err();
        refusal.expected().map(str::to_owned)
    };
    assert_eq!(expected().await.as_deref(), Some(B));
    authority.trust_issuer(A, KeySet::verifying([])).await.unwrap();
    assert_eq!(expected().await, Some(format!("{B}, {A}")));
    assert!(authority.distrust_issuer(B));
    assert_eq!(expected().await.as_deref(), Some(A));
    assert!(authority.distrust_issuer(A));
    assert_eq!(expected().await.as_deref(), Some(""), "none is trusted");
}

/// A long list is not written in full for everybody who sends a token.
#[test]
fn of_many_trusted_issuers_the_first_are_named() {
    let ring = (0..100).fold(KeyRing::verify_only(), |ring, n| {
        ring.trust(format!("https://{n:03}.example"), [key(&n.to_string())]).unwrap()
    });
    let authority = verifier(ring).build().unwrap();
    let refusal = at_once(authority.admit(&under("9", "c", "https://evil.example"))).unwrap_err();
    let expected = refusal.expected().unwrap();
    assert!(expected.starts_with("https://000.example, https://001.example, "), "{expected}");
    assert!(expected.ends_with(", ...") && expected.len() < 256, "{expected}");
}

#[test]
fn what_an_issuer_sets_takes_the_place_of_the_authoritys_for_its_tokens_alone() {
    let secs = Duration::from_secs;
    let strict = TrustedIssuer::new(A)
        .audience("a-api")
        .audience("a-other")
        .access_type("at+jwt")
        .access_claim("use", "access")
        .require_claim("tenant")
        .leeway(secs(30))
        .future_tolerance(secs(20));
    let ring =
        KeyRing::new(crate::support::key()).trust(strict, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
    let authority = Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(secs(3600))
        .clock(ManualClock::at(NOW));
    let authority = authority.build().unwrap();
    let of_a = |changes: Value| {
        let mut all = json!({"aud": "a-api", "use": "access", "tenant": "t"});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        admit(&authority, &typed("a", A, all, "at+jwt")).map(drop)
    };
    let of_b = |changes: Value| admit(&authority, &token("b", B, changes)).map(drop);
    let own = |changes: Value| admit(&authority, &mint(&claims_with(changes))).map(drop);
    let expired = |secs: u64| json!({"iat": NOW - 600, "exp": NOW - secs});
    let ahead = |secs: u64| json!({"iat": NOW + secs, "exp": NOW + 600});
    for (verdict, expected, what) in [
        (of_a(json!({})), Ok(()), "as it should be"),
        (of_a(json!({"aud": ["x", "a-other"]})), Ok(()), "its other audience"),
        (of_a(json!({"aud": AUDIENCE})), Err(Reason::WrongAudience), "the authority's audience"),
        (of_a(json!({"use": "refresh"})), Err(Reason::WrongType), "another claim"),
        (of_a(json!({"tenant": null})), Err(Reason::MissingClaim("tenant".into())), "without the claim"),
        (of_a(expired(29)), Ok(()), "within its leeway"),
        (of_a(expired(30)), Err(Reason::Expired), "at its leeway"),
        (of_a(ahead(20)), Ok(()), "within its tolerance"),
        (of_a(ahead(21)), Err(Reason::NotYetValid("iat")), "past its tolerance"),
        (of_a(json!({"nbf": NOW + 20})), Ok(()), "nbf within its tolerance"),
        (of_a(json!({"nbf": NOW + 21})), Err(Reason::NotYetValid("nbf")), "nbf past its tolerance"),
        (of_b(json!({})), Ok(()), "as the authority has it"),
        (of_b(json!({"aud": "a-api"})), Err(Reason::WrongAudience), "another issuer's audience"),
        (of_b(expired(0)), Err(Reason::Expired), "no leeway"),
        (of_b(ahead(5)), Ok(()), "the authority's tolerance"),
        (of_b(ahead(6)), Err(Reason::NotYetValid("iat")), "past the authority's tolerance"),
        (own(json!({})), Ok(()), "own"),
        (own(json!({"aud": "a-api"})), Err(Reason::WrongAudience), "own, another issuer's audience"),
        (own(ahead(6)), Err(Reason::NotYetValid("iat")), "own, past the authority's tolerance"),
    ] {
        assert_eq!(verdict, expected, "{what}");
    }
    let plain = token("a", A, json!({"aud": "a-api", "use": "access", "tenant": "t"}));
    assert_eq!(admit(&authority, &plain).map(drop), Err(Reason::WrongType));
}

#[test]
fn an_issuer_can_go_without_audience_claim_or_iat() {
    let open = TrustedIssuer::new(A)
        .without_audience()
        .without_access_claim()
        .accept_without_iat(Duration::from_secs(900));
    let ring = KeyRing::verify_only().trust(open, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
    let authority = verifier(ring).access_claim("use", "access").build().unwrap();
    let bare = json!({"aud": null, "iat": null});
    let admitted = admit(&authority, &token("a", A, bare.clone())).unwrap();
    assert_eq!(admitted.issued_at().as_secs(), NOW + 600 - 900);
    let full = json!({"use": "access"});
    assert!(admit(&authority, &token("b", B, full)).is_ok());
    assert_eq!(admit(&authority, &token("b", B, json!({}))).map(drop), Err(Reason::WrongType));
    assert_eq!(admit(&authority, &token("b", B, bare)).map(drop), Err(Reason::MissingClaim("aud".into())));
    let no_iat = json!({"use": "access", "iat": null});
    assert_eq!(admit(&authority, &token("b", B, no_iat)).map(drop), Err(Reason::MissingClaim("iat".into())));
}

/// What the issuer says counts for its tokens, what the authority says for all others and for its own.
#[test]
fn each_issuer_says_whether_its_sessions_start_at_auth_time() {
    let (at_iat, at_sign_in) = (NOW, NOW - 900);
    let plain = || TrustedIssuer::new(A);
    for (authoritys, issuer, of_a, of_others) in [
        (false, plain(), at_iat, at_iat),
        (false, plain().session_starts_at_auth_time(), at_sign_in, at_iat),
        (false, plain().session_starts_at_iat(), at_iat, at_iat),
        (true, plain(), at_sign_in, at_sign_in),
        (true, plain().session_starts_at_iat(), at_iat, at_sign_in),
        (true, plain().session_starts_at_auth_time(), at_sign_in, at_sign_in),
        // The last call counts.
        (false, plain().session_starts_at_auth_time().session_starts_at_iat(), at_iat, at_iat),
    ] {
        let what = format!("{authoritys} {issuer:?}");
        let ring = KeyRing::new(crate::support::key()).trust(issuer, [key("a")]).unwrap();
        let builder = Authority::builder(ring.trust(B, [key("b")]).unwrap())
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(3600))
            .clock(ManualClock::at(NOW));
        let builder = if authoritys { builder.session_starts_at_auth_time() } else { builder };
        let authority = builder.build().unwrap();
        let session = json!({"auth_time": NOW - 900});
        let start = |token: &str| admit(&authority, token).unwrap().session_start().as_secs();
        assert_eq!(start(&token("a", A, session.clone())), of_a, "{what}");
        assert_eq!(start(&token("b", B, session.clone())), of_others, "{what}");
        assert_eq!(start(&mint(&claims_with(session))), of_others, "{what}");
        // An ISO string, as ADFS writes it, refuses only where it is read.
        let adfs = json!({"auth_time": "2027-01-15T08:00:00Z"});
        assert_eq!(admit(&authority, &token("a", A, adfs)).is_ok(), of_a == at_iat, "{what}");
    }
}

/// The authority's limit is what the store keeps revocations for: an issuer can only have a shorter one.
#[test]
fn of_two_session_limits_the_shorter_counts() {
    for (issuers, end) in [(300, 300), (600, 600), (3600, 1000)] {
        let issuer = TrustedIssuer::new(A).max_session_lifetime(Duration::from_secs(issuers));
        let ring = KeyRing::verify_only().trust(issuer, [key("a")]).unwrap();
        let clock = ManualClock::at(NOW);
        let authority = verifier(ring)
            .max_session_lifetime(Duration::from_secs(1000))
            .session_starts_at_auth_time()
            .clock(clock.clone())
            .build()
            .unwrap();
        let session = json!({"auth_time": NOW, "exp": NOW + 5000});
        clock.set(NOW + end - 1);
        assert!(admit(&authority, &token("a", A, session.clone())).is_ok(), "{issuers}");
        clock.set(NOW + end);
        let ended = admit(&authority, &token("a", A, session)).map(drop);
        assert_eq!(ended, Err(Reason::SessionOver), "{issuers}");
    }
}

#[test]
fn one_issuers_key_never_signs_anothers_token() {
    let ring =
        KeyRing::new(crate::support::key()).trust(A, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
    let authority = Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(3600))
        .clock(ManualClock::at(NOW))
        .build()
        .unwrap();
    assert!(admit(&authority, &token("a", A, json!({}))).is_ok());
    assert!(admit(&authority, &token("b", B, json!({}))).is_ok());
    for (name, iss) in
        [("a", B), ("b", A), ("a", ISSUER), ("a", "https://a.example/"), ("a", "https://c.example")]
    {
        assert!(admit(&authority, &token(name, iss, json!({}))).is_err(), "{name} {iss}");
    }
    // A foreign issuer can't be the own one, under whatever pattern.
    let own = Authority::builder(
        KeyRing::new(crate::support::key())
            .trust(TrustedIssuer::every_tenant("https://login.{name}"), [key("a")])
            .unwrap(),
    );
    let own = own.issuer(ISSUER).audience(AUDIENCE).max_session_lifetime(Duration::from_secs(3600));
    assert!(own.build().unwrap_err().to_string().contains("own one"));
}

/// Two issuers publish one key under one `kid`, as a test system does whose keys are a copy. Which of them a token is of, its
/// `iss` says, and it is held to that one's terms alone.
#[test]
fn issuers_that_share_a_key_share_no_terms() {
    let narrow = TrustedIssuer::new(A).audience("a-api");
    for swapped in [false, true] {
        let mut issuers = [narrow.clone(), TrustedIssuer::new(B)];
        if swapped {
            issuers.reverse();
        }
        let ring = issuers
            .into_iter()
            .fold(KeyRing::verify_only(), |ring, issuer| ring.trust(issuer, [key("shared")]).unwrap());
        let authority = verifier(ring).build().unwrap();
        for (iss, aud, expected) in [
            (A, "a-api", Ok(())),
            (A, AUDIENCE, Err(Reason::WrongAudience)),
            (B, AUDIENCE, Ok(())),
            (B, "a-api", Err(Reason::WrongAudience)),
            // A key of several issuers is looked up by `iss`.
            ("https://c.example", "a-api", Err(Reason::UnknownKey)),
            ("https://c.example", AUDIENCE, Err(Reason::UnknownKey)),
        ] {
            let token = token("shared", iss, json!({"aud": aud}));
            let admitted = admit(&authority, &token);
            if let Ok(admitted) = &admitted {
                assert_eq!(admitted.issuer(), Some(iss));
            }
            assert_eq!(admitted.map(drop), expected, "{iss} {aud} {swapped}");
        }
    }
}

#[test]
fn an_iss_belongs_to_one_issuer_at_most() {
    let ring = || KeyRing::verify_only().trust(A, [key("a")]).unwrap();
    assert!(
        ring().trust(A, [SigningKey::from_secret(Algorithm::HS256, secret("a2")).unwrap().into()]).is_ok()
    );
    for rival in [
        TrustedIssuer::new(A).audience("other"),
        TrustedIssuer::every_tenant("https://{name}.example"),
        TrustedIssuer::tenants("https://{name}.example", ["a", "b"]),
    ] {
        let refused = ring().trust(rival, [key("b")]).unwrap_err().to_string();
        assert!(refused.contains("the same `iss`"), "{refused}");
    }
    assert!(ring().trust(TrustedIssuer::tenants("https://{name}.example", ["b"]), [key("b")]).is_ok());
}

#[test]
fn a_tenants_token_says_the_same_tenant_twice_and_one_that_is_trusted() {
    let listed = TrustedIssuer::tenants(TEMPLATE, ["t1", "t2"]);
    let every = TrustedIssuer::every_tenant(TEMPLATE);
    let [listed, every] = [listed, every]
        .map(|issuer| verifier(KeyRing::verify_only().trust(issuer, [key("p")]).unwrap()).build().unwrap());
    let iss = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
    let invalid = || Err(Reason::InvalidClaim("tid".into()));
    let wrong = || Err(Reason::WrongIssuer);
    for (iss, tid, of_listed, of_every) in [
        (iss("t1"), json!("t1"), Ok(()), Ok(())),
        (iss("t2"), json!("t2"), Ok(()), Ok(())),
        (iss("t3"), json!("t3"), wrong(), Ok(())),
        (iss("t1"), json!("t2"), invalid(), invalid()),
        (iss("t1"), json!("T1"), invalid(), invalid()),
        (iss("t1"), json!(["t1"]), invalid(), invalid()),
        (iss("t1"), json!(1), invalid(), invalid()),
        (
            iss("t1"),
            json!(null),
            Err(Reason::MissingClaim("tid".into())),
            Err(Reason::MissingClaim("tid".into())),
        ),
        (iss(""), json!(""), wrong(), wrong()),
        (iss("."), json!("."), wrong(), wrong()),
        (iss(".."), json!(".."), wrong(), wrong()),
        (iss("t1/v2.0/../../t2"), json!("t1/v2.0/../../t2"), wrong(), wrong()),
        (iss("t1%2F"), json!("t1%2F"), wrong(), wrong()),
        (iss("t\u{0131}"), json!("t\u{0131}"), wrong(), wrong()),
        (iss("{tid}"), json!("{tid}"), wrong(), wrong()),
        (iss(&"t".repeat(129)), json!("t".repeat(129)), wrong(), wrong()),
        (TEMPLATE.to_owned(), json!("{tid}"), wrong(), wrong()),
        (iss("t1") + "/", json!("t1"), wrong(), wrong()),
    ] {
        let mut changes = json!({"tid": tid.clone()});
        if tid.is_null() {
            changes = json!({});
        }
        let token = token("p", &iss, changes);
        assert_eq!(admit(&listed, &token).map(drop), of_listed, "listed {iss} {tid}");
        assert_eq!(admit(&every, &token).map(drop), of_every, "every {iss} {tid}");
    }
}

type ReadJwk = fn(&Value) -> Result<Vec<VerifyingKey>, KeyError>;

/// The ways on which a JWK becomes a key that verifies: published or own, alone or in a set, as the signing key or a retired one.
const JWK_WAYS: [(&str, ReadJwk); 8] = [
    ("from_jwk_set", |jwk| Ok(KeySet::from_jwk_set(&jwk_set(&[jwk]))?.verifying)),
    ("VerifyingKey::from_jwk", |jwk| Ok(vec![VerifyingKey::from_jwk(&jwk.to_string())?])),
    ("SigningKey::from_jwk", |jwk| Ok(vec![SigningKey::from_jwk(&jwk.to_string())?.into()])),
    ("from_own_jwk_set", |jwk| Ok(keys_of(KeySet::from_own_jwk_set(&jwk_set(&[jwk]))?))),
    ("a retired key of an own set", |jwk| retired(KeySet::from_own_jwk_set(&jwk_set(&[&other_jwk(), jwk]))?)),
    ("KeyFormat::jwk", |jwk| Ok(keys_of(KeyFormat::jwk().read(jwk.to_string().as_bytes())?))),
    ("KeyFormat::jwk_set", |jwk| Ok(keys_of(KeyFormat::jwk_set().read(jwk_set(&[jwk]).as_bytes())?))),
    ("a renamed key", |jwk| {
        let format = KeyFormat::jwk().with_kid("1").also_known_as("2");
        Ok(keys_of(format.read(jwk.to_string().as_bytes())?))
    }),
];

fn jwk_set(keys: &[&Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn other_jwk() -> Value {
    oct("another", json!(null))
}

fn oct(name: &str, issuer: Value) -> Value {
    use base64::Engine as _;
    let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret(name));
    json!({"kty": "oct", "alg": "HS256", "kid": if name == "p" { "1" } else { name }, "k": k, "issuer": issuer})
}

fn keys_of(set: KeySet) -> Vec<VerifyingKey> {
    set.signing.into_iter().map(VerifyingKey::from).chain(set.verifying).collect()
}

/// Its one retired key, or why it has none.
fn retired(set: KeySet) -> Result<Vec<VerifyingKey>, KeyError> {
    set.skipped.into_iter().next().map_or(Ok(set.verifying), Err)
}

/// Entra publishes with each key the `iss` that it may sign: exact, or a template with a placeholder of its own.
#[test]
fn a_jwk_signs_only_for_the_issuer_that_it_names() {
    let tenant = |name: &str| format!("https://login.example/{name}/v2.0");
    for (way, keys) in JWK_WAYS {
        for (issuer, t1, t2) in [
            (json!(null), true, true),
            (json!("https://login.example/{tenantid}/v2.0"), true, true),
            (json!(tenant("t1")), true, false),
            (json!("https://other.example/{tenantid}/v2.0"), false, false),
            (json!("https://login.example/{tenantid}"), false, false),
        ] {
            let keys = keys(&oct("p", issuer.clone())).unwrap();
            for names in [
                vec![TrustedIssuer::every_tenant(TEMPLATE)],
                vec![TrustedIssuer::new(tenant("t1")), TrustedIssuer::new(tenant("t2"))],
            ] {
                let ring = names
                    .into_iter()
                    .fold(KeyRing::verify_only(), |ring, issuer| ring.trust(issuer, keys.clone()).unwrap());
                let authority = verifier(ring).build().unwrap();
                for (name, expected) in [("t1", t1), ("t2", t2)] {
                    let token = token("p", &tenant(name), json!({"tid": name}));
                    assert_eq!(admit(&authority, &token).is_ok(), expected, "{way}: {issuer} {name}");
                }
            }
        }
        for wrong in [json!(7), json!(["x"]), json!("https://x/{a}/{b}"), json!("")] {
            assert!(keys(&oct("p", wrong.clone())).is_err(), "{way}: {wrong}");
        }
    }
}

/// The same holds for own keys: one that may not sign the own `iss` would sign tokens that nobody admits.
#[test]
fn an_own_jwk_that_names_another_issuer_signs_nothing() {
    let own = |issuer: Value| SigningKey::from_jwk(&oct("p", issuer).to_string()).unwrap();
    let authority = |issuer: Value| {
        Authority::builder(own(issuer))
            .audience(AUDIENCE)
            .max_session_lifetime(Duration::from_secs(3_600))
            .clock(ManualClock::at(NOW))
    };
    for (issuer, allowed) in [
        (json!(null), true),
        (json!(ISSUER), true),
        (json!("https://{any}.example"), true),
        (json!(format!("{ISSUER}/")), false),
        (json!("https://other.example"), false),
    ] {
        let built: Result<Authority, _> = authority(issuer.clone()).issuer(ISSUER).build();
        let running: Authority = authority(json!(null)).issuer(ISSUER).build().unwrap();
        for done in [built.map(drop), running.replace_keys(own(issuer.clone()))] {
            let refusal = done.err().map(|error| error.to_string());
            assert_eq!(refusal.is_none(), allowed, "{issuer}: {refusal:?}");
            assert!(refusal.is_none_or(|text| text.contains("its JWK's `issuer`")));
        }
    }
    let nameless: Result<Authority, _> = authority(json!(ISSUER)).without_issuer().build();
    assert!(nameless.is_err(), "no `iss` is not the one that it names");
}

/// Two tenants whose tokens are equal but for the `iss` (and the claim it is bound to), under one key of one `kid`; and two
/// issuers with keys of their own.
fn twins() -> [(KeyRing, String, String); 2] {
    let iss = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
    let provider = KeyRing::verify_only().trust(TrustedIssuer::every_tenant(TEMPLATE), [key("p")]).unwrap();
    let of = |tenant: &str| token("p", &iss(tenant), json!({"sid": "s", "jti": "j", "tid": tenant}));
    let apart = KeyRing::verify_only().trust(A, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
    let same = json!({"sid": "s", "jti": "j"});
    [(provider, of("t1"), of("t2")), (apart, token("a", A, same.clone()), token("b", B, same))]
}

fn with_store(ring: KeyRing) -> Authority {
    verifier(ring).store(MemoryStore::new()).max_token_lifetime(Duration::from_secs(600)).build().unwrap()
}

#[test]
fn twins_are_remembered_apart() {
    for (ring, one, two) in twins() {
        let authority = verifier(ring).build().unwrap();
        for _ in 0..3 {
            let [first, second] = [&one, &two].map(|token| admit(&authority, token).unwrap());
            assert_ne!(first.issuer(), second.issuer());
            assert_ne!(first.session(), second.session());
        }
    }
}

#[test]
fn twins_sessions_are_revoked_apart() {
    for (ring, one, two) in twins() {
        let authority = with_store(ring);
        let first = admit(&authority, &one).unwrap();
        admit(&authority, &two).unwrap();
        at_once(authority.revoke_session(&first)).unwrap();
        assert_eq!(admit(&authority, &one).map(drop), Err(Reason::Revoked));
        assert!(admit(&authority, &two).is_ok());
    }
}

#[test]
fn twins_tokens_are_revoked_apart() {
    for (ring, one, two) in twins() {
        let authority = with_store(ring);
        let first = admit(&authority, &one).unwrap();
        at_once(authority.revoke_token(&first)).unwrap();
        assert_eq!(admit(&authority, &one).map(drop), Err(Reason::Revoked));
        assert!(admit(&authority, &two).is_ok());
    }
}

#[test]
fn twins_subjects_are_revoked_apart() {
    for (ring, one, two) in twins() {
        let authority = with_store(ring);
        let issuer = admit(&authority, &one).unwrap().issuer().unwrap().to_owned();
        at_once(authority.revoke_foreign_subject(&issuer, "alice")).unwrap();
        assert_eq!(admit(&authority, &one).map(drop), Err(Reason::Revoked));
        assert!(admit(&authority, &two).is_ok());
        // All sessions of the other's subject but its own.
        let second = admit(&authority, &two).unwrap();
        at_once(authority.revoke_other_sessions(&second)).unwrap();
        assert!(admit(&authority, &two).is_ok());
    }
}

/// An own token and a foreign one that are equal but for `iss` and key: the foreign one is never renewed, and touches
/// neither the own one's successor nor its session.
#[test]
fn an_own_token_and_its_foreign_twin_share_no_successor() {
    let clock = ManualClock::at(NOW);
    let ring = KeyRing::new(crate::support::key()).trust(A, [key("a")]).unwrap();
    let authority = Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(3600))
        .jitter_percent(0)
        .clock(clock.clone())
        .store(MemoryStore::new());
    let authority = authority.build().unwrap();
    let guarded = Guarded::new(&authority);
    let own = mint(&claims_with(json!({"sid": "s"})));
    let foreign = token("a", A, json!({"sid": "s"}));
    clock.set(NOW + 500);
    assert_eq!(guarded.bearer(&foreign).successor, None);
    let successor = guarded.bearer(&own).into_successor();
    let twin = admit(&authority, &foreign).unwrap();
    at_once(authority.revoke_session(&twin)).unwrap();
    guarded.bearer(&foreign).assert_refused(401, &"revoked");
    assert!(guarded.bearer(&successor).is_admitted());
    assert!(guarded.bearer(&own).is_admitted());
}

/// An issuer whose clock may be a minute ahead has its users revoked as far ahead.
#[test]
fn a_revocation_of_a_subject_reaches_as_far_ahead_as_its_issuers_tolerance() {
    let ahead = TrustedIssuer::new(A).future_tolerance(Duration::from_secs(60));
    let authority = with_store(KeyRing::verify_only().trust(ahead, [key("a")]).unwrap());
    let session = token("a", A, json!({"iat": NOW + 58, "exp": NOW + 600, "sid": "s"}));
    assert!(admit(&authority, &session).is_ok());
    at_once(authority.revoke_foreign_subject(A, "alice")).unwrap();
    assert_eq!(admit(&authority, &session).map(drop), Err(Reason::Revoked));
}

#[test]
fn a_remembered_token_falls_with_the_policy_that_it_was_judged_under() {
    let ring = |issuer: TrustedIssuer| KeyRing::verify_only().trust(issuer, [key("a")]).unwrap();
    let authority = verifier(ring(TrustedIssuer::new(A))).build().unwrap();
    let token = token("a", A, json!({}));
    assert!(admit(&authority, &token).is_ok());
    // The same keys under other terms.
    authority.replace_keys(ring(TrustedIssuer::new(A).audience("other"))).unwrap();
    assert_eq!(admit(&authority, &token).map(drop), Err(Reason::WrongAudience));
    authority.replace_keys(ring(TrustedIssuer::new(A).require_claim("role"))).unwrap();
    assert_eq!(admit(&authority, &token).map(drop), Err(Reason::MissingClaim("role".into())));
    authority.replace_keys(ring(TrustedIssuer::new(A).access_type("at+jwt"))).unwrap();
    assert_eq!(admit(&authority, &token).map(drop), Err(Reason::WrongType));
    authority.replace_keys(ring(TrustedIssuer::new(A))).unwrap();
    assert!(admit(&authority, &token).is_ok());
    assert!(authority.distrust_issuer(A));
    assert!(!authority.distrust_issuer(A));
    assert_eq!(admit(&authority, &token).map(drop), Err(Reason::UnknownKey));
}

/// While the store is asked, the terms change, or the issuer is removed: the verdict is of the terms at its end.
#[test]
fn a_token_in_flight_falls_with_its_issuer() {
    let ring = |issuer: TrustedIssuer| KeyRing::verify_only().trust(issuer, [key("a")]).unwrap();
    for removes in [true, false] {
        let store = CountingStore::default();
        let authority = verifier(ring(TrustedIssuer::new(A)))
            .store(store.clone())
            .max_token_lifetime(Duration::from_secs(600))
            .build()
            .unwrap();
        let keys = authority.clone();
        let changed = ring(TrustedIssuer::new(A).audience("other"));
        store.meanwhile(move || {
            if removes {
                keys.distrust_issuer(A);
            } else {
                keys.replace_keys(changed.clone()).unwrap();
            }
        });
        let token = token("a", A, json!({}));
        assert_eq!(admit(&authority, &token).map(drop), Err(Reason::UnknownKey), "{removes}");
        let again = if removes { Reason::UnknownKey } else { Reason::WrongAudience };
        assert_eq!(admit(&authority, &token).map(drop), Err(again));
    }
}

/// The clock of a foreign issuer may be as far ahead as its own tolerance says.
#[test]
fn everything_up_to_now_covers_what_the_most_tolerant_issuer_admits() {
    for tolerance in [5, 60] {
        let tolerant = TrustedIssuer::new(A).future_tolerance(Duration::from_secs(tolerance));
        let ring = KeyRing::verify_only().trust(tolerant, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
        let authority = with_store(ring);
        // As far ahead as the revocation reaches: two seconds less than the tolerance.
        let iat = NOW + tolerance - 3;
        let ahead = token("a", A, json!({"iat": iat, "exp": iat + 600, "session_start": null}));
        assert_eq!(admit(&authority, &ahead).map(drop), Ok(()), "{tolerance}");
        at_once(authority.revoke_all_before(NumericDate::from_secs(NOW))).unwrap();
        assert_eq!(admit(&authority, &ahead).map(drop), Err(Reason::Revoked), "{tolerance}");
    }
}

#[test]
fn a_subject_is_revoked_under_an_iss_that_some_trusted_issuer_has() {
    let tenants = TrustedIssuer::tenants("https://login.example/{tid}/v2", ["t"]);
    let ring = ring_with_own().trust(tenants, [key("a")]).unwrap().trust(B, [key("b")]).unwrap();
    let builder = verifier(ring).issuer(ISSUER).max_session_lifetime(Duration::from_secs(3600));
    let authority = builder.store(MemoryStore::new()).build().unwrap();
    for iss in [
        "https://login.example/{tid}/v2",
        "https://login.example/t/v2/",
        "https://login.example/u/v2",
        "nobody",
        "",
        ISSUER,
    ] {
        let refused = at_once(authority.revoke_foreign_subject(iss, "alice")).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Misused, "{iss}");
        assert!(refused.to_string().contains("https://login.example/{tid}/v2"), "{refused}");
    }
    for iss in ["https://login.example/t/v2", B] {
        at_once(authority.revoke_foreign_subject(iss, "alice")).unwrap();
    }
    // Its sessions may be live at other services on this store when its last key is withdrawn here.
    assert!(authority.withdraw_key(key("b").fingerprint()));
    at_once(authority.revoke_foreign_subject(B, "alice")).unwrap();
    assert!(authority.distrust_issuer(B) && !authority.distrust_issuer(B));
    assert!(at_once(authority.revoke_foreign_subject(B, "alice")).is_err());
}
