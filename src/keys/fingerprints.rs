//! [`Fingerprints`]: which keys a process holds, to be compared with another's.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::ring::KeyRing;

/// The keys of a ring by their fingerprints, the signing key's first. Printed on one line, as the log has it; that line
/// parses back, so that one process can be compared with the log of another.
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
    /// Which keys these are, to be compared with another process's.
    pub fn fingerprints(&self) -> Fingerprints {
        let signing = self.signing_key().map(|key| key.fingerprint());
        Fingerprints(
            self.keys()
                .map(|(key, is_own)| Fingerprint {
                    role: match is_own {
                        true if Some(key.fingerprint()) == signing => Role::Signs,
                        true => Role::Verifies,
                        false => Role::Trusted,
                    },
                    algorithm: key.alg().to_owned(),
                    fingerprint: key.fingerprint().to_owned(),
                })
                .collect(),
        )
    }
}

impl Fingerprints {
    /// Each key's.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.0.iter()
    }

    /// What will go wrong between this process and another one, in words; `None` where each admits what the other signs.
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

impl Fingerprint {
    fn is_key_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.algorithm == other.algorithm
    }
}

impl fmt::Display for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let role = match key.role {
                Role::Signs => "signs",
                Role::Verifies => "verifies",
                Role::Trusted => "trusted",
            };
            write!(f, "{separator}{role} {} {}", key.algorithm, key.fingerprint)?;
        }
        Ok(())
    }
}

/// Whatever is no fingerprint is passed over, so that a whole line of a log will do.
impl FromStr for Fingerprints {
    type Err = Infallible;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = line
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            .filter(|word| !word.is_empty())
            .collect();
        let keys = words.windows(3).filter_map(|words| match words {
            [role, algorithm, fingerprint] => {
                let role = match *role {
                    "signs" => Role::Signs,
                    "verifies" => Role::Verifies,
                    "trusted" => Role::Trusted,
                    _ => return None,
                };
                Some(Fingerprint {
                    role,
                    algorithm: (*algorithm).to_owned(),
                    fingerprint: (*fingerprint).to_owned(),
                })
            }
            _ => None,
        });
        Ok(Self(keys.collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Algorithm, SigningKey};

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

        let line = format!("2027-01-01T00:00:00Z  INFO keys loaded fingerprints={both} and=more");
        assert_eq!(line.parse::<Fingerprints>().unwrap(), both);
    }
}
