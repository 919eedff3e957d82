//! `schedules-list`: the newest schedules first.

use std::sync::Arc;

use borealis_bus_schema::ids::ScheduleId;
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::OperatorCtx;

use super::{bad_cursor, page_size};
use crate::scheduler::Scheduler;
use crate::schedules::Entry;

impl Scheduler {
    /// Lists schedules.
    ///
    /// Errors: `invalid_field` for a cursor or a limit.
    pub async fn schedules_list(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<ScheduleView>> {
        let limit = page_size(ctx.call.query("limit"))?;
        let before = ctx
            .call
            .query("cursor")
            .map(|text| read_cursor(&text).ok_or_else(bad_cursor))
            .transpose()?;
        let sees = |entry: &Entry| self.may_schedule(&ctx, Right::JobsRead, entry);
        let mut found = self.schedules.newest(before, limit + 1, sees);
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found
            .last()
            .map(|entry| format!("{}.{}", entry.created.created_at.unix_ms(), entry.created.schedule));
        let mut items = Vec::with_capacity(found.len());
        for entry in &found {
            let slot = entry.slot.lock().await;
            items.push(entry.view(&slot));
        }
        Ok(Page {
            items,
            next_cursor: last.filter(|_| more),
            total: None,
        })
    }
}

fn read_cursor(text: &str) -> Option<(Timestamp, ScheduleId)> {
    let (ms, id) = text.split_once('.')?;
    Some((Timestamp::from_unix_ms(ms.parse().ok()?), id.parse().ok()?))
}
