//! `roles-…`: what operators may do.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::OperatorRoleName;
use borealis_bus_schema::messages::access::{CreateRole, RightOnSites, RoleView, UpdateRole};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::{Reach, reach};
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, actor, change};
use crate::aggregate::roles::is_fixed;
use crate::aggregate::{Command, RoleCommand, State, Status};
use crate::service::Access;

/// Lists the roles.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, _: OperatorCtx) -> Reply<Page<RoleView>> {
    let state = access.state().await;
    let items = state
        .role_names()
        .iter()
        .filter_map(|name| show(&state, name))
        .collect();
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Makes a role.
///
/// Errors: `invalid_field`, `name_taken`, `site_unknown`, `exceeds_own_rights`.
pub async fn create(access: Arc<Access>, ctx: OperatorCtx) -> Reply<RoleView> {
    let asked: CreateRole = ctx.body()?;
    let command = RoleCommand::Create {
        by: actor(&ctx),
        role: asked.name.clone(),
        description: asked.description,
        reach: rights(&asked.rights)?,
    };
    changed(&access, &ctx, command, asked.name).await
}

/// Changes a role; what its operators lose by it is lost at once.
///
/// Errors: `not_found`, `role_fixed`, `invalid_field`, `site_unknown`, `exceeds_own_rights`.
pub async fn update(access: Arc<Access>, ctx: OperatorCtx) -> Reply<RoleView> {
    let asked: UpdateRole = ctx.body()?;
    let role: OperatorRoleName = ctx.id()?;
    let command = RoleCommand::Update {
        by: actor(&ctx),
        role: role.clone(),
        description: asked.description,
        reach: asked.rights.as_deref().map(rights).transpose()?,
    };
    changed(&access, &ctx, command, role).await
}

async fn changed(access: &Access, ctx: &OperatorCtx, command: RoleCommand, role: OperatorRoleName) -> Reply<RoleView> {
    let answer = |state: &State, _: &[_]| show(state, &role);
    let view = change(access, ctx, Kept::Whole, Command::Role(command), answer).await?;
    tracing::info!(role = %role, by = %ctx.caller.operator, "a role was set");
    Ok(view)
}

/// Reads rights as an operator writes them: a right or a site that is none is an error here.
///
/// Errors: `invalid_field`.
pub fn rights(lines: &[RightOnSites]) -> Reply<Reach> {
    let invalid = |text: String| WireError::new(Code::InvalidField, text);
    for line in lines {
        line.right.parse::<Right>().map_err(invalid)?;
        if line.sites.is_empty() {
            return Err(invalid(format!("the right {} names no site", line.right)));
        }
    }
    reach::read(lines).map_err(|_| invalid("a site's name has other characters than a-z, 0-9 and hyphens".to_owned()))
}

fn show(state: &State, name: &OperatorRoleName) -> Option<RoleView> {
    let role = state.role(name)?;
    let accounts = state.operators.values();
    let users = accounts.filter(|account| account.status != Status::Deleted && account.roles.contains(name));
    Some(RoleView {
        name: name.clone(),
        description: role.description,
        rights: reach::write(&role.reach),
        fixed: is_fixed(name),
        users: users.count(),
    })
}
