//! Promises about revocation: what it ends, that it wins, and that nothing takes it back.

use super::scene::{Login, claims, revoke, revoke_as, standing, subject, subject_before, token, tokens};
use crate::store::{ClaimsStore, Presented, Retention, Revocation, Rotated, Standing, TokenId};
use crate::time::NumericDate;

/// Not its head, not a predecessor, not a token that the store has never seen; and no sign-in opens it again. Other
/// sessions do not change.
pub async fn a_revoked_session_rotates_nothing<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let neighbour = login.another(0);
    let [first, second, third, stranger, other, other_next] = tokens();
    login.chain(store, &[first, second, third]).await;
    neighbour.chain(store, &[other]).await;
    revoke(store, Revocation::Session(login.session), login.now, login.until).await;
    for (token, what) in
        [(third, "head"), (second, "predecessor"), (first, "ancestor"), (stranger, "stranger")]
    {
        assert_eq!(login.standing(store, token).await, Standing::Revoked, "the {what}'s standing");
        assert_eq!(login.renew(store, token, self::token()).await, Rotated::Revoked, "the {what}'s rotation");
    }
    assert_eq!(login.sign_in(store, self::token()).await, Rotated::Revoked, "a sign-in of a revoked session");
    assert_eq!(login.head(store).await, None, "a revoked session is listed");
    assert_eq!(neighbour.standing(store, other).await, Standing::Live, "a token of another session");
    assert_eq!(
        neighbour.renew(store, other, other_next).await,
        Rotated::Recorded,
        "another session's rotation"
    );
}

/// Whichever comes first, and also when they race, nothing of the session is live afterwards.
pub async fn a_revocation_beats_a_rotation_in_either_order<S: ClaimsStore>(store: &S) {
    type Kind = fn(&Login, TokenId) -> Revocation;
    let kinds: [(&str, Kind); 3] = [
        ("the token", |login, token| Revocation::Token { session: login.session, token }),
        ("the session", |login, _| Revocation::Session(login.session)),
        ("the subject", |login, _| subject_before(login.subject, login.start)),
    ];
    for (name, kind) in kinds {
        for recorded in [true, false] {
            for order in [Order::RotationFirst, Order::RevocationFirst, Order::Race] {
                let scene = format!("revoking {name}, {order:?}, with a record: {recorded}");
                let login = Login::new();
                let [predecessor, successor] = tokens();
                if recorded {
                    login.chain(store, &[predecessor]).await;
                }
                let revocation = revoke(store, kind(&login, predecessor), login.now, login.until);
                let rotation = login.renew(store, predecessor, successor);
                let outcome = match order {
                    Order::RotationFirst => {
                        let outcome = rotation.await;
                        assert_eq!(outcome, Rotated::Recorded, "{scene}");
                        revocation.await;
                        outcome
                    }
                    Order::RevocationFirst => {
                        revocation.await;
                        let outcome = rotation.await;
                        assert_eq!(outcome, Rotated::Revoked, "{scene}");
                        outcome
                    }
                    Order::Race => {
                        let (outcome, ()) = futures_util::future::join(rotation, revocation).await;
                        assert!(
                            matches!(outcome, Rotated::Recorded | Rotated::Revoked),
                            "{scene}: {outcome:?}"
                        );
                        outcome
                    }
                };
                let left =
                    if outcome == Rotated::Recorded { &[predecessor, successor][..] } else { &[predecessor] };
                for &token in left {
                    assert_eq!(login.standing(store, token).await, Standing::Revoked, "{scene}");
                    assert_eq!(login.renew(store, token, self::token()).await, Rotated::Revoked, "{scene}");
                }
            }
        }
    }
}

/// The id of a derived successor is known before it is recorded. If it is revoked, it is never recorded.
pub async fn a_revoked_token_is_never_recorded_as_a_successor<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, revoked] = tokens();
    // Before its session is recorded: afterwards a stranger's revocation would end the session.
    revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, login.until).await;
    login.chain(store, &[first]).await;
    assert_eq!(login.renew(store, first, revoked).await, Rotated::Revoked, "a revoked successor");
    let signed_in = Login::new();
    revoke(store, Revocation::Token { session: signed_in.session, token: revoked }, login.now, login.until)
        .await;
    assert_eq!(signed_in.sign_in(store, revoked).await, Rotated::Revoked, "a sign-in of a revoked token");
}

/// Signing out with the token that a renewal has just superseded ends the renewed session too, for as long as any
/// of its tokens matters.
pub async fn revoking_a_token_that_has_a_successor_revokes_its_session<S: ClaimsStore>(store: &S) {
    for depth in [1, 2, 3] {
        let login = Login::new();
        let [first, second, third, forgotten] = tokens();
        login.chain(store, &[first, second, third]).await;
        // The last is one that the store has forgotten, or never saw: of a recorded session, and not its head.
        let superseded = if depth == 1 {
            second
        } else if depth == 2 {
            first
        } else {
            forgotten
        };
        // The superseded token itself would not matter for long.
        let soon = login.now.after(10);
        revoke(store, Revocation::Token { session: login.session, token: superseded }, login.now, soon).await;
        for later in [login.now, login.until.before(1)] {
            let login = login.at(later);
            for token in [first, second, third] {
                assert_eq!(
                    login.standing(store, token).await,
                    Standing::Revoked,
                    "a token of a session revoked by the one {depth} before its head"
                );
            }
            assert_eq!(login.renew(store, third, token()).await, Rotated::Revoked, "the head's rotation");
        }
        assert_eq!(login.head(store).await, None, "a revoked session is listed");
    }
}

/// A revoked head is never given out again, and nothing else becomes the head. Its predecessor itself is not revoked:
/// to end the whole session, revoke the session.
pub async fn revoking_the_head_stops_its_predecessor_from_renewing<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let [first, second, third, stranger] = tokens();
    login.chain(store, &[first, second, third]).await;
    revoke(store, Revocation::Token { session: login.session, token: third }, login.now, login.until).await;
    assert_eq!(login.standing(store, third).await, Standing::Revoked, "the head's standing");
    for (token, what) in [(third, "head"), (second, "predecessor"), (stranger, "stranger")] {
        assert_eq!(
            login.renew(store, token, self::token()).await,
            Rotated::Revoked,
            "the rotation of the {what}, the head being revoked"
        );
    }
}

/// "Sign out everywhere". A session that began at the instant is revoked. Tokens without a subject, and other
/// subjects' tokens, are not covered.
pub async fn subject_before_revokes_sessions_begun_at_or_before_the_instant_and_no_later_one<
    S: ClaimsStore,
>(
    store: &S,
) {
    let earlier = Login::new();
    let [equal, later] = [earlier.another(1), earlier.another(2)];
    let stranger = Login { subject: subject(), ..earlier.another(0) };
    // Two of each: on record, and not.
    let [recorded, unrecorded] = tokens();
    for login in [&earlier, &equal, &later, &stranger] {
        login.chain(store, &[recorded]).await;
    }
    let revocation = subject_before(earlier.subject, equal.start);
    revoke(store, revocation, earlier.now, earlier.until).await;
    for token in [recorded, unrecorded] {
        for (login, when) in [(&earlier, "before"), (&equal, "at")] {
            assert_eq!(
                login.standing(store, token).await,
                Standing::Revoked,
                "a session begun {when} the instant"
            );
            assert_eq!(
                login.renew(store, token, self::token()).await,
                Rotated::Revoked,
                "the rotation in a session begun {when} the instant"
            );
            assert_eq!(login.head(store).await, None, "a session begun {when} the instant is listed");
        }
        for (login, whose) in [(&later, "begun after the instant"), (&stranger, "of another subject")] {
            assert_eq!(login.standing(store, token).await, Standing::Live, "a session {whose}");
        }
        let nobody = Presented { subject: None, ..earlier.presents(token) };
        assert_eq!(standing(store, &nobody).await, Standing::Live, "a session that names no subject");
    }
    assert_eq!(
        later.renew(store, recorded, token()).await,
        Rotated::Recorded,
        "a session begun later renews"
    );
    assert_eq!(stranger.head(store).await, Some(claims(recorded)), "another subject's session is not listed");
    // A sign-in after signing out everywhere.
    assert_eq!(earlier.another(3).sign_in(store, token()).await, Rotated::Recorded, "a later sign-in");
}

/// Nobody has so many tokens of use in one session. So a store may bound what it remembers of one: it ends the session, and does
/// not fail.
pub async fn however_many_tokens_of_a_session_are_revoked_each_stays_revoked<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revoked = tokens::<150>();
    for token in revoked {
        revoke(store, Revocation::Token { session: login.session, token }, login.now, login.until).await;
        assert_eq!(login.standing(store, token).await, Standing::Revoked, "the token just revoked");
    }
    for (n, token) in revoked.into_iter().enumerate() {
        assert_eq!(login.standing(store, token).await, Standing::Revoked, "token {n} of those revoked");
    }
}

/// Neither a shorter `until` nor an earlier instant undoes an earlier revocation.
pub async fn a_weaker_revocation_never_replaces_a_stronger_one<S: ClaimsStore>(store: &S) {
    let login = Login::new();
    let revoked = token();
    let subject = login.another(5);
    let subject = Login { subject: self::subject(), ..subject };
    let soon = login.now.after(10);
    for until in [login.until, soon] {
        revoke(store, Revocation::Token { session: login.session, token: revoked }, login.now, until).await;
    }
    let session = login.another(0);
    for until in [session.until, soon] {
        revoke(store, Revocation::Session(session.session), session.now, until).await;
    }
    // A token of it, revoked for a shorter time than its session.
    revoke(store, Revocation::Token { session: session.session, token: revoked }, session.now, soon).await;
    for (instant, until) in
        [(subject.start, soon), (subject.start.before(1), subject.until), (subject.start.before(2), soon)]
    {
        revoke(store, subject_before(subject.subject, instant), subject.now, until).await;
    }
    for (login, what) in [(&login, "token"), (&session, "session"), (&subject, "subject")] {
        assert_eq!(login.standing(store, revoked).await, Standing::Revoked, "the {what}, revoked twice");
    }
    let earlier = Login { start: subject.start.before(1), ..subject.at(subject.until.before(1)) };
    for (login, what) in [
        (&login.at(login.until.before(1)), "token"),
        (&session.at(session.until.before(1)), "session"),
        (&earlier, "subject"),
    ] {
        assert_eq!(
            login.standing(store, revoked).await,
            Standing::Revoked,
            "the {what}, at the end of the longer revocation"
        );
        assert_eq!(login.renew(store, revoked, token()).await, Rotated::Revoked, "the {what}'s rotation");
    }
}

/// The named session is spared, recorded or not, and no other. A session that an earlier revocation ended stays
/// ended, even if a later one spares it. A later revocation ends a session that an earlier one spared.
pub async fn all_others_spares_one_session_and_nothing_that_was_revoked_before<S: ClaimsStore>(store: &S) {
    for is_recorded in [true, false] {
        let mine = Login::new();
        let [other, later] = [mine.another(1), mine.another(9)];
        let token = token();
        if is_recorded {
            for login in [&mine, &other, &later] {
                login.chain(store, &[token]).await;
            }
        }
        let except = |spared: &Login, instant| Revocation::SubjectBefore {
            subject: mine.subject,
            instant,
            except: Some(spared.session),
        };
        let all = [&mine, &other, &later];
        // Revocations one after the other, and who is left.
        for (revocation, left) in [
            (except(&mine, mine.start.after(1)), [true, false, true]),
            // Spared, and revoked already.
            (except(&other, mine.start.after(2)), [false, false, true]),
            (except(&later, mine.start.after(20)), [false, false, true]),
            // Weaker, and of another.
            (except(&mine, mine.start.after(1)), [false, false, true]),
            (subject_before(mine.subject, later.start), [false, false, false]),
            (except(&later, mine.start.after(30)), [false, false, false]),
        ] {
            revoke(store, revocation, mine.now, mine.until).await;
            for (login, is_left) in all.iter().zip(left) {
                let expected = if is_left { Standing::Live } else { Standing::Revoked };
                let start = login.start.since(mine.start);
                let scene =
                    format!("a session begun {start} s later, on record: {is_recorded}, {revocation:?}");
                assert_eq!(login.standing(store, token).await, expected, "{scene}");
                assert_eq!(login.head(store).await.is_some(), is_left && is_recorded, "listed: {scene}");
            }
        }
    }
}

/// Of every subject and of none. The test uses instants in 1970, so that it revokes nothing that the store really
/// holds.
pub async fn all_before_revokes_every_session_begun_at_or_before_the_instant<S: ClaimsStore>(store: &S) {
    let instant = NumericDate::from_secs(1);
    let login = Login::new();
    let epoch = store.epoch();
    revoke(store, Revocation::AllBefore { instant }, login.now, login.until).await;
    assert!(epoch.is_none() || store.epoch() != epoch, "the epoch stood still at {epoch:?}");
    for (start, revoked) in [(0, true), (1, true), (2, false)] {
        let login = Login { start: NumericDate::from_secs(start), ..Login::new() };
        let token = token();
        for subject in [Some(login.subject), None] {
            let presented = Presented { subject, ..login.presents(token) };
            let found = standing(store, &presented).await;
            assert_eq!(found == Standing::Revoked, revoked, "begun at {start}, of {subject:?}: {found:?}");
        }
        let renewed = login.renew(store, token, self::token()).await;
        assert_eq!(renewed == Rotated::Revoked, revoked, "its rotation, begun at {start}: {renewed:?}");
    }
    let [before, after] = [1, 2].map(|start| Login { start: NumericDate::from_secs(start), ..Login::new() });
    let told = before.sign_in(store, token()).await;
    assert!(matches!(told, Rotated::Predated { revoked_until } if revoked_until >= instant), "{told:?}");
    assert_eq!(after.sign_in(store, token()).await, Rotated::Recorded, "a sign-in of a later session");
    assert_eq!(Login::new().sign_in(store, token()).await, Rotated::Recorded, "a sign-in of today");
}

/// [`Rotated::Predated`], and nothing is recorded. A session that begins a second after that instant is recorded.
pub async fn a_sign_in_that_predates_a_revocation_is_told_its_instant<S: ClaimsStore>(store: &S) {
    for instant in [0, 1, 5] {
        let early = Login::new();
        let instant = early.start.after(instant);
        revoke(store, subject_before(early.subject, instant), early.now, early.until).await;
        let told = early.sign_in(store, token()).await;
        let Rotated::Predated { revoked_until } = told else {
            panic!("a sign-in that is too early: {told:?}")
        };
        assert!(revoked_until >= instant, "{revoked_until}, and {instant} was revoked");
        assert_eq!(early.head(store).await, None, "a session that was not recorded is listed");
        let later = Login { start: revoked_until.after(1), ..early.another(0) };
        assert_eq!(later.sign_in(store, token()).await, Rotated::Recorded, "a second after what it was told");
    }
}

/// A sign-in after a revocation begins its session after the revoked instant, which may be ahead of all clocks. The
/// next revocation "up to now" ends it, even if no clock has moved, and reaches no further than the first did: the
/// next sign-in begins no later. A revocation up to an instant in the past covers no more than that.
pub async fn a_revocation_up_to_now_reaches_the_sessions_that_were_dated_after_the_last<S: ClaimsStore>(
    store: &S,
) {
    let login = Login::new();
    let login = login.at(login.start);
    let up_to_now = subject_before(login.subject, login.now.after(3));
    let first = token();
    login.chain(store, &[first]).await;
    let mut sessions = vec![(login, first)];
    let mut reached = None;
    for _ in 0..4 {
        revoke_as(store, up_to_now, Retention::new(login.now, 5, 3600)).await;
        for (earlier, token) in &sessions {
            let start = earlier.start.since(login.start);
            assert_eq!(
                earlier.standing(store, *token).await,
                Standing::Revoked,
                "a session dated {start} s ahead"
            );
        }
        let told = login.another(0).sign_in(store, token()).await;
        let Rotated::Predated { revoked_until } = told else {
            panic!("a sign-in that is too early: {told:?}")
        };
        let first = *reached.get_or_insert(revoked_until);
        assert_eq!(revoked_until, first, "the instant of a revocation that follows a sign-in");
        let (dated, token) = (Login { start: revoked_until.after(1), ..login.another(0) }, token());
        dated.chain(store, &[token]).await;
        let past = subject_before(login.subject, login.now.before(1));
        revoke_as(store, past, Retention::new(login.now, 5, 3600)).await;
        assert_eq!(dated.standing(store, token).await, Standing::Live, "after a revocation of the past");
        sessions.push((dated, token));
    }
}

/// A clock that was wrong may have dated a session days ahead. "Up to now" ends it as well, unless it is spared, and does
/// not reach that far: otherwise its subject could not sign in for days.
pub async fn a_session_dated_far_ahead_is_ended_and_holds_up_no_sign_in<S: ClaimsStore>(store: &S) {
    for is_spared in [false, true] {
        let login = Login::new();
        let far = Login { until: login.now.after(300_000), ..login.another(200_000) };
        let stranger = Login { subject: self::subject(), ..far.another(0) };
        let head = token();
        for login in [&far, &stranger] {
            login.chain(store, &[head]).await;
        }
        let except = Some(far.session).filter(|_| is_spared);
        let instant = login.now.after(3);
        let revocation = Revocation::SubjectBefore { subject: login.subject, instant, except };
        revoke_as(store, revocation, Retention::new(login.now, 5, 3600)).await;
        let expected = if is_spared { Standing::Live } else { Standing::Revoked };
        for now in [login.now, far.start] {
            assert_eq!(far.at(now).standing(store, head).await, expected, "at {now}, spared: {is_spared}");
        }
        assert_eq!(far.head(store).await.is_some(), is_spared, "whether it is listed");
        assert_eq!(stranger.standing(store, head).await, Standing::Live, "another subject's");
        let next = login.another(0);
        let next = Login { start: login.now.after(60), ..next }.at(login.now.after(60));
        assert_eq!(next.sign_in(store, token()).await, Rotated::Recorded, "a sign-in a minute later");
    }
}

/// However often it is repeated, "up to now" covers no more than the clocks do.
/// Otherwise anybody with one live token could keep its owner from signing in, by repeating it.
pub async fn revoking_again_without_a_sign_in_reaches_no_further<S: ClaimsStore>(store: &S) {
    // By the system's clock, which the store's is likely to be: what it adds is the same each time.
    let login = Login::new();
    let login = login.at(login.start);
    let retention = Retention::new(login.now, 5, 3600);
    let except = Some(super::scene::session());
    let revocations = [None, except].map(|except| Revocation::SubjectBefore {
        subject: login.subject,
        instant: login.now.after(3),
        except,
    });
    let mut reached = None;
    for revocation in revocations.into_iter().cycle().take(50) {
        revoke_as(store, revocation, retention).await;
        let told = login.another(0).sign_in(store, token()).await;
        let Rotated::Predated { revoked_until } = told else {
            panic!("a sign-in that is too early: {told:?}")
        };
        let first = *reached.get_or_insert(revoked_until);
        assert_eq!(revoked_until, first, "the instant of a revocation that follows another");
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    RotationFirst,
    RevocationFirst,
    Race,
}
