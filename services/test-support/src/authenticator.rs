//! An authenticator in software, with the browser in front of it: makes one passkey and answers with it, as wrongly as a test
//! wants.
//!
//! Source: WebAuthn Level 2, sections 6.1, 6.3 and 5.8.1.

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::wait::TestError;

/// Is what browser and authenticator are shown.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The page's origin.
    pub origin: String,
    /// The server's name.
    pub rp_id: String,
    /// The challenge.
    pub challenge: [u8; 32],
    /// The authenticator's flags: 1 somebody was there, 4 it was the owner.
    pub flags: u8,
    /// What the browser says that it is for; none for what it is for.
    pub kind: Option<String>,
    /// What the browser says besides.
    pub besides: Value,
}

impl Seen {
    /// Shows what an honest browser shows, of an owner who is there.
    pub fn well(origin: &str, rp_id: &str, challenge: [u8; 32]) -> Self {
        Self {
            origin: origin.to_owned(),
            rp_id: rp_id.to_owned(),
            challenge,
            flags: 1 | 4,
            kind: None,
            besides: json!({}),
        }
    }

    fn client_data(&self, kind: &str) -> Vec<u8> {
        let mut said = json!({
            "type": self.kind.as_deref().unwrap_or(kind), "challenge": BASE64URL_NOPAD.encode(&self.challenge),
            "origin": self.origin, "crossOrigin": false,
        });
        if let (Some(said), Some(besides)) = (said.as_object_mut(), self.besides.as_object()) {
            said.extend(besides.clone());
        }
        said.to_string().into_bytes()
    }

    fn authenticator_data(&self, flags: u8, counter: u32) -> Vec<u8> {
        let server = borealis_bus_schema::forms::sha256(self.rp_id.as_bytes());
        [server.as_slice(), &[self.flags | flags], &counter.to_be_bytes()].concat()
    }
}

/// Is what browser and authenticator answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the browser says.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// The signature over both; none of a passkey that was made.
    pub signature: Vec<u8>,
}

/// Holds one passkey.
pub struct Authenticator {
    key: EcdsaKeyPair,
    /// What it calls the passkey.
    pub credential: Vec<u8>,
    /// Its counter.
    pub counter: u32,
}

impl Authenticator {
    /// Makes an authenticator with a key of its own.
    ///
    /// Errors: no key can be made.
    pub fn new() -> Result<Self, TestError> {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| failed("a key", error))?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random);
        Ok(Self {
            key: key.map_err(|error| failed("a key", error))?,
            credential: borealis_service_kit::random::bytes::<24>().to_vec(),
            counter: 0,
        })
    }

    /// Returns the public key as a COSE map.
    pub fn cose(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20];
        [head.as_slice(), x, &[0x22, 0x58, 0x20], y].concat()
    }

    /// Makes its passkey.
    pub fn make(&self, seen: &Seen) -> Answer {
        let length = u16::try_from(self.credential.len()).unwrap_or(u16::MAX).to_be_bytes();
        let made = [[0; 16].as_slice(), &length, &self.credential, &self.cose()].concat();
        Answer {
            client_data: seen.client_data("webauthn.create"),
            authenticator_data: [seen.authenticator_data(0x40, self.counter), made].concat(),
            signature: Vec::new(),
        }
    }

    /// Answers with its passkey; its counter goes on.
    ///
    /// Errors: it cannot sign.
    pub fn answer(&mut self, seen: &Seen) -> Result<Answer, TestError> {
        self.counter += 1;
        let client_data = seen.client_data("webauthn.get");
        let authenticator_data = seen.authenticator_data(0, self.counter);
        let digest = borealis_bus_schema::forms::sha256(&client_data);
        let message = [authenticator_data.as_slice(), &digest].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message);
        Ok(Answer {
            signature: signature
                .map_err(|error| failed("a signature", error))?
                .as_ref()
                .to_vec(),
            client_data,
            authenticator_data,
        })
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> TestError {
    TestError::of(what, &std::io::Error::other(error.to_string()))
}
