//! `tell.<role>.output`: a piece of output, kept before it is answered.

use std::sync::Arc;

use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::messages::device::{OUTPUT_CHUNK_BYTES, OutputKept, TellOutput};
use borealis_bus_schema::messages::scheduler::OUTPUT_LIMIT_BYTES;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::service::Tell;

use super::no_such_run;
use crate::run::{Place, Rejection, place_of};
use crate::scheduler::Scheduler;
use crate::steps;

impl Scheduler {
    /// Keeps a piece of output and says where to go on.
    ///
    /// Errors: `not_found` for another device's run, `too_large`, `wrong_state` when the run is over, `storage_failed`.
    pub async fn tell_output(self: Arc<Self>, told: Tell) -> Reply<OutputKept> {
        let mut tell: TellOutput = told.decode()?;
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
        // The device counts from the beginning of its try, the run from that of its first.
        let before = slot.state.kept(tell.stream).before;
        tell.offset = tell.offset.saturating_add(before);
        let (run, stream) = (tell.run, tell.stream);
        let answer = |next_offset: u64| OutputKept {
            run,
            stream,
            next_offset: next_offset.saturating_sub(before),
        };
        let size_bytes = tell.data.len() as u64;
        let place = match place_of(&slot.state, tell.stream, tell.offset, size_bytes) {
            Ok(place) => place,
            Err(Rejection::OutOfPlace { next_offset }) => return Ok(answer(next_offset)),
            // What is over stays over: the device has to stop sending.
            Err(refused) => return Err(over(refused.to_string())),
        };
        let kept_in_all = slot.state.stdout.bytes + slot.state.stderr.bytes;
        if kept_in_all + size_bytes > OUTPUT_LIMIT_BYTES {
            return Err(WireError::new(Code::TooLarge, "the run's output is at its limit"));
        }
        let inline = match place {
            Place::Log => Some(std::mem::take(&mut tell.data)),
            Place::File(at) => {
                let kept = self
                    .output
                    .append(tell.run, tell.stream, at, std::mem::take(&mut tell.data))
                    .await;
                kept.map_err(|error| {
                    tracing::error!(error = &error as &dyn std::error::Error, "output cannot be kept");
                    let code = if error.is_full() {
                        Code::StorageFull
                    } else {
                        Code::StorageFailed
                    };
                    WireError::new(code, "the output cannot be kept")
                })?;
                None
            }
        };
        let commands = steps::take_output(&slot.state, &tell, size_bytes, inline, now);
        if self.put(&job, key, &mut slot, commands, now).await {
            Ok(answer(slot.state.kept(tell.stream).bytes))
        } else {
            Err(WireError::new(Code::StorageFailed, "the output cannot be kept"))
        }
    }
}
