//! Promises about what is read: the sessions listed, the answer without waiting, the epoch.

use super::scene::{Login, claims, revoke, rotate, standing, subject, subject_before, token, tokens};
use crate::store::{ClaimsStore, Page, Presented, Revocation, Rotated, Rotation};

/// With each session's start, the instant its head was recorded, and the head's claims.
pub async fn sessions_lists_the_live_sessions_of_one_subject_only<S: ClaimsStore>(store: &S) {
    let phone = Login::new();
    assert!(phone.listed(store).await.is_empty(), "a subject without sessions has some");
    let laptop = Login { now: phone.now.after(7), ..phone.another(3) };
    let stranger = Login { subject: subject(), ..phone.another(0) };
    let anonymous = phone.another(0);
    let [on_phone, next_on_phone, on_laptop, elsewhere] = tokens();
    phone.chain(store, &[on_phone]).await;
    laptop.chain(store, &[on_laptop]).await;
    stranger.chain(store, &[elsewhere]).await;
    let nobody = Presented { subject: None, ..anonymous.presents(elsewhere) };
    let nobody = Rotation::sign_in(nobody, claims(elsewhere), phone.until);
    assert_eq!(rotate(store, nobody).await, Rotated::Recorded, "a sign-in without a subject");
    let renewed = phone.at(phone.now.after(9));
    assert_eq!(renewed.renew(store, on_phone, next_on_phone).await, Rotated::Recorded, "the phone's renewal");

    let record = |login: &Login, renewed, token| (login.session, login.start, renewed, claims(token));
    let mut expected =
        vec![record(&phone, renewed.now, next_on_phone), record(&laptop, laptop.now, on_laptop)];
    expected.sort();
    assert_eq!(renewed.listed(store).await, expected, "two sessions of one subject");

    revoke(store, Revocation::Session(laptop.session), laptop.now, laptop.until).await;
    assert_eq!(
        renewed.listed(store).await,
        [record(&phone, renewed.now, next_on_phone)],
        "one of two sessions revoked"
    );
    assert!(phone.at(phone.until).listed(store).await.is_empty(), "an expired session is listed");
    assert_eq!(stranger.listed(store).await.len(), 1, "another subject's sessions");
}

/// For every page size. Sessions of one second are ordered by their ids. A session that ended meanwhile is not
/// listed, and no other is skipped because of it.
pub async fn sessions_are_listed_in_pages_each_once_the_newest_first<S: ClaimsStore>(store: &S) {
    let first = Login::new();
    let mut logins = [0, 3, 3, 3, 7, 3, 1, 9].map(|later| first.another(later)).to_vec();
    for login in &logins {
        login.chain(store, &[token()]).await;
    }
    logins.sort_by_key(|login| std::cmp::Reverse((login.start, login.session)));
    for ended in [None, Some(3), Some(0)] {
        if let Some(ended) = ended {
            let login = logins.remove(ended);
            revoke(store, Revocation::Session(login.session), login.now, login.until).await;
        }
        for limit in [1, 2, 3, 100] {
            let (mut listed, mut page) = (Vec::new(), Page::first(limit));
            loop {
                let read = match store.sessions(first.subject, first.now, page).await {
                    Ok(read) => read,
                    Err(error) => panic!("sessions failed: {error} ({:?})", error.kind()),
                };
                assert!(read.sessions.len() <= limit, "{} on a page of {limit}", read.sessions.len());
                listed.extend(read.sessions.iter().map(|record| record.session));
                let Some(next) = read.next else { break };
                assert!(page.after.is_none_or(|after| next < after), "the listing does not come to an end");
                page = page.after(next);
            }
            let expected = logins.iter().map(|login| login.session).collect::<Vec<_>>();
            assert_eq!(listed, expected, "in pages of {limit}, after {ended:?} ended");
        }
    }
}

/// [`ClaimsStore::standing_now`] is `None` or equals [`ClaimsStore::standing`].
pub async fn an_answer_without_waiting_is_the_same_answer<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, revoked, stranger] = tokens();
    login.chain(store, &[first, second, third]).await;
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    for token in [first, second, third, revoked, stranger] {
        let presented = login.presents(token);
        // Twice, for the first may have been what a cache was waiting for.
        for _ in 0..2 {
            let at_once = store.standing_now(&presented);
            let waited = standing(store, &presented).await;
            if let Some(at_once) = at_once {
                assert_eq!(at_once, waited, "the standing answered without waiting");
            }
        }
    }
}

/// After any revocation a remembered live standing is read again: [`ClaimsStore::epoch`], if it is `Some`, has
/// changed when the revocation returns.
pub async fn the_epoch_moves_with_every_revocation<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revocations = [
        Revocation::Token { session: login.session, token: token() },
        Revocation::Session(login.session),
        subject_before(login.subject, login.start),
    ];
    for revocation in revocations {
        let before = store.epoch();
        revoke(store, revocation, login.now, login.until).await;
        let after = store.epoch();
        assert!(
            before.is_none() || before != after,
            "the epoch stood still at {before:?} for {revocation:?}"
        );
    }
}
