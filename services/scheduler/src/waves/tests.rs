//! Waves by example, and under whatever may happen to a job.

use super::*;
use proptest::prelude::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_000_000 + ms)
}

fn waves(sizes: &[&str], brake: Option<&str>) -> Waves {
    Waves {
        sizes: sizes.iter().map(|size| size.parse().unwrap()).collect(),
        pause_ms: 0,
        until_continued: false,
        brake: brake.map(|brake| brake.parse().unwrap()),
    }
}

fn facts(over: u64, busy: u64, away: u64, failures: u64) -> Facts {
    Facts {
        now: at(0),
        failures,
        waiting: 1,
        over,
        busy,
        away,
    }
}

fn fold(events: &[Event]) -> State {
    events.iter().fold(State::new(), evolve)
}

#[test]
fn sizes_become_stretches_of_the_row() {
    let ends = |sizes: &[&str], devices| Plan::of(&waves(sizes, None), devices).ends;
    assert_eq!(ends(&["1", "10%", "rest"], 500), [1, 51, 500]);
    assert_eq!(
        ends(&["1", "10%"], 25),
        [1, 4, 7, 10, 13, 16, 19, 22, 25],
        "the last again"
    );
    assert_eq!(ends(&["10%"], 3), [1, 2, 3], "never none");
    assert_eq!(ends(&["7", "rest"], 3), [3]);
    assert_eq!(ends(&["rest"], 0), [0]);
    let plan = Plan::of(&waves(&["1", "2", "rest"], None), 5);
    let of: Vec<_> = (0..5).map(|index| plan.wave_of(index)).collect();
    assert_eq!(of, [1, 2, 2, 3, 3]);
    assert_eq!((1..4).map(|wave| plan.end_of(wave)).collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn the_next_wave_begins_when_the_one_before_is_over() {
    let plan = Plan::of(&waves(&["2", "rest"], None), 4);
    let state = State::new();
    for busy in [facts(0, 2, 0, 0), facts(1, 1, 0, 0), facts(1, 1, 1, 0)] {
        assert_eq!(decide(&plan, &state, &busy), []);
    }
    assert_eq!(decide(&plan, &state, &facts(0, 0, 2, 0)), [], "nobody came to an end");
    let events = decide(&plan, &state, &facts(1, 0, 1, 0));
    assert!(matches!(
        events[..],
        [Event::Over { wave: 1, away: 1, .. }, Event::Opened { wave: 2, .. }]
    ));
    let state = fold(&events);
    assert_eq!(
        (plan.holds(&State::new(), 2, 0).is_some(), plan.holds(&state, 2, 0)),
        (true, None)
    );
    assert_eq!(decide(&plan, &state, &facts(2, 0, 0, 0)), [], "it was the last");
}

#[test]
fn a_pause_is_kept_and_can_be_cut_short() {
    let asks = Waves {
        pause_ms: 600,
        ..waves(&["1", "rest"], None)
    };
    let plan = Plan::of(&asks, 3);
    let over = decide(&plan, &State::new(), &facts(1, 0, 0, 0));
    assert!(matches!(over[..], [Event::Over { .. }]));
    let state = fold(&over);
    assert_eq!(
        (state.word(), plan.next_at(&state), plan.pauses_ms()),
        ("paused", Some(at(600)), 600)
    );
    let then = |ms| Facts {
        now: at(ms),
        ..facts(1, 0, 0, 0)
    };
    assert_eq!(decide(&plan, &state, &then(599)), []);
    assert_eq!(
        decide(&plan, &state, &then(600)),
        [Event::Opened { wave: 2, at: at(600) }]
    );
    let events = decide_continue(&plan, &state, &then(5), "ada").unwrap();
    assert!(matches!(
        events[..],
        [Event::Continued { forgiven: 0, .. }, Event::Opened { wave: 2, .. }]
    ));
    let text = plan.holds(&state, 2, 0).unwrap();
    assert!(
        text.contains("its wave is 2 of 2; wave 1 is over; wave 2 begins at"),
        "{text}"
    );
}

#[test]
fn whoever_continues_does_not_pass_over_a_brake_that_nobody_has_seen_yet() {
    let asks = Waves {
        until_continued: true,
        ..waves(&["1", "rest"], Some("5%"))
    };
    let plan = Plan::of(&asks, 51);
    let state = fold(&decide(&plan, &State::new(), &facts(1, 0, 0, 0)));
    // One of one failed after all; of 51 it would be few enough.
    let late = Facts {
        waiting: 50,
        ..facts(1, 0, 0, 1)
    };
    let events = decide_continue(&plan, &state, &late, "ada").unwrap();
    assert!(matches!(events[..], [Event::Braked { .. }]), "{events:?}");
    let braked = events.iter().fold(state, evolve);
    let events = decide_continue(&plan, &braked, &late, "ada").unwrap();
    assert!(
        matches!(
            events[..],
            [Event::Continued { forgiven: 1, .. }, Event::Opened { wave: 2, .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn a_job_that_waits_for_an_operator_begins_no_wave_by_itself() {
    let asks = Waves {
        until_continued: true,
        ..waves(&["1", "rest"], None)
    };
    let plan = Plan::of(&asks, 3);
    let state = fold(&decide(&plan, &State::new(), &facts(1, 0, 0, 0)));
    let late = Facts {
        now: at(i64::from(u32::MAX)),
        ..facts(1, 0, 0, 0)
    };
    assert_eq!((decide(&plan, &state, &late), plan.next_at(&state)), (vec![], None));
    assert_eq!(
        fold(&decide_continue(&plan, &state, &late, "ada").unwrap()).wave,
        2,
        "an operator does"
    );
    assert_eq!(
        decide_continue(&plan, &State::new(), &facts(0, 1, 0, 0), "ada"),
        Err(Rejection::NotPaused)
    );
}

#[test]
fn the_brake_takes_one_more_than_is_allowed() {
    let state = State::new();
    for (brake, allowed) in [("0", 0), ("3", 3), ("0%", 0), ("5%", 1), ("100%", 20)] {
        let plan = Plan::of(&waves(&["20", "rest"], Some(brake)), 100);
        assert_eq!(plan.brakes(&state, allowed), None, "{brake}");
        assert!(plan.brakes(&state, allowed + 1).is_some(), "{brake}");
    }
    let plan = Plan::of(&waves(&["20", "rest"], Some("5%")), 100);
    assert_eq!(plan.holds(&state, 0, 1), None);
    let text = plan.holds(&state, 0, 2).unwrap();
    assert!(text.starts_with("the brake stopped the job: 2 of 20 failed"), "{text}");
    let braked = fold(&decide(&plan, &state, &facts(5, 15, 0, 2)));
    assert_eq!(
        (braked.word(), plan.holds(&braked, 0, 0).is_some()),
        ("braked", true),
        "also when the count is gone"
    );
    assert_eq!(decide(&plan, &braked, &facts(20, 0, 0, 2)), [], "nothing by itself");
    let continued = decide_continue(&plan, &braked, &facts(5, 15, 0, 2), "ada").unwrap();
    let continued = continued.iter().fold(braked, evolve);
    assert_eq!((continued.wave, continued.forgiven), (1, 2));
    assert_eq!(plan.brakes(&continued, 3), None, "what failed before counts no more");
    assert!(plan.brakes(&continued, 4).is_some());
    let nothing_left = Facts {
        waiting: 0,
        ..facts(99, 1, 0, 99)
    };
    let plan = Plan::of(&waves(&["rest"], Some("5%")), 100);
    assert_eq!(decide(&plan, &state, &nothing_left), [], "there is nothing to stop");
}

/// Is a run of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Waits,
    Runs,
    Good,
    Bad,
}

/// Is a job of the model, and what the rules say of it without the code under test.
struct Model {
    plan: Plan,
    asks: Waves,
    events: Vec<Event>,
    runs: Vec<Run>,
    away: Vec<bool>,
    now_ms: i64,
}

impl Model {
    fn state(&self) -> State {
        fold(&self.events)
    }

    fn failures(&self) -> u64 {
        self.runs.iter().filter(|run| **run == Run::Bad).count() as u64
    }

    /// Counts what is known, one run after the other.
    fn facts(&self) -> Facts {
        let wave = self.state().wave;
        let mut facts = Facts {
            now: at(self.now_ms),
            waiting: 0,
            ..facts(0, 0, 0, self.failures())
        };
        for (index, run) in (0u64..).zip(&self.runs) {
            let of = self.plan.wave_of(index);
            facts.waiting += u64::from(*run == Run::Waits);
            if of > wave {
                continue;
            }
            match run {
                Run::Good | Run::Bad => facts.over += u64::from(of == wave),
                Run::Waits if self.away[usize::try_from(index).unwrap()] => facts.away += 1,
                Run::Waits | Run::Runs => facts.busy += 1,
            }
        }
        facts
    }

    fn decide(&mut self) {
        let events = decide(&self.plan, &self.state(), &self.facts());
        self.events.extend(events);
    }

    fn go_on(&mut self) {
        if let Ok(events) = decide_continue(&self.plan, &self.state(), &self.facts(), "ada") {
            self.events.extend(events);
        }
    }

    fn begin(&mut self, index: usize) {
        let hold = self.plan.holds(&self.state(), index as u64, self.failures());
        if self.runs[index] != Run::Waits || self.away[index] || hold.is_some() {
            return;
        }
        // What the events say, read here once more.
        let opened = self
            .events
            .iter()
            .filter(|event| matches!(event, Event::Opened { .. }))
            .count();
        let mut end = 0;
        for wave in 0..=opened {
            let size = self.asks.sizes.get(wave).or(self.asks.sizes.last()).unwrap();
            end += match size {
                WaveSize::Count(count) => usize::try_from(*count).unwrap(),
                WaveSize::Percent(percent) => (self.runs.len() * usize::try_from(*percent).unwrap())
                    .div_ceil(100)
                    .max(1),
                WaveSize::Rest => self.runs.len(),
            };
        }
        assert!(index < end, "run {index} begins before its wave: {:?}", self.events);
        let end = end.min(self.runs.len());
        let braked = self.events.iter().rev().find_map(|event| match event {
            Event::Braked { .. } => Some(true),
            Event::Continued { .. } => Some(false),
            _ => None,
        });
        assert_ne!(braked, Some(true), "run {index} begins after the brake");
        let forgiven = self.events.iter().rev().find_map(|event| match event {
            Event::Continued { forgiven, .. } => Some(*forgiven),
            _ => None,
        });
        let failed = self.failures() - forgiven.unwrap_or(0);
        match self.asks.brake {
            Some(Brake::Failures(most)) => assert!(failed <= u64::from(most)),
            Some(Brake::Percent(most)) => assert!(failed * 100 <= end as u64 * u64::from(most)),
            None => {}
        }
        self.runs[index] = Run::Runs;
    }

    fn step(&mut self, what: u8, which: u8) {
        let index = usize::from(which) % self.runs.len();
        match what % 10 {
            0..=3 => self.begin(index),
            4 | 5 if self.runs[index] == Run::Runs => self.runs[index] = Run::Good,
            6 if self.runs[index] == Run::Runs => self.runs[index] = Run::Bad,
            7 => self.away[index] = !self.away[index],
            8 => self.now_ms += i64::from(which) * 10,
            9 if which < 40 => self.go_on(),
            _ => {}
        }
        self.decide();
    }

    /// Checks what stands in the log: waves one by one, each behind its pause or an operator's word.
    fn check_events(&self) {
        let (mut wave, mut over, mut said) = (1, None, false);
        for event in &self.events {
            match event {
                Event::Over { wave: ended, at, .. } => {
                    assert_eq!((*ended, over), (wave, None));
                    over = Some(*at);
                }
                Event::Continued { .. } => said = true,
                Event::Opened { wave: opened, at } => {
                    assert_eq!(*opened, wave + 1);
                    let is_due = over.is_some_and(|over: Timestamp| {
                        !self.asks.until_continued && at.since_ms(over) >= i64::try_from(self.asks.pause_ms).unwrap()
                    });
                    assert!(is_due || said, "{:?}", self.events);
                    (wave, over, said) = (*opened, None, false);
                }
                Event::Braked { .. } => said = false,
            }
        }
    }
}

fn asked() -> impl Strategy<Value = Waves> {
    let size = prop_oneof![
        (1u32..6).prop_map(WaveSize::Count),
        (1u32..60).prop_map(WaveSize::Percent),
        Just(WaveSize::Rest)
    ];
    let brake = prop_oneof![(0u32..4).prop_map(Brake::Failures), (0u32..40).prop_map(Brake::Percent)];
    let sizes = prop::collection::vec(size, 1..5);
    (sizes, 0u64..2_000, any::<bool>(), prop::option::of(brake)).prop_map(|(sizes, pause_ms, until, brake)| Waves {
        sizes,
        pause_ms: if until { 0 } else { pause_ms },
        until_continued: until,
        brake,
    })
}

proptest! {
    #[test]
    fn nothing_begins_before_its_wave_or_after_the_brake_and_all_ends(
        asks in asked(),
        devices in 1usize..24,
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..400),
    ) {
        let mut job = Model {
            plan: Plan::of(&asks, devices as u64),
            asks,
            events: Vec::new(),
            runs: vec![Run::Waits; devices],
            away: vec![false; devices],
            now_ms: 0,
        };
        for (what, which) in steps {
            job.step(what, which);
        }
        job.check_events();
        // Once every device is there and operators do their part, every run ends.
        job.away.fill(false);
        for _ in 0..devices * 8 + 8 {
            for index in 0..devices {
                job.begin(index);
                if job.runs[index] == Run::Runs {
                    job.runs[index] = Run::Good;
                }
            }
            job.now_ms += 2_000;
            job.decide();
            if job.state().word() == "braked" || job.asks.until_continued {
                job.go_on();
            }
        }
        job.check_events();
        prop_assert!(job.runs.iter().all(|run| matches!(run, Run::Good | Run::Bad)), "{:?} {:?}", job.runs, job.events);
    }
}
