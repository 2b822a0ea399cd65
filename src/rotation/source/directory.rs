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
/// the log. `#` begins a comment. A byte order mark, quotes, a list's dash and Windows line ends are accepted. A name
/// that no key had is reported as [`Skipped`](crate::keys::KeyEvent::Skipped). Nothing under a listed key is admitted
/// from then on, even if no other file can be read.
///
/// Directories and names that begin with a dot are ignored. A file that can't be read or holds no key is reported in
/// an event and skipped.
///
/// A certificate is a key only if its file is named with [`retired`](Self::retired): a certificate beside the keys
/// usually has another purpose, and that of a certificate authority would let the authority sign tokens. `tls.crt`
/// and `ca.crt`, which cert-manager puts beside `tls.key`, are ignored silently; any other certificate is reported in
/// an event. A bare public key is a key, because it has no other purpose. A file with the name of an authority's key
/// (`ca.key`, `ca-key.pem`, `rootCA.key`) is treated as a certificate is: a key only if it is named, else reported.
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
                Ok(retired) => set.retire(retired),
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

/// Whether the file name is usual for the key of a certificate authority: `ca.key`, `ca.pem`, `ca-key.pem`, `rootCA.key`.
fn is_authority_key(name: &Path) -> bool {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let stem = stem.trim_end_matches("key").trim_end_matches(['-', '_', '.']);
    ["ca", "rootca", "root-ca", "root_ca"].contains(&stem)
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
        set.withdrawn.extend(lines.split(['\n', '\r']).filter_map(withdrawn_name));
    }
    set
}

/// What an entry of a list can name, where each entry is meant as one name: every line of it as it stands, and without quotes.
/// What [`withdrawn_name`] reads in a line is added if there are no blanks or it is a fingerprint: another word of a `kid` with
/// blanks may be the name of another key.
pub(crate) fn withdrawn_by(entry: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in entry.split(['\n', '\r']).map(str::trim) {
        let is_one_word = !line.contains(char::is_whitespace);
        let read = withdrawn_name(line).filter(|name| is_one_word || thumbprint::is_one(name));
        for name in [line, line.trim_matches(DECORATION)].map(str::to_owned).into_iter().chain(read) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The `kid` or fingerprint in a line. The line may be copied from the log: `signs HS256 <fingerprint> kid=main`.
fn withdrawn_name(line: &str) -> Option<String> {
    let is_log_word =
        |word: &str| matches!(word, "signs" | "verifies" | "trusted") || word.parse::<Algorithm>().is_ok();
    // Only a word that begins with `#` begins a comment: a `kid` may contain one, as those of DIDs do.
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let words = words.map(|word| {
        let word = word.trim_matches(DECORATION);
        // The dash of a list.
        if word.chars().all(|dash| matches!(dash, '-' | '*')) { "" } else { word }
    });
    let words = words.filter(|word| !word.is_empty());
    let name = words.clone().find(|word| !is_log_word(word)).or(words.clone().last())?;
    Some(match name.strip_prefix(fingerprints::KID) {
        // As the log prints it.
        Some(kid) => fingerprints::unprintable(kid.trim_matches(['"', '\''])),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawn_line_names_a_key_as_people_and_logs_do() {
        for (line, expected) in [
            ("main", Some("main")),
            ("  kid-7 \t", Some("kid-7")),
            ("main # leaked on Monday", Some("main")),
            ("main leaked on Monday", Some("main")),
            ("did:example:1#key-1", Some("did:example:1#key-1")),
            ("HS256 18a5kllpJbr8upcP-6RfJg", Some("18a5kllpJbr8upcP-6RfJg")),
            ("signs HS256 18a5kllpJbr8upcP-6RfJg kid=main, ", Some("18a5kllpJbr8upcP-6RfJg")),
            ("signs HS256 18a5kllpJbr8upcP-6RfJg, verifies EdDSA x", Some("18a5kllpJbr8upcP-6RfJg")),
            ("verifies Ed25519 x", Some("x")),
            ("kid=main", Some("main")),
            ("kid=\"main\"", Some("main")),
            ("kid=did:example:1%23key-1", Some("did:example:1#key-1")),
            ("signs", Some("signs")),
            ("ES256", Some("ES256")),
            ("\"main\"", Some("main")),
            ("'main',", Some("main")),
            ("`main`", Some("main")),
            ("- main", Some("main")),
            ("  - \"main\"", Some("main")),
            ("* main;", Some("main")),
            ("[\"main\"]", Some("main")),
            ("\u{feff}main", Some("main")),
            ("-starts-with-a-dash", Some("-starts-with-a-dash")),
            ("\u{a0}main\u{a0}", Some("main")),
            ("# nothing", None),
            ("\"\"", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(withdrawn_name(line).as_deref(), expected, "{line:?}");
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
            ("tls.key", false),
            ("key.pem", false),
            ("ca2024.pem", false),
            ("canada.key", false),
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
