//! A schedule: what kind, in which zone, from when until when.

use std::{fmt, str::FromStr};

use borealis_bus_schema::time::Timestamp;
use thiserror::Error;

use crate::{
    civil,
    cron::Cron,
    pattern::{Repeating, Step},
    walk::{LAST, Rule, Walk},
    zone::Zone,
};

/// What a schedule follows.
///
/// **Shape**: `immediately`, `once`, `every_5_minutes`, `every_hour`, `every_2_hours`, `daily`, `weekly`, `monthly`, `yearly`,
/// `every_3_days`, `every_2_weeks`, `every_6_months`, `every_4_years`, or `cron:` and the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At its start, which is when it was made.
    Immediately,
    /// At its start.
    Once,
    /// At its start and each time so many minutes have passed, whatever the clock on the wall does.
    Minutes(u32),
    /// At its start, and at its wall-clock time each so many days.
    Days(u32),
    /// At its start, and at its wall-clock time on its day of the month each so many months, or on the last day of a month
    /// that is shorter.
    Months(u32),
    /// As a cron text says.
    Cron(Cron),
}

/// Says why a schedule cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// There is no such kind.
    #[error(
        "{0:?} is no kind of schedule: immediately, once, every_5_minutes, every_hour, daily, weekly, monthly, yearly, \
         every_<n>_minutes|hours|days|weeks|months|years"
    )]
    Kind(String),
    /// The cron text is wrong.
    #[error(transparent)]
    Cron(#[from] crate::cron::CronError),
    /// It ends before it begins.
    #[error("the schedule ends before it begins: this would never fire")]
    EndsFirst,
}

/// The largest number of units that a kind takes.
const MOST: u32 = 10_000;

impl FromStr for Kind {
    type Err = ScheduleError;

    /// Errors: `Kind` for an unknown word, `Cron` for a cron text that is wrong.
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        if let Some(cron) = text.strip_prefix("cron:") {
            return Ok(Self::Cron(cron.parse()?));
        }
        let unknown = || ScheduleError::Kind(text.chars().take(40).collect());
        let (number, unit) = match text {
            "immediately" => return Ok(Self::Immediately),
            "once" => return Ok(Self::Once),
            "daily" => (1, "days"),
            "weekly" => (1, "weeks"),
            "monthly" => (1, "months"),
            "yearly" => (1, "years"),
            "every_hour" => (1, "hours"),
            _ => {
                let (number, unit) = text
                    .strip_prefix("every_")
                    .and_then(|rest| rest.split_once('_'))
                    .ok_or_else(unknown)?;
                let digits = !number.starts_with(['+', '0']);
                let number = number.parse::<u32>().ok().filter(|number| digits && *number <= MOST);
                (number.ok_or_else(unknown)?, unit)
            }
        };
        Ok(match unit {
            "minutes" => Self::Minutes(number),
            "hours" => Self::Minutes(number * 60),
            "days" => Self::Days(number),
            "weeks" => Self::Days(number * 7),
            "months" => Self::Months(number),
            "years" => Self::Months(number * 12),
            _ => return Err(unknown()),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Immediately => f.write_str("immediately"),
            Self::Once => f.write_str("once"),
            Self::Minutes(60) => f.write_str("every_hour"),
            Self::Minutes(minutes) if minutes % 60 == 0 => write!(f, "every_{}_hours", minutes / 60),
            Self::Minutes(minutes) => write!(f, "every_{minutes}_minutes"),
            Self::Days(1) => f.write_str("daily"),
            Self::Days(7) => f.write_str("weekly"),
            Self::Days(days) if days % 7 == 0 => write!(f, "every_{}_weeks", days / 7),
            Self::Days(days) => write!(f, "every_{days}_days"),
            Self::Months(1) => f.write_str("monthly"),
            Self::Months(12) => f.write_str("yearly"),
            Self::Months(months) if months % 12 == 0 => write!(f, "every_{}_years", months / 12),
            Self::Months(months) => write!(f, "every_{months}_months"),
            Self::Cron(cron) => write!(f, "cron:{cron}"),
        }
    }
}

/// A schedule.
///
/// Units: it fires on whole seconds, save that `start` keeps its milliseconds where the kind counts from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
    zone: Zone,
    start: Timestamp,
    end: Option<Timestamp>,
}

/// One time at which a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// When.
    pub due: Timestamp,
    /// What the clock on the wall shows then, with its offset: RFC 3339.
    pub local: String,
    /// What a change of the clock has to do with it.
    pub note: Option<Note>,
}

/// What a change of the clock has to do with a firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The time it was meant for does not exist.
    Gap {
        /// The first such time that was meant, as the clock would have shown it.
        meant: String,
        /// What the clock last showed before it went forward, in seconds on the wall.
        from: String,
        /// What it showed next.
        to: String,
    },
    /// The clock shows the time twice, and this is the first.
    First {
        /// The time.
        time: String,
    },
    /// The clock shows the time again, and what admits every hour fires again.
    Again {
        /// The time.
        time: String,
    },
}

impl Note {
    /// Returns the word by which answers call it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::First { .. } => "overlap_first",
            Self::Again { .. } => "overlap_again",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { meant, from, to } => {
                write!(
                    f,
                    "{meant} does not exist: the clock goes from {from} to {to}; fires right after"
                )
            }
            Self::First { time } => write!(f, "{time} comes twice: the clock goes back; fires the first time"),
            Self::Again { time } => {
                write!(
                    f,
                    "{time} comes again: the clock went back; text that admits every hour fires again"
                )
            }
        }
    }
}

impl Schedule {
    /// Makes one that fires at `start` at the earliest and before `end`.
    ///
    /// Errors: `EndsFirst` when `end` is not after `start`.
    pub fn new(kind: Kind, zone: Zone, start: Timestamp, end: Option<Timestamp>) -> Result<Self, ScheduleError> {
        if end.is_some_and(|end| end <= start) {
            return Err(ScheduleError::EndsFirst);
        }
        Ok(Self { kind, zone, start, end })
    }

    /// Makes one that fires once, at an instant.
    pub fn once(start: Timestamp) -> Self {
        Self {
            kind: Kind::Once,
            zone: Zone::utc(),
            start,
            end: None,
        }
    }

    /// Returns what it follows.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }
    /// Returns its zone.
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }
    /// Returns the earliest instant at which it may fire.
    pub const fn start(&self) -> Timestamp {
        self.start
    }
    /// Returns the instant from which on it does not fire.
    pub const fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// Returns the first instant after another at which it is due.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.due_after(instant).next()
    }

    /// Returns the last instant before another at which it was due.
    pub fn previous(&self, instant: Timestamp) -> Option<Timestamp> {
        let before = self.end.map_or(instant, |end| end.min(instant));
        if before <= self.start {
            return None;
        }
        let found = match &self.kind {
            Kind::Immediately | Kind::Once => Some(self.start),
            Kind::Minutes(minutes) => {
                let step = i64::from(*minutes).saturating_mul(60_000).max(1);
                let passed = before.since_ms(self.start) - 1;
                Some(self.start.plus_ms(passed.div_euclid(step) * step))
            }
            Kind::Days(_) | Kind::Months(_) => {
                let pattern = self.repeating();
                let fraction = self.start.unix_ms().rem_euclid(1000);
                let found = Walk::new(&pattern, Rule::Once, &self.zone).before(ceil(before.plus_ms(-fraction)));
                Some(found.map_or(self.start, |second| self.with_fraction(second)))
            }
            Kind::Cron(cron) => Walk::new(cron, rule(cron), &self.zone)
                .before(ceil(before))
                .map(seconds),
        };
        match self.kind {
            Kind::Cron(_) => found.filter(|due| *due >= self.start),
            _ => found.map(|due| due.max(self.start)),
        }
    }

    /// Goes through all instants after another at which it is due.
    pub fn due_after(&self, instant: Timestamp) -> Due<'_> {
        let source = match &self.kind {
            Kind::Immediately | Kind::Once => Source::Start,
            Kind::Minutes(minutes) => Source::Minutes(i64::from(*minutes).saturating_mul(60_000).max(1)),
            Kind::Days(_) | Kind::Months(_) => Source::Repeating(self.repeating()),
            Kind::Cron(cron) => Source::Cron(Box::new(Walk::new(cron, rule(cron), &self.zone))),
        };
        Due {
            schedule: self,
            source,
            last: Some(instant),
        }
    }

    /// Goes through all instants in `from..until` at which it is due.
    pub fn between(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        self.due_after(from.plus_ms(-1)).take_while(move |due| *due < until)
    }

    /// Counts them, without going through them.
    pub fn count_between(&self, from: Timestamp, until: Timestamp) -> u64 {
        let from = from.max(self.start);
        let until = self.end.map_or(until, |end| end.min(until));
        if until <= from {
            return 0;
        }
        match &self.kind {
            Kind::Cron(cron) => Walk::new(cron, rule(cron), &self.zone).count(ceil(from), ceil(until)),
            Kind::Minutes(minutes) => {
                let step = i64::from(*minutes).saturating_mul(60_000).max(1);
                let until = until.min(seconds(LAST).plus_ms(1)).max(from);
                let before = |at: Timestamp| at.since_ms(self.start).saturating_add(step - 1).div_euclid(step);
                u64::try_from(before(until) - before(from)).unwrap_or(0)
            }
            // At most one a day.
            _ => u64::try_from(self.between(from, until).count()).unwrap_or(u64::MAX),
        }
    }

    /// Says more of an instant at which it is due.
    pub fn describe(&self, due: Timestamp) -> Firing {
        let second = due.unix_ms().div_euclid(1000);
        let segment = self.zone.segment(second);
        Firing {
            due,
            local: local_text(second, segment.offset),
            note: self.note(second),
        }
    }

    fn note(&self, second: i64) -> Option<Note> {
        let segment = self.zone.segment(second);
        let shown = second + segment.offset;
        let repeating;
        let (rule, pattern): (Rule, &dyn crate::pattern::Pattern) = match &self.kind {
            Kind::Cron(cron) => (rule(cron), cron),
            Kind::Days(_) | Kind::Months(_) => {
                repeating = self.repeating();
                (Rule::Once, &repeating)
            }
            _ => return None,
        };
        let before = (segment.start > i64::MIN).then(|| self.zone.segment(segment.start - 1));
        // Came right after a gap, for a time that lies in it.
        if let (Rule::Once, Some(before), true) = (rule, before, second == segment.start) {
            let gap = segment.start + before.offset;
            if let Some(meant) = pattern.next_local(gap).filter(|meant| *meant < shown) {
                return Some(Note::Gap {
                    meant: civil::text(meant),
                    from: civil::time_text(gap),
                    to: civil::time_text(shown),
                });
            }
        }
        let time = civil::text(shown);
        if before.is_some_and(|before| shown < segment.start + before.offset) {
            return (rule == Rule::Always).then_some(Note::Again { time });
        }
        // The clock goes back within what follows, to this time or an earlier one.
        let after = (segment.end < i64::MAX).then(|| self.zone.segment(segment.end));
        let comes_again = after.is_some_and(|after| shown >= segment.end + after.offset);
        (comes_again && rule == Rule::Once).then_some(Note::First { time })
    }

    /// Returns the wall-clock times of a kind that repeats its start.
    fn repeating(&self) -> Repeating {
        Repeating {
            anchor: self.zone.local(self.start.unix_ms().div_euclid(1000)),
            step: match self.kind {
                Kind::Months(months) => Step::Months(months.max(1)),
                Kind::Days(days) => Step::Days(days.max(1)),
                _ => Step::Days(1),
            },
        }
    }

    fn with_fraction(&self, second: i64) -> Timestamp {
        seconds(second).plus_ms(self.start.unix_ms().rem_euclid(1000))
    }
}

/// Goes through the instants at which a schedule is due; see [`Schedule::due_after`].
pub struct Due<'a> {
    schedule: &'a Schedule,
    source: Source<'a>,
    last: Option<Timestamp>,
}

enum Source<'a> {
    Start,
    Minutes(i64),
    Repeating(Repeating),
    Cron(Box<Walk<'a, Cron>>),
}

impl Iterator for Due<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let Schedule { zone, start, end, .. } = self.schedule;
        let last = self.last.take()?;
        let found = match &mut self.source {
            Source::Cron(walk) => {
                // What is due at its start counts.
                let after = last.max(start.plus_ms(-1));
                walk.after(after.unix_ms().div_euclid(1000)).map(seconds)?
            }
            _ if last < *start => *start,
            Source::Start => return None,
            Source::Minutes(step) => {
                let passed = last.since_ms(*start).div_euclid(*step);
                let found = start.plus_ms((passed + 1).checked_mul(*step)?);
                (found <= seconds(LAST)).then_some(found)?
            }
            Source::Repeating(pattern) => {
                let fraction = start.unix_ms().rem_euclid(1000);
                // In milliseconds the firing of this second may still lie ahead.
                let after = last.plus_ms(-fraction).unix_ms().div_euclid(1000);
                let found = Walk::new(pattern, Rule::Once, zone).after(after)?;
                self.schedule.with_fraction(found)
            }
        };
        if end.is_some_and(|end| found >= end) {
            return None;
        }
        self.last = Some(found);
        Some(found)
    }
}

fn rule(cron: &Cron) -> Rule {
    if cron.is_hourly() { Rule::Always } else { Rule::Once }
}

const fn seconds(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(second.saturating_mul(1000))
}

/// Returns the first whole second that is not before an instant.
const fn ceil(instant: Timestamp) -> i64 {
    instant.unix_ms().saturating_add(999).div_euclid(1000)
}

fn local_text(second: i64, offset: i64) -> String {
    let text = civil::text(second + offset).replace(' ', "T");
    let seconds = if text.len() == 16 { ":00" } else { "" };
    let (sign, ahead) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    format!("{text}{seconds}{sign}{:02}:{:02}", ahead / 3600, ahead / 60 % 60)
}

#[cfg(test)]
mod tests;
