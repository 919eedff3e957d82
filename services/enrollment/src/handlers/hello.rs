//! `tell.agent.hello`: a device's first words on a connection.

use std::sync::{Mutex, PoisonError};

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::random;

use crate::aggregate::device::DeviceEvent;
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;

/// Answers a device's hello with the server's clock and the newest keys.
///
/// The device is known by the subject, which the bus lets only its key publish to, and by its signature. Its first hello on
/// a connection answers no challenge and gets one; the second answers it and counts. A number that does not go up then means
/// that an older state was restored, or that there are two devices with one key: the device is quarantined. A hello that was
/// said some time ago answers no open challenge, and so counts for nothing, whoever repeats it, and takes nothing from the
/// device. Hellos are counted one after the other, in the order in which their challenges were taken.
///
/// Errors: `malformed`, `not_found`, `proof_invalid`, `device_revoked`, `device_decommissioned`.
pub async fn handle(app: &App, guid: Guid, body: &[u8], now: Timestamp) -> Result<Welcome, Refusal> {
    let hello = open(app, guid, &codec::decode(body)?)?;
    let counted = take(app, &hello, now).await?;
    let status = match counted {
        Some(status) => status,
        None => app.ledger.state().device(&guid).map(|device| device.status),
    };
    let key_set = app
        .issuer
        .signed_key_set()
        .ok_or(Refusal::NotFound { what: "key set" })?;
    Ok(Welcome {
        server_time: now,
        key_set,
        challenge: counted.is_none().then(|| app.challenge(&guid, now)),
        quarantined: status == Some(DeviceStatus::Quarantined),
        renew: app.ledger.state().rotation_is_asked(&guid),
    })
}

fn open(app: &App, guid: Guid, signed: &Signed) -> Result<Hello, Refusal> {
    let state = app.ledger.state();
    let device = state.device(&guid).ok_or(Refusal::NotFound { what: "device" })?;
    let hello: Hello = signed
        .open(&device.public_key(), Form::Hello)
        .map_err(|_| Refusal::Proof {
            what: "the hello's signature",
        })?;
    if hello.guid != guid {
        return Err(Refusal::Proof {
            what: "the hello's device",
        });
    }
    device.admitted()?;
    Ok(hello)
}

/// Counts a hello that answers an open challenge, and returns what the device is then; `None` for any other.
async fn take(app: &App, hello: &Hello, now: Timestamp) -> Result<Option<Option<DeviceStatus>>, Refusal> {
    let guid = hello.guid;
    let Some(answer) = hello.challenge.as_deref() else {
        return Ok(None);
    };
    // Repetitions are told before the turn: they keep nobody waiting.
    if !app.may_answer_challenge(&guid, answer, now) {
        return Ok(None);
    }
    let _turn = app.one_hello_at_a_time(&guid).await;
    if !app.answers_challenge(&guid, answer, now) {
        return Ok(None);
    }
    tracing::info!(
        %guid, agent_version = hello.agent_version, contexts = ?hello.contexts, roles = ?hello.roles,
        "a device said hello"
    );
    count(app, hello, now).await.map(Some)
}

/// Counts a hello; returns what the device is then. A copy that was found stays found when this cannot be written now.
async fn count(app: &App, hello: &Hello, now: Timestamp) -> Result<Option<DeviceStatus>, Refusal> {
    let guid = hello.guid;
    let found = Mutex::new(None);
    let decide = |state: &State| -> Result<Outcome<Option<DeviceStatus>>, Refusal> {
        let device = state.device(&guid).ok_or(Refusal::NotFound { what: "device" })?;
        let event = device.say_hello(hello.journal_counter, now);
        let (status, reason) = match &event {
            Some(DeviceEvent::StatusChanged(changed)) => (changed.status, Some(changed.reason.clone())),
            _ => (device.status, None),
        };
        *found.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        Ok(Outcome {
            events: event.into_iter().map(|event| Event::Device(guid, event)).collect(),
            value: Some(status).filter(|status| *status != DeviceStatus::Active),
        })
    };
    let written = app.ledger.commit(Stamp::own(random::id(), now), decide).await;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (Err(_), Some(reason)) = (&written, found) {
        app.find_copy(guid, reason);
    }
    let status = written?;
    if status == Some(DeviceStatus::Quarantined) {
        tracing::warn!(%guid, counter = hello.journal_counter, "a quarantined device said hello");
    }
    Ok(status)
}
