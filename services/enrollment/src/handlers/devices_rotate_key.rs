//! `devices-rotate-key`: an operator wants a device to draw a new identity key.

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::{ChangeStatus, DeviceStanding};
use borealis_service_kit::auth::Resource;
use borealis_service_kit::operator::OperatorCtx;

use super::device_status::{NOT_FOUND, hidden};
use super::{actor, stamp};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::devices::standing;

/// Asks a device for a new identity key: it hears of it with its next renewal, which it makes soon when it is on the bus.
///
/// A device of a site that the caller's right does not reach is answered like one that does not exist.
///
/// Errors: `not_found`, `wrong_state` for a device that is not active, `invalid_field`.
pub async fn handle(app: &App, ctx: &OperatorCtx) -> Result<DeviceStanding, Refusal> {
    let guid: Guid = ctx.id()?;
    let ChangeStatus { reason } = ctx.body()?;
    let actor = actor(ctx);
    let decide = |state: &State| -> Result<Outcome<DeviceStanding>, Refusal> {
        let device = state.device(&guid).ok_or(NOT_FOUND)?;
        let resource = Resource {
            guid: Some(guid),
            site: device.enrolled.site.clone(),
        };
        ctx.reach(&resource).map_err(hidden)?;
        let event = device.ask_key_rotation(&reason, &actor, ctx.now)?;
        Ok(Outcome {
            events: event.into_iter().map(|event| Event::Device(guid, event)).collect(),
            value: standing(device),
        })
    };
    let answer = app.ledger.command(stamp(ctx), Kept::Json, decide).await?;
    tracing::info!(%guid, by = actor.username, "an operator wants a new identity key of a device");
    Ok(answer)
}
