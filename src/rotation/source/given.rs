//! Checks names that applications pass in. Passing a key in place of its name is a common mistake, and names are printed in
//! errors and logs, so a text that looks like a key is not stored.

use std::path::{Path, PathBuf};

use crate::jose::base64::Base64;
use crate::jose::json;

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

/// The name of a file in this directory.
pub(super) fn name(directory: &Path, given: impl Into<PathBuf>) -> PathBuf {
    let given = given.into();
    let text = given.to_string_lossy();
    if is_key_text(&text) || is_secret_for_name(directory, &text) {
        "(not a file's name, but perhaps the text of a key or a token)".into()
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
    is_secret_for_name(Path::new(""), text)
}

/// The same for the name of a file in this directory.
pub(crate) fn is_secret_for_name(directory: &Path, text: &str) -> bool {
    let name = text.trim();
    // As it stands in a header field.
    let name = name.strip_prefix("Bearer ").map_or(name, str::trim_start);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    let is_random = name.chars().all(fits) && is_like_random(name);
    !name.starts_with('/') && (is_random || is_token(name)) && !directory.join(name).exists()
}

/// A JWS or JWE: three or five parts, of which the first is a JSON object with an `alg` in base64url. Many words that begin with
/// `e` decode to a brace and other bytes.
fn is_token(text: &str) -> bool {
    let header = text.split_once('.').filter(|(_, rest)| rest.contains('.'));
    let header = header.and_then(|(header, _)| Base64::UrlAnyPadding.decode(header.as_bytes()));
    let members = header.as_ref().and_then(|header| json::members(std::str::from_utf8(header).ok()?).ok());
    members.is_some_and(|members| members.iter().any(|member| member.name == "alg"))
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
    use crate::jose::base64::encode_standard;
    use crate::keys::test_keys::ED25519;
    use crate::keys::{Algorithm, SigningKey};
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
            let empty = tempfile::tempdir().unwrap();
            let directory = DirectorySource::new(empty.path(), secret, format());
            let errors = [
                env.load().await.unwrap_err(),
                file.load().await.unwrap_err(),
                directory.load().await.unwrap_err(),
            ]
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

    #[tokio::test]
    async fn a_file_is_found_in_its_directory_under_whatever_name() {
        let secret =
            |n: usize| format!("{n} a secret of sixty-four bytes, or of some more, for HS256 ------");
        let fingerprint = |n| {
            let key = SigningKey::from_secret(Algorithm::HS256, secret(n)).unwrap();
            key.fingerprint().to_owned()
        };
        let format = || KeyFormat::secret(Algorithm::HS256);
        for name in ["external", "exchange.key", "OrdersProductionSecret2026", &"q3j01c5e".repeat(4), TOKEN] {
            let directory = tempfile::tempdir().unwrap();
            let of = |name: &str| directory.path().join(name);
            std::fs::write(of(name), secret(1)).unwrap();
            let set = DirectorySource::new(directory.path(), name, format()).load().await.unwrap();
            assert_eq!(set.signing.unwrap().fingerprint(), fingerprint(1), "{name}");
            // In its own format: the text of the base64 is a secret too.
            std::fs::write(of("current"), secret(2)).unwrap();
            std::fs::write(of(name), encode_standard(secret(1).as_bytes()).as_bytes()).unwrap();
            let source = DirectorySource::new(directory.path(), "current", format());
            let set = source.retired(name, KeyFormat::base64(Algorithm::HS256)).load().await.unwrap();
            let retired: Vec<_> = set.verifying.iter().map(|key| key.fingerprint()).collect();
            assert_eq!(retired, [fingerprint(1)], "{name}");
        }
    }

    #[test]
    fn a_path_of_words_is_one_whatever_dots_it_has() {
        for path in [
            "keys/jwt.pem",
            "orders.prod.2026.Signing-Key.pem",
            "eyJ.pem",
            "eyI.pem",
            "external.key",
            "exchange.d",
            "extended.2026.jwks",
            "e2e-test.key",
            // `{}` and `{"a":1}`, without an `alg`.
            "e30.a.b",
            "eyJhIjoxfQ.a.b",
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
