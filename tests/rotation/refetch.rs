//! A token names a key that nobody knows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tower::Service as _;
use tower_reissue::keys::{KeyError, KeyRing, KeySet, KeySource};
use tower_reissue::{
    Login, ManualClock, MemoryStore, Reason, Refresh, RefreshError, RefreshTokens, VerifyingKey,
};

use super::*;

const FOREIGN: &str = "https://partner.example";
const COOLDOWN: Duration = Duration::from_secs(30);

/// An issuer that counts how often it is asked, and is as slow or as broken as it is told.
#[derive(Clone, Default)]
struct Issuer(Arc<State>);

#[derive(Default)]
struct State {
    asked: AtomicUsize,
    key: AtomicUsize,
    takes_ms: AtomicUsize,
    fails: AtomicBool,
}

impl Issuer {
    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for Issuer {
    fn describe(&self) -> String {
        "an issuer".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.0.takes_ms.load(Ordering::SeqCst) as u64)).await;
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(KeyError::unavailable("it is down"));
        }
        Ok(KeySet::verifying([VerifyingKey::from(secret_key(self.0.key.load(Ordering::SeqCst)))]))
    }
}

async fn service(issuers: &[Issuer]) -> Guarded {
    guarded(trusting(issuers).await)
}

async fn trusting(issuers: &[Issuer]) -> Authority {
    let own = KeySet::signing(secret_key(9000).with_kid("own"));
    let mut rotation = KeyRotation::new(own).reload_every(Duration::from_secs(3600)).cooldown(COOLDOWN);
    for (n, issuer) in issuers.iter().enumerate() {
        rotation = rotation.trust(format!("{FOREIGN}/{n}"), issuer.clone());
    }
    let keys = rotation.start().await.unwrap();
    authority(keys).clock(tower_reissue::ManualClock::at(support::NOW)).build().unwrap()
}

/// The first foreign issuer's token under its n-th key.
fn token(n: usize) -> String {
    token_of(0, n)
}

fn token_of(issuer: usize, n: usize) -> String {
    named(&format!("{FOREIGN}/{issuer}"), secret_key(n).kid(), n)
}

fn named(issuer: &str, kid: &str, n: usize) -> String {
    let header = json!({"alg": "HS256", "kid": kid}).to_string();
    let claims = support::claims_with(json!({"iss": issuer})).to_string();
    let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
    support::sign_raw(&header, &claims, &key, Algorithm::HS256)
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_has_verified_holds_no_place_in_the_service() {
    let issuer = Issuer::default();
    let authority = trusting(std::slice::from_ref(&issuer)).await;
    issuer.0.takes_ms.store(500, Ordering::SeqCst);
    issuer.0.key.store(1, Ordering::SeqCst);
    let handler =
        service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) });
    let mut service = ReissueLayer::new(authority).layer(tower::limit::ConcurrencyLimit::new(handler, 1));
    let request = |token: String| {
        Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
    };
    let began = Instant::now();
    let unverified = tokio::spawn(service.ready().await.unwrap().call(request(token(1))));
    tokio::task::yield_now().await;
    let own = named(support::ISSUER, "own", 9000);
    let own = tokio::time::timeout(Duration::from_millis(1), async {
        service.ready().await.unwrap().call(request(own)).await.unwrap()
    });
    assert_eq!(own.await.expect("the one place is free").status(), 200);
    // Its key came, and then it waits for a place as everybody does.
    assert_eq!(unverified.await.unwrap().unwrap().status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(500));
}

/// What is known of a token is old when its request has waited for a place.
#[tokio::test(start_paused = true)]
async fn who_waited_for_a_place_is_judged_once_more() {
    for what in ["nothing", "withdrawn", "expired", "signed out"] {
        let issuer = Issuer::default();
        let own = KeySet::signing(secret_key(9000).with_kid("own"));
        let rotation = KeyRotation::new(own).reload_every(Duration::from_secs(3600)).cooldown(COOLDOWN);
        let keys = rotation.trust(format!("{FOREIGN}/0"), issuer.clone()).start().await.unwrap();
        let clock = tower_reissue::ManualClock::at(support::NOW);
        let store = tower_reissue::MemoryStore::new();
        let authority = authority(keys).clock(clock.clone()).store(store).build().unwrap();
        issuer.0.takes_ms.store(500, Ordering::SeqCst);
        issuer.0.key.store(1, Ordering::SeqCst);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        let handler = service_fn(move |request: Request<()>| {
            let count = count.clone();
            async move {
                match request.uri().path() {
                    "/slow" => tokio::time::sleep(Duration::from_secs(100)).await,
                    _ => drop(count.fetch_add(1, Ordering::SeqCst)),
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
            }
        });
        let layer = ReissueLayer::new(authority.clone());
        let mut service = layer.layer(tower::limit::ConcurrencyLimit::new(handler, 1));
        let request = |path: &str, token: String| {
            let bearer = format!("Bearer {token}");
            Request::builder().uri(path).header("authorization", bearer).body(()).unwrap()
        };
        let waiting = tokio::spawn(service.ready().await.unwrap().call(request("/", token(1))));
        tokio::task::yield_now().await;
        let own = named(support::ISSUER, "own", 9000);
        let slow = tokio::spawn(service.ready().await.unwrap().call(request("/slow", own)));
        // Its key came, it was admitted, and the one place is taken.
        tokio::time::sleep(Duration::from_secs(2)).await;
        match what {
            "withdrawn" => assert!(authority.withdraw_key(secret_key(1).kid())),
            "expired" => clock.advance(100_000),
            "signed out" => {
                let token = authority.admit(&token(1)).await.unwrap();
                authority.revoke_session(&token).await.unwrap();
            }
            _ => {}
        }
        assert!(slow.await.unwrap().is_ok());
        let (status, runs) = match what {
            "nothing" => (StatusCode::OK, 1),
            _ => (StatusCode::UNAUTHORIZED, 0),
        };
        assert_eq!(waiting.await.unwrap().unwrap().status(), status, "{what}");
        assert_eq!(ran.load(Ordering::SeqCst), runs, "{what}");
        // Refused or done, it holds the place no longer.
        let own = named(support::ISSUER, "own", 9000);
        let after = tokio::time::timeout(Duration::from_secs(1), async {
            service.ready().await.unwrap().call(request("/", own)).await.unwrap()
        });
        let expected = if what == "expired" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(after.await.expect("the one place is free").status(), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_of_the_issuer_is_found_while_the_request_waits() {
    let issuer = Issuer::default();
    let service = service(std::slice::from_ref(&issuer)).await;
    assert_eq!(status(&service, &token(0)).await, StatusCode::OK);
    issuer.0.key.store(1, Ordering::SeqCst);
    issuer.0.takes_ms.store(500, Ordering::SeqCst);
    assert_eq!(status(&service, &token(1)).await, StatusCode::OK);
    assert_eq!(issuer.asked(), 2);
    // The key that the issuer took back is gone, and nobody is asked about it.
    assert_eq!(status(&service, &token(0)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_with_unknown_kids_cause_one_load_per_cooldown() {
    let issuer = Issuer::default();
    issuer.0.takes_ms.store(50, Ordering::SeqCst);
    let service = service(std::slice::from_ref(&issuer)).await;
    assert_eq!(issuer.asked(), 1);
    for round in 2..5 {
        // 250 at once, four times over the cooldown.
        for _ in 0..4 {
            let answers = join_all((0..250).map(|n| {
                let service = service.clone();
                async move { status(&service, &token(1000 + n)).await }
            }));
            assert!(answers.await.iter().all(|status| *status == StatusCode::UNAUTHORIZED));
            tokio::time::advance(COOLDOWN / 5).await;
        }
        assert_eq!(issuer.asked(), round);
        tokio::time::advance(COOLDOWN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_is_a_503_after_a_second_and_is_asked_once() {
    let issuer = Issuer::default();
    let service = service(std::slice::from_ref(&issuer)).await;
    issuer.0.takes_ms.store(5_000, Ordering::SeqCst);
    issuer.0.key.store(1, Ordering::SeqCst);
    let before = Instant::now();
    let response = answer(&service, &token(1)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let waited = before.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_millis(1_100)).contains(&waited), "{waited:?}");
    // A known key waits for nobody.
    let before = Instant::now();
    assert_eq!(status(&service, &token(0)).await, StatusCode::OK);
    assert_eq!(before.elapsed(), Duration::ZERO);
    // Nobody broke the load off: once it is done, the key is there.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(status(&service, &token(1)).await, StatusCode::OK);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_issuer_is_a_503_within_the_cooldown_too_and_its_known_keys_serve_on() {
    let issuer = Issuer::default();
    let service = service(std::slice::from_ref(&issuer)).await;
    issuer.0.fails.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(status(&service, &token(1)).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&service, &token(0)).await, StatusCode::OK);
    }
    assert_eq!(issuer.asked(), 2);
    issuer.0.fails.store(false, Ordering::SeqCst);
    tokio::time::advance(COOLDOWN).await;
    assert_eq!(status(&service, &token(1)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn only_the_issuer_that_a_token_claims_is_asked_and_only_its_failure_is_a_503() {
    let (works, fails) = (Issuer::default(), Issuer::default());
    fails.0.fails.store(true, Ordering::SeqCst);
    let service = service(&[works.clone(), fails.clone()]).await;
    let asked = || (works.asked(), fails.asked());
    works.0.key.store(1, Ordering::SeqCst);
    assert_eq!(status(&service, &token_of(0, 1)).await, StatusCode::OK);
    assert_eq!(asked(), (2, 1));
    assert_eq!(status(&service, &token_of(0, 2)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(asked(), (2, 1));
    for _ in 0..3 {
        assert_eq!(status(&service, &token_of(1, 2)).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(asked(), (2, 2));
    }
    // The cooldown of the one is not the other's.
    tokio::time::advance(COOLDOWN).await;
    assert_eq!(status(&service, &token_of(1, 2)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked(), (2, 3));
    assert_eq!(status(&service, &token_of(0, 2)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(asked(), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_kids_of_two_issuers_are_one_load_of_each_per_cooldown() {
    let issuers = [Issuer::default(), Issuer::default()];
    issuers[1].0.fails.store(true, Ordering::SeqCst);
    let service = service(&issuers).await;
    for round in 2..5 {
        for issuer in &issuers {
            issuer.0.takes_ms.store(50, Ordering::SeqCst);
        }
        let answers = join_all((0..1000).map(|n| {
            let service = service.clone();
            async move { (n % 2, status(&service, &token_of(n % 2, 1000 + n)).await) }
        }));
        let mut waited = [0, 0];
        for (issuer, status) in answers.await {
            // 256 of each issuer's 500 may wait; what is more is turned away.
            let answered = issuer == 0 && status == StatusCode::UNAUTHORIZED;
            waited[issuer] += usize::from(answered || issuer == 1);
            assert!(answered || status == StatusCode::SERVICE_UNAVAILABLE, "{status} of issuer {issuer}");
        }
        assert_eq!(waited, [256, 500]);
        assert_eq!(issuers.each_ref().map(Issuer::asked), [round, round]);
        tokio::time::advance(COOLDOWN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_nobody_trusts_is_not_asked_and_lets_nobody_be_asked() {
    let issuer = Issuer::default();
    let service = service(std::slice::from_ref(&issuer)).await;
    for stranger in ["https://stranger.example", FOREIGN, "", support::ISSUER] {
        assert_eq!(status(&service, &named(stranger, "new", 1)).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kid_that_another_issuer_uses_too_hides_no_outage() {
    let issuer = Issuer::default();
    issuer.0.fails.store(true, Ordering::SeqCst);
    let service = service(std::slice::from_ref(&issuer)).await;
    let token = named(&format!("{FOREIGN}/0"), "own", 0);
    assert_eq!(status(&service, &token).await, StatusCode::SERVICE_UNAVAILABLE);
    issuer.0.fails.store(false, Ordering::SeqCst);
    tokio::time::advance(COOLDOWN).await;
    // Its key is known now, under a name of its own.
    assert_eq!(status(&service, &token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&service, &token_of(0, 0)).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn outside_the_layer_a_token_waits_for_the_refetch_as_in_it() {
    let issuer = Issuer::default();
    let authority = trusting(std::slice::from_ref(&issuer)).await;
    let refused = |token: String| {
        let authority = authority.clone();
        async move { authority.admit(&token).await.unwrap_err().reason().clone() }
    };
    assert_eq!(authority.admit(&token(0)).await.unwrap().subject(), Some("alice"));
    issuer.0.key.store(1, Ordering::SeqCst);
    issuer.0.takes_ms.store(500, Ordering::SeqCst);
    assert_eq!(authority.admit(&token(1)).await.unwrap().subject(), Some("alice"));
    assert_eq!(refused(token(2)).await, Reason::UnknownKey);
    assert_eq!(issuer.asked(), 2);

    tokio::time::advance(COOLDOWN).await;
    issuer.0.takes_ms.store(5_000, Ordering::SeqCst);
    let before = Instant::now();
    assert_eq!(refused(token(2)).await, Reason::KeysUnavailable);
    assert!(before.elapsed() < Duration::from_millis(1_100), "{:?}", before.elapsed());
    tokio::time::sleep(COOLDOWN).await;
    issuer.0.fails.store(true, Ordering::SeqCst);
    issuer.0.takes_ms.store(0, Ordering::SeqCst);
    assert_eq!(refused(token(2)).await, Reason::KeysUnavailable);
    assert_eq!(issuer.asked(), 4);
}

/// Holds keys 0 and 1, and says of one load alone, a slow one, that key 1 is withdrawn.
#[derive(Clone, Default)]
struct Forgetful(Arc<AtomicUsize>);

impl KeySource for Forgetful {
    fn describe(&self) -> String {
        "a forgetful issuer".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let set = KeySet::verifying([0, 1].map(|n| VerifyingKey::from(secret_key(n))));
        if self.0.fetch_add(1, Ordering::SeqCst) != 1 {
            return Ok(set);
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        Ok(set.withdrawing(secret_key(1).kid()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_takes_effect_though_the_issuer_is_asked_again_meanwhile() {
    let issuer = Forgetful::default();
    let keys = KeyRotation::new(KeySet::signing(secret_key(9000)))
        .trust(format!("{FOREIGN}/0"), issuer.clone())
        .start()
        .await
        .unwrap();
    let service =
        guarded(authority(keys).clock(tower_reissue::ManualClock::at(support::NOW)).build().unwrap());
    assert_eq!(status(&service, &token(1)).await, StatusCode::OK);
    // The round after 10 s begins the slow load.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(issuer.0.load(Ordering::SeqCst), 2);
    assert_eq!(status(&service, &token(7)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(issuer.0.load(Ordering::SeqCst), 2, "two loads of one source at once");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(issuer.0.load(Ordering::SeqCst), 3);
    assert_eq!(status(&service, &token(1)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&service, &token(0)).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_the_start_is_asked_again() {
    let issuer = Issuer::default();
    issuer.0.fails.store(true, Ordering::SeqCst);
    let service = service(std::slice::from_ref(&issuer)).await;
    assert_eq!(status(&service, &token(0)).await, StatusCode::SERVICE_UNAVAILABLE);
    issuer.0.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(status(&service, &token(0)).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn more_waiters_than_are_allowed_are_a_503_at_once() {
    let issuer = Issuer::default();
    let service = service(std::slice::from_ref(&issuer)).await;
    issuer.0.takes_ms.store(500, Ordering::SeqCst);
    let answers = join_all((0..300).map(|n| {
        let service = service.clone();
        async move {
            let before = Instant::now();
            (status(&service, &token(1000 + n)).await, before.elapsed())
        }
    }))
    .await;
    let turned_away = answers.iter().filter(|(status, _)| *status == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(turned_away.clone().count(), 300 - 256);
    assert!(turned_away.clone().all(|(_, waited)| *waited == Duration::ZERO));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_foreign_issuers_an_unknown_kid_is_refused_at_once() {
    let service = service(&[]).await;
    let answer = answer(&service, &token(1)).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.extensions().get::<tower_reissue::Refusal>().unwrap().reason(), &Reason::UnknownKey);
}

/// The own source, which signs with its n-th key.
#[derive(Clone, Default)]
struct Own(Arc<AtomicUsize>);

impl KeySource for Own {
    fn describe(&self) -> String {
        "the own source".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        Ok(KeySet::signing(secret_key(self.0.load(Ordering::SeqCst))))
    }
}

/// A stranger may have had the own source read just before its key was rotated.
#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_was_issued_since_the_own_source_was_read_is_not_refused_for_good() {
    let own = Own::default();
    let clock = ManualClock::at(support::NOW);
    let store = Arc::new(MemoryStore::new());
    let rotation = KeyRotation::new(own.clone()).reload_every(Duration::from_secs(3_600)).cooldown(COOLDOWN);
    let rotation = rotation.clock(clock.clone());
    let node = |keys| {
        let pairs = RefreshTokens::new("https://login.example/refresh").lifetime(Duration::from_secs(3_000));
        authority(keys).clock(clock.clone()).store(store.clone()).refresh_tokens(pairs).build().unwrap()
    };
    let behind = node(rotation.start().await.unwrap());
    let refresh = async |token: &str| match behind.refresh(Refresh::new(token)).await {
        Ok(_) => None,
        Err(RefreshError::Refused(refusal)) => Some(refusal.reason().clone()),
        Err(error) => panic!("{error}"),
    };
    let early = node(KeyRing::from(secret_key(2)).into()).issue_pair(Login::new("alice")).await.unwrap();
    let pass = async |secs: u64| {
        tokio::time::advance(Duration::from_secs(secs)).await;
        clock.advance(secs);
    };
    pass(10).await;
    assert_eq!(refresh(early.refresh.as_str()).await, Some(Reason::UnknownKey), "the source was read for it");
    pass(1).await;
    own.0.store(1, Ordering::SeqCst);
    let pair = node(KeyRing::from(secret_key(1)).into()).issue_pair(Login::new("alice")).await.unwrap();
    assert_eq!(refresh(pair.refresh.as_str()).await, Some(Reason::KeysUnavailable));
    assert_eq!(refresh(early.refresh.as_str()).await, Some(Reason::UnknownKey), "older than the reading");
    pass(29).await;
    assert_eq!(refresh(pair.refresh.as_str()).await, None);
    // Nor where the source was read for it: this node's copy of the source may be late.
    pass(31).await;
    let next = node(KeyRing::from(secret_key(3)).into()).issue_pair(Login::new("alice")).await.unwrap();
    pass(4).await;
    assert_eq!(refresh(next.refresh.as_str()).await, Some(Reason::KeysUnavailable));
    pass(31).await;
    assert_eq!(refresh(next.refresh.as_str()).await, Some(Reason::UnknownKey), "it never comes");
}
