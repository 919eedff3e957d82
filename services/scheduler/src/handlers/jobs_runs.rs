//! `jobs-runs`: a job's runs, in the order of its devices.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::{Page, RunView};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{bad_cursor, page_size};
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Lists a job's runs.
    ///
    /// Errors: `not_found`, `invalid_field` for a cursor or a limit.
    pub async fn jobs_runs(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<RunView>> {
        let job = self.job_for(&ctx, Right::JobsRead)?;
        let limit = page_size(ctx.call.query("limit"))?;
        let from: u32 = match ctx.call.query("cursor") {
            Some(text) => text.parse().map_err(|_| bad_cursor())?,
            None => 0,
        };
        let mut items = Vec::with_capacity(limit);
        let mut at = from;
        while items.len() < limit
            && let Some(view) = job.run_view(at).await
        {
            items.push(view);
            at += 1;
        }
        let more = u64::from(at) < job.created.runs_total;
        Ok(Page {
            items,
            next_cursor: more.then(|| at.to_string()),
            total: Some(job.created.runs_total),
        })
    }
}
