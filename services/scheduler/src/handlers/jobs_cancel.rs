//! `jobs-cancel`: runs that wait end at once, runs on a device are ended there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::JobView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_event_store::StreamWrite;
use borealis_service_kit::operator::{OperatorCtx, wire_error};

use crate::commit::job_stream;
use crate::job;
use crate::run::Command;
use crate::scheduler::Scheduler;
use crate::stored::Stored;

impl Scheduler {
    /// Cancels a job.
    ///
    /// Errors: `not_found`, `wrong_state` when it was cancelled before, `storage_failed`.
    pub async fn jobs_cancel(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        let job = self.known_job(&ctx.id()?)?;
        let mut version = job.version.lock().await;
        let cancelled = job.cancelled.load(Ordering::Relaxed);
        let events = job::decide_cancel(cancelled, &ctx.caller.username, ctx.now)
            .map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        let events = events
            .into_iter()
            .map(|event| Stored::Job(event).encode())
            .collect::<Result<Vec<_>, _>>()?;
        let write = StreamWrite {
            stream: job_stream(&job.created.job)?,
            expected: *version,
            events,
        };
        let answer = serde_json::to_vec(&job.view()).map_err(|_| WireError::new(Code::Internal, "no JSON"))?;
        let appended = ctx.append_bytes(self.log.as_ref(), vec![write], answer).await;
        *version = appended.map_err(|error| wire_error(&error))?.last;
        job.cancelled.store(true, Ordering::Relaxed);
        drop(version);
        for (index, slot) in (0u32..).zip(&job.slots) {
            let mut slot = slot.lock().await;
            if slot.state.end.is_none() {
                let key = job.key(index);
                self.put(&job, key, &mut slot, vec![Command::Cancel { at: ctx.now }], ctx.now)
                    .await;
                if slot.state.end.is_none() {
                    self.hasten([key]);
                }
            }
        }
        Ok(job.view())
    }
}
