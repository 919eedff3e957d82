//! `schedules-list`: the newest schedules first.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{behind, page_size};
use crate::newest::cut;
use crate::scheduler::Scheduler;
use crate::schedules::Entry;

impl Scheduler {
    /// Lists schedules.
    ///
    /// Errors: `invalid_field` for a cursor or a limit.
    pub async fn schedules_list(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<ScheduleView>> {
        let limit = page_size(ctx.call.query("limit"))?;
        let sees = |entry: &Entry| self.may_schedule(&ctx, Right::JobsRead, entry);
        let (found, next_cursor) = cut(self.schedules.newest(behind(&ctx)?, limit + 1, sees), limit);
        let mut items = Vec::with_capacity(found.len());
        for entry in &found {
            let slot = entry.slot.lock().await;
            items.push(entry.view(&slot));
        }
        Ok(Page {
            items,
            next_cursor,
            total: None,
        })
    }
}
