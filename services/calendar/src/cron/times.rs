//! The times of a day that hours, minutes and seconds name.

/// A set of times of day: every combination of an hour, a minute and a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    seconds: u64,
    minutes: u64,
    hours: u64,
}

impl Times {
    /// Makes it from three sets of bits, none of them empty.
    pub const fn new(seconds: u64, minutes: u64, hours: u64) -> Self {
        Self {
            seconds,
            minutes,
            hours,
        }
    }
    pub const fn every_hour(&self) -> bool {
        self.hours.count_ones() == 24
    }
    pub const fn count(&self) -> u64 {
        self.hours.count_ones() as u64 * self.count_of_hour()
    }
    const fn count_of_hour(&self) -> u64 {
        self.minutes.count_ones() as u64 * self.seconds.count_ones() as u64
    }
    pub const fn first(&self) -> i64 {
        lowest(self.hours) * 3600 + lowest(self.minutes) * 60 + lowest(self.seconds)
    }
    pub const fn last(&self) -> i64 {
        highest(self.hours) * 3600 + highest(self.minutes) * 60 + highest(self.seconds)
    }

    /// Returns the earliest time that is not before a second of the day.
    pub fn at_or_after(&self, second: i64) -> Option<i64> {
        let (hour, minute, second) = split(second);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + lowest(self.seconds));
            }
        }
        let hour = at_or_after(self.hours, hour + 1)?;
        Some(hour * 3600 + lowest(self.minutes) * 60 + lowest(self.seconds))
    }

    /// Returns the latest time that is not after a second of the day.
    pub fn at_or_before(&self, second: i64) -> Option<i64> {
        let (hour, minute, second) = split(second);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_before(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at_or_before(self.minutes, minute - 1) {
                return Some(hour * 3600 + minute * 60 + highest(self.seconds));
            }
        }
        let hour = at_or_before(self.hours, hour - 1)?;
        Some(hour * 3600 + highest(self.minutes) * 60 + highest(self.seconds))
    }

    /// Counts the times before a second of the day.
    pub const fn count_before(&self, second: i64) -> u64 {
        let (hour, minute, second) = split(second);
        let mut count = below(self.hours, hour) * self.count_of_hour();
        if has(self.hours, hour) {
            count += below(self.minutes, minute) * self.seconds.count_ones() as u64;
            if has(self.minutes, minute) {
                count += below(self.seconds, second);
            }
        }
        count
    }
}

const fn split(second: i64) -> (i64, i64, i64) {
    (second / 3600, second / 60 % 60, second % 60)
}

const fn has(bits: u64, number: i64) -> bool {
    bits >> number & 1 == 1
}

/// Counts the bits below a number; every number here is below 64.
const fn below(bits: u64, number: i64) -> u64 {
    (bits & ((1 << number) - 1)).count_ones() as u64
}

const fn lowest(bits: u64) -> i64 {
    bits.trailing_zeros() as i64
}

const fn highest(bits: u64) -> i64 {
    63 - bits.leading_zeros() as i64
}

fn at_or_after(bits: u64, number: i64) -> Option<i64> {
    let left = bits & (u64::MAX << number);
    (left != 0).then(|| lowest(left))
}

fn at_or_before(bits: u64, number: i64) -> Option<i64> {
    if number < 0 {
        return None;
    }
    let left = bits & (u64::MAX >> (63 - number));
    (left != 0).then(|| highest(left))
}
