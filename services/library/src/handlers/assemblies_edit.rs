//! `assemblies-edit`: writes a further version, as a draft.

use std::sync::Arc;

use borealis_bus_schema::assembly::FileRef;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{AssemblyView, EditAssembly};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::audit;
use borealis_service_kit::operator::OperatorCtx;

use super::{by, check_name, covers, find, shown, sites_of};
use crate::assembly::{Command, State};
use crate::library::Library;

impl Library {
    /// Writes a version; the same content again writes none.
    ///
    /// Errors: `not_found`, `out_of_scope`, `invalid_field`, `too_large`, `name_taken`, `conflict` when there is a newer version
    /// than the one it is based on, `wrong_state` in the archive, `storage_failed`.
    pub async fn assemblies_edit(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyView> {
        let id: AssemblyId = ctx.id()?;
        let found = find(&self.catalogue.read(), &ctx.caller, Right::LibraryWrite, &id)?.clone();
        let asked: EditAssembly = ctx.body()?;
        covers(&ctx.caller, Right::LibraryWrite, asked.draft.sites.as_ref())?;
        let sizes = self
            .sizes(&found, asked.draft.files.iter().filter_map(|file| file.digest))
            .await?;
        let size_of = |digest: &Digest| {
            sizes
                .iter()
                .find(|file| file.digest == *digest)
                .map(|file| file.size_bytes)
        };
        let written = Self::written(asked.draft, &found, size_of)?;
        let name = written.summary.name.clone();
        let check = |catalogue: &_, state: &State| {
            covers(&ctx.caller, Right::LibraryWrite, sites_of(state))?;
            check_name(catalogue, &ctx.caller, &id, &name)
        };
        check(&self.catalogue.read(), &found)?;
        for body in written.bodies {
            self.keep(body).await?;
        }
        let command = Command::Save {
            based_on: Some(asked.based_on),
            digest: written.digest,
            summary: written.summary,
            note: asked.note,
            by: by(&ctx),
        };
        let view = self
            .command(&ctx, id, command, check, |state| shown(&id, state))
            .await?;
        if found
            .latest()
            .is_some_and(|version| version.saved.version == view.latest)
        {
            audit::note_no_change();
        }
        Ok(view)
    }

    /// Finds the files of earlier versions that a further one keeps.
    async fn sizes(&self, state: &State, wanted: impl Iterator<Item = Digest>) -> Reply<Vec<FileRef>> {
        let wanted: Vec<Digest> = wanted.collect();
        let mut found: Vec<FileRef> = Vec::new();
        for version in state.versions.iter().rev() {
            let files = &version.saved.summary.files;
            if wanted
                .iter()
                .any(|digest| files.contains(digest) && !found.iter().any(|file| file.digest == *digest))
            {
                found.extend(self.content(version.saved.digest).await?.files);
            }
        }
        Ok(found)
    }
}
