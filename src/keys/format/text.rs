//! Removes what editors, shells and variables add to a text: a byte order mark, another encoding, quotes, escapes.

use std::path::Path;

use zeroize::Zeroizing;

use crate::jose::base64::Base64;

/// The text in these bytes: UTF-8 without its byte order mark, or UTF-16, which some tools on Windows write. `None` if they
/// are neither.
pub(crate) fn plain(bytes: &[u8]) -> Option<Zeroizing<String>> {
    match bytes {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        // UTF-16 without a mark: these texts begin with an ASCII character, whose other byte is zero.
        [1..=0xff, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, 1..=0xff, ..] => utf16(bytes, u16::from_be_bytes),
        _ => {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            std::str::from_utf8(text).ok().map(|text| Zeroizing::new(text.to_owned()))
        }
    }
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Zeroizing<String>> {
    let (units, []) = text.as_chunks::<2>() else { return None };
    // With the full capacity, so that growing leaves no copy of a secret behind.
    let mut plain = Zeroizing::new(String::with_capacity(3 * units.len()));
    for char in char::decode_utf16(units.iter().map(|pair| unit(*pair))) {
        plain.push(char.ok()?);
    }
    Some(plain)
}

/// Removes a byte order mark, the zeros of UTF-16, quotes and backslashes. An escaped line end becomes a line end.
pub(crate) fn undressed(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let marks = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"];
    let text = marks.into_iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text);
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut is_escaped = false;
    for byte in text {
        match byte {
            b'n' | b'r' if is_escaped => plain.push(b'\n'),
            b'"' | b'\'' | b'\\' | 0 => {}
            other => plain.push(*other),
        }
        is_escaped = *byte == b'\\';
    }
    plain
}

/// The text decoded from base64 of either alphabet, without white space, up to the first character that is not base64. So a PEM
/// without its BEGIN and END lines decodes to its document. Other text decodes to meaningless bytes.
pub(crate) fn leading_base64(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let digits = text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    });
    let mut digits: Zeroizing<Vec<u8>> = Zeroizing::new(
        digits.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect(),
    );
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    Base64::Cut.decode(&digits).unwrap_or_default()
}

/// What a text is in place of JSON, where it shows, to follow an error's message.
pub(crate) fn not_json(text: &str) -> &'static str {
    if text.trim().is_empty() {
        "; it is empty"
    } else if text.trim_start().starts_with('<') {
        "; it is HTML or XML, a sign-in page or an error page perhaps: is the URL or the path the right one?"
    } else if is_path(text) {
        "; it is the path of a file; pass the text of the file"
    } else {
        ""
    }
}

const SSH_PREFIXES: [&[u8]; 5] = [b"ssh-rsa ", b"ssh-ed25519 ", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-"];

/// Whether it is one line of an OpenSSH public key file.
pub(crate) fn is_ssh_public_key(text: &[u8]) -> bool {
    SSH_PREFIXES.iter().any(|prefix| text.trim_ascii_start().starts_with(prefix))
}

/// Whether the text is the path of a file in place of its content: one line that begins like a path or names an existing file.
pub(crate) fn is_path(text: &str) -> bool {
    let text = text.trim();
    let is_one_line = !text.is_empty() && text.len() <= 4096 && !text.contains(['\n', '\r', '\0']);
    let begins = ["/", "./", "../", "~/", "file:", "\\\\"].iter().any(|begin| text.starts_with(begin));
    let has_drive = matches!(text.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    is_one_line && (begins || has_drive || Path::new(text).is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_whatever_encoding_an_editor_saved_it() {
        for text in ["-----BEGIN", "{\"keys\":[]}", "kid-7 # geleakt über Nacht", "k\u{1f511}"] {
            let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
            let (le, be) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
            for bytes in [
                text.as_bytes().to_vec(),
                [b"\xef\xbb\xbf", text.as_bytes()].concat(),
                [b"\xff\xfe", &le[..]].concat(),
                [b"\xfe\xff", &be[..]].concat(),
                le,
                be,
            ] {
                assert_eq!(plain(&bytes).unwrap().as_str(), text, "{bytes:?}");
            }
        }
        assert_eq!(plain(b"").unwrap().as_str(), "");
        for bytes in [&b"\xff"[..], b"a\0b", b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\x80abc"] {
            assert!(plain(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn a_path_is_told_from_a_text() {
        for path in [
            "/etc/orders/key.pem",
            " /run/secrets/jwt\n",
            "./key.pem",
            "../key.pem",
            "~/key.pem",
            "file:///etc/key.pem",
            "C:\\keys\\key.pem",
            "Cargo.toml",
        ] {
            assert!(is_path(path), "{path}");
        }
        for text in ["", "no path", "a secret of these tests", "/etc\nkey", "MIIB/AB", "no-such-file.pem"] {
            assert!(!is_path(text), "{text}");
        }
    }
}
