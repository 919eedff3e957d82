//! One call at a time works on a command: whoever repeats it meanwhile waits, and gets the first answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use borealis_bus_schema::ids::CommandId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Holds the commands that are worked on.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<CommandId, Arc<AsyncMutex<()>>>>);

/// Is a call's turn on its command, or its place in the queue for it; over when it is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    command: CommandId,
    queue: Option<Arc<AsyncMutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    fn all(&self) -> MutexGuard<'_, HashMap<CommandId, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else works on a command.
    pub(super) async fn take(self: &Arc<Self>, command: CommandId) -> Turn {
        let queue = Arc::clone(self.all().entry(command).or_default());
        let mut turn = Turn {
            turns: Arc::clone(self),
            command,
            queue: Some(Arc::clone(&queue)),
            guard: None,
        };
        turn.guard = Some(queue.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.turns.all();
        drop((self.guard.take(), self.queue.take()));
        // Only the map itself still knows it: nobody waits.
        if all
            .get(&self.command)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            all.remove(&self.command);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn one_at_a_time_has_the_turn_and_nothing_is_left_behind() {
        let turns = Arc::new(Turns::default());
        let (one, other) = (CommandId::from_bytes([1; 16]), CommandId::from_bytes([2; 16]));
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(turns.take(one));
        let Poll::Ready(turn) = first.as_mut().poll(&mut context) else {
            panic!("nobody else has it");
        };
        let mut second = Box::pin(turns.take(one));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(pin!(turns.take(other)).poll(&mut context).is_ready());
        let mut gone = Box::pin(turns.take(one));
        assert!(gone.as_mut().poll(&mut context).is_pending());
        drop(gone);
        drop(turn);
        assert!(second.as_mut().poll(&mut context).is_ready());
        drop((first, second));
        assert!(turns.all().is_empty());
    }
}
