//! `approvals-approve`: makes a device of an enrolment request.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{ApprovalId, Guid};
use borealis_bus_schema::messages::enrollment::{ApprovalView, Approve};
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;

use super::{actor, reach, reach_object, stamp};
use crate::app::{App, Approver, admission};
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::approvals::show;

/// Approves a request; tags take the right to give them besides, since other operators' filters go by them.
///
/// Errors: `not_found`, `out_of_scope`, `right_missing`, `wrong_state`, `approval_expired`, `machine_conflict`, `invalid_field`,
/// `device_decommissioned`.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<ApprovalView, Refusal> {
    let id: ApprovalId = ctx.id()?;
    let wanted: Approve = ctx.body()?;
    let key = {
        let state = app.ledger.state();
        state.approval(&id).ok_or(NOT_FOUND)?.asked.public_key
    };
    let fresh = random::id::<Guid>();
    let actor = actor(ctx);
    let _turn = app.one_at_a_time(&key).await;
    let decide = |state: &State| -> Result<Outcome<ApprovalView>, Refusal> {
        let mut approval = state.approval(&id).ok_or(NOT_FOUND)?.clone();
        reach_object(ctx, &approval.asked.site, NOT_FOUND)?;
        if let Some(site) = &wanted.site {
            reach(ctx, site)?;
        }
        let site = wanted.site.as_ref().unwrap_or(&approval.asked.site);
        if !wanted.tags.is_empty() && !ctx.caller.may(Right::DevicesTag, site) {
            return Err(WireError::new(Code::RightMissing, "tags take the right devices.tag").into());
        }
        let events = admission(state, &approval, Approver::Operator(&actor), &wanted, fresh, ctx.now)?;
        for event in &events {
            if let Event::Approval(_, event) = event {
                approval.evolve(event);
            }
        }
        let view = show(state, &approval, &ctx.caller, ctx.now);
        Ok(Outcome { events, value: view })
    };
    app.ledger.command(stamp(ctx), Kept::Json, decide).await
}

pub(super) const NOT_FOUND: Refusal = Refusal::NotFound {
    what: "enrolment request",
};
