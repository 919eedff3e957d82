//! Findings that a copy of a device is at work: kept until the quarantine is in the log, and never too many at once.
//!
//! What a device signed is proof, and nothing bounds it. What the bus says of connections is none: whoever has the bus's own
//! account can say it of every device. So only some devices a minute are quarantined for it; what is beyond is an alarm for
//! operators.

use std::collections::{BTreeMap, VecDeque};

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::time::Timestamp;

/// Is how many devices are quarantined within [`WINDOW_MS`] because of what the bus says.
pub const QUARANTINES: usize = 10;
/// Is within how long, in milliseconds.
pub const WINDOW_MS: i64 = 60_000;
/// Is how many devices an alarm names.
pub const NAMED: usize = 16;

/// Holds what was found and is not in the log yet: each device with the reason.
#[derive(Debug, Default)]
pub struct Findings {
    open: BTreeMap<Guid, String>,
}

impl Findings {
    /// Takes in a finding; the first reason stays.
    pub fn add(&mut self, guid: Guid, reason: String) {
        self.open.entry(guid).or_insert(reason);
    }

    /// Forgets a finding that is in the log, or that the log says nothing can be done about.
    pub fn settle(&mut self, guid: &Guid) {
        self.open.remove(guid);
    }

    /// Lists what is not in the log.
    pub fn open(&self) -> Vec<(Guid, String)> {
        self.open.iter().map(|(guid, reason)| (*guid, reason.clone())).collect()
    }
}

/// Bounds how many quarantines follow from what the bus says.
#[derive(Debug, Default)]
pub struct Brake {
    made: VecDeque<(Guid, Timestamp)>,
    held: u64,
    named: Vec<Guid>,
    alarmed_at: Option<Timestamp>,
}

/// Tells how many findings were not followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Alarm {
    /// How many.
    pub held: u64,
    /// Some of the devices.
    pub named: Vec<Guid>,
}

impl Brake {
    /// Tells whether a finding may be followed; one that may not is counted for the alarm.
    ///
    /// A device counts once within [`WINDOW_MS`], however often it is found: whoever has one device's key uses up nobody
    /// else's place.
    pub fn admit(&mut self, guid: Guid, now: Timestamp) -> bool {
        self.made.retain(|(_, at)| (0..WINDOW_MS).contains(&now.since_ms(*at)));
        if self.made.iter().any(|(made, _)| *made == guid) {
            return true;
        }
        if self.made.len() < QUARANTINES {
            self.made.push_back((guid, now));
            return true;
        }
        self.held += 1;
        if self.named.len() < NAMED && !self.named.contains(&guid) {
            self.named.push(guid);
        }
        false
    }

    /// Returns the alarm that is due, at most one within [`WINDOW_MS`].
    pub fn alarm(&mut self, now: Timestamp) -> Option<Alarm> {
        let is_early = |at: Timestamp| (0..WINDOW_MS).contains(&now.since_ms(at));
        if self.held == 0 || self.alarmed_at.is_some_and(is_early) {
            return None;
        }
        self.alarmed_at = Some(now);
        Some(Alarm {
            held: std::mem::take(&mut self.held),
            named: std::mem::take(&mut self.named),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn guid(seed: usize) -> Guid {
        Guid::from_random([u8::try_from(seed).unwrap(); 16])
    }

    #[test]
    fn a_finding_stays_until_it_is_settled_with_its_first_reason() {
        let mut findings = Findings::default();
        findings.add(guid(1), "first".into());
        findings.add(guid(1), "second".into());
        assert_eq!(findings.open(), vec![(guid(1), "first".to_owned())]);
        findings.settle(&guid(1));
        assert!(findings.open().is_empty());
    }

    #[test]
    fn one_device_that_is_found_again_and_again_takes_nobody_s_place() {
        let mut brake = Brake::default();
        assert!((0..30).all(|_| brake.admit(guid(1), NOW)));
        let others = (2..100).filter(|seed| brake.admit(guid(*seed), NOW)).count();
        assert_eq!(others, QUARANTINES - 1);
    }

    #[test]
    fn what_is_beyond_some_a_minute_is_an_alarm_and_no_quarantine() {
        let mut brake = Brake::default();
        assert_eq!(
            (0..100).filter(|seed| brake.admit(guid(*seed), NOW)).count(),
            QUARANTINES
        );
        let alarm = brake.alarm(NOW).unwrap();
        assert_eq!((alarm.held, alarm.named.len()), (90, NAMED));
        assert_eq!(alarm.named.first(), Some(&guid(QUARANTINES)));
        assert_eq!(brake.alarm(NOW), None);

        assert!(!brake.admit(guid(50), NOW.plus_ms(WINDOW_MS - 1)));
        assert_eq!(brake.alarm(NOW.plus_ms(WINDOW_MS - 1)), None, "one alarm a minute");
        let later = NOW.plus_ms(WINDOW_MS);
        assert_eq!(
            brake.alarm(later),
            Some(Alarm {
                held: 1,
                named: vec![guid(50)]
            })
        );
        assert!(brake.admit(guid(2), later));
        assert!(brake.admit(guid(3), later.plus_ms(-60)), "the clock was set back");
    }
}
