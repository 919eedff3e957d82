//! Cron text as crontab(5) means it, with names, `L`, `#` and a field of seconds besides.
//!
//! **Shape**: `[second] minute hour day-of-month month weekday`, or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
//! `@yearly`, `@annually`. A field is a list of numbers, names, ranges and steps. Sunday is 0 and 7. Where neither day field
//! begins with `*`, a day is due that either of them names; where one does, both have to.

mod days;
mod field;
mod parse;
mod times;

use std::{fmt, str::FromStr};

use thiserror::Error;

pub use field::Field;

use self::{days::Days, times::Times};

/// The longest text that is read.
pub const LONGEST: usize = 1024;

/// Says what is wrong with a cron text, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CronError {
    /// A field is not what it should be.
    #[error("field {number}, {field}: {text:?} {reason}")]
    Field {
        /// Which one.
        field: Field,
        /// Its number in the text, from 1.
        number: usize,
        /// The character of the text at which it begins, from 0.
        column: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// There are fewer or more fields.
    #[error("cron text has five fields (minute hour day-of-month month weekday) or six (second first), not {0}")]
    Fields(usize),
    /// The whole is something that other programs know.
    #[error("{0}")]
    Other(String),
    /// The text is too long.
    #[error("cron text has at most {LONGEST} characters")]
    TooLong,
    /// There is no such day, as the 30th of February.
    #[error("no day ever meets day of month {days:?} and month {months:?}{weekdays}: this would never fire")]
    NeverFires {
        /// The field day of month.
        days: String,
        /// The field month.
        months: String,
        /// Says the field weekday too, where it takes part.
        weekdays: String,
    },
}

/// A cron text that was read.
///
/// Two of them are equal when they fire at the same times.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    times: Times,
    days: Days,
}

impl Cron {
    /// Tells whether every hour of the day is admitted, so that it fires whenever the clock shows a time that it names.
    pub fn is_hourly(&self) -> bool {
        self.times.every_hour()
    }
    /// Returns the text with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    pub(crate) const fn times(&self) -> &Times {
        &self.times
    }
    pub(crate) fn has_day(&self, day: i64) -> bool {
        self.days.has(day)
    }
    pub(crate) fn day_at_or_after(&self, day: i64) -> Option<i64> {
        self.days.at_or_after(day)
    }
    pub(crate) fn day_at_or_before(&self, day: i64) -> Option<i64> {
        self.days.at_or_before(day)
    }
    pub(crate) fn count_days(&self, from: i64, until: i64) -> u64 {
        self.days.count(from, until)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (&self.times, &self.days) == (&other.times, &other.days)
    }
}
impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronError;
    /// Errors: every variant of `CronError`; `NeverFires` only when all fields are sound.
    fn from_str(text: &str) -> Result<Self, CronError> {
        parse::parse(text)
    }
}

#[cfg(test)]
mod tests;
