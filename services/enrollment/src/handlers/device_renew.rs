//! `device-renew`: a device gets its next credentials by its signature.

use borealis_bus_schema::audit::Actor;
use borealis_bus_schema::forms::{Form, PublicKey};
use borealis_bus_schema::messages::enrollment::{Renew, Renewed};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_service_kit::audit;
use borealis_service_kit::operator::PublicCtx;
use borealis_service_kit::random;

use super::public::{NONCE_BYTES, answer, check_nonce, credentials, public_body};
use crate::aggregate::device::DeviceRejection;
use crate::app::{App, completion};
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;

/// Renews a device's credentials.
///
/// Errors: `throttled`, `malformed`, `invalid_field`, `proof_invalid` (also for a device that is not known), `clock_skew`,
/// `refresh_invalid`, `device_revoked`, `device_decommissioned`, `unavailable` while the bus has no address.
pub async fn handle(app: &App, ctx: &PublicCtx) -> Result<Renewed, Refusal> {
    answer(app, ctx, renew(app, ctx)).await
}

async fn renew(app: &App, ctx: &PublicCtx) -> Result<Renewed, Refusal> {
    let asked: Renew = public_body(&ctx.call)?;
    check_nonce("nonce", &asked.nonce, NONCE_BYTES)?;
    let key = verify(app, &asked).inspect_err(|_| notice_old_key(app, &asked))?;
    audit::note_actor(Actor::device(&asked.guid));
    audit::note_object("device", asked.guid);
    app.admit_key(&key, ctx.now)?;
    let presented = match &asked.refresh_token {
        None => None,
        Some(text) => {
            let read = app.issuer.derivation().read_refresh_token(&asked.guid, text);
            Some(read.ok_or(DeviceRejection::RefreshInvalid)?)
        }
    };
    let decide = |state: &State| -> Result<Outcome<Option<DeviceRejection>>, Refusal> {
        let device = state.device(&asked.guid).ok_or(UNPROVED)?;
        let renewal = device.renew(presented, asked.issued_at, ctx.now)?;
        let mut events: Vec<Event> = renewal
            .events
            .into_iter()
            .map(|e| Event::Device(asked.guid, e))
            .collect();
        if renewal.refused.is_none() {
            let completed = completion(state, &device.public_key(), ctx.now);
            events.extend(completed.map(|(id, event)| Event::Approval(id, event)));
        }
        Ok(Outcome {
            events,
            value: renewal.refused,
        })
    };
    let refused = app.ledger.commit(Stamp::own(random::id(), ctx.now), decide).await?;
    if let Some(rejection) = refused {
        tracing::warn!(guid = %asked.guid, "an old refresh token was used again; its family is over");
        return Err(rejection.into());
    }

    let state = app.ledger.state();
    let device = state.device(&asked.guid).ok_or(UNPROVED)?;
    let family = device.family.ok_or(DeviceRejection::RefreshInvalid)?;
    let credentials = credentials(app, device, &family, ctx.now, ctx.now)?;
    Ok(Renewed {
        credentials,
        key_set: app.issuer.key_set(),
        rotate_key: device.rotation_asked_at.is_some() && device.status == DeviceStatus::Active,
    })
}

const UNPROVED: Refusal = Refusal::Proof {
    what: "the renewal's signature",
};

/// Verifies the signature with the device's key; an unknown device is told nothing else than a wrong signature.
fn verify(app: &App, asked: &Renew) -> Result<PublicKey, Refusal> {
    let key = app.ledger.state().device(&asked.guid).ok_or(UNPROVED)?.public_key();
    is_signed_by(asked, &key).then_some(key).ok_or(UNPROVED)
}

/// Finds a copy of a device: it signs with the key that the device itself gave up, some time after that.
fn notice_old_key(app: &App, asked: &Renew) {
    let gave_up = {
        let state = app.ledger.state();
        let device = state.device(&asked.guid);
        device.and_then(|device| {
            let (previous, _) = device.previous_key?;
            (device.gave_up(&previous, asked.issued_at) && is_signed_by(asked, &previous)).then_some(())
        })
    };
    if gave_up.is_some() {
        let reason = "somebody still uses the key that the device replaced: a copy of the device, or an older state of it, is at work";
        app.find_copy(asked.guid, reason.to_owned());
    }
}

fn is_signed_by(asked: &Renew, key: &PublicKey) -> bool {
    let (guid, issued_at) = (asked.guid.to_string(), asked.issued_at.to_string());
    let fields = [
        guid.as_bytes(),
        asked.refresh_token.as_deref().unwrap_or_default().as_bytes(),
        issued_at.as_bytes(),
        asked.nonce.as_bytes(),
    ];
    key.verify(Form::Renew, &fields, &asked.signature).is_ok()
}
