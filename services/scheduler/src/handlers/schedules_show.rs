//! `schedules-show`: one schedule, and who may see it.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::ScheduleId;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;
use crate::schedules::Entry;

impl Scheduler {
    /// Shows a schedule.
    ///
    /// Errors: `not_found`.
    pub async fn schedules_show(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        let entry = self.schedule_for(&ctx, Right::JobsRead)?;
        let slot = entry.slot.lock().await;
        Ok(entry.view(&slot))
    }

    /// Finds the schedule of the path, for a caller whose right reaches all of its devices; for others there is none.
    pub(crate) fn schedule_for(&self, ctx: &OperatorCtx, right: Right) -> Reply<Arc<Entry>> {
        let unknown = || WireError::new(Code::NotFound, "there is no such schedule");
        let id: ScheduleId = ctx.id()?;
        let entry = self.schedules.get(&id).ok_or_else(unknown)?;
        if self.may_schedule(ctx, right, &entry) {
            Ok(entry)
        } else {
            Err(unknown())
        }
    }

    /// Tells whether a caller's right reaches every device of a schedule; of one that finds its devices when it fires, every
    /// site that had any when it was made.
    pub(crate) fn may_schedule(&self, ctx: &OperatorCtx, right: Right, entry: &Entry) -> bool {
        let (caller, created) = (&ctx.caller, &entry.created);
        if caller.may_on_all(right) {
            return true;
        }
        if created.guids.is_empty() {
            let mut sites = created.sites.iter();
            return caller.devices.is_none() && !created.sites.is_empty() && sites.all(|site| caller.may(right, site));
        }
        self.devices
            .are_all(created.guids.iter(), |site, guid| caller.may_on(right, site, guid))
    }
}
