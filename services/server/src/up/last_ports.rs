//! The ports of the last run: who asks for a free one gets the same again where it can be had, so that devices and browsers
//! find the server where they left it.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use borealis_service_kit::{keys, paths::Paths};
use serde::{Deserialize, Serialize};

/// Is what is kept.
///
/// Shape: JSON in `Server/State/nats/last_ports.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPorts {
    /// The bus's port.
    pub nats: u16,
    /// The web page's port.
    pub gateway: u16,
}

impl LastPorts {
    fn path(paths: &Paths) -> PathBuf {
        paths.nats_state().join("last_ports.json")
    }

    /// Reads what the last run left; zeros without one.
    pub fn read(paths: &Paths) -> Self {
        let read = std::fs::read(Self::path(paths)).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Keeps the ports for the next run.
    pub fn write(self, paths: &Paths) {
        let kept = serde_json::to_vec(&self)
            .map_err(std::io::Error::from)
            .and_then(|bytes| keys::write_private(&Self::path(paths), &bytes).map_err(std::io::Error::other));
        if let Err(error) = kept {
            tracing::warn!(%error, "the ports of this run are not kept for the next");
        }
    }
}

/// Returns the address with the last run's port, when any port will do and that one is free.
pub fn prefer(address: SocketAddr, last: u16) -> SocketAddr {
    let mut wanted = address;
    wanted.set_port(last);
    let free = address.port() == 0 && last != 0 && TcpListener::bind(wanted).is_ok();
    if free { wanted } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_port_is_taken_again_and_only_for_any() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let last = taken.local_addr().unwrap().port();
        assert_eq!(prefer(any, last), any);
        drop(taken);
        assert_eq!(prefer(any, last).port(), last);
        assert_eq!(prefer(any, 0), any);
        let named: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(prefer(named, last), named);
    }
}
