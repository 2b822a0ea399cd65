//! A token has exactly one successor, on every store, whoever asks at once and whoever dies meanwhile:
//!
//! ```text
//! cargo test --test one_successor --features full
//! ```
//!
//! * `parallel`: 1,000 rotations of one token at once, over four openings of the store.
//! * `twins`: 1,000 requests at once with the two texts of one ES256 token, through two nodes' layers.
//! * `refreshes`: 500 refreshes at once with one refresh token, through two nodes.
//! * `processes`: four processes on one store, none killed, and one killed (SIGKILL) in the middle of what it was at.
//!   Every call is noted with the instants of its beginning and its answer, and a checker looks for an order of all
//!   calls, no call before one that had been answered when it began, in which a store that does one thing at a time
//!   would have given the same answers. A call whose process was killed may have been done, or not.
//!
//! That is a smoke run. `TOWER_REISSUE_ROUNDS` (default 5) is how many rounds of each, on each store, and
//! `TOWER_REISSUE_KILLS` (default 10) how many processes are killed with a call under way; add `--test-threads=1
//! --nocapture` to a long run, which then tells what it did. Servers are started by the tests themselves: they need
//! `redis-server` and PostgreSQL's programs.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/postgres.rs"]
mod postgres_server;
#[path = "../support/servers.rs"]
mod servers;

mod driver;
mod history;
mod parallel;
mod places;
mod processes;
mod refreshes;
mod twins;

/// One test of this name on each of the stores.
macro_rules! on_each_store {
    ($scene:path => $name:ident: $($store:ident),*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $store() {
                $scene(crate::places::Ground::$store()).await;
            })*
        }
    };
}

on_each_store!(crate::parallel::rotations => of_a_thousand_parallel_rotations_one_is_recorded_and_all_are_given_it:
    memory, sqlite, postgres, redis, redis_cluster);
on_each_store!(crate::twins::requests => a_token_and_its_signatures_twin_get_one_successor:
    memory, sqlite, postgres, redis, redis_cluster);
on_each_store!(crate::refreshes::parallel => of_parallel_refreshes_each_gets_the_same_refresh_token:
    memory, sqlite, postgres, redis, redis_cluster);
on_each_store!(crate::processes::four => of_four_processes_one_records_and_all_are_given_it:
    sqlite, postgres, redis, redis_cluster);
on_each_store!(crate::processes::killed => a_killed_process_loses_and_doubles_nothing:
    sqlite, postgres, redis, redis_cluster);

fn rounds() -> u64 {
    from_env("TOWER_REISSUE_ROUNDS", 5)
}

fn kills() -> u64 {
    from_env("TOWER_REISSUE_KILLS", 10)
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}
