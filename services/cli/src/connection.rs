//! Which server, which CA, which session: from options, environment and the stored session, in this order.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::operator::OperatorToken;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::args::ServerArgs;
use crate::error::CliError;
use crate::secret;

/// Is where a server listens by default.
pub const DEFAULT_URL: &str = "https://localhost:5000";

/// Is a session as it is stored.
///
/// Shape: JSON in `Certificates/Cli/session`, mode 600.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    /// The server.
    pub url: String,
    /// The CA certificate, PEM.
    pub ca_pem: String,
    /// The whole token.
    pub token: String,
    /// The session.
    pub session_id: SessionId,
}

/// Is how to reach the server.
pub struct Connection {
    /// The server.
    pub url: String,
    /// The CA certificate, PEM.
    pub ca_pem: String,
    /// The session's key and biscuit, once there is a log-in.
    pub token: Option<OperatorToken>,
    /// The session, where it is known without asking.
    pub session: Option<SessionId>,
    /// Where a session is stored, when a root was given.
    pub store: Option<PathBuf>,
}

impl Connection {
    /// Gathers what is known.
    ///
    /// Errors: [`CliError::File`], [`CliError::Token`], and [`CliError::Usage`] when no CA is named.
    pub fn gather(args: &ServerArgs) -> Result<Self, CliError> {
        let store = args.root.as_deref().map(session_path);
        let stored = match store.clone().or_else(installed_session) {
            Some(path) => read(&path)?,
            None => None,
        };
        let (token, session) = match (&args.token, &stored) {
            (Some(text), _) => (Some(secret::resolve(text)?.parse()?), None),
            (None, Some(stored)) => (Some(stored.token.parse()?), Some(stored.session_id)),
            (None, None) => (None, None),
        };
        let ca_pem = match (&args.ca, &args.root, &stored) {
            (Some(ca), ..) => read_ca(ca)?,
            (None, _, Some(stored)) => stored.ca_pem.clone(),
            (None, Some(root), None) => read_file(&root.join("Certificates/Server/ca.pem"))?,
            (None, None, None) => {
                return Err(CliError::Usage(
                    "no CA certificate: name its file by --ca or BOREALIS_CA, or the deployment's folder by --root"
                        .to_owned(),
                ));
            }
        };
        let stored_url = stored.map(|stored| stored.url);
        let url = args
            .url
            .clone()
            .or(stored_url)
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        Ok(Self {
            url,
            ca_pem,
            token,
            session,
            store,
        })
    }
}

/// Returns where the session of a root is stored.
pub fn session_path(root: &Path) -> PathBuf {
    root.join("Certificates").join("Cli").join("session")
}

/// Finds a session stored under the folder where this program is installed.
fn installed_session() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let root = if folder.file_name().is_some_and(|name| name == "bin") {
        folder.parent()?
    } else {
        folder
    };
    Some(session_path(root)).filter(|path| path.exists())
}

fn failed(path: &Path, did: &'static str) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { path, did, source }
}

fn read_file(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(failed(path, "read"))
}

fn read_ca(text: &str) -> Result<String, CliError> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(text.to_owned());
    }
    read_file(Path::new(text.strip_prefix('@').unwrap_or(text)))
}

/// Reads a stored session; `None` when there is none.
///
/// Errors: [`CliError::File`] when others may read it or it is damaged.
pub fn read(path: &Path) -> Result<Option<Stored>, CliError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "read")(error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        let open = std::io::Error::new(ErrorKind::PermissionDenied, "others may read it; log in again");
        return Err(failed(path, "trusted")(open));
    }
    let text = Zeroizing::new(read_file(path)?);
    serde_json::from_str(&text).map(Some).map_err(|_| {
        failed(path, "read")(std::io::Error::new(
            ErrorKind::InvalidData,
            "it is damaged; log in again",
        ))
    })
}

/// Stores a session so that only its owner can read it.
///
/// Errors: [`CliError::File`].
pub fn write(path: &Path, stored: &Stored) -> Result<(), CliError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed(folder, "made"))?;
    let text = serde_json::to_string(stored).map(Zeroizing::new);
    let text = text.map_err(|e| failed(path, "written")(e.into()))?;
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        // The half-written file holds a token; the error that is reported is the first one.
        let _ = fs::remove_file(&fresh);
        failed(path, "written")(error)
    })
}

/// Removes a stored session.
///
/// Errors: [`CliError::File`].
pub fn forget(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "removed")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        Stored {
            url: "https://h:1".into(),
            ca_pem: "pem".into(),
            token: format!("brl1.{}.b", "A".repeat(43)),
            session_id: SessionId::from_bytes([1; 16]),
        }
    }

    #[test]
    fn a_session_is_stored_for_its_owner_only_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let path = session_path(root.path());
        assert!(read(&path).unwrap().is_none());
        write(&path, &stored()).unwrap();
        write(&path, &stored()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let args = ServerArgs {
            root: Some(root.path().to_owned()),
            ..ServerArgs::default()
        };
        let found = Connection::gather(&args).unwrap();
        assert_eq!((found.url.as_str(), found.ca_pem.as_str()), ("https://h:1", "pem"));
        assert!(found.token.is_some());
        forget(&path).unwrap();
        forget(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_session_that_others_can_read_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let path = session_path(root.path());
        write(&path, &stored()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(CliError::File { .. })));
    }

    #[test]
    fn options_come_before_what_is_stored() {
        let root = tempfile::tempdir().unwrap();
        write(&session_path(root.path()), &stored()).unwrap();
        let args = ServerArgs {
            url: Some("https://other".into()),
            ca: Some("-----BEGIN CERTIFICATE-----".into()),
            token: Some(format!("brl1.{}.other", "B".repeat(42) + "A")),
            root: Some(root.path().to_owned()),
            ..ServerArgs::default()
        };
        let found = Connection::gather(&args).unwrap();
        assert_eq!(found.url, "https://other");
        assert_eq!(found.token.unwrap().biscuit, "other");
        assert_eq!(found.session, None);
    }

    #[test]
    fn without_a_ca_nothing_is_trusted() {
        assert!(matches!(
            Connection::gather(&ServerArgs::default()),
            Err(CliError::Usage(_))
        ));
    }
}
