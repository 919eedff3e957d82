//! `runs-show`: one run.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::RunView;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;

use super::no_such_run;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a run.
    ///
    /// Errors: `not_found`.
    pub async fn runs_show(self: Arc<Self>, ctx: OperatorCtx) -> Reply<RunView> {
        let (job, index) = self.run_for(&ctx)?;
        let view = job.run_view(index).await;
        view.ok_or_else(no_such_run)
    }
}
