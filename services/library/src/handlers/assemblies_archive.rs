//! `assemblies-archive`: puts an assembly away, or takes it out again.

use std::sync::Arc;

use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{ArchiveAssembly, AssemblyView};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{by, check_name, covers, find, shown, sites_of};
use crate::assembly::{Command, State};
use crate::library::Library;

impl Library {
    /// Archives an assembly: nothing runs it any more and nobody changes it; or restores it.
    ///
    /// Errors: `not_found`, `out_of_scope`, `wrong_state`, `name_taken` for one whose name another has taken meanwhile,
    /// `storage_failed`.
    pub async fn assemblies_archive(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyView> {
        let id: AssemblyId = ctx.id()?;
        find(&self.catalogue.read(), &ctx.caller, Right::LibraryWrite, &id)?;
        let asked: ArchiveAssembly = ctx.body()?;
        let command = Command::Archive {
            archived: asked.archived,
            by: by(&ctx),
        };
        let check = |catalogue: &_, state: &State| {
            covers(&ctx.caller, Right::LibraryWrite, sites_of(state))?;
            match state.latest().filter(|_| !asked.archived) {
                Some(latest) => check_name(catalogue, &ctx.caller, &id, &latest.saved.summary.name),
                None => Ok(()),
            }
        };
        self.command(&ctx, id, command, check, |state| shown(&id, state)).await
    }
}
