//! An event log of a test that lets something happen before each append.

use std::sync::Arc;

use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};
use tokio::sync::watch;

/// Is what happens before each append: it may hold it up, or refuse it.
pub trait BeforeAppend: Send + Sync + 'static {
    /// Returns once the append may be made.
    ///
    /// Errors: whatever whoever appends is to be told.
    fn before<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<(), AppendError>>;
}

/// Makes a log whose appends wait for something.
pub fn held_up(inner: Arc<dyn EventLog>, by: impl BeforeAppend) -> Arc<dyn EventLog> {
    Arc::new(HeldUp { inner, by })
}

struct HeldUp<B> {
    inner: Arc<dyn EventLog>,
    by: B,
}

impl<B: BeforeAppend> EventLog for HeldUp<B> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            self.by.before(&append).await?;
            self.inner.append(append).await
        })
    }
    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.read_all(after, limit)
    }
    fn read_stream(&self, stream: &StreamId, after: Version, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.read_stream(stream, after, limit)
    }
    fn stream_version(&self, stream: &StreamId) -> Result<Version, StoreError> {
        self.inner.stream_version(stream)
    }
    fn head(&self) -> Head {
        self.inner.head()
    }
    fn subscribe(&self) -> watch::Receiver<Head> {
        self.inner.subscribe()
    }
    fn command(&self, command_id: &[u8; 16]) -> Result<Option<CommandRecord>, StoreError> {
        self.inner.command(command_id)
    }
    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.flush_and_close()
    }
}
