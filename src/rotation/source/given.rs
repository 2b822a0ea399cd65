//! Checks names that applications pass in. Passing a key in place of its name is a common mistake, and names are printed in
//! errors and logs, so a text that looks like a key is not stored.

use std::path::PathBuf;

/// A path to read keys from.
pub(super) fn path(given: impl Into<PathBuf>) -> PathBuf {
    let given = given.into();
    if is_key_text(&given.to_string_lossy()) {
        "(the text of a key in place of a path)".into()
    } else {
        given
    }
}

/// The name of an environment variable: letters, digits and `_` (POSIX, 8.1), and some systems' `.` and `-`.
pub(super) fn variable(given: impl Into<String>) -> String {
    let given = given.into();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_name = given.len() <= 128 && given.chars().all(fits) && !is_key_text(&given);
    if is_name { given } else { "(not the name of a variable, but perhaps its value)".to_owned() }
}

pub(crate) fn is_key_text(text: &str) -> bool {
    text.contains(['\n', '\r']) || text.contains("-----BEGIN") || text.trim_start().starts_with('{')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::keys::Algorithm;
    use crate::keys::test_keys::ED25519;
    use crate::rotation::source::KeySource;
    use crate::rotation::source::directory::DirectorySource;
    use crate::rotation::source::env::EnvSource;
    use crate::rotation::source::file::FileSource;
    use crate::rotation::source::format::KeyFormat;

    #[tokio::test]
    async fn a_key_given_where_its_name_belongs_is_printed_nowhere() {
        let pem = std::str::from_utf8(ED25519).unwrap();
        let format = || KeyFormat::pem(Algorithm::EdDSA);
        let hidden = pem.lines().nth(1).unwrap();
        for text in [pem.to_owned(), pem.replace('\n', "\\n"), format!("{{\"k\":\"{hidden}\"}}")] {
            let file = FileSource::new(&*text, format()).retired(&*text, format());
            let env = EnvSource::new(&*text, format()).retired(&*text, format());
            let directory = DirectorySource::new(&*text, &*text, format()).retired(&*text, format());
            let mut told = vec![file.describe(), env.describe(), directory.describe()];
            told.extend([format!("{file:?}"), format!("{env:?}"), format!("{directory:?}")]);
            for error in [
                file.load().await.unwrap_err(),
                env.load().await.unwrap_err(),
                directory.load().await.unwrap_err(),
            ] {
                told.extend([error.to_string(), format!("{error:?}")]);
            }
            for told in told {
                assert!(!told.contains(hidden), "{told}");
            }
        }
        let secret = EnvSource::new("q3J0c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw==", format());
        let error = secret.load().await.unwrap_err().to_string();
        assert!(error.contains("perhaps its value") && !error.contains("q3J0"), "{error}");
    }
}
