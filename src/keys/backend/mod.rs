//! The cryptographic library: aws-lc-rs, on either AWS-LC, or RustCrypto where only that is enabled.
//!
//! Both offer the same names. Keys are prepared once, when they are loaded; signing and verifying parse nothing.
//! Which keys are strong enough is decided above, in [`material`](super::material).

use std::error::Error;
use std::fmt;

#[cfg(any(feature = "aws_lc_rs", feature = "fips"))]
mod aws_lc_rs;
// In tests it is compiled beside the winner, so that the two can be held against each other.
#[cfg(all(feature = "rust_crypto", any(test, not(any(feature = "aws_lc_rs", feature = "fips")))))]
mod rust_crypto;

#[cfg(any(feature = "aws_lc_rs", feature = "fips"))]
use self::aws_lc_rs as imp;
#[cfg(all(feature = "rust_crypto", not(any(feature = "aws_lc_rs", feature = "fips"))))]
use self::rust_crypto as imp;

pub(crate) use self::imp::{Signer, Verifier, generate, sha256};

/// Bytes nobody can foresee.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], RandomnessFailed> {
    let mut bytes = [0; N];
    imp::fill_random(&mut bytes)?;
    Ok(bytes)
}

/// The system's source of randomness failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RandomnessFailed;

impl fmt::Display for RandomnessFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system's source of randomness failed")
    }
}

impl Error for RandomnessFailed {}

/// The library could not sign: out of memory, or out of randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignError;

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cryptographic library could not sign")
    }
}

impl Error for SignError {}

/// The library refused a key, with its own error where it has one.
pub(crate) type Refused = Box<dyn Error + Send + Sync>;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
