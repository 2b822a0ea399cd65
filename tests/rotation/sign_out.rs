//! Signing out with a token whose key is unknown, not yet or no more.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use http::header::SET_COOKIE;
use serde_json::json;
use tower_reissue::keys::{KeyError, KeySet, KeySource};
use tower_reissue::store::{Horizon, StoreErrorKind};
use tower_reissue::{Cookie, ManualClock, MemoryStore, Reason, RevokeEndpoint, SignOutError, Source};

use super::*;

const COOLDOWN: Duration = Duration::from_secs(30);
const LIMIT: u64 = 12 * 3600;

/// The own source: it signs with its n-th key, counts how often it is asked, and fails where it is told to.
#[derive(Clone, Default)]
struct Own(Arc<State>);

#[derive(Default)]
struct State {
    asked: AtomicUsize,
    key: AtomicUsize,
    fails: AtomicBool,
    named: Option<Naming>,
}

type Naming = fn(SigningKey) -> SigningKey;

impl Own {
    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn sign_with(&self, n: usize) {
        self.0.key.store(n, Ordering::SeqCst);
    }

    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }
}

impl KeySource for Own {
    fn describe(&self) -> String {
        "the own source".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(KeyError::unavailable("it is down"));
        }
        let key = secret_key(self.0.key.load(Ordering::SeqCst));
        Ok(KeySet::signing(self.0.named.map_or(key.clone(), |name| name(key))))
    }
}

/// An authority whose rotation reads its source only when it is made to.
async fn lazy(own: &Own) -> (Authority, ManualClock) {
    of(own, Duration::from_secs(7 * 24 * 3600)).await
}

async fn of(own: &Own, reload_every: Duration) -> (Authority, ManualClock) {
    over(own, reload_every, MemoryStore::new()).await
}

async fn over(own: &Own, reload_every: Duration, store: MemoryStore) -> (Authority, ManualClock) {
    let clock = ManualClock::at(support::NOW);
    let rotation =
        KeyRotation::new(own.clone()).reload_every(reload_every).cooldown(COOLDOWN).clock(clock.clone());
    let authority = authority(rotation.start().await.unwrap()).clock(clock.clone()).store(store);
    (authority.build().unwrap(), clock)
}

/// A token under the n-th key, of a session that began at `begun`.
fn token(n: usize, begun: u64) -> String {
    named(Some(secret_key(n).kid()), n, begun)
}

fn named(kid: Option<&str>, n: usize, begun: u64) -> String {
    let header = match kid {
        Some(kid) => json!({"alg": "HS256", "kid": kid}),
        None => json!({"alg": "HS256"}),
    };
    let claims = support::claims_with(json!({"iat": begun, "exp": begun + 600, "session_start": begun}));
    let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
    support::sign_raw(&header.to_string(), &claims.to_string(), &key, Algorithm::HS256)
}

async fn refusal(authority: &Authority, token: &str) -> Option<Reason> {
    match authority.sign_out(token).await {
        Ok(()) => None,
        Err(SignOutError::Refused(refusal)) => Some(refusal.reason().clone()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_node_saw_first_is_asked_for_once_in_a_cooldown() {
    let own = Own::default();
    let (authority, _) = lazy(&own).await;
    assert_eq!(own.asked(), 1);
    own.sign_with(1);
    // However many sign out at once: one reads the source, and all wait for it.
    let tokens: Vec<_> = (0..50).map(|_| token(1, support::NOW)).collect();
    let signed_out = join_all(tokens.iter().map(|token| refusal(&authority, token))).await;
    assert!(signed_out.iter().all(Option::is_none), "{signed_out:?}");
    assert_eq!(own.asked(), 2);
    // Within the cooldown nobody asks again, whatever the key.
    own.sign_with(2);
    for unknown in [token(2, support::NOW), token(3, support::NOW)] {
        assert_eq!(refusal(&authority, &unknown).await, Some(Reason::UnknownKey));
    }
    assert_eq!(own.asked(), 2);
    tokio::time::advance(COOLDOWN).await;
    assert_eq!(refusal(&authority, &token(2, support::NOW)).await, None);
    assert_eq!(own.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_known_key_refuses_asks_for_none() {
    let own = Own::default();
    let (authority, _) = lazy(&own).await;
    let forged = named(Some(secret_key(0).kid()), 1, support::NOW);
    assert_eq!(refusal(&authority, &forged).await, Some(Reason::BadSignature));
    assert_eq!(refusal(&authority, "x.y.z").await, Some(Reason::MalformedToken));
    assert_eq!(refusal(&authority, &token(0, support::NOW)).await, None);
    assert_eq!(own.asked(), 1);
    // Without a `kid` the key may be one that is not known yet.
    own.sign_with(1);
    assert_eq!(refusal(&authority, &named(None, 1, support::NOW)).await, None);
    assert_eq!(own.asked(), 2);
}

/// A name that was chosen may be the next key's too, as `not-used` is that of all of Airflow's secrets.
#[tokio::test(start_paused = true)]
async fn a_kid_that_the_next_key_may_have_too_asks_for_it() {
    let names: [(&str, Naming); 2] =
        [("not-used", |key| key.also_known_as("not-used")), ("main", |key| key.with_kid("main"))];
    for (kid, named) in names {
        let own = Own(Arc::new(State { named: Some(named), ..State::default() }));
        let (authority, _) = lazy(&own).await;
        assert_eq!(refusal(&authority, &named_token(kid, 0)).await, None, "{kid}");
        assert_eq!(own.asked(), 1, "{kid}");
        own.sign_with(1);
        own.fail(true);
        let reason = refusal(&authority, &named_token(kid, 1)).await;
        assert_eq!(reason, Some(Reason::KeysUnavailable), "{kid}");
        own.fail(false);
        tokio::time::advance(COOLDOWN).await;
        assert_eq!(refusal(&authority, &named_token(kid, 1)).await, None, "{kid}");
        assert_eq!(own.asked(), 3, "{kid}");
        // Whoever forges sets no faster pace than whoever names an unknown key.
        assert_eq!(refusal(&authority, &named_token(kid, 2)).await, Some(Reason::BadSignature), "{kid}");
        assert_eq!(own.asked(), 3, "{kid}");
    }
}

fn named_token(kid: &str, n: usize) -> String {
    named(Some(kid), n, support::NOW)
}

#[tokio::test(start_paused = true)]
async fn an_own_source_that_can_not_be_read_is_a_503_and_the_cookie_stays() {
    let own = Own::default();
    let (authority, _) = lazy(&own).await;
    let cookie = Source::cookie(Cookie::new("session").unwrap());
    let endpoint = RevokeEndpoint::new(authority.clone()).unwrap().read_from([cookie]);
    let sign_out = async |token: &str| {
        let request = Request::post("/").header("sec-fetch-site", "same-origin");
        let request =
            request.header("cookie", format!("__Host-session={token}")).body(String::new()).unwrap();
        let response = endpoint.clone().oneshot(request).await.unwrap();
        let retry = response.headers().contains_key("retry-after");
        (response.status().as_u16(), retry, response.headers().contains_key(SET_COOKIE))
    };
    own.fail(true);
    for _ in 0..3 {
        assert_eq!(sign_out(&token(1, support::NOW)).await, (503, true, false));
    }
    assert_eq!(own.asked(), 2, "nobody hammers a source that is down");
    assert_eq!(refusal(&authority, &token(1, support::NOW)).await, Some(Reason::KeysUnavailable));
    // Who holds a token under a known key signs out all the same.
    assert_eq!(sign_out(&token(0, support::NOW)).await, (204, false, true));
    own.fail(false);
    tokio::time::advance(COOLDOWN).await;
    // Still unknown: a verdict now, but another node may hold the key yet.
    assert_eq!(sign_out(&token(1, support::NOW)).await, (401, false, false));
    own.sign_with(1);
    tokio::time::advance(COOLDOWN).await;
    assert_eq!(sign_out(&token(1, support::NOW)).await, (204, false, true));
}

/// The n-th key has given way to the next, and is out of the ring.
async fn retire(own: &Own, authority: &Authority, clock: &ManualClock, n: usize) {
    own.sign_with(n + 1);
    let keys = Keys::from(authority);
    signs_with(&keys, &secret_key(n + 1)).await;
    clock.advance(2 * 3600);
    eventually(|| keys.current().kids().count() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_retired_key_proves_a_sign_out_of_sessions_from_its_time_and_nothing_else() {
    let own = Own::default();
    let (authority, clock) = of(&own, RELOAD).await;
    let service = guarded(authority.clone());
    retire(&own, &authority, &clock, 0).await;
    let now = support::NOW + 2 * 3600;
    // As good as can be but for its key: nothing admits it, and it ends its session.
    let fresh = token(0, now);
    assert_eq!(status(&service, &fresh).await, StatusCode::UNAUTHORIZED);
    assert_eq!(authority.admit(&fresh).await.unwrap_err().reason(), &Reason::UnknownKey);
    assert_eq!(refusal(&authority, &fresh).await, None);
    assert_eq!(refusal(&authority, &token(0, support::NOW)).await, None, "an expired one");
    // By its exact name, and by its own signature.
    assert_eq!(refusal(&authority, &named(None, 0, now)).await, Some(Reason::BadSignature));
    assert_eq!(refusal(&authority, &named(Some("other"), 0, now)).await, Some(Reason::UnknownKey));
    let forged = named(Some(secret_key(0).kid()), 7, now);
    assert_eq!(refusal(&authority, &forged).await, Some(Reason::UnknownKey));
    // What was signed after the key was retired is nobody's.
    clock.set(now + 1_000);
    let late = token(0, now + 1_000);
    assert_eq!(refusal(&authority, &late).await, Some(Reason::UnknownKey));
    // The session limit, and what a response in flight may add to it.
    clock.set(now + LIMIT + 59);
    assert_eq!(refusal(&authority, &fresh).await, None);
    clock.set(now + LIMIT + 60);
    assert_eq!(refusal(&authority, &fresh).await, Some(Reason::SessionOver));
}

#[tokio::test(start_paused = true)]
async fn a_leaked_retired_key_fills_no_store() {
    let own = Own::default();
    let (authority, clock) = of(&own, RELOAD).await;
    retire(&own, &authority, &clock, 0).await;
    let of = |n: u32| {
        let header = json!({"alg": "HS256", "kid": secret_key(0).kid()});
        let claims = support::claims_with(json!({"sub": format!("u{n}"), "sid": format!("s{n}")}));
        let key = jsonwebtoken::EncodingKey::from_secret(secret(0).as_bytes());
        support::sign_raw(&header.to_string(), &claims.to_string(), &key, Algorithm::HS256)
    };
    for n in 0..10_000 {
        assert!(authority.sign_out(&of(n)).await.is_ok(), "{n}");
        // The same session again is no further record.
        assert!(authority.sign_out(&of(0)).await.is_ok(), "{n}");
    }
    let Err(SignOutError::Store(full)) = authority.sign_out(&of(10_000)).await else { panic!("a bound") };
    assert_eq!(full.kind(), StoreErrorKind::Full);
    for says in [
        "not the store",
        "10000 sessions",
        &format!("in {} s", LIMIT + 60),
        "`withdraw_key`",
        "`revoke_subject`",
    ] {
        assert!(full.to_string().contains(says), "{says} is not in {full}");
    }
    assert!(authority.sign_out(&of(0)).await.is_ok());
    let current = token(1, support::NOW);
    assert!(authority.sign_out(&current).await.is_ok(), "the keys of the ring are not counted");
    // What was recorded is forgotten by then, and so is what was counted.
    clock.advance(LIMIT + 60);
    assert_eq!(refusal(&authority, &of(10_001)).await, Some(Reason::SessionOver));
}

/// Another authority on the store has a longer limit, so that the store keeps what this one recorded for longer than this
/// one's own horizon.
#[tokio::test(start_paused = true)]
async fn what_a_leaked_retired_key_recorded_counts_for_as_long_as_the_store_keeps_it() {
    let own = Own::default();
    let store = MemoryStore::new().with_horizon(Horizon::Secs(2 * LIMIT));
    let (authority, clock) = over(&own, RELOAD, store).await;
    retire(&own, &authority, &clock, 0).await;
    let of = |n: u32| under_the_retired(json!({"sub": format!("u{n}"), "sid": format!("s{n}")}));
    for n in 0..10_000 {
        assert!(authority.sign_out(&of(n)).await.is_ok(), "{n}");
    }
    clock.advance(LIMIT + 61);
    let full = authority.sign_out(&of(10_000)).await;
    assert!(matches!(full, Err(SignOutError::Store(error)) if error.kind() == StoreErrorKind::Full));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_goes_on_naming_a_withdrawn_key_is_read_all_the_same() {
    let own = Own::default();
    let (authority, _) = lazy(&own).await;
    authority.withdraw_key(secret_key(0).kid());
    for _ in 0..2 {
        tokio::time::advance(COOLDOWN).await;
        assert_eq!(refusal(&authority, &token(1, support::NOW)).await, Some(Reason::UnknownKey));
    }
    assert_eq!(own.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_proves_nothing_whether_it_was_retired_before_or_not() {
    for retired_first in [true, false] {
        for by_fingerprint in [true, false] {
            let own = Own::default();
            let (authority, clock) = of(&own, RELOAD).await;
            let key = secret_key(0);
            let name = if by_fingerprint { key.fingerprint() } else { key.kid() };
            if retired_first {
                retire(&own, &authority, &clock, 0).await;
                assert_eq!(refusal(&authority, &token(0, support::NOW)).await, None);
                authority.withdraw_key(name);
            } else {
                own.sign_with(1);
                signs_with(&Keys::from(&authority), &secret_key(1)).await;
                authority.withdraw_key(name);
            }
            assert_eq!(refusal(&authority, &token(0, support::NOW)).await, Some(Reason::UnknownKey));
        }
    }
}

fn under_the_retired(claims: serde_json::Value) -> String {
    let header = json!({"alg": "HS256", "kid": secret_key(0).kid()});
    let key = jsonwebtoken::EncodingKey::from_secret(secret(0).as_bytes());
    support::sign_raw(&header.to_string(), &support::claims_with(claims).to_string(), &key, Algorithm::HS256)
}

/// That its token was revoked by itself says nothing of the session.
#[tokio::test(start_paused = true)]
async fn a_sign_out_under_a_retired_key_ends_the_session_of_a_revoked_token() {
    let own = Own::default();
    let (authority, clock) = of(&own, RELOAD).await;
    let old = under_the_retired(json!({"sid": "S", "jti": "one"}));
    let verified = authority.admit(&old).await.unwrap();
    authority.revoke_token(&verified).await.unwrap();
    retire(&own, &authority, &clock, 0).await;
    let begun = tower_reissue::Clock::now(&clock).as_secs();
    let header = json!({"alg": "HS256", "kid": secret_key(1).kid()});
    let claims =
        json!({"iat": begun, "exp": begun + 600, "session_start": support::NOW, "sid": "S", "jti": "two"});
    let key = jsonwebtoken::EncodingKey::from_secret(secret(1).as_bytes());
    let new = support::sign_raw(
        &header.to_string(),
        &support::claims_with(claims).to_string(),
        &key,
        Algorithm::HS256,
    );
    assert!(authority.admit(&new).await.is_ok());
    authority.sign_out(&old).await.unwrap();
    assert_eq!(authority.admit(&new).await.unwrap_err().reason(), &Reason::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_leaked_retired_key_ends_no_session_that_began_after_it_was_retired() {
    let own = Own::default();
    let (authority, clock) = of(&own, RELOAD).await;
    retire(&own, &authority, &clock, 0).await;
    clock.advance(600);
    let victims = authority.issue(tower_reissue::Login::new("victim")).await.unwrap().into_string();
    for n in 0..1_100 {
        let invented =
            under_the_retired(json!({"sub": "victim", "sid": format!("s{n}"), "jti": format!("j{n}")}));
        authority.sign_out(&invented).await.unwrap();
    }
    assert!(authority.admit(&victims).await.is_ok());
    let again = authority.issue(tower_reissue::Login::new("victim")).await.unwrap().into_string();
    assert!(authority.admit(&again).await.is_ok());
}

/// One session counts once, however often and in parallel it is ended.
#[tokio::test(start_paused = true)]
async fn one_session_ended_again_and_again_leaves_room_for_the_others() {
    let own = Own::default();
    let (authority, clock) = of(&own, RELOAD).await;
    retire(&own, &authority, &clock, 0).await;
    let mine = under_the_retired(json!({"sub": "alice", "sid": "mine"}));
    for _ in 0..10_001 {
        authority.sign_out(&mine).await.unwrap();
    }
    authority.sign_out(&under_the_retired(json!({"sub": "bob", "sid": "bobs"}))).await.unwrap();
}

/// The signature holds, but under the issuer's copy of the key, which may not sign for the own issuer.
#[tokio::test(start_paused = true)]
async fn a_trusted_issuer_that_publishes_the_next_own_key_hides_it_from_no_sign_out() {
    for named_issuer in [true, false] {
        let own = Own::default();
        let clock = ManualClock::at(support::NOW);
        let rotation = KeyRotation::new(own.clone())
            .reload_every(Duration::from_secs(7 * 24 * 3600))
            .cooldown(COOLDOWN)
            .clock(clock.clone())
            .trust("https://evil.example", KeySet::verifying([secret_key(1).into()]));
        let keys = rotation.start().await.unwrap();
        let builder = if named_issuer {
            authority(keys)
        } else {
            Authority::builder(keys)
                .without_issuer()
                .audience(support::AUDIENCE)
                .max_session_lifetime(Duration::from_secs(LIMIT))
        };
        let authority = builder.clock(clock.clone()).store(MemoryStore::new()).build().unwrap();
        own.sign_with(1);
        own.fail(true);
        let under_the_next = token(1, support::NOW);
        assert_eq!(
            refusal(&authority, &under_the_next).await,
            Some(Reason::KeysUnavailable),
            "{named_issuer}"
        );
        own.fail(false);
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!(refusal(&authority, &under_the_next).await, None, "{named_issuer}");
    }
}
