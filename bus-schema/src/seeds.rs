//! Secrets that are proved and never sent: those of installer codes and of links that set a password.
//!
//! Whoever holds such a secret derives an Ed25519 key from it; whoever has to recognise it keeps the public key alone. What
//! travels, when the secret is made and when it is used, is the public key and a signature over what it is used for. So
//! whoever sees or changes all of it on the way holds nothing that serves for anything else.
//!
//! Shape: seed = HKDF-SHA256(secret, no salt, info = the purpose's text), 32 bytes; Ed25519 key of the seed.
//!
//! Source: RFC 5869; for one block of output it is two HMACs.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::forms::{Form, PublicKey, SignatureBytes, VerifyError, sign};

/// Says what a secret is for; the same bytes give another key for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The secret of an installer code.
    InstallerCode,
    /// The secret of a link that sets a password.
    Link,
}

impl Purpose {
    /// Returns the purpose's text.
    pub const fn text(self) -> &'static str {
        match self {
            Purpose::InstallerCode => "borealis/installer-code/v1",
            Purpose::Link => "borealis/link/v1",
        }
    }

    /// Derives the key of a secret.
    ///
    /// Source: RFC 5869, sections 2.2 and 2.3.
    pub fn key_of(self, secret: &[u8]) -> SigningKey {
        const BLOCK_BYTES: usize = 64;
        let extracted = hmac([0; BLOCK_BYTES], &[secret]);
        let mut key = [0; BLOCK_BYTES];
        for (place, byte) in key.iter_mut().zip(extracted) {
            *place = byte;
        }
        SigningKey::from_bytes(&hmac(key, &[self.text().as_bytes(), &[1]]))
    }
}

/// HMAC-SHA256 under a key of one block; shorter keys are filled up with zeros.
fn hmac(key: [u8; 64], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new(&key.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Says that a text is no link's secret; never repeats the text.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the link is not complete: behind # it has 43 letters, digits, '-' and '_'")]
pub struct LinkSecretError;

/// Holds the secret of a link that sets a password.
///
/// Shape: 32 bytes, behind `#` of the link as base64url without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret([u8; 32]);

impl LinkSecret {
    /// Makes the secret of 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a secret; spaces and line ends around it are tolerated.
    ///
    /// Errors: [`LinkSecretError`].
    pub fn parse(text: &str) -> Result<Self, LinkSecretError> {
        let bytes = BASE64URL_NOPAD.decode(text.trim().as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or(LinkSecretError)
    }

    /// Returns the secret's text; whoever holds it may set the password that the link is for.
    pub fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// Derives the link's key.
    pub fn key(&self) -> SigningKey {
        Purpose::Link.key_of(&self.0)
    }

    /// Returns what the server keeps of the link.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.key())
    }
}

impl std::fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkSecret(hidden)")
    }
}

/// Is what a link's key signs: the whole registration of a password, as the client saw it.
///
/// Whoever stands between could answer the client's first message itself and be the server of the password from then on; the
/// server computes its own answer again, so that such a registration does not fit its signature.
///
/// Shape: the form `link-use` of the step, the user name, the registration request, and at the end the server's response and
/// the record; all texts as they are sent, empty where there is none yet.
#[derive(Debug, Clone, Copy)]
pub struct LinkUse<'a> {
    /// The operator's name, as it is sent.
    pub username: &'a str,
    /// The OPAQUE registration request, base64url.
    pub registration_request: &'a str,
    /// The server's response and the client's record, base64url, once there are any.
    pub registered: Option<Registered<'a>>,
}

/// Is the end of a registration.
#[derive(Debug, Clone, Copy)]
pub struct Registered<'a> {
    /// The OPAQUE registration response, base64url.
    pub response: &'a str,
    /// The OPAQUE registration record, base64url.
    pub record: &'a str,
}

impl LinkUse<'_> {
    fn fields(&self) -> [&[u8]; 5] {
        let (step, registered) = match self.registered {
            None => (
                "start",
                Registered {
                    response: "",
                    record: "",
                },
            ),
            Some(registered) => ("finish", registered),
        };
        [
            step.as_bytes(),
            self.username.as_bytes(),
            self.registration_request.as_bytes(),
            registered.response.as_bytes(),
            registered.record.as_bytes(),
        ]
    }

    /// Signs with the link's key.
    pub fn sign(&self, link: &LinkSecret) -> SignatureBytes {
        sign(&link.key(), Form::LinkUse, &self.fields())
    }

    /// Verifies with a link's public key that is known already.
    ///
    /// Errors: [`VerifyError`].
    pub fn verify(&self, link: &PublicKey, proof: &SignatureBytes) -> Result<(), VerifyError> {
        link.verify(Form::LinkUse, &self.fields(), proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivation_is_hkdf() {
        // Computed by another implementation: HKDF-SHA256, no salt, info "borealis/link/v1", 32 bytes of 7, 32 bytes out.
        let seed = Purpose::Link.key_of(&[7; 32]).to_bytes();
        assert_eq!(
            hex::encode(seed),
            "4a8da86905bc57bd3d85290b29caf2b4aebb39bcfe3591a2e2125c9ba7eb69f9"
        );
        let code = Purpose::InstallerCode.key_of(&[7; 32]).to_bytes();
        assert_ne!(seed, code);
    }

    #[test]
    fn a_link_reads_back_and_hides_itself() {
        let link = LinkSecret::new([5; 32]);
        assert_eq!(LinkSecret::parse(&format!(" {}\n", link.reveal())), Ok(link.clone()));
        assert_eq!(link.reveal().len(), 43);
        assert_eq!(format!("{link:?}"), "LinkSecret(hidden)");
        for bad in ["", "?", "AAAA", &link.reveal()[1..], &format!("{}A", link.reveal())] {
            assert_eq!(LinkSecret::parse(bad), Err(LinkSecretError), "{bad}");
        }
    }

    #[test]
    fn the_proof_of_a_link_fits_only_what_it_was_made_for() {
        let link = LinkSecret::new([5; 32]);
        let start = LinkUse {
            username: "ada",
            registration_request: "request",
            registered: None,
        };
        let end = Registered {
            response: "response",
            record: "record",
        };
        let finish = LinkUse {
            registered: Some(end),
            ..start
        };
        let (began, ended) = (start.sign(&link), finish.sign(&link));
        let key = link.public_key();
        assert!(start.verify(&key, &began).is_ok() && finish.verify(&key, &ended).is_ok());
        let with = |response, record| LinkUse {
            registered: Some(Registered { response, record }),
            ..start
        };
        for (other, proof) in [
            (start, ended),
            (finish, began),
            (
                LinkUse {
                    username: "bob",
                    ..finish
                },
                ended,
            ),
            (
                LinkUse {
                    registration_request: "other",
                    ..finish
                },
                ended,
            ),
            (with("other", "record"), ended),
            (with("response", "other"), ended),
            (with("", "responserecord"), ended),
        ] {
            assert!(other.verify(&key, &proof).is_err(), "{other:?}");
        }
        assert!(finish.verify(&LinkSecret::new([6; 32]).public_key(), &ended).is_err());
    }
}
