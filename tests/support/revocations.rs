//! A random session model: several authorities with different limits, leeways and clocks on one store, limits raised
//! meanwhile. No token that existed at a revocation is ever admitted again, and nobody who signs in after it is refused.
//!
//! It runs on any store: the caller opens another handle for each authority.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{
    ClaimsStore, Horizon, Presented, Retention, Revocation, Rotation, SessionId, Standing, SubjectId,
    SubjectLimit, TokenId,
};
use tower_reissue::{
    Authority, Clock as _, Login, ManualClock, NumericDate, Reason, ReissueLayer, SystemClock,
};

use crate::support::*;

/// The nodes' tolerances.
const TOLERANCES: [u64; 2] = [5, 9];
/// How far the clocks of two nodes differ: as far as "up to now" reaches.
const SKEW: u64 = TOLERANCES[0] - 2;
/// No node's grace, leeway or in-flight allowance is longer.
const WINDOW: u64 = 400;
/// The longest life of a token without `iat`: longer than some nodes let a session live.
const LONGEST: u64 = 1_000;
const SUBJECTS: [&str; 3] = ["alice", "bob", "carol"];

/// Runs one sequence of calls, and says how often a token was renewed. In every other one a subject has one session at a time,
/// and few are remembered. `begin` is an instant that the store's own clock, if
/// it has one, has not reached.
pub async fn no_token_that_existed_at_a_revocation_is_ever_admitted_again<S: ClaimsStore>(
    open: impl AsyncFn() -> S,
    begin: u64,
    seed: u64,
    calls: usize,
) -> usize {
    let mut world = World {
        open,
        random: Random(seed | 1),
        now: begin,
        nodes: Vec::new(),
        tokens: Vec::new(),
        largest: 1_200,
        seed,
        call: 0,
        minted: 0,
        seen: [0; 4],
    };
    (world.open)().await.horizon(Horizon::Secs(world.largest + WINDOW)).await.unwrap();
    let largest = world.largest;
    world.build(largest).await;
    world.build(600).await;
    for call in 0..calls {
        world.call = call;
        world.step().await;
    }
    // Long after: each node, at instants until the last token of all is past its time everywhere.
    for later in 0..24 {
        world.now += world.largest / 8;
        world.set_clocks();
        world.call = calls + later;
        world.look(usize::MAX).await;
    }
    let [admitted, revoked, renewed, refused] = world.seen;
    assert!(admitted > 0 && revoked > 0 && refused > 0, "seed {seed}: nothing was tried: {:?}", world.seen);
    renewed
}

/// A sign-in after a revocation is dated ahead, also ahead of the instant at which a lost store begins anew. `open` opens the store,
/// and after the first time one that has lost everything.
pub async fn a_session_that_is_dated_ahead_of_a_loss_is_not_live_again<S: ClaimsStore>(
    open: impl AsyncFn() -> S,
) {
    let clock = ManualClock::at(SystemClock.now().as_secs());
    let node = async |tolerance| {
        clock.set(SystemClock.now().as_secs());
        let tolerance = Duration::from_secs(tolerance);
        builder(&clock).future_tolerance(tolerance).store(open().await).build().unwrap()
    };
    for tolerance in [5, 60] {
        let before = node(tolerance).await;
        before.revoke_subject("alice").await.unwrap();
        let token = before.issue(Login::new("alice")).await.unwrap().into_string();
        let begun = before.admit(&token).await.unwrap().session_start();
        assert!(begun > clock.now(), "it begins ahead of the clock");
        before.sign_out(&token).await.unwrap();
        let after = node(tolerance).await;
        let refusal = after.admit(&token).await.unwrap_err();
        assert_eq!(*refusal.reason(), Reason::UnknownSession, "tolerance {tolerance}");
        // A sign-in is recorded, so it is known from its first second on.
        let token = after.issue(Login::new("alice")).await.unwrap();
        after.admit(token.as_str()).await.unwrap();
    }
}

/// A revocation up to now reaches the sessions that were dated ahead of every clock, by a node that tolerates more than the
/// revoker does, and nobody has to wait for that instant to sign in again, however often it is repeated. `now` is the nodes'
/// clock: it must tell the store's own time at times, for what is ahead of both depends on it.
pub async fn revoking_up_to_now_spares_no_session_and_holds_up_nobody<S: ClaimsStore>(
    open: impl AsyncFn() -> S,
    now: impl Fn() -> u64,
) {
    let clock = ManualClock::at(now());
    let node = async |tolerance| {
        let tolerance = Duration::from_secs(tolerance);
        builder(&clock).future_tolerance(tolerance).store(open().await).build().unwrap()
    };
    let [strict, lax] = [node(5).await, node(60).await];
    let issue = async |node: &Authority, subject| node.issue(Login::new(subject)).await;
    let mut ended = Vec::new();
    for round in 0..6 {
        clock.set(now());
        // Bob signs in again within the second in which he was revoked, as far ahead as the lax node goes.
        lax.revoke_subject("bob").await.unwrap();
        let bob = issue(&lax, "bob").await.unwrap().into_string();
        assert!(
            payload(&bob)["iat"].as_u64().unwrap() > clock.now().as_secs() + 50,
            "he begins ahead of the clock"
        );
        ended.push(bob);
        ended.push(issue(&strict, "alice").await.unwrap().into_string());
        for _ in 0..3 {
            clock.set(now());
            match round % 2 {
                0 => strict.revoke_all_before(NumericDate::MAX).await.unwrap(),
                _ => {
                    for subject in ["alice", "bob", "carol"] {
                        strict.revoke_subject(subject).await.unwrap();
                    }
                }
            }
        }
        clock.set(now());
        let carol = issue(&strict, "carol").await;
        let carol = carol.unwrap_or_else(|error| panic!("round {round}: she has to wait: {error}"));
        strict.admit(carol.as_str()).await.unwrap();
        for ahead in [0, 70] {
            clock.set(now() + ahead);
            for (n, token) in ended.iter().enumerate() {
                for node in [&strict, &lax] {
                    assert!(
                        node.admit(token).await.is_err(),
                        "round {round}, token {n} is admitted {ahead} s later"
                    );
                }
            }
        }
        ended.push(carol.into_string());
    }
}

/// A revoker whose clock is behind reaches what the others have begun by now, by the store's own clock, also once it made
/// room for others.
pub async fn a_revoker_whose_clock_is_behind_reaches_what_the_others_began<S: ClaimsStore>(store: &S) {
    let id = |kind: u8, n: u64| {
        let mut id = [kind; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id
    };
    let (session, token) = (|n| SessionId::from_bytes(id(1, n)), |n| TokenId::from_bytes(id(3, n)));
    let subject = |n| SubjectId::from_bytes(id(2, n));
    let now = SystemClock.now();
    let later = |date: NumericDate, secs| NumericDate::from_secs(date.as_secs() + secs);
    let behind = NumericDate::from_secs(now.as_secs() - 1_000);
    let mut limit = SubjectLimit::new(1);
    limit.remembered = 3;
    let retention = |now| Retention::new(now, 5, 300).limited_to(limit);
    let presented = |n, whose| Presented::new(session(n), token(n), Some(subject(whose)), now, now);
    let is_revoked = async |n, whose, what: &str| {
        assert_eq!(store.standing(&presented(n, whose)).await.unwrap(), Standing::Revoked, "{what}");
    };
    let ended = retention(behind).of(Some(subject(1)), behind);
    store.revoke(Revocation::Session(session(1)), ended).await.unwrap();
    for n in 2..9 {
        let begun = later(now, n);
        let presented = Presented::new(session(n), token(n), Some(subject(1)), begun, begun);
        let sign_in = Rotation::sign_in(presented, "{}", later(begun, 1_000)).limited_by(retention(begun));
        store.rotate(sign_in).await.unwrap();
        let ended = retention(begun).of(Some(subject(1)), begun);
        store.revoke(Revocation::Session(session(n)), ended).await.unwrap();
        is_revoked(1, 1, &format!("a session that ended, after {n} others")).await;
    }
    let instant = later(behind, 3);
    for except in [None, Some(session(100))] {
        let whose = 2 + u64::from(except.is_some());
        let revocation = Revocation::SubjectBefore { subject: subject(whose), instant, except };
        store.revoke(revocation, retention(behind)).await.unwrap();
        is_revoked(10, whose, "a subject's").await;
    }
    store.revoke(Revocation::AllBefore { instant }, retention(behind)).await.unwrap();
    is_revoked(11, 4, "everybody's").await;
}

struct World<F> {
    open: F,
    random: Random,
    /// By the slowest clock.
    now: u64,
    nodes: Vec<Node>,
    tokens: Vec<Token>,
    /// Of the limits of the nodes.
    largest: u64,
    seed: u64,
    call: usize,
    minted: u64,
    /// Admitted, revoked, renewed, refused.
    seen: [usize; 4],
}

struct Node {
    authority: Authority,
    clock: ManualClock,
    ahead: u64,
}

#[derive(Clone)]
struct Token {
    text: String,
    subject: &'static str,
    /// Its session's name; a token that has none is a session of its own.
    sid: String,
    start: u64,
    /// It existed when it was revoked.
    is_revoked: bool,
}

impl<S: ClaimsStore, F: AsyncFn() -> S> World<F> {
    /// Another node, with a limit that the store's horizon suffices for.
    async fn build(&mut self, limit: u64) {
        let ahead = self.random.below(SKEW + 1);
        let clock = ManualClock::at(self.now + ahead);
        let lifetime = 120 + 60 * self.random.below(5);
        let authority = builder(&clock)
            .max_session_lifetime(Duration::from_secs(limit))
            .lifetime(Duration::from_secs(lifetime))
            .leeway(Duration::from_secs(self.random.below(20)))
            .grace(Duration::from_secs(20 + self.random.below(20)))
            .in_flight_allowance(Duration::from_secs(60 + self.random.below(240)))
            .future_tolerance(Duration::from_secs(TOLERANCES[self.random.index(2)]))
            .max_sessions_per_subject(if self.seed.is_multiple_of(2) { 1_000 } else { 1 })
            .accept_without_iat(Duration::from_secs(LONGEST))
            .store((self.open)().await)
            .build();
        self.nodes.push(Node { authority: authority.unwrap(), clock, ahead });
        self.largest = self.largest.max(limit);
    }

    async fn step(&mut self) {
        match self.random.below(21) {
            0 => self.now += self.random.below(400),
            1..4 => self.now += self.random.below(4),
            4..8 => self.sign_in().await,
            8..10 => self.mint(),
            10..13 => self.renew().await,
            13..18 => self.revoke().await,
            18 if self.nodes.len() < 6 => {
                let limit = [600, 1_200, self.largest][self.random.index(3)];
                self.build(limit).await;
            }
            // The horizon is raised, and a node built that needs it.
            19..21 if self.largest < 20_000 => {
                let limit = self.largest * 2;
                let clock = self.now + self.random.below(SKEW + 1);
                let store = (self.open)().await;
                let to = Horizon::Secs(limit + WINDOW);
                store.raise_horizon(to, NumericDate::from_secs(clock)).await.unwrap();
                let replaced = self.random.index(self.nodes.len());
                self.nodes.remove(replaced);
                self.build(limit).await;
            }
            _ => {}
        }
        self.set_clocks();
        self.look(6).await;
    }

    fn set_clocks(&self) {
        for node in &self.nodes {
            node.clock.set(self.now + node.ahead);
        }
    }

    /// Whoever signs in is signed in, and admitted where the clock is no further behind than the token is ahead.
    async fn sign_in(&mut self) {
        let (node, subject) = (self.random.index(self.nodes.len()), SUBJECTS[self.random.index(3)]);
        let mut issued = self.nodes[node].authority.issue(Login::new(subject)).await;
        // Who signs in and is revoked again and again within one second moves a second ahead each time, by clocks that
        // differ too: at some point it takes a moment.
        for _ in 0..3 {
            if issued.is_err() {
                self.now += 1;
                self.set_clocks();
                issued = self.nodes[node].authority.issue(Login::new(subject)).await;
            }
        }
        let text = issued.unwrap_or_else(|error| panic!("{}: {error}: {error:?}", self.name())).into_string();
        let start = payload(&text)["iat"].as_u64().unwrap();
        for node in &self.nodes {
            if start <= self.now + node.ahead + TOLERANCES[0] {
                let admitted = node.authority.admit(&text).await;
                assert!(admitted.is_ok(), "{}: just signed in, and {:?}", self.name(), admitted.err());
            }
        }
        self.seen[0] += 1;
        self.keep(text, subject);
    }

    /// By software that has the key and does not ask the store, by a clock of its own.
    fn mint(&mut self) {
        let iat = self.now + self.random.below(SKEW + 1);
        let known = self.random.index(self.tokens.len().max(1));
        let (sid, subject) = match self.tokens.get(known) {
            Some(token) if !token.sid.starts_with("of ") && self.random.below(2) == 0 => {
                (token.sid.clone(), token.subject)
            }
            _ => (format!("minted-{}", self.minted), SUBJECTS[self.random.index(3)]),
        };
        self.minted += 1;
        let start = iat - self.random.below(3) * 50;
        let is_dated = self.random.below(3) > 0;
        let life =
            if is_dated { 100 + self.random.below(4 * self.largest) } else { 1 + self.random.below(LONGEST) };
        let text = mint(&claims_with(json!({
            "jti": format!("m-{}-{}", self.seed, self.minted), "sub": subject,
            "sid": (self.random.below(4) > 0).then_some(sid),
            "session_start": (self.random.below(2) > 0).then_some(start),
            "iat": is_dated.then_some(iat), "exp": iat + life,
        })));
        self.keep(text, subject);
    }

    fn keep(&mut self, text: String, subject: &'static str) {
        let claims = payload(&text);
        let name = |claim: &str| claims[claim].as_str().map(str::to_owned);
        let sid = name("sid").unwrap_or_else(|| format!("of {}", name("jti").unwrap()));
        let exp = claims["exp"].as_u64().unwrap();
        let start = claims["session_start"].as_u64().or(claims["iat"].as_u64()).unwrap_or(exp - LONGEST);
        self.tokens.push(Token { text, subject, sid, start, is_revoked: false });
    }

    async fn renew(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let token = self.tokens[self.random.index(self.tokens.len())].clone();
        let node = self.random.index(self.nodes.len());
        // It comes late in its life, if that is still to come.
        let exp = payload(&token.text)["exp"].as_u64().unwrap();
        let wait = exp.saturating_sub(10 + self.now);
        if wait < 400 {
            self.now += wait;
            self.set_clocks();
        }
        let (admitted, successor) = present(&self.nodes[node].authority, &token.text).await;
        if token.is_revoked {
            assert!(!admitted && successor.is_none(), "{}: {token:?} was exchanged", self.name());
            self.seen[3] += 1;
        }
        if let Some(successor) = successor {
            self.seen[2] += 1;
            let sid = payload(&successor)["sid"].as_str().unwrap().to_owned();
            self.keep(successor, token.subject);
            // A session that had no name is named by its successor.
            for known in &mut self.tokens {
                if known.sid == token.sid {
                    known.sid.clone_from(&sid);
                }
            }
        }
    }

    async fn revoke(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let chosen = self.tokens[self.random.index(self.tokens.len())].clone();
        let authority = self.nodes[self.random.index(self.nodes.len())].authority.clone();
        let (all, of_subject, of_session) = match self.random.below(8) {
            // What can't be proven any more ends nothing.
            0..3 if authority.sign_out(&chosen.text).await.is_ok() => (false, false, true),
            3 => {
                authority.revoke_subject(chosen.subject).await.unwrap();
                (false, true, true)
            }
            4..6 => match authority.admit(&chosen.text).await {
                Ok(token) => {
                    authority.revoke_other_sessions(&token).await.unwrap();
                    (false, true, false)
                }
                Err(_) => return,
            },
            6 => match authority.admit(&chosen.text).await {
                Ok(token) => {
                    authority.revoke_session(&token).await.unwrap();
                    (false, false, true)
                }
                Err(_) => return,
            },
            7 => {
                let instant = [NumericDate::MAX, NumericDate::from_secs(self.now - 60)][self.random.index(2)];
                authority.revoke_all_before(instant).await.unwrap();
                if instant < NumericDate::MAX {
                    for token in &mut self.tokens {
                        token.is_revoked |= token.start <= instant.as_secs();
                    }
                    return;
                }
                (true, true, true)
            }
            _ => return,
        };
        self.seen[1] += 1;
        for token in &mut self.tokens {
            token.is_revoked |= match token.sid == chosen.sid {
                true => of_session,
                false => all || (of_subject && token.subject == chosen.subject),
            };
        }
    }

    /// Presents some of the revoked tokens, of whatever age, at every node.
    async fn look(&mut self, at_most: usize) {
        let revoked = self.tokens.iter().filter(|token| token.is_revoked).collect::<Vec<_>>();
        let chosen = match at_most < revoked.len() {
            true => (0..at_most).map(|_| revoked[self.random.index(revoked.len())]).collect::<HashSet<_>>(),
            false => revoked.into_iter().collect(),
        };
        for token in chosen {
            for (n, node) in self.nodes.iter().enumerate() {
                let verdict = node.authority.admit(&token.text).await;
                assert!(verdict.is_err(), "{}: node {n} admits {token:?}", self.name());
                self.seen[3] += 1;
            }
        }
    }

    fn name(&self) -> String {
        format!("seed {}, call {}, at {}", self.seed, self.call, self.now)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Token {}

impl std::hash::Hash for Token {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Without the signature.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&payload_text(&self.text))
    }
}

/// Whether the handler ran, and the successor that came back.
async fn present(authority: &Authority, token: &str) -> (bool, Option<String>) {
    let handler = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let service = ReissueLayer::new(authority.clone()).layer(handler);
    let response = service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    let successor = response.headers().get("refreshed-api-token");
    (response.status() == 200, successor.map(|value| value.to_str().unwrap().to_owned()))
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}
