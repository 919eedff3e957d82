//! Confirming the heads of all logs, so that none of them can lose its end or be put back unnoticed.
//!
//! Each minute, and when the service stops, the newest head of every followed service, signed by that service, is countersigned and kept here; and this
//! service's own. A head that went back, or has another hash at the same position, is never countersigned but reported.
//! One that has not moved needs nothing new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, sign};
use borealis_bus_schema::messages::audit::Countersigned;
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::EventLog;
use borealis_service_kit::clock::Clock;
use borealis_service_kit::shutdown::Shutdown;
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

use crate::aggregate::Event;
use crate::error::SigningError;
use crate::{service, stored};

/// Is the time between two rounds.
const EVERY: Duration = Duration::from_secs(55);

/// Is the pause before the first round: long enough for every service's first head.
const FIRST: Duration = Duration::from_secs(5);

/// Is how long heads that were told already may take to arrive when the service stops.
const LAST: Duration = Duration::from_millis(100);

/// Says what a new head is compared with the one confirmed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It moved on.
    Confirm,
    /// It stands where it stood.
    Unchanged,
    /// It went back, or is another at the same place: events were removed or altered.
    Impossible,
}

/// Judges a head by the one confirmed before.
pub fn judge(before: Option<&Head>, head: &Head) -> Verdict {
    match before {
        Some(before) if head.position < before.position => Verdict::Impossible,
        Some(before) if head.position == before.position && head.hash != before.hash => Verdict::Impossible,
        Some(before) if head.position == before.position => Verdict::Unchanged,
        None if head.position == 0 => Verdict::Unchanged,
        _ => Verdict::Confirm,
    }
}

/// Is the task that confirms heads.
pub struct Countersigner {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// This service's own key.
    pub key: SigningKey,
    /// The newest head of each followed service.
    pub heads: BTreeMap<Service, watch::Receiver<Option<Head>>>,
    /// Ends it.
    pub shutdown: Shutdown,
}

impl Countersigner {
    /// Confirms heads until the service stops.
    pub async fn run(self) {
        let mut confirmed = match self.confirmed_before() {
            Ok(confirmed) => confirmed,
            Err(error) => {
                tracing::error!(error = %borealis_bus_schema::causes::chain(&error), "no head is countersigned: what was confirmed before cannot be read");
                return;
            }
        };
        let mut own_end = 0;
        let mut pause = FIRST;
        let mut last = false;
        while !last {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.wait() => {
                    // The services that stopped before told their last heads; those may still be on the way in.
                    tokio::time::sleep(LAST).await;
                    last = true;
                }
            }
            pause = EVERY;
            if let Err(error) = self.round(&mut confirmed, &mut own_end).await {
                tracing::warn!(error = %borealis_bus_schema::causes::chain(&error), "heads could not be countersigned; the next round tries again");
                pause = FIRST;
            }
        }
    }

    /// Reads the last confirmed head of each service.
    fn confirmed_before(&self) -> Result<BTreeMap<Service, Head>, SigningError> {
        let mut confirmed = BTreeMap::new();
        for service in Service::ALL.into_iter().filter(|service| service.has_store()) {
            if let Some(newest) = newest(self.log.as_ref(), service)? {
                confirmed.insert(service, newest.head);
            }
        }
        Ok(confirmed)
    }

    /// Confirms what moved; `own_end` is where this service's own log ended after the round before.
    async fn round(&self, confirmed: &mut BTreeMap<Service, Head>, own_end: &mut u64) -> Result<(), SigningError> {
        let now = self.clock.now();
        let newest = self.heads.values().filter_map(|head| head.borrow().clone());
        let mut events = Vec::new();
        for head in newest {
            match judge(confirmed.get(&head.service), &head) {
                Verdict::Confirm => events.push(self.confirm(head, now)?),
                Verdict::Unchanged => {}
                Verdict::Impossible => tracing::error!(
                    owner = %head.service, position = head.position,
                    "a log lost or changed events that were confirmed before; its head is not countersigned"
                ),
            }
        }
        // Each round moves the own log by its own events, which alone are no reason for another round.
        let own = self.own_head(now);
        if own.position > *own_end || !events.is_empty() {
            events.push(self.confirm(own.clone(), now)?);
        }
        if events.is_empty() {
            return Ok(());
        }
        service::append(self.log.as_ref(), &events, None, now).await?;
        *own_end = own
            .position
            .saturating_add(u64::try_from(events.len()).unwrap_or(u64::MAX));
        for event in events {
            if let Event::HeadCountersigned { head, .. } = event {
                confirmed.insert(head.service, head);
            }
        }
        Ok(())
    }

    fn own_head(&self, now: Timestamp) -> Head {
        let durable = self.log.head();
        Head {
            service: Service::Signing,
            position: durable.position,
            hash: Digest(durable.hash),
            at: now,
        }
    }

    fn confirm(&self, head: Head, at: Timestamp) -> Result<Event, SigningError> {
        let bytes = codec::encode(&head).map_err(|source| stored::StoredError::Body {
            kind: "HeadCountersigned".to_owned(),
            source,
        })?;
        let signature = sign(&self.key, Form::Countersign, &[&bytes]);
        Ok(Event::HeadCountersigned { head, at, signature })
    }
}

/// Reads the newest head of a service that was confirmed.
///
/// Errors: [`SigningError::Store`], [`SigningError::Stored`].
pub fn newest(log: &dyn EventLog, service: Service) -> Result<Option<Countersigned>, SigningError> {
    let stream = stored::of_heads(service)?;
    let version = log.stream_version(&stream)?;
    let last = log.read_stream(&stream, version.saturating_sub(1), 1)?;
    let Some((kind, body)) = last
        .first()
        .and_then(|record| Some((&record.kind, record.body.as_ref()?)))
    else {
        return Ok(None);
    };
    Ok(match stored::decode(kind, body)? {
        Event::HeadCountersigned { head, at, signature } => Some(Countersigned { head, at, signature }),
        Event::OrdersSigned { .. } | Event::JobApproved { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(position: u64, hash: u8) -> Head {
        Head {
            service: Service::Access,
            position,
            hash: Digest([hash; 32]),
            at: Timestamp::from_unix_ms(1_800_000_000_000),
        }
    }

    #[test]
    fn a_head_moves_on_or_stays_but_never_goes_back() {
        assert_eq!(judge(None, &head(0, 0)), Verdict::Unchanged);
        assert_eq!(judge(None, &head(5, 1)), Verdict::Confirm);
        assert_eq!(judge(Some(&head(5, 1)), &head(6, 2)), Verdict::Confirm);
        assert_eq!(judge(Some(&head(5, 1)), &head(5, 1)), Verdict::Unchanged);
        assert_eq!(judge(Some(&head(5, 1)), &head(5, 2)), Verdict::Impossible);
        assert_eq!(judge(Some(&head(5, 1)), &head(4, 1)), Verdict::Impossible);
        assert_eq!(judge(Some(&head(5, 1)), &head(0, 0)), Verdict::Impossible);
    }
}
