//! Refuses placeholders in place of a secret: a template that was not filled in, the place where the secret is stored, or a
//! short text repeated to the required length.
//!
//! The checks accept generated secrets, as bytes, base64, hexadecimal or printable characters: they refuse a random text with a
//! probability of less than one in a million.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use zeroize::Zeroizing;

use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::text::readings;

/// Refuses a placeholder in any of its [`readings`].
pub(crate) fn refuse(secret: &[u8]) -> Result<(), KeyError> {
    let found = readings(secret).iter().find_map(|reading| found_in(without_quotes(reading)));
    found.map_or(Ok(()), |(kind, message)| Err(KeyError::new(kind, message)))
}

/// Backslashes are kept, because they are part of paths on Windows.
fn without_quotes(reading: &[u8]) -> &[u8] {
    let is_around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}');
    std::str::from_utf8(reading).map_or(reading, |text| text.trim_matches(is_around).as_bytes())
}

fn found_in(form: &[u8]) -> Option<(KeyErrorKind, &'static str)> {
    if is_repeated(form) {
        return Some((
            KeyErrorKind::Guessable,
            "the secret is a shorter text repeated, or has almost no different characters; make one with \
             `openssl rand -hex 64`",
        ));
    }
    let text = std::str::from_utf8(form).ok()?;
    if is_template(text) {
        return Some((
            KeyErrorKind::Guessable,
            "the secret is a template that was not filled in; is the variable it names set where the template is expanded?",
        ));
    }
    if is_made_of_placeholders(text) {
        return Some((
            KeyErrorKind::Guessable,
            "the secret consists of words that examples use in place of a secret; make one with `openssl rand -hex 64`",
        ));
    }
    if is_url(text) {
        return Some((
            KeyErrorKind::NotASecret,
            "the secret is a URL; pass what is stored there, or use a `CommandSource`, which runs a program that fetches it",
        ));
    }
    if is_path(text) {
        return Some((
            KeyErrorKind::NotASecret,
            "the secret is the path of a file; pass the text of the file, or use a `FileSource`",
        ));
    }
    None
}

/// Whether at least half of it repeats what came before, as in `passwordpassword`, regardless of letter case, or it has so few
/// different bytes that fewer than 2^64 texts of its length have as few.
fn is_repeated(form: &[u8]) -> bool {
    // Shorter repetitions could be chance, and longer ones take long to compare.
    const LENGTHS: RangeInclusive<usize> = 16..=4096;
    // Of 16 random bytes, two are often equal.
    const MONOTONOUS_FROM: usize = 32;
    let has_period = |period: &usize| {
        form.iter().zip(form.iter().skip(*period)).all(|(byte, later)| byte.eq_ignore_ascii_case(later))
    };
    let different = (0..=u8::MAX).filter(|byte| form.contains(byte)).count() as u64;
    let is_monotonous = || {
        form.len() >= MONOTONOUS_FROM
            && u32::try_from(form.len()).is_ok_and(|len| different.checked_pow(len).is_some())
    };
    LENGTHS.contains(&form.len())
        && ((1..=form.len().div_ceil(2)).any(|period| has_period(&period)) || is_monotonous())
}

/// Whether it is the name of a variable in the brackets of a template language, or in those of documentation.
fn is_template(text: &str) -> bool {
    const BRACKETS: [(&str, &str); 9] = [
        ("${", "}"),
        ("$(", ")"),
        ("{{", "}}"),
        ("{%", "%}"),
        ("#{", "}"),
        ("<%", "%>"),
        ("<", ">"),
        ("[", "]"),
        ("%", "%"),
    ];
    let is_word = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | ':' | '?' | '|' | '/' | '=')
    };
    let inside = BRACKETS.iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    let is_shell = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    inside.is_some_and(|inside| inside.chars().all(is_word)) || text.strip_prefix('$').is_some_and(is_shell)
}

/// Words that templates and tutorials use in placeholders.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "a", "algorithm", "an", "and", "api", "app", "application", "at", "auth", "be", "better", "bit", "bits", "byte", "bytes",
    "change", "changed", "changeit", "changeme", "changethis", "character", "characters", "chars", "correct", "default", "demo", "dev",
    "development", "do", "dummy", "environment", "env", "enter", "example", "fake", "fill", "foo", "bar", "for", "from", "generate",
    "generated", "goes", "here", "hmac", "hs", "if", "in", "insecure", "insert", "is", "it", "jsonwebtoken", "jwt", "key", "least",
    "length", "like", "long", "make", "me", "min", "minimum", "more", "must", "my", "needs", "no", "not", "of", "only", "or",
    "pass", "passphrase", "password", "phrase", "placeholder", "please", "prod", "production", "put", "random", "real", "replace",
    "safe", "sample", "secret", "secrets", "secure", "set", "sha", "should", "sign", "signature", "signing", "some", "something",
    "string", "strong", "super", "temp", "temporary", "test", "testing", "that", "the", "this", "to", "todo", "token", "tokens",
    "top", "unsafe", "use", "used", "value", "very", "web", "with", "you", "your", "yours",
];

/// Whether it consists of such words and digits, with no more digits than letters.
fn is_made_of_placeholders(text: &str) -> bool {
    const SHORTEST: usize = 16;
    let normal = text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let normal: Zeroizing<Vec<u8>> = normal.collect::<Vec<_>>().into();
    let digits = normal.iter().filter(|byte| byte.is_ascii_digit()).count();
    if !text.is_ascii()
        || text.len() < SHORTEST
        || normal.len() * 3 < text.len() * 2
        || digits * 2 > normal.len()
    {
        return false;
    }
    // Whether a word can begin at each place, from the left.
    let mut begins = BTreeSet::from([0]);
    while let Some(begin) = begins.pop_first() {
        let rest = normal.get(begin..).unwrap_or_default();
        let Some(first) = rest.first() else { return true };
        let words = WORDS.iter().filter(|word| rest.starts_with(word.as_bytes())).map(|word| word.len());
        begins.extend(words.chain(first.is_ascii_digit().then_some(1)).map(|len| begin + len));
    }
    false
}

/// Whether it begins with a URL's scheme (RFC 3986 §3.1), or as the names of cloud resources do.
fn is_url(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.len() >= 2
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    text.starts_with("arn:aws")
        || text.split_once("://").is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.contains(' '))
}

/// Whether it is the path of a file, existing or not. A random secret in base64 can begin with a slash and hold others, so it
/// must also contain a usual folder or file extension, or name an existing file.
fn is_path(text: &str) -> bool {
    #[rustfmt::skip]
    const FOLDERS: [&str; 16] = [
        "/app/", "/config/", "/data/", "/etc/", "/home/", "/keys/", "/mnt/", "/opt/", "/private/", "/root/", "/run/", "/secrets/",
        "/srv/", "/tmp/", "/usr/", "/var/",
    ];
    const ENDINGS: [&str; 8] = [".pem", ".key", ".txt", ".json", ".jwk", ".jwks", ".env", ".secret"];
    let is_of_a_path =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '\\' | '.' | '_' | '-' | ' ' | ':' | '~');
    let begins = ["./", "../", "~/", ".\\", "\\\\"].iter().any(|begin| text.starts_with(begin));
    let has_drive = matches!(text.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    let is_in_a_folder = FOLDERS.iter().any(|folder| text.starts_with(folder));
    let is_a_file = text.contains(['/', '\\']) && ENDINGS.iter().any(|ending| text.ends_with(ending));
    text.chars().all(is_of_a_path) && (begins || has_drive || is_in_a_folder || is_a_file)
        || Path::new(text).is_file()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::keys::format::text::tests::encodings;

    #[test]
    fn what_stands_in_place_of_a_secret_is_refused_with_the_remedy() {
        const RAND: &str = "openssl rand";
        for (secret, remedy) in [
            ("passwordpasswordpasswordpassword", RAND),
            ("passwordpasswordpasswordpasswo", RAND),
            ("Password1-password1-PASSWORD1-password1", RAND),
            ("0123456789012345678901234567890123456789", RAND),
            ("0123456789abcdef0123456789abcdef", RAND),
            ("x7Fq-19vLw_secret_of_somebody x7Fq-19vLw_secret_of_somebody", RAND),
            ("1111111111111111111111111111111111112", RAND),
            ("0000000000000000000000000000000000000000000000000000000000ff00", RAND),
            ("${JWT_SECRET_OF_THE_ORDERS_SERVICE}", "template"),
            ("${JWT_SECRET:?the secret must be set}", "template"),
            ("$(cat /run/secrets/jwt/secret-of-orders)", "template"),
            ("$JWT_SECRET_OF_THE_ORDERS_SERVICE", "template"),
            ("%JWT_SECRET_OF_THE_ORDERS_SERVICE%", "template"),
            ("{{ .Values.orders.jwt.secret | b64enc }}", "template"),
            ("{{ jwt_secret_of_the_orders_service }}", "template"),
            ("<%= ENV.fetch JWT_SECRET_OF_ORDERS %>", "template"),
            ("<your-secret-of-at-least-32-characters>", "template"),
            ("[paste the secret of the orders here]", "template"),
            ("your-256-bit-secret-key-goes-here-please", RAND),
            ("CHANGE_ME_IN_PRODUCTION_THIS_IS_NOT_SECURE_123", RAND),
            ("this is a very long test secret key, replace me!", RAND),
            ("replaceThisWithARealSecretOfAtLeast32Bytes", RAND),
            ("https://vault.example/v1/secret/data/orders", "CommandSource"),
            ("op://production/orders-service/jwt-secret", "CommandSource"),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:orders", "CommandSource"),
            ("/run/secrets/jwt-signing-key-of-the-orders", "FileSource"),
            ("./config/keys/jwt-signing-key-of-the-orders", "FileSource"),
            ("config/keys/jwt-signing-key-of-orders.pem", "FileSource"),
            ("C:\\ProgramData\\Orders\\keys\\jwt-signing-key", "FileSource"),
        ] {
            let plain = [secret.to_owned(), format!("{secret}\n"), format!("\u{feff}\"{secret}\"")];
            for form in plain.into_iter().chain(encodings(secret.as_bytes())) {
                let error = refuse(form.as_bytes()).err().unwrap_or_else(|| panic!("{form} is accepted"));
                assert!(error.to_string().contains(remedy), "{form}: {error}");
                assert!(!error.to_string().contains(secret), "{error}");
            }
        }
        let short = refuse(b"${JWT_SECRET}").expect_err("a template").to_string();
        assert!(short.contains("not filled in"), "{short}");
    }

    #[test]
    fn a_text_that_only_resembles_a_placeholder_is_a_secret() {
        for secret in [
            "a secret of these fixtures: 32 bytes and more",
            "last summer's secret: 32 random bytes",
            "/9j4AAQSkZJRg+BAQ/AAAQABAAD2wBDAAgGBgcGBQgI=",
            "correct horse battery staple and nine owls",
            "$2b$12$KIXQ4vQ0yq3l9rJmX0vO7e",
            "98745320198562301459872036514209875632014589",
        ] {
            assert_eq!(refuse(secret.as_bytes()).err().map(|error| error.to_string()), None, "{secret}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_random_secret_is_no_placeholder(bytes in prop::array::uniform32(any::<u8>()), printable in "[!-~]{32,64}") {
            // A strategy shrinks towards what is repeated: such bytes are not random.
            prop_assume!(!printable.contains("://"));
            prop_assume!(bytes.iter().collect::<std::collections::HashSet<_>>().len() > 16);
            let random = crate::crypto::sha256(&bytes);
            let short: String = random.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            let decimal: String = random.iter().map(|byte| format!("{byte:03}")).collect();
            for secret in [
                random.to_vec(),
                STANDARD.encode(random).into_bytes(),
                URL_SAFE_NO_PAD.encode(random).into_bytes(),
                short.into_bytes(),
                decimal.into_bytes(),
                printable.clone().into_bytes(),
            ] {
                prop_assert!(refuse(&secret).is_ok(), "{}", String::from_utf8_lossy(&secret));
            }
        }
    }
}
