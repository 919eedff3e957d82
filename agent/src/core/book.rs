//! The book of runs: what this device was told to do, how far each is, and what answers a repeated order.

use super::acceptance::REMEMBER_MS;
use super::backoff::Backoff;
use super::record::{Record, RunKey};
use super::window::Window;
use super::{Sealer, Why, accepted};
use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Signed, sha256};
use borealis_bus_schema::ids::{OrderId, RoleName, RunId};
use borealis_bus_schema::messages::device::{Accepted, RunResult};
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use borealis_bus_schema::order::{Digest, Order};
use borealis_bus_schema::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Is how many results are kept after the server has them.
const KEPT_RESULTS: usize = 128;

/// Holds one run.
#[derive(Debug)]
pub struct Entry {
    /// The order; none when the run was cancelled before its order came.
    pub order: Option<OrderId>,
    /// The order's digest.
    pub digest: Option<[u8; 32]>,
    /// What the order does, digested; the same for every order that repeats it.
    pub content: Option<[u8; 32]>,
    /// The role that does it.
    pub role: RoleName,
    /// How long it is remembered.
    pub keep_until: Timestamp,
    /// How far it is.
    pub phase: Phase,
}

/// Tells how far a run is.
#[derive(Debug)]
pub enum Phase {
    /// It waits for its turn.
    Queued(Box<Order>),
    /// The journal is about to take its start.
    Starting(Box<Order>),
    /// Its process lives, or is about to.
    Running(Box<Running>),
    /// An earlier life of this program left it.
    Leftover,
    /// It is over; the server does not know yet.
    Ended(Box<Ended>),
    /// The server has the result.
    Closed {
        /// How it ended.
        state: RunState,
        /// The signed result, while it is kept.
        result: Option<Signed>,
    },
}

/// Is a run under way.
#[derive(Debug)]
pub struct Running {
    /// When its timeout strikes.
    pub ends_at: Option<u64>,
    /// How long it may last.
    pub timeout_ms: u64,
    /// When its process began.
    pub started_at: Option<Timestamp>,
    /// Why it is being ended, if it is.
    pub ending: Option<Why>,
    /// Its output on the way.
    pub streams: Streams,
}

/// Is a run that is over, with what the server must still learn.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub state: RunState,
    /// The signed result.
    pub result: Signed,
    /// The result's content, until the journal holds it.
    pub unrecorded: Option<RunResult>,
    /// Its output on the way.
    pub streams: Streams,
    /// Whether the result is on its way.
    pub in_flight: bool,
    /// Whether the server has it and only the journal does not know.
    pub acknowledged: bool,
    /// When the next attempt is due.
    pub retry_at: u64,
    /// The pauses between attempts.
    pub backoff: Backoff,
}

impl Ended {
    /// Makes it from a signed result.
    pub const fn new(state: RunState, result: Signed, streams: Streams) -> Self {
        Self {
            state,
            result,
            unrecorded: None,
            streams,
            in_flight: false,
            acknowledged: false,
            retry_at: 0,
            backoff: Backoff::new(1_000, 60_000),
        }
    }
}

/// Holds both streams of a run.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard output.
    pub stdout: Window,
    /// Standard error.
    pub stderr: Window,
}

impl Streams {
    /// Returns a stream's window.
    pub const fn of(&mut self, stream: OutputStream) -> &mut Window {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
    /// Tells whether the server has all of both.
    pub const fn are_done(&self) -> bool {
        self.stdout.is_done() && self.stderr.is_done()
    }
    fn due_at(&self) -> Option<u64> {
        [self.stdout.due_at(), self.stderr.due_at()].into_iter().flatten().min()
    }
}

impl Entry {
    /// Makes the entry of an order that was received at that instant of the server's clock.
    pub fn of_order(order: Order, digest: [u8; 32], at: Timestamp) -> Self {
        Self {
            order: Some(order.order),
            digest: Some(digest),
            content: Some(content_of(&order)),
            role: order.role.clone(),
            keep_until: at.max(order.expires_at).plus_ms(REMEMBER_MS),
            phase: Phase::Queued(Box::new(order)),
        }
    }

    /// Makes the entry of a run that was cancelled before its order came.
    pub const fn forestalled(role: RoleName, keep_until: Timestamp, state: RunState, result: Signed) -> Self {
        Self {
            order: None,
            digest: None,
            content: None,
            role,
            keep_until,
            phase: Phase::Closed {
                state,
                result: Some(result),
            },
        }
    }

    /// Answers an order for this run.
    pub fn answer(&self, key: RunKey) -> Accepted {
        let (state, result) = match &self.phase {
            Phase::Queued(_) | Phase::Starting(_) => (RunState::Delivered, None),
            Phase::Running(_) | Phase::Leftover => (RunState::Running, None),
            // What the journal does not hold yet is not said.
            Phase::Ended(ended) if ended.unrecorded.is_some() => (RunState::Running, None),
            Phase::Ended(ended) => (ended.state, Some(ended.result.clone())),
            Phase::Closed { state, result } => (*state, result.clone()),
        };
        accepted(key.run, key.attempt, state, result)
    }
}

/// Digests what an order does, without what a repetition changes: its id, its times, the key that signs it.
pub fn content_of(order: &Order) -> [u8; 32] {
    let content = (order.context, &order.role, &order.verb, &order.body);
    sha256(&codec::encode(&content).unwrap_or_default())
}

/// Is what the journal held besides runs.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The number of the last hello.
    pub hello_counter: u64,
    /// The newest proved instant of the server's clock.
    pub proved_at: Timestamp,
}

/// Says that another order was seen for a run and attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay;

/// Holds every run that is remembered.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<RunKey, Entry>,
    by_digest: BTreeMap<[u8; 32], RunKey>,
    orders: BTreeMap<OrderId, RunKey>,
    /// The runs that are not closed; a tree, so that they come in the same order everywhere.
    active: BTreeSet<RunKey>,
    /// The closed runs whose result is kept, oldest first.
    with_result: VecDeque<RunKey>,
    /// When each run may be forgotten.
    expiry: BTreeMap<Timestamp, Vec<RunKey>>,
}

impl Book {
    /// Rebuilds the book from the journal's records.
    pub fn restore(records: Vec<Record>) -> (Self, Kept) {
        let mut book = Self::default();
        let mut kept = Kept {
            hello_counter: 0,
            proved_at: Timestamp::from_unix_ms(0),
        };
        for record in records {
            book.replay(record, &mut kept);
        }
        (book, kept)
    }

    fn replay(&mut self, record: Record, kept: &mut Kept) {
        match record {
            Record::Hello { counter } => kept.hello_counter = kept.hello_counter.max(counter),
            Record::Proved { at } => kept.proved_at = kept.proved_at.max(at),
            Record::Received { order, at } => {
                let digest = sha256(&order);
                let Ok(order) = codec::decode::<Order>(&order) else {
                    tracing::error!("the journal holds an order that cannot be read");
                    return;
                };
                kept.proved_at = kept.proved_at.max(order.issued_at.min(at));
                let key = RunKey {
                    run: order.run,
                    attempt: order.attempt,
                };
                if !self.has_run(key) {
                    self.insert(key, Entry::of_order(order, digest, at));
                }
            }
            Record::Starting { key, .. } => self.set_phase(key, Phase::Leftover),
            Record::Exited {
                key,
                role,
                state,
                result,
                stdout_bytes,
                stderr_bytes,
                keep_until,
            } => {
                if let Some(keep_until) = keep_until.filter(|_| !self.has_run(key)) {
                    return self.insert(key, Entry::forestalled(role, keep_until, state, result));
                }
                let is_instant = self.get(key).is_some_and(|entry| matches!(&entry.phase, Phase::Queued(order) if matches!(order.body, borealis_bus_schema::order::OrderBody::Ping)));
                if is_instant {
                    return self.set_phase(
                        key,
                        Phase::Closed {
                            state,
                            result: Some(result),
                        },
                    );
                }
                let mut streams = Streams::default();
                streams.stdout.grew_to(stdout_bytes);
                streams.stderr.grew_to(stderr_bytes);
                self.set_phase(key, Phase::Ended(Box::new(Ended::new(state, result, streams))));
            }
            Record::Closed { key } => self.close(key),
            Record::Known {
                key,
                order,
                digest,
                content,
                role,
                state,
                result,
                keep_until,
            } => self.insert(
                key,
                Entry {
                    order,
                    digest: digest.map(|Digest(bytes)| bytes),
                    content: content.map(|Digest(bytes)| bytes),
                    role,
                    keep_until,
                    phase: Phase::Closed { state, result },
                },
            ),
        }
    }

    /// Signs every result that is kept again, with the key of now.
    pub fn sign_again(&mut self, sealer: &dyn Sealer) {
        for entry in self.entries.values_mut() {
            match &mut entry.phase {
                Phase::Ended(ended) => {
                    ended.result = sealer.again(&ended.result);
                    ended.retry_at = 0;
                }
                Phase::Closed {
                    result: Some(result), ..
                } => *result = sealer.again(result),
                _ => {}
            }
        }
    }

    /// Writes the records that stand for the book.
    pub fn snapshot(&self, records: &mut Vec<Record>) {
        let mut keys: Vec<_> = self.entries.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(entry) = self.entries.get(&key) else { continue };
            let known = |state, result: Option<Signed>| Record::Known {
                key,
                order: entry.order,
                digest: entry.digest.map(Digest),
                content: entry.content.map(Digest),
                role: entry.role.clone(),
                state,
                result,
                keep_until: entry.keep_until,
            };
            match &entry.phase {
                Phase::Queued(order) | Phase::Starting(order) => records.push(Record::Received {
                    order: codec::encode(order).unwrap_or_default(),
                    at: entry.keep_until.plus_ms(-REMEMBER_MS),
                }),
                // Only the id matters: such a run never starts again.
                Phase::Running(_) | Phase::Leftover => {
                    records.push(known(RunState::Running, None));
                    records.push(Record::Starting {
                        key,
                        at: entry.keep_until,
                    });
                }
                Phase::Ended(ended) if ended.unrecorded.is_some() => {
                    records.push(known(RunState::Running, None));
                    records.push(Record::Starting {
                        key,
                        at: entry.keep_until,
                    });
                }
                Phase::Ended(ended) => {
                    records.push(known(RunState::Running, None));
                    records.push(Record::Exited {
                        key,
                        role: entry.role.clone(),
                        state: ended.state,
                        result: ended.result.clone(),
                        stdout_bytes: ended.streams.stdout.size(),
                        stderr_bytes: ended.streams.stderr.size(),
                        keep_until: None,
                    });
                }
                Phase::Closed { state, result } => records.push(known(*state, result.clone())),
            }
        }
    }

    /// Adds a run.
    pub fn insert(&mut self, key: RunKey, entry: Entry) {
        if let Some(digest) = entry.digest {
            self.by_digest.insert(digest, key);
        }
        if let Some(order) = entry.order {
            self.orders.insert(order, key);
        }
        self.expiry.entry(entry.keep_until).or_default().push(key);
        let closed_with_result = matches!(&entry.phase, Phase::Closed { result: Some(_), .. });
        if matches!(&entry.phase, Phase::Closed { .. }) {
            self.active.remove(&key);
        } else {
            self.active.insert(key);
        }
        self.entries.insert(key, entry);
        if closed_with_result {
            self.keep_result(key);
        }
    }

    /// Moves a run on.
    pub fn set_phase(&mut self, key: RunKey, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let (closed, with_result) = match &phase {
            Phase::Closed { result, .. } => (true, result.is_some()),
            _ => (false, false),
        };
        entry.phase = phase;
        if closed {
            self.active.remove(&key);
        } else {
            self.active.insert(key);
        }
        if with_result {
            self.keep_result(key);
        }
    }

    /// Notes that the server has a run's result.
    pub fn close(&mut self, key: RunKey) {
        let Some(Entry {
            phase: Phase::Ended(ended),
            ..
        }) = self.entries.get(&key)
        else {
            return;
        };
        let (state, result) = (ended.state, Some(ended.result.clone()));
        self.set_phase(key, Phase::Closed { state, result });
    }

    fn keep_result(&mut self, key: RunKey) {
        self.with_result.push_back(key);
        if self.with_result.len() > KEPT_RESULTS
            && let Some(oldest) = self.with_result.pop_front()
            && let Some(Entry {
                phase: Phase::Closed { result, .. },
                ..
            }) = self.entries.get_mut(&oldest)
        {
            *result = None;
        }
    }

    /// Forgets closed runs whose time is over.
    pub fn forget_until(&mut self, now: Timestamp) {
        while let Some(first) = self.expiry.first_entry().filter(|first| *first.key() <= now) {
            let keys = first.remove();
            for key in keys {
                if self.active.contains(&key) {
                    // Still owed to the server: looked at again a day later.
                    self.expiry.entry(now.plus_ms(24 * 3_600_000)).or_default().push(key);
                } else if let Some(entry) = self.entries.remove(&key) {
                    if let Some(digest) = entry.digest {
                        self.by_digest.remove(&digest);
                    }
                    if let Some(order) = entry.order {
                        self.orders.remove(&order);
                    }
                }
            }
        }
    }

    /// Returns a run.
    pub fn get(&self, key: RunKey) -> Option<&Entry> {
        self.entries.get(&key)
    }
    /// Returns a run to change.
    pub fn get_mut(&mut self, key: RunKey) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }
    /// Tells whether the run and attempt are known.
    pub fn has_run(&self, key: RunKey) -> bool {
        self.entries.contains_key(&key)
    }
    /// Tells whether the order is known.
    pub fn has_order(&self, order: &OrderId) -> bool {
        self.orders.contains_key(order)
    }
    /// Answers an order that was seen byte by byte before.
    pub fn by_digest(&self, digest: &[u8; 32]) -> Option<Accepted> {
        let key = *self.by_digest.get(digest)?;
        Some(self.entries.get(&key)?.answer(key))
    }
    /// Answers another order for a run and attempt that are known: a repetition, unless it does something else.
    pub fn repeated(&self, key: RunKey, order: &Order) -> Option<Result<Accepted, Replay>> {
        let entry = self.entries.get(&key)?;
        let fits = entry.content.is_none_or(|content| content == content_of(order));
        Some(if fits { Ok(entry.answer(key)) } else { Err(Replay) })
    }
    /// Returns the newest attempt of a run that is known.
    pub fn newest_attempt(&self, run: RunId) -> Option<RunKey> {
        let first = RunKey { run, attempt: 0 };
        let last = RunKey { run, attempt: u32::MAX };
        self.entries.range(first..=last).next_back().map(|(key, _)| *key)
    }
    /// Lists the runs that are not closed.
    pub fn active(&self) -> Vec<RunKey> {
        self.active.iter().copied().collect()
    }
    /// Lists the runs that wait for their turn, those that came first first.
    pub fn queued(&self) -> impl Iterator<Item = RunKey> {
        let mut waiting: Vec<_> = self
            .active
            .iter()
            .filter_map(|key| match &self.entries.get(key)?.phase {
                Phase::Queued(order) => Some((order.issued_at, *key)),
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, key)| key)
    }
    /// Lists the runs that an earlier life left.
    pub fn leftovers(&self) -> Vec<RunKey> {
        let is_leftover = |key: &&RunKey| {
            self.entries
                .get(key)
                .is_some_and(|e| matches!(e.phase, Phase::Leftover))
        };
        self.active.iter().filter(is_leftover).copied().collect()
    }
    /// Counts the runs that take a place.
    pub fn running(&self) -> usize {
        let takes_place = |key: &&RunKey| {
            let phase = self.entries.get(key).map(|entry| &entry.phase);
            matches!(phase, Some(Phase::Starting(_) | Phase::Running(_) | Phase::Leftover))
        };
        self.active.iter().filter(takes_place).count()
    }
    /// Tells whether a process lives, or an end is not recorded.
    pub fn is_any_running(&self) -> bool {
        self.active
            .iter()
            .any(|key| match self.entries.get(key).map(|entry| &entry.phase) {
                Some(Phase::Starting(_) | Phase::Running(_) | Phase::Leftover) => true,
                Some(Phase::Ended(ended)) => ended.unrecorded.is_some(),
                _ => false,
            })
    }
    /// Tells whether output or results wait for the server.
    pub fn is_any_sending(&self) -> bool {
        self.active
            .iter()
            .any(|key| matches!(self.entries.get(key).map(|entry| &entry.phase), Some(Phase::Ended(_))))
    }
    /// Returns when the first timeout strikes.
    pub fn timeout_at(&self) -> Option<u64> {
        let running = self
            .active
            .iter()
            .filter_map(|key| match &self.entries.get(key)?.phase {
                Phase::Running(running) if running.ending.is_none() => running.ends_at,
                _ => None,
            });
        running.min()
    }
    /// Returns when the journal is to be tried again for a run that it could not take.
    pub fn journal_due_at(&self) -> Option<u64> {
        let due = self
            .active
            .iter()
            .filter_map(|key| match &self.entries.get(key)?.phase {
                Phase::Ended(ended) if ended.unrecorded.is_some() || ended.acknowledged => Some(ended.retry_at),
                _ => None,
            });
        due.filter(|at| *at > 0).min()
    }
    /// Returns when the next attempt to send is due.
    pub fn send_due_at(&self) -> Option<u64> {
        let due = self
            .active
            .iter()
            .filter_map(|key| match &self.entries.get(key)?.phase {
                Phase::Running(running) => running.streams.due_at(),
                Phase::Ended(ended) => {
                    let result = (!ended.in_flight && ended.streams.are_done()).then_some(ended.retry_at);
                    ended.streams.due_at().into_iter().chain(result).min()
                }
                _ => None,
            });
        due.min()
    }
    /// Lets everything be sent at once.
    pub fn hurry(&mut self) {
        for key in &self.active {
            match self.entries.get_mut(key).map(|entry| &mut entry.phase) {
                Some(Phase::Running(running)) => {
                    running.streams.stdout.hurry();
                    running.streams.stderr.hurry();
                }
                Some(Phase::Ended(ended)) => {
                    ended.streams.stdout.hurry();
                    ended.streams.stderr.hurry();
                    // What waits for the journal does not wait for the connection.
                    if ended.unrecorded.is_none() && !ended.acknowledged {
                        ended.retry_at = 0;
                    }
                }
                _ => {}
            }
        }
    }
    /// Marks every process that lives as being ended, and names those that were not yet.
    pub fn end_all(&mut self, why: Why) -> Vec<RunKey> {
        let mut ended = Vec::new();
        for key in &self.active {
            if let Some(Entry {
                phase: Phase::Running(running),
                ..
            }) = self.entries.get_mut(key)
                && running.ending.is_none()
            {
                running.ending = Some(why);
                ended.push(*key);
            }
        }
        ended
    }
}
