//! [`ConfigError`]: an error in the configuration, found when something is built.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind};

use crate::caught::caught;

/// A wrong setting. The message names it and says what to use.
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConfigError {}

/// Gives errors their [`Display`](fmt::Display) as `Debug`, because `main` and `expect` print an error's `Debug`.
macro_rules! debug_as_display {
    ($($error:ty),+) => {$(
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    )+};
}
pub(crate) use debug_as_display;

debug_as_display!(ConfigError);

/// An error's message and its causes, each once.
///
/// Most logs print an error's `Display` and no more, so the causes stand there. [`source`](StdError::source) returns them as
/// well, for programs that look at their types. Many errors repeat their cause in their own text: a cause that was
/// printed already is left out. Some libraries print several lines, and logs are read by lines: they become one. A cause may be of
/// the application, and its panic must end nothing that is done for other reasons, such as a withdrawal.
pub(crate) fn with_causes(message: impl Into<String>, cause: Option<&(dyn StdError + 'static)>) -> String {
    let mut text = message.into();
    let mut next = cause;
    while let Some(cause) = next {
        let told = caught(|| cause.to_string())
            .unwrap_or_else(|| "an error that panics when it is printed".to_owned());
        let told = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        next = caught(|| cause.source()).flatten();
    }
    text
}

/// What is wrong with a file that could not be read, with the remedy if the operating system's text does not tell.
pub(crate) fn unreadable(place: impl fmt::Display, error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            " (the user or a group of this process must be able to read it; in Kubernetes set `fsGroup`)"
        }
        // Docker makes one for a bind mount whose source is missing.
        ErrorKind::IsADirectory => " (expected a file; was it missing when the container was made?)",
        _ => "",
    };
    format!("{place} can't be read{remedy}")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::SignOutError;
    use crate::keys::error::KeyError;
    use crate::refusal::Reason;
    use crate::refusal::Refusal;
    use crate::store::{StoreError, StoreErrorKind};

    fn disk() -> io::Error {
        io::Error::other("the disk is gone")
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named_with_the_remedy() {
        for (kind, told) in [
            (
                ErrorKind::PermissionDenied,
                "/k can't be read (the user or a group of this process must be able to read it; in Kubernetes set `fsGroup`)",
            ),
            (
                ErrorKind::IsADirectory,
                "/k can't be read (expected a file; was it missing when the container was made?)",
            ),
            (ErrorKind::NotFound, "/k can't be read"),
        ] {
            assert_eq!(unreadable("/k", &kind.into()), told);
        }
    }

    #[test]
    fn a_cause_that_panics_is_told_without_its_text() {
        #[derive(Debug)]
        struct Bomb;
        impl fmt::Display for Bomb {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("when it is printed")
            }
        }
        impl StdError for Bomb {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                panic!("when it is asked for its cause")
            }
        }
        let key = KeyError::unavailable("no key loads").because(Bomb);
        let expected = "keys unavailable: no key loads: an error that panics when it is printed";
        assert_eq!(key.to_string(), expected);
        let store = StoreError::with_source(StoreErrorKind::Unavailable, Bomb);
        assert!(store.to_string().ends_with("panics when it is printed"), "{store}");
    }

    #[test]
    fn every_error_prints_its_causes_once_and_returns_them() {
        let key = || KeyError::unavailable("the file can't be read").because(disk());
        let nested = KeyError::unavailable("no key loads").because(key());
        let repeated = KeyError::unavailable(format!("no key loads: {}", disk())).because(disk());
        let store = || StoreError::with_source(StoreErrorKind::Unavailable, disk());
        let around = StoreError::with_source(StoreErrorKind::Misconfigured, store());
        let sign_out = SignOutError::Store(store());
        let refused = SignOutError::Refused(Refusal::new(Reason::Expired));
        let issue = crate::IssueError::Store(store());
        for error in [&key() as &dyn StdError, &nested, &repeated, &store(), &around, &sign_out, &issue] {
            let text = error.to_string();
            assert_eq!(format!("{error:?}"), text, "what `main` prints");
            assert_eq!(text.matches("the disk is gone").count(), 1, "{text}");
            assert!(error.source().is_some(), "{text}");
        }
        assert!(nested.to_string().contains("the file can't be read"), "{nested}");
        assert!(around.to_string().contains("unavailable"), "{around}");
        let cause = refused.source().map(ToString::to_string).unwrap_or_default();
        assert!(!cause.is_empty() && refused.to_string().ends_with(&cause), "{refused}");
        let refusal = Refusal::new(Reason::Expired);
        for error in [&ConfigError::new("no issuer") as &dyn StdError, &refusal, &refused] {
            assert_eq!(format!("{error:?}"), error.to_string(), "what `main` prints");
        }
    }
}
