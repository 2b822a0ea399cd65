//! A refresh on Redis.

use tower_reissue::Clock as _;
use tower_reissue::store::{RedisStore, conformance};
use tower_reissue::{Login, ManualClock, Refresh, RefreshTokens, SystemClock};

use crate::servers::RedisServer;
use crate::support::builder;

/// The scripts that a refresh and its repetition call, each in a round trip of its own.
async fn scripts_of_a_refresh(server: &RedisServer) -> [u64; 2] {
    let clock = ManualClock::at(SystemClock.now().as_secs());
    let store = RedisStore::connect(server.url()).await.unwrap();
    let refresh_tokens = RefreshTokens::new("https://login.example/refresh");
    let authority = builder(&clock).store(store).refresh_tokens(refresh_tokens).build().unwrap();
    let scripts = || server.calls("evalsha") + server.calls("eval");
    let first = authority.issue_pair(Login::new("alice")).await.unwrap();
    // The scripts are loaded from now on.
    let mut last = authority.refresh(Refresh::new(first.refresh.as_str())).await.unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let before = scripts();
        let spent = last.refresh.as_str().to_owned();
        last = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        let refreshed = scripts();
        let again = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        assert_eq!(again.refresh.jti(), last.refresh.jti());
        counts.push([refreshed - before, scripts() - refreshed]);
    }
    counts.dedup();
    assert_eq!(counts.len(), 1, "{counts:?}");
    counts[0]
}

#[tokio::test]
async fn a_refresh_and_its_repetition_are_one_round_trip_each() {
    assert_eq!(scripts_of_a_refresh(&RedisServer::start(&[])).await, [1, 1]);
}

/// Such a node, and what stands before a cluster as if it were one server, runs no script of two slots.
#[tokio::test]
async fn a_node_of_a_cluster_is_asked_slot_by_slot() {
    let node = RedisServer::start(&["--cluster-enabled", "yes"]);
    assert!(node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).starts_with("+OK"));
    while !node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scripts_of_a_refresh(&node).await, [2, 2]);
    conformance::all(&RedisStore::connect(node.url()).await.unwrap()).await;
}
