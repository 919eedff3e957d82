//! `jobs-cancel`: runs that wait end at once, runs on a device are ended there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::JobView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::book::Job;
use crate::job;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Cancels a job.
    ///
    /// Errors: `not_found`, `wrong_state` when it was cancelled before, `conflict` when something else of the job came first,
    /// `storage_failed`.
    pub async fn jobs_cancel(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        let job = self.job_for(&ctx, Right::JobsCancel)?;
        // A task of its own: whoever asked may go away, and what is durable has its effect.
        let cancelled = tokio::spawn(self.cancel(job, ctx)).await;
        cancelled.unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the job could not be cancelled")))
    }

    async fn cancel(self: Arc<Self>, job: Arc<Job>, ctx: OperatorCtx) -> Reply<JobView> {
        let mut version = job.version.lock().await;
        let cancelled = job.cancelled.load(Ordering::Relaxed);
        let events = job::decide_cancel(cancelled, &ctx.caller.username, ctx.now)
            .map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        let view = JobView {
            cancelled: true,
            ..job.view()
        };
        self.append_of_job(&ctx, &job, &mut version, events, &view).await?;
        job.cancelled.store(true, Ordering::Relaxed);
        drop(version);
        // Each open run is looked at and ends, here or on its device; so it is after a restart, too.
        self.hasten((0u32..).zip(&job.slots).map(|(index, _)| job.key(index)));
        Ok(view)
    }
}
