//! The indexes on disk: a stream's positions and the commands made, written behind the commits.
//!
//! `streams` holds the positions of a stream in chunks: key `stream ‖ 0 ‖ first position`, value `1 ‖ varint distance*`.
//! `commands` is told of in `commands.rs`. `meta` holds how far both have come. Writing a part twice changes nothing, so a
//! kill in the middle of a round only repeats it.

use crate::commands::Commands;
use crate::row::{Cursor, put_varint};
use crate::tail::TailPart;
use crate::{GENESIS, Head, Position, StoreError, StreamId, Version};

const FORMAT: u8 = 1;
/// Most positions in one chunk.
const CHUNK_POSITIONS: usize = 256;
/// Rows written to the database in one batch.
const BATCH_ROWS: usize = 256;
const INDEXED: &[u8] = b"indexed";
const IMPORTING: &[u8] = b"importing";
const LAYOUT_KEY: &[u8] = b"layout";
/// Layout of the whole store that this version writes.
const LAYOUT: u32 = 1;

/// How far the indexes have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) reached: Head,
    pub(crate) log_time_ms: i64,
}

/// The index trees.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) streams: sled::Tree,
    pub(crate) commands: Commands,
    pub(crate) meta: sled::Tree,
}

impl Index {
    /// Refuses a store of a layout that this version does not know; marks a new one.
    pub(crate) fn check_layout(&self) -> Result<(), StoreError> {
        match self
            .meta
            .get(LAYOUT_KEY)
            .map_err(StoreError::database("read the layout"))?
        {
            None => {
                self.meta
                    .insert(LAYOUT_KEY, &LAYOUT.to_be_bytes())
                    .map_err(StoreError::database("write the layout"))?;
                Ok(())
            }
            Some(bytes) => match <[u8; 4]>::try_from(bytes.as_ref()).map(u32::from_be_bytes) {
                Ok(LAYOUT) => Ok(()),
                Ok(found) => Err(StoreError::UnknownLayout { found }),
                Err(_) => Err(StoreError::UnknownLayout { found: 0 }),
            },
        }
    }

    /// Marks a store as one that an import is being read into, or as whole.
    pub(crate) fn mark_importing(&self, is_importing: bool) -> Result<(), StoreError> {
        let marked = if is_importing {
            self.meta.insert(IMPORTING, &[1])
        } else {
            self.meta.remove(IMPORTING)
        };
        marked.map(|_| ()).map_err(StoreError::database("mark an import"))
    }

    /// Tells whether an import into this store was cut off.
    pub(crate) fn is_importing(&self) -> Result<bool, StoreError> {
        self.meta
            .contains_key(IMPORTING)
            .map_err(StoreError::database("read the import mark"))
    }

    /// Tells how far the indexes have come.
    pub(crate) fn indexed(&self) -> Result<Indexed, StoreError> {
        let Some(bytes) = self
            .meta
            .get(INDEXED)
            .map_err(StoreError::database("read the index position"))?
        else {
            let reached = Head {
                position: 0,
                hash: GENESIS,
            };
            return Ok(Indexed {
                reached,
                log_time_ms: i64::MIN,
            });
        };
        let parse = || {
            let mut cursor = Cursor(&bytes);
            let position = u64::from_be_bytes(*cursor.array()?);
            let reached = Head {
                position,
                hash: *cursor.array()?,
            };
            Ok(Indexed {
                reached,
                log_time_ms: i64::from_be_bytes(*cursor.array()?),
            })
        };
        parse().map_err(|reason| StoreError::Broken { position: 0, reason })
    }

    /// Gives a stream's version as far as it is indexed.
    pub(crate) fn version(&self, stream: &StreamId) -> Result<Option<Version>, StoreError> {
        Ok(self.last_chunk(stream)?.map(|chunk| chunk.last))
    }

    /// Gives the positions of a stream after a version, at most `limit`.
    pub(crate) fn positions(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let prefix = chunk_prefix(stream);
        let target = chunk_key(stream, after.saturating_add(1));
        let before = self
            .streams
            .get_lt(&target)
            .map_err(StoreError::database("find a stream"))?;
        let start = match before {
            Some((key, _)) if key.starts_with(&prefix) => key,
            _ => target.into(),
        };
        let mut found = Vec::new();
        for entry in self.streams.range(start..) {
            let (key, value) = entry.map_err(StoreError::database("read a stream"))?;
            if !key.starts_with(&prefix) || found.len() >= limit {
                break;
            }
            let chunk = Chunk::read(&key, &value)?;
            found.extend(chunk.positions.into_iter().filter(|position| *position > after));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Writes a part of the tail, then how far the indexes have come with it.
    pub(crate) fn write(&self, part: &TailPart, log_time_ms: i64) -> Result<(), StoreError> {
        let base = self.indexed()?.reached.position + 1;
        let mut rows = Batches::new(&self.streams);
        for (stream, positions) in &part.streams {
            self.add_positions(&mut rows, stream, positions)?;
        }
        rows.finish()?;
        borealis_fail_points::reached("CS10");
        let mut meta = sled::Batch::default();
        let run = self.commands.write(base, &part.commands, &mut meta)?;
        let mut value = part.reached.position.to_be_bytes().to_vec();
        value.extend_from_slice(&part.reached.hash);
        value.extend_from_slice(&log_time_ms.to_be_bytes());
        meta.insert(INDEXED, value);
        self.meta
            .apply_batch(meta)
            .map_err(StoreError::database("write the index position"))?;
        self.commands.take(run, &part.commands, log_time_ms)
    }

    fn add_positions(
        &self,
        batch: &mut Batches<'_>,
        stream: &StreamId,
        positions: &[Position],
    ) -> Result<(), StoreError> {
        let mut chunk = self.last_chunk(stream)?;
        for position in positions {
            match &mut chunk {
                Some(known) if known.last >= *position => {}
                Some(known) if known.positions.len() < CHUNK_POSITIONS => known.push(*position),
                _ => {
                    if let Some(full) = chunk.take() {
                        batch.insert(chunk_key(stream, full.first), full.value)?;
                    }
                    chunk = Some(Chunk::new(*position));
                }
            }
        }
        match chunk {
            Some(chunk) => batch.insert(chunk_key(stream, chunk.first), chunk.value),
            None => Ok(()),
        }
    }

    fn last_chunk(&self, stream: &StreamId) -> Result<Option<Chunk>, StoreError> {
        let mut above = chunk_prefix(stream);
        if let Some(separator) = above.last_mut() {
            *separator = 1;
        }
        let found = self
            .streams
            .get_lt(&above)
            .map_err(StoreError::database("find a stream"))?;
        match found {
            Some((key, value)) if key.starts_with(&chunk_prefix(stream)) => Chunk::read(&key, &value).map(Some),
            _ => Ok(None),
        }
    }
}

fn chunk_prefix(stream: &StreamId) -> Vec<u8> {
    let mut prefix = stream.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

fn chunk_key(stream: &StreamId, first: Position) -> Vec<u8> {
    let mut key = chunk_prefix(stream);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// Some positions of one stream.
#[derive(Debug)]
struct Chunk {
    first: Position,
    last: Position,
    positions: Vec<Position>,
    value: Vec<u8>,
}

impl Chunk {
    fn new(first: Position) -> Self {
        Self {
            first,
            last: first,
            positions: vec![first],
            value: vec![FORMAT],
        }
    }

    fn push(&mut self, position: Position) {
        put_varint(&mut self.value, position - self.last);
        self.last = position;
        self.positions.push(position);
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let first = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
        Self::parse(first, value).map_err(|reason| StoreError::Broken {
            position: first,
            reason,
        })
    }

    fn parse(first: Position, value: &[u8]) -> Result<Self, &'static str> {
        let mut cursor = Cursor(value);
        if cursor.byte()? != FORMAT {
            return Err("the format of a stream's row is not known");
        }
        let mut chunk = Self {
            first,
            last: first,
            positions: vec![first],
            value: value.to_vec(),
        };
        while !cursor.0.is_empty() {
            chunk.last = chunk.last.saturating_add(cursor.varint()?);
            chunk.positions.push(chunk.last);
        }
        Ok(chunk)
    }
}

/// Writes rows of one tree in batches of bounded size.
pub(crate) struct Batches<'a> {
    tree: &'a sled::Tree,
    batch: sled::Batch,
    rows: usize,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(tree: &'a sled::Tree) -> Self {
        Self {
            tree,
            batch: sled::Batch::default(),
            rows: 0,
        }
    }

    pub(crate) fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.batch.insert(key, value);
        self.count()
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        self.batch.remove(key);
        self.count()
    }

    fn count(&mut self) -> Result<(), StoreError> {
        self.rows += 1;
        if self.rows >= BATCH_ROWS { self.apply() } else { Ok(()) }
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        self.rows = 0;
        self.tree
            .apply_batch(std::mem::take(&mut self.batch))
            .map_err(StoreError::database("write an index"))
    }

    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        if self.rows > 0 { self.apply() } else { Ok(()) }
    }
}
