//! Keeping what was refused, and what was accepted without an append of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use borealis_bus_schema::audit::{AuditRecord, Outcome};
use borealis_bus_schema::codes::Code;
use borealis_event_store::EventLog;

use super::act::Act;
use super::limiter::{Admitted, Limiter};
use super::log::AuditedLog;
use crate::clock::Clock;
use crate::random;
use crate::shutdown::Shutdown;

/// Is how often counted refusals are written.
const EVERY: Duration = Duration::from_secs(60);

/// Tells whether a code says that somebody decided against an act; the others say that the server could not answer.
pub const fn is_refusal(code: Code) -> bool {
    !matches!(
        code,
        Code::StorageFailed
            | Code::StorageFull
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Overloaded
            | Code::ShuttingDown
            | Code::Stale
            | Code::Internal
            | Code::BusUnusable
    )
}

/// Keeps records that belong to no change.
pub struct Recorder {
    log: AuditedLog,
    clock: Arc<dyn Clock>,
    limiter: Mutex<Limiter>,
}

impl Recorder {
    /// Takes the log as the store has it.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log: AuditedLog::for_refusals(log),
            clock,
            limiter: Mutex::default(),
        }
    }

    /// Ends an act: what was refused is kept as far as the limits allow; what was accepted is kept unless its change has it.
    ///
    /// `leaves` says whether an accepted act leaves a record although it appended nothing.
    pub async fn end(&self, act: &Act, outcome: Result<(), Code>, leaves: bool) {
        match outcome {
            Ok(()) if leaves && !act.is_kept() => self.keep(&[act.record()]).await,
            Ok(()) => {}
            Err(code) if is_refusal(code) => {
                let mut record = act.record();
                record.outcome = Outcome::Refused(code);
                self.refused(record).await;
            }
            Err(_) => {}
        }
    }

    /// Keeps or counts a refusal.
    pub async fn refused(&self, record: AuditRecord) {
        let now_ms = self.clock.now().unix_ms();
        let admitted = self.limiter().admit(&record, now_ms);
        if admitted == Admitted::Kept {
            self.keep(&[record]).await;
        }
    }

    /// Writes what was counted since the last time.
    pub async fn write_counted(&self) {
        let now = self.clock.now();
        let mut counted = self.limiter().counted();
        for record in &mut counted {
            record.at = now;
        }
        self.keep(&counted).await;
    }

    /// Writes what was counted once a minute, until the service stops.
    pub async fn run(&self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => self.write_counted().await,
                () = shutdown.wait() => return,
            }
        }
    }

    /// Appends records; a store that fails ends the process by itself.
    pub async fn keep(&self, records: &[AuditRecord]) {
        if let Err(error) = self.log.append_records(records, random::bytes()).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                records = records.len(),
                "acts were not recorded in the audit"
            );
        }
    }

    fn limiter(&self) -> std::sync::MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
