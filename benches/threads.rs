//! What requests do to each other: cheap ones while RS256 successors are signed, many that are owed one successor, two
//! threads on one hot token. `cargo bench --bench threads`.
//!
//! The first is wall time and so needs a quiet machine; the others are CPU time of the threads.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};
use support::*;
use tower::ServiceExt as _;
use tower_reissue::Algorithm;
use tower_reissue::{Authority, Clock as _, ManualClock, SystemClock};

const LIFETIME: u64 = 600;
const DELIVERED: HeaderName = HeaderName::from_static("refreshed-api-token");

fn main() {
    cheap_requests_while_successors_are_signed();
    many_that_are_owed_one_successor();
    two_threads_on_one_hot_token();
}

/// A runtime of two threads; cheap requests arrive steadily, and so do others whose response carries a successor.
fn cheap_requests_while_successors_are_signed() {
    println!("cheap requests, 4,000 a second on 2 threads, from their arrival to their answer");
    println!("{:<32} {:>12} {:>12} {:>12}", "RS256 reissues beside them", "p50", "p99", "longest");
    for a_second in [0, 100, 400, 1_000] {
        let mut taken = latencies(a_second, Duration::from_secs(if is_smoke() { 1 } else { 5 }));
        taken.sort();
        let at = |percent: usize| format!("{:.1?}", taken[(taken.len() - 1) * percent / 100]);
        println!("{:<32} {:>12} {:>12} {:>12}", format!("{a_second} a second"), at(50), at(99), at(100));
    }
}

fn latencies(reissues_a_second: u32, last: Duration) -> Vec<Duration> {
    const PACE: Duration = Duration::from_micros(250);
    let (authority, clock) = aging(Algorithm::RS256);
    let mut service = guarded(&authority);
    let reissues = (f64::from(reissues_a_second) * last.as_secs_f64()) as u32;
    let mut due: Vec<HeaderValue> = (0..reissues).map(|_| bearer(&issue(&authority))).collect();
    for bearer in &due {
        assert_eq!(respond(&mut service, bearer).status(), StatusCode::OK);
    }
    clock.advance(LIFETIME - 10);
    let cheap = bearer(&issue(&authority));
    assert_eq!(respond(&mut service, &cheap).status(), StatusCode::OK);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (taken, delivered) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let began = Instant::now();
    let (mut sent, mut reissued) = (0, 0);
    while began.elapsed() < last {
        if f64::from(reissued) < began.elapsed().as_secs_f64() * f64::from(reissues_a_second)
            && let Some(bearer) = due.pop()
        {
            reissued += 1;
            let (service, delivered) = (service.clone(), delivered.clone());
            runtime.spawn(async move {
                let response = service.oneshot(request(&bearer)).await.unwrap();
                *delivered.lock().unwrap() += u32::from(response.headers().contains_key(DELIVERED));
            });
        }
        let (service, taken, request) = (service.clone(), taken.clone(), request(&cheap));
        let arrived = Instant::now();
        runtime.spawn(async move {
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            taken.lock().unwrap().push(arrived.elapsed());
        });
        sent += 1;
        thread::sleep(PACE.saturating_mul(sent).saturating_sub(began.elapsed()));
    }
    // Everything is answered before it is counted.
    while taken.lock().unwrap().len() < sent as usize || *delivered.lock().unwrap() < reissued {
        assert!(
            began.elapsed() < last + Duration::from_secs(60),
            "requests without an answer, or no successor"
        );
        thread::sleep(Duration::from_millis(10));
    }
    std::mem::take(&mut *taken.lock().unwrap())
}

/// ES256 signs one message differently each time: equal successors are one signature. RS256 is where it counts.
fn many_that_are_owed_one_successor() {
    const THREADS: usize = 16;
    println!("\n{THREADS} threads owed one successor");
    for algorithm in [Algorithm::ES256, Algorithm::RS256] {
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for _ in 0..if is_smoke() { 3 } else { 30 } {
            let (lone, successors) = delivered_to(1, algorithm);
            assert_eq!(successors.len(), 1);
            alone.push(lone.as_secs_f64());
            let (many, successors) = delivered_to(THREADS, algorithm);
            assert_eq!(successors.len(), 1, "{algorithm:?}: more than one signature");
            together.push(many.as_secs_f64());
        }
        let ratio = median(together) / median(alone);
        println!("{algorithm:?}: one signature each time; CPU of all over that of one alone {ratio:.2}");
    }
}

/// One token that is due, presented by so many threads at once: their CPU time together, and what they were given.
fn delivered_to(threads: usize, algorithm: Algorithm) -> (Duration, HashSet<HeaderValue>) {
    let (authority, clock) = aging(algorithm);
    let bearer = bearer(&issue(&authority));
    assert_eq!(respond(&mut guarded(&authority), &bearer).status(), StatusCode::OK);
    clock.advance(LIFETIME - 10);
    let barrier = Barrier::new(threads);
    let present = || {
        let mut service = guarded(&authority);
        barrier.wait();
        let began = cpu_time();
        let response = respond(&mut service, &bearer);
        (cpu_time() - began, response.headers()[DELIVERED].clone())
    };
    thread::scope(|scope| {
        let presented: Vec<_> = (0..threads).map(|_| scope.spawn(present)).collect();
        let presented = presented.into_iter().map(|thread| thread.join().unwrap());
        presented.fold((Duration::ZERO, HashSet::new()), |(sum, mut given), (taken, successor)| {
            given.insert(successor);
            (sum + taken, given)
        })
    })
}

fn two_threads_on_one_hot_token() {
    let authority = authority(key_for(Algorithm::HS256)).build().unwrap();
    let bearer = bearer(&issue(&authority));
    assert_eq!(respond(&mut guarded(&authority), &bearer).status(), StatusCode::OK);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..if is_smoke() { 1 } else { 21 } {
        one.push(nanos_a_request(1, &authority, &bearer));
        two.push(nanos_a_request(2, &authority, &bearer));
    }
    let (one, two) = (median(one), median(two));
    println!("\none hot token, a whole request: one thread {one:.0} ns, two at once {two:.0} ns each");
    println!("{:.2} times as long (<= 2: {})", two / one, verdict(two / one, 2.0));
}

/// CPU time of a request, where so many threads do nothing else at once, each on a core of its own.
fn nanos_a_request(threads: usize, authority: &Authority, bearer: &HeaderValue) -> f64 {
    let lasts = Duration::from_millis(if is_smoke() { 1 } else { 100 });
    let barrier = Barrier::new(threads);
    let run = |core: usize| {
        pin_to(core);
        // A connection's own copy, as a server makes it.
        let (mut service, bearer) = (guarded(authority), HeaderValue::from_bytes(bearer.as_bytes()).unwrap());
        barrier.wait();
        let (until, began, mut requests) = (Instant::now() + lasts, cpu_time(), 0_u64);
        while Instant::now() < until {
            for _ in 0..100 {
                std::hint::black_box(respond(&mut service, &bearer));
            }
            requests += 100;
        }
        (cpu_time() - began).as_nanos() as f64 / requests as f64
    };
    let run = &run;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|core| scope.spawn(move || run(core))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>() / threads as f64
    })
}

/// Where threads can't be pinned they are measured as they are.
fn pin_to(core: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core);
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// An authority whose tokens live for 600 s, and the clock that makes them due.
fn aging(algorithm: Algorithm) -> (Authority, ManualClock) {
    let clock = ManualClock::at(SystemClock.now().as_secs());
    let lifetime = Duration::from_secs(LIFETIME);
    let authority = authority(key_for(algorithm)).lifetime(lifetime).clock(clock.clone()).build().unwrap();
    (authority, clock)
}
