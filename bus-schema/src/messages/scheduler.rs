//! Jobs and runs as operators send and see them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::schedules::CreateSchedule;
use super::waves::{Waves, WavesView};
use crate::assembly::AssemblyUse;
use crate::codec;
use crate::codes::Code;
use crate::ids::{Guid, JobId, RoleName, RunId, ScheduleId, SiteName, VerbName};
use crate::operator::OperatorCall;
use crate::order::{Context, Digest, EnvValue, Language};
use crate::routes;
use crate::subjects::Service;
use crate::time::Timestamp;

/// Lists the states of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its device.
    Queued,
    /// The device has it in its journal.
    Delivered,
    /// Its process lives.
    Running,
    /// It ended with exit code 0.
    Succeeded,
    /// It ended with another exit code, or by a signal.
    Failed,
    /// It was ended because its time was over.
    TimedOut,
    /// An operator ended it.
    Cancelled,
    /// Its device did not come in time.
    Expired,
    /// The device, or the signer, would not do it.
    Refused,
    /// The device died while it ran.
    Interrupted,
}

impl RunState {
    /// Lists every state.
    pub const ALL: [RunState; 10] = [
        RunState::Queued,
        RunState::Delivered,
        RunState::Running,
        RunState::Succeeded,
        RunState::Failed,
        RunState::TimedOut,
        RunState::Cancelled,
        RunState::Expired,
        RunState::Refused,
        RunState::Interrupted,
    ];

    /// Tells whether the state is the run's last.
    pub const fn is_final(self) -> bool {
        !matches!(self, RunState::Queued | RunState::Delivered | RunState::Running)
    }

    /// Returns the state's stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunState::Queued => "queued",
            RunState::Delivered => "delivered",
            RunState::Running => "running",
            RunState::Succeeded => "succeeded",
            RunState::Failed => "failed",
            RunState::TimedOut => "timed_out",
            RunState::Cancelled => "cancelled",
            RunState::Expired => "expired",
            RunState::Refused => "refused",
            RunState::Interrupted => "interrupted",
        }
    }
}

/// Names the devices of a job: some by their names, all of some sites, or all; a filter picks among the latter two.
///
/// Which devices these are is decided once, when the job is accepted; of a schedule anew at each firing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Every active device that the author's rights reach.
    #[serde(default)]
    pub all: bool,
    /// These devices.
    #[serde(default)]
    pub guids: Vec<Guid>,
    /// Every active device of these sites that the author's rights reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteName>,
    /// Only those that a [`Filter`](crate::filter::Filter) lets through; by itself it picks among all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// None of these, whatever else names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Guid>,
}

/// Is the body of `POST /api/v1/jobs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// Where.
    pub targets: Targets,
    /// The role that acts: `script` or `agent`.
    #[serde(default = "RoleName::script")]
    pub role: RoleName,
    /// What it does: `run` or `ping`.
    #[serde(default = "VerbName::run")]
    pub verb: VerbName,
    /// The interpreter of the script.
    #[serde(default)]
    pub language: Option<Language>,
    /// With which rights.
    #[serde(default = "system")]
    pub context: Context,
    /// The script's text.
    #[serde(default)]
    pub script: Option<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    /// A version of an assembly, in place of language, script and environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assembly: Option<AssemblyUse>,
    /// When the process tree is ended; default one hour.
    #[serde(default = "hour")]
    pub timeout_ms: u64,
    /// When a run that did not begin ends; default 24 hours, at most 7 days.
    #[serde(default = "day")]
    pub expires_in_ms: u64,
    /// How often a run is tried again whose script failed or whose time was over; default 0, at most 10.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retries: u32,
    /// How long to wait before the first of these, doubled for each after it; default 30 s, at most a day.
    #[serde(default = "half_a_minute", skip_serializing_if = "is_half_a_minute")]
    pub backoff_ms: u64,
    /// In which parts it reaches its devices; without it all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waves: Option<Waves>,
}

/// Is how often a run can be tried again.
pub const MAX_RETRIES: u32 = 10;

/// Is how long the wait before a try can be, in milliseconds: a day.
pub const MAX_BACKOFF_MS: u64 = 24 * 3_600_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_none(retries: &u32) -> bool {
    *retries == 0
}
const fn half_a_minute() -> u64 {
    30_000
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_half_a_minute(backoff_ms: &u64) -> bool {
    *backoff_ms == half_a_minute()
}

const fn system() -> Context {
    Context::System
}
const fn hour() -> u64 {
    3_600_000
}
const fn day() -> u64 {
    24 * 3_600_000
}

/// Is the longest life of a run that waits, in milliseconds: seven days.
pub const MAX_EXPIRES_IN_MS: u64 = 7 * 24 * 3_600_000;

/// Is the largest script, in bytes: 256 KiB.
pub const MAX_SCRIPT_BYTES: usize = 256 << 10;

/// Is how much output of a run is kept, stdout and stderr together: 10 MiB.
pub const OUTPUT_LIMIT_BYTES: u64 = 10 << 20;

/// Answers `POST /api/v1/jobs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobCreated {
    /// The job.
    pub job: JobId,
    /// How many runs it has.
    pub runs_total: u64,
    /// Whether nothing happens before another operator approves it.
    #[serde(default)]
    pub awaiting_approval: bool,
}

/// Is on how many devices a job may be that waits for another operator's approval.
pub const MAX_APPROVED_DEVICES: usize = 16_384;

/// Is how large the request for such a job may be, in bytes: 384 KiB.
pub const MAX_APPROVED_BYTES: usize = 384 << 10;

/// Is a request as its author signed it: whoever signs for it again, or approves it, reads and digests it for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRequest {
    /// Its author's name.
    pub created_by: String,
    /// The HTTP method of the author's request.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its body's exact bytes, in base64.
    pub body_base64: String,
}

impl SignedRequest {
    /// Shows a request.
    pub fn of(created_by: String, call: &OperatorCall) -> Self {
        Self {
            created_by,
            method: call.method.clone(),
            path: call.path.clone(),
            body_base64: STANDARD.encode(&call.body),
        }
    }

    /// Returns the request by itself; none where the body is no base64.
    pub fn call(&self) -> Option<OperatorCall> {
        Some(OperatorCall {
            method: self.method.clone(),
            path: self.path.clone(),
            body: STANDARD.decode(&self.body_base64).ok()?,
            proof: None,
            peer: String::new(),
        })
    }

    /// Returns what it asks devices to do: the body of a request for a job, or the job that a request for a schedule holds.
    /// None where it is neither, or cannot be read.
    pub fn asks(&self) -> Option<CreateJob> {
        let call = self.call()?;
        let is = |verb| {
            let route = routes::of_verb(Service::Scheduler, verb);
            route.is_some_and(|route| route.matches(&call.method, &call.path).is_some())
        };
        if is("jobs-create") {
            codec::decode_json(&call.body, codec::MAX_JSON_BYTES).ok()
        } else if is("schedules-create") {
            let schedule: CreateSchedule = codec::decode_json(&call.body, codec::MAX_JSON_BYTES).ok()?;
            Some(schedule.job)
        } else {
            None
        }
    }
}

/// Answers `GET /api/v1/jobs/{id}/request`: of a job that a schedule made, the request for the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The job.
    pub job: JobId,
    /// What its author signed.
    #[serde(flatten)]
    pub request: SignedRequest,
}

/// Is the body of `POST /api/v1/jobs/{id}/approve`: it names exactly what is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveJob {
    /// The digest of the author's request: method, path and body ([`OperatorCall::digest`]).
    pub request: Digest,
    /// The digest of the job's devices ([`devices_digest`]).
    pub devices: Digest,
}

/// Digests the devices of a job.
///
/// Shape: `SHA-256("borealis devices" ‖ 16 bytes of each GUID, in ascending order)`.
pub fn devices_digest(devices: &BTreeSet<Guid>) -> Digest {
    let mut bytes = b"borealis devices".to_vec();
    for guid in devices {
        bytes.extend_from_slice(guid.as_bytes());
    }
    Digest::of(&bytes)
}

/// Is a job as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The author's name.
    pub created_by: String,
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
    /// When a run that did not begin ends.
    pub expires_at: Timestamp,
    /// How many runs it has.
    pub runs_total: u64,
    /// How many runs are in each state; states without runs are left out.
    pub counts: BTreeMap<RunState, u64>,
    /// `awaiting_approval`, `active`, `paused` while it waits for an operator to continue it, or `done`.
    pub state: String,
    /// Whether an operator cancelled it.
    pub cancelled: bool,
    /// Who approved it, where it took another operator's approval and has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The schedule that made it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleId>,
    /// When it was due by that schedule; none where an operator let it run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Where its waves stand, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waves: Option<WavesView>,
}

/// Is a run as operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobId,
    /// Its device.
    pub guid: Guid,
    /// The device's name when the job was made.
    pub hostname: String,
    /// Where it stands.
    pub state: RunState,
    /// Which try.
    pub attempt: u32,
    /// The exit code, once there is one.
    pub exit_code: Option<i32>,
    /// When the job was accepted.
    pub queued_at: Timestamp,
    /// When the device took it.
    pub delivered_at: Option<Timestamp>,
    /// When its process began, by the device's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the device's clock.
    pub ended_at: Option<Timestamp>,
    /// How long its process lived.
    pub duration_ms: Option<u64>,
    /// Why it ended so, in a sentence.
    pub reason: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// Whether output was cut.
    pub truncated: bool,
    /// How much stdout is kept.
    pub stdout_bytes: u64,
    /// How much stderr is kept.
    pub stderr_bytes: u64,
}

/// Is one line of followed output.
///
/// Shape: a chunk has `stream`, `seq` and `data` (or `data_base64`); the last line of a run has `final: true` and its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FollowLine {
    /// The last line of a run.
    Final(Box<FinalLine>),
    /// A chunk of output.
    Chunk(ChunkLine),
}

/// Tells output as text where it is UTF-8, else in base64; one of the two is given.
pub fn text_or_base64(data: Vec<u8>) -> (Option<String>, Option<String>) {
    match String::from_utf8(data) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    }
}

/// Is a chunk of followed output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChunkLine {
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: RunId,
    /// The device.
    pub guid: Guid,
    /// The device's name.
    pub hostname: String,
    /// `stdout` or `stderr`.
    pub stream: OutputStream,
    /// Counts the chunks of a run's stream from 0.
    pub seq: u64,
    /// The text, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The bytes in base64, where they are no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// Is the last line of a followed run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinalLine {
    /// Always true.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: RunId,
    /// The device.
    pub guid: Guid,
    /// The device's name.
    pub hostname: String,
    /// How it ended.
    pub state: RunState,
    /// The exit code, if its process ended by itself.
    pub exit_code: Option<i32>,
    /// All of stdout that is kept, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// The same in base64 where it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// All of stderr that is kept, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The same in base64 where it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// How long its process lived.
    pub duration_ms: Option<u64>,
    /// Whether output was cut.
    pub truncated: bool,
    /// Why it ended so.
    pub reason: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
}

/// Tells stdout from stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Answers `GET /api/v1/jobs/{id}/output`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FollowPage {
    /// What came behind the cursor.
    pub lines: Vec<FollowLine>,
    /// Where to go on.
    pub cursor: String,
    /// Whether every run has ended and every line was returned.
    pub done: bool,
}

/// Answers `GET /api/v1/runs/{id}/output`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputRange {
    /// Which stream.
    pub stream: OutputStream,
    /// Where the data begins.
    pub offset: u64,
    /// How much is kept in all.
    pub size_bytes: u64,
    /// The text, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The bytes in base64, where they are no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Whether output was cut.
    pub truncated: bool,
    /// Where the run stands.
    pub state: RunState,
}

/// Is a page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
    /// How many there are in all, where it is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}
/// Shows when a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePreview {
    /// What it follows: a kind, or `cron:` and the text.
    pub schedule: String,
    /// Its time zone, as the database spells it.
    pub zone: String,
    /// The release of the database of time zones, as `2026f`.
    pub zones_release: String,
    /// From when on.
    pub from: Timestamp,
    /// Before when, where that was said.
    pub until: Option<Timestamp>,
    /// The firings, the earliest first.
    pub items: Vec<SchedulePreviewed>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Shows one time at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePreviewed {
    /// When.
    pub at: Timestamp,
    /// What the clock of the zone shows then, with its offset.
    pub local: String,
    /// What a change of the clock has to do with it: `gap`, `overlap_first` or `overlap_again`.
    pub change: Option<String>,
    /// That, in a sentence.
    pub note: Option<String>,
}

/// Answers `GET /api/v1/jobs/preview`: on which devices a job would be, before there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobPreview {
    /// How many devices are meant.
    pub devices_total: u64,
    /// How many of them are on the bus now.
    pub online: u64,
    /// How many of them cannot run it, as far as is known.
    pub unable: u64,
    /// Whether another operator would have to approve it.
    pub awaiting_approval: bool,
    /// Why the job would be refused as a whole, if it would.
    pub refused: Option<Unable>,
    /// The devices, first those that cannot run it, each by its name.
    pub items: Vec<PreviewedDevice>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// Is a device on which a job would be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PreviewedDevice {
    /// The device.
    pub guid: Guid,
    /// Its name; empty where it is not known.
    pub hostname: String,
    /// Where it belongs; null where it is not known.
    pub site: Option<SiteName>,
    /// Whether it is on the bus now.
    pub online: bool,
    /// Why it cannot run it; null where nothing is known against it.
    pub unable: Option<Unable>,
}

/// Says why something cannot be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unable {
    /// The code that it would end with.
    pub code: Code,
    /// Why, in a sentence.
    pub reason: String,
}

/// Answers `GET /api/v1/jobs/{id}/outputs`: what the runs of a job printed, those that printed the same as one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobOutputs {
    /// The job.
    pub job: JobId,
    /// How many runs are not over.
    pub open: u64,
    /// How many runs are over whose output is still being digested: ask again.
    pub pending: u64,
    /// How many runs are over whose output cannot be read; the server's log says why.
    #[serde(default)]
    pub unreadable: u64,
    /// How many groups there are.
    pub groups_total: u64,
    /// The groups, the largest first.
    pub items: Vec<OutputGroup>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// Is the runs of a job that ended alike and printed the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputGroup {
    /// How many runs.
    pub runs: u64,
    /// How they ended.
    pub state: RunState,
    /// Their exit code, where their process ended by itself.
    pub exit_code: Option<i32>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// SHA-256 of what they printed on stdout; null for nothing.
    pub stdout: Option<Digest>,
    /// SHA-256 of what they printed on stderr; null for nothing.
    pub stderr: Option<Digest>,
    /// How much they printed on stdout.
    pub stdout_bytes: u64,
    /// How much they printed on stderr.
    pub stderr_bytes: u64,
    /// Whether their output was cut.
    pub truncated: bool,
    /// One of them: what it printed all of them did.
    pub run: RunId,
    /// The names of some of their devices.
    pub hostnames: Vec<String>,
    /// Where something was looked for: the first line that holds it, cut where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_request_says_what_it_asks_devices_for_whether_it_makes_a_job_or_a_schedule() {
        let job = r#"{"targets":{"all":true},"script":"uptime"}"#;
        let schedule = format!(r#"{{"name":"nightly","kind":"daily","job":{job}}}"#);
        let asks = |method: &str, path: &str, body: &str| {
            let call = OperatorCall {
                method: method.to_owned(),
                path: path.to_owned(),
                body: body.as_bytes().to_vec(),
                proof: None,
                peer: String::new(),
            };
            let request = SignedRequest::of("ada".to_owned(), &call);
            assert_eq!(request.call().unwrap().digest(), call.digest());
            request.asks().and_then(|asked| asked.script)
        };
        let uptime = Some("uptime".to_owned());
        assert_eq!(asks("POST", "/api/v1/jobs", job), uptime);
        assert_eq!(asks("POST", "/api/v1/schedules", &schedule), uptime);
        assert_eq!(asks("POST", "/api/v1/schedules", job), None);
        assert_eq!(asks("POST", "/api/v1/jobs", &schedule), None);
        assert_eq!(asks("GET", "/api/v1/jobs", job), None);
        assert_eq!(asks("POST", "/api/v1/tokens", job), None);
    }
}
