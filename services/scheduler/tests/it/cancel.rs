//! A job for many devices is cancelled.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::{JobView, RunState};
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{Append, AppendError, BoxFuture};
use borealis_service_kit::random;
use borealis_service_kit::run::Deps;
use borealis_test_support::{LogHooks, TestService, eventually, hooked};
use tokio::sync::Barrier;

use crate::harness::{World, ends};

/// Is how many devices the job has.
const DEVICES: usize = 40;

/// Is a log that writes steps of runs only once all of them are there to be written.
struct Together {
    all: Barrier,
}

impl LogHooks for Together {
    fn before_append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move {
            if append
                .writes
                .iter()
                .any(|write| write.stream.as_str().starts_with("run-"))
            {
                self.all.wait().await;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_cancellation_is_answered_alike_twice_and_ends_all_runs_together() {
    let world = World::start().await;
    let guids: Vec<_> = (0..DEVICES)
        .map(|_| borealis_test_support::TestDevice::draw().guid)
        .collect();
    let job = world.seed_job(&guids).await;
    let enrollment = world.enrollment().await;
    let build = async |deps: Deps| {
        let together = Together {
            all: Barrier::new(DEVICES),
        };
        let log = hooked(Arc::clone(&deps.log), Arc::new(together));
        borealis_scheduler::build(Deps { log, ..deps }).await
    };
    let scheduler = TestService::start(&world.bus, Service::Scheduler, build).await.unwrap();
    let call = world.call("jobs-cancel", &job.to_string(), b"{}", random::id());
    let first = world.ask("jobs-cancel", &call).await.unwrap();
    let view: JobView = serde_json::from_str(&first).unwrap();
    assert!(view.cancelled);
    assert_eq!(world.ask("jobs-cancel", &call).await.unwrap(), first);
    eventually("the end of every run", async || {
        let ends = ends(&scheduler);
        let cancelled = ends.iter().all(|(_, end)| end.state == RunState::Cancelled);
        (ends.len() == DEVICES && cancelled).then_some(())
    })
    .await
    .unwrap();
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
