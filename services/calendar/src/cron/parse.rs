//! Reads cron text.

use super::{
    Cron, CronError, Field, LONGEST,
    days::{Days, OfMonth, Weekdays},
    field::cut,
    times::Times,
};

/// A field as it stands in the text.
struct Part<'a> {
    field: Field,
    number: usize,
    column: usize,
    text: &'a str,
}

impl Part<'_> {
    fn wrong(&self, reason: String) -> CronError {
        CronError::Field {
            field: self.field,
            number: self.number,
            column: self.column,
            text: self.text.chars().take(64).collect(),
            reason,
        }
    }

    fn is_star(&self) -> bool {
        self.text.starts_with('*')
    }

    /// Reads a list of plain parts.
    fn bits(&self) -> Result<u64, CronError> {
        self.text
            .split(',')
            .try_fold(0, |bits, part| Ok(bits | self.field.part(part)?))
            .map_err(|reason| self.wrong(reason))
    }

    fn days_of_month(&self) -> Result<OfMonth, CronError> {
        let mut set = OfMonth::default();
        for part in self.text.split(',') {
            match from_last(part) {
                Some(before) => set.from_last |= 1 << before.map_err(|reason| self.wrong(reason))?,
                None => set.days |= self.field.part(part).map_err(|reason| self.wrong(reason))?,
            }
        }
        Ok(set)
    }

    fn weekdays(&self) -> Result<Weekdays, CronError> {
        let mut set = Weekdays::default();
        for part in self.text.split(',') {
            counted(&mut set, part).map_err(|reason| self.wrong(reason))?;
        }
        Ok(set)
    }
}

/// Reads `L` or `L-3`: how many days before the last one.
fn from_last(part: &str) -> Option<Result<u8, String>> {
    let rest = part.strip_prefix(['L', 'l'])?;
    if rest.is_empty() {
        return Some(Ok(0));
    }
    let before = rest.strip_prefix('-').and_then(|number| number.parse::<u8>().ok());
    Some(match before {
        Some(before) if (1..=30).contains(&before) => Ok(before),
        _ => Err(format!(
            "has {:?}: L is the last day, L-1 to L-30 so many days before it",
            cut(part)
        )),
    })
}

/// Adds one part of the field of weekdays: plain, `FRI#2`, `FRI#L` or `5L`.
fn counted(set: &mut Weekdays, part: &str) -> Result<(), String> {
    if let Some((day, count)) = part.split_once('#') {
        let day = 1 << Field::weekday(day)?;
        if count.eq_ignore_ascii_case("L") {
            set.last |= day;
            return Ok(());
        }
        let number = count.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let slot = number.and_then(|number| set.nth.get_mut(number));
        *slot.ok_or_else(|| {
            format!(
                "has #{}: a month has a first (#1) to a fifth (#5) and a last (#L)",
                cut(count)
            )
        })? |= day;
    } else if let Some(day) = part.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
        set.last |= 1 << Field::weekday(day)?;
    } else {
        let bits = Field::Weekday.part(part)?;
        set.every |= (bits | bits >> 7) & 0b111_1111;
    }
    Ok(())
}

/// Reads a cron text.
pub fn parse(text: &str) -> Result<Cron, CronError> {
    if text.len() > LONGEST {
        return Err(CronError::TooLong);
    }
    let text = text.trim_matches([' ', '\t']);
    let meant = match text.strip_prefix('@') {
        Some(word) => macro_text(word)?,
        None => text,
    };
    let parts = split(meant)?;
    let cron = read(&parts, text)?;
    if cron.days.ever() {
        return Ok(cron);
    }
    let at = |field: Field| {
        parts
            .iter()
            .find(|part| part.field == field)
            .map_or("", |part| part.text)
    };
    let weekday = at(Field::Weekday);
    Err(CronError::NeverFires {
        days: at(Field::DayOfMonth).to_owned(),
        months: at(Field::Month).to_owned(),
        weekdays: if weekday == "*" {
            String::new()
        } else {
            format!(" and weekday {weekday:?}")
        },
    })
}

fn read(parts: &[Part<'_>], text: &str) -> Result<Cron, CronError> {
    let bits = |field: Field, otherwise: u64| {
        parts
            .iter()
            .find(|part| part.field == field)
            .map_or(Ok(otherwise), Part::bits)
    };
    let (mut of_month, mut weekdays, mut either) = (OfMonth::default(), Weekdays::default(), true);
    for part in parts {
        match part.field {
            Field::DayOfMonth => of_month = part.days_of_month()?,
            Field::Weekday => weekdays = part.weekdays()?,
            _ => continue,
        }
        either &= !part.is_star();
    }
    Ok(Cron {
        text: text.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
        times: Times::new(bits(Field::Second, 1)?, bits(Field::Minute, 1)?, bits(Field::Hour, 1)?),
        days: Days {
            months: bits(Field::Month, 0)?,
            of_month,
            weekdays,
            either,
        },
    })
}

/// Returns what a word after `@` stands for.
fn macro_text(word: &str) -> Result<&'static str, CronError> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "hourly" => "0 * * * *",
        "daily" | "midnight" => "0 0 * * *",
        "weekly" => "0 0 * * 0",
        "monthly" => "0 0 1 * *",
        "yearly" | "annually" => "0 0 1 1 *",
        "reboot" => {
            return Err(CronError::Other(
                "@reboot has no time that a server could know".to_owned(),
            ));
        }
        _ => {
            return Err(CronError::Other(format!(
                "@{} is not known; @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually are",
                cut(word)
            )));
        }
    })
}

fn split(text: &str) -> Result<Vec<Part<'_>>, CronError> {
    const FIELDS: [Field; 6] = [
        Field::Second,
        Field::Minute,
        Field::Hour,
        Field::DayOfMonth,
        Field::Month,
        Field::Weekday,
    ];
    if text.contains('=') {
        return Err(CronError::Other(
            "cron text holds no TZ= or CRON_TZ=: the zone is said apart".to_owned(),
        ));
    }
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let skipped = match words.len() {
        6 => 0,
        5 => 1,
        other => return Err(CronError::Fields(other)),
    };
    let mut column = 0;
    let mut rest = text;
    let mut parts = Vec::with_capacity(words.len());
    for ((number, word), field) in (1..).zip(words).zip(FIELDS.into_iter().skip(skipped)) {
        let trimmed = rest.trim_start_matches([' ', '\t']);
        column += rest.len() - trimmed.len();
        parts.push(Part {
            field,
            number,
            column: text.get(..column).map_or(column, |before| before.chars().count()),
            text: word,
        });
        column += word.len();
        rest = trimmed.get(word.len()..).unwrap_or("");
    }
    Ok(parts)
}
