//! Stores that settings open: on real servers, and shared by two processes' authorities.

#[path = "../support/postgres.rs"]
mod postgres_server;
#[path = "../support/servers.rs"]
mod servers;

use std::fs;

use tempfile::tempdir;
use tower_reissue::{Authority, Login, Reason};

use self::postgres_server::Postgres;
use self::servers::RedisServer;
use super::{NEEDED, SECRET, toml};

async fn authority(store: &str) -> Authority {
    let text = format!("{NEEDED}\n[key]\nalgorithm = 'HS256'\nvalue = '{SECRET}'\n[store]\n{store}");
    Authority::from_settings(&toml(&text).unwrap()).await.unwrap_or_else(|error| panic!("{store}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_at_one_process_has_ended_at_the_other() {
    let (redis, postgres, dir) =
        (RedisServer::start(&["--requirepass", "a:b/c@d"]), Postgres::start(), tempdir().unwrap());
    let url = dir.path().join("redis_url");
    // A password is escaped in a URL.
    fs::write(&url, redis.url().replace("redis://", "redis://:a%3Ab%2Fc%40d@")).unwrap();
    for (store, is_shared) in [
        (format!("url = {{ file = '{}' }}\nprefix = 'orders'", url.display()), true),
        (format!("url = {{ file = '{}' }}\ncache_for_at_most = '1m'", url.display()), true),
        (format!("url = '{}'\nprefix = 'orders_'\nmax_connections = 3", postgres.url()), true),
        (
            format!("url = '{}'\npassword = 'ignored by trust'\ncache_for_at_most = '1m'", postgres.url()),
            true,
        ),
        (format!("url = 'sqlite:{}'", dir.path().join("sessions.db").display()), true),
        ("url = 'memory:'".to_owned(), false),
    ] {
        let (one, other) = (authority(&store).await, authority(&store).await);
        let token = one.issue(Login::new("alice")).await.unwrap();
        assert!(other.admit(token.as_str()).await.is_ok(), "{store}");
        one.sign_out(token.as_str()).await.unwrap();
        let refused = one.admit(token.as_str()).await.map(drop).unwrap_err();
        assert_eq!(refused.reason(), &Reason::Revoked, "{store}");
        // A cache hears of the revocation; it is not waited for.
        let mut answer = other.admit(token.as_str()).await.map(drop);
        for _ in 0..50 {
            if answer.is_err() || !is_shared {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            answer = other.admit(token.as_str()).await.map(drop);
        }
        let expected = if is_shared { Err(Reason::Revoked) } else { Ok(()) };
        assert_eq!(answer.map_err(|refusal| refusal.reason().clone()), expected, "{store}");
    }
}

/// A replaced key verifies for as long as the tokens of these settings may be of use, whatever their lifetimes.
#[tokio::test]
async fn pairs_and_long_tokens_need_no_further_setting() {
    for more in [
        "[refresh_tokens]\naudience = 'https://login.example/refresh'",
        "lifetime = '10h'\ngrace = '5m'\nleeway = '1m'\n",
        "[refresh_tokens]\naudience = 'https://login.example/refresh'\nlifetime = '90days'",
    ] {
        let key = format!("[key]\nalgorithm = 'HS256'\nvalue = '{SECRET}'\n[store]\nurl = 'memory:'\n");
        let (first, last) = if more.starts_with('[') { (&*key, more) } else { (more, &*key) };
        let settings = toml(&format!("{NEEDED}{first}\n{last}")).unwrap();
        Authority::from_settings(&settings).await.unwrap_or_else(|error| panic!("{more}: {error}"));
    }
}
