//! What became of a schedule's firings, as lines for people: pure.

use borealis_bus_schema::messages::schedules::ScheduleHistory;
use borealis_bus_schema::time::Timestamp;

use crate::schedule::{Event, Firing, LetGo, Outcome, Reason};

/// Says what an event means, the newest first.
pub fn lines(event: &Event) -> Vec<ScheduleHistory> {
    let did = |what: &str, by: &str, at: Timestamp| ScheduleHistory {
        by: Some(by.to_owned()),
        ..line(what, at)
    };
    match event {
        Event::Created(created) => vec![did("created", &created.username, created.created_at)],
        Event::Paused { by, at } => vec![did("paused", by, *at)],
        Event::Archived { by, at } => vec![did("archived", by, *at)],
        Event::SkipAsked { by, at, due } => vec![ScheduleHistory {
            due: Some(*due),
            ..did("skipped_next", by, *at)
        }],
        Event::RanNow { by, at, job, devices } => vec![ScheduleHistory {
            job: Some(*job),
            devices: Some(*devices),
            ..did("ran_now", by, *at)
        }],
        Event::Resumed { by, at, passed, .. } => {
            let resumed = std::iter::once(did("resumed", by, *at));
            resumed
                .chain(passed.iter().rev().map(|passed| gone(passed, *at)))
                .collect()
        }
        Event::Decided(decided) => {
            let stopped = decided.stopped.iter().map(|(code, reason)| ScheduleHistory {
                code: Some(*code),
                note: Some(reason.clone()),
                ..line("stopped", decided.at)
            });
            let fired = decided.firings.iter().rev().map(|firing| of_firing(firing, decided.at));
            let passed = decided.let_go.iter().rev().map(|passed| gone(passed, decided.at));
            stopped.chain(fired).chain(passed).collect()
        }
    }
}

fn line(what: &str, at: Timestamp) -> ScheduleHistory {
    ScheduleHistory {
        at,
        what: what.to_owned(),
        due: None,
        count: 1,
        reason: None,
        note: None,
        code: None,
        by: None,
        job: None,
        devices: None,
    }
}

fn not_run(reason: Reason, due: Timestamp, at: Timestamp) -> ScheduleHistory {
    ScheduleHistory {
        due: Some(due),
        reason: Some(reason.as_str().to_owned()),
        note: Some(reason.sentence().to_owned()),
        ..line("not_run", at)
    }
}

fn gone(passed: &LetGo, at: Timestamp) -> ScheduleHistory {
    ScheduleHistory {
        count: passed.count,
        ..not_run(passed.reason, passed.span.until, at)
    }
}

fn of_firing(firing: &Firing, at: Timestamp) -> ScheduleHistory {
    match &firing.outcome {
        Outcome::Ran { job, devices } => ScheduleHistory {
            due: Some(firing.due),
            job: Some(*job),
            devices: Some(*devices),
            ..line("ran", at)
        },
        Outcome::Queued => ScheduleHistory {
            due: Some(firing.due),
            ..line("queued", at)
        },
        Outcome::Not { reason, code, note } => {
            let plain = not_run(*reason, firing.due, at);
            ScheduleHistory {
                code: *code,
                note: note.clone().or(plain.note.clone()),
                ..plain
            }
        }
    }
}
