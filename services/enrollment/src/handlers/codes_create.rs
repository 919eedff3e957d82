//! `codes-create`: mints an installer code whose secret only the caller knows.

use borealis_bus_schema::ids::CodeId;
use borealis_bus_schema::messages::enrollment::{CodeView, CreateCode};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;

use super::{reach, stamp};
use crate::aggregate::code::{Code, CodeEvent, Mint, Minter, mint};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::codes::show;

/// Mints an installer code.
///
/// The caller drew the secret and sends its public key; so neither the request nor the answer is of use to whoever sees them
/// on the way. A code that approves by itself decides in the caller's place, so the caller must hold the right to decide.
///
/// Errors: `invalid_field`, `out_of_scope`, `right_missing`, `site_unknown`, `name_taken` for the key of another code.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<CodeView, Refusal> {
    let asked: CreateCode = ctx.body()?;
    reach(ctx, &asked.site)?;
    if asked.auto_approve && !ctx.caller.may(Right::ApprovalsDecide, &asked.site) {
        return Err(Refusal::NoRightToDecide);
    }
    app.minters.known_site(&asked.site, ctx.now).await?;
    let id = random::id::<CodeId>();
    let decide = |state: &State| -> Result<Outcome<CodeView>, Refusal> {
        let facts = Mint {
            id,
            by: ctx.caller.username.clone(),
            minter: Minter {
                operator: ctx.caller.operator,
                epoch: ctx.caller.epoch,
                token: ctx.caller.is_token.then_some(ctx.caller.session),
            },
            key_taken: state.code_by_key(&asked.public_key).is_some(),
            now: ctx.now,
        };
        let minted = mint(&asked, facts)?;
        Ok(Outcome {
            events: vec![Event::Code(minted.id, CodeEvent::Minted(minted.clone()))],
            value: CodeView {
                ca_sha256: Some(app.ca_sha256_text()),
                ..show(&Code::new(minted), ctx.now)
            },
        })
    };
    let _turn = app.one_use_at_a_time(&asked.public_key).await;
    app.ledger.command(stamp(ctx), Kept::Json, decide).await
}
