//! The days that day of month, month and weekday name together.

use crate::civil::{self, Date, FIRST_DAY, LAST_DAY};

/// A set of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    pub months: u64,
    pub of_month: OfMonth,
    pub weekdays: Weekdays,
    /// Whether a day has to be named by either field (neither begins with a star), else by both.
    pub either: bool,
}

/// Days of the month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfMonth {
    /// Bits 1 to 31.
    pub days: u64,
    /// How many days before the last one: bit 0 is `L`, bit 3 `L-3`.
    pub from_last: u64,
}

/// Days of the week, all of a month's or counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weekdays {
    /// Bits 0 (Sunday) to 6.
    pub every: u64,
    /// For the first to the fifth of a month, such bits.
    pub nth: [u64; 5],
    /// For the last of a month, such bits.
    pub last: u64,
}

impl Days {
    /// Tells whether any day of the calendar, which repeats after 400 years, is in the set.
    pub fn ever(&self) -> bool {
        (24_000..24_000 + 4_800).any(|month| self.month(month) != 0)
    }

    pub fn has(&self, day: i64) -> bool {
        if !(FIRST_DAY..=LAST_DAY).contains(&day) {
            return false;
        }
        let date = civil::date_of(day);
        self.month(civil::month_index(date)) >> date.day & 1 == 1
    }

    pub fn at_or_after(&self, day: i64) -> Option<i64> {
        let Date { year, month, day } = civil::date_of(day.max(FIRST_DAY));
        let this = civil::month_index(Date { year, month, day });
        let mut left = self.month(this) & (u64::MAX << day);
        for index in this..=this + 4_800 {
            if index != this {
                left = self.month(index);
            }
            if left != 0 {
                let found = civil::day_of(date(index, left.trailing_zeros()));
                return (found <= LAST_DAY).then_some(found);
            }
        }
        None
    }

    pub fn at_or_before(&self, day: i64) -> Option<i64> {
        let Date { year, month, day } = civil::date_of(day.min(LAST_DAY));
        let this = civil::month_index(Date { year, month, day });
        let mut left = self.month(this) & (u64::MAX >> (63 - day));
        for index in (this - 4_800..=this).rev() {
            if index != this {
                left = self.month(index);
            }
            if left != 0 {
                let found = civil::day_of(date(index, 63 - left.leading_zeros()));
                return (found >= FIRST_DAY).then_some(found);
            }
        }
        None
    }

    /// Counts the days in `from..until`.
    pub fn count(&self, from: i64, until: i64) -> u64 {
        let (from, until) = (from.max(FIRST_DAY), until.min(LAST_DAY + 1));
        if until <= from {
            return 0;
        }
        let (first, last) = (civil::date_of(from), civil::date_of(until - 1));
        let (begin, end) = (civil::month_index(first), civil::month_index(last));
        (begin..=end)
            .map(|index| {
                let mut days = self.month(index);
                if index == begin {
                    days &= u64::MAX << first.day;
                }
                if index == end {
                    days &= u64::MAX >> (63 - last.day);
                }
                u64::from(days.count_ones())
            })
            .sum()
    }

    /// Returns a month's days as bits 1 to 31.
    fn month(&self, index: i64) -> u64 {
        let (year, month) = civil::year_and_month(index);
        if self.months >> month & 1 == 0 {
            return 0;
        }
        let length = civil::days_in(year, month);
        let first = civil::weekday_of(civil::day_of(Date { year, month, day: 1 }));
        let of_month = self.of_month.bits(length);
        let of_week = self.weekdays.bits(first, length);
        let days = if self.either {
            of_month | of_week
        } else {
            of_month & of_week
        };
        days & all(length)
    }
}

impl OfMonth {
    fn bits(&self, length: u8) -> u64 {
        // Bit n of the turned set is bit 63 - n; it moves to bit `length` - n.
        let from_last = self.from_last.reverse_bits() >> (63 - length);
        self.days | (from_last & all(length))
    }
}

impl Weekdays {
    /// Returns the days of a month that begins on the weekday `first`.
    fn bits(&self, first: u8, length: u8) -> u64 {
        let mut bits = weeks(self.every, first);
        for (number, days) in (0..).zip(self.nth) {
            bits |= weeks(days, first) & (0b1111_1110 << (7 * number));
        }
        bits | (weeks(self.last, first) & all(length) & !all(length - 7))
    }
}

/// Spreads a set of weekdays over days 1 to 35 of a month.
const fn weeks(weekdays: u64, first: u8) -> u64 {
    // Day 1 is the weekday `first`: turn the week until it leads.
    let turned = (weekdays >> first | weekdays << (7 - first)) & 0b111_1111;
    (turned | turned << 7 | turned << 14 | turned << 21 | turned << 28) << 1
}

/// Bits 1 to `length`.
const fn all(length: u8) -> u64 {
    (u64::MAX >> (63 - length)) & !1
}

fn date(index: i64, day: u32) -> Date {
    let (year, month) = civil::year_and_month(index);
    Date {
        year,
        month,
        day: civil::small(i64::from(day)),
    }
}
