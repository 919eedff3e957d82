//! `jobs-request`: what a job asks for, for its author, who may do it again, and for whoever may approve it.
//!
//! An approval names digests. Whoever signs one computes them from what they read here and from the list of the job's runs,
//! so that nobody on the way makes them sign for something else.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{JobRequest, SignedRequest};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a job's request.
    ///
    /// Errors: `not_found`, `wrong_state` for another operator's job that takes no approval, `storage_failed`.
    pub async fn jobs_request(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobRequest> {
        let job = self.job_for(&ctx, Right::JobsRun)?;
        if !job.created.needs_approval && job.created.author != ctx.caller.operator {
            let text = "a job that takes no approval shows its request to its author alone";
            return Err(WireError::new(Code::WrongState, text));
        }
        let warrant = self.warrant(&job.created.file).await?;
        // Whoever let a schedule run signed for a digest; what that asks for is its author's request.
        let call = warrant.schedule.map_or(warrant.call, |schedule| schedule.call);
        Ok(JobRequest {
            job: job.created.job,
            request: SignedRequest::of(job.created.username.clone(), &call),
        })
    }
}
