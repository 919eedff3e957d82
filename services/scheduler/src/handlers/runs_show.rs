//! `runs-show`: one run.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::RunView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a run.
    ///
    /// Errors: `not_found`.
    pub async fn runs_show(self: Arc<Self>, ctx: OperatorCtx) -> Reply<RunView> {
        let (job, index) = self.run_for(&ctx)?;
        let view = job.run_view(index).await;
        view.ok_or_else(|| WireError::new(Code::NotFound, "there is no such run"))
    }
}
