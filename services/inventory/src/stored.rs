//! Events as they stand in the log.
//!
//! Shape: the CBOR of the struct that the event's kind names. Another shape gets another kind and a step that reads the old.

use std::collections::BTreeMap;

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{InvalidStreamId, NewEvent, StreamId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use thiserror::Error;

use crate::aggregate::{FactsChanged, Kept, Section};

/// Is the kind of [`FactsChanged`].
pub const FACTS_CHANGED: &str = "FactsChanged";

/// Says why an event cannot be written or read.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The kind is none that this version knows.
    #[error("the log holds an event of kind {kind:?}, which this version does not know")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The body is not what its kind says.
    #[error("an event of kind {kind} cannot be read or written")]
    Body {
        /// The kind.
        kind: &'static str,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
    /// Its stream has no name.
    #[error("an event has no stream")]
    Stream(#[from] InvalidStreamId),
}

#[derive(Serialize, Deserialize)]
struct FactsChangedV1 {
    guid: Guid,
    told_at: Timestamp,
    received_at: Timestamp,
    sections: BTreeMap<String, KeptV1>,
}

/// Is a section as events and view rows hold it.
#[derive(Serialize, Deserialize)]
struct KeptV1 {
    #[serde(with = "serde_bytes")]
    digest: [u8; 32],
    size_bytes: u64,
    inline: Option<ByteBuf>,
}

impl From<&Kept> for KeptV1 {
    fn from(kept: &Kept) -> Self {
        Self {
            digest: kept.digest,
            size_bytes: kept.size_bytes,
            inline: kept.inline.clone().map(ByteBuf::from),
        }
    }
}

impl From<KeptV1> for Kept {
    fn from(stored: KeptV1) -> Self {
        Self {
            digest: stored.digest,
            size_bytes: stored.size_bytes,
            inline: stored.inline.map(ByteBuf::into_vec),
        }
    }
}

/// Names a device's stream.
///
/// Errors: [`StoredError::Stream`], which no GUID gives.
pub fn stream(guid: &Guid) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("device-{guid}"))?)
}

/// Encodes an event.
///
/// Errors: [`StoredError::Body`].
pub fn to_new(event: &FactsChanged) -> Result<NewEvent, StoredError> {
    let sections = event
        .sections
        .iter()
        .map(|(section, kept)| (section.name().to_owned(), kept.into()));
    let stored = FactsChangedV1 {
        guid: event.guid,
        told_at: event.told_at,
        received_at: event.received_at,
        sections: sections.collect(),
    };
    Ok(NewEvent {
        kind: FACTS_CHANGED.to_owned(),
        body: codec::encode(&stored).map_err(body_error)?,
    })
}

/// Decodes an event of any version; sections that this version does not know are left out.
///
/// Errors: [`StoredError::UnknownKind`], [`StoredError::Body`].
pub fn read(kind: &str, body: &[u8]) -> Result<FactsChanged, StoredError> {
    if kind != FACTS_CHANGED {
        return Err(StoredError::UnknownKind { kind: kind.to_owned() });
    }
    let stored: FactsChangedV1 = codec::decode(body).map_err(body_error)?;
    let sections = stored.sections.into_iter();
    Ok(FactsChanged {
        guid: stored.guid,
        told_at: stored.told_at,
        received_at: stored.received_at,
        sections: sections
            .filter_map(|(name, kept)| Some((Section::of_name(&name)?, kept.into())))
            .collect(),
    })
}

/// Encodes a section for a view's row.
///
/// Errors: [`StoredError::Body`].
pub fn encode_kept(kept: &Kept) -> Result<Vec<u8>, StoredError> {
    codec::encode(&KeptV1::from(kept)).map_err(body_error)
}

/// Decodes a section of a view's row.
///
/// Errors: [`StoredError::Body`].
pub fn decode_kept(bytes: &[u8]) -> Result<Kept, StoredError> {
    Ok(codec::decode::<KeptV1>(bytes).map_err(body_error)?.into())
}

const fn body_error(source: CodecError) -> StoredError {
    StoredError::Body {
        kind: FACTS_CHANGED,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::{NOW, facts};
    use crate::aggregate::{Known, decide};
    use borealis_test_support::pin_all;
    use serde_json::json;

    fn event() -> FactsChanged {
        let mut event = decide(&Known::default(), &facts(), NOW).unwrap().event.unwrap();
        let in_file = Kept {
            digest: [7; 32],
            size_bytes: 99_999,
            inline: None,
        };
        event.sections.insert(Section::Software, in_file);
        event
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_file_keeps_the_stored_event_readable() {
        let kept = |kept: &Kept| json!({"digest": hex(&kept.digest), "size_bytes": kept.size_bytes});
        let fields = |event: &FactsChanged, _: &NewEvent| {
            let sections = event.sections.iter();
            let sections: BTreeMap<_, _> = sections.map(|(section, of)| (section.name(), kept(of))).collect();
            json!({"guid": event.guid, "sections": sections})
        };
        let encode = |event: &FactsChanged| (None, to_new(event).unwrap());
        pin_all(env!("CARGO_MANIFEST_DIR"), &[event()], encode, fields, read).unwrap();
    }

    #[test]
    fn an_unknown_kind_and_a_damaged_body_are_told_apart() {
        assert!(matches!(read("FactsEaten", b""), Err(StoredError::UnknownKind { .. })));
        assert!(matches!(read("FactsChanged", b"\xff"), Err(StoredError::Body { .. })));
    }
}
