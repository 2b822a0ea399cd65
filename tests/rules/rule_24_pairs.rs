//! Rule 24: the two tokens of a pair can never stand in for each other, and its access token is not renewed in responses.

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::{Validation, decode, errors::ErrorKind};
use serde_json::{Value, json};
use tower_reissue::store::{ClaimsStore, MemoryStore, Page, Rotated, Rotation, StoreError, StoreErrorKind};
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, Event, IssueError, Login, ManualClock, NotReissued, Reason,
    Refresh, RefreshTokens, ReissueLayer, SignOutError, SigningKey, TokenPair, VerifiedToken,
};

use crate::support::guarded::*;
use crate::support::*;

/// The audience of the refresh tokens here.
const REFRESH: &str = "https://login.example/refresh";

fn on(key: SigningKey, clock: &ManualClock) -> AuthorityBuilder {
    Authority::builder(key)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .jitter_percent(0)
        .clock(clock.clone())
        .store(CountingStore::default())
}

fn pairs(clock: &ManualClock) -> AuthorityBuilder {
    on(key(), clock).issuer(ISSUER).audience(AUDIENCE).refresh_tokens(RefreshTokens::new(REFRESH))
}

fn pair_of(authority: &Authority) -> TokenPair {
    let login = Login::new("alice").claims(&json!({ "role": "admin", "scope": "read write" }));
    at_once(authority.issue_pair(login)).unwrap()
}

fn admit(authority: &Authority, token: &str) -> VerifiedToken {
    at_once(authority.admit(token)).unwrap()
}

fn refused<T>(result: Result<T, IssueError>) -> IssueError {
    result.err().expect("nothing is issued")
}

type Change = fn(AuthorityBuilder) -> AuthorityBuilder;

/// How an authority can be told to look at tokens.
const CONFIGURATIONS: [(&str, Change); 13] = [
    ("default", |b| b.issuer(ISSUER).audience(AUDIENCE)),
    ("more audiences", |b| {
        b.issuer(ISSUER).audience(AUDIENCE).also_accept_audience("b").legacy_audience("c")
    }),
    ("no audience", |b| b.issuer(ISSUER).without_audience().access_claim("token_use", "access")),
    ("no issuer", |b| b.without_issuer().audience(AUDIENCE)),
    ("neither", |b| b.without_issuer().without_audience().access_claim("token_use", "access")),
    ("a type", |b| b.issuer(ISSUER).audience(AUDIENCE).access_type("at+jwt")),
    ("types", |b| b.issuer(ISSUER).audience(AUDIENCE).access_type("x").access_type("jwt")),
    ("a claim", |b| b.issuer(ISSUER).audience(AUDIENCE).access_claim("type", "access")),
    ("required claims", |b| b.issuer(ISSUER).audience(AUDIENCE).require_claim("role")),
    ("no iat", |b| b.issuer(ISSUER).audience(AUDIENCE).accept_without_iat(Duration::from_secs(600))),
    ("admitted in the grace", |b| b.issuer(ISSUER).audience(AUDIENCE).admit_in_grace()),
    ("cnf ignored", |b| b.issuer(ISSUER).audience(AUDIENCE).dangerous().ignore_cnf()),
    ("auth_time", |b| b.issuer(ISSUER).audience(AUDIENCE).session_starts_at_auth_time()),
];

/// Those that look at less than an authority with refresh tokens may: services under the same key that have none.
const SERVICES: [(&str, Change); 3] = [
    ("no audience", |b| b.issuer(ISSUER).without_audience()),
    ("neither", |b| b.without_issuer().without_audience()),
    ("the refresh endpoint's audience", |b| b.issuer(ISSUER).audience(REFRESH)),
];

#[test]
fn no_configuration_takes_a_refresh_token_for_an_access_token() {
    let clock = ManualClock::at(NOW);
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let service = |change: Change| change(on(key_for(algorithm), &clock));
        for (issued_by, change) in CONFIGURATIONS {
            let issuer = service(change).refresh_tokens(RefreshTokens::new(REFRESH)).build().unwrap();
            let pair = pair_of(&issuer);
            assert!(Guarded::new(&issuer).bearer(pair.access.as_str()).is_admitted(), "{issued_by}");
            for (seen_by, change) in CONFIGURATIONS.into_iter().chain(SERVICES) {
                let builder = service(change);
                for authority in [
                    builder.build().unwrap(),
                    service(change)
                        .refresh_tokens(RefreshTokens::new("https://other"))
                        .build()
                        .unwrap_or(issuer.clone()),
                ] {
                    let what = format!("{algorithm:?}: {issued_by}, seen by {seen_by}");
                    let answer = Guarded::new(&authority).bearer(pair.refresh.as_str());
                    answer.assert_refused(401, &what);
                    assert_eq!(answer.reason, Some(Reason::WrongType), "{what}");
                    let optional = Guarded::by(ReissueLayer::new(authority.clone()).optional());
                    optional.bearer(pair.refresh.as_str()).assert_refused(401, &what);
                    assert!(at_once(authority.admit(pair.refresh.as_str())).is_err(), "{what}");
                }
            }
        }
    }
}

/// Software that ignores `typ`, as most does: it looks at `aud`, or where it was told not to at a claim.
#[test]
fn jsonwebtoken_takes_neither_token_for_the_other() {
    let clock = ManualClock::at(NOW);
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        let judge = |token: &str, audience: Option<&str>| {
            let mut validation = Validation::new(algorithm.into());
            validation.validate_exp = false;
            validation.set_required_spec_claims(&["aud"]);
            audience.into_iter().for_each(|audience| validation.set_audience(&[audience]));
            decode::<Value>(token, &decoding_key_for(algorithm), &validation)
                .map(|data| data.claims)
                .map_err(|error| error.into_kind())
        };
        for (name, change) in CONFIGURATIONS {
            let authority = change(on(key_for(algorithm), &clock));
            let authority = authority.refresh_tokens(RefreshTokens::new(REFRESH)).build().unwrap();
            let TokenPair { access, refresh, .. } = pair_of(&authority);
            assert!(judge(refresh.as_str(), Some(REFRESH)).is_ok(), "{name}");
            for audience in [Some(AUDIENCE), Some("b"), None] {
                let refused = judge(refresh.as_str(), audience).expect_err(name);
                assert!(matches!(refused, ErrorKind::InvalidAudience), "{name}: {refused:?}");
            }
            assert!(judge(access.as_str(), Some(REFRESH)).is_err(), "{name}");
            // Without a look at `aud`, nothing that gives access stands at the top level.
            let (access, refresh) = (payload(access.as_str()), payload(refresh.as_str()));
            for claim in ["role", "scope"] {
                assert_eq!(refresh.get(claim), None, "{name}: {claim}");
            }
            for claim in ["token_use", "type"] {
                let told = (access.get(claim), refresh.get(claim));
                let (is_access, is_refresh) = (json!("access"), json!("refresh"));
                assert!(
                    told == (None, None) || told == (Some(&is_access), Some(&is_refresh)),
                    "{name}: {told:?}"
                );
            }
            assert_eq!(access["role"], "admin", "{name}");
            assert_eq!(access.get("access_claims"), None, "{name}");
        }
    }
}

#[test]
#[ignore = "needs python3 with PyJWT"]
fn pyjwt_takes_neither_token_for_the_other() {
    const SCRIPT: &str = r#"
import jwt, os
access, refresh, secret = (os.environ[name] for name in ("ACCESS", "REFRESH", "SECRET"))
def judge(token, **options):
    try:
        return jwt.decode(token, secret, algorithms=["HS256"], **options)
    except jwt.InvalidTokenError as error:
        return type(error).__name__
# With the marker that `without_audience` asks for.
def is_access(claims):
    return isinstance(claims, dict) and claims.get("token_use") == "access"
without_aud = {"options": {"verify_aud": False, "verify_exp": False, "verify_iat": False}}
assert is_access(judge(access, **without_aud))
assert not is_access(judge(refresh, **without_aud))
assert "role" not in judge(refresh, **without_aud)
exp = {"options": {"verify_exp": False, "verify_iat": False}}
endpoint = "https://login.example/refresh"
assert judge(refresh, audience="orders", **exp) == "InvalidAudienceError"
assert judge(refresh, **exp) == "InvalidAudienceError"
assert isinstance(judge(refresh, audience=endpoint, **exp), dict)
assert isinstance(judge(access, audience=endpoint, **exp), str)
print("told apart")
"#;
    let clock = ManualClock::at(NOW);
    for change in
        [CONFIGURATIONS[2].1, |b| b.issuer(ISSUER).audience(AUDIENCE).access_claim("token_use", "access")]
    {
        let authority =
            change(on(key(), &clock)).refresh_tokens(RefreshTokens::new(REFRESH)).build().unwrap();
        let pair = pair_of(&authority);
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .env("ACCESS", pair.access.as_str())
            .env("REFRESH", pair.refresh.as_str())
            .env("SECRET", std::str::from_utf8(SECRET).unwrap())
            .output()
            .expect("python3 runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "told apart\n", "{output:?}");
    }
}

#[test]
fn an_access_token_of_a_pair_is_renewed_nowhere() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let change: [Change; 3] = [|b| b, |b| b.admit_in_grace(), |b| b.end_session_on_reuse()];
    for change in change {
        clock.set(NOW);
        let authority = change(pairs(&clock).store(store.clone())).build().unwrap();
        let pair = pair_of(&authority);
        let guarded = Guarded::new(&authority);
        for after in [0, 479, 480, 599] {
            clock.set(NOW + after);
            let answer = guarded.bearer(pair.access.as_str());
            assert!(answer.is_admitted(), "{after}: {answer:?}");
            assert_eq!(answer.successor, None, "{after}");
        }
        // It expires while the handler runs.
        let ticking = clock.clone();
        let slow = Guarded::new(&authority).meanwhile(move || ticking.set(NOW + 610));
        let answer = slow.bearer(pair.access.as_str());
        assert!(answer.is_admitted() && answer.successor.is_none(), "{answer:?}");
        let asked = store.asked();
        for after in [600, 601, 659, 660, 10_000] {
            clock.set(NOW + after);
            let answer = guarded.bearer(pair.access.as_str());
            answer.assert_refused(401, &after);
            assert_eq!(answer.reason, Some(Reason::Expired), "{after}");
        }
        // It is on no record, so nobody is asked about it.
        assert_eq!(store.asked(), asked);
    }
}

#[test]
fn a_pair_is_one_session_that_either_token_ends() {
    for with_refresh in [false, true] {
        let clock = ManualClock::at(NOW);
        let authority = pairs(&clock).build().unwrap();
        let TokenPair { access, refresh, .. } = pair_of(&authority);
        assert_eq!(access.session(), refresh.session());
        assert_ne!(access.jti(), refresh.jti());
        for token in [&access, &refresh] {
            assert_eq!(payload(token.as_str())["jti"], token.jti());
        }
        let listed = at_once(authority.sessions("alice", Page::default())).unwrap().sessions;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].session, access.session());
        assert_eq!(serde_json::from_str::<Value>(&listed[0].claims).unwrap()["jti"], refresh.jti());

        let token = if with_refresh { &refresh } else { &access };
        clock.set(NOW + 1_000);
        at_once(authority.sign_out(token.as_str())).unwrap();
        clock.set(NOW + 500);
        assert_eq!(Guarded::new(&authority).bearer(access.as_str()).reason, Some(Reason::Revoked));
        assert_eq!(at_once(authority.sessions("alice", Page::default())).unwrap().sessions.len(), 0);
    }
}

/// Another service on the store, without refresh tokens of its own, can't tell whose endpoint a refresh token names.
#[test]
fn a_refresh_token_signs_out_where_there_are_refresh_tokens() {
    let clock = ManualClock::at(NOW);
    let pair = pair_of(&pairs(&clock).build().unwrap());
    let others = [
        builder(&clock).store(CountingStore::default()).build().unwrap(),
        pairs(&clock).refresh_tokens(RefreshTokens::new("https://other")).build().unwrap(),
    ];
    for (other, reason) in others.into_iter().zip([Reason::WrongType, Reason::WrongAudience]) {
        let Err(SignOutError::Refused(refusal)) = at_once(other.sign_out(pair.refresh.as_str())) else {
            panic!("it is refused");
        };
        assert_eq!(refusal.reason(), &reason);
    }
}

#[test]
fn the_claims_of_a_pair_are_what_the_login_says() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock)
        .refresh_tokens(RefreshTokens::new(REFRESH).lifetime(Duration::from_secs(86_400)))
        .confirm_with(|_, _| true)
        .build()
        .unwrap();
    let private = json!({ "scope": "read", "cnf": { "jkt": "x" }, "amount": 1 });
    let login = Login::new("alice").claims(&private).client_id("web");
    let pair = at_once(authority.issue_pair(login)).unwrap();
    let (access, refresh) = (payload(pair.access.as_str()), payload(pair.refresh.as_str()));
    let sid = &refresh["sid"];
    assert_eq!(
        access,
        json!({
            "scope": "read", "amount": 1, "cnf": { "jkt": "x" }, "client_id": "web", "sliding": false,
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "sid": sid, "jti": pair.access.jti(),
            "iat": NOW, "exp": NOW + 600, "session_start": NOW,
        })
    );
    assert_eq!(
        refresh,
        json!({
            "access_claims": { "scope": "read", "amount": 1 }, "cnf": { "jkt": "x" }, "client_id": "web",
            "iss": ISSUER, "aud": REFRESH, "sub": "alice", "sid": sid, "jti": pair.refresh.jti(),
            // As long as the session.
            "iat": NOW, "exp": NOW + 43_200, "session_start": NOW,
        })
    );
    assert_eq!(header(pair.access.as_str())["typ"], "JWT");
    assert_eq!(header(pair.refresh.as_str())["typ"], "refresh+jwt");
    let body: Value = serde_json::from_str(&pair.to_json()).unwrap();
    assert_eq!(
        body,
        json!({
            "access_token": pair.access.as_str(), "token_type": "Bearer", "expires_in": 600,
            "refresh_token": pair.refresh.as_str(), "scope": "read",
        })
    );
    let printed = format!("{pair:?}");
    assert!(!printed.contains(pair.access.as_str()) && !printed.contains(pair.refresh.as_str()), "{printed}");
}

#[test]
fn the_scopes_of_a_pair_are_listed_however_they_are_claimed() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    for (claims, scope) in [
        (json!({}), Value::Null),
        (json!({ "scope": "a b" }), json!("a b")),
        (json!({ "scope": ["a", "b"] }), json!("a b")),
        (json!({ "scp": ["a"] }), json!("a")),
        (json!({ "scope": 1 }), Value::Null),
    ] {
        let pair = at_once(authority.issue_pair(Login::new("alice").claims(&claims))).unwrap();
        let body: Value = serde_json::from_str(&pair.to_json()).unwrap();
        assert_eq!(body["scope"], scope, "{claims}");
    }
}

#[test]
fn names_that_a_pair_needs_are_not_the_logins_to_give() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    let login = |name: &str| Login::new("alice").claims(&json!({ name: true }));
    for name in ["sliding", "access_claims", "client_id", "sub", "session_start"] {
        let refused = refused(at_once(authority.issue_pair(login(name))));
        assert!(matches!(&refused, IssueError::ReservedClaim(claim) if claim == name), "{name}: {refused}");
    }
    // A token by itself has no use for them.
    for name in ["sliding", "access_claims", "client_id"] {
        assert!(at_once(authority.issue(login(name))).is_ok(), "{name}");
    }
    let named = login("client_id").client_id("web");
    assert!(matches!(refused(at_once(authority.issue(named))), IssueError::ReservedClaim(_)));
    // And what is not to be renewed may say so.
    let token = at_once(authority.issue(Login::new("alice").claims(&json!({ "sliding": false })))).unwrap();
    assert_eq!(admit(&authority, token.as_str()).subject(), Some("alice"));
}

#[test]
fn what_a_claim_of_that_name_says_otherwise_does_not_matter() {
    let clock = ManualClock::at(NOW + 500);
    let guarded = Guarded::new(&builder(&clock).build().unwrap());
    for (sliding, renewed) in [
        (json!(false), false),
        (json!(true), true),
        (json!("false"), true),
        (json!(0), true),
        (json!([false]), true),
        (json!({ "a": false }), true),
    ] {
        let answer = guarded.bearer(&mint(&claims_with(json!({ "sliding": sliding }))));
        assert!(answer.is_admitted());
        assert_eq!(answer.successor.is_some(), renewed, "{sliding}");
    }
}

#[test]
fn a_further_token_of_a_session_inherits_it_and_is_not_renewed() {
    let clock = ManualClock::at(NOW);
    let authority = pairs(&clock).confirm_with(|_, _| true).build().unwrap();
    let first = mint(&claims_with(
        json!({ "sid": "s-1", "session_start": NOW - 100, "cnf": { "jkt": "x" }, "role": "admin" }),
    ));
    // A bound token is admitted with its proof, in a request.
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let kept = seen.clone();
    let layer = ReissueLayer::new(authority.clone());
    let service = tower::service_fn(move |request: http::Request<()>| {
        *kept.lock().unwrap() = request.extensions().get::<VerifiedToken>().cloned();
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(())))
    });
    let request = request(&[("authorization", format!("Bearer {first}").as_bytes())]);
    at_once(tower::ServiceExt::oneshot(tower::Layer::layer(&layer, service), request)).unwrap();
    let admitted = seen.lock().unwrap().take().expect("it was admitted");

    clock.set(NOW + 200);
    let login = || Login::in_session(&admitted).claims(&json!({ "scope": "read" }));
    let token = at_once(authority.issue(login())).unwrap();
    assert_eq!(token.session(), admitted.session());
    assert_eq!(
        payload(token.as_str()),
        json!({
            "scope": "read", "cnf": { "jkt": "x" }, "sliding": false, "iss": ISSUER, "aud": AUDIENCE,
            "sub": "alice", "sid": "s-1", "jti": token.jti(), "session_start": NOW - 100,
            "iat": NOW + 200, "exp": NOW + 800,
        })
    );
    let cnf = Login::in_session(&admitted).claims(&json!({ "cnf": { "jkt": "y" } }));
    assert!(matches!(refused(at_once(authority.issue(cnf))), IssueError::ReservedClaim(_)));

    let pair = at_once(authority.issue_pair(login().client_id("web"))).unwrap();
    let refresh = payload(pair.refresh.as_str());
    assert_eq!(refresh["cnf"], json!({ "jkt": "x" }));
    assert_eq!((&refresh["sid"], &refresh["session_start"]), (&json!("s-1"), &json!(NOW - 100)));
    assert_eq!(payload(pair.access.as_str())["cnf"], json!({ "jkt": "x" }));
    // The session went on with it.
    let again = refused(at_once(authority.issue_pair(login())));
    assert!(matches!(again, IssueError::NotNewest), "{again}");
}

/// Says of its next rotation that it timed out, and has recorded it all the same. Or answers with a head of its own.
#[derive(Default)]
struct Faulty {
    store: MemoryStore,
    times_out: AtomicBool,
    head: Mutex<Option<Value>>,
}

impl ClaimsStore for Faulty {
    forward!(store: standing, revoke, sessions, horizon, horizon_now, raise_horizon);

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        if let Some(head) = &*self.head.lock().unwrap() {
            return Ok(Rotated::Superseded { head: head.to_string().into() });
        }
        let rotated = self.store.rotate(rotation).await;
        if self.times_out.swap(false, Ordering::SeqCst) {
            Err(StoreErrorKind::Timeout.into())
        } else {
            rotated
        }
    }
}

#[test]
fn a_pair_in_a_session_whose_answer_was_lost_is_issued_again() {
    let clock = ManualClock::at(NOW);
    let store = Arc::new(Faulty::default());
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let token = at_once(authority.issue(Login::new("alice"))).unwrap();
    let admitted = admit(&authority, token.as_str());
    let login = |scope: &str| Login::in_session(&admitted).claims(&json!({ "scope": scope }));
    store.times_out.store(true, Ordering::SeqCst);
    let lost = refused(at_once(authority.issue_pair(login("read"))));
    assert!(matches!(lost, IssueError::Store(_)), "{lost}");
    clock.set(NOW + 100);
    let pair = at_once(authority.issue_pair(login("read"))).unwrap();
    let refresh = payload(pair.refresh.as_str());
    assert_eq!((&refresh["iat"], &refresh["jti"]), (&json!(NOW), &json!(pair.refresh.jti())));
    // Whether it was the store's answer or this one that was lost.
    let again = at_once(authority.issue_pair(login("read"))).unwrap();
    assert_eq!(payload(again.refresh.as_str()), refresh);
    assert_eq!(again.refresh.expires_at(), pair.refresh.expires_at());
    assert_ne!(again.access.jti(), pair.access.jti(), "an access token of its own");
    // For the same claims alone, and not once the session goes on.
    let not_newest = |login| matches!(refused(at_once(authority.issue_pair(login))), IssueError::NotNewest);
    assert!(not_newest(login("read write")) && not_newest(login("")));
    assert!(not_newest(login("read").client_id("web")));
    at_once(authority.refresh(Refresh::new(again.refresh.as_str()))).unwrap();
    assert!(not_newest(login("read")));
    // A store can't make one up.
    for (claim, value) in [
        ("exp", json!(NOW + 12 * 3600 + 1)),
        ("iat", json!(NOW + 106)),
        ("sid", json!("other")),
        ("sub", json!("bob")),
        ("session_start", json!(NOW - 1)),
        ("access_claims", json!({ "scope": "read write" })),
        ("aud", json!(AUDIENCE)),
        ("role", json!("admin")),
    ] {
        let mut head = refresh.clone();
        head[claim] = value;
        *store.head.lock().unwrap() = Some(head);
        assert!(not_newest(login("read")), "{claim}");
    }
    *store.head.lock().unwrap() = Some(refresh);
    assert!(at_once(authority.issue_pair(login("read"))).is_ok());
}

#[test]
fn a_session_that_goes_on_with_a_pair_renews_its_first_token_no_more() {
    let clock = ManualClock::at(NOW);
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = told.clone();
    let authority = pairs(&clock).on_event(move |event| {
        if let Event::NotReissued { why, .. } = event {
            events.lock().unwrap().push(*why);
        }
    });
    let authority = authority.build().unwrap();
    let token = at_once(authority.issue(Login::new("alice"))).unwrap();
    let admitted = admit(&authority, token.as_str());
    let pair = at_once(authority.issue_pair(Login::in_session(&admitted))).unwrap();
    let listed = at_once(authority.sessions("alice", Page::default())).unwrap().sessions;
    assert_eq!(listed.len(), 1, "one session");
    clock.set(NOW + 550);
    let answer = Guarded::new(&authority).bearer(token.as_str());
    assert!(answer.is_admitted() && answer.successor.is_none(), "{answer:?}");
    clock.set(NOW + 610);
    Guarded::new(&authority).bearer(token.as_str()).assert_refused(401, &"in the grace");
    assert_eq!(
        *told.lock().unwrap(),
        [NotReissued::ContinuedByPair; 2],
        "a store that lies is another matter"
    );

    // From a token of the pair there is a further token, and no second pair.
    clock.set(NOW + 10);
    let access = admit(&authority, pair.access.as_str());
    let further = at_once(authority.issue(Login::in_session(&access))).unwrap();
    assert!(Guarded::new(&authority).bearer(further.as_str()).is_admitted());
    let second = refused(at_once(authority.issue_pair(Login::in_session(&access))));
    assert!(matches!(second, IssueError::NotNewest), "{second}");
    // They end with the session.
    at_once(authority.revoke_session(&access)).unwrap();
    for token in [&further, &pair.access] {
        assert_eq!(Guarded::new(&authority).bearer(token.as_str()).reason, Some(Reason::Revoked));
    }
}

#[test]
fn only_a_live_token_of_this_authority_begins_another() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let token = at_once(authority.issue(Login::new("alice"))).unwrap();
    let admitted = admit(&authority, token.as_str());
    let reasons = |authority: &Authority, token: &VerifiedToken| {
        let single = refused(at_once(authority.issue(Login::in_session(token))));
        let pair = refused(at_once(authority.issue_pair(Login::in_session(token))));
        let (IssueError::NotLive(single), IssueError::NotLive(pair)) = (single, pair) else {
            panic!("another error");
        };
        assert_eq!(single.reason(), pair.reason());
        single.reason().clone()
    };
    // Another authority's, though its keys and names are the same: it may ask for less.
    let same = pairs(&clock).build().unwrap();
    assert_eq!(reasons(&same, &admitted), Reason::WrongIssuer);
    let other = on(key(), &clock).without_issuer().audience(AUDIENCE);
    let other = other.refresh_tokens(RefreshTokens::new(REFRESH)).build().unwrap();
    assert_eq!(reasons(&other, &admitted), Reason::WrongIssuer);
    #[derive(serde::Deserialize)]
    struct Mine {}
    let typed = pairs(&clock).private_claims::<Mine>().build().unwrap();
    let Err(IssueError::NotLive(refusal)) = at_once(typed.issue(Login::in_session(&admitted))) else {
        panic!("it has claims of another type");
    };
    assert_eq!(refusal.reason(), &Reason::WrongIssuer);

    clock.set(NOW + 600);
    assert_eq!(reasons(&authority, &admitted), Reason::Expired, "within the grace");
    clock.set(NOW + 10);
    at_once(authority.revoke_session(&admitted)).unwrap();
    assert_eq!(reasons(&authority, &admitted), Reason::Revoked);
}

#[test]
fn a_silent_store_begins_no_pair() {
    let clock = ManualClock::at(NOW);
    let store = CountingStore::default();
    let authority = pairs(&clock).store(store.clone()).build().unwrap();
    let token = at_once(authority.issue(Login::new("alice"))).unwrap();
    let admitted = admit(&authority, token.as_str());
    store.fail_to_rotate();
    for login in [Login::new("bob"), Login::in_session(&admitted)] {
        let refused = refused(at_once(authority.issue_pair(login)));
        assert!(matches!(refused, IssueError::Store(_)), "{refused}");
    }
}

#[test]
fn a_pair_is_asked_for_in_the_builder() {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock).store(CountingStore::default()).build().unwrap();
    let refused = refused(at_once(authority.issue_pair(Login::new("alice"))));
    assert!(matches!(refused, IssueError::NoRefreshTokens), "{refused}");
    assert!(refused.to_string().contains("`refresh_tokens`"), "{refused}");

    let secs = Duration::from_secs;
    let start = || Authority::builder(key()).issuer(ISSUER).max_session_lifetime(secs(86_400));
    let store = CountingStore::default;
    for (builder, says) in [
        (builder(&clock).refresh_tokens(RefreshTokens::new(REFRESH)), &["`refresh_tokens`", "`store`"][..]),
        (pairs(&clock).refresh_tokens(RefreshTokens::new(" ")), &["audience of `refresh_tokens` is empty"]),
        (pairs(&clock).refresh_tokens(RefreshTokens::new(AUDIENCE)), &["\"orders\"", "its own audience"]),
        (pairs(&clock).also_accept_audience(REFRESH), &["one that access tokens may name"]),
        (pairs(&clock).legacy_audience(REFRESH), &["one that access tokens may name"]),
        (
            start().without_audience().store(store()).refresh_tokens(RefreshTokens::new(REFRESH)),
            &["`without_audience()`", "`access_claim("],
        ),
        (
            pairs(&clock).refresh_tokens(RefreshTokens::new(REFRESH).lifetime(secs(599))),
            &["refresh tokens is 599 s", "600 s", "7 days is the default"],
        ),
        (pairs(&clock).session_start_claim("access_claims"), &["\"access_claims\"", "other names"]),
        (pairs(&clock).access_claim("type", "refresh"), &["\"type\" = \"refresh\"", "`access`"]),
        (pairs(&clock).access_claim("sliding", "yes"), &["\"sliding\"", "other names"]),
        (builder(&clock).access_type("Application/Refresh+JWT"), &["`refresh+jwt`", "`at+jwt`"]),
    ] {
        let message = builder.build().expect_err(&format!("{says:?}")).to_string();
        for part in says {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
}

#[test]
fn tokens_of_pairs_have_names_of_their_own() {
    let authority = pairs(&ManualClock::at(NOW)).build().unwrap();
    let names: HashSet<_> = (0..100)
        .flat_map(|_| {
            let pair = pair_of(&authority);
            [pair.access.jti().to_owned(), pair.refresh.jti().to_owned(), pair.access.session().to_string()]
        })
        .collect();
    assert_eq!(names.len(), 300);
}
