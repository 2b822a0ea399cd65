//! What both libraries must agree on.

use super::*;

#[test]
fn sha256_of_abc_is_the_published_one() {
    let digest: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn random_bytes_differ() {
    assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
}

#[cfg(all(feature = "aws_lc_rs", feature = "rust_crypto"))]
mod side_by_side {
    use super::super::{aws_lc_rs, rust_crypto};
    use crate::keys::material::{Private, Public};
    use crate::keys::scheme::{Curve, Hash, Scheme};
    use crate::keys::test_keys::*;
    use crate::keys::{der, pem};

    const MESSAGE: &[u8] = b"eyJhbGciOiJIUzI1NiJ9.e30";

    fn schemes() -> Vec<(Scheme, &'static [u8])> {
        let mut schemes = vec![
            (Scheme::Ecdsa(Curve::P256), P256),
            (Scheme::Ecdsa(Curve::P384), P384),
            (Scheme::Ed25519, ED25519),
        ];
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            schemes.push((Scheme::RsaPkcs1(hash), RSA_2048));
            schemes.push((Scheme::RsaPss(hash), RSA_2048));
        }
        schemes
    }

    #[test]
    fn each_verifies_what_the_other_signs_and_refuses_what_the_other_refuses() {
        for (scheme, text) in schemes() {
            let document = pem::read(text).unwrap().der;
            let document = der::private_key(&document).unwrap();
            let (aws, public) = aws_lc_rs::Signer::from_private(scheme, &document.private).unwrap();
            let (rust, same_public) = rust_crypto::Signer::from_private(scheme, &document.private).unwrap();
            assert_eq!(public, same_public);
            let aws_verifier = aws_lc_rs::Verifier::from_public(scheme, &public).unwrap();
            let rust_verifier = rust_crypto::Verifier::from_public(scheme, &public).unwrap();
            for signature in [aws.sign(MESSAGE).unwrap(), rust.sign(MESSAGE).unwrap()] {
                assert!(aws_verifier.verify(MESSAGE, &signature), "{scheme:?}");
                assert!(rust_verifier.verify(MESSAGE, &signature), "{scheme:?}");
                for at in 0..signature.len() {
                    let mut tampered = signature.clone();
                    tampered[at] ^= 1;
                    assert!(!aws_verifier.verify(MESSAGE, &tampered), "{scheme:?} at {at}");
                    assert!(!rust_verifier.verify(MESSAGE, &tampered), "{scheme:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn secrets_give_equal_tags() {
        let secret: Vec<u8> = (0..200).collect();
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            // Shorter and longer than either hash's block.
            for len in [32, 64, 65, 128, 129, 200] {
                let aws = aws_lc_rs::Signer::from_secret(hash, &secret[..len]).sign(MESSAGE).unwrap();
                let rust = rust_crypto::Signer::from_secret(hash, &secret[..len]).sign(MESSAGE).unwrap();
                assert_eq!(aws, rust, "{hash:?}, {len} bytes");
                assert!(rust_crypto::Verifier::from_secret(hash, &secret[..len]).verify(MESSAGE, &aws));
                assert!(aws_lc_rs::Verifier::from_secret(hash, &secret[..len]).verify(MESSAGE, &rust));
            }
        }
    }

    #[test]
    fn an_rsa_signature_has_no_second_form() {
        let document = pem::read(RSA_2048).unwrap().der;
        let document = der::private_key(&document).unwrap();
        let scheme = Scheme::RsaPkcs1(Hash::Sha256);
        let (signer, public) = aws_lc_rs::Signer::from_private(scheme, &document.private).unwrap();
        let Public::Rsa { n, .. } = &public else { panic!("RSA") };
        let aws = aws_lc_rs::Verifier::from_public(scheme, &public).unwrap();
        let rust = rust_crypto::Verifier::from_public(scheme, &public).unwrap();
        let mut twins = 0;
        for count in 0..64u8 {
            let message = [MESSAGE, &[count]].concat();
            let signature = signer.sign(&message).unwrap();
            let mut carry = 0u16;
            let mut twin: Vec<u8> = signature
                .iter()
                .zip(n)
                .rev()
                .map(|(s, n)| {
                    carry += u16::from(*s) + u16::from(*n);
                    let byte = carry as u8;
                    carry >>= 8;
                    byte
                })
                .collect();
            twin.reverse();
            // s + n often has a bit more than n, and is no candidate then.
            if carry == 0 {
                twins += 1;
                assert!(!aws.verify(&message, &twin) && !rust.verify(&message, &twin));
            }
        }
        assert!(twins > 0, "no twin fitted");
    }

    #[test]
    fn both_refuse_a_point_off_the_curve_and_a_scalar_out_of_range() {
        for curve in [Curve::P256, Curve::P384] {
            let scheme = Scheme::Ecdsa(curve);
            let mut point = vec![1; 1 + 2 * curve.field_len()];
            point[0] = 4;
            let public = Public::ec(curve, &point).unwrap();
            assert!(aws_lc_rs::Verifier::from_public(scheme, &public).is_err());
            assert!(rust_crypto::Verifier::from_public(scheme, &public).is_err());
            for byte in [0, 0xff] {
                let scalar = zeroize::Zeroizing::new(vec![byte; curve.field_len()]);
                let private = Private::Ec { curve, scalar };
                assert!(aws_lc_rs::Signer::from_private(scheme, &private).is_err(), "{curve:?} {byte}");
                assert!(rust_crypto::Signer::from_private(scheme, &private).is_err(), "{curve:?} {byte}");
            }
        }
    }

    #[test]
    fn an_ed25519_point_that_does_not_exist_verifies_nothing() {
        let (mut real, mut imaginary) = (0, 0);
        for n in 0..200u8 {
            let Ok(public) = Public::ed25519(&super::super::sha256(&[n])) else { continue };
            let aws = aws_lc_rs::Verifier::from_public(Scheme::Ed25519, &public);
            if rust_crypto::Verifier::from_public(Scheme::Ed25519, &public).is_ok() {
                real += 1;
                assert!(aws.is_ok());
            } else {
                imaginary += 1;
                // aws-lc looks at the point at each verification only.
                assert!(!aws.unwrap().verify(MESSAGE, &[0; 64]));
            }
        }
        assert!(real > 50 && imaginary > 50);
    }

    #[test]
    fn both_generate_rsa_keys_and_hash_and_draw() {
        let scheme = Scheme::RsaPss(Hash::Sha256);
        for der in [rust_crypto::generate_rsa().unwrap(), aws_lc_rs::generate_rsa().unwrap()] {
            let private = der::private_key(&der).unwrap().private;
            let (signer, public) = rust_crypto::Signer::from_private(scheme, &private).unwrap();
            let verifier = aws_lc_rs::Verifier::from_public(scheme, &public).unwrap();
            assert!(verifier.verify(MESSAGE, &signer.sign(MESSAGE).unwrap()));
            let (signer, public) = aws_lc_rs::Signer::from_private(scheme, &private).unwrap();
            let verifier = rust_crypto::Verifier::from_public(scheme, &public).unwrap();
            assert!(verifier.verify(MESSAGE, &signer.sign(MESSAGE).unwrap()));
        }

        assert_eq!(aws_lc_rs::sha256(MESSAGE), rust_crypto::sha256(MESSAGE));
        let mut drawn = [[0; 32]; 2];
        rust_crypto::fill_random(&mut drawn[0]).unwrap();
        rust_crypto::fill_random(&mut drawn[1]).unwrap();
        assert_ne!(drawn[0], drawn[1]);
    }
}
