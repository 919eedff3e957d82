//! An identity on disk.
//!
//! **Shape.** Under `Certificates/Agent/Identity/<Context>/`: `agent_identity_private.ed25519` (seed, base64),
//! `agent_identity_public.ed25519` (base64), `agent_exchange_private.x25519` (base64), `guid.txt`, `ca.pem`,
//! `code_signing.pub` (the code-signing root, base64url), `refresh_token`, `credentials.json`. What is secret has mode 0600.
//! `guid.txt` is written last: with it, the identity is whole. While a key is replaced, `….next` holds the private keys that
//! were drawn (see [`super::rotate`]).

use super::enrol::{EnrolError, open_key_set};
use super::{Device, DeviceKeys};
use crate::paths::{Paths, private_folder, read_text, sync_entry, write_whole};
use crate::random::RandomError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{PublicKey, Signed};
use borealis_bus_schema::ids::{DeploymentId, Guid};
use borealis_bus_schema::messages::enrollment::{Credentials, SignedText, Trust};
use borealis_bus_schema::order::{Context, KeySet};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const PRIVATE: &str = "agent_identity_private.ed25519";
const PUBLIC: &str = "agent_identity_public.ed25519";
const EXCHANGE: &str = "agent_exchange_private.x25519";
const NEXT_PRIVATE: &str = "agent_identity_private.ed25519.next";
const NEXT_EXCHANGE: &str = "agent_exchange_private.x25519.next";

/// Says why an identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system refused.
    #[error("the identity file {} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("the identity file {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// What is kept does not belong together.
    #[error("the identity is damaged")]
    Trust(#[source] EnrolError),
    /// No keys could be made.
    #[error("no keys can be made")]
    Random(#[from] RandomError),
}

/// Keeps one identity.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    folder: PathBuf,
    key_set: PathBuf,
}

/// Is what `credentials.json` holds: everything but the refresh token, and the deployment.
#[derive(Serialize, Deserialize)]
struct Kept {
    deployment: DeploymentId,
    credentials: Credentials,
}

impl IdentityFiles {
    /// Names the files of a context.
    pub fn new(paths: &Paths, context: Context) -> Self {
        Self {
            folder: paths.identity(context),
            key_set: paths.key_set(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Reads the keys, or makes and keeps new ones.
    ///
    /// Errors: [`FilesError`]; damaged keys are never replaced.
    pub fn keys(&self) -> Result<DeviceKeys, FilesError> {
        if let Some(keys) = self.existing_keys()? {
            return Ok(keys);
        }
        let keys = DeviceKeys::generate()?;
        private_folder(&self.folder).map_err(|source| FilesError::Io {
            path: self.folder.clone(),
            source,
        })?;
        let (identity, exchange) = keys.seeds();
        self.write(EXCHANGE, STANDARD.encode(exchange).as_bytes(), 0o600)?;
        self.write(PUBLIC, STANDARD.encode(keys.public().as_bytes()).as_bytes(), 0o644)?;
        self.write(PRIVATE, STANDARD.encode(identity).as_bytes(), 0o600)?;
        Ok(keys)
    }

    fn existing_keys(&self) -> Result<Option<DeviceKeys>, FilesError> {
        let Some(identity) = self.read(PRIVATE)? else {
            return Ok(None);
        };
        let exchange = self.read(EXCHANGE)?.ok_or_else(|| self.damaged(EXCHANGE))?;
        let identity = key_bytes(&identity).ok_or_else(|| self.damaged(PRIVATE))?;
        let exchange = key_bytes(&exchange).ok_or_else(|| self.damaged(EXCHANGE))?;
        Ok(Some(DeviceKeys::of_seeds(identity, exchange)))
    }

    /// Reads the keys that were drawn to take the place of the present ones, if there are any.
    fn next_keys(&self) -> Result<Option<DeviceKeys>, FilesError> {
        let Some(identity) = self.read(NEXT_PRIVATE)? else {
            return Ok(None);
        };
        // Where the X25519 key is not beside its place it stands there already.
        let name = if self.at(NEXT_EXCHANGE).exists() {
            NEXT_EXCHANGE
        } else {
            EXCHANGE
        };
        let exchange = self.read(name)?.ok_or_else(|| self.damaged(name))?;
        let identity = key_bytes(&identity).ok_or_else(|| self.damaged(NEXT_PRIVATE))?;
        let exchange = key_bytes(&exchange).ok_or_else(|| self.damaged(name))?;
        Ok(Some(DeviceKeys::of_seeds(identity, exchange)))
    }

    /// Draws keys that are to take the place of the present ones, and keeps them beside; those that were drawn before stay.
    ///
    /// Errors: [`FilesError`].
    pub fn prepare(&self) -> Result<DeviceKeys, FilesError> {
        if let Some(keys) = self.next_keys()? {
            return Ok(keys);
        }
        let keys = DeviceKeys::generate()?;
        let (identity, exchange) = keys.seeds();
        self.write(NEXT_EXCHANGE, STANDARD.encode(exchange).as_bytes(), 0o600)?;
        self.write(NEXT_PRIVATE, STANDARD.encode(identity).as_bytes(), 0o600)?;
        Ok(keys)
    }

    /// Puts the keys that the server took into their place: the X25519 key, then, with which it is done, the identity key.
    ///
    /// Errors: [`FilesError`]; it may be done again.
    pub fn adopt(&self) -> Result<(), FilesError> {
        self.adopt_exchange()?;
        self.adopt_identity()
    }

    /// Puts the new X25519 key into its place.
    ///
    /// Errors: [`FilesError::Io`].
    pub fn adopt_exchange(&self) -> Result<(), FilesError> {
        self.rename(NEXT_EXCHANGE, EXCHANGE)
    }

    /// Puts the new identity key into its place.
    ///
    /// Errors: [`FilesError`].
    pub fn adopt_identity(&self) -> Result<(), FilesError> {
        self.rename(NEXT_PRIVATE, PRIVATE)?;
        self.tell_public()
    }

    /// Writes the public key beside the private one, where it does not stand there.
    fn tell_public(&self) -> Result<(), FilesError> {
        let Some(keys) = self.existing_keys()? else {
            return Ok(());
        };
        let public = STANDARD.encode(keys.public().as_bytes());
        if self.read(PUBLIC)?.as_deref() == Some(public.as_str()) {
            return Ok(());
        }
        self.write(PUBLIC, public.as_bytes(), 0o644)
    }

    /// Moves a file in one step; one that is not there was moved before.
    fn rename(&self, from: &str, to: &str) -> Result<(), FilesError> {
        let (from, to) = (self.at(from), self.at(to));
        let moved = match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_entry(&to),
        };
        moved.map_err(|source| FilesError::Io { path: from, source })
    }

    /// Reads the whole identity; `None` while the device is not enrolled.
    ///
    /// Errors: [`FilesError`].
    pub fn load(&self) -> Result<Option<Device>, FilesError> {
        let (Some(keys), Some(guid)) = (self.existing_keys()?, self.read("guid.txt")?) else {
            return Ok(None);
        };
        let guid: Guid = guid.parse().map_err(|_| self.damaged("guid.txt"))?;
        let missing = |name: &str| self.damaged(name);
        let ca_pem = self.read("ca.pem")?.ok_or_else(|| missing("ca.pem"))?;
        let root = self
            .read("code_signing.pub")?
            .ok_or_else(|| missing("code_signing.pub"))?;
        let code_signing_root: PublicKey = root.parse().map_err(|_| missing("code_signing.pub"))?;
        let kept = self
            .read("credentials.json")?
            .ok_or_else(|| missing("credentials.json"))?;
        let kept: Kept = serde_json::from_str(&kept).map_err(|_| missing("credentials.json"))?;
        let mut credentials = kept.credentials;
        credentials.refresh_token = self.read("refresh_token")?.unwrap_or_default();
        let trust = Trust {
            deployment: kept.deployment,
            ca_pem,
            code_signing_root,
            key_set: self.kept_key_set()?,
        };
        let key_set: KeySet = open_key_set(&trust).map_err(FilesError::Trust)?;
        self.tell_public()?;
        Ok(Some(Device {
            next: self.next_keys()?,
            keys,
            guid,
            trust,
            key_set,
            credentials,
        }))
    }

    /// Keeps a whole identity, the GUID last.
    ///
    /// Errors: [`FilesError::Io`].
    pub fn save(&self, device: &Device) -> Result<(), FilesError> {
        self.write("ca.pem", device.trust.ca_pem.as_bytes(), 0o644)?;
        self.write(
            "code_signing.pub",
            device.trust.code_signing_root.to_string().as_bytes(),
            0o644,
        )?;
        if let Some(signed) = device.trust.key_set.signed() {
            self.save_key_set(&signed)?;
        }
        self.save_credentials(device.trust.deployment, &device.credentials)?;
        self.write("guid.txt", device.guid.to_string().as_bytes(), 0o644)
    }

    /// Keeps fresh credentials: the refresh token first, because the one before it ends with its use.
    ///
    /// Errors: [`FilesError::Io`].
    pub fn save_credentials(&self, deployment: DeploymentId, credentials: &Credentials) -> Result<(), FilesError> {
        self.write("refresh_token", credentials.refresh_token.as_bytes(), 0o600)?;
        let kept = Kept {
            deployment,
            credentials: Credentials {
                refresh_token: String::new(),
                ..credentials.clone()
            },
        };
        let text = serde_json::to_vec(&kept).map_err(|_| self.damaged("credentials.json"))?;
        self.write("credentials.json", &text, 0o600)
    }

    /// Keeps a key set that was accepted.
    ///
    /// Errors: [`FilesError::Io`].
    pub fn save_key_set(&self, signed: &Signed) -> Result<(), FilesError> {
        let damaged = || FilesError::Damaged {
            path: self.key_set.clone(),
        };
        let bytes = codec::encode(signed).map_err(|_| damaged())?;
        keep(&self.key_set, &bytes, 0o600)
    }

    fn kept_key_set(&self) -> Result<SignedText, FilesError> {
        let io_error = |source| FilesError::Io {
            path: self.key_set.clone(),
            source,
        };
        let bytes = std::fs::read(&self.key_set).map_err(io_error)?;
        let signed: Signed = codec::decode(&bytes).map_err(|_| FilesError::Damaged {
            path: self.key_set.clone(),
        })?;
        Ok(SignedText::from(&signed))
    }

    fn damaged(&self, name: &str) -> FilesError {
        FilesError::Damaged { path: self.at(name) }
    }

    fn read(&self, name: &str) -> Result<Option<String>, FilesError> {
        let path = self.at(name);
        read_text(&path).map_err(|source| FilesError::Io { path, source })
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
        keep(&self.at(name), bytes, mode)
    }
}

fn keep(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
    write_whole(path, bytes, mode).map_err(|source| FilesError::Io {
        path: path.to_owned(),
        source,
    })
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn files(root: &Path) -> IdentityFiles {
        let paths = Paths::new(root, None);
        private_folder(&paths.state()).unwrap();
        IdentityFiles::new(&paths, Context::System)
    }

    #[test]
    fn given_new_keys_when_read_again_then_they_are_the_same_and_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        let first = files.keys().unwrap();
        assert_eq!(files.keys().unwrap().seeds(), first.seeds());
        assert!(files.load().unwrap().is_none(), "there is no GUID yet");
        for name in [PRIVATE, EXCHANGE] {
            let mode = std::fs::metadata(files.at(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let folder = std::fs::metadata(&files.folder).unwrap().permissions().mode();
        assert_eq!(folder & 0o777, 0o700);
    }

    #[test]
    fn given_new_keys_beside_the_old_ones_then_each_step_of_their_way_can_be_done_again() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        let old = files.keys().unwrap();
        let next = files.prepare().unwrap();
        assert_ne!(next.seeds(), old.seeds());
        assert_eq!(
            files.prepare().unwrap().seeds(),
            next.seeds(),
            "those drawn before stay"
        );
        for name in [NEXT_PRIVATE, NEXT_EXCHANGE] {
            let mode = std::fs::metadata(files.at(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(files.keys().unwrap().seeds(), old.seeds());
        for _ in 0..2 {
            files.adopt_exchange().unwrap();
            assert_eq!(files.next_keys().unwrap().unwrap().seeds(), next.seeds());
            assert_eq!(files.keys().unwrap().public(), old.public());
        }
        for _ in 0..2 {
            files.adopt().unwrap();
            assert!(files.next_keys().unwrap().is_none());
            assert_eq!(files.keys().unwrap().seeds(), next.seeds());
            let public = STANDARD.encode(next.public().as_bytes());
            assert_eq!(files.read(PUBLIC).unwrap(), Some(public));
        }
    }

    #[test]
    fn given_damaged_keys_then_they_are_reported_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        files.keys().unwrap();
        std::fs::write(files.at(PRIVATE), "zzz").unwrap();
        assert!(matches!(files.keys(), Err(FilesError::Damaged { .. })));
        assert_eq!(std::fs::read_to_string(files.at(PRIVATE)).unwrap(), "zzz");
    }
}
