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
