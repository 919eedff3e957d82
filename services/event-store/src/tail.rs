//! The part of the log that the indexes have not reached, in memory.
//!
//! Stream and command indexes are not part of a commit; they are written behind it, many events at once. What happened
//! since then is looked up here and rebuilt from the rows at start. While the indexer writes, its part is frozen and a new one grows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::row::{CommitMark, Item};
use crate::{COMMAND_LIFE_MS, Head, Position, StoreError, StreamId, Version};

/// Where a command's effect ends, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandEntry {
    pub(crate) last: Position,
    pub(crate) at_ms: i64,
}

impl CommandEntry {
    /// Tells whether the id is still remembered at a log time.
    pub(crate) fn is_live(&self, log_time_ms: i64) -> bool {
        log_time_ms.saturating_sub(self.at_ms) <= COMMAND_LIFE_MS
    }
}

/// Streams and commands of a contiguous run of events.
#[derive(Debug)]
pub(crate) struct TailPart {
    pub(crate) streams: BTreeMap<StreamId, Vec<Position>>,
    pub(crate) commands: BTreeMap<[u8; 16], CommandEntry>,
    pub(crate) events: usize,
    /// The head after its last event.
    pub(crate) reached: Head,
}

impl TailPart {
    /// Begins an empty part after a head.
    pub(crate) fn after(reached: Head) -> Self {
        Self {
            streams: BTreeMap::new(),
            commands: BTreeMap::new(),
            events: 0,
            reached,
        }
    }

    pub(crate) fn add_event(&mut self, stream: &StreamId, reached: Head) {
        let position = reached.position;
        match self.streams.get_mut(stream) {
            Some(positions) => positions.push(position),
            None => {
                self.streams.insert(stream.clone(), vec![position]);
            }
        }
        self.events += 1;
        self.reached = reached;
    }

    pub(crate) fn add_command(&mut self, id: [u8; 16], entry: CommandEntry) {
        self.commands.insert(id, entry);
    }

    pub(crate) fn version(&self, stream: &StreamId) -> Option<Version> {
        self.streams.get(stream).and_then(|positions| positions.last().copied())
    }

    fn merge(&mut self, newer: Self) {
        for (stream, positions) in newer.streams {
            match self.streams.get_mut(&stream) {
                Some(known) => known.extend(positions),
                None => {
                    self.streams.insert(stream, positions);
                }
            }
        }
        self.commands.extend(newer.commands);
        self.events += newer.events;
        self.reached = newer.reached;
    }
}

/// Everything since the indexed position.
#[derive(Debug)]
pub(crate) struct Tail {
    active: TailPart,
    frozen: Option<Arc<TailPart>>,
    /// Latest log time seen in the whole log.
    pub(crate) log_time_ms: i64,
}

impl Tail {
    /// Begins an empty tail where the indexes end.
    pub(crate) fn after(reached: Head, log_time_ms: i64) -> Self {
        Self {
            active: TailPart::after(reached),
            frozen: None,
            log_time_ms,
        }
    }

    /// Takes an item found in the log at start.
    pub(crate) fn replay(&mut self, item: &Item<'_>) -> Result<(), StoreError> {
        match item {
            Item::Event(event) => {
                let Ok(stream) = StreamId::new(event.event.stream) else {
                    return Err(StoreError::Broken {
                        position: event.position,
                        reason: "the stream's name is not one",
                    });
                };
                self.active.add_event(
                    &stream,
                    Head {
                        position: event.position,
                        hash: event.hash,
                    },
                );
                self.saw_time(event.event.at_ms);
            }
            Item::Commit(last, CommitMark { command_id, at_ms, .. }) => {
                self.active.add_command(
                    **command_id,
                    CommandEntry {
                        last: *last,
                        at_ms: *at_ms,
                    },
                );
            }
        }
        Ok(())
    }

    /// Takes what a group commit wrote.
    pub(crate) fn add(&mut self, group: TailPart, log_time_ms: i64) {
        self.active.merge(group);
        self.saw_time(log_time_ms);
    }

    pub(crate) fn saw_time(&mut self, at_ms: i64) {
        self.log_time_ms = self.log_time_ms.max(at_ms);
    }

    pub(crate) fn active_events(&self) -> usize {
        self.active.events
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Sets the growing part apart for the indexer.
    pub(crate) fn freeze(&mut self) -> Arc<TailPart> {
        let reached = self.active.reached;
        let part = Arc::new(std::mem::replace(&mut self.active, TailPart::after(reached)));
        self.frozen = Some(Arc::clone(&part));
        part
    }

    /// Forgets the frozen part; the indexes hold it now.
    pub(crate) fn thaw(&mut self) {
        self.frozen = None;
    }

    pub(crate) fn version(&self, stream: &StreamId) -> Option<Version> {
        self.active
            .version(stream)
            .or_else(|| self.frozen.as_ref().and_then(|part| part.version(stream)))
    }

    /// Gives a stream's positions in the tail, in order.
    pub(crate) fn positions(&self, stream: &StreamId) -> Vec<Position> {
        let parts = self.frozen.as_deref().into_iter().chain([&self.active]);
        parts
            .filter_map(|part| part.streams.get(stream))
            .flatten()
            .copied()
            .collect()
    }

    pub(crate) fn command(&self, id: &[u8; 16]) -> Option<CommandEntry> {
        let frozen = || self.frozen.as_ref().and_then(|part| part.commands.get(id));
        self.active.commands.get(id).or_else(frozen).copied()
    }
}
