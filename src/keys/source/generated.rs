//! [`GeneratedSource`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use zeroize::Zeroizing;

use super::look::{self, Bytes, Found, Memory, Settled, blocking};
use super::{KeyFormat, KeySet, KeySource, guard};
use crate::keys::document::{self, Generated};
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::{backend, pem};

/// A key that is made at the first start and kept in a directory, its private half readable by its owner alone.
///
/// A key pair lies in `private_key.pem` and `public_key.pem`, a secret (as text) in `secret_key`. Of several processes
/// that start at once on one directory, one key wins, and all sign with it. RSA keys have 2048 bits, secrets 86
/// characters.
///
/// Every node that is to admit the tokens needs the same directory. The key is never replaced by itself: put another in
/// its place to rotate, and this one into a [`FileSource`](super::FileSource)'s `retired` file. A key that goes missing
/// while the process runs is an error: no new one is made before the next start.
///
/// The file system must know hard links, by which the key appears whole or not at all.
///
/// On Unix a key that anybody but its owner can read is refused, and so is a directory that others may write to (but for a
/// sticky one): both at each load, with the mode found and the remedy. Both have to belong to the user that the process runs
/// as, or to root. The directories above are not looked at, nor are access lists; on Windows nothing is. A key that lies
/// where modes mean nothing can be read with a [`FileSource`](super::FileSource), which looks at none.
#[derive(Clone, Debug)]
pub struct GeneratedSource {
    directory: PathBuf,
    algorithm: Algorithm,
    memory: Memory,
    /// Shared with the clones: whether the key was there once.
    has_loaded: Arc<AtomicBool>,
}

const PRIVATE: &str = "private_key.pem";
const PUBLIC: &str = "public_key.pem";
const SECRET: &str = "secret_key";

const OWNER_ONLY: u32 = 0o600;
/// As far as the umask goes.
const FOR_ALL: u32 = 0o644;

impl GeneratedSource {
    /// Keeps the key in this directory, which is made where it does not exist.
    pub fn new(directory: impl Into<PathBuf>, algorithm: Algorithm) -> Self {
        Self { directory: directory.into(), algorithm, memory: Memory::default(), has_loaded: Arc::default() }
    }

    fn load_or_generate(&self) -> Result<KeySet, KeyError> {
        let path = self.directory.join(if self.is_secret() { SECRET } else { PRIVATE });
        if !path.try_exists().map_err(|error| look::unreadable(&path, error))? {
            if self.has_loaded.load(Ordering::Relaxed) {
                return Err(KeyError::unavailable(format!(
                    "the generated key is gone: {} was there at the start; put it back, or another in its place",
                    path.display()
                )));
            }
            self.make_directory()?;
            guard::refuse_open_directory(&self.directory)?;
            // Whoever is first: what lies there then is the key.
            self.keep_first(&path, &self.generate()?, OWNER_ONLY)?;
        }
        guard::refuse_open_key(&path)?;
        let set = self.memory.load(
            if self.is_secret() { Settled::NextLoad } else { Settled::AtOnce },
            || Ok(vec![Found::new(&path, look::read(&path)?)]),
            |found| match found {
                [Found { place, bytes, .. }] => self.read(bytes).map_err(|error| error.at(place.display())),
                _ => Err(KeyError::unavailable("there is not one file of it")),
            },
        )?;
        self.has_loaded.store(true, Ordering::Relaxed);
        Ok(set)
    }

    fn read(&self, bytes: &[u8]) -> Result<KeySet, KeyError> {
        if self.is_secret() {
            return KeyFormat::secret(self.algorithm).read(bytes);
        }
        let set = KeyFormat::pem(self.algorithm).read(bytes)?;
        let Some(key) = &set.signing else {
            return Err(KeyError::new(
                KeyErrorKind::WrongType,
                "this is the public half, and signing takes the private one",
            ));
        };
        self.keep_public_half(&key.verifying_key().to_spki()?)?;
        Ok(set)
    }

    fn is_secret(&self) -> bool {
        self.algorithm.family() == AlgorithmFamily::Hmac
    }

    fn generate(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(match document::generate(self.algorithm)? {
            Generated::Secret(secret) => Zeroizing::new(crate::base64::encode_url(secret.as_slice())),
            Generated::Pkcs8(der) => document::pem("PRIVATE KEY", &der),
        })
    }

    fn keep_public_half(&self, public: &[u8]) -> Result<(), KeyError> {
        let path = self.directory.join(PUBLIC);
        match read_if_there(&path)? {
            None => self.keep_first(&path, &document::pem("PUBLIC KEY", public), FOR_ALL),
            Some(kept) if pem::read(&kept).is_ok_and(|kept| *kept.der == public) => Ok(()),
            Some(_) => Err(KeyError::new(
                KeyErrorKind::Malformed,
                format!(
                    "it is not the public half of {PRIVATE} beside it; remove it, and it is written anew"
                ),
            )
            .at(path.display())),
        }
    }

    /// Puts the text there, whole and on disk, unless something is there already.
    fn keep_first(&self, path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
        let failed = |error: io::Error| {
            KeyError::unavailable(format!("{} can't be written: {error}", path.display())).because(error)
        };
        let random: [u8; 12] = backend::random().map_err(|error| {
            KeyError::new(KeyErrorKind::Randomness, "no random bytes to name a file").because(error)
        })?;
        let draft = Draft(self.directory.join(format!(".key-{}", crate::base64::encode_url(random))));
        let mut file = new_file(mode).open(&draft.0).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        match fs::hard_link(&draft.0, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => {
                drop(draft);
                // The name must survive a power cut, or the next start makes another key. Not every system opens
                // directories.
                let _ = File::open(&self.directory).and_then(|directory| directory.sync_all());
                Ok(())
            }
        }
    }

    fn make_directory(&self) -> Result<(), KeyError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(all(unix, not(assume_not_unix)))]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.directory).map_err(|error| {
            KeyError::unavailable(format!("{} can't be made: {error}", self.directory.display()))
                .because(error)
        })
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

/// A file that is gone when it has served.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// To write a file that isn't there yet.
fn new_file(mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(all(unix, not(assume_not_unix)))]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(any(not(unix), assume_not_unix))]
    let _ = mode;
    options
}

fn read_if_there(path: &Path) -> Result<Option<Bytes>, KeyError> {
    match path.try_exists() {
        Ok(true) => look::read(path).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(look::unreadable(path, error)),
    }
}
