//! Reads the body of a response: bounded, decompressed, as text.

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
    let bytes = match coding.as_deref().unwrap_or(b"identity").trim_ascii() {
        b"identity" | b"gzip" | b"x-gzip" if bytes.starts_with(b"\x1f\x8b") => {
            // Some servers send gzip without `Content-Encoding`.
            unpack(GzDecoder::new(&*bytes), max_bytes)?
        }
        b"identity" => bytes.into(),
        // By RFC 9110 §8.4.1.2 "deflate" is in zlib's format. Some servers send it without.
        b"deflate" => match unpack(ZlibDecoder::new(&*bytes), max_bytes) {
            Err(Error::Broken(_)) => unpack(DeflateDecoder::new(&*bytes), max_bytes)?,
            unpacked => unpacked?,
        },
        coding => return Err(Error::Coding(String::from_utf8_lossy(coding).into_owned())),
    };
    String::from_utf8(bytes).map_err(Error::NotText)
}

fn unpack(decoder: impl Read, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let broken = |error: io::Error| Error::Broken(Box::new(error));
    decoder.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() > max_bytes { Err(Error::TooLong) } else { Ok(bytes) }
}
