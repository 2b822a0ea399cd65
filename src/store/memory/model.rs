//! Checks with loom that the memory store is linearizable.
//!
//! For every start state and every three calls of [`CALLS`], it tries all orders in which three threads can run them. The answers
//! and the final state must be those of some sequential order of the calls, in which no call comes before one that had returned
//! when it began.
//!
//! ```text
//! $(cargo rustc --lib --profile test --message-format json -- --cfg store_model |
//!     grep -o '"executable":"[^"]*"' | cut -d'"' -f4) store::memory::model
//! ```
//!
//! The sequential answers are the [`Ledger`]'s. Other tests compare the ledger with a model in plain lists.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Ticks;

use futures_util::FutureExt as _;

use super::*;
use crate::store::{SessionId, StoreErrorKind, SubjectLimit, TokenId};

/// The state in which three calls begin.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// The tokens were issued elsewhere.
    NothingIsRecorded,
    /// Token 2 is the head, 1 its predecessor, and 0 is older.
    AChainOfThree,
    /// No room for another session, and none for another token of this one.
    SessionsFillTheirShare,
    /// No room for a revocation either.
    NothingFits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// To a successor that only this caller names.
    Rotate(u8),
    /// To the successor that every node derives, with claims of this caller.
    RotateDerived(u8),
    SignIn,
    /// In another session, when everything else has expired.
    SignInElsewhereLate,
    /// In another session of a subject that may have only one, so it ends the first.
    SignInInItsPlace,
    RevokeToken(u8),
    RevokeSession,
    RevokeSubject,
    Standing(u8),
    Sessions,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Rotated(Result<Rotated, StoreErrorKind>),
    Revoked(Result<(), StoreErrorKind>),
    Standing(Standing),
    Sessions(Vec<Arc<str>>),
}

const SCENES: [Scene; 4] =
    [Scene::NothingIsRecorded, Scene::AChainOfThree, Scene::SessionsFillTheirShare, Scene::NothingFits];

const CALLS: [Call; 14] = [
    Call::Rotate(2),
    Call::RotateDerived(2),
    Call::Rotate(1),
    Call::Rotate(0),
    Call::SignIn,
    Call::SignInElsewhereLate,
    Call::SignInInItsPlace,
    Call::RevokeToken(2),
    Call::RevokeToken(1),
    Call::RevokeSession,
    Call::RevokeSubject,
    Call::Standing(2),
    Call::Standing(0),
    Call::Sessions,
];

#[test]
fn any_three_concurrent_calls_are_answered_as_if_one_came_after_the_other() {
    let orders = Arc::new(Ticks::new(0));
    for scene in SCENES {
        for first in 0..CALLS.len() {
            for second in first..CALLS.len() {
                for third in second..CALLS.len() {
                    let calls = [first, second, third].map(|n| CALLS[n]);
                    let orders = Arc::clone(&orders);
                    loom::model(move || {
                        orders.fetch_add(1, Ordering::Relaxed);
                        race(scene, calls);
                    });
                }
            }
        }
    }
    eprintln!("{} orders", orders.load(Ordering::Relaxed));
}

/// A standing is remembered with the epoch that was read before it. It holds while the epoch stays the same.
#[test]
fn a_live_standing_remembered_with_its_epoch_is_never_remembered_past_a_revocation() {
    for revocation in [Call::RevokeToken(2), Call::RevokeSession, Call::RevokeSubject, Call::SignInInItsPlace]
    {
        loom::model(move || {
            let store = Arc::new(scene(Scene::AChainOfThree));
            let readers = [(); 2].map(|()| {
                let store = Arc::clone(&store);
                loom::thread::spawn(move || {
                    let epoch = store.epoch();
                    (epoch, store.standing_now(&presented(2)))
                })
            });
            let done = ask(&store, revocation, 0);
            assert!(
                matches!(done, Answer::Revoked(Ok(())) | Answer::Rotated(Ok(Rotated::Recorded))),
                "{done:?}"
            );
            for reader in readers {
                let (epoch, remembered) = reader.join().unwrap();
                if epoch == store.epoch() {
                    assert_eq!(remembered, store.standing_now(&presented(2)), "{revocation:?}");
                }
            }
        });
    }
}

/// Runs the calls in one order, and then searches for a sequential order with the same results.
fn race(scene: Scene, calls: [Call; 3]) {
    let store = Arc::new(self::scene(scene));
    let ticks = Arc::new(Ticks::new(0));
    let run = |caller: usize| {
        let (store, ticks) = (Arc::clone(&store), Arc::clone(&ticks));
        move || {
            // loom runs one thread at a time, so the ticks are the real order.
            let began = ticks.fetch_add(1, Ordering::SeqCst);
            let answer = ask(&store, calls[caller], caller);
            Called { caller, began, returned: ticks.fetch_add(1, Ordering::SeqCst), answer }
        }
    };
    let others = [loom::thread::spawn(run(1)), loom::thread::spawn(run(2))];
    let first = run(0)();
    let [second, third] = others.map(|thread| thread.join().unwrap());
    let called = [first, second, third];
    let left = left_in(&store.read());
    let explains = |order: &[usize; 3]| {
        let respects = |[earlier, later]: [usize; 2]| called[later].returned > called[earlier].began;
        respects([order[0], order[1]])
            && respects([order[0], order[2]])
            && respects([order[1], order[2]])
            && {
                let mut ledger = ledger(scene);
                order.iter().all(|&n| apply(&mut ledger, calls[n], n) == called[n].answer)
                    && left_in(&ledger) == left
            }
    };
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    assert!(orders.iter().any(explains), "{scene:?}: no order explains {called:#?}, which left {left:#?}");
}

#[derive(Debug)]
struct Called {
    #[allow(dead_code, reason = "printed if no order explains it")]
    caller: usize,
    began: usize,
    returned: usize,
    answer: Answer,
}

/// A call of the store.
fn ask(store: &MemoryStore, call: Call, caller: usize) -> Answer {
    let at_once = "it never waits";
    match call.demand(caller) {
        Demand::Rotate(rotation) => Answer::Rotated(
            store.rotate(rotation).now_or_never().expect(at_once).map_err(|error| error.kind()),
        ),
        Demand::Revoke(revocation) => Answer::Revoked(
            store.revoke(revocation, kept()).now_or_never().expect(at_once).map_err(|error| error.kind()),
        ),
        Demand::Standing(presented) => Answer::Standing(store.standing_now(&presented).expect(at_once)),
        Demand::Sessions => {
            let sessions = store.sessions(subject(), NOW, Page::default()).now_or_never().expect(at_once);
            Answer::Sessions(
                sessions.expect("it never fails").sessions.into_iter().map(|s| s.claims).collect(),
            )
        }
    }
}

/// The same call without concurrency.
fn apply(ledger: &mut Ledger, call: Call, caller: usize) -> Answer {
    match call.demand(caller) {
        Demand::Rotate(rotation) => Answer::Rotated(ledger.rotate(rotation).map_err(|error| error.kind())),
        Demand::Revoke(revocation) => {
            Answer::Revoked(ledger.revoke(revocation, &kept()).map_err(|error| error.kind()))
        }
        Demand::Standing(presented) => Answer::Standing(ledger.standing(&presented)),
        Demand::Sessions => Answer::Sessions(
            ledger.sessions(subject(), NOW, Page::default()).sessions.into_iter().map(|s| s.claims).collect(),
        ),
    }
}

enum Demand {
    Rotate(Rotation),
    Revoke(Revocation),
    Standing(Presented),
    Sessions,
}

impl Call {
    fn demand(self, caller: usize) -> Demand {
        let own = OWN[caller];
        let renewal = |token, successor| {
            let successor = self::token(successor);
            Demand::Rotate(Rotation::renewal(presented(token), successor, own.to_string(), END))
        };
        match self {
            Self::Rotate(token) => renewal(token, own),
            Self::RotateDerived(token) => renewal(token, DERIVED),
            Self::SignIn => Demand::Rotate(Rotation::sign_in(presented(2), own.to_string(), END)),
            Self::SignInElsewhereLate => {
                let session = SessionId::from_bytes([own; 32]);
                let late = Presented::new(session, token(2), Some(subject()), START, END);
                Demand::Rotate(Rotation::sign_in(late, own.to_string(), LATER))
            }
            Self::SignInInItsPlace => {
                let session = SessionId::from_bytes([own; 32]);
                let later = Presented::new(session, token(2), Some(subject()), START.after(1), NOW);
                let sign_in = Rotation::sign_in(later, own.to_string(), END);
                Demand::Rotate(sign_in.limited_by(kept().limited_to(SubjectLimit::new(1))))
            }
            Self::RevokeToken(n) => Demand::Revoke(Revocation::Token { session: session(), token: token(n) }),
            Self::RevokeSession => Demand::Revoke(Revocation::Session(session())),
            Self::RevokeSubject => {
                Demand::Revoke(Revocation::SubjectBefore { subject: subject(), instant: START, except: None })
            }
            Self::Standing(token) => Demand::Standing(presented(token)),
            Self::Sessions => Demand::Sessions,
        }
    }
}

fn scene(scene: Scene) -> MemoryStore {
    MemoryStore { ledger: RwLock::new(ledger(scene)), epoch: AtomicU64::new(0) }
}

fn ledger(scene: Scene) -> Ledger {
    let mut ledger = Ledger::new(Limits::default());
    ledger.raise_horizon(Horizon::Secs(0), NOW);
    if matches!(scene, Scene::NothingIsRecorded) {
        return ledger;
    }
    for rotation in [
        Rotation::sign_in(presented(0), "0", END),
        Rotation::renewal(presented(0), token(1), "1", END),
        Rotation::renewal(presented(1), token(2), "2", END),
    ] {
        assert_eq!(ledger.rotate(rotation).expect("room"), Rotated::Recorded);
    }
    match scene {
        Scene::NothingIsRecorded | Scene::AChainOfThree => {}
        Scene::SessionsFillTheirShare => {
            ledger.limits = Limits { entries: 2, bytes: ledger.counts().bytes * 10 / 9 + TOMBSTONE };
        }
        Scene::NothingFits => ledger.limits = Limits { entries: 1, bytes: ledger.counts().bytes },
    }
    ledger
}

/// All observable state of a ledger, whose indexes are checked as well.
fn left_in(ledger: &Ledger) -> (Vec<Standing>, Vec<Arc<str>>, String) {
    ledger.audit();
    let tokens = [0, 1, 2, DERIVED].into_iter().chain(OWN);
    let standings = tokens.map(|token| ledger.standing(&presented(token))).collect();
    let sessions =
        ledger.sessions(subject(), NOW, Page::default()).sessions.into_iter().map(|s| s.claims).collect();
    let counts = ledger.counts();
    let counts = format!(
        "{} {} {} {} {}",
        counts.sessions,
        counts.revoked_sessions,
        counts.revoked_tokens,
        counts.revoked_subjects,
        counts.bytes
    );
    (standings, sessions, counts)
}

const TOMBSTONE: usize = 448;
/// For each of three callers: its successor, its claims, and its own session.
const OWN: [u8; 3] = [101, 102, 103];
const DERIVED: u8 = 100;
const START: NumericDate = NumericDate::from_secs(1_000);
const NOW: NumericDate = NumericDate::from_secs(1_060);
const END: NumericDate = NumericDate::from_secs(2_000);
const LATER: NumericDate = NumericDate::from_secs(3_000);

fn kept() -> Retention {
    Retention::new(NOW, 0, END.since(NOW))
}

fn session() -> SessionId {
    SessionId::from_bytes([1; 32])
}

fn subject() -> SubjectId {
    SubjectId::from_bytes([2; 32])
}

fn token(n: u8) -> TokenId {
    TokenId::from_bytes([n; 32])
}

fn presented(n: u8) -> Presented {
    Presented::new(session(), token(n), Some(subject()), START, NOW)
}
