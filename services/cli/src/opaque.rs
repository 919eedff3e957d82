//! The client's half of OPAQUE: the password is proved and never sent.
//!
//! The suite is that of the web page's package: ristretto255, 3DH with SHA-512, Argon2id with three passes over 64 MiB in
//! four lanes.
//!
//! Source: RFC 9807.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_bus_schema::forms::{Form, PublicKey};
use hmac::{Hmac, Mac};
use opaque_ke::argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::key_exchange::tripledh::TripleDh;
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse, Ristretto255,
};
use rand::{CryptoRng, RngCore};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::error::CliError;

/// Names the suite.
#[derive(Debug)]
pub struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Argon2<'static>;
}

fn stretching() -> Result<Argon2<'static>, CliError> {
    let params = Params::new(65_536, 3, 4, None).map_err(|e| CliError::Answer(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn identifiers(username: &str) -> Identifiers<'_> {
    Identifiers {
        client: Some(username.as_bytes()),
        server: Some(b"borealis"),
    }
}

fn message(text: &str) -> Result<Vec<u8>, CliError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| CliError::Answer("its OPAQUE message is no base64url".to_owned()))
}

fn damaged<E>(_: E) -> CliError {
    CliError::Answer("its OPAQUE message is damaged".to_owned())
}

/// Returns a user name as it is used everywhere: without white space around it, in lower case.
pub fn canonical(username: &str) -> String {
    username.trim().to_lowercase()
}

/// Is a registration that waits for the server's answer.
pub struct Registration {
    state: ClientRegistration<Suite>,
    /// The first message, base64url.
    pub request: String,
}

impl Registration {
    /// Begins.
    ///
    /// Errors: [`CliError::Answer`] when the library refuses the password's bytes.
    pub fn start<R: RngCore + CryptoRng>(random: &mut R, password: &str) -> Result<Self, CliError> {
        let started = ClientRegistration::<Suite>::start(random, password.as_bytes()).map_err(damaged)?;
        Ok(Self {
            request: URL_SAFE_NO_PAD.encode(started.message.serialize()),
            state: started.state,
        })
    }

    /// Ends with the record for the server, base64url.
    ///
    /// Errors: [`CliError::Answer`] when the server's message is none.
    pub fn finish<R: RngCore + CryptoRng>(
        self,
        random: &mut R,
        username: &str,
        password: &str,
        response: &str,
    ) -> Result<String, CliError> {
        let response = RegistrationResponse::deserialize(&message(response)?).map_err(damaged)?;
        let stretching = stretching()?;
        let parameters = ClientRegistrationFinishParameters::new(identifiers(username), Some(&stretching));
        let finished = self
            .state
            .finish(random, password.as_bytes(), response, parameters)
            .map_err(damaged)?;
        Ok(URL_SAFE_NO_PAD.encode(finished.message.serialize()))
    }
}

/// Is a log-in that waits for the server's answer.
pub struct LogIn {
    state: ClientLogin<Suite>,
    /// The first message, base64url.
    pub request: String,
}

/// Is what proves a log-in.
pub struct LogInProof {
    /// What both sides know from now on; it never leaves this program.
    pub secret: Zeroizing<Vec<u8>>,
    /// The last message, base64url.
    pub finalization: String,
    /// The HMAC that binds the session key to this log-in, base64url.
    pub key_binding: String,
}

impl LogIn {
    /// Begins.
    ///
    /// Errors: [`CliError::Answer`] when the library refuses the password's bytes.
    pub fn start<R: RngCore + CryptoRng>(random: &mut R, password: &str) -> Result<Self, CliError> {
        let started = ClientLogin::<Suite>::start(random, password.as_bytes()).map_err(damaged)?;
        Ok(Self {
            request: URL_SAFE_NO_PAD.encode(started.message.serialize()),
            state: started.state,
        })
    }

    /// Ends with the proof for the server.
    ///
    /// Errors: [`CliError::WrongPassword`], and [`CliError::Answer`] when the server's message is none.
    pub fn finish<R: RngCore + CryptoRng>(
        self,
        random: &mut R,
        username: &str,
        password: &str,
        response: &str,
        session_key: &PublicKey,
    ) -> Result<LogInProof, CliError> {
        let response = CredentialResponse::deserialize(&message(response)?).map_err(damaged)?;
        let stretching = stretching()?;
        let parameters = ClientLoginFinishParameters::new(None, identifiers(username), Some(&stretching));
        let finished = self
            .state
            .finish(random, password.as_bytes(), response, parameters)
            .map_err(|_| CliError::WrongPassword)?;
        let secret = Zeroizing::new(finished.session_key.to_vec());
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(damaged)?;
        mac.update(&Form::SessionBinding.bytes(&[session_key.as_bytes()]));
        Ok(LogInProof {
            finalization: URL_SAFE_NO_PAD.encode(finished.message.serialize()),
            key_binding: URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()),
            secret,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opaque_ke::{CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload};
    use opaque_ke::{ServerLogin, ServerLoginParameters, ServerRegistration, ServerSetup};

    fn text(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn registration_and_log_in_prove_the_password_to_a_server() {
        let rng = &mut rand::rngs::OsRng;
        let setup = ServerSetup::<Suite>::new(rng);
        let registration = Registration::start(rng, "correct horse").unwrap();
        let request = RegistrationRequest::deserialize(&message(&registration.request).unwrap()).unwrap();
        let response = ServerRegistration::<Suite>::start(&setup, request, b"ada")
            .unwrap()
            .message;
        let record = registration
            .finish(rng, "ada", "correct horse", &text(response.serialize()))
            .unwrap();
        let upload = RegistrationUpload::<Suite>::deserialize(&message(&record).unwrap()).unwrap();
        let record = ServerRegistration::finish(upload);
        let parameters = || ServerLoginParameters {
            context: None,
            identifiers: identifiers("ada"),
        };
        let key = PublicKey::from_bytes([7; 32]);
        for (password, good) in [("correct horse", true), ("battery", false)] {
            let log_in = LogIn::start(rng, password).unwrap();
            let request = CredentialRequest::deserialize(&message(&log_in.request).unwrap()).unwrap();
            let started = ServerLogin::start(rng, &setup, Some(record.clone()), request, b"ada", parameters()).unwrap();
            let answer = text(started.message.serialize());
            match log_in.finish(rng, "ada", password, &answer, &key) {
                Ok(proof) => {
                    assert!(good);
                    let bytes = message(&proof.finalization).unwrap();
                    let finalization = CredentialFinalization::deserialize(&bytes).unwrap();
                    let finished = started.state.finish(finalization, parameters()).unwrap();
                    let mut mac = Hmac::<Sha256>::new_from_slice(&finished.session_key).unwrap();
                    mac.update(&Form::SessionBinding.bytes(&[key.as_bytes()]));
                    assert_eq!(text(mac.finalize().into_bytes()), proof.key_binding);
                }
                Err(CliError::WrongPassword) => assert!(!good),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_rubbish_answer_is_named() {
        let log_in = LogIn::start(&mut rand::rngs::OsRng, "p").unwrap();
        let result = log_in.finish(
            &mut rand::rngs::OsRng,
            "ada",
            "p",
            "AAAA",
            &PublicKey::from_bytes([7; 32]),
        );
        assert!(matches!(result, Err(CliError::Answer(_))));
    }
}
