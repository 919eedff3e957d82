//! The thread that brings the indexes forward while commits go on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::StoreError;
use crate::core::SharedCore;
use crate::tail::TailPart;

/// Part of the tail, and the log time at which it was frozen.
type Job = (Arc<TailPart>, i64);

/// The writer's end of the indexer.
#[derive(Debug)]
pub(crate) struct Indexer {
    jobs: SyncSender<Job>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    tail_events: usize,
}

impl Indexer {
    /// Starts the thread; it takes a part whenever the tail has grown to `tail_events`.
    pub(crate) fn start(core: SharedCore, tail_events: usize) -> Result<Self, StoreError> {
        let (jobs, incoming) = sync_channel::<Job>(1);
        let (report, done) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-indexer".to_owned())
            .spawn(move || {
                while let Ok((part, log_time_ms)) = incoming.recv() {
                    let written = core.guarded("write the indexes", || {
                        core.index.write(&part, log_time_ms)?;
                        core.tail_mut().thaw();
                        Ok(())
                    });
                    if written.is_err() || report.send(()).is_err() {
                        break;
                    }
                }
            })
            .map_err(StoreError::file(
                "start the thread of",
                std::path::Path::new("store-indexer"),
            ))?;
        Ok(Self {
            jobs,
            done,
            thread: Some(thread),
            tail_events,
        })
    }

    /// Hands the tail over when it has grown; waits for the round before only when the tail has grown far beyond that.
    pub(crate) fn offer(&self, core: &SharedCore) {
        let events = core.tail().active_events();
        if events < self.tail_events {
            return;
        }
        while core.tail().is_frozen() {
            if events < self.tail_events.saturating_mul(4) {
                return;
            }
            if self.done.recv().is_err() {
                return;
            }
        }
        while self.done.try_recv().is_ok() {}
        let job = {
            let mut tail = core.tail_mut();
            (tail.freeze(), tail.log_time_ms)
        };
        // A thread that ended has reported its fault already.
        let _ = self.jobs.send(job);
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        let (unused, _) = sync_channel(1);
        drop(std::mem::replace(&mut self.jobs, unused));
        if let Some(thread) = self.thread.take() {
            // Its panics are caught and reported inside.
            let _ = thread.join();
        }
    }
}
