//! `jobs-show`: one job with how many runs are in each state.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::JobView;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a job.
    ///
    /// Errors: `not_found`.
    pub async fn jobs_show(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobView> {
        Ok(self.job_for(&ctx, Right::JobsRead)?.view())
    }
}
