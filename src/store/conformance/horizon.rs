//! Promises about the horizon: who sets it, who raises it, and what is kept for it.

use super::scene::{Login, horizon, revoke_as, standing, subject_before, token};
use crate::store::{ClaimsStore, Horizon, Presented, Raise, Retention, Revocation, Standing, TokenId};
use crate::time::NumericDate;

/// Whatever a later authority needs: it gets the store's horizon and decides itself.
pub async fn the_first_need_sets_the_horizon_and_no_later_one_changes_it<S: ClaimsStore>(store: &S) {
    let first = horizon(store, Horizon::Secs(1)).await;
    for need in [Horizon::Secs(0), Horizon::Secs(u64::from(u32::MAX)), Horizon::Unbounded] {
        assert_eq!(horizon(store, need).await, first, "the horizon, after {need} were needed");
        if let Some(at_once) = store.horizon_now(need) {
            assert_eq!(at_once, first, "the horizon, without waiting");
        }
    }
}

/// The raise is recorded with the old horizon and an instant no earlier than the caller's. A horizon that is not
/// larger changes nothing.
pub async fn a_horizon_is_raised_with_its_instant_and_never_lowered<S: ClaimsStore>(store: &S) {
    let now = Login::new().now;
    let before = horizon(store, Horizon::Secs(1)).await;
    // Nothing is larger.
    let Horizon::Secs(from) = before.current else { return };
    for to in [Horizon::Secs(from), Horizon::Secs(0)] {
        raise(store, to, now).await;
        assert_eq!(horizon(store, Horizon::Secs(1)).await, before, "a horizon of {from} s raised to {to}");
    }
    raise(store, Horizon::Secs(from + 7), now).await;
    let after = horizon(store, Horizon::Secs(1)).await;
    assert_eq!(after.current, Horizon::Secs(from + 7), "a horizon raised");
    let Some(&Raise { at, from: recorded }) = after.raises.last() else {
        panic!("the raise is not recorded")
    };
    assert_eq!(recorded, from, "the old horizon, with the raise");
    assert!(at >= now, "the raise is dated {at}, and was made at {now}");
}

/// To the last second of [`Retention::kept_until`], whichever of its instants is the latest.
pub async fn a_revocation_is_kept_for_the_horizon_from_the_latest_of_its_instants<S: ClaimsStore>(store: &S) {
    horizon(store, Horizon::Secs(1)).await;
    is_kept(store, &[0, 40, 90_000]).await;
}

/// By the handle that raised it, and by one that knew the old horizon.
pub async fn after_a_raise_every_revocation_is_kept_for_the_new_horizon<S: ClaimsStore>(store: &S) {
    let Horizon::Secs(from) = horizon(store, Horizon::Secs(1)).await.current else { return };
    raise(store, Horizon::Secs(from + 600), Login::new().now).await;
    is_kept(store, &[0]).await;
}

/// Revokes with tokens of sessions that begin this much later than the revoker's clock, and looks until the end.
async fn is_kept<S: ClaimsStore>(store: &S, ahead: &[u64]) {
    type Kind = fn(&Login, TokenId) -> Revocation;
    let kinds: [(&str, Kind); 3] = [
        ("token", |login, token| Revocation::Token { session: login.session, token }),
        ("session", |login, _| Revocation::Session(login.session)),
        ("subject", |login, _| subject_before(login.subject, login.now.after(90_000))),
    ];
    let current = horizon(store, Horizon::Secs(1)).await.current;
    for &ahead in ahead {
        for (what, kind) in kinds {
            let login = Login::new();
            let (token, start) = (token(), login.now.after(ahead));
            let subject = Some(login.subject);
            let retention = Retention::new(login.now, 5, 30).of(subject, start);
            revoke_as(store, kind(&login, token), retention).await;
            let until = retention.kept_until(login.now, Some(current));
            for now in [login.now, start, until.before(1)] {
                let presented = Presented::new(login.session, token, subject, start, now);
                assert_eq!(
                    standing(store, &presented).await,
                    Standing::Revoked,
                    "a {what} revoked with a session that begins {ahead} s ahead, {} s before its end",
                    until.since(now)
                );
            }
        }
    }
}

async fn raise<S: ClaimsStore>(store: &S, to: Horizon, now: NumericDate) {
    if let Err(error) = store.raise_horizon(to, now).await {
        panic!("raise_horizon failed: {error} ({:?})", error.kind());
    }
}
