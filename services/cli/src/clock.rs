//! The home of the wall clock: signatures say when they were made.

use std::time::{SystemTime, UNIX_EPOCH};

use borealis_bus_schema::time::Timestamp;

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock's home in this program")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
