//! `approvals-deny`: refuses an enrolment request.

use borealis_bus_schema::ids::ApprovalId;
use borealis_bus_schema::messages::enrollment::{ApprovalView, Deny};
use borealis_service_kit::operator::OperatorCtx;

use super::approvals_approve::NOT_FOUND;
use super::{reach_object, stamp};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::approvals::show;

/// Denies a request.
///
/// Errors: `not_found`, `wrong_state`, `approval_expired`, `invalid_field`.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<ApprovalView, Refusal> {
    let id: ApprovalId = ctx.id()?;
    let Deny { reason } = ctx.body()?;
    let decide = |state: &State| -> Result<Outcome<ApprovalView>, Refusal> {
        let mut approval = state.approval(&id).ok_or(NOT_FOUND)?.clone();
        reach_object(ctx, &approval.asked.site, NOT_FOUND)?;
        let event = approval.deny(&reason, &ctx.caller.username, ctx.now)?;
        approval.evolve(&event);
        let view = show(state, &approval, &ctx.caller, ctx.now);
        Ok(Outcome {
            events: vec![Event::Approval(id, event)],
            value: view,
        })
    };
    app.ledger.command(stamp(ctx), Kept::Json, decide).await
}
