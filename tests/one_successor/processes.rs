//! Four processes on one store: each rotates one token at once with the others, goes on from what it was given, and
//! looks at what it had. In the one test nobody dies, in the other one of them does, wherever it happens to be.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::driver::{Process, Scene};
use crate::history::{Answer, Call, Event, assert_explained};
use crate::places::{Ground, Place, Store};

const PROCESSES: usize = 4;

pub async fn four(ground: Ground) {
    let store = ground.place.open().await;
    let mut processes = spawn(&ground.place);
    for round in 0..crate::rounds() {
        let mut events = opened(&store, round).await;
        let made = tokio::task::block_in_place(|| race(&mut processes, round, None));
        assert!(made.iter().flatten().all(|event| event.answer.is_some()), "round {round}: {made:?}");
        let first = made.iter().map(|events| events[0].answer.unwrap()).collect::<Vec<_>>();
        let recorded = first.iter().position(|&answer| answer == Answer::Recorded).expect("one recorded");
        for (number, answer) in first.into_iter().enumerate().filter(|&(number, _)| number != recorded) {
            assert_eq!(answer, Answer::Superseded(own(recorded, 1)), "round {round}, process {number}");
        }
        events.extend(made.into_iter().flatten());
        look_back(&store, round, &mut events).await;
        assert_explained(&events, &format!("round {round}"));
    }
    eprintln!("{} rounds of four processes", crate::rounds());
}

pub async fn killed(ground: Ground) {
    let store = ground.place.open().await;
    let mut processes = spawn(&ground.place);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // How long a round takes. The victim begins a little sooner than the others, and so wins often; the blow falls
    // while it is at the calls that record.
    let mut usual = Duration::from_millis(4);
    let (mut round, mut done, mut undone, mut others) = (0, 0, 0, 0);
    while done + undone + others < crate::kills() {
        assert!(round < 100 * crate::kills(), "the blow never falls while a call is under way");
        let victim = round as usize % PROCESSES;
        let mut events = opened(&store, round).await;
        let begun = Instant::now();
        let ahead = usual.mul_f64(random.share() / 4.0);
        let blow = Blow { victim, ahead, after: usual.mul_f64(random.share() / 2.0) };
        let made = tokio::task::block_in_place(|| race(&mut processes, round, Some(&blow)));
        usual = (usual * 7 + begun.elapsed().min(Duration::from_millis(200))) / 8;
        let lives = |&(number, _): &(usize, &Vec<Event>)| number != victim;
        for (number, events) in made.iter().enumerate().filter(lives) {
            assert!(
                events.len() >= 4 && events.iter().all(|event| event.answer.is_some()),
                "{number} died too"
            );
        }
        let unanswered = made[victim].iter().find(|event| event.answer.is_none()).map(|event| event.call);
        events.extend(made.into_iter().flatten());
        let chain = look_back(&store, round, &mut events).await;
        assert_explained(&events, &format!("round {round}, process {victim} killed"));
        match unanswered {
            Some(Call::Rotate { to, .. }) if chain.contains(&to) => done += 1,
            Some(Call::Rotate { .. }) => undone += 1,
            Some(_) => others += 1,
            None => {}
        }
        processes[victim] = Process::spawn(&ground.place);
        round += 1;
    }
    eprintln!(
        "{round} processes killed, {} of them with a call under way: {done} rotations found recorded, {undone} not, \
         {others} other calls",
        done + undone + others
    );
}

fn spawn(place: &Place) -> Vec<Process> {
    (0..PROCESSES).map(|_| Process::spawn(place)).collect()
}

/// The name that a process gives to the successor it proposes.
fn own(process: usize, step: u64) -> u64 {
    10 * (process as u64 + 1) + step
}

/// Half the sessions are on record, half are not.
async fn opened(store: &Store, round: u64) -> Vec<Event> {
    if round.is_multiple_of(2) { vec![ask(store, round, Call::SignIn(0)).await] } else { Vec::new() }
}

struct Blow {
    victim: usize,
    /// Of the others.
    ahead: Duration,
    after: Duration,
}

/// What each process was asked and answered, in its order.
fn race(processes: &mut [Process], round: u64, blow: Option<&Blow>) -> Vec<Vec<Event>> {
    let dies = blow.is_some();
    let start = Barrier::new(processes.len() + usize::from(dies));
    std::thread::scope(|scope| {
        let killer = blow.map(|blow| {
            let kill = processes[blow.victim].killer();
            let start = &start;
            scope.spawn(move || {
                start.wait();
                std::thread::sleep(blow.after);
                kill();
            })
        });
        let drivers = processes.iter_mut().enumerate().map(|(number, process)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                if let Some(blow) = blow.filter(|blow| blow.victim != number) {
                    std::thread::sleep(blow.ahead);
                }
                let mut events = Vec::new();
                // Where all live, nobody goes on before all were answered: all were to be given the one.
                let together = || {
                    if !dies {
                        _ = start.wait()
                    }
                };
                drive(process, number, round, together, &mut events);
                events
            })
        });
        let drivers = drivers.collect::<Vec<_>>();
        let made = drivers.into_iter().map(|driver| driver.join().unwrap()).collect();
        if let Some(killer) = killer {
            killer.join().unwrap();
        }
        made
    })
}

/// One process's calls, to the end or to its own.
fn drive(
    process: &mut Process,
    number: usize,
    round: u64,
    together: impl Fn(),
    events: &mut Vec<Event>,
) -> Option<()> {
    let mut ask = |call| {
        let event = process.ask(round, call)?;
        events.push(event);
        event.answer
    };
    let first = ask(Call::Rotate { from: 0, to: own(number, 1) });
    together();
    let head = match first? {
        Answer::Superseded(head) => head,
        _ => own(number, 1),
    };
    ask(Call::Rotate { from: head, to: own(number, 2) })?;
    // In some rounds one of them signs out.
    if round % 5 == 4 && number == round as usize % 3 {
        ask(Call::Revoke)?;
    }
    ask(Call::Standing(0))?;
    ask(Call::Rotate { from: 0, to: own(number, 3) })?;
    Some(())
}

/// When all is over: which of the tokens are in the chain, and what that says of the calls before.
async fn look_back(store: &Store, round: u64, events: &mut Vec<Event>) -> BTreeSet<u64> {
    let head = ask(store, round, Call::Head).await;
    events.push(head);
    let Some(Answer::Head(Some(head))) = head.answer else { return BTreeSet::new() };
    let mut chain = BTreeSet::from([head]);
    let names = (0..PROCESSES).flat_map(|process| [1, 2, 3].map(|step| own(process, step)));
    for token in names.filter(|&token| token != head) {
        // Of a recorded session, this records nothing.
        let event = ask(store, round, Call::Rotate { from: token, to: 99 }).await;
        events.push(event);
        if event.answer != Some(Answer::Unknown) {
            chain.insert(token);
        }
    }
    chain
}

async fn ask(store: &Store, round: u64, call: Call) -> Event {
    let began = Instant::now();
    let answer = Scene::new(round).ask(store, call).await;
    Event { call, answer: Some(answer), began, answered: Instant::now() }
}

/// The same run each time, as far as the machine allows.
struct Random(u64);

impl Random {
    /// Of 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1 << 24) as f64
    }
}
