//! What the service is asked and told, one file per subject.

pub mod jobs_cancel;
pub mod jobs_create;
pub mod jobs_list;
pub mod jobs_output;
pub mod jobs_runs;
pub mod jobs_show;
pub mod runs_output;
pub mod runs_show;
pub mod tell_output;
pub mod tell_result;
pub mod tell_state;

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{JobId, RunId};
use borealis_bus_schema::reply::{Reply, WireError};

use crate::book::Job;
use crate::scheduler::Scheduler;

/// Is how many items a page holds unless told otherwise.
const PAGE: usize = 100;
/// Is how many items a page holds at most.
const MAX_PAGE: usize = 500;

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
    fn known_job(&self, id: &JobId) -> Reply<Arc<Job>> {
        self.book
            .job(id)
            .ok_or_else(|| WireError::new(Code::NotFound, "there is no such job"))
    }

    fn known_run(&self, id: &RunId) -> Reply<(Arc<Job>, u32)> {
        self.book
            .run(id)
            .ok_or_else(|| WireError::new(Code::NotFound, "there is no such run"))
    }
}
