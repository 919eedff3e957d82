//! Events as they stand in the log.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::ids::AssemblyId;
use borealis_event_store::{EventRecord, NewEvent};
use thiserror::Error;

use crate::assembly::Event;
use crate::script::ScriptKept;

/// Is the kind of a script that was kept.
pub const SCRIPT_KEPT: &str = "ScriptKept";
/// Is the kind of a version that was written.
pub const VERSION_SAVED: &str = "AssemblyVersionSaved";
/// Is the kind of a version that was published.
pub const VERSION_PUBLISHED: &str = "AssemblyVersionPublished";
/// Is the kind of an assembly that went into the archive.
pub const ARCHIVED: &str = "AssemblyArchived";
/// Is the kind of an assembly that came out of the archive.
pub const RESTORED: &str = "AssemblyRestored";

/// Is what stands before an assembly's id in the name of its stream.
pub const ASSEMBLY_STREAM: &str = "assembly-";

/// Is an event of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A script was kept.
    Script(ScriptKept),
    /// Something happened to an assembly.
    Assembly(Event),
}

/// Says why an event cannot be read.
#[derive(Debug, Error)]
pub enum StoredError {
    /// Its kind is not known.
    #[error("there are no events of the kind {0:?}")]
    Kind(String),
    /// Its body cannot be read.
    #[error("an event of the kind {kind} cannot be read")]
    Body {
        /// The kind.
        kind: String,
        /// Why.
        #[source]
        source: CodecError,
    },
}

impl Stored {
    /// Writes an event for the log.
    ///
    /// Errors: the codec's.
    pub fn encode(&self) -> Result<NewEvent, CodecError> {
        let (kind, body) = match self {
            Stored::Script(kept) => (SCRIPT_KEPT, codec::encode(kept)?),
            Stored::Assembly(Event::Saved(saved)) => (VERSION_SAVED, codec::encode(saved)?),
            Stored::Assembly(Event::Published(published)) => (VERSION_PUBLISHED, codec::encode(published)?),
            Stored::Assembly(Event::Archived(by)) => (ARCHIVED, codec::encode(by)?),
            Stored::Assembly(Event::Restored(by)) => (RESTORED, codec::encode(by)?),
        };
        Ok(NewEvent {
            kind: kind.to_owned(),
            body,
        })
    }

    /// Reads an event of the log.
    ///
    /// Errors: [`StoredError`].
    pub fn decode(kind: &str, body: &[u8]) -> Result<Self, StoredError> {
        let read = |source| StoredError::Body {
            kind: kind.to_owned(),
            source,
        };
        Ok(match kind {
            SCRIPT_KEPT => Stored::Script(codec::decode(body).map_err(read)?),
            VERSION_SAVED => Stored::Assembly(Event::Saved(codec::decode(body).map_err(read)?)),
            VERSION_PUBLISHED => Stored::Assembly(Event::Published(codec::decode(body).map_err(read)?)),
            ARCHIVED => Stored::Assembly(Event::Archived(codec::decode(body).map_err(read)?)),
            RESTORED => Stored::Assembly(Event::Restored(codec::decode(body).map_err(read)?)),
            other => return Err(StoredError::Kind(other.to_owned())),
        })
    }
}

/// Returns the assembly whose stream a record stands in.
pub fn assembly_of(record: &EventRecord) -> Option<AssemblyId> {
    record.stream.as_str().strip_prefix(ASSEMBLY_STREAM)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use borealis_bus_schema::ids::{OperatorId, SiteName};
    use borealis_bus_schema::order::{Digest, Language};
    use borealis_bus_schema::time::Timestamp;
    use borealis_test_support::pin_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::assembly::{By, Published, Saved, Summary};

    #[test]
    fn golden_events_stay_readable() {
        let at = Timestamp::from_unix_ms(1_795_341_600_123);
        let by = || By {
            operator: OperatorId::from_bytes([2; 16]),
            username: "ada".to_owned(),
            at,
        };
        let events = [
            Stored::Script(ScriptKept {
                digest: Digest([1; 32]),
                language: Language::Python,
                size_bytes: 7,
                author: OperatorId::from_bytes([2; 16]),
                at,
            }),
            Stored::Assembly(Event::Saved(Box::new(Saved {
                version: 3,
                digest: Digest([4; 32]),
                summary: Summary {
                    name: "Clean up".to_owned(),
                    description: "Frees room".to_owned(),
                    category: "disk".to_owned(),
                    language: Language::Batch,
                    sites: Some(BTreeSet::from([SiteName::default_site()])),
                    tags: BTreeSet::from(["weekly".to_owned()]),
                    files: BTreeSet::from([Digest([5; 32])]),
                },
                note: "less".to_owned(),
                by: by(),
            }))),
            Stored::Assembly(Event::Published(Published { version: 3, by: by() })),
            Stored::Assembly(Event::Archived(by())),
            Stored::Assembly(Event::Restored(by())),
        ];
        let encode = |event: &Stored| (None, event.encode().unwrap());
        let fields = |event: &Stored, _: &NewEvent| -> Value {
            match event {
                Stored::Script(kept) => json!(kept),
                Stored::Assembly(Event::Saved(saved)) => json!(saved),
                Stored::Assembly(Event::Published(published)) => json!(published),
                Stored::Assembly(Event::Archived(by) | Event::Restored(by)) => json!(by),
            }
        };
        pin_all(env!("CARGO_MANIFEST_DIR"), &events, encode, fields, Stored::decode).unwrap();
    }
}
