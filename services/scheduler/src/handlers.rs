//! What the service is asked and told, one file per subject.

pub mod jobs_approve;
pub mod jobs_cancel;
pub mod jobs_continue;
pub mod jobs_create;
pub mod jobs_list;
pub mod jobs_output;
pub mod jobs_outputs;
pub mod jobs_preview;
pub mod jobs_request;
pub mod jobs_runs;
pub mod jobs_show;
pub mod runs_output;
pub mod runs_show;
pub mod schedules_change;
pub mod schedules_create;
pub mod schedules_history;
pub mod schedules_list;
pub mod schedules_preview;
pub mod schedules_request;
pub mod schedules_run;
pub mod schedules_show;
pub mod tell_output;
pub mod tell_result;
pub mod tell_state;

use std::str::FromStr;
use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, JobId, RunId, SiteName};
use borealis_bus_schema::messages::scheduler::{JobView, Targets};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_event_store::{AppendError, StreamWrite};
use borealis_service_kit::auth::Caller;
use borealis_service_kit::operator::{OperatorCtx, wire_error};

use crate::aim::{self, Aimed};
use crate::book::Job;
use crate::commit::job_stream;
use crate::job::{self, Rejection};
use crate::newest::{Place, read_cursor};
use crate::scheduler::Scheduler;
use crate::stored::Stored;

pub(crate) use schedules_preview::plan_refused;

/// Is how many items a page holds unless told otherwise.
const PAGE: usize = 100;
/// Is how many items a page holds at most.
const MAX_PAGE: usize = 500;

/// Is how much of a list is shown at once, in bytes: what a message of the bus holds for certain.
const MAX_PAGE_BYTES: usize = 512 << 10;

/// Counts what is shown of a list, and tells where a page is full.
#[derive(Debug, Default)]
struct Room {
    used_bytes: usize,
}

impl Room {
    /// Tells whether an item has room behind those before it; the first one always has.
    fn takes<T: serde::Serialize>(&mut self, item: &T) -> Reply<bool> {
        let size = serde_json::to_vec(item)
            .map_err(|_| WireError::new(Code::Internal, "no JSON"))?
            .len();
        let is_first = self.used_bytes == 0;
        self.used_bytes = self.used_bytes.saturating_add(size);
        Ok(is_first || self.used_bytes <= MAX_PAGE_BYTES)
    }
}

/// Reads behind which place of a list to go on.
fn behind<I: FromStr>(ctx: &OperatorCtx) -> Reply<Option<Place<I>>> {
    let cursor = ctx.call.query("cursor");
    cursor.map(|text| read_cursor(&text).ok_or_else(bad_cursor)).transpose()
}

fn page_size(text: Option<String>) -> Reply<usize> {
    match text.map(|text| text.parse::<usize>()) {
        None => Ok(PAGE),
        Some(Ok(size @ 1..=MAX_PAGE)) => Ok(size),
        Some(_) => Err(WireError::new(Code::InvalidField, "limit has to be between 1 and 500")),
    }
}

fn bad_cursor() -> WireError {
    WireError::new(Code::InvalidField, "the cursor is none that this list gave")
}

impl Scheduler {
    /// Finds the job of the path, for a caller whose right reaches all of its devices; for others there is none.
    fn job_for(&self, ctx: &OperatorCtx, right: Right) -> Reply<Arc<Job>> {
        let unknown = || WireError::new(Code::NotFound, "there is no such job");
        let id: JobId = ctx.id()?;
        let job = self.book.job(&id).ok_or_else(unknown)?;
        if self.may(ctx, right, &job) {
            Ok(job)
        } else {
            Err(unknown())
        }
    }

    /// Finds the devices that are meant by a caller whose rights reach them. A filter is judged beside the threads that serve
    /// requests: it may look at every device for long.
    ///
    /// Errors: as [`aim::aim`].
    pub(crate) async fn aim(&self, targets: &Targets, caller: &Caller) -> Reply<Vec<Aimed>> {
        let refused = |refused: Rejection| WireError::new(refused.code(), refused.to_string());
        let reaches = |caller: &Caller, site: &SiteName, guid: &Guid| caller.may_on(Right::JobsRun, site, guid);
        if targets.filter.is_none() {
            return aim::aim(&self.devices, targets, |site, guid| reaches(caller, site, guid)).map_err(refused);
        }
        let (devices, targets, caller) = (Arc::clone(&self.devices), targets.clone(), caller.clone());
        let aimed = tokio::task::spawn_blocking(move || {
            aim::aim(&devices, &targets, |site, guid| reaches(&caller, site, guid)).map_err(refused)
        });
        aimed
            .await
            .unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the filter could not be judged")))
    }

    /// Finds the run of the path, for a caller who may read its job.
    fn run_for(&self, ctx: &OperatorCtx) -> Reply<(Arc<Job>, u32)> {
        let (job, index) = self.known_run(&ctx.id()?)?;
        if self.may(ctx, Right::JobsRead, &job) {
            Ok((job, index))
        } else {
            Err(no_such_run())
        }
    }

    /// Tells whether a caller's right reaches every device of a job.
    fn may(&self, ctx: &OperatorCtx, right: Right, job: &Job) -> bool {
        if ctx.caller.may_on_all(right) {
            return true;
        }
        let guids = job.targets.iter().map(|target| &target.guid);
        self.devices
            .are_all(guids, |site, guid| ctx.caller.may_on(right, site, guid))
    }

    /// Appends what an operator's command does to a job, with the job's own stream locked by the caller; `view` is the answer.
    ///
    /// Errors: `conflict` when something else of the job came first, so that the next request decides on what is there now;
    /// `storage_failed`.
    async fn append_of_job(
        &self,
        ctx: &OperatorCtx,
        job: &Job,
        version: &mut u64,
        events: Vec<job::Event>,
        view: &JobView,
    ) -> Reply<()> {
        let stream = job_stream(&job.created.job)?;
        let events = events.into_iter().map(|event| Stored::Job(event).encode());
        let write = StreamWrite {
            stream: stream.clone(),
            expected: *version,
            events: events.collect::<Result<Vec<_>, _>>()?,
        };
        let answer = serde_json::to_vec(view).map_err(|_| WireError::new(Code::Internal, "no JSON"))?;
        match ctx.append_bytes(self.log.as_ref(), vec![write], answer).await {
            Ok(appended) => {
                *version = appended.last;
                Ok(())
            }
            Err(error) => {
                if matches!(error, AppendError::Conflict { .. }) {
                    *version = self.version_of(&stream)?;
                }
                Err(wire_error(&error))
            }
        }
    }

    fn known_run(&self, id: &RunId) -> Reply<(Arc<Job>, u32)> {
        self.book.run(id).ok_or_else(no_such_run)
    }
}

fn no_such_run() -> WireError {
    WireError::new(Code::NotFound, "there is no such run")
}
