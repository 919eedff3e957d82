//! What an agent is told from outside: options over environment over settings files.
//!
//! **Shape.** `Agent/Borealis/Settings/agent_settings.json`, then `agent_settings_<Context>.json`, then `server_url.txt`; the
//! JSON files hold `{"server_url", "installer_code", "context", "log_filter", "max_running"}`, all optional. What the context's
//! own file leaves out it inherits from the general one. An installer code may be `@FILE` there as well.

use crate::paths::{Paths, read_text};
use borealis_bus_schema::installer_code::{InstallerCode, InstallerCodeError};
use borealis_bus_schema::order::Context;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Says why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("the settings file {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is no JSON of the expected shape.
    #[error("the settings file {} is not understood", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Nobody said where the server is.
    #[error("no server address: give --server-url, BOREALIS_SERVER_URL or {}", path.display())]
    NoServer {
        /// The file that may hold it.
        path: PathBuf,
    },
    /// The installer code is none.
    #[error("the installer code cannot be used")]
    Code(#[from] InstallerCodeError),
}

/// Holds a text that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct HiddenText(String);

impl std::fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Holds what the files say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where the server is.
    pub server_url: Option<String>,
    /// The installer code, or `@FILE` with it.
    pub installer_code: Option<HiddenText>,
    /// With which rights the agent acts.
    pub context: Option<Context>,
    /// What is logged.
    pub log_filter: Option<String>,
    /// How many runs may be under way at once.
    pub max_running: Option<usize>,
}

impl Settings {
    /// Reads the files of a root; a context that is asked for decides which of them count.
    ///
    /// Errors: [`SettingsError`]; files that are not there are no error.
    pub fn load(paths: &Paths, asked: Option<Context>) -> Result<Self, SettingsError> {
        let folder = paths.settings();
        let mut settings = read_json(&folder.join("agent_settings.json"))?;
        let context = asked.or(settings.context).unwrap_or_else(default_context);
        let own = read_json(&folder.join(format!("agent_settings_{context}.json")))?;
        settings.context = Some(context);
        settings.server_url = own.server_url.or(settings.server_url);
        settings.installer_code = own.installer_code.or(settings.installer_code);
        settings.log_filter = own.log_filter.or(settings.log_filter);
        settings.max_running = own.max_running.or(settings.max_running);
        if settings.server_url.is_none() {
            settings.server_url = read(&folder.join("server_url.txt"))?.filter(|url| !url.is_empty());
        }
        Ok(settings)
    }

    /// Returns where the server is, an option or variable before the files.
    ///
    /// Errors: [`SettingsError::NoServer`].
    pub fn server(&self, paths: &Paths, asked: Option<String>) -> Result<String, SettingsError> {
        asked
            .or_else(|| self.server_url.clone())
            .ok_or_else(|| SettingsError::NoServer {
                path: paths.settings().join("server_url.txt"),
            })
    }
}

/// Returns the installer code: an option or variable before the files; none where nobody gave one.
///
/// Errors: as [`installer_code`].
pub fn code_of(asked: Option<&str>, settings: &Settings) -> Result<Option<InstallerCode>, SettingsError> {
    let text = asked.or_else(|| settings.installer_code.as_ref().map(|hidden| hidden.0.as_str()));
    text.filter(|text| !text.is_empty()).map(installer_code).transpose()
}

/// Returns the context that fits the rights of this process.
pub fn default_context() -> Context {
    if rustix::process::geteuid().is_root() {
        Context::System
    } else {
        Context::CurrentUser
    }
}

/// Reads an installer code: the code itself, or `@FILE`.
///
/// Errors: [`SettingsError::Io`], [`SettingsError::Code`]; neither repeats the code.
pub fn installer_code(text: &str) -> Result<InstallerCode, SettingsError> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|source| SettingsError::Io {
            path: path.into(),
            source,
        })?,
        None => text.to_owned(),
    };
    Ok(InstallerCode::parse(&text)?)
}

fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    read_text(path).map_err(|source| SettingsError::Io {
        path: path.to_owned(),
        source,
    })
}

fn read_json(path: &Path) -> Result<Settings, SettingsError> {
    match read(path)? {
        None => Ok(Settings::default()),
        Some(text) => serde_json::from_str(&text).map_err(|source| SettingsError::Shape {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_files_then_the_context_s_own_counts_more_and_options_most() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path(), None);
        std::fs::create_dir_all(paths.settings()).unwrap();
        assert!(matches!(
            Settings::default().server(&paths, None),
            Err(SettingsError::NoServer { .. })
        ));
        std::fs::write(paths.settings().join("server_url.txt"), "https://three:5000\n").unwrap();
        let settings = Settings::load(&paths, None).unwrap();
        assert_eq!(settings.server(&paths, None).unwrap(), "https://three:5000");
        std::fs::write(
            paths.settings().join("agent_settings.json"),
            r#"{"server_url":"https://two","context":"SYSTEM"}"#,
        )
        .unwrap();
        std::fs::write(
            paths.settings().join("agent_settings_SYSTEM.json"),
            r#"{"server_url":"https://one"}"#,
        )
        .unwrap();
        let settings = Settings::load(&paths, None).unwrap();
        assert_eq!(settings.server(&paths, None).unwrap(), "https://one");
        assert_eq!(
            settings.server(&paths, Some("https://zero".into())).unwrap(),
            "https://zero"
        );
        // The context's own file leaves out what it inherits.
        let code = InstallerCode::new([1; 16], [2; 32]);
        std::fs::write(
            paths.settings().join("agent_settings.json"),
            format!(
                r#"{{"context":"SYSTEM","max_running":7,"installer_code":"{}"}}"#,
                code.reveal()
            ),
        )
        .unwrap();
        let settings = Settings::load(&paths, None).unwrap();
        assert_eq!(
            (settings.max_running, settings.server_url.as_deref()),
            (Some(7), Some("https://one"))
        );
        assert_eq!(code_of(None, &settings).unwrap(), Some(code));
        assert!(!format!("{settings:?}").contains("BRL1-"));
        let other = InstallerCode::new([3; 16], [2; 32]);
        assert_eq!(code_of(Some(&other.reveal()), &settings).unwrap(), Some(other));
        let settings = Settings::load(&paths, Some(Context::CurrentUser)).unwrap();
        assert_eq!(settings.max_running, Some(7), "each context inherits");
        assert_eq!(settings.server(&paths, None).unwrap(), "https://three:5000");
        std::fs::write(paths.settings().join("agent_settings.json"), "{").unwrap();
        assert!(matches!(Settings::load(&paths, None), Err(SettingsError::Shape { .. })));
    }

    #[test]
    fn given_a_code_in_a_file_then_it_is_read_and_never_repeated() {
        let root = tempfile::tempdir().unwrap();
        let code = InstallerCode::new([1; 16], [2; 32]);
        let file = root.path().join("code");
        std::fs::write(&file, format!("{}\n", code.reveal())).unwrap();
        assert_eq!(installer_code(&format!("@{}", file.display())).unwrap(), code);
        let error = installer_code("BRL1-secretsecret").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret"));
    }
}
