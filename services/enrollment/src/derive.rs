//! Secrets that are computed again instead of kept: refresh tokens.
//!
//! One key stands in a private file of this service. A token is the HMAC of a purpose and of what it is for, so a device that
//! did not receive its token gets the same one again, also after a restart, while the log holds no secret at all.

use std::path::Path;

use borealis_bus_schema::ids::Guid;
use borealis_service_kit::keys::{self, KeyFileError};
use borealis_service_kit::random;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::aggregate::device::Presented;

const REFRESH_PREFIX: &str = "brr1";
const KEY_BYTES: usize = 64;
const EXPECTED: &str = "64 bytes as base64url";

/// Holds the key from which this service's secrets are computed.
pub struct DerivationKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for DerivationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DerivationKey(hidden)")
    }
}

impl DerivationKey {
    /// Reads the key, or makes it at the first start.
    ///
    /// Errors: [`KeyFileError`] when the file is not private, is damaged or cannot be written.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        if !path.try_exists().unwrap_or(true) {
            let fresh = Zeroizing::new(random::bytes::<KEY_BYTES>());
            let text = Zeroizing::new(BASE64URL_NOPAD.encode(fresh.as_ref()));
            keys::write_private(path, text.as_bytes())?;
        }
        let text = keys::read_private_text(path, EXPECTED)?;
        let malformed = || KeyFileError::Malformed {
            path: path.to_owned(),
            expected: EXPECTED,
        };
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| malformed())?);
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| malformed())?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Makes the key of known bytes; for tests.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Computes a device's refresh token.
    ///
    /// Shape: `brr1.<family>.<number>.<HMAC, base64url>`.
    pub fn refresh_token(&self, guid: &Guid, token: Presented) -> String {
        let tag = self.refresh_mac(guid, token).finalize().into_bytes();
        let tag = BASE64URL_NOPAD.encode(&tag);
        format!("{REFRESH_PREFIX}.{}.{}.{tag}", token.family, token.counter)
    }

    /// Reads a device's refresh token; `None` when it is not one that this service made for this device.
    pub fn read_refresh_token(&self, guid: &Guid, text: &str) -> Option<Presented> {
        let [prefix, family, counter, tag] = parts(text)?;
        let token = Presented {
            family: family.parse().ok()?,
            counter: number(counter)?,
        };
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        self.refresh_mac(guid, token).verify_slice(&tag).ok()?;
        (prefix == REFRESH_PREFIX).then_some(token)
    }

    fn refresh_mac(&self, guid: &Guid, token: Presented) -> Hmac<Sha256> {
        let fields: [&[u8]; 3] = [guid.as_bytes(), token.family.as_bytes(), &token.counter.to_be_bytes()];
        self.mac("refresh token", &fields)
    }

    /// Every field has a fixed length for its purpose, and no purpose is the beginning of another.
    fn mac(&self, purpose: &str, fields: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new((&*self.0).into());
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        for field in fields {
            mac.update(field);
        }
        mac
    }
}

fn parts(text: &str) -> Option<[&str; 4]> {
    let mut parts = text.split('.');
    let all = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(all)
}

/// Reads a number in its one form: digits without a sign or leading zero.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::ApprovalId;

    const FAMILY: ApprovalId = ApprovalId::from_bytes([1; 16]);

    fn key() -> DerivationKey {
        DerivationKey::from_bytes([9; 64])
    }
    fn guid(seed: u8) -> Guid {
        Guid::from_random([seed; 16])
    }

    #[test]
    fn a_refresh_token_reads_back_for_its_device_only() {
        let token = Presented {
            family: FAMILY,
            counter: 3,
        };
        let text = key().refresh_token(&guid(1), token);
        assert_eq!(key().read_refresh_token(&guid(1), &text), Some(token));
        assert_eq!(key().read_refresh_token(&guid(2), &text), None);
        assert_eq!(
            DerivationKey::from_bytes([8; 64]).read_refresh_token(&guid(1), &text),
            None
        );
        for forged in [
            text.replace(".3.", ".4."),
            text.replace(".3.", ".03."),
            text.replace("brr1", "bra1"),
            format!("{text}.x"),
            text.chars().take(60).collect(),
            String::new(),
        ] {
            assert_eq!(key().read_refresh_token(&guid(1), &forged), None, "{forged}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("derive.secret");
        let token = Presented {
            family: FAMILY,
            counter: 1,
        };
        let first = DerivationKey::open(&path).unwrap().refresh_token(&guid(1), token);
        assert_eq!(
            DerivationKey::open(&path).unwrap().refresh_token(&guid(1), token),
            first
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        keys::write_private(&path, b"short").unwrap();
        assert!(matches!(
            DerivationKey::open(&path),
            Err(KeyFileError::Malformed { .. })
        ));
        assert_eq!(format!("{:?}", key()), "DerivationKey(hidden)");
    }
}
