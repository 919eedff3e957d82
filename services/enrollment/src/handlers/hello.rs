//! `tell.agent.hello`: a device's first word on a connection.

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::time::Timestamp;

use crate::app::App;
use crate::error::Refusal;

/// Answers a device's hello with the server's clock and the newest keys.
///
/// The device is known by the subject, which the bus lets only its key publish to, and by its signature. A journal counter
/// that went back means that an older state was restored, or that there are two devices with one key.
///
/// Errors: `malformed`, `not_found`, `proof_invalid`, `device_revoked`, `device_decommissioned`.
pub fn handle(app: &App, guid: Guid, body: &[u8], now: Timestamp) -> Result<Welcome, Refusal> {
    let signed: Signed = codec::decode(body)?;
    {
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
        tracing::info!(
            %guid, agent_version = hello.agent_version, contexts = ?hello.contexts, roles = ?hello.roles,
            "a device said hello"
        );
        if let Some(before) = app.note_journal_counter(guid, hello.journal_counter) {
            tracing::warn!(%guid, before, now = hello.journal_counter, "a device's journal went back: a clone, or an older copy of its state");
        }
    }
    let key_set = app
        .issuer
        .signed_key_set()
        .ok_or(Refusal::NotFound { what: "key set" })?;
    Ok(Welcome {
        server_time: now,
        key_set,
    })
}
