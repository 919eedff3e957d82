//! Every job and run, in memory: the fold of the log, rebuilt at start.
//!
//! A run is locked while a command on it is decided and appended, so that two words about one run never race; runs do not
//! wait for each other. What a follower reads ([`Job::feed`]) is filled in the log's order by one reader of the log, never by
//! the handlers, so that a cursor never passes over anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use borealis_bus_schema::ids::{Guid, JobId, RunId};
use borealis_bus_schema::messages::scheduler::{JobView, OutputStream, RunState, RunView};
use borealis_bus_schema::messages::waves::WavesView;
use borealis_bus_schema::time::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::fold::Print;
use crate::job::{Approved, Created, Standing};
use crate::newest::{Place, newest};
use crate::run;
use crate::waves;

/// Names a run by its place in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// When the job was made; runs of a device go in this order.
    pub created_at: Timestamp,
    /// The job.
    pub job: JobId,
    /// The run's place in the job.
    pub index: u32,
}

/// Is a device of a job, as it was when the job was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The device.
    pub guid: Guid,
    /// Its name then.
    pub hostname: String,
}

/// Is one run with what its delivery needs to know.
#[derive(Debug)]
pub struct Slot {
    /// The run.
    pub run: RunId,
    /// Its place in the job.
    pub index: u32,
    /// The stream's version.
    pub version: u64,
    /// The fold of its events.
    pub state: run::State,
    /// How often its order went out without an answer since the last one.
    pub tries: u32,
    /// Whether an order is on its way.
    pub in_flight: bool,
    /// Whether an order to begin may have reached the device.
    pub ordered: bool,
    /// Whether something happened while an order was on its way.
    pub look_again: bool,
    /// How often the run was asked after while its output did not grow, and how much there was.
    pub output_waits: (u32, u64),
    /// What the device said last when it took no order.
    pub hint: Option<String>,
    /// Why its device gets nothing at present, although it may be there.
    pub held: Option<String>,
    /// What is known of the digests of stdout and stderr.
    pub prints: [Print; 2],
}

impl Slot {
    /// Returns what is known of a stream's digest.
    pub fn print(&mut self, stream: OutputStream) -> &mut Print {
        let [stdout, stderr] = &mut self.prints;
        match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        }
    }

    /// Takes in what an event says of output.
    fn digest(&mut self, event: &run::Event) {
        match event {
            run::Event::Output { stream, inline, .. } => self.print(*stream).take(inline.as_deref()),
            run::Event::Ended(end) | run::Event::EndedAfterAll(end) if !end.is_without_process() => {
                self.prints.iter_mut().for_each(Print::close);
            }
            _ => {}
        }
    }
}

/// Is what happened in a job, for whoever follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedItem {
    /// Where it stands in the log.
    pub position: u64,
    /// The run's place in the job.
    pub index: u32,
    /// What it is.
    pub what: FeedWhat,
}

/// Tells a chunk from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedWhat {
    /// A chunk of output.
    Chunk {
        /// Which stream.
        stream: OutputStream,
        /// Which chunk of the stream.
        seq: u64,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        size_bytes: u32,
        /// Whether it stands in the log.
        inline: bool,
    },
    /// The run is over.
    Ended,
}

/// Is what happened in a job, in the log's order.
#[derive(Debug, Default)]
pub struct Feed {
    /// What happened.
    pub items: Vec<FeedItem>,
    /// How many runs are over.
    pub ended: u64,
}

/// Is a job's waves.
#[derive(Debug)]
pub struct Waved {
    /// How they are laid out.
    pub plan: waves::Plan,
    /// Where they stand; written under the lock of the job's own stream.
    pub state: Mutex<waves::State>,
}

/// Is one job.
#[derive(Debug)]
pub struct Job {
    /// What was asked.
    pub created: Created,
    /// The devices, in the order of the runs.
    pub targets: Vec<Target>,
    /// The runs.
    pub slots: Vec<tokio::sync::Mutex<Slot>>,
    /// Its waves, where it has any.
    pub waves: Option<Waved>,
    /// Whether an operator cancelled it.
    pub cancelled: AtomicBool,
    /// Another operator's approval, once it has one.
    pub approved: OnceLock<Approved>,
    /// The version of its own stream.
    pub version: tokio::sync::Mutex<u64>,
    /// What happened, in the log's order.
    pub feed: Mutex<Feed>,
    /// Tells followers the log position up to which the feed is filled.
    pub filled: watch::Sender<u64>,
    counts: [AtomicU64; RunState::ALL.len()],
}

impl Job {
    /// Makes a job whose runs all wait.
    pub fn new(created: Created, targets: Vec<Target>, version: u64) -> Self {
        let slots = (0u32..).zip(&targets).map(|(index, target)| {
            tokio::sync::Mutex::new(Slot {
                run: RunId::of_job(&created.job, &target.guid),
                index,
                version: 0,
                state: run::State::queued(),
                tries: 0,
                in_flight: false,
                ordered: false,
                look_again: false,
                output_waits: (0, 0),
                hint: None,
                held: None,
                prints: Default::default(),
            })
        });
        let slots: Vec<_> = slots.collect();
        let counts: [AtomicU64; RunState::ALL.len()] = std::array::from_fn(|_| AtomicU64::new(0));
        if let Some(queued) = counts.first() {
            queued.store(slots.len() as u64, Ordering::Relaxed);
        }
        let waves = created.what.waves.as_ref().map(|waves| Waved {
            plan: waves::Plan::of(waves, slots.len() as u64),
            state: Mutex::default(),
        });
        Self {
            created,
            targets,
            slots,
            waves,
            cancelled: AtomicBool::new(false),
            approved: OnceLock::new(),
            version: tokio::sync::Mutex::new(version),
            feed: Mutex::default(),
            filled: watch::Sender::new(version),
            counts,
        }
    }

    /// Names one of its runs.
    pub fn key(&self, index: u32) -> RunKey {
        RunKey {
            created_at: self.created.created_at,
            job: self.created.job,
            index,
        }
    }

    /// Returns the run at an index; `None` when the job has no such run.
    pub fn slot(&self, index: u32) -> Option<&tokio::sync::Mutex<Slot>> {
        self.slots.get(usize::try_from(index).ok()?)
    }

    /// Returns the device of the run at an index; `None` when the job has no such run.
    pub fn target(&self, index: u32) -> Option<&Target> {
        self.targets.get(usize::try_from(index).ok()?)
    }

    /// Folds events into a run that the caller has locked, and keeps count.
    pub fn evolve(&self, slot: &mut Slot, events: &[run::Event], version: u64) {
        let before = slot.state.state;
        for event in events {
            slot.digest(event);
            if matches!(event, run::Event::Retried { .. }) {
                // Of the next try nothing is known yet.
                (slot.ordered, slot.tries, slot.output_waits) = (false, 0, (0, 0));
            }
            slot.state = run::evolve(std::mem::replace(&mut slot.state, run::State::queued()), event);
        }
        slot.version = version;
        let after = slot.state.state;
        if before != after {
            // Counted twice for a moment, never nowhere: a job with no run left to count would look done.
            self.count(after).map(|n| n.fetch_add(1, Ordering::Release));
            self.count(before).map(|n| n.fetch_sub(1, Ordering::Release));
        }
    }

    fn count(&self, state: RunState) -> Option<&AtomicU64> {
        RunState::ALL
            .iter()
            .position(|s| *s == state)
            .and_then(|at| self.counts.get(at))
    }

    /// Tells how many runs are in each state.
    pub fn counts(&self) -> BTreeMap<RunState, u64> {
        let loaded = RunState::ALL
            .iter()
            .zip(&self.counts)
            .map(|(state, n)| (*state, n.load(Ordering::Acquire)));
        loaded.filter(|(_, n)| *n > 0).collect()
    }

    /// Tells whether every run is over.
    pub fn is_done(&self) -> bool {
        self.counts().keys().all(|state| state.is_final())
    }

    /// Tells whether every run is over, as far as either the counts or the log's reader know.
    pub fn is_over(&self) -> bool {
        self.is_done() || self.feed.lock().ended >= self.created.runs_total
    }

    /// Tells how many runs failed, were refused or interrupted, or took too long.
    pub fn failures(&self) -> u64 {
        use RunState as S;
        let count = |state| self.count(state).map_or(0, |n| n.load(Ordering::Acquire));
        [S::Failed, S::TimedOut, S::Refused, S::Interrupted]
            .into_iter()
            .map(count)
            .sum()
    }

    /// Says why a run may not begin yet because of its wave or the brake; none when it may.
    pub fn hold(&self, index: u32) -> Option<String> {
        let waved = self.waves.as_ref()?;
        waved.plan.holds(&waved.state.lock(), u64::from(index), self.failures())
    }

    /// Tells whether a run's wave has begun.
    pub fn wave_began(&self, index: u32) -> bool {
        let began = |waved: &Waved| waved.plan.wave_of(u64::from(index)) <= waved.state.lock().wave;
        self.waves.as_ref().is_none_or(began)
    }

    /// Folds an event of its waves.
    pub fn evolve_waves(&self, event: &waves::Event) {
        if let Some(waved) = &self.waves {
            let mut state = waved.state.lock();
            *state = waves::evolve(state.clone(), event);
        }
    }

    /// Gathers what its waves are decided by. A run that somebody writes to at this moment counts as busy.
    pub fn wave_facts(&self, waved: &Waved, now: Timestamp, is_away: impl Fn(&Guid) -> bool) -> waves::Facts {
        let counts = self.counts();
        let of = |state| counts.get(&state).copied().unwrap_or_default();
        let mut facts = waves::Facts {
            now,
            failures: self.failures(),
            waiting: of(RunState::Queued),
            over: 0,
            busy: of(RunState::Delivered) + of(RunState::Running),
            away: 0,
        };
        if facts.busy > 0 {
            // The wave is not over, whatever the others do.
            return facts;
        }
        let wave = waved.state.lock().wave;
        let (begin, end) = (waved.plan.end_of(wave.saturating_sub(1)), waved.plan.end_of(wave));
        for (index, (target, slot)) in (0..end).zip(self.targets.iter().zip(&self.slots)) {
            match slot.try_lock() {
                Ok(slot) if slot.state.end.is_some() => facts.over += u64::from(index >= begin),
                Ok(slot) if !slot.in_flight && slot.state.state == RunState::Queued && is_away(&target.guid) => {
                    facts.away += 1;
                }
                _ => facts.busy += 1,
            }
        }
        facts
    }

    /// Returns where its waves stand as operators see it.
    fn waves_view(&self, plan: &waves::Plan, state: &waves::State) -> WavesView {
        let is_open = !self.is_done();
        WavesView {
            wave: state.wave,
            waves_total: plan.len(),
            devices: plan.end_of(state.wave),
            failures: self.failures().saturating_sub(state.forgiven),
            brake: plan.brake(),
            state: state.word().to_owned(),
            next_at: plan.next_at(state).filter(|_| is_open),
            reason: (is_open && (state.braked.is_some() || state.wave < plan.len())).then(|| plan.waits(state)),
        }
    }

    /// Returns its devices.
    pub fn devices(&self) -> BTreeSet<Guid> {
        self.targets.iter().map(|target| target.guid).collect()
    }

    /// Tells whether nothing may happen before another operator approves it.
    pub fn awaits_approval(&self) -> bool {
        self.created.needs_approval && self.approved.get().is_none()
    }

    /// Tells where it stands for whoever wants to approve it.
    pub fn standing(&self) -> Standing {
        Standing {
            awaited: self.awaits_approval(),
            cancelled: self.cancelled.load(Ordering::Relaxed),
        }
    }

    /// Returns the job as operators see it.
    pub fn view(&self) -> JobView {
        let state = self.waves.as_ref().map(|waved| waved.state.lock().clone());
        self.view_with(state.as_ref())
    }

    /// Returns the job as operators see it once its waves stand so.
    pub fn view_with(&self, state: Option<&waves::State>) -> JobView {
        let waved = self
            .waves
            .as_ref()
            .zip(state)
            .map(|(waved, state)| (&waved.plan, state));
        let Created {
            job,
            username,
            what,
            created_at,
            expires_at,
            runs_total,
            firing,
            ..
        } = &self.created;
        let state = match () {
            () if self.is_done() => "done",
            () if self.awaits_approval() => "awaiting_approval",
            () if waved.is_some_and(|(plan, state)| plan.needs_operator(state)) => "paused",
            () => "active",
        };
        JobView {
            job: *job,
            created_at: *created_at,
            created_by: username.clone(),
            role: what.role.clone(),
            verb: what.verb.clone(),
            language: what.language,
            context: what.context,
            script_digest: what.script_digest,
            timeout_ms: what.timeout_ms,
            expires_at: *expires_at,
            runs_total: *runs_total,
            counts: self.counts(),
            state: state.to_owned(),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            approved_by: self.approved.get().map(|approved| approved.by.clone()),
            schedule: firing.map(|firing| firing.schedule),
            due: firing.and_then(|firing| firing.due),
            waves: waved.map(|(plan, state)| self.waves_view(plan, state)),
        }
    }

    /// Returns a run as operators see it; `None` when the job has no such run.
    pub async fn run_view(&self, index: u32) -> Option<RunView> {
        let (target, slot) = (self.target(index)?, self.slot(index)?.lock().await);
        let state = &slot.state;
        let end = state.end.as_deref();
        let hold = || self.hold(index).filter(|_| state.state == RunState::Queued);
        let waits = || hold().or_else(|| slot.held.clone()).or_else(|| slot.hint.clone());
        Some(RunView {
            run: slot.run,
            job: self.created.job,
            guid: target.guid,
            hostname: target.hostname.clone(),
            state: state.state,
            attempt: state.attempt,
            exit_code: end.and_then(|e| e.exit_code),
            queued_at: self.created.created_at,
            delivered_at: state.delivered_at,
            started_at: state.started_at,
            ended_at: end.map(|e| e.ended_at),
            duration_ms: end.and_then(|e| e.duration_ms),
            reason: end.map_or_else(waits, |e| e.reason.clone()),
            code: end.and_then(|e| e.code),
            truncated: end.is_some_and(|e| e.truncated),
            stdout_bytes: state.stdout.bytes,
            stderr_bytes: state.stderr.bytes,
        })
    }
}

/// Holds every job.
#[derive(Debug, Default)]
pub struct Book {
    jobs: RwLock<HashMap<JobId, Arc<Job>>>,
    by_time: RwLock<BTreeSet<Place<JobId>>>,
    runs: RwLock<HashMap<RunId, (JobId, u32)>>,
    waiting: Mutex<HashMap<Guid, BTreeSet<RunKey>>>,
}

impl Book {
    /// Adds a job; its runs count as waiting for their devices.
    pub fn add(&self, job: Arc<Job>) {
        let id = job.created.job;
        {
            let (mut runs, mut waiting) = (self.runs.write(), self.waiting.lock());
            for (index, target) in (0u32..).zip(&job.targets) {
                runs.insert(RunId::of_job(&id, &target.guid), (id, index));
                waiting.entry(target.guid).or_default().insert(job.key(index));
            }
        }
        let created_at = job.created.created_at;
        self.jobs.write().insert(id, job);
        self.by_time.write().insert((created_at, id));
    }

    /// Finds a job.
    pub fn job(&self, id: &JobId) -> Option<Arc<Job>> {
        self.jobs.read().get(id).cloned()
    }

    /// Lists every job.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.jobs.read().values().cloned().collect()
    }

    /// Finds a run's job and its place there.
    pub fn run(&self, id: &RunId) -> Option<(Arc<Job>, u32)> {
        let (job, index) = self.runs.read().get(id).copied()?;
        Some((self.job(&job)?, index))
    }

    /// Lists those that a filter lets through, newest first, behind a place, at most `limit`.
    pub fn newest(
        &self,
        before: Option<Place<JobId>>,
        limit: usize,
        sees: impl Fn(&Job) -> bool,
    ) -> Vec<(Place<JobId>, Arc<Job>)> {
        newest(&self.by_time, &self.jobs, before, limit, sees)
    }

    /// Lists the runs that are not over on a device, in the order of their jobs.
    pub fn open_runs_of(&self, guid: &Guid) -> Vec<RunKey> {
        self.waiting
            .lock()
            .get(guid)
            .map(|keys| keys.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Lists the devices on which a job's run is not over.
    pub fn open_devices(&self, job: &Job) -> Vec<Guid> {
        let waiting = self.waiting.lock();
        let is_open = |index, guid| waiting.get(guid).is_some_and(|keys| keys.contains(&job.key(index)));
        (0u32..)
            .zip(&job.targets)
            .filter(|(index, target)| is_open(*index, &target.guid))
            .map(|(_, target)| target.guid)
            .collect()
    }

    /// Lists every run that is not over.
    pub fn open_runs(&self) -> Vec<RunKey> {
        self.waiting.lock().values().flatten().copied().collect()
    }

    /// Forgets that a run waits: it is over.
    pub fn close(&self, guid: &Guid, key: &RunKey) {
        let mut waiting = self.waiting.lock();
        if let Some(keys) = waiting.get_mut(guid) {
            keys.remove(key);
            if keys.is_empty() {
                waiting.remove(guid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::What;
    use borealis_bus_schema::ids::{GrantId, OperatorId, RoleName, VerbName};
    use borealis_bus_schema::order::{Context, Digest};

    fn job(number: u16) -> Arc<Job> {
        let [high, low] = number.to_be_bytes();
        let mut id = [0; 16];
        (id[0], id[1]) = (high, low);
        let created = Created {
            job: JobId::from_bytes(id),
            author: OperatorId::from_bytes([1; 16]),
            username: "ada".into(),
            what: What {
                role: RoleName::agent(),
                verb: VerbName::ping(),
                language: None,
                context: Context::System,
                script_digest: None,
                timeout_ms: 1,
                retry: run::Retry::default(),
                waves: None,
            },
            // Two in each millisecond.
            created_at: Timestamp::from_unix_ms(i64::from(number / 2)),
            expires_at: Timestamp::from_unix_ms(i64::MAX / 2),
            grant: GrantId::from_bytes([2; 16]),
            file: Digest::of(b"x"),
            runs_total: 0,
            needs_approval: false,
            firing: None,
        };
        Arc::new(Job::new(created, Vec::new(), 1))
    }

    #[test]
    fn a_list_goes_on_behind_any_place_and_passes_over_what_is_not_seen() {
        let book = Book::default();
        for number in 0..1_000 {
            book.add(job(number));
        }
        let ids = |jobs: Vec<(Place<JobId>, Arc<Job>)>| -> Vec<JobId> {
            jobs.iter().map(|(_, job)| job.created.job).collect()
        };
        let sees = |job: &Job| job.created.job.as_bytes()[1].is_multiple_of(100);
        let all = ids(book.newest(None, 2_000, sees));
        let expected = (0..1_000u16).rev().filter(|number| (number % 256).is_multiple_of(100));
        let expected: Vec<JobId> = expected.map(|number| job(number).created.job).collect();
        assert_eq!(all, expected);
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = book.newest(before, 2, sees);
            let Some((last, _)) = page.last() else { break };
            before = Some(*last);
            paged.extend(ids(page));
        }
        assert_eq!(paged, all);
    }
}
