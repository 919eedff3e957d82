//! Not answering by half of what others know: the gate before everything that a service decides.

use std::sync::atomic::{AtomicBool, Ordering};

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::{Reply, WireError};

use crate::auth::STALE_AFTER_MS;
use crate::follow::Freshness;

/// Opens once everything that it waits for was fresh, and stays open.
pub(super) struct Gate {
    waits_for: Vec<Freshness>,
    open: AtomicBool,
}

impl Gate {
    pub(super) fn new(waits_for: Vec<Freshness>) -> Self {
        Self {
            open: AtomicBool::new(waits_for.is_empty()),
            waits_for,
        }
    }

    fn is_open(&self) -> bool {
        if self.open.load(Ordering::Relaxed) {
            return true;
        }
        let open = self.waits_for.iter().all(|fresh| fresh.within(STALE_AFTER_MS));
        if open {
            self.open.store(true, Ordering::Relaxed);
        }
        open
    }

    /// Lets a request pass.
    ///
    /// Errors: `stale` before the gate is open.
    pub(super) fn pass(&self) -> Reply<()> {
        if self.is_open() {
            Ok(())
        } else {
            Err(WireError::new(
                Code::Stale,
                "the service has not heard yet what it decides by; try again in a moment",
            ))
        }
    }

    /// Waits until it is open.
    pub(super) async fn opened(&self) {
        while !self.is_open() {
            for fresh in &self.waits_for {
                fresh.wait(STALE_AFTER_MS).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use borealis_bus_schema::time::Timestamp;

    #[test]
    fn it_opens_once_everything_was_fresh_and_stays_open() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let (access, enrollment) = (Freshness::new(Arc::clone(&shared)), Freshness::new(shared));
        let gate = Gate::new(vec![access.clone(), enrollment.clone()]);
        assert_eq!(gate.pass().unwrap_err().code, Code::Stale);
        enrollment.note(1_000_000);
        assert_eq!(gate.pass().unwrap_err().code, Code::Stale, "access said nothing yet");
        access.note(1_000_000);
        gate.pass().unwrap();
        enrollment.lose();
        gate.pass().unwrap();
        Gate::new(Vec::new()).pass().unwrap();
    }
}
