//! The server's half of OPAQUE: a password is proved, never sent, and never stored in a form that can be tried without
//! this deployment's set-up.
//!
//! The suite is that of the npm package `@serenity-kit/opaque` 1.1.0: ristretto255 for the OPRF and for 3DH, SHA-512,
//! stretching by Argon2id on the client with the package's default cost (three passes over 64 MiB, four lanes). The
//! server never stretches, so a log-in costs it well under a millisecond.
//!
//! Source: RFC 9807.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_bus_schema::factor::{Factor, FactorProof, recovery_codes, totp_secret};
use borealis_bus_schema::forms::{Form, PublicKey};
use borealis_bus_schema::order::Digest;
use hmac::{Hmac, Mac};
use opaque_ke::argon2::Argon2;
use opaque_ke::key_exchange::tripledh::TripleDh;
use opaque_ke::{
    CipherSuite, CredentialFinalization, CredentialRequest, Identifiers, RegistrationRequest, RegistrationUpload,
    Ristretto255, ServerLogin, ServerLoginParameters, ServerRegistration, ServerSetup,
};
use rand::{CryptoRng, RngCore};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::totp::{Sealer, TotpSecret};

/// Is the server's identifier in every exchange.
pub const SERVER_IDENTIFIER: &str = "borealis";

/// Names the suite; the key stretching matters to clients only.
#[derive(Debug)]
pub struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Argon2<'static>;
}

/// Says why an exchange failed, without telling which user it was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpaqueError {
    /// The text is not base64url, or not the message that belongs here.
    #[error("{what} is no message of OPAQUE")]
    Malformed {
        /// Which message.
        what: &'static str,
    },
    /// The proof does not fit the password.
    #[error("the proof does not fit")]
    Refused,
}

/// Holds a log-in between its two steps.
pub type Pending = ServerLogin<Suite>;

/// Holds the secret that both sides derived; it confirms which session key the log-in is for.
pub struct SessionSecret(Zeroizing<Vec<u8>>);

impl SessionSecret {
    /// Takes a secret as it is; for tests.
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Tells whether the client, who knows the secret, bound this session key.
    ///
    /// Shape: HMAC-SHA256 with the secret over the form `session-binding` of the raw key, base64url.
    pub fn binds(&self, session_key: &PublicKey, key_binding: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(key_binding) else {
            return false;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return false;
        };
        mac.update(&Form::SessionBinding.bytes(&[session_key.as_bytes()]));
        mac.verify_slice(&tag).is_ok()
    }

    /// Tells whether the client, who knows the secret, proved a code.
    pub fn proves(&self, code: &Factor, proof: &FactorProof) -> bool {
        code.is_proved_by(&self.0, proof)
    }

    /// Makes the secret of an authenticator app, which the client makes as well.
    pub fn totp_secret(&self) -> TotpSecret {
        Zeroizing::new(totp_secret(&self.0))
    }

    /// Returns the digests of the recovery codes that the client makes as well.
    pub fn recovery_digests(&self) -> BTreeSet<Digest> {
        let codes = Zeroizing::new(recovery_codes(&self.0));
        let digests = codes.iter().filter_map(|code| match Factor::recovery(code) {
            Some(Factor::Recovery(digest)) => Some(digest),
            _ => None,
        });
        digests.collect()
    }
}

/// Is this deployment's OPAQUE set-up: OPRF seed and static key pair.
pub struct Opaque {
    setup: ServerSetup<Suite>,
    decoy: Vec<u8>,
}

/// Is how much of a record stands behind the client's key: masking key, envelope.
const RECORD_REST_BYTES: usize = 160;

impl Opaque {
    /// Makes a fresh set-up.
    pub fn generate<R: RngCore + CryptoRng>(random: &mut R) -> Self {
        Self::with(ServerSetup::new(random))
    }

    fn with(setup: ServerSetup<Suite>) -> Self {
        let mut decoy = setup.keypair().public().serialize().to_vec();
        decoy.resize(decoy.len() + RECORD_REST_BYTES, 0);
        Self { setup, decoy }
    }

    /// Reads a set-up that [`Opaque::to_text`] wrote.
    ///
    /// Errors: [`OpaqueError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, OpaqueError> {
        let what = "the stored set-up";
        let bytes = Zeroizing::new(decode(what, text)?);
        let setup = ServerSetup::deserialize(&bytes).map_err(|_| OpaqueError::Malformed { what })?;
        Ok(Self::with(setup))
    }

    /// Returns the set-up as base64url, for its key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.setup.serialize()))
    }

    /// Makes what seals the secrets of authenticator apps; only this set-up can.
    pub fn sealer(&self) -> Sealer {
        let bytes = Zeroizing::new(self.setup.serialize().to_vec());
        let mut key = Zeroizing::new([0; 32]);
        for (to, from) in key.iter_mut().zip(tag(&bytes, b"borealis second factors")) {
            *to = from;
        }
        Sealer::new(&key)
    }

    /// Answers the first message of a registration.
    ///
    /// Errors: [`OpaqueError::Malformed`].
    pub fn register(&self, username: &str, request: &str) -> Result<String, OpaqueError> {
        let what = "registration_request";
        let request =
            RegistrationRequest::deserialize(&decode(what, request)?).map_err(|_| OpaqueError::Malformed { what })?;
        let started = ServerRegistration::<Suite>::start(&self.setup, request, username.as_bytes())
            .map_err(|_| OpaqueError::Malformed { what })?;
        Ok(URL_SAFE_NO_PAD.encode(started.message.serialize()))
    }

    /// Checks the last message of a registration and returns the record to keep.
    ///
    /// Errors: [`OpaqueError::Malformed`].
    pub fn record(registration_record: &str) -> Result<Vec<u8>, OpaqueError> {
        let what = "registration_record";
        let upload = RegistrationUpload::<Suite>::deserialize(&decode(what, registration_record)?)
            .map_err(|_| OpaqueError::Malformed { what })?;
        Ok(ServerRegistration::finish(upload).serialize().to_vec())
    }

    /// Answers the first message of a log-in; without a record with one made up, so that nobody learns who exists.
    ///
    /// Errors: [`OpaqueError::Malformed`].
    pub fn start<R: RngCore + CryptoRng>(
        &self,
        random: &mut R,
        username: &str,
        record: Option<&[u8]>,
        request: &str,
    ) -> Result<(String, Pending), OpaqueError> {
        let what = "login_request";
        let request =
            CredentialRequest::deserialize(&decode(what, request)?).map_err(|_| OpaqueError::Malformed { what })?;
        // Without a record one is read as well, so that both ways take the same time.
        let read = ServerRegistration::deserialize(record.unwrap_or(&self.decoy));
        let read = read.map_err(|_| OpaqueError::Malformed {
            what: "the stored record",
        })?;
        let record = record.is_some().then_some(read);
        let identifier = username.as_bytes();
        let started = ServerLogin::start(random, &self.setup, record, request, identifier, parameters(username))
            .map_err(|_| OpaqueError::Malformed { what })?;
        Ok((URL_SAFE_NO_PAD.encode(started.message.serialize()), started.state))
    }

    /// Checks the last message of a log-in.
    ///
    /// Errors: [`OpaqueError::Malformed`], and [`OpaqueError::Refused`] when the password was another.
    pub fn finish(pending: Pending, username: &str, finalization: &str) -> Result<SessionSecret, OpaqueError> {
        let what = "login_finalization";
        let finalization = CredentialFinalization::deserialize(&decode(what, finalization)?)
            .map_err(|_| OpaqueError::Malformed { what })?;
        let finished = pending
            .finish(finalization, parameters(username))
            .map_err(|_| OpaqueError::Refused)?;
        Ok(SessionSecret(Zeroizing::new(finished.session_key.to_vec())))
    }
}

fn tag(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn parameters(username: &str) -> ServerLoginParameters<'static, '_> {
    ServerLoginParameters {
        context: None,
        identifiers: Identifiers {
            client: Some(username.as_bytes()),
            server: Some(SERVER_IDENTIFIER.as_bytes()),
        },
    }
}

fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, OpaqueError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(OpaqueError::Malformed { what });
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| OpaqueError::Malformed { what })
}

/// No message of the suite is longer than some 350 characters.
const MAX_TEXT_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use opaque_ke::argon2::{Algorithm, Params, Version};
    use opaque_ke::{
        ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
        CredentialResponse, RegistrationResponse,
    };
    use rand::SeedableRng;

    type Rng = rand::rngs::StdRng;

    /// Cheap on purpose: the cost is the client's and does not reach the server.
    fn stretching() -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap())
    }
    fn names(username: &str) -> Identifiers<'_> {
        Identifiers {
            client: Some(username.as_bytes()),
            server: Some(SERVER_IDENTIFIER.as_bytes()),
        }
    }
    fn registered(opaque: &Opaque, rng: &mut Rng, username: &str, password: &str) -> Vec<u8> {
        let client = ClientRegistration::<Suite>::start(rng, password.as_bytes()).unwrap();
        let answer = opaque
            .register(username, &URL_SAFE_NO_PAD.encode(client.message.serialize()))
            .unwrap();
        let answer = RegistrationResponse::deserialize(&URL_SAFE_NO_PAD.decode(answer).unwrap()).unwrap();
        let finished = client
            .state
            .finish(
                rng,
                password.as_bytes(),
                answer,
                ClientRegistrationFinishParameters::new(names(username), Some(&stretching())),
            )
            .unwrap();
        Opaque::record(&URL_SAFE_NO_PAD.encode(finished.message.serialize())).unwrap()
    }

    /// Returns the client's and the server's session secret, or what the client says.
    fn log_in(
        opaque: &Opaque,
        rng: &mut Rng,
        record: Option<&[u8]>,
        password: &str,
    ) -> Result<(Vec<u8>, SessionSecret), String> {
        let client = ClientLogin::<Suite>::start(rng, password.as_bytes()).unwrap();
        let request = URL_SAFE_NO_PAD.encode(client.message.serialize());
        let (answer, pending) = opaque.start(rng, "ada", record, &request).unwrap();
        let answer = CredentialResponse::deserialize(&URL_SAFE_NO_PAD.decode(answer).unwrap()).unwrap();
        let finished = client
            .state
            .finish(
                rng,
                password.as_bytes(),
                answer,
                ClientLoginFinishParameters::new(None, names("ada"), Some(&stretching())),
            )
            .map_err(|e| e.to_string())?;
        let finalization = URL_SAFE_NO_PAD.encode(finished.message.serialize());
        let secret = Opaque::finish(pending, "ada", &finalization).map_err(|e| e.to_string())?;
        Ok((finished.session_key.to_vec(), secret))
    }

    #[test]
    fn the_right_password_gives_both_sides_one_secret_that_binds_one_key() {
        let rng = &mut Rng::seed_from_u64(1);
        let opaque = Opaque::generate(rng);
        let record = registered(&opaque, rng, "ada", "correct horse");
        let (theirs, ours) = log_in(&opaque, rng, Some(&record), "correct horse").unwrap();
        let key = PublicKey::from_bytes([7; 32]);
        let mut mac = Hmac::<Sha256>::new_from_slice(&theirs).unwrap();
        mac.update(&Form::SessionBinding.bytes(&[key.as_bytes()]));
        let binding = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        assert!(ours.binds(&key, &binding));
        assert!(!ours.binds(&PublicKey::from_bytes([8; 32]), &binding));
        assert!(!ours.binds(&key, "") && !ours.binds(&key, "?"));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_fail_alike() {
        let rng = &mut Rng::seed_from_u64(2);
        let opaque = Opaque::generate(rng);
        let record = registered(&opaque, rng, "ada", "correct horse");
        let wrong = log_in(&opaque, rng, Some(&record), "battery").map(|_| ()).unwrap_err();
        let unknown = log_in(&opaque, rng, None, "battery").map(|_| ()).unwrap_err();
        assert_eq!(wrong, unknown);
        let client = ClientLogin::<Suite>::start(rng, b"x").unwrap();
        let request = URL_SAFE_NO_PAD.encode(client.message.serialize());
        let known = opaque.start(rng, "ada", Some(&record), &request).unwrap().0;
        let fake = opaque.start(rng, "bob", None, &request).unwrap().0;
        assert_eq!(known.len(), fake.len());
    }

    #[test]
    fn who_exists_cannot_be_told_by_the_time_it_takes() {
        let rng = &mut Rng::seed_from_u64(5);
        let opaque = Opaque::generate(rng);
        let record = registered(&opaque, rng, "ada", "p");
        let request = ClientLogin::<Suite>::start(rng, b"x").unwrap().message.serialize();
        let request = URL_SAFE_NO_PAD.encode(request);
        let mut times = [Vec::new(), Vec::new()];
        // In turns, so that whatever else the machine does slows both.
        for n in 0..400 {
            let known = (n % 2 == 0).then_some(record.as_slice());
            let began = std::time::Instant::now();
            opaque.start(rng, "ada", known, &request).unwrap();
            times[n % 2].push(began.elapsed().as_secs_f64());
        }
        let [known, unknown] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        let ratio = known / unknown;
        assert!((0.85..1.15).contains(&ratio), "known/unknown = {ratio}");
    }

    #[test]
    fn a_set_up_survives_its_file() {
        let rng = &mut Rng::seed_from_u64(3);
        let opaque = Opaque::generate(rng);
        let record = registered(&opaque, rng, "ada", "p");
        let again = Opaque::from_text(&opaque.to_text()).unwrap();
        assert!(log_in(&again, rng, Some(&record), "p").is_ok());
        assert!(log_in(&Opaque::generate(rng), rng, Some(&record), "p").is_err());
    }

    #[test]
    fn what_is_no_message_is_named_and_nothing_panics() {
        let rng = &mut Rng::seed_from_u64(4);
        let opaque = Opaque::generate(rng);
        for text in ["", "?", "AAAA", &"A".repeat(128), &"A".repeat(5_000)] {
            assert!(opaque.register("ada", text).is_err(), "{text}");
            assert!(opaque.start(rng, "ada", None, text).is_err(), "{text}");
            assert!(Opaque::record(text).is_err(), "{text}");
            assert!(Opaque::from_text(text).is_err(), "{text}");
        }
    }
}
