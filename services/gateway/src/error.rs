//! Why the gateway ends, with the exit code that its supervisor reads.

use std::{io, net::SocketAddr, path::PathBuf};

use borealis_service_kit::auth::AuthError;
use borealis_service_kit::bus::BusError;
use borealis_service_kit::keys::KeyFileError;
use borealis_service_kit::{exit, run};
use thiserror::Error;

/// Says why the gateway cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The port is taken by another program.
    #[error("the port of {address} is in use by another program")]
    PortInUse {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file that tells the address cannot be written.
    #[error("{} cannot be written", path.display())]
    Address {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: KeyFileError,
    },
    /// The TLS leaf or its key cannot be read.
    #[error("the private key of the certificate cannot be read")]
    LeafKey(#[source] KeyFileError),
    /// The certificate or its key is not what `init` makes.
    #[error("the certificate in {} cannot be used: {reason}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The process cannot start like any service.
    #[error(transparent)]
    Start(#[from] run::RunError),
    /// The bus cannot be used.
    #[error("the bus cannot be used")]
    Bus(#[from] BusError),
    /// Tokens cannot be judged.
    #[error("the key that signs biscuits cannot be used")]
    Auth(#[from] AuthError),
}

impl RunError {
    /// Returns the exit code of `borealis-server gateway`.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::PortInUse { .. } => exit::PORT_IN_USE,
            RunError::Start(error) => error.exit_code(),
            _ => exit::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_has_its_own_exit_code() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(RunError::PortInUse { address }.exit_code(), 76);
        let other = RunError::Listen {
            address,
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert_eq!(other.exit_code(), 70);
    }
}
