//! The recovery file: the roots of a deployment, sealed under a passphrase that was shown once.
//!
//! The passphrase has 130 bits from the system's source; argon2id makes guessing it dearer still, should someone replace
//! it by one of their own one day.

use argon2::{Algorithm, Argon2, Version};
use borealis_bus_schema::ids::DeploymentId;
use borealis_service_kit::random;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const FORMAT: &str = "borealis/recovery/v1";
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Bounds what a changed file can make its reader do.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;

/// Holds the keys that no running program needs.
///
/// Shape: JSON; Ed25519 seeds as base64url, nkey seeds as they are, the CA's key as PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Roots {
    /// Signs sets of code-signing keys.
    pub code_signing_root: String,
    /// Signs the bus operator's JWT.
    pub operator_root: String,
    /// Owns the account of services and devices.
    pub account_root: String,
    /// Owns the system account.
    pub system_account_root: String,
    /// Signs the system account's users.
    pub system_account_signing: String,
    /// Signs issuing CAs.
    pub ca_root_key: String,
}

/// Says why a recovery file could not be sealed or opened.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The file is not one of this product.
    #[error("this is no recovery file")]
    Malformed(#[source] serde_json::Error),
    /// The file is of another format or asks for more than is sound.
    #[error("the recovery file has a form that this version does not read")]
    Form,
    /// The passphrase is wrong, or the file was changed.
    #[error("the passphrase does not open the recovery file")]
    Refused,
    /// The key could not be derived or used.
    #[error("the recovery file could not be sealed")]
    Seal,
}

/// Is what stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    format: String,
    deployment: DeploymentId,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    sealed: String,
}

impl Sealed {
    fn bound(&self) -> String {
        format!("{FORMAT} {}", self.deployment)
    }
}

/// Draws a passphrase: 26 letters and digits in groups, 130 bits.
pub fn passphrase() -> Zeroizing<String> {
    let drawn = Zeroizing::new(random::bytes::<17>());
    let text = Zeroizing::new(BASE32_NOPAD.encode(drawn.as_ref()));
    let mut grouped = Zeroizing::new(String::with_capacity(32));
    for (at, letter) in text.chars().take(26).enumerate() {
        if at > 0 && at % 5 == 0 {
            grouped.push('-');
        }
        grouped.push(letter);
    }
    grouped
}

/// Seals the roots.
///
/// Errors: [`RecoveryError::Seal`].
pub fn seal(roots: &Roots, deployment: DeploymentId, passphrase: &str) -> Result<Vec<u8>, RecoveryError> {
    let (salt, nonce) = (random::bytes::<16>(), random::bytes::<12>());
    let mut file = Sealed {
        format: FORMAT.to_owned(),
        deployment,
        kdf: "argon2id".to_owned(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: BASE64URL_NOPAD.encode(&salt),
        cipher: "chacha20-poly1305".to_owned(),
        nonce: BASE64URL_NOPAD.encode(&nonce),
        sealed: String::new(),
    };
    let key = derive(&file, passphrase, &salt).ok_or(RecoveryError::Seal)?;
    let plain = Zeroizing::new(serde_json::to_vec(roots).map_err(|_| RecoveryError::Seal)?);
    let cipher = ChaCha20Poly1305::new_from_slice(key.as_ref()).map_err(|_| RecoveryError::Seal)?;
    let bound = file.bound();
    let payload = Payload {
        msg: &plain,
        aad: bound.as_bytes(),
    };
    let sealed = cipher
        .encrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| RecoveryError::Seal)?;
    file.sealed = BASE64URL_NOPAD.encode(&sealed);
    serde_json::to_vec_pretty(&file).map_err(|_| RecoveryError::Seal)
}

/// Opens a recovery file; case, spaces and hyphens of the passphrase do not matter.
///
/// Errors: [`RecoveryError::Malformed`] and [`RecoveryError::Form`] for another file, [`RecoveryError::Refused`] for a
/// wrong passphrase or a changed file.
pub fn open(file: &[u8], passphrase: &str) -> Result<Roots, RecoveryError> {
    let file: Sealed = serde_json::from_slice(file).map_err(RecoveryError::Malformed)?;
    let known = file.format == FORMAT && file.kdf == "argon2id" && file.cipher == "chacha20-poly1305";
    let sound = (8..=MAX_MEMORY_KIB).contains(&file.memory_kib)
        && (1..=MAX_PASSES).contains(&file.passes)
        && (1..=MAX_PASSES).contains(&file.lanes);
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| RecoveryError::Form);
    let (salt, nonce, sealed) = (decode(&file.salt)?, decode(&file.nonce)?, decode(&file.sealed)?);
    if !known || !sound || nonce.len() != 12 {
        return Err(RecoveryError::Form);
    }
    let key = derive(&file, passphrase, &salt).ok_or(RecoveryError::Form)?;
    let cipher = ChaCha20Poly1305::new_from_slice(key.as_ref()).map_err(|_| RecoveryError::Form)?;
    let bound = file.bound();
    let payload = Payload {
        msg: &sealed,
        aad: bound.as_bytes(),
    };
    let plain = cipher
        .decrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| RecoveryError::Refused)?;
    serde_json::from_slice(&Zeroizing::new(plain)).map_err(RecoveryError::Malformed)
}

fn derive(file: &Sealed, passphrase: &str, salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let typed: Zeroizing<String> = Zeroizing::new(
        passphrase
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_uppercase())
            .collect(),
    );
    let params = argon2::Params::new(file.memory_kib, file.passes, file.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(typed.as_bytes(), salt, key.as_mut())
        .ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots() -> Roots {
        Roots {
            code_signing_root: "needle-one".into(),
            operator_root: "needle-two".into(),
            account_root: "c".into(),
            system_account_root: "d".into(),
            system_account_signing: "e".into(),
            ca_root_key: "f".into(),
        }
    }

    #[test]
    fn only_the_passphrase_opens_it() {
        let deployment = DeploymentId::from_bytes([1; 16]);
        let words = passphrase();
        let file = seal(&roots(), deployment, &words).unwrap();
        assert!(!String::from_utf8_lossy(&file).contains("needle"));
        assert!(open(&file, &words).unwrap() == roots());
        let sloppy = words.to_lowercase().replace('-', " ");
        assert!(open(&file, &sloppy).unwrap() == roots());
        for wrong in ["", "a", &passphrase(), &words[1..]] {
            assert!(matches!(open(&file, wrong), Err(RecoveryError::Refused)));
        }
        let other = String::from_utf8(file)
            .unwrap()
            .replace(&deployment.to_string(), &DeploymentId::from_bytes([2; 16]).to_string());
        assert!(matches!(open(other.as_bytes(), &words), Err(RecoveryError::Refused)));
    }

    #[test]
    fn a_passphrase_has_130_bits() {
        let words = passphrase();
        assert_eq!(words.chars().filter(|c| *c != '-').count(), 26);
        assert_ne!(*words, *passphrase());
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused() {
        let file = seal(&roots(), DeploymentId::from_bytes([1; 16]), "x").unwrap();
        let text = String::from_utf8(file).unwrap();
        let greedy = text.replace("65536", "4294967295");
        assert!(matches!(open(greedy.as_bytes(), "x"), Err(RecoveryError::Form)));
        assert!(matches!(open(b"{}", "x"), Err(RecoveryError::Malformed(_))));
    }
}
