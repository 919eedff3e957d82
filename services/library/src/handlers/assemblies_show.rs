//! `assemblies-show`: an assembly with what a version holds, and all its versions.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::AssemblyShown;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::{find, missing, shown};
use crate::assembly::{State, Version};
use crate::catalogue::version_view;
use crate::library::Library;

/// Is how many versions are listed; older ones are shown by their number.
const MAX_SHOWN: usize = 100;

/// Finds the version that a query names by its number; none where it names none.
///
/// Errors: `invalid_field` for what is no number, `not_found` for a version that there is not.
pub(super) fn wanted<'s>(ctx: &OperatorCtx, state: &'s State, name: &str) -> Reply<Option<&'s Version>> {
    let Some(text) = ctx.call.query(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number: u32 = text
        .parse()
        .map_err(|_| WireError::new(Code::InvalidField, format!("{name}: a version is a number")))?;
    let found = state.version(number);
    found
        .map(Some)
        .ok_or_else(|| WireError::new(Code::NotFound, format!("there is no version {number}")))
}

impl Library {
    /// Shows the version of the query, or the newest one.
    ///
    /// Errors: `not_found`, `invalid_field`, `storage_failed`.
    pub async fn assemblies_show(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyShown> {
        let id: AssemblyId = ctx.id()?;
        let (standing, version, versions) = {
            let catalogue = self.catalogue.read();
            let state = find(&catalogue, &ctx.caller, Right::LibraryRead, &id)?;
            let version = wanted(&ctx, state, "version")?.or_else(|| state.latest());
            let version = version_view(version.ok_or_else(missing)?);
            let versions = state.versions.iter().rev().take(MAX_SHOWN);
            let versions = versions.map(version_view).collect();
            (shown(&id, state)?, version, versions)
        };
        Ok(AssemblyShown {
            content: self.content(version.digest).await?,
            standing,
            version,
            versions,
        })
    }
}
