//! A refresh on Redis.

use tower_reissue::Clock as _;
use tower_reissue::store::RedisStore;
use tower_reissue::{Login, ManualClock, Refresh, RefreshTokens, SystemClock};

use crate::servers::RedisServer;
use crate::support::builder;

#[tokio::test]
async fn a_refresh_and_its_repetition_are_two_round_trips_each() {
    let server = RedisServer::start(&[]);
    let clock = ManualClock::at(SystemClock.now().as_secs());
    let store = RedisStore::connect(server.url()).await.unwrap();
    let refresh_tokens = RefreshTokens::new("https://login.example/refresh");
    let authority = builder(&clock).store(store).refresh_tokens(refresh_tokens).build().unwrap();
    let scripts = || server.calls("evalsha") + server.calls("eval");
    let first = authority.issue_pair(Login::new("alice")).await.unwrap();
    // The scripts are loaded from now on.
    let mut last = authority.refresh(Refresh::new(first.refresh.as_str())).await.unwrap();
    for _ in 0..3 {
        let before = scripts();
        let spent = last.refresh.as_str().to_owned();
        last = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        // The subject's list and the session are in different slots of a cluster.
        assert_eq!(scripts() - before, 2);
        let again = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        assert_eq!((scripts() - before, again.refresh.jti()), (4, last.refresh.jti()));
    }
}
