//! `tokens-…`: what programs may do in an operator's name.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::{CreateToken, TokenView};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::reach;
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, actor, change};
use super::roles::rights;
use crate::aggregate::{Command, Event, State, TokenCommand, TokenFacts};
use crate::service::Access;

/// Lists API tokens: the caller's own, and everybody's for whoever may see operators everywhere.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<TokenView>> {
    let sees_all = ctx.caller.may_everywhere(Right::UsersRead);
    let state = access.state().await;
    let mut items: Vec<TokenView> = state
        .tokens
        .values()
        .filter(|token| sees_all || token.facts.author == ctx.caller.operator)
        .filter_map(|token| show(&state, &token.facts.token, ctx.now))
        .collect();
    items.sort_by_key(|token| token.created_at);
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Makes an API token; its biscuit is shown now and never again, its key was never here.
///
/// Errors: `invalid_field`, `exceeds_own_rights`.
pub async fn create(access: Arc<Access>, ctx: OperatorCtx) -> Reply<TokenView> {
    let asked: CreateToken = ctx.body()?;
    let key = asked.public_key;
    let command = Command::Token(TokenCommand::Create {
        by: actor(&ctx),
        name: asked.name,
        key,
        reach: rights(&asked.rights)?,
        devices: asked.devices.map(|devices| devices.into_iter().collect()),
        lifetime_ms: i64::try_from(asked.lifetime_ms).unwrap_or(i64::MAX),
    });
    let answer = |state: &State, events: &[Event]| match events.first() {
        Some(Event::TokenMinted(facts)) => show(state, &facts.token, ctx.now),
        _ => None,
    };
    let view: TokenView = change(&access, &ctx, Kept::WithoutSecret, command, answer).await?;
    let facts: Option<TokenFacts> = {
        let state = access.state().await;
        state.tokens.get(&view.id).map(|token| token.facts.clone())
    };
    let facts = facts.ok_or_else(|| WireError::new(Code::TokenExpired, "the token of this command is over"))?;
    let biscuit = access.mint_token(&facts, ctx.caller.username.clone(), key)?;
    tracing::info!(token = %view.id, author = %facts.author, expires_at = %facts.expires_at, "an API token was made");
    Ok(TokenView {
        biscuit: Some(biscuit),
        ..view
    })
}

/// Revokes an API token.
///
/// Errors: `not_found`, `wrong_state` when it is over, `right_missing` and `exceeds_own_rights` for another operator's.
pub async fn revoke(access: Arc<Access>, ctx: OperatorCtx) -> Reply<TokenView> {
    let token: SessionId = ctx.id()?;
    let command = Command::Token(TokenCommand::Revoke { by: actor(&ctx), token });
    let answer = |state: &State, _: &[Event]| show(state, &token, ctx.now);
    let view: TokenView = change(&access, &ctx, Kept::Whole, command, answer).await?;
    tracing::info!(token = %token, by = %ctx.caller.operator, "an API token was revoked");
    Ok(view)
}

fn show(state: &State, id: &SessionId, now: Timestamp) -> Option<TokenView> {
    let token = state.tokens.get(id)?;
    let facts = &token.facts;
    let author = state.operators.get(&facts.author)?;
    let status = match (token.revoked, now >= facts.expires_at) {
        (true, _) => "revoked",
        (false, true) => "expired",
        (false, false) => "active",
    };
    Some(TokenView {
        id: *id,
        name: facts.name.clone(),
        author: facts.author,
        username: author.username.as_str().to_owned(),
        key_fingerprint: facts.key_fingerprint.to_string(),
        rights: reach::write(&facts.reach),
        devices: facts.devices.as_ref().map(|devices| devices.iter().copied().collect()),
        created_at: facts.at,
        expires_at: facts.expires_at,
        state: status.to_owned(),
        biscuit: None,
    })
}
