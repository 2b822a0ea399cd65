//! The parts of a key, as read from any format and before a backend loads them.
//!
//! All checks of strength are here and not in the backends, so that both accept the same keys.

use zeroize::Zeroizing;

use super::error::{KeyError, KeyErrorKind};
use super::scheme::{Curve, KeyType};

/// A public key. Built by the constructors below, which check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Public {
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// `04 || x || y`, each coordinate as long as the field. Only a backend checks that it is on the curve.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519 {
        x: [u8; 32],
    },
}

/// A private key, borrowed from the document that holds it.
pub(crate) enum Private<'a> {
    Rsa {
        public: Public,
        parts: RsaParts<'a>,
    },
    /// Big-endian, as long as the field.
    Ec {
        curve: Curve,
        scalar: Zeroizing<Vec<u8>>,
    },
    Ed25519 {
        seed: &'a [u8; 32],
    },
}

/// The private parts of an RSA key (RFC 8017 §3.2), big-endian, without leading zeros. The backend checks that they fit one
/// another and the modulus.
pub(crate) struct RsaParts<'a> {
    pub(crate) d: &'a [u8],
    pub(crate) p: &'a [u8],
    pub(crate) q: &'a [u8],
    /// d mod p-1.
    pub(crate) dp: &'a [u8],
    /// d mod q-1.
    pub(crate) dq: &'a [u8],
    /// 1/q mod p.
    pub(crate) qinv: &'a [u8],
}

const MIN_MODULUS_BITS: usize = 2048;
const MAX_MODULUS_BITS: usize = 8192;
/// FIPS 186-5 wants exponents above 2^16; 3 has a history of forged PKCS#1 v1.5 signatures.
const MIN_EXPONENT: u64 = 65_537;
/// The range that both backends support.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

impl Public {
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = bit_length(n);
        if bits < MIN_MODULUS_BITS {
            return Err(KeyError::new(
                KeyErrorKind::Weak,
                format!("its RSA modulus has {bits} bits; use a key of {MIN_MODULUS_BITS} bits or more"),
            ));
        }
        if bits > MAX_MODULUS_BITS {
            return Err(KeyError::new(
                KeyErrorKind::Unsupported,
                format!("its RSA modulus has {bits} bits; at most {MAX_MODULUS_BITS} are supported"),
            ));
        }
        if !is_odd(n) {
            return Err(KeyError::new(KeyErrorKind::Malformed, "its RSA modulus is even: not an RSA key"));
        }
        if is_roca(n) {
            return Err(KeyError::new(
                KeyErrorKind::Weak,
                "its RSA modulus was made by a faulty chip and can be factored (ROCA, CVE-2017-15361); replace the key",
            ));
        }
        let exponent = (e.len() <= 8).then(|| e.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        match exponent {
            Some(MIN_EXPONENT..=MAX_EXPONENT) if is_odd(e) => Ok(Self::Rsa { n: n.to_vec(), e: e.to_vec() }),
            _ => Err(KeyError::new(
                KeyErrorKind::Weak,
                "its RSA public exponent is even, under 65537 or over 33 bits; use a key with exponent 65537",
            )),
        }
    }

    /// From a SEC1 point.
    pub(crate) fn ec(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        match point.first() {
            Some(4) if point.len() == 1 + 2 * curve.field_len() => {
                Ok(Self::Ec { curve, point: point.to_vec() })
            }
            Some(2 | 3) => Err(KeyError::new(
                KeyErrorKind::Unsupported,
                "its point is compressed; convert it with `openssl ec -pubin -conv_form uncompressed`",
            )),
            _ => Err(KeyError::new(
                KeyErrorKind::Malformed,
                format!("its point does not have the length that {} requires", curve.name()),
            )),
        }
    }

    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let x = <[u8; 32]>::try_from(x).map_err(|_| {
            KeyError::new(KeyErrorKind::Malformed, "it does not have the 32 bytes of an Ed25519 public key")
        })?;
        if is_degenerate(&x) {
            return Err(KeyError::new(
                KeyErrorKind::Weak,
                "its point is of small order or not canonical: anybody could sign for it; generate a new key",
            ));
        }
        Ok(Self::Ed25519 { x })
    }

    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ec { curve, .. } => KeyType::Ec(*curve),
            Self::Ed25519 { .. } => KeyType::Ed25519,
        }
    }
}

impl<'a> RsaParts<'a> {
    /// In the order of PKCS#1 and of RFC 7518 §6.3.2.
    pub(crate) fn new(parts: [&'a [u8]; 6]) -> Self {
        let [d, p, q, dp, dq, qinv] = parts.map(without_leading_zeros);
        Self { d, p, q, dp, dq, qinv }
    }
}

impl Private<'_> {
    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ec { curve, .. } => KeyType::Ec(*curve),
            Self::Ed25519 { .. } => KeyType::Ed25519,
        }
    }
}

/// Whether the modulus has the fingerprint of ROCA (Nemec et al., 2017): modulo each small prime it is a power of 65537,
/// as the faulty generator's primes are. Another modulus is that by chance once in 2^27 keys.
fn is_roca(n: &[u8]) -> bool {
    // Only primes modulo which 65537 generates a proper subgroup are of use.
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let residue = n.iter().fold(0, |residue, byte| (residue * 256 + u32::from(*byte)) % prime);
        let generator = 65_537 % prime;
        std::iter::successors(Some(1), |power| Some(power * generator % prime))
            .take(*prime as usize)
            .any(|power| power == residue)
    })
}

fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let Some((0, rest)) = bytes.split_first() {
        bytes = rest;
    }
    bytes
}

fn bit_length(minimal: &[u8]) -> usize {
    match minimal.first() {
        Some(first) => minimal.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

fn is_odd(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|last| last & 1 == 1)
}

/// Whether an Ed25519 public key is one of the eight points of small order, or encodes its y as `y >= p`.
///
/// The backends differ on these, and under a point of small order one signature fits many messages. With such keys
/// kept out, the plain (cofactorless) verification of both libraries gives the same verdict on every signature:
/// each recomputes R and compares its encoding, and each refuses `S >= L`. (An encoding that is no point at all is
/// refused at load by dalek; aws-lc loads it, and verifies nothing under it.)
fn is_degenerate(encoded: &[u8; 32]) -> bool {
    // y, little-endian; the top bit of the last byte is the sign of x.
    let mut y = *encoded;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    // Most significant byte first, as integers compare.
    let not_canonical = y.iter().rev().ge(P.iter().rev());
    not_canonical || SMALL_ORDER_Y.contains(&y)
}

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y coordinates of the points of order 4, 1, 2, 8 and 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = P;
    minus_one[0] = 0xec;
    [
        [0; 32],
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_degenerate_ed25519_point_is_refused() {
        let mut y_over_p = P;
        y_over_p[0] = 0xee;
        for y in SMALL_ORDER_Y.into_iter().chain([P, y_over_p, [0xff; 32]]) {
            for sign in [0, 0x80] {
                let mut x = y;
                x[31] |= sign;
                assert_eq!(Public::ed25519(&x).unwrap_err().kind(), KeyErrorKind::Weak, "{x:?}");
            }
        }
        let mut base_point = [0x66; 32];
        base_point[0] = 0x58;
        assert!(Public::ed25519(&base_point).is_ok());
    }

    #[test]
    fn the_order_8_points_are_the_ones_the_curve_library_knows() {
        // The two y of order 8 are each other's negatives: they add up to p.
        let [.., a, b] = SMALL_ORDER_Y;
        let mut carry = 0u16;
        let sum: Vec<u8> = a
            .iter()
            .zip(b)
            .map(|(a, b)| {
                carry += u16::from(*a) + u16::from(b);
                let byte = carry as u8;
                carry >>= 8;
                byte
            })
            .collect();
        assert_eq!(sum, P);
    }

    #[test]
    fn rsa_bounds_hold_at_their_edges() {
        let modulus = |bits: usize| {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] >>= n.len() * 8 - bits;
            n
        };
        let e = &[1, 0, 1];
        for (bits, kind) in [
            (1024, Some(KeyErrorKind::Weak)),
            (2047, Some(KeyErrorKind::Weak)),
            (2048, None),
            (8192, None),
            (8193, Some(KeyErrorKind::Unsupported)),
        ] {
            assert_eq!(Public::rsa(&modulus(bits), e).err().map(|e| e.kind()), kind, "{bits} bits");
        }
        for (e, accepted) in [
            (&[3][..], false),
            (&[1, 0, 0], false),
            (&[1, 0, 1], true),
            (&[0, 1, 0, 1], true),
            (&[1, 0, 2], false),
            (&[1, 0xff, 0xff, 0xff, 0xff], true),
            (&[2, 0, 0, 0, 1], false),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 1], false),
            (&[], false),
        ] {
            assert_eq!(Public::rsa(&modulus(2048), e).is_ok(), accepted, "{e:?}");
        }
    }
}
