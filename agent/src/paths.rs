//! Where everything of the agent stands under its root.

use borealis_bus_schema::order::Context;
use std::io;
use std::path::{Path, PathBuf};

/// Names the folders and files of one agent.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    logs: PathBuf,
}

impl Paths {
    /// Makes the names below a root; logs stand in `Logs/` there unless they are wanted elsewhere.
    pub fn new(root: &Path, logs: Option<&Path>) -> Self {
        Self {
            root: root.to_owned(),
            logs: logs.map_or_else(|| root.join("Logs"), Path::to_owned),
        }
    }
    /// Returns the root.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Returns the folder that holds `Agent/` with the logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }
    /// Returns the identity's folder of a context.
    pub fn identity(&self, context: Context) -> PathBuf {
        self.root.join("Certificates/Agent/Identity").join(context.as_str())
    }
    /// Returns the settings' folder.
    pub fn settings(&self) -> PathBuf {
        self.root.join("Agent/Borealis/Settings")
    }
    /// Returns the state's folder.
    pub fn state(&self) -> PathBuf {
        self.root.join("Agent/State")
    }
    /// Returns the journal.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal")
    }
    /// Returns the folder of the runs.
    pub fn work(&self) -> PathBuf {
        self.state().join("work")
    }
    /// Returns the key set's file.
    pub fn key_set(&self) -> PathBuf {
        self.state().join("key_set")
    }
    /// Returns the file by which somebody at the device says that it shall draw a new identity key.
    pub fn new_key_wanted(&self) -> PathBuf {
        self.state().join("new_key_wanted")
    }
    /// Returns the lock that one agent per root holds.
    pub fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }
    /// Returns what a running agent says of itself.
    pub fn status(&self) -> PathBuf {
        self.state().join("status.json")
    }
    /// Returns an empty folder that stands for the platform's certificates, which this program never trusts.
    pub fn no_certificates(&self) -> PathBuf {
        self.state().join("no-platform-certificates")
    }
    /// Returns the file of simulated identities.
    pub fn simulated(&self) -> PathBuf {
        self.state().join("simulated.json")
    }
}

/// Makes a folder, with its parents, that only this user can enter.
///
/// Errors: what the system refused.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o777 != 0o700 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file beside its place, syncs it and renames it there: it is never half there.
///
/// Errors: what the system refused; the old file stays then.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_entry(path)
}

/// Makes the entry of a file in its folder durable.
///
/// Errors: what the system refused.
pub fn sync_entry(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a small text file without the white space around it; `None` when it is not there.
///
/// Errors: what the system refused, or text that is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
