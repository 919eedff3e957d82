//! The order: everything a device does on request, signed for exactly this device, run and time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{self, CodecError};
use crate::codes::Code;
use crate::forms::{Form, PublicKey, SignatureBytes, Signed, VerifyError, sha256, sign};
use crate::ids::{Guid, OrderId, RoleName, RunId, VerbName};
use crate::merkle;
use crate::time::Timestamp;

/// Is the longest time for which an order may be valid, in milliseconds: 24 hours.
pub const MAX_VALIDITY_MS: i64 = 24 * 3_600_000;

/// Is how far the clocks of server and device may differ, in milliseconds.
pub const CLOCK_SKEW_MS: i64 = 60_000;

/// Names the rights with which an agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Context {
    /// Root, or LocalSystem.
    #[serde(rename = "SYSTEM")]
    System,
    /// The logged-in user.
    #[serde(rename = "CURRENTUSER")]
    CurrentUser,
}

impl Context {
    /// Returns the context's text, which is also its folder under the agent's identities.
    pub const fn as_str(self) -> &'static str {
        match self {
            Context::System => "SYSTEM",
            Context::CurrentUser => "CURRENTUSER",
        }
    }
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Context {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "SYSTEM" => Ok(Context::System),
            "CURRENTUSER" => Ok(Context::CurrentUser),
            other => Err(format!("{other:?} is no context: SYSTEM or CURRENTUSER")),
        }
    }
}

/// Names the language of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// POSIX shell.
    Sh,
    /// Bash.
    Bash,
    /// Python 3.
    Python,
    /// PowerShell 7, where `pwsh` exists.
    Powershell,
    /// Batch files, where `cmd.exe` exists.
    Batch,
}

impl Language {
    /// Lists every language.
    pub const ALL: [Language; 5] = [
        Language::Sh,
        Language::Bash,
        Language::Python,
        Language::Powershell,
        Language::Batch,
    ];

    /// Returns the language's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Language::Sh => "sh",
            Language::Bash => "bash",
            Language::Python => "python",
            Language::Powershell => "powershell",
            Language::Batch => "batch",
        }
    }
}

impl std::str::FromStr for Language {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Language::ALL
            .into_iter()
            .find(|l| l.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no language: sh, bash, python, powershell or batch"))
    }
}

/// Is what a device is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OrderBody {
    /// Answers that it lives: the no-op.
    Ping,
    /// Runs a script.
    Script(ScriptBody),
    /// Ends a run, whatever it is doing.
    Cancel {
        /// The run to end.
        run: RunId,
    },
}

/// Holds a script with everything that decides what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptBody {
    /// The interpreter.
    pub language: Language,
    /// The text, handed to the interpreter byte by byte.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
    /// SHA-256 of the text; the library's name for it.
    pub digest: Digest,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment variables added to the agent's small set.
    pub env: BTreeMap<String, EnvValue>,
    /// When the process tree is ended, counted from its start.
    pub timeout_ms: u64,
    /// How much output is kept, stdout and stderr together.
    pub output_limit_bytes: u64,
}

/// Is the value of an environment variable: any bytes but zero.
///
/// Shape: a text where it is UTF-8, else a map with the one entry `base64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EnvValue(Vec<u8>);

impl EnvValue {
    /// Makes a value of bytes.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// Returns the value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Tells whether a process could not be given it.
    pub fn has_zero(&self) -> bool {
        self.0.contains(&0)
    }
}

impl From<&str> for EnvValue {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}
impl From<String> for EnvValue {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}
impl std::fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InBase64 {
    base64: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(InBase64),
}

impl Serialize for EnvValue {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => InBase64 {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(s),
        }
    }
}
impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Written::deserialize(d)? {
            Written::Text(text) => Ok(text.into()),
            Written::Bytes(InBase64 { base64 }) => STANDARD
                .decode(base64)
                .map(Self)
                .map_err(|_| serde::de::Error::custom("a value's base64 cannot be read")),
        }
    }
}

/// Holds a SHA-256 digest.
///
/// Shape: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digests bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}
impl std::str::FromStr for Digest {
    type Err = crate::ids::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 32];
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match (lower, hex::decode_to_slice(text, &mut bytes)) {
            (true, Ok(())) => Ok(Self(bytes)),
            _ => Err(crate::ids::IdError::Malformed {
                kind: "Digest",
                expected: "64 lower-case hex digits",
                text: text.chars().take(64).collect(),
            }),
        }
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Names a code-signing key: the first 8 bytes of its fingerprint.
pub fn key_id(key: &PublicKey) -> String {
    key.fingerprint().chars().take(16).collect()
}

/// Is one order, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// This order.
    pub order: OrderId,
    /// The run it belongs to.
    pub run: RunId,
    /// Which try of the run.
    pub attempt: u32,
    /// The device it is for.
    pub guid: Guid,
    /// The rights with which to act.
    pub context: Context,
    /// The role that acts.
    pub role: RoleName,
    /// What it does.
    pub verb: VerbName,
    /// With what.
    pub body: OrderBody,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it may no longer be begun.
    pub expires_at: Timestamp,
    /// The key that signs the batch.
    pub key_id: String,
}

/// Is an order as it reaches the device: its exact bytes, its place in the signed batch, the batch's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// The canonical CBOR of the [`Order`].
    #[serde(with = "serde_bytes")]
    pub order: Vec<u8>,
    /// The order's place in the batch.
    pub index: u32,
    /// How many orders the batch has.
    pub size: u32,
    /// The neighbours on the way to the root, 32 bytes each, one behind the other.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// The key that signed the root; a name only, the key itself is pinned.
    pub key_id: String,
    /// The signature over root and size.
    pub signature: SignatureBytes,
}

/// Says why an order is refused.
#[derive(Debug, Error)]
pub enum OrderError {
    /// The bytes are no order.
    #[error("the order cannot be read")]
    Codec(#[source] CodecError),
    /// The bytes encode differently again.
    #[error("the order is not in canonical form")]
    NotCanonical,
    /// No pinned key has that name.
    #[error("the order names a key that this device does not pin")]
    KeyUnknown,
    /// The signature does not fit.
    #[error("the order's signature does not fit")]
    Signature(#[source] VerifyError),
    /// The path does not lead anywhere.
    #[error("the order's place in its batch does not fit")]
    Path,
    /// It is for another device.
    #[error("the order is for another device")]
    WrongDevice,
    /// It is for another context.
    #[error("the order is for another context")]
    WrongContext,
    /// It came on another subject.
    #[error("the order came on another subject than its own")]
    WrongSubject,
    /// It is over.
    #[error("the order expired at {expires_at}")]
    Expired {
        /// When it ended.
        expires_at: Timestamp,
    },
    /// It has not begun.
    #[error("the order is valid from {issued_at}")]
    NotYetValid {
        /// When it begins.
        issued_at: Timestamp,
    },
    /// It is valid for too long.
    #[error("the order is valid for longer than a day")]
    TooLongValid,
}

impl OrderError {
    /// Returns the stable code of the refusal.
    pub fn code(&self) -> Code {
        match self {
            OrderError::Codec(error) if error.code() == Code::TooLarge => Code::TooLarge,
            OrderError::Codec(error) if error.code() == Code::TooDeep => Code::TooDeep,
            OrderError::Codec(_) => Code::OrderMalformed,
            OrderError::NotCanonical => Code::OrderNotCanonical,
            OrderError::KeyUnknown => Code::OrderKeyUnknown,
            OrderError::Signature(_) | OrderError::Path => Code::OrderSignatureInvalid,
            OrderError::WrongDevice => Code::OrderWrongDevice,
            OrderError::WrongContext => Code::OrderWrongContext,
            OrderError::WrongSubject => Code::OrderWrongSubject,
            OrderError::Expired { .. } => Code::OrderExpired,
            OrderError::NotYetValid { .. } => Code::OrderNotYetValid,
            OrderError::TooLongValid => Code::OrderTooLongValid,
        }
    }
}

impl From<CodecError> for OrderError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::NotCanonical => OrderError::NotCanonical,
            other => OrderError::Codec(other),
        }
    }
}

/// Signs a batch of orders with one signature.
///
/// Shape: the signed fields are the Merkle root (32 bytes) and the batch's size (u32, big endian), under
/// [`Form::OrderBatch`].
///
/// Errors: the codec's for an order that is too large, and [`OrderError::Path`] for an empty batch or one of more than
/// [`merkle::MAX_LEAVES`].
pub fn sign_batch(key: &SigningKey, orders: &[Order]) -> Result<Vec<SignedOrder>, OrderError> {
    let encoded = orders.iter().map(codec::encode).collect::<Result<Vec<_>, _>>()?;
    let tree = merkle::Tree::new(encoded.iter().map(|bytes| merkle::leaf(bytes)).collect()).ok_or(OrderError::Path)?;
    let size = u32::try_from(tree.size()).map_err(|_| OrderError::Path)?;
    let signature = sign(key, Form::OrderBatch, &[&tree.root(), &size.to_be_bytes()]);
    let key_id = key_id(&PublicKey::of(key));
    let sealed = (0u32..).zip(encoded).map(|(index, order)| SignedOrder {
        order,
        index,
        size,
        path: tree.path(index as usize).concat(),
        key_id: key_id.clone(),
        signature,
    });
    Ok(sealed.collect())
}

/// Is what a device compares an order with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The device's own GUID.
    pub guid: &'a Guid,
    /// The contexts that this agent has.
    pub contexts: &'a [Context],
    /// The role in the subject the order came on.
    pub role: &'a RoleName,
    /// The verb in the subject the order came on.
    pub verb: &'a VerbName,
    /// The server's time as the device knows it.
    pub now: Timestamp,
}

impl SignedOrder {
    /// Verifies the batch's signature with pinned keys, then that the order is in it, canonical, for this device and
    /// context, on this subject, and valid now.
    ///
    /// Errors: the first rule of [`OrderError`] that the order breaks. Whether it was seen before is the journal's to say.
    pub fn verify(&self, pinned: &KeySet, expected: Expected<'_>) -> Result<Order, OrderError> {
        let key = pinned.key(&self.key_id).ok_or(OrderError::KeyUnknown)?;
        let (path, rest) = self.path.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(OrderError::Path);
        }
        let root = merkle::root_of(merkle::leaf(&self.order), self.index as usize, self.size as usize, path)
            .ok_or(OrderError::Path)?;
        key.verify(Form::OrderBatch, &[&root, &self.size.to_be_bytes()], &self.signature)
            .map_err(OrderError::Signature)?;
        let order: Order = codec::decode_canonical(&self.order)?;
        if order.key_id != self.key_id {
            return Err(OrderError::KeyUnknown);
        }
        order.check(expected)?;
        Ok(order)
    }
}

impl Order {
    /// Checks an authentic order against the device, the subject and the time.
    ///
    /// Errors: the first rule that it breaks.
    pub fn check(&self, expected: Expected<'_>) -> Result<(), OrderError> {
        if self.guid != *expected.guid {
            return Err(OrderError::WrongDevice);
        }
        if !expected.contexts.contains(&self.context) {
            return Err(OrderError::WrongContext);
        }
        if self.role != *expected.role || self.verb != *expected.verb {
            return Err(OrderError::WrongSubject);
        }
        if self.expires_at.since_ms(self.issued_at) > MAX_VALIDITY_MS {
            return Err(OrderError::TooLongValid);
        }
        if self.issued_at.since_ms(expected.now) > CLOCK_SKEW_MS {
            return Err(OrderError::NotYetValid {
                issued_at: self.issued_at,
            });
        }
        if expected.now >= self.expires_at {
            return Err(OrderError::Expired {
                expires_at: self.expires_at,
            });
        }
        Ok(())
    }
}

/// Is the set of keys that may sign orders; valid only when the code-signing root signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// Counts up; an older set never replaces a newer one.
    pub version: u64,
    /// The keys in use.
    pub keys: Vec<PublicKey>,
    /// When the set ends.
    pub expires_at: Timestamp,
}

impl KeySet {
    /// Finds a key by its name.
    pub fn key(&self, id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key_id(key) == id)
    }

    /// Opens a key set that the root signed.
    ///
    /// Errors: as [`Signed::open`].
    pub fn open(signed: &Signed, root: &PublicKey) -> Result<Self, crate::forms::OpenError> {
        signed.open(root, Form::KeySet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }
    fn guid() -> Guid {
        Guid::from_random([5; 16])
    }
    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000 + ms)
    }
    fn keys() -> KeySet {
        KeySet {
            version: 1,
            keys: vec![PublicKey::of(&signer())],
            expires_at: at(1 << 40),
        }
    }
    fn order() -> Order {
        Order {
            order: OrderId::from_bytes([1; 16]),
            run: RunId::from_bytes([2; 16]),
            attempt: 1,
            guid: guid(),
            context: Context::System,
            role: RoleName::new("script").unwrap(),
            verb: VerbName::new("run").unwrap(),
            body: OrderBody::Script(ScriptBody {
                language: Language::Sh,
                script: b"echo hi".to_vec(),
                digest: Digest::of(b"echo hi"),
                args: vec!["a".into()],
                env: BTreeMap::from([("K".into(), "v".into())]),
                timeout_ms: 60_000,
                output_limit_bytes: 10 << 20,
            }),
            issued_at: at(0),
            expires_at: at(3_600_000),
            key_id: key_id(&PublicKey::of(&signer())),
        }
    }
    fn verify(signed: &SignedOrder, now: Timestamp) -> Result<Order, OrderError> {
        let (role, verb) = (RoleName::new("script").unwrap(), VerbName::new("run").unwrap());
        signed.verify(
            &keys(),
            Expected {
                guid: &guid(),
                contexts: &[Context::System],
                role: &role,
                verb: &verb,
                now,
            },
        )
    }
    fn code(result: Result<Order, OrderError>) -> Code {
        result.unwrap_err().code()
    }

    #[test]
    fn a_signed_order_is_accepted_in_any_place_of_a_batch() {
        let batch: Vec<Order> = (0..9).map(|n| Order { attempt: n, ..order() }).collect();
        for (signed, order) in sign_batch(&signer(), &batch).unwrap().iter().zip(&batch) {
            assert_eq!(verify(signed, at(1)).unwrap(), *order);
        }
    }

    #[test]
    fn every_single_byte_of_the_order_is_covered() {
        let signed = sign_batch(&signer(), &[order(), order()]).unwrap().remove(0);
        for place in 0..signed.order.len() {
            let mut other = signed.clone();
            other.order[place] ^= 1;
            assert_eq!(code(verify(&other, at(1))), Code::OrderSignatureInvalid, "byte {place}");
        }
        for place in 0..64 {
            let mut bytes = *signed.signature.as_bytes();
            bytes[place] ^= 1;
            let other = SignedOrder {
                signature: SignatureBytes::from_bytes(bytes),
                ..signed.clone()
            };
            assert_eq!(code(verify(&other, at(1))), Code::OrderSignatureInvalid);
        }
    }

    #[test]
    fn time_device_context_and_subject_are_checked() {
        let sign = |o: Order| sign_batch(&signer(), &[o]).unwrap().remove(0);
        assert_eq!(code(verify(&sign(order()), at(3_600_000))), Code::OrderExpired);
        assert_eq!(code(verify(&sign(order()), at(-60_001))), Code::OrderNotYetValid);
        assert_eq!(
            code(verify(
                &sign(Order {
                    expires_at: at(MAX_VALIDITY_MS + 1),
                    ..order()
                }),
                at(1)
            )),
            Code::OrderTooLongValid
        );
        assert_eq!(
            code(verify(
                &sign(Order {
                    guid: Guid::from_random([6; 16]),
                    ..order()
                }),
                at(1)
            )),
            Code::OrderWrongDevice
        );
        assert_eq!(
            code(verify(
                &sign(Order {
                    context: Context::CurrentUser,
                    ..order()
                }),
                at(1)
            )),
            Code::OrderWrongContext
        );
        assert_eq!(
            code(verify(
                &sign(Order {
                    verb: VerbName::new("other").unwrap(),
                    ..order()
                }),
                at(1)
            )),
            Code::OrderWrongSubject
        );
    }

    #[test]
    fn a_key_that_is_not_pinned_moves_nothing() {
        let thief = SigningKey::from_bytes(&[4; 32]);
        let stolen = Order {
            key_id: key_id(&PublicKey::of(&thief)),
            ..order()
        };
        assert_eq!(
            code(verify(&sign_batch(&thief, &[stolen]).unwrap()[0], at(1))),
            Code::OrderKeyUnknown
        );
        let mut renamed = sign_batch(&thief, &[order()]).unwrap().remove(0);
        renamed.key_id = key_id(&PublicKey::of(&signer()));
        assert_eq!(code(verify(&renamed, at(1))), Code::OrderSignatureInvalid);
    }

    #[test]
    fn bytes_that_encode_differently_again_are_refused() {
        let mut bytes = codec::encode(&order()).unwrap();
        let place = bytes.windows(8).position(|w| w == b"\x67attempt").unwrap() + 8;
        bytes.splice(place..=place, [0x18, 0x01]);
        let tree = merkle::Tree::new(vec![merkle::leaf(&bytes)]).unwrap();
        let signature = sign(&signer(), Form::OrderBatch, &[&tree.root(), &1u32.to_be_bytes()]);
        let signed = SignedOrder {
            order: bytes,
            index: 0,
            size: 1,
            path: vec![],
            key_id: order().key_id,
            signature,
        };
        assert_eq!(code(verify(&signed, at(1))), Code::OrderNotCanonical);
    }

    #[test]
    fn a_key_set_needs_the_roots_signature() {
        let root = SigningKey::from_bytes(&[7; 32]);
        let signed = Signed::seal(&root, Form::KeySet, &keys()).unwrap();
        assert_eq!(KeySet::open(&signed, &PublicKey::of(&root)).unwrap(), keys());
        let by_old_key = Signed::seal(&signer(), Form::KeySet, &keys()).unwrap();
        assert!(KeySet::open(&by_old_key, &PublicKey::of(&root)).is_err());
    }
}
