//! Reads the body of a response: bounded, decompressed, as text without a byte order mark.

use std::io::{self, Read};
use std::string::FromUtf8Error;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::Response;
use http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

pub(super) enum Error {
    TooLong,
    /// In a coding that is not supported.
    Coding(String),
    /// Not in the coding that the header names.
    NotCoded(String),
    Broken(Box<dyn std::error::Error + Send + Sync>),
    NotText(FromUtf8Error),
}

/// Reads to the end. The limit applies before and after decompression.
pub(super) async fn read(response: Response<Incoming>, max_bytes: usize) -> Result<String, Error> {
    let coding =
        response.headers().get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase());
    let body = Limited::new(response.into_body(), max_bytes).collect().await;
    let bytes = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Error::TooLong,
        false => Error::Broken(error),
    })?;
    let bytes = bytes.to_bytes();
    let coding = String::from_utf8_lossy(coding.as_deref().unwrap_or(b"identity")).trim().to_owned();
    let bytes = match coding.as_bytes() {
        b"identity" | b"gzip" | b"x-gzip" if bytes.starts_with(b"\x1f\x8b") => {
            // Some servers send gzip without `Content-Encoding`.
            unpack(GzDecoder::new(&*bytes), max_bytes)?
        }
        b"identity" => bytes.into(),
        b"gzip" | b"x-gzip" => return Err(Error::NotCoded(coding)),
        // By RFC 9110 §8.4.1.2 "deflate" is in zlib's format. Some servers send it without.
        b"deflate" if has_zlib_header(&bytes) => unpack(ZlibDecoder::new(&*bytes), max_bytes)?,
        b"deflate" => match unpack(DeflateDecoder::new(&*bytes), max_bytes) {
            Err(Error::Broken(_)) => return Err(Error::NotCoded(coding)),
            unpacked => unpacked?,
        },
        _ => return Err(Error::Coding(coding)),
    };
    let mut text = String::from_utf8(bytes).map_err(Error::NotText)?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.remove(0);
    }
    Ok(text)
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The method is deflate, and the two bytes are a multiple of 31 (RFC 1950 §2.2). The first byte of a bare deflate stream whose low
/// bits are 8 would begin a stored block that is not the last, which no compressor writes for JSON.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 15 == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn unpack(decoder: impl Read, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let broken = |error: io::Error| Error::Broken(Box::new(error));
    decoder.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() > max_bytes { Err(Error::TooLong) } else { Ok(bytes) }
}
