//! Who this device is: its keys, what it pins, and what it connects with.
//!
//! The one module that touches keys. [`files`] keeps an identity on disk, [`api`] speaks HTTPS with the server, [`enrol`]
//! obtains an identity, [`renew`] keeps it fresh and [`rotate`] gives it a new key.

pub mod api;
pub mod enrol;
pub mod files;
pub mod host;
pub mod renew;
pub mod rotate;

use crate::core::Sealer;
use crate::random::{self, RandomError};
use borealis_bus_schema::codec::CodecError;
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, Signed, sign};
use borealis_bus_schema::messages::device::{Hello, RunResult};
use borealis_bus_schema::messages::enrollment::{Credentials, Trust};
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::order::KeySet;
use borealis_bus_schema::{ids::Guid, words::words};
use ed25519_dalek::SigningKey;
use std::sync::Arc;
use x25519_dalek::{PublicKey as ExchangePublic, StaticSecret};

/// Holds a device's private keys.
#[derive(Clone)]
pub struct DeviceKeys {
    identity: Arc<SigningKey>,
    exchange: Arc<StaticSecret>,
}

impl DeviceKeys {
    /// Draws new keys.
    ///
    /// Errors: [`RandomError`].
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::of_seeds(random::bytes()?, random::bytes()?))
    }

    /// Makes the keys of their seeds.
    pub fn of_seeds(identity: [u8; 32], exchange: [u8; 32]) -> Self {
        Self {
            identity: Arc::new(SigningKey::from_bytes(&identity)),
            exchange: Arc::new(StaticSecret::from(exchange)),
        }
    }

    /// Returns the seed of the identity key and the X25519 secret; only for keeping them.
    pub fn seeds(&self) -> ([u8; 32], [u8; 32]) {
        (self.identity.to_bytes(), self.exchange.to_bytes())
    }

    /// Returns the identity's public key.
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.identity)
    }

    /// Returns the X25519 public key.
    pub fn exchange_public(&self) -> PublicKey {
        PublicKey::from_bytes(ExchangePublic::from(&*self.exchange).to_bytes())
    }

    /// Returns the identity's fingerprint as short words.
    pub fn words(&self) -> String {
        words(&self.public().fingerprint())
    }

    /// Signs a form.
    pub fn sign(&self, form: Form, fields: &[&[u8]]) -> SignatureBytes {
        sign(&self.identity, form, fields)
    }

    /// Makes the bus's key pair, which is the identity.
    ///
    /// Errors: the library's text; it does not happen for 32 bytes.
    pub fn bus_key(&self) -> Result<nkeys::KeyPair, nkeys::error::Error> {
        nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, self.identity.to_bytes())
    }
}

impl std::fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKeys({})", self.public().fingerprint())
    }
}

impl Sealer for DeviceKeys {
    fn result(&self, result: &RunResult) -> Result<Signed, CodecError> {
        Signed::seal(&self.identity, Form::Result, result)
    }
    fn hello(&self, hello: &Hello) -> Result<Signed, CodecError> {
        Signed::seal(&self.identity, Form::Hello, hello)
    }
    fn facts(&self, facts: &Facts) -> Result<Signed, CodecError> {
        Signed::seal(&self.identity, Form::Facts, facts)
    }
    fn again(&self, result: &Signed) -> Signed {
        Signed {
            bytes: result.bytes.clone(),
            signature: self.sign(Form::Result, &[&result.bytes]),
        }
    }
}

/// Is an enrolled device.
#[derive(Clone)]
pub struct Device {
    /// Its private keys.
    pub keys: DeviceKeys,
    /// Its name for good.
    pub guid: Guid,
    /// What it pins.
    pub trust: Trust,
    /// The newest key set that it accepted, opened.
    pub key_set: KeySet,
    /// What it connects with.
    pub credentials: Credentials,
    /// Keys that were drawn to take the place of its own; whether the server took them is not known.
    pub next: Option<DeviceKeys>,
}
