//! Rules 8 and 11: when a token is renewable: `max(20 % of l, 30 s)`, at most `l/2`, less a jitter that only shrinks.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tower_reissue::ManualClock;

use crate::support::guarded::*;
use crate::support::*;

/// The length of a token's renewal window, found by asking at every second of its last half and a little more.
fn window(own_lifetime: u64, configured: u64, jitter: u8, jti: &str) -> u64 {
    let clock = ManualClock::at(NOW);
    let authority = builder(&clock)
        .lifetime(Duration::from_secs(configured))
        .grace(Duration::ZERO)
        .jitter_percent(jitter)
        .dangerous()
        .unbounded_sessions()
        .build()
        .unwrap();
    let guarded = Guarded::new(&authority);
    let token = mint(&claims_with(json!({"exp": NOW + own_lifetime, "jti": jti})));
    let due = |left: u64| {
        clock.set(NOW + own_lifetime - left);
        guarded.bearer(&token).successor.is_some()
    };
    // A bisection is enough where the verdict is monotonous; that it is, is asked at both sides of what it finds.
    let (mut inside, mut outside) = (1, own_lifetime);
    if !due(inside) {
        return 0;
    }
    while outside - inside > 1 {
        let middle = (inside + outside) / 2;
        if due(middle) { inside = middle } else { outside = middle }
    }
    assert!((1..=inside).step_by(7).all(due) && !(outside..=own_lifetime).step_by(13).any(due));
    inside
}

#[test]
fn the_window_is_a_fifth_of_the_life_at_least_30_seconds_and_at_most_half_of_it() {
    for (own, configured, expected) in [
        (4, 600, 2),
        (5, 600, 2),
        (20, 600, 10),
        (59, 600, 29),
        (60, 600, 30),
        (61, 600, 30),
        (100, 600, 30),
        (150, 600, 30),
        (154, 600, 30),
        (155, 600, 31),
        (200, 600, 40),
        (599, 600, 119),
        (600, 600, 120),
        // The shorter of its own life and the configured one counts.
        (601, 600, 120),
        (6_000, 600, 120),
        (86_400, 600, 120),
        (600, 100, 30),
        (600, 10, 5),
        (600, 3_600, 120),
        (3_600, 3_600, 720),
    ] {
        assert_eq!(window(own, configured, 0, "j"), expected, "{own} s under {configured} s");
    }
}

#[test]
fn a_window_of_one_second_is_one() {
    // Of two or three seconds of life the last one; a successor is never due at birth.
    for own in [2, 3] {
        assert_eq!(window(own, 600, 0, "j"), 1, "{own}");
    }
}

#[test]
fn jitter_shrinks_the_window_by_a_tenth_at_most_and_never_widens_it() {
    let windows: Vec<u64> = (0..150).map(|n| window(600, 600, 10, &format!("token-{n}"))).collect();
    assert!(windows.iter().all(|window| (108..=120).contains(window)), "{windows:?}");
    let distinct: HashSet<_> = windows.iter().collect();
    assert!(distinct.len() >= 11, "spread over its whole range: {distinct:?}");
    let half: HashSet<_> = (0..60).map(|n| window(600, 600, 50, &format!("token-{n}"))).collect();
    assert!(half.iter().all(|window| (60..=120).contains(window)), "{half:?}");
    assert!(half.len() >= 25);
    // It is the token's, not the node's or the moment's.
    assert_eq!(window(600, 600, 10, "token-1"), window(600, 600, 10, "token-1"));
}
