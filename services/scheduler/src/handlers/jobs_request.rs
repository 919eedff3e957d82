//! `jobs-request`: what a job asks for, for whoever may approve it.
//!
//! An approval names digests. Whoever signs one computes them from what they read here and from the list of the job's runs,
//! so that nobody on the way makes them sign for something else.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::JobRequest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::job::Rejection;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a job's request.
    ///
    /// Errors: `not_found`, `wrong_state` for a job that takes no approval, `storage_failed`.
    pub async fn jobs_request(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobRequest> {
        let job = self.job_for(&ctx, Right::JobsRun)?;
        if !job.created.needs_approval {
            let refused = Rejection::NotAwaited;
            return Err(WireError::new(refused.code(), refused.to_string()));
        }
        let warrant = self.warrant(&job.created.file).await?;
        Ok(JobRequest::of(
            job.created.job,
            job.created.username.clone(),
            &warrant.call,
        ))
    }
}
