//! The DER documents that hold keys: PKCS#8, PKCS#1, SEC1, SubjectPublicKeyInfo, and the key of a certificate.
//!
//! Parsed here and not by the backends, so that both accept the same documents, and an error can say what the document is. The
//! backends write them.

use zeroize::Zeroizing;

use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::material::{Private, Public, RsaParts};
use crate::keys::scheme::{Curve, KeyType};

/// A private key, and the public key in its document. Whether they belong together is not checked yet.
pub(crate) struct PrivateDocument<'a> {
    pub(crate) private: Private<'a>,
    pub(crate) claimed_public: Option<&'a [u8]>,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    PrivateKey,
    /// PKCS#8 under a passphrase.
    EncryptedKey,
    PublicKey,
    Certificate,
}

/// What the document is by its first fields, which differ in all that are read here. `None` if it is no such document.
pub(crate) fn kind(der: &[u8]) -> Option<Document> {
    let mut fields = document(der)?;
    let (first, _) = fields.element()?;
    let second = fields.peek()?;
    Some(match (first, second) {
        (INTEGER, SEQUENCE | OCTET_STRING) => Document::PrivateKey,
        // PKCS#1: a public key has two numbers, a private one has nine.
        (INTEGER, INTEGER) => {
            fields.element()?;
            if fields.end().is_some() { Document::PublicKey } else { Document::PrivateKey }
        }
        (SEQUENCE, OCTET_STRING) => Document::EncryptedKey,
        (SEQUENCE, BIT_STRING) => Document::PublicKey,
        (SEQUENCE, SEQUENCE) => Document::Certificate,
        _ => return None,
    })
}

/// Reads PKCS#8 (RFC 5958), PKCS#1 `RSAPrivateKey` (RFC 8017) or SEC1 `ECPrivateKey` (RFC 5915).
pub(crate) fn private_key(der: &[u8]) -> Result<PrivateDocument<'_>, KeyError> {
    if kind(der) == Some(Document::EncryptedKey) {
        return Err(encrypted());
    }
    let mut fields = document(der).ok_or_else(|| no_document(der, not_a_private_key))?;
    fields.expect(INTEGER).ok_or_else(not_a_private_key)?;
    match fields.peek() {
        Some(SEQUENCE) => pkcs8(fields),
        Some(INTEGER) => pkcs1_private(der),
        Some(OCTET_STRING) => sec1_private(der, None),
        _ => Err(not_a_private_key()),
    }
}

/// Reads SubjectPublicKeyInfo (RFC 5280) or PKCS#1 `RSAPublicKey` (RFC 8017), or the key of a certificate.
pub(crate) fn public_key(der: &[u8]) -> Result<Public, KeyError> {
    let mut fields = document(der).ok_or_else(|| no_document(der, not_a_public_key))?;
    if fields.peek() == Some(INTEGER) {
        return pkcs1_public(der);
    }
    let first = fields.expect(SEQUENCE).ok_or_else(not_a_public_key)?;
    // In SubjectPublicKeyInfo the key's bits follow, in a certificate the algorithm of its signature.
    if fields.peek() == Some(SEQUENCE) {
        return certificate_key(first, fields);
    }
    subject_public_key(first, fields)
}

/// The key of a certificate (RFC 5280 §4.1). Nothing else in it is checked, not even its signature.
fn certificate_key(tbs: &[u8], mut rest: Reader<'_>) -> Result<Public, KeyError> {
    let mut walk = || {
        rest.expect(SEQUENCE)?;
        rest.expect(BIT_STRING)?;
        rest.end()?;
        let mut tbs = Reader(tbs);
        let _version = tbs.optional(CONTEXT_0);
        let _serial = tbs.expect(INTEGER)?;
        let [_signature, _issuer, _validity, _subject] =
            [tbs.expect(SEQUENCE)?, tbs.expect(SEQUENCE)?, tbs.expect(SEQUENCE)?, tbs.expect(SEQUENCE)?];
        let mut info = Reader(tbs.expect(SEQUENCE)?);
        let algorithm = info.expect(SEQUENCE)?;
        // Unique identifiers and extensions follow.
        tbs.all_elements().then_some((algorithm, info))
    };
    let (algorithm, info) = walk().ok_or_else(|| {
        KeyError::new(KeyErrorKind::Malformed, "these bytes begin like an X.509 certificate but are not one")
    })?;
    subject_public_key(algorithm, info)
}

fn subject_public_key(algorithm: &[u8], mut fields: Reader<'_>) -> Result<Public, KeyError> {
    let key = fields.bit_string().and_then(|key| fields.end().map(|()| key)).ok_or_else(not_a_public_key)?;
    match key_type(algorithm)? {
        KeyType::Rsa => pkcs1_public(key),
        KeyType::Ec(curve) => Public::ec(curve, key),
        KeyType::Ed25519 => Public::ed25519(key),
    }
}

/// Whether the bytes are a key document of any kind, supported or not, begin with one, or are the beginning of one. Such bytes
/// are never an HMAC secret.
pub(crate) fn looks_like_a_key(der: &[u8]) -> bool {
    let Some((SEQUENCE, length, rest)) = Reader(der).header() else { return false };
    // One of 65,536 random secrets of 32 bytes is a SEQUENCE of exactly its length. The check of what is inside makes that less
    // than one in a billion. If the bytes are longer or shorter than the SEQUENCE, its length proves nothing, so the fields must
    // be those of a key.
    match rest.split_at_checked(length) {
        Some((fields, after)) => {
            let mut fields = Reader(fields);
            (after.is_empty() || fields.is_shaped_as_a_key())
                && matches!(fields.peek(), Some(SEQUENCE | INTEGER))
                && fields.all_elements()
        }
        None => Reader(rest).is_shaped_as_a_key(),
    }
}

fn pkcs8<'a>(mut fields: Reader<'a>) -> Result<PrivateDocument<'a>, KeyError> {
    let algorithm = fields.expect(SEQUENCE).ok_or_else(not_a_private_key)?;
    let key = fields.expect(OCTET_STRING).ok_or_else(not_a_private_key)?;
    let _attributes = fields.optional(CONTEXT_0);
    let claimed_public = if let Some(bits) = fields.optional(CONTEXT_1_PRIMITIVE) {
        Some(whole_bytes(bits).ok_or_else(not_a_private_key)?)
    } else if let Some(explicit) = fields.optional(CONTEXT_1) {
        // *ring* 0.16 wrote the field with an explicit tag. Such keys are still in use.
        Some(Reader(explicit).bit_string().ok_or_else(not_a_private_key)?)
    } else {
        None
    };
    fields.end().ok_or_else(not_a_private_key)?;
    match key_type(algorithm)? {
        KeyType::Rsa => pkcs1_private(key),
        KeyType::Ec(curve) => {
            let inner = sec1_private(key, Some(curve))?;
            Ok(PrivateDocument { claimed_public: inner.claimed_public.or(claimed_public), ..inner })
        }
        KeyType::Ed25519 => {
            let mut inner = Reader(key);
            let seed = inner.expect(OCTET_STRING).filter(|_| inner.end().is_some());
            let seed =
                seed.and_then(|seed| <&[u8; 32]>::try_from(seed).ok()).ok_or_else(not_a_private_key)?;
            Ok(PrivateDocument { private: Private::Ed25519 { seed }, claimed_public })
        }
    }
}

fn pkcs1_private(der: &[u8]) -> Result<PrivateDocument<'_>, KeyError> {
    let mut fields = document(der).ok_or_else(not_a_private_key)?;
    match fields.expect(INTEGER) {
        Some([0]) => {}
        Some([1]) => return Err(KeyError::new(KeyErrorKind::Unsupported, "it has more than two primes")),
        _ => return Err(not_a_private_key()),
    }
    let mut numbers = || {
        let (n, e) = (fields.unsigned()?, fields.unsigned()?);
        let mut parts = [&[][..]; 6];
        for part in &mut parts {
            *part = fields.unsigned()?;
        }
        fields.end()?;
        Some((n, e, RsaParts::new(parts)))
    };
    let (n, e, parts) = numbers().ok_or_else(not_a_private_key)?;
    Ok(PrivateDocument { private: Private::Rsa { public: Public::rsa(n, e)?, parts }, claimed_public: None })
}

fn sec1_private(der: &[u8], outer_curve: Option<Curve>) -> Result<PrivateDocument<'_>, KeyError> {
    let parts = || {
        let mut fields = document(der)?;
        if fields.expect(INTEGER)? != [1] {
            return None;
        }
        let scalar = fields.expect(OCTET_STRING)?;
        let parameters = fields.optional(CONTEXT_0);
        let public = match fields.optional(CONTEXT_1) {
            Some(explicit) => Some(Reader(explicit).bit_string()?),
            None => None,
        };
        fields.end()?;
        Some((scalar, parameters, public))
    };
    let (scalar, parameters, claimed_public) = parts().ok_or_else(not_a_private_key)?;
    let inner_curve = parameters.map(|parameters| curve(&mut Reader(parameters))).transpose()?;
    let curve = match (outer_curve, inner_curve) {
        (Some(outer), Some(inner)) if outer != inner => {
            return Err(KeyError::new(KeyErrorKind::Malformed, "its document names two curves"));
        }
        (Some(curve), _) | (None, Some(curve)) => curve,
        (None, None) => {
            return Err(KeyError::new(
                KeyErrorKind::Malformed,
                "it is a SEC1 key that names no curve, so it is not clear which key it is; make a new key with `openssl genpkey \
                 -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
            ));
        }
    };
    // RFC 5915 §3 requires the scalar to be as long as the field, but some writers drop leading zeros.
    let missing = curve.field_len().checked_sub(scalar.len()).ok_or_else(not_a_private_key)?;
    let mut padded = Zeroizing::new(Vec::with_capacity(curve.field_len()));
    padded.resize(missing, 0);
    padded.extend_from_slice(scalar);
    Ok(PrivateDocument { private: Private::Ec { curve, scalar: padded }, claimed_public })
}

fn pkcs1_public(der: &[u8]) -> Result<Public, KeyError> {
    let parts = || {
        let mut fields = document(der)?;
        let parts = (fields.unsigned()?, fields.unsigned()?);
        fields.end()?;
        Some(parts)
    };
    let (n, e) = parts().ok_or_else(not_a_public_key)?;
    Public::rsa(n, e)
}

fn key_type(algorithm_identifier: &[u8]) -> Result<KeyType, KeyError> {
    let mut fields = Reader(algorithm_identifier);
    match fields.expect(OBJECT_IDENTIFIER) {
        Some(RSA_ENCRYPTION) => Ok(KeyType::Rsa),
        Some(EC_PUBLIC_KEY) => curve(&mut fields).map(KeyType::Ec),
        Some(ID_ED25519) => Ok(KeyType::Ed25519),
        Some(RSASSA_PSS) => Err(KeyError::new(
            KeyErrorKind::Unsupported,
            "it is an RSA key restricted to PSS; use one of type rsaEncryption, which also works with PS256",
        )),
        Some(_) => Err(KeyError::new(
            KeyErrorKind::Unsupported,
            "it is not an RSA, P-256, P-384 or Ed25519 key; generate one of these",
        )),
        None => Err(KeyError::new(KeyErrorKind::Malformed, "its document names no type of key")),
    }
}

fn curve(fields: &mut Reader<'_>) -> Result<Curve, KeyError> {
    match fields.expect(OBJECT_IDENTIFIER) {
        Some(SECP256R1) => Ok(Curve::P256),
        Some(SECP384R1) => Ok(Curve::P384),
        _ => Err(KeyError::new(
            KeyErrorKind::Unsupported,
            "it is an EC key on another curve than P-256 or P-384 (or on unnamed parameters); generate one on these",
        )),
    }
}

/// The error for bytes that are not DER. Usually they are the PEM or base64 of a key.
fn no_document(bytes: &[u8], otherwise: fn() -> KeyError) -> KeyError {
    if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return KeyError::new(
            KeyErrorKind::Malformed,
            "it is PEM, and DER was expected; load it with `from_pem` or `KeyFormat::pem`",
        );
    }
    otherwise()
}

/// The error for bytes that are no [`Document`].
pub(crate) fn not_a_key(bytes: &[u8]) -> KeyError {
    no_document(bytes, || {
        KeyError::new(KeyErrorKind::Malformed, "these bytes are neither a private nor a public key in DER")
    })
}

pub(crate) fn encrypted() -> KeyError {
    KeyError::new(
        KeyErrorKind::Unsupported,
        "it is encrypted with a passphrase; decrypt it first, as with `openssl pkey -in FILE -out NEW`",
    )
}

fn not_a_private_key() -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, "these bytes are not a PKCS#8, PKCS#1 or SEC1 private key in DER")
}

fn not_a_public_key() -> KeyError {
    KeyError::new(
        KeyErrorKind::Malformed,
        "these bytes are not a SubjectPublicKeyInfo, PKCS#1 public key or X.509 certificate in DER",
    )
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const CONTEXT_1_PRIMITIVE: u8 = 0x81;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0xa1;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The length of the fields of the shortest document, SEC1 of a P-256 key without its point.
const SHORTEST: usize = 37;

/// In bytes: 1,024 bits, and even those are refused.
const SHORTEST_MODULUS: usize = 128;

/// The content of the one SEQUENCE that a document consists of.
fn document(der: &[u8]) -> Option<Reader<'_>> {
    let mut outer = Reader(der);
    let fields = outer.expect(SEQUENCE)?;
    outer.end()?;
    Some(Reader(fields))
}

/// The elements that are still to be read.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, length, rest) = self.header()?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next element's tag and length, and the bytes after them.
    fn header(&self) -> Option<(u8, usize, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            // DER allows one encoding of a length: definite, in the shortest form. Keys need at most two bytes.
            let length = match bytes {
                [length @ 0x80..=0xff] => usize::from(*length),
                [high @ 1..=0xff, low] => usize::from(u16::from_be_bytes([*high, *low])),
                _ => return None,
            };
            (length, rest)
        };
        Some((tag, length, rest))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek() == Some(tag) { self.expect(tag) } else { None }
    }

    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// A non-negative INTEGER, big-endian, without the sign byte.
    fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.expect(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|next| *next >= 0x80) => Some(rest),
            [0, _, ..] | [0x80..=0xff, ..] | [] => None,
            value => Some(value),
        }
    }

    fn bit_string(&mut self) -> Option<&'a [u8]> {
        self.expect(BIT_STRING).and_then(whole_bytes)
    }

    /// Whether it begins like the fields of a supported document or an encrypted key, and is long enough.
    fn is_shaped_as_a_key(&self) -> bool {
        let mut fields = *self;
        let shape = (self.header(), fields.element(), fields.peek());
        self.0.len() >= SHORTEST
            && match shape {
                (_, Some((SEQUENCE, first)), Some(BIT_STRING | SEQUENCE | OCTET_STRING)) => {
                    matches!(first.first(), Some(&(OBJECT_IDENTIFIER | INTEGER | CONTEXT_0)))
                }
                // A version, or an RSA modulus.
                (_, Some((INTEGER, number)), Some(SEQUENCE | INTEGER | OCTET_STRING)) => {
                    matches!(number, [0 | 1]) || number.len() >= SHORTEST_MODULUS
                }
                // A truncated modulus.
                (Some((INTEGER, SHORTEST_MODULUS.., [0, 0x80..=0xff, ..])), None, _) => true,
                // A certificate that is truncated in its first field, which begins with the version.
                (Some((SEQUENCE, _, [CONTEXT_0, 3, INTEGER, 1, ..])), None, _) => true,
                _ => false,
            }
    }

    fn all_elements(&mut self) -> bool {
        while !self.0.is_empty() {
            if self.element().is_none() {
                return false;
            }
        }
        true
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The content of a BIT STRING without unused bits.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    match bits.split_first() {
        Some((0, bytes)) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::keys::format::pem;
    use crate::keys::test_keys::*;

    #[test]
    fn a_document_cut_anywhere_is_refused_and_never_panics() {
        for text in [RSA_2048, RSA_2048_PKCS1, P256, P256_SEC1, P384, ED25519] {
            let der = pem::read(text).unwrap().der;
            for cut in 0..der.len() {
                assert!(private_key(&der[..cut]).is_err(), "cut at {cut}");
            }
            let extended = [&der[..], &[0]].concat();
            assert!(private_key(&extended).is_err());
        }
        for text in [
            RSA_2048_PUBLIC,
            RSA_2048_PUBLIC_PKCS1,
            P256_PUBLIC,
            P384_PUBLIC,
            ED25519_PUBLIC,
            P256_CERTIFICATE,
        ] {
            let der = pem::read(text).unwrap().der;
            for cut in 0..der.len() {
                assert!(public_key(&der[..cut]).is_err(), "cut at {cut}");
            }
            let extended = [&der[..], &[0]].concat();
            assert!(public_key(&extended).is_err());
        }
    }

    #[test]
    fn a_document_with_any_byte_changed_never_panics() {
        for text in [RSA_2048_PUBLIC, P256, ED25519, P384_SEC1, P256_CERTIFICATE] {
            let der = pem::read(text).unwrap().der;
            for at in 0..der.len() {
                for value in [0, 1, 0x7f, 0x80, 0x81, 0x84, 0xff] {
                    let mut changed = der.to_vec();
                    changed[at] = value;
                    let _ = private_key(&changed);
                    let _ = public_key(&changed);
                    let _ = looks_like_a_key(&changed);
                }
            }
        }
    }

    #[test]
    fn an_rsa_key_of_more_than_two_primes_is_named_as_such() {
        let mut der = pem::read(RSA_2048_PKCS1).unwrap().der;
        assert_eq!(der[4..7], [INTEGER, 1, 0]);
        der[6] = 1;
        let error = private_key(&der).err().unwrap();
        assert_eq!(error.kind(), KeyErrorKind::Unsupported);
        assert!(error.to_string().contains("more than two primes"), "{error}");
        der[6] = 2;
        assert_eq!(private_key(&der).err().unwrap().kind(), KeyErrorKind::Malformed);
    }

    /// OpenSSL can't read it either, so a conversion is no remedy.
    #[test]
    fn a_sec1_key_without_its_curve_is_named_as_such() {
        let fields = [&[INTEGER, 1, 1, OCTET_STRING, 32][..], &[7; 32]].concat();
        let der = [&[SEQUENCE, 37], &fields[..]].concat();
        let error = private_key(&der).err().unwrap();
        assert_eq!(error.kind(), KeyErrorKind::Malformed);
        let error = error.to_string();
        assert!(error.contains("SEC1 key that names no curve") && !error.contains("pkcs8"), "{error}");
        assert!(error.contains("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"), "{error}");
    }

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        for (der, accepted) in [
            (&[0x04, 0x01, 0xaa][..], true),
            (&[0x04, 0x81, 0x01, 0xaa], false),
            (&[0x04, 0x82, 0x00, 0x01, 0xaa], false),
            (&[0x04, 0x80, 0xaa, 0x00, 0x00], false),
            (&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], false),
            (&[0x04, 0x02, 0xaa], false),
            (&[0x04], false),
        ] {
            assert_eq!(Reader(der).element().is_some(), accepted, "{der:?}");
        }
    }
}
