//! `codes-create`: mints an installer code and shows it once.

use borealis_bus_schema::ids::{CodeId, CommandId};
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::enrollment::{CodeView, CreateCode};
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;

use super::{reach, stamp};
use crate::aggregate::code::{Code, CodeEvent, Mint, mint};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::codes::show;

/// Is how much of a code is shown later: its prefix and four characters, 20 of 128 secret bits.
const MASK_CHARS: usize = 9;

/// Mints an installer code.
///
/// The code's secret is computed from the command's id, so that the same command gives the same code, while the log holds
/// only its digest, and the kept answer of the command holds no code at all: it is added each time.
///
/// Errors: `invalid_field`, `out_of_scope`.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<CodeView, Refusal> {
    let code = code_of(app, &ctx.command);
    let view = match app.ledger.answered(&ctx.command, Kept::Cbor)? {
        Some(first) => first,
        None => create(app, ctx, &code).await?,
    };
    Ok(CodeView {
        code: Some(code.reveal()),
        ..view
    })
}

async fn create(app: &App, ctx: &OperatorCtx, code: &InstallerCode) -> Result<CodeView, Refusal> {
    let asked: CreateCode = ctx.body()?;
    reach(ctx, &asked.site)?;
    let facts = Mint {
        id: random::id::<CodeId>(),
        secret_digest: code.secret_digest(),
        masked: format!("{}…", code.reveal().chars().take(MASK_CHARS).collect::<String>()),
        by: ctx.caller.username.clone(),
        now: ctx.now,
    };
    let minted = mint(&asked, facts)?;
    let decide = |_: &State| -> Result<Outcome<CodeView>, Refusal> {
        Ok(Outcome {
            events: vec![Event::Code(minted.id, CodeEvent::Minted(minted.clone()))],
            value: show(&Code::new(minted.clone()), ctx.now),
        })
    };
    app.ledger.command(stamp(ctx), Kept::Cbor, decide).await
}

fn code_of(app: &App, command: &CommandId) -> InstallerCode {
    InstallerCode::new(app.issuer.derivation().code_secret(command), app.ca_sha256)
}
