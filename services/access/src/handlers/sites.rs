//! `sites-…`: the units that rights are scoped to.

use std::collections::BTreeSet;
use std::sync::Arc;

use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::access::{CreateSite, SiteView, UpdateSite};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, actor, change};
use crate::aggregate::{Command, RoleCommand, State};
use crate::service::Access;

/// Lists the sites that some right of the caller reaches.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<SiteView>> {
    let state = access.state().await;
    let mut names: BTreeSet<SiteName> = state.sites.keys().cloned().collect();
    names.insert(SiteName::default_site());
    let items = names
        .iter()
        .filter(|name| ctx.caller.sites.reach(name))
        .map(|name| show(&state, name))
        .collect();
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Makes a site.
///
/// Errors: `name_taken`, `invalid_field`.
pub async fn create(access: Arc<Access>, ctx: OperatorCtx) -> Reply<SiteView> {
    let asked: CreateSite = ctx.body()?;
    let command = RoleCommand::CreateSite {
        by: actor(&ctx),
        site: asked.name.clone(),
        description: asked.description,
    };
    changed(&access, &ctx, command, asked.name).await
}

/// Describes a site.
///
/// Errors: `not_found`, `invalid_field`.
pub async fn update(access: Arc<Access>, ctx: OperatorCtx) -> Reply<SiteView> {
    let asked: UpdateSite = ctx.body()?;
    let site: SiteName = ctx.id()?;
    let command = RoleCommand::DescribeSite {
        by: actor(&ctx),
        site: site.clone(),
        description: asked.description,
    };
    changed(&access, &ctx, command, site).await
}

async fn changed(access: &Access, ctx: &OperatorCtx, command: RoleCommand, site: SiteName) -> Reply<SiteView> {
    let answer = |state: &State, _: &[_]| Some(show(state, &site));
    change(access, ctx, Kept::Whole, Command::Role(command), answer).await
}

fn show(state: &State, name: &SiteName) -> SiteView {
    let site = state.sites.get(name).cloned().unwrap_or_default();
    SiteView {
        name: name.clone(),
        description: site.description,
        created_at: site.created_at,
    }
}
