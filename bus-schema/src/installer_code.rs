//! The installer code: a secret that admits a device, and the hash of the CA that the device will trust.
//!
//! Shape: `BRL1-` and base32 (RFC 4648, without padding) of 16 secret bytes, the SHA-256 of the CA certificate's DER, and
//! the first 4 bytes of the SHA-256 over both. The device authenticates the server with the hash before it says a word, and the
//! secret never leaves it: it signs with the [key](crate::seeds) of the secret what it asks for.

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::forms::{Form, PublicKey, SignatureBytes, VerifyError, sign};
use crate::messages::enrollment::HostFacts;
use crate::seeds::Purpose;

const PREFIX: &str = "BRL1-";
const SECRET_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// Is how many of a code's letters are shown later, behind its prefix: 20 of 128 secret bits.
const HINT_CHARS: usize = 4;

/// Returns the name by which a CA root's certificate vouches for the root of code signing.
///
/// An installer code holds the certificate's hash, so a device that has the code knows both roots, whoever stands between.
///
/// Shape: a URI among the certificate's alternative names: `urn:borealis:code-signing-root:` and the key, base64url.
/// Source: RFC 5280, 4.2.1.6.
pub fn vouching_name(code_signing_root: &PublicKey) -> String {
    format!("urn:borealis:code-signing-root:{code_signing_root}")
}

/// Says why a text is no installer code; never repeats the text.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum InstallerCodeError {
    /// The text does not have the code's shape.
    #[error("this is no installer code: one begins with BRL1- and has 84 letters and digits behind it")]
    Shape,
    /// The check digits do not fit: a letter was lost or changed.
    #[error("the installer code was copied incompletely or with an error")]
    Checksum,
}

/// Holds an installer code.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallerCode {
    secret: [u8; SECRET_BYTES],
    ca_sha256: [u8; HASH_BYTES],
}

impl InstallerCode {
    /// Makes the code of a secret and a CA.
    pub const fn new(secret: [u8; SECRET_BYTES], ca_sha256: [u8; HASH_BYTES]) -> Self {
        Self { secret, ca_sha256 }
    }

    /// Returns the SHA-256 of the CA certificate's DER.
    pub const fn ca_sha256(&self) -> &[u8; HASH_BYTES] {
        &self.ca_sha256
    }

    /// Derives the code's key.
    pub fn key(&self) -> SigningKey {
        Purpose::InstallerCode.key_of(&self.secret)
    }

    /// Returns what the server keeps instead of the code.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.key())
    }

    /// Returns the first letters behind the prefix, by which people tell codes apart later.
    pub fn hint(&self) -> String {
        self.reveal().chars().skip(PREFIX.len()).take(HINT_CHARS).collect()
    }

    /// Returns the whole code; whoever holds this text may enrol.
    pub fn reveal(&self) -> String {
        let body = [&self.secret[..], &self.ca_sha256[..]].concat();
        let check = Sha256::digest(&body);
        let all: Vec<u8> = body.iter().chain(check.iter().take(CHECK_BYTES)).copied().collect();
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&all))
    }

    /// Reads a code; spaces and line ends around it and lower case are tolerated.
    ///
    /// Errors: [`InstallerCodeError`].
    pub fn parse(text: &str) -> Result<Self, InstallerCodeError> {
        let text = text.trim().to_ascii_uppercase();
        let rest = text.strip_prefix(PREFIX).ok_or(InstallerCodeError::Shape)?;
        let bytes = BASE32_NOPAD
            .decode(rest.as_bytes())
            .map_err(|_| InstallerCodeError::Shape)?;
        let (secret, rest) = bytes
            .split_first_chunk::<SECRET_BYTES>()
            .ok_or(InstallerCodeError::Shape)?;
        let (ca_sha256, check) = rest
            .split_first_chunk::<HASH_BYTES>()
            .ok_or(InstallerCodeError::Shape)?;
        let check: [u8; CHECK_BYTES] = check.try_into().map_err(|_| InstallerCodeError::Shape)?;
        let sum = Sha256::new().chain_update(secret).chain_update(ca_sha256).finalize();
        if sum.iter().take(CHECK_BYTES).eq(check.iter()) {
            Ok(Self {
                secret: *secret,
                ca_sha256: *ca_sha256,
            })
        } else {
            Err(InstallerCodeError::Checksum)
        }
    }
}

/// Returns a code as it is shown later: its prefix and its hint; `None` for what is no hint.
pub fn masked(hint: &str) -> Option<String> {
    let fits = hint.len() == HINT_CHARS && hint.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    fits.then(|| format!("{PREFIX}{hint}…"))
}

/// Is what an installer code's key signs: who asks, for which deployment, and what the machine says of itself.
///
/// Shape: the form `code-use` of the CA's SHA-256, the identity key, the exchange key, the client's nonce (text), and the texts
/// of the host's facts: host name, operating system, its version, architecture, agent version, context, machine hash.
#[derive(Debug, Clone, Copy)]
pub struct CodeUse<'a> {
    /// SHA-256 of the CA certificate's DER.
    pub ca_sha256: &'a [u8; HASH_BYTES],
    /// The device's identity key.
    pub public_key: &'a PublicKey,
    /// The device's X25519 key.
    pub exchange_key: &'a PublicKey,
    /// The client's nonce, base64url.
    pub client_nonce: &'a str,
    /// What the machine says of itself.
    pub facts: &'a HostFacts,
}

impl CodeUse<'_> {
    fn fields(&self) -> [&[u8]; 11] {
        let HostFacts {
            hostname,
            os,
            os_version,
            arch,
            agent_version,
            context,
            machine_hash,
        } = self.facts;
        [
            self.ca_sha256,
            self.public_key.as_bytes(),
            self.exchange_key.as_bytes(),
            self.client_nonce.as_bytes(),
            hostname.as_bytes(),
            os.as_bytes(),
            os_version.as_bytes(),
            arch.as_bytes(),
            agent_version.as_bytes(),
            context.as_str().as_bytes(),
            machine_hash.as_bytes(),
        ]
    }

    /// Signs with the code's key.
    pub fn sign(&self, code: &InstallerCode) -> SignatureBytes {
        sign(&code.key(), Form::CodeUse, &self.fields())
    }

    /// Verifies with a code's public key that is known already.
    ///
    /// Errors: [`VerifyError`].
    pub fn verify(&self, code: &PublicKey, proof: &SignatureBytes) -> Result<(), VerifyError> {
        code.verify(Form::CodeUse, &self.fields(), proof)
    }
}

impl std::fmt::Debug for InstallerCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstallerCode(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back() {
        let code = InstallerCode::new([1; 16], [2; 32]);
        assert_eq!(
            InstallerCode::parse(&format!(" {}\n", code.reveal().to_lowercase())),
            Ok(code.clone())
        );
        assert_eq!(code.reveal().len(), 5 + 84);
    }

    #[test]
    fn a_changed_letter_is_noticed() {
        let text = InstallerCode::new([1; 16], [2; 32]).reveal();
        let changed = text.replacen('A', "B", 1);
        assert_eq!(InstallerCode::parse(&changed), Err(InstallerCodeError::Checksum));
        assert_eq!(InstallerCode::parse(&text[..40]), Err(InstallerCodeError::Shape));
        assert_eq!(InstallerCode::parse("hunter2"), Err(InstallerCodeError::Shape));
    }

    #[test]
    fn what_is_shown_later_is_its_beginning() {
        let code = InstallerCode::new([1; 16], [2; 32]);
        let shown = masked(&code.hint()).unwrap();
        assert_eq!(shown.strip_suffix('…'), code.reveal().get(..9));
        for bad in ["", "ABC", "ABCDE", "abcd", "AB1D", "AB…"] {
            assert_eq!(masked(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_proof_of_a_code_fits_only_the_request_it_was_made_for() {
        let code = InstallerCode::new([1; 16], [2; 32]);
        let facts = HostFacts {
            hostname: "web-1".into(),
            os: "linux".into(),
            os_version: "1".into(),
            arch: "x86_64".into(),
            agent_version: "0".into(),
            context: crate::order::Context::System,
            machine_hash: "0".repeat(64),
        };
        let (one, other) = (PublicKey::from_bytes([3; 32]), PublicKey::from_bytes([4; 32]));
        let asked = CodeUse {
            ca_sha256: code.ca_sha256(),
            public_key: &one,
            exchange_key: &one,
            client_nonce: "nonce",
            facts: &facts,
        };
        let proof = asked.sign(&code);
        let key = code.public_key();
        assert!(asked.verify(&key, &proof).is_ok());
        let renamed = HostFacts {
            hostname: "web-2".into(),
            ..facts.clone()
        };
        for changed in [
            CodeUse {
                ca_sha256: &[9; 32],
                ..asked
            },
            CodeUse {
                public_key: &other,
                ..asked
            },
            CodeUse {
                exchange_key: &other,
                ..asked
            },
            CodeUse {
                client_nonce: "other",
                ..asked
            },
            CodeUse {
                facts: &renamed,
                ..asked
            },
        ] {
            assert!(changed.verify(&key, &proof).is_err(), "{changed:?}");
        }
        assert!(
            asked
                .verify(&InstallerCode::new([5; 16], [2; 32]).public_key(), &proof)
                .is_err()
        );
    }

    #[test]
    fn debug_hides_it() {
        assert_eq!(
            format!("{:?}", InstallerCode::new([1; 16], [2; 32])),
            "InstallerCode(hidden)"
        );
    }
}
