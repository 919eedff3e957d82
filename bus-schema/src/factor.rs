//! The second factor, as both ends of a password's proof see it.
//!
//! OPAQUE leaves the operator and access with one secret that nobody between them knows. What a second factor needs is made
//! from it on both sides and never sent: the secret of a new authenticator app, recovery codes, and the proof of a code, an
//! HMAC that is worth nothing to whoever carries it.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::forms::Form;
use crate::order::Digest;

/// Is how many bytes the secret of an authenticator app has.
///
/// Source: RFC 4226, section 4, R6.
pub const SECRET_BYTES: usize = 20;

/// Is how many digits a code of an authenticator app has.
pub const CODE_DIGITS: usize = 6;

/// Is how long a code of an authenticator app holds, in seconds.
pub const PERIOD_S: i64 = 30;

/// Is how many recovery codes are made at once.
pub const RECOVERY_CODES: u8 = 10;

/// Is how many random bytes are in a recovery code.
const RECOVERY_BYTES: usize = 10;

/// Says what kind of a second factor somebody has at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// A code of an authenticator app.
    Totp,
    /// One of the recovery codes.
    Recovery,
}

impl FactorKind {
    const fn as_str(self) -> &'static str {
        match self {
            FactorKind::Totp => "totp",
            FactorKind::Recovery => "recovery",
        }
    }
}

/// Proves a code to whoever knows the secret of the same exchange.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorProof {
    /// What kind of code it is.
    pub kind: FactorKind,
    /// HMAC-SHA256 with the secret of the exchange over the form `factor-proof` of kind and code, base64url.
    ///
    /// Of a recovery code its digest stands in the code's place, which is all that the other side has.
    pub tag: String,
}

/// Is a code as its owner has it at hand, in its one form.
#[derive(Clone, PartialEq, Eq)]
pub enum Factor {
    /// The digits that the app shows.
    Totp(String),
    /// The digest of a recovery code.
    Recovery(Digest),
}

impl Factor {
    /// Reads a code of an authenticator app; spaces do not count.
    pub fn totp(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let fits = digits.len() == CODE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then_some(Self::Totp(digits))
    }

    /// Reads a recovery code; capitals, spaces and hyphens do not count.
    pub fn recovery(text: &str) -> Option<Self> {
        let plain: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let bytes = BASE32_NOPAD.decode(plain.as_bytes()).ok()?;
        (bytes.len() == RECOVERY_BYTES).then(|| Self::Recovery(Digest::of(plain.as_bytes())))
    }

    const fn kind(&self) -> FactorKind {
        match self {
            Factor::Totp(_) => FactorKind::Totp,
            Factor::Recovery(_) => FactorKind::Recovery,
        }
    }

    fn mac(&self, exchange: &[u8]) -> Option<Hmac<Sha256>> {
        let text = match self {
            Factor::Totp(digits) => digits.clone(),
            Factor::Recovery(digest) => digest.to_string(),
        };
        let form = Form::FactorProof.bytes(&[self.kind().as_str().as_bytes(), text.as_bytes()]);
        keyed(exchange, &form)
    }

    /// Proves the code to whoever knows the secret of the exchange.
    pub fn prove(&self, exchange: &[u8]) -> FactorProof {
        let tag = self.mac(exchange).map(|mac| mac.finalize().into_bytes());
        FactorProof {
            kind: self.kind(),
            tag: tag.map_or_else(String::new, |tag| BASE64URL_NOPAD.encode(&tag)),
        }
    }

    /// Tells whether a proof is one of this code; the time it takes says nothing about the code.
    pub fn is_proved_by(&self, exchange: &[u8], proof: &FactorProof) -> bool {
        let Ok(tag) = BASE64URL_NOPAD.decode(proof.tag.as_bytes()) else {
            return false;
        };
        self.kind() == proof.kind && self.mac(exchange).is_some_and(|mac| mac.verify_slice(&tag).is_ok())
    }
}

/// Makes the secret of an authenticator app out of an exchange.
pub fn totp_secret(exchange: &[u8]) -> [u8; SECRET_BYTES] {
    piece(exchange, &Form::TotpSecret.bytes(&[]))
}

/// Makes recovery codes out of an exchange.
///
/// Shape: four groups of four characters of base32, with hyphens between.
pub fn recovery_codes(exchange: &[u8]) -> Vec<String> {
    let code = |number: u8| {
        let bytes: [u8; RECOVERY_BYTES] = piece(exchange, &Form::RecoveryCode.bytes(&[&[number]]));
        let text = BASE32_NOPAD.encode(&bytes);
        let groups: Vec<&str> = [0, 4, 8, 12].iter().filter_map(|at| text.get(*at..at + 4)).collect();
        groups.join("-")
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// Returns the address by which authenticator apps take a secret.
///
/// Shape: `otpauth://totp/Borealis:NAME@HOST?secret=…&issuer=Borealis&algorithm=SHA1&digits=6&period=30`.
pub fn otpauth(secret: &[u8], username: &str, host: &str) -> String {
    let account: String = format!("{username}@{host}")
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let secret = BASE32_NOPAD.encode(secret);
    format!(
        "otpauth://totp/Borealis:{account}?secret={secret}&issuer=Borealis&algorithm=SHA1&digits={CODE_DIGITS}&period={PERIOD_S}"
    )
}

fn keyed(exchange: &[u8], form: &[u8]) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(exchange).ok()?;
    mac.update(form);
    Some(mac)
}

fn piece<const N: usize>(exchange: &[u8], form: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    if let Some(mac) = keyed(exchange, form) {
        for (to, from) in out.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_proved_only_by_its_own_exchange_kind_and_text() {
        let code = Factor::totp("123 456").unwrap();
        let proof = code.prove(b"exchange");
        assert!(code.is_proved_by(b"exchange", &proof));
        assert!(!code.is_proved_by(b"another", &proof));
        assert!(!Factor::totp("123457").unwrap().is_proved_by(b"exchange", &proof));
        let other_kind = FactorProof {
            kind: FactorKind::Recovery,
            ..proof.clone()
        };
        assert!(!code.is_proved_by(b"exchange", &other_kind));
        for tag in ["", "?", "AAAA"] {
            let forged = FactorProof {
                tag: tag.to_owned(),
                ..proof.clone()
            };
            assert!(!code.is_proved_by(b"exchange", &forged), "{tag}");
        }
    }

    #[test]
    fn recovery_codes_differ_and_are_read_however_they_are_typed() {
        let codes = recovery_codes(b"exchange");
        let all: std::collections::BTreeSet<&String> = codes.iter().collect();
        assert_eq!((codes.len(), all.len()), (10, 10));
        assert_ne!(codes, recovery_codes(b"another"));
        let code = &codes[0];
        assert_eq!(code.len(), 19);
        let read = Factor::recovery(code).unwrap();
        let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert!(Factor::recovery(&typed).unwrap() == read);
        assert!(read.is_proved_by(b"exchange", &read.prove(b"exchange")));
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in ["", "12345", "1234567", "12345a", "12345\u{664}"] {
            assert!(Factor::totp(text).is_none(), "{text}");
        }
        for text in ["", "AAAA-AAAA-AAAA", "AAAA-AAAA-AAAA-AAA1", "AAAA-AAAA-AAAA-AAAA-AAAA"] {
            assert!(Factor::recovery(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_app_takes_the_secret_by_an_address() {
        let secret = totp_secret(b"exchange");
        assert_ne!(secret, totp_secret(b"another"));
        let address = otpauth(&secret, "ada", "fleet.example:5000");
        assert!(address.starts_with("otpauth://totp/Borealis:ada%40fleet.example%3A5000?secret="));
        assert!(address.ends_with("&issuer=Borealis&algorithm=SHA1&digits=6&period=30"));
    }
}
