//! Codes of authenticator apps, and how their secrets are kept.
//!
//! The parameters are those that every app has: SHA-1, six digits, thirty seconds. A code of the period before or behind
//! serves too, for clocks differ and people type slowly.
//!
//! The log holds a secret only sealed, with its operator's id as associated data, under a key that is computed from the
//! OPAQUE set-up's file. A log, or a backup of the state, therefore tells no code.
//!
//! Source: RFC 6238, RFC 4226.

use borealis_bus_schema::factor::{CODE_DIGITS, PERIOD_S, SECRET_BYTES};
use borealis_bus_schema::ids::OperatorId;
use borealis_bus_schema::time::Timestamp;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

/// Is how many periods a clock may be behind or ahead.
const DRIFT: u64 = 1;

const NONCE_BYTES: usize = 12;

/// Is the secret of an authenticator app.
pub type TotpSecret = Zeroizing<[u8; SECRET_BYTES]>;

/// Says that a sealed secret does not open: the file of the OPAQUE set-up is another one than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of an authenticator app cannot be opened")]
pub struct SealBroken;

/// Seals secrets for the log and opens them.
pub struct Sealer(ChaCha20Poly1305);

impl Sealer {
    /// Takes the key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(Key::from_slice(key)))
    }

    /// Seals an operator's secret.
    ///
    /// Shape: nonce (12 bytes), ciphertext with tag.
    ///
    /// Errors: [`SealBroken`], which the cipher gives for messages of gigabytes only.
    pub fn seal(
        &self,
        operator: &OperatorId,
        secret: &TotpSecret,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, SealBroken> {
        let payload = Payload {
            msg: secret.as_slice(),
            aad: operator.as_bytes(),
        };
        let sealed = self.0.encrypt(Nonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| SealBroken)?;
        Ok(nonce.into_iter().chain(sealed).collect())
    }

    /// Opens what [`Sealer::seal`] made for the same operator.
    ///
    /// Errors: [`SealBroken`].
    pub fn open(&self, operator: &OperatorId, sealed: &[u8]) -> Result<TotpSecret, SealBroken> {
        let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealBroken)?;
        let aad = operator.as_bytes();
        let opened = self.0.decrypt(Nonce::from_slice(nonce), Payload { msg, aad });
        let opened = Zeroizing::new(opened.map_err(|_| SealBroken)?);
        let secret = <[u8; SECRET_BYTES]>::try_from(opened.as_slice()).map_err(|_| SealBroken)?;
        Ok(Zeroizing::new(secret))
    }
}

/// Returns the number of the period in which an instant lies.
pub fn step_at(now: Timestamp) -> u64 {
    u64::try_from(now.unix_ms().div_euclid(PERIOD_S * 1_000)).unwrap_or(0)
}

/// Lists the periods whose codes serve at an instant; the present one first.
pub fn steps_at(now: Timestamp) -> [u64; 3] {
    let step = step_at(now);
    [step, step.saturating_sub(DRIFT), step.saturating_add(DRIFT)]
}

/// Computes the code of a period.
pub fn code(secret: &[u8], step: u64) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = <Hmac<Sha1> as Mac>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(&step.to_be_bytes());
    let tag = mac.finalize().into_bytes();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
    let four = tag.iter().skip(offset).take(4);
    let number = four.fold(0u32, |number, byte| (number << 8) | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0width$}", number % 10u32.pow(6), width = CODE_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(seconds * 1_000)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, its last six digits.
        let secret = b"12345678901234567890";
        for (seconds, wanted) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, step_at(at(seconds))), wanted, "{seconds}");
        }
    }

    #[test]
    fn codes_are_those_of_rfc_4226() {
        // Appendix D.
        let secret = b"12345678901234567890";
        let wanted = ["755224", "287082", "359152", "969429", "338314"];
        for (step, wanted) in wanted.iter().enumerate() {
            assert_eq!(code(secret, step as u64), *wanted);
        }
    }

    #[test]
    fn the_periods_beside_the_present_one_serve() {
        assert_eq!(steps_at(at(59)), [1, 0, 2]);
        assert_eq!(steps_at(at(60)), [2, 1, 3]);
    }

    #[test]
    fn a_sealed_secret_opens_for_its_operator_under_its_key_only() {
        let (ada, bob) = (OperatorId::from_bytes([1; 16]), OperatorId::from_bytes([2; 16]));
        let (sealer, other) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        let secret = Zeroizing::new([9; SECRET_BYTES]);
        let sealed = sealer.seal(&ada, &secret, [3; NONCE_BYTES]).unwrap();
        assert_eq!(sealer.open(&ada, &sealed), Ok(secret));
        assert_eq!(sealer.open(&bob, &sealed), Err(SealBroken));
        assert_eq!(other.open(&ada, &sealed), Err(SealBroken));
        assert_eq!(sealer.open(&ada, &sealed[..8]), Err(SealBroken));
        assert!(!sealed.windows(4).any(|bytes| bytes == [9; 4]));
    }
}
