//! An event log of a test that lets something happen at appends and reads.

use std::sync::Arc;

use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};
use tokio::sync::watch;

/// Is what happens at a log's appends and reads; nothing does unless it is told.
pub trait LogHooks: Send + Sync + 'static {
    /// Returns once the append may be made.
    ///
    /// Errors: whatever whoever appends is to be told.
    fn before_append<'a>(&'a self, _append: &'a Append) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Is told that events behind a position are to be read.
    ///
    /// Errors: whatever whoever reads is to be told.
    fn before_read(&self, _after: Position) -> Result<(), StoreError> {
        Ok(())
    }

    /// Is told what was read.
    fn after_read(&self, _records: &[EventRecord]) {}
}

/// Makes a log whose appends and reads go through hooks, which a test may keep a handle of.
pub fn hooked(inner: Arc<dyn EventLog>, hooks: Arc<impl LogHooks>) -> Arc<dyn EventLog> {
    Arc::new(Hooked { inner, hooks })
}

struct Hooked<H> {
    inner: Arc<dyn EventLog>,
    hooks: Arc<H>,
}

impl<H: LogHooks> EventLog for Hooked<H> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            self.hooks.before_append(&append).await?;
            self.inner.append(append).await
        })
    }
    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.hooks.before_read(after)?;
        let records = self.inner.read_all(after, limit)?;
        self.hooks.after_read(&records);
        Ok(records)
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
