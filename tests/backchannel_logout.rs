//! OpenID Connect Back-Channel Logout 1.0: what ends a session, what does not, and what may be tried again.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use support::*;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_reissue::keys::KeyRing;
use tower_reissue::store::{ClaimsStore, Retention, Revocation, StoreError};
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, BackchannelLogoutEndpoint, Event, Login, ManualClock,
    MemoryStore, Reason,
};

const PROVIDER: &str = "https://idp.example";
const CLIENT: &str = "orders-web";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A service with keys of its own, which trusts the provider.
fn service(clock: &ManualClock) -> Authority {
    service_on(MemoryStore::new(), clock).build().unwrap()
}

fn service_on(store: impl ClaimsStore, clock: &ManualClock) -> AuthorityBuilder {
    let ring = KeyRing::new(key()).trust(PROVIDER, [key_for(Algorithm::ES256).into()]).unwrap();
    Authority::builder(ring)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .clock(clock.clone())
        .store(store)
}

fn endpoint(authority: &Authority) -> BackchannelLogoutEndpoint {
    BackchannelLogoutEndpoint::new(authority.clone(), [CLIENT, "orders-app"]).unwrap()
}

fn by_provider(typ: Option<&str>, claims: &Value) -> String {
    let mut header = json!({ "alg": "ES256" });
    if let Some(typ) = typ {
        header["typ"] = json!(typ);
    }
    sign_raw(&header.to_string(), &claims.to_string(), &encoding_key_for(Algorithm::ES256), Algorithm::ES256)
}

fn access(changes: Value) -> String {
    let mut claims = json!({
        "iss": PROVIDER, "aud": AUDIENCE, "sub": "alice", "sid": "s-1", "jti": "a-1", "iat": NOW - 60, "exp": NOW + 600,
    });
    merge(&mut claims, changes);
    by_provider(Some("at+jwt"), &claims)
}

fn logout_claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": PROVIDER, "aud": CLIENT, "sub": "alice", "jti": "l-1", "iat": NOW, "exp": NOW + 120,
        "events": { EVENT: {} },
    });
    merge(&mut claims, changes);
    claims
}

fn logout(changes: Value) -> String {
    by_provider(Some("logout+jwt"), &logout_claims(changes))
}

/// `null` removes.
fn merge(claims: &mut Value, changes: Value) {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
}

async fn post(endpoint: &BackchannelLogoutEndpoint, token: &str) -> Response<Bytes> {
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Full::<Bytes>::from(format!("logout_token={token}"))).unwrap();
    let (parts, body) = endpoint.clone().oneshot(request).await.unwrap().into_parts();
    assert_eq!(parts.headers["cache-control"], "no-store");
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn status(endpoint: &BackchannelLogoutEndpoint, token: &str) -> u16 {
    post(endpoint, token).await.status().as_u16()
}

async fn is_admitted(authority: &Authority, token: &str) -> bool {
    match authority.admit(token).await {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!(refusal.reason(), &Reason::Revoked);
            false
        }
    }
}

#[tokio::test]
async fn the_session_that_the_token_names_ends_and_no_other() {
    let authority = service(&ManualClock::at(NOW));
    let endpoint = endpoint(&authority);
    let [named, other] = [access(json!({})), access(json!({ "sid": "s-2", "jti": "a-2" }))];
    assert_eq!(status(&endpoint, &logout(json!({ "sid": "s-1" }))).await, 200);
    assert!(!is_admitted(&authority, &named).await);
    assert!(is_admitted(&authority, &other).await);
    // By its name alone, for one of several clients.
    let token = logout(json!({ "sid": "s-2", "sub": null, "jti": "l-2", "aud": ["else", "orders-app"] }));
    assert_eq!(status(&endpoint, &token).await, 200);
    assert!(!is_admitted(&authority, &other).await);
}

#[tokio::test]
async fn without_a_session_all_that_the_subject_began_by_then_ends_and_a_replay_ends_nothing_newer() {
    let clock = ManualClock::at(NOW);
    let authority = service(&clock);
    // Two processes: each remembers for itself which tokens were used.
    let (here, there) = (endpoint(&authority), endpoint(&authority));
    let [old, of_bob] = [access(json!({})), access(json!({ "sub": "bob", "sid": "s-3", "jti": "a-3" }))];
    let own = authority.issue(Login::new("alice")).await.unwrap();
    let token = logout(json!({}));
    assert_eq!(status(&here, &token).await, 200);
    assert!(!is_admitted(&authority, &old).await);
    assert!(is_admitted(&authority, &of_bob).await);
    // This service's own alice is another one.
    assert!(is_admitted(&authority, own.as_str()).await);

    clock.set(NOW + 30);
    let newer = access(json!({ "sid": "s-4", "jti": "a-4", "iat": NOW + 20 }));
    assert!(is_admitted(&authority, &newer).await);
    assert_eq!(status(&here, &token).await, 400, "it was used");
    assert_eq!(status(&there, &token).await, 200);
    assert!(is_admitted(&authority, &newer).await);
}

#[tokio::test]
async fn a_replay_ends_no_later_session_of_the_same_name() {
    let clock = ManualClock::at(NOW);
    let authority = service(&clock);
    let (here, there) = (endpoint(&authority), endpoint(&authority));
    let day = 24 * 3600;
    let token = logout(json!({ "sid": "s-1", "exp": NOW + 3 * day }));
    assert_eq!(status(&here, &token).await, 200);
    assert!(!is_admitted(&authority, &access(json!({}))).await);
    // The store has forgotten the session, and the issuer begins another one of that name.
    let later = NOW + 2 * day;
    clock.set(later);
    let session = access(json!({ "jti": "a-2", "iat": later - 60, "exp": later + 600 }));
    assert!(is_admitted(&authority, &session).await);
    assert_eq!(status(&there, &token).await, 400, "it is too old, whatever its exp says");
    assert!(is_admitted(&authority, &session).await);
}

#[tokio::test]
async fn a_token_is_good_until_its_exp_and_for_max_age_at_most() {
    for (max_age, exp, until) in [
        (None, 60, 60),
        (None, 120, 120),
        (None, 3600, 120),
        (Some(30), 120, 30),
        (Some(300), 120, 120),
        (Some(300), 3600, 300),
    ] {
        for (age, expected) in [(until - 1, 200), (until, 400)] {
            let clock = ManualClock::at(NOW + age);
            let endpoint = endpoint(&service(&clock));
            let endpoint = match max_age {
                None => endpoint,
                Some(secs) => endpoint.max_age(Duration::from_secs(secs)).unwrap(),
            };
            let token = logout(json!({ "exp": NOW + exp }));
            assert_eq!(status(&endpoint, &token).await, expected, "{max_age:?}, exp {exp}, age {age}");
        }
    }
    let endpoint = || endpoint(&service(&ManualClock::at(NOW)));
    for refused in [Duration::ZERO, Duration::from_millis(999), Duration::from_millis(300_001)] {
        let error = endpoint().max_age(refused).unwrap_err().to_string();
        assert!(error.contains("max_age") && error.contains("5 min"), "{error}");
    }
}

/// Auth0 writes `sid` into its ID and logout tokens, and not into its access tokens.
#[tokio::test]
async fn by_subject_ends_the_sessions_whose_tokens_lack_the_sid_of_the_logout_token() {
    let clock = ManualClock::at(NOW);
    let authority = service(&clock);
    let without_sid = |jti: &str, iat: u64| access(json!({ "sid": null, "jti": jti, "iat": iat }));
    let [first, second] = [without_sid("a-1", NOW - 60), without_sid("a-2", NOW - 30)];
    let of_bob = access(json!({ "sub": "bob", "sid": null, "jti": "a-3" }));
    let token = |jti: &str| logout(json!({ "sid": "s-1", "jti": jti }));
    assert_eq!(status(&endpoint(&authority), &token("l-1")).await, 200);
    assert!(is_admitted(&authority, &first).await, "nothing says that it is of that session");

    let by_subject = endpoint(&authority).by_subject();
    assert_eq!(status(&by_subject, &token("l-2")).await, 200);
    assert!(!is_admitted(&authority, &first).await);
    assert!(!is_admitted(&authority, &second).await, "the subject's other sessions end too: the cost");
    assert!(is_admitted(&authority, &of_bob).await);
    clock.set(NOW + 30);
    assert!(is_admitted(&authority, &without_sid("a-4", NOW + 20)).await, "it began after the logout");

    // The session that is named ends as well: it may have begun later, by a clock that is ahead, or be another subject's.
    let named = access(json!({ "sid": "s-5", "jti": "a-5", "iat": NOW + 21 }));
    assert_eq!(
        status(&by_subject, &logout(json!({ "sid": "s-5", "jti": "l-3", "iat": NOW + 20 }))).await,
        200
    );
    assert!(!is_admitted(&authority, &named).await);
    let unnamed = access(json!({ "sub": "bob", "sid": "s-6", "jti": "a-6" }));
    assert_eq!(
        status(&by_subject, &logout(json!({ "sid": "s-6", "sub": null, "jti": "l-4", "iat": NOW + 20 })))
            .await,
        200
    );
    assert!(!is_admitted(&authority, &unnamed).await);
    assert!(is_admitted(&authority, &of_bob).await);
}

#[tokio::test]
async fn what_is_no_logout_token_for_this_client_ends_nothing() {
    let authority = service(&ManualClock::at(NOW));
    let endpoint = endpoint(&authority);
    let session = access(json!({}));
    let event = |value: Value| json!({ "events": { EVENT: value } });
    let (good, other) = (logout(json!({})), logout(json!({ "jti": "l-9" })));
    let signed =
        |token: &str| token.rsplit_once('.').map(|(text, by)| (text.to_owned(), by.to_owned())).unwrap();
    let other_signature = format!("{}.{}", signed(&good).0, signed(&other).1);
    let by_another_key = sign_raw(
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        &logout_claims(json!({})).to_string(),
        &jsonwebtoken::EncodingKey::from_secret(SECRET),
        Algorithm::HS256,
    );
    for (why, token) in [
        ("no token", "nonsense".to_owned()),
        ("another client's", logout(json!({ "aud": "carts-web" }))),
        ("no audience", logout(json!({ "aud": null }))),
        ("the accepted audience of access tokens", logout(json!({ "aud": AUDIENCE }))),
        ("another issuer", logout(json!({ "iss": "https://else.example" }))),
        ("no issuer", logout(json!({ "iss": null }))),
        ("no iat", logout(json!({ "iat": null }))),
        ("an iat ahead", logout(json!({ "iat": NOW + 60 }))),
        ("no exp", logout(json!({ "exp": null }))),
        ("expired", logout(json!({ "iat": NOW - 300, "exp": NOW - 180 }))),
        ("no jti", logout(json!({ "jti": null }))),
        ("a jti that is a number", logout(json!({ "jti": 7 }))),
        ("no events", logout(json!({ "events": null }))),
        ("events that are a list", logout(json!({ "events": [EVENT] }))),
        ("another event", logout(json!({ "events": { "http://else.example/event": {} } }))),
        ("an event that is null", logout(event(Value::Null))),
        ("an event that is a text", logout(event(json!("logout")))),
        ("a nonce", logout(json!({ "nonce": "n" }))),
        ("neither sub nor sid", logout(json!({ "sub": null }))),
        ("a sub that is a number", logout(json!({ "sub": 7 }))),
        ("no typ", by_provider(None, &logout_claims(json!({})))),
        ("typ JWT", by_provider(Some("JWT"), &logout_claims(json!({})))),
        ("an access token", session.clone()),
        ("own keys under the provider's name", by_another_key),
        ("another token's signature", other_signature),
    ] {
        let response = post(&endpoint, &token).await;
        assert_eq!(response.status(), 400, "{why}");
        let error: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(error["error"], "invalid_request", "{why}");
        assert!(is_admitted(&authority, &session).await, "{why}");
    }
    assert_eq!(
        status(&endpoint, &by_provider(Some("application/Logout+JWT"), &logout_claims(json!({})))).await,
        200
    );
    assert!(!is_admitted(&authority, &session).await);
}

#[tokio::test]
async fn a_token_without_typ_is_taken_by_option_and_is_no_access_token() {
    let authority = service(&ManualClock::at(NOW));
    let untyped = by_provider(None, &logout_claims(json!({ "sid": "s-1" })));
    assert_eq!(status(&endpoint(&authority).allow_missing_type(), &untyped).await, 200);
    assert_eq!(status(&endpoint(&authority).allow_missing_type(), &access(json!({}))).await, 400);
    assert!(authority.admit(&untyped).await.is_err());
    assert!(authority.admit(&logout(json!({ "aud": [CLIENT, AUDIENCE] }))).await.is_err());
}

#[tokio::test]
async fn own_sessions_end_in_the_hook_and_its_failure_lets_the_token_come_again() {
    let clock = ManualClock::at(NOW);
    let authority = service(&clock);
    let calls = Arc::new(AtomicUsize::new(0));
    let (to_revoke, counted) = (authority.clone(), calls.clone());
    let endpoint = endpoint(&authority).on_logout(move |token| {
        let (authority, call) = (to_revoke.clone(), counted.fetch_add(1, Ordering::SeqCst));
        if call == 0 {
            panic!("a hook");
        }
        async move {
            if call == 1 {
                return Err("the database is down".into());
            }
            assert_eq!((token.issuer(), token.session_id()), (Some(PROVIDER), Some("s-1")));
            authority.revoke_subject_before(token.subject().unwrap(), token.issued_at()).await?;
            Ok(())
        }
    });
    let own = authority.issue(Login::new("alice")).await.unwrap();
    clock.set(NOW + 10);
    let token = logout(json!({ "sid": "s-1", "iat": NOW + 5 }));
    let newer = authority.issue(Login::new("alice")).await.unwrap();
    for _ in 0..2 {
        let response = post(&endpoint, &token).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        assert!(is_admitted(&authority, own.as_str()).await);
    }
    assert_eq!(status(&endpoint, &token).await, 200);
    assert!(!is_admitted(&authority, own.as_str()).await);
    assert!(is_admitted(&authority, newer.as_str()).await, "it began after the logout");
    assert_eq!((status(&endpoint, &token).await, calls.load(Ordering::SeqCst)), (400, 3));
}

/// Counts the revocations on record.
struct Counting {
    inner: MemoryStore,
    revoked: Arc<AtomicUsize>,
}

impl ClaimsStore for Counting {
    forward!(inner: standing, rotate, sessions, horizon, raise_horizon);

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        self.inner.revoke(revocation, retention).await?;
        self.revoked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn all_that_a_logout_token_ends_has_ended_before_an_observer_hears_of_it() {
    let (revoked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let store = Counting { inner: MemoryStore::new(), revoked: revoked.clone() };
    let (seen, by_hook) = (told.clone(), revoked.clone());
    let authority = service_on(store, &ManualClock::at(NOW))
        .on_event(move |event| {
            if let Event::Revoked = event {
                seen.lock().unwrap().push(revoked.load(Ordering::SeqCst));
            }
        })
        .build()
        .unwrap();
    let endpoint = endpoint(&authority).by_subject().on_logout(move |_| {
        by_hook.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    });
    assert_eq!(status(&endpoint, &logout(json!({ "sid": "s-1" }))).await, 200);
    assert_eq!(*told.lock().unwrap(), [3, 3], "two sessions in the store, and the service's own");
}

#[tokio::test]
async fn a_logout_goes_on_if_the_issuer_hangs_up() {
    let authority = service(&ManualClock::at(NOW));
    let (reached, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrived, opened, to_revoke) = (reached.clone(), gate.clone(), authority.clone());
    let endpoint = endpoint(&authority).on_logout(move |token| {
        let (authority, gate) = (to_revoke.clone(), opened.clone());
        arrived.add_permits(1);
        async move {
            gate.acquire().await?.forget();
            authority.revoke_subject_before(token.subject().unwrap(), token.issued_at()).await?;
            Ok(())
        }
    });
    let own = authority.issue(Login::new("alice")).await.unwrap();
    let token = logout(json!({}));
    tokio::select! {
        status = status(&endpoint, &token) => panic!("{status}: the hook waits"),
        _ = reached.acquire() => {}
    }
    // Meanwhile it comes once more: its hook is not run twice.
    assert_eq!(status(&endpoint, &token).await, 503);
    gate.add_permits(1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!is_admitted(&authority, own.as_str()).await);
    assert_eq!(status(&endpoint, &token).await, 400, "it was used");
}

/// As an application that runs its services on a runtime each.
#[test]
fn a_logout_that_ends_with_its_runtime_can_come_again() {
    let revoked = Arc::new(AtomicUsize::new(0));
    let seen = revoked.clone();
    let authority = service_on(MemoryStore::new(), &ManualClock::at(NOW)).on_event(move |event| {
        seen.fetch_add(usize::from(matches!(event, Event::Revoked)), Ordering::SeqCst);
    });
    let authority = authority.build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let endpoint = endpoint(&authority).on_logout(move |_| {
        let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let token = logout(json!({}));
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = runtime();
    first.block_on(async {
        tokio::select! {
            status = status(&endpoint, &token) => panic!("{status}: the hook waits"),
            () = async { while calls.load(Ordering::SeqCst) == 0 { tokio::task::yield_now().await } } => {}
        }
    });
    assert_eq!(revoked.load(Ordering::SeqCst), 0, "not all is done");
    drop(first);
    assert_eq!(revoked.load(Ordering::SeqCst), 1, "what was revoked is reported all the same");
    assert_eq!(runtime().block_on(status(&endpoint, &token)), 200);
    assert_eq!(runtime().block_on(status(&endpoint, &token)), 400, "it was used");
}

#[test]
fn it_is_not_built_where_it_could_end_nothing_or_anybodys() {
    let clock = ManualClock::at(NOW);
    let stateless = builder(&clock).build().unwrap();
    assert!(BackchannelLogoutEndpoint::new(stateless, [CLIENT]).unwrap_err().to_string().contains("store"));
    for clients in [vec![], vec![""], vec![CLIENT, " "]] {
        let refused = BackchannelLogoutEndpoint::new(service(&clock), clients).unwrap_err();
        assert!(refused.to_string().contains("client ids"), "{refused}");
    }
}
