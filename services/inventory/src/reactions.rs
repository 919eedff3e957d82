//! What events cause: enrollment's change the fleet, and both services' are told for live views.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::VerbName;
use borealis_bus_schema::messages::events::EventRow;
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceKeyRotated, DeviceStatusChanged, DeviceTagged,
    SharedEvent,
};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::Clock;
use borealis_service_kit::follow::Stretch;
use borealis_service_kit::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::stored;

/// Is how often it is looked whether presence can still be told.
const LOOK: Duration = Duration::from_secs(1);
const PAGE: usize = 500;
/// Is the pause after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells what happened for live views; nobody relies on it.
pub struct Teller {
    bus: Bus,
    since: Timestamp,
}

impl Teller {
    /// Makes a teller of what happens from now on; what is read from before is not told again.
    pub const fn new(bus: Bus, since: Timestamp) -> Self {
        Self { bus, since }
    }

    async fn tell(&self, past: &str, at: Timestamp, data: &Value) {
        let (Ok(aggregate), Ok(past)) = (VerbName::new("device"), VerbName::new(past)) else {
            return;
        };
        if at < self.since {
            return;
        }
        if let Err(error) = self.bus.publish_event(&aggregate, &past, at, data).await {
            tracing::debug!(error = %chain(&error), "an event for live views could not be published");
        }
    }
}

/// Takes in a verified stretch of enrollment's events.
///
/// Errors: what cannot be read, as text; the same stretch comes again then.
pub async fn take_enrollment(app: &Arc<App>, teller: &Teller, stretch: Stretch) -> Result<(), String> {
    for row in &stretch.events {
        let told = take(app, row)?;
        if let Some((past, data)) = told {
            teller.tell(past, Timestamp::from_unix_ms(row.at_ms), &data).await;
        }
    }
    Ok(())
}

fn take(app: &Arc<App>, row: &EventRow) -> Result<Option<(&'static str, Value)>, String> {
    let Some(body) = &row.body else { return Ok(None) };
    fn read<T: SharedEvent>(body: &[u8]) -> Result<T, String> {
        codec::decode(body).map_err(|error| format!("an event {} cannot be read: {error}", T::KIND))
    }
    let online = |presence: &str, guid| ("presence-changed", json!({"guid": guid, "presence": presence}));
    Ok(match row.kind.as_str() {
        DeviceEnrolled::KIND => {
            let event: DeviceEnrolled = read(body)?;
            let guid = event.guid;
            let is_new = app.fleet_mut().enrolled(event);
            if is_new {
                app.recall(&guid).map_err(|error| chain(&error))?;
            }
            Some((if is_new { "added" } else { "facts-changed" }, json!({"guid": guid})))
        }
        DeviceStatusChanged::KIND => {
            let event: DeviceStatusChanged = read(body)?;
            app.fleet_mut().status_changed(&event);
            let data = json!({"guid": event.guid, "status": event.status.as_str()});
            Some(("status-changed", data))
        }
        DeviceTagged::KIND => {
            let event: DeviceTagged = read(body)?;
            let guid = event.guid;
            app.fleet_mut().tagged(event);
            Some(("facts-changed", json!({"guid": guid})))
        }
        DeviceKeyRotated::KIND => {
            let event: DeviceKeyRotated = read(body)?;
            app.fleet_mut().key_rotated(&event);
            Some(("facts-changed", json!({"guid": event.guid})))
        }
        DeviceConnected::KIND => {
            let event: DeviceConnected = read(body)?;
            app.fleet_mut().connected(&event);
            Some(online("online", event.guid))
        }
        DeviceDisconnected::KIND => {
            let event: DeviceDisconnected = read(body)?;
            app.fleet_mut().disconnected(&event);
            Some(online("offline", event.guid))
        }
        _ => None,
    })
}

/// Tells of changed facts behind the commits, until the service stops.
pub async fn tell_facts(app: Arc<App>, teller: Teller, shutdown: Shutdown) {
    tokio::select! {
        () = tell_all(&app, &teller) => {}
        () = shutdown.wait() => {}
    }
}

async fn tell_all(app: &App, teller: &Teller) {
    let mut heads = app.log.subscribe();
    let mut position = heads.borrow_and_update().position;
    loop {
        if heads.changed().await.is_err() {
            return;
        }
        while position < heads.borrow_and_update().position {
            let records = match app.log.read_all(position, PAGE) {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the log cannot be read for live views; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(last) = records.last() else { break };
            position = last.position;
            for record in &records {
                let body = record.body.as_deref().unwrap_or_default();
                if let Ok(event) = stored::read(&record.kind, body) {
                    let at = Timestamp::from_unix_ms(record.at_ms);
                    teller.tell("facts-changed", at, &json!({"guid": event.guid})).await;
                }
            }
        }
    }
}

/// Tells when nobody's presence can be told any more, and when it can again.
pub async fn watch_presence(app: Arc<App>, teller: Teller, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fresh = app.presence_is_fresh();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.wait() => return,
        }
        let now_fresh = app.presence_is_fresh();
        if now_fresh != fresh {
            fresh = now_fresh;
            let presence = if fresh { "known" } else { "stale" };
            teller
                .tell(
                    "presence-changed",
                    clock.now(),
                    &json!({"guid": null, "presence": presence}),
                )
                .await;
        }
    }
}
