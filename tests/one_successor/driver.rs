//! A process that does to a store what it is told: this test binary, with `a_process_of_its_own` alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tower_reissue::NumericDate;
use tower_reissue::store::{
    ClaimsStore, Page, Presented, Revocation, Rotated, Rotation, SessionId, Standing, SubjectId, TokenId,
};

use crate::history::{Answer, Call, Event};
use crate::places::Place;
use crate::support::kept;

pub struct Process {
    child: Arc<Mutex<Child>>,
    stdin: ChildStdin,
    answers: Receiver<(Instant, String)>,
}

impl Process {
    pub fn spawn(place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["driver::a_process_of_its_own", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("TOWER_REISSUE_PLACE", serde_json::to_string(place).unwrap())
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
                    let _ = send.send((Instant::now(), answer.to_owned()));
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        let mut process = Self { child: Arc::new(Mutex::new(child)), stdin, answers };
        // Once it has the store open.
        assert!(process.answer().is_some(), "it does not start");
        process
    }

    /// Nothing is noted of a call that could not even be told: its process was killed before.
    pub fn ask(&mut self, scene: u64, call: Call) -> Option<Event> {
        let began = Instant::now();
        writeln!(self.stdin, "{}", serde_json::to_string(&(scene, call)).unwrap()).ok()?;
        let answer = self.answer();
        let answered = answer.as_ref().map_or(began, |&(at, _)| at);
        Some(Event {
            call,
            answer: answer.map(|(_, words)| serde_json::from_str(&words).unwrap()),
            began,
            answered,
        })
    }

    /// Kills it, whatever it is at, from any thread.
    pub fn killer(&self) -> impl FnOnce() + use<> {
        let child = Arc::clone(&self.child);
        move || {
            let mut child = child.lock().unwrap();
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            assert_eq!(ended.signal(), Some(9), "it had ended before: {ended}");
        }
    }

    /// `None` where it died.
    fn answer(&mut self) -> Option<(Instant, String)> {
        match self.answers.recv_timeout(Duration::from_secs(90)) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("a process is stuck: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[tokio::test]
#[ignore = "run by `Process::spawn`"]
async fn a_process_of_its_own() {
    let place = std::env::var("TOWER_REISSUE_PLACE").unwrap();
    let store = serde_json::from_str::<Place>(&place).unwrap().open().await;
    println!("\nanswer ready");
    for line in std::io::stdin().lines() {
        let (scene, call) = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = Scene::new(scene).ask(&store, call).await;
        println!("\nanswer {}", serde_json::to_string(&answer).unwrap());
    }
}

/// One session; its tokens are numbers.
#[derive(Clone, Copy)]
pub struct Scene {
    n: u64,
    start: NumericDate,
    pub now: NumericDate,
    end: NumericDate,
}

impl Scene {
    pub fn new(n: u64) -> Self {
        // After any store's birth, and the same in every process.
        let [start, now, end] = [4_000_000_000, 4_000_000_060, 4_000_003_600].map(NumericDate::from_secs);
        Self { n, start, now, end }
    }

    pub async fn ask<S: ClaimsStore>(&self, store: &S, call: Call) -> Answer {
        match call {
            Call::SignIn(token) => told(store.rotate(self.sign_in(token)).await.unwrap()),
            Call::Rotate { from, to } => told(store.rotate(self.renewal(from, to)).await.unwrap()),
            Call::Standing(token) => match store.standing(&self.presents(token)).await.unwrap() {
                Standing::Live => Answer::Live,
                Standing::Reused { generations } => Answer::Reused(generations),
                Standing::Revoked => Answer::Revoked,
                other => panic!("{other:?}"),
            },
            Call::Revoke => {
                store.revoke(Revocation::Session(self.session()), kept(self.now, self.end)).await.unwrap();
                Answer::Done
            }
            Call::Head => {
                let sessions =
                    store.sessions(self.subject(), self.now, Page::default()).await.unwrap().sessions;
                assert!(sessions.len() <= 1, "{sessions:?}");
                Answer::Head(sessions.first().map(|session| session.claims.parse().unwrap()))
            }
        }
    }

    pub fn sign_in(&self, token: u64) -> Rotation {
        Rotation::sign_in(self.presents(token), token.to_string(), self.end)
    }

    /// The claims are the successor's number.
    pub fn renewal(&self, from: u64, to: u64) -> Rotation {
        let successor = TokenId::from_bytes(self.name(to));
        let rotation = Rotation::renewal(self.presents(from), successor, to.to_string(), self.end);
        // Every second session is renewed as a refresh does it.
        if self.n.is_multiple_of(2) { rotation } else { rotation.of_known_session() }
    }

    pub fn subject(&self) -> SubjectId {
        SubjectId::from_bytes(self.name(u64::MAX))
    }

    fn session(&self) -> SessionId {
        SessionId::from_bytes(self.name(u64::MAX))
    }

    fn presents(&self, token: u64) -> Presented {
        let token = TokenId::from_bytes(self.name(token));
        Presented::new(self.session(), token, Some(self.subject()), self.start, self.now)
    }

    fn name(&self, of: u64) -> [u8; 32] {
        let mut name = [0; 32];
        // The first bytes choose a cluster's slot.
        name[..8].copy_from_slice(&self.n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        name[8..16].copy_from_slice(&self.n.to_be_bytes());
        name[16..24].copy_from_slice(&of.to_be_bytes());
        name
    }
}

fn told(rotated: Rotated) -> Answer {
    match rotated {
        Rotated::Recorded => Answer::Recorded,
        Rotated::Superseded { head } => Answer::Superseded(head.parse().unwrap()),
        Rotated::Reused { generations } => Answer::Reused(generations),
        Rotated::Revoked => Answer::Revoked,
        Rotated::NotInChain => Answer::Unknown,
        other => panic!("{other:?}"),
    }
}
