//! `assemblies-publish`: makes a version the one that runs.

use std::sync::Arc;

use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{AssemblyView, PublishAssembly};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{by, covers, find, shown, sites_of};
use crate::assembly::{Command, State};
use crate::library::Library;

impl Library {
    /// Publishes a version.
    ///
    /// Errors: `not_found`, `out_of_scope`, `digest_mismatch`, `wrong_state` in the archive or when it is published already,
    /// `storage_failed`.
    pub async fn assemblies_publish(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyView> {
        let id: AssemblyId = ctx.id()?;
        find(&self.catalogue.read(), &ctx.caller, Right::LibraryPublish, &id)?;
        let asked: PublishAssembly = ctx.body()?;
        let command = Command::Publish {
            version: asked.version,
            digest: asked.digest,
            by: by(&ctx),
        };
        let check = |_: &_, state: &State| {
            covers(&ctx.caller, Right::LibraryPublish, sites_of(state))?;
            let version = state.version(asked.version);
            // A version may be for other sites than the newest one.
            version.map_or(Ok(()), |version| {
                covers(&ctx.caller, Right::LibraryPublish, version.saved.summary.sites.as_ref())
            })
        };
        self.command(&ctx, id, command, check, |state| shown(&id, state)).await
    }
}
