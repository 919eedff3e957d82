//! `tell.<role>.state`: a hint of progress.

use std::sync::Arc;

use borealis_bus_schema::messages::device::{ResultKept, TellState};
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::service::Tell;

use super::no_such_run;
use crate::scheduler::Scheduler;
use crate::steps;

impl Scheduler {
    /// Moves a run forward; a hint that says nothing new changes nothing.
    ///
    /// Errors: `not_found` for another device's run.
    pub async fn tell_state(self: Arc<Self>, told: Tell) -> Reply<ResultKept> {
        let tell: TellState = told.decode()?;
        let (job, index) = self.run_of_device(&tell.run, &told.guid)?;
        let mut slot = job.slot(index).ok_or_else(no_such_run)?.lock().await;
        let now = self.clock.now();
        let commands = steps::take_state(&slot.state, &tell, now);
        if !commands.is_empty() {
            self.put(&job, job.key(index), &mut slot, commands, now).await;
        }
        Ok(ResultKept { run: tell.run })
    }
}
