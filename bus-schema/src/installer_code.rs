//! The installer code: a secret that admits a device, and the hash of the CA that the device will trust.
//!
//! Shape: `BRL1-` and base32 (RFC 4648, without padding) of 16 secret bytes, the SHA-256 of the CA certificate's DER, and
//! the first 4 bytes of the SHA-256 over both. The device authenticates the server with the hash before it sends a secret.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use thiserror::Error;

const PREFIX: &str = "BRL1-";
const SECRET_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

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

    /// Returns what the server keeps instead of the code: the SHA-256 of its secret.
    pub fn secret_digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
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
    fn debug_hides_it() {
        assert_eq!(
            format!("{:?}", InstallerCode::new([1; 16], [2; 32])),
            "InstallerCode(hidden)"
        );
    }
}
