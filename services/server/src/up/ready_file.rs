//! The file that says that everything answers, and where.

use std::{
    io,
    path::{Path, PathBuf},
};

use borealis_service_kit::keys;
use serde::Serialize;

/// Is what the file says; members without a value are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Content {
    /// Where browsers, programs and devices reach the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the bus listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_url: Option<String>,
    /// The CA root's certificate.
    pub ca: PathBuf,
    /// The server's process.
    pub pid: u32,
    /// The link for the first operator, while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_link: Option<String>,
}

/// Is the file, taken back when dropped.
#[derive(Debug)]
pub struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// Writes the file by rename, mode 600; does nothing without a path.
    ///
    /// Errors: it cannot be written.
    pub fn write(path: Option<&Path>, content: &Content) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let path = std::path::absolute(path)?;
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        keys::write_private(&path, &text).map_err(io::Error::other)?;
        Ok(Self(Some(path)))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Whoever reads it checks that the process lives.
            let _ = std::fs::remove_file(path);
        }
    }
}
