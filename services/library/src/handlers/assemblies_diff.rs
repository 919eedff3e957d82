//! `assemblies-diff`: how two versions differ.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{AssemblyDiff, FieldDiff};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use serde_json::{Map, Value};
use similar::TextDiff;

use super::assemblies_show::wanted;
use super::find;
use crate::library::Library;

/// Is how long lines are compared before the rest is shown as changed.
const PATIENCE: Duration = Duration::from_millis(500);

impl Library {
    /// Compares the versions `from` and `to` of the query: the published one and the newest unless told.
    ///
    /// Errors: `not_found`, `invalid_field`, `storage_failed`.
    pub async fn assemblies_diff(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyDiff> {
        let id: AssemblyId = ctx.id()?;
        let (from, to) = {
            let catalogue = self.catalogue.read();
            let state = find(&catalogue, &ctx.caller, Right::LibraryRead, &id)?;
            let to = wanted(&ctx, state, "to")?.or_else(|| state.latest());
            let published = state.published.and_then(|number| state.version(number));
            let from = wanted(&ctx, state, "from")?
                .or(published)
                .or_else(|| state.versions.first());
            let (Some(from), Some(to)) = (from, to) else {
                return Err(super::missing());
            };
            let place = |version: &crate::assembly::Version| (version.saved.version, version.saved.digest);
            (place(from), place(to))
        };
        let (older, newer) = (self.content(from.1).await?, self.content(to.1).await?);
        let names = (format!("version {}", from.0), format!("version {}", to.0));
        let compared = tokio::task::spawn_blocking(move || (fields(&older, &newer), script(&older, &newer, &names)));
        let (fields, script) = compared
            .await
            .map_err(|_| WireError::new(Code::Internal, "the versions could not be compared"))?;
        Ok(AssemblyDiff {
            assembly: id,
            from: from.0,
            to: to.0,
            fields,
            script,
        })
    }
}

fn object(assembly: &Assembly) -> Map<String, Value> {
    match serde_json::to_value(assembly) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn fields(older: &Assembly, newer: &Assembly) -> Vec<FieldDiff> {
    let mut newer = object(newer);
    let pairs = object(older).into_iter().map(|(field, from)| {
        let to = newer.remove(&field).unwrap_or_default();
        FieldDiff { field, from, to }
    });
    pairs
        .filter(|diff| diff.field != "script" && diff.from != diff.to)
        .collect()
}

fn script(older: &Assembly, newer: &Assembly, (from, to): &(String, String)) -> String {
    if older.script == newer.script {
        return String::new();
    }
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(&older.script, &newer.script);
    diff.unified_diff().header(from, to).to_string()
}
