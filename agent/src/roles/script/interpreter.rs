//! Which program interprets a script.

use borealis_bus_schema::order::Language;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Is where programs are looked for, and what scripts get as `PATH`.
pub const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds a language's interpreter: in the usual folders, then in the agent's own `PATH`.
pub fn find(language: Language) -> Option<PathBuf> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(SEARCH).chain(std::env::split_paths(&own));
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_absolute()).collect();
    let candidates = names(language)
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|path| is_program(path))
}

const fn names(language: Language) -> &'static [&'static str] {
    match language {
        Language::Sh => &["sh"],
        Language::Bash => &["bash"],
        Language::Python => &["python3", "python"],
        Language::Powershell => &["pwsh"],
        Language::Batch => &["cmd.exe"],
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns what stands before the script's path.
pub fn arguments(language: Language) -> Vec<OsString> {
    match language {
        Language::Sh | Language::Bash => Vec::new(),
        // Output appears as it is printed, not when a buffer is full.
        Language::Python => vec!["-u".into()],
        Language::Powershell => vec![
            "-NoLogo".into(),
            "-NoProfile".into(),
            "-NonInteractive".into(),
            "-File".into(),
        ],
        Language::Batch => vec!["/d".into(), "/c".into()],
    }
}

/// Returns the script's file name.
pub const fn file_name(language: Language) -> &'static str {
    match language {
        Language::Powershell => "script.ps1",
        Language::Batch => "script.bat",
        _ => "script",
    }
}
