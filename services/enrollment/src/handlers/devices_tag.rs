//! `devices-tag`: an operator gives a device tags and takes some away.

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::{ChangeTags, DeviceTags};
use borealis_service_kit::auth::Resource;
use borealis_service_kit::operator::OperatorCtx;

use super::device_status::{NOT_FOUND, hidden};
use super::{actor, stamp};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::devices::tags;

/// Changes a device's tags.
///
/// A device of a site that the caller's right does not reach is answered like one that does not exist.
///
/// Errors: `not_found`, `wrong_state` for a device that is decommissioned, `invalid_field`.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<DeviceTags, Refusal> {
    let guid: Guid = ctx.id()?;
    let ChangeTags { add, remove } = ctx.body()?;
    let actor = actor(ctx);
    let decide = |state: &State| -> Result<Outcome<DeviceTags>, Refusal> {
        let mut device = state.device(&guid).ok_or(NOT_FOUND)?.clone();
        let resource = Resource {
            guid: Some(guid),
            site: device.enrolled.site.clone(),
        };
        ctx.reach(&resource).map_err(hidden)?;
        let event = device.retag(&add, &remove, &actor, ctx.now)?;
        if let Some(event) = &event {
            device.evolve(event);
        }
        Ok(Outcome {
            events: event.into_iter().map(|event| Event::Device(guid, event)).collect(),
            value: tags(&device),
        })
    };
    let answer = app.ledger.command(stamp(ctx), Kept::Json, decide).await?;
    tracing::info!(%guid, tags = answer.tags.len(), by = actor.username, "an operator changed a device's tags");
    Ok(answer)
}
