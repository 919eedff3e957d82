//! Every path under the root, in one place.
//!
//! Nothing is written outside the root and the log folder: no system folder, no user profile, no system temp.

use std::{
    io,
    path::{Path, PathBuf},
};

use borealis_bus_schema::subjects::Service;
use serde::{Deserialize, Serialize};

/// Builds the paths of one deployment.
///
/// Shape: both folders are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
    logs: PathBuf,
}

impl Paths {
    /// Makes the paths of a root; logs stand in `Logs/` under it unless another folder is named.
    ///
    /// Errors: the working directory cannot be read (only for a relative folder).
    pub fn new(root: impl AsRef<Path>, logs: Option<&Path>) -> io::Result<Self> {
        let root = std::path::absolute(root.as_ref())?;
        let logs = match logs {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("Logs"),
        };
        Ok(Self { root, logs })
    }

    /// Returns the root.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Returns the folder that holds `Server/` and `Agent/` logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }
    /// Returns the folder of the server's logs.
    pub fn server_logs(&self) -> PathBuf {
        self.logs.join("Server")
    }

    /// Returns `Certificates/Server/`.
    pub fn certificates(&self) -> PathBuf {
        self.root.join("Certificates").join("Server")
    }
    /// Returns the CA root's certificate, which everyone may read.
    pub fn ca_pem(&self) -> PathBuf {
        self.certificates().join("ca.pem")
    }
    /// Returns what every service trusts; see [`crate::trust::TrustFile`].
    pub fn trust_json(&self) -> PathBuf {
        self.certificates().join("trust.json")
    }
    /// Returns the folder of one holder's private keys: a service's name, or `nats`.
    pub fn key_folder(&self, holder: &str) -> PathBuf {
        self.certificates().join(holder)
    }
    /// Returns the folder of a service's private keys.
    pub fn keys(&self, service: Service) -> PathBuf {
        self.key_folder(service.name())
    }
    /// Returns the key with which a service signs its heads.
    pub fn service_key(&self, service: Service) -> PathBuf {
        self.keys(service).join("service.ed25519")
    }
    /// Returns the seed of a service's bus user.
    pub fn bus_seed(&self, service: Service) -> PathBuf {
        self.keys(service).join("bus.seed")
    }
    /// Returns the JWT of a service's bus user.
    pub fn bus_jwt(&self, service: Service) -> PathBuf {
        self.keys(service).join("bus.jwt")
    }
    /// Returns the seed of the bus operator's signing key, with which enrollment signs the account.
    pub fn operator_signing_seed(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("operator_signing.seed")
    }
    /// Returns the seed of the account's signing key, with which enrollment signs devices' bus users.
    pub fn account_signing_seed(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("account_signing.seed")
    }
    /// Returns the seed of the system account's user.
    pub fn sys_seed(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("sys.seed")
    }
    /// Returns the JWT of the system account's user.
    pub fn sys_jwt(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("sys.jwt")
    }
    /// Returns the issuing CA's private key.
    pub fn issuing_ca_key(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("issuing_ca.key.pem")
    }
    /// Returns the issuing CA's certificate.
    pub fn issuing_ca_pem(&self) -> PathBuf {
        self.keys(Service::Enrollment).join("issuing_ca.pem")
    }
    /// Returns the on-line code-signing key.
    pub fn code_signing_key(&self) -> PathBuf {
        self.keys(Service::Signing).join("code_signing.ed25519")
    }
    /// Returns the key that signs biscuits.
    pub fn biscuit_root_key(&self) -> PathBuf {
        self.keys(Service::Access).join("biscuit_root.ed25519")
    }
    /// Returns what access needs to verify passwords; access makes it at its first start.
    pub fn opaque_setup(&self) -> PathBuf {
        self.keys(Service::Access).join("opaque_setup")
    }
    /// Returns the private key of a TLS leaf; the holder is `gateway` or `nats`.
    pub fn leaf_key(&self, holder: &str) -> PathBuf {
        self.key_folder(holder).join("leaf.key.pem")
    }
    /// Returns a TLS leaf with its issuing CA and the CA root behind it.
    pub fn leaf_pem(&self, holder: &str) -> PathBuf {
        self.key_folder(holder).join("leaf.pem")
    }

    /// Returns `Server/State/`.
    pub fn states(&self) -> PathBuf {
        self.root.join("Server").join("State")
    }
    /// Returns a service's state folder.
    pub fn state(&self, service: Service) -> PathBuf {
        self.states().join(service.name())
    }
    /// Returns the socket over which a running service answers `borealis-server store`.
    pub fn control_sock(&self, service: Service) -> PathBuf {
        self.state(service).join("control.sock")
    }
    /// Returns the file that one server holds locked.
    pub fn lock(&self) -> PathBuf {
        self.states().join("lock")
    }
    /// Returns the folder of nats-server's config and resolver.
    pub fn nats_state(&self) -> PathBuf {
        self.states().join("nats")
    }
    /// Returns nats-server's generated config.
    pub fn nats_conf(&self) -> PathBuf {
        self.nats_state().join("nats.conf")
    }
    /// Returns the folder where nats-server keeps account JWTs.
    pub fn nats_resolver(&self) -> PathBuf {
        self.nats_state().join("resolver")
    }
    /// Returns where the bus listens; see [`Ports`].
    pub fn ports_json(&self) -> PathBuf {
        self.nats_state().join("ports.json")
    }
    /// Returns the sealed roots.
    pub fn recovery(&self) -> PathBuf {
        self.root.join("Server").join("recovery.brl")
    }
    /// Returns the folder of fetched programs under the root.
    pub fn dependencies(&self) -> PathBuf {
        self.root.join("Dependencies")
    }
}

/// Says where the bus listens; written once nats-server answers, removed when it stops.
///
/// Shape: JSON in `Server/State/nats/ports.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The address for programs on this machine, `tls://127.0.0.1:4222`.
    pub nats: String,
    /// The addresses for devices, one for each public name.
    pub public: Vec<String>,
    /// nats-server's process id.
    pub pid: u32,
}

impl Ports {
    /// Reads the file; `None` while there is none.
    ///
    /// Errors: the file cannot be read or is no such JSON.
    pub fn read(paths: &Paths) -> io::Result<Option<Self>> {
        match std::fs::read(paths.ports_json()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_others_rely_on() {
        let paths = Paths::new("/r", None).unwrap();
        let below = |path: PathBuf| path.strip_prefix("/r").unwrap().display().to_string();
        assert_eq!(below(paths.ca_pem()), "Certificates/Server/ca.pem");
        assert_eq!(below(paths.keys(Service::Signing)), "Certificates/Server/signing");
        assert_eq!(below(paths.nats_conf()), "Server/State/nats/nats.conf");
        assert_eq!(below(paths.ports_json()), "Server/State/nats/ports.json");
        assert_eq!(below(paths.lock()), "Server/State/lock");
        assert_eq!(
            below(paths.control_sock(Service::Scheduler)),
            "Server/State/scheduler/control.sock"
        );
        assert_eq!(below(paths.server_logs()), "Logs/Server");
    }

    #[test]
    fn logs_may_stand_elsewhere() {
        let paths = Paths::new("/r", Some(Path::new("/l"))).unwrap();
        assert_eq!(paths.server_logs(), Path::new("/l/Server"));
    }
}
