use std::collections::BTreeMap;

use borealis_bus_schema::messages::schedules::Misfire;
use borealis_calendar::Zone;

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3_652 * DAY;

fn id() -> ScheduleId {
    ScheduleId::from_bytes([7; 16])
}
fn start() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}
fn timing(cron: &str) -> Timing {
    Timing {
        cron: Some(cron.to_owned()),
        kind: None,
        zone: "UTC".to_owned(),
        start: None,
        end: None,
        misfire: Misfire::Once,
        misfire_most: 10,
        late_limit_ms: None,
        concurrency: Concurrency::Allow,
        jitter_ms: 0,
    }
}
fn plan_of(timing: &Timing) -> Plan {
    Plan::of(timing, &id(), start(), Zone::utc()).unwrap()
}

/// Is a schedule under a clock of its own.
struct Scene {
    plan: Plan,
    state: State,
    now: Timestamp,
    /// Whether what runs already holds it.
    held: bool,
    refused: Option<WireError>,
    devices: u64,
    /// How often each instant ran.
    ran: BTreeMap<Timestamp, usize>,
}

impl Scene {
    fn new(timing: &Timing) -> Self {
        let plan = plan_of(timing);
        Self {
            state: State::new(&plan),
            plan,
            now: start(),
            held: false,
            refused: None,
            devices: 2,
            ran: BTreeMap::new(),
        }
    }

    fn with(concurrency: Concurrency) -> Self {
        Self::new(&Timing {
            concurrency,
            ..timing("*/10 * * * *")
        })
    }

    fn apply(&mut self, event: Event) {
        self.state = evolve(self.state.clone(), self.plan.policy, &event);
    }

    /// Looks, as the service does, and returns what became of each firing.
    fn look(&mut self) -> Vec<(String, String)> {
        let refused = self.refused.clone();
        let facts = Facts {
            now: self.now,
            held: self.held,
            devices: refused.as_ref().map_or(Ok(self.devices), Err),
        };
        let mut all = Vec::new();
        if let Some(decided) = decide_queued(&self.state, &self.plan, &id(), facts) {
            self.take(decided, &mut all);
        }
        let looked = decide_due(&self.state, &self.plan, &id(), facts);
        match looked.decided {
            None => self.state.ledger = looked.ledger,
            Some(decided) => {
                self.take(decided, &mut all);
                assert_eq!(self.state.ledger, looked.ledger, "what is written down says the same");
            }
        }
        all
    }

    fn take(&mut self, decided: Decided, all: &mut Vec<(String, String)>) {
        for firing in &decided.firings {
            let word = match &firing.outcome {
                Outcome::Ran { job, .. } => {
                    assert_eq!(*job, JobId::of_firing(&id(), firing.due));
                    *self.ran.entry(firing.due).or_default() += 1;
                    "ran"
                }
                Outcome::Queued => "queued",
                Outcome::Not { reason, .. } => reason.as_str(),
            };
            all.push((firing.due.to_string()[11..16].to_owned(), word.to_owned()));
        }
        self.apply(Event::Decided(Box::new(decided)));
    }

    fn at(&mut self, time: &str) -> Vec<(String, String)> {
        self.now = format!("2027-01-01T{time}:00Z").parse().unwrap();
        self.look()
    }
}

fn became(time: &str, word: &str) -> Vec<(String, String)> {
    vec![(time.to_owned(), word.to_owned())]
}

#[test]
fn what_is_due_runs_once_and_the_next_look_is_when_it_is_due_again() {
    let mut scene = Scene::with(Concurrency::Allow);
    assert_eq!(scene.at("00:00"), became("00:00", "ran"));
    assert_eq!(scene.look(), []);
    assert_eq!(
        next_look(&scene.state, &scene.plan, scene.now),
        Some(start().plus_ms(10 * MINUTE))
    );
    assert_eq!(scene.at("00:10"), became("00:10", "ran"));
    assert_eq!((scene.state.fired, scene.state.not_run), (2, 0));
}

#[test]
fn what_runs_already_holds_a_firing_as_each_policy_says() {
    for (concurrency, second) in [
        (Concurrency::Allow, "too_many"),
        (Concurrency::Forbid, "still_running"),
        (Concurrency::Queue, "queued"),
        (Concurrency::Replace, "still_running"),
    ] {
        let mut scene = Scene::with(concurrency);
        assert_eq!(scene.at("00:00"), became("00:00", "ran"));
        scene.held = true;
        assert_eq!(scene.at("00:10"), became("00:10", second), "{concurrency:?}");
    }
}

#[test]
fn one_firing_waits_for_the_one_before_and_no_more() {
    let mut scene = Scene::with(Concurrency::Queue);
    scene.at("00:00");
    scene.held = true;
    assert_eq!(scene.at("00:10"), became("00:10", "queued"));
    assert_eq!(scene.at("00:20"), became("00:20", "queue_full"));
    scene.held = false;
    assert_eq!(scene.at("00:25"), became("00:10", "ran"));
    assert_eq!(scene.state.queued, None);
    assert_eq!(scene.look(), []);
    assert!(scene.ran.values().all(|times| *times == 1), "{:?}", scene.ran);
}

#[test]
fn a_firing_waits_no_longer_than_it_may_be_late() {
    let mut scene = Scene::new(&Timing {
        concurrency: Concurrency::Queue,
        late_limit_ms: Some(15 * MINUTE as u64),
        ..timing("0 * * * *")
    });
    scene.at("00:00");
    scene.held = true;
    assert_eq!(scene.at("01:00"), became("01:00", "queued"));
    assert_eq!(scene.at("01:15"), []);
    let look = next_look(&scene.state, &scene.plan, scene.now);
    assert_eq!(look, Some(start().plus_ms(75 * MINUTE + 1)), "it is looked at then");
    assert_eq!(scene.at("01:16"), became("01:00", "expired"));
    assert_eq!(scene.state.queued, None);
    // Nor does it run when the one before ends too late.
    assert_eq!(scene.at("02:00"), became("02:00", "queued"));
    scene.held = false;
    assert_eq!(scene.at("02:20"), became("02:00", "expired"));
}

#[test]
fn of_several_that_replace_each_other_the_last_runs() {
    let mut scene = Scene::new(&Timing {
        misfire: Misfire::All,
        concurrency: Concurrency::Replace,
        ..timing("*/10 * * * *")
    });
    let words: Vec<String> = scene.at("00:35").into_iter().map(|(_, word)| word).collect();
    assert_eq!(words, ["replaced", "replaced", "replaced", "ran"]);
}

#[test]
fn what_an_operator_leaves_out_does_not_run_and_the_one_behind_it_does() {
    let mut scene = Scene::with(Concurrency::Allow);
    scene.at("00:00");
    for _ in 0..2 {
        let skip = decide_skip(&scene.state, &scene.plan, "ada", scene.now).unwrap();
        scene.apply(skip);
    }
    assert_eq!(next_due(&scene.state, &scene.plan), Some(start().plus_ms(30 * MINUTE)));
    assert_eq!(scene.at("00:10"), became("00:10", "skipped"));
    assert_eq!(scene.at("00:20"), became("00:20", "skipped"));
    assert_eq!(scene.at("00:30"), became("00:30", "ran"));
    assert!(scene.state.skips.is_empty());
    for _ in 0..MAX_SKIPS {
        let skip = decide_skip(&scene.state, &scene.plan, "ada", scene.now).unwrap();
        scene.apply(skip);
    }
    assert_eq!(
        decide_skip(&scene.state, &scene.plan, "ada", scene.now),
        Err(Rejection::Skips)
    );
}

#[test]
fn what_was_left_out_and_passed_while_nothing_ran_takes_no_place_any_more() {
    let mut scene = Scene::new(&Timing {
        misfire: Misfire::Skip,
        ..timing("*/10 * * * *")
    });
    for _ in 0..3 {
        for _ in 0..MAX_SKIPS {
            let skip = decide_skip(&scene.state, &scene.plan, "ada", scene.now).unwrap();
            scene.apply(skip);
        }
        // The server is away while all of them pass.
        scene.now = scene.now.plus_ms(DAY);
        scene.look();
        assert_eq!(scene.state.left_out().count(), 0);
        assert!(scene.state.skips.len() <= MAX_SKIPS);
    }
    // A clock that was ahead does not make run what an operator left out.
    let mut scene = Scene::with(Concurrency::Allow);
    scene.at("00:00");
    let skip = decide_skip(&scene.state, &scene.plan, "ada", scene.now).unwrap();
    scene.apply(skip);
    scene.now = scene.now.plus_ms(DAY);
    scene.look();
    assert_eq!(scene.state.left_out().count(), 0);
    scene.now = start().plus_ms(5 * MINUTE);
    scene.look();
    assert_eq!(scene.state.left_out().count(), 1, "it is to come again");
    assert_eq!(scene.at("00:10"), became("00:10", "skipped"));
}

#[test]
fn nothing_of_a_paused_schedule_is_due_and_what_passed_is_counted_when_it_goes_on() {
    let mut scene = Scene::with(Concurrency::Allow);
    scene.at("00:00");
    let pause = decide_pause(&scene.state, "ada", scene.now).unwrap();
    scene.apply(pause);
    assert_eq!(decide_pause(&scene.state, "ada", scene.now), Err(Rejection::Paused));
    assert_eq!(next_look(&scene.state, &scene.plan, scene.now), None);
    assert_eq!(scene.at("00:35"), []);
    let resume = decide_resume(&scene.state, &scene.plan, "ada", scene.now).unwrap();
    let Event::Resumed { passed, .. } = &resume else {
        panic!("{resume:?}")
    };
    assert_eq!((passed.len(), passed[0].count), (1, 3));
    scene.apply(resume);
    assert_eq!(scene.look(), []);
    assert_eq!(scene.at("00:40"), became("00:40", "ran"));
    assert_eq!(scene.state.not_run, 3);
    assert_eq!(
        decide_resume(&scene.state, &scene.plan, "ada", scene.now),
        Err(Rejection::Goes)
    );
}

#[test]
fn a_refusal_of_the_author_is_written_down_and_stops_the_schedule() {
    let mut scene = Scene::with(Concurrency::Allow);
    scene.refused = Some(WireError::new(
        Code::TokenRevoked,
        "the token's session or grant is over",
    ));
    assert_eq!(scene.at("00:00"), became("00:00", "refused"));
    assert!(matches!(
        scene.state.standing,
        Standing::Stopped {
            code: Code::TokenRevoked,
            ..
        }
    ));
    assert_eq!(scene.at("00:10"), []);
    // The clock may be wrong about a grant's time.
    let mut scene = Scene::with(Concurrency::Allow);
    scene.refused = Some(WireError::new(Code::TokenExpired, "over"));
    assert_eq!(scene.at("00:00"), became("00:00", "refused"));
    assert_eq!(scene.state.standing, Standing::Active);
}

#[test]
fn without_a_device_nothing_runs_and_says_so() {
    let mut scene = Scene::with(Concurrency::Allow);
    scene.devices = 0;
    assert_eq!(scene.at("00:00"), became("00:00", "no_targets"));
    assert_eq!((scene.state.fired, scene.state.not_run), (0, 1));
}

#[test]
fn an_archived_schedule_stays_so() {
    let mut scene = Scene::with(Concurrency::Allow);
    let archive = decide_archive(&scene.state, "ada", scene.now).unwrap();
    scene.apply(archive);
    let state = &scene.state;
    assert_eq!(decide_archive(state, "ada", scene.now), Err(Rejection::Archived));
    assert_eq!(decide_pause(state, "ada", scene.now), Err(Rejection::Archived));
    assert_eq!(
        decide_resume(state, &scene.plan, "ada", scene.now),
        Err(Rejection::Archived)
    );
    assert_eq!(
        decide_skip(state, &scene.plan, "ada", scene.now),
        Err(Rejection::Archived)
    );
    let job = JobId::from_bytes([1; 16]);
    assert_eq!(
        decide_run_now(state, "ada", scene.now, job, 1),
        Err(Rejection::Archived)
    );
    assert_eq!(scene.at("00:10"), []);
}

#[test]
fn a_schedules_own_delay_moves_each_firing_by_the_same() {
    let mut scene = Scene::new(&Timing {
        jitter_ms: 5 * 60_000,
        ..timing("*/10 * * * *")
    });
    let delay = scene.plan.delay_ms;
    assert!(delay > 0);
    scene.now = start().plus_ms(delay - 1);
    assert_eq!(scene.look(), []);
    assert_eq!(
        next_look(&scene.state, &scene.plan, scene.now),
        Some(start().plus_ms(delay))
    );
    scene.now = start().plus_ms(delay);
    assert_eq!(scene.look(), became("00:00", "ran"));
}

/// Lets a clock jump, and back; what a right clock shows runs, and nothing twice.
#[test]
fn a_clock_that_jumps_runs_nothing_twice_and_swallows_nothing() {
    for jump in [HOUR, -HOUR, DAY, -DAY, TEN_YEARS, -TEN_YEARS] {
        for misfire in [Misfire::Skip, Misfire::Once, Misfire::All] {
            let mut scene = Scene::new(&Timing {
                misfire,
                ..timing("*/10 * * * *")
            });
            let mut right = start();
            let mut shown = Vec::new();
            for step in 0..60 {
                right = right.plus_ms(2 * MINUTE);
                // Wrong for ten minutes, twice.
                let is_wrong = (10..15).contains(&step) || (30..35).contains(&step);
                scene.now = if is_wrong { right.plus_ms(jump) } else { right };
                // The service looks when it is due, and at each schedule anew when the clock went back.
                scene.look();
                if !is_wrong && right.unix_ms() % (10 * MINUTE) == 0 {
                    shown.push(right);
                }
            }
            assert!(scene.ran.values().all(|times| *times == 1), "{jump} {misfire:?}");
            for due in shown {
                assert!(scene.ran.contains_key(&due), "{jump} {misfire:?}: {due} was swallowed");
            }
        }
    }
}

#[test]
fn what_a_clock_ahead_let_go_of_a_paused_schedule_comes_back() {
    let mut scene = Scene::with(Concurrency::Allow);
    scene.at("00:00");
    let pause = decide_pause(&scene.state, "ada", scene.now).unwrap();
    scene.apply(pause);
    scene.now = start().plus_ms(TEN_YEARS);
    let resume = decide_resume(&scene.state, &scene.plan, "ada", scene.now).unwrap();
    scene.apply(resume);
    scene.now = start().plus_ms(5 * MINUTE);
    assert_eq!(next_look(&scene.state, &scene.plan, scene.now), Some(scene.now));
    scene.look();
    assert_eq!(scene.at("00:10"), became("00:10", "ran"));
}
