//! How the values of options are read.

use borealis_bus_schema::ids::{SiteName, TagName};
use borealis_bus_schema::messages::access::RightOnSites;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::order::Language;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;

use crate::clock;

/// Says what lies between two waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// So many milliseconds.
    For(u64),
    /// Whatever it takes until an operator continues the job.
    UntilContinued,
}

/// Reads what lies between two waves.
pub fn pause(text: &str) -> Result<Pause, String> {
    if text == "continue" {
        return Ok(Pause::UntilContinued);
    }
    let bad = || format!("{text:?} is no time such as 10m, nor the word continue");
    duration_ms(text).map(Pause::For).map_err(|_| bad())
}

/// Reads a right.
pub fn right(text: &str) -> Result<Right, String> {
    text.parse()
}

/// Reads a right with the site that it reaches: `RIGHT`, `RIGHT@SITE`.
pub fn right_on_site(text: &str) -> Result<RightOnSites, String> {
    let (right, at) = text.split_once('@').unwrap_or((text, "*"));
    right.parse::<Right>()?;
    if at != "*" {
        site(at)?;
    }
    Ok(RightOnSites {
        right: right.to_owned(),
        sites: vec![at.to_owned()],
        max_devices: None,
    })
}

/// Reads a service that keeps a store.
pub fn service(text: &str) -> Result<Service, String> {
    let stores = || Service::ALL.into_iter().filter(|service| service.has_store());
    stores().find(|service| service.name() == text).ok_or_else(|| {
        let names: Vec<&str> = stores().map(Service::name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// Reads an instant, or a time ago.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let bad = || format!("{text:?} is no instant (2026-11-22T10:00:00Z) and no time ago (24h)");
    let ago = duration_ms(text).map_err(|_| bad())?;
    Ok(clock::now().plus_ms(-i64::try_from(ago).map_err(|_| bad())?))
}

/// Reads a site's name.
pub fn site(text: &str) -> Result<SiteName, String> {
    SiteName::new(text).map_err(|e| e.to_string())
}

/// Reads a tag.
pub fn tag(text: &str) -> Result<TagName, String> {
    TagName::new(text).map_err(|e| e.to_string())
}

/// Reads a language.
pub fn language(text: &str) -> Result<Language, String> {
    text.to_lowercase().parse()
}

/// Reads a context.
pub fn context(text: &str) -> Result<Context, String> {
    text.to_uppercase()
        .parse()
        .map_err(|_| "SYSTEM or CURRENTUSER".to_owned())
}

/// Reads a time such as `500ms`, `30s`, `10m`, `24h` or `7d`; a bare number counts seconds.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no time: 500ms, 30s, 10m, 24h or 7d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).filter(|ms| *ms > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_ms("30"), Ok(30_000));
        assert_eq!(duration_ms("7d"), Ok(604_800_000));
        for bad in ["", "s", "1y", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
