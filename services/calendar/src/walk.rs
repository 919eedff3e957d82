//! From local times to instants: the rule for gaps and overlaps.
//!
//! A [`Rule`] goes through one pattern in one zone. It keeps the stretch of time it was in last, so that going on costs no
//! look into the zone.

use crate::{
    civil,
    pattern::Pattern,
    zone::{Segment, Zone},
};

/// More than any two offsets of a zone ever differ, and than any offset is.
const REACH: i64 = 26 * 3600;
/// What is calculated with at all: the years 1 to 9999.
const FIRST: i64 = civil::FIRST_DAY * civil::DAY + REACH;
pub const LAST: i64 = civil::LAST_DAY * civil::DAY;

/// How local times become instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At the first instant at which the clock shows the time or a later one.
    Once,
    /// Whenever the clock shows the time.
    Always,
}

/// One pattern in one zone.
pub struct Walk<'a, P> {
    pattern: &'a P,
    rule: Rule,
    zone: &'a Zone,
    segment: Segment,
}

impl<'a, P: Pattern> Walk<'a, P> {
    /// Begins somewhere.
    pub fn new(pattern: &'a P, rule: Rule, zone: &'a Zone) -> Self {
        Self {
            pattern,
            rule,
            zone,
            // Holds no instant.
            segment: Segment {
                start: 0,
                end: 0,
                offset: 0,
            },
        }
    }

    /// Returns the first firing after an instant, in seconds.
    pub fn after(&mut self, instant: i64) -> Option<i64> {
        let instant = instant.max(FIRST);
        match self.rule {
            Rule::Once => {
                let reached = self.reached(instant)?;
                let local = self.pattern.next_local(reached + 1)?;
                self.shows(local)
            }
            Rule::Always => self.next_shown(instant.checked_add(1)?),
        }
    }

    /// Returns the last firing before an instant.
    pub fn before(&mut self, instant: i64) -> Option<i64> {
        let instant = instant.min(LAST);
        match self.rule {
            Rule::Once => {
                let reached = self.reached(instant - 1)?;
                let local = self.pattern.previous_local(reached)?;
                self.shows(local)
            }
            Rule::Always => self.previous_shown(instant),
        }
    }

    /// Counts the firings in `from..until`, without going through them.
    pub fn count(&mut self, from: i64, until: i64) -> u64 {
        let (from, until) = (from.max(FIRST), until.min(LAST));
        let mut count = 0;
        // The next local time that counts, where each counts once.
        let mut open = match self.rule {
            Rule::Once => self.reached(from - 1).map_or(i64::MAX, |reached| reached + 1),
            Rule::Always => i64::MIN,
        };
        let mut at = from;
        while at < until {
            let segment = self.go(at);
            let end = segment.end.min(until);
            let (mut first, last) = (at + segment.offset, end + segment.offset);
            if self.rule == Rule::Once {
                if open < first {
                    // What fell into the gap, and the time at its end, are one firing.
                    if self.pattern.count_local(open, first + 1) > 0 {
                        count += 1;
                    }
                    open = first + 1;
                }
                first = open;
                open = open.max(last);
            }
            count += self.pattern.count_local(first, last);
            at = end;
        }
        count
    }

    /// Returns the stretch that holds an instant.
    fn go(&mut self, instant: i64) -> Segment {
        if !self.segment.contains(instant) {
            self.segment = self.zone.segment(instant);
        }
        self.segment
    }

    /// Returns the latest time that the clock has shown up to an instant.
    fn reached(&mut self, instant: i64) -> Option<i64> {
        let mut segment = self.go(instant);
        let mut reached = instant.checked_add(segment.offset)?;
        // A change of long ago cannot have shown a later time.
        while segment.start > instant.saturating_sub(2 * REACH) {
            let last = segment.start - 1;
            segment = self.zone.segment(last);
            reached = reached.max(last + segment.offset);
        }
        Some(reached)
    }

    /// Returns the first instant at which the clock shows a local time or a later one.
    fn shows(&mut self, local: i64) -> Option<i64> {
        // Here the clock cannot have shown it; the search begins nearer where it is in the stretch at hand.
        let mut at = local.checked_sub(REACH)?;
        if self.segment.contains(local - self.segment.offset) && self.segment.contains(at) {
            return Some(local - self.segment.offset);
        }
        loop {
            let segment = self.go(at);
            let instant = segment.start.max(local - segment.offset);
            if instant < segment.end {
                return (instant <= LAST).then_some(instant);
            }
            at = segment.end;
        }
    }

    fn next_shown(&mut self, from: i64) -> Option<i64> {
        let mut at = from;
        while at <= LAST {
            let segment = self.go(at);
            let local = self.pattern.next_local(at + segment.offset)?;
            if local - segment.offset < segment.end {
                return Some(local - segment.offset);
            }
            // The next stretch may begin with an earlier time of the wall clock.
            at = segment.end;
        }
        None
    }

    fn previous_shown(&mut self, before: i64) -> Option<i64> {
        let mut at = before.checked_sub(1)?;
        while at >= FIRST {
            let segment = self.go(at);
            let local = self.pattern.previous_local(at + segment.offset)?;
            if local - segment.offset >= segment.start {
                return Some(local - segment.offset);
            }
            at = segment.start - 1;
        }
        None
    }
}
