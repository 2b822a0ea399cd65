//! [`CommandSource`].
//!
//! It uses `std::process` on a blocking thread. `tokio::process` needs a runtime that drives I/O, and handles SIGCHLD for the
//! whole process if the kernel has no pidfd.

use std::ffi::OsString;
use std::fmt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::keys::error::KeyError;
use crate::keys::error::KeyErrorKind;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::given;
use crate::rotation::source::load_permits::LoadPermit;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::Bytes;
use crate::rotation::source::snapshot::blocking;
use crate::time::clamped;

/// A program that prints the key, such as the client of a secret manager.
///
/// It runs without a shell and with empty standard input, at every reload: choose a [reload
/// interval](crate::keys::KeyRotation::reload_every) that its backend can serve. Its standard error goes to this
/// process's. One line end at the end of its output is not part of a secret.
///
/// It is an error if the program fails, prints more than a key, or takes longer than the timeout. It is killed then;
/// on Unix together with all processes that it started, because it runs in a process group of its own. A process that
/// leaves the group and holds the output open is not killed, and no other load begins before it ends.
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Clone)]
pub struct CommandSource {
    program: OsString,
    arguments: Vec<OsString>,
    format: KeyFormat,
    timeout: Duration,
}

/// An argument may be a secret.
impl fmt::Debug for CommandSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommandSource").field(&format_args!("{}", self.name())).finish()
    }
}

impl CommandSource {
    /// The program and its arguments, passed unchanged.
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
        format: KeyFormat,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            format,
            timeout: Duration::from_secs(5),
        }
    }

    /// A program and its arguments in one line, as in variables named `…_CMD`.
    ///
    /// The line is split as by Python's `shlex.split`: at spaces, tabs and line ends. Text in `'…'` is taken
    /// literally. In `"…"` a backslash escapes only `"` and `\`; elsewhere it escapes any character. Nothing is
    /// expanded: no variables, no globs, no pipes. For those run a shell: `sh -c '…'`.
    ///
    /// # Errors
    /// If a quote is not closed, a backslash is the last character, or the line names no program. Also if a word without quotes is
    /// a shell's: a pipe, a redirection, `&`, `;`, or one that begins with `$NAME`, `$(` or a backtick. `shlex` would pass it to
    /// the program, so `echo … | base64 -d` would make its own text the key.
    pub fn from_line(line: &str, format: KeyFormat) -> Result<Self, KeyError> {
        let mut words = split(line)?.into_iter();
        let program = words.next().ok_or_else(|| refused("the line names no program"))?;
        Ok(Self::new(program, words, format))
    }

    /// How long the program may take. Default 5 s, at most ten years. A [`KeyRotation`](crate::keys::KeyRotation)
    /// waits at most 15 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = clamped(timeout);
        self
    }

    /// What it prints, for a secret other than a key.
    #[cfg(feature = "settings")]
    pub(crate) async fn output(self) -> Result<Bytes, KeyError> {
        blocking(move || self.print(LoadPermit::current())).await
    }

    fn run(&self, permit: Option<LoadPermit>) -> Result<KeySet, KeyError> {
        self.format.read(&self.print(permit)?).map_err(|error| error.at(self.name()))
    }

    /// `permit` is that of the load.
    fn print(&self, permit: Option<LoadPermit>) -> Result<Bytes, KeyError> {
        let child = group::own(&mut Command::new(&self.program))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                KeyError::unavailable(format!("{} can't be started: {error}", self.name())).because(error)
            })?;
        let mut running = Running { child, has_ended: false };
        let (status, output) = running.wait(Instant::now() + self.timeout, self, permit)?;
        if !status.success() {
            return Err(KeyError::unavailable(format!(
                "{} failed: {status}; what it said is on this process's standard error",
                self.name()
            )));
        }
        Ok(output)
    }

    /// The program alone: an argument may be a secret.
    fn name(&self) -> String {
        let program = self.program.to_string_lossy();
        if given::is_key_text(&program) || given::is_secret_for_path(&program) {
            return "command (not a program, but perhaps the text of a key)".to_owned();
        }
        format!("command {:?}", self.program)
    }

    fn too_slow(&self) -> KeyError {
        KeyError::unavailable(format!("{} took longer than {:?} and was killed", self.name(), self.timeout))
    }
}

impl KeySource for CommandSource {
    fn describe(&self) -> String {
        self.name()
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let (this, permit) = (self.clone(), LoadPermit::current());
        blocking(move || this.run(permit)).await
    }
}

/// A child process. On drop it is killed, and waited for.
struct Running {
    child: Child,
    has_ended: bool,
}

impl Running {
    fn wait(
        &mut self,
        deadline: Instant,
        source: &CommandSource,
        permit: Option<LoadPermit>,
    ) -> Result<(ExitStatus, Bytes), KeyError> {
        let stdout = self.child.stdout.take();
        let (send, output) = mpsc::channel();
        let name = source.name();
        // A pipe can't be read with a timeout, so a thread reads it, until nobody holds the other end. The thread holds the
        // permit, so that there is never a second one.
        thread::spawn(move || {
            let read = match stdout {
                Some(stdout) => snapshot::read_all(stdout, format_args!("the output of {name}")),
                None => Err(KeyError::unavailable("the program has no standard output")),
            };
            drop(permit);
            let _ = send.send(read);
        });
        let left = || deadline.saturating_duration_since(Instant::now());
        let output = output.recv_timeout(left()).map_err(|_| source.too_slow())??;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.has_ended = true;
                    return Ok((status, output));
                }
                Ok(None) if left().is_zero() => return Err(source.too_slow()),
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Err(error) => {
                    return Err(KeyError::unavailable("waiting for the program failed").because(error));
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After the wait, another process may have its id.
        if !self.has_ended {
            group::kill(&mut self.child);
            let _ = self.child.wait();
        }
    }
}

/// A process group, for the program and the processes that it starts. Those may outlive it and hold its output open.
#[cfg(all(unix, not(assume_not_unix)))]
mod group {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use rustix::process::{Pid, Signal, kill_process_group};

    pub(super) fn own(command: &mut Command) -> &mut Command {
        command.process_group(0)
    }

    /// An error means that all of them have ended.
    pub(super) fn kill(leader: &mut Child) {
        let _ = kill_process_group(Pid::from_child(leader), Signal::KILL);
    }
}

#[cfg(any(not(unix), assume_not_unix))]
mod group {
    use std::process::{Child, Command};

    pub(super) fn own(command: &mut Command) -> &mut Command {
        command
    }

    pub(super) fn kill(leader: &mut Child) {
        let _ = leader.kill();
    }
}

// Not by the `shlex` crate: it drops what follows a `#`, and reads `\$` and `\r` differently from Python.
fn split(line: &str) -> Result<Vec<String>, KeyError> {
    let mut words = Vec::new();
    let mut word = Word::default();
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\r' | '\n' => words.extend(std::mem::take(&mut word).end()?),
            '\'' | '"' => quoted(next, &mut rest, word.literal())?,
            '\\' => {
                let escaped = rest.next().ok_or_else(|| refused("the line ends in a backslash"))?;
                word.literal().push(escaped);
            }
            other => word.text.get_or_insert_default().push(other),
        }
    }
    words.extend(word.end()?);
    Ok(words)
}

#[derive(Default)]
struct Word {
    text: Option<String>,
    /// Whether some of it is quoted or escaped.
    is_quoted: bool,
}

impl Word {
    fn literal(&mut self) -> &mut String {
        self.is_quoted = true;
        self.text.get_or_insert_default()
    }

    /// Without a shell, `echo … | base64 -d` would print all of it as the key. No program that was tried in a shell takes such
    /// a word unquoted.
    fn end(self) -> Result<Option<String>, KeyError> {
        let is_syntax = |text: &String| {
            let expands = text.strip_prefix('$').is_some_and(|name| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '('))
            });
            let past_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
            expands || past_number.starts_with(['|', '&', ';', '<', '>', '`']) || text.ends_with(';')
        };
        if !self.is_quoted && self.text.as_ref().is_some_and(is_syntax) {
            return Err(refused(
                "there is no shell, and a word of it is a shell's, such as `|`, `>`, `;`, `$NAME` or `$(…)`: put it in single \
                 quotes if the program takes it literally, or run `sh -c '…'`",
            ));
        }
        Ok(self.text)
    }
}

fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), KeyError> {
    let unclosed = || refused("a quote is not closed");
    loop {
        match rest.next().ok_or_else(unclosed)? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match rest.next().ok_or_else(unclosed)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

fn refused(message: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, format!("the command can't be split into arguments: {message}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::keys::Algorithm;
    use crate::rotation::source::load_permits::LoadPermits;

    const SECRET: &str = "a secret of these tests: 32 bytes and more";

    fn shell(script: &str) -> CommandSource {
        CommandSource::new("sh", ["-c", script], KeyFormat::secret(Algorithm::HS256))
    }

    #[test]
    fn a_line_is_split_as_shlex_does() {
        // Each row as CPython's `shlex.split` gives it.
        for (line, words) in [
            ("", &[][..]),
            ("  \t\n", &[]),
            ("vault read -field=key", &["vault", "read", "-field=key"]),
            (" a  b ", &["a", "b"]),
            ("'a b' c", &["a b", "c"]),
            (r#""a b"'c'd"#, &["a bcd"]),
            (r"a\ b \'", &["a b", "'"]),
            (r"'a\b'", &[r"a\b"]),
            (r#""a\b\"\\" "#, &[r#"a\b"\"#]),
            ("'' \"\"", &["", ""]),
            (r"'$HOME' *.pem '|' a\; b # c", &["$HOME", "*.pem", "|", "a;", "b", "#", "c"]),
            (r#"sh -c "cat $A | tr -d '\n'; b" "#, &["sh", "-c", r"cat $A | tr -d '\n'; b"]),
            (
                "curl https://h/?a=1&b=$ -d a;b 5$ .a|.b",
                &["curl", "https://h/?a=1&b=$", "-d", "a;b", "5$", ".a|.b"],
            ),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line:?}");
        }
        for line in ["'a", "\"a", r"a\", r#""a\"#] {
            assert!(split(line).is_err(), "{line:?}");
        }
        assert!(CommandSource::from_line(" ", KeyFormat::jwk()).is_err());
    }

    #[test]
    fn an_unquoted_word_of_a_shell_is_refused_and_not_quoted_in_the_error() {
        for word in [
            "|",
            "||",
            "|&",
            "&",
            "&&",
            ";",
            "cat;",
            ">",
            ">>",
            "<",
            "</run/secrets/jwt",
            "2>&1",
            "2>/dev/null",
            "$NAME",
            "${NAME}",
            "$(cat",
            "`cat",
        ] {
            for line in
                [format!("echo {SECRET} {word} base64 -d"), format!("{word} x"), format!("echo {word}")]
            {
                let error = split(&line).unwrap_err().to_string();
                assert!(error.contains("there is no shell") && error.contains("sh -c"), "{line}: {error}");
                assert!(!error.contains(SECRET), "{error}");
            }
        }
    }

    #[test]
    fn the_output_is_the_key_less_its_line_end() {
        let expected = crate::SigningKey::from_secret(Algorithm::HS256, SECRET).unwrap();
        for source in [
            shell(&format!("printf '{SECRET}'")),
            shell(&format!("echo '{SECRET}'")),
            CommandSource::from_line(&format!("echo '{SECRET}'"), KeyFormat::secret(Algorithm::HS256))
                .unwrap(),
        ] {
            assert_eq!(source.run(None).unwrap().signing.unwrap().fingerprint(), expected.fingerprint());
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error_whatever_it_printed() {
        let error = shell(&format!("echo '{SECRET}'; exit 3")).run(None).unwrap_err().to_string();
        assert!(error.contains("failed") && error.contains('3') && !error.contains(SECRET), "{error}");
        let missing = CommandSource::new("/no/such/program", [""; 0], KeyFormat::jwk());
        assert!(missing.run(None).unwrap_err().to_string().contains("can't be started"));
        assert!(shell("true").run(None).is_err(), "nothing is no key");
    }

    #[test]
    fn a_program_that_hangs_or_never_ends_printing_is_killed() {
        for script in ["sleep 30", "exec >&-; exec sleep 30", &format!("echo '{SECRET}'; exec sleep 30")] {
            let before = Instant::now();
            let error = shell(script).timeout(Duration::from_millis(100)).run(None).unwrap_err().to_string();
            assert!(error.contains("killed"), "{error}");
            assert!(before.elapsed() < Duration::from_secs(10));
        }
        let before = Instant::now();
        let error = CommandSource::new("yes", ["x"], KeyFormat::jwk()).run(None).unwrap_err().to_string();
        assert!(error.contains("no key is that long"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(4));
    }

    #[cfg(all(unix, not(assume_not_unix)))]
    #[tokio::test]
    async fn what_a_program_began_is_killed_with_it_so_that_nobody_reads_on() {
        let permits = LoadPermits::default();
        for script in ["sleep 30; true", "sleep 30 & true"] {
            let permit = permits.try_acquire().unwrap();
            let load = permit.scope(shell(script).timeout(Duration::from_millis(100)).load()).await;
            assert!(load.unwrap_err().to_string().contains("killed"), "{script}");
            timeout(Duration::from_secs(10), permits.acquire()).await.expect(script);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn no_other_load_begins_while_somebody_holds_the_output_open() {
        let permits = LoadPermits::default();
        let permit = permits.try_acquire().unwrap();
        let source = shell("setsid sleep 3 & true").timeout(Duration::from_millis(500));
        assert!(permit.scope(source.load()).await.unwrap_err().to_string().contains("killed"));
        assert!(permits.try_acquire().is_none());
        timeout(Duration::from_secs(10), permits.acquire()).await.expect("it ended");
    }

    #[tokio::test]
    async fn it_is_named_without_its_arguments() {
        let source = CommandSource::new("vault", ["token=hunter2"], KeyFormat::jwk());
        assert_eq!(KeySource::describe(&source), "command \"vault\"");
        assert_eq!(format!("{source:?}"), "CommandSource(command \"vault\")");
        let key = "q3j01c5e".repeat(16);
        let source = CommandSource::from_line(&key, KeyFormat::jwk()).unwrap();
        let error = source.load().await.unwrap_err().to_string();
        for told in [KeySource::describe(&source), format!("{source:?}"), error] {
            assert!(told.contains("perhaps the text of a key") && !told.contains(&key), "{told}");
        }
        assert!(shell(&format!("echo '{SECRET}'")).load().await.is_ok());
    }
}
