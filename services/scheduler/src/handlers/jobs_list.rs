//! `jobs-list`: the newest jobs first.

use std::sync::Arc;

use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::messages::scheduler::{JobView, Page};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::OperatorCtx;

use super::{bad_cursor, page_size};
use crate::book::Job;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Lists jobs.
    ///
    /// Errors: `invalid_field` for a cursor or a limit.
    pub async fn jobs_list(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<JobView>> {
        let limit = page_size(ctx.call.query("limit"))?;
        let before = ctx
            .call
            .query("cursor")
            .map(|text| read_cursor(&text).ok_or_else(bad_cursor))
            .transpose()?;
        let sees = |job: &Job| self.may(&ctx, Right::JobsRead, job);
        let mut jobs = self.book.newest(before, limit + 1, sees);
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let last = jobs
            .last()
            .map(|job| format!("{}.{}", job.created.created_at.unix_ms(), job.created.job));
        let items = jobs.iter().map(|job| job.view()).collect();
        Ok(Page {
            items,
            next_cursor: last.filter(|_| more),
            total: None,
        })
    }
}

fn read_cursor(text: &str) -> Option<(Timestamp, JobId)> {
    let (ms, job) = text.split_once('.')?;
    Some((Timestamp::from_unix_ms(ms.parse().ok()?), job.parse().ok()?))
}
