//! Base64url without padding (RFC 7515 §2), with what the processor has for it.

use std::sync::LazyLock;

use base64::engine::general_purpose::NO_PAD;
use base64::{Engine, encoded_len};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Fastest = base64::engine::GeneralPurpose;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Fastest = base64::engine::Simd;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<Fastest> = LazyLock::new(|| Fastest::new(&base64::alphabet::URL_SAFE, NO_PAD));
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<Fastest> = LazyLock::new(|| Fastest::url_safe(NO_PAD));

/// How many bytes the text came to in the front of the room. `None` where it is not the one text that encodes them:
/// padding, stray bits and the other alphabet are refused by the library.
pub(crate) fn decode(text: &[u8], room: &mut [u8]) -> Option<usize> {
    ENGINE.decode_slice(text, room).ok()
}

/// Appends the bytes' text.
pub(crate) fn append(bytes: &[u8], text: &mut Vec<u8>) {
    let begun = text.len();
    text.resize(begun + encoded_len(bytes.len(), false).unwrap_or(0), 0);
    let room = text.get_mut(begun..).unwrap_or_default();
    // The room is as long as the text will be.
    let written = ENGINE.encode_slice(bytes, room).unwrap_or(0);
    text.truncate(begun + written);
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    ENGINE.encode(bytes)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// Long enough that every part of an engine has something to do, and ends in each way.
    #[test]
    fn the_fastest_engine_reads_and_writes_what_the_plain_one_does() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for len in 0..bytes.len() {
            let bytes = bytes.get(..len).unwrap_or_default();
            let text = URL_SAFE_NO_PAD.encode(bytes);
            assert_eq!(encode(bytes), text);
            let mut appended = b"before.".to_vec();
            append(bytes, &mut appended);
            assert_eq!(appended, format!("before.{text}").into_bytes());
            let mut room = [0; 300];
            assert_eq!(decode(text.as_bytes(), &mut room), Some(len));
            assert_eq!(room.get(..len), Some(bytes));
            // The engine works on 32 bytes at once, the rest is the plain one's.
            for at in 0..text.len().min(100) {
                for wrong in [b'=', b'+', b'/', b' ', b'.', 0, 0xff, b'B'] {
                    let mut text = text.clone().into_bytes();
                    text.iter_mut().skip(at).take(1).for_each(|byte| *byte = wrong);
                    let plain = URL_SAFE_NO_PAD.decode(&text).ok();
                    let mut room = [0; 300];
                    let read = decode(&text, &mut room).and_then(|len| room.get(..len).map(<[u8]>::to_vec));
                    assert_eq!(read, plain, "{at} {wrong}");
                }
            }
        }
    }
}
