//! Keeping what was refused, and what was accepted without an append of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use borealis_bus_schema::audit::{AuditRecord, Outcome};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{AppendError, EventLog};

use super::act::Act;
use super::limiter::{Admitted, Limiter};
use super::log::AuditedLog;
use crate::clock::Clock;
use crate::random;
use crate::shutdown::Shutdown;

/// Is how often counted refusals are written.
const EVERY: Duration = Duration::from_secs(60);

/// Tells whether a code says that somebody decided against an act; the others say that the server could not answer, or that
/// a device has no room now: it is asked again until it has.
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
            | Code::Busy
            | Code::NoSpace
            | Code::BusUnusable
    )
}

/// Keeps records that belong to no change.
pub struct Recorder {
    log: AuditedLog,
    clock: Arc<dyn Clock>,
    limiter: Mutex<Limiter>,
    handed: tokio::sync::Mutex<Batches>,
    unwritten: Mutex<VecDeque<AuditRecord>>,
}

/// Remembers batches that were handed over.
#[derive(Default)]
struct Batches {
    /// Those that are kept.
    kept: VecDeque<Handed>,
    /// The last one that was begun, with what the limits left of it: its repetition keeps the same.
    begun: Option<([u8; 16], Vec<AuditRecord>)>,
}

/// Is a batch of refusals that another process handed over: its id, and how many of them were kept.
type Handed = ([u8; 16], u64);

/// Is how many batches are remembered; the store remembers those of which something was kept for longer.
const MAX_HANDED: usize = 64;
/// Is how many records wait at most that could not be written.
const MAX_UNWRITTEN: usize = 1_024;
/// Is how many of those are written together.
const LATE_AT_ONCE: usize = 32;
/// Is how old a refusal that is handed over may be to keep its own time, in milliseconds; the index counts on it.
pub(super) const HANDED_WITHIN_MS: i64 = 15 * 60_000;

impl Recorder {
    /// Takes the log as the store has it.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log: AuditedLog::for_refusals(log),
            clock,
            limiter: Mutex::default(),
            handed: tokio::sync::Mutex::default(),
            unwritten: Mutex::default(),
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

    /// Keeps what another process says that it refused, in one append, and returns how many; the same batch counts once.
    ///
    /// Whom these records name is a claim: they are limited as those of strangers are. A repetition that comes while the first
    /// is written waits for it: nothing is told kept before it is durable.
    ///
    /// Errors: [`AppendError`].
    pub async fn handed(&self, records: Vec<AuditRecord>, batch: [u8; 16]) -> Result<u64, AppendError> {
        let now = self.clock.now();
        let mut handed = self.handed.lock().await;
        if let Some((_, many)) = handed.kept.iter().find(|(id, _)| *id == batch) {
            return Ok(*many);
        }
        let begun = handed.begun.take().filter(|(id, _)| *id == batch);
        let kept = begun.map_or_else(|| self.admit_claimed(records, now), |(_, kept)| kept);
        handed.begun = Some((batch, kept.clone()));
        self.log.append_records_at(&kept, now, batch).await?;
        let many = kept.len() as u64;
        handed.begun = None;
        handed.kept.push_back((batch, many));
        if handed.kept.len() > MAX_HANDED {
            handed.kept.pop_front();
        }
        Ok(many)
    }

    fn admit_claimed(&self, records: Vec<AuditRecord>, now: Timestamp) -> Vec<AuditRecord> {
        let mut limiter = self.limiter();
        let timed = records.into_iter().map(|record| in_time(record, now));
        timed
            .filter(|record| limiter.admit_claimed(record, now.unix_ms()) == Admitted::Kept)
            .collect()
    }

    /// Writes what was counted since the last time, and what could not be written before.
    pub async fn write_counted(&self) {
        let now = self.clock.now();
        let late: Vec<AuditRecord> = lock(&self.unwritten).drain(..).collect();
        let late: Vec<AuditRecord> = late.into_iter().map(|record| in_time(record, now)).collect();
        for some in late.chunks(LATE_AT_ONCE) {
            self.keep_at(some, now).await;
        }
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

    /// Appends records; what is refused, as by a full disk, is tried again with what is counted. A store that fails ends the
    /// process by itself.
    pub async fn keep(&self, records: &[AuditRecord]) {
        if let Some(newest) = records.iter().map(|record| record.at).max() {
            self.keep_at(records, newest).await;
        }
    }

    async fn keep_at(&self, records: &[AuditRecord], at: Timestamp) {
        let Err(error) = self.log.append_records_at(records, at, random::bytes()).await else {
            return;
        };
        let mut unwritten = lock(&self.unwritten);
        let room = MAX_UNWRITTEN.saturating_sub(unwritten.len()).min(records.len());
        unwritten.extend(records.iter().take(room).cloned());
        tracing::error!(
            error = &error as &dyn std::error::Error,
            records = records.len(),
            lost = records.len() - room,
            "acts could not be recorded in the audit; it is tried again"
        );
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        lock(&self.limiter)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves a record the time that it names, where that can be true.
fn in_time(mut record: AuditRecord, now: Timestamp) -> AuditRecord {
    if !(0..=HANDED_WITHIN_MS).contains(&now.since_ms(record.at)) {
        record.at = now;
    }
    record
}

#[cfg(test)]
mod tests;
