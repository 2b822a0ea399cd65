use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::thread;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::store::{SessionId, StoreErrorKind, SubjectLimit, TokenId};

#[test]
fn no_more_entries_than_allowed_and_a_tenth_of_them_for_revocations() {
    let store = new_store().with_max_entries(20);
    let signed_in = (0..30).filter(|&n| sign_in(&store, n, 0, 100) == Ok(Rotated::Recorded)).count();
    assert_eq!(signed_in, 18, "sign-ins take nine tenths");
    assert_eq!(sign_in(&store, 99, 0, 100), Err(StoreErrorKind::Full));

    for n in [200, 201] {
        assert_eq!(revoke(&store, Revocation::Session(session(n)), 0, 100), Ok(()), "the tenth kept for it");
    }
    let before = format!("{store:?}");
    let token_alone = Revocation::Token { session: session(202), token: token(1) };
    for refused in [Revocation::Session(session(202)), token_alone, everywhere(3, 50)] {
        assert_eq!(revoke(&store, refused, 0, 100), Err(StoreErrorKind::Full), "{refused:?} at capacity");
    }
    assert_eq!(format!("{store:?}"), before, "a refused write writes nothing");
    audit(&store);

    // Whoever is on record can still sign out: the tombstone takes the record's place.
    for n in 0..18 {
        assert_eq!(revoke(&store, Revocation::Session(session(n)), 0, 100), Ok(()));
    }
    for n in (0..18).chain([200, 201]) {
        assert_eq!(standing(&store, n, 1, 99), Standing::Revoked, "every live tombstone is kept");
    }
    audit(&store);
}

#[test]
fn no_more_bytes_than_allowed_and_a_tenth_of_them_for_revocations() {
    let store = new_store().with_max_bytes(100 * 1024);
    let claims = "x".repeat(8 * 1024);
    let signed_in = (0..30)
        .take_while(|&n| {
            rotate(&store, Rotation::sign_in(presents(n, 0, 0), claims.as_str(), at(100)))
                == Ok(Rotated::Recorded)
        })
        .count();
    assert_eq!(signed_in, 90 * 1024 / (8 * 1024 + 640));
    // One with short claims still fits; the session can't then renew with long ones.
    assert_eq!(sign_in(&store, 50, 0, 100), Ok(Rotated::Recorded));
    let longer = Rotation::renewal(presents(50, 0, 0), token(1), claims.as_str(), at(100));
    assert_eq!(rotate(&store, longer), Err(StoreErrorKind::Full));
    assert_eq!(renew(&store, 50, 0, 2, 0, 100), Ok(Rotated::Recorded), "the chain is as it was");
    for n in 100..126 {
        assert_eq!(revoke(&store, Revocation::Session(session(n)), 0, 100), Ok(()), "the tenth kept for it");
    }
    audit(&store);
}

#[test]
fn revocations_may_take_it_all_and_only_then_fail() {
    let store = new_store().with_max_entries(10);
    for n in 0..10 {
        let revocation = Revocation::Token { session: session(n), token: token(0) };
        assert_eq!(revoke(&store, revocation, 0, 100), Ok(()));
        // Again, and longer: no new entry.
        assert_eq!(revoke(&store, revocation, 0, 200), Ok(()));
    }
    assert_eq!(sign_in(&store, 77, 0, 100), Err(StoreErrorKind::Full));
    assert_eq!(revoke(&store, everywhere(1, 1), 0, 100), Err(StoreErrorKind::Full));
    let longer = Revocation::Token { session: session(3), token: token(0) };
    assert_eq!(revoke(&store, longer, 0, 300), Ok(()), "a tombstone made longer takes no room");
    audit(&store);
}

#[test]
fn what_has_expired_makes_room_to_the_last_entry() {
    let store = new_store().with_max_entries(40);
    for n in 0..36 {
        assert_eq!(sign_in(&store, n, 0, 100), Ok(Rotated::Recorded));
    }
    assert_eq!(sign_in(&store, 50, 99, 200), Err(StoreErrorKind::Full), "a second before they expire");
    for n in 50..86 {
        assert_eq!(sign_in(&store, n, 100, 200), Ok(Rotated::Recorded), "at the instant they expire");
    }
    audit(&store);
    for n in 0..4 {
        assert_eq!(revoke(&store, everywhere(n, 100), 199, 300), Ok(()));
    }
    assert_eq!(sign_in(&store, 90, 300, 400), Ok(Rotated::Recorded));
    // Four are swept with each write, so that an idle store empties itself as it is used.
    for n in 91..101 {
        assert_eq!(sign_in(&store, n, 300, 400), Ok(Rotated::Recorded));
    }
    assert_eq!(store.read().counts().sessions, 11);
    assert_eq!(store.read().counts().revoked_subjects, 0);
    audit(&store);
}

#[test]
fn a_store_of_no_size_refuses_everything_and_panics_at_nothing() {
    let store = new_store().with_max_entries(0).with_max_bytes(0);
    assert_eq!(sign_in(&store, 1, 0, 100), Err(StoreErrorKind::Full));
    assert_eq!(revoke(&store, Revocation::Session(session(1)), 0, 100), Err(StoreErrorKind::Full));
    assert_eq!(standing(&store, 1, 0, 0), Standing::Live);
}

#[test]
fn a_call_that_contradicts_itself_is_an_error_and_writes_nothing() {
    let store = new_store();
    assert_eq!(renew(&store, 1, 5, 5, 0, 100), Err(StoreErrorKind::Misused), "a token as its own successor");
    let mut two_tokens = Rotation::sign_in(presents(1, 5, 0), "{}", at(100));
    two_tokens.successor = token(6);
    assert_eq!(rotate(&store, two_tokens), Err(StoreErrorKind::Misused), "a sign-in of two tokens");
    assert_eq!(store.read().counts().sessions, 0);
    assert_eq!(renew(&store, 1, 0, 1, 0, 100), Ok(Rotated::Recorded));
    assert_eq!(renew(&store, 1, 1, 0, 0, 100), Err(StoreErrorKind::Misused), "a cycle");
    assert_eq!(renew(&store, 1, 1, 2, 0, 100), Ok(Rotated::Recorded));
}

#[test]
fn a_session_remembers_a_bounded_number_of_ancestors() {
    let store = new_store();
    for n in 0..1_000 {
        assert_eq!(renew(&store, 1, n, n + 1, 0, 100), Ok(Rotated::Recorded));
    }
    let bytes = store.read().counts().bytes;
    assert!(bytes < 8 * 1024, "{bytes}");
    assert_eq!(renew(&store, 1, 900, 2_000, 0, 100), Ok(Rotated::Reused { generations: 100 }));
    assert_eq!(renew(&store, 1, 10, 2_000, 0, 100), Ok(Rotated::NotInChain));
    audit(&store);
}

#[test]
fn signing_out_with_a_token_long_expired_ends_the_session_it_led_to() {
    let store = new_store();
    assert_eq!(renew(&store, 1, 0, 1, 0, 10), Ok(Rotated::Recorded));
    assert_eq!(renew(&store, 1, 1, 2, 0, 100), Ok(Rotated::Recorded));
    let revocation = Revocation::Token { session: session(1), token: token(0) };
    assert_eq!(revoke(&store, revocation, 50, 60), Ok(()));
    assert_eq!(standing(&store, 1, 2, 99), Standing::Revoked);
}

#[test]
fn the_predecessor_of_a_revoked_head_is_live_and_its_session_listed() {
    let store = new_store();
    assert_eq!(renew(&store, 1, 0, 1, 0, 100), Ok(Rotated::Recorded));
    let revocation = Revocation::Token { session: session(1), token: token(1) };
    assert_eq!(revoke(&store, revocation, 0, 10), Ok(()));
    assert_eq!(standing(&store, 1, 0, 0), Standing::Live);
    // The head's tombstone lasts as long as the record that names it.
    assert_eq!(renew(&store, 1, 0, 2, 99, 200), Ok(Rotated::Revoked));
    assert_eq!(listed(&store, 1, 0).len(), 1, "it can still be revoked");
}

/// The sweep takes what expired first, whoever's it is.
#[test]
fn a_session_that_has_expired_and_was_not_swept_displaces_nobody() {
    let store = new_store();
    let open = |n: u64, whose: u64, start: u64, until: u64| {
        let presented = Presented::new(session(n), token(0), Some(subject(whose)), at(start), at(start));
        let retention = Retention::new(at(start), 5, 300).limited_to(SubjectLimit::new(2));
        rotate(&store, Rotation::sign_in(presented, "{}", at(until)).limited_by(retention))
    };
    assert_eq!(open(1, 1, 10, 9_000), Ok(Rotated::Recorded));
    for n in 100..200 {
        assert_eq!(open(n, n, 11, 90), Ok(Rotated::Recorded));
    }
    assert_eq!(open(2, 1, 20, 100), Ok(Rotated::Recorded));
    for (opened, live) in [(3, [1, 3].as_slice()), (4, &[3, 4])] {
        assert_eq!(open(opened, 1, 200 + opened, 9_000), Ok(Rotated::Recorded));
        let listed = listed(&store, 1, 210).into_iter().map(|(session, _)| session).collect::<Vec<_>>();
        assert_eq!(listed, live.iter().map(|&n| session(n)).collect::<Vec<_>>(), "after session {opened}");
    }
    audit(&store);
}

#[test]
fn a_horizon_given_to_a_store_in_use_is_one_that_was_raised() {
    let raised = |store: &MemoryStore| store.horizon_now(Horizon::Secs(0)).expect("at once").raises;
    let unused = MemoryStore::new().with_horizon(Horizon::Secs(5)).with_horizon(Horizon::Secs(9));
    assert!(raised(&unused).iter().all(|raise| raise.at == at(0)), "before any session began");
    let used = new_store();
    revoke(&used, Revocation::AllBefore { instant: at(1) }, 0, 100).expect("room");
    let used = used.with_horizon(Horizon::Secs(9));
    assert_eq!(raised(&used), [crate::store::Raise { at: NumericDate::MAX, from: 0 }]);
}

#[test]
fn debug_shows_counts_and_no_claims() {
    let store = new_store();
    rotate(&store, Rotation::sign_in(presents(1, 0, 0), "{\"email\":\"a@b.c\"}", at(100))).expect("room");
    revoke(&store, Revocation::Session(session(2)), 0, 100).expect("room");
    revoke(&store, everywhere(9, 0), 0, 100).expect("room");
    assert_eq!(
        format!("{store:?}"),
        "MemoryStore { sessions: 1, revoked_sessions: 1, revoked_tokens: 0, revoked_subjects: 1, \
         bytes: 1393, .. }"
    );
}

#[test]
fn of_sixteen_threads_exactly_one_records_in_each_generation() {
    const THREADS: u64 = 16;
    const ROUNDS: u64 = 300;
    let store = new_store();
    let barrier = Barrier::new(THREADS as usize);
    let learnt: Vec<Vec<Arc<str>>> = thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                let mut predecessor = token(0);
                let heads = (1..=ROUNDS).map(|round| {
                    let name = round * THREADS + thread;
                    let presented = Presented::new(session(1), predecessor, None, at(0), at(0));
                    let proposal = Rotation::renewal(presented, token(name), name.to_string(), at(100));
                    let claims = Arc::clone(&proposal.claims);
                    barrier.wait();
                    let head = match rotate(store, proposal) {
                        Ok(Rotated::Recorded) => claims,
                        Ok(Rotated::Superseded { head }) => {
                            assert_ne!(head, claims, "told of its own proposal");
                            head
                        }
                        other => panic!("round {round}: {other:?}"),
                    };
                    predecessor = head.parse().map(token).expect("a name");
                    // Nobody begins the next round before all have ended this one.
                    barrier.wait();
                    head
                });
                heads.collect()
            })
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    // Each head was proposed by one thread, and all sixteen learnt the same.
    let [first, others @ ..] = &learnt[..] else { panic!("no threads") };
    assert!(others.iter().all(|heads| heads == first));
    audit(&store);
}

#[test]
fn a_revocation_that_returned_is_seen_by_every_thread_that_reads_its_epoch() {
    let store = new_store();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in (0..2_000).cycle() {
                    let epoch = store.epoch().expect("an epoch");
                    // The nth revocation is of session n - 1.
                    if let Some(last) = epoch.checked_sub(1) {
                        assert_eq!(standing(&store, last, 0, 0), Standing::Revoked);
                    }
                    if epoch == 2_000 {
                        return n;
                    }
                }
                0
            });
        }
        for n in 0..2_000 {
            revoke(&store, Revocation::Session(session(n)), 0, 100).expect("room");
        }
    });
}

#[test]
fn a_poisoned_lock_still_answers() {
    let store = Arc::new(new_store());
    revoke(&store, Revocation::Session(session(1)), 0, 100).expect("room");
    let poisoner = Arc::clone(&store);
    thread::spawn(move || {
        let _guard = poisoner.write();
        panic!("with the lock held");
    })
    .join()
    .expect_err("it panics");
    assert_eq!(standing(&store, 1, 0, 0), Standing::Revoked);
    assert_eq!(sign_in(&store, 2, 0, 100), Ok(Rotated::Recorded));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Any calls in any order, time moving on: the store answers as a model that keeps everything in plain lists and
    /// never forgets.
    #[test]
    fn it_answers_as_the_model_does(calls in prop::collection::vec(any_call(), 1..120)) {
        let store = new_store();
        let mut model = Model::default();
        let mut now = 10;
        for call in calls {
            match call {
                Call::Wait(secs) => now += secs,
                Call::Rotate { s, p, n, supersedes, lasts } => {
                    let (p, n) = if supersedes { (token(p), token(n)) } else { (token(p), token(p)) };
                    let presented =
                        Presented::new(session(s), p, Some(subject(s % 2)), at(s), at(now));
                    let claims: Arc<str> = format!("{n}{lasts}").into();
                    let until = at(now + lasts);
                    let mut rotation = Rotation::renewal(presented, n, claims, until);
                    rotation.supersedes = supersedes;
                    prop_assert_eq!(rotate(&store, rotation.clone()), model.rotate(rotation));
                }
                Call::Revoke { revocation, lasts } => {
                    prop_assert_eq!(revoke(&store, revocation, now, now + lasts), Ok(()));
                    model.revoke(revocation, at(now), at(now + lasts));
                }
            }
            for s in 0..SESSIONS {
                for t in 0..TOKENS {
                    let presented =
                        Presented::new(session(s), token(t), Some(subject(s % 2)), at(s), at(now));
                    prop_assert_eq!(store.standing_now(&presented), Some(model.standing(&presented)));
                }
            }
            for s in 0..2 {
                prop_assert_eq!(listed(&store, s, now), model.sessions(s, at(now)));
            }
            audit(&store);
        }
    }
}

/// Its revocations are kept for as long as each test says.
fn new_store() -> MemoryStore {
    MemoryStore::new().with_horizon(Horizon::Secs(0))
}

const SESSIONS: u64 = 4;
const TOKENS: u64 = 7;

#[derive(Clone, Debug)]
enum Call {
    Wait(u64),
    Rotate { s: u64, p: u64, n: u64, supersedes: bool, lasts: u64 },
    Revoke { revocation: Revocation, lasts: u64 },
}

fn any_call() -> impl Strategy<Value = Call> {
    let rotate = (0..SESSIONS, 0..TOKENS, 0..TOKENS, prop::bool::weighted(0.9), 1..60_u64)
        .prop_map(|(s, p, n, supersedes, lasts)| Call::Rotate { s, p, n, supersedes, lasts });
    let revoke_token = (0..SESSIONS, 0..TOKENS, 0..60_u64).prop_map(|(s, t, lasts)| Call::Revoke {
        revocation: Revocation::Token { session: session(s), token: token(t) },
        lasts,
    });
    let revoke_session = (0..SESSIONS, 0..20_u64)
        .prop_map(|(s, lasts)| Call::Revoke { revocation: Revocation::Session(session(s)), lasts });
    let revoke_subject = (0..2_u64, 0..SESSIONS, prop::option::of(0..SESSIONS), 0..20_u64).prop_map(
        |(s, instant, spared, lasts)| {
            let except = spared.map(session);
            let revocation = Revocation::SubjectBefore { subject: subject(s), instant: at(instant), except };
            Call::Revoke { revocation, lasts }
        },
    );
    let revoke_all = (0..SESSIONS, 0..20_u64).prop_map(|(instant, lasts)| Call::Revoke {
        revocation: Revocation::AllBefore { instant: at(instant) },
        lasts,
    });
    prop_oneof![
        4 => (0..15_u64).prop_map(Call::Wait),
        24 => rotate,
        1 => revoke_token,
        1 => revoke_session,
        2 => revoke_subject,
        1 => revoke_all,
    ]
}

/// The semantics in plain lists: no sharing, no bounds, no sweeping.
#[derive(Default)]
struct Model {
    chains: HashMap<SessionId, ModelChain>,
    revoked_sessions: Vec<(SessionId, NumericDate)>,
    revoked_tokens: Vec<(SessionId, TokenId, NumericDate)>,
    /// By subject, or of all.
    cutoffs: HashMap<Option<SubjectId>, ModelCutoff>,
}

struct ModelCutoff {
    /// Each instant, and who is spared.
    revoked: Vec<(NumericDate, Option<SessionId>)>,
    until: NumericDate,
}

struct ModelChain {
    subject: Option<SubjectId>,
    start: NumericDate,
    /// Newest first, the head at its head; a token past its own instant becomes `None` at the next rotation.
    tokens: Vec<Option<(TokenId, NumericDate)>>,
    until: NumericDate,
    claims: Arc<str>,
}

impl Model {
    fn chain(&self, session: SessionId, now: NumericDate) -> Option<&ModelChain> {
        self.chains.get(&session).filter(|chain| chain.until > now)
    }

    fn token_revoked(&self, session: SessionId, token: TokenId, now: NumericDate) -> bool {
        self.revoked_tokens.iter().any(|&(s, t, until)| s == session && t == token && until > now)
    }

    fn predated(
        &self,
        session: SessionId,
        subject: Option<SubjectId>,
        start: NumericDate,
        now: NumericDate,
    ) -> Option<NumericDate> {
        let cutoffs = self.cutoffs.iter().filter(|(whose, cutoff)| {
            (whose.is_none() || **whose == subject)
                && cutoff.until > now
                && cutoff.revoked.iter().any(|&(instant, except)| start <= instant && except != Some(session))
        });
        cutoffs.flat_map(|(_, cutoff)| cutoff.revoked.iter().map(|revoked| revoked.0)).max()
    }

    fn revoked(&self, p: &Presented) -> bool {
        self.revoked_sessions.iter().any(|&(s, until)| s == p.session && until > p.now)
            || self.token_revoked(p.session, p.token, p.now)
    }

    fn generations(&self, session: SessionId, token: TokenId, now: NumericDate) -> Option<u32> {
        let tokens = &self.chain(session, now)?.tokens;
        let position = tokens.iter().position(|t| t.is_some_and(|(t, _)| t == token))?;
        let lives = tokens.get(position)?.is_some_and(|(_, until)| until > now);
        (position < 2 || lives).then_some(u32::try_from(position).expect("short"))
    }

    fn standing(&self, p: &Presented) -> Standing {
        if self.revoked(p) || self.predated(p.session, p.subject, p.session_start, p.now).is_some() {
            return Standing::Revoked;
        }
        match self.generations(p.session, p.token, p.now) {
            Some(generations @ 2..) => Standing::Reused { generations },
            _ => Standing::Live,
        }
    }

    fn rotate(&mut self, r: Rotation) -> Result<Rotated, StoreErrorKind> {
        let p = r.presented;
        if r.supersedes && p.token == r.successor {
            return Err(StoreErrorKind::Misused);
        }
        match self.predated(p.session, p.subject, p.session_start, p.now) {
            Some(revoked_until) if !r.supersedes => return Ok(Rotated::Predated { revoked_until }),
            Some(_) => return Ok(Rotated::Revoked),
            None => {}
        }
        if self.revoked(&p) || self.token_revoked(p.session, r.successor, p.now) {
            return Ok(Rotated::Revoked);
        }
        let head = self.chain(p.session, p.now).map(|chain| (chain.claims.clone(), chain.tokens.clone()));
        let Some((head, tokens)) = head else {
            let predecessor = r.supersedes.then_some(Some((p.token, r.until)));
            let tokens = [Some((r.successor, r.until))].into_iter().chain(predecessor).collect();
            let (subject, start, until, claims) = (p.subject, p.session_start, r.until, r.claims);
            self.chains.insert(p.session, ModelChain { subject, start, tokens, until, claims });
            return Ok(Rotated::Recorded);
        };
        if tokens.first().copied().flatten().is_some_and(|(t, _)| self.token_revoked(p.session, t, p.now)) {
            return Ok(Rotated::Revoked);
        }
        match (self.generations(p.session, p.token, p.now), r.supersedes) {
            (Some(0), false) | (Some(1), true) => Ok(Rotated::Superseded { head }),
            (_, false) | (None, true) => Ok(Rotated::NotInChain),
            (Some(0), true) if self.generations(p.session, r.successor, p.now).is_some() => {
                Err(StoreErrorKind::Misused)
            }
            (Some(0), true) => {
                let chain = self.chains.get_mut(&p.session).expect("it has a head");
                for token in chain.tokens.iter_mut().skip(1) {
                    *token = token.filter(|&(_, until)| until > p.now);
                }
                chain.tokens.insert(0, Some((r.successor, r.until)));
                chain.until = chain.until.max(r.until);
                chain.claims = r.claims;
                Ok(Rotated::Recorded)
            }
            (Some(generations), true) => Ok(Rotated::Reused { generations }),
        }
    }

    fn revoke(&mut self, revocation: Revocation, now: NumericDate, until: NumericDate) {
        let (whose, instant, except) = match revocation {
            Revocation::Session(session) => {
                let record = self.chains.remove(&session).map_or(until, |chain| chain.until);
                self.revoked_sessions.push((session, until.max(record)));
                return;
            }
            Revocation::Token { session, token } => {
                let chain = self.chain(session, now);
                let place = chain
                    .and_then(|chain| chain.tokens.iter().position(|t| t.is_some_and(|(t, _)| t == token)));
                let record = chain.map_or(until, |chain| chain.until);
                match place {
                    None if chain.is_some() => self.revoke(Revocation::Session(session), now, until),
                    None => self.revoked_tokens.push((session, token, until)),
                    Some(0) => self.revoked_tokens.push((session, token, until.max(record))),
                    Some(_) => self.revoke(Revocation::Session(session), now, until),
                }
                return;
            }
            Revocation::SubjectBefore { subject, instant, except } => (Some(subject), instant, except),
            Revocation::AllBefore { instant } => (None, instant, None),
        };
        let cutoff = self.cutoffs.entry(whose).or_insert(ModelCutoff { revoked: Vec::new(), until });
        if cutoff.until <= now {
            cutoff.revoked.clear();
        }
        cutoff.revoked.push((instant, except));
        cutoff.until = cutoff.until.max(until);
    }

    fn sessions(&self, s: u64, now: NumericDate) -> Vec<(SessionId, Arc<str>)> {
        let mut listed = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.until > now && chain.subject == Some(subject(s)))
            .filter(|(session, chain)| self.predated(**session, chain.subject, chain.start, now).is_none())
            .map(|(session, chain)| (*session, chain.claims.clone()))
            .collect::<Vec<_>>();
        listed.sort();
        listed
    }
}

fn at(secs: u64) -> NumericDate {
    NumericDate::from_secs(secs)
}

fn name(n: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn session(n: u64) -> SessionId {
    SessionId::from_bytes(name(n))
}

fn token(n: u64) -> TokenId {
    TokenId::from_bytes(name(n))
}

fn subject(n: u64) -> SubjectId {
    SubjectId::from_bytes(name(n))
}

fn everywhere(s: u64, instant: u64) -> Revocation {
    Revocation::SubjectBefore { subject: subject(s), instant: at(instant), except: None }
}

/// Session `s` is subject `s`'s and began at 0.
fn presents(s: u64, t: u64, now: u64) -> Presented {
    Presented::new(session(s), token(t), Some(subject(s)), at(0), at(now))
}

fn sign_in(store: &MemoryStore, s: u64, now: u64, until: u64) -> Result<Rotated, StoreErrorKind> {
    rotate(store, Rotation::sign_in(presents(s, 0, now), "{}", at(until)))
}

fn renew(
    store: &MemoryStore,
    s: u64,
    p: u64,
    n: u64,
    now: u64,
    until: u64,
) -> Result<Rotated, StoreErrorKind> {
    rotate(store, Rotation::renewal(presents(s, p, now), token(n), "{}", at(until)))
}

fn rotate(store: &MemoryStore, rotation: Rotation) -> Result<Rotated, StoreErrorKind> {
    let rotated = store.rotate(rotation).now_or_never().expect("it never waits");
    rotated.map_err(|error| error.kind())
}

fn revoke(store: &MemoryStore, revocation: Revocation, now: u64, until: u64) -> Result<(), StoreErrorKind> {
    let retention = Retention::new(at(now), 0, until - now);
    let revoked = store.revoke(revocation, retention).now_or_never().expect("it never waits");
    revoked.map_err(|error| error.kind())
}

fn standing(store: &MemoryStore, s: u64, t: u64, now: u64) -> Standing {
    store.standing_now(&presents(s, t, now)).expect("it always knows")
}

fn listed(store: &MemoryStore, s: u64, now: u64) -> Vec<(SessionId, Arc<str>)> {
    let listed =
        store.sessions(subject(s), at(now), Page::first(1_000)).now_or_never().expect("it never waits");
    let listed = listed.expect("it never fails").sessions.into_iter();
    let mut listed = listed.map(|record| (record.session, record.claims)).collect::<Vec<_>>();
    listed.sort();
    listed
}

fn audit(store: &MemoryStore) {
    store.read().audit();
}
