//! `device-rotate-key`: a device has a new identity key, and shows that it has both.

use borealis_bus_schema::audit::Actor;
use borealis_bus_schema::messages::enrollment::{KeyRotated, RotateKey};
use borealis_service_kit::audit;
use borealis_service_kit::operator::PublicCtx;
use borealis_service_kit::random;

use super::public::{NONCE_BYTES, answer, check_nonce, credentials, public_body};
use crate::aggregate::device::{DeviceRejection, NewKey};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;

/// Gives a device a new identity key: from this append on the old one is worthless here, and the warden has the bus shut it
/// out.
///
/// A request whose answer was lost is made again with the same keys and gets the same result, whatever happened in between;
/// so a device that was killed on the way finds out which of its two keys counts by asking.
///
/// Errors: `throttled`, `malformed`, `invalid_field`, `proof_invalid` (also for a device that is not known), `clock_skew`,
/// `wrong_state` for a device that is not active, `refresh_invalid`, `machine_conflict` when the new key is known already,
/// `device_revoked`, `device_decommissioned`, `unavailable` while the bus has no address.
pub async fn handle(app: &App, ctx: &PublicCtx) -> Result<KeyRotated, Refusal> {
    answer(app, ctx, rotate(app, ctx)).await
}

async fn rotate(app: &App, ctx: &PublicCtx) -> Result<KeyRotated, Refusal> {
    let asked: RotateKey = public_body(&ctx.call)?;
    check_nonce("nonce", &asked.nonce, NONCE_BYTES)?;
    verify(&app.ledger.state(), &asked)?;
    audit::note_actor(Actor::device(&asked.guid));
    audit::note_object("device", asked.guid);
    app.admit_key(&asked.public_key, ctx.now)?;
    let new = NewKey {
        public_key: asked.public_key,
        exchange_key: asked.exchange_key,
        exchange_key_signature: asked.exchange_key_signature,
        issued_at: asked.issued_at,
    };
    let _turn = app.one_at_a_time(&asked.public_key).await;
    let decide = |state: &State| -> Result<Outcome<bool>, Refusal> {
        // Another request may have come first: which key is the old one is asked again.
        verify(state, &asked)?;
        let device = state.device(&asked.guid).ok_or(UNPROVED)?;
        let event = device.rotate_key(&new, ctx.now)?;
        if event.is_some() && is_known(state, &asked) {
            return Err(Refusal::Conflict { what: KNOWN_KEY });
        }
        Ok(Outcome {
            value: event.is_some(),
            events: event
                .into_iter()
                .map(|event| Event::Device(asked.guid, event))
                .collect(),
        })
    };
    let is_new = app.ledger.commit(Stamp::own(random::id(), ctx.now), decide).await?;
    if is_new {
        tracing::info!(guid = %asked.guid, "a device has a new identity key");
    }

    let state = app.ledger.state();
    let device = state.device(&asked.guid).ok_or(UNPROVED)?;
    let family = device.family.ok_or(DeviceRejection::RefreshInvalid)?;
    let credentials = credentials(app, device, &family, ctx.now, ctx.now)?;
    Ok(KeyRotated { credentials })
}

const UNPROVED: Refusal = Refusal::Proof {
    what: "the signatures of the old and the new key",
};
const KNOWN_KEY: &str = "the new key is known already";

/// Verifies the signatures with the key that the device has, or had before the one that it shows.
fn verify(state: &State, asked: &RotateKey) -> Result<(), Refusal> {
    let device = state.device(&asked.guid).ok_or(UNPROVED)?;
    let old = if device.public_key() == asked.public_key {
        device.previous_key.map(|(key, _)| key).ok_or(UNPROVED)?
    } else {
        device.public_key()
    };
    asked.verify(&old).map_err(|_| UNPROVED)
}

/// Tells whether the new key is, or was, somebody's, or asks for an enrolment of its own.
fn is_known(state: &State, asked: &RotateKey) -> bool {
    let key = &asked.public_key;
    state.device_by_key(key).is_some() || state.is_retired(key) || state.approval_by_key(key).is_some()
}
