//! `tell.<role>.output`: a piece of output, kept before it is answered.

use std::sync::Arc;

use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::messages::device::{OUTPUT_CHUNK_BYTES, OutputKept, TellOutput};
use borealis_bus_schema::messages::scheduler::OUTPUT_LIMIT_BYTES;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::service::Tell;

use super::no_such_run;
use crate::run::{Command, Event, Rejection, decide};
use crate::scheduler::Scheduler;

impl Scheduler {
    /// Keeps a piece of output and says where to go on.
    ///
    /// Errors: `not_found` for another device's run, `too_large`, `wrong_state` when the run is over, `storage_failed`.
    pub async fn tell_output(self: Arc<Self>, told: Tell) -> Reply<OutputKept> {
        let tell: TellOutput = told.decode()?;
        if tell.data.len() > OUTPUT_CHUNK_BYTES {
            return Err(WireError::new(
                Code::TooLarge,
                "a piece of output is larger than 64 KiB",
            ));
        }
        let (job, index) = self.run_of_device(&tell.run, &told.guid)?;
        let key = job.key(index);
        let mut slot = job.slot(index).ok_or_else(no_such_run)?.lock().await;
        let over = |why: String| WireError {
            retry: Retry::Never,
            ..WireError::new(Code::WrongState, why)
        };
        if tell.attempt != slot.state.attempt {
            return Err(over("the output is of another attempt".to_owned()));
        }
        let now = self.clock.now();
        let command = Command::Output {
            stream: tell.stream,
            offset: tell.offset,
            data: tell.data.clone(),
        };
        let answer = |next_offset| OutputKept {
            run: tell.run,
            stream: tell.stream,
            next_offset,
        };
        match decide(&slot.state, command.clone()) {
            Err(Rejection::OutOfPlace { next_offset }) => return Ok(answer(next_offset)),
            // What is over stays over: the device has to stop sending.
            Err(refused) => return Err(over(refused.to_string())),
            Ok(events) => {
                let kept_in_all = slot.state.stdout.bytes + slot.state.stderr.bytes;
                if kept_in_all + tell.data.len() as u64 > OUTPUT_LIMIT_BYTES {
                    return Err(WireError::new(Code::TooLarge, "the run's output is at its limit"));
                }
                if let Some(Event::Output {
                    inline: None, offset, ..
                }) = events.first()
                {
                    let place = offset - slot.state.kept(tell.stream).inline_bytes;
                    self.output
                        .append(tell.run, tell.stream, place, tell.data)
                        .await
                        .map_err(|error| {
                            tracing::error!(error = &error as &dyn std::error::Error, "output cannot be kept");
                            let code = if error.is_full() {
                                Code::StorageFull
                            } else {
                                Code::StorageFailed
                            };
                            WireError::new(code, "the output cannot be kept")
                        })?;
                }
            }
        }
        // Whoever sends output runs: the hint that says so may have been lost.
        let commands = vec![Command::Deliver { at: now }, Command::Start { at: now }, command];
        if self.put(&job, key, &mut slot, commands, now).await {
            Ok(answer(slot.state.kept(tell.stream).bytes))
        } else {
            Err(WireError::new(Code::StorageFailed, "the output cannot be kept"))
        }
    }
}
