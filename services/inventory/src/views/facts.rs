//! The newest facts of each device: rows on disk, made from the log.
//!
//! Shape: key `GUID ‖ section name` → CBOR of the section as events hold it; key `GUID ‖ "at"` → CBOR of the two instants.
//! Memory holds none of it.

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::{audit, codec};
use borealis_event_store::{DigestFiles, EventRecord, SledView, StoreError, View, ViewBatch, ViewError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::aggregate::{Kept, Known, Section};
use crate::error::Fault;
use crate::stored;

const AT: &[u8] = b"at";

/// Makes the rows.
#[derive(Debug)]
pub struct FactsView;

#[derive(Serialize, Deserialize)]
struct At {
    told_at: Timestamp,
    received_at: Timestamp,
}

fn key(guid: &Guid, name: &[u8]) -> Vec<u8> {
    [guid.as_bytes().as_slice(), name].concat()
}

fn rejected(error: impl std::error::Error) -> ViewError {
    ViewError::Rejected {
        reason: error.to_string(),
    }
}

impl View for FactsView {
    const NAME: &'static str = "facts";

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        let Some(body) = event.body.as_ref().filter(|_| event.kind != audit::KIND) else {
            return Ok(());
        };
        let changed = stored::read(&event.kind, body).map_err(rejected)?;
        for (section, kept) in &changed.sections {
            let value = stored::encode_kept(kept).map_err(rejected)?;
            batch.put(&key(&changed.guid, section.name().as_bytes()), value)?;
        }
        let at = At {
            told_at: changed.told_at,
            received_at: changed.received_at,
        };
        batch.put(&key(&changed.guid, AT), codec::encode(&at).map_err(rejected)?)
    }
}

/// Reads what is known of a device; empty when it told nothing yet.
///
/// Errors: [`Fault`].
pub fn known(view: &SledView<FactsView>, guid: &Guid) -> Result<Known, Fault> {
    let mut known = Known::default();
    for (row, value) in view.scan(guid.as_bytes(), None, Section::ALL.len() + 1)? {
        let name = row.get(guid.as_bytes().len()..).unwrap_or_default();
        if name == AT {
            let at: At = codec::decode(&value).map_err(|_| Fault::View)?;
            known.told_at = Some(at.told_at);
            known.received_at = Some(at.received_at);
        } else if let Some(section) = std::str::from_utf8(name).ok().and_then(Section::of_name) {
            known.sections.insert(section, stored::decode_kept(&value)?);
        }
    }
    Ok(known)
}

/// Puts a device's facts together again; none when it told nothing yet.
///
/// Errors: [`Fault`].
pub fn facts(known: &Known, guid: &Guid, files: &DigestFiles) -> Result<Option<Facts>, Fault> {
    let Some(told_at) = known.told_at else { return Ok(None) };
    Ok(Some(Facts {
        guid: *guid,
        at: told_at,
        summary: section(known, Section::Summary, files)?,
        cpu: section(known, Section::Cpu, files)?,
        memory: section(known, Section::Memory, files)?,
        storage: section(known, Section::Storage, files)?,
        network: section(known, Section::Network, files)?,
        os: section(known, Section::Os, files)?,
        software: section(known, Section::Software, files)?,
    }))
}

/// Reads one section; its empty form when it is not known.
///
/// Errors: [`Fault`].
pub fn section<T: DeserializeOwned + Default>(
    known: &Known,
    section: Section,
    files: &DigestFiles,
) -> Result<T, Fault> {
    match known.sections.get(&section) {
        None => Ok(T::default()),
        Some(kept) => codec::decode(&bytes(kept, files)?).map_err(|_| Fault::View),
    }
}

fn bytes(kept: &Kept, files: &DigestFiles) -> Result<Vec<u8>, StoreError> {
    match &kept.inline {
        Some(bytes) => Ok(bytes.clone()),
        None => files.read(&kept.digest)?.ok_or_else(|| StoreError::DigestMismatch {
            digest: kept.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }),
    }
}
