//! What devices have to answer in their hellos: proof that a hello was said now, and not taken from the bus some time ago.
//!
//! A device has one open challenge. It is worth something until it is answered, until the next one is given, or for half a
//! minute. So of two hellos that are taken, the device said the second after the first had been taken, whatever the bus
//! delayed, repeated or reordered; a device that is alone counts up from the first to the second.

use std::collections::BTreeMap;

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::time::Timestamp;

/// Is how long a challenge may be answered, in milliseconds.
pub const CHALLENGE_LIFE_MS: i64 = 30_000;
/// Is how many open challenges are held before those that are over are cleared away.
const CLEAR_AT: usize = 1_000;

/// Holds the open challenges.
#[derive(Debug)]
pub struct Challenges {
    open: BTreeMap<Guid, (String, Timestamp)>,
    clear_at: usize,
}

impl Default for Challenges {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            clear_at: CLEAR_AT,
        }
    }
}

impl Challenges {
    /// Gives a device a fresh challenge in the place of the one before.
    pub fn give(&mut self, guid: Guid, fresh: String, now: Timestamp) -> String {
        if self.open.len() >= self.clear_at {
            self.open.retain(|_, (_, since)| is_alive(*since, now));
            self.clear_at = CLEAR_AT.max(self.open.len() * 2);
        }
        self.open.insert(guid, (fresh.clone(), now));
        fresh
    }

    /// Takes an answer; one that does not fit uses nothing up.
    pub fn take(&mut self, guid: &Guid, answer: &str, now: Timestamp) -> bool {
        let fits = self
            .open
            .get(guid)
            .is_some_and(|(open, since)| open == answer && is_alive(*since, now));
        if fits {
            self.open.remove(guid);
        }
        fits
    }
}

fn is_alive(since: Timestamp, now: Timestamp) -> bool {
    (0..CHALLENGE_LIFE_MS).contains(&now.since_ms(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn guid(seed: u8) -> Guid {
        Guid::from_random([seed; 16])
    }

    #[test]
    fn a_challenge_is_answered_once_by_its_device_and_in_time() {
        let mut challenges = Challenges::default();
        let give = |challenges: &mut Challenges| challenges.give(guid(1), "n".into(), NOW);
        give(&mut challenges);
        assert!(!challenges.take(&guid(2), "n", NOW));
        assert!(!challenges.take(&guid(1), "m", NOW));
        assert!(challenges.take(&guid(1), "n", NOW.plus_ms(CHALLENGE_LIFE_MS - 1)));
        assert!(!challenges.take(&guid(1), "n", NOW), "it was answered");
        give(&mut challenges);
        assert!(
            !challenges.take(&guid(1), "n", NOW.plus_ms(CHALLENGE_LIFE_MS)),
            "it is over"
        );
        assert!(
            !challenges.take(&guid(1), "n", NOW.plus_ms(-1)),
            "the clock was set back"
        );
    }

    #[test]
    fn the_next_challenge_ends_the_one_before() {
        let mut challenges = Challenges::default();
        challenges.give(guid(1), "first".into(), NOW);
        challenges.give(guid(1), "second".into(), NOW);
        assert!(!challenges.take(&guid(1), "first", NOW));
        assert!(challenges.take(&guid(1), "second", NOW));
    }

    #[test]
    fn what_nobody_answers_is_cleared_away() {
        let mut challenges = Challenges::default();
        for number in 0..3 * u64::try_from(CLEAR_AT).unwrap() {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            let now = NOW.plus_ms(i64::try_from(number).unwrap() * 100);
            challenges.give(Guid::from_random(bytes), "n".into(), now);
        }
        assert!(challenges.open.len() <= CLEAR_AT, "{}", challenges.open.len());
    }
}
