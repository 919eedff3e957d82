//! Retention: what happened stays, what it said goes.
//!
//! Compaction appends a `Summarised` event to each stream, with the service's own summary as its body, and makes it
//! durable; then it drops the bodies of the stream's earlier events and keeps their headers and digests, so that the
//! hash chain holds and positions are never used again.
//!
//! Who calls it: no service yet. What a service may forget, and when, is its own decision, and none has made it; until one
//! does, every log keeps every body.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::Core;
use crate::log::SUMMARISED;
use crate::row::{Body, Item, RowEvent, RowReader, RowWriter};
use crate::{
    Append, AppendError, NewEvent, Position, SledLog, StoreError, StreamId, StreamWrite, Version, body_digest,
};

/// Rows rewritten in one batch.
const BATCH_ROWS: usize = 64;

/// What stands for a stream's dropped bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The stream.
    pub stream: StreamId,
    /// Its version when the summary was made.
    pub expected: Version,
    /// The service's stored form of what the stream came to.
    pub body: Vec<u8>,
}

/// One compaction: a command like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// The command's id; repeating it after a cut finishes the same compaction.
    pub command_id: [u8; 16],
    /// Log time in milliseconds since 1970.
    pub at_ms: i64,
    /// The last position whose body may go.
    pub upto: Position,
    /// The streams to compact.
    pub summaries: Vec<Summary>,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Position of the first summary.
    pub first: Position,
    /// Position of the last summary.
    pub last: Position,
    /// Bodies dropped now.
    pub dropped: u64,
}

impl SledLog {
    /// Appends the summaries, then drops the bodies of the streams' earlier events up to the given position.
    ///
    /// A cut in between leaves bodies that the same command, or the next compaction, drops. Needs a tokio runtime.
    ///
    /// **Errors**: as an append; nothing was dropped then, but for `Storage`.
    pub async fn compact(&self, compaction: Compaction) -> Result<Compacted, AppendError> {
        let upto = compaction.upto;
        let streams: Vec<StreamId> = compaction
            .summaries
            .iter()
            .map(|summary| summary.stream.clone())
            .collect();
        let appended = self.submit(append_of(compaction)).await?;
        let log = self.clone();
        let dropping = tokio::task::spawn_blocking(move || {
            let core = log.core();
            core.guarded("drop bodies", || {
                let _alone = core.rewriting();
                let mut dropped = 0;
                for (stream, summary) in streams.iter().zip(appended.first..) {
                    dropped += drop_bodies(core, stream, upto.min(summary - 1))?;
                }
                core.database.sync()?;
                Ok(dropped)
            })
        });
        match dropping.await {
            Ok(dropped) => {
                let dropped = dropped.map_err(AppendError::Storage)?;
                Ok(Compacted {
                    first: appended.first,
                    last: appended.last,
                    dropped,
                })
            }
            // The runtime ends; the command can be repeated.
            Err(_) => Err(AppendError::Closed),
        }
    }
}

fn append_of(compaction: Compaction) -> Append {
    let mut told = compaction.upto.to_be_bytes().to_vec();
    for summary in &compaction.summaries {
        told.extend_from_slice(&body_digest(summary.stream.as_str().as_bytes()));
        told.extend_from_slice(&summary.expected.to_be_bytes());
        told.extend_from_slice(&body_digest(&summary.body));
    }
    let write = |summary: Summary| StreamWrite {
        stream: summary.stream,
        expected: summary.expected,
        events: vec![NewEvent {
            kind: SUMMARISED.to_owned(),
            body: summary.body,
        }],
    };
    Append {
        command_id: compaction.command_id,
        command_digest: body_digest(&told),
        at_ms: compaction.at_ms,
        writes: compaction.summaries.into_iter().map(write).collect(),
        answer: Vec::new(),
    }
}

/// Drops the bodies of a stream's events up to a position; gives how many there were.
fn drop_bodies(core: &Core, stream: &StreamId, upto: Position) -> Result<u64, StoreError> {
    let mut wanted: BTreeSet<Position> = core.positions(stream, 0, usize::MAX)?.into_iter().collect();
    wanted.retain(|position| *position <= upto);
    let mut dropped = 0;
    let mut changed = BTreeMap::new();
    while let Some(first) = wanted.first().copied() {
        let missing = StoreError::Broken {
            position: first,
            reason: "an event of a stream is missing",
        };
        let (key, value) = core.rows.containing(first)?.ok_or(missing)?;
        let (row, count) = without_bodies(&key, &value, &mut wanted)?;
        if count > 0 {
            dropped += count;
            changed.insert(key, row);
        }
        if wanted.remove(&first) {
            return Err(StoreError::Broken {
                position: first,
                reason: "an event of a stream is missing",
            });
        }
        if changed.len() >= BATCH_ROWS || wanted.is_empty() {
            let mut batch = sled::Batch::default();
            for (key, row) in std::mem::take(&mut changed) {
                batch.insert(key, row);
            }
            core.rows
                .0
                .apply_batch(batch)
                .map_err(StoreError::database("drop bodies"))?;
        }
    }
    Ok(dropped)
}

/// Writes a row anew without the bodies of the wanted positions, which it takes out of the set; gives how many bodies it had dropped.
fn without_bodies(key: &[u8], value: &[u8], wanted: &mut BTreeSet<Position>) -> Result<(Vec<u8>, u64), StoreError> {
    let mut old = RowReader::new(key, value)?;
    let mut new = RowWriter::new(old.next_position(), old.hash());
    let mut dropped = 0;
    while let Some(item) = old.next_item()? {
        match item {
            Item::Commit(_, mark) => new.push_commit(&mark),
            Item::Event(placed) => {
                let goes = wanted.remove(&placed.position);
                if goes && matches!(placed.event.body, Body::Kept(_)) {
                    dropped += 1;
                    new.push_event(&RowEvent {
                        body: Body::Dropped(&placed.digest),
                        ..placed.event
                    });
                } else {
                    new.push_event(&placed.event);
                }
            }
        }
    }
    if new.hash() != old.hash() {
        return Err(StoreError::Broken {
            position: new.first(),
            reason: "dropping bodies would change the hash chain",
        });
    }
    Ok((new.finish(), dropped))
}
