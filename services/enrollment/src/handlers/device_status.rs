//! `devices-quarantine`, `devices-release`, `devices-revoke`, `devices-decommission`: an operator changes a device's status.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::{ChangeStatus, DeviceStanding};
use borealis_bus_schema::reply::WireError;
use borealis_service_kit::auth::Resource;
use borealis_service_kit::operator::OperatorCtx;

use super::{actor, stamp};
use crate::aggregate::device::{Change, Why};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Kept, Outcome};
use crate::state::State;
use crate::stored::Event;
use crate::views::devices::standing;

/// Changes a device's status; the warden shuts it out of the bus, or lets it in again, as soon as this is durable.
///
/// A device of a site that the caller's right does not reach is answered like one that does not exist.
///
/// Errors: `not_found`, `wrong_state`, `invalid_field`.
pub async fn handle(app: &App, ctx: &OperatorCtx, change: Change) -> Result<DeviceStanding, Refusal> {
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
        let why = Why {
            reason: &reason,
            by: Some(&actor),
            now: ctx.now,
        };
        let event = device.change_status(change, why)?;
        let mut changed = device.clone();
        changed.evolve(&event);
        Ok(Outcome {
            events: vec![Event::Device(guid, event)],
            value: standing(&changed),
        })
    };
    let answer = app.ledger.command(stamp(ctx), Kept::Json, decide).await?;
    tracing::info!(%guid, status = answer.status.as_str(), by = actor.username, "an operator changed a device's status");
    Ok(answer)
}

pub(super) const NOT_FOUND: Refusal = Refusal::NotFound { what: "device" };

/// Makes a device beyond the caller's reach look like one that does not exist.
pub(super) fn hidden(error: WireError) -> Refusal {
    if error.code == Code::OutOfScope {
        NOT_FOUND
    } else {
        error.into()
    }
}
