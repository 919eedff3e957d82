//! The agent's clocks: the one place that reads them.

use crate::core::time::Now;
use borealis_bus_schema::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks; the monotonic one counts from the making of this value.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    began: Instant,
}

impl Clocks {
    /// Begins to count.
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Reads both.
    pub fn now(&self) -> Now {
        Now {
            wall: wall(),
            mono_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the instant at which the monotonic clock shows that value.
    pub fn instant_of(&self, mono_ms: u64) -> Instant {
        let far = std::time::Duration::from_hours(24 * 365);
        self.began
            .checked_add(std::time::Duration::from_millis(mono_ms))
            .unwrap_or_else(|| self.began + far)
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the agent's home of the wall clock")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
