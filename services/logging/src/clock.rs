//! The one place of this crate that reads the wall clock.

use chrono::{DateTime, FixedOffset, Local, NaiveDate};
use std::time::SystemTime;

/// Tells the local time, which decides the day a line belongs to.
pub trait Clock: Send + Sync {
    /// Returns this instant in local time.
    fn now_local(&self) -> DateTime<FixedOffset>;

    /// Returns the local day of another instant, such as a file's last change.
    fn local_day(&self, instant: SystemTime) -> NaiveDate {
        DateTime::<chrono::Utc>::from(instant)
            .with_timezone(self.now_local().offset())
            .date_naive()
    }
}

/// The machine's clock and time zone.
///
/// The zone is read from `TZ` or `/etc/localtime`, again in each thread and after a change: a process that confines
/// itself must leave `/etc/localtime` and `/usr/share/zoneinfo` readable, or its days become those of UTC.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the home of the log's wall clock")]
    fn now_local(&self) -> DateTime<FixedOffset> {
        Local::now().fixed_offset()
    }

    /// Uses the offset that held at that instant, not today's.
    fn local_day(&self, instant: SystemTime) -> NaiveDate {
        DateTime::<Local>::from(instant).date_naive()
    }
}
