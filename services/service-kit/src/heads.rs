//! A service's own log as others see it: its signed head, and the reads up to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::messages::events::{EventRow, EventsPage, EventsRead, Head};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::Reply;
use borealis_event_store::EventLog;

use crate::operator::store_error;
use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// Is the longest time between two heads.
const EVERY: Duration = Duration::from_secs(1);
/// Is the shortest time between two heads; commits in between share one.
const COALESCE: Duration = Duration::from_millis(20);
/// Is the most events in one page.
const PAGE_EVENTS: usize = 1_000;
/// Is about how many bytes one page has at most, below the bus's limit.
const PAGE_BYTES: usize = 700_000;

/// Signs the durable head.
///
/// Errors: the codec's.
pub fn signed_head(
    key: &SigningKey,
    bus: &Bus,
    log: &dyn EventLog,
    clock: &dyn Clock,
) -> Result<Vec<u8>, codec::CodecError> {
    // Taken before the head is read: whatever was acknowledged until this instant stands below the head.
    let at = clock.now();
    let durable = log.head();
    let head = Head {
        service: bus.service(),
        position: durable.position,
        hash: Digest(durable.hash),
        at,
    };
    codec::encode(&Signed::seal(key, Form::Head, &head)?)
}

/// Publishes the signed head at commits, and each second when there are none, until the service stops.
pub(crate) async fn publish(
    key: SigningKey,
    bus: Bus,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) {
    let mut commits = log.subscribe();
    let publishing = async {
        loop {
            commits.mark_unchanged();
            tell(&key, &bus, log.as_ref(), clock.as_ref()).await;
            tokio::time::sleep(COALESCE).await;
            // Ends as well when the log is closed; the service stops then.
            let _ = tokio::time::timeout(EVERY - COALESCE, commits.changed()).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = shutdown.wait() => {}
    }
}

/// Publishes the signed head once.
pub(crate) async fn tell(key: &SigningKey, bus: &Bus, log: &dyn EventLog, clock: &dyn Clock) {
    match signed_head(key, bus, log, clock) {
        Ok(body) => {
            if let Err(error) = bus.publish_head(body).await {
                tracing::warn!(%error, "the head could not be published");
            }
        }
        Err(error) => tracing::error!(%error, "the head could not be signed"),
    }
}

/// Reads a page of events for another service; bodies of secret kinds stay here.
///
/// Errors: `storage_failed`.
pub(crate) fn read_page(log: &dyn EventLog, secret: &BTreeSet<&'static str>, ask: &EventsRead) -> Reply<EventsPage> {
    let limit = usize::try_from(ask.limit).unwrap_or(PAGE_EVENTS).clamp(1, PAGE_EVENTS);
    let records = log.read_all(ask.after, limit).map_err(|error| store_error(&error))?;
    let (mut events, mut bytes) = (Vec::with_capacity(records.len()), 0usize);
    for record in records {
        let body = record.body.filter(|_| !secret.contains(record.kind.as_str()));
        bytes += 300 + body.as_ref().map_or(0, Vec::len);
        if bytes > PAGE_BYTES && !events.is_empty() {
            break;
        }
        events.push(EventRow {
            position: record.position,
            stream: record.stream.to_string(),
            kind: record.kind,
            at_ms: record.at_ms,
            body_digest: Digest(record.body_digest),
            body: body.map(ByteBuf::from),
        });
    }
    Ok(EventsPage { events })
}
