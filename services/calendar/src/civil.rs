//! Days and months of the proleptic Gregorian calendar, as numbers.
//!
//! A local time is the count of seconds since 1970-01-01T00:00:00 as the clock on the wall shows it; a day is that divided by
//! 86,400.
//!
//! Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// The first day that is calculated with, 0001-01-01.
pub const FIRST_DAY: i64 = -719_162;
/// The last one, 9999-12-29: from there on the zones may not reach the year 10000.
pub const LAST_DAY: i64 = 2_932_894;

/// A date of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// Returns the date of a day.
pub fn date_of(day: i64) -> Date {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Date {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month: small(month),
        day: small(day_of_year - (153 * shifted + 2) / 5 + 1),
    }
}

/// Returns the day of a date.
pub fn day_of(date: Date) -> i64 {
    let year = date.year - i64::from(date.month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(date.month);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(date.day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Returns the weekday of a day: 0 is Sunday, 6 Saturday.
pub fn weekday_of(day: i64) -> u8 {
    small((day + 4).rem_euclid(7))
}

/// Returns how many days a month has.
pub fn days_in(year: i64, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts months, so that the one after December is the next.
pub fn month_index(date: Date) -> i64 {
    date.year * 12 + i64::from(date.month) - 1
}

/// Returns year and month of such a count.
pub fn year_and_month(index: i64) -> (i64, u8) {
    (index.div_euclid(12), small(index.rem_euclid(12) + 1))
}

/// Prints a local time, `2027-03-28 02:30`, with seconds where they are not zero.
pub fn text(local: i64) -> String {
    let Date { year, month, day } = date_of(local.div_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02} {}", time_text(local))
}

/// Prints a local time's time of day.
pub fn time_text(local: i64) -> String {
    let second = local.rem_euclid(DAY);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    if seconds == 0 {
        format!("{hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// Narrows what the arithmetic above keeps between 0 and 59.
pub fn small(number: i64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_date_and_back() {
        let mut expected = Date {
            year: 1,
            month: 1,
            day: 1,
        };
        for day in FIRST_DAY..=LAST_DAY {
            assert_eq!(date_of(day), expected);
            assert_eq!(day_of(expected), day);
            expected.day += 1;
            if expected.day > days_in(expected.year, expected.month) {
                let (year, month) = year_and_month(month_index(expected) + 1);
                expected = Date { year, month, day: 1 };
            }
        }
        assert_eq!(
            expected,
            Date {
                year: 9999,
                month: 12,
                day: 30
            }
        );
    }

    #[test]
    fn weekdays_are_counted_from_sunday() {
        // 1970-01-01 was a Thursday, 2027-03-28 is a Sunday.
        assert_eq!(weekday_of(0), 4);
        assert_eq!(weekday_of(-4), 0);
        let sunday = Date {
            year: 2027,
            month: 3,
            day: 28,
        };
        assert_eq!(weekday_of(day_of(sunday)), 0);
    }
}
