//! A stolen refresh token is played against its owner, in every order. What is promised is small enough to be a model: a
//! refresh token is good while it is the session's newest, and for one reuse window longer; whatever else is presented ends
//! the session.

use std::time::Duration;

use proptest::prelude::*;
use tower_reissue::store::MemoryStore;
use tower_reissue::{Authority, Login, ManualClock, Reason, Refresh, RefreshError, RefreshTokens, TokenPair};

use crate::support::*;

/// The reuse window with the tolerance for other nodes' clocks, which counts beside it.
const WINDOW: u64 = REUSE_WINDOW + 5;
const REUSE_WINDOW: u64 = 60;
const LIMIT: u64 = 43_200;

/// Who presents a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Owner,
    Thief,
}

/// After so many seconds somebody presents the newest of their refresh tokens, or an older one.
#[derive(Clone, Copy, Debug)]
struct Move {
    holder: Holder,
    after: u64,
    /// How many tokens back of the newest.
    back: usize,
}

/// What a store that does one thing at a time knows of the session.
#[derive(Default)]
struct Model {
    newest: usize,
    rotated_at: u64,
    is_ended: bool,
}

impl Model {
    /// The generation that the presented one is answered with.
    fn present(&mut self, generation: usize, now: u64) -> Result<usize, Reason> {
        if now >= NOW + LIMIT {
            return Err(Reason::SessionOver);
        }
        if self.is_ended {
            return Err(Reason::Revoked);
        }
        if generation == self.newest {
            (self.newest, self.rotated_at) = (generation + 1, now);
            return Ok(self.newest);
        }
        if generation + 1 == self.newest && now - self.rotated_at < WINDOW {
            return Ok(self.newest);
        }
        self.is_ended = true;
        Err(Reason::RefreshTokenReused)
    }
}

/// A holder's tokens, the newest last, each with its generation.
type Purse = Vec<(usize, TokenPair)>;

struct Game {
    authority: Authority,
    clock: ManualClock,
    model: Model,
    purses: [Purse; 2],
    now: u64,
}

impl Game {
    /// The owner signs in, and the thief copies the refresh token, which nobody used yet.
    fn new() -> Self {
        let clock = ManualClock::at(NOW);
        let authority = builder(&clock)
            .store(MemoryStore::new())
            .refresh_tokens(
                RefreshTokens::new("https://login.example/refresh")
                    .reuse_window(Duration::from_secs(REUSE_WINDOW)),
            )
            .build()
            .unwrap();
        let first = at_once(authority.issue_pair(Login::new("alice"))).unwrap();
        let purses = [vec![(0, first.clone())], vec![(0, first)]];
        Self { authority, clock, model: Model::default(), purses, now: NOW }
    }

    fn play(&mut self, Move { holder, after, back }: Move) {
        self.now += after;
        self.clock.set(self.now);
        let purse = &mut self.purses[holder as usize];
        let (generation, pair) = purse[purse.len() - 1 - back.min(purse.len() - 1)].clone();
        let answer = at_once(self.authority.refresh(Refresh::new(pair.refresh.as_str())));
        let expected = self.model.present(generation, self.now);
        let answer = answer.map_err(|error| match error {
            RefreshError::Refused(refusal) => refusal.reason().clone(),
            other => panic!("{other}"),
        });
        assert_eq!(answer.as_ref().err(), expected.as_ref().err(), "{holder:?} at {}", self.now - NOW);
        let (Ok(got), Ok(generation)) = (answer, expected) else { return self.check_access() };
        // One refresh token for everybody who gets this generation, and an access token of their own.
        let all = self.purses.iter().flatten();
        for (_, same) in all.clone().filter(|(other, _)| *other == generation) {
            assert_eq!(same.refresh.as_str(), got.refresh.as_str());
        }
        assert!(all.clone().all(|(_, other)| other.access.jti() != got.access.jti()));
        self.purses[holder as usize].push((generation, got));
        self.check_access();
    }

    /// An access token is good until it expires or the session ends, whoever holds it.
    fn check_access(&self) {
        for (_, pair) in self.purses.iter().flatten() {
            let is_live = !self.model.is_ended && self.now < pair.access.expires_at().as_secs();
            assert_eq!(at_once(self.authority.admit(pair.access.as_str())).is_ok(), is_live);
        }
    }
}

#[test]
fn in_every_order_of_four_moves_the_second_use_after_the_window_ends_the_session() {
    let moves: Vec<Move> = [Holder::Owner, Holder::Thief]
        .into_iter()
        .flat_map(|holder| [0, WINDOW - 1, WINDOW].map(|after| Move { holder, after, back: 0 }))
        .collect();
    let length = 4;
    for order in 0..moves.len().pow(length) {
        let mut game = Game::new();
        for place in 0..length {
            game.play(moves[order / moves.len().pow(place) % moves.len()]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_many_moves_the_session_is_what_the_model_says(
        moves in prop::collection::vec((any::<bool>(), 0_u64..2_000, 0_usize..4), 1..40)
    ) {
        let mut game = Game::new();
        for (is_thief, after, back) in moves {
            let holder = if is_thief { Holder::Thief } else { Holder::Owner };
            // Mostly the newest, mostly within a window.
            let (after, back) = (if after < 1_500 { after % 90 } else { after }, back.saturating_sub(2));
            game.play(Move { holder, after, back });
        }
    }
}

/// A copy that is used once: the owner refreshes when the access token is about to expire. However the thief chooses the
/// instant, the session ends at the owner's next refresh, or the copy is worthless one window after the owner's last.
#[test]
fn a_copy_that_its_thief_uses_once_ends_the_session_or_is_worthless_one_window_after_the_owners_use() {
    const EVERY: u64 = 550;
    for at in (0..4 * EVERY).step_by(7).chain([EVERY, EVERY + WINDOW - 1, EVERY + WINDOW]) {
        let mut game = Game::new();
        let stolen = game.purses[0][0].1.clone();
        let mut thief: Option<TokenPair> = None;
        let mut moves: Vec<(u64, Holder)> = (1..=4).map(|n| (n * EVERY, Holder::Owner)).collect();
        moves.push((at, Holder::Thief));
        moves.sort_by_key(|&(at, holder)| (at, holder == Holder::Thief));
        for (instant, holder) in moves {
            game.clock.set(NOW + instant);
            match holder {
                Holder::Thief => {
                    thief = at_once(game.authority.refresh(Refresh::new(stolen.refresh.as_str()))).ok();
                }
                Holder::Owner => {
                    let token = game.purses[0].last().unwrap().1.refresh.as_str().to_owned();
                    if let Ok(pair) = at_once(game.authority.refresh(Refresh::new(token))) {
                        game.purses[0].push((0, pair));
                    }
                }
            }
        }
        let is_before_the_owner = at < EVERY;
        let is_in_the_window = (EVERY..EVERY + WINDOW).contains(&at);
        assert_eq!(thief.is_some(), is_before_the_owner || is_in_the_window, "{at}");
        // The session outlives the theft only where it happened within a window of the owner's own use of the token: the
        // owner then holds the same newer one.
        let owner = &game.purses[0].last().unwrap().1;
        let lives = at_once(game.authority.refresh(Refresh::new(owner.refresh.as_str()))).is_ok();
        let beside_the_owner = at + WINDOW > EVERY && at < EVERY + WINDOW;
        assert_eq!(lives, beside_the_owner, "{at}");
    }
}

/// The honest bound: who refreshes within a window of each of the owner's refreshes is not told from the owner. The session
/// limit ends it, and so does whatever signs the owner out.
#[test]
fn a_thief_who_keeps_pace_is_noticed_by_nobody_until_the_session_ends() {
    let mut game = Game::new();
    while game.now + 600 < NOW + LIMIT {
        game.play(Move { holder: Holder::Owner, after: 550, back: 0 });
        game.play(Move { holder: Holder::Thief, after: WINDOW - 1, back: 0 });
    }
    assert!(!game.model.is_ended && game.model.newest > 50);
    game.play(Move { holder: Holder::Thief, after: 2_000, back: 0 });
    let (_, last) = game.purses[1].last().unwrap().clone();
    game.clock.set(NOW + LIMIT);
    assert!(at_once(game.authority.admit(last.access.as_str())).is_err());
}
