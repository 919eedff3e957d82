//! A schedule: when it is due, what became of each firing, and whether it goes on.
//!
//! What is due when is the calendar's; this decides what becomes of it. A firing that is due runs, waits for the one before,
//! or does not run and says why; whatever it is, it is one event before anything happens. A firing's job is named by
//! schedule and due instant, so that it is the same one whoever computes it.

use std::collections::BTreeSet;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{GrantId, Guid, JobId, OperatorId, ScheduleId, SiteName};
use borealis_bus_schema::messages::schedules::{Concurrency, Timing};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::Plan;
use borealis_calendar::ledger::{self, Ledger, Policy, Span};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::job::What;

/// Is how many firings may be left out in advance.
pub const MAX_SKIPS: usize = 32;

/// Is a schedule's first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The schedule.
    pub schedule: ScheduleId,
    /// What people call it.
    pub name: String,
    /// Its author.
    pub author: OperatorId,
    /// The author's name.
    pub username: String,
    /// What each firing does.
    pub what: What,
    /// How long a run waits for its device.
    pub expires_in_ms: u64,
    /// When it is due.
    pub timing: Timing,
    /// When its author signed for it.
    pub signed_at: Timestamp,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The grant under which it acts.
    pub grant: GrantId,
    /// The file that holds the signed call and the grant.
    pub file: Digest,
    /// The devices that it names; none where they are found at each firing.
    pub guids: Vec<Guid>,
    /// The sites of the devices that there were when it was made.
    pub sites: Vec<SiteName>,
}

/// Says why a firing did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was late, and the schedule lets late ones go.
    Missed,
    /// It was later than a firing of this schedule may be.
    Expired,
    /// The schedule was paused, or had stopped.
    Paused,
    /// An operator left it out.
    Skipped,
    /// One before still ran.
    StillRunning,
    /// One waited already.
    QueueFull,
    /// A newer one took its place.
    Replaced,
    /// Too many of its jobs were not over.
    TooMany,
    /// There was no device that it may run on.
    NoTargets,
    /// Its author may not any more.
    Refused,
}

impl Reason {
    /// Returns the word by which history calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Missed => "missed",
            Reason::Expired => "expired",
            Reason::Paused => "paused",
            Reason::Skipped => "skipped",
            Reason::StillRunning => "still_running",
            Reason::QueueFull => "queue_full",
            Reason::Replaced => "replaced",
            Reason::TooMany => "too_many",
            Reason::NoTargets => "no_targets",
            Reason::Refused => "refused",
        }
    }

    /// Says it in a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Reason::Missed => "its time passed while nothing could run, and the schedule lets late firings go",
            Reason::Expired => "its time passed longer ago than a firing of this schedule may be late",
            Reason::Paused => "the schedule was paused or had stopped",
            Reason::Skipped => "an operator left it out",
            Reason::StillRunning => "one before still ran",
            Reason::QueueFull => "one before still ran, and another waited already",
            Reason::Replaced => "a newer firing was due at the same moment",
            Reason::TooMany => "too many jobs of the schedule were not over, on each of its devices",
            Reason::NoTargets => "there was no device that its author may run it on",
            Reason::Refused => "its author may not run it any more",
        }
    }
}

/// Is what became of a firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It made a job.
    Ran {
        /// The job.
        job: JobId,
        /// On how many devices.
        devices: u64,
    },
    /// It waits for the one before.
    Queued,
    /// It did not run.
    Not {
        /// Why.
        reason: Reason,
        /// The code of a refusal.
        code: Option<Code>,
        /// What the refusal said.
        note: Option<String>,
    },
}

impl Outcome {
    const fn not(reason: Reason) -> Self {
        Outcome::Not {
            reason,
            code: None,
            note: None,
        }
    }
}

/// Is one firing that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// When it was due.
    pub due: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// Is a stretch of firings that did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetGo {
    /// Where they lie.
    pub span: Span,
    /// How many they are.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// Is what was decided at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The moment.
    pub at: Timestamp,
    /// Up to where the schedule was judged: the moment less the schedule's own delay.
    pub judged: Timestamp,
    /// What was let go.
    pub let_go: Vec<LetGo>,
    /// What a clock that was ahead had let go and is open again.
    pub open: Vec<Span>,
    /// What was due.
    pub firings: Vec<Firing>,
    /// What ends it until somebody lets it go on: a code and a sentence.
    pub stopped: Option<(Code, String)>,
}

/// Is what happened to a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Created(Box<Created>),
    /// Firings were due.
    Decided(Box<Decided>),
    /// An operator paused it.
    Paused {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An operator let it go on.
    Resumed {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
        /// Up to where it was judged.
        judged: Timestamp,
        /// What passed meanwhile.
        passed: Vec<LetGo>,
    },
    /// An operator leaves a firing out.
    SkipAsked {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
        /// Which firing.
        due: Timestamp,
    },
    /// An operator let it run now.
    RanNow {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
        /// The job.
        job: JobId,
        /// On how many devices.
        devices: u64,
    },
    /// An operator ended it.
    Archived {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// Lists the jobs that it made.
    pub fn jobs(&self) -> Vec<JobId> {
        match self {
            Event::Decided(decided) => {
                let made = decided.firings.iter().filter_map(|firing| match firing.outcome {
                    Outcome::Ran { job, .. } => Some(job),
                    _ => None,
                });
                made.collect()
            }
            Event::RanNow { job, .. } => vec![*job],
            _ => Vec::new(),
        }
    }
}

/// Says whether a schedule goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Active,
    /// An operator paused it.
    Paused,
    /// Its author may not any more.
    Stopped {
        /// The code of the refusal.
        code: Code,
        /// What it said.
        reason: Box<str>,
    },
    /// An operator ended it.
    Archived,
}

/// Is the fold of a schedule's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether it goes on.
    pub standing: Standing,
    /// What was decided.
    pub ledger: Ledger,
    /// What an operator leaves out.
    pub skips: BTreeSet<Timestamp>,
    /// What waits for the firing before.
    pub queued: Option<Timestamp>,
    /// How often it ran.
    pub fired: u64,
    /// How many firings did not run.
    pub not_run: u64,
    /// The newest job, and when it was made.
    pub last: Option<(JobId, Timestamp)>,
}

impl State {
    /// Begins a schedule that was just accepted.
    pub const fn new(plan: &Plan) -> Self {
        Self {
            standing: Standing::Active,
            ledger: Ledger::new(plan.from),
            skips: BTreeSet::new(),
            queued: None,
            fired: 0,
            not_run: 0,
            last: None,
        }
    }

    /// Lists the firings that are left out and still to come.
    pub fn left_out(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.skips.iter().copied().filter(|due| !self.has_passed(*due))
    }

    fn has_passed(&self, due: Timestamp) -> bool {
        let is_open = |span: &Span| span.after < due && due <= span.until;
        due <= self.ledger.through && !self.ledger.open.iter().any(is_open)
    }

    /// Forgets what was left out and has passed, but for the newest of it: a clock that was ahead gives it back.
    fn forget_passed(&mut self) {
        let passed: Vec<Timestamp> = self.skips.iter().copied().filter(|due| self.has_passed(*due)).collect();
        for due in passed.iter().rev().skip(MAX_SKIPS) {
            self.skips.remove(due);
        }
    }
}

/// Says why a change of a schedule is refused.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It was ended.
    #[error("the schedule is archived")]
    Archived,
    /// It is paused already.
    #[error("the schedule is paused already")]
    Paused,
    /// It goes on already.
    #[error("the schedule is neither paused nor stopped")]
    Goes,
    /// It does not go on.
    #[error("the schedule is paused or stopped: nothing of it is due")]
    Waits,
    /// Nothing is due any more.
    #[error("nothing of the schedule is due any more")]
    Ended,
    /// Too many firings are left out.
    #[error("{MAX_SKIPS} firings are left out already; pause the schedule instead")]
    Skips,
}

/// Decides whether a schedule can be paused.
///
/// Errors: [`Rejection::Archived`], [`Rejection::Paused`].
pub fn decide_pause(state: &State, by: &str, at: Timestamp) -> Result<Event, Rejection> {
    match state.standing {
        Standing::Archived => Err(Rejection::Archived),
        Standing::Paused => Err(Rejection::Paused),
        Standing::Active | Standing::Stopped { .. } => Ok(Event::Paused { by: by.to_owned(), at }),
    }
}

/// Decides whether a schedule can go on; what was due meanwhile is let go.
///
/// Errors: [`Rejection::Archived`], [`Rejection::Goes`].
pub fn decide_resume(state: &State, plan: &Plan, by: &str, at: Timestamp) -> Result<Event, Rejection> {
    match state.standing {
        Standing::Archived => return Err(Rejection::Archived),
        Standing::Active => return Err(Rejection::Goes),
        Standing::Paused | Standing::Stopped { .. } => {}
    }
    let judged = at.plus_ms(-plan.delay_ms);
    let (_, spans) = state.ledger.pass(plan.policy, judged);
    let let_go = |span: Span| LetGo {
        span,
        count: plan
            .schedule
            .count_between(span.after.plus_ms(1), span.until.plus_ms(1)),
        reason: Reason::Paused,
    };
    let passed = spans
        .into_iter()
        .map(let_go)
        .filter(|passed| passed.count > 0)
        .collect();
    Ok(Event::Resumed {
        by: by.to_owned(),
        at,
        judged,
        passed,
    })
}

/// Decides which firing is left out: the next one that is not yet.
///
/// Errors: [`Rejection::Archived`], [`Rejection::Waits`], [`Rejection::Skips`], [`Rejection::Ended`].
pub fn decide_skip(state: &State, plan: &Plan, by: &str, at: Timestamp) -> Result<Event, Rejection> {
    match state.standing {
        Standing::Archived => return Err(Rejection::Archived),
        Standing::Active => {}
        Standing::Paused | Standing::Stopped { .. } => return Err(Rejection::Waits),
    }
    if state.left_out().count() >= MAX_SKIPS {
        return Err(Rejection::Skips);
    }
    let due = next_due(state, plan).ok_or(Rejection::Ended)?;
    Ok(Event::SkipAsked {
        by: by.to_owned(),
        at,
        due,
    })
}

/// Decides whether a schedule can be ended.
///
/// Errors: [`Rejection::Archived`].
pub fn decide_archive(state: &State, by: &str, at: Timestamp) -> Result<Event, Rejection> {
    match state.standing {
        Standing::Archived => Err(Rejection::Archived),
        _ => Ok(Event::Archived { by: by.to_owned(), at }),
    }
}

/// Decides whether a schedule can run now; a paused one can.
///
/// Errors: [`Rejection::Archived`].
pub fn decide_run_now(state: &State, by: &str, at: Timestamp, job: JobId, devices: u64) -> Result<Event, Rejection> {
    match state.standing {
        Standing::Archived => Err(Rejection::Archived),
        _ => Ok(Event::RanNow {
            by: by.to_owned(),
            at,
            job,
            devices,
        }),
    }
}

/// Is what a decision on what is due may not find out by itself.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The time.
    pub now: Timestamp,
    /// Whether what runs already keeps it from running, by the schedule's own policy.
    pub held: bool,
    /// On how many devices it would run, or why its author may not any more.
    pub devices: Result<u64, &'a WireError>,
}

/// Is what came of a look at a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What is to be remembered even where nothing is to be written down.
    pub ledger: Ledger,
    /// What is to be written down; none where nothing was due.
    pub decided: Option<Decided>,
}

/// Decides what is due now.
pub fn decide_due(state: &State, plan: &Plan, id: &ScheduleId, facts: Facts<'_>) -> Looked {
    if state.standing != Standing::Active {
        return Looked {
            ledger: state.ledger.clone(),
            decided: None,
        };
    }
    let judged = facts.now.plus_ms(-plan.delay_ms);
    let decision = state.ledger.decide(&plan.schedule, plan.policy, judged);
    let due = decision.run.iter().map(|due| due.due).collect();
    let firings = outcomes(state, plan, id, facts, due);
    let let_go = decision.let_go.iter().map(|let_go| LetGo {
        span: let_go.span,
        count: let_go.count,
        reason: match let_go.reason {
            ledger::Reason::Missed => Reason::Missed,
            ledger::Reason::Expired => Reason::Expired,
        },
    });
    let decided = Decided {
        at: facts.now,
        judged,
        let_go: let_go.collect(),
        open: decision.ledger.open.clone(),
        stopped: stopped(&firings, facts),
        firings,
    };
    let is_empty = decided.firings.is_empty() && decided.let_go.is_empty();
    Looked {
        ledger: decision.ledger,
        decided: (!is_empty).then_some(decided),
    }
}

/// Decides what becomes of the firing that waited for the one before; none where none waits, or that one still runs. It waits
/// no longer than a firing of the schedule may be late.
pub fn decide_queued(state: &State, plan: &Plan, id: &ScheduleId, facts: Facts<'_>) -> Option<Decided> {
    let due = state.queued.filter(|_| state.standing == Standing::Active)?;
    let firings = if plan.has_expired(due, facts.now) {
        let outcome = Outcome::not(Reason::Expired);
        vec![Firing { due, outcome }]
    } else if facts.held {
        return None;
    } else {
        outcomes(state, plan, id, facts, vec![due])
    };
    Some(Decided {
        at: facts.now,
        judged: state.ledger.through,
        let_go: Vec::new(),
        open: state.ledger.open.clone(),
        stopped: stopped(&firings, facts),
        firings,
    })
}

/// Says what becomes of each firing that is due, the earliest first.
fn outcomes(state: &State, plan: &Plan, id: &ScheduleId, facts: Facts<'_>, due: Vec<Timestamp>) -> Vec<Firing> {
    let last = due.iter().rev().find(|due| !state.skips.contains(due)).copied();
    let (mut held, mut queued) = (facts.held, state.queued.is_some());
    let outcome = |due: &Timestamp| {
        if state.skips.contains(due) {
            return Outcome::not(Reason::Skipped);
        }
        let devices = match facts.devices {
            Err(refused) => {
                return Outcome::Not {
                    reason: Reason::Refused,
                    code: Some(refused.code),
                    note: Some(refused.message.clone()),
                };
            }
            Ok(0) => return Outcome::not(Reason::NoTargets),
            Ok(devices) => devices,
        };
        match plan.concurrency {
            Concurrency::Allow if held => return Outcome::not(Reason::TooMany),
            Concurrency::Forbid if held => return Outcome::not(Reason::StillRunning),
            Concurrency::Queue if held && queued => return Outcome::not(Reason::QueueFull),
            Concurrency::Queue if held => {
                queued = true;
                return Outcome::Queued;
            }
            Concurrency::Replace if last != Some(*due) => return Outcome::not(Reason::Replaced),
            Concurrency::Replace if held => return Outcome::not(Reason::StillRunning),
            Concurrency::Forbid | Concurrency::Queue => held = true,
            Concurrency::Allow | Concurrency::Replace => {}
        }
        Outcome::Ran {
            job: JobId::of_firing(id, *due),
            devices,
        }
    };
    let outcomes: Vec<Outcome> = due.iter().map(outcome).collect();
    let pairs = due.into_iter().zip(outcomes);
    pairs.map(|(due, outcome)| Firing { due, outcome }).collect()
}

/// Tells whether a refusal ends the schedule until somebody lets it go on. That a grant's time is over does not: the clock
/// may be wrong.
fn stopped(firings: &[Firing], facts: Facts<'_>) -> Option<(Code, String)> {
    let refused = facts.devices.err()?;
    let was_refused = firings.iter().any(|firing| {
        matches!(
            firing.outcome,
            Outcome::Not {
                reason: Reason::Refused,
                ..
            }
        )
    });
    let for_good = matches!(
        refused.code,
        Code::TokenRevoked | Code::TokenInvalid | Code::NoLongerPermitted | Code::RightMissing
    );
    (was_refused && for_good).then(|| (refused.code, refused.message.clone()))
}

/// Returns when it is due next, without what is left out.
pub fn next_due(state: &State, plan: &Plan) -> Option<Timestamp> {
    let first = state.ledger.next_due(&plan.schedule)?;
    let mut all = plan.schedule.due_after(first.plus_ms(-1));
    all.find(|due| !state.skips.contains(due))
}

/// Returns when it has to be looked at next; none where nothing of it will be due.
pub fn next_look(state: &State, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    if state.standing != Standing::Active {
        return None;
    }
    if state.ledger.was_ahead(plan.policy, now.plus_ms(-plan.delay_ms)) {
        return Some(now);
    }
    let due = state.ledger.next_due(&plan.schedule);
    let expires = state.queued.and_then(|due| plan.waits_until(due));
    let at = due.map(|due| due.plus_ms(plan.delay_ms));
    at.into_iter().chain(expires.map(|at| at.plus_ms(1))).min()
}

/// Applies what happened.
#[must_use]
pub fn evolve(mut state: State, policy: Policy, event: &Event) -> State {
    match event {
        Event::Created(_) => {}
        Event::Decided(decided) => {
            let spans = decided.let_go.iter().map(|let_go| let_go.span);
            state.ledger = state.ledger.replay(policy, decided.judged, spans, decided.open.clone());
            state.not_run += decided.let_go.iter().map(|let_go| let_go.count).sum::<u64>();
            for firing in &decided.firings {
                state.skips.remove(&firing.due);
                if state.queued == Some(firing.due) {
                    state.queued = None;
                }
                match &firing.outcome {
                    Outcome::Ran { job, .. } => {
                        state.fired += 1;
                        state.last = Some((*job, decided.at));
                    }
                    Outcome::Queued => state.queued = Some(firing.due),
                    Outcome::Not { .. } => state.not_run += 1,
                }
            }
            state.forget_passed();
            if let Some((code, reason)) = &decided.stopped {
                state.standing = Standing::Stopped {
                    code: *code,
                    reason: reason.as_str().into(),
                };
            }
        }
        Event::Paused { .. } => state.standing = Standing::Paused,
        Event::Resumed { judged, passed, .. } => {
            state.standing = Standing::Active;
            state.not_run += passed.iter().map(|passed| passed.count).sum::<u64>();
            (state.ledger, _) = state.ledger.pass(policy, *judged);
            let through = state.ledger.through;
            state.skips.retain(|due| *due > through);
        }
        Event::SkipAsked { due, .. } => {
            state.skips.insert(*due);
        }
        Event::RanNow { at, job, .. } => {
            state.fired += 1;
            state.last = Some((*job, *at));
        }
        Event::Archived { .. } => {
            state.standing = Standing::Archived;
            state.queued = None;
            state.skips.clear();
        }
    }
    state
}

#[cfg(test)]
mod tests;
