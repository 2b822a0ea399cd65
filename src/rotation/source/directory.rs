//! [`DirectorySource`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::keyring::fingerprints;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::text;
use crate::keys::key_set::KeySet;
use crate::keys::thumbprint;
use crate::rotation::source::KeySource;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::given;
use crate::rotation::source::snapshot;
use crate::rotation::source::snapshot::Debounce;
use crate::rotation::source::snapshot::Entry;
use crate::rotation::source::snapshot::LoadCache;
use crate::rotation::source::snapshot::blocking;

/// A directory of keys, such as a mounted Kubernetes Secret: one named file signs, and every other one is a retired
/// key that still verifies.
///
/// The file `withdrawn` lists compromised keys: a `kid` or fingerprint on each line, or `HS256 <fingerprint>` as in
/// the log. `#` begins a comment. A byte order mark, quotes, a list's dash and Windows line ends are accepted. Every
/// fingerprint on a line counts, and so does the first word of each part between commas or semicolons. So does the
/// whole line, and its first word with its commas, because a `kid` may hold blanks and commas. A name that no key had,
/// and a further word, is reported as [`Skipped`](crate::keys::KeyEvent::Skipped). Nothing under a listed key is
/// admitted from then on, even if no other file can be read.
///
/// Directories and names that begin with a dot are ignored. A file that can't be read or holds no key is reported in
/// an event and skipped.
///
/// A certificate is a key only if its file is named with [`retired`](Self::retired): a certificate beside the keys
/// usually has another purpose, and that of a certificate authority would let the authority sign tokens. `tls.crt`
/// and `ca.crt`, which cert-manager puts beside `tls.key`, are ignored silently; any other certificate is reported in
/// an event. A bare public key is a key, because it has no other purpose. A file with `ca`, `rootca` or the like as
/// a word of its name (`ca.key`, `rootCA-key.pem`, `intermediate_ca_key`) may hold an authority's key and is treated as a
/// certificate is: a key only if it is named, else reported. Words end at `-`, `_` and the file's ending, but not at
/// other dots: `auth.example.ca.json` is named by a domain, and is a key.
///
/// Put nothing else there. With [`KeyFormat::secret`] almost any text of 32 bytes or more is a key (a README, an
/// editor's backup), and whoever knows the text can sign with it. Prefer base64, PEM or JWK.
///
/// A mounted Secret is replaced as a whole through the link `..data`. The keys are read together from where the link leads at
/// that moment, so that no old file is used beside a new one. The list `withdrawn` is read before them. In a directory
/// without that link a file may be half written, and half of a bare secret is also a secret. So if any of the formats is a bare secret, a change waits for a second reload, as with a
/// [`FileSource`](super::FileSource). Each file waits only for itself, and one that changes at every load is reported
/// in an event. Withdrawals never wait, nor does the successor of a withdrawn signing key.
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Clone, Debug)]
pub struct DirectorySource {
    directory: PathBuf,
    signing: PathBuf,
    format: KeyFormat,
    retired: Vec<(PathBuf, KeyFormat)>,
    cache: LoadCache,
    withdrawn: LoadCache,
}

const WITHDRAWN: &str = "withdrawn";
/// The link to the files of a mounted Secret.
const DATA: &str = "..data";
const MAX_FILES: usize = 100;
/// Around a name in a list: quotes, separators, brackets, and invisible characters that editors insert.
const DECORATION: [char; 9] = ['"', '\'', '`', ',', ';', '[', ']', '\u{feff}', '\u{200b}'];
/// The names that the certificates of a `kubernetes.io/tls` Secret have.
const CERTIFICATES: [&str; 2] = ["tls.crt", "ca.crt"];

/// What the names of key files end in, also several of them.
const KEY_ENDINGS: [&str; 20] = [
    "pem", "key", "der", "json", "jwk", "jwks", "crt", "cer", "cert", "pub", "priv", "p8", "pk8", "pkcs8",
    "txt", "b64", "base64", "bak", "old", "orig",
];

impl DirectorySource {
    /// `signing` names the file of the signing key. Every file is read in this format. Without that file, a load
    /// fails.
    pub fn new(directory: impl Into<PathBuf>, signing: impl Into<PathBuf>, format: KeyFormat) -> Self {
        let directory = given::path(directory);
        Self {
            signing: given::name(&directory, signing),
            directory,
            format,
            retired: Vec::new(),
            cache: LoadCache::default(),
            withdrawn: LoadCache::default(),
        }
    }

    /// A retired key's file in another format, during a change of the algorithm, or one that is a certificate. The
    /// file may be missing.
    pub fn retired(mut self, name: impl Into<PathBuf>, format: KeyFormat) -> Self {
        self.retired.push((given::name(&self.directory, name), format));
        self
    }

    /// Withdrawals take effect also if no key loads. The set then consists of them and of the error.
    fn load_all(&self) -> Result<KeySet, KeyError> {
        let KeySet { withdrawn, .. } = self.withdrawn.load(
            Debounce::WithinLoad,
            || self.withdrawal_snapshot(),
            |found| Ok(parse_withdrawn(found)),
        )?;
        let is_withdrawn = |name: &str| withdrawn.iter().any(|withdrawn| withdrawn == name);
        let nothing_signs =
            self.cache.signs_with(|key| is_withdrawn(key.kid()) || is_withdrawn(key.fingerprint()));
        let settled = if nothing_signs || self.is_swapped_whole() {
            Debounce::WithinLoad
        } else {
            let formats = self.retired.iter().map(|(_, format)| format);
            Debounce::for_formats(formats.chain([&self.format]))
        };
        match self.cache.load(settled, || self.snapshot(), |found| self.parse(found)) {
            Ok(set) => Ok(KeySet { withdrawn, ..set }),
            Err(error) if withdrawn.is_empty() => Err(error),
            Err(error) => Ok(KeySet { withdrawn, skipped: vec![error], ..KeySet::default() }),
        }
    }

    /// If the list exists and can't be read, the load fails, because withdrawn keys could be admitted otherwise.
    fn withdrawal_snapshot(&self) -> Result<Vec<Entry>, KeyError> {
        let path = self.current_directory()?.join(WITHDRAWN);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(vec![Entry::new(WITHDRAWN, snapshot::read(&path)?)]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(snapshot::unreadable(&path, error)),
        }
    }

    fn is_swapped_whole(&self) -> bool {
        fs::symlink_metadata(self.directory.join(DATA)).is_ok()
    }

    /// The directory that the link names is never changed, only replaced. If it is replaced during a load, reading fails, and
    /// the next snapshot finds the new one.
    fn current_directory(&self) -> Result<PathBuf, KeyError> {
        match fs::canonicalize(self.directory.join(DATA)) {
            Ok(data) => Ok(data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.directory.clone()),
            Err(error) => Err(snapshot::unreadable(&self.directory, error)),
        }
    }

    fn snapshot(&self) -> Result<Vec<Entry>, KeyError> {
        let at = |error| snapshot::unreadable(&self.directory, error);
        let directory = self.current_directory()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(at)? {
            let name = entry.map_err(at)?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") && name != WITHDRAWN {
                names.push(PathBuf::from(name));
            }
        }
        if names.len() > MAX_FILES {
            return Err(KeyError::unavailable(format!(
                "{} holds more than {MAX_FILES} files: is it a directory of keys?",
                self.directory.display()
            )));
        }
        names.sort();
        let mut found = Vec::new();
        for name in names {
            let path = directory.join(&name);
            // Symlinks are followed: to a file, to a directory, to nothing.
            match fs::metadata(&path) {
                Ok(data) if data.is_dir() => continue,
                Ok(data) if !data.is_file() => {
                    let error = format!("{} is not a file", path.display());
                    found.push(Entry::failed(name, KeyError::unavailable(error)));
                }
                Ok(_) => match snapshot::read(&path) {
                    Ok(bytes) => found.push(Entry::new(name, bytes)),
                    Err(error) => found.push(Entry::failed(name, error)),
                },
                Err(error) => found.push(Entry::failed(name, snapshot::unreadable(&path, error))),
            }
        }
        Ok(found)
    }

    fn parse(&self, found: &[Entry]) -> Result<KeySet, KeyError> {
        let at = |place: &Path, error: KeyError| error.at(self.directory.join(place).display());
        let signing = found.iter().find(|found| found.place == self.signing).ok_or_else(|| {
            KeyError::unavailable(format!(
                "{} holds no file {}",
                self.directory.display(),
                self.signing.display()
            ))
        })?;
        if let Some(error) = &signing.error {
            return Err(error.clone());
        }
        let mut set = self.format.read(&signing.bytes).map_err(|error| at(&signing.place, error))?;
        for Entry { place, bytes, error } in found.iter().filter(|found| found.place != self.signing) {
            if let Some(error) = error {
                set.skipped.push(error.clone());
                continue;
            }
            let named = self.retired.iter().find(|(name, _)| name == place).map(|(_, format)| format);
            if named.is_none() && self.format.finds_certificate(bytes) {
                if !CERTIFICATES.iter().any(|name| *place == Path::new(name)) {
                    set.skipped.push(at(place, unnamed_certificate()));
                }
                continue;
            }
            if named.is_none() && is_authority_key(place) {
                set.skipped.push(at(place, authority_key()));
                continue;
            }
            match named.unwrap_or(&self.format).read(bytes) {
                Ok(retired) => set.retire(retired, self.directory.join(place).display()),
                Err(error) => set.skipped.push(at(place, error)),
            }
        }
        Ok(set)
    }
}

impl KeySource for DirectorySource {
    fn describe(&self) -> String {
        format!("directory {}", self.directory.display())
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let this = self.clone();
        blocking(move || this.load_all()).await
    }
}

fn unnamed_certificate() -> KeyError {
    KeyError::new(
        KeyErrorKind::WrongUse,
        "it is a certificate, and no option names its file; if its key signed tokens of this service, name the file with \
         `DirectorySource::retired`, otherwise remove it",
    )
}

/// Whether a word of the file's name stands for a certificate authority, as in the names that openssl's users, mkcert, minica,
/// kubeadm and step-ca give to the keys of one.
fn is_authority_key(name: &Path) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    let mut stem = &*name;
    while let Some((rest, _)) = stem.rsplit_once('.').filter(|(_, ending)| KEY_ENDINGS.contains(ending)) {
        stem = rest;
    }
    // Not at dots: `auth.example.ca` is a domain.
    let words: Vec<_> = stem.split(['-', '_']).collect();
    let is_authority = |word: &str| {
        let word = word.strip_suffix("key").unwrap_or(word);
        matches!(word, "ca" | "rootca" | "subca" | "intermediateca" | "myca" | "minica")
    };
    // Canada's regions: `ca-central-1`, `ca-toronto-1`.
    let is_region = |at: usize| match words.get(at + 1..at + 3) {
        Some(["central" | "west" | "montreal" | "toronto", number]) => {
            number.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    };
    words.iter().enumerate().any(|(at, word)| is_authority(word) && !is_region(at))
}

fn authority_key() -> KeyError {
    KeyError::new(
        KeyErrorKind::WrongUse,
        "it has the name of a certificate authority's key; if it signed tokens of this service, name the file with \
         `DirectorySource::retired`, otherwise remove it",
    )
}

fn parse_withdrawn(found: &[Entry]) -> KeySet {
    let mut set = KeySet::default();
    for Entry { bytes, .. } in found {
        // Lossy, so that a comment in another encoding does not hide the names.
        let lines = text::plain(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned().into());
        set.withdrawn.extend(lines.split(['\n', '\r']).flat_map(withdrawn_names));
    }
    set
}

/// What a line of the file can name: its [words](Word), and the whole line and its first word before it is split at commas, because a
/// `kid` may hold blanks and commas.
fn withdrawn_names(line: &str) -> Vec<String> {
    let is_around = |c: char| c.is_whitespace() || DECORATION.contains(&c);
    let line = without_comment(line);
    let whole = line.trim_matches(is_around);
    // The dash of a list.
    let item = whole.strip_prefix(['-', '*']).filter(|item| item.starts_with(char::is_whitespace));
    let whole = item.map_or(whole, |item| item.trim_matches(is_around));
    let whole = whole.contains(is_separator).then(|| whole.to_owned());
    let words = Word::all(line).into_iter().filter(|word| word.is_name).map(|word| word.text);
    distinct(whole.into_iter().chain(Word::first(line)).chain(words))
}

/// What an entry of a list can name, where each entry is meant as one name: every line of it as it stands, and without quotes. Of
/// its [words](Word) fingerprints are added, and one without blanks around it: another word of a `kid` with blanks may be the name
/// of another key.
#[cfg(any(feature = "settings", test))]
pub(crate) fn withdrawn_by(entry: &str) -> Vec<String> {
    let lines = entry.split(['\n', '\r']).map(str::trim);
    distinct(lines.flat_map(|line| {
        let alone = Word::first(line).filter(|_| !line.contains(char::is_whitespace));
        let words = Word::all(line).into_iter().map(|word| word.text).filter(|word| thumbprint::is_one(word));
        [line, undecorated(line)].map(str::to_owned).into_iter().chain(alone).chain(words)
    }))
}

fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut names = Vec::new();
    for name in all {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A word of a line that can name a key.
pub(crate) struct Word {
    pub(crate) text: String,
    /// Whether it is withdrawn: the first word of each part between commas, and every fingerprint. Others may be remarks.
    pub(crate) is_name: bool,
}

impl Word {
    /// The words of a line. It may be copied from the log: `signs HS256 <fingerprint> kid=main, verifies HS256 <fingerprint>`.
    pub(crate) fn all(line: &str) -> Vec<Self> {
        without_comment(line).split([',', ';']).flat_map(Self::of_text).collect()
    }

    /// The first name of a line that is split only at blanks, because a `kid` may hold commas.
    pub(crate) fn first(line: &str) -> Option<String> {
        Self::of_text(without_comment(line)).into_iter().next().map(|word| word.text)
    }

    fn of_text(text: &str) -> Vec<Self> {
        let is_log_word = |word: &str| {
            matches!(word, "signs" | "verifies" | "trusted") || word.parse::<Algorithm>().is_ok()
        };
        let all = text.split_whitespace().map(undecorated);
        // The dash of a list.
        let all: Vec<_> = all.filter(|word| !word.chars().all(|dash| matches!(dash, '-' | '*'))).collect();
        let mut words: Vec<Self> = Vec::new();
        let mut is_told = false;
        for word in all.iter().filter(|word| !is_log_word(word)) {
            let is_fingerprint = thumbprint::is_one(word);
            let text = match word.strip_prefix(fingerprints::KID) {
                // The fingerprint before it names the key, and the next key may have this `kid` too.
                Some(_) if is_told => continue,
                // As the log prints it.
                Some(kid) => fingerprints::unprintable(kid.trim_matches(['"', '\''])),
                None => (*word).to_owned(),
            };
            words.push(Self { text, is_name: is_fingerprint || words.is_empty() });
            is_told |= is_fingerprint;
        }
        if let (true, Some(last)) = (words.is_empty(), all.last()) {
            words.push(Self { text: (*last).to_owned(), is_name: true });
        }
        words
    }
}

pub(crate) fn undecorated(text: &str) -> &str {
    text.trim_matches(DECORATION)
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';')
}

/// Only a word that begins with `#` begins a comment: a `kid` may contain one, as those of DIDs do.
fn without_comment(line: &str) -> &str {
    let mut befores = line.match_indices('#').filter_map(|(at, _)| line.get(..at));
    befores.find(|before| before.chars().next_back().is_none_or(char::is_whitespace)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawn_line_names_keys_as_people_and_logs_do() {
        const A: &str = "18a5kllpJbr8upcP-6RfJg";
        const B: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        let line = |text: &str| text.replace("<A>", A).replace("<B>", B);
        for (text, expected) in [
            ("main", &["main"][..]),
            ("  kid-7 \t", &["kid-7"]),
            ("main # leaked on Monday, the other one too", &["main"]),
            ("main leaked on Monday", &["main leaked on Monday", "main"]),
            ("did:example:1#key-1", &["did:example:1#key-1"]),
            ("HS256 <A>", &["HS256 <A>", "<A>"]),
            ("signs HS256 <A> kid=main, ", &["signs HS256 <A> kid=main", "<A>"]),
            ("signs HS256 <A>, verifies EdDSA x", &["signs HS256 <A>, verifies EdDSA x", "<A>", "x"]),
            (
                "verifies HS256 <A>, verifies HS256 <B> kid=b",
                &["verifies HS256 <A>, verifies HS256 <B> kid=b", "<A>", "<B>"],
            ),
            ("<A>, <B>", &["<A>, <B>", "<A>", "<B>"]),
            ("<A> <B>", &["<A> <B>", "<A>", "<B>"]),
            ("<A>,<B>", &["<A>,<B>", "<A>", "<B>"]),
            ("<A>; <B>", &["<A>; <B>", "<A>", "<B>"]),
            ("[\"<A>\", \"<B>\"]", &["<A>\", \"<B>", "<A>", "<B>"]),
            ("- [old, older]", &["old, older", "old", "older"]),
            ("leaked: <A> and <B>", &["leaked: <A> and <B>", "leaked:", "<A>", "<B>"]),
            ("verifies Ed25519 x", &["verifies Ed25519 x", "x"]),
            ("kid=main", &["main"]),
            ("kid=\"main\"", &["main"]),
            ("kid=did:example:1%23key-1", &["did:example:1#key-1"]),
            ("CN=a,O=b", &["CN=a,O=b", "CN=a", "O=b"]),
            ("kid=CN=a,O=b", &["kid=CN=a,O=b", "CN=a,O=b", "CN=a", "O=b"]),
            ("kid=\"CN=a,O=b\"", &["kid=\"CN=a,O=b", "CN=a,O=b", "CN=a", "O=b"]),
            ("HS256 CN=a;O=b", &["HS256 CN=a;O=b", "CN=a;O=b", "CN=a", "O=b"]),
            ("verifies HS256 CN=a,O=b", &["verifies HS256 CN=a,O=b", "CN=a,O=b", "CN=a", "O=b"]),
            ("CN=a,O=b leaked on Monday", &["CN=a,O=b leaked on Monday", "CN=a,O=b", "CN=a", "O=b"]),
            ("- \"the old key\" # leaked", &["the old key", "the"]),
            ("signs", &["signs"]),
            ("ES256", &["ES256"]),
            ("\"main\"", &["main"]),
            ("'main',", &["main"]),
            ("`main`", &["main"]),
            ("- main", &["main"]),
            ("  - \"main\"", &["main"]),
            ("* main;", &["main"]),
            ("[\"main\"]", &["main"]),
            ("\u{feff}main", &["main"]),
            ("-starts-with-a-dash", &["-starts-with-a-dash"]),
            ("\u{a0}main\u{a0}", &["main"]),
            ("# nothing", &[]),
            ("\"\"", &[]),
            ("-", &[]),
            ("", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|name| line(name)).collect();
            assert_eq!(withdrawn_names(&line(text)), expected, "{text:?}");
        }
    }

    /// The rule of versions that read one name of each line. Their lists still count.
    fn only_name(line: &str) -> Option<String> {
        let is_log_word = |word: &str| {
            matches!(word, "signs" | "verifies" | "trusted") || word.parse::<Algorithm>().is_ok()
        };
        let words = line.split_whitespace().take_while(|word| !word.starts_with('#')).map(|word| {
            let word = word.trim_matches(DECORATION);
            if word.chars().all(|dash| matches!(dash, '-' | '*')) { "" } else { word }
        });
        let words = words.filter(|word| !word.is_empty());
        let name = words.clone().find(|word| !is_log_word(word)).or(words.clone().last())?;
        Some(match name.strip_prefix(fingerprints::KID) {
            Some(kid) => fingerprints::unprintable(kid.trim_matches(['"', '\''])),
            None => name.to_owned(),
        })
    }

    #[test]
    fn a_line_names_every_key_that_it_named_when_one_name_counted() {
        let befores = ["", " ", "- ", "* \"", "[", "\u{feff}", "verifies HS256 ", "signs, ", "trusted,"];
        let names = [
            "main",
            "CN=a,O=b",
            "CN=a;O=b",
            ",",
            "a%2Cb",
            "did:example:1#key-1",
            "ES256",
            "signs",
            "x\"y",
            "18a5kllpJbr8upcP-6RfJg",
            "a,18a5kllpJbr8upcP-6RfJg",
            "-",
            "",
        ];
        let prefixes = ["", "kid=", "kid=\"", "kid='"];
        let afters =
            ["", "\"", "',", "\"]", " leaked on Monday", ", older", ",older", "; # leaked", " kid=main"];
        for (before, name) in befores.iter().flat_map(|before| names.map(|name| (before, name))) {
            for (prefix, after) in prefixes.iter().flat_map(|prefix| afters.map(|after| (prefix, after))) {
                let line = format!("{before}{prefix}{name}{after}");
                let named = withdrawn_names(&line);
                let only = only_name(&line).filter(|name| !name.is_empty());
                assert!(only.iter().all(|name| named.contains(name)), "{line:?}: {only:?} in {named:?}");
                let only = only.filter(|name| !line.contains(' ') || thumbprint::is_one(name));
                let named = withdrawn_by(&line);
                assert!(only.iter().all(|name| named.contains(name)), "{line:?}: {only:?} in {named:?}");
            }
        }
    }

    #[test]
    fn an_entry_that_withdraws_counts_as_it_stands() {
        for (entry, expected) in [
            ("old", &["old"][..]),
            ("\"old\"", &["\"old\"", "old"]),
            ("\u{feff}old", &["\u{feff}old", "old"]),
            ("kid=old", &["kid=old", "old"]),
            ("old;", &["old;", "old"]),
            ("[old]", &["[old]", "old"]),
            ("[\"old\"", &["[\"old\"", "old"]),
            ("#key-1", &["#key-1"]),
            ("did:example:1#key-1", &["did:example:1#key-1"]),
            ("HS256 18a5kllpJbr8upcP-6RfJg", &["HS256 18a5kllpJbr8upcP-6RfJg", "18a5kllpJbr8upcP-6RfJg"]),
            (
                "18a5kllpJbr8upcP-6RfJg; NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                &[
                    "18a5kllpJbr8upcP-6RfJg; NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                    "18a5kllpJbr8upcP-6RfJg",
                    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                ],
            ),
            ("old;older", &["old;older"]),
            ("kid=CN=a,O=b", &["kid=CN=a,O=b", "CN=a,O=b"]),
            ("kid=\"CN=a,O=b\"", &["kid=\"CN=a,O=b\"", "kid=\"CN=a,O=b", "CN=a,O=b"]),
            ("HS256 CN=a,O=b", &["HS256 CN=a,O=b"]),
            ("HS256 old", &["HS256 old"]),
            ("main 2", &["main 2"]),
            ("'main 2'", &["'main 2'", "main 2"]),
            (" the old key ", &["the old key"]),
            ("old\r\nolder\n", &["old", "older"]),
            ("", &[]),
        ] {
            assert_eq!(withdrawn_by(entry), expected, "{entry:?}");
        }
    }

    #[test]
    fn an_authority_is_told_by_the_name_of_its_key() {
        for (name, expected) in [
            ("ca.key", true),
            ("ca.pem", true),
            ("CA.key", true),
            ("ca-key.pem", true),
            ("ca_key.pem", true),
            ("ca.key.pem", true),
            ("rootCA.key", true),
            ("rootCA-key.pem", true),
            ("root_ca_key", true),
            ("intermediate_ca_key", true),
            ("front-proxy-ca.key", true),
            ("minica-key.pem", true),
            ("ca_private_key.pem", true),
            ("my-ca.key", true),
            ("myCA.key", true),
            ("cakey.pem", true),
            ("ca-2026.pem", true),
            ("tls.key", false),
            ("key.pem", false),
            ("ca2024.pem", false),
            ("canada.key", false),
            ("california.pem", false),
            ("ca-central-1.pem", false),
            ("2026-ca-west-1", false),
            ("jwt-ca-central-1a.2026.pem", false),
            ("ca-central.key", true),
            ("ca_west.pem", true),
            ("cat-key.pem", false),
            ("america.key", false),
            ("ca", true),
            ("ca.key.json.bak", true),
            ("example.com-ca.key", true),
            ("example.ca.json", false),
            ("auth.example.ca-2025.json", false),
            ("login.example.ca.key", false),
            ("ca.example.com.pem", false),
            ("current.pem", false),
        ] {
            assert_eq!(is_authority_key(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_withdrawal_list_is_read_however_it_was_saved() {
        let list = "main\r\n\r\n# a comment\r\n\"old\" \rolder";
        let utf16 = list.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for bytes in [
            list.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", list.as_bytes()].concat(),
            [b"\xff\xfe", &utf16[..]].concat(),
            utf16,
        ] {
            let read = parse_withdrawn(&[Entry::new(WITHDRAWN, bytes.clone().into())]);
            assert_eq!(read.withdrawn, ["main", "old", "older"], "{bytes:?}");
        }
        let read = parse_withdrawn(&[Entry::new(WITHDRAWN, b"main # gest\xf6hlen\n".to_vec().into())]);
        assert_eq!(read.withdrawn, ["main"]);
    }
}
