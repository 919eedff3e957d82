//! `devices-show`: one device with its facts.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::inventory::DeviceDetail;
use borealis_service_kit::auth::Resource;
use borealis_service_kit::operator::OperatorCtx;

use crate::app::App;
use crate::error::{Fault, Refusal};

/// Is how many packages an answer holds at most; a message of the bus carries 1 MB.
const MAX_SOFTWARE: usize = 6_000;

/// Shows a device.
///
/// Errors: `not_found`, also for a device that the caller's right does not reach.
pub async fn handle(app: Arc<App>, ctx: OperatorCtx) -> Result<DeviceDetail, Refusal> {
    let guid: Guid = ctx.id()?;
    let device = app.fleet().device(&guid).cloned().ok_or(Refusal::NotFound)?;
    let resource = Resource {
        guid: Some(guid),
        site: device.site.clone(),
    };
    ctx.reach(&resource).map_err(|error| match error.code {
        Code::OutOfScope => Refusal::NotFound,
        _ => error.into(),
    })?;
    let fresh = app.presence_is_fresh();
    let read = tokio::task::spawn_blocking(move || app.facts_of(&guid));
    let (mut facts, mut facts_at) = read.await.map_err(Fault::from)??.unzip();
    if let (Some(facts), Some(told)) = (&mut facts, device.last_told()) {
        facts.software.truncate(MAX_SOFTWARE);
        // What moved since the last change was written stands in memory only.
        if facts.at <= told.told_at {
            facts.at = told.told_at;
            facts.summary.uptime_ms = device.show(fresh, ctx.now).uptime_ms.unwrap_or(facts.summary.uptime_ms);
            facts_at = Some(told.received_at);
        }
    }
    Ok(DeviceDetail {
        device: device.show(fresh, ctx.now),
        facts,
        facts_at,
    })
}
