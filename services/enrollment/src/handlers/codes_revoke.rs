//! `codes-revoke`: makes an installer code worthless.

use borealis_bus_schema::ids::CodeId;
use borealis_bus_schema::messages::enrollment::CodeView;
use borealis_service_kit::operator::OperatorCtx;

use super::{reach_object, stamp};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::codes::show;

/// Revokes a code; revoking it again changes nothing.
///
/// Errors: `not_found`, also for a code of a site that the caller does not reach.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<CodeView, Refusal> {
    let id: CodeId = ctx.id()?;
    let decide = |state: &State| -> Result<Outcome<CodeView>, Refusal> {
        let mut code = state.code(&id).ok_or(NOT_FOUND)?.clone();
        reach_object(ctx, &code.minted.site, NOT_FOUND)?;
        let event = code.revoke(&ctx.caller.username, ctx.now);
        if let Some(event) = &event {
            code.evolve(event);
        }
        let view = show(&code, ctx.now);
        Ok(Outcome {
            events: event.into_iter().map(|event| Event::Code(id, event)).collect(),
            value: view,
        })
    };
    app.ledger.command(stamp(ctx), Kept::Json, decide).await
}

const NOT_FOUND: Refusal = Refusal::NotFound { what: "installer code" };
