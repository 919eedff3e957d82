//! The home of the wall clock: whoever needs the time is handed a [`Clock`], so that a test can set it.

use std::sync::atomic::{AtomicI64, Ordering};

use borealis_bus_schema::time::Timestamp;

/// Tells what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Returns this instant.
    fn now(&self) -> Timestamp;
}

/// Reads the machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the home of the services' wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(chrono::Utc::now().timestamp_millis())
    }
}

/// Stands still until it is told; for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Makes a clock that stands at an instant.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix_ms()))
    }
    /// Moves the clock, also backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix_ms(), Ordering::SeqCst);
    }
    /// Moves the clock ahead by milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}
