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

    /// Returns the plan of what cannot be planned any more: nothing of it is due.
    pub fn never(at: Timestamp, concurrency: Concurrency) -> Self {
        Self {
            schedule: Schedule::once(at),
            policy: Policy {
                misfire: Misfire::Skip,
                grace_ms: GRACE_MS,
                expires_ms: None,
            },
            concurrency,
            from: at,
            delay_ms: 0,
        }
    }

    /// Tells whether it is due at exactly an instant.
    pub fn is_due(&self, at: Timestamp) -> bool {
        at > self.from && self.schedule.next_after(at.plus_ms(-1)) == Some(at)
    }

    /// Returns the last instant at which a firing may be made that was due at one; none where nothing bounds it.
    ///
    /// On time it always may. Late it may until as many later ones are due as would take its place: one with `once`. One that
    /// waits for the one before is bound by how late it may be alone. (What a clock that was ahead made run takes a place that a
    /// ledger does not count: a server that was away besides may find an earlier one too late.)
    pub fn latest(&self, due: Timestamp) -> Option<Timestamp> {
        let grace_ms = self.policy.grace_ms;
        let on_time = due.plus_ms(grace_ms);
        let expires = self.policy.expires_ms.map(|ms| due.plus_ms(ms.max(grace_ms)));
        let latest = if self.concurrency == Concurrency::Queue {
            expires
        } else {
            let (behind, more_ms) = match self.policy.misfire {
                Misfire::Skip => (None, 0),
                Misfire::RunOnce => (Some(1), 0),
                // Those that are on time take nobody's place.
                Misfire::RunAll(most) => (Some(most), grace_ms),
            };
            match behind {
                None => Some(on_time),
                Some(behind) => {
                    let place = usize::try_from(behind).unwrap_or(usize::MAX).saturating_sub(1);
                    let taken = self.schedule.due_after(due).nth(place);
                    let taken = taken.map(|taken| taken.plus_ms(more_ms).max(on_time));
                    taken.into_iter().chain(expires).min()
                }
            }
        };
        latest.map(|latest| latest.plus_ms(self.delay_ms))
    }

    /// Tells whether a firing that waited for the one before is later than a firing of this schedule may be.
    pub fn has_expired(&self, due: Timestamp, now: Timestamp) -> bool {
        self.waits_until(due).is_some_and(|until| now > until)
    }

    /// Returns until when a firing may wait for the one before; none for however long.
    pub fn waits_until(&self, due: Timestamp) -> Option<Timestamp> {
        let late_ms = self.policy.expires_ms?.max(self.policy.grace_ms);
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

    #[test]
    fn a_late_firing_may_be_made_until_later_ones_take_its_place() {
        let latest = |more: &str| {
            let plan = read(&format!(r#""cron":"0 * * * *","end":"2027-01-02T00:00:00Z"{more}"#)).unwrap();
            plan.latest(at("2027-01-01T20:00:00Z"))
                .map(|at| at.to_string()[11..19].to_owned())
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(latest(""), is("21:00:00"));
        assert_eq!(latest(r#","late_limit_ms":600000"#), is("20:10:00"));
        assert_eq!(latest(r#","late_limit_ms":1000"#), is("20:01:00"));
        assert_eq!(latest(r#","misfire":"skip""#), is("20:01:00"));
        assert_eq!(latest(r#","misfire":"all","misfire_most":2"#), is("22:01:00"));
        assert_eq!(
            latest(r#","misfire":"all","misfire_most":9"#),
            None,
            "no ninth behind it"
        );
        assert_eq!(latest(r#","concurrency":"queue""#), None);
        assert_eq!(
            latest(r#","concurrency":"queue","late_limit_ms":600000"#),
            is("20:10:00")
        );
        let often = read(r#""cron":"*/10 * * * * *""#).unwrap();
        let due = at("2027-01-01T20:00:00Z");
        assert_eq!(
            often.latest(due),
            Some(due.plus_ms(GRACE_MS)),
            "on time it may in any case"
        );
    }

    proptest::proptest! {
        /// Whatever runs, runs no later than whoever signs would have it.
        #[test]
        fn what_a_ledger_runs_is_never_later_than_the_latest(
            mut minutes in proptest::collection::vec(0_i64..600, 1..30),
            misfire in 0_u32..4,
            limit in proptest::option::of(0_u64..7_200_000),
        ) {
            let policy = ["skip", "once", "all", "all"][misfire as usize];
            let limit = limit.map(|ms| format!(r#","late_limit_ms":{ms}"#)).unwrap_or_default();
            let plan = read(&format!(
                r#""cron":"*/7 * * * *","misfire":"{policy}","misfire_most":{}{limit}"#, misfire.max(1)
            )).unwrap();
            let mut ledger = crate::ledger::Ledger::new(plan.from);
            minutes.sort_unstable();
            for minute in minutes {
                let now = at("2027-01-01T12:00:00Z").plus_ms(minute * 60_000 + 17);
                let decision = ledger.decide(&plan.schedule, plan.policy, now.plus_ms(-plan.delay_ms));
                for run in &decision.run {
                    let latest = plan.latest(run.due);
                    proptest::prop_assert!(latest.is_none_or(|latest| now <= latest), "{run:?} at {now}: {latest:?}");
                }
                let spans = decision.let_go.iter().map(|let_go| let_go.span);
                ledger = ledger.replay(plan.policy, now.plus_ms(-plan.delay_ms), spans, decision.ledger.open.clone());
            }
        }
    }
}
