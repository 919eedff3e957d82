//! Following a log: every event once, in order, from a position on.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{EventLog, EventRecord, Head, Position, StoreError};

/// Reads a log from a position on and waits at its end; a slow reader slows nobody.
pub struct Follower {
    log: Arc<dyn EventLog>,
    heads: watch::Receiver<Head>,
    position: Position,
}

impl Follower {
    /// Begins after a position.
    pub fn new(log: Arc<dyn EventLog>, after: Position) -> Self {
        let heads = log.subscribe();
        Self {
            log,
            heads,
            position: after,
        }
    }

    /// Tells the position up to which events were given.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Gives the next events, at least one and at most `limit`; waits while there are none. Cancelling loses nothing.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        loop {
            self.heads.borrow_and_update();
            let found = self.log.read_all(self.position, limit.max(1))?;
            if let Some(last) = found.last() {
                self.position = last.position;
                return Ok(found);
            }
            if self.heads.changed().await.is_err() {
                // The log's sender is gone; its store is too, so nothing can follow.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Follower")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
