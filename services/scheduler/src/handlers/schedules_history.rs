//! `schedules-history`: what became of a schedule's firings, the newest first.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::messages::schedules::ScheduleHistory;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{Room, bad_cursor, page_size};
use crate::scheduler::{Scheduler, decode};
use crate::schedules::firing::schedule_stream;
use crate::schedules::history;
use crate::stored::Stored;

impl Scheduler {
    /// Lists a schedule's history; what was decided at one moment stands on one page.
    ///
    /// Errors: `not_found`, `invalid_field` for a cursor or a limit, `storage_failed`.
    pub async fn schedules_history(self: Arc<Self>, ctx: OperatorCtx) -> Reply<Page<ScheduleHistory>> {
        let entry = self.schedule_for(&ctx, Right::JobsRead)?;
        let limit = page_size(ctx.call.query("limit"))?;
        let before: Option<u64> = match ctx.call.query("cursor") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        };
        let slot = entry.slot.lock().await;
        let mut places: Vec<u64> = slot.recent.iter().copied().collect();
        drop(slot);
        places.retain(|place| before.is_none_or(|before| *place < before));
        let more = places.len() > limit;
        let places = places.split_off(places.len().saturating_sub(limit));
        let stream = schedule_stream(&entry.created.schedule)?;
        let mut events = Vec::with_capacity(places.len());
        let mut after = places.first().map_or(0, |first| first.saturating_sub(1));
        while events.len() < places.len() {
            let records = self.log.read_stream(&stream, after, places.len() - events.len());
            let records = records.map_err(|_| WireError::new(Code::StorageFailed, "the store failed"))?;
            let Some(last) = records.last() else { break };
            after = last.version;
            events.extend(records);
        }
        let (mut items, mut room, mut next) = (Vec::new(), Room::default(), places.first().filter(|_| more).copied());
        let mut last = None;
        for record in events.iter().rev() {
            let Ok(Some(Stored::Schedule(event))) = decode(record) else {
                continue;
            };
            let lines = history::lines(&event);
            if !room.takes(&lines)? {
                next = last;
                break;
            }
            items.extend(lines);
            last = Some(record.version);
        }
        Ok(Page {
            items,
            next_cursor: next.map(|next| next.to_string()),
            total: None,
        })
    }
}
