//! Fires what is due: a thin shell around an agenda and [`crate::schedule`].
//!
//! A look at a schedule decides, then writes the decision and the jobs that it makes in one append, so that a crash leaves
//! both or none. Nothing runs before; what a repetition would write is what stands there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, JobId, ScheduleId};
use borealis_bus_schema::messages::schedules::Concurrency;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, EventRecord, StreamId, StreamWrite};
use borealis_service_kit::auth::{Caller, STALE_AFTER_MS};
use borealis_service_kit::operator::wire_error;
use borealis_service_kit::random;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

use super::{Authority, Entry, Slot};
use crate::aim::{self, Aimed};
use crate::book::{Job, Target};
use crate::commit::job_stream;
use crate::job::{self, Fired};
use crate::orders;
use crate::schedule::{self, Decided, Event, Facts, Outcome};
use crate::scheduler::{Scheduler, decode};
use crate::stored::Stored;
use crate::targets;

/// Is how many schedules are looked at at once.
const AT_ONCE: usize = 1_024;
/// Is how long the loop sleeps at most: how soon it notices that somebody set the clock.
const NAP: Duration = Duration::from_secs(5);
/// Is how far a clock has to go back for every schedule to be looked at anew, in milliseconds. What is let go lies further
/// back than the grace, which is longer.
const WENT_BACK_MS: i64 = 30_000;
/// Is when a look is repeated that could not be finished, in milliseconds.
const AGAIN_MS: i64 = 1_000;
/// Is when a schedule is looked at again where a look at it failed in a way that nobody thought of, in milliseconds.
const BROKEN_MS: i64 = 60_000;
/// Is how often a schedule is looked at whose firing waits for the one before, in milliseconds.
const WAITS_MS: i64 = 10_000;
/// Is how many jobs of a schedule may be open before a firing leaves out the devices that are busy with them.
const MAX_OPEN: usize = 100;

const RUN: Need = Need::Right(Right::JobsRun);

/// Returns the stream of a schedule.
///
/// Errors: never for an id.
pub fn schedule_stream(id: &ScheduleId) -> Reply<StreamId> {
    StreamId::new(&format!("schedule-{id}")).map_err(|_| WireError::new(Code::Internal, "the stream has no name"))
}

/// Finds the schedule whose stream a record stands in.
pub fn schedule_of_stream(record: &EventRecord) -> Option<ScheduleId> {
    record.stream.as_str().strip_prefix("schedule-")?.parse().ok()
}

/// Tells whether a refusal of a schedule's author is a word that counts: anything else is asked again.
const fn is_word(code: Code) -> bool {
    matches!(
        code,
        Code::TokenExpired | Code::TokenRevoked | Code::TokenInvalid | Code::NoLongerPermitted | Code::RightMissing
    )
}

/// Is on which devices a firing would run now.
struct Free {
    /// Those that are free for it.
    targets: Vec<Target>,
    /// How many are meant, free or not.
    meant: u64,
    /// Whether what runs already keeps it from running.
    held: bool,
}

impl Free {
    fn facts<'a>(&self, now: Timestamp, refused: Option<&'a WireError>) -> Facts<'a> {
        let devices = if self.held {
            self.meant
        } else {
            self.targets.len() as u64
        };
        Facts {
            now,
            held: self.held,
            devices: refused.map_or(Ok(devices), Err),
        }
    }
}

/// Does something for each of some schedules at once; returns those for which it panicked.
async fn each<F>(ids: Vec<ScheduleId>, look: impl Fn(ScheduleId) -> F) -> Vec<(ScheduleId, JoinError)>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut looks = JoinSet::new();
    let mut of = HashMap::new();
    for id in ids {
        of.insert(looks.spawn(look(id)).id(), id);
    }
    let mut failed = Vec::new();
    while let Some(ended) = looks.join_next().await {
        if let Err(error) = ended
            && let Some(id) = of.get(&error.id())
        {
            failed.push((*id, error));
        }
    }
    failed
}

impl Scheduler {
    /// Folds an event of a schedule while the service starts.
    pub async fn fold_schedule(&self, record: &EventRecord, event: Event) {
        if let Event::Created(created) = event {
            self.schedules.add(*created, record.position);
            return;
        }
        if let Some(entry) = schedule_of_stream(record).and_then(|id| self.schedules.get(&id)) {
            entry.slot.lock().await.evolve(&entry.plan, &event, record.position);
        }
    }

    /// Gives every schedule its appointment, from where it stands and what time it is.
    pub async fn appoint_schedules(&self) {
        let now = self.clock.now();
        for entry in self.schedules.every() {
            let mut slot = entry.slot.lock().await;
            slot.dormant = None;
            self.prune(&mut slot);
            let at = if slot.state.queued.is_some() {
                Some(now)
            } else {
                schedule::next_look(&slot.state, &entry.plan, now)
            };
            let mut agenda = self.schedules.agenda.lock();
            match at {
                Some(at) => agenda.set(entry.created.schedule, at.unix_ms()),
                None => agenda.remove(&entry.created.schedule),
            }
        }
    }

    /// Fires what is due until the service stops; begins once it knows what devices there are now.
    pub async fn fire(self: Arc<Self>) {
        if let Some(fresh) = self.enrollment.get() {
            tokio::select! {
                () = fresh.wait(STALE_AFTER_MS) => {}
                () = self.shutdown.wait() => return,
            }
        }
        let mut seen = self.clock.now();
        while !self.shutdown.begun() {
            let now = self.clock.now();
            if seen.since_ms(now) > WENT_BACK_MS {
                warn!(before = %seen, %now, "the clock went back: every schedule is looked at anew");
                self.appoint_schedules().await;
            }
            seen = now;
            let due = self.schedules.agenda.lock().take_due(now.unix_ms(), AT_ONCE);
            if due.is_empty() {
                let next = self.schedules.agenda.lock().next_ms();
                let until = next.map_or(NAP, |at| {
                    Duration::from_millis(at.saturating_sub(now.unix_ms()).max(0).unsigned_abs())
                });
                tokio::select! {
                    () = tokio::time::sleep(until.min(NAP)) => {}
                    () = self.schedules.wake.notified() => {}
                    () = self.shutdown.wait() => return,
                }
                continue;
            }
            for (id, error) in each(due, |id| Arc::clone(&self).look_at_schedule(id)).await {
                error!(schedule = %id, error = %error, "a look at a schedule failed; it is tried again in a minute");
                self.schedules.appoint(id, Some(now.plus_ms(BROKEN_MS)));
            }
        }
    }

    /// Looks at a schedule now, and sets its next appointment.
    pub async fn look_at_schedule(self: Arc<Self>, id: ScheduleId) {
        let Some(entry) = self.schedules.get(&id) else { return };
        let mut slot = entry.slot.lock().await;
        if let Err(error) = self.see_to(&entry, &mut slot).await {
            warn!(schedule = %id, code = %error.code, error = %error.message, "a schedule could not be looked at; it is tried again");
            let again = self.clock.now().plus_ms(AGAIN_MS);
            self.schedules.appoint(id, Some(again));
        }
    }

    /// Tells a schedule whose firing waits for a job that one of the job's runs is over.
    pub fn schedule_goes_on(&self, job: &JobId) {
        let known = self.schedules.waiting.lock().get(job).copied();
        let Some(id) = known else { return };
        if self
            .book
            .job(job)
            .is_some_and(|job| !job.is_over() && self.is_there(&self.book.open_devices(&job)))
        {
            return;
        }
        self.schedules.waiting.lock().remove(job);
        self.schedules.appoint(id, Some(self.clock.now()));
    }

    /// Tells whether one of some devices is on the bus and gets orders.
    fn is_there(&self, guids: &[Guid]) -> bool {
        guids.iter().any(|guid| {
            let device = self.devices.get(guid);
            device.is_some_and(|device| device.online && device.status == DeviceStatus::Active)
        })
    }

    /// Finds out on which devices a firing would run beside what the schedule made before, and whether that holds it.
    ///
    /// A run holds the next firing while its device is on the bus. One that waits for a device which is away, or whose device
    /// went away with it, holds nothing but that device: the firing runs on the others.
    fn free(&self, entry: &Entry, slot: &Slot, found: Vec<Target>) -> Free {
        let is_full = slot.jobs.len() >= MAX_OPEN;
        let policy = entry.plan.concurrency;
        let counts = |job: &Job| match policy {
            Concurrency::Forbid | Concurrency::Queue => true,
            Concurrency::Allow => is_full,
            // What an operator let run is not the schedule's to cancel: it waits for that as `forbid` does.
            Concurrency::Replace => job.created.firing.is_some_and(|firing| firing.due.is_none()),
        };
        let jobs = slot.jobs.iter().filter_map(|id| self.book.job(id));
        let busy: BTreeSet<Guid> = jobs
            .filter(|job| counts(job))
            .flat_map(|job| self.book.open_devices(&job))
            .collect();
        let meant = found.len() as u64;
        let waits = policy != Concurrency::Allow && self.is_there(&busy.iter().copied().collect::<Vec<_>>());
        let targets: Vec<Target> = found
            .into_iter()
            .filter(|target| !busy.contains(&target.guid))
            .collect();
        let held = waits || (meant > 0 && targets.is_empty());
        Free { targets, meant, held }
    }

    async fn see_to(&self, entry: &Entry, slot: &mut Slot) -> Reply<()> {
        let id = entry.created.schedule;
        let now = self.clock.now();
        self.prune(slot);
        let (found, refused) = match self.author(entry).await {
            Ok(author) => match self.targets_now(entry, &author).await {
                Ok(found) => (found, None),
                Err(error) => (Vec::new(), Some(error)),
            },
            Err(error) if is_word(error.code) => (Vec::new(), Some(error)),
            Err(error) => return Err(error),
        };
        if slot.state.queued.is_some() {
            let free = self.free(entry, slot, found.clone());
            let facts = free.facts(now, refused.as_ref());
            if let Some(decided) = schedule::decide_queued(&slot.state, &entry.plan, &id, facts) {
                self.record(entry, slot, decided, &free.targets).await?;
            }
        }
        // Behind what was just written: it counts too.
        let free = self.free(entry, slot, found);
        let facts = free.facts(now, refused.as_ref());
        let looked = schedule::decide_due(&slot.state, &entry.plan, &id, facts);
        match looked.decided {
            None => slot.state.ledger = looked.ledger,
            Some(decided) => {
                let was_due = !decided.firings.is_empty();
                self.record(entry, slot, decided, &free.targets).await?;
                slot.dormant = refused.filter(|refused| was_due && refused.code == Code::TokenExpired);
            }
        }
        let at = schedule::next_look(&slot.state, &entry.plan, now).filter(|_| slot.dormant.is_none());
        let waits = slot.state.queued.is_some();
        // That a device went away tells nobody.
        let again = waits.then(|| now.plus_ms(WAITS_MS));
        self.schedules.appoint(id, at.into_iter().chain(again).min());
        if waits {
            let mut waiting = self.schedules.waiting.lock();
            waiting.extend(slot.jobs.iter().map(|job| (*job, id)));
            drop(waiting);
            // What ended before it was waited for tells nobody.
            self.prune(slot);
            if slot.jobs.is_empty() {
                self.schedules.appoint(id, Some(now));
            }
        }
        Ok(())
    }

    /// Forgets jobs that are over.
    fn prune(&self, slot: &mut Slot) {
        slot.jobs
            .retain(|id| self.book.job(id).is_some_and(|job| !job.is_over()));
    }

    /// Returns whom a schedule acts for, with what that operator may do now.
    async fn author(&self, entry: &Entry) -> Reply<Caller> {
        if entry.authority.get().is_none() {
            let warrant = self.warrant(&entry.created.file).await?;
            let asked = orders::schedule_of(&warrant.call)?;
            let sites = warrant.assembly_of(&asked.job)?.and_then(|assembly| assembly.sites);
            let author = self.authoriser.recognise(Some(&warrant.grant), RUN)?;
            entry.authority.get_or_init(|| Authority {
                author,
                targets: asked.job.targets,
                sites,
                listed: warrant.targets,
            });
        }
        match entry.authority.get() {
            Some(authority) => self.authoriser.still(&authority.author, RUN),
            None => Err(WireError::new(Code::Internal, "the schedule's author is gone")),
        }
    }

    /// Lists the devices that a schedule's author reaches now, of those that its assembly is for.
    ///
    /// Errors: its targets cannot be read any more.
    async fn targets_now(&self, entry: &Entry, author: &Caller) -> Reply<Vec<Target>> {
        let Some(Authority { targets, sites, .. }) = entry.authority.get() else {
            return Ok(Vec::new());
        };
        let mut aimed = self.aim(targets, author).await?;
        if let Some(sites) = sites {
            let is_for = |aimed: &Aimed| aimed.device.as_ref().is_some_and(|device| sites.contains(&device.site));
            aimed.retain(is_for);
        }
        Ok(aim::targets_of_firing(aimed))
    }

    /// Writes a decision down together with the jobs that it makes and ends, and then does what it says.
    async fn record(&self, entry: &Entry, slot: &mut Slot, decided: Decided, found: &[Target]) -> Reply<()> {
        let created = &entry.created;
        let stream = schedule_stream(&created.schedule)?;
        let made = self.jobs_of(entry, &decided, found).await?;
        let replaced = if made.is_empty() || entry.plan.concurrency != Concurrency::Replace {
            Vec::new()
        } else {
            let jobs = slot.jobs.iter().filter_map(|id| self.book.job(id));
            jobs.filter(|job| job.created.firing.is_some_and(|firing| firing.due.is_some()))
                .collect()
        };
        let event = Event::Decided(Box::new(decided));
        let mut writes = vec![StreamWrite {
            stream: stream.clone(),
            expected: slot.version,
            events: vec![Stored::Schedule(event.clone()).encode()?],
        }];
        for job in &made {
            writes.push(StreamWrite {
                stream: job_stream(&job.job)?,
                expected: 0,
                events: vec![Stored::Job(job::Event::Created(Box::new(job.clone()))).encode()?],
            });
        }
        let now = self.clock.now();
        let by = format!("schedule {}", created.name);
        let mut ended: Vec<(&Arc<Job>, tokio::sync::MutexGuard<'_, u64>)> = Vec::new();
        for job in &replaced {
            let version = job.version.lock().await;
            let Ok(events) = job::decide_cancel(job.cancelled.load(Ordering::Relaxed), &by, now) else {
                continue;
            };
            let events = events.into_iter().map(|event| Stored::Job(event).encode());
            writes.push(StreamWrite {
                stream: job_stream(&job.created.job)?,
                expected: *version,
                events: events.collect::<Result<_, _>>()?,
            });
            ended.push((job, version));
        }
        let append = Append {
            command_id: random::bytes(),
            command_digest: [0; 32],
            at_ms: now.unix_ms(),
            writes,
            answer: Vec::new(),
        };
        if !made.is_empty() {
            borealis_fail_points::reached("CS12");
        }
        if let Err(error) = self.log.append(append).await {
            if matches!(error, AppendError::Conflict { .. }) {
                for (job, version) in &mut ended {
                    self.catch_up_job(job, version)?;
                }
                drop(ended);
                self.catch_up(entry, &stream, slot)?;
            }
            return Err(wire_error(&error));
        }
        slot.evolve(&entry.plan, &event, self.version_of(&stream)?);
        for (job, mut version) in ended {
            self.catch_up_job(job, &mut version)?;
        }
        for job in made {
            info!(schedule = %created.schedule, job = %job.job, devices = job.runs_total, "a schedule fired");
            self.enter(job, found.to_vec())?;
        }
        Ok(())
    }

    /// Folds what a job's stream has beyond its version: that it was cancelled.
    fn catch_up_job(&self, job: &Job, version: &mut u64) -> Reply<()> {
        let records = self.log.read_stream(&job_stream(&job.created.job)?, *version, 1_000);
        for record in records.map_err(|_| storage_failed())? {
            *version = record.version;
            if let Ok(Some(Stored::Job(job::Event::Cancelled { .. }))) = decode(&record) {
                job.cancelled.store(true, Ordering::Relaxed);
                self.hasten((0u32..).zip(&job.slots).map(|(index, _)| job.key(index)));
            }
        }
        Ok(())
    }

    /// Makes the jobs of a decision; their list of devices is on disk when this returns.
    async fn jobs_of(&self, entry: &Entry, decided: &Decided, found: &[Target]) -> Reply<Vec<job::Created>> {
        let ran = decided.firings.iter().filter_map(|firing| match firing.outcome {
            Outcome::Ran { job, .. } => Some((firing.due, job)),
            _ => None,
        });
        let ran: Vec<(Timestamp, JobId)> = ran.collect();
        if ran.is_empty() {
            return Ok(Vec::new());
        }
        let list = targets::write(found);
        let known = entry.authority.get().map(|authority| authority.listed);
        let listed = match known.filter(|known| *known == Digest::of(&list)) {
            Some(known) => known,
            None => self.files.put(list).await?,
        };
        let created = &entry.created;
        let expires_in_ms = i64::try_from(created.expires_in_ms).unwrap_or(i64::MAX);
        let jobs = ran.into_iter().map(|(due, job)| job::Created {
            job,
            author: created.author,
            username: created.username.clone(),
            what: created.what.clone(),
            created_at: decided.at,
            expires_at: decided.at.plus_ms(expires_in_ms),
            grant: created.grant,
            file: created.file,
            runs_total: found.len() as u64,
            needs_approval: false,
            firing: Some(Fired {
                schedule: created.schedule,
                due: Some(due),
                targets: listed,
            }),
        });
        Ok(jobs.collect())
    }

    /// Returns a stream's version.
    ///
    /// Errors: `storage_failed`.
    pub fn version_of(&self, stream: &StreamId) -> Reply<u64> {
        self.log.stream_version(stream).map_err(|_| storage_failed())
    }

    /// Folds what a schedule's stream has beyond its slot, with the jobs that were made there: an append whose answer did not
    /// come was made all the same.
    ///
    /// Errors: `storage_failed`.
    pub fn catch_up(&self, entry: &Entry, stream: &StreamId, slot: &mut Slot) -> Reply<()> {
        let records = self.log.read_stream(stream, slot.version, 1_000);
        for record in records.map_err(|_| storage_failed())? {
            if let Ok(Some(Stored::Schedule(event))) = decode(&record) {
                for job in event.jobs() {
                    self.enter_from_log(job)?;
                }
                slot.evolve(&entry.plan, &event, record.position);
            }
        }
        Ok(())
    }

    /// Takes a job that stands in the log into the book, where it is not there.
    fn enter_from_log(&self, id: JobId) -> Reply<()> {
        if self.book.job(&id).is_some() {
            return Ok(());
        }
        let records = self.log.read_stream(&job_stream(&id)?, 0, 1);
        for record in records.map_err(|_| storage_failed())? {
            if let Ok(Some(Stored::Job(job::Event::Created(created)))) = decode(&record) {
                let targets = self.targets_of(&created, record.position);
                let targets = targets.map_err(|error| WireError::new(Code::StorageFailed, error.to_string()))?;
                self.enter(*created, targets)?;
            }
        }
        Ok(())
    }
}

fn storage_failed() -> WireError {
    WireError::new(Code::StorageFailed, "the store failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_panics_is_told_and_stops_no_other() {
        let id = |n: u8| ScheduleId::from_bytes([n; 16]);
        let (looked, seen) = tokio::sync::mpsc::unbounded_channel();
        let look = |id: ScheduleId| {
            let looked = looked.clone();
            async move {
                assert_ne!(id.as_bytes()[0], 2, "broken");
                looked.send(id).unwrap();
            }
        };
        let failed = each(vec![id(1), id(2), id(3)], look).await;
        let failed: Vec<_> = failed.iter().map(|(id, error)| (*id, error.is_panic())).collect();
        assert_eq!(failed, [(id(2), true)]);
        assert_eq!(seen.len(), 2);
    }
}
