//! The reader of the log goes on after a read that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{EventRecord, Position, StoreError};
use borealis_service_kit::run::Deps;
use borealis_test_support::{LogHooks, TestService, append, eventually, hooked};

use crate::harness::World;

/// Fails reads while it is told so.
#[derive(Default)]
struct FailingReads {
    fails: AtomicBool,
    failed: AtomicUsize,
    read_to: AtomicU64,
}

impl LogHooks for FailingReads {
    fn before_read(&self, after: Position) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Broken {
                position: after,
                reason: "this read fails",
            });
        }
        Ok(())
    }
    fn after_read(&self, records: &[EventRecord]) {
        let last = records.last().map_or(0, |last| last.position);
        self.read_to.fetch_max(last, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_was_committed_while_the_log_could_not_be_read_is_read_afterwards() {
    let world = World::start().await;
    let enrollment = world.enrollment().await;
    let failing = Arc::new(FailingReads::default());
    let build = async |deps: Deps| {
        let log = hooked(Arc::clone(&deps.log), Arc::clone(&failing));
        borealis_scheduler::build(Deps { log, ..deps }).await
    };
    let scheduler = TestService::start(&world.bus, Service::Scheduler, build).await.unwrap();
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
