//! Code of the application's own may panic: it changes no verdict, skips no protection, and the request is answered.

use serde::Deserialize;
use serde_json::json;
use tower_reissue::store::{Horizon, Presented, Standing, StoreErrorKind, StoreHorizon};
use tower_reissue::{ClaimsStore, MemoryStore, ReissueLayer, Source};

use crate::kit::*;
use crate::support::*;

#[tokio::test]
async fn an_observer_that_panics_changes_nothing() {
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock)
        .store(MemoryStore::new())
        .end_session_on_reuse()
        .on_event(|_| panic!("an observer"))
        .build()
        .unwrap();
    assert_status(&present(&authority, "forged").await, 401);
    // A token that was superseded two generations ago ends its session, whoever is told of it.
    let first = authority.issue(tower_reissue::Login::new("alice")).await.unwrap().into_string();
    let mut newest = first.clone();
    for step in 1..=2 {
        clock.set(NOW + 500 * step);
        newest = successor(&present(&authority, &newest).await).expect("it is due");
    }
    clock.set(NOW + 1_000);
    assert_status(&present(&authority, &first).await, 401);
    assert_status(&present(&authority, &newest).await, 401);
    let token = authority.issue(tower_reissue::Login::new("alice")).await.unwrap();
    assert_status(&present(&authority, token.as_str()).await, 200);
    authority.sign_out(token.as_str()).await.unwrap();
    assert_status(&present(&authority, token.as_str()).await, 401);
}

#[tokio::test]
async fn a_predicate_that_panics_renews_nothing_and_harms_no_response() {
    let clock = tower_reissue::ManualClock::at(NOW + 500);
    let events = Events::default();
    let authority =
        builder(&clock).renew_if(|_| panic!("a predicate")).on_event(events.observe()).build().unwrap();
    let response = present(&authority, &mint(&claims())).await;
    assert_status(&response, 200);
    assert_eq!(successor(&response), None);
    assert!(events.take().contains(&"not_reissued hook_panicked".to_owned()));
    clock.set(NOW + 610);
    let response = present(&authority, &mint(&claims())).await;
    assert_status(&response, 401);
    assert_eq!(successor(&response), None);
}

#[tokio::test]
async fn a_confirmation_that_panics_confirms_nothing() {
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).confirm_with(|_, _| panic!("a confirmation")).build().unwrap();
    assert_status(&present(&authority, &mint(&claims_with(json!({ "cnf": { "jkt": "x" } })))).await, 401);
    assert_status(&present(&authority, &mint(&claims())).await, 200);
}

#[tokio::test]
async fn a_source_that_panics_has_found_no_token() {
    let events = Events::default();
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).store(MemoryStore::new()).on_event(events.observe()).build().unwrap();
    let sources = || [Source::custom(|_| panic!("a source")), Source::authorization()];
    let told = ["hook_panicked Source::custom", "refused malformed_credential"];
    let layer = ReissueLayer::new(authority.clone()).read_from(sources());
    assert_status(&through(&layer, request(&mint(&claims())), ok()).await, 400);
    assert_eq!(events.take(), told);
    let endpoint = tower_reissue::RevokeEndpoint::new(authority).unwrap().read_from(sources());
    let mut request = request(&mint(&claims()));
    *request.method_mut() = http::Method::POST;
    let response = tower::ServiceExt::oneshot(endpoint, request.map(|()| String::new())).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(events.take(), told);
}

#[tokio::test]
async fn where_a_refusals_response_panics_the_default_one_answers() {
    let (authority, _) = stateless(0);
    let layer = ReissueLayer::new(authority).refuse_with(
        |_: &tower_reissue::Refusal, _: &tower_reissue::RequestHead<'_>| -> http::Response<bytes::Bytes> {
            panic!("a response")
        },
    );
    let response = through(&layer, bare(), ok()).await;
    assert_status(&response, 401);
    assert_eq!(header(&response, "www-authenticate"), Some(r#"Bearer realm="api""#));
}

#[tokio::test]
async fn private_claims_that_panic_over_a_token_refuse_it() {
    #[derive(Debug)]
    struct Fragile;
    impl<'de> Deserialize<'de> for Fragile {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a type")
        }
    }
    let clock = tower_reissue::ManualClock::at(NOW);
    let authority = builder(&clock).private_claims::<Fragile>().build().unwrap();
    let refusal = authority.admit(&mint(&claims())).await.unwrap_err();
    assert_eq!(refusal.claim(), Some("private claims"));
    assert_eq!(refusal.expected(), Some(std::any::type_name::<Fragile>()));
    let issued = authority.issue(tower_reissue::Login::new("alice")).await;
    assert!(matches!(issued, Err(tower_reissue::IssueError::Unreadable(_))), "{issued:?}");
}

/// Every call of it that is not waited for panics where it is told to; the others answer.
struct Hasty {
    store: MemoryStore,
    panics_in: &'static str,
}

impl Hasty {
    fn may_panic(&self, call: &str) {
        assert!(self.panics_in != call, "{call}");
    }
}

impl ClaimsStore for Hasty {
    forward!(store: standing, rotate, revoke, sessions, horizon, raise_horizon);

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        self.may_panic("standing_now");
        self.store.standing_now(presented)
    }

    fn epoch(&self) -> Option<u64> {
        self.may_panic("epoch");
        self.store.epoch()
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.may_panic("horizon_now");
        self.store.horizon_now(need)
    }
}

#[tokio::test]
async fn a_store_that_panics_where_it_is_asked_at_once_is_waited_for() {
    for panics_in in ["standing_now", "epoch", "horizon_now"] {
        let (authority, ..) = storing(500, Hasty { store: MemoryStore::new(), panics_in });
        let token = mint(&claims());
        for _ in 0..2 {
            let response = present(&authority, &token).await;
            assert_status(&response, 200);
            assert!(successor(&response).is_some(), "{panics_in}");
        }
        authority.sign_out(&token).await.unwrap();
        assert_status(&present(&authority, &token).await, 401);
    }
}

#[tokio::test]
async fn a_store_that_panics_is_an_outage() {
    let scripted = Scripted {
        rotate: Box::new(|_| panic!("a store")),
        ..Scripted::new(Reply::Now(Standing::Live), Reply::Fail(StoreErrorKind::Unavailable))
    };
    let (authority, _, events) = storing(500, scripted);
    let response = present(&authority, &mint(&claims())).await;
    assert_status(&response, 200);
    let told = ["hook_panicked store", "store_failed Unavailable", "not_reissued store_failed"];
    assert_eq!(events.take(), told);
}
