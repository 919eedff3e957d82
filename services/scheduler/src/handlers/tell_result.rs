//! `tell.<role>.result`: the device's signed last word on a run.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, RunId};
use borealis_bus_schema::messages::device::{ResultKept, RunResult, TellResult};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::audit;
use borealis_service_kit::service::Tell;

use super::no_such_run;
use crate::book::Job;
use crate::scheduler::Scheduler;
use crate::steps;

impl Scheduler {
    /// Records how a run ended, also one that was taken for expired; a repetition is answered like the first.
    ///
    /// Errors: `not_found` for another device's run, `result_signature_invalid`, `conflict`, `storage_failed`.
    pub async fn tell_result(self: Arc<Self>, told: Tell) -> Reply<ResultKept> {
        let tell: TellResult = told.decode()?;
        // Only the run's name is read before the signature is verified, to find whose key has to fit.
        let named: RunResult = codec::decode(&tell.result.bytes)?;
        let (job, index) = self.run_of_device(&named.run, &told.guid)?;
        audit::note_object("run", named.run);
        audit::note_object("job", job.created.job);
        let mut slot = job.slot(index).ok_or_else(no_such_run)?.lock().await;
        if named.attempt < slot.state.attempt {
            // Another try follows, so this one's end is recorded; only the answer was lost.
            return Ok(ResultKept { run: named.run });
        }
        let end = self.open_result(&job, index, &slot, &tell.result)?.end;
        let now = self.clock.now();
        let Some(commands) = steps::take_result(&slot.state, end, now) else {
            return Ok(ResultKept { run: named.run });
        };
        borealis_fail_points::reached("CS8");
        if self.put(&job, job.key(index), &mut slot, commands, now).await {
            borealis_fail_points::reached("CS9");
            Ok(ResultKept { run: named.run })
        } else {
            Err(WireError::new(Code::StorageFailed, "the result cannot be kept"))
        }
    }

    /// Finds a run of a device; another device's runs do not exist for it.
    pub(super) fn run_of_device(&self, run: &RunId, guid: &Guid) -> Reply<(Arc<Job>, u32)> {
        let (job, index) = self.known_run(run)?;
        let own = job.target(index).is_some_and(|target| target.guid == *guid);
        if own { Ok((job, index)) } else { Err(no_such_run()) }
    }
}
