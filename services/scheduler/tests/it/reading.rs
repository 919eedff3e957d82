//! The reader of the log goes on after a read that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};
use borealis_service_kit::run::Deps;
use borealis_test_support::{TestService, append, eventually};
use tokio::sync::watch;

use crate::harness::World;

/// Is a log whose reads fail while it is told so.
struct FailingLog {
    inner: Arc<dyn EventLog>,
    fails: AtomicBool,
    failed: AtomicUsize,
    read_to: AtomicU64,
}

impl EventLog for FailingLog {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.inner.append(append)
    }
    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Broken {
                position: after,
                reason: "this read fails",
            });
        }
        let records = self.inner.read_all(after, limit)?;
        let last = records.last().map_or(0, |last| last.position);
        self.read_to.fetch_max(last, Ordering::SeqCst);
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

#[tokio::test]
async fn what_was_committed_while_the_log_could_not_be_read_is_read_afterwards() {
    let world = World::start().await;
    let enrollment = world.enrollment().await;
    let mut failing = None;
    let build = async |mut deps: Deps| {
        let log = Arc::new(FailingLog {
            inner: Arc::clone(&deps.log),
            fails: AtomicBool::new(false),
            failed: AtomicUsize::new(0),
            read_to: AtomicU64::new(0),
        });
        deps.log = log.clone();
        failing = Some(log);
        borealis_scheduler::build(deps).await
    };
    let scheduler = TestService::start(&world.bus, Service::Scheduler, build).await.unwrap();
    let failing = failing.unwrap();
    failing.fails.store(true, Ordering::SeqCst);
    append(scheduler.log.as_ref(), "noise-1", "Noise", Vec::new())
        .await
        .unwrap();
    eventually("a read that fails", async || {
        (failing.failed.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await
    .unwrap();
    failing.fails.store(false, Ordering::SeqCst);
    let position = scheduler.log.head().position;
    eventually("the reader at the log's end", async || {
        (failing.read_to.load(Ordering::SeqCst) >= position).then_some(())
    })
    .await
    .unwrap();
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
