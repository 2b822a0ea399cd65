//! [`GeneratedSource`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::pem;
use crate::keys::format::pkcs8;
use crate::keys::format::pkcs8::Generated;
use crate::keys::key_set::KeySet;
use crate::rotation::source::KeySource;
use crate::rotation::source::format::KeyFormat;
use crate::rotation::source::private_directory::PrivateDirectory;
use crate::rotation::source::private_directory::Visibility;
use crate::rotation::source::snapshot::Debounce;
use crate::rotation::source::snapshot::Entry;
use crate::rotation::source::snapshot::LoadCache;
use crate::rotation::source::snapshot::blocking;

/// A key that is generated at the first start and kept in a directory. Only its owner can read the private half.
///
/// A key pair is in `private_key.pem` and `public_key.pem`, a secret (as text) in `secret_key`. If several processes
/// start at once on one directory, one key wins, and all sign with it. RSA keys have 2048 bits, secrets 86
/// characters.
///
/// Every node that is to admit the tokens needs the same directory. The key is never replaced automatically. To
/// rotate, put another in its place, and this one into a [`FileSource`](super::FileSource)'s `retired` file. If the
/// key disappears while the process runs, that is an error; a new one is generated only at the next start.
///
/// The file system must support hard links, so that the key appears whole or not at all.
///
/// On Unix each load refuses a key in these cases, with the mode that was found and the remedy:
///
/// * anybody but its owner can read it, or it is not a regular file (a symbolic link, for example)
/// * others can write to its directory, even a sticky one, in which anybody may be the first to create a key
/// * the file or the directory belongs to a user other than the process's or root
/// * the path of the directory contains a symbolic link that others can replace
///
/// Other directories on the path may be open to others: what they can put there is refused because of its owner.
/// Access lists are not checked, and on Windows nothing is. For a key that somebody else manages, as in a mounted
/// Secret, use a [`FileSource`](super::FileSource) or a [`DirectorySource`](super::DirectorySource), which follow
/// links and check no mode.
#[must_use = "a source does nothing until a `KeyRotation` reads it"]
#[derive(Clone, Debug)]
pub struct GeneratedSource {
    directory: PathBuf,
    algorithm: Algorithm,
    cache: LoadCache,
    /// Whether a key was loaded before. Clones share it.
    has_loaded: Arc<AtomicBool>,
}

const PRIVATE: &str = "private_key.pem";
const PUBLIC: &str = "public_key.pem";
const SECRET: &str = "secret_key";

impl GeneratedSource {
    /// Keeps the key in this directory, which is created if it does not exist.
    pub fn new(directory: impl Into<PathBuf>, algorithm: Algorithm) -> Self {
        Self {
            directory: directory.into(),
            algorithm,
            cache: LoadCache::default(),
            has_loaded: Arc::default(),
        }
    }

    fn load_or_generate(&self) -> Result<KeySet, KeyError> {
        let name = if self.is_secret() { SECRET } else { PRIVATE };
        let path = self.directory.join(name);
        let gone = || {
            KeyError::unavailable(format!(
                "the generated key is gone: {} existed at the start; restore it, or put another key in its place",
                path.display()
            ))
        };
        let directory = match PrivateDirectory::open(&self.directory)? {
            Some(directory) if directory.read(name, Visibility::Secret)?.is_some() => directory,
            _ if self.has_loaded.load(Ordering::Relaxed) => return Err(gone()),
            _ => {
                let directory = PrivateDirectory::create(&self.directory)?;
                // Another process may have been first. The file that exists now is the key.
                directory.create_file(name, &self.generate()?, Visibility::Secret)?;
                directory
            }
        };
        let set = self.cache.load(
            if self.is_secret() { Debounce::AcrossLoads } else { Debounce::WithinLoad },
            || Ok(vec![Entry::new(&path, directory.read(name, Visibility::Secret)?.ok_or_else(gone)?)]),
            |found| match found {
                [Entry { place, bytes, .. }] => {
                    self.read(&directory, bytes).map_err(|error| error.at(place.display()))
                }
                _ => Err(KeyError::unavailable("a snapshot of it has not exactly one file")),
            },
        )?;
        self.has_loaded.store(true, Ordering::Relaxed);
        Ok(set)
    }

    fn read(&self, directory: &PrivateDirectory, bytes: &[u8]) -> Result<KeySet, KeyError> {
        if self.is_secret() {
            return KeyFormat::secret(self.algorithm).read(bytes);
        }
        let set = KeyFormat::pem(self.algorithm).read(bytes)?;
        let Some(key) = &set.signing else {
            return Err(KeyError::new(
                KeyErrorKind::WrongType,
                "this is the public half; signing needs the private one",
            ));
        };
        self.write_public_half(directory, &key.verifying_key().to_spki()?)?;
        Ok(set)
    }

    fn is_secret(&self) -> bool {
        self.algorithm.is_hmac()
    }

    fn generate(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(match pkcs8::generate(self.algorithm)? {
            Generated::Secret(secret) => Zeroizing::new(crate::jose::base64::encode_url(secret.as_slice())),
            Generated::Pkcs8(der) => pkcs8::pem("PRIVATE KEY", &der),
        })
    }

    fn write_public_half(&self, directory: &PrivateDirectory, public: &[u8]) -> Result<(), KeyError> {
        match directory.read(PUBLIC, Visibility::Public)? {
            None => directory.create_file(PUBLIC, &pkcs8::pem("PUBLIC KEY", public), Visibility::Public),
            Some(file) if pem::read(&file).is_ok_and(|file| *file.der == public) => Ok(()),
            Some(_) => Err(KeyError::new(
                KeyErrorKind::Malformed,
                format!(
                    "it is not the public half of {PRIVATE} beside it; remove it, and it is written again"
                ),
            )
            .at(self.directory.join(PUBLIC).display())),
        }
    }
}

impl KeySource for GeneratedSource {
    fn describe(&self) -> String {
        format!("generated key in {}", self.directory.display())
    }

    async fn load(&self) -> Result<KeySet, KeyError> {
        let this = self.clone();
        blocking(move || this.load_or_generate()).await
    }
}
