//! What happened, told for live views: read from the log behind the commits, never relied on.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::causes::Chain;
use borealis_bus_schema::ids::VerbName;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::EventRecord;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::shutdown::Shutdown;
use serde_json::{Value, json};

use crate::aggregate::approval::ApprovalEvent;
use crate::aggregate::code::CodeEvent;
use crate::aggregate::device::DeviceEvent;
use crate::app::App;
use crate::stored::Event;

const PAGE: usize = 500;

/// Is the pause after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes every event from now on until the service stops.
pub async fn publish(app: Arc<App>, bus: Bus, shutdown: Shutdown) {
    tokio::select! {
        () = publish_all(&app, &bus) => {}
        () = shutdown.wait() => {}
    }
}

async fn publish_all(app: &App, bus: &Bus) {
    let mut heads = app.ledger.subscribe();
    let mut position = heads.borrow_and_update().position;
    loop {
        if heads.changed().await.is_err() {
            return;
        }
        while position < heads.borrow_and_update().position {
            let records = match app.ledger.log().read_all(position, PAGE) {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "the log cannot be read for live views; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(last) = records.last() else { break };
            position = last.position;
            for record in &records {
                tell(bus, record).await;
            }
        }
    }
}

async fn tell(bus: &Bus, record: &EventRecord) {
    let Some(body) = &record.body else { return };
    let Some((aggregate, past, data)) = Event::read(&record.kind, body).ok().and_then(|event| told(&event)) else {
        return;
    };
    let (Ok(aggregate), Ok(past)) = (VerbName::new(aggregate), VerbName::new(past)) else {
        return;
    };
    let at = Timestamp::from_unix_ms(record.at_ms);
    if let Err(error) = bus.publish_event(&aggregate, &past, at, &data).await {
        tracing::debug!(error = %Chain(&error), "an event for live views could not be published");
    }
}

/// Says what is told of an event: aggregate, what happened, and which one.
fn told(event: &Event) -> Option<(&'static str, &'static str, Value)> {
    Some(match event {
        Event::Code(id, event) => {
            let past = match event {
                CodeEvent::Minted(_) => "minted",
                CodeEvent::Used { .. } => "used",
                CodeEvent::Revoked { .. } => "revoked",
            };
            ("code", past, json!({"id": id}))
        }
        Event::Approval(id, event) => {
            let past = match event {
                ApprovalEvent::Requested(_) => "requested",
                ApprovalEvent::Approved { .. } => "approved",
                ApprovalEvent::Denied { .. } => "denied",
                ApprovalEvent::Expired { .. } => "expired",
                ApprovalEvent::Completed { .. } => "completed",
            };
            ("approval", past, json!({"id": id}))
        }
        Event::Device(guid, DeviceEvent::Enrolled(_)) => ("device", "enrolled", json!({"guid": guid})),
        Event::Device(guid, DeviceEvent::StatusChanged(changed)) => (
            "device",
            "status-changed",
            json!({"guid": guid, "status": changed.status.as_str()}),
        ),
        Event::Device(guid, DeviceEvent::KeyRotated(_)) => ("device", "key-rotated", json!({"guid": guid})),
        Event::Device(..) => return None,
        Event::Connected(event) => ("device", "connected", json!({"guid": event.guid})),
        Event::Disconnected(event) => ("device", "disconnected", json!({"guid": event.guid})),
    })
}
