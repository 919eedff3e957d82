//! `jobs-cancel`: runs that wait end at once, runs on a device are ended there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::JobView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_event_store::{AppendError, StreamWrite};
use borealis_service_kit::operator::{OperatorCtx, wire_error};

use crate::commit::job_stream;
use crate::job;
use crate::scheduler::Scheduler;
use crate::stored::Stored;

impl Scheduler {
    /// Cancels a job.
    ///
    /// Errors: `not_found`, `wrong_state` when it was cancelled before, `storage_failed`.
    pub async fn jobs_cancel(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        let job = self.job_for(&ctx, Right::JobsCancel)?;
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
        if matches!(appended, Err(AppendError::Conflict { .. })) {
            // An append whose caller went away was made all the same.
            let now_at = self.log.stream_version(&job_stream(&job.created.job)?);
            *version = now_at.map_err(|_| WireError::new(Code::StorageFailed, "the store failed"))?;
        }
        *version = appended.map_err(|error| wire_error(&error))?.last;
        job.cancelled.store(true, Ordering::Relaxed);
        drop(version);
        // Each open run is looked at and ends, here or on its device; so it is after a restart, too.
        self.hasten((0u32..).zip(&job.slots).map(|(index, _)| job.key(index)));
        Ok(job.view())
    }
}
