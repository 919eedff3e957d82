//! The secret of the set-up link: in a file that only this user may read, by its public key in the log.
//!
//! The file is written before the event, so that a crash in between leaves a secret that opens nothing; the next start
//! makes another. Once there is an operator the file goes.

use std::path::PathBuf;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::seeds::LinkSecret;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::keys;
use borealis_service_kit::paths::Paths;
use zeroize::Zeroizing;

use crate::aggregate::Setup;
use crate::error::AccessError;

/// Knows where the secret stands.
#[derive(Debug, Clone)]
pub struct SetupLink {
    path: PathBuf,
}

impl SetupLink {
    /// Names the file under the root.
    pub fn new(paths: &Paths) -> Self {
        let path = paths.state(Service::Access).join("setup_secret");
        Self { path }
    }

    /// Returns the secret when it is the one that opens set-up.
    ///
    /// Errors: the file is not private.
    pub fn read(&self, setup: Setup) -> Result<Option<Zeroizing<String>>, AccessError> {
        let Setup::Open(expected) = setup else {
            return Ok(None);
        };
        if !self.path.exists() {
            return Ok(None);
        }
        let secret = keys::read_private_text(&self.path, "set-up secret")?;
        let link = LinkSecret::parse(&secret).ok();
        Ok(link.filter(|link| link.public_key() == expected).map(|_| secret))
    }

    /// Writes a new secret and returns its public key.
    ///
    /// Errors: the file cannot be written.
    pub fn renew(&self, random: [u8; 32]) -> Result<PublicKey, AccessError> {
        let link = LinkSecret::new(random);
        keys::write_private(&self.path, Zeroizing::new(link.reveal()).as_bytes())?;
        Ok(link.public_key())
    }

    /// Removes the file; nothing is left to open.
    ///
    /// Errors: it is there and cannot be removed.
    pub fn remove(&self) -> Result<(), AccessError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AccessError::SecretFile(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_private_opens_only_its_own_link_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path(), None).unwrap();
        keys::private_folder(&paths.state(Service::Access)).unwrap();
        let link = SetupLink::new(&paths);
        assert!(
            link.read(Setup::Open(PublicKey::from_bytes([1; 32])))
                .unwrap()
                .is_none()
        );
        let expected = link.renew([7; 32]).unwrap();
        let mode = std::fs::metadata(&link.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let secret = link.read(Setup::Open(expected)).unwrap().unwrap();
        assert_eq!(LinkSecret::parse(&secret).unwrap().public_key(), expected);
        assert!(
            link.read(Setup::Open(PublicKey::from_bytes([1; 32])))
                .unwrap()
                .is_none()
        );
        assert!(link.read(Setup::Done).unwrap().is_none());
        link.remove().unwrap();
        link.remove().unwrap();
        assert!(link.read(Setup::Open(expected)).unwrap().is_none());
    }
}
