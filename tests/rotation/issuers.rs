//! Trusted issuers that come and go while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tower_reissue::keys::{KeyError, KeyRing, KeySet, KeySource, TrustedIssuer};
use tower_reissue::store::{ClaimsStore, MemoryStore, Presented, Standing, StoreError};
use tower_reissue::{ManualClock, Reason};

use super::*;
use crate::support::{AUDIENCE, ISSUER, NOW, claims_with, forward, sign_raw};

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
    let rival = TrustedIssuer::tenants("https://{tid}.example", ["a"]);
    let again = authority.trust_issuer(rival, foreign(2)).await.unwrap_err();
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
async fn a_ring_that_is_taken_from_a_rotation_knows_its_issuers() {
    let rotation =
        KeyRotation::verify_only().trust(A, foreign(1)).trust("https://b.example", KeySet::verifying([]));
    let ring = KeyRing::clone(&rotation.start().await.unwrap().current());
    for issuer in [A, "https://b.example"] {
        let other = TrustedIssuer::new(issuer).audience("x");
        let again = ring.clone().trust(other, [secret_key(2).into()]).unwrap_err();
        assert!(again.to_string().contains("the same `iss`"), "{again}");
    }
    let clock = ManualClock::at(NOW);
    let authority = Authority::builder(ring).audience(AUDIENCE).clock(clock).build().unwrap();
    let of_a = token(1, A, json!({}));
    assert_eq!(verdict(&authority, &of_a).await, Ok(()));
    assert!(authority.distrust_issuer(A) && authority.distrust_issuer("https://b.example"));
    assert_eq!(verdict(&authority, &of_a).await, Err(Reason::UnknownKey));
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

/// The key is withdrawn by its `kid`, and the issuer publishes it again under another.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_stays_withdrawn_however_its_issuer_is_trusted_again() {
    const X: &str = "https://x.example/t";
    let template = || TrustedIssuer::tenants("https://x.example/{tid}", ["t"]);
    let names: [fn() -> TrustedIssuer; 4] = [
        || TrustedIssuer::new(X),
        || TrustedIssuer::new(X).audience("other"),
        || TrustedIssuer::tenants("https://x.example/{tid}", ["t", "u"]),
        || TrustedIssuer::every_tenant("https://{host}/t"),
    ];
    let of_tenant = token(1, X, json!({"tid": "t", "host": "x.example"}));
    for first in [template(), TrustedIssuer::new(X)] {
        let authority = verifier().await;
        authority.trust_issuer(first.clone(), foreign(1)).await.unwrap();
        assert_eq!(verdict(&authority, &of_tenant).await, Ok(()));
        // By the issuer itself.
        let mut withdrawing = foreign(2);
        withdrawing.withdrawn = vec![secret_key(1).fingerprint().to_owned()];
        authority.trust_issuer(first.clone(), withdrawing).await.unwrap();
        assert!(authority.distrust_issuer(first.name()));
        for again in names {
            authority.trust_issuer(again(), foreign(1)).await.unwrap();
            assert_eq!(verdict(&authority, &of_tenant).await, Err(Reason::UnknownKey), "{first} {}", again());
            assert!(authority.distrust_issuer(again().name()));
        }
        // Another issuer may use the same key.
        authority.trust_issuer(A, foreign(1)).await.unwrap();
        assert_eq!(verdict(&authority, &token(1, A, json!({}))).await, Ok(()));
    }
}

/// It answers until it is told to fail.
#[derive(Clone)]
struct Failing(Arc<AtomicBool>, KeySet);

impl KeySource for Failing {
    fn describe(&self) -> String {
        "a source that fails".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(KeyError::unavailable("it is down")),
            false => Ok(self.1.clone()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_trusted_again_keeps_its_keys_while_its_source_is_down() {
    let authority = verifier().await;
    let fails = Arc::new(AtomicBool::new(false));
    let source = Failing(fails.clone(), foreign(1));
    let tenants = |these: &[&str]| TrustedIssuer::tenants("https://x.example/{tid}", these.iter().copied());
    let of = |tid: &str| token(1, &format!("https://x.example/{tid}"), json!({"tid": tid}));
    authority.trust_issuer(tenants(&["a", "c"]), source.clone()).await.unwrap();
    fails.store(true, Ordering::SeqCst);
    for (trusted, tid, expected) in [
        (vec!["a", "c"], "a", Ok(())),
        (vec!["a", "c"], "b", Err(Reason::WrongIssuer)),
        // One tenant comes and one goes, with the remembered tokens of both.
        (vec!["a", "b"], "a", Ok(())),
        (vec!["a", "b"], "b", Ok(())),
        (vec!["a", "b"], "c", Err(Reason::WrongIssuer)),
    ] {
        authority.trust_issuer(tenants(&trusted), source.clone()).await.unwrap();
        assert_eq!(verdict(&authority, &of(tid)).await, expected, "{trusted:?} {tid}");
    }
    let other_terms = tenants(&["a"]).audience("other");
    authority.trust_issuer(other_terms, source.clone()).await.unwrap();
    assert_eq!(verdict(&authority, &of("a")).await, Err(Reason::WrongAudience));
    // Not for longer than any source may be down.
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(verdict(&authority, &of("a")).await, Err(Reason::KeysUnavailable));
    // What the source says replaces the keys, and a late answer of the one before is nobody's.
    authority.trust_issuer(tenants(&["a"]), foreign(2)).await.unwrap();
    fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(verdict(&authority, &of("a")).await, Err(Reason::BadSignature));
}

/// A JWK set whose one key is replaced when it is told so, and which is fresh for hours.
#[derive(Clone, Default)]
struct Rotating {
    key: Arc<AtomicUsize>,
    kids: bool,
}

impl Rotating {
    fn kid(&self, n: usize) -> Option<String> {
        self.kids.then(|| format!("k{n}"))
    }

    fn token(&self, n: usize, iss: &str) -> String {
        let key = jsonwebtoken::EncodingKey::from_secret(secret(n).as_bytes());
        let header = json!({"alg": "HS256", "kid": self.kid(n), "typ": "JWT"});
        let header = if self.kids { header } else { json!({"alg": "HS256", "typ": "JWT"}) };
        sign_raw(&header.to_string(), &claims_with(json!({"iss": iss})).to_string(), &key, Algorithm::HS256)
    }
}

impl KeySource for Rotating {
    fn describe(&self) -> String {
        "a set that rotates".to_owned()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let n = self.key.load(Ordering::SeqCst);
        let key = secret_key(n).with_kid(self.kid(n).unwrap_or_else(|| "any".to_owned()));
        let mut set = KeySet::verifying([key.into()]);
        set.fresh_for = Some(Duration::from_secs(6 * 3600));
        Ok(set)
    }
}

/// A provider of two names, as Google is, or a hostile issuer that copies another's set: who is asked first after a rotation
/// holds the new key alone.
#[tokio::test(start_paused = true)]
async fn a_key_that_one_issuer_has_first_keeps_no_other_from_loading_it() {
    const B: &str = "https://b.example";
    for (kids, strict) in [(true, false), (true, true), (false, false)] {
        let set = Rotating { kids, ..Rotating::default() };
        let terms = TrustedIssuer::new(A);
        let terms = if strict { terms.access_type("at+jwt").audience("other") } else { terms };
        let keys = KeyRotation::verify_only().trust(terms, set.clone()).trust(B, set.clone());
        let keys = keys.start().await.unwrap();
        let authority =
            Authority::builder(keys).audience(AUDIENCE).clock(ManualClock::at(NOW)).build().unwrap();
        assert_eq!(verdict(&authority, &set.token(0, B)).await, Ok(()), "{kids} {strict}");
        set.key.store(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let first = verdict(&authority, &set.token(1, A)).await;
        assert_eq!(first, if strict { Err(Reason::WrongType) } else { Ok(()) }, "{kids}");
        assert_eq!(verdict(&authority, &set.token(1, B)).await, Ok(()), "{kids} {strict}");
        // A third name is nobody's, whatever signed it.
        let refused = verdict(&authority, &set.token(1, "https://c.example")).await;
        assert_eq!(refused, Err(Reason::UnknownKey), "{kids}");
    }
}

/// Another key at first, and then what the slow source says.
struct SlowLater(AtomicBool, Slow);

impl KeySource for SlowLater {
    fn describe(&self) -> String {
        self.1.describe()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        match self.0.swap(true, Ordering::SeqCst) {
            false => Ok(KeySet::verifying([secret_key(9).into()])),
            true => self.1.load().await,
        }
    }
}

/// A source that replaced another has not answered because the other did.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_replaced_source_is_no_answer() {
    let authority = verifier().await;
    let slow = || {
        let (answers, asked) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        (Slow { answers: answers.clone(), asked: asked.clone(), keys: foreign(1) }, answers, asked)
    };
    let until = async |asked: &AtomicBool| {
        while !asked.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    };
    let judged = || {
        let authority = authority.clone();
        tokio::spawn(async move { verdict(&authority, &token(1, A, json!({}))).await })
    };
    let (first, first_answers, asked) = slow();
    authority.trust_issuer(A, SlowLater(AtomicBool::new(false), first)).await.unwrap();
    tokio::time::advance(Duration::from_secs(31)).await;
    let waiting = judged();
    until(&asked).await;
    let (second, second_answers, asked) = slow();
    let trusting = tokio::spawn({
        let authority = authority.clone();
        async move { authority.trust_issuer(A, second).await }
    });
    until(&asked).await;
    first_answers.notify_one();
    assert_eq!(waiting.await.unwrap(), Err(Reason::KeysUnavailable));
    second_answers.notify_one();
    trusting.await.unwrap().unwrap();
    assert_eq!(judged().await.unwrap(), Ok(()));
}

/// A store whose answer on a standing has to be waited for.
struct Waiting {
    inner: MemoryStore,
    asked: Arc<AtomicBool>,
    answers: Arc<Notify>,
}

impl ClaimsStore for Waiting {
    forward!(inner: rotate, revoke, sessions, horizon, raise_horizon);

    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        self.asked.store(true, Ordering::SeqCst);
        self.answers.notified().await;
        self.inner.standing(presented).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_comes_or_goes_ends_no_other_tenants_request() {
    for (tenants, expected) in
        [(vec!["a", "b"], Ok(())), (vec!["b"], Err(Reason::UnknownKey)), (vec!["a"], Ok(()))]
    {
        let (asked, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let store = Waiting { inner: MemoryStore::new(), asked: asked.clone(), answers: answers.clone() };
        let builder =
            Authority::builder(KeyRotation::verify_only().start().await.unwrap()).audience(AUDIENCE);
        let builder = builder.clock(ManualClock::at(NOW)).max_token_lifetime(Duration::from_secs(600));
        let authority = builder.store_deadline(Duration::from_secs(60)).store(store).build().unwrap();
        let trusted =
            |tenants: &[&str]| TrustedIssuer::tenants("https://x.example/{tid}", tenants.iter().copied());
        authority.trust_issuer(trusted(&["a"]), foreign(1)).await.unwrap();
        let waiting = tokio::spawn({
            let authority = authority.clone();
            let token = token(1, "https://x.example/a", json!({"tid": "a", "session_start": null}));
            async move { verdict(&authority, &token).await }
        });
        while !asked.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        authority.trust_issuer(trusted(&tenants), foreign(1)).await.unwrap();
        answers.notify_one();
        assert_eq!(waiting.await.unwrap(), expected, "{tenants:?}");
    }
}
