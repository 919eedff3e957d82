//! `jobs-continue`: an operator lets a job go on whose waves wait, or that its brake stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::JobView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::book::Job;
use crate::job;
use crate::rollout;
use crate::scheduler::Scheduler;
use crate::waves;

impl Scheduler {
    /// Continues a job.
    ///
    /// Errors: `not_found`, `wrong_state` for a job that does not wait to be continued, `conflict` when something else of the
    /// job came first, `storage_failed`.
    pub async fn jobs_continue(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        let job = self.job_for(&ctx, Right::JobsRun)?;
        // A task of its own: whoever asked may go away, and what is durable has its effect.
        let continued = tokio::spawn(self.go_on(job, ctx)).await;
        continued.unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the job could not be continued")))
    }

    async fn go_on(self: Arc<Self>, job: Arc<Job>, ctx: OperatorCtx) -> Reply<JobView> {
        let refused = || WireError::new(Code::WrongState, waves::Rejection::NotPaused.to_string());
        let mut version = job.version.lock().await;
        let waved = job.waves.as_ref().ok_or_else(refused)?;
        if job.cancelled.load(Ordering::Relaxed) || job.is_done() || job.awaits_approval() {
            return Err(refused());
        }
        let state = waved.state.lock().clone();
        let facts = rollout::facts_of(&job, waved, &self.devices, self.devices_are_fresh(), ctx.now);
        let events =
            waves::decide_continue(&waved.plan, &state, &facts, &ctx.caller.username).map_err(|_| refused())?;
        let after = events.iter().fold(state, waves::evolve);
        let view = job.view_with(Some(&after));
        let stored = events.iter().cloned().map(job::Event::Waves).collect();
        self.append_of_job(&ctx, &job, &mut version, stored, &view).await?;
        self.take_waves(&job, &events);
        drop(version);
        self.rolls(&job);
        Ok(view)
    }
}
