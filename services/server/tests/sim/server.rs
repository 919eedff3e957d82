//! The scheduler's own decisions on a simulated log, bus and clock: what `delivery.rs` and the handlers do, without waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{Guid, JobId, OrderId};
use borealis_bus_schema::messages::device::{Accepted, OutputKept, RunResult, TellOutput, TellState};
use borealis_bus_schema::messages::scheduler::{CreateJob, RunState};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::order::Order;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, EventLog, StreamWrite};
use borealis_scheduler::agenda::Agenda;
use borealis_scheduler::book::{Book, Job, RunKey, Slot, Target};
use borealis_scheduler::commit;
use borealis_scheduler::devices::{Changed, Devices};
use borealis_scheduler::job::{self, Created};
use borealis_scheduler::orders::{self, Act, Ends, Wanted};
use borealis_scheduler::rollout;
use borealis_scheduler::run::{self, Place, Rejection};
use borealis_scheduler::scheduler::decode;
use borealis_scheduler::steps::{self, Look, OUTPUT_AGAIN_MS, Sight, Taken, pause_ms};
use borealis_scheduler::stored::Stored;
use borealis_scheduler::waves;
use futures_util::FutureExt;

use crate::disk::Log;

/// Is what a client asks for, kept in the file that the job names.
#[derive(Clone)]
pub struct Paper {
    pub request: CreateJob,
    pub targets: Vec<Target>,
}

/// Is an order that wants a signature.
pub struct Ask {
    pub job: JobId,
    pub index: u32,
    pub wanted: Wanted,
}

pub struct Server {
    events: Arc<dyn EventLog>,
    pub book: Book,
    pub devices: Devices,
    pub agenda: Agenda<RunKey>,
    /// When the waves of which job are looked at.
    rollouts: Agenda<JobId>,
    pub is_fresh: bool,
    /// Whether it has heard of every device once.
    pub is_ready: bool,
    /// The orders that are on their way.
    pub asked: BTreeMap<u64, (Arc<Job>, u32, Wanted)>,
}

impl Server {
    /// Begins with what the log holds.
    pub fn start(log: &Arc<Log>, papers: &BTreeMap<JobId, Paper>, now: Timestamp) -> Self {
        let events: Arc<dyn EventLog> = Arc::clone(log) as Arc<dyn EventLog>;
        let mut server = Self {
            events,
            book: Book::default(),
            devices: Devices::default(),
            agenda: Agenda::new(),
            rollouts: Agenda::new(),
            is_fresh: false,
            is_ready: false,
            asked: BTreeMap::new(),
        };
        for record in log.all() {
            let Some(stored) = decode(&record).unwrap() else {
                continue;
            };
            match stored {
                Stored::Job(job::Event::Created(created)) => {
                    let targets = papers[&created.job].targets.clone();
                    server.book.add(Arc::new(Job::new(*created, targets, record.position)));
                }
                Stored::Job(job::Event::Cancelled { .. }) => {
                    let id = record.stream.as_str().strip_prefix("job-").unwrap().parse().unwrap();
                    let job = server.book.job(&id).unwrap();
                    job.cancelled.store(true, Ordering::Relaxed);
                    *job.version.try_lock().unwrap() = record.position;
                }
                Stored::Job(job::Event::Waves(event)) => {
                    let id = record.stream.as_str().strip_prefix("job-").unwrap().parse().unwrap();
                    let job = server.book.job(&id).unwrap();
                    job.evolve_waves(&event);
                    *job.version.try_lock().unwrap() = record.position;
                }
                Stored::Run(event) => {
                    let id = record.stream.as_str().strip_prefix("run-").unwrap().parse().unwrap();
                    let (job, index) = server.book.run(&id).unwrap();
                    let mut slot = job.slot(index).unwrap().try_lock().unwrap();
                    job.evolve(&mut slot, std::slice::from_ref(&event), record.position);
                    if slot.state.end.is_some() {
                        server.book.close(&job.target(index).unwrap().guid, &job.key(index));
                    }
                }
                other => panic!("nothing here writes {other:?}"),
            }
        }
        for key in server.book.open_runs() {
            let job = server.book.job(&key.job).unwrap();
            steps::resume(&job, &mut job.slot(key.index).unwrap().try_lock().unwrap());
            server.agenda.set(key, now.unix_ms());
            server.rollouts.hasten(key.job, now.unix_ms());
        }
        server
    }

    /// Takes in one of enrollment's events.
    pub fn hear(&mut self, kind: &str, body: &[u8], now: Timestamp) {
        if let Changed::Online(guid) | Changed::Replaced(guid) | Changed::Held(guid) | Changed::ShutOut(guid) =
            self.devices.apply(kind, body).unwrap()
        {
            for key in self.book.open_runs_of(&guid) {
                self.agenda.hasten(key, now.unix_ms());
            }
        }
    }

    /// Makes a job; the same command gives the same one.
    pub fn create(&mut self, command: [u8; 16], created: Created, paper: &Paper) -> Reply<JobId> {
        let id = created.job;
        let write = StreamWrite {
            stream: commit::job_stream(&id).unwrap(),
            expected: 0,
            events: vec![
                Stored::Job(job::Event::Created(Box::new(created.clone())))
                    .encode()
                    .unwrap(),
            ],
        };
        let append = Append {
            command_id: command,
            command_digest: [1; 32],
            at_ms: created.created_at.unix_ms(),
            writes: vec![write],
            answer: Vec::new(),
        };
        let appended = self.events.append(append).now_or_never().unwrap();
        let appended = appended.map_err(|_| not_kept())?;
        if self.book.job(&id).is_none() {
            let at_ms = created.created_at.unix_ms();
            let job = Arc::new(Job::new(created, paper.targets.clone(), appended.last));
            self.book.add(Arc::clone(&job));
            for index in 0..u32::try_from(job.slots.len()).unwrap() {
                self.agenda.hasten(job.key(index), at_ms);
            }
            self.rollouts.hasten(id, at_ms);
        }
        Ok(id)
    }

    /// Tells when something is to be looked at.
    pub fn next_ms(&self) -> Option<i64> {
        self.agenda.next_ms().into_iter().chain(self.rollouts.next_ms()).min()
    }

    /// Continues a job; one that does not wait stays as it is.
    pub fn go_on(&mut self, command: [u8; 16], id: &JobId, now: Timestamp) -> Reply<()> {
        let job = self.book.job(id).ok_or_else(unknown)?;
        let Some(waved) = &job.waves else { return Ok(()) };
        if job.is_done() || job.cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let state = waved.state.lock().clone();
        let facts = rollout::facts_of(&job, waved, &self.devices, self.is_fresh, now);
        let Ok(events) = waves::decide_continue(&waved.plan, &state, &facts, "ada") else {
            return Ok(());
        };
        if self.keep_waves(command, &job, &events, now) {
            Ok(())
        } else {
            Err(not_kept())
        }
    }

    /// Looks after the waves that are due.
    fn roll_out(&mut self, now: Timestamp, mut command: impl FnMut() -> [u8; 16]) {
        for id in self.rollouts.take_due(now.unix_ms(), 256) {
            let Some(job) = self.book.job(&id) else { continue };
            let events = rollout::due(&job, &self.devices, self.is_fresh, now);
            if events.is_empty() || self.keep_waves(command(), &job, &events, now) {
                if let Some(at) = rollout::again_at(&job, now) {
                    self.rollouts.hasten(id, at.unix_ms());
                }
            } else {
                self.rollouts.hasten(id, now.plus_ms(5_000).unix_ms());
            }
        }
    }

    fn keep_waves(&mut self, command_id: [u8; 16], job: &Arc<Job>, events: &[waves::Event], now: Timestamp) -> bool {
        let mut version = job.version.try_lock().unwrap();
        let stored = events.iter().cloned().map(job::Event::Waves);
        let append = Append {
            command_id,
            command_digest: [3; 32],
            at_ms: now.unix_ms(),
            writes: vec![StreamWrite {
                stream: commit::job_stream(&job.created.job).unwrap(),
                expected: *version,
                events: stored.map(|event| Stored::Job(event).encode().unwrap()).collect(),
            }],
            answer: Vec::new(),
        };
        match self.events.append(append).now_or_never().unwrap() {
            Ok(appended) => *version = appended.last,
            Err(AppendError::Conflict { actual, .. }) => {
                *version = actual;
                return false;
            }
            Err(_) => return false,
        }
        for event in events {
            job.evolve_waves(event);
        }
        for index in 0..u32::try_from(job.slots.len()).unwrap() {
            self.agenda.hasten(job.key(index), now.unix_ms());
        }
        self.rollouts.hasten(job.created.job, now.unix_ms());
        true
    }

    /// Cancels a job; one that was cancelled before stays so.
    pub fn cancel(&mut self, command: [u8; 16], id: &JobId, now: Timestamp) -> Reply<()> {
        let job = self.book.job(id).ok_or_else(unknown)?;
        let mut version = job.version.try_lock().unwrap();
        let Ok(events) = job::decide_cancel(job.cancelled.load(Ordering::Relaxed), "ada", now) else {
            return Ok(());
        };
        let write = StreamWrite {
            stream: commit::job_stream(id).unwrap(),
            expected: *version,
            events: events
                .into_iter()
                .map(|event| Stored::Job(event).encode().unwrap())
                .collect(),
        };
        let append = Append {
            command_id: command,
            command_digest: [2; 32],
            at_ms: now.unix_ms(),
            writes: vec![write],
            answer: Vec::new(),
        };
        match self.events.append(append).now_or_never().unwrap() {
            Ok(appended) => *version = appended.last,
            Err(AppendError::Conflict { actual, .. }) => {
                *version = actual;
                return Err(not_kept());
            }
            Err(_) => return Err(not_kept()),
        }
        job.cancelled.store(true, Ordering::Relaxed);
        for index in 0..u32::try_from(job.slots.len()).unwrap() {
            self.agenda.hasten(job.key(index), now.unix_ms());
        }
        Ok(())
    }

    /// Looks after what is due; returns what is to be ordered.
    pub fn look_after(&mut self, now: Timestamp, mut id: impl FnMut() -> OrderId) -> BTreeMap<JobId, Vec<Ask>> {
        self.roll_out(now, || *id().as_bytes());
        let mut batches: BTreeMap<JobId, Vec<Ask>> = BTreeMap::new();
        for key in self.agenda.take_due(now.unix_ms(), 4_096) {
            let Some(job) = self.book.job(&key.job) else { continue };
            let guid = job.target(key.index).unwrap().guid;
            let mut slot = job.slot(key.index).unwrap().try_lock().unwrap();
            let device = self.devices.get(&guid);
            let sight = Sight {
                device: device.as_deref(),
                is_fresh: self.is_fresh,
            };
            match steps::look(&job, &mut slot, sight, now) {
                Look::Nothing => {}
                Look::Later(wait_ms) => self.agenda.hasten(key, now.plus_ms(wait_ms).unix_ms()),
                Look::Write(commands) => {
                    if self.put(&job, key, &mut slot, commands, now) && slot.state.end.is_none() {
                        self.agenda.hasten(key, now.unix_ms());
                    }
                }
                Look::Order(act) => {
                    let wanted = steps::want(&mut slot, guid, act, id());
                    batches.entry(key.job).or_default().push(Ask {
                        job: key.job,
                        index: key.index,
                        wanted,
                    });
                }
            }
        }
        batches
    }

    /// Builds the order that the signer is asked for.
    pub fn build(&self, ask: &Ask, paper: &Paper, now: Timestamp) -> Option<Order> {
        let created = &self.book.job(&ask.job)?.created;
        let begins = orders::body_of(&paper.request, created.what.script_digest);
        let ends = Ends::of(created.created_at, created.expires_at, created.what.timeout_ms);
        Some(orders::build(&paper.request, &begins, &ask.wanted, now, ends))
    }

    /// Asks again before an order leaves.
    pub fn still_goes(&self, ask: &Ask) -> Result<(), WireError> {
        let guid = &ask.wanted.guid;
        let job = self.book.job(&ask.job).ok_or_else(unknown)?;
        if ask.wanted.act == Act::Begin
            && let Some(hold) = job.hold(ask.index)
            && job.slot(ask.index).unwrap().try_lock().unwrap().state.state == RunState::Queued
        {
            return Err(WireError::new(Code::WrongState, hold));
        }
        if !self.is_fresh {
            return Err(WireError::new(Code::Stale, "too old"));
        }
        match self.devices.get(guid) {
            Some(device) if device.status != DeviceStatus::Active => Err(WireError::new(
                Code::DeviceQuarantined,
                "the device is not active any more",
            )),
            _ => Ok(()),
        }
    }

    /// Takes in that an order was not signed, did not leave, or was not answered.
    pub fn not_sent(&mut self, job: &Arc<Job>, index: u32, error: &WireError, now: Timestamp) {
        let key = job.key(index);
        let mut slot = job.slot(index).unwrap().try_lock().unwrap();
        match steps::not_sent(&mut slot, error, false, now) {
            Look::Nothing | Look::Order(_) => {}
            Look::Later(wait_ms) => self.agenda.hasten(key, now.plus_ms(wait_ms).unix_ms()),
            Look::Write(commands) => {
                self.put(job, key, &mut slot, commands, now);
            }
        }
    }

    /// Takes in what a device answered to an order.
    pub fn answered(&mut self, ask: u64, answer: Reply<Accepted>, now: Timestamp) {
        let Some((job, index, wanted)) = self.asked.remove(&ask) else {
            return;
        };
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(error) => return self.not_sent(&job, index, &error, now),
        };
        let key = job.key(index);
        let mut slot = job.slot(index).unwrap().try_lock().unwrap();
        let device = self.devices.get(&wanted.guid);
        let open =
            |slot: &Slot, result: &Signed| steps::open_result(device.as_deref()?, wanted.guid, slot, result).ok();
        match steps::take_answer(&mut slot, &wanted, &accepted, open, now) {
            Taken::Nothing => {}
            Taken::Later(wait_ms) => self.agenda.hasten(key, now.plus_ms(wait_ms).unix_ms()),
            Taken::WaitForOutput(commands) => {
                self.put(&job, key, &mut slot, commands, now);
                self.agenda.hasten(key, now.plus_ms(OUTPUT_AGAIN_MS).unix_ms());
            }
            Taken::Write(commands) => {
                if self.put(&job, key, &mut slot, commands, now) && slot.state.end.is_none() {
                    let wait_ms = steps::again_ms(&mut slot, wanted.act);
                    self.agenda.hasten(key, now.plus_ms(wait_ms).unix_ms());
                }
            }
        }
    }

    /// Keeps a device's last word on a run; nothing to answer is no word at all.
    pub fn told_result(&mut self, guid: &Guid, result: &Signed, now: Timestamp) -> Reply<()> {
        let named: RunResult = codec::decode(&result.bytes)?;
        let (job, index) = self.book.run(&named.run).ok_or_else(unknown)?;
        let mut slot = job.slot(index).unwrap().try_lock().unwrap();
        let device = self.devices.get(guid).ok_or_else(unknown)?;
        let end = steps::open_result(&device, *guid, &slot, result)?.end;
        let Some(commands) = steps::take_result(&slot.state, end, now) else {
            return Ok(());
        };
        if self.put(&job, job.key(index), &mut slot, commands, now) {
            Ok(())
        } else {
            Err(not_kept())
        }
    }

    /// Takes a hint of progress.
    pub fn told_state(&mut self, tell: &TellState, now: Timestamp) {
        let Some((job, index)) = self.book.run(&tell.run) else {
            return;
        };
        let mut slot = job.slot(index).unwrap().try_lock().unwrap();
        let commands = steps::take_state(&slot.state, tell, now);
        if !commands.is_empty() {
            self.put(&job, job.key(index), &mut slot, commands, now);
        }
    }

    /// Keeps a piece of output and says where to go on.
    pub fn told_output(&mut self, tell: &TellOutput, now: Timestamp) -> Reply<OutputKept> {
        let (job, index) = self.book.run(&tell.run).ok_or_else(unknown)?;
        let mut slot = job.slot(index).unwrap().try_lock().unwrap();
        let over = || WireError {
            retry: borealis_bus_schema::codes::Retry::Never,
            ..WireError::new(Code::WrongState, "over")
        };
        if tell.attempt != slot.state.attempt {
            return Err(over());
        }
        let answer = |next_offset| OutputKept {
            run: tell.run,
            stream: tell.stream,
            next_offset,
        };
        let size_bytes = tell.data.len() as u64;
        let inline = match run::place_of(&slot.state, tell.stream, tell.offset, size_bytes) {
            Ok(Place::Log) => Some(tell.data.clone()),
            Ok(Place::File(_)) => None,
            Err(Rejection::OutOfPlace { next_offset }) => return Ok(answer(next_offset)),
            Err(_) => return Err(over()),
        };
        let commands = steps::take_output(&slot.state, tell, size_bytes, inline, now);
        if self.put(&job, job.key(index), &mut slot, commands, now) {
            Ok(answer(slot.state.kept(tell.stream).bytes))
        } else {
            Err(not_kept())
        }
    }

    fn put(
        &mut self,
        job: &Arc<Job>,
        key: RunKey,
        slot: &mut Slot,
        commands: Vec<run::Command>,
        now: Timestamp,
    ) -> bool {
        let put = commit::put(&self.events, job, slot, commands, now);
        match put.now_or_never().unwrap() {
            Ok(_) => {
                if slot.state.end.is_some() {
                    self.book.close(&job.target(key.index).unwrap().guid, &key);
                    self.rollouts.hasten(key.job, now.unix_ms());
                }
                true
            }
            Err(_) => {
                self.agenda.hasten(key, now.plus_ms(pause_ms(3)).unix_ms());
                false
            }
        }
    }
}

fn unknown() -> WireError {
    WireError::new(Code::NotFound, "there is no such run")
}

fn not_kept() -> WireError {
    WireError::new(Code::StorageFailed, "it cannot be kept")
}
