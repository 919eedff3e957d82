//! `tell.inventory.facts`: a device tells what it is.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed, sha256};
use borealis_bus_schema::ids::{CommandId, Guid};
use borealis_bus_schema::messages::inventory::{Facts, FactsKept};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, StreamWrite};
use borealis_service_kit::random;

use crate::aggregate::decide;
use crate::app::App;
use crate::error::{Fault, Refusal};
use crate::stored;
use crate::views::facts::known;
use crate::views::fleet::Told;

/// Is how often facts are decided anew when others of the same device came between.
const ATTEMPTS: usize = 8;
/// Is how far ahead of this server's clock facts may be, in milliseconds.
const AHEAD_MS: i64 = 300_000;

/// Takes a device's facts: verifies that it signed them, writes what changed, and answers once that is durable.
///
/// Errors: `malformed`, `unavailable` while the device is not known here yet, `proof_invalid`, `device_revoked`,
/// `device_decommissioned`, `invalid_field` for facts from the future.
pub async fn handle(app: Arc<App>, guid: Guid, body: &[u8], now: Timestamp) -> Result<FactsKept, Refusal> {
    let signed: Signed = codec::decode(body)?;
    let facts = open(&app, guid, &signed)?;
    if facts.at.since_ms(now) > AHEAD_MS {
        return Err(Refusal::InvalidField {
            what: "the facts were gathered in the future",
        });
    }
    let facts = Arc::new(facts);
    let changed = write(&app, &facts, now).await?;
    app.fleet_mut().told(&guid, Told::of(&facts, now));
    Ok(FactsKept { changed })
}

fn open(app: &App, guid: Guid, signed: &Signed) -> Result<Facts, Refusal> {
    let fleet = app.fleet();
    let device = fleet.device(&guid).ok_or(Refusal::NotYetKnown)?;
    match device.status {
        DeviceStatus::Active | DeviceStatus::Quarantined => {}
        DeviceStatus::Revoked => return Err(Refusal::Revoked),
        DeviceStatus::Decommissioned => return Err(Refusal::Decommissioned),
    }
    let facts: Facts = signed
        .open(&device.public_key, Form::Facts)
        .map_err(|_| Refusal::Proof)?;
    if facts.guid == guid {
        Ok(facts)
    } else {
        Err(Refusal::Proof)
    }
}

async fn write(app: &Arc<App>, facts: &Arc<Facts>, now: Timestamp) -> Result<bool, Refusal> {
    for _ in 0..ATTEMPTS {
        let Some(append) = prepare(app, facts, now).await? else {
            return Ok(false);
        };
        match app.log.append(append).await {
            Ok(_) => return Ok(true),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(Fault::Append(error).into()),
        }
    }
    Err(Fault::Contended.into())
}

/// Decides on what is known, and syncs the files that the event will name.
async fn prepare(app: &Arc<App>, facts: &Arc<Facts>, now: Timestamp) -> Result<Option<Append>, Refusal> {
    let (app, facts) = (Arc::clone(app), Arc::clone(facts));
    let work = move || -> Result<Option<Append>, Refusal> {
        let stream = stored::stream(&facts.guid).map_err(Fault::from)?;
        // The version first: what is known may only be newer, and then the append conflicts.
        let expected = app.log.stream_version(&stream).map_err(Fault::from)?;
        app.facts.catch_up().map_err(Fault::from)?;
        let news = decide(&known(&app.facts, &facts.guid)?, &facts, now)?;
        let Some(event) = news.event else { return Ok(None) };
        for file in &news.files {
            app.files.put(file).map_err(Fault::from)?;
        }
        let id: CommandId = random::id();
        Ok(Some(Append {
            command_id: *id.as_bytes(),
            command_digest: sha256(id.as_bytes()),
            at_ms: now.unix_ms(),
            writes: vec![StreamWrite {
                stream,
                expected,
                events: vec![stored::to_new(&event).map_err(Fault::from)?],
            }],
            answer: Vec::new(),
        }))
    };
    tokio::task::spawn_blocking(work).await.map_err(Fault::from)?
}
