//! Saying that a service answers: `Server/State/<service>/ready`, there while it does.

use std::io;
use std::path::PathBuf;

use borealis_bus_schema::subjects::Service;
use serde::{Deserialize, Serialize};

use crate::confine;
use crate::keys;
use crate::paths::Paths;

/// Is what the file says.
///
/// Shape: JSON, mode 600, written by rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The process that answers.
    pub pid: u32,
    /// Whether no other process of this user can read its keys.
    pub keys_isolated: bool,
}

/// Returns where the file stands.
pub fn path(paths: &Paths, service: Service) -> PathBuf {
    paths.state(service).join("ready")
}

/// Says that the service answers; takes it back when dropped.
#[derive(Debug)]
pub struct ReadyMark(PathBuf);

impl ReadyMark {
    /// Writes the file.
    ///
    /// Errors: it cannot be written.
    pub fn write(paths: &Paths, service: Service) -> io::Result<Self> {
        let ready = Ready {
            pid: std::process::id(),
            keys_isolated: confine::isolation().keys_isolated(),
        };
        let path = path(paths, service);
        keys::write_private(&path, &serde_json::to_vec(&ready)?).map_err(io::Error::other)?;
        Ok(Self(path))
    }
}

impl Drop for ReadyMark {
    fn drop(&mut self) {
        // Whoever reads it checks that the process lives.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes what a killed process left, before it could mislead.
pub fn clear(paths: &Paths, service: Service) {
    let _ = std::fs::remove_file(path(paths, service));
}

/// Reads what a service says; `None` while it does not answer.
pub fn read(paths: &Paths, service: Service) -> Option<Ready> {
    let bytes = std::fs::read(path(paths, service)).ok()?;
    serde_json::from_slice(&bytes).ok()
}
