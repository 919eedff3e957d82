//! What the log's handles, its writer and its indexer share: the trees, the tail, the durable head and the fault.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::commands::Commands;
use crate::database::Database;
use crate::index::Index;
use crate::row::{Item, RowReader};
use crate::rows::{Rows, StoredCommit};
use crate::tail::{CommandEntry, Tail};
use crate::{EventRecord, FaultHook, Head, Position, StoreError, StreamId, Version};

/// Bodies of one read end here.
const READ_BYTES: usize = 4 << 20;

/// The opened store.
pub(crate) struct Core {
    pub(crate) database: Database,
    pub(crate) rows: Rows,
    pub(crate) index: Index,
    pub(crate) head: watch::Sender<Head>,
    tail: RwLock<Tail>,
    rewriting: Mutex<()>,
    fault: OnceLock<StoreError>,
    on_fault: Option<FaultHook>,
}

impl Core {
    pub(crate) fn new(
        database: Database,
        rows: Rows,
        index: Index,
        (tail, head): (Tail, Head),
        on_fault: Option<FaultHook>,
    ) -> Self {
        let (head, _) = watch::channel(head);
        Self {
            database,
            rows,
            index,
            head,
            tail: RwLock::new(tail),
            rewriting: Mutex::new(()),
            fault: OnceLock::new(),
            on_fault,
        }
    }

    pub(crate) fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one caller at a time rewrite rows that were committed before.
    pub(crate) fn rewriting(&self) -> MutexGuard<'_, ()> {
        self.rewriting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn durable_head(&self) -> Head {
        *self.head.borrow()
    }

    /// Gives the error that ended this log, if one did.
    pub(crate) fn fault(&self) -> Option<StoreError> {
        self.fault.get().cloned()
    }

    /// Ends the log with an error: every later call gives it, the hook is told once.
    pub(crate) fn fail(&self, error: StoreError) -> StoreError {
        let mut is_first = false;
        let fault = self.fault.get_or_init(|| {
            is_first = true;
            error
        });
        if is_first {
            self.database.leak();
            tracing::error!(
                error = fault as &dyn std::error::Error,
                "the event store failed and stops"
            );
            if let Some(hook) = &self.on_fault {
                hook(fault);
            }
        }
        fault.clone()
    }

    /// Runs an access to the storage; an error or a panic in it ends the log.
    pub(crate) fn guarded<T>(
        &self,
        operation: &'static str,
        access: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        match std::panic::catch_unwind(AssertUnwindSafe(access)) {
            Ok(result) => result.map_err(|error| self.fail(error)),
            Err(payload) => Err(self.fail(StoreError::panicked(operation, payload.as_ref()))),
        }
    }

    pub(crate) fn version(&self, stream: &StreamId) -> Result<Version, StoreError> {
        let recent = self.tail().version(stream);
        match recent {
            Some(version) => Ok(version),
            None => Ok(self.index.version(stream)?.unwrap_or(0)),
        }
    }

    pub(crate) fn command_entry(&self, id: &[u8; 16]) -> Result<Option<CommandEntry>, StoreError> {
        let recent = self.tail().command(id);
        match recent {
            Some(entry) => Ok(Some(entry)),
            None => self.index.commands.get(id),
        }
    }

    /// Gives what a command did, when it is still remembered at a log time.
    pub(crate) fn command(&self, id: &[u8; 16], log_time_ms: i64) -> Result<Option<StoredCommit>, StoreError> {
        let Some(entry) = self.command_entry(id)?.filter(|entry| entry.is_live(log_time_ms)) else {
            return Ok(None);
        };
        match self.rows.commit_ending_at(entry.last)? {
            Some(commit) => Ok(Some(commit)),
            None => Err(StoreError::Broken {
                position: entry.last,
                reason: "a command's commit mark is missing",
            }),
        }
    }

    pub(crate) fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let head = self.durable_head().position;
        let mut found = Vec::new();
        if after >= head || limit == 0 {
            return Ok(found);
        }
        let mut bytes = 0;
        self.rows.walk(after, |item| {
            let Item::Event(event) = item else {
                return Ok(ControlFlow::Continue(()));
            };
            if event.position > head {
                return Ok(ControlFlow::Break(()));
            }
            let record = event.to_record()?;
            bytes += record.body.as_ref().map_or(0, Vec::len);
            found.push(record);
            let is_full = found.len() >= limit || bytes >= READ_BYTES;
            Ok(if is_full {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(found)
    }

    pub(crate) fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let positions = self.positions(stream, after, limit)?;
        self.read_positions(stream, &positions)
    }

    /// Gives the positions of a stream after a version, indexed or not.
    pub(crate) fn positions(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let recent = self.tail().positions(stream);
        let recent_from = recent.first().copied().unwrap_or(Position::MAX);
        let mut positions = self.index.positions(stream, after, limit)?;
        positions.retain(|position| *position < recent_from);
        positions.extend(recent.into_iter().filter(|position| *position > after));
        positions.truncate(limit);
        Ok(positions)
    }

    /// Reads the events at ascending positions, each row once.
    fn read_positions(&self, stream: &StreamId, positions: &[Position]) -> Result<Vec<EventRecord>, StoreError> {
        let mut found = Vec::with_capacity(positions.len());
        let mut bytes = 0;
        let mut wanted = positions.iter().copied().peekable();
        while let Some(first) = wanted.peek().copied() {
            let missing = || StoreError::Broken {
                position: first,
                reason: "an event of a stream is missing",
            };
            let (key, value) = self.rows.containing(first)?.ok_or_else(missing)?;
            let mut row = RowReader::new(&key, &value)?;
            while let Some(item) = row.next_item()? {
                if let Item::Event(event) = item
                    && Some(&event.position) == wanted.peek()
                {
                    if event.event.stream != stream.as_str() {
                        let reason = "an event stands in another stream than the index says";
                        return Err(StoreError::Broken {
                            position: event.position,
                            reason,
                        });
                    }
                    let record = event.to_record()?;
                    bytes += record.body.as_ref().map_or(0, Vec::len);
                    found.push(record);
                    wanted.next();
                    if bytes >= READ_BYTES {
                        return Ok(found);
                    }
                }
            }
            if wanted.peek() == Some(&first) {
                return Err(missing());
            }
        }
        Ok(found)
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Core")
            .field("head", &self.durable_head())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// Starts the shared part from an open database: finds the head and rebuilds the tail from the rows behind the indexes.
pub(crate) fn load(database: &Database) -> Result<(Rows, Index), StoreError> {
    let rows = Rows(database.tree("events")?);
    let meta = database.tree("meta")?;
    let commands = Commands::open(database.tree("commands")?, meta.clone())?;
    let index = Index {
        streams: database.tree("streams")?,
        commands,
        meta,
    };
    index.check_layout()?;
    Ok((rows, index))
}

/// Reads the rows that the indexes have not reached; brings the indexes forward when they are far behind, as after an import.
pub(crate) fn replay_tail(rows: &Rows, index: &Index, most_events: usize) -> Result<(Tail, Head), StoreError> {
    let indexed = index.indexed()?;
    let mut tail = Tail::after(indexed.reached, indexed.log_time_ms);
    let head = rows.walk_from(indexed.reached, |item| {
        tail.replay(item)?;
        if matches!(item, Item::Commit(..)) && tail.active_events() >= most_events {
            index.write(&tail.freeze(), tail.log_time_ms)?;
            tail.thaw();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((tail, head))
}

/// The shared part, as the threads hold it.
pub(crate) type SharedCore = Arc<Core>;
