//! Trusted issuers that come and go while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tower_reissue::keys::{KeyError, KeySet, KeySource, TrustedIssuer};
use tower_reissue::{ManualClock, Reason};

use super::*;
use crate::support::{AUDIENCE, ISSUER, NOW, claims_with, sign_raw};

const A: &str = "https://a.example";

fn foreign(n: usize) -> KeySet {
    KeySet::verifying([secret_key(n).with_kid("1").into()])
}

fn token(n: usize, iss: &str, mut changes: Value) -> String {
    changes["iss"] = json!(iss);
    let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
    sign_raw(r#"{"alg":"HS256","kid":"1"}"#, &claims_with(changes).to_string(), &key, Algorithm::HS256)
}

async fn verifier() -> Authority {
    let keys = KeyRotation::verify_only().start().await.unwrap();
    Authority::builder(keys).audience(AUDIENCE).clock(ManualClock::at(NOW)).build().unwrap()
}

async fn verdict(authority: &Authority, token: &str) -> Result<(), Reason> {
    authority.admit(token).await.map(drop).map_err(|refusal| refusal.reason().clone())
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_trusted_from_its_call_until_its_removal() {
    let authority = verifier().await;
    let of_a = token(1, A, json!({}));
    assert_eq!(verdict(&authority, &of_a).await, Err(Reason::UnknownKey));
    authority.trust_issuer(A, foreign(1)).await.unwrap();
    assert_eq!(verdict(&authority, &of_a).await, Ok(()));
    let again = authority.trust_issuer(TrustedIssuer::new(A).audience("x"), foreign(2)).await.unwrap_err();
    assert!(again.to_string().contains("the same `iss`"), "{again}");
    assert_eq!(verdict(&authority, &of_a).await, Ok(()));
    assert!(authority.distrust_issuer(A));
    assert!(!authority.distrust_issuer(A));
    assert_eq!(verdict(&authority, &of_a).await, Err(Reason::UnknownKey));
    // Come again with other keys and other terms.
    authority.trust_issuer(TrustedIssuer::new(A).audience("x"), foreign(2)).await.unwrap();
    assert_eq!(verdict(&authority, &of_a).await, Err(Reason::BadSignature));
    assert_eq!(verdict(&authority, &token(2, A, json!({}))).await, Err(Reason::WrongAudience));
    assert_eq!(verdict(&authority, &token(2, A, json!({"aud": "x"}))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_own_issuer_and_what_cannot_be_right_are_refused() {
    let keys = rotation(KeySet::signing(secret_key(0))).start().await.unwrap();
    let authority = authority(keys).build().unwrap();
    for (issuer, says) in [
        (TrustedIssuer::new(ISSUER), "own issuer"),
        (TrustedIssuer::every_tenant("https://{name}.example"), "own issuer"),
        (TrustedIssuer::new(""), "needs a name"),
        (TrustedIssuer::new("https://{name}.example"), "it is a template"),
    ] {
        let refused = authority.trust_issuer(issuer, foreign(1)).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{says}: {refused}");
    }
    let by_hand = support::builder(&ManualClock::at(NOW)).build().unwrap();
    let refused = by_hand.trust_issuer(A, foreign(1)).await.unwrap_err().to_string();
    assert!(refused.contains("`Authority::replace_keys`"), "{refused}");
}

/// Answers when it is let.
struct Slow {
    answers: Arc<Notify>,
    asked: Arc<AtomicBool>,
    keys: KeySet,
}

impl KeySource for Slow {
    fn describe(&self) -> String {
        "slow".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        self.asked.store(true, Ordering::SeqCst);
        self.answers.notified().await;
        Ok(self.keys.clone())
    }
}

/// An answer that comes after the issuer was removed puts nothing in place, also where the issuer has come again.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_removed_issuer_is_nobodys() {
    for comes_again in [false, true] {
        let authority = verifier().await;
        let (answers, asked) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let slow = Slow { answers: answers.clone(), asked: asked.clone(), keys: foreign(1) };
        let trusting = tokio::spawn({
            let authority = authority.clone();
            async move { authority.trust_issuer(A, slow).await }
        });
        while !asked.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert!(authority.distrust_issuer(A));
        if comes_again {
            authority.trust_issuer(A, foreign(2)).await.unwrap();
        }
        answers.notify_one();
        trusting.await.unwrap().unwrap();
        assert!(verdict(&authority, &token(1, A, json!({}))).await.is_err(), "{comes_again}");
        assert_eq!(verdict(&authority, &token(2, A, json!({}))).await.is_ok(), comes_again);
    }
}

/// What an issuer withdrew stays withdrawn when it is removed and comes again.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_stays_out_when_its_issuer_comes_again() {
    let authority = verifier().await;
    let of_a = token(1, A, json!({}));
    authority.trust_issuer(A, foreign(1).withdrawing("1")).await.unwrap();
    assert!(verdict(&authority, &of_a).await.is_err());
    assert!(authority.distrust_issuer(A));
    authority.trust_issuer(A, KeySet::verifying([secret_key(1).with_kid("1").into()])).await.unwrap();
    assert!(verdict(&authority, &of_a).await.is_err());
}

/// The key of a tenant that is not known yet is asked for where the whole provider is trusted, and nowhere else.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_by_the_issuer_that_the_template_means() {
    let authority = verifier().await;
    let issuer = TrustedIssuer::tenants("https://login.example/{tid}/v2.0", ["t1", "t2"]);
    authority.trust_issuer(issuer, Late(AtomicBool::new(false))).await.unwrap();
    tokio::time::advance(Duration::from_secs(31)).await;
    let of = |tenant: &str| token(1, &format!("https://login.example/{tenant}/v2.0"), json!({"tid": tenant}));
    assert_eq!(verdict(&authority, &of("t3")).await, Err(Reason::UnknownKey));
    assert_eq!(verdict(&authority, &of("t2")).await, Ok(()));
    assert_eq!(verdict(&authority, &of("t1")).await, Ok(()));
}

/// Has its key from the second time on.
struct Late(AtomicBool);

impl KeySource for Late {
    fn describe(&self) -> String {
        "late".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let is_first = !self.0.swap(true, Ordering::SeqCst);
        Ok(if is_first { KeySet::verifying([secret_key(9).into()]) } else { foreign(1) })
    }
}

/// A hundred issuers that come and go leave nothing behind that serves.
#[tokio::test(start_paused = true)]
async fn issuers_by_the_hundred_come_and_go() {
    let authority = verifier().await;
    let name = |n: usize| format!("https://{n}.example");
    for n in 0..100 {
        authority.trust_issuer(name(n), foreign(n)).await.unwrap();
    }
    for n in 0..100 {
        let other = (n + 1) % 100;
        assert_eq!(verdict(&authority, &token(n, &name(n), json!({}))).await, Ok(()), "{n}");
        assert!(verdict(&authority, &token(n, &name(other), json!({}))).await.is_err(), "{n}");
    }
    assert!((0..100).all(|n| authority.distrust_issuer(&name(n))));
    for n in 0..100 {
        assert!(verdict(&authority, &token(n, &name(n), json!({}))).await.is_err(), "{n}");
    }
}

/// Fails until it is let.
struct Down(Arc<AtomicBool>);

impl KeySource for Down {
    fn describe(&self) -> String {
        "down".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        if self.0.load(Ordering::SeqCst) { Ok(foreign(1)) } else { Err(KeyError::unavailable("down")) }
    }
}

/// Not a reload interval later: whoever adds an issuer at run time waits for its users to get in.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_when_it_is_added_is_asked_again_within_seconds() {
    for waits in [true, false] {
        let keys =
            KeyRotation::verify_only().reload_every(Duration::from_secs(86_400)).start().await.unwrap();
        let authority = Authority::builder(keys.clone()).audience(AUDIENCE).clock(ManualClock::at(NOW));
        let authority = authority.build().unwrap();
        let is_up = Arc::new(AtomicBool::new(false));
        let trusting = authority.trust_issuer(A, Down(is_up.clone()));
        if waits {
            trusting.await.unwrap();
        } else {
            // Whoever called it has gone: the issuer is trusted all the same.
            assert!(futures_util::FutureExt::now_or_never(trusting).is_none());
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
        is_up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        // Before any request asks for its keys.
        assert_eq!(keys.current().kids().count(), 1, "{waits}");
        assert_eq!(verdict(&authority, &token(1, A, json!({}))).await, Ok(()), "{waits}");
    }
}
