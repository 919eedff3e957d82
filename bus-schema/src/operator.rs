//! An operator's request on its way from browser or CLI to the service that owns the change.
//!
//! The gateway forwards method, path and body as they came; the service verifies the session key's signature over exactly
//! these, so that the gateway holds nothing it could use.

use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::forms::{Form, PublicKey, SignatureBytes, VerifyError, sha256, sign};
use crate::ids::{CommandId, SessionId};
use crate::time::Timestamp;

/// Is how old or how far ahead a request's signature may be, in milliseconds.
pub const FRESHNESS_MS: i64 = 30_000;

/// Is the HTTP header that carries a [`Proof`].
pub const SIGNATURE_HEADER: &str = "Borealis-Signature";
/// Is the HTTP header that carries the command id.
pub const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";

/// Is the session key's signature over a changing request.
///
/// Shape: as header `v1 <session id> <issued at> <signature>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The session whose key signed.
    pub session: SessionId,
    /// The command, which is also the request's `Idempotency-Key`.
    pub command: CommandId,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The signature.
    pub signature: SignatureBytes,
}

/// Says that a header is no proof.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the header Borealis-Signature has another shape than `v1 <session id> <issued at> <signature>`")]
pub struct ProofError;

impl Proof {
    /// Signs a request.
    pub fn new(
        key: &SigningKey,
        session: SessionId,
        command: CommandId,
        issued_at: Timestamp,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Self {
        let fields = [session.to_string(), command.to_string(), issued_at.to_string()];
        let [s, c, i] = &fields;
        let signature = sign(
            key,
            Form::Request,
            &[
                method.as_bytes(),
                path.as_bytes(),
                &sha256(body),
                s.as_bytes(),
                c.as_bytes(),
                i.as_bytes(),
            ],
        );
        Self {
            session,
            command,
            issued_at,
            signature,
        }
    }

    /// Reads the header's value; the command id comes from its own header.
    ///
    /// Errors: [`ProofError`] for another shape.
    pub fn parse(header: &str, command: CommandId) -> Result<Self, ProofError> {
        let mut words = header.split(' ');
        let (Some("v1"), Some(session), Some(issued_at), Some(signature), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(ProofError);
        };
        Ok(Self {
            session: session.parse().map_err(|_| ProofError)?,
            command,
            issued_at: issued_at.parse().map_err(|_| ProofError)?,
            signature: signature.parse().map_err(|_| ProofError)?,
        })
    }

    /// Returns the header's value.
    pub fn header(&self) -> String {
        format!("v1 {} {} {}", self.session, self.issued_at, self.signature)
    }
}

/// Is an operator's HTTP request as it travels on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCall {
    /// The HTTP method.
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// The body's exact bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The session key's signature; absent on reads and public routes.
    pub proof: Option<Proof>,
    /// The address of the peer that connected, never a forwarded header.
    pub peer: String,
}

impl OperatorCall {
    /// Verifies the signature with the key that the biscuit binds.
    ///
    /// Errors: [`VerifyError`]; the caller checks freshness, session and command id.
    pub fn verify(&self, proof: &Proof, key: &PublicKey) -> Result<(), VerifyError> {
        let (s, c, i) = (
            proof.session.to_string(),
            proof.command.to_string(),
            proof.issued_at.to_string(),
        );
        let digest = sha256(&self.body);
        let fields = [
            self.method.as_bytes(),
            self.path.as_bytes(),
            &digest,
            s.as_bytes(),
            c.as_bytes(),
            i.as_bytes(),
        ];
        key.verify(Form::Request, &fields, &proof.signature)
    }

    /// Digests what makes two requests the same command: method, path and body.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&Form::Request.bytes(&[self.method.as_bytes(), self.path.as_bytes(), &self.body]))
    }

    /// Digests what a grant covers: this command, and no other of the same content.
    ///
    /// Two requests may ask for the same; what was granted to one must not serve to act on the other, which may have been
    /// held back until its signature was too old to be granted anything.
    ///
    /// Shape: `SHA-256("borealis grant" ‖ digest ‖ command)`.
    pub fn granted_digest(&self, command: &CommandId) -> [u8; 32] {
        granted_digest(&self.digest(), command)
    }

    /// Digests this one request, for which alone a passkey may be asked; none where nothing is signed.
    ///
    /// Shape: `SHA-256` of the form `act` over method, path, the body's digest, session id and command id.
    pub fn act(&self) -> Option<[u8; 32]> {
        let proof = self.proof.as_ref()?;
        let (session, command) = (proof.session.to_string(), proof.command.to_string());
        let fields: [&[u8]; 5] = [
            self.method.as_bytes(),
            self.path.as_bytes(),
            &sha256(&self.body),
            session.as_bytes(),
            command.as_bytes(),
        ];
        Some(sha256(&Form::Act.bytes(&fields)))
    }

    /// Returns the path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Finds a parameter of the query; percent-encoding is undone.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        let pair = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        percent_decode(pair)
    }
}

/// Digests what a grant covers; see [`OperatorCall::granted_digest`].
pub fn granted_digest(call_digest: &[u8; 32], command: &CommandId) -> [u8; 32] {
    sha256(&[b"borealis grant", call_digest.as_slice(), command.as_bytes()].concat())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// Is the answer to an operator's call: JSON text, with a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAnswer {
    /// The JSON body.
    pub json: String,
}

/// Is what an operator's program keeps of a log-in: the session's private key and its biscuit.
///
/// Shape: `brl1.<session key seed, base64url>.<biscuit, base64url>`; only the biscuit ever leaves the program.
#[derive(Clone)]
pub struct OperatorToken {
    /// The private session key.
    pub key: SigningKey,
    /// The biscuit.
    pub biscuit: String,
}

/// Says that a text is no token; never repeats the text.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("this is no token: one has the shape brl1.<key>.<biscuit>")]
pub struct TokenError;

impl OperatorToken {
    /// Returns the whole token.
    pub fn reveal(&self) -> String {
        format!("brl1.{}.{}", BASE64URL_NOPAD.encode(self.key.as_bytes()), self.biscuit)
    }
}

impl FromStr for OperatorToken {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().splitn(3, '.');
        let (Some("brl1"), Some(key), Some(biscuit)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError);
        };
        let seed: [u8; 32] = BASE64URL_NOPAD
            .decode(key.as_bytes())
            .ok()
            .and_then(|b| b.try_into().ok())
            .ok_or(TokenError)?;
        if biscuit.is_empty() {
            return Err(TokenError);
        }
        Ok(Self {
            key: SigningKey::from_bytes(&seed),
            biscuit: biscuit.to_owned(),
        })
    }
}

impl std::fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorToken(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &[u8]) -> OperatorCall {
        OperatorCall {
            method: "POST".into(),
            path: "/api/v1/jobs?x=a%20b&y=%zz".into(),
            body: body.to_vec(),
            proof: None,
            peer: "127.0.0.1".into(),
        }
    }
    fn proof(key: &SigningKey) -> Proof {
        let (s, c) = (SessionId::from_bytes([1; 16]), CommandId::from_bytes([2; 16]));
        Proof::new(
            key,
            s,
            c,
            Timestamp::from_unix_ms(1_800_000_000_000),
            "POST",
            "/api/v1/jobs?x=a%20b&y=%zz",
            b"{}",
        )
    }

    #[test]
    fn a_proof_covers_method_path_body_session_command_and_time() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (public, good) = (PublicKey::of(&key), proof(&key));
        assert_eq!(call(b"{}").verify(&good, &public), Ok(()));
        assert!(call(b"{ }").verify(&good, &public).is_err());
        assert!(
            OperatorCall {
                method: "PUT".into(),
                ..call(b"{}")
            }
            .verify(&good, &public)
            .is_err()
        );
        assert!(
            OperatorCall {
                path: "/api/v1/codes".into(),
                ..call(b"{}")
            }
            .verify(&good, &public)
            .is_err()
        );
        assert!(
            call(b"{}")
                .verify(
                    &Proof {
                        command: CommandId::from_bytes([3; 16]),
                        ..good.clone()
                    },
                    &public
                )
                .is_err()
        );
        assert!(
            call(b"{}")
                .verify(
                    &Proof {
                        session: SessionId::from_bytes([3; 16]),
                        ..good.clone()
                    },
                    &public
                )
                .is_err()
        );
        assert!(
            call(b"{}")
                .verify(
                    &Proof {
                        issued_at: good.issued_at.plus_ms(1),
                        ..good
                    },
                    &public
                )
                .is_err()
        );
    }

    #[test]
    fn the_header_reads_back() {
        let proof = proof(&SigningKey::from_bytes(&[1; 32]));
        assert_eq!(Proof::parse(&proof.header(), proof.command), Ok(proof.clone()));
        for text in ["", "v1", "v2 a b c", &format!("{} x", proof.header())] {
            assert_eq!(Proof::parse(text, proof.command), Err(ProofError), "{text}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        assert_eq!(call(b"").query("x").as_deref(), Some("a b"));
        assert_eq!(call(b"").query("y"), None);
        assert_eq!(call(b"").query("z"), None);
    }

    #[test]
    fn a_token_reads_back_and_hides_itself() {
        let token = OperatorToken {
            key: SigningKey::from_bytes(&[1; 32]),
            biscuit: "abc".into(),
        };
        assert_eq!(token.reveal().parse::<OperatorToken>().unwrap().biscuit, "abc");
        assert!(!format!("{token:?}").contains("abc"));
        assert!("brl1.x.y".parse::<OperatorToken>().is_err() && "".parse::<OperatorToken>().is_err());
    }
}
