//! Why the server's program ends, and with which exit code.

use std::{io, net::SocketAddr};

use borealis_provision::{InitError, lock::LockError, nats_config::ConfigError, nats_server::NatsServerError};
use borealis_service_kit::{exit, run::RunError};
use thiserror::Error;

/// Says why the program ends.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Another server runs on the same root.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The keys could not be made.
    #[error("the deployment could not be set up")]
    Init(#[from] InitError),
    /// There is no nats-server to start.
    #[error(transparent)]
    NatsServer(#[from] NatsServerError),
    /// The bus's config could not be written.
    #[error("the bus cannot be started")]
    NatsConfig(#[from] ConfigError),
    /// A port is taken.
    #[error("port {} is in use ({what} wants {address}); name another one with {option}", address.port())]
    PortInUse {
        /// Who wants it.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The option that changes it.
        option: &'static str,
    },
    /// The system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("the log cannot be opened")]
    Log(#[from] borealis_logging::LogError),
    /// A service ended with an error.
    #[error("{service} cannot run")]
    Service {
        /// The service.
        service: &'static str,
        /// Why.
        #[source]
        source: RunError,
    },
    /// The gateway ended with an error.
    #[error("the gateway cannot run")]
    Gateway(#[source] borealis_gateway::RunError),
    /// A child ended with an exit code that a restart does not change.
    #[error("{name} cannot start: {said}")]
    Child {
        /// The child.
        name: String,
        /// Its exit code.
        code: u8,
        /// The last that it said.
        said: String,
    },
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl ServerError {
    /// Makes the error of something that the system refused.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| ServerError::Io { what, source }
    }

    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServerError::Lock(LockError::Taken { .. }) => exit::ROOT_IN_USE,
            ServerError::NatsServer(_) => exit::NATS_SERVER,
            ServerError::PortInUse { .. } => exit::PORT_IN_USE,
            ServerError::Service { source, .. } => source.exit_code(),
            ServerError::Gateway(source) => source.exit_code(),
            ServerError::Child { code, .. } => *code,
            _ => exit::FAILED,
        }
    }
}
