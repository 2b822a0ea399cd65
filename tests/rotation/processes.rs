//! Four processes with one key file, each of which looks at it in its own time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use tower_reissue::Login;
use tower_reissue::keys::{FileSource, KeyFormat};

use super::*;

/// How often each looks. A new key signs after the longest of them and a little.
const LOOKS_EVERY: [u64; 4] = [300, 700, 1_100, 1_900];
const ACTIVATION: Duration = Duration::from_secs(3);
const ROTATIONS: usize = 3;

#[test]
fn of_four_processes_that_reload_at_different_moments_each_admits_what_any_signs() {
    let scratch = Scratch::new();
    let file = scratch.path("key.json");
    write(&file, &jwk(0));
    let mut processes = LOOKS_EVERY.map(|every| Process::start(&file, every));
    let mut signers = std::collections::HashSet::new();
    let mut judged = 0;
    for n in 0..=ROTATIONS {
        if n > 0 {
            write(&scratch.path("next"), &jwk(n));
            fs::rename(scratch.path("next"), &file).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(7);
        while Instant::now() < until {
            for at in 0..processes.len() {
                let token = processes[at].ask("issue");
                signers.insert(token.split('.').next().unwrap().to_owned());
                for (to, process) in processes.iter_mut().enumerate() {
                    let verdict = process.ask(&format!("admit {token}"));
                    assert_eq!(verdict, "admitted", "key {n}, signed by {at}, at {to}");
                    judged += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(signers.len(), ROTATIONS + 1, "each key has signed");
    assert!(judged > 1_000, "{judged}");
}

/// This program again, told what to do line by line.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(file: &Path, looks_every: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::in_a_child_tokens_are_issued_and_admitted"])
            .args(["--ignored", "--nocapture"])
            .env("ROTATION_FILE", file)
            .env("ROTATION_LOOKS_EVERY", looks_every.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut process = Self { child, stdin, stdout };
        assert_eq!(process.answer(), "ready");
        process
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it is gone");
            if let Some((_, answer)) = line.split_once("answer: ") {
                return answer.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above, in processes of their own"]
async fn in_a_child_tokens_are_issued_and_admitted() {
    let Some(file) = std::env::var_os("ROTATION_FILE") else { return };
    let every = std::env::var("ROTATION_LOOKS_EVERY").unwrap().parse().unwrap();
    let keys = KeyRotation::new(FileSource::new(file, KeyFormat::jwk()))
        .reload_every(Duration::from_millis(every))
        .activation_delay(ACTIVATION)
        .start()
        .await
        .unwrap();
    let authority = authority(keys).build().unwrap();
    println!("answer: ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.split_once(' ') {
            Some(("admit", token)) => match authority.admit(token).await {
                Ok(_) => "admitted".to_owned(),
                Err(refusal) => format!("refused: {refusal}"),
            },
            _ => authority.issue(Login::new("alice")).await.unwrap().as_str().to_owned(),
        };
        println!("answer: {answer}");
    }
}
