//! `users-…`: who the operators are.

use std::collections::BTreeSet;
use std::sync::Arc;

use borealis_bus_schema::ids::OperatorId;
use borealis_bus_schema::messages::access::{DisableUser, InviteUser, ResetUser, SetUserRoles, UserView};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, actor, change};
use super::setup::named;
use crate::aggregate::{Command, Event, State, Status, UserCommand};
use crate::service::Access;

/// Lists the operators; deleted ones last.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<UserView>> {
    let state = access.state().await;
    let mut items: Vec<UserView> = state
        .operators
        .keys()
        .filter_map(|id| show(&state, id, ctx.now))
        .collect();
    items.sort_by(|one, other| {
        let key = |user: &UserView| (user.state == "deleted", user.username.clone());
        key(one).cmp(&key(other))
    });
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Invites somebody.
///
/// Whoever invites drew the link's secret and sends its public key; no answer holds what would open the account.
///
/// Errors: `invalid_field`, `username_taken`, `role_unknown`, `exceeds_own_rights`, `name_taken` for the key of another link.
pub async fn invite(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let asked: InviteUser = ctx.body()?;
    let command = Command::User(UserCommand::Invite {
        by: actor(&ctx),
        username: named(&asked.username)?,
        roles: asked.roles.into_iter().collect(),
        link: asked.link,
    });
    let user = changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, "an operator was invited");
    Ok(user)
}

/// Takes an operator's password away, ends the sessions and makes a link.
///
/// Errors: `not_found`, `wrong_state`, `exceeds_own_rights`, `last_administrator`, `name_taken` for the key of another link.
pub async fn reset(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let asked: ResetUser = ctx.body()?;
    let command = Command::User(UserCommand::Reset {
        by: actor(&ctx),
        operator: ctx.id()?,
        link: asked.link,
    });
    let user = changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, "an operator's password was reset");
    Ok(user)
}

/// Gives an operator other roles.
///
/// Errors: `not_found`, `wrong_state`, `role_unknown`, `invalid_field`, `exceeds_own_rights`, `last_administrator`.
pub async fn roles(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let asked: SetUserRoles = ctx.body()?;
    let command = Command::User(UserCommand::SetRoles {
        by: actor(&ctx),
        operator: ctx.id()?,
        roles: asked.roles.into_iter().collect::<BTreeSet<_>>(),
    });
    let user = changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, "an operator was given other roles");
    Ok(user)
}

/// Disables an operator: sessions, grants and tokens are over.
///
/// Errors: `not_found`, `wrong_state`, `exceeds_own_rights`, `last_administrator`, `invalid_field`.
pub async fn disable(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let asked: DisableUser = ctx.body()?;
    let command = Command::User(UserCommand::Disable {
        by: actor(&ctx),
        operator: ctx.id()?,
        reason: asked.reason,
        for_good: asked.for_good,
    });
    let user = changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, state = user.state, "an operator was disabled");
    Ok(user)
}

/// Lets a disabled operator in again; what was minted before stays worthless.
///
/// Errors: `not_found`, `wrong_state`, `exceeds_own_rights`.
pub async fn enable(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let command = Command::User(UserCommand::Enable {
        by: actor(&ctx),
        operator: ctx.id()?,
    });
    let user = changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, "an operator was enabled");
    Ok(user)
}

pub(super) async fn changed(access: &Access, ctx: &OperatorCtx, kept: Kept, command: Command) -> Reply<UserView> {
    let now = ctx.now;
    let answer = |state: &State, events: &[Event]| show(state, &subject(events)?, now);
    change(access, ctx, kept, command, answer).await
}

/// Returns the operator whom a change is about.
fn subject(events: &[Event]) -> Option<OperatorId> {
    events.iter().find_map(|event| match event {
        Event::OperatorInvited { operator, .. }
        | Event::RolesAssigned { operator, .. }
        | Event::OperatorDisabled { operator, .. }
        | Event::OperatorEnabled { operator, .. }
        | Event::PasswordCleared { operator, .. }
        | Event::FactorRemoved { operator, .. }
        | Event::PasskeyRemoved { operator, .. } => Some(*operator),
        _ => None,
    })
}

fn show(state: &State, id: &OperatorId, now: Timestamp) -> Option<UserView> {
    let account = state.operators.get(id)?;
    let status = match (account.status, &account.record) {
        (Status::Deleted, _) => "deleted",
        (Status::Disabled, _) => "disabled",
        (Status::Active, None) => "invited",
        (Status::Active, Some(_)) => "active",
    };
    let name_of = |id: OperatorId| state.operators.get(&id).map(|by| by.username.as_str().to_owned());
    Some(UserView {
        id: *id,
        username: account.username.as_str().to_owned(),
        roles: account.roles.iter().cloned().collect(),
        state: status.to_owned(),
        created_at: account.created_at,
        created_by: account.created_by.and_then(name_of),
        last_login_at: account.last_login_at,
        link_expires_at: account.link.map(|link| link.expires_at).filter(|end| now < *end),
        second_factor: account.factors.standing().second_factor,
        passkeys: account.passkeys.len(),
    })
}
