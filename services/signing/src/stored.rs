//! The stored forms of signing's events, apart from the domain's, one struct per version.
//!
//! Shape: CBOR maps. An event's kind names form and version: `OrdersSigned` is version 1, a second version would be
//! `OrdersSigned2` with an upcast from the first. The orders of a batch are packed, 53 bytes each:
//! `order[16] ‖ run[16] ‖ guid[16] ‖ attempt u32 big endian ‖ cancels u8`.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::SignatureBytes;
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, JobId, OperatorId, OrderId, RunId};
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{NewEvent, StreamId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::aggregate::{Entry, Event};

/// Says why a stored event cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The codec refused.
    #[error("the body of {kind} does not fit its form")]
    Body {
        /// The event's kind.
        kind: String,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
    /// The packed orders do not fill whole entries.
    #[error("the orders of a batch are cut off")]
    Entries,
    /// This version does not know the kind; a newer one wrote it.
    #[error("the kind {kind} is not known to this version")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The stream's name is none.
    #[error("the name of a stream does not fit")]
    Stream(#[from] borealis_event_store::InvalidStreamId),
}

#[derive(Serialize, Deserialize)]
struct OrdersSignedV1 {
    job: JobId,
    command: CommandId,
    call: Digest,
    grant: GrantId,
    author: OperatorId,
    key_id: String,
    at: Timestamp,
    #[serde(with = "serde_bytes")]
    orders: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct JobApprovedV1 {
    job: JobId,
    call: Digest,
    devices: Digest,
    devices_total: u64,
    approver: OperatorId,
    grant: GrantId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct HeadCountersignedV1 {
    head: Head,
    at: Timestamp,
    signature: SignatureBytes,
}

/// Names the stream of a job.
///
/// Errors: none in practice; an id always fits.
pub fn of_job(job: &JobId) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("job-{job}"))?)
}

/// Names the stream of a service's confirmed heads.
///
/// Errors: none in practice; a name always fits.
pub fn of_heads(service: Service) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("head-{service}"))?)
}

/// Brings an event to its stored form, with the stream it belongs to.
///
/// Errors: [`StoredError::Body`] for a body that is too large.
pub fn encode(event: &Event) -> Result<(StreamId, NewEvent), StoredError> {
    let (stream, kind, body) = match event.clone() {
        Event::OrdersSigned {
            job,
            command,
            call,
            grant,
            author,
            key_id,
            at,
            entries,
        } => {
            let body = OrdersSignedV1 {
                job,
                command,
                call,
                grant,
                author,
                key_id,
                at,
                orders: pack(&entries),
            };
            (of_job(&job)?, "OrdersSigned", codec::encode(&body))
        }
        Event::JobApproved {
            job,
            call,
            devices,
            devices_total,
            approver,
            grant,
            at,
        } => {
            let body = JobApprovedV1 {
                job,
                call,
                devices,
                devices_total,
                approver,
                grant,
                at,
            };
            (of_job(&job)?, "JobApproved", codec::encode(&body))
        }
        Event::HeadCountersigned { head, at, signature } => {
            let stream = of_heads(head.service)?;
            let body = HeadCountersignedV1 { head, at, signature };
            (stream, "HeadCountersigned", codec::encode(&body))
        }
    };
    let kind = kind.to_owned();
    match body {
        Ok(body) => Ok((stream, NewEvent { kind, body })),
        Err(source) => Err(StoredError::Body { kind, source }),
    }
}

/// Reads a stored event of any version.
///
/// Errors: [`StoredError`]; nothing may be decided without the event.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, StoredError> {
    match kind {
        "OrdersSigned" => {
            let stored: OrdersSignedV1 = read(kind, body)?;
            Ok(Event::OrdersSigned {
                job: stored.job,
                command: stored.command,
                call: stored.call,
                grant: stored.grant,
                author: stored.author,
                key_id: stored.key_id,
                at: stored.at,
                entries: unpack(&stored.orders).ok_or(StoredError::Entries)?,
            })
        }
        "JobApproved" => {
            let stored: JobApprovedV1 = read(kind, body)?;
            Ok(Event::JobApproved {
                job: stored.job,
                call: stored.call,
                devices: stored.devices,
                devices_total: stored.devices_total,
                approver: stored.approver,
                grant: stored.grant,
                at: stored.at,
            })
        }
        "HeadCountersigned" => {
            let HeadCountersignedV1 { head, at, signature } = read(kind, body)?;
            Ok(Event::HeadCountersigned { head, at, signature })
        }
        _ => Err(StoredError::UnknownKind { kind: kind.to_owned() }),
    }
}

fn read<T: DeserializeOwned>(kind: &str, body: &[u8]) -> Result<T, StoredError> {
    codec::decode(body).map_err(|source| StoredError::Body {
        kind: kind.to_owned(),
        source,
    })
}

const ENTRY_BYTES: usize = 53;

fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        packed.extend_from_slice(entry.order.as_bytes());
        packed.extend_from_slice(entry.run.as_bytes());
        packed.extend_from_slice(entry.guid.as_bytes());
        packed.extend_from_slice(&entry.attempt.to_be_bytes());
        packed.push(u8::from(entry.cancels));
    }
    packed
}

fn unpack(packed: &[u8]) -> Option<Vec<Entry>> {
    let (entries, []) = packed.as_chunks::<ENTRY_BYTES>() else {
        return None;
    };
    entries.iter().map(|entry| unpack_one(entry)).collect()
}

fn unpack_one(entry: &[u8]) -> Option<Entry> {
    let (order, rest) = entry.split_first_chunk::<16>()?;
    let (run, rest) = rest.split_first_chunk::<16>()?;
    let (guid, rest) = rest.split_first_chunk::<16>()?;
    let (attempt, rest) = rest.split_first_chunk::<4>()?;
    Some(Entry {
        order: OrderId::from_bytes(*order),
        run: RunId::from_bytes(*run),
        // Every device's GUID is a version 4 one, which these bytes give back unchanged.
        guid: Guid::from_random(*guid),
        attempt: u32::from_be_bytes(*attempt),
        cancels: rest == [1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_test_support::pin_all;
    use serde_json::Value;

    fn at() -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn one_of_each() -> Vec<Event> {
        let entry = |n| Entry {
            order: OrderId::from_bytes([n; 16]),
            run: RunId::from_bytes([n + 1; 16]),
            attempt: 1,
            guid: Guid::from_random([n + 2; 16]),
            cancels: n > 1,
        };
        vec![
            Event::OrdersSigned {
                job: JobId::from_bytes([1; 16]),
                command: CommandId::from_bytes([2; 16]),
                call: Digest([3; 32]),
                grant: GrantId::from_bytes([4; 16]),
                author: OperatorId::from_bytes([5; 16]),
                key_id: "0123456789abcdef".into(),
                at: at(),
                entries: vec![entry(1), entry(2)],
            },
            Event::JobApproved {
                job: JobId::from_bytes([1; 16]),
                call: Digest([3; 32]),
                devices: Digest([6; 32]),
                devices_total: 3,
                approver: OperatorId::from_bytes([7; 16]),
                grant: GrantId::from_bytes([8; 16]),
                at: at(),
            },
            Event::HeadCountersigned {
                head: Head {
                    service: Service::Access,
                    position: 7,
                    hash: Digest([8; 32]),
                    at: at(),
                },
                at: at(),
                signature: SignatureBytes::from_bytes([9; 64]),
            },
        ]
    }

    #[test]
    fn every_event_reads_back() {
        for event in one_of_each() {
            let (_, stored) = encode(&event).unwrap();
            assert_eq!(decode(&stored.kind, &stored.body).unwrap(), event);
        }
    }

    #[test]
    fn a_full_event_fits_the_store() {
        let Some(Event::OrdersSigned {
            job,
            command,
            call,
            grant,
            author,
            key_id,
            at,
            entries,
        }) = one_of_each().into_iter().next()
        else {
            panic!("the first is a batch")
        };
        let full = Event::OrdersSigned {
            job,
            command,
            call,
            grant,
            author,
            key_id,
            at,
            entries: entries
                .into_iter()
                .cycle()
                .take(crate::aggregate::ENTRIES_PER_EVENT)
                .collect(),
        };
        assert!(encode(&full).unwrap().1.body.len() <= borealis_event_store::MAX_BODY_BYTES);
    }

    fn json_of<T: DeserializeOwned + Serialize>(body: &[u8]) -> Value {
        serde_json::to_value(codec::decode::<T>(body).unwrap()).unwrap()
    }
    fn fields(stored: &NewEvent) -> Value {
        match stored.kind.as_str() {
            "OrdersSigned" => json_of::<OrdersSignedV1>(&stored.body),
            "JobApproved" => json_of::<JobApprovedV1>(&stored.body),
            "HeadCountersigned" => json_of::<HeadCountersignedV1>(&stored.body),
            other => panic!("{other} has no golden form"),
        }
    }

    #[test]
    fn golden_events_stay_readable() {
        let encode = |event: &Event| {
            let (stream, stored) = encode(event).unwrap();
            (Some(stream), stored)
        };
        let fields = |_: &Event, stored: &NewEvent| fields(stored);
        pin_all(env!("CARGO_MANIFEST_DIR"), &one_of_each(), encode, fields, decode).unwrap();
    }

    #[test]
    fn what_cannot_be_read_stops_everything() {
        assert!(matches!(
            decode("OrdersSigned9", b""),
            Err(StoredError::UnknownKind { .. })
        ));
        assert!(matches!(decode("OrdersSigned", b"\xff"), Err(StoredError::Body { .. })));
        assert!(unpack(&[0; ENTRY_BYTES + 1]).is_none());
    }
}
