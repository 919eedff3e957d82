//! Stopping: SIGTERM and SIGINT become one watched value that every loop listens to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Is how long a stopping service goes on with what it has begun.
pub const DRAIN: Duration = Duration::from_secs(8);

/// Tells whether the process is to stop. Handles are cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Makes one that nothing but [`Shutdown::begin`] triggers; for tests.
    pub fn manual() -> Self {
        Self {
            sender: Arc::new(watch::channel(false).0),
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
