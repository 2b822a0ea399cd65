//! [`Fingerprints`]: lists the keys of a process, to compare it with another.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::keyring::ring::KeyRing;
use crate::keys::error::{KeyError, KeyErrorKind};

/// The fingerprints of a ring's keys, the signing key's first. It prints as one line, as in the log, and parses that
/// line, so that a process can be compared with another one's log.
///
/// ```
/// use tower_reissue::keys::{Algorithm, Fingerprints, KeyRing, SigningKey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = |secret| SigningKey::from_secret(Algorithm::HS256, secret);
/// let here = KeyRing::new(key("the secret of this process, 32 bytes")?).fingerprints();
/// // Copied from the other process's log, "keys loaded":
/// let there: Fingerprints = "signs HS256 18a5kllpJbr8upcP-6RfJg".parse()?;
///
/// let difference = here.compare(&there).expect("they differ");
/// assert!(difference.contains("18a5kllpJbr8upcP-6RfJg"));
/// assert_eq!(here.compare(&here), None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints(Vec<Fingerprint>);

/// One key of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fingerprint {
    /// What the key does.
    pub role: Role,
    /// The algorithm it is pinned to, as a token's header names it.
    pub algorithm: String,
    /// Its RFC 7638 thumbprint, or a secret's fingerprint.
    pub fingerprint: String,
    /// Its `kid`, where that is another.
    pub kid: Option<String>,
}

/// What a key of a ring does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It signs, and verifies.
    Signs,
    /// An own key that only verifies.
    Verifies,
    /// A foreign issuer's key.
    Trusted,
}

impl KeyRing {
    /// The fingerprints of these keys, to compare them with those of another process.
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints(self.each_fingerprint().collect())
    }

    fn each_fingerprint(&self) -> impl Iterator<Item = Fingerprint> {
        let signing = self.signing_key().map(|key| key.fingerprint());
        self.keys().map(move |(key, is_own)| Fingerprint {
            role: match is_own {
                true if Some(key.fingerprint()) == signing => Role::Signs,
                true => Role::Verifies,
                false => Role::Trusted,
            },
            algorithm: key.alg().to_owned(),
            fingerprint: key.fingerprint().to_owned(),
            kid: (key.kid() != key.fingerprint()).then(|| key.kid().to_owned()),
        })
    }

    /// As many of them as fit into this many bytes, the signing key first, and how many are left out. It reads no more keys
    /// than it prints, because every forged token causes a call.
    pub(crate) fn fingerprint_summary(&self, most: usize) -> String {
        let mut line = String::new();
        for (nth, key) in self.each_fingerprint().enumerate() {
            let key = key.to_string();
            if nth > 0 && line.len() + SEPARATOR.len() + key.len() > most {
                line.push_str(&format!(" and {} more", self.keys().count() - nth));
                break;
            }
            line.push_str(if nth == 0 { "" } else { SEPARATOR });
            line.push_str(&key);
        }
        line
    }
}

impl Fingerprints {
    /// The keys, the signing one first.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.0.iter()
    }

    /// What will go wrong between this process and another, in words. `None` if each admits what the other signs.
    pub fn compare(&self, other: &Self) -> Option<String> {
        let lacking = |signer: &Self, verifier: &Self| {
            let signing = signer.0.iter().find(|key| key.role == Role::Signs)?;
            (!verifier.0.iter().any(|key| key.is_key_of(signing)))
                .then(|| format!("{} {}", signing.algorithm, signing.fingerprint))
        };
        let sentences = [
            lacking(self, other)
                .map(|key| format!("this process signs with {key}, which the other does not hold")),
            lacking(other, self)
                .map(|key| format!("the other signs with {key}, which this process does not hold")),
        ];
        let difference = sentences.into_iter().flatten().collect::<Vec<_>>().join("; ");
        (!difference.is_empty()).then_some(difference)
    }
}

impl Fingerprints {
    /// The list, cut between keys into lines of at most this many bytes. It has all own keys. Issuers decide how many keys they
    /// publish, so those that begin after so many lines are left out, and only their number is added.
    #[cfg(feature = "tracing")]
    pub(crate) fn lines(&self, most: usize) -> Vec<String> {
        const MAX_LINES: usize = 8;
        let mut lines = vec![String::new()];
        let mut left_out = 0;
        for key in &self.0 {
            let (is_trusted, count) = (key.role == Role::Trusted, lines.len());
            // Own keys may come after an issuer's.
            if is_trusted && left_out > 0 {
                left_out += 1;
                continue;
            }
            let key = key.to_string();
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&key),
                Some(line) if line.len() + SEPARATOR.len() + key.len() <= most => {
                    line.push_str(SEPARATOR);
                    line.push_str(&key);
                }
                _ if is_trusted && count >= MAX_LINES => left_out = 1,
                _ => lines.push(key),
            }
        }
        if let Some(line) = lines.last_mut().filter(|_| left_out > 0) {
            line.push_str(&format!(" and {left_out} more"));
        }
        lines
    }
}

impl Fingerprint {
    fn is_key_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.algorithm == other.algorithm
    }
}

impl fmt::Display for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            write!(f, "{}{key}", if at == 0 { "" } else { SEPARATOR })?;
        }
        Ok(())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Signs => "signs",
            Role::Verifies => "verifies",
            Role::Trusted => "trusted",
        };
        write!(f, "{role} {} {}", self.algorithm, self.fingerprint)?;
        match &self.kid {
            Some(kid) => write!(f, " {KID}{}", printable(kid)),
            None => Ok(()),
        }
    }
}

const SEPARATOR: &str = ", ";
/// The prefix of a `kid` that is not the fingerprint.
pub(crate) const KID: &str = "kid=";

/// A `kid` may come from another party's JWK, so characters that could end it are percent-encoded, and a long one is cut.
fn printable(kid: &str) -> String {
    let mut text = String::new();
    for byte in kid.bytes() {
        if text.len() >= 128 {
            break;
        }
        match byte {
            b'%' => text.push_str("%25"),
            _ if is_printed(byte) => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Whether a printed `kid` holds this byte as it is.
fn is_printed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~:/@+%".contains(&byte)
}

/// The `kid` that [`printable`] printed as this text.
pub(crate) fn unprintable(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digits = rest.clone().map_while(|digit| char::from(digit).to_digit(16));
        match (byte, digits.next(), digits.next()) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a list as it is printed, or a whole line of a log that has one in its field `fingerprints`: `tracing`'s text formats,
/// or one JSON object.
///
/// The rest of a line may contain text of strangers, such as a token's `kid` or a request's path. So a field within quotes is
/// ignored, and if two fields differ, the result is empty.
impl FromStr for Fingerprints {
    type Err = Infallible;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        if let Some(list) = from_json(line) {
            return Ok(Self::of_list(&list));
        }
        let mut fields = unquoted_fields(line).map(Self::of_list);
        let Some(first) = fields.next() else { return Ok(Self::of_list(line)) };
        Ok(if fields.all(|other| other == first) { first } else { Self(Vec::new()) })
    }
}

/// Reads one key as it is printed.
impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match &Fingerprints::of_list(text).0[..] {
            [key] if key.to_string() == text => Ok(key.clone()),
            _ => Err(KeyError::new(
                KeyErrorKind::Malformed,
                "it is not a fingerprint as it is printed, such as `signs HS256 18a5kllpJbr8upcP-6RfJg kid=main`",
            )),
        }
    }
}

const FIELD: &str = "fingerprints";

/// The field of a JSON record, at the top level or in `fields`.
fn from_json(line: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    let list = record.get(FIELD).or_else(|| record.get("fields")?.get(FIELD));
    Some(list.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
}

/// The text after each `fingerprints=` that begins a word outside quotes.
fn unquoted_fields(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.match_indices(['"', 'f']).filter_map(move |(at, found)| {
        let before = line.get(..at)?;
        if found == "\"" {
            let escapes = before.len() - before.trim_end_matches('\\').len();
            quoted ^= escapes % 2 == 0;
            return None;
        }
        let begins_a_word = before.chars().next_back().is_none_or(char::is_whitespace);
        if quoted || !begins_a_word {
            return None;
        }
        line.get(at..)?.strip_prefix(FIELD)?.strip_prefix('=')
    })
}

impl Fingerprints {
    /// The printed list that a text begins with. It ends at the first word that does not belong to it, because the rest of a
    /// line may contain text of strangers.
    fn of_list(text: &str) -> Self {
        let mut keys = Vec::new();
        for entry in text.split(SEPARATOR) {
            let mut words = entry.split_whitespace();
            let (Some(role), Some(algorithm), Some(fingerprint)) = (words.next(), words.next(), words.next())
            else {
                break;
            };
            let role = match role {
                "signs" => Role::Signs,
                "verifies" => Role::Verifies,
                "trusted" => Role::Trusted,
                _ => break,
            };
            let mut next = words.next();
            let kid = next.and_then(|word| word.strip_prefix(KID)).filter(|kid| kid.bytes().all(is_printed));
            let kid = kid.map(unprintable);
            if kid.is_some() {
                next = words.next();
            }
            let (algorithm, fingerprint) = (algorithm.to_owned(), fingerprint.to_owned());
            keys.push(Fingerprint { role, algorithm, fingerprint, kid });
            if next.is_some() {
                break;
            }
        }
        Self(keys)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::SigningKey;
    use crate::keys::Algorithm;

    #[cfg(feature = "tracing")]
    #[test]
    fn of_the_keys_of_issuers_as_many_are_listed_as_fit_into_eight_lines() {
        let key = |role, n: usize| Fingerprint {
            role,
            algorithm: "HS256".to_owned(),
            fingerprint: format!("{n:0>22}"),
            kid: Some("k".repeat(100)),
        };
        // So many own keys, then 256 of issuers, then own ones again: `retiring` may be called after `trust`.
        for (own, later, count) in [(0, 0, 8), (3, 0, 8), (200, 0, 25), (3, 1, 9), (0, 50, 15)] {
            let role = |n: usize| if (own..own + 256).contains(&n) { Role::Trusted } else { Role::Verifies };
            let all = Fingerprints((0..own + 256 + later).map(|n| key(role(n), n)).collect());
            let lines = all.lines(1_200);
            let listed: Vec<_> = lines.iter().flat_map(|line| Fingerprints::of_list(line).0).collect();
            let trusted = listed.len() - own - later;
            let (before, after) = listed.split_at(own + trusted);
            assert!(all.0.starts_with(before) && all.0.ends_with(after));
            let (left_out, last) = (all.0.len() - listed.len(), lines.last().unwrap());
            assert!(last.ends_with(&format!(" and {left_out} more")), "{last}");
            assert!(lines.iter().all(|line| line.len() <= 1_220));
            assert_eq!(lines.len(), count, "{own} {later}");
        }
    }

    #[test]
    fn two_processes_are_compared_by_what_each_signs_and_the_other_holds() {
        let key = |name: &str| {
            SigningKey::from_secret(Algorithm::HS256, format!("{name:-<64}")).unwrap().with_kid("main")
        };
        let alone = |name| KeyRing::new(key(name)).fingerprints();
        let both = KeyRing::new(key("b")).retiring(key("a").with_kid("old")).unwrap().fingerprints();
        assert_eq!(alone("a").compare(&alone("a")), None);
        let difference = both.compare(&alone("a")).unwrap();
        assert!(difference.starts_with("this process signs") && !difference.contains("the other signs"));
        let both_ways = alone("a").compare(&alone("b")).unwrap();
        assert!(both_ways.contains("this process signs") && both_ways.contains("the other signs"));

        for line in [
            format!("2027-01-01T00:00:00Z  INFO keys loaded fingerprints={both} and=more"),
            format!(r#"{{"message":"keys loaded","fingerprints":"{both}","signs":"HS256 x"}}"#),
            both.to_string(),
        ] {
            assert_eq!(line.parse::<Fingerprints>().unwrap(), both, "{line}");
        }
    }

    #[test]
    fn no_stranger_writes_a_list_into_a_line() {
        let real = KeyRing::new(
            SigningKey::from_secret(Algorithm::HS256, "owls hunt mice while fog drifts.").unwrap(),
        )
        .fingerprints();
        let forged = "signs HS256 forged";
        let json = |text: &str| serde_json::Value::from(text).to_string();
        for line in [
            // A token's `kid`, before the list and behind it.
            format!(r#"WARN token refused kid="fingerprints={forged}" fingerprints={real}"#),
            format!(r#"WARN token refused fingerprints={real} kid="x fingerprints={forged}""#),
            format!(r#"WARN token refused kid="\" fingerprints={forged}" fingerprints={real}"#),
            format!(
                r#"{{"fields":{{"fingerprints":"{real}","kid":"fingerprints={forged}","message":"m"}}}}"#
            ),
            format!(r#"{{"kid":"\"fingerprints\":\"{forged}\"","fingerprints":"{real}"}}"#),
            format!(r#"{{"kid":{},"fingerprints":"{real}"}}"#, json(&format!("\"fingerprints\":\"{forged}"))),
            // A span that holds parts of the request.
            format!(
                r#"WARN request{{uri=/?fingerprints=signs,HS256,forged}}: token refused fingerprints={real}"#
            ),
            format!(r#"WARN token refused fingerprints={real} request{{uri=/?signs,HS256,forged}}"#),
            format!(r#"WARN token refused fingerprints={real} uri=/, {forged}"#),
            format!(r#"{{"fields":{{"fingerprints":"{real}"}},"span":{{"fingerprints":"{forged}"}}}}"#),
        ] {
            assert_eq!(line.parse::<Fingerprints>().unwrap(), real, "{line}");
        }
        for line in [
            // Which of them is the log's own can't be told.
            format!("WARN request{{agent=x fingerprints={forged}}}: token refused fingerprints={real}"),
            format!(r#"{{"kid":"fingerprints={forged}"}}"#),
            format!("WARN request{{agent={forged}}}: token refused"),
        ] {
            assert_eq!(line.parse::<Fingerprints>().unwrap().iter().count(), 0, "{line}");
        }
    }

    #[test]
    fn a_kid_of_another_name_is_printed_and_a_line_without_it_is_read_too() {
        let plain = SigningKey::from_secret(Algorithm::HS256, "owls hunt mice while fog drifts.").unwrap();
        let fingerprint = plain.fingerprint().to_owned();
        assert_eq!(
            KeyRing::new(plain.clone()).fingerprints().to_string(),
            format!("signs HS256 {fingerprint}")
        );
        let named = KeyRing::new(plain.clone().with_kid("main")).fingerprints();
        assert_eq!(named.to_string(), format!("signs HS256 {fingerprint} kid=main"));
        let old_form: Fingerprints = format!("signs HS256 {fingerprint}").parse().unwrap();
        assert_eq!((named.compare(&old_form), old_form.compare(&named)), (None, None));
        for hostile in [
            "a, signs HS256 forged",
            "did:example:1#key-1",
            "fingerprints=signs HS256 forged",
            "50%",
            "%41",
            "kid=",
            "signs",
            "\u{1f511}\n",
        ] {
            let ring = KeyRing::new(plain.clone().with_kid(hostile)).fingerprints();
            let line = ring.to_string();
            assert_eq!(line.parse::<Fingerprints>().unwrap(), ring, "{line}");
            assert_eq!(line.split_whitespace().count(), 4, "{line}");
            assert_eq!(&line.parse::<Fingerprint>().unwrap(), ring.iter().next().unwrap());
            for not_one in ["", "signs", "signs HS256", &format!("{line}, {line}"), &format!("{line} more")] {
                assert!(not_one.parse::<Fingerprint>().is_err(), "{not_one}");
            }
        }
    }
}
