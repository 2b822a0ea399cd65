//! Contenders measured in turns: CPU time of the thread, medians over interleaved rounds.
//!
//! Wall time is noise on a shared machine, and so is whatever was measured a minute earlier: what is reported is how
//! contenders of one round compare.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long one turn of a contender lasts.
const TURN: Duration = Duration::from_millis(2);
const ROUNDS: usize = 61;

/// Whether this is `cargo bench … -- --test`: once, to see that it answers.
pub fn is_smoke() -> bool {
    std::env::args().any(|arg| arg == "--test")
}

/// CPU time that this thread has had.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A contender's runs, so many times; the CPU time they took.
type Turn<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// Contenders, in the order they are added.
#[derive(Default)]
pub struct Contest<'a> {
    pub contenders: Vec<(&'static str, Turn<'a>)>,
}

impl<'a> Contest<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    /// A contender; the number it gets is what [`Results`] are asked with.
    pub fn add<R>(&mut self, name: &'static str, mut run: impl FnMut() -> R + 'a) -> usize {
        self.add_turns(name, move |times| {
            let began = cpu_time();
            for _ in 0..times {
                black_box(run());
            }
            cpu_time() - began
        })
    }

    /// A contender that has something to prepare for each turn: it is told how many times to run, and returns the CPU
    /// time of the runs alone.
    pub fn add_turns(&mut self, name: &'static str, turn: impl FnMut(u64) -> Duration + 'a) -> usize {
        self.contenders.push((name, Box::new(turn)));
        self.contenders.len() - 1
    }

    pub fn run(&mut self) -> Results {
        let rounds = if is_smoke() { 1 } else { ROUNDS };
        let times: Vec<u64> = self.contenders.iter_mut().map(|(_, turn)| times_in_a_turn(turn)).collect();
        let mut nanos = vec![Vec::with_capacity(rounds); times.len()];
        for _ in 0..rounds {
            for (((_, turn), &times), nanos) in self.contenders.iter_mut().zip(&times).zip(&mut nanos) {
                nanos.push(turn(times).as_nanos() as f64 / times as f64);
            }
        }
        Results { nanos }
    }
}

fn times_in_a_turn(turn: &mut impl FnMut(u64) -> Duration) -> u64 {
    let mut times = 1;
    if is_smoke() {
        return times;
    }
    loop {
        let taken = turn(times);
        if taken >= TURN / 2 {
            return ((times as f64 * TURN.as_secs_f64() / taken.as_secs_f64()) as u64).max(1);
        }
        times *= 2;
    }
}

/// What each contender took in each round.
pub struct Results {
    nanos: Vec<Vec<f64>>,
}

impl Results {
    /// Nanoseconds a run, the median.
    pub fn nanos(&self, contender: usize) -> f64 {
        median(self.nanos[contender].clone())
    }

    /// By how many nanoseconds a run is longer than the floor's in the same round, the median.
    pub fn over(&self, contender: usize, floor: usize) -> f64 {
        self.compare(contender, floor, |contender, floor| contender - floor)
    }

    /// How many times as long as the other's in the same round, the median.
    pub fn ratio(&self, contender: usize, other: usize) -> f64 {
        self.compare(contender, other, |contender, other| contender / other)
    }

    fn compare(&self, one: usize, other: usize, by: impl Fn(f64, f64) -> f64) -> f64 {
        median(self.nanos[one].iter().zip(&self.nanos[other]).map(|(&one, &other)| by(one, other)).collect())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How a measured figure stands to its budget, to be printed beside it.
pub fn verdict(measured: f64, budget: f64) -> &'static str {
    match measured <= budget {
        _ if is_smoke() => "not measured",
        true => "met",
        false => "MISSED",
    }
}
