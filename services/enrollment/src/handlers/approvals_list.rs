//! `approvals-list`: enrolment requests, newest first.

use borealis_bus_schema::messages::enrollment::ApprovalView;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{Page, page};
use crate::aggregate::approval::Approval;
use crate::app::App;
use crate::error::Refusal;
use crate::views::approvals::show;

const STATES: [&str; 5] = ["pending", "approved", "denied", "expired", "completed"];

/// Lists the requests of the sites that the caller's right reaches, of one state or of all.
///
/// Errors: `invalid_field` for a state, limit or cursor that is none.
pub fn handle(app: &App, ctx: &OperatorCtx) -> Result<Page<ApprovalView>, Refusal> {
    let wanted = ctx.call.query("state").filter(|state| !state.is_empty());
    if let Some(text) = &wanted
        && !STATES.contains(&text.as_str())
    {
        return Err(Refusal::InvalidField {
            what: format!("state is one of {}", STATES.join(", ")),
        });
    }
    let state = app.ledger.state();
    let approvals: Vec<&Approval> = state
        .approvals()
        .filter(|approval| {
            wanted
                .as_deref()
                .is_none_or(|wanted| approval.state_text(ctx.now) == wanted)
        })
        .filter(|approval| ctx.caller.may(Right::ApprovalsRead, &approval.asked.site))
        .collect();
    let place = |approval: &&Approval| (approval.requested_at, approval.asked.id);
    page(&ctx.call, approvals, place, |approval| {
        show(&state, approval, &ctx.caller, ctx.now)
    })
}
