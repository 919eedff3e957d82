//! Views: rows made from the log, thrown away and rebuilt at will.
//!
//! A view is a pure function of the events in order. Its rows stand in a tree of the same database and are written in
//! batches together with the position and hash they have reached, so a kill never leaves rows without their position.
//! They are not synced: what is lost is read from the log again.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::SharedCore;
use crate::row::{Cursor, Item};
use crate::{EventRecord, GENESIS, Head, Position, SledLog, StoreError};

/// Largest value of a view's row in bytes; aim at 2 KiB.
pub const MAX_VIEW_ROW_BYTES: usize = 32 * 1024;
/// Events applied before a batch is written.
const BATCH_EVENTS: usize = 65_536;
/// Bytes of changed rows before a batch is written.
const BATCH_BYTES: usize = 1 << 20;
/// Rows removed at once when a view is thrown away.
const CLEAR_ROWS: usize = 1024;
/// Key of the row that says how far the view has come; rows of the view itself begin with [`ROW`].
const REACHED: &[u8] = &[0];
const ROW: u8 = 1;

/// Makes rows from events.
pub trait View: Send + Sync + 'static {
    /// Names the view on disk; never changes.
    const NAME: &'static str;
    /// Version of the rows; raise it when `apply` makes others, and the stored view is rebuilt when it is opened.
    const VERSION: u32 = 1;

    /// Takes one event. The same events must always make the same rows: no clock, no randomness, nothing kept outside the batch.
    ///
    /// A body that retention dropped is `None`; the `Summarised` event of the stream stands for it.
    ///
    /// **Errors**: whatever the batch gave, or [`ViewError::Rejected`] when the event cannot be read.
    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError>;
}

/// A row of a view: its key and its value.
pub type ViewRow = (Vec<u8>, Vec<u8>);

/// Says why a view did not take an event.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The storage failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// A row is larger than allowed.
    #[error("a row has {len} bytes, at most {MAX_VIEW_ROW_BYTES} are allowed")]
    RowTooLarge {
        /// Size of the value.
        len: usize,
    },
    /// The event cannot be read.
    #[error("{reason}")]
    Rejected {
        /// What is wrong with it.
        reason: String,
    },
}

/// The changes that a batch will write, over the rows as they stand.
#[derive(Debug)]
pub struct ViewBatch<'a> {
    rows: &'a sled::Tree,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl ViewBatch<'_> {
    /// Gives a row's value, with the changes of this batch.
    ///
    /// **Errors**: [`ViewError::Store`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        let key = row_key(key);
        match self.changes.get(&key) {
            Some(change) => Ok(change.clone()),
            None => Ok(stored(self.rows, &key).map_err(ViewError::Store)?),
        }
    }

    /// Sets a row.
    ///
    /// **Errors**: [`ViewError::RowTooLarge`] above [`MAX_VIEW_ROW_BYTES`].
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), ViewError> {
        if value.len() > MAX_VIEW_ROW_BYTES {
            return Err(ViewError::RowTooLarge { len: value.len() });
        }
        let (added, key_len) = (value.len(), key.len());
        let before = self.changes.insert(row_key(key), Some(value));
        match before {
            Some(before) => self.bytes = (self.bytes + added).saturating_sub(before.map_or(0, |value| value.len())),
            None => self.bytes += added + key_len,
        }
        Ok(())
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &[u8]) {
        self.bytes += key.len();
        self.changes.insert(row_key(key), None);
    }

    /// Gives all rows whose key begins with a prefix, in order, with the changes of this batch.
    ///
    /// **Errors**: [`ViewError::Store`].
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<ViewRow>, ViewError> {
        let prefix = row_key(prefix);
        let mut found = BTreeMap::new();
        for entry in self.rows.scan_prefix(&prefix) {
            let (key, value) = entry.map_err(|error| ViewError::Store(StoreError::database("read a view")(error)))?;
            found.insert(key.to_vec(), value.to_vec());
        }
        for (key, change) in self
            .changes
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
        {
            match change {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().map(|(key, value)| (plain_key(&key), value)).collect())
    }
}

/// A view on disk.
#[derive(Debug)]
pub struct SledView<V> {
    core: SharedCore,
    tree: sled::Tree,
    view: V,
    reached: Mutex<Head>,
}

impl<V: View> SledView<V> {
    /// Opens a view of a log; it has come as far as it had come before, catching up is a call of its own.
    ///
    /// A view of another version, and one whose rebuilding was cut off, begins anew. The log's lock is held until its views are gone too.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    pub fn open(log: &SledLog, view: V) -> Result<Self, StoreError> {
        let core = SharedCore::clone(log.core());
        let (tree, reached) = core.guarded("open a view", || {
            let tree = core.database.tree(&format!("view-{}", V::NAME))?;
            let reached = match stored(&tree, REACHED)?.as_deref().map(read_reached) {
                Some(Some((head, version))) if version == V::VERSION => head,
                _ => {
                    clear(&tree)?;
                    Head {
                        position: 0,
                        hash: GENESIS,
                    }
                }
            };
            Ok((tree, reached))
        })?;
        Ok(Self {
            core,
            tree,
            view,
            reached: Mutex::new(reached),
        })
    }

    fn reached(&self) -> MutexGuard<'_, Head> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how far the view has come.
    pub fn position(&self) -> Position {
        self.reached().position
    }

    /// Gives the view's own logic.
    pub fn view(&self) -> &V {
        &self.view
    }

    /// Applies what the log holds beyond the view's position, up to its durable head; gives the position reached.
    ///
    /// Blocks for as long as that takes. One caller works, others wait for it.
    ///
    /// **Errors**: [`StoreError::ViewRejected`] when the view does not take an event (it stays where it was), else when the storage fails.
    pub fn catch_up(&self) -> Result<Position, StoreError> {
        let mut reached = self.reached();
        self.catch_up_from(&mut reached)?;
        Ok(reached.position)
    }

    /// Throws all rows away and makes them again.
    ///
    /// **Errors**: as [`SledView::catch_up`].
    pub fn rebuild(&self) -> Result<Position, StoreError> {
        let mut reached = self.reached();
        self.core.guarded("throw a view away", || clear(&self.tree))?;
        *reached = Head {
            position: 0,
            hash: GENESIS,
        };
        self.catch_up_from(&mut reached)?;
        Ok(reached.position)
    }

    fn catch_up_from(&self, reached: &mut Head) -> Result<(), StoreError> {
        let until = self.core.durable_head().position;
        if reached.position >= until {
            return self.core.fault().map_or(Ok(()), Err);
        }
        match self.apply_until(reached, until)? {
            None => Ok(()),
            Some((position, error)) => {
                // What the refused event did to the batch was dropped with the batch; the events before it come again, without it.
                self.apply_until(reached, position - 1)?;
                Err(self.refusal(position, error))
            }
        }
    }

    /// Applies the events up to a position; gives the first one that was refused, with the reason.
    fn apply_until(&self, reached: &mut Head, until: Position) -> Result<Option<(Position, ViewError)>, StoreError> {
        let mut refused = None;
        let start = *reached;
        self.core.guarded("catch a view up", || {
            let mut pending = Pending::new(&self.tree);
            self.core.rows.walk_from(start, |item| {
                let Item::Event(event) = item else {
                    return Ok(ControlFlow::Continue(()));
                };
                if event.position > until {
                    return Ok(ControlFlow::Break(()));
                }
                if let Err(error) = self.view.apply(&mut pending.batch, &event.to_record()?) {
                    refused = Some((event.position, error));
                    return Ok(ControlFlow::Break(()));
                }
                pending.reached = Head {
                    position: event.position,
                    hash: event.hash,
                };
                pending.events += 1;
                if pending.events >= BATCH_EVENTS || pending.batch.bytes >= BATCH_BYTES {
                    *reached = pending.write(V::VERSION)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if refused.is_none() && pending.events > 0 {
                *reached = pending.write(V::VERSION)?;
            }
            Ok(())
        })?;
        Ok(refused)
    }

    fn refusal(&self, position: Position, error: ViewError) -> StoreError {
        match error {
            ViewError::Store(error) => self.core.fail(error),
            ViewError::RowTooLarge { len } => StoreError::ViewRowTooLarge {
                view: V::NAME,
                len,
                max: MAX_VIEW_ROW_BYTES,
            },
            ViewError::Rejected { reason } => StoreError::ViewRejected {
                view: V::NAME,
                position,
                reason,
            },
        }
    }

    /// Gives a row's value.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.core.guarded("read a view", || stored(&self.tree, &row_key(key)))
    }

    /// Gives rows whose key begins with a prefix, in order, from after a key on, at most `limit`.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ViewRow>, StoreError> {
        let prefix = row_key(prefix);
        let mut start = prefix.clone();
        if let Some(after) = after {
            // The smallest key above `after`.
            start = start.max([&row_key(after)[..], &[0]].concat());
        }
        self.core.guarded("read a view", || {
            let mut found = Vec::new();
            for entry in self.tree.range(start..).take(limit) {
                let (key, value) = entry.map_err(StoreError::database("read a view"))?;
                if !key.starts_with(&prefix) {
                    break;
                }
                found.push((plain_key(&key), value.to_vec()));
            }
            Ok(found)
        })
    }

    /// Gives rows whose key begins with a prefix, from before a key on and backwards, at most `limit`.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    pub fn scan_back(&self, prefix: &[u8], before: Option<&[u8]>, limit: usize) -> Result<Vec<ViewRow>, StoreError> {
        let prefix = row_key(prefix);
        self.core.guarded("read a view", || {
            let entries: Box<dyn Iterator<Item = _>> = match before {
                Some(before) => {
                    let end = row_key(before).max(prefix.clone());
                    Box::new(self.tree.range(prefix.clone()..end).rev())
                }
                None => Box::new(self.tree.scan_prefix(&prefix).rev()),
            };
            let mut found = Vec::new();
            for entry in entries.take(limit) {
                let (key, value) = entry.map_err(StoreError::database("read a view"))?;
                if !key.starts_with(&prefix) {
                    break;
                }
                found.push((plain_key(&key), value.to_vec()));
            }
            Ok(found)
        })
    }

    /// Writes the whole view, the same bytes for the same log whenever and however it was made; gives the number of rows.
    ///
    /// **Shape**: `text name ‖ version u32 ‖ position u64 ‖ hash[32]`, then per row `len u32 ‖ key ‖ len u32 ‖ value` in key order, big-endian.
    ///
    /// **Errors**: [`StoreError::Stream`] when the writer fails, else when the storage fails.
    pub fn export(&self, out: &mut dyn Write) -> Result<u64, StoreError> {
        let reached = self.reached();
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(StoreError::stream("write an export"));
        put(&len_of(V::NAME.as_bytes()))?;
        put(V::NAME.as_bytes())?;
        put(&V::VERSION.to_be_bytes())?;
        put(&reached.position.to_be_bytes())?;
        put(&reached.hash)?;
        let mut rows = 0;
        for entry in self.tree.range([ROW]..) {
            let read = |entry: sled::Result<_>| entry.map_err(StoreError::database("read a view"));
            let (key, value): (sled::IVec, sled::IVec) = self.core.guarded("read a view", || read(entry))?;
            let key = plain_key(&key);
            for part in [&key[..], &value[..]] {
                put(&len_of(part))?;
                put(part)?;
            }
            rows += 1;
        }
        Ok(rows)
    }
}

/// A batch with the head that it will have reached.
struct Pending<'a> {
    batch: ViewBatch<'a>,
    reached: Head,
    events: usize,
}

impl<'a> Pending<'a> {
    fn new(rows: &'a sled::Tree) -> Self {
        let batch = ViewBatch {
            rows,
            changes: BTreeMap::new(),
            bytes: 0,
        };
        Self {
            batch,
            reached: Head {
                position: 0,
                hash: GENESIS,
            },
            events: 0,
        }
    }

    fn write(&mut self, version: u32) -> Result<Head, StoreError> {
        let mut batch = sled::Batch::default();
        for (key, change) in std::mem::take(&mut self.batch.changes) {
            match change {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let mut reached = self.reached.position.to_be_bytes().to_vec();
        reached.extend_from_slice(&self.reached.hash);
        reached.extend_from_slice(&version.to_be_bytes());
        batch.insert(REACHED, reached);
        self.batch
            .rows
            .apply_batch(batch)
            .map_err(StoreError::database("write a view"))?;
        self.batch.bytes = 0;
        self.events = 0;
        Ok(self.reached)
    }
}

fn read_reached(bytes: &[u8]) -> Option<(Head, u32)> {
    let mut cursor = Cursor(bytes);
    let position = u64::from_be_bytes(*cursor.array().ok()?);
    let hash = *cursor.array().ok()?;
    Some((Head { position, hash }, u32::from_be_bytes(*cursor.array().ok()?)))
}

/// Removes all rows; the position first, so that a cut leaves a view that begins anew.
fn clear(tree: &sled::Tree) -> Result<(), StoreError> {
    tree.remove(REACHED).map_err(StoreError::database("clear a view"))?;
    loop {
        let mut batch = sled::Batch::default();
        let mut rows = 0;
        for key in tree.iter().keys().take(CLEAR_ROWS) {
            batch.remove(key.map_err(StoreError::database("clear a view"))?);
            rows += 1;
        }
        if rows == 0 {
            return Ok(());
        }
        tree.apply_batch(batch).map_err(StoreError::database("clear a view"))?;
    }
}

fn stored(tree: &sled::Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let value = tree.get(key).map_err(StoreError::database("read a view"))?;
    Ok(value.map(|value| value.to_vec()))
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(key.len() + 1);
    prefixed.push(ROW);
    prefixed.extend_from_slice(key);
    prefixed
}

fn plain_key(key: &[u8]) -> Vec<u8> {
    key.get(1..).unwrap_or_default().to_vec()
}

/// A part's length for an export; rows are far below 4 GiB.
fn len_of(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}
