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

/// The feature alone proves nothing: the module itself says what it is.
#[cfg(feature = "fips")]
#[test]
fn the_library_is_the_fips_module() {
    assert_eq!(::aws_lc_rs::try_fips_mode(), Ok(()));
    assert_eq!(::aws_lc_rs::try_fips_self_test(), Ok(()));
}

#[cfg(all(any(feature = "aws_lc_rs", feature = "fips"), feature = "rust_crypto"))]
mod side_by_side {
    use super::super::{aws_lc_rs, rust_crypto};
    use crate::keys::format::der;
    use crate::keys::format::pem;
    use crate::keys::material::{Private, Public, RsaParts};
    use crate::keys::scheme::{Curve, Hash, KeyType, Scheme};
    use crate::keys::test_keys::*;

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
        for scheme in [Scheme::RsaPkcs1(Hash::Sha256), Scheme::RsaPss(Hash::Sha256)] {
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
    }

    #[test]
    fn both_refuse_an_rsa_key_whose_parts_contradict_one_another() {
        let document = pem::read(RSA_2048).unwrap().der;
        let Private::Rsa { public, parts } = der::private_key(&document).unwrap().private else {
            panic!("RSA")
        };
        let parts = [parts.d, parts.p, parts.q, parts.dp, parts.dq, parts.qinv].map(<[u8]>::to_vec);
        let loads = |parts: &[Vec<u8>; 6]| {
            let parts = RsaParts::new(parts.each_ref().map(|part| part.as_slice()));
            let private = Private::Rsa { public: public.clone(), parts };
            let scheme = Scheme::RsaPkcs1(Hash::Sha256);
            let aws = aws_lc_rs::Signer::from_private(scheme, &private).is_ok();
            (aws, rust_crypto::Signer::from_private(scheme, &private).is_ok())
        };
        assert_eq!(loads(&parts), (true, true));
        for at in 0..parts.len() {
            let mut padded = parts.clone();
            padded[at].splice(0..0, [0; 300]);
            assert_eq!(loads(&padded), (true, true), "leading zeros in part {at}");
            for wrong in [
                vec![],
                vec![1],
                vec![0xff; 2000],
                [&parts[at][..], &[1]].concat(),
                parts[at].iter().map(|byte| byte ^ 2).collect(),
            ] {
                let mut parts = parts.clone();
                parts[at] = wrong;
                assert_eq!(loads(&parts), (false, false), "part {at}: {:?}", parts[at]);
            }
        }
    }

    #[test]
    fn both_take_an_rsa_modulus_of_each_length_that_is_allowed() {
        for bits in [2048, 2049, 2055, 3072, 4096, 4097, 8191, 8192_usize] {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] >>= n.len() * 8 - bits;
            let public = Public::rsa(&n, &[1, 0, 1]).unwrap();
            for scheme in [Scheme::RsaPkcs1(Hash::Sha512), Scheme::RsaPss(Hash::Sha512)] {
                let aws = aws_lc_rs::Verifier::from_public(scheme, &public).unwrap();
                let rust = rust_crypto::Verifier::from_public(scheme, &public).unwrap();
                for signature in
                    [vec![0; n.len()], vec![1; n.len()], vec![0xff; n.len()], vec![1; n.len() + 1]]
                {
                    assert!(!aws.verify(MESSAGE, &signature) && !rust.verify(MESSAGE, &signature), "{bits}");
                }
            }
        }
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
    fn neither_refuses_a_degenerate_ed25519_key_itself() {
        // The neutral element. With it as key, its encoding and a zero are a signature of every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(Public::ed25519(&neutral).is_err());
        let public = Public::Ed25519 { x: neutral };
        let signature = [neutral, [0; 32]].concat();
        assert!(
            aws_lc_rs::Verifier::from_public(Scheme::Ed25519, &public).unwrap().verify(MESSAGE, &signature)
        );
        assert!(
            rust_crypto::Verifier::from_public(Scheme::Ed25519, &public).unwrap().verify(MESSAGE, &signature)
        );
    }

    #[test]
    fn both_write_generated_keys_as_openssl_does_and_read_each_others() {
        for (key_type, scheme, openssl) in [
            (KeyType::Rsa, Scheme::RsaPss(Hash::Sha256), RSA_2048),
            (KeyType::Ec(Curve::P256), Scheme::Ecdsa(Curve::P256), P256),
            (KeyType::Ec(Curve::P384), Scheme::Ecdsa(Curve::P384), P384),
            (KeyType::Ed25519, Scheme::Ed25519, ED25519),
        ] {
            let openssl = pem::read(openssl).unwrap().der;
            for der in [rust_crypto::generate(key_type).unwrap(), aws_lc_rs::generate(key_type).unwrap()] {
                assert_eq!(without_numbers(scheme, &der), without_numbers(scheme, &openssl), "{key_type}");
                let private = der::private_key(&der).unwrap().private;
                let (signer, public) = rust_crypto::Signer::from_private(scheme, &private).unwrap();
                let verifier = aws_lc_rs::Verifier::from_public(scheme, &public).unwrap();
                let spki = verifier.to_spki().unwrap();
                assert!(verifier.verify(MESSAGE, &signer.sign(MESSAGE).unwrap()));
                let (signer, public) = aws_lc_rs::Signer::from_private(scheme, &private).unwrap();
                let verifier = rust_crypto::Verifier::from_public(scheme, &public).unwrap();
                assert!(verifier.verify(MESSAGE, &signer.sign(MESSAGE).unwrap()));
                assert_eq!(verifier.to_spki().unwrap(), spki, "{key_type}");
                assert_eq!(der::public_key(&spki).unwrap(), public);
            }
        }
    }

    /// What two keys of one type have in common as documents.
    fn without_numbers(scheme: Scheme, der: &[u8]) -> Vec<u8> {
        let mut rest = der.to_vec();
        let mut blank = |part: &[u8]| {
            let at = rest.windows(part.len()).position(|window| window == part).unwrap();
            rest[at..at + part.len()].fill(0);
        };
        let private = der::private_key(der).unwrap().private;
        match &private {
            Private::Ed25519 { seed } => blank(&seed[..]),
            Private::Ec { scalar, .. } => {
                blank(scalar);
                let (_, public) = aws_lc_rs::Signer::from_private(scheme, &private).unwrap();
                let Public::Ec { point, .. } = public else { panic!("EC") };
                blank(&point);
            }
            // Numbers differ in length. They come last, and the reader takes one encoding of each: all up to them,
            // without the lengths that depend on theirs.
            Private::Rsa { .. } => {
                rest.truncate(33);
                [2, 3, 24, 25, 28, 29].into_iter().for_each(|at: usize| rest[at] = 0);
            }
        }
        rest
    }

    #[test]
    fn both_hash_alike_and_draw() {
        assert_eq!(aws_lc_rs::sha256(MESSAGE), rust_crypto::sha256(MESSAGE));
        let mut drawn = [[0; 32]; 2];
        rust_crypto::fill_random(&mut drawn[0]).unwrap();
        rust_crypto::fill_random(&mut drawn[1]).unwrap();
        assert_ne!(drawn[0], drawn[1]);
    }
}
