//! The six fields, and the list of numbers that one of them holds.

use std::fmt;

/// Names a field of cron text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59; only where there are six fields.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31, or `L`.
    DayOfMonth,
    /// 1 to 12, or a name.
    Month,
    /// 0 to 7, or a name; 0 and 7 are Sunday.
    Weekday,
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Field {
    /// Returns the smallest and the largest number of the field.
    pub const fn range(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::Weekday => &WEEKDAYS,
            _ => &[],
        }
    }

    /// Returns the word by which errors and answers call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::Weekday => "weekday",
        }
    }

    /// Reads a number or a name.
    fn value(self, text: &str) -> Result<u8, String> {
        let (low, high) = self.range();
        let named = self.names().iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(index) = named {
            return Ok(u8::try_from(index).unwrap_or(0) + u8::from(self == Self::Month));
        }
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(number) if digits && (u16::from(low)..=u16::from(high)).contains(&number) => {
                Ok(u8::try_from(number).unwrap_or(low))
            }
            _ if digits => Err(format!("has {text}, which is not between {low} and {high}")),
            _ => Err(self.foreign(text)),
        }
    }

    /// Says what a word of another dialect would be here.
    fn foreign(self, text: &str) -> String {
        let (low, high) = self.range();
        let upper = text.to_ascii_uppercase();
        match upper.as_str() {
            "" => "has an empty part: numbers stand between commas, dashes and slashes".to_owned(),
            "?" => "has ?, which crontab(5) does not know: write *".to_owned(),
            "L" if self == Self::Weekday => {
                "has L alone: write 6 for Saturday, or FRI#L for the last Friday of the month".to_owned()
            }
            _ if self == Self::DayOfMonth && upper.ends_with('W') => {
                "has W (nearest working day), which is not known here".to_owned()
            }
            "H" => "has H, which is not known here: write a number".to_owned(),
            _ if self.names().is_empty() => format!("has {:?}, which is no number from {low} to {high}", cut(text)),
            _ => format!(
                "has {:?}, which is neither a number from {low} to {high} nor a name as {}",
                cut(text),
                self.names().get(1).unwrap_or(&"")
            ),
        }
    }

    /// Reads one part of a list that is a number, a range or a star, each perhaps with a step, into a set of bits.
    pub fn part(self, text: &str) -> Result<u64, String> {
        let (low, high) = self.range();
        let (span, step) = match text.split_once('/') {
            Some((span, step)) => (span, Some(self.step(step)?)),
            None => (text, None),
        };
        let (first, last) = if span == "*" {
            // Seven is Sunday a second time.
            (low, if self == Self::Weekday { 6 } else { high })
        } else if let Some((first, last)) = span.split_once('-') {
            self.ends(first, last)?
        } else {
            let only = self.value(span)?;
            if step.is_some() {
                return Err(format!("has a step after one number: write {span}-{high}/…"));
            }
            (only, only)
        };
        let step = usize::from(step.unwrap_or(1));
        Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number))
    }

    fn ends(self, first: &str, last: &str) -> Result<(u8, u8), String> {
        let (from, mut to) = (self.value(first)?, self.value(last)?);
        let is_name = last.bytes().all(|byte| byte.is_ascii_alphabetic());
        if self == Self::Weekday && to == 0 && from > 0 && is_name {
            to = 7;
        }
        if from > to {
            let (low, high) = self.range();
            return Err(format!(
                "has a range that ends before it begins: write {first}-{high},{low}-{last}"
            ));
        }
        Ok((from, to))
    }

    fn step(self, text: &str) -> Result<u8, String> {
        let (low, high) = self.range();
        let most = high - low + 1;
        match text.parse::<u8>() {
            Ok(step) if (1..=most).contains(&step) && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(step),
            _ => Err(format!(
                "has the step {:?}, which is not between 1 and {most}",
                cut(text)
            )),
        }
    }

    /// Reads one weekday, 0 to 6.
    pub fn weekday(text: &str) -> Result<u8, String> {
        Self::Weekday.value(text).map(|day| day % 7)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Keeps an error short, whatever was sent.
pub fn cut(text: &str) -> String {
    text.chars().take(20).collect()
}
