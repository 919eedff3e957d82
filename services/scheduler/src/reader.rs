//! The one reader of the log: fills the feeds that followers read, and tells live views what happened.
//!
//! Events are published from here, behind the commit and in the log's order, never by a handler.

use std::sync::Arc;

use borealis_bus_schema::ids::VerbName;
use borealis_event_store::{EventRecord, Follower};
use serde_json::json;
use tracing::error;

use crate::run;
use crate::scheduler::{Scheduler, decode, feed};
use crate::stored::Stored;

impl Scheduler {
    /// Reads what is committed behind a position until the service stops.
    pub async fn read_log(self: Arc<Self>, after: u64) {
        let mut follower = Follower::new(Arc::clone(&self.log), after);
        loop {
            let page = tokio::select! {
                page = follower.next(512) => page,
                () = self.shutdown.wait() => return,
            };
            match page {
                Ok(records) => {
                    for record in &records {
                        self.tell(record).await;
                    }
                }
                Err(failed) => {
                    error!(
                        error = &failed as &dyn std::error::Error,
                        "the log cannot be read; followers see nothing new"
                    );
                    return;
                }
            }
        }
    }

    async fn tell(&self, record: &EventRecord) {
        let Ok(Some(stored)) = decode(record) else { return };
        match stored {
            Stored::Job(event) => {
                let past = match event {
                    crate::job::Event::Created(_) => "created",
                    crate::job::Event::Cancelled { .. } => "cancelled",
                };
                if let Some(id) = record.stream.as_str().strip_prefix("job-") {
                    self.publish("job", past, &json!({ "job": id })).await;
                }
            }
            Stored::Run(event) => {
                let Some((job, index)) = self.run_of_stream(record) else {
                    return;
                };
                feed(&job, index, record.position, &event);
                job.filled.send_replace(record.position);
                self.publish_run(&job, index, &event).await;
            }
        }
    }

    async fn publish_run(&self, job: &crate::book::Job, index: u32, event: &run::Event) {
        let Some(target) = job.target(index) else {
            return;
        };
        let run = borealis_bus_schema::ids::RunId::of_job(&job.created.job, &target.guid);
        let (past, state) = match event {
            run::Event::Delivered { .. } => ("delivered", "delivered"),
            run::Event::Started { .. } => ("running", "running"),
            run::Event::CancelRequested { .. } => ("cancel-requested", "running"),
            run::Event::Output { .. } => {
                self.publish("run", "output", &json!({ "run": run, "job": job.created.job }))
                    .await;
                return;
            }
            run::Event::Ended(end) => ("ended", end.state.as_str()),
        };
        let data = json!({ "run": run, "job": job.created.job, "guid": target.guid, "state": state });
        self.publish("run", past, &data).await;
        if matches!(event, run::Event::Ended(_)) && job.is_done() {
            self.publish("job", "done", &json!({ "job": job.created.job })).await;
        }
    }

    async fn publish(&self, aggregate: &str, past: &str, data: &serde_json::Value) {
        let (Ok(aggregate), Ok(past)) = (VerbName::new(aggregate), VerbName::new(past)) else {
            return;
        };
        // Live views read again what they missed; nothing else hears these.
        if let Err(failed) = self.bus.publish_event(&aggregate, &past, self.clock.now(), data).await {
            tracing::debug!(error = &failed as &dyn std::error::Error, "an event was not published");
        }
    }
}
