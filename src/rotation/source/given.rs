//! Checks names that applications pass in. Passing a key in place of its name is a common mistake, and names are printed in
//! errors and logs, so a text that looks like a key is not stored.

use std::path::{Path, PathBuf};

use crate::jose::base64::Base64;

/// A path to read keys from.
pub(super) fn path(given: impl Into<PathBuf>) -> PathBuf {
    let given = given.into();
    let text = given.to_string_lossy();
    if is_key_text(&text) || is_secret_for_path(&text) {
        "(not a path, but perhaps the text of a key or a token)".into()
    } else {
        given
    }
}

/// The name of an environment variable.
pub(super) fn variable(given: impl Into<String>) -> String {
    let given = given.into();
    if is_variable(&given) { given } else { "(not the name of a variable, but perhaps its value)".to_owned() }
}

/// Letters, digits and `_` (POSIX, 8.1), and some systems' `.` and `-`, unless it looks like a secret and no variable has this name.
pub(crate) fn is_variable(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.len() <= 128 && text.chars().all(fits) && (!is_like_random(text) || std::env::var_os(text).is_some())
}

/// Whether it looks like a secret in place of a path or URL: a relative path of random letters and digits, or a token, which does
/// not exist.
pub(crate) fn is_secret_for_path(text: &str) -> bool {
    let text = text.trim();
    // As it stands in a header field.
    let text = text.strip_prefix("Bearer ").map_or(text, str::trim_start);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    let is_random = text.chars().all(fits) && is_like_random(text);
    !text.starts_with('/') && (is_random || is_token(text)) && !Path::new(text).exists()
}

/// Whether the part before the first dot is the header of a JWS or JWE: a JSON object in base64url.
fn is_token(text: &str) -> bool {
    let header = text.split_once('.').and_then(|(header, _)| Base64::UrlAnyPadding.decode(header.as_bytes()));
    header.is_some_and(|header| header.starts_with(b"{"))
}

/// Hex, Base32 or Base64 of 16 bytes or more, rather than words: one long run of letters and digits, or all three kinds of them.
fn is_like_random(text: &str) -> bool {
    const LONGEST_WORD: usize = 24;
    let has = |kind: fn(char) -> bool| text.chars().any(kind);
    let is_mixed =
        has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_digit());
    text.len() >= 22 && is_mixed
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.len() > LONGEST_WORD)
}

pub(crate) fn is_key_text(text: &str) -> bool {
    text.contains(['\n', '\r']) || text.contains("-----BEGIN") || text.trim_start().starts_with('{')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_secret_for_path, is_variable};
    use crate::keys::Algorithm;
    use crate::keys::test_keys::ED25519;
    use crate::rotation::source::KeySource;
    use crate::rotation::source::directory::DirectorySource;
    use crate::rotation::source::env::EnvSource;
    use crate::rotation::source::file::FileSource;
    use crate::rotation::source::format::KeyFormat;
    #[cfg(feature = "jwks")]
    use crate::rotation::source::jwks_url::JwksUrl;

    /// `{"alg":"HS256"}` and two parts.
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.q3J0c2VjcmV0.q3J0c2VjcmV0LXNlY3JldC1zZWNyZXQt";

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
        for secret in [
            "q3J0c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw==",
            "q3J0c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw",
            "q3J0_2VjcmV0-XNlY3JldC1z_WNyZXQt",
            &"q3j01c5e".repeat(16),
            TOKEN,
            &format!("Bearer {TOKEN}"),
            &format!(" {TOKEN}"),
        ] {
            let (env, file) = (EnvSource::new(secret, format()), FileSource::new(secret, format()));
            let errors = [env.load().await.unwrap_err(), file.load().await.unwrap_err()]
                .map(|error| error.to_string());
            let described = [env.describe(), format!("{env:?}"), file.describe(), format!("{file:?}")];
            #[cfg(feature = "jwks")]
            let described = {
                let url = JwksUrl::new("https://127.0.0.1:9/jwks").unwrap().bearer_token_file(secret);
                described.into_iter().chain([url.load().await.unwrap_err().to_string()])
            };
            for told in described.into_iter().chain(errors) {
                assert!(told.contains("perhaps") && !told.to_lowercase().contains("q3j0"), "{told}");
            }
        }
    }

    #[test]
    fn a_path_of_words_is_one_whatever_dots_it_has() {
        for path in [
            "keys/jwt.pem",
            "orders.prod.2026.Signing-Key.pem",
            "eyJ.pem",
            "./a.b.c",
            "/run/x.y.z",
            "C:\\a b\\jwt.key",
        ] {
            assert!(!is_secret_for_path(path), "{path}");
        }
    }

    #[test]
    fn a_name_of_words_is_that_of_a_variable_whatever_its_length() {
        for name in [
            "JWT_SECRET",
            "jwt_secret",
            "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH",
            "ORDERS_PROD_EU_WEST_1_JWT_SIGNING_KEY_2026",
            "orders.jwt-secret",
            "ServiceJwtSecret2026",
            // It is set, in every test.
            "CARGO_MANIFEST_DIR",
        ] {
            assert!(is_variable(name), "{name}");
        }
    }
}
