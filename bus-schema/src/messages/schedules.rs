//! Schedules as operators send and see them.

use serde::{Deserialize, Serialize};

use super::scheduler::{CreateJob, SignedRequest};
use crate::codes::Code;
use crate::ids::{Guid, JobId, RoleName, ScheduleId, VerbName};
use crate::order::{Context, Digest, Language};
use crate::time::Timestamp;

/// Is how late a firing may be and still be on time, in milliseconds: one minute.
pub const GRACE_MS: i64 = 60_000;

/// Is the longest name of a schedule, in characters.
pub const MAX_NAME: usize = 128;

/// Is how many devices a schedule names one by one, at most.
pub const MAX_NAMED: usize = 512;

/// Is how many late firings are run one by one, at most.
pub const MAX_CATCH_UP: u32 = 100;

/// Is how far a schedule's firings are delayed to spread them, in milliseconds, at most: one day.
pub const MAX_JITTER_MS: u64 = 24 * 3_600_000;

/// Says what becomes of firings whose time passed while nobody could run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are let go.
    Skip,
    /// One runs for all of them; none where another is due on time.
    #[default]
    Once,
    /// The newest of them run, each, up to a number.
    All,
}

/// Says what happens when a firing is due while one before it still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// Both run.
    #[default]
    Allow,
    /// The new one does not run.
    Forbid,
    /// The new one waits until the one before is over; one waits at most.
    Queue,
    /// The one before is cancelled.
    Replace,
}

/// Is the body of `POST /api/v1/schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSchedule {
    /// What people call it.
    pub name: String,
    /// What each firing asks for: the body of a job.
    pub job: CreateJob,
    /// Cron text; this or `kind` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A kind of schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its time zone.
    #[serde(default = "utc")]
    pub zone: String,
    /// What it does not fire before, and where a kind begins; when it was signed, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// What it does not fire at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What becomes of late firings.
    #[serde(default)]
    pub misfire: Misfire,
    /// How many late firings run with `misfire` `all`, at most.
    #[serde(default = "ten")]
    pub misfire_most: u32,
    /// How late a firing may be and still run; none for however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_limit_ms: Option<u64>,
    /// What happens while one before still runs.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Firings come late by up to this: each schedule by its own delay, the same each time.
    #[serde(default)]
    pub jitter_ms: u64,
}

/// Is when a schedule is due, and what becomes of its firings: a request without its name and its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Cron text; this or `kind` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A kind of schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its time zone.
    pub zone: String,
    /// What it does not fire before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// What it does not fire at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What becomes of late firings.
    pub misfire: Misfire,
    /// How many late firings run with `misfire` `all`, at most.
    pub misfire_most: u32,
    /// How late a firing may be and still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_limit_ms: Option<u64>,
    /// What happens while one before still runs.
    pub concurrency: Concurrency,
    /// By how much its firings may come late on purpose.
    pub jitter_ms: u64,
}

impl CreateSchedule {
    /// Returns when it is due.
    pub fn timing(&self) -> Timing {
        Timing {
            cron: self.cron.clone(),
            kind: self.kind.clone(),
            zone: self.zone.clone(),
            start: self.start,
            end: self.end,
            misfire: self.misfire,
            misfire_most: self.misfire_most,
            late_limit_ms: self.late_limit_ms,
            concurrency: self.concurrency,
            jitter_ms: self.jitter_ms,
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}
const fn ten() -> u32 {
    10
}

/// Is the body of `POST /api/v1/schedules/{id}/run`: it names exactly what is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSchedule {
    /// The digest of the author's request: method, path and body ([`crate::operator::OperatorCall::digest`]).
    pub request: Digest,
}

/// Answers `GET /api/v1/schedules/{id}/request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRequest {
    /// The schedule.
    pub schedule: ScheduleId,
    /// What its author signed.
    #[serde(flatten)]
    pub request: SignedRequest,
}

/// Is a schedule as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: ScheduleId,
    /// What people call it.
    pub name: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The author's name.
    pub created_by: String,
    /// `active`, `paused`, `stopped`, `ended` or `archived`.
    pub state: String,
    /// Why it stopped, in a sentence.
    pub reason: Option<String>,
    /// The code of what stopped it.
    pub code: Option<Code>,
    /// What it follows: a kind, or `cron:` and the text.
    pub follows: String,
    /// Its time zone.
    pub zone: String,
    /// What it does not fire before.
    pub start: Timestamp,
    /// What it does not fire at or after.
    pub end: Option<Timestamp>,
    /// What becomes of late firings.
    pub misfire: Misfire,
    /// How many late firings run at most, where they run one by one.
    pub misfire_most: u32,
    /// How late a firing may be and still run.
    pub late_limit_ms: Option<u64>,
    /// What happens while one before still runs.
    pub concurrency: Concurrency,
    /// Its own delay behind the times of the schedule.
    pub delay_ms: u64,
    /// The role that acts.
    pub role: RoleName,
    /// What it does.
    pub verb: VerbName,
    /// The interpreter.
    pub language: Option<Language>,
    /// With which rights.
    pub context: Context,
    /// The script's digest.
    pub script_digest: Option<Digest>,
    /// When a run's process tree is ended.
    pub timeout_ms: u64,
    /// When a run that did not begin ends, after its firing.
    pub expires_in_ms: u64,
    /// The devices that it names; none where they are found at each firing.
    pub guids: Vec<Guid>,
    /// When it is due next.
    pub next_at: Option<Timestamp>,
    /// That, as the clock of its zone shows it.
    pub next_local: Option<String>,
    /// Instants that are left out because an operator said so.
    pub skips: Vec<Timestamp>,
    /// When a firing was due that waits for the one before.
    pub queued: Option<Timestamp>,
    /// How often it ran.
    pub fired: u64,
    /// How many firings did not run.
    pub not_run: u64,
    /// The newest job that it made.
    pub last_job: Option<JobId>,
    /// When that one was made.
    pub last_at: Option<Timestamp>,
}

/// Is one line of a schedule's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleHistory {
    /// When it was written down.
    pub at: Timestamp,
    /// What became of it: `ran`, `queued` or `not_run`; or what an operator did: `created`, `paused`, `resumed`, `skipped_next`,
    /// `ran_now`, `archived`; or `stopped`.
    pub what: String,
    /// When the firing was due; of several the last one.
    pub due: Option<Timestamp>,
    /// How many firings this is of.
    pub count: u64,
    /// Why it did not run: `missed`, `expired`, `paused`, `skipped`, `still_running`, `queue_full`, `replaced`, `too_many`,
    /// `no_targets`, `refused`.
    pub reason: Option<String>,
    /// That, in a sentence.
    pub note: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// Who did it.
    pub by: Option<String>,
    /// The job that it made.
    pub job: Option<JobId>,
    /// How many devices that is on.
    pub devices: Option<u64>,
}
