//! A token names a key that nobody knows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tower_reissue::keys::{KeyError, KeySet, KeySource};
use tower_reissue::{Reason, VerifyingKey};

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
    let mut rotation = KeyRotation::new(KeySet::signing(secret_key(9000)))
        .reload_every(Duration::from_secs(3600))
        .cooldown(COOLDOWN);
    for (n, issuer) in issuers.iter().enumerate() {
        rotation = rotation
            .trust(if n == 0 { FOREIGN.to_owned() } else { format!("{FOREIGN}/{n}") }, issuer.clone());
    }
    guarded(
        authority(rotation.start().await.unwrap())
            .clock(tower_reissue::ManualClock::at(support::NOW))
            .build()
            .unwrap(),
    )
}

/// The foreign issuer's token under its n-th key.
fn token(n: usize) -> String {
    let header = json!({"alg": "HS256", "kid": secret_key(n).kid()}).to_string();
    let claims = support::claims_with(json!({"iss": FOREIGN})).to_string();
    let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
    support::sign_raw(&header, &claims, &key, Algorithm::HS256)
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
async fn one_issuer_that_fails_does_not_hide_the_new_key_of_another() {
    let (works, fails) = (Issuer::default(), Issuer::default());
    fails.0.fails.store(true, Ordering::SeqCst);
    let service = service(&[works.clone(), fails]).await;
    works.0.key.store(1, Ordering::SeqCst);
    assert_eq!(status(&service, &token(1)).await, StatusCode::OK);
    assert_eq!(status(&service, &token(2)).await, StatusCode::SERVICE_UNAVAILABLE);
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
    assert_eq!(status(&service, &token(1)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(Reason::UnknownKey.label(), "unknown_key");
}
