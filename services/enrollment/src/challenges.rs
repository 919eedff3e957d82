//! What devices have to answer in their hellos: proof that a hello was said now, and not taken from the bus some time ago.
//!
//! Any number of challenges may be open, because anybody on the bus can have one given out by repeating an old hello: were
//! only the newest worth something, a stranger who repeats for ever would keep the device from ever answering. When an answer
//! is taken, every challenge that was given out until that moment is worthless. So of two hellos that are taken, the device
//! said the second after the first had been taken, whatever the bus delayed, repeated or reordered; a device that is alone
//! counts up from the first to the second.
//!
//! A challenge names its number and time under a key of this process: nothing of it is kept, and none outlives a restart.

use std::collections::BTreeMap;

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Is how long a challenge may be answered, in milliseconds.
pub const CHALLENGE_LIFE_MS: i64 = 30_000;
/// Is how many devices' last answers are held before those that mean nothing any more are cleared away.
const CLEAR_AT: usize = 1_000;
/// Is how many bytes the key has: a block of the hash.
pub const KEY_BYTES: usize = 64;
/// Is how many bytes stand before a challenge's authentication code: number and time.
const HEAD_BYTES: usize = 16;
/// Is how many bytes a challenge has.
const BYTES: usize = HEAD_BYTES + 32;

/// Gives out challenges and takes their answers.
pub struct Challenges {
    key: [u8; KEY_BYTES],
    given: u64,
    answered: BTreeMap<Guid, Answered>,
    clear_at: usize,
}

/// Says that a device's challenges up to a number are worthless.
#[derive(Debug, Clone, Copy)]
struct Answered {
    given: u64,
    at: Timestamp,
}

impl Challenges {
    /// Makes it with a key that nobody else knows.
    pub const fn new(key: [u8; KEY_BYTES]) -> Self {
        Self {
            key,
            given: 0,
            answered: BTreeMap::new(),
            clear_at: CLEAR_AT,
        }
    }

    /// Gives a device a fresh challenge.
    ///
    /// Shape: number ‖ instant ‖ HMAC-SHA-256 of both and the device, as base64url.
    pub fn give(&mut self, guid: &Guid, now: Timestamp) -> String {
        self.given += 1;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.given.to_be_bytes());
        bytes.extend_from_slice(&now.unix_ms().to_be_bytes());
        let tag = self.mac(guid, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Tells whether a text answers a challenge that is open for its device; uses nothing up.
    pub fn is_open(&self, guid: &Guid, answer: &str, now: Timestamp) -> bool {
        let Some((number, since)) = self.read(guid, answer) else {
            return false;
        };
        let before = self.answered.get(guid).map_or(0, |answered| answered.given);
        number > before && is_alive(since, now)
    }

    /// Takes an answer: every challenge given out until now is worthless then. One that does not fit uses nothing up.
    pub fn take(&mut self, guid: &Guid, answer: &str, now: Timestamp) -> bool {
        if !self.is_open(guid, answer, now) {
            return false;
        }
        if self.answered.len() >= self.clear_at {
            // What was given out before then is too old by itself.
            self.answered.retain(|_, answered| is_alive(answered.at, now));
            self.clear_at = CLEAR_AT.max(self.answered.len() * 2);
        }
        let answered = Answered {
            given: self.given,
            at: now,
        };
        self.answered.insert(*guid, answered);
        true
    }

    fn read(&self, guid: &Guid, answer: &str) -> Option<(u64, Timestamp)> {
        let bytes = BASE64URL_NOPAD.decode(answer.as_bytes()).ok()?;
        let (head, tag) = bytes.split_at_checked(HEAD_BYTES)?;
        self.mac(guid, head).verify_slice(tag).ok()?;
        let (number, since) = head.split_at_checked(8)?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let since = i64::from_be_bytes(since.try_into().ok()?);
        Some((number, Timestamp::from_unix_ms(since)))
    }

    fn mac(&self, guid: &Guid, head: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new((&self.key).into());
        mac.update(guid.as_bytes());
        mac.update(head);
        mac
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
    fn challenges() -> Challenges {
        Challenges::new([7; KEY_BYTES])
    }

    #[test]
    fn a_challenge_is_answered_once_by_its_device_and_in_time() {
        let mut challenges = challenges();
        let given = challenges.give(&guid(1), NOW);
        assert!(!challenges.take(&guid(2), &given, NOW));
        for bad in ["", "x", &given[1..], &challenges.give(&guid(2), NOW)] {
            assert!(!challenges.take(&guid(1), bad, NOW), "{bad}");
        }
        assert!(
            !Challenges::new([8; KEY_BYTES]).is_open(&guid(1), &given, NOW),
            "it is of an earlier start"
        );
        assert!(challenges.take(&guid(1), &given, NOW.plus_ms(CHALLENGE_LIFE_MS - 1)));
        assert!(!challenges.take(&guid(1), &given, NOW), "it was answered");
        let given = challenges.give(&guid(1), NOW);
        assert!(
            !challenges.take(&guid(1), &given, NOW.plus_ms(CHALLENGE_LIFE_MS)),
            "it is over"
        );
        assert!(
            !challenges.take(&guid(1), &given, NOW.plus_ms(-1)),
            "the clock was set back"
        );
    }

    #[test]
    fn challenges_that_a_stranger_has_given_out_take_nothing_from_the_device() {
        let mut challenges = challenges();
        let own = challenges.give(&guid(1), NOW);
        let strangers: Vec<String> = (0..100).map(|_| challenges.give(&guid(1), NOW)).collect();
        assert!(challenges.take(&guid(1), &own, NOW));
        // Had the device answered one of those as well, at a time of the stranger's choice, it would count for nothing.
        assert!(!strangers.iter().any(|given| challenges.take(&guid(1), given, NOW)));
        let next = challenges.give(&guid(1), NOW);
        assert!(challenges.take(&guid(1), &next, NOW));
    }

    #[test]
    fn what_means_nothing_any_more_is_cleared_away() {
        let mut challenges = challenges();
        for number in 0..3 * u64::try_from(CLEAR_AT).unwrap() {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            let (guid, now) = (
                Guid::from_random(bytes),
                NOW.plus_ms(i64::try_from(number).unwrap() * 100),
            );
            let given = challenges.give(&guid, now);
            assert!(challenges.take(&guid, &given, now));
        }
        assert!(challenges.answered.len() <= CLEAR_AT, "{}", challenges.answered.len());
    }
}
