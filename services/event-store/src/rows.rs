//! The tree of rows: finding the row of a position, walking rows in order with the chain checked across them.

use std::ops::ControlFlow;

use crate::row::{CommitMark, Item, RowReader};
use crate::{GENESIS, Head, Position, StoreError};

/// A walk touches a page about twice: leaves hold 8 to 16 rows.
const TOUCH_ROWS: usize = 4;
/// Look-ups of one touch.
const TOUCHES: usize = 2;

/// What is wrong when the place to go on from is not one of this log; the log itself may be whole.
pub(crate) const OTHER_LOG: &str = "the log is not the one that was read before";

/// The tree that holds the log itself.
#[derive(Debug, Clone)]
pub(crate) struct Rows(pub(crate) sled::Tree);

/// A command's effect as its commit mark tells it.
#[derive(Debug)]
pub(crate) struct StoredCommit {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) digest: [u8; 32],
    pub(crate) answer: Vec<u8>,
}

impl Rows {
    /// Gives the row in which a position stands, if it stands anywhere.
    pub(crate) fn containing(&self, position: Position) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
        let above = position.saturating_add(1).to_be_bytes();
        self.0.get_lt(above).map_err(StoreError::database("find a row"))
    }

    /// Shows every item after a position in order, until the visitor breaks off.
    ///
    /// Rows must follow each other without a gap and with matching hashes. Items at or before `after` that stand in the
    /// first row are read but not shown. Gives the head that was reached: the last item read.
    pub(crate) fn walk<F>(&self, after: Position, visit: F) -> Result<Head, StoreError>
    where
        F: FnMut(&Item<'_>) -> Result<ControlFlow<()>, StoreError>,
    {
        self.walk_linked(after, None, visit)
    }

    /// Walks as [`Rows::walk`] does, from a head that was reached before and whose hash must stand in the log.
    pub(crate) fn walk_from<F>(&self, reached: Head, visit: F) -> Result<Head, StoreError>
    where
        F: FnMut(&Item<'_>) -> Result<ControlFlow<()>, StoreError>,
    {
        self.walk_linked(reached.position, Some(reached.hash), visit)
    }

    fn walk_linked<F>(&self, after: Position, hash: Option<[u8; 32]>, mut visit: F) -> Result<Head, StoreError>
    where
        F: FnMut(&Item<'_>) -> Result<ControlFlow<()>, StoreError>,
    {
        let Some((start, _)) = self.containing(after.saturating_add(1))? else {
            return self.nothing_from(after);
        };
        let mut reached: Option<Head> = None;
        for (row, entry) in self.0.range(start..).enumerate() {
            let (key, value) = entry.map_err(StoreError::database("read a row"))?;
            if row % TOUCH_ROWS == 0 {
                self.touch(&key)?;
            }
            let mut row = RowReader::new(&key, &value)?;
            check_link(reached, &row)?;
            loop {
                if row.next_position() == after + 1 && hash.is_some_and(|hash| hash != row.hash()) {
                    return Err(StoreError::Broken {
                        position: after,
                        reason: OTHER_LOG,
                    });
                }
                let Some(item) = row.next_item()? else { break };
                let position = match &item {
                    Item::Event(event) => event.position,
                    Item::Commit(last, _) => *last,
                };
                if position > after && visit(&item)?.is_break() {
                    return Ok(Head {
                        position: row.next_position() - 1,
                        hash: row.hash(),
                    });
                }
            }
            reached = Some(Head {
                position: row.next_position() - 1,
                hash: row.hash(),
            });
        }
        match reached {
            Some(head) if head.position >= after => Ok(head),
            _ => Err(StoreError::Broken {
                position: after,
                reason: "the log ends before it",
            }),
        }
    }

    /// Lets sled's cache see that a page is in use, so that it forgets others.
    ///
    /// sled evicts only after 64 accesses in each of its 256 shards, and a scan accesses a page once: 16,384 pages would
    /// stay in memory whatever the cache's capacity. Each look-up counts as an access, so that fewer pages fill the count.
    fn touch(&self, key: &[u8]) -> Result<(), StoreError> {
        for _ in 0..TOUCHES {
            self.0.contains_key(key).map_err(StoreError::database("read a row"))?;
        }
        Ok(())
    }

    /// No row begins at or before the position: the log is empty, or its beginning is gone.
    fn nothing_from(&self, after: Position) -> Result<Head, StoreError> {
        let is_empty = self.0.is_empty();
        if after == 0 && is_empty {
            return Ok(Head {
                position: 0,
                hash: GENESIS,
            });
        }
        Err(StoreError::Broken {
            position: after.max(1),
            reason: "the row of this position is missing",
        })
    }

    /// Finds the mark of the append whose last event has this position.
    pub(crate) fn commit_ending_at(&self, last: Position) -> Result<Option<StoredCommit>, StoreError> {
        let Some((key, value)) = self.containing(last)? else {
            return Ok(None);
        };
        let mut row = RowReader::new(&key, &value)?;
        while let Some(item) = row.next_item()? {
            if let Item::Commit(position, mark) = item
                && position == last
            {
                return Ok(Some(stored_commit(last, &mark)));
            }
        }
        Ok(None)
    }
}

fn stored_commit(last: Position, mark: &CommitMark<'_>) -> StoredCommit {
    StoredCommit {
        first: last + 1 - mark.events,
        last,
        digest: *mark.digest,
        answer: mark.answer.to_vec(),
    }
}

/// Checks that a row follows the one before it; the first row of a store follows nothing.
pub(crate) fn check_link(before: Option<Head>, row: &RowReader<'_>) -> Result<(), StoreError> {
    let position = row.next_position();
    let expected = match before {
        Some(head) => head,
        None if position == 1 => Head {
            position: 0,
            hash: GENESIS,
        },
        None => return Ok(()),
    };
    if position != expected.position + 1 {
        let missing = expected.position + 1;
        return Err(StoreError::Broken {
            position: missing.min(position),
            reason: "positions are missing or doubled",
        });
    }
    if row.hash() != expected.hash {
        return Err(StoreError::Broken {
            position,
            reason: "the row does not continue the hash chain",
        });
    }
    Ok(())
}
