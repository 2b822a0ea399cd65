//! [`CommandSource`].

use std::ffi::OsString;
use std::fmt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::look::{self, Bytes, blocking};
use super::{KeyFormat, KeySet, KeySource};
use crate::keys::KeyError;
use crate::keys::error::KeyErrorKind;

/// A program that prints the key, such as a secret manager's own.
///
/// It is run without a shell, with nothing on its standard input, and at every reload: choose a
/// [reload interval](crate::keys::KeyRotation::reload_every) that its backend bears. What it writes to its standard error
/// goes where this process's goes. One line end at the end of its output is no part of a secret.
///
/// A program that fails, prints more than a key, or takes longer than the timeout is an error, and is killed. What it
/// started itself and left behind is not.
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
        f.debug_struct("CommandSource").field("program", &self.program).finish_non_exhaustive()
    }
}

impl CommandSource {
    /// The program and its arguments, each as it is.
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

    /// A program and its arguments in one line, as variables named `…_CMD` hold them.
    ///
    /// It is split as Python's `shlex.split` does: at spaces, tabs and line ends; `'…'` is taken as it is; in `"…"` a
    /// backslash stands before `"` and `\` only; elsewhere it takes the next character as it is. Nothing is expanded: no
    /// variables, no globs, no pipes.
    ///
    /// # Errors
    /// When a quote is not closed, a backslash comes last, or the line names no program.
    pub fn from_line(line: &str, format: KeyFormat) -> Result<Self, KeyError> {
        let mut words = split(line)?.into_iter();
        let program = words.next().ok_or_else(|| refused("the line names no program"))?;
        Ok(Self::new(program, words, format))
    }

    /// How long it may take. Default 5 s. A [`KeyRotation`](crate::keys::KeyRotation) waits for 15 s at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn run(&self) -> Result<KeySet, KeyError> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                KeyError::unavailable(format!("{} can't be started: {error}", self.name())).because(error)
            })?;
        let mut running = Running(child);
        let (status, output) = running.wait(Instant::now() + self.timeout, self)?;
        if !status.success() {
            return Err(KeyError::unavailable(format!("{} failed: {status}", self.name())));
        }
        self.format.read(&output).map_err(|error| error.at(self.name()))
    }

    /// The program alone: an argument may be a secret.
    fn name(&self) -> String {
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
        let this = self.clone();
        blocking(move || this.run()).await
    }
}

/// A child that is killed, and waited for, however its watch ends.
struct Running(Child);

impl Running {
    fn wait(&mut self, deadline: Instant, source: &CommandSource) -> Result<(ExitStatus, Bytes), KeyError> {
        let stdout = self.0.stdout.take();
        let (send, output) = mpsc::channel();
        let name = source.name();
        // A pipe can't be read with a timeout: a thread reads it, and ends when the child does.
        thread::spawn(move || {
            let read = match stdout {
                Some(stdout) => look::read_all(stdout, format_args!("the output of {name}")),
                None => Err(KeyError::unavailable("the program has no standard output")),
            };
            let _ = send.send(read);
        });
        let left = || deadline.saturating_duration_since(Instant::now());
        let output = output.recv_timeout(left()).map_err(|_| source.too_slow())??;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok((status, output)),
                Ok(None) if left().is_zero() => return Err(source.too_slow()),
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Err(error) => {
                    return Err(KeyError::unavailable("the program can't be waited for").because(error));
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended and been waited for, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn split(line: &str) -> Result<Vec<String>, KeyError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' | '"' => quoted(next, &mut rest, word.get_or_insert_default())?,
            '\\' => {
                let escaped = rest.next().ok_or_else(|| refused("the line ends in a backslash"))?;
                word.get_or_insert_default().push(escaped);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
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
    use super::*;
    use crate::Algorithm;

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
            ("$HOME *.pem | a; b # c", &["$HOME", "*.pem", "|", "a;", "b", "#", "c"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line:?}");
        }
        for line in ["'a", "\"a", r"a\", r#""a\"#] {
            assert!(split(line).is_err(), "{line:?}");
        }
        assert!(CommandSource::from_line(" ", KeyFormat::jwk()).is_err());
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
            assert_eq!(source.run().unwrap().signing.unwrap().fingerprint(), expected.fingerprint());
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error_whatever_it_printed() {
        let error = shell(&format!("echo '{SECRET}'; exit 3")).run().unwrap_err().to_string();
        assert!(error.contains("failed") && error.contains('3') && !error.contains(SECRET), "{error}");
        let missing = CommandSource::new("/no/such/program", [""; 0], KeyFormat::jwk());
        assert!(missing.run().unwrap_err().to_string().contains("can't be started"));
        assert!(shell("true").run().is_err(), "nothing is no key");
    }

    #[test]
    fn a_program_that_hangs_or_never_ends_printing_is_killed() {
        for script in ["sleep 30", "exec >&-; exec sleep 30", &format!("echo '{SECRET}'; exec sleep 30")] {
            let before = Instant::now();
            let error = shell(script).timeout(Duration::from_millis(100)).run().unwrap_err().to_string();
            assert!(error.contains("killed"), "{error}");
            assert!(before.elapsed() < Duration::from_secs(10));
        }
        let before = Instant::now();
        let error = CommandSource::new("yes", ["x"], KeyFormat::jwk()).run().unwrap_err().to_string();
        assert!(error.contains("no key is that long"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn it_is_named_without_its_arguments() {
        let source = CommandSource::new("vault", ["token=hunter2"], KeyFormat::jwk());
        assert_eq!(KeySource::describe(&source), "command \"vault\"");
        assert!(shell(&format!("echo '{SECRET}'")).load().await.is_ok());
    }
}
