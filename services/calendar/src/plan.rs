//! From an author's signed request to the schedule that it means: the one reading of it that fires and that signs.

use borealis_bus_schema::{
    ids::ScheduleId,
    messages::schedules::{
        Concurrency, CreateSchedule, GRACE_MS, MAX_CATCH_UP, MAX_JITTER_MS, MAX_NAME, MAX_NAMED, Misfire as Wanted,
        Timing,
    },
    time::Timestamp,
};
use thiserror::Error;

use crate::{
    ledger::{Misfire, Policy},
    schedule::{Kind, Schedule, ScheduleError},
    zone::{Zone, ZoneUnknown},
};

/// Says why a request makes no schedule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// What it follows is wrong.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Its zone is unknown.
    #[error(transparent)]
    Zone(#[from] ZoneUnknown),
    /// Both or none are given of what it may follow.
    #[error("a schedule is said by cron or by kind")]
    CronOrKind,
    /// A field is out of range.
    #[error("{0}")]
    Field(String),
    /// Nothing is due after it was signed.
    #[error("nothing is due any more: this would never fire")]
    Past,
}

/// Is what a request for a schedule means.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// When it is due.
    pub schedule: Schedule,
    /// What becomes of late firings.
    pub policy: Policy,
    /// What happens while one before still runs.
    pub concurrency: Concurrency,
    /// The instant after which it is due: just before it was signed.
    pub from: Timestamp,
    /// Its own delay, in milliseconds.
    pub delay_ms: i64,
}

/// Reads what a schedule follows.
///
/// Errors: [`PlanError::CronOrKind`], [`PlanError::Schedule`].
pub fn kind(cron: Option<&str>, kind: Option<&str>) -> Result<Kind, PlanError> {
    match (cron, kind) {
        (Some(cron), None) => Ok(Kind::Cron(cron.parse().map_err(ScheduleError::Cron)?)),
        (None, Some(kind)) => Ok(kind.parse()?),
        _ => Err(PlanError::CronOrKind),
    }
}

impl Plan {
    /// Reads a request that was signed at an instant, for a schedule of that id.
    ///
    /// Errors: the first rule of [`PlanError`] that it breaks.
    pub fn read(asked: &CreateSchedule, id: &ScheduleId, signed_at: Timestamp) -> Result<Self, PlanError> {
        let name = asked.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return field(format!("name has to have 1 to {MAX_NAME} characters"));
        }
        if asked.job.targets.guids.len() > MAX_NAMED {
            return field(format!("a schedule names {MAX_NAMED} devices at most"));
        }
        let plan = Self::of(&asked.timing(), id, signed_at, Zone::named(&asked.zone)?)?;
        if plan.schedule.next_after(plan.from).is_none() {
            return Err(PlanError::Past);
        }
        Ok(plan)
    }

    /// Reads when a schedule is due that was accepted before, in its zone.
    ///
    /// Errors: as [`Plan::read`], but that nothing is due any more.
    pub fn of(timing: &Timing, id: &ScheduleId, signed_at: Timestamp, zone: Zone) -> Result<Self, PlanError> {
        if !(1..=MAX_CATCH_UP).contains(&timing.misfire_most) {
            return field(format!("misfire_most has to be between 1 and {MAX_CATCH_UP}"));
        }
        if timing.jitter_ms > MAX_JITTER_MS {
            return field(format!("jitter_ms has to be at most {MAX_JITTER_MS}"));
        }
        let kind = kind(timing.cron.as_deref(), timing.kind.as_deref())?;
        let start = timing.start.unwrap_or(signed_at);
        Ok(Self {
            schedule: Schedule::new(kind, zone, start, timing.end)?,
            policy: Policy {
                misfire: match timing.misfire {
                    Wanted::Skip => Misfire::Skip,
                    Wanted::Once => Misfire::RunOnce,
                    Wanted::All => Misfire::RunAll(timing.misfire_most),
                },
                grace_ms: GRACE_MS,
                expires_ms: timing.late_limit_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            },
            concurrency: timing.concurrency,
            from: signed_at.plus_ms(-1),
            delay_ms: delay(id, timing.jitter_ms),
        })
    }

    /// Tells whether it is due at exactly an instant.
    pub fn is_due(&self, at: Timestamp) -> bool {
        at > self.from && self.schedule.next_after(at.plus_ms(-1)) == Some(at)
    }

    /// Returns the last instant at which a firing may be made that was due at one; none where no policy bounds it.
    pub fn latest(&self, due: Timestamp) -> Option<Timestamp> {
        if self.concurrency == Concurrency::Queue {
            return None;
        }
        let late_ms = match (self.policy.misfire, self.policy.expires_ms) {
            (Misfire::Skip, _) => self.policy.grace_ms,
            (_, Some(expires)) => expires.max(self.policy.grace_ms),
            (_, None) => return None,
        };
        Some(due.plus_ms(self.delay_ms).plus_ms(late_ms))
    }
}

fn field<T>(text: String) -> Result<T, PlanError> {
    Err(PlanError::Field(text))
}

/// Returns a schedule's own delay: its id spreads schedules evenly, and each stays with its place.
fn delay(id: &ScheduleId, jitter_ms: u64) -> i64 {
    let (half, _) = id.as_bytes().split_at(8);
    let number = half.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    i64::try_from(number % jitter_ms.saturating_add(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> CreateSchedule {
        let text =
            format!(r#"{{"name":"nightly","job":{{"targets":{{"all":true}},"role":"agent","verb":"ping"}},{json}}}"#);
        borealis_bus_schema::codec::decode_json(text.as_bytes(), 10_000).unwrap()
    }
    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
    fn read(json: &str) -> Result<Plan, PlanError> {
        Plan::read(
            &asked(json),
            &ScheduleId::from_bytes([9; 16]),
            at("2027-01-01T12:00:00.500Z"),
        )
    }

    #[test]
    fn a_request_is_read_with_what_it_leaves_out() {
        let plan = read(r#""cron":"0 3 * * *""#).unwrap();
        assert_eq!(plan.policy.misfire, Misfire::RunOnce);
        assert_eq!(plan.schedule.zone().name(), "UTC");
        assert!(plan.is_due(at("2027-01-02T03:00:00Z")));
        assert!(!plan.is_due(at("2027-01-02T03:00:01Z")));
        assert!(!plan.is_due(at("2027-01-01T03:00:00Z")), "before it was signed");
        assert_eq!(plan.latest(at("2027-01-02T03:00:00Z")), None);
        let at_once = read(r#""kind":"immediately""#).unwrap();
        assert!(at_once.is_due(at("2027-01-01T12:00:00.500Z")));
    }

    #[test]
    fn what_would_never_fire_or_is_out_of_range_is_refused() {
        assert_eq!(
            read(r#""kind":"once","start":"2026-01-01T00:00:00Z""#),
            Err(PlanError::Past)
        );
        assert_eq!(
            read(r#""cron":"@daily","end":"2026-01-01T00:00:00Z""#),
            Err(PlanError::Schedule(ScheduleError::EndsFirst))
        );
        assert_eq!(read(r#""zone":"UTC""#), Err(PlanError::CronOrKind));
        assert_eq!(read(r#""kind":"daily","cron":"@daily""#), Err(PlanError::CronOrKind));
        assert!(matches!(
            read(r#""kind":"daily","zone":"Mars/Base""#),
            Err(PlanError::Zone(_))
        ));
        for field in [
            r#""misfire_most":0"#,
            r#""misfire_most":101"#,
            r#""jitter_ms":86400001"#,
        ] {
            assert!(
                matches!(read(&format!(r#""kind":"daily",{field}"#)), Err(PlanError::Field(_))),
                "{field}"
            );
        }
    }

    #[test]
    fn a_delay_is_the_schedules_own_and_a_policy_bounds_how_late_it_may_be() {
        let json = r#""kind":"daily","misfire":"skip","jitter_ms":600000"#;
        let (first, second) = (ScheduleId::from_bytes([1; 16]), ScheduleId::from_bytes([2; 16]));
        let plan = |id| Plan::read(&asked(json), &id, at("2027-01-01T12:00:00Z")).unwrap();
        assert_eq!(plan(first), plan(first));
        assert_ne!(plan(first).delay_ms, plan(second).delay_ms);
        assert!((0..=600_000).contains(&plan(first).delay_ms));
        let due = at("2027-01-02T12:00:00Z");
        assert_eq!(
            plan(first).latest(due),
            Some(due.plus_ms(plan(first).delay_ms + GRACE_MS))
        );
    }
}
