//! Rule 13: a key that left the ring admits and renews nothing from that moment, requests in flight included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tower_reissue::store::{Rotated, Standing};
use tower_reissue::{Algorithm, KeyRing, ManualClock, SigningKey, VerifyingKey};

use crate::kit::*;
use crate::support::*;

#[tokio::test]
async fn a_key_withdrawn_while_the_store_was_waited_for_admits_and_exchanges_nothing() {
    for (at, asked) in [(0, true), (630, true), (630, false)] {
        let gate = Arc::new(Semaphore::new(0));
        let store = match asked {
            true => Scripted::new(Reply::After(gate.clone(), Standing::Live), Reply::Now(Rotated::Recorded)),
            false => Scripted::rotating(Reply::After(gate.clone(), Rotated::Recorded)),
        };
        let (authority, ..) = storing(at, store);
        let (node, token) = (authority.clone(), mint(&claims()));
        let call = tokio::spawn(async move { present(&node, &token).await });
        tokio::task::yield_now().await;
        authority.replace_keys(SigningKey::generate(Algorithm::HS256).unwrap()).unwrap();
        gate.add_permits(1);
        let response = call.await.unwrap();
        assert_status(&response, 401);
        assert_eq!(successor(&response), None);
    }
}

#[tokio::test]
async fn a_key_withdrawn_while_the_store_was_waited_for_signs_nothing_for_its_tokens() {
    let store = Arc::new(Gated::default());
    let (authority, _, events) = storing(500, Arc::clone(&store));
    store.before.close();
    let (node, token) = (authority.clone(), mint(&claims()));
    let call = tokio::spawn(async move { present(&node, &token).await });
    tokio::task::yield_now().await;
    let fresh = || SigningKey::generate(Algorithm::HS256).unwrap();
    authority.replace_keys(fresh()).unwrap();
    store.before.open();
    let response = call.await.unwrap();
    assert_status(&response, 200);
    assert_eq!(successor(&response), None);
    assert_eq!(events.take(), ["keys_replaced", "not_reissued key_withdrawn"]);
    // A retiring key renews, under the new one.
    let ring = KeyRing::new(fresh());
    let old = VerifyingKey::from_secret(Algorithm::HS256, SECRET).unwrap();
    authority.replace_keys(ring.retiring(old).unwrap()).unwrap();
    assert!(successor(&present(&authority, &mint(&claims())).await).is_some());
}

/// Rule 14: it is asked again once a successor is recorded.
#[tokio::test]
async fn a_predicate_that_declines_while_the_store_records_wins() {
    for (at, status, event) in [(500, 200, None), (630, 401, Some("refused expired"))] {
        let allows = Arc::new(AtomicBool::new(true));
        let (asked, changed) = (allows.clone(), allows);
        let store = Scripted {
            rotate: Box::new(move |_| {
                changed.store(false, Ordering::SeqCst);
                Reply::Now(Rotated::Recorded)
            }),
            ..Scripted::rotating(Reply::Never)
        };
        let events = Events::default();
        let authority = builder(&ManualClock::at(NOW + at))
            .store(store)
            .renew_if(move |_| asked.load(Ordering::SeqCst))
            .on_event(events.observe())
            .build()
            .unwrap();
        let response = present(&authority, &mint(&claims())).await;
        assert_status(&response, status);
        assert_eq!(successor(&response), None);
        let expected: Vec<_> = ["not_reissued declined"].into_iter().chain(event).collect();
        assert_eq!(events.take(), expected);
    }
}
