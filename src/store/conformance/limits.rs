//! Promises about what one subject may take.

use super::scene::{Login, claims, join, revoke_as, rotate, token, tokens};
use crate::store::{ClaimsStore, Retention, Revocation, Rotated, Rotation, Standing, SubjectLimit, TokenId};
use crate::time::Clock as _;
use crate::time::SystemClock;

/// The oldest on record ends, whether the newest is signed in or recorded by its first renewal. Its tokens are
/// revoked, and it is not listed. Other subjects' sessions do not change.
pub async fn of_more_sessions_than_allowed_the_oldest_ends<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(3);
    for by_renewal in [false, true] {
        let first = Login::new();
        let stranger = Login { subject: super::scene::subject(), ..first.another(0) };
        let theirs = token();
        open(store, &stranger, theirs, limit, false).await;
        // The order of recording is not the order of age.
        let logins = [first, first.another(4), first.another(2), first.another(3), first.another(5)];
        let heads = tokens::<5>();
        for (login, head) in logins.iter().zip(heads) {
            open(store, login, head, limit, by_renewal).await;
        }
        let live = [false, true, false, true, true];
        for ((login, head), live) in logins.iter().zip(heads).zip(live) {
            let expected = if live { Standing::Live } else { Standing::Revoked };
            let age = login.start.since(first.start);
            assert_eq!(
                login.standing(store, head).await,
                expected,
                "a session begun {age} s after the first"
            );
            assert_eq!(login.head(store).await.is_some(), live, "whether it is listed");
        }
        // Nothing ends for a renewal.
        let next = token();
        assert_eq!(renew(store, &logins[1], heads[1], next, limit).await, Rotated::Recorded, "a renewal");
        assert_eq!(logins[3].standing(store, heads[3]).await, Standing::Live, "after another's renewal");
        assert_eq!(stranger.standing(store, theirs).await, Standing::Live, "another subject's session");
    }
}

/// The limit holds in whatever order sessions are opened. One that is opened later can be older: by the first renewal of a
/// token minted elsewhere, or on a node whose clock is behind. The one just opened is left, and the newest of the others.
pub async fn the_limit_holds_in_whatever_order_sessions_are_opened<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(3);
    let orders = [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [3, 6, 0, 5, 1, 4, 2], [0; 7]];
    for (begun, by_renewal) in orders.into_iter().flat_map(|begun| [(begun, false), (begun, true)]) {
        let first = Login::new();
        let mut opened = Vec::new();
        let mut left = Vec::new();
        for secs in begun {
            let (login, head) = (first.another(secs), token());
            open(store, &login, head, limit, by_renewal).await;
            opened.push((login, head));
            // The oldest of the others.
            if left.len() == limit.live {
                left.remove(0);
            }
            left.push(login.start);
            left.sort();
            let listed = first.listed(store).await;
            let mut starts = listed.iter().map(|record| record.1).collect::<Vec<_>>();
            starts.sort();
            assert_eq!(
                starts,
                left,
                "the starts of those left after {} of {begun:?}, by renewals: {by_renewal}",
                opened.len()
            );
            assert!(listed.iter().any(|record| record.0 == login.session), "the one just opened is listed");
        }
        // Not before: what was live may be remembered for a while.
        let listed = first.listed(store).await;
        for (login, head) in opened {
            let is_listed = listed.iter().any(|record| record.0 == login.session);
            let expected = if is_listed { Standing::Live } else { Standing::Revoked };
            assert_eq!(
                login.standing(store, head).await,
                expected,
                "of {begun:?}, by renewals: {by_renewal}, a session that is listed: {is_listed}"
            );
        }
    }
}

/// Sign-ins at once do not end each other: as many sessions are left as are allowed. A store may leave more until the next
/// sign-in, which ends them.
pub async fn of_sign_ins_at_once_as_many_are_left_as_are_allowed<S: ClaimsStore>(store: &S) {
    for live in [1, 2] {
        let limit = SubjectLimit::new(live);
        // In one second, so that only their ids order them, or each older or younger than the one before.
        let orders = [[1, 1, 1], [2, 1, 0], [0, 1, 2]];
        for (round, begun) in orders.into_iter().cycle().take(24).enumerate() {
            let first = Login::new();
            let opened = begun.map(|secs| (first.another(secs), token()));
            let sign_ins = opened.iter().map(|(login, head)| {
                let retention = Retention::new(login.now, 0, 3600).limited_to(limit);
                let sign_in = Rotation::sign_in(login.presents(*head), claims(*head), login.until);
                rotate(store, sign_in.limited_by(retention))
            });
            for rotated in join(sign_ins.collect()).await {
                // One can have been ended by another before it was recorded.
                assert!(matches!(rotated, Rotated::Recorded | Rotated::Revoked), "a sign-in: {rotated:?}");
            }
            let mut left = 0;
            for (login, head) in &opened {
                left += usize::from(login.standing(store, *head).await == Standing::Live);
            }
            assert!(
                left >= live,
                "round {round}: of 3 sign-ins at once {left} are left, and {live} are allowed"
            );
            let (next, head) = (first.another(1), token());
            open(store, &next, head, limit, false).await;
            assert_eq!(next.standing(store, head).await, Standing::Live, "the next sign-in");
            assert_eq!(
                first.listed(store).await.len(),
                live,
                "round {round}: sessions after the next sign-in"
            );
        }
    }
}

/// A session that "all others" has ended is live no more, though it is on record and began later than the one spared.
pub async fn a_session_that_is_revoked_displaces_none_that_is_live<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(3);
    for count in 4..=6 {
        let spared = Login::new();
        let mut opened = Vec::new();
        for (n, later) in [0, 1, 2, 20, 30, 40].into_iter().enumerate().take(count) {
            let login = if n == 0 { spared } else { spared.another(later) };
            let head = token();
            open(store, &login, head, limit, false).await;
            opened.push((login, head));
            if n == 2 {
                let (instant, except) = (spared.start.after(10), Some(spared.session));
                let others = Revocation::SubjectBefore { subject: spared.subject, instant, except };
                revoke_as(store, others, Retention::new(spared.now, 0, 3600)).await;
            }
        }
        // The first gives way to the last of all, which is the fourth that is live.
        let live = [count < 6, false, false, true, true, true];
        for ((login, head), live) in opened.iter().zip(live) {
            let expected = if live { Standing::Live } else { Standing::Revoked };
            let age = login.start.since(spared.start);
            assert_eq!(
                login.standing(store, *head).await,
                expected,
                "a session begun {age} s after the first, of {count}"
            );
        }
    }
}

/// However many sessions a subject begins and ends, each stays revoked, though not each is remembered.
pub async fn signing_in_and_out_without_end_forgets_no_revocation<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(2);
    let first = Login::new();
    let mut ended = Vec::new();
    for n in 0..50 {
        // As a sign-in begins a session: now.
        let login = first.another(n).at(first.start.after(n));
        let token = token();
        open(store, &login, token, limit, false).await;
        let retention = Retention::new(login.now, 0, 3600).of(Some(login.subject), login.start);
        revoke_as(store, Revocation::Session(login.session), retention.limited_to(limit)).await;
        ended.push((login, token));
    }
    for (login, token) in &ended {
        let login = login.at(first.start.after(50));
        let age = login.start.since(first.start);
        assert_eq!(login.standing(store, *token).await, Standing::Revoked, "signed out, begun after {age} s");
        assert_eq!(
            login.renew(store, *token, self::token()).await,
            Rotated::Revoked,
            "the rotation of one signed out, begun after {age} s"
        );
    }
    let live = first.another(60).at(first.start.after(60));
    let token = token();
    open(store, &live, token, limit, false).await;
    assert_eq!(live.standing(store, token).await, Standing::Live, "a sign-in after fifty of them");
}

/// A session that ended counts from the latest start that a token of it can have, which is ahead of the clock. A
/// sign-in that would be older than such sessions gets the instant after which it may begin, and is live then.
pub async fn a_session_that_was_just_opened_is_never_the_one_forgotten<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(1);
    let first = Login::new();
    for n in 0..40 {
        // Two in each second.
        let now = first.start.after(n / 2);
        let mut login = first.another(n / 2).at(now);
        let token = token();
        for _ in 0..4 {
            let retention = Retention::new(now, 5, 3600).limited_to(limit);
            let sign_in = Rotation::sign_in(login.presents(token), claims(token), login.until);
            match rotate(store, sign_in.limited_by(retention)).await {
                Rotated::Recorded => break,
                Rotated::Predated { revoked_until } => {
                    login = Login { start: revoked_until.after(1), ..first.another(0) }.at(now);
                }
                other => panic!("the sign-in number {n}: {other:?}"),
            }
        }
        let ahead = login.start.since(now);
        assert_eq!(login.standing(store, token).await, Standing::Live, "sign-in {n}, dated {ahead} s ahead");
        assert!(ahead <= 10, "sign-in {n} is dated {ahead} s ahead");
    }
}

/// A sign-in that is answered `Predated` is tried again with a later start, in the same session and with the same token. Its record is
/// that of the last try, whatever the first one left behind. A store that forgets no session has nothing to do.
pub async fn a_sign_in_that_begins_again_later_is_on_record_as_it_was_last<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(1);
    let first = Login::new();
    for n in 0..24 {
        // Four in each second.
        let now = first.start.after(n / 4);
        let (mut login, token) = (first.another(n / 4).at(now), token());
        let mut claims = String::new();
        for time in 0..8 {
            claims = format!("{{\"time\":{time}}}");
            let retention = Retention::new(now, 5, 3600).limited_to(limit);
            let sign_in = Rotation::sign_in(login.presents(token), &*claims, login.until);
            match rotate(store, sign_in.limited_by(retention)).await {
                Rotated::Recorded => break,
                Rotated::Predated { revoked_until } => login.start = revoked_until.after(1),
                other => panic!("the sign-in number {n}, repeated {time} times: {other:?}"),
            }
        }
        assert_eq!(login.standing(store, token).await, Standing::Live, "the sign-in number {n}");
        let listed = login.listed(store).await.into_iter().find(|record| record.0 == login.session);
        let listed = listed.map(|(_, start, _, claims)| (start, claims));
        assert_eq!(listed, Some((login.start, claims)), "start and claims of the sign-in number {n}");
    }
}

/// Tokens of two subjects may name one session. It belongs to the subject it was recorded for: however many sessions the
/// other one begins, it neither ends for them nor comes back if it has ended.
pub async fn a_session_is_its_subjects_whoever_else_names_it<S: ClaimsStore>(store: &S) {
    let limit = SubjectLimit::new(1);
    for is_revoked in [true, false] {
        let owner = Login::new();
        let other = Login { subject: super::scene::subject(), ..owner };
        let head = token();
        open(store, &owner, head, limit, true).await;
        assert_eq!(
            renew(store, &other, token(), token(), limit).await,
            Rotated::NotInChain,
            "the renewal of a token of another subject's session"
        );
        if is_revoked {
            let retention = Retention::new(owner.now, 0, 3600).of(Some(owner.subject), owner.start);
            revoke_as(store, Revocation::Session(owner.session), retention.limited_to(limit)).await;
        }
        for n in 1..=30 {
            let begun = other.now.after(20 * n);
            let theirs = Login { start: begun, ..other.another(0) }.at(begun);
            open(store, &theirs, token(), limit, false).await;
        }
        let expected = if is_revoked { Standing::Revoked } else { Standing::Live };
        assert_eq!(
            owner.at(owner.now.after(600)).standing(store, head).await,
            expected,
            "after 30 sign-ins of another subject"
        );
    }
}

/// A session that ended counts from the latest start that a token of it can have, even if its end was not limited: what
/// makes room covers it only from then on.
pub async fn a_session_that_ended_is_not_forgotten_by_its_old_start<S: ClaimsStore>(store: &S) {
    for (has_ended, by_token) in [(false, false), (true, false), (true, true)] {
        forget_others(store, has_ended, by_token).await;
    }
}

/// A token that began later than its session's record keeps its revocation when that record makes room: the cutoff that
/// replaces the record covers only sessions up to the record's start.
pub async fn a_revoked_token_outlives_the_record_of_its_session<S: ClaimsStore>(store: &S) {
    // Of a session that goes on with an older token, and of one whose recorded tokens have expired by every clock.
    for is_expired in [false, true] {
        let first = Login::new();
        let (first, until) = match is_expired {
            false => (first, first.until),
            true => {
                let start = SystemClock.now().before(1000);
                (Login { start, ..first.at(start.after(1)) }, start.after(60))
            }
        };
        let limit = SubjectLimit { live: 10, remembered: 3 };
        let revoked = token();
        let later = Login { start: first.start.after(100), ..first }.at(first.start.after(200));
        let of_later = Retention::new(later.now, 0, 3600).of(Some(later.subject), later.start);
        let revocation = Revocation::Token { session: later.session, token: revoked };
        let older = Login { until, ..first };
        if is_expired {
            assert_eq!(renew(store, &older, token(), token(), limit).await, Rotated::Recorded, "a renewal");
            revoke_as(store, revocation, of_later).await;
        } else {
            revoke_as(store, revocation, of_later).await;
            assert_eq!(renew(store, &older, token(), token(), limit).await, Rotated::Recorded, "a renewal");
        }
        for n in 1..=5 {
            let next = Login { start: first.start.after(10 * n), ..later.another(0) };
            open(store, &next, token(), limit, false).await;
            assert_eq!(
                later.standing(store, revoked).await,
                Standing::Revoked,
                "a revoked token, after {n} sign-ins; its session's record had expired: {is_expired}"
            );
        }
    }
}

async fn forget_others<S: ClaimsStore>(store: &S, has_ended: bool, by_token: bool) {
    let first = Login::new();
    open(store, &first, token(), SubjectLimit::new(1), true).await;
    let of_first = Retention::new(first.now, 5, 7200).of(Some(first.subject), first.start);
    if has_ended {
        // For longer than the next revocation demands.
        revoke_as(store, Revocation::Session(first.session), of_first).await;
    }
    // Another token of it begins later.
    let begun = first.start.after(100);
    let later = Login { start: begun, ..first }.at(begun);
    let presented = token();
    let revocation = match by_token {
        true => Revocation::Token { session: later.session, token: presented },
        false => Revocation::Session(later.session),
    };
    revoke_as(store, revocation, Retention::new(begun, 5, 3600).of(Some(later.subject), begun)).await;
    let limit = SubjectLimit::new(3);
    for n in 1..=40 {
        let login = later.another(20 * n).at(begun.after(20 * n));
        open(store, &login, token(), limit, false).await;
        let retention = Retention::new(login.now, 5, 3600).of(Some(login.subject), login.start);
        revoke_as(store, Revocation::Session(login.session), retention.limited_to(limit)).await;
        assert_eq!(
            later.at(login.now).standing(store, presented).await,
            Standing::Revoked,
            "a token of the session that ended, after {n} sessions more; before: {has_ended}, by token: {by_token}"
        );
    }
}

async fn open<S: ClaimsStore>(
    store: &S,
    login: &Login,
    head: TokenId,
    limit: SubjectLimit,
    by_renewal: bool,
) {
    let opened = match by_renewal {
        true => renew(store, login, token(), head, limit).await,
        false => {
            let retention = Retention::new(login.now, 0, 3600).limited_to(limit);
            let sign_in = Rotation::sign_in(login.presents(head), claims(head), login.until);
            rotate(store, sign_in.limited_by(retention)).await
        }
    };
    assert_eq!(opened, Rotated::Recorded, "a new session, by a renewal: {by_renewal}");
}

async fn renew<S: ClaimsStore>(
    store: &S,
    login: &Login,
    token: TokenId,
    successor: TokenId,
    limit: SubjectLimit,
) -> Rotated {
    let retention = Retention::new(login.now, 0, 3600).limited_to(limit);
    let renewal = Rotation::renewal(login.presents(token), successor, claims(successor), login.until);
    rotate(store, renewal.limited_by(retention)).await
}
