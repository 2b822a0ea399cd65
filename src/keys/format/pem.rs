//! PEM, the textual encoding of RFC 7468.
//!
//! Parsed here, because an error has to say what is wrong with the text, and no dependency of the default build reads PEM.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::jose::base64::Base64;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::format::der;
use crate::keys::format::text;

/// The one key in a PEM file.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Reads the one key of a PEM text. Text around it is ignored. Two keys are refused, because it is unclear which one is meant.
///
/// A PEM is recognised by its labels in every form, so it is also read in UTF-16, with line ends written as `\n`, as variables
/// hold them, or as a whole in base64.
pub(crate) fn read(pem: &[u8]) -> Result<Block, KeyError> {
    let text = text::plain(pem).ok_or_else(|| no_armour(pem))?;
    if let Some(block) = one_block(&text)? {
        return Ok(block);
    }
    let inner = text::leading_base64(&text::undressed(text.as_bytes()));
    let inner = inner.starts_with(BEGIN.as_bytes()).then(|| std::str::from_utf8(&inner).ok()).flatten();
    match inner.map(one_block) {
        Some(Ok(Some(block))) => Ok(block),
        Some(Err(error)) => Err(error),
        _ => Err(no_armour(text.as_bytes())),
    }
}

/// Whether it holds a certificate, alone or among other blocks.
pub(crate) fn has_certificate(pem: &[u8]) -> bool {
    let has_label = |text: &str| {
        let mut labels = text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once("-----"));
        labels.any(|(label, _)| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"))
    };
    text::plain(pem).is_some_and(|text| {
        let inner = text::leading_base64(&text::undressed(text.as_bytes()));
        has_label(&text) || std::str::from_utf8(&inner).is_ok_and(has_label)
    })
}

const BEGIN: &str = "-----BEGIN ";

/// `None` if there is no block.
fn one_block(text: &str) -> Result<Option<Block>, KeyError> {
    let (mut rest, mut key) = (text, None);
    while let Some((_, from_label)) = rest.split_once(BEGIN) {
        let (label, body) =
            from_label.split_once("-----").ok_or_else(|| malformed("its BEGIN line is cut"))?;
        let (body, after) = body
            .split_once("-----END ")
            .ok_or_else(|| malformed("it has no END line; is the file complete?"))?;
        rest = after
            .strip_prefix(label)
            .and_then(|after| after.strip_prefix("-----"))
            .ok_or_else(|| malformed("its END line names another kind than its BEGIN line"))?;
        // `openssl ecparam -genkey` writes the curve as a separate block before the key. The key names it too.
        if label == "EC PARAMETERS" {
            continue;
        }
        if key.replace((label, body)).is_some() {
            return Err(malformed("it holds several blocks; keep only the one of the key"));
        }
    }
    key.map(|(label, body)| decode(label, body)).transpose()
}

fn decode(label: &str, body: &str) -> Result<Block, KeyError> {
    if body.contains("Proc-Type:") || label == "ENCRYPTED PRIVATE KEY" {
        return Err(der::encrypted());
    }
    let der = Base64::Standard
        .decode(&base64_of(body))
        .ok_or_else(|| malformed("what is between its BEGIN and END lines is not base64"))?;
    if label == "OPENSSH PRIVATE KEY" {
        return Err(openssh(&der));
    }
    Ok(Block { label: label.to_owned(), der })
}

/// Removes white space and escaped line ends and slashes, however often they are escaped: base64 has no backslash.
fn base64_of(body: &str) -> Zeroizing<Vec<u8>> {
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut is_escaped = false;
    for byte in body.bytes() {
        match byte {
            b'\\' | b' ' | b'\t' | b'\r' | b'\n' => {}
            b'n' | b'r' if is_escaped => {}
            other => base64.push(other),
        }
        is_escaped = byte == b'\\';
    }
    base64
}

/// The error for a private key of `ssh-keygen`. The key's type is readable even if the key is encrypted.
fn openssh(der: &[u8]) -> KeyError {
    let has = |kind: &[u8]| der.windows(kind.len()).any(|window| window == kind);
    KeyError::new(
        KeyErrorKind::Unsupported,
        if has(b"ssh-ed25519") {
            "it is an Ed25519 key in OpenSSH's own format, and `ssh-keygen` can't write it in another; make a new key with \
             `openssl genpkey -algorithm ed25519`"
        } else {
            "it is in OpenSSH's own format; `ssh-keygen -p -m PKCS8 -f FILE` rewrites the file in one that is read here"
        },
    )
}

/// The error for a block of a kind that is not wanted here. Its label may be any text.
pub(crate) fn unsupported(label: &str, wanted: &str) -> KeyError {
    let label: String = label.chars().take(64).flat_map(char::escape_debug).collect();
    KeyError::new(
        KeyErrorKind::Unsupported,
        format!("the PEM block is a `{label}`; one of these is expected: {wanted}"),
    )
}

/// The error for a text without a BEGIN line. It names what the text is, and the remedy.
fn no_armour(bytes: &[u8]) -> KeyError {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    malformed(if bytes.trim_ascii().is_empty() {
        "it is empty"
    } else if der::looks_like_a_key(bytes) {
        "it is a key in DER; load it with `from_der` or `KeyFormat::der`"
    } else if text.is_empty() {
        "it is not text"
    } else if text::is_ssh_public_key(bytes) {
        if text.starts_with("ssh-ed25519") {
            "it is an Ed25519 public key of OpenSSH's, which `ssh-keygen` can't write in another format; make a new key \
             pair with `openssl genpkey -algorithm ed25519`"
        } else {
            "it is a public key of OpenSSH's; `ssh-keygen -e -m PKCS8 -f FILE` prints it in PEM"
        }
    } else if text.starts_with(['{', '[']) {
        "it is JSON; load a JWK with `from_jwk` or `KeyFormat::jwk`, a set with `KeyFormat::jwk_set`"
    } else if der::looks_like_a_key(&text::leading_base64(&text::undressed(bytes))) {
        "it is a key's base64 without its BEGIN and END lines; put the lines `-----BEGIN PUBLIC KEY-----` and \
         `-----END PUBLIC KEY-----` around it, or those of its own kind"
    } else if text::is_path(text) {
        "it is the path of a file; pass the text of the file, or use a `FileSource`"
    } else {
        "it has no BEGIN line"
    })
}

fn malformed(message: impl Into<Cow<'static, str>>) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, format!("not a PEM file with a key: {}", message.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::jose::base64::encode_standard;
    use crate::keys::test_keys::*;

    #[test]
    fn text_around_a_key_is_passed_over() {
        let text = [b"Bag Attributes\r\n  friendlyName: x\r\n", P256, b"\ntrailing"].concat();
        let block = read(&text).unwrap();
        assert_eq!(block.label, "PRIVATE KEY");
        assert_eq!(block.der, read(P256).unwrap().der);
    }

    #[test]
    fn line_ends_do_not_matter() {
        let crlf = std::str::from_utf8(P256).unwrap().replace('\n', "\r\n");
        assert_eq!(read(crlf.as_bytes()).unwrap().der, read(P256).unwrap().der);
    }

    #[test]
    fn each_broken_armour_says_what_is_wrong_with_it() {
        let text = std::str::from_utf8(P256).unwrap();
        for (broken, says) in [
            (String::new(), "is empty"),
            ("hunter2".to_owned(), "no BEGIN line"),
            ("-----BEGIN PRIVATE KEY".to_owned(), "BEGIN line is cut"),
            (text.replace("-----END", ""), "no END line"),
            (text.replace("END PRIVATE", "END PUBLIC"), "another kind"),
            (text.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\n*"), "not base64"),
            (text.repeat(2), "several blocks"),
        ] {
            let error = read(broken.as_bytes()).err().expect(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(read(&[0xff, 0xfe]).is_err());
    }

    macro_rules! case {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/cases/", $name))
        };
    }

    #[test]
    fn a_pem_is_read_in_the_forms_that_variables_and_editors_give_it() {
        let expected = read(&read_plain(case!("rsa.utf16le.pem"))).unwrap().der;
        let forms = [&case!("rsa.b64.txt")[..], case!("rsa.escaped_n.txt"), case!("rsa.utf16le.pem")];
        for (at, form) in forms.into_iter().enumerate() {
            assert!(read(form).is_ok_and(|block| block.der == expected), "form {at}");
        }
        let text = std::str::from_utf8(P256).unwrap();
        let expected = read(P256).unwrap().der;
        for form in [
            format!("\u{feff}{text}"),
            format!("\"{}\"", text.replace('\n', "\\n")),
            text.replace('\n', "\\r\\n"),
            text.replace('\n', "\\\\n"),
            text.replace('\n', " "),
            text.replace('/', "\\/"),
            encode_standard(P256).to_string(),
            format!("'{}'\n", encode_standard(P256).as_str()),
            encode_standard(text.replace('\n', "\\n").as_bytes()).to_string(),
        ] {
            let read = read(form.as_bytes()).unwrap_or_else(|error| panic!("{error}: {form}"));
            assert_eq!((&*read.label, &read.der), ("PRIVATE KEY", &expected), "{form}");
        }
    }

    fn read_plain(utf16: &[u8]) -> Vec<u8> {
        utf16.iter().copied().filter(|byte| *byte != 0).collect()
    }

    #[test]
    fn what_is_no_pem_is_named_with_a_remedy() {
        let der = &read(RSA_2048_PUBLIC).unwrap().der;
        let body = encode_standard(der);
        for (other, says) in [
            (&case!("ssh_rsa")[..], "`ssh-keygen -p -m PKCS8 -f FILE`"),
            (case!("ssh_ed"), "make a new key with `openssl genpkey -algorithm ed25519`"),
            (case!("ssh_rsa.pub"), "`ssh-keygen -e -m PKCS8 -f FILE`"),
            (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ an operator@host", "make a new key pair"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (der, "`KeyFormat::der`"),
            (body.as_bytes(), "-----BEGIN PUBLIC KEY-----"),
            (br#"{"kty":"OKP"}"#, "`KeyFormat::jwk`"),
            (b"/run/secrets/jwt.pem\n", "the path of a file"),
            (b"Cargo.toml", "the path of a file"),
            (b"hunter2", "no BEGIN line"),
        ] {
            let error = read(other).err().expect(says).to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_encrypted_key_is_refused_with_the_remedy() {
        let error = read(P256_ENCRYPTED).err().expect("encrypted");
        assert_eq!(error.kind(), KeyErrorKind::Unsupported);
        assert!(error.to_string().contains("decrypt it first"));
    }
}
