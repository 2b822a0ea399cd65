//! Promises about time: nothing ends a second early or a second late.

use super::scene::{Login, claims, head, revoke, subject, subject_before, token, tokens};
use crate::store::{ClaimsStore, Revocation, Rotated, Standing};

/// To the last second before it, whatever was recorded in the meantime, and however often it was read.
pub async fn a_tombstone_lives_until_its_instant<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revoked = token();
    let [by_session, by_subject] = [login.another(0), Login { subject: subject(), ..login.another(0) }];
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    revoke(store, Revocation::Session(by_session.session), login.now, login.until).await;
    revoke(store, subject_before(by_subject.subject, by_subject.start), login.now, login.until).await;
    for later in [login.now, login.now.after(1), login.until.before(1)] {
        for (login, what) in [(&login, "token"), (&by_session, "session"), (&by_subject, "subject")] {
            let login = login.at(later);
            let left = login.until.since(later);
            assert_eq!(
                login.standing(store, revoked).await,
                Standing::Revoked,
                "a revoked {what}, {left} s before its tombstone's end"
            );
            assert_eq!(
                login.renew(store, revoked, token()).await,
                Rotated::Revoked,
                "the rotation of a revoked {what}, {left} s before its tombstone's end"
            );
        }
        // Something to sweep for.
        Login { until: later.after(1), ..Login::new().at(later) }.chain(store, &[token()]).await;
    }
}

/// From its `until` on, a session is as if it had never been recorded. A second before, it is still complete.
pub async fn an_expired_record_leaves_no_trace_that_matters<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, fourth] = tokens();
    login.chain(store, &[first, second, third]).await;
    let last = login.at(login.until.before(1));
    assert_eq!(last.head(store).await, Some(claims(third)), "the head, a second before it expires");
    assert_eq!(last.renew(store, second, fourth).await, head(third), "a rotation, a second before");
    let past = Login { until: login.until.after(3600), ..login.at(login.until) };
    assert_eq!(past.head(store).await, None, "an expired session is listed");
    assert_eq!(past.standing(store, first).await, Standing::Live, "an ancestor, after the record's end");
    assert_eq!(
        past.renew(store, first, fourth).await,
        Rotated::Recorded,
        "a rotation, after the record's end"
    );
    assert_eq!(past.head(store).await, Some(claims(fourth)), "the session's new head");

    // A superseded token past its own instant is a stranger in a session that lives on.
    let login = Login::new();
    let long = Login { until: login.until.after(3600), ..login };
    login.chain(store, &[first, second]).await;
    assert_eq!(long.renew(store, second, third).await, Rotated::Recorded, "a successor that lives longer");
    let past = long.at(login.until);
    assert_eq!(past.standing(store, first).await, Standing::Live, "an ancestor past its instant");
    assert_eq!(past.renew(store, first, token()).await, Rotated::NotInChain, "its rotation");
    assert_eq!(past.renew(store, third, fourth).await, Rotated::Recorded, "the head's rotation");
}
