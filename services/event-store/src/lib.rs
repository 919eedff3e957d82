//! The event store: an append-only log on one sled database, and what is built from it.
//!
//! A service appends what happened ([`EventLog::append`]): events for one or more streams, each decided on a version of
//! its stream, together with the command's id and answer; all of it becomes durable, or nothing. What it reads is only
//! ever durable. State, search and history are [views](View) that can be thrown away and rebuilt.
//!
//! **On disk** (one folder per service): trees `events` (the log: rows of about 1 KiB with several events each, see
//! `row.rs`), `streams` and `commands` (indexes, written behind the commits), `meta`, and `view-<name>`. Larger content
//! lives beside it as [files named by their digest](DigestFiles).
//!
//! **How an append becomes durable**: a single writer takes whatever queued up while the last sync ran, writes it as one
//! batch, flushes, syncs the database's file, then answers. A kill at any moment loses nothing that was answered.
//!
//! **How it fails**: where the disk's free room falls to a [reserve](RESERVE_BYTES), appends are refused and nothing else
//! happens; they are taken again as soon as there is more. Any storage error ends the log; all later calls give it, and the hook in [`OpenOptions`] lets the
//! process exit with code 74, so that its supervisor starts it anew. Nothing is ever deleted to get past an error.
//! Every read checks the hash chain on its way; a mismatch is such an error.

mod stream_id;

mod chain;
mod error;
mod log;
mod reserve;

mod row;
mod rows;

mod commands;
mod database;
mod index;
mod tail;

mod core;
mod indexer;
mod writer;

mod sled_log;

mod follow;
mod view;

mod export;
mod retention;
mod verify;

mod digest_files;

pub use chain::{GENESIS, body_digest, chain_hash};
pub use database::sync_folder;
pub use digest_files::{DigestFiles, DigestWriter};
pub use error::{AppendError, STORAGE_EXIT_CODE, StoreError, storage_exit};
pub use export::{export, import, read_export};
pub use follow::Follower;
pub use log::{
    Append, Appended, BoxFuture, COMMAND_LIFE_MS, CommandRecord, EventLog, EventRecord, Head, MAX_ANSWER_BYTES,
    MAX_APPEND_BYTES, MAX_BODY_BYTES, MAX_KIND_BYTES, NewEvent, Position, SUMMARISED, StreamWrite, Version,
};
pub use reserve::{RESERVE_BYTES, check_room};
pub use retention::{Compacted, Compaction, Summary};
pub use sled_log::{FaultHook, OpenOptions, OpenProgress, ProgressHook, SledLog};
pub use stream_id::{InvalidStreamId, StreamId};
pub use verify::{VerifiedPiece, VerifyReport, halt, verify, verify_folder, verify_piece};
pub use view::{MAX_VIEW_ROW_BYTES, SledView, View, ViewBatch, ViewError, ViewRow};
