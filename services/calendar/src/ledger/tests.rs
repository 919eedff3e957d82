use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{schedule::Kind, zone::Zone};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3652 * DAY;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(kind: &str, zone: &str, start: Timestamp) -> Schedule {
    let kind: Kind = kind.parse().unwrap();
    Schedule::new(kind, Zone::named(zone).unwrap(), start, None).unwrap()
}

const fn policy(misfire: Misfire) -> Policy {
    Policy {
        misfire,
        grace_ms: MINUTE,
        expires_ms: None,
    }
}

fn times(decision: &Decision) -> Vec<String> {
    decision
        .run
        .iter()
        .map(|due| due.due.to_string()[11..16].to_owned())
        .collect()
}

/// A server that was away from 08:00:30 until 10:07:30, with a firing each quarter of an hour.
fn away(misfire: Misfire, expires_ms: Option<i64>) -> Decision {
    let start = at("2027-01-01T00:00:00Z");
    let schedule = schedule("every_15_minutes", "UTC", start);
    let policy = Policy {
        expires_ms,
        ..policy(misfire)
    };
    Ledger::new(at("2027-01-01T08:00:30Z")).decide(&schedule, policy, at("2027-01-01T10:07:30Z"))
}

#[test]
fn late_firings_follow_the_policy() {
    let once = away(Misfire::RunOnce, None);
    assert_eq!(times(&once), ["10:00"]);
    assert_eq!(once.run[0].late_ms, 450_000);
    assert_eq!((once.let_go[0].count, once.let_go[0].reason), (7, Reason::Missed));

    let skip = away(Misfire::Skip, None);
    assert_eq!((times(&skip).len(), skip.let_go[0].count), (0, 8));

    let three = away(Misfire::RunAll(3), None);
    assert_eq!(
        (times(&three), three.let_go[0].count),
        (vec!["09:30".into(), "09:45".into(), "10:00".into()], 5)
    );

    let all = away(Misfire::RunAll(99), None);
    assert_eq!((times(&all).len(), all.let_go.len()), (8, 0));
}

#[test]
fn what_is_too_old_is_expired_whatever_the_policy() {
    let all = away(Misfire::RunAll(99), Some(HOUR));
    assert_eq!(times(&all), ["09:15", "09:30", "09:45", "10:00"]);
    assert_eq!((all.let_go[0].count, all.let_go[0].reason), (4, Reason::Expired));
    let once = away(Misfire::RunOnce, Some(5 * MINUTE));
    assert_eq!((times(&once).len(), once.let_go[0].count), (0, 8));
}

#[test]
fn a_firing_on_time_stands_for_those_that_are_late() {
    let schedule = schedule("every_15_minutes", "UTC", at("2027-01-01T00:00:00Z"));
    let ledger = Ledger::new(at("2027-01-01T08:00:30Z"));
    let decide = |misfire| ledger.decide(&schedule, policy(misfire), at("2027-01-01T10:00:20Z"));
    assert_eq!(times(&decide(Misfire::RunOnce)), ["10:00"]);
    assert_eq!(times(&decide(Misfire::Skip)), ["10:00"]);
    assert_eq!(times(&decide(Misfire::RunAll(1))), ["09:45", "10:00"]);
}

#[test]
fn the_same_moment_asked_twice_gives_nothing_more() {
    let decision = away(Misfire::RunAll(3), None);
    let schedule = schedule("every_15_minutes", "UTC", at("2027-01-01T00:00:00Z"));
    for later in ["2027-01-01T10:07:30Z", "2027-01-01T10:14:59Z"] {
        let again = decision.ledger.decide(&schedule, policy(Misfire::RunAll(3)), at(later));
        assert!(again.run.is_empty() && again.let_go.is_empty());
    }
    assert_eq!(decision.ledger.next_due(&schedule), Some(at("2027-01-01T10:15:00Z")));
}

#[test]
fn ten_years_forth_and_back_change_nothing_of_what_is_to_come() {
    let start = at("2027-01-01T00:00:00Z");
    for kind in ["cron:*/5 * * * *", "cron:30 * * * * *", "every_5_minutes"] {
        let schedule = schedule(kind, "Europe/Stockholm", start);
        let ahead = Ledger::new(at("2027-01-01T08:00:30Z")).decide(
            &schedule,
            policy(Misfire::RunOnce),
            at("2037-01-01T08:02:40Z"),
        );
        assert_eq!(ahead.run.len(), 1, "{kind}");
        assert!(ahead.let_go[0].count > 1_000_000 - 1_000_000 / 10, "{kind}");
        let next = ahead
            .ledger
            .decide(&schedule, policy(Misfire::RunOnce), at("2027-01-01T08:05:31Z"));
        assert_eq!(next.run.len(), 1, "{kind}");
        assert!(next.run[0].late_ms <= MINUTE, "{kind}");
    }
}

/// Follows a clock that jumps, and returns how often each instant ran.
struct Follow {
    schedule: Schedule,
    policy: Policy,
    ledger: Ledger,
    ran: BTreeMap<Timestamp, usize>,
    /// Firings of which a clock that was right showed the time within the grace.
    on_time: Vec<Timestamp>,
}

impl Follow {
    fn tick(&mut self, now: Timestamp, skew: i64) {
        let decision = self.ledger.decide(&self.schedule, self.policy, now.plus_ms(skew));
        for due in &decision.run {
            *self.ran.entry(due.due).or_default() += 1;
        }
        let spans = decision.let_go.iter().map(|let_go| let_go.span);
        let replayed = self
            .ledger
            .replay(self.policy, now.plus_ms(skew), spans, decision.ledger.open.clone());
        assert_eq!(replayed, decision.ledger);
        self.ledger = replayed;
        if skew == 0 {
            self.on_time
                .extend(self.schedule.between(now.plus_ms(-MINUTE), now.plus_ms(1)));
        }
    }
}

fn follow(
    kind: &str,
    zone: &str,
    misfire: Misfire,
    steps: &[(i64, i64)],
) -> Result<(Follow, Timestamp, Timestamp), TestCaseError> {
    // Two hours before Stockholm's clocks go back.
    let start = at("2027-10-30T23:00:00Z");
    let mut follow = Follow {
        schedule: schedule(kind, zone, start),
        policy: policy(misfire),
        ledger: Ledger::new(start.plus_ms(-1)),
        ran: BTreeMap::new(),
        on_time: Vec::new(),
    };
    let mut now = start;
    for (skew, ticks) in steps.iter().chain(&[(0, 3)]) {
        for tick in 0..*ticks {
            now = now.plus_ms(20_000 + (tick % 3) * 13_000);
            follow.tick(now, *skew);
        }
    }
    for (due, count) in &follow.ran {
        prop_assert_eq!(*count, 1, "{} ran {} times", due, count);
    }
    for due in follow.on_time.iter().filter(|due| **due >= start) {
        prop_assert!(follow.ran.contains_key(due), "{} was swallowed", due);
    }
    Ok((follow, start, now))
}

const KINDS: [&str; 5] = [
    "every_5_minutes",
    "cron:*/15 * * * *",
    "cron:*/10 2,3 * * *",
    "cron:15,45 */3 * * * *",
    "cron:0,20,40 */2 * * *",
];

/// The clock is right again when a firing that it let go while it was ahead has come, and is not late yet.
#[test]
fn what_was_let_go_as_late_and_is_not_late_yet_runs() {
    follow(
        KINDS[3],
        "Europe/Stockholm",
        Misfire::RunAll(3),
        &[(HOUR, 51), (TEN_YEARS, 48)],
    )
    .unwrap();
}

proptest! {
    #[test]
    fn jumping_clocks_run_nothing_twice_and_swallow_nothing(
        kind in 0..KINDS.len(), misfire in 0..4usize,
        steps in proptest::collection::vec(
            (prop_oneof![Just(0), Just(HOUR), Just(-HOUR), Just(DAY), Just(-DAY), Just(TEN_YEARS), Just(-TEN_YEARS),
                -3 * MINUTE..3 * MINUTE], 1..60i64),
            1..12),
    ) {
        let misfire = [Misfire::Skip, Misfire::RunOnce, Misfire::RunAll(3), Misfire::RunAll(50)][misfire];
        follow(KINDS[kind], "Europe/Stockholm", misfire, &steps)?;
    }

    #[test]
    fn who_runs_all_that_is_late_runs_every_single_one(
        kind in 0..KINDS.len(),
        steps in proptest::collection::vec(
            (prop_oneof![Just(0), Just(HOUR), Just(-HOUR), Just(DAY), Just(-DAY)], 1..60i64), 1..12),
    ) {
        let (follow, start, now) = follow(KINDS[kind], "Europe/Stockholm", Misfire::RunAll(u32::MAX), &steps)?;
        for due in follow.schedule.between(start, now.plus_ms(1)) {
            prop_assert_eq!(follow.ran.get(&due), Some(&1), "{}", due);
        }
    }
}
