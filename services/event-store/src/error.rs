//! What can go wrong in a store, and the one way out when its disk does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Position, StreamId, Version};

/// Exit code of a process whose store failed.
pub const STORAGE_EXIT_CODE: i32 = 74;

/// Says what is wrong with the storage itself; after one of these the log answers nothing else until it is opened again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused or failed an operation.
    #[error("the database failed to {operation}")]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// The database's own error.
        #[source]
        source: sled::Error,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A row cannot be read or does not continue the hash chain.
    #[error("the log is broken at position {position}: {reason}")]
    Broken {
        /// The first position that cannot be trusted.
        position: Position,
        /// What does not fit.
        reason: &'static str,
    },
    /// The database code panicked; it does so on damaged pages.
    #[error("the database ended abnormally while trying to {operation}: {detail}")]
    Panicked {
        /// What was attempted.
        operation: &'static str,
        /// The panic's message.
        detail: String,
    },
    /// Another process holds the store.
    #[error("{} is in use by another process (waited {waited_ms} ms for its lock)", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// How long the lock was tried.
        waited_ms: u64,
    },
    /// The store was written in a layout that this version does not know.
    #[error("store layout {found} is not known to this version")]
    UnknownLayout {
        /// What the store names.
        found: u32,
    },
    /// A value for a view is larger than rows may be.
    #[error("a row of view {view} has {len} bytes, at most {max} are allowed")]
    ViewRowTooLarge {
        /// The view's name.
        view: &'static str,
        /// Size of the value.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A view could not take an event.
    #[error("view {view} cannot take the event at position {position}: {reason}")]
    ViewRejected {
        /// The view's name.
        view: &'static str,
        /// The event's position.
        position: Position,
        /// What the view said.
        reason: String,
    },
    /// A file named by its digest has other content.
    #[error("file {digest} does not have the content its name promises")]
    DigestMismatch {
        /// The digest in the file's name.
        digest: String,
    },
    /// What an export is written to or read from failed.
    #[error("cannot {operation}")]
    Stream {
        /// What was attempted.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// An import was cut off; the store is not whole.
    #[error("an import into this store was cut off; remove {} and import again", path.display())]
    UnfinishedImport {
        /// The store's folder.
        path: PathBuf,
    },
    /// An export cannot be read back.
    #[error("the export is broken after position {position}: {reason}")]
    BadExport {
        /// Last position that was read and checked.
        position: Position,
        /// What does not fit.
        reason: &'static str,
    },
    /// Something was to be brought into a store that already holds events.
    #[error("the store already holds {position} events")]
    NotEmpty {
        /// Position of its last event.
        position: Position,
    },
}

impl StoreError {
    /// Tells whether it is the disk that has no room.
    pub fn is_full(&self) -> bool {
        let full = |error: &io::Error| {
            let kind = error.kind();
            matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        match self {
            StoreError::Database {
                source: sled::Error::Io(error),
                ..
            } => full(error),
            StoreError::File { source, .. } | StoreError::Stream { source, .. } => full(source),
            _ => false,
        }
    }

    pub(crate) fn database(operation: &'static str) -> impl FnOnce(sled::Error) -> Self {
        move |source| Self::Database { operation, source }
    }

    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            operation,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn stream(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stream {
            operation,
            source: Arc::new(source),
        }
    }

    pub(crate) fn panicked(operation: &'static str, payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let detail = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
            .to_owned();
        Self::Panicked { operation, detail }
    }
}

/// Says why an append was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream has moved on since the caller read it.
    #[error("stream {stream} is at version {actual}, not at {expected}")]
    Conflict {
        /// The stream that moved.
        stream: StreamId,
        /// What the caller expected.
        expected: Version,
        /// Where it stands.
        actual: Version,
    },
    /// The command id was used before for another command.
    #[error("the command id was used before for another command")]
    IdReused,
    /// A part of the append is larger than allowed.
    #[error("{what} has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The append contradicts itself.
    #[error("the append is not well formed: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store failed; whether the events were written is known after the next start, by the command id.
    #[error("the store failed")]
    Storage(#[source] StoreError),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Ends the process with the storage error's exit code, without running the database's own clean-up.
///
/// After a storage error sled panics when it is dropped and may write on; no destructor of a live value runs here.
pub fn storage_exit(error: &(dyn std::error::Error + 'static)) -> ! {
    tracing::error!(
        error = error,
        exit_code = STORAGE_EXIT_CODE,
        "the event store failed, the process ends"
    );
    std::process::exit(STORAGE_EXIT_CODE)
}
