//! `schedules-list`: the newest schedules first.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{Room, behind, page_size};
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
        let mut found = self.schedules.newest(behind(&ctx)?, limit + 1, sees);
        let (mut items, mut room) = (Vec::new(), Room::default());
        for (_, entry) in found.iter().take(limit) {
            let view = entry.view(&*entry.slot.lock().await);
            if !room.takes(&view)? {
                break;
            }
            items.push(view);
        }
        found.truncate(items.len() + 1);
        let (_, next_cursor) = cut(found, items.len());
        Ok(Page {
            items,
            next_cursor,
            total: None,
        })
    }
}
