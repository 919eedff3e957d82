//! `schedules-request`: what a schedule asks for, as its author signed it.

use std::sync::Arc;

use borealis_bus_schema::messages::scheduler::SignedRequest;
use borealis_bus_schema::messages::schedules::ScheduleRequest;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;

impl Scheduler {
    /// Shows a schedule's request.
    ///
    /// Errors: `not_found`, `storage_failed`.
    pub async fn schedules_request(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleRequest> {
        let entry = self.schedule_for(&ctx, Right::JobsRun)?;
        let call = self.warrant(&entry.created.file).await?.call;
        let created = &entry.created;
        Ok(ScheduleRequest {
            schedule: created.schedule,
            request: SignedRequest::of(created.username.clone(), &call),
        })
    }
}
