//! What every service of a deployment trusts: public keys and certificates, no secret among them.

use std::{collections::BTreeMap, io, path::PathBuf};

use borealis_bus_schema::{
    forms::{OpenError, PublicKey, Signed},
    ids::DeploymentId,
    messages::enrollment::SignedText,
    order::KeySet,
    subjects::Service,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::paths::Paths;

/// Says why the trust file is unusable.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read; `borealis-server init` makes it.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what `init` writes.
    #[error("{} is damaged", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The CA certificate is no PEM.
    #[error("the CA certificate cannot be read")]
    Certificate,
    /// The key set is no base64url.
    #[error("the set of code-signing keys is damaged")]
    KeySetText,
    /// The code-signing root did not sign the key set.
    #[error("the set of code-signing keys is not signed by the root")]
    KeySet(#[from] OpenError),
}

/// Holds an account of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's public key, `A…`.
    pub public_key: String,
    /// The JWT that `init` made; the bus holds the newest.
    pub jwt: String,
}

/// Holds what every service trusts.
///
/// Shape: JSON in `Certificates/Server/trust.json`, mode 0644.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFile {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The names in the certificates; the first stands in printed addresses.
    pub public_names: Vec<String>,
    /// The CA root's certificate, PEM.
    pub ca_pem: String,
    /// The key that signs biscuits.
    pub biscuit_root: PublicKey,
    /// The key that signs each service's heads.
    pub services: BTreeMap<Service, PublicKey>,
    /// The root that signs sets of code-signing keys.
    pub code_signing_root: PublicKey,
    /// The keys that may sign orders, signed by that root.
    pub key_set: SignedText,
    /// The bus operator's JWT.
    pub operator_jwt: String,
    /// The account in which services and devices are users.
    pub account: Account,
    /// The account in which the bus speaks of itself.
    pub system_account: Account,
    /// Service keys that were replaced; they vouch only for what was signed before.
    #[serde(default)]
    pub former_services: Vec<FormerServiceKey>,
    /// Biscuit roots that were replaced; what they signed counts until it ends, and no longer than they do.
    #[serde(default)]
    pub former_biscuit_roots: Vec<FormerBiscuitRoot>,
}

/// Is a service key that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerServiceKey {
    /// Whose.
    pub service: Service,
    /// The key.
    pub key: PublicKey,
    /// When it was replaced.
    pub until: Timestamp,
}

/// Is a biscuit root that was replaced without being stolen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerBiscuitRoot {
    /// The key.
    pub key: PublicKey,
    /// Until when what it signed counts.
    pub until: Timestamp,
}

impl TrustFile {
    /// Reads the deployment's trust file.
    ///
    /// Errors: [`TrustError::Read`], [`TrustError::Malformed`].
    pub fn read(paths: &Paths) -> Result<Self, TrustError> {
        let path = paths.trust_json();
        let bytes = std::fs::read(&path).map_err(|source| TrustError::Read {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|source| TrustError::Malformed { path, source })
    }

    /// Returns the key that signs a service's heads.
    pub fn service_key(&self, service: Service) -> Option<&PublicKey> {
        self.services.get(&service)
    }

    /// Returns the keys with which a service may have signed what is of an instant: its key, and those that were replaced later.
    pub fn keys_of(&self, service: Service, at: Timestamp) -> Vec<PublicKey> {
        let former = self.former_services.iter();
        let former = former.filter(|former| former.service == service && at <= former.until);
        let own = self.service_key(service).copied();
        own.into_iter().chain(former.map(|former| former.key)).collect()
    }

    /// Returns the signed set of code-signing keys.
    ///
    /// Errors: [`TrustError::KeySetText`].
    pub fn signed_key_set(&self) -> Result<Signed, TrustError> {
        self.key_set.signed().ok_or(TrustError::KeySetText)
    }

    /// Opens the set of code-signing keys with the root.
    ///
    /// Errors: [`TrustError::KeySetText`], [`TrustError::KeySet`].
    pub fn open_key_set(&self) -> Result<KeySet, TrustError> {
        Ok(KeySet::open(&self.signed_key_set()?, &self.code_signing_root)?)
    }

    /// Returns the CA root's certificate in DER.
    ///
    /// Errors: [`TrustError::Certificate`].
    pub fn ca_der(&self) -> Result<rustls_pki_types::CertificateDer<'static>, TrustError> {
        use rustls_pki_types::pem::PemObject;
        rustls_pki_types::CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(|_| TrustError::Certificate)
    }

    /// Returns the SHA-256 of the CA root's certificate, as installer codes carry it.
    ///
    /// Errors: [`TrustError::Certificate`].
    pub fn ca_sha256(&self) -> Result<[u8; 32], TrustError> {
        Ok(Sha256::digest(self.ca_der()?).into())
    }
}
