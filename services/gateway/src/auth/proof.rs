//! The session key's signature, read out of its headers; the service that owns the change verifies it.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, Proof, SIGNATURE_HEADER};
use borealis_bus_schema::reply::WireError;
use http::HeaderMap;

/// Reads command id and signature.
///
/// Errors: `idempotency_key_missing`, `invalid_field` for a key that is no command id, `signature_missing`,
/// `signature_invalid` for what has not the shape of a signature.
pub(crate) fn read(headers: &HeaderMap) -> Result<Proof, WireError> {
    let key = one(headers, IDEMPOTENCY_HEADER)
        .ok_or_else(|| WireError::new(Code::IdempotencyKeyMissing, "a change needs one header Idempotency-Key"))?;
    let command: CommandId = key.parse().map_err(|_| {
        WireError::new(
            Code::InvalidField,
            "the header Idempotency-Key is not 32 lower-case hex digits",
        )
    })?;
    let signature = one(headers, SIGNATURE_HEADER)
        .ok_or_else(|| WireError::new(Code::SignatureMissing, "a change needs one header Borealis-Signature"))?;
    Proof::parse(signature, command).map_err(|error| WireError::new(Code::SignatureInvalid, error.to_string()))
}

/// Returns a header that stands exactly once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::SessionId;
    use borealis_bus_schema::time::Timestamp;
    use ed25519_dalek::SigningKey;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_proof_is_read_as_it_was_made() {
        let (session, command) = (SessionId::from_bytes([1; 16]), CommandId::from_bytes([2; 16]));
        let key = SigningKey::from_bytes(&[3; 32]);
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let proof = Proof::new(&key, session, command, at, "POST", "/api/v1/jobs", b"{}");
        let sent = headers(&[
            ("idempotency-key", &command.to_string()),
            ("borealis-signature", &proof.header()),
        ]);
        assert_eq!(read(&sent), Ok(proof));
    }

    #[test]
    fn each_thing_that_is_missing_has_its_own_code() {
        let id = "02020202020202020202020202020202";
        let code = |pairs: &[(&'static str, &str)]| read(&headers(pairs)).unwrap_err().code;
        assert_eq!(code(&[]), Code::IdempotencyKeyMissing);
        assert_eq!(code(&[("idempotency-key", "x")]), Code::InvalidField);
        assert_eq!(code(&[("idempotency-key", id)]), Code::SignatureMissing);
        assert_eq!(
            code(&[("idempotency-key", id), ("borealis-signature", "v1 x")]),
            Code::SignatureInvalid
        );
        assert_eq!(
            code(&[("idempotency-key", id), ("idempotency-key", id)]),
            Code::IdempotencyKeyMissing
        );
    }
}
