//! Time as the core is told it: the wall clock, a clock that never jumps, and what the server's clock says.

use borealis_bus_schema::time::Timestamp;

/// Holds one reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The device's wall clock.
    pub wall: Timestamp,
    /// Milliseconds of a clock that never jumps.
    pub mono_ms: u64,
}

/// Estimates the server's clock.
///
/// A word of the server sets it; from then on the monotonic clock carries it, so that a jump of the wall clock moves
/// nothing. It never goes below the newest instant that a signed order has proved, so that a bus that lies about the time
/// cannot bring back an order that is over.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    fixed: Option<(Timestamp, u64)>,
    floor: Timestamp,
    skew_ms: Option<i64>,
}

impl ServerClock {
    /// Makes a clock that nobody has set, with a floor known from before.
    pub const fn new(floor: Timestamp) -> Self {
        Self {
            fixed: None,
            floor,
            skew_ms: None,
        }
    }

    /// Takes the server's word for the time.
    pub fn set(&mut self, server: Timestamp, now: Now) {
        self.fixed = Some((server, now.mono_ms));
        self.skew_ms = Some(now.wall.since_ms(server));
    }

    /// Raises the floor to an instant that a signature proves to be over.
    pub fn prove(&mut self, instant: Timestamp) {
        self.floor = self.floor.max(instant);
    }

    /// Returns the server's time; the device's own while the server has said nothing.
    pub fn at(&self, now: Now) -> Timestamp {
        let estimate = match self.fixed {
            Some((server, mono_ms)) => {
                server.plus_ms(i64::try_from(now.mono_ms.saturating_sub(mono_ms)).unwrap_or(i64::MAX))
            }
            None => now.wall,
        };
        estimate.max(self.floor)
    }

    /// Returns the newest instant that a signature has proved.
    pub const fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Tells whether the server has said its time since this program began.
    pub const fn is_set(&self) -> bool {
        self.fixed.is_some()
    }

    /// Returns by how much the device's clock is ahead of the server's, once known.
    pub const fn skew_ms(&self) -> Option<i64> {
        self.skew_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: i64, mono_ms: u64) -> Now {
        Now {
            wall: Timestamp::from_unix_ms(wall),
            mono_ms,
        }
    }

    #[test]
    fn given_the_servers_word_when_the_wall_clock_jumps_then_the_estimate_goes_on() {
        let mut clock = ServerClock::new(Timestamp::from_unix_ms(0));
        assert_eq!(clock.at(now(5_000, 1)).unix_ms(), 5_000);
        clock.set(Timestamp::from_unix_ms(9_000), now(5_000, 1));
        assert_eq!(clock.skew_ms(), Some(-4_000));
        assert_eq!(clock.at(now(1, 101)).unix_ms(), 9_100);
    }

    #[test]
    fn given_a_proved_instant_when_the_server_says_less_then_the_floor_holds() {
        let mut clock = ServerClock::new(Timestamp::from_unix_ms(7_000));
        clock.set(Timestamp::from_unix_ms(1), now(1, 1));
        assert_eq!(clock.at(now(1, 1)).unix_ms(), 7_000);
        clock.prove(Timestamp::from_unix_ms(8_000));
        assert_eq!(clock.at(now(1, 1)).unix_ms(), 8_000);
    }
}
