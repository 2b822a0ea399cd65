//! Tasks, processes and connections at once; some of them killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::*;

on_each_database! {
    of_a_thousand_parallel_rotations_one_is_recorded_and_all_are_given_it,
    four_processes_agree_and_one_killed_loses_and_doubles_nothing,
    a_revocation_that_returned_is_seen_by_every_other_connection,
}

async fn of_a_thousand_parallel_rotations_one_is_recorded_and_all_are_given_it(place: Place) {
    let store = Arc::new(place.open().await);
    let mut head = token(0);
    for round in 1..=from_env("TOWER_REISSUE_ROUNDS", 5) {
        let rivals = (0..1000_u64).map(|rival| {
            let store = Arc::clone(&store);
            let successor = token(round * 10_000 + rival);
            tokio::spawn(async move {
                let rotated = store.rotate(renewal(head, successor)).await.unwrap();
                (successor, rotated)
            })
        });
        let (mut recorded, mut learnt) = (Vec::new(), Vec::new());
        for rival in rivals.collect::<Vec<_>>() {
            match rival.await.unwrap() {
                (successor, Rotated::Recorded) => recorded.push(successor),
                (_, Rotated::Superseded { head }) => learnt.push(head),
                (_, other) => panic!("round {round}: {other:?}"),
            }
        }
        let [winner] = recorded[..] else { panic!("round {round}: {} recorded", recorded.len()) };
        assert!(learnt.iter().all(|learnt| **learnt == *winner.to_string()), "round {round}");
        head = winner;
    }
}

/// Each round four processes rotate one token at once. In the later rounds one of them is killed in the middle.
async fn four_processes_agree_and_one_killed_loses_and_doubles_nothing(place: Place) {
    const PROCESSES: u64 = 4;
    let rounds = from_env("TOWER_REISSUE_ROUNDS", 100);
    let kills = from_env("TOWER_REISSUE_KILLS", 50);
    tokio::task::spawn_blocking(move || {
        let mut processes = (0..PROCESSES).map(|_| Process::spawn(&place)).collect::<Vec<_>>();
        let mut head = 0;
        let (mut recorded_by_killed, mut unrecorded) = (0, 0);
        for round in 1..=rounds + kills {
            // None in the first rounds, then each in its turn; after 0 to 4 ms, by no rule that the stores know.
            let killed = (round > rounds).then_some((round % PROCESSES) as usize);
            for (number, process) in processes.iter_mut().enumerate() {
                process.tell(&format!("{head} {}", round * PROCESSES + number as u64));
            }
            if let Some(killed) = killed {
                std::thread::sleep(Duration::from_micros(round * 7919 % 4000));
                processes[killed].kill();
            }
            let mut recorded = Vec::new();
            let mut learnt = Vec::new();
            for (number, process) in processes.iter_mut().enumerate() {
                let Some(answer) = process.answer() else {
                    assert_eq!(Some(number), killed, "round {round}: a process went by itself");
                    continue;
                };
                let name = round * PROCESSES + number as u64;
                match answer.as_str() {
                    "recorded" => recorded.push(name),
                    head => learnt.push(head.parse::<u64>().unwrap()),
                }
            }
            assert!(recorded.len() <= 1, "round {round}: {recorded:?} recorded");
            let winner = recorded.first().copied().unwrap_or_else(|| {
                let killed = killed.unwrap_or_else(|| panic!("round {round}: none recorded"));
                recorded_by_killed += 1;
                let winner = round * PROCESSES + killed as u64;
                assert_eq!(learnt.first(), Some(&winner), "round {round}: whose is the head?");
                winner
            });
            assert!(learnt.iter().all(|learnt| *learnt == winner), "round {round}: {learnt:?}, not {winner}");
            if let Some(killed) = killed {
                unrecorded += u64::from(winner != round * PROCESSES + killed as u64);
                processes[killed] = Process::spawn(&place);
            }
            head = winner;
        }
        // So that both sides of the write were hit, in a run of some length.
        eprintln!("{kills} killed: {recorded_by_killed} after their write, {unrecorded} without one");
    })
    .await
    .unwrap();
}

/// A process that rotates what it is told: this test binary, with `a_process_of_its_own` alone.
struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Process {
    fn spawn(place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["races::a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"])
            .env("TOWER_REISSUE_ADDRESS", &place.address)
            .env("TOWER_REISSUE_PREFIX", &place.prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, answers) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Other lines are the test runner's.
                if let Some(answer) = line.strip_prefix("answer ") {
                    let _ = send.send(answer.to_owned());
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, answers }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// `None` where it died.
    fn answer(&self) -> Option<String> {
        match self.answers.recv_timeout(Duration::from_secs(60)) {
            Ok(answer) => Some(answer),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("a process is stuck: {error}"),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing unless [`Process::spawn`] runs it.
#[test]
fn a_process_of_its_own() {
    let Ok(address) = std::env::var("TOWER_REISSUE_ADDRESS") else { return };
    let place = Place { address, prefix: std::env::var("TOWER_REISSUE_PREFIX").unwrap(), _dir: None };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let store = place.open().await;
        for line in std::io::stdin().lines() {
            let line = line.unwrap();
            let (predecessor, successor) = line.split_once(' ').unwrap();
            let successor = successor.parse::<u64>().unwrap();
            let mut rotation = renewal(token(predecessor.parse().unwrap()), token(successor));
            rotation.claims = successor.to_string().into();
            let answer = match store.rotate(rotation).await.unwrap() {
                Rotated::Recorded => "recorded".to_owned(),
                Rotated::Superseded { head } => head.to_string(),
                other => panic!("{other:?}"),
            };
            println!("\nanswer {answer}");
        }
    });
}

/// Two stores on one place, as two processes would have: the one revokes, the other rotates all the while.
async fn a_revocation_that_returned_is_seen_by_every_other_connection(place: Place) {
    let (revoker, rotator) = (place.open().await, place.open().await);
    for n in 0..60 {
        let subject = SubjectId::from_bytes(*session(n).as_bytes());
        let presented = owned(subject, session(n), token(0));
        let revocation = match n % 3 {
            0 => Revocation::Session(session(n)),
            1 => Revocation::SubjectBefore { subject, instant: start() },
            _ => Revocation::Token { session: session(n), token: token(0) },
        };
        if n % 2 == 0 {
            rotator.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
        }
        let rotation = Rotation::renewal(presented, token(1), "{}", end());
        let (rotated, revoked) =
            tokio::join!(rotator.rotate(rotation), revoker.revoke(revocation, now(), end()));
        revoked.unwrap();
        let left = match rotated.unwrap() {
            Rotated::Recorded => &[token(0), token(1)][..],
            Rotated::Revoked => &[token(0)],
            other => panic!("{other:?}"),
        };
        for token in left {
            let presented = owned(subject, session(n), *token);
            assert_eq!(rotator.standing(&presented).await.unwrap(), Standing::Revoked, "{n}");
            let rotation = Rotation::renewal(presented, self::token(2), "{}", end());
            assert_eq!(rotator.rotate(rotation).await.unwrap(), Rotated::Revoked, "{n}");
        }
    }
}
