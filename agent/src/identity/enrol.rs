//! Enrolment: a code goes in, an approved identity comes out. The code's secret stays here; its key signs what is asked.

use super::api::{Api, ApiError};
use super::{Device, DeviceKeys};
use crate::core::backoff::{Backoff, Jitter};
use crate::random;
use crate::tls;
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::installer_code::{CodeUse, InstallerCode, vouching_name};
use borealis_bus_schema::messages::enrollment::{
    EnrollChallenge, EnrollPoll, EnrollRequest, EnrollState, HostFacts, Identity, Trust,
};
use borealis_bus_schema::order::KeySet;
use data_encoding::BASE64URL_NOPAD;
use std::time::Duration;

/// Says why a device is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The server, or the way to it.
    #[error("enrolment failed")]
    Api(#[from] ApiError),
    /// An operator said no.
    #[error("an operator denied this device: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
    /// The answer pins something else than the code does, or its key set is not signed by the root it names.
    #[error("the server's answer does not fit the installer code: {what}")]
    Trust {
        /// What does not fit.
        what: &'static str,
    },
    /// The system gives no random numbers.
    #[error("enrolment needs random numbers")]
    Random(#[from] random::RandomError),
}

/// Asks for an identity until there is one, or until it is certain that there will be none.
///
/// The same keys may ask again: they are the same device.
///
/// Errors: [`EnrolError`]; an unreachable server and a request that nobody decided are waited out.
pub async fn enrol(
    api: &Api,
    code: &InstallerCode,
    keys: &DeviceKeys,
    facts: &HostFacts,
) -> Result<Device, EnrolError> {
    let mut jitter = Jitter::new(random::spread());
    let mut backoff = Backoff::new(1_000, 60_000);
    loop {
        match once(api, code, keys, facts).await {
            Ok(Some(device)) => return Ok(device),
            Ok(None) => tracing::warn!("nobody decided about this device in time; it asks again"),
            Err(EnrolError::Api(error)) if error.may_pass() => {
                tracing::warn!(error = %chain(&error), "the server did not take the enrolment; it is tried again");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(backoff.next_ms(&mut jitter))).await;
    }
}

/// Makes one request and follows it; `None` when nobody decided in time.
async fn once(
    api: &Api,
    code: &InstallerCode,
    keys: &DeviceKeys,
    facts: &HostFacts,
) -> Result<Option<Device>, EnrolError> {
    let client_nonce = BASE64URL_NOPAD.encode(&random::bytes::<32>()?);
    let exchange_key = keys.exchange_public();
    let public_key = keys.public();
    let asked = CodeUse {
        ca_sha256: code.ca_sha256(),
        public_key: &public_key,
        exchange_key: &exchange_key,
        client_nonce: &client_nonce,
        facts,
    };
    let request = EnrollRequest {
        code_key: code.public_key(),
        code_proof: asked.sign(code),
        public_key,
        exchange_key,
        exchange_key_signature: keys.sign(Form::ExchangeKey, &[exchange_key.as_bytes()]),
        client_nonce: client_nonce.clone(),
        facts: facts.clone(),
    };
    let challenge: EnrollChallenge = api.post("/api/v1/enroll/request", &request).await?;
    let reference = challenge.reference.to_string();
    let poll = EnrollPoll {
        reference: challenge.reference,
        signature: keys.sign(
            Form::Enroll,
            &[
                challenge.server_nonce.as_bytes(),
                reference.as_bytes(),
                client_nonce.as_bytes(),
            ],
        ),
    };
    tracing::info!(reference, words = keys.words(), "this device asks for enrolment");
    let mut jitter = Jitter::new(random::spread());
    let mut backoff = Backoff::new(1_000, 30_000);
    loop {
        let pause_ms = match api.post("/api/v1/enroll/poll", &poll).await {
            Ok(EnrollState::Approved(identity)) => return accept(code, keys, *identity).map(Some),
            Ok(EnrollState::Denied { reason }) => return Err(EnrolError::Denied { reason }),
            Ok(EnrollState::Expired) => return Ok(None),
            Ok(EnrollState::Pending { retry_after_ms }) => {
                backoff.reset();
                let pause = retry_after_ms.clamp(100, 30_000);
                pause + jitter.below(pause / 4 + 1)
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(error = %chain(&error), "the server did not answer about the enrolment");
                backoff.next_ms(&mut jitter)
            }
            Err(error) => return Err(error.into()),
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Checks that what the server gives fits the code, before anything of it is kept.
fn accept(code: &InstallerCode, keys: &DeviceKeys, identity: Identity) -> Result<Device, EnrolError> {
    let Identity {
        guid,
        site: _,
        trust,
        credentials,
    } = identity;
    check_roots(code, &trust)?;
    let key_set = open_key_set(&trust)?;
    Ok(Device {
        keys: keys.clone(),
        guid,
        trust,
        key_set,
        credentials,
        next: None,
    })
}

/// Checks that the CA root is the one of the code, and that it vouches for the root of code signing.
///
/// Errors: [`EnrolError::Trust`]; [`EnrolError::Api`] for a CA root that cannot be read.
fn check_roots(code: &InstallerCode, trust: &Trust) -> Result<(), EnrolError> {
    let root = tls::root_of_pem(&trust.ca_pem).map_err(ApiError::from)?;
    if tls::hash_of(&root) != *code.ca_sha256() {
        return Err(EnrolError::Trust {
            what: "another CA root",
        });
    }
    if !tls::names(&root, &vouching_name(&trust.code_signing_root)) {
        return Err(EnrolError::Trust {
            what: "a root of code signing that the CA root does not vouch for",
        });
    }
    Ok(())
}

/// Opens the key set of a trust with the root that it names.
///
/// Errors: [`EnrolError::Trust`].
pub fn open_key_set(trust: &Trust) -> Result<KeySet, EnrolError> {
    let signed = trust.key_set.signed().ok_or(EnrolError::Trust {
        what: "an unreadable key set",
    })?;
    KeySet::open(&signed, &trust.code_signing_root).map_err(|_| EnrolError::Trust {
        what: "a key set that its root did not sign",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
    use borealis_bus_schema::ids::DeploymentId;
    use borealis_bus_schema::messages::enrollment::SignedText;
    use rcgen::{CertificateParams, KeyPair, SanType};

    /// Makes a CA root that vouches for a root of code signing.
    fn ca_root(vouched: &PublicKey) -> String {
        let mut params = CertificateParams::default();
        let name = vouching_name(vouched).as_str().try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn what_is_wrong(code: &InstallerCode, ca_pem: &str, root: PublicKey) -> Option<&'static str> {
        let trust = Trust {
            deployment: DeploymentId::from_bytes([1; 16]),
            ca_pem: ca_pem.to_owned(),
            code_signing_root: root,
            key_set: SignedText {
                bytes: String::new(),
                signature: SignatureBytes::from_bytes([0; 64]),
            },
        };
        match check_roots(code, &trust) {
            Ok(()) => None,
            Err(EnrolError::Trust { what }) => Some(what),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_device_takes_both_roots_from_its_code_and_from_nobody_else() {
        let (own, foreign) = (PublicKey::from_bytes([7; 32]), PublicKey::from_bytes([8; 32]));
        let (ca, other_ca) = (ca_root(&own), ca_root(&foreign));
        let code = InstallerCode::new([3; 16], tls::hash_of(&tls::root_of_pem(&ca).unwrap()));
        assert_eq!(what_is_wrong(&code, &ca, own), None);
        assert!(what_is_wrong(&code, &ca, foreign).unwrap().contains("vouch"));
        assert!(what_is_wrong(&code, &other_ca, foreign).unwrap().contains("CA root"));
    }
}
