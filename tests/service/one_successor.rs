//! Rule 11: one successor, however many ask for it and wherever.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::keys::{Algorithm, SigningKey};
use tower_reissue::{
    Authority, AuthorityBuilder, Login, ManualClock, MemoryStore, NumericDate, ReissueLayer,
};

use crate::kit::*;
use crate::support::*;

/// A clock that moves with every few readings, from the instant of renewal on: no two nodes read quite the same.
fn running_clock() -> impl Fn() -> NumericDate + Send + Sync + 'static {
    let readings = AtomicU64::new(0);
    move || NumericDate::from_secs(NOW + 480 + readings.fetch_add(1, Ordering::SeqCst) / 50 % 100)
}

fn node(key: SigningKey, clock: ManualClock) -> AuthorityBuilder {
    Authority::builder(key)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .max_session_lifetime(Duration::from_secs(12 * 3600))
        .clock(clock)
}

/// `n` requests with one token, spawned over the nodes in turn; what each was given.
async fn presented(nodes: &[Authority], token: &str, n: usize) -> Vec<String> {
    let calls: Vec<_> = (0..n)
        .map(|i| {
            let service = ReissueLayer::new(nodes[i % nodes.len()].clone()).layer(service_fn(handler));
            tokio::spawn(service.oneshot(request(token)))
        })
        .collect();
    let mut given = Vec::with_capacity(n);
    for call in calls {
        let response = call.await.unwrap().unwrap();
        given.push(successor(&response).expect("a successor for everybody"));
    }
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_over_two_stateless_nodes_get_one_successor() {
    for (algorithm, n, deterministic) in [
        (Algorithm::HS256, 1_000, true),
        (Algorithm::RS256, 60, true),
        (Algorithm::EdDSA, 1_000, true),
        (Algorithm::ES256, 1_000, false),
        (Algorithm::PS256, 60, false),
    ] {
        // Built twice from the same material, as two processes would.
        let load = || key_for(algorithm);
        let first = node(load(), ManualClock::at(NOW)).build().unwrap();
        let token = first.issue(Login::new("alice")).await.unwrap().into_string();
        // Somewhere in the window the jitter leaves, the two clocks a few seconds apart.
        let nodes = [555, 558].map(|at| node(load(), ManualClock::at(NOW + at)).build().unwrap());
        let given = presented(&nodes, &token, n).await;
        let claims: HashSet<_> = given.iter().map(|token| payload_text(token)).collect();
        assert_eq!(claims.len(), 1, "{algorithm:?}");
        if deterministic {
            assert_eq!(given.iter().collect::<HashSet<_>>().len(), 1, "{algorithm:?}: equal bytes");
        }
        for token in given.iter().step_by(given.len() / 7) {
            assert_eq!(nodes[0].admit(token).await.unwrap().subject(), Some("alice"), "{algorithm:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_over_two_nodes_that_share_a_store_get_the_recorded_one() {
    let store = Arc::new(MemoryStore::new());
    let build = |clock: ManualClock| builder(&clock).store(Arc::clone(&store));
    let token = build(ManualClock::at(NOW)).build().unwrap().issue(Login::new("alice")).await.unwrap();
    let clock = Arc::new(running_clock());
    let nodes = [0, 1].map(|_| {
        let clock = Arc::clone(&clock);
        build(ManualClock::at(0)).clock(move || clock()).build().unwrap()
    });
    let given = presented(&nodes, token.as_str(), 1_000).await;
    let claims: HashSet<_> = given.iter().map(|token| payload_text(token)).collect();
    assert_eq!(claims.len(), 1, "the proposals differed, the recorded one is given to all");
    let sessions = nodes[0].sessions("alice", tower_reissue::store::Page::default()).await.unwrap().sessions;
    assert_eq!(sessions.len(), 1);
    assert!(claims.contains(&*sessions[0].claims));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_exchanges_in_grace_get_one_successor_too() {
    let token = mint(&claims());
    let shared = Arc::new(MemoryStore::new());
    for store in [None, Some(shared)] {
        let nodes = [630, 633].map(|at| {
            let mut node = builder(&ManualClock::at(NOW + at));
            if let Some(store) = &store {
                node = node.store(Arc::clone(store));
            }
            node.build().unwrap()
        });
        let given = presented(&nodes, &token, 200).await;
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 1);
    }
}

#[tokio::test]
async fn nodes_whose_policy_differs_during_a_deployment_agree_on_the_jti() {
    let token = mint(&claims());
    let old = builder(&ManualClock::at(NOW + 590)).build().unwrap();
    let new = builder(&ManualClock::at(NOW + 590)).lifetime(Duration::from_secs(900)).build().unwrap();
    let [old, new] = [
        payload(&successor(&present(&old, &token).await).unwrap()),
        payload(&successor(&present(&new, &token).await).unwrap()),
    ];
    assert_eq!(old["jti"], new["jti"]);
    assert_ne!(old["exp"], new["exp"]);
}

#[tokio::test]
async fn a_late_renewal_a_grace_exchange_and_an_early_one_yield_the_same_stateless_successor() {
    let token = mint(&claims());
    let mut given = HashSet::new();
    for at in [480, 500, 599, 600, 659] {
        given.insert(successor(&present(&stateless(at).0, &token).await).expect("a successor"));
    }
    assert_eq!(given.len(), 1);
}

#[tokio::test]
async fn after_a_lost_response_the_predecessor_is_given_the_head() {
    let (authority, clock, events) = storing(500, MemoryStore::new());
    let token = mint(&claims());
    let lost = successor(&present(&authority, &token).await).unwrap();
    for (at, status) in [(560, 200), (599, 200), (630, 401), (659, 401)] {
        clock.set(NOW + at);
        let response = present(&authority, &token).await;
        assert_status(&response, status);
        assert_eq!(successor(&response), Some(lost.clone()), "at {at}");
    }
    assert!(!events.take().iter().any(|event| event.starts_with("reused")));
}
