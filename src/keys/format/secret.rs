//! Checks of HMAC secrets.

use zeroize::Zeroizing;

use crate::jose::base64::Base64;
use crate::keys::algorithm::Algorithm;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::der;
use crate::keys::format::known_secrets;
use crate::keys::format::placeholder;
use crate::keys::format::text::is_path;
use crate::keys::format::text::is_ssh_public_key;
use crate::keys::format::text::leading_base64;
use crate::keys::format::text::readings;
use crate::keys::scheme::{Hash, Scheme};

/// A secret shorter than this can be guessed from one token; no option lowers it.
pub(crate) const MIN_LEN: usize = 32;

/// Whether a secret may be shorter than the hash it is used with, RFC 7518 §3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shorter {
    #[default]
    Refused,
    Allowed,
}

/// A secret that passed the checks, and the hash that it was checked for.
pub(crate) struct Secret<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: Hash,
    pub(crate) algorithm: Algorithm,
    pub(crate) is_short: bool,
}

impl<'a> Secret<'a> {
    pub(crate) fn check(algorithm: Algorithm, bytes: &'a [u8], shorter: Shorter) -> Result<Self, KeyError> {
        let Scheme::Hmac(hash) = algorithm.scheme() else {
            return Err(KeyError::new(
                KeyErrorKind::WrongType,
                format!(
                    "{} takes a key pair, not a secret; load it with `from_pem` or `from_der`",
                    algorithm.name()
                ),
            ));
        };
        refuse_guessable(bytes)?;
        refuse_key_documents(bytes)?;
        placeholder::refuse(bytes)?;
        let is_short = bytes.len() < hash.len();
        let minimum = if shorter == Shorter::Allowed { MIN_LEN } else { hash.len() };
        if bytes.len() < minimum {
            let mut message = format!(
                "the secret for {} has {} bytes and needs {minimum}; make one with `openssl rand -hex 64`",
                algorithm.name(),
                bytes.len(),
            );
            message.push_str(if bytes.len() >= MIN_LEN {
                ", or load it with `dangerous().short_hmac(..)` if it can't be changed"
            } else {
                "; no option loads one under 32 bytes, which can be guessed from a single token, so tokens that it \
                 signed end with it"
            });
            return Err(KeyError::new(KeyErrorKind::Weak, message));
        }
        Ok(Self { bytes, hash, algorithm, is_short })
    }
}

/// The bytes of a secret written in base64.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    decode(Base64::Standard, text, "padded base64")
}

/// The bytes of a secret written in base64url.
pub(crate) fn decode_base64url(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    decode(Base64::UrlAnyPadding, text, "base64url")
}

fn decode(form: Base64, text: &[u8], name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    form.decode(text).ok_or_else(|| not_in(form, text, name))
}

/// The error for a text that is not in this form of base64, with the remedy.
pub(crate) fn not_in(form: Base64, text: &[u8], name: &str) -> KeyError {
    let joined: Zeroizing<Vec<u8>> =
        text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>().into();
    let is_path = || std::str::from_utf8(text).is_ok_and(is_path);
    let is_in = |form: Base64| form.decode(&joined).is_some();
    let remedy = if is_in(form) && form.decode(text.trim_ascii()).is_some() {
        "it has white space at an end: strip it"
    } else if is_in(form) {
        "it has white space or line ends inside: join the lines, for example with `tr -d '\\n'`"
    } else if is_path() {
        "it is the path of a file; pass the text of the file, or use a `FileSource`"
    } else if is_in(Base64::StandardAnyPadding) {
        "it is base64 with the alphabet of `+` and `/`, or without its padding"
    } else if is_in(Base64::UrlAnyPadding) {
        "it is base64url, with the alphabet of `-` and `_`"
    } else {
        "if the text itself is the secret, load it as a plain secret"
    };
    KeyError::new(KeyErrorKind::Malformed, format!("the secret is not {name}: {remedy}"))
}

fn refuse_guessable(secret: &[u8]) -> Result<(), KeyError> {
    let guessable = |message| Err(KeyError::new(KeyErrorKind::Guessable, message));
    if secret.iter().all(u8::is_ascii_whitespace) {
        return guessable("the secret is empty or blank; is the variable or file it comes from set?");
    }
    if secret.windows(2).all(|pair| pair.first() == pair.last()) {
        return guessable("the secret is one byte repeated; make one with `openssl rand -hex 64`");
    }
    if let Some(place) = known_secrets::printed_in(secret) {
        return Err(KeyError::new(
            KeyErrorKind::Guessable,
            format!("the secret is publicly known, from {place}; make one with `openssl rand -hex 64`"),
        ));
    }
    Ok(())
}

/// A *public* key used as a secret is the key confusion of CVE-2016-10555: whoever fetches it can sign. A private key is a
/// mistake as well, because no other service has it as its secret.
fn refuse_key_documents(secret: &[u8]) -> Result<(), KeyError> {
    if readings(secret).iter().any(|reading| is_key_document(reading) || has_key_lines(reading)) {
        return Err(KeyError::new(
            KeyErrorKind::NotASecret,
            "a PEM, DER, JWK or SSH key was given as an HMAC secret; load it with `from_pem`, `from_der` or \
             `from_jwk` under its own algorithm",
        ));
    }
    Ok(())
}

/// Whether single lines of the text are the base64 of a key, for example between BEGIN and END lines without dashes.
fn has_key_lines(text: &[u8]) -> bool {
    let lines: Vec<&[u8]> = text.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
    let mut between = lines.split(|line| !is_base64(line)).map(|lines| Zeroizing::new(lines.concat()));
    between.any(|encoded| is_key_document(&leading_base64(&encoded)))
}

fn is_key_document(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let armoured = text.windows(11).any(|window| window == b"-----BEGIN ");
    let ssh = is_ssh_public_key(text);
    let jwk = matches!(text.first(), Some(b'{' | b'[')) && text.windows(3).any(|window| window == b"kty");
    armoured
        || ssh
        || jwk
        || is_ssh_blob(bytes)
        || der::looks_like_a_key(bytes)
        || der::looks_like_a_key(text)
}

/// Whether decoded base64 is an SSH key: a public one begins with the name of its type (RFC 4253 §6.6), a private one with
/// OpenSSH's magic bytes.
fn is_ssh_blob(bytes: &[u8]) -> bool {
    match bytes {
        [0, 0, 0, _, name @ ..] => {
            [&b"ssh-"[..], b"ecdsa-", b"sk-"].iter().any(|kind| name.starts_with(kind))
        }
        _ => bytes.starts_with(b"openssh-key-v1"),
    }
}

fn is_base64(line: &[u8]) -> bool {
    let is_digit =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    line.trim_ascii().iter().all(is_digit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;
    use crate::crypto::sha256;
    use crate::keys::format::pem;
    use crate::keys::format::text::tests::encodings;
    use crate::keys::test_keys::*;

    const HS256: Algorithm = Algorithm::HS256;

    fn refusal(algorithm: Algorithm, secret: &[u8]) -> Option<KeyErrorKind> {
        Secret::check(algorithm, secret, Shorter::Refused).err().map(|error| error.kind())
    }

    #[test]
    fn a_secret_is_at_least_as_long_as_its_hash() {
        let secret: Vec<u8> = (1..=64).collect();
        for (algorithm, hash) in [
            (Algorithm::HS256, Hash::Sha256),
            (Algorithm::HS384, Hash::Sha384),
            (Algorithm::HS512, Hash::Sha512),
        ] {
            for len in [1, 31, 32, 47, 48, 63, 64] {
                let secret = &secret[..len];
                let expected = (len < hash.len()).then_some(KeyErrorKind::Weak);
                // One byte is one byte repeated.
                let expected = if len == 1 { Some(KeyErrorKind::Guessable) } else { expected };
                assert_eq!(refusal(algorithm, secret), expected, "{hash:?}, {len} bytes");

                let dangerous = Secret::check(algorithm, secret, Shorter::Allowed);
                assert_eq!(dangerous.is_ok(), len >= MIN_LEN, "{hash:?}, {len} bytes, dangerous");
                if let Ok(secret) = dangerous {
                    assert_eq!(secret.is_short, len < hash.len());
                }
            }
        }
    }

    #[test]
    fn a_short_secret_is_pointed_to_the_exception_only_where_it_helps() {
        let secret: Vec<u8> = (1..=32).collect();
        let message =
            |bytes| Secret::check(Algorithm::HS512, bytes, Shorter::Refused).err().unwrap().to_string();
        assert!(message(&secret).contains("short_hmac"));
        assert!(!message(&secret[..31]).contains("short_hmac"));
    }

    #[test]
    fn a_blank_or_published_secret_is_refused() {
        for secret in [
            &b""[..],
            b" \t\r\n                                ",
            &[0; 64],
            &[b'a'; 64],
            b"a-string-secret-at-least-256-bits-long",
            b"passwordpasswordpasswordpassword",
            b"${JWT_SECRET_OF_THE_ORDERS_SERVICE}",
        ] {
            assert_eq!(refusal(HS256, secret), Some(KeyErrorKind::Guessable), "{secret:?}");
        }
    }

    #[test]
    fn a_key_document_is_no_secret_in_any_dress() {
        for text in [
            RSA_2048_PUBLIC,
            RSA_2048_PUBLIC_PKCS1,
            P256_PUBLIC,
            P384_PUBLIC,
            ED25519_PUBLIC,
            RSA_2048,
            RSA_2048_PKCS1,
            P256,
            P256_SEC1,
            P256_CERTIFICATE,
            P256_ENCRYPTED,
            ED25519,
        ] {
            let der = if text == P256_ENCRYPTED {
                Zeroizing::new(Vec::new())
            } else {
                pem::read(text).unwrap().der
            };
            let lines = std::str::from_utf8(text).unwrap();
            let body: String = lines.lines().filter(|line| !line.starts_with("-----")).collect();
            let mut dresses = vec![
                lines.to_owned().into_bytes(),
                lines.trim().to_owned().into_bytes(),
                format!("\n\n  {lines}\n").into_bytes(),
                lines.replace('\n', "\\n").into_bytes(),
            ];
            if !der.is_empty() && text != P256_SEC1 {
                dresses.push(der.to_vec());
                dresses.push(body.clone().into_bytes());
                dresses.push(body.trim_end_matches('=').to_owned().into_bytes());
                dresses.push(format!("{body}\n").into_bytes());
                dresses.push(format!("{body} of the partner").into_bytes());
                dresses.push(URL_SAFE_NO_PAD.encode(&*der).into_bytes());
                let without_dashes = lines.replace("-----", "");
                for text in [&body, &without_dashes, &lines.replace('\n', "\\n")] {
                    dresses.push(format!("\"{text}\"").into_bytes());
                    dresses.push(format!("'{text}'\n").into_bytes());
                    dresses.push(format!("\u{feff}{text}").into_bytes());
                    dresses.push(text.replace('\n', "\\n").into_bytes());
                    dresses.push(text.replace('\n', "\\r\\n").into_bytes());
                    dresses.push(text.replace('/', "\\/").into_bytes());
                }
                // Its first line alone.
                dresses.push(lines.lines().nth(1).unwrap().as_bytes().to_vec());
                for trailing in [&b"\n"[..], b"\0", b"\r\n", b" and more", &der] {
                    let extended = [&der[..], trailing].concat();
                    dresses.push(STANDARD.encode(&extended).into_bytes());
                    dresses.push(extended);
                }
            }
            for document in [text, &*der].into_iter().filter(|bytes| !bytes.is_empty()) {
                dresses.extend(encodings(document).into_iter().map(String::into_bytes));
            }
            dresses.push(STANDARD.encode(text).into_bytes());
            dresses.push(URL_SAFE_NO_PAD.encode(lines.trim()).into_bytes());
            dresses.push(format!("{}\n", STANDARD.encode(text)).into_bytes());
            for dress in dresses {
                assert_eq!(
                    refusal(HS256, &dress),
                    Some(KeyErrorKind::NotASecret),
                    "{}",
                    String::from_utf8_lossy(&dress)
                );
            }
        }
        for text in [
            &br#"{"kty":"oct","k":"qjM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}"#[..],
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ an operator@host",
        ] {
            assert_eq!(refusal(HS256, text), Some(KeyErrorKind::NotASecret));
            for encoded in encodings(text) {
                assert_eq!(refusal(HS256, encoded.as_bytes()), Some(KeyErrorKind::NotASecret), "{encoded}");
            }
            let marked = [b"\xef\xbb\xbf", text].concat();
            assert_eq!(refusal(HS256, &marked), Some(KeyErrorKind::NotASecret));
        }
        for (length, name) in [
            (7, "ssh-rsa"),
            (11, "ssh-ed25519"),
            (19, "ecdsa-sha2-nistp256"),
            (26, "sk-ssh-ed25519@openssh.com"),
        ] {
            let blob = [&[0, 0, 0, length], name.as_bytes(), &[0, 0, 0, 32], &[7; 32]].concat();
            assert_eq!(refusal(HS256, &blob), Some(KeyErrorKind::NotASecret));
            assert_eq!(refusal(HS256, STANDARD.encode(&blob).as_bytes()), Some(KeyErrorKind::NotASecret));
        }
        let private = STANDARD.encode(b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none");
        assert_eq!(refusal(HS256, private.as_bytes()), Some(KeyErrorKind::NotASecret));
    }

    #[test]
    fn the_path_of_a_file_is_no_secret() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/set.ed25519_rfc9864.json");
        for secret in [path.to_owned(), format!("{path}\n"), format!("\"{path}\"")] {
            assert_eq!(refusal(HS256, secret.as_bytes()), Some(KeyErrorKind::NotASecret), "{secret}");
        }
    }

    #[test]
    fn random_bytes_are_a_secret_and_so_is_their_base64() {
        for n in 0..20_000 {
            // As good as random, and the same at each run. The first bytes are a document's: what follows has to tell.
            let random: Vec<u8> =
                (0..3_u8).flat_map(|part| sha256(format!("{n} {part}").as_bytes())).collect();
            let begins = [&[][..], &[0x30], &[0x30, 40], &[0x30, 60]][n % 4];
            let secret = [begins, &random[begins.len()..]].concat();
            assert_eq!(refusal(HS256, &secret), None, "{secret:?}");
            assert_eq!(refusal(HS256, STANDARD.encode(&secret).as_bytes()), None, "{secret:?}");
        }
    }

    #[test]
    fn a_secret_that_merely_begins_like_a_document_is_a_secret() {
        for secret in
            [&b"0 is where a DER document begins, too"[..], b"MIIB would begin the base64 of one here!"]
        {
            assert_eq!(refusal(HS256, secret), None);
        }
    }

    #[test]
    fn a_secret_that_is_not_in_its_form_is_told_what_would_help() {
        let bytes: Vec<u8> = (0..60_u8).map(|n| n.wrapping_mul(251) ^ 0xfb).collect();
        let (standard, url) = (STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes));
        assert!(standard.contains(['+', '/']) && !standard.contains('='), "{standard}");
        let wrapped = format!("{}\n{}", &standard[..64], &standard[64..]);
        let padded = STANDARD.encode(&bytes[1..]);
        for (text, remedy) in [
            (format!("{standard}\n"), "at an end: strip it"),
            (format!(" {standard}"), "at an end: strip it"),
            (wrapped.clone(), "inside: join the lines"),
            (format!("{wrapped}\n"), "inside: join the lines"),
            (format!("{} {}", &standard[..20], &standard[20..]), "inside: join the lines"),
            ("/etc/orders/jwt.secret".to_owned(), "`FileSource`"),
            ("./jwt.secret\n".to_owned(), "`FileSource`"),
            (url, "it is base64url"),
            (padded.trim_end_matches('=').to_owned(), "without its padding"),
            ("not in base64 at all: a passphrase".to_owned(), "as a plain secret"),
        ] {
            let error = decode_base64(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), KeyErrorKind::Malformed);
            assert!(error.to_string().contains(remedy), "{text:?}: {error}");
            assert!(!error.to_string().contains(text.trim()), "{error}");
        }
        let error = decode_base64url(standard.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("alphabet of `+` and `/`"), "{error}");
    }

    #[test]
    fn only_hmac_takes_a_secret() {
        assert_eq!(refusal(Algorithm::EdDSA, &[7; 64]), Some(KeyErrorKind::WrongType));
    }
}
