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

/// In bytes, of a reading that is not the text as it stands. No encoded secret, document or placeholder that is refused is shorter.
const SHORTEST_READING: usize = 16;
/// How often a text may be encoded, one encoding in the other.
const LAYERS: usize = 2;

/// What people may mean by these bytes: themselves, without what editors add, and both decoded from base64 of either alphabet,
/// hexadecimal and percent-encoding. Decoding what is not encoded yields meaningless bytes, or nothing.
pub(crate) fn readings(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let text = undressed(secret);
    // At any length: a template that is too short for a secret is still called a template.
    let mut readings = Readings(vec![secret.to_vec().into()]);
    readings.add(without_marker(&text));
    readings.add(&text);
    let mut outer = 0..readings.0.len();
    for _ in 0..LAYERS {
        for at in outer.clone() {
            for decode in [leading_base64, from_hex, from_percent] {
                let decoded = readings.0.get(at).map(|reading| decode(reading)).unwrap_or_default();
                readings.add(&decoded);
                if let Some(text) = plain(&decoded) {
                    readings.add(text.as_bytes());
                    readings.add(&undressed(text.as_bytes()));
                }
            }
        }
        outer = outer.end..readings.0.len();
    }
    readings.0
}

struct Readings(Vec<Zeroizing<Vec<u8>>>);

impl Readings {
    fn add(&mut self, reading: &[u8]) {
        if reading.len() >= SHORTEST_READING && !self.0.iter().any(|held| held.as_slice() == reading) {
            self.0.push(reading.to_vec().into());
        }
    }
}

/// The text after the name of its encoding: `base64:`, as Laravel writes it, or the beginning of a `data:` URL.
fn without_marker(text: &[u8]) -> &[u8] {
    const MARKERS: [&[u8]; 4] = [b"base64:", b"base64,", b"b64:", b"hex:"];
    let ends = MARKERS.iter().filter_map(|marker| {
        let begin = text.windows(marker.len()).take(64).position(|part| part.eq_ignore_ascii_case(marker))?;
        text.get(begin + marker.len()..)
    });
    ends.min_by_key(|rest| rest.len()).unwrap_or(text)
}

/// The bytes written in hexadecimal: with or without `0x` or `x` before all or each, separators between. Empty if it is not
/// hexadecimal.
pub(crate) fn from_hex(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut digits: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(text.len()));
    for byte in text {
        match byte {
            b':' | b',' | b'-' | b' ' | b'\t' | b'\r' | b'\n' => {}
            b'x' | b'X' if digits.len().is_multiple_of(2) => {}
            b'x' | b'X' if digits.last() == Some(&0) => drop(digits.pop()),
            digit => match char::from(*digit).to_digit(16).map(u8::try_from) {
                Some(Ok(digit)) => digits.push(digit),
                _ => return Zeroizing::default(),
            },
        }
    }
    let (pairs, []) = digits.as_chunks::<2>() else { return Zeroizing::default() };
    Zeroizing::new(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// The bytes written in percent-encoding (RFC 3986 §2.1). Empty if nothing in it is encoded.
fn from_percent(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let encoded = after.split_at_checked(2).filter(|_| *byte == b'%');
        let decoded = encoded.and_then(|(digits, after)| Some((*from_hex(digits).first()?, after)));
        let (byte, after) = decoded.unwrap_or((*byte, after));
        plain.push(byte);
        rest = after;
    }
    if plain.len() == text.len() { Zeroizing::default() } else { plain }
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
pub(super) mod tests {
    use super::*;
    use crate::jose::base64::{encode_standard, encode_url};

    /// The ways in which people write these bytes as text.
    pub(in crate::keys::format) fn encodings(bytes: &[u8]) -> Vec<String> {
        let hex =
            |between: &str| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between);
        let base64 = |bytes: &[u8]| encode_standard(bytes).to_string();
        let text = String::from_utf8_lossy(bytes);
        let mut encoded = vec![
            hex(""),
            hex("").to_uppercase(),
            format!("0x{}", hex("")),
            hex(":"),
            format!("{}:", hex(":")),
            hex(" "),
            hex(", 0x").replacen("", "0x", 1),
            format!("\\x{}", hex("\\x")),
            format!("hex:{}", hex("")),
            base64(bytes),
            encode_url(bytes),
            format!("base64:{}", base64(bytes)),
            format!("data:text/plain;base64,{}", base64(bytes)),
            base64(base64(bytes).as_bytes()),
            base64(hex("").as_bytes()),
            base64(format!("\"{}\"\n", base64(bytes)).as_bytes()),
        ];
        encoded.push(base64(bytes).bytes().map(|byte| format!("{byte:02x}")).collect());
        if text.as_bytes() == bytes {
            let percent = |byte: u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            };
            encoded.push(bytes.iter().copied().map(percent).collect());
            encoded
                .push(base64(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()));
        }
        encoded
    }

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
