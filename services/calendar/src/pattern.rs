//! Sets of local times: what a kind of schedule means before any zone is asked.

use crate::{
    civil::{self, DAY, Date},
    cron::Cron,
};

/// A set of local times, in whole seconds by the wall clock.
pub trait Pattern {
    /// Returns the earliest one that is not before `from`.
    fn next_local(&self, from: i64) -> Option<i64>;
    /// Returns the latest one that is not after `from`.
    fn previous_local(&self, from: i64) -> Option<i64>;
    /// Counts those in `from..until`.
    fn count_local(&self, from: i64, until: i64) -> u64;
}

/// A wall-clock time that comes again every so many days or months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeating {
    /// The first time.
    pub anchor: i64,
    /// How far apart they are.
    pub step: Step,
}

/// How far apart two times lie on the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many days.
    Days(u32),
    /// So many months; the day of the month is that of the anchor, or the last one of a shorter month.
    Months(u32),
}

impl Repeating {
    /// Returns the time with that number, counted from the anchor.
    fn nth(&self, number: i64) -> Option<i64> {
        let day = match self.step {
            Step::Days(step) => number
                .checked_mul(i64::from(step))?
                .checked_add(self.anchor.div_euclid(DAY))?,
            Step::Months(step) => {
                let Date { year, month, day } = civil::date_of(self.anchor.div_euclid(DAY));
                let first = civil::month_index(Date { year, month, day });
                let (year, month) = civil::year_and_month(number.checked_mul(i64::from(step))?.checked_add(first)?);
                if !(1..=9999).contains(&year) {
                    return None;
                }
                let day = day.min(civil::days_in(year, month));
                civil::day_of(Date { year, month, day })
            }
        };
        (civil::FIRST_DAY..=civil::LAST_DAY)
            .contains(&day)
            .then(|| day * DAY + self.anchor.rem_euclid(DAY))
    }

    /// Returns the number of the first time that is not before `from`; zero or more.
    fn number_at(&self, from: i64) -> i64 {
        if from <= self.anchor {
            return 0;
        }
        let days = from.div_euclid(DAY) - self.anchor.div_euclid(DAY);
        let low = match self.step {
            Step::Days(step) => days.div_euclid(i64::from(step.max(1))),
            Step::Months(step) => {
                let months = civil::month_index(civil::date_of(from.div_euclid(DAY)))
                    - civil::month_index(civil::date_of(self.anchor.div_euclid(DAY)));
                months.div_euclid(i64::from(step.max(1)))
            }
        };
        // In its own day or month the time may have passed.
        match self.nth(low) {
            Some(local) if local < from => low + 1,
            _ => low,
        }
    }
}

impl Pattern for Repeating {
    fn next_local(&self, from: i64) -> Option<i64> {
        self.nth(self.number_at(from))
    }
    fn previous_local(&self, from: i64) -> Option<i64> {
        if from < self.anchor {
            return None;
        }
        self.nth(self.number_at(from.saturating_add(1)) - 1)
    }
    fn count_local(&self, from: i64, until: i64) -> u64 {
        let count = self.number_at(until).saturating_sub(self.number_at(from));
        u64::try_from(count).unwrap_or(0)
    }
}

impl Pattern for Cron {
    fn next_local(&self, from: i64) -> Option<i64> {
        let from = from.max(civil::FIRST_DAY * DAY);
        let day = from.div_euclid(DAY);
        if self.has_day(day)
            && let Some(second) = self.times().at_or_after(from.rem_euclid(DAY))
        {
            return Some(day * DAY + second);
        }
        Some(self.day_at_or_after(day + 1)? * DAY + self.times().first())
    }
    fn previous_local(&self, from: i64) -> Option<i64> {
        let from = from.min(civil::LAST_DAY * DAY + DAY - 1);
        let day = from.div_euclid(DAY);
        if self.has_day(day)
            && let Some(second) = self.times().at_or_before(from.rem_euclid(DAY))
        {
            return Some(day * DAY + second);
        }
        Some(self.day_at_or_before(day - 1)? * DAY + self.times().last())
    }
    fn count_local(&self, from: i64, until: i64) -> u64 {
        if until <= from {
            return 0;
        }
        let (first, last) = (from.div_euclid(DAY), until.div_euclid(DAY));
        let before = |day: i64, second: i64| {
            if self.has_day(day) {
                self.times().count_before(second)
            } else {
                0
            }
        };
        let whole = self.count_days(first, last) * self.times().count();
        (whole + before(last, until.rem_euclid(DAY))).saturating_sub(before(first, from.rem_euclid(DAY)))
    }
}
