//! `assemblies-get`: a version's bytes, for the scheduler, which decides itself who may run it.

use std::sync::Arc;

use borealis_bus_schema::messages::library::{AssemblyBytes, GetAssembly};
use borealis_bus_schema::reply::Reply;

use super::missing;
use crate::library::Library;

impl Library {
    /// Returns what a version holds, and whether it may be run.
    ///
    /// Errors: `not_found`, `storage_failed`.
    pub async fn assemblies_get(self: Arc<Self>, asked: GetAssembly) -> Reply<AssemblyBytes> {
        let (digest, published, archived) = {
            let catalogue = self.catalogue.read();
            let state = catalogue.get(&asked.assembly).ok_or_else(missing)?;
            let version = state.version(asked.version).ok_or_else(missing)?;
            (version.saved.digest, version.published.is_some(), state.archived)
        };
        Ok(AssemblyBytes {
            content: self.read(digest).await?,
            published,
            archived,
        })
    }
}
