//! The text armour of RFC 7468.
//!
//! Read by hand, for a refusal says what is wrong with the text, and no crate of the default build reads PEM.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::error::{KeyError, KeyErrorKind};
use crate::base64::Base64;

/// The one key in a PEM file.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Reads the one key of a PEM text. Text around it is passed over; two keys are refused, for which is meant?
pub(crate) fn read(pem: &[u8]) -> Result<Block<'_>, KeyError> {
    let mut rest = std::str::from_utf8(pem).map_err(|error| malformed("it is not text").because(error))?;
    let mut key = None;
    while let Some((_, from_label)) = rest.split_once("-----BEGIN ") {
        let (label, body) =
            from_label.split_once("-----").ok_or_else(|| malformed("its BEGIN line is cut"))?;
        let (body, after) = body
            .split_once("-----END ")
            .ok_or_else(|| malformed("it has no END line; is the file complete?"))?;
        rest = after
            .strip_prefix(label)
            .and_then(|after| after.strip_prefix("-----"))
            .ok_or_else(|| malformed("its END line names another kind than its BEGIN line"))?;
        // `openssl ecparam -genkey` writes the curve as a block of its own before the key, which names it again.
        if label == "EC PARAMETERS" {
            continue;
        }
        if key.replace((label, body)).is_some() {
            return Err(malformed("it holds several blocks; give the one key that is meant"));
        }
    }
    let (label, body) = key.ok_or_else(|| malformed("it has no BEGIN line"))?;
    decode(label, body)
}

fn decode<'a>(label: &'a str, body: &str) -> Result<Block<'a>, KeyError> {
    if body.contains("Proc-Type:") || label == "ENCRYPTED PRIVATE KEY" {
        return Err(KeyError::new(
            KeyErrorKind::Unsupported,
            "it is encrypted with a passphrase; decrypt it first, as with `openssl pkey`",
        ));
    }
    if body.contains("\\n") {
        return Err(malformed("its line ends are the two characters \"\\n\"; give it real ones"));
    }
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let der = Base64::Standard
        .decode(&text)
        .ok_or_else(|| malformed("what is between its BEGIN and END lines is not base64"))?;
    Ok(Block { label, der })
}

fn malformed(message: impl Into<Cow<'static, str>>) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, format!("not a PEM file with a key: {}", message.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
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
            (String::new(), "no BEGIN line"),
            ("-----BEGIN PRIVATE KEY".to_owned(), "BEGIN line is cut"),
            (text.replace("-----END", ""), "no END line"),
            (text.replace("END PRIVATE", "END PUBLIC"), "another kind"),
            (text.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\n*"), "not base64"),
            (text.replace('\n', "\\n"), "real ones"),
            (text.repeat(2), "several blocks"),
        ] {
            let error = read(broken.as_bytes()).err().expect(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(read(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn an_encrypted_key_is_refused_with_the_remedy() {
        let error = read(P256_ENCRYPTED).err().expect("encrypted");
        assert_eq!(error.kind(), KeyErrorKind::Unsupported);
        assert!(error.to_string().contains("decrypt it first"));
    }
}
