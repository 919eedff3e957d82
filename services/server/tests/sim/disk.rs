//! Disks that forget what was not synced, and processes that die while they write.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use borealis_agent::core::record::Record;
use borealis_agent::journal::{Journal, JournalError};
use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};
use tokio::sync::watch;

use crate::dice::Dice;

/// Is where a process dies in a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    Unsynced,
    Synced,
}

/// Draws whether a process dies in this write, and where.
fn death(dice: &mut Dice, is_risky: bool) -> Option<Death> {
    if !is_risky || !dice.once_in(25) {
        return None;
    }
    Some(match dice.below(3) {
        0 => Death::Before,
        1 => Death::Unsynced,
        _ => Death::Synced,
    })
}

/// Names the crash point of a death in a write to the server's log, by what was written.
///
/// A write that is in memory and one that is flushed are the same to a disk that forgets: CS2 stands for CS3 too.
fn server_point(death: Death, kind: &str) -> &'static str {
    match (death, kind) {
        (Death::Unsynced, _) => "CS2",
        (Death::Before, "JobCreated") => "CS1",
        (Death::Synced, "JobCreated") => "CS4",
        (Death::Before, "RunEnded" | "RunEndedAfterAll") => "CS8",
        (Death::Synced, "RunEnded" | "RunEndedAfterAll") => "CS9",
        (Death::Before, _) => "CS7",
        (Death::Synced, _) => "CS7 behind the write",
    }
}

/// Names the crash point of a death in a write to a device's journal, by what was written.
const fn device_point(death: Death, record: &Record) -> &'static str {
    match (record, death) {
        (Record::Received { .. }, Death::Before) => "CA1",
        (Record::Received { .. }, _) => "CA2",
        (Record::Starting { .. }, Death::Before) => "CA3",
        (Record::Starting { .. }, _) => "CA4",
        (Record::Exited { .. }, Death::Before) => "CA6",
        (Record::Exited { .. }, _) => "CA7",
        (Record::Closed { .. }, _) => "CA9",
        _ => "elsewhere in the journal",
    }
}

/// Counts deaths by the crash point at which they happened.
pub type Deaths = BTreeMap<&'static str, u64>;

struct Rows {
    rows: Vec<EventRecord>,
    synced: usize,
    commands: BTreeMap<[u8; 16], CommandRecord>,
    dice: Dice,
    is_risky: bool,
    is_dead: bool,
    deaths: Deaths,
    skips_syncs: bool,
    forgets_commands: bool,
}

/// Is the server's log.
pub struct Log {
    rows: Mutex<Rows>,
    head: watch::Sender<Head>,
}

impl Log {
    pub fn new(dice: Dice, skips_syncs: bool, forgets_commands: bool) -> Self {
        let rows = Rows {
            rows: Vec::new(),
            synced: 0,
            commands: BTreeMap::new(),
            dice,
            is_risky: false,
            is_dead: false,
            deaths: Deaths::new(),
            skips_syncs,
            forgets_commands,
        };
        let head = Head {
            position: 0,
            hash: [0; 32],
        };
        Self {
            rows: Mutex::new(rows),
            head: watch::Sender::new(head),
        }
    }

    pub fn set_risky(&self, is_risky: bool) {
        self.rows.lock().unwrap().is_risky = is_risky;
    }

    /// Tells whether the process that writes it has died in a write.
    pub fn is_dead(&self) -> bool {
        self.rows.lock().unwrap().is_dead
    }

    /// Tells how often its process died where.
    pub fn deaths(&self) -> Deaths {
        self.rows.lock().unwrap().deaths.clone()
    }

    /// Loses what was not synced, but for a prefix that reached the disk all the same, and lives again.
    pub fn crash(&self) {
        let mut rows = self.rows.lock().unwrap();
        let (synced, unsynced) = (rows.synced, rows.rows.len() - rows.synced);
        let kept = synced + usize::try_from(rows.dice.below(unsynced as u64 + 1)).unwrap();
        rows.rows.truncate(kept);
        rows.synced = kept;
        rows.commands.retain(|_, command| command.last <= kept as u64);
        rows.is_dead = false;
    }

    /// Returns everything that is durable.
    pub fn all(&self) -> Vec<EventRecord> {
        let rows = self.rows.lock().unwrap();
        rows.rows[..rows.synced].to_vec()
    }

    fn write(&self, append: Append) -> Result<Appended, AppendError> {
        let mut rows = self.rows.lock().unwrap();
        let dead = AppendError::Invalid {
            reason: "the process has died",
        };
        if rows.is_dead {
            return Err(dead);
        }
        if let Some(before) = rows.commands.get(&append.command_id) {
            if before.digest != append.command_digest {
                return Err(AppendError::IdReused);
            }
            return Ok(Appended {
                first: before.first,
                last: before.last,
                answer: before.answer.clone(),
                replayed: true,
            });
        }
        for write in &append.writes {
            let at = rows.rows.iter().rev().find(|row| row.stream == write.stream);
            let actual = at.map_or(0, |row| row.version);
            if actual != write.expected && !rows.forgets_commands {
                return Err(AppendError::Conflict {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                });
            }
        }
        let is_risky = rows.is_risky;
        let death = death(&mut rows.dice, is_risky);
        if let Some(death) = death {
            // The last event says most: a run that ends is delivered in the same write.
            let last = append.writes.iter().flat_map(|write| &write.events).last();
            let kind = last.map_or("", |event| event.kind.as_str());
            *rows.deaths.entry(server_point(death, kind)).or_default() += 1;
        }
        if death == Some(Death::Before) {
            rows.is_dead = true;
            return Err(dead);
        }
        let first = rows.rows.len() as u64 + 1;
        for write in append.writes {
            for event in write.events {
                let position = rows.rows.len() as u64 + 1;
                rows.rows.push(EventRecord {
                    position,
                    stream: write.stream.clone(),
                    version: position,
                    kind: event.kind,
                    body: Some(event.body),
                    body_digest: [0; 32],
                    at_ms: append.at_ms,
                    hash: [0; 32],
                });
            }
        }
        let last = rows.rows.len() as u64;
        if !rows.forgets_commands {
            let command = CommandRecord {
                digest: append.command_digest,
                answer: append.answer.clone(),
                first,
                last,
            };
            rows.commands.insert(append.command_id, command);
        }
        if death == Some(Death::Unsynced) {
            rows.is_dead = true;
            return Err(dead);
        }
        let skips = rows.skips_syncs && is_risky;
        if !skips {
            rows.synced = rows.rows.len();
        }
        if death == Some(Death::Synced) {
            rows.is_dead = true;
            return Err(dead);
        }
        Ok(Appended {
            first,
            last,
            answer: append.answer,
            replayed: false,
        })
    }
}

impl EventLog for Log {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        let outcome = self.write(append);
        Box::pin(std::future::ready(outcome))
    }
    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let after = usize::try_from(after).unwrap();
        Ok(self.all().into_iter().skip(after).take(limit).collect())
    }
    fn read_stream(&self, stream: &StreamId, after: Version, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let rows = self.all().into_iter();
        let found = rows.filter(|row| row.stream == *stream && row.version > after);
        Ok(found.take(limit).collect())
    }
    fn stream_version(&self, stream: &StreamId) -> Result<Version, StoreError> {
        let rows = self.rows.lock().unwrap();
        let at = rows.rows.iter().rev().find(|row| row.stream == *stream);
        Ok(at.map_or(0, |row| row.version))
    }
    fn head(&self) -> Head {
        Head {
            position: self.rows.lock().unwrap().synced as u64,
            hash: [0; 32],
        }
    }
    fn subscribe(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }
    fn command(&self, command_id: &[u8; 16]) -> Result<Option<CommandRecord>, StoreError> {
        Ok(self.rows.lock().unwrap().commands.get(command_id).cloned())
    }
    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Is a device's journal.
pub struct DeviceDisk {
    records: Vec<Record>,
    synced: usize,
    base: usize,
    dice: Dice,
    pub is_risky: bool,
    pub is_full: bool,
    pub is_dead: bool,
    pub deaths: Deaths,
    skips_syncs: bool,
}

impl DeviceDisk {
    pub fn new(dice: Dice, skips_syncs: bool) -> Self {
        Self {
            records: Vec::new(),
            synced: 0,
            base: 0,
            dice,
            is_risky: false,
            is_full: false,
            is_dead: false,
            deaths: Deaths::new(),
            skips_syncs,
        }
    }

    /// Loses what was not synced, but for a prefix, and returns what is left.
    pub fn crash(&mut self) -> Vec<Record> {
        let unsynced = self.records.len() - self.synced;
        let kept = self.synced + usize::try_from(self.dice.below(unsynced as u64 + 1)).unwrap();
        self.records.truncate(kept);
        self.synced = kept;
        self.is_dead = false;
        self.records.clone()
    }

    /// Returns what a program reads that begins after one that stopped.
    pub fn read(&self) -> Vec<Record> {
        self.records.clone()
    }

    fn broken() -> JournalError {
        JournalError::Io {
            path: "journal".into(),
            source: io::Error::other("the disk does not answer"),
        }
    }
}

impl Journal for DeviceDisk {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.is_dead {
            return Err(Self::broken());
        }
        if self.is_full && records.iter().any(|record| matches!(record, Record::Received { .. })) {
            return Err(JournalError::Full { path: "journal".into() });
        }
        if self.is_risky && self.dice.once_in(60) {
            return Err(Self::broken());
        }
        let death = death(&mut self.dice, self.is_risky);
        self.is_dead = death.is_some();
        if let (Some(death), Some(last)) = (death, records.last()) {
            *self.deaths.entry(device_point(death, last)).or_default() += 1;
        }
        if death == Some(Death::Before) {
            return Err(Self::broken());
        }
        self.records.extend_from_slice(records);
        if death == Some(Death::Unsynced) {
            return Err(Self::broken());
        }
        if !(self.skips_syncs && self.is_risky) {
            self.synced = self.records.len();
        }
        Ok(())
    }
    fn wants_rewrite(&self) -> bool {
        !self.is_dead && self.records.len() > (self.base * 2).max(24)
    }
    fn rewrite(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.base = self.records.len();
        let death = death(&mut self.dice, self.is_risky);
        self.is_dead = death.is_some();
        if matches!(death, Some(Death::Before | Death::Unsynced)) {
            return Err(Self::broken());
        }
        self.records = records.to_vec();
        (self.synced, self.base) = (records.len(), records.len());
        Ok(())
    }
}
