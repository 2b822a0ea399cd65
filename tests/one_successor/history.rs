//! What a session was asked and what it answered, and whether a store that does one thing at a time could have
//! answered so.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// A call about one session; tokens are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    SignIn(u64),
    Rotate { from: u64, to: u64 },
    Standing(u64),
    Revoke,
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Recorded,
    /// The head.
    Superseded(u64),
    /// Generations ago.
    Reused(u32),
    Revoked,
    Unknown,
    Live,
    /// Revoked as asked.
    Done,
    Head(Option<u64>),
}

/// A call and its answer, `None` where its process was killed before it had one.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub call: Call,
    pub answer: Option<Answer>,
    pub began: Instant,
    pub answered: Instant,
}

/// # Panics
/// Where no order of the calls explains their answers.
pub fn assert_explained(events: &[Event], scene: &dyn fmt::Display) {
    if !is_explained(events) {
        let mut events = events.to_vec();
        events.sort_by_key(|event| event.began);
        let at = |instant: Instant| (instant - events[0].began).as_micros();
        let told = events.iter().map(|event| {
            let until = event.answer.map_or("never".to_owned(), |_| at(event.answered).to_string());
            format!("\n{:>9}..{until:<9} {:?}: {:?}", at(event.began), event.call, event.answer)
        });
        panic!("{scene}: no order of the calls explains their answers:{}", told.collect::<String>());
    }
}

fn is_explained(events: &[Event]) -> bool {
    let mut actions = Vec::new();
    for (number, event) in events.iter().enumerate() {
        // At one instant the beginnings come first: such calls overlap.
        actions.push(((false, event.began, false), (number, Action::Call(*event))));
        // A call without an answer may have been done at any time; done last of all is as good as never.
        let order = (event.answer.is_none(), event.answered, true);
        actions.push((order, (number, Action::Response(*event))));
    }
    actions.sort_by_key(|&(order, _)| order);
    let actions = actions.into_iter().map(|(_, action)| action).collect();
    WGLChecker::<OneSession>::is_linearizable(History::from_actions(actions))
}

/// What a store is to do, one call after the other.
struct OneSession;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Session {
    /// The head last. Empty while nothing is recorded.
    chain: Vec<u64>,
    revoked: bool,
}

impl Specification for OneSession {
    type State = Session;
    type Operation = Event;

    fn init() -> Session {
        Session::default()
    }

    fn apply(event: &Event, before: &Session) -> (bool, Session) {
        let mut session = before.clone();
        let answer = session.answer(event.call);
        match event.answer {
            Some(given) if given != answer => (false, before.clone()),
            _ => (true, session),
        }
    }
}

impl Session {
    fn answer(&mut self, call: Call) -> Answer {
        let generations = |token| self.chain.iter().rev().position(|&known| known == token);
        let head = self.chain.last().copied();
        match call {
            Call::Head => Answer::Head(head.filter(|_| !self.revoked)),
            Call::Revoke => {
                self.revoked = true;
                Answer::Done
            }
            _ if self.revoked => Answer::Revoked,
            Call::Standing(token) => match generations(token) {
                Some(generations @ 2..) => Answer::Reused(generations as u32),
                _ => Answer::Live,
            },
            Call::SignIn(token) => match (head, generations(token)) {
                (None, _) => self.record([token]),
                (Some(head), Some(0)) => Answer::Superseded(head),
                _ => Answer::Unknown,
            },
            Call::Rotate { from, to } => match (head, generations(from)) {
                (None, _) => self.record([from, to]),
                (Some(_), Some(0)) => self.record([to]),
                (Some(head), Some(1)) => Answer::Superseded(head),
                (Some(_), Some(generations)) => Answer::Reused(generations as u32),
                (Some(_), None) => Answer::Unknown,
            },
        }
    }

    fn record<const N: usize>(&mut self, tokens: [u64; N]) -> Answer {
        self.chain.extend(tokens);
        Answer::Recorded
    }
}

mod tests {
    use std::time::Duration;

    use super::*;

    /// Calls by the microseconds at which each began and was answered.
    fn events(calls: &[(u64, u64, Call, Option<Answer>)]) -> Vec<Event> {
        let zero = Instant::now();
        let at = |micros| zero + Duration::from_micros(micros);
        let event = |&(began, answered, call, answer): &_| Event {
            call,
            answer,
            began: at(began),
            answered: at(answered),
        };
        calls.iter().map(event).collect()
    }

    const fn rotate(from: u64, to: u64) -> Call {
        Call::Rotate { from, to }
    }

    #[test]
    fn a_history_without_an_order_is_refused() {
        use Answer::*;
        use Call::{Revoke, SignIn, Standing};
        let sign_in = (0, 1, SignIn(0), Some(Recorded));
        // Of two at once, one is recorded.
        assert!(is_explained(&events(&[
            sign_in,
            (2, 5, rotate(0, 1), Some(Superseded(2))),
            (3, 4, rotate(0, 2), Some(Recorded)),
        ])));
        // Two successors.
        assert!(!is_explained(&events(&[
            sign_in,
            (2, 5, rotate(0, 1), Some(Recorded)),
            (3, 4, rotate(0, 2), Some(Recorded)),
        ])));
        // A head that nobody recorded, and one that had not begun.
        assert!(!is_explained(&events(&[sign_in, (2, 5, rotate(0, 1), Some(Superseded(7)))])));
        assert!(!is_explained(&events(&[
            sign_in,
            (2, 3, rotate(0, 1), Some(Superseded(2))),
            (4, 5, rotate(0, 2), Some(Recorded)),
        ])));
        // Recorded, and lost.
        assert!(!is_explained(&events(&[
            sign_in,
            (2, 3, rotate(0, 1), Some(Recorded)),
            (4, 5, rotate(0, 2), Some(Recorded)),
        ])));
        assert!(!is_explained(&events(&[
            sign_in,
            (2, 3, rotate(0, 1), Some(Recorded)),
            (4, 5, Call::Head, Some(Head(Some(0)))),
        ])));
        // A revocation beats what follows it, and what is under way may come before.
        assert!(is_explained(&events(&[
            sign_in,
            (2, 4, Revoke, Some(Done)),
            (3, 6, rotate(0, 1), Some(Recorded)),
            (7, 8, Standing(1), Some(Revoked)),
        ])));
        assert!(!is_explained(&events(&[
            sign_in,
            (2, 4, Revoke, Some(Done)),
            (5, 6, rotate(0, 1), Some(Recorded)),
        ])));
        // Reuse, counted.
        let chain = [sign_in, (2, 3, rotate(0, 1), Some(Recorded)), (4, 5, rotate(1, 2), Some(Recorded))];
        for (generations, right) in [(1, false), (2, true), (3, false)] {
            let reused = (6, 7, rotate(0, 9), Some(Reused(generations)));
            assert_eq!(is_explained(&events(&[&chain[..], &[reused]].concat())), right);
        }
    }

    #[test]
    fn a_call_without_an_answer_was_done_or_was_not() {
        use Answer::*;
        let sign_in = (0, 1, Call::SignIn(0), Some(Recorded));
        let killed = (2, 0, rotate(0, 1), None);
        for (next, right) in [
            (Recorded, true),
            (Superseded(1), true),
            (Superseded(2), false),
            (Reused(2), false),
            (Unknown, false),
        ] {
            let next = (3, 4, rotate(0, 3), Some(next));
            assert_eq!(is_explained(&events(&[sign_in, killed, next])), right, "{next:?}");
        }
        // Not both.
        let done = (3, 4, rotate(0, 3), Some(Superseded(1)));
        let undone = (5, 6, Call::Head, Some(Head(Some(0))));
        assert!(!is_explained(&events(&[sign_in, killed, done, undone])));
        // Not before it began.
        let sooner = (0, 1, rotate(0, 3), Some(Superseded(1)));
        assert!(!is_explained(&events(&[sign_in, killed, sooner])));
    }
}
