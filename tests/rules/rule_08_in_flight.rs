//! Rules 4 and 8: the evidence of admission is carried to the response, and judged again there by the time alone.

use std::time::Duration;

use tower_reissue::keys::{Algorithm, KeyRing, SigningKey};
use tower_reissue::{AuthorityBuilder, ManualClock};

use crate::support::guarded::*;
use crate::support::*;

/// A token admitted at one second of its life, whose handler answers at another.
fn renewed(with: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder, arrived: u64, answered: u64) -> bool {
    let clock = ManualClock::at(NOW + arrived);
    let later = clock.clone();
    let authority = with(builder(&clock)).build().unwrap();
    let guarded = Guarded::new(&authority).meanwhile(move || later.set(NOW + answered));
    let answer = guarded.bearer(&mint(&claims()));
    assert!(answer.is_admitted(), "{arrived} {answered}: {answer:?}");
    answer.successor.is_some()
}

#[test]
fn a_token_is_due_at_the_time_of_the_response() {
    for (arrived, answered, due) in [
        (0, 0, false),
        (0, 479, false),
        (0, 480, true),
        (479, 480, true),
        (480, 480, true),
        (10, 599, true),
        // It expired while the handler ran.
        (0, 600, true),
        (599, 600, true),
        (599, 630, true),
        (599, 659, true),
        (599, 660, false),
        (0, 100_000, false),
    ] {
        assert_eq!(renewed(|builder| builder, arrived, answered), due, "{arrived} to {answered}");
    }
}

#[test]
fn the_allowance_counts_from_the_end_of_the_leeway_and_is_independent_of_the_grace() {
    let secs = Duration::from_secs;
    for (leeway, grace, allowance, last) in [
        (0, 0, None, 659),
        (10, 60, None, 669),
        (60, 60, None, 719),
        (0, 300, None, 899),
        (10, 300, None, 909),
        (0, 60, Some(120), 719),
        (10, 10, Some(300), 909),
        // Less than the least is the least.
        (0, 60, Some(1), 659),
        (0, 120, Some(60), 719),
    ] {
        let with = |builder: AuthorityBuilder| {
            let builder = builder.leeway(secs(leeway)).grace(secs(grace));
            match allowance {
                Some(allowance) => builder.in_flight_allowance(secs(allowance)),
                None => builder,
            }
        };
        assert!(renewed(with, 599, last), "{leeway} {grace} {allowance:?}: {last}");
        assert!(!renewed(with, 599, last + 1), "{leeway} {grace} {allowance:?}: {}", last + 1);
    }
}

#[test]
fn with_a_store_a_handler_may_take_however_long_it_wants() {
    let with = |builder: AuthorityBuilder| {
        builder.store(CountingStore::default()).in_flight_allowance(Duration::MAX)
    };
    for answered in [600, 5_000, 43_199] {
        assert!(renewed(with, 599, answered), "{answered}");
    }
    // Up to the session limit, which nothing passes.
    assert!(!renewed(with, 599, 43_200));
}

#[test]
fn a_successor_that_is_already_dead_is_not_sent() {
    // Derived, it begins when its predecessor became renewable, at 480, and dies at 1,080.
    let with = |builder: AuthorityBuilder| {
        builder
            .lifetime(Duration::from_secs(200))
            .grace(Duration::from_secs(60))
            .in_flight_allowance(Duration::from_secs(300))
    };
    // Its window is that of the shorter life: 40 s before the end. It begins at 560 and dies at 760.
    assert!(!renewed(with, 599, 559 + 201));
    assert!(renewed(with, 599, 759));
    assert!(!renewed(with, 599, 760));
}

#[test]
fn a_ring_that_is_replaced_in_flight_by_one_that_holds_the_key_harms_nobody() {
    let clock = ManualClock::at(NOW + 500);
    let authority = builder(&clock).build().unwrap();
    let during = authority.clone();
    let next = || SigningKey::from_secret(Algorithm::HS384, SECRET).unwrap().with_kid("next");
    let guarded = Guarded::new(&authority).meanwhile(move || {
        during.replace_keys(KeyRing::new(next()).retiring(key().with_kid("renamed")).unwrap()).unwrap();
    });
    let answer = guarded.bearer(&mint(&claims()));
    assert!(answer.is_admitted());
    assert_eq!(header(&answer.into_successor())["kid"], "next");
}

#[test]
fn what_was_verified_is_renewed_though_it_could_not_be_verified_again() {
    // While the handler runs the token expires, which a second validation would hold against it.
    for store in [false, true] {
        let with = |builder: AuthorityBuilder| {
            if store { builder.store(CountingStore::default()) } else { builder }
        };
        assert!(renewed(with, 599, 608));
    }
}

#[test]
fn any_status_carries_a_successor() {
    use http::{Request, Response, StatusCode};
    use tower::{Layer, ServiceExt, service_fn};
    let clock = ManualClock::at(NOW + 500);
    let layer = tower_reissue::ReissueLayer::new(builder(&clock).build().unwrap());
    for (status, carries) in [
        (200, true),
        (204, true),
        (302, true),
        (400, true),
        (401, true),
        (404, true),
        (500, true),
        (503, true),
        (304, false),
        (101, false),
    ] {
        let service = layer.layer(service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(http_body_util::Empty::<bytes::Bytes>::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, std::convert::Infallible>(response)
        }));
        let bearer = format!("Bearer {}", mint(&claims()));
        let request = request(&[("authorization", bearer.as_bytes())]);
        let response = at_once(service.oneshot(request)).unwrap();
        assert_eq!(response.headers().contains_key("refreshed-api-token"), carries, "{status}");
    }
}
