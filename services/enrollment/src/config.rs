//! The keys that only enrollment has, read once at the start.

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::keys::{self, KeyFileError};
use borealis_service_kit::nats_jwt::{self, AccountClaims, JwtError};
use borealis_service_kit::paths::Paths;
use borealis_service_kit::trust::{TrustError, TrustFile};
use nkeys::KeyPair;
use serde::Deserialize;
use thiserror::Error;

use crate::derive::DerivationKey;

/// Says why the service cannot be configured.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A key cannot be read.
    #[error("a key of enrollment cannot be read")]
    Key(#[from] KeyFileError),
    /// The account's JWT cannot be read.
    #[error("the account's JWT in the trust file cannot be read")]
    Account(#[source] JwtError),
    /// The account's JWT names no signing keys.
    #[error("the account's JWT in the trust file names no signing keys")]
    SigningKeys,
    /// The CA certificate cannot be read.
    #[error("the CA certificate in the trust file cannot be read")]
    Ca(#[from] TrustError),
}

/// Holds what the service is made of.
pub struct Config {
    /// Signs devices' bus users.
    pub account_signer: KeyPair,
    /// Signs the account.
    pub operator_signer: KeyPair,
    /// Computes secrets.
    pub derivation: DerivationKey,
    /// The account as it was made, without revocations.
    pub account: AccountClaims,
    /// SHA-256 of the CA root.
    pub ca_sha256: [u8; 32],
}

#[derive(Deserialize)]
struct OfAccount {
    signing_keys: Vec<String>,
}

impl Config {
    /// Reads the keys, and makes the one that is this service's own at its first start.
    ///
    /// Errors: [`ConfigError`].
    pub fn read(paths: &Paths, trust: &TrustFile) -> Result<Self, ConfigError> {
        let claims = nats_jwt::read(&trust.account.jwt).map_err(ConfigError::Account)?;
        let of_account: OfAccount = serde_json::from_value(claims.nats).map_err(|_| ConfigError::SigningKeys)?;
        Ok(Self {
            account_signer: keys::read_nkey(&paths.account_signing_seed())?,
            operator_signer: keys::read_nkey(&paths.operator_signing_seed())?,
            derivation: DerivationKey::open(&paths.keys(Service::Enrollment).join("derive.secret"))?,
            account: AccountClaims {
                public_key: trust.account.public_key.clone(),
                name: claims.name,
                signing_keys: of_account.signing_keys,
                revocations: std::collections::BTreeMap::new(),
            },
            ca_sha256: trust.ca_sha256()?,
        })
    }
}
