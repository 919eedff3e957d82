//! `assemblies-create`: makes an assembly with its first version, as a draft.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{AssemblyView, CreateAssembly};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::audit;
use borealis_service_kit::operator::OperatorCtx;

use super::{by, check_name, covers, shown};
use crate::assembly::{Command, State};
use crate::library::Library;

impl Library {
    /// Makes an assembly.
    ///
    /// Errors: `invalid_field`, `too_large`, `out_of_scope`, `name_taken`, `storage_failed`.
    pub async fn assemblies_create(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyView> {
        let asked: CreateAssembly = ctx.body()?;
        covers(&ctx.caller, Right::LibraryWrite, asked.draft.sites.as_ref())?;
        let written = Self::written(asked.draft, &State::default(), |_| None)?;
        let id = AssemblyId::of_command(&ctx.command);
        audit::note_object("assembly", id);
        let name = written.summary.name.clone();
        check_name(&self.catalogue.read(), &ctx.caller, &id, &name)?;
        for body in written.bodies {
            self.keep(body).await?;
        }
        let command = Command::Save {
            based_on: None,
            digest: written.digest,
            summary: written.summary,
            note: asked.note,
            by: by(&ctx),
        };
        let check = |catalogue: &_, state: &State| {
            if state.latest().is_some() {
                return Err(WireError::new(Code::Conflict, "the command was made before"));
            }
            check_name(catalogue, &ctx.caller, &id, &name)
        };
        self.command(&ctx, id, command, check, |state| shown(&id, state)).await
    }
}
