//! The exact bytes that are signed, and how they are signed and verified.
//!
//! Every signed form begins with byte `0xFF` and a context, then length-prefixed fields (a length is four bytes, big
//! endian). `0xFF` is no UTF-8, so no form can be a nonce of the bus; two contexts never share a prefix up to the first
//! length's zero byte, so no form passes for another. Verification is [`VerifyingKey::verify_strict`], with a key that the
//! verifier already has.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Lists the contexts in which something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The Merkle root of a batch of orders, by a code-signing key.
    OrderBatch,
    /// A set of code-signing keys, by the code-signing root.
    KeySet,
    /// An operator's changing request, by the session key.
    Request,
    /// The binding of a session key to a log-in (an HMAC, not a signature).
    SessionBinding,
    /// The proof of a second factor's code within a log-in (an HMAC, not a signature).
    FactorProof,
    /// The secret of an authenticator app, made from an exchange (an HMAC, not a signature).
    TotpSecret,
    /// A recovery code, made from an exchange (an HMAC, not a signature).
    RecoveryCode,
    /// A device's proof at enrolment, by its identity key.
    Enroll,
    /// The challenge of a passkey that is made (a digest, signed by nobody).
    PasskeyRegister,
    /// The challenge of a log-in with a passkey (a digest that the passkey signs).
    PasskeyLogin,
    /// The challenge of a passkey within a session (a digest that the passkey signs).
    PasskeyStepUp,
    /// One request, for which alone a passkey was asked (a digest).
    Act,
    /// The use of an installer code, by the key of its secret.
    CodeUse,
    /// The use of a link that sets a password, by the key of its secret.
    LinkUse,
    /// A device's X25519 key, by its identity key.
    ExchangeKey,
    /// A device's renewal, by its identity key.
    Renew,
    /// A device's wish for a new identity key, by the old one and by the new one.
    RotateKey,
    /// A device's hello, by its identity key.
    Hello,
    /// A run's final result, by the device's identity key.
    Result,
    /// A device's facts, by its identity key.
    Facts,
    /// A service's head, by the service's key.
    Head,
    /// A countersignature over a service's head, by the signing service's key.
    Countersign,
}

impl Form {
    /// Lists every form.
    pub const ALL: [Form; 22] = [
        Form::OrderBatch,
        Form::KeySet,
        Form::Request,
        Form::SessionBinding,
        Form::FactorProof,
        Form::TotpSecret,
        Form::RecoveryCode,
        Form::Enroll,
        Form::PasskeyRegister,
        Form::PasskeyLogin,
        Form::PasskeyStepUp,
        Form::Act,
        Form::CodeUse,
        Form::LinkUse,
        Form::ExchangeKey,
        Form::Renew,
        Form::RotateKey,
        Form::Hello,
        Form::Result,
        Form::Facts,
        Form::Head,
        Form::Countersign,
    ];

    /// Returns the context that stands behind the first byte.
    pub const fn context(self) -> &'static str {
        match self {
            Form::OrderBatch => "borealis/order-batch/v1",
            Form::KeySet => "borealis/key-set/v1",
            Form::Request => "borealis/request/v1",
            Form::SessionBinding => "borealis/session-binding/v1",
            Form::FactorProof => "borealis/factor-proof/v1",
            Form::TotpSecret => "borealis/totp-secret/v1",
            Form::RecoveryCode => "borealis/recovery-code/v1",
            Form::Enroll => "borealis/enroll/v1",
            Form::PasskeyRegister => "borealis/passkey-register/v1",
            Form::PasskeyLogin => "borealis/passkey-login/v1",
            Form::PasskeyStepUp => "borealis/passkey-step-up/v1",
            Form::Act => "borealis/act/v1",
            Form::CodeUse => "borealis/code-use/v1",
            Form::LinkUse => "borealis/link-use/v1",
            Form::ExchangeKey => "borealis/exchange-key/v1",
            Form::Renew => "borealis/renew/v1",
            Form::RotateKey => "borealis/rotate-key/v1",
            Form::Hello => "borealis/hello/v1",
            Form::Result => "borealis/result/v1",
            Form::Facts => "borealis/facts/v1",
            Form::Head => "borealis/head/v1",
            Form::Countersign => "borealis/countersign/v1",
        }
    }

    /// Builds the bytes to sign.
    ///
    /// Shape: `0xFF ‖ context ‖ (u32 length ‖ bytes)…`.
    pub fn bytes(self, fields: &[&[u8]]) -> Vec<u8> {
        let context = self.context().as_bytes();
        let size = fields.iter().map(|f| f.len() + 4).sum::<usize>() + context.len() + 1;
        let mut out = Vec::with_capacity(size);
        out.push(0xff);
        out.extend_from_slice(context);
        for field in fields {
            // A field is a message body at most, far below 4 GiB; a longer one gives bytes that nobody else builds.
            out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }
}

/// Says that a signature is not what it claims.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    /// The key is no usable Ed25519 point.
    #[error("the key is no Ed25519 public key")]
    BadKey,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    BadSignature,
}

/// Holds an Ed25519 public key.
///
/// Shape: 32 bytes as base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Makes the key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// Returns the key's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Returns the public half of a private key.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// Verifies a signature over a form.
    ///
    /// Errors: [`VerifyError::BadKey`] for what is no point or one of small order, [`VerifyError::BadSignature`] otherwise.
    ///
    /// Source: RFC 8032, section 5.1.7, with the strict checks of ed25519-dalek.
    pub fn verify(&self, form: Form, fields: &[&[u8]], signature: &SignatureBytes) -> Result<(), VerifyError> {
        self.verify_bytes(&form.bytes(fields), signature)
    }

    /// Verifies a signature over bytes: the one place where the product does.
    fn verify_bytes(&self, bytes: &[u8], signature: &SignatureBytes) -> Result<(), VerifyError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| VerifyError::BadKey)?;
        if key.is_weak() {
            return Err(VerifyError::BadKey);
        }
        key.verify_strict(bytes, &Signature::from_bytes(&signature.0))
            .map_err(|_| VerifyError::BadSignature)
    }

    /// Returns the fingerprint: SHA-256 of the key's SubjectPublicKeyInfo in DER, as lower hex.
    ///
    /// Source: RFC 8410, section 4.
    pub fn fingerprint(&self) -> String {
        const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        hex::encode(Sha256::new().chain_update(SPKI_HEAD).chain_update(self.0).finalize())
    }
}

/// Holds an Ed25519 signature.
///
/// Shape: 64 bytes as base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignatureBytes([u8; 64]);

impl SignatureBytes {
    /// Makes the signature from its 64 bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
    /// Returns the signature's 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// Signs a form.
pub fn sign(key: &SigningKey, form: Form, fields: &[&[u8]]) -> SignatureBytes {
    SignatureBytes(key.sign(&form.bytes(fields)).to_bytes())
}

macro_rules! base64_bytes {
    ($name:ident, $len:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&BASE64URL_NOPAD.encode(&self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::ids::IdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = BASE64URL_NOPAD
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|b| <[u8; $len]>::try_from(b).ok());
                bytes.map(Self).ok_or_else(|| crate::ids::IdError::Malformed {
                    kind: stringify!($name),
                    expected: concat!($len, " bytes as base64url without padding"),
                    text: text.chars().take(16).collect(),
                })
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(self)
                } else {
                    s.serialize_bytes(&self.0)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                /// Takes both shapes: serde buffers a tagged enum's fields and then claims to be human-readable, also
                /// when the fields came from CBOR.
                struct Either;
                impl serde::de::Visitor<'_> for Either {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($len, " bytes, in text as base64url without padding"))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        <[u8; $len]>::try_from(bytes)
                            .map($name)
                            .map_err(|_| E::invalid_length(bytes.len(), &self))
                    }
                }
                if d.is_human_readable() {
                    d.deserialize_str(Either)
                } else {
                    d.deserialize_bytes(Either)
                }
            }
        }
    };
}
base64_bytes!(PublicKey, 32);
base64_bytes!(SignatureBytes, 64);

/// Holds a value's exact bytes with a signature over them.
///
/// Shape: `{bytes, signature}`; the bytes are the canonical CBOR of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The value as it was signed.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The signature over the form of these bytes.
    pub signature: SignatureBytes,
}

impl Signed {
    /// Encodes a value and signs its bytes.
    ///
    /// Errors: the codec's, when the value is too large.
    pub fn seal<T: Serialize>(key: &SigningKey, form: Form, value: &T) -> Result<Self, crate::codec::CodecError> {
        let bytes = crate::codec::encode(value)?;
        let signature = sign(key, form, &[&bytes]);
        Ok(Self { bytes, signature })
    }

    /// Verifies the signature with a key already known, then decodes the value from exactly the signed bytes.
    ///
    /// Errors: [`OpenError::Signature`] first, then [`OpenError::Codec`].
    pub fn open<T: serde::de::DeserializeOwned + Serialize>(
        &self,
        key: &PublicKey,
        form: Form,
    ) -> Result<T, OpenError> {
        key.verify(form, &[&self.bytes], &self.signature)?;
        Ok(crate::codec::decode_canonical(&self.bytes)?)
    }
}

/// Says why a signed value could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The signature does not fit.
    #[error("the signed value cannot be trusted")]
    Signature(#[from] VerifyError),
    /// The signed bytes are not the expected value.
    #[error("the signed value cannot be read")]
    Codec(#[from] crate::codec::CodecError),
}

/// Hashes bytes with SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Tells whether a nonce of the bus may be signed with an identity key: 8 to 64 characters of base64url.
///
/// Everything that the product signs begins with `0xFF`, so a server that offers such bytes as nonce gets no signature.
pub fn nonce_may_be_signed(nonce: &[u8]) -> bool {
    (8..=64).contains(&nonce.len())
        && nonce
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    #[test]
    fn a_signature_fits_only_its_form_and_fields() {
        let (public, signature) = (PublicKey::of(&key()), sign(&key(), Form::Hello, &[b"ab", b"c"]));
        assert_eq!(public.verify(Form::Hello, &[b"ab", b"c"], &signature), Ok(()));
        assert_eq!(
            public.verify(Form::Renew, &[b"ab", b"c"], &signature),
            Err(VerifyError::BadSignature)
        );
        assert_eq!(
            public.verify(Form::Hello, &[b"a", b"bc"], &signature),
            Err(VerifyError::BadSignature)
        );
        assert_eq!(
            public.verify(Form::Hello, &[b"abc"], &signature),
            Err(VerifyError::BadSignature)
        );
    }

    #[test]
    fn small_order_keys_are_refused() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        let forged = SignatureBytes::from_bytes({
            let mut bytes = [0u8; 64];
            bytes[0] = 1;
            bytes
        });
        assert_eq!(
            PublicKey::from_bytes(identity).verify(Form::Result, &[b"x"], &forged),
            Err(VerifyError::BadKey)
        );
    }

    #[test]
    fn a_key_and_a_signature_read_back_also_from_within_a_tagged_enum() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step")]
        enum Tagged {
            Sealed { key: PublicKey, value: Signed },
        }
        let key = SigningKey::from_bytes(&[7; 32]);
        let sealed = Tagged::Sealed {
            key: PublicKey::of(&key),
            value: Signed::seal(&key, Form::Result, &"x").unwrap(),
        };
        let cbor = crate::codec::encode(&sealed).unwrap();
        assert_eq!(crate::codec::decode::<Tagged>(&cbor).unwrap(), sealed);
        let text = serde_json::to_vec(&PublicKey::of(&key)).unwrap();
        assert_eq!(
            crate::codec::decode_json::<PublicKey>(&text, 100).unwrap(),
            PublicKey::of(&key)
        );
        for short in [&b"\x41a"[..], b"\x61a", b"\x01"] {
            assert!(crate::codec::decode::<PublicKey>(short).is_err());
        }
    }

    #[test]
    fn no_form_is_a_nonce() {
        for form in Form::ALL {
            assert!(!nonce_may_be_signed(&form.bytes(&[b"x"])));
        }
        assert!(nonce_may_be_signed(b"PXoWU7zWAMt75FY"));
        assert!(
            !nonce_may_be_signed(b"short")
                && !nonce_may_be_signed(&[b'a'; 65])
                && !nonce_may_be_signed("ä23456789".as_bytes())
        );
    }

    #[test]
    fn contexts_are_distinct_and_well_formed() {
        let mut all: Vec<_> = Form::ALL.iter().map(|f| f.context()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Form::ALL.len());
        assert!(all.iter().all(|c| c.starts_with("borealis/") && c.ends_with("/v1")));
    }

    #[test]
    fn a_fingerprint_is_of_the_spki() {
        // openssl: SPKI of the all-zero key, hashed.
        let der = [
            &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
            &[0u8; 32],
        ]
        .concat();
        assert_eq!(
            PublicKey::from_bytes([0; 32]).fingerprint(),
            hex::encode(Sha256::digest(der))
        );
    }

    #[test]
    fn a_signed_value_opens_only_under_its_key() {
        let signed = Signed::seal(&key(), Form::Facts, &"hello".to_owned()).unwrap();
        assert_eq!(
            signed.open::<String>(&PublicKey::of(&key()), Form::Facts).unwrap(),
            "hello"
        );
        let other = PublicKey::of(&SigningKey::from_bytes(&[8; 32]));
        assert!(matches!(
            signed.open::<String>(&other, Form::Facts),
            Err(OpenError::Signature(_))
        ));
    }
}
