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
    /// Names the file; nothing is written without a path.
    ///
    /// Errors: the working directory cannot be read.
    pub fn at(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self(path.map(std::path::absolute).transpose()?))
    }

    /// Writes the file by rename, mode 600, over an earlier one.
    ///
    /// Errors: it cannot be written.
    pub fn write(&self, content: &Content) -> io::Result<()> {
        let Some(path) = &self.0 else {
            return Ok(());
        };
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        keys::write_private(path, &text).map_err(io::Error::other)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_written_again_and_goes_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready.json");
        let file = ReadyFile::at(Some(&path)).unwrap();
        let mut content = Content {
            url: Some("https://h:1".to_owned()),
            nats_url: None,
            ca: "/ca.pem".into(),
            pid: 1,
            setup_link: Some("https://h:1/setup#s".to_owned()),
        };
        file.write(&content).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        content.setup_link = None;
        file.write(&content).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("setup") && !text.contains("null"), "{text}");
        drop(file);
        assert!(!path.exists());
    }
}
