//! `codes-list`: installer codes, masked, newest first.

use borealis_bus_schema::messages::enrollment::CodeView;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{Page, page};
use crate::aggregate::code::Code;
use crate::app::App;
use crate::error::Refusal;
use crate::views::codes::show;

/// Lists the codes of the sites that the caller's right reaches.
///
/// Errors: `invalid_field` for a limit or cursor that is none.
pub fn handle(app: &App, ctx: &OperatorCtx) -> Result<Page<CodeView>, Refusal> {
    let state = app.ledger.state();
    let codes: Vec<&Code> = state
        .codes()
        .filter(|code| ctx.caller.may(Right::CodesRead, &code.minted.site))
        .collect();
    page(
        &ctx.call,
        codes,
        |code| (code.minted.created_at, code.minted.id),
        |code| show(code, ctx.now),
    )
}
