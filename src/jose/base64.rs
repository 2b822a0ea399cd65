//! Base64. No other module names the base64 crate.
//!
//! Tokens and JWKs hold base64url without padding (RFC 7515 §2). The functions here use the fastest engine that the processor
//! supports. Keys and secrets come in other forms too: [`Base64`] has one value for each.
//!
//! The fast engine is the crate's `Simd`. It is `unsafe` inside and reads unverified bytes, so tests compare it with the crate's
//! plain engine, on canonical and other input.

use ::base64::engine::{self, DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use ::base64::{Engine, alphabet, decoded_len_estimate, encoded_len};
use zeroize::Zeroizing;

// The processors for which the library has it.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
static URL: std::sync::LazyLock<engine::Simd> =
    std::sync::LazyLock::new(|| engine::Simd::url_safe(general_purpose::NO_PAD));
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
static URL: engine::GeneralPurpose = general_purpose::URL_SAFE_NO_PAD;

/// Decodes base64url into the front of `out` and returns the length. `None` unless `text` is the canonical
/// encoding of its bytes: the library refuses padding, stray bits and the other alphabet.
pub(crate) fn decode_url(text: &[u8], out: &mut [u8]) -> Option<usize> {
    URL.decode_slice(text, out).ok()
}

/// Appends the bytes as base64url, without a buffer in between. `None` if `text` can't become that long.
pub(crate) fn append_url(bytes: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let begun = text.len();
    let needed = url_len(bytes.len());
    text.reserve_exact(needed);
    text.resize(begun + needed, 0);
    let written = URL.encode_slice(bytes, text.get_mut(begun..)?).ok()?;
    (begun + written == text.len()).then_some(())
}

/// The length of so many bytes as base64url.
pub(crate) fn url_len(bytes: usize) -> usize {
    // A slice is never so long that the length of its text overflows.
    encoded_len(bytes, false).unwrap_or(usize::MAX)
}

/// The bytes as base64url.
pub(crate) fn encode_url(bytes: impl AsRef<[u8]>) -> String {
    URL.encode(bytes)
}

/// A form in which a key or a secret is read. No form admits white space.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base64 {
    /// RFC 4648 §4, with padding.
    Standard,
    /// RFC 4648 §4. Padding may be missing: many tools cut it off.
    StandardAnyPadding,
    /// RFC 4648 §5, without padding.
    Url,
    /// RFC 4648 §5. Padding may be there: Python's `urlsafe_b64encode` writes it.
    UrlAnyPadding,
    /// RFC 4648 §4 with or without padding, and truncated anywhere. Only to find out whether a text is something in base64.
    Cut,
}

impl Base64 {
    /// `None` in place of the decoder's error, which quotes a byte that may be part of a secret.
    pub(crate) fn decode(self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        const CUT: GeneralPurpose = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        let engine = match self {
            Self::Standard => &general_purpose::STANDARD,
            Self::StandardAnyPadding => &general_purpose::STANDARD_PAD_INDIFFERENT,
            Self::Url => &general_purpose::URL_SAFE_NO_PAD,
            Self::UrlAnyPadding => &general_purpose::URL_SAFE_PAD_INDIFFERENT,
            Self::Cut => &CUT,
        };
        // With the full capacity, so that growing leaves no copy of a secret behind.
        let mut bytes = Zeroizing::new(vec![0; decoded_len_estimate(text.len())]);
        let len = engine.decode_slice(text, &mut bytes).ok()?;
        bytes.truncate(len);
        Some(bytes)
    }
}

/// The bytes in the standard alphabet, padded, as in PEM.
pub(crate) fn encode_standard(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// Long enough that every part of an engine has something to do, and ends in each way.
    #[test]
    fn the_fastest_engine_reads_and_writes_what_the_plain_one_does() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for len in 0..bytes.len() {
            let bytes = bytes.get(..len).unwrap_or_default();
            let text = URL_SAFE_NO_PAD.encode(bytes);
            assert_eq!(encode_url(bytes), text);
            let mut appended = b"before.".to_vec();
            assert_eq!(append_url(bytes, &mut appended), Some(()));
            assert_eq!(appended, format!("before.{text}").into_bytes());
            let mut out = [0; 300];
            assert_eq!(decode_url(text.as_bytes(), &mut out), Some(len));
            assert_eq!(out.get(..len), Some(bytes));
            // The engine works on 32 bytes at once, the rest is the plain one's.
            for at in 0..text.len().min(100) {
                for wrong in [b'=', b'+', b'/', b' ', b'.', 0, 0xff, b'B'] {
                    let mut text = text.clone().into_bytes();
                    text.iter_mut().skip(at).take(1).for_each(|byte| *byte = wrong);
                    let plain = URL_SAFE_NO_PAD.decode(&text).ok();
                    let mut out = [0; 300];
                    let read = decode_url(&text, &mut out).and_then(|len| out.get(..len).map(<[u8]>::to_vec));
                    assert_eq!(read, plain, "{at} {wrong}");
                }
            }
        }
    }

    /// The verdicts of Standard, StandardAnyPadding, Url, UrlAnyPadding and Cut, in this order.
    #[test]
    fn each_form_reads_its_own_texts_and_no_other() {
        let forms =
            [Base64::Standard, Base64::StandardAnyPadding, Base64::Url, Base64::UrlAnyPadding, Base64::Cut];
        for (text, verdicts) in [
            ("", [true, true, true, true, true]),
            ("AAAA", [true, true, true, true, true]),
            ("+/8=", [true, true, false, false, true]),
            ("+/8", [false, true, false, false, true]),
            ("-_8=", [false, false, false, true, false]),
            ("-_8", [false, false, true, true, false]),
            // Stray bits: another text for the same bytes.
            ("AB==", [false, false, false, false, true]),
            ("AB", [false, false, false, false, true]),
            ("AA==", [true, true, false, true, true]),
            ("AA=", [false, true, false, true, true]),
            ("AAAA=", [false, false, false, false, false]),
            ("AAAAA", [false, false, false, false, false]),
            ("AAAA\n", [false, false, false, false, false]),
            (" AAAA", [false, false, false, false, false]),
            ("AA AA", [false, false, false, false, false]),
            ("AA*A", [false, false, false, false, false]),
        ] {
            let read = forms.map(|form| form.decode(text.as_bytes()).is_some());
            assert_eq!(read, verdicts, "{text:?}");
        }
        assert_eq!(Base64::Url.decode(b"-_8").as_deref(), Some(&vec![0xfb, 0xff]));
        assert_eq!(encode_standard(&[0xfb, 0xff]).as_str(), "+/8=");
    }
}
