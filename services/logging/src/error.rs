//! Why a log could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A service's name is a file name: lower-case letters, digits, dots and hyphens, beginning with a letter.
    #[error("{name:?} cannot name a log file")]
    Name {
        /// The name that was refused.
        name: String,
    },
    /// The folder could not be made, or not be closed to others.
    #[error("log folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file could not be opened or renamed.
    #[error("log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process writes this log; one file has one owner.
    #[error("log file {} is owned by another running process{}", path.display(), owner_text(*owner))]
    Owned {
        /// The file.
        path: PathBuf,
        /// The process id that the owner left, where it could be read.
        owner: Option<u32>,
    },
    /// The filter is not a list of `target=level` directives.
    #[error("log filter {filter:?}")]
    Filter {
        /// The filter that was refused.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already; it is set up once, at the start of `main`.
    #[error("the log of this process is already set up")]
    AlreadySet,
}

fn owner_text(owner: Option<u32>) -> String {
    owner.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
