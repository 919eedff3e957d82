//! Stopping: SIGTERM and SIGINT become one watched value that every loop listens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Is how long a stopping service goes on with what it has begun.
pub const DRAIN: Duration = Duration::from_secs(8);

/// Tells whether the process is to stop. Handles are cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
    failed: Arc<AtomicBool>,
}

impl Shutdown {
    /// Makes one that nothing but [`Shutdown::begin`] triggers; for tests.
    pub fn manual() -> Self {
        Self {
            sender: Arc::new(watch::channel(false).0),
            failed: Arc::default(),
        }
    }

    /// Makes one that SIGTERM and SIGINT trigger.
    ///
    /// Errors: the system's, when a handler cannot be set.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::manual();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let trigger = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            trigger.begin();
        });
        Ok(shutdown)
    }

    /// Begins to stop.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }

    /// Begins to stop because the process is not whole any more; whoever runs it ends with an error, so that its supervisor
    /// starts it anew. Does nothing once stopping has begun.
    pub fn fail(&self) {
        self.sender.send_if_modified(|begun| {
            let is_first = !std::mem::replace(begun, true);
            if is_first {
                self.failed.store(true, Ordering::SeqCst);
            }
            is_first
        });
    }

    /// Tells whether stopping began because the process is not whole any more.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Makes a guard for a task without which the process is not whole.
    pub fn needs(&self, task: &'static str) -> Needed {
        Needed {
            task,
            shutdown: self.clone(),
        }
    }

    /// Tells whether stopping has begun.
    pub fn begun(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until stopping begins.
    pub async fn wait(&self) {
        let mut watcher = self.sender.subscribe();
        // The sender lives in `self`, so that the wait ends only by the value.
        let _ = watcher.wait_for(|begun| *begun).await;
    }
}

/// Is held by a task without which the process is not whole: one that ends before the shutdown, also by a panic, begins it as
/// a failure.
#[derive(Debug)]
pub struct Needed {
    task: &'static str,
    shutdown: Shutdown,
}

impl Drop for Needed {
    fn drop(&mut self) {
        if !self.shutdown.begun() {
            tracing::error!(
                task = self.task,
                "a task of the service ended before its time; the service ends, to start anew"
            );
            self.shutdown.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_needed_task_that_ends_or_panics_begins_the_shutdown_as_a_failure() {
        let (ends, panics) = (Shutdown::manual(), Shutdown::manual());
        let (of_end, of_panic) = (ends.needs("reader"), panics.needs("reader"));
        tokio::spawn(async move { drop(of_end) }).await.unwrap();
        let panicked = tokio::spawn(async move {
            let _needed = of_panic;
            panic!("this task fails");
        });
        assert!(panicked.await.is_err());
        for shutdown in [ends, panics] {
            shutdown.wait().await;
            assert!(shutdown.failed());
        }
    }

    #[test]
    fn a_task_that_ends_with_the_service_is_no_failure() {
        let shutdown = Shutdown::manual();
        let needed = shutdown.needs("reader");
        shutdown.begin();
        drop(needed);
        shutdown.fail();
        assert!(shutdown.begun() && !shutdown.failed());
    }
}
