//! Moves waves on: a thin shell around [`crate::waves`].
//!
//! A job's waves are looked at when one of its runs ends, when the clock lets the next one begin, and now and then, since
//! devices come and go. What is decided is written to the job's own stream before anything begins by it, so that a restart
//! finds the waves where they stood.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, JobId};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, StreamWrite};
use borealis_service_kit::auth::STALE_AFTER_MS;
use borealis_service_kit::operator::wire_error;
use borealis_service_kit::random;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::agenda::Agenda;
use crate::book::{Job, Waved};
use crate::commit::job_stream;
use crate::devices::{Device, Devices};
use crate::job;
use crate::scheduler::Scheduler;
use crate::stored::Stored;
use crate::waves::{self, Event, Facts};

/// Is how many jobs are looked at in one go.
const AT_ONCE: usize = 256;
/// Is how long the loop sleeps at most.
const NAP_MS: i64 = 60_000;
/// Is how often waves are looked at whose devices may come and go, in milliseconds.
const AGAIN_MS: i64 = 5_000;

/// Is when waves are looked at again whose job is being written to, in milliseconds.
const BUSY_MS: i64 = 500;

/// Is when the waves of which job are looked at.
#[derive(Debug, Default)]
pub struct Rollouts {
    agenda: Mutex<Agenda<JobId>>,
    wake: Notify,
}

impl Rollouts {
    /// Brings a job's next look forward to a time, in Unix milliseconds.
    pub fn hasten(&self, job: JobId, at_ms: i64) {
        self.agenda.lock().hasten(job, at_ms);
        self.wake.notify_one();
    }
}

/// Tells whether a device cannot take an order now, for whatever reason that may pass.
fn is_away(devices: &Devices, guid: &Guid) -> bool {
    let waits = |device: &Device| match device.status {
        DeviceStatus::Active => !device.online,
        DeviceStatus::Quarantined => true,
        // Its run ends as soon as it is looked at.
        DeviceStatus::Revoked | DeviceStatus::Decommissioned => false,
    };
    devices.get(guid).is_none_or(|device| waits(&device))
}

/// Decides what happens to a job's waves now; nothing when it has none, or is over, cancelled or not approved. When nobody can
/// tell which devices are away, none is.
pub fn due(job: &Job, devices: &Devices, is_fresh: bool, now: Timestamp) -> Vec<Event> {
    let Some(waved) = &job.waves else { return Vec::new() };
    if job.is_done() || job.awaits_approval() || job.cancelled.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let facts = facts_of(job, waved, devices, is_fresh, now);
    let state = waved.state.lock().clone();
    waves::decide(&waved.plan, &state, &facts)
}

/// Tells when a job's waves are looked at again; none when that takes an operator, or the job is over.
pub fn again_at(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let waved = job.waves.as_ref().filter(|_| !job.is_done())?;
    let state = waved.state.lock();
    let again = now.plus_ms(AGAIN_MS);
    let next = waved.plan.next_at(&state).unwrap_or(again);
    // A pause that is over already waits for whoever approves or cancels.
    (state.braked.is_none()).then(|| if next > now { next.min(again) } else { again })
}

/// Gathers what a job's waves are decided by.
pub fn facts_of(job: &Job, waved: &Waved, devices: &Devices, is_fresh: bool, now: Timestamp) -> Facts {
    job.wave_facts(waved, now, |guid| is_fresh && is_away(devices, guid))
}

impl Scheduler {
    /// Looks after the waves of jobs until the service stops; begins once it knows what devices there are now.
    pub async fn roll_out(self: Arc<Self>) {
        if let Some(fresh) = self.enrollment.get() {
            tokio::select! {
                () = fresh.wait(STALE_AFTER_MS) => {}
                () = self.shutdown.wait() => return,
            }
        }
        while !self.shutdown.begun() {
            let now = self.clock.now().unix_ms();
            let due = self.rollouts.agenda.lock().take_due(now, AT_ONCE);
            if due.is_empty() {
                let next = self.rollouts.agenda.lock().next_ms();
                let wait_ms = next.map_or(NAP_MS, |at| at.saturating_sub(now).clamp(0, NAP_MS));
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())) => {}
                    () = self.rollouts.wake.notified() => {}
                    () = self.shutdown.wait() => return,
                }
                continue;
            }
            for id in due {
                let Some(job) = self.book.job(&id) else { continue };
                if let Err(error) = self.see_to_waves(&job).await {
                    warn!(job = %id, code = %error.code, error = %error.message, "the waves of a job could not go on; it is tried again");
                    self.rollouts.hasten(id, self.clock.now().plus_ms(AGAIN_MS).unix_ms());
                }
            }
        }
    }

    /// Has a job's waves looked at now, where it has any.
    pub fn rolls(&self, job: &Job) {
        if job.waves.is_some() {
            self.rollouts.hasten(job.created.job, self.clock.now().unix_ms());
        }
    }

    async fn see_to_waves(self: &Arc<Self>, job: &Arc<Job>) -> Reply<()> {
        let now = self.clock.now();
        // Whoever holds it may wait for another service; other jobs' waves do not.
        let Ok(mut version) = job.version.try_lock() else {
            self.rollouts.hasten(job.created.job, now.plus_ms(BUSY_MS).unix_ms());
            return Ok(());
        };
        let events = due(job, &self.devices, self.devices_are_fresh(), now);
        if !events.is_empty() {
            self.append_waves(job, &mut version, &events).await?;
            self.take_waves(job, &events);
        }
        drop(version);
        if let Some(at) = again_at(job, now) {
            self.rollouts.hasten(job.created.job, at.unix_ms());
        }
        Ok(())
    }

    async fn append_waves(&self, job: &Job, version: &mut u64, events: &[Event]) -> Reply<()> {
        let stream = job_stream(&job.created.job)?;
        let events = events
            .iter()
            .map(|event| Stored::Job(job::Event::Waves(event.clone())).encode());
        let append = Append {
            command_id: random::bytes(),
            command_digest: [0; 32],
            at_ms: self.clock.now().unix_ms(),
            writes: vec![StreamWrite {
                stream: stream.clone(),
                expected: *version,
                events: events.collect::<Result<_, _>>()?,
            }],
            answer: Vec::new(),
        };
        match self.log.append(append).await {
            Ok(appended) => {
                *version = appended.last;
                Ok(())
            }
            Err(AppendError::Conflict { .. }) => {
                *version = self.version_of(&stream)?;
                let text = "something else of the job came first";
                Err(WireError::new(Code::Conflict, text))
            }
            Err(error) => Err(wire_error(&error)),
        }
    }

    /// Folds what happened to a job's waves, and brings forward the runs that may begin by it.
    pub fn take_waves(&self, job: &Arc<Job>, events: &[Event]) {
        for event in events {
            job.evolve_waves(event);
            info!(job = %job.created.job, event = ?event, "the waves of a job moved");
        }
        let begins = |event: &Event| matches!(event, Event::Opened { .. } | Event::Continued { .. });
        if events.iter().any(begins) {
            let open = (0u32..).zip(&job.slots).map(|(index, _)| index);
            self.hasten(
                open.take_while(|index| job.wave_began(*index))
                    .map(|index| job.key(index)),
            );
        }
    }
}
