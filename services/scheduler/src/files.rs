//! Bodies that are too long for the log: warrants and lists of targets, files named by their digest.

use std::path::Path;
use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_event_store::{DigestFiles, StoreError};
use borealis_service_kit::operator::store_error;

/// Keeps and reads files by digest, off the async threads.
#[derive(Clone)]
pub struct Files(Arc<DigestFiles>);

impl Files {
    /// Opens the folder.
    ///
    /// Errors: the store's, when it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(DigestFiles::open(folder)?)))
    }

    /// Keeps a body; it is on disk when this returns.
    ///
    /// Errors: `storage_failed`.
    pub async fn put(&self, body: Vec<u8>) -> Reply<Digest> {
        let files = Arc::clone(&self.0);
        off(move || files.put(&body)).await.map(Digest)
    }

    /// Reads a body.
    ///
    /// Errors: `storage_failed`, also when the file is missing.
    pub async fn read(&self, digest: &Digest) -> Reply<Vec<u8>> {
        let (files, digest) = (Arc::clone(&self.0), digest.0);
        let found = off(move || files.read(&digest)).await?;
        found.ok_or_else(|| WireError::new(Code::StorageFailed, "a file that the log names is missing"))
    }

    /// Reads a body while the service starts.
    ///
    /// Errors: the store's; `None` when the file is missing.
    pub fn read_now(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(&digest.0)
    }
}

async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Reply<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a file could not be kept or read"
            );
            Err(store_error(&error))
        }
        Err(_) => Err(WireError::new(Code::StorageFailed, "the store failed")),
    }
}
