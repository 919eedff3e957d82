//! What a service sees of its log: the types of an append and of a read, and the trait behind which the store stands.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::watch;

use crate::{AppendError, StoreError, StreamId};

/// Place of an event in its store: 1-based, contiguous, never used again; 0 is before everything.
pub type Position = u64;

/// Position of a stream's last event; 0 when it has none. Opaque to services.
pub type Version = u64;

/// Largest body of one event in bytes.
pub const MAX_BODY_BYTES: usize = 32 * 1024;
/// Largest answer kept with a command in bytes.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024;
/// Largest append in bytes: names, kinds, bodies and answer.
pub const MAX_APPEND_BYTES: usize = 256 * 1024;
/// Longest event kind in bytes.
pub const MAX_KIND_BYTES: usize = 64;
/// How long a command id is remembered, in milliseconds of log time.
pub const COMMAND_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Kind of the event that stands for the dropped bodies before it in its stream; only compaction writes it.
pub const SUMMARISED: &str = "Summarised";

/// One event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened, such as `JobCreated`: 1 to 64 of `A-Z`, `a-z` and `0-9`.
    pub kind: String,
    /// The stored form, at most 32 KiB. Larger content lives in a file named by its digest.
    pub body: Vec<u8>,
}

/// Events for one stream, with the version they were decided on.
///
/// Without events it only checks that the stream still stands at `expected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamId,
    /// Position of its last event as the caller knows it; 0 when it has none.
    pub expected: Version,
    /// What is to be added, in order.
    pub events: Vec<NewEvent>,
}

/// One command's effect: all of it is written, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The command's id, chosen by who sent it.
    pub command_id: [u8; 16],
    /// Digest of the command's body; tells a repetition from another command with the same id.
    pub command_digest: [u8; 32],
    /// Log time in milliseconds since 1970, given by the caller.
    pub at_ms: i64,
    /// The streams it touches, each named once.
    pub writes: Vec<StreamWrite>,
    /// What the command is answered with, also when it is repeated; at most 8 KiB.
    pub answer: Vec<u8>,
}

/// Says where an append stands. It is durable when a caller sees this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position of its first event. An append without events has `first` = `last` = the head before it, and is not remembered.
    pub first: Position,
    /// Position of its last event.
    pub last: Position,
    /// The command's answer: the first one, when it was made before.
    pub answer: Vec<u8>,
    /// True when the command had been made before and nothing was written now.
    pub replayed: bool,
}

/// One event as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its place in the store.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// The stream's version after it: its position.
    pub version: Version,
    /// What happened.
    pub kind: String,
    /// The stored form; none when retention dropped it.
    pub body: Option<Vec<u8>>,
    /// SHA-256 of the body, kept when the body is dropped.
    pub body_digest: [u8; 32],
    /// Log time in milliseconds since 1970.
    pub at_ms: i64,
    /// The chain's hash after this event.
    pub hash: [u8; 32],
}

/// The last durable position and the chain's hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event; 0 in an empty store.
    pub position: Position,
    /// The chain's hash after it; zeros in an empty store.
    pub hash: [u8; 32],
}

/// What is remembered of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    /// Digest of the command's body.
    pub digest: [u8; 32],
    /// The answer it was given.
    pub answer: Vec<u8>,
    /// Position of its first event.
    pub first: Position,
    /// Position of its last event.
    pub last: Position,
}

/// What the methods that write return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An append-only log with streams, a global order and command dedupe. Services hold `Arc<dyn EventLog>`.
///
/// Reads give durable events only. They are short and do not wait for the disk's sync, so they are plain calls.
pub trait EventLog: Send + Sync + 'static {
    /// Writes one command's events, answers once they are durable.
    ///
    /// An append whose caller went away is still made.
    ///
    /// **Errors**: [`AppendError`]; nothing was written, but for `Storage`, where only the next start knows.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// Reads events after a position, in order.
    ///
    /// Gives at most `limit` events and may give fewer (4 MiB of bodies end a read), but none only when there is nothing after it.
    ///
    /// **Errors**: [`StoreError`] when the storage fails or the hash chain does not hold.
    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Reads one stream's events after a version, in order; limits and errors as in [`EventLog::read_all`].
    fn read_stream(&self, stream: &StreamId, after: Version, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Gives a stream's version; 0 when it has no events.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    fn stream_version(&self, stream: &StreamId) -> Result<Version, StoreError>;

    /// Gives the durable head.
    fn head(&self) -> Head;

    /// Follows the durable head.
    fn subscribe(&self) -> watch::Receiver<Head>;

    /// Gives what is remembered of a command, up to 30 days of log time after it.
    ///
    /// **Errors**: [`StoreError`] when the storage fails.
    fn command(&self, command_id: &[u8; 16]) -> Result<Option<CommandRecord>, StoreError>;

    /// Answers what was asked before, then refuses appends with `Closed`. Reads still work; the lock falls with the last handle.
    ///
    /// **Errors**: [`StoreError`] when the last sync failed.
    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
