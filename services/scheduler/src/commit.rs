//! From command to durable event: decide on the locked run, append, then fold.

use std::sync::Arc;

use borealis_bus_schema::codec::CodecError;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{JobId, RunId};
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, EventLog, StreamId, StreamWrite};
use borealis_service_kit::operator::store_code;
use borealis_service_kit::random;
use thiserror::Error;

use crate::book::{Job, Slot};
use crate::run;
use crate::scheduler::decode;
use crate::stored::Stored;

/// Says why a command on a run changed nothing.
#[derive(Debug, Error)]
pub enum CommitError {
    /// A rule refused it.
    #[error("the run refuses")]
    Rejected(#[from] run::Rejection),
    /// Somebody else wrote to the run's stream; only another scheduler on the same store could.
    #[error("the run changed meanwhile")]
    Conflict,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] AppendError),
    /// The event cannot be written.
    #[error("the event cannot be written")]
    Encode(#[from] CodecError),
}

impl From<CommitError> for WireError {
    fn from(error: CommitError) -> Self {
        let code = match &error {
            CommitError::Rejected(_) => Code::WrongState,
            CommitError::Conflict => Code::Conflict,
            CommitError::Store(AppendError::Storage(error)) => store_code(error),
            CommitError::Store(_) => Code::StorageFailed,
            CommitError::Encode(_) => Code::Internal,
        };
        WireError::new(code, error.to_string())
    }
}

/// Returns the stream of a run.
pub fn run_stream(run: &RunId) -> Result<StreamId, CommitError> {
    stream(&format!("run-{run}"))
}

/// Returns the stream of a job.
pub fn job_stream(job: &JobId) -> Result<StreamId, CommitError> {
    stream(&format!("job-{job}"))
}

fn stream(name: &str) -> Result<StreamId, CommitError> {
    StreamId::new(name).map_err(|_| CommitError::Conflict)
}

/// Puts commands to a run, one behind the other, and appends what they decide as one.
///
/// Errors: the first [`run::Rejection`], with nothing written; [`CommitError`] when the store refuses.
pub async fn put(
    log: &Arc<dyn EventLog>,
    job: &Job,
    slot: &mut Slot,
    commands: Vec<run::Command>,
    now: Timestamp,
) -> Result<Vec<run::Event>, CommitError> {
    let (mut state, mut events) = (slot.state.clone(), Vec::new());
    let (retry, ends) = (job.created.what.retry, job.created.expires_at);
    for command in commands {
        let command = retry.instead(&state, command, now, ends);
        for event in run::decide(&state, command)? {
            state = run::evolve(state, &event);
            events.push(event);
        }
    }
    if events.is_empty() {
        return Ok(events);
    }
    let stored = events
        .iter()
        .map(|event| Stored::Run(event.clone()).encode())
        .collect::<Result<Vec<_>, _>>()?;
    let write = StreamWrite {
        stream: run_stream(&slot.run)?,
        expected: slot.version,
        events: stored,
    };
    let append = Append {
        command_id: random::bytes(),
        command_digest: [0; 32],
        at_ms: now.unix_ms(),
        writes: vec![write],
        answer: Vec::new(),
    };
    let appended = match log.append(append).await {
        Ok(appended) => appended,
        Err(AppendError::Conflict { .. }) => {
            catch_up(log, job, slot)?;
            return Err(CommitError::Conflict);
        }
        Err(other) => return Err(CommitError::Store(other)),
    };
    job.evolve(slot, &events, appended.last);
    Ok(events)
}

/// Folds what the run's stream has beyond the slot: an append whose caller went away was made all the same.
fn catch_up(log: &Arc<dyn EventLog>, job: &Job, slot: &mut Slot) -> Result<(), CommitError> {
    let records = log
        .read_stream(&run_stream(&slot.run)?, slot.version, 1_000)
        .map_err(|error| CommitError::Store(AppendError::Storage(error)))?;
    for record in records {
        if let Ok(Some(Stored::Run(event))) = decode(&record) {
            job.evolve(slot, std::slice::from_ref(&event), record.version);
        }
    }
    Ok(())
}
