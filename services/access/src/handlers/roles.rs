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
        reach: plain(&asked.rights)?,
        max_devices: sensible(asked.max_devices)?,
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
        reach: asked.rights.as_deref().map(plain).transpose()?,
        max_devices: asked.max_devices.map(sensible).transpose()?,
    };
    changed(&access, &ctx, command, role).await
}

async fn changed(access: &Access, ctx: &OperatorCtx, command: RoleCommand, role: OperatorRoleName) -> Reply<RoleView> {
    let answer = |state: &State, _: &[_]| show(state, &role);
    let view = change(access, ctx, Kept::Whole, Command::Role(command), answer).await?;
    tracing::info!(role = %role, by = %ctx.caller.operator, "a role was set");
    Ok(view)
}

/// Is the largest limit that a role can name.
const MAX_LIMIT: u64 = 1_000_000_000;

fn sensible(max_devices: Option<u64>) -> Reply<Option<u64>> {
    match max_devices {
        Some(limit) if limit > MAX_LIMIT => {
            let text = format!("max_devices is at most {MAX_LIMIT}; null is no limit");
            Err(WireError::new(Code::InvalidField, text))
        }
        fits => Ok(fits),
    }
}

/// Reads the rights of a role, whose limit stands beside them.
///
/// Errors: `invalid_field`.
fn plain(lines: &[RightOnSites]) -> Reply<Reach> {
    if lines.iter().any(|line| line.max_devices.is_some()) {
        let text = "max_devices stands beside a role's rights, not in one of them";
        return Err(WireError::new(Code::InvalidField, text));
    }
    rights(lines)
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
        max_devices: role.max_devices(),
        description: role.description,
        rights: reach::write(&role.reach.without_job_limits()),
        fixed: is_fixed(name),
        users: users.count(),
    })
}
