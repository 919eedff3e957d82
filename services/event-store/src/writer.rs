//! The one writer: takes whatever queued up while the last sync ran, commits it as one group, then answers.
//!
//! A group is one batch of rows, so it survives whole or not at all; after it come `flush()` and `fdatasync`, then the
//! tail and the head move, then the callers are answered. No timer: an idle store commits a lone append at once.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::core::SharedCore;
use crate::indexer::Indexer;
use crate::row::{Body, CommitMark, RowEvent, RowWriter};
use crate::tail::{CommandEntry, TailPart};
use crate::{Append, AppendError, Appended, Head, Position, StoreError, StreamId, Version};

/// Most appends in one group.
const GROUP_APPENDS: usize = 1024;
/// Bytes at which a group is closed.
const GROUP_BYTES: usize = 1 << 20;

/// What the writer is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// Write a command's events.
    Append {
        append: Box<Append>,
        size: usize,
        reply: oneshot::Sender<Result<Appended, AppendError>>,
        /// Room in the queue, given back when the request is done.
        room: OwnedSemaphorePermit,
    },
    /// Stop after what was asked before.
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// An append of the group that is being made, with its outcome.
struct Waiting {
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    outcome: Result<Appended, AppendError>,
    _room: OwnedSemaphorePermit,
}

/// The writer's own state: where the next event goes.
pub(crate) struct Writer {
    core: SharedCore,
    requests: mpsc::Receiver<Request>,
    indexer: Indexer,
    head: Head,
    log_time_ms: i64,
    /// Whether the last group found room on the disk.
    had_room: bool,
}

impl Writer {
    pub(crate) fn new(core: SharedCore, requests: mpsc::Receiver<Request>, indexer: Indexer) -> Self {
        let head = core.durable_head();
        let log_time_ms = core.tail().log_time_ms;
        Self {
            core,
            requests,
            indexer,
            head,
            log_time_ms,
            had_room: true,
        }
    }

    /// Serves until it is closed, every handle is gone, or the storage fails.
    pub(crate) fn run(mut self) {
        let core = self.core.clone();
        let served = std::panic::catch_unwind(AssertUnwindSafe(|| {
            while let Some(request) = self.requests.blocking_recv() {
                if !self.serve(request) {
                    break;
                }
            }
        }));
        if let Err(payload) = served {
            core.fail(StoreError::panicked("write", payload.as_ref()));
        }
    }

    /// Makes one group, beginning with a request; gives false when it was the last.
    fn serve(&mut self, first: Request) -> bool {
        let disk = self.find_room();
        let mut group = Group::new(self.head);
        let mut closing = None;
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Append {
                    append,
                    size,
                    reply,
                    room,
                } => {
                    let outcome = self.admit(&mut group, &disk, &append);
                    group.bytes += size;
                    group.waiting.push(Waiting {
                        reply,
                        outcome,
                        _room: room,
                    });
                }
                Request::Close { reply } => {
                    closing = Some(reply);
                    break;
                }
            }
            if group.waiting.len() < GROUP_APPENDS && group.bytes < GROUP_BYTES {
                next = self.requests.try_recv().ok();
            }
        }
        let committed = self.commit(group);
        let goes_on = committed.is_ok() && closing.is_none();
        if let Some(reply) = closing {
            let synced = committed.and_then(|()| self.core.guarded("sync", || self.core.database.sync()));
            // A caller that went away needs no answer.
            let _ = reply.send(synced);
        }
        goes_on
    }

    /// Says whether the disk takes more; speaks of it when that has changed.
    fn find_room(&mut self) -> Result<(), StoreError> {
        let found = self.core.database.check_room();
        match &found {
            Err(error) if self.had_room => tracing::error!(
                error = error as &dyn std::error::Error,
                "the event store takes nothing until there is room"
            ),
            Ok(()) if !self.had_room => tracing::info!("there is room again; the event store goes on"),
            _ => {}
        }
        self.had_room = found.is_ok();
        found
    }

    /// Decides one append against the log and the group so far, and adds its rows to the group.
    fn admit(
        &mut self,
        group: &mut Group,
        disk: &Result<(), StoreError>,
        append: &Append,
    ) -> Result<Appended, AppendError> {
        let now = self.log_time_ms.max(append.at_ms);
        if let Some(answer) = self.repeated(group, append, now)? {
            return Ok(answer);
        }
        for write in &append.writes {
            let actual = self.version(group, &write.stream)?;
            if actual != write.expected {
                return Err(AppendError::Conflict {
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual,
                });
            }
        }
        if append.writes.iter().any(|write| !write.events.is_empty()) {
            disk.clone().map_err(AppendError::Storage)?;
            // Log time is the time of what stands in the log.
            self.log_time_ms = now;
        }
        Ok(group.add(append))
    }

    /// Gives the first answer when the command was made before.
    fn repeated(&self, group: &Group, append: &Append, now: i64) -> Result<Option<Appended>, AppendError> {
        if let Some(Made {
            digest,
            entry,
            appended: made,
        }) = group.made.get(&append.command_id)
            && entry.is_live(now)
        {
            let same = *digest == append.command_digest;
            return if same {
                Ok(Some(Appended {
                    replayed: true,
                    ..made.clone()
                }))
            } else {
                Err(AppendError::IdReused)
            };
        }
        let lookup = || self.core.command(&append.command_id, now);
        match self
            .core
            .guarded("look a command up", lookup)
            .map_err(AppendError::Storage)?
        {
            None => Ok(None),
            Some(commit) if commit.digest != append.command_digest => Err(AppendError::IdReused),
            Some(commit) => Ok(Some(Appended {
                first: commit.first,
                last: commit.last,
                answer: commit.answer,
                replayed: true,
            })),
        }
    }

    fn version(&self, group: &Group, stream: &StreamId) -> Result<Version, AppendError> {
        match group.part.version(stream) {
            Some(version) => Ok(version),
            None => self
                .core
                .guarded("find a stream", || self.core.version(stream))
                .map_err(AppendError::Storage),
        }
    }

    /// Writes and syncs a group, moves the head, answers.
    fn commit(&mut self, mut group: Group) -> Result<(), StoreError> {
        group.close_row();
        let reached = group.head;
        let written = self.write(&mut group);
        if let Err(error) = &written {
            for waiting in group.waiting {
                let _ = waiting.reply.send(Err(AppendError::Storage(error.clone())));
            }
            return written;
        }
        if reached != self.head {
            self.head = reached;
            self.core.tail_mut().add(group.part, self.log_time_ms);
            self.core.head.send_replace(reached);
        }
        for waiting in group.waiting {
            let _ = waiting.reply.send(waiting.outcome);
        }
        self.indexer.offer(&self.core);
        match self.core.fault() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn write(&self, group: &mut Group) -> Result<(), StoreError> {
        if group.rows.is_empty() {
            return self.core.fault().map_or(Ok(()), Err);
        }
        let mut batch = sled::Batch::default();
        for (first, row) in group.rows.drain(..) {
            batch.insert(&first.to_be_bytes(), row);
        }
        self.core.guarded("commit", || {
            self.core
                .rows
                .0
                .apply_batch(batch)
                .map_err(StoreError::database("write a commit"))?;
            borealis_fail_points::reached("CS2");
            self.core.database.sync()
        })
    }
}

/// A command of the group that is being made.
struct Made {
    digest: [u8; 32],
    entry: CommandEntry,
    appended: Appended,
}

/// The commit that is being made.
struct Group {
    head: Head,
    row: RowWriter,
    rows: Vec<(Position, Vec<u8>)>,
    part: TailPart,
    made: BTreeMap<[u8; 16], Made>,
    waiting: Vec<Waiting>,
    bytes: usize,
}

impl Group {
    fn new(head: Head) -> Self {
        Self {
            head,
            row: RowWriter::new(head.position + 1, head.hash),
            rows: Vec::new(),
            part: TailPart::after(head),
            made: BTreeMap::new(),
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds an admitted append.
    fn add(&mut self, append: &Append) -> Appended {
        let before = self.head.position;
        for write in &append.writes {
            for event in &write.events {
                let stream = write.stream.as_str();
                let body = Body::Kept(&event.body);
                self.push(
                    &write.stream,
                    &RowEvent {
                        stream,
                        kind: &event.kind,
                        at_ms: append.at_ms,
                        body,
                    },
                );
            }
        }
        let last = self.head.position;
        let answer = append.answer.clone();
        if last == before {
            return Appended {
                first: before,
                last,
                answer,
                replayed: false,
            };
        }
        self.row.push_commit(&CommitMark {
            events: last - before,
            command_id: &append.command_id,
            digest: &append.command_digest,
            at_ms: append.at_ms,
            answer: &append.answer,
        });
        let entry = CommandEntry {
            last,
            at_ms: append.at_ms,
        };
        self.part.add_command(append.command_id, entry);
        let appended = Appended {
            first: before + 1,
            last,
            answer,
            replayed: false,
        };
        let made = Made {
            digest: append.command_digest,
            entry,
            appended: appended.clone(),
        };
        self.made.insert(append.command_id, made);
        appended
    }

    fn push(&mut self, stream: &StreamId, event: &RowEvent<'_>) {
        if !self.row.has_room_for(event) {
            self.close_row();
        }
        let position = self.row.push_event(event);
        self.head = Head {
            position,
            hash: self.row.hash(),
        };
        self.part.add_event(stream, self.head);
    }

    fn close_row(&mut self) {
        if self.row.is_empty() {
            return;
        }
        let next = RowWriter::new(self.head.position + 1, self.head.hash);
        let full = std::mem::replace(&mut self.row, next);
        self.rows.push((full.first(), full.finish()));
    }
}
