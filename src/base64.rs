//! Base64url without padding (RFC 7515 §2), with what the processor has for it.
//!
//! The engine is the base64 crate's `Simd`, which is `unsafe` inside and reads bytes that nobody has verified. It is
//! held to the crate's plain engine below, on what is canonical and on what is not.

use base64::engine::{self, general_purpose};
use base64::{Engine, encoded_len};

// Where the library has it.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
static ENGINE: std::sync::LazyLock<engine::Simd> =
    std::sync::LazyLock::new(|| engine::Simd::url_safe(general_purpose::NO_PAD));
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
static ENGINE: engine::GeneralPurpose = general_purpose::URL_SAFE_NO_PAD;

/// How many bytes the text came to in the front of the room. `None` where it is not the one text that encodes them:
/// padding, stray bits and the other alphabet are refused by the library.
pub(crate) fn decode(text: &[u8], room: &mut [u8]) -> Option<usize> {
    ENGINE.decode_slice(text, room).ok()
}

/// Appends the bytes' text: what goes out is written where it goes out from. `None` where there is no room for it.
pub(crate) fn append(bytes: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let begun = text.len();
    let needed = encoded_len(bytes.len(), false)?;
    text.reserve_exact(needed);
    text.resize(begun + needed, 0);
    let written = ENGINE.encode_slice(bytes, text.get_mut(begun..)?).ok()?;
    (begun + written == text.len()).then_some(())
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
            assert_eq!(append(bytes, &mut appended), Some(()));
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
