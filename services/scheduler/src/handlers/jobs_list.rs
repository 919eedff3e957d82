//! `jobs-list`: the newest jobs first.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::{JobView, Page};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{behind, page_size};
use crate::book::Job;
use crate::newest::cut;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Lists jobs.
    ///
    /// Errors: `invalid_field` for a cursor or a limit.
    pub async fn jobs_list(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<JobView>> {
        let limit = page_size(ctx.call.query("limit"))?;
        let sees = |job: &Job| self.may(&ctx, Right::JobsRead, job);
        let (jobs, next_cursor) = cut(self.book.newest(behind(&ctx)?, limit + 1, sees), limit);
        Ok(Page {
            items: jobs.iter().map(|job| job.view()).collect(),
            next_cursor,
            total: None,
        })
    }
}
