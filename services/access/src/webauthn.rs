//! Verifies what authenticators answer, step by step as WebAuthn names them. Pure: bytes in, a verdict out.
//!
//! The challenge comes from [`borealis_bus_schema::passkey`]: it binds what the passkey is asked for. Everything else that an
//! assertion says is checked here: kind, page, server, that a person was there and was recognised, and the signature. The
//! counter is left to the decision, which knows the last one. No attestation is asked for: what kind of authenticator it is
//! is its owner's choice, and the request that registers it is signed by the owner's session key.
//!
//! Shape: an authenticator's data is SHA-256 of the server's name (32 bytes), flags (1), counter (4, big endian), and when a
//! passkey was made: AAGUID (16), length (2, big endian) and bytes of its name, its public key as a COSE map.
//!
//! Source: WebAuthn Level 2, sections 6.1, 7.1 and 7.2; RFC 9053 for COSE keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::reply::WireError;
use ring::agreement::{self, ECDH_P256, EphemeralPrivateKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Is the longest name that an authenticator may give a passkey, in bytes.
///
/// Source: WebAuthn Level 2, section 7.1, step 17 (Level 3 states the limit).
pub const MAX_CREDENTIAL_BYTES: usize = 1_023;

/// Is the largest answer of an authenticator that is read, in bytes: an RSA key of 8,192 bits has about one KiB.
const MAX_ANSWER_BYTES: usize = 8_192;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// States why an authenticator's answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error("the answer of the authenticator cannot be read: {0}")]
    Malformed(&'static str),
    /// It was given for something else.
    #[error("the answer is of another kind of ceremony")]
    Kind,
    /// It answers another challenge.
    #[error("the answer is to another challenge")]
    Challenge,
    /// It was given on another page.
    #[error("the answer was given on another page than this server's")]
    Origin,
    /// It was given in a frame of another page.
    #[error("the answer was given in a frame of another page")]
    Frame,
    /// It is for another server.
    #[error("the passkey is for another server")]
    Server,
    /// Nobody was there.
    #[error("the authenticator did not see a person")]
    NotPresent,
    /// The authenticator did not recognise its owner.
    #[error("the authenticator did not check who uses it")]
    NotVerified,
    /// The key is of no kind that is taken.
    #[error("the passkey's key is neither ES256 nor RS256")]
    Algorithm,
    /// The signature does not fit.
    #[error("the passkey's signature does not fit")]
    Signature,
}

impl Refused {
    /// Returns the stable code.
    pub const fn code(self) -> Code {
        match self {
            Refused::Malformed(_) | Refused::Kind | Refused::Algorithm | Refused::Signature => Code::PasskeyInvalid,
            Refused::Challenge => Code::PasskeyChallenge,
            Refused::Origin | Refused::Frame | Refused::Server => Code::PasskeyOrigin,
            Refused::NotPresent | Refused::NotVerified => Code::PasskeyUnverified,
        }
    }
}

impl From<Refused> for WireError {
    fn from(refused: Refused) -> Self {
        WireError::new(refused.code(), refused.to_string())
    }
}

/// Knows the names of this server that passkeys can be for, and the pages that are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    names: BTreeSet<String>,
    port: Option<u16>,
}

impl Places {
    /// Makes them from the public names and the port of the web page; 0 stands for one that the system chose.
    ///
    /// Addresses are left out: a passkey is for a name. `localhost` is in every certificate of a server.
    pub fn new(names: &[String], port: u16) -> Self {
        let names = names.iter().map(|name| name.to_lowercase());
        Self {
            names: names
                .filter(|name| name.parse::<IpAddr>().is_err())
                .chain(["localhost".to_owned()])
                .collect(),
            port: (port != 0).then_some(port),
        }
    }

    /// Returns the name that a passkey is for when the page was reached by a host.
    ///
    /// Source: WebAuthn Level 2, section 5.1.3, steps 7 and 8: the origin's host when it is a domain.
    pub fn rp_id(&self, host: &str) -> Option<&str> {
        let host = host.to_lowercase();
        self.names.get(&host).map(String::as_str)
    }

    /// Tells whether an origin is that of this server's page under a name.
    fn is_origin(&self, rp_id: &str, origin: &str) -> bool {
        let Some(rest) = origin
            .strip_prefix("https://")
            .and_then(|rest| rest.strip_prefix(rp_id))
        else {
            return false;
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => Some(443),
            None => None,
            Some(digits) => digits.parse().ok(),
        };
        // A port that the system chose is not known here; then every port of the name counts.
        port.is_some_and(|port| self.port.is_none_or(|own| own == port))
    }
}

/// Is what an answer has to be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The server's pages.
    pub places: &'a Places,
    /// The name that the passkey has to be for.
    pub rp_id: &'a str,
    /// The challenge.
    pub challenge: [u8; 32],
}

/// Is a passkey that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The authenticator's name for it.
    pub credential: Vec<u8>,
    /// Its public key, a COSE map.
    pub key: Vec<u8>,
    /// Its counter.
    pub counter: u32,
}

/// Verifies what an authenticator answers when it made a passkey.
///
/// Errors: [`Refused`].
///
/// Source: WebAuthn Level 2, section 7.1, steps 7 to 17, without attestation.
pub fn made(expected: &Expected<'_>, client_data: &[u8], authenticator_data: &[u8]) -> Result<Made, Refused> {
    said_by_browser(expected, "webauthn.create", client_data)?;
    let said = said_by_authenticator(expected, authenticator_data)?;
    if said.flags & HAS_CREDENTIAL == 0 {
        return Err(Refused::Malformed("it has no key"));
    }
    let short = Refused::Malformed("the key is cut off");
    let (_aaguid, rest) = said.rest.split_at_checked(16).ok_or(short)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if !(1..=MAX_CREDENTIAL_BYTES).contains(&length) {
        return Err(Refused::Malformed("the passkey's name is too long, or empty"));
    }
    let (credential, rest) = rest.split_at_checked(length).ok_or(short)?;
    let (read, behind) = Key::first(rest)?;
    read.check()?;
    let key = rest.get(..rest.len().saturating_sub(behind.len())).unwrap_or_default();
    if said.flags & HAS_EXTENSIONS == 0 {
        ends(behind)?;
    } else {
        let extensions = codec::decode_limited::<IgnoredAny>(behind, MAX_ANSWER_BYTES);
        extensions.map_err(|_| Refused::Malformed("its extensions are none"))?;
    }
    Ok(Made {
        credential: credential.to_vec(),
        key: key.to_vec(),
        counter: said.counter,
    })
}

/// Verifies what an authenticator answers by a passkey that it has; returns its counter.
///
/// Errors: [`Refused`].
///
/// Source: WebAuthn Level 2, section 7.2, steps 11 to 20.
pub fn asserted(
    expected: &Expected<'_>,
    key: &[u8],
    client_data: &[u8],
    authenticator_data: &[u8],
    signature: &[u8],
) -> Result<u32, Refused> {
    said_by_browser(expected, "webauthn.get", client_data)?;
    let said = said_by_authenticator(expected, authenticator_data)?;
    if said.flags & (HAS_CREDENTIAL | HAS_EXTENSIONS) == 0 {
        ends(said.rest)?;
    }
    let (key, behind) = Key::first(key)?;
    ends(behind)?;
    key.verify(&[authenticator_data, &sha256(client_data)].concat(), signature)?;
    Ok(said.counter)
}

/// Checks what the browser says: the kind of ceremony, the challenge, and the page.
///
/// Source: sections 7.1 and 7.2, steps 7 to 9 and 11 to 13.
fn said_by_browser(expected: &Expected<'_>, kind: &str, client_data: &[u8]) -> Result<(), Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ClientData {
        #[serde(rename = "type")]
        kind: String,
        challenge: String,
        origin: String,
        #[serde(default)]
        cross_origin: Option<bool>,
    }
    let said: ClientData = codec::decode_json(client_data, MAX_ANSWER_BYTES)
        .map_err(|_| Refused::Malformed("the browser's part is no JSON of its kind"))?;
    if said.kind != kind {
        return Err(Refused::Kind);
    }
    let challenge = URL_SAFE_NO_PAD.decode(&said.challenge);
    if challenge.ok().as_deref() != Some(expected.challenge.as_slice()) {
        return Err(Refused::Challenge);
    }
    if !expected.places.is_origin(expected.rp_id, &said.origin) {
        return Err(Refused::Origin);
    }
    if said.cross_origin == Some(true) {
        return Err(Refused::Frame);
    }
    Ok(())
}

/// Is what an authenticator says, up to what it says of a new key.
struct Said<'a> {
    flags: u8,
    counter: u32,
    rest: &'a [u8],
}

/// Checks what the authenticator says: the server, and that its owner was there and was recognised.
///
/// Source: sections 7.1, steps 13 to 15, and 7.2, steps 15 to 17.
fn said_by_authenticator<'a>(expected: &Expected<'_>, data: &'a [u8]) -> Result<Said<'a>, Refused> {
    let short = Refused::Malformed("the authenticator's part is cut off");
    if data.len() > MAX_ANSWER_BYTES {
        return Err(Refused::Malformed("the authenticator's part is too long"));
    }
    let (server, rest) = data.split_first_chunk::<32>().ok_or(short)?;
    let (flags, rest) = rest.split_first().ok_or(short)?;
    let (counter, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
    if *server != sha256(expected.rp_id.as_bytes()) {
        return Err(Refused::Server);
    }
    if flags & USER_PRESENT == 0 {
        return Err(Refused::NotPresent);
    }
    if flags & USER_VERIFIED == 0 {
        return Err(Refused::NotVerified);
    }
    Ok(Said {
        flags: *flags,
        counter: u32::from_be_bytes(*counter),
        rest,
    })
}

const fn ends(behind: &[u8]) -> Result<(), Refused> {
    if behind.is_empty() {
        Ok(())
    } else {
        Err(Refused::Malformed("something stands behind its end"))
    }
}

/// Is a passkey's public key.
enum Key {
    /// ECDSA on P-256 with SHA-256: an uncompressed point.
    Es256([u8; 65]),
    /// RSASSA-PKCS1-v1_5 with SHA-256, of at least 2,048 bits: modulus and exponent.
    Rs256(Vec<u8>, Vec<u8>),
}

/// Is a value of a COSE key that matters here.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Number(i64),
    Bytes(serde_bytes::ByteBuf),
    Other(IgnoredAny),
}

impl Key {
    /// Reads the key at the beginning of bytes; returns what stands behind it.
    ///
    /// Source: RFC 9053, section 7; RFC 8230, section 4.
    fn first(bytes: &[u8]) -> Result<(Self, &[u8]), Refused> {
        let (fields, behind): (BTreeMap<i64, Field>, _) =
            codec::decode_first(bytes, MAX_ANSWER_BYTES).map_err(|_| Refused::Malformed("the key is no COSE key"))?;
        let number = |label: i64| match fields.get(&label) {
            Some(Field::Number(number)) => Some(*number),
            _ => None,
        };
        let bytes = |label: i64| match fields.get(&label) {
            Some(Field::Bytes(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        let key = match (number(1), number(3), number(-1), bytes(-2), bytes(-3)) {
            (Some(2), Some(-7), Some(1), Some(x), Some(y)) if x.len() == 32 && y.len() == 32 => {
                let point = [&[4], x, y].concat();
                <[u8; 65]>::try_from(point).ok().map(Self::Es256)
            }
            (Some(3), Some(-257), None, Some(exponent), None) => {
                bytes(-1).map(|modulus| Self::Rs256(modulus.to_vec(), exponent.to_vec()))
            }
            _ => None,
        };
        key.map(|key| (key, behind)).ok_or(Refused::Algorithm)
    }

    /// Checks that it can verify anything: a passkey whose key cannot would be kept, and never let its owner in.
    ///
    /// Errors: [`Refused::Malformed`] for a point that is not on the curve, and for a modulus or an exponent that
    /// [`RSA_PKCS1_2048_8192_SHA256`] takes of nobody.
    fn check(&self) -> Result<(), Refused> {
        match self {
            Key::Es256(point) => {
                let broken = Refused::Malformed("the key is no point of its curve");
                let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
                let ours = ours.map_err(|_| Refused::Malformed("the key cannot be tried"))?;
                // To agree on a secret with it is to have checked the point.
                let theirs = agreement::UnparsedPublicKey::new(&ECDH_P256, point);
                agreement::agree_ephemeral(ours, &theirs, |_| ()).map_err(|_| broken)
            }
            Key::Rs256(n, e) => {
                let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
                let bits = |number: &[u8]| match number.first() {
                    None | Some(0) => 0,
                    Some(first) => number.len() * 8 - first.leading_zeros() as usize,
                };
                let is_one = e.as_slice() == [1];
                let fits = is_odd(n) && (2_048..=8_192).contains(&bits(n));
                if fits && is_odd(e) && (2..=33).contains(&bits(e)) && !is_one {
                    Ok(())
                } else {
                    Err(Refused::Malformed("the key is no RSA key of 2,048 to 8,192 bits"))
                }
            }
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let verified = match self {
            Key::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Key::Rs256(n, e) => RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        verified.map_err(|_| Refused::Signature)
    }
}

#[cfg(test)]
mod tests;
