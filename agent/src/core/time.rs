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

/// Is by how much the device may be ahead of the bus's word before it asks over HTTPS, in milliseconds.
const TOLERANCE_MS: i64 = 30_000;

/// Estimates the server's clock.
///
/// The bus's word moves it forward only: one that lies about the time cannot bring back an order that is over. A word over
/// HTTPS sets it. From then on the monotonic clock carries it, so that a jump of the wall clock moves nothing. It never goes
/// below the newest instant that a signed order has proved.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    fixed: Option<(Timestamp, u64)>,
    floor: Timestamp,
    skew_ms: Option<i64>,
    is_settled: bool,
    has_asked: bool,
}

impl ServerClock {
    /// Makes a clock that nobody has set, with a floor known from before.
    pub const fn new(floor: Timestamp) -> Self {
        Self {
            fixed: None,
            floor,
            skew_ms: None,
            is_settled: false,
            has_asked: false,
        }
    }

    /// Takes the server's word for the time, as it came over HTTPS.
    pub fn set(&mut self, server: Timestamp, now: Now) {
        self.fixed = Some((server, now.mono_ms));
        self.skew_ms = Some(now.wall.since_ms(server));
        self.is_settled = true;
    }

    /// Takes the bus's word for the time, forward only; returns whether the time must be asked for over HTTPS, since the
    /// device's clock or the bus is wrong.
    pub fn hear(&mut self, server: Timestamp, now: Now) -> bool {
        let own = self.at(now);
        let ahead_ms = own.since_ms(server);
        if ahead_ms > TOLERANCE_MS {
            self.is_settled = false;
            return !std::mem::replace(&mut self.has_asked, true);
        }
        self.fixed = Some((own.max(server), now.mono_ms));
        self.skew_ms = Some(now.wall.since_ms(server));
        self.is_settled = true;
        self.has_asked = false;
        false
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

    /// Tells whether the estimate is the server's time; not before a first word, nor while the bus's word is in doubt.
    pub const fn is_settled(&self) -> bool {
        self.is_settled
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
    fn given_a_bus_that_turns_the_time_back_then_the_estimate_stays_and_https_is_asked_once() {
        let mut clock = ServerClock::new(Timestamp::from_unix_ms(0));
        assert!(!clock.hear(Timestamp::from_unix_ms(100_000), now(5_000, 1)), "forward");
        assert!(clock.is_settled());
        let back = Timestamp::from_unix_ms(100_000 - TOLERANCE_MS);
        assert!(!clock.hear(back, now(5_000, 1)), "as clocks drift");
        assert_eq!(clock.at(now(5_000, 1)).unix_ms(), 100_000);
        let lie = Timestamp::from_unix_ms(100_000 - TOLERANCE_MS - 1);
        assert!(clock.hear(lie, now(5_000, 1)));
        assert!(!clock.is_settled());
        assert!(!clock.hear(lie, now(5_000, 1)), "it is asked once");
        assert_eq!(clock.at(now(5_000, 1)).unix_ms(), 100_000);
        clock.set(lie, now(5_000, 1));
        assert_eq!(clock.at(now(5_000, 1)), lie, "the word over HTTPS counts");
        assert!(clock.is_settled());
    }

    #[test]
    fn given_a_device_whose_clock_is_ahead_when_the_bus_speaks_first_then_it_is_in_doubt_until_https_has_spoken() {
        let mut clock = ServerClock::new(Timestamp::from_unix_ms(0));
        let year = 365 * 86_400_000;
        assert!(clock.hear(Timestamp::from_unix_ms(9_000), now(year, 1)));
        assert_eq!(clock.at(now(year, 1)).unix_ms(), year);
        clock.set(Timestamp::from_unix_ms(9_001), now(year, 2));
        assert!(!clock.hear(Timestamp::from_unix_ms(9_002), now(year, 3)));
        assert_eq!(clock.at(now(year, 3)).unix_ms(), 9_002);
        assert_eq!(clock.skew_ms(), Some(year - 9_002));
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
